"""rtcpeer, stock aiortc and libwebrtc over the same impaired networks: as receivers of the same packets, as senders.

Every contestant runs in a process of its own; a userspace relay between the two ends gives each packet its fate,
drawn from the seed by its number. In real time: a round of calls takes half a minute. How to read the results is said
in docs/audio-quality.md, whose tables this program writes. Nothing is asserted: a benchmark informs, tests decide.

    python tests/bench/audio_quality.py [--quick] [--seeds 3] [--only outage] [--parallel 9] [--docs docs]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from quality.call import PROGRAMS, Call
from quality.conditions import CONDITIONS, Condition
from quality.figures import delay_95th, delay_growth, middle
from quality.measure import Measured, at_16k, measure
from quality.recording import heard
from quality.report import INTERRUPTED, as_json, console_tables, draw, noise, write_markdown
from quality.sending import Fates, encode, packet_fates
from quality.speech import FRAME, LENGTH, RATE, WARM_UP, material
from rich.console import Console

QUICK = ("clean", "5 % loss", "30±20 ms, reordering")
SENDING = ("clean", "5 % loss")
TAIL = 1.5
"""Seconds to listen on after the last word."""
NODE_PARTS = Path(__file__).parents[1] / "interop" / "node_modules" / "@roamhq" / "wrtc"


@dataclass(slots=True)
class Cell:
    """One contestant on one network with one seed; ``role`` says which end it is: receive or send."""

    role: str
    contestant: str
    condition: Condition
    seed: int
    file: Path
    began: float = 0.0
    stats: list[dict[str, Any]] = field(default_factory=list)
    lateness: float = 0.0
    """99th percentile of how late the sender's packets were sent, in seconds."""
    lost: float = 0.0
    spacing: float | None = None
    """99th percentile of the time between two packets of a sender, in seconds."""
    failure: str | None = None
    measured: Measured | None = None


def plan(seeds: int, quick: bool, only: str, folder: Path) -> list[list[Cell]]:
    """Return what is to be measured, in groups that must run at the same time to be compared."""
    groups = []
    for seed in range(1, seeds + 1):
        for condition in CONDITIONS:
            if only not in condition.name or (quick and condition.name not in QUICK):
                continue
            groups.append([Cell("receive", each, condition, seed, folder) for each in PROGRAMS])
        sending = [each for each in CONDITIONS if each.name in SENDING and only in each.name]
        groups += [[Cell("send", each, condition, seed, folder) for each in PROGRAMS] for condition in sending]
    for number, cell in enumerate(cell for group in groups for cell in group):
        cell.file = folder / f"{number}.heard"
    return groups


class Round:
    """Calls that run at the same time."""

    def __init__(self, cells: Sequence[Cell], pcm: NDArray[np.int16], said: dict[str, Path]) -> None:
        self._cells = cells
        self._pcm = pcm
        self._said = said
        self._frames = len(pcm) // FRAME

    async def run(self) -> None:
        # All that takes time beforehand: the packets of a network and seed are made once.
        sent: dict[tuple[str, int], tuple[Fates, list[bytes]]] = {}
        calls: list[tuple[Cell, Call]] = []
        for cell in self._cells:
            key = cell.condition.netem, cell.seed
            if key not in sent:
                # A sender of its own choosing sends before the first word, and may send more packets.
                fates = packet_fates(cell.condition.network, cell.seed, 2 * self._frames)
                sent[key] = fates, encode(self._pcm, fates)
            calls.append((cell, Call(cell.role, cell.contestant, sent[key][0], cell.file)))

        async def connect(cell: Cell, call: Call) -> None:
            if cell.role == "receive":
                await call.connect_from(sent[cell.condition.netem, cell.seed][1])
            else:
                await call.connect_to(self._said[cell.contestant])

        try:
            up = await self._all(calls, connect)
            gc.collect()
            gc.freeze()
            gc.disable()
            await asyncio.sleep(1)
            loop = asyncio.get_running_loop()
            begin = loop.time() + 0.5
            # The calls' packets are spread over the 20 ms, or the last would always wait for all others.
            starts = {id(call): begin + 0.02 * number / len(up) for number, (_, call) in enumerate(up)}
            up = await self._all(up, lambda _, call: call.speak(starts[id(call)]))
            for moment in (WARM_UP / RATE, (WARM_UP + LENGTH) / RATE):
                await asyncio.sleep(begin + moment - loop.time())
                up = await self._all(up, lambda _, call: call.count())
            await asyncio.sleep(TAIL)
            for cell, call in await self._all(up, lambda _, call: call.close()):
                cell.began, cell.stats = call.began, call.stats
                packets, lost = call.relay.media
                cell.lost = lost / packets if packets else 0.0
                if call.speaker is not None:
                    cell.lateness = float(np.quantile(call.speaker.lateness, 0.99))
                elif call.relay.media_spacing:
                    cell.spacing = float(np.quantile(call.relay.media_spacing, 0.99))
        finally:
            gc.enable()
            await asyncio.gather(*(call.release() for _, call in calls), return_exceptions=True)

    @staticmethod
    async def _all(calls: Sequence[tuple[Cell, Call]], do: Any) -> list[tuple[Cell, Call]]:
        """Do it with every call at once; one that fails is left out from then on and says why."""
        results = await asyncio.gather(*(do(cell, call) for cell, call in calls), return_exceptions=True)
        for (cell, _), result in zip(calls, results, strict=True):
            if isinstance(result, BaseException):
                cell.failure = f"{type(result).__name__}: {result}"
        return [each for each, result in zip(calls, results, strict=True) if not isinstance(result, BaseException)]


