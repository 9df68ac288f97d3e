"""A caller that is killed, and one whose far end says nothing for a minute."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from parts import API_KEY, Node

from .caller import Caller, callers, told_since
from .hosts import UP_WITHIN
from .rows import Cell, Outcome, Row
from .servers import KEY, mock

RECORDED = 20.0
"""Seconds of a call that is killed."""
MUTED = 60.0
RATE = 48_000


async def killed(each: Mapping[str, int], folder: Path) -> Row:
    """``kill -9`` of a process that records its call; the seconds are those of its end that nobody can play."""
    row = Row(f"kill -9 of a caller that has recorded {RECORDED:g} s", "missing at the end of the recording", 1.0)
    async with mock() as server, callers(each, max(each.values())) as everybody:
        for number, caller in enumerate(everybody):
            name = folder / f"{number}" if caller.system == "rtcpeer" else folder / f"{number}.ogg"
            await caller.call(url=server.url, key=KEY, record=str(name))
            if await caller.first_sound(UP_WITHIN) is None:
                raise RuntimeError(f"{caller.system} was not up within {UP_WITHIN:g} s")
        await asyncio.sleep(RECORDED)
        for number, caller in enumerate(everybody):
            killed_at = time.monotonic()
            await caller.kill()
            left = _folder_left if caller.system == "rtcpeer" else _file_left
            outcome = await asyncio.to_thread(left, caller, folder / f"{number}", killed_at)
            row.cells.setdefault(caller.system, Cell(RECORDED)).outcomes.append(outcome)
    return row


def _folder_left(caller: Caller, folder: Path, killed_at: float) -> Outcome:
    began = next(said["t"] for said in caller.said if said["type"] == "began")
    call = json.loads((folder / "call.json").read_text())
    expected = killed_at - began - call["audio"]["starts_at"]
    readable = playable(folder / call["audio"]["file"])
    events = lines(folder / "events.jsonl")
    told = sum(said["type"] == "told" for said in caller.said)
    stats = lines(folder / "stats.jsonl")
    figures = {
        "recorded": round(expected, 2),
        "playable": round(readable, 2),
        "events told": told,
        "events readable": len(events),
        "missing at the end of stats.jsonl": round(killed_at - began - stats[-1]["t"], 2),
    }
    return Outcome(
        expected - readable, f"{told - min(told, len(events))} of {told} events are missing", phases=figures
    )


def _file_left(caller: Caller, folder: Path, killed_at: float) -> Outcome:
    began = next(said["t"] for said in caller.said if said["type"] == "recording")
    expected, readable = killed_at - began, playable(folder.with_suffix(".ogg"))
    return Outcome(
        expected - readable,
        "no file that can be read" if readable == 0 else "",
        phases={"recorded": round(expected, 2), "playable": round(readable, 2)},
    )


def playable(path: Path) -> float:
    """Return the seconds of audio that can be decoded, however the file ends."""
    samples = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                samples += frame.samples
                rate = frame.sample_rate
    except (av.FFmpegError, OSError, IndexError):
        pass  # it ends in the middle of something, or was never begun
    return samples / rate if samples else 0.0


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a JSON Lines file that are whole."""
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


async def muted(systems: Mapping[str, int]) -> Row:
    """The far end, libwebrtc, sends no audio for a minute: muted, as with DTX. Being dropped would be the fault."""
    row = Row(f"the far end is muted for {MUTED:g} s: not a fault", "unmuted to sound again", None)
    found = await asyncio.gather(*(_muted(system) for system in systems))
    for system, outcome in zip(systems, found, strict=True):
        row.cells[system] = Cell(UP_WITHIN, [outcome])
    return row


async def _muted(system: str) -> Outcome:
    async with Node.run("wrtc_server.js", apiKey=API_KEY, frequency=660) as node, callers([system], 1) as [caller]:
        port = (await node.wait_for("listening"))["port"]
        reading = asyncio.create_task(node.drain())
        try:
            await caller.call(url=f"http://127.0.0.1:{port}", key=API_KEY)
            if await caller.first_sound(UP_WITHIN) is None:
                raise RuntimeError(f"{system} was not up within {UP_WITHIN:g} s")
            began = time.monotonic()
            await node.obey("mute")
            await asyncio.sleep(MUTED)
            unmuted = time.monotonic()
            await node.obey("unmute")
            sound = await caller.wait_for(
                "sound", UP_WITHIN, lambda said: said["gap"] is not None and said["gap"] > MUTED / 2
            )
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        told = told_since(caller.said, began)
        await caller.hang_up()
    return Outcome(None if sound is None else sound["t"] - unmuted, told=told)
