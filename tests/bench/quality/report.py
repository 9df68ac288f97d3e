"""The results of ``audio_quality.py`` for people: on the terminal, in a document, as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from .conditions import OUTAGE_BEGINS, OUTAGE_ENDS

ORDER = ("aiortc", "libwebrtc", "rtcpeer")
INTERRUPTED = {"2 s outage": (OUTAGE_BEGINS, OUTAGE_ENDS), "300 ms stall": (OUTAGE_BEGINS, OUTAGE_BEGINS + 0.3)}
"""Networks that fail for a moment, and when, in seconds of the measured speech."""
_COLOURS = {"aiortc": "#b0a8a0", "libwebrtc": "#4878a8", "rtcpeer": "#d0602c"}
_BEGIN, _END = "<!-- results: written by make bench-audio -->", "<!-- end of results -->"

Cells = tuple[str, ...]


def _text(row: dict[str, Any] | None, name: str, scale: float = 1.0, digits: int = 0, sign: bool = False) -> str:
    value = None if row is None else row.get(name)
    if value is None:
        return "–"
    return f"{value * scale:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def _tables(results: dict[str, Any]) -> Iterator[tuple[str, Cells, list[Cells]]]:
    """Yield (title, columns, rows), the same for the terminal and the document."""
    rows: list[dict[str, Any]] = results["rows"]
    found = {(row["role"], row["condition"], row["contestant"]): row for row in rows}
    received = list(dict.fromkeys(row["condition"] for row in rows if row["role"] == "receive"))

    def each(condition: str, name: str, *how: Any) -> Cells:
        return tuple(_text(found.get(("receive", condition, who)), name, *how) for who in ORDER)

    def goal(condition: str) -> str:
        value = results["goals"].get(condition)
        return "–" if value is None else f"≥ {value}"

    yield (
        "As receivers: PESQ-WB, and mouth-to-ear delay in ms",
        ("network", *(f"PESQ {who}" for who in ORDER), "goal", *(f"delay {who}" for who in ORDER)),
        [(name, *each(name, "pesq", 1, 2), goal(name), *each(name, "delay", 1000)) for name in received],
    )
    yield (
        "As receivers: speech replaced by silence in %, PLCMOS, samples concealed in % (by their own count)",
        (
            "network",
            *(f"silence {who}" for who in ORDER),
            *(f"PLCMOS {who}" for who in ORDER),
            *(f"concealed {who}" for who in ORDER[1:]),
        ),
        [
            (name, *each(name, "silence", 100, 1), *each(name, "plcmos", 1, 2), *each(name, "concealed", 100, 1)[1:])
            for name in received
        ],
    )
    interrupted = [name for name in received if name in INTERRUPTED]
    if interrupted:
        yield (
            "Delay 5 s after it was over, less the delay before, in ms",
            ("network", *ORDER),
            [(name, *each(name, "delay_growth", 1000, 0, True)) for name in interrupted],
        )
    senders = []
    for who in ORDER:
        clean, lossy = (found.get(("send", condition, who)) for condition in ("clean", "5 % loss"))
        if clean is not None:
            senders.append(
                (
                    who,
                    _text(clean, "pesq", 1, 2),
                    _text(lossy, "pesq", 1, 2),
                    _text(clean, "plcmos", 1, 2),
                    _text(lossy, "plcmos", 1, 2),
                    _text(clean, "bitrate", 0.001, 1),
                    _text(lossy, "bitrate", 0.001, 1),
                    _text(clean, "level", 1, 1, True),
                    _text(clean, "spacing_99th", 1000, 1),
                )
            )
    if senders:
        yield (
            "As senders: what libwebrtc hears of them",
            (
                "sender",
                "PESQ clean",
                "PESQ 5 % loss",
                "PLCMOS clean",
                "PLCMOS 5 % loss",
                "kb/s clean",
                "kb/s 5 % loss",
                "level, dB",
                "p99 between packets, ms",
            ),
            senders,
        )


def console_tables(results: dict[str, Any]) -> Iterator[Table]:
    """Yield tables for a terminal; what misses its goal is red."""
    for title, columns, rows in _tables(results):
        shown = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            shown.add_column(column, justify="right" if number else "left")
        for row in rows:
            styled = list(row)
            if "goal" in columns:
                own, goal = columns.index("PESQ rtcpeer"), row[columns.index("goal")].removeprefix("≥ ")
                if goal != "–" and row[own] != "–" and float(row[own]) < float(goal):
                    styled[own] = f"[red]{row[own]}[/red]"
            shown.add_row(*styled)
        yield shown


def noise(results: dict[str, Any]) -> str:
    """Say how busy the machine was: what delays the sender's packets delays everything else, too."""
    lateness = max(row.get("sender_lateness") or 0.0 for row in results["rows"])
    load = results["machine"]["load_before"]
    return f"Load before: {load}; 99 % of the packets were sent within {1000 * lateness:.1f} ms of their time."


