"""What a soak has shown: as JSON, on the terminal, and between the marks of a document."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .run import Results, slopes
from .verdicts import STARVED, warm

BEGIN, END = "<!-- soak -->", "<!-- end of soak -->"


def to_json(results: Results, *, seed: int, command: str) -> dict[str, Any]:
    return {
        "command": f"python {command}",
        "seed": seed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            "python": platform.python_version(),
            "cpus": len(os.sched_getaffinity(0)),
            **{package: version(package) for package in ("aiortc", "av", "numpy")},
        },
        "rounds": results.rounds,
        "minutes": round(results.minutes, 1),
        "calls": dict(results.calls.most_common()),
        "call_minutes": round(results.seconds_of_calls / 60, 1),
        "endings": dict(results.endings.most_common()),
        "events": {
            name: results.events[name]
            for name in ("Degraded", "Reconnecting", "Reconnected", "ErrorReported", "on a full disk")
            if results.events[name]
        },
        "troubles": dict(sorted(results.troubles.items())),
        "call_folders_checked": results.folders,
        "full_disk": results.full_disk,
        "starved_calls": results.events["starved"],
        "worst_lateness": {name: round(value, 4) for name, value in results.lateness.items()},
        "frames_skipped": dict(results.frames_skipped),
        "longest_until_mocks_noticed": round(results.longest_quiet, 1),
        "slopes": slopes(results),
        "samples": results.samples,
        "warnings": results.warnings,
        "findings": results.failures,
    }


def text_of(report: dict[str, Any]) -> str:
    """Return the same for people, plain enough for a terminal and a document."""
    total, troubles = sum(report["calls"].values()), report["troubles"]
    faults = {name: count for name, count in troubles.items() if name.startswith("fault: ")}
    lines = [
        f"{total} calls in {report['minutes']} minutes, {report['rounds']} rounds, {report['call_minutes']} minutes "
        f"of audio; {len(report['findings'])} findings.",
        "",
        f"- Calls: {_counts(report['calls'])}.",
        f"- Ended: {_counts(report['endings'])}.",
        f"- Meanwhile: {_counts(report['events']) or 'nothing'}.",
        f"- Troubles: {sum(troubles.values())}, of these {sum(faults.values())} faults of {len(faults)} kinds and "
        f"{troubles.get('kill', 0)} × `kill -9` of a mock. A full "
        f"disk: {'yes' if report['full_disk'] else 'no, that needs root'}.",
        f"- Call folders checked: {report['call_folders_checked']}.",
        f"- After a round, the mocks had noticed that all calls were over within "
        f"{report['longest_until_mocks_noticed']} s: nobody tells them of those that vanished.",
        f"- Calls that had to wait for a core for more than {STARVED * 100:.0f} % of their time, so that deadlines "
        f"meant nothing: {report['starved_calls']}.",
        f"- Latest audio slot: {_milliseconds(report['worst_lateness'])}.",
        "",
        "| process | anonymous RSS, first → last | a call | malloc, first → last | a call | Python objects a call "
        "| tasks | threads | descriptors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, samples in report["samples"].items():
        if name not in report["slopes"]:
            continue  # a process that was killed soon
        first, last, slope = warm(samples)[0], samples[-1], report["slopes"][name]
        lines.append(
            f"| {name} | {_megabytes(first, last, 'rss')} | {_slope(slope, 'rss')} B "
            f"| {_megabytes(first, last, 'malloced')} | {_slope(slope, 'malloced')} B | {_slope(slope, 'blocks')} "
            + "".join(f"| {first[what]} → {last[what]} " for what in ("tasks", "threads", "descriptors"))
            + "|"
        )
    machine = report["machine"]
    lines += [
        "",
        f"{report['date']}, seed {report['seed']}, Python {machine['python']}, aiortc {machine['aiortc']}, "
        f"{machine['cpus']} core{'s' * (machine['cpus'] != 1)} for everything. `{report['command']}`",
    ]
    return "\n".join(lines)


def write_document(report: dict[str, Any], folder: Path) -> None:
    """Write ``bench/soak.json``, and put the figures between the marks of ``soak.md``."""
    (folder / "bench").mkdir(exist_ok=True)
    (folder / "bench" / "soak.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    document = folder / "soak.md"
    text = document.read_text()
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    document.write_text(f"{head}{BEGIN}\n\n{text_of(report)}\n\n{END}{tail}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _milliseconds(seconds: dict[str, float]) -> str:
    return ", ".join(f"{value * 1000:.0f} ms in {name}" for name, value in seconds.items())


def _megabytes(first: dict[str, float], last: dict[str, float], what: str) -> str:
    return f"{first[what] / 1e6:.1f} → {last[what] / 1e6:.1f} MB"


def _slope(slope: dict[str, dict[str, float]], what: str) -> str:
    return f"{slope[what]['per_call']:.0f} ± {slope[what]['error']:.0f}"
