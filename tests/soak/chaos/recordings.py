"""Is a call folder whole? A program: a JSON list of what is expected on stdin, a list of sentences on stdout.

In a process of its own: decoding is no part of what is soaked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 48_000
SLACK = 0.3
"""Seconds by which a recording may be shorter or longer than its call; frames are 20 ms, pages 200."""


def faults_of(expected: dict[str, Any]) -> list[str]:
    """Return what is wrong with one folder.

    Args:
        expected: ``folder``; ``reason`` of ``Closed``; ``frames`` on the clock, and of these ``audible``, ours and
            theirs, or ``None`` where nobody counted; ``received``: it was asked for; ``threshold`` of audible.
    """
    folder = Path(expected["folder"])
    try:
        call = json.loads((folder / "call.json").read_text("utf-8"))
        return [f"{folder}: {fault}" for fault in _faults(folder, call, expected)]
    except Exception as exc:
        return [f"{folder}: {type(exc).__name__}: {exc}"]


def _faults(folder: Path, call: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    found: list[str] = []
    events = _lines(folder / "events.jsonl")
    _lines(folder / "stats.jsonl")
    if not events or events[-1]["type"] != "Closed":
        found.append(f"events.jsonl does not end with Closed, but with {events[-1:]}")
    elif call["ended"] is None or call["ended"]["reason"] != events[-1]["reason"]:
        found.append(f"call.json says it ended as {call['ended']}, events.jsonl as {events[-1]}")
    elif expected["reason"] is not None and expected["reason"] != events[-1]["reason"]:
        found.append(f"ended as {events[-1]['reason']}, and the caller saw {expected['reason']}")
    times = [event["t"] for event in events]
    if times != sorted(times):
        found.append("events.jsonl: time goes back")
    audio = call["audio"]
    if audio is None or audio["starts_at"] is None:
        if expected["frames"]:
            found.append(f"{expected['frames']} frames of audio, and call.json knows of none")
        return found
    pcm = _decode(folder / audio["file"])
    seconds = pcm.shape[1] / RATE
    if pcm.shape[0] != 2:
        found.append(f"{audio['file']} has {pcm.shape[0]} channels")
    longest = call["ended"]["t"] - audio["starts_at"]
    if seconds > longest + SLACK:
        found.append(f"{audio['file']} lasts {seconds:.2f} s, the call {longest:.2f} s")
    if expected["frames"] is not None:
        # Frames that the clock skipped, as the loop was held up, are silence in the file.
        lasting = expected["frames"] * 0.02
        skipped = call["stats"]["clock"]["frames_skipped"] * 0.02
        if not lasting - SLACK <= seconds <= lasting + skipped + SLACK:
            found.append(f"{audio['file']} lasts {seconds:.2f} s, {lasting:.2f} s were said and heard")
        found += _silent(pcm, audio["file"], expected)
    if expected["received"] and call["received"] is not None:
        heard = _decode(folder / call["received"]["file"]).shape[1] / RATE
        if not 0 < heard <= longest + 1.0:
            found.append(f"received.ogg lasts {heard:.2f} s, the call {longest:.2f} s")
    return found


def _silent(pcm: np.ndarray, name: str, expected: dict[str, Any]) -> list[str]:
    """What was audible in the call is audible in its file, on its side."""
    whole = pcm[:, : pcm.shape[1] // 960 * 960].reshape(2, -1, 960)
    found = []
    for side, frames, counted in zip(("ours", "theirs"), whole, expected["audible"], strict=True):
        recorded = int((frames.max(axis=1) > expected["threshold"]).sum())
        # A codec of its own lies between: at the edges of words it is a frame more or less.
        if abs(recorded - counted) > 15 + 0.15 * counted:
            found.append(f"{name}: {side}: {recorded * 0.02:.2f} s are audible, {counted * 0.02:.2f} s were")
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    if text and not text.endswith("\n"):
        raise ValueError(f"{path.name} ends in mid-line")
    return [json.loads(line) for line in text.splitlines()]


def _decode(path: Path) -> np.ndarray:
    """Return ``(channels, samples)`` int16 at 48 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16p", rate=RATE)
        frames = [out.to_ndarray() for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(frames, axis=1) if frames else np.zeros((2, 0), np.int16)


if __name__ == "__main__":
    json.dump([fault for expected in json.load(sys.stdin) for fault in faults_of(expected)], sys.stdout)