def write_markdown(results: dict[str, Any], path: Path) -> None:
    """Put the tables between the two marks of a document.

    Raises:
        ValueError: it has no such marks.
    """
    machine, seeds = results["machine"], results["seeds"]
    lines = [
        f"{results['date']}, `{results['command']}`, {results['seconds']} s. "
        f"Medians of {seeds} seed{'s' * (seeds > 1)}; Python {machine['python']}, {machine['cpus']} CPUs, "
        f"aiortc {machine['aiortc']}, PyAV {machine['av']}, @roamhq/wrtc {machine['@roamhq/wrtc']}. {noise(results)}",
    ]
    for title, columns, rows in _tables(results):
        lines += ["", f"**{title}**", "", _line(columns), _line(("---", *("--:" for _ in columns[1:])))]
        lines += [_line(row) for row in rows]
    text = path.read_text(encoding="utf-8")
    if _BEGIN not in text or _END not in text:
        raise ValueError(f"{path} has no place for the results: {_BEGIN} … {_END}")
    head, _, rest = text.partition(_BEGIN)
    tail = rest.partition(_END)[2]
    path.write_text("\n".join([head + _BEGIN, "", *lines, "", _END]) + tail, encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw PESQ by network, and the delay through the outage."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in results["rows"] if row["role"] == "receive"]
    names = list(dict.fromkeys(row["condition"] for row in rows))
    figure = plt.figure(figsize=(12, 8.5), layout="constrained")
    grid = figure.add_gridspec(2, len(INTERRUPTED))
    above = figure.add_subplot(grid[0, :])
    for place, who in enumerate(ORDER):
        own = {row["condition"]: row for row in rows if row["contestant"] == who}
        at = np.arange(len(names)) + 0.27 * (place - 1)
        heights = [own[name]["pesq"] or np.nan if name in own else np.nan for name in names]
        above.bar(at, [height - 1 for height in heights], 0.26, bottom=1, color=_COLOURS[who], label=who)
        for x, name in zip(at, names, strict=True):
            runs = own[name]["pesq_runs"] if name in own else []
            above.plot([x] * len(runs), runs, ".", color="black", markersize=3)
    for x, name in enumerate(names):
        if (goal := results["goals"].get(name)) is not None:
            above.plot([x - 0.42, x + 0.42], [goal, goal], "--", color="black", linewidth=1)
    above.set_xticks(range(len(names)), [name.replace(", ", ",\n").replace(" in ", "\nin ") for name in names])
    above.set_ylim(1, 4.64)
    above.set_ylabel("PESQ-WB")
    above.set_title("What is heard: medians; dots are single runs, dashes what rtcpeer is to reach", loc="left")
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)

    panels = [above]
    for place, (name, (begins, ends)) in enumerate(INTERRUPTED.items()):
        panels.append(below := figure.add_subplot(grid[1, place]))
        for row in rows:
            if row["condition"] == name:
                for delays in row.get("delay_over_time", ()):
                    when, delay = [each[0] for each in delays], [1000 * each[1] for each in delays]
                    below.plot(when, delay, ".", color=_COLOURS[row["contestant"]], markersize=3)
        below.axvspan(begins, ends, color="#e4e4e4")
        below.set_ylim(bottom=0)
        below.set_xlim(0, 20)
        below.set_xlabel("seconds of speech")
        below.set_ylabel("mouth to ear, ms")
        below.set_title(f"Delay through the {name}, all runs", loc="left")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def as_json(results: dict[str, Any]) -> str:
    """Return JSON with one row of the results a line: to be read, and to be compared."""
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in results["rows"])
    head = json.dumps(
        {name: value for name, value in results.items() if name != "rows"}, ensure_ascii=False, indent=1
    )
    return f'{head[:-2]},\n "rows": [\n  {rows}\n ]\n}}\n'
