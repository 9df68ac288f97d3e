"""Ten minutes of a call, recorded: both sides lie where they belong on one timeline, whatever the clocks do."""

from __future__ import annotations

import asyncio
import json
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import virtual_time
from calling import Nobody
from numpy.typing import NDArray

from rtcpeer import ErrorReported, Session
from rtcpeer.audio import disk
from rtcpeer.audio.opus import OpusEncoder
from rtcpeer.audio.sources import FileSource
from rtcpeer.call_folder import CallFolder
from rtcpeer.formats import VOICE
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.orga import Orga
from rtcpeer.transports.memory import MemoryLink
from rtcpeer.transports.rtp import PacketWriter
from signaling.scenario import speech_file

RATE, FRAME = 48_000, 960
# Each side says the same ten seconds again and again: a click in a second of silence, then speech.
CYCLE = 10 * RATE
CLICK_AT = RATE // 2  # the middle of it
CLICK = np.rint(16_000 * np.hanning(240) * np.sin(2 * np.pi * np.arange(240) / 24)).astype(np.int16)
OFFSET = 0.02
"""Seconds by which a click may lie later than it was made; 100 ppm of ten minutes are 0.06."""
DRIFT = 0.005
"""Seconds by which it may change in the course of a call whose pauses are silent."""


class OneWayLink(MemoryLink):
    """What is recorded of ours is what we said: nothing needs to be coded and sent for that."""

    def send_audio(self, pcm: NDArray[np.int16], frame: int, **of_it: Any) -> None:
        pass


