"""What the playout makes of impaired networks, without a network and without waiting: for tuning it.

Our encoder → the seeded emulator's arrival times → ``rtcpeer.audio.jitter.Playout`` → PESQ-WB, delay, silence, all in
virtual time. The packets and their fates are those of ``audio_quality.py``, which has what is left out here: sockets,
SRTP, timers that are late, and the rivals. Nothing is asserted.

    python tests/bench/playout_offline.py [--seeds 5] [--only outage] [--jobs 2] [--json FILE] [--wav FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from quality.conditions import CONDITIONS, Condition
from quality.figures import delay_95th, delay_growth, middle
from quality.measure import Measured, at_16k, measure
from quality.sending import FRAME_SECONDS, encode, packet_fates
from quality.speech import FRAME, LENGTH, RATE, WARM_UP, material
from rich.console import Console
from rich.table import Table

from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.audio.opus import OpusDecoder
from rtcpeer.stats import InboundAudioStats

PAYLOAD_TYPE = 96
TAIL = 50
"""Frames played out after the last one was sent."""


@dataclass(slots=True)
class Run:
    """One condition with one seed."""

    measured: Measured
    stats: InboundAudioStats
    """Of the measured speech alone, warm-up left out."""
    bitrate: float
    """Bits a second of payload."""
    seconds: float
    """Of CPU in the playout, for each second of audio."""


def play(
    pcm: NDArray[np.int16], condition: Condition, seed: int
) -> tuple[NDArray[np.int16], InboundAudioStats, float, float]:
    """Send ``pcm``, ``(samples, 1)``, through the network.

    Return what is heard, on the sender's clock, and what ``Run`` has beside the measurement.
    """
    frames = len(pcm) // FRAME
    fates = packet_fates(condition.network, seed, frames)
    payloads = encode(pcm, fates)
    arrivals = sorted(
        (number * FRAME_SECONDS + delay, number) for number, delays in enumerate(fates) for delay in delays
    )
    playout = Playout({PAYLOAD_TYPE: OpusDecoder})
    # The two ends' ticks have nothing to do with each other.
    phase = Random(f"{seed}/phase").randrange(FRAME)
    heard = [np.zeros((phase, 1), np.int16)]
    at_start = at_end = playout.stats.to_dict()
    cpu, came = 0.0, 0
    for number in range(frames + TAIL):
        if number == WARM_UP // FRAME:
            at_start = playout.stats.to_dict()
        if number == frames:
            at_end = playout.stats.to_dict()
        tick = number * FRAME_SECONDS + phase / RATE
        began = time.thread_time()
        while came < len(arrivals) and arrivals[came][0] <= tick:
            arrival, sequence = arrivals[came]
            packet = MediaPacket(
                sequence & 0xFFFF, sequence * FRAME & 0xFFFFFFFF, PAYLOAD_TYPE, 1, payloads[sequence]
            )
            playout.put(packet, arrival)
            came += 1
        heard.append(playout.get(tick).samples)
        cpu += time.thread_time() - began
    stats = InboundAudioStats(**{name: at_end[name] - was for name, was in at_start.items()})
    seconds = frames * FRAME_SECONDS
    return np.concatenate(heard), stats, 8 * sum(map(len, payloads)) / seconds, cpu / seconds


def run_one(number: int, seed: int, plcmos: bool, wav: str | None) -> Run:
    """Play and measure one condition with one seed."""
    condition = CONDITIONS[number]
    pcm, utterances = material()
    heard, *counted = play(pcm, condition, seed)
    if wav is not None:
        _write(Path(wav) / f"{condition.name.replace(' ', '-')}-{seed}.wav", heard[WARM_UP:])
    measured = measure(at_16k(pcm[:, 0]), at_16k(heard[:, 0]), utterances, WARM_UP, plcmos=plcmos)
    return Run(measured, *counted)


def _write(path: Path, pcm: NDArray[np.int16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(pcm.tobytes())


def summary(condition: Condition, runs: Sequence[Run]) -> dict[str, object]:
    """Return the medians of one condition."""

    scores = [each.measured.pesq_whole if condition.whole else each.measured.pesq for each in runs]
    return {
        "condition": condition.name,
        "netem": condition.netem,
        "goal": condition.goal,
        "pesq": middle(scores),
        "pesq_lowest": round(min(scores), 3),
        "pesq_highest": round(max(scores), 3),
        "plcmos": middle([each.measured.plcmos for each in runs]),
        "silence": middle([each.measured.silence for each in runs]),
        "delay": middle([each.measured.delay for each in runs]),
        "delay_95th": middle([delay_95th(each.measured) for each in runs]),
        "delay_growth": middle([delay_growth(each.measured) for each in runs]),
        "concealed": middle([each.stats.concealed_samples / LENGTH for each in runs]),
        "fec": middle([each.stats.fec_recovered_samples / LENGTH for each in runs]),
        "inserted": middle([each.stats.inserted_samples_for_deceleration / LENGTH for each in runs]),
        "removed": middle([each.stats.removed_samples_for_acceleration / LENGTH for each in runs]),
        "discarded": middle([float(each.stats.packets_discarded) for each in runs]),
        "bitrate": middle([each.bitrate for each in runs]),
        "cpu_us_a_frame": middle([each.seconds * 20_000 for each in runs]),
    }


def table(rows: Sequence[dict[str, object]], seeds: int) -> Table:
    shown = Table(title=f"Playout in virtual time, medians of {seeds} seeds")
    for column in ("network", "PESQ-WB", "from", "to", "goal", "PLCMOS", "silence", "delay", "95 %", "after outage"):
        shown.add_column(column, justify="left" if column == "network" else "right")
    for column in ("concealed", "FEC", "inserted", "removed", "late", "kb/s", "µs CPU"):
        shown.add_column(column, justify="right")

    def text(row: dict[str, object], name: str, scale: float = 1.0, digits: int = 0, unit: str = "") -> str:
        value = row[name]
        return f"{value * scale:.{digits}f}{unit}" if isinstance(value, int | float) else "–"

    for row in rows:
        reached = not isinstance(row["goal"], float) or row["pesq"] >= row["goal"]  # type: ignore[operator]
        score = text(row, "pesq", digits=2)
        shown.add_row(
            str(row["condition"]),
            score if reached else f"[red]{score}[/red]",
            text(row, "pesq_lowest", digits=2),
            text(row, "pesq_highest", digits=2),
            text(row, "goal", digits=1),
            text(row, "plcmos", digits=2),
            text(row, "silence", 100, 1, " %"),
            text(row, "delay", 1000, 0, " ms"),
            text(row, "delay_95th", 1000, 0, " ms"),
            text(row, "delay_growth", 1000, 0, " ms"),
            text(row, "concealed", 100, 2, " %"),
            text(row, "fec", 100, 2, " %"),
            text(row, "inserted", 100, 2, " %"),
            text(row, "removed", 100, 2, " %"),
            text(row, "discarded"),
            text(row, "bitrate", 0.001, 1),
            text(row, "cpu_us_a_frame"),
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="conditions whose name has this in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--plcmos", action="store_true", help="also PLCMOS: half a second a run")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--wav", help="folder for what was heard")
    options = parser.parse_args()
    chosen = [number for number, each in enumerate(CONDITIONS) if options.only in each.name]
    with ProcessPoolExecutor(options.jobs) as pool:
        futures = {
            number: [
                pool.submit(run_one, number, seed, options.plcmos, options.wav)
                for seed in range(1, options.seeds + 1)
            ]
            for number in chosen
        }
        rows = [
            summary(CONDITIONS[number], [future.result() for future in running])
            for number, running in futures.items()
        ]
    console = Console() if Console().is_terminal else Console(width=190)
    console.print(table(rows, options.seeds))
    if options.json is not None:
        options.json.write_text(json.dumps({"seeds": options.seeds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