def analyse(cell: Cell) -> Cell:
    """Measure what one cell's receiver heard."""
    if cell.failure is None:
        pcm, utterances = material()
        pcm_heard = heard(cell.file, cell.began, len(pcm) / RATE + TAIL)
        cell.measured = measure(at_16k(pcm[:, 0]), at_16k(pcm_heard), utterances, WARM_UP, plcmos=True)
    return cell


def summary(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the medians over the seeds."""
    rows: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.role, cell.condition.name, cell.contestant), []).append(cell)
    return [_row(role, contestant, same) for (role, _, contestant), same in rows.items()]


def _row(role: str, contestant: str, cells: Sequence[Cell]) -> dict[str, Any]:
    condition = cells[0].condition
    known = [(cell, cell.measured) for cell in cells if cell.measured is not None]
    measured = [each for _, each in known]
    scores = [each.pesq_whole if condition.whole else each.pesq for each in measured]
    row: dict[str, Any] = {
        "role": role,
        "condition": condition.name,
        "netem": condition.netem,
        "contestant": contestant,
        "runs": len(known),
        "failures": [cell.failure for cell in cells if cell.failure is not None],
        "pesq": middle(scores),
        "pesq_runs": [round(score, 3) for score in scores],
        "plcmos": middle(each.plcmos for each in measured),
        "silence": middle(each.silence for each in measured),
        "level": middle(each.level for each in measured),
        "concealed": middle(_share(cell, "concealed") for cell, _ in known),
        "packets_lost": middle(cell.lost for cell in cells if cell.failure is None),
    }
    if role == "receive":
        row["delay"] = middle(each.delay for each in measured)
        row["delay_95th"] = middle(delay_95th(each) for each in measured)
        row["delay_growth"] = middle(delay_growth(each) for each in measured)
        row["sender_lateness"] = middle(cell.lateness for cell in cells if cell.failure is None)
        if condition.name in INTERRUPTED:
            row["delay_over_time"] = [each.delays for each in measured]
    else:
        row["bitrate"] = middle(_bitrate(cell) for cell, _ in known)
        row["spacing_99th"] = middle(cell.spacing for cell, _ in known)
    return row


def _share(cell: Cell, name: str) -> float | None:
    before, after = cell.stats
    if after["total"] is None or after["total"] == before["total"]:
        return None
    return float((after[name] - before[name]) / (after["total"] - before["total"]))


def _bitrate(cell: Cell) -> float:
    before, after = cell.stats
    return float(8 * (after["bytes"] - before["bytes"]) * RATE / LENGTH)


def _write_said(pcm: NDArray[np.int16], folder: Path) -> dict[str, Path]:
    """Write what senders are to say, in the form that each of them reads."""
    raw, wav = folder / "said.s16", folder / "said.wav"
    raw.write_bytes(pcm.tobytes())
    with wave.open(str(wav), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(pcm.tobytes())
    return {"rtcpeer": wav, "aiortc": raw, "libwebrtc": raw}


async def measure_all(
    groups: Sequence[Sequence[Cell]], parallel: int, said: dict[str, Path], console: Console
) -> None:
    pcm, _ = material()
    size = max(1, parallel // len(PROGRAMS))
    rounds = [groups[at : at + size] for at in range(0, len(groups), size)]
    for number, some in enumerate(rounds, 1):
        cells = [cell for group in some for cell in group]
        names = ", ".join(dict.fromkeys(f"{cell.condition.name} ({cell.role})" for cell in cells))
        console.print(f"round {number} of {len(rounds)}: {names}", highlight=False)
        await Round(cells, pcm, said).run()
        for cell in cells:
            if cell.failure is not None:
                console.print(f"  {cell.contestant}, {cell.condition.name}: {cell.failure}", markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, three networks: two minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    parser.add_argument("--parallel", type=int, default=9, help="calls at the same time")
    parser.add_argument("--docs", type=Path, help="folder of the documents to write the results into")
    options = parser.parse_args()
    if shutil.which("node") is None or not NODE_PARTS.exists():
        sys.exit("libwebrtc is missing: install Node and npm, then run `make interop-parts`")

    console = Console() if Console().is_terminal else Console(width=150)
    began = time.monotonic()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="audio-quality-") as name:
        folder = Path(name)
        groups = plan(1 if options.quick else options.seeds, options.quick, options.only, folder)
        asyncio.run(measure_all(groups, options.parallel, _write_said(material()[0], folder), console))
        console.print("listening to what was heard", highlight=False)
        with ProcessPoolExecutor() as pool:
            cells = list(pool.map(analyse, (cell for group in groups for cell in group)))

    results = {
        "command": f"python {' '.join(['tests/bench/audio_quality.py', *sys.argv[1:]])}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            "python": platform.python_version(),
            "system": platform.system(),
            "cpus": os.cpu_count(),
            "load_before": round(load, 2),
            **{package: version(package) for package in ("aiortc", "av", "pesq", "speechmos")},
            "@roamhq/wrtc": json.loads((NODE_PARTS / "package.json").read_text())["version"],
        },
        "seeds": 1 if options.quick else options.seeds,
        "seconds": round(time.monotonic() - began),
        "goals": {each.name: each.goal for each in CONDITIONS},
        "rows": summary(cells),
    }
    for each in console_tables(results):
        console.print(each)
    console.print(f"{noise(results)} {results['seconds']} s.", highlight=False)
    if options.docs is not None:
        (options.docs / "bench").mkdir(exist_ok=True)
        (options.docs / "bench" / "audio.json").write_text(as_json(results))
        draw(results, options.docs / "bench" / "audio.png")
        write_markdown(results, options.docs / "audio-quality.md")
    if any(cell.failure is not None for cell in cells):
        sys.exit(1)


if __name__ == "__main__":
    main()