def ten_seconds(name: str) -> NDArray[np.int16]:
    pcm = np.zeros((CYCLE, 1), np.int16)
    source = FileSource(str(speech_file(name)), loop=True)
    for start in range(RATE, CYCLE - RATE // 2, FRAME):
        frame = source.read(FRAME)
        assert frame is not None
        pcm[start : start + len(frame)] = frame
    source.close()
    pcm[CLICK_AT - 120 : CLICK_AT + 120, 0] = CLICK
    return pcm


@pytest.fixture(scope="module")
def ours() -> NDArray[np.int16]:
    return ten_seconds("user-2.flac")


@pytest.fixture(scope="module")
def theirs() -> list[bytes]:
    """As packets, coded once: a silence lies between a cycle and the next."""
    encoder = OpusEncoder(packet_loss=20)
    return [encoder.encode(frame) for frame in np.split(ten_seconds("assistant-2.flac"), CYCLE // FRAME)]


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    # Minutes of a call take a second here, and the recorder holds ten seconds.
    monkeypatch.setattr(disk, "_INTERVAL", 0.01)


@dataclass
class Recording:
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    far_began: float
    """Where the far end's sample 0 belongs, in seconds on the recording."""
    stats: dict[str, Any]

    def offsets(self, ppm: float) -> dict[int, float]:
        """Seconds by which the far end's clicks are heard later than they were made, by number; not those lost.

        The codec takes 6.5 ms; what the playout holds is no part of it.
        """
        found = {}
        for number in range(len(self.right) // CYCLE):
            made = round(RATE * self.far_began + (number * CYCLE + CLICK_AT) * (1 - ppm * 1e-6))
            start = made - RATE // 4
            sound = self.right[start : made + RATE // 4].astype(np.float64)
            energy = np.convolve(sound**2, np.ones(len(CLICK)), "valid")
            if energy.max() > 0.1 * np.sum(CLICK.astype(np.float64) ** 2):
                found[number] = (start + int(energy.argmax()) + len(CLICK) // 2 - made) / RATE
        return found


def record(
    path: Path,
    seconds: int,
    ours: NDArray[np.int16],
    theirs: list[bytes],
    *,
    ppm: float = 0,
    netem: str = "",
    pause: range = range(0),
    blocked: tuple[int, float] = (-1, 0),
) -> Recording:
    """Make a call in virtual time and return what its folder holds.

    Args:
        ppm: How fast the far end's clock is.
        pause: Frames that the far end does not send.
        blocked: Samples after which something blocks the event loop, and for how many seconds.
    """
    wav = path / "audio.wav"

    async def call() -> tuple[float, dict[str, Any]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual_time.VirtualTimeLoop)
        started = loop.time()
        protocol = Orga(Side.CLIENT, Orga.configure({}))
        session = Session(protocol, started)
        session.link = OneWayLink(protocol, session, netem=NetworkConditions.parse(netem), netem_seed=2)
        far = MemoryLink(Orga(Side.SERVER), Nobody())
        session.link.connect(far)
        CallFolder(path, session, {}, format="wav")

        def on_frame(position: int, said: NDArray[np.int16], heard: NDArray[np.int16]) -> None:
            if position % (8 * RATE) == 0:
                # The disk has real time: the recorder holds ten seconds for it, and drops what comes then.
                while wav.stat().st_size < 44 + 4 * (position - RATE):
                    time.sleep(0.001)
            if position == blocked[0]:
                loop.block(blocked[1])

        session.tap(on_frame)
        await session.play(ours, format=VOICE, loop=True)
        session.start_audio()
        ends = loop.time() + seconds - 0.01

        # It begins amid one of our frames, and counts its own time.
        await asyncio.sleep(0.013)
        began = loop.time()
        every = 0.02 * (1 - ppm * 1e-6)
        writer, sequence = PacketWriter(111, 7, b"", None), 0
        for number in range(int((ends - began) / every)):
            await asyncio.sleep(began + number * every - loop.time())
            if number not in pause:
                payload = theirs[number % len(theirs)]
                timestamp = number * FRAME & 0xFFFF_FFFF
                far.send_datagram(writer.write(sequence & 0xFFFF, timestamp, payload, level=127, voiced=True))
                sequence += 1
        await asyncio.sleep(ends - loop.time())
        stats = session.stats()
        await session.close()
        await far.close()
        assert [] == [entry for entry in session.events.entries() if isinstance(entry.said, ErrorReported)]
        return began - started, stats

    far_began, stats = virtual_time.run(call())
    starts_at = json.loads((path / "call.json").read_text())["audio"]["starts_at"]
    with wave.open(str(wav)) as file:
        assert (2, 2, RATE) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    wav.unlink()  # 115 MB that nobody wants to keep
    return Recording(pcm[:, 0], pcm[:, 1], far_began - starts_at, stats)


def check_offsets(offsets: dict[int, float]) -> None:
    assert 0 < min(offsets.values()) <= max(offsets.values()) < OFFSET
    assert max(offsets.values()) - min(offsets.values()) < DRIFT


@pytest.mark.parametrize("netem", ["", "loss=5%"])
@pytest.mark.parametrize("ppm", [-100, 0, 100])
def test_after_ten_minutes_both_sides_still_lie_where_they_belong(
    ppm: int, netem: str, tmp_path: Path, ours: NDArray[np.int16], theirs: list[bytes]
) -> None:
    # Late, so that nine minutes have to do without the new beginning that a pause is.
    pause = range(543 * 50, 548 * 50)
    recording = record(tmp_path, 600, ours, theirs, ppm=ppm, netem=netem, pause=pause)

    assert 600 * RATE == len(recording.left)
    for start in range(0, 600 * RATE, CYCLE):
        assert np.array_equal(ours[:, 0], recording.left[start : start + CYCLE])

    offsets = recording.offsets(ppm)
    assert {0, 1, 30, 59} <= offsets.keys()
    assert len(offsets) >= (57 if netem else 60)
    check_offsets(offsets)

    # The pause, from where what was made up for its beginning has died away; a quick clock ends it 55 ms sooner.
    silence = recording.right[round(545.5 * RATE) : round(547.9 * RATE)]
    assert not silence.any()
    assert recording.right[540 * RATE : 543 * RATE].any()


def test_while_the_loop_is_blocked_the_recording_is_silent_and_what_follows_is_in_its_place(
    tmp_path: Path, ours: NDArray[np.int16], theirs: list[bytes]
) -> None:
    at = 15 * RATE
    recording = record(tmp_path, 60, ours, theirs, blocked=(at, 1.5))

    skipped = recording.stats["clock"]["frames_skipped"] * FRAME
    assert 1.5 * RATE == pytest.approx(skipped, abs=2 * FRAME)
    assert 60 * RATE == len(recording.left)
    expected = np.tile(ours[:, 0], 6)
    gap = slice(at + FRAME, at + FRAME + skipped)
    assert np.array_equal(expected[: gap.start], recording.left[: gap.start])
    assert not recording.left[gap].any()
    # Theirs lies where it came, 60 ms at most before it was heard.
    assert not recording.right[gap.start : gap.stop - 60 * RATE // 1000].any()
    assert np.array_equal(expected[gap.start : -skipped], recording.left[gap.stop :])

    offsets = recording.offsets(0)
    assert 6 == len(offsets)
    check_offsets(offsets)
