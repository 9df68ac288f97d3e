"""What goes into a call and what holds it up, on loopback; the sources themselves are tested in audio/."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
import virtual_time
from calling import DEADLINE, USER, Belongings, answering, loudest_frequency, nothing_left_since, until

import rtcpeer
from rtcpeer import AudioFormat, ConfigurationError, ErrorReported, MediaError, Session, ToneSource
from rtcpeer.audio.jitter import PlayoutFrame
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.orga import Orga
from rtcpeer.transports.memory import MemoryLink

SPEECH = AudioFormat(24_000)


@pytest.fixture
async def call() -> AsyncIterator[tuple[Session, Session]]:
    """A session and the one that it called; nothing of either stays."""
    before = Belongings.now()
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t") as session:
        yield session, far_ends[0]
    await nothing_left_since(before)


def tone(seconds: float, frequency: float = USER) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(24_000 * seconds)) / 24_000)


async def hear(session: Session, seconds: float) -> np.ndarray:
    """The next sound and what follows it."""
    heard: list[np.ndarray] = []
    async with asyncio.timeout(DEADLINE):
        async for frame in session.audio:
            if heard or np.abs(frame.samples).max() > 300:
                heard.append(frame.samples)
            if len(heard) * 0.02 >= seconds:
                break
    return np.concatenate(heard)


async def test_what_is_synthesised_while_it_is_said_is_heard_at_the_far_end(call: tuple[Session, Session]) -> None:
    session, far_end = call
    speech = tone(1.0)

    async def synthesise() -> AsyncIterator[np.ndarray]:
        for size in (100, 7_000, 300, 300, 12_000, 4_300):
            nonlocal speech
            chunk, speech = speech[:size], speech[size:]
            yield chunk
            await asyncio.sleep(0)

    playback = await session.play(synthesise(), format=SPEECH)
    heard = await hear(far_end, 0.8)
    await asyncio.wait_for(playback, DEADLINE)

    assert USER == pytest.approx(loudest_frequency(heard), abs=5)
    levels = np.abs(heard[4_800:]).reshape(-1, 960).max(axis=1)
    assert levels.min() > 0.8 * levels.max()
    assert 1.0 == pytest.approx(playback.played, abs=0.001)


async def test_a_synthesis_that_fails_is_reported_and_the_call_goes_on(call: tuple[Session, Session]) -> None:
    session, far_end = call

    async def failing() -> AsyncIterator[bytes]:
        yield bytes(4_800)
        raise OSError("quota exceeded")

    playback = await session.play(failing(), format=SPEECH)
    after = await session.play(tone(1.0), format=SPEECH)
    with pytest.raises(MediaError, match="failing: OSError: quota exceeded"):
        await asyncio.wait_for(playback, DEADLINE)

    reported = await session.wait_for(ErrorReported, timeout=DEADLINE)
    assert "media" == reported.code
    assert "failing: OSError: quota exceeded" in reported.message
    assert USER == pytest.approx(loudest_frequency(await hear(far_end, 0.5)), abs=5)
    await asyncio.wait_for(after, DEADLINE)


async def test_closing_a_session_closes_what_it_plays(call: tuple[Session, Session]) -> None:
    session, _ = call
    closed = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(4_800)
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    await session.play(endless(), format=SPEECH, mix=True)
    playback = await session.play(endless(), format=SPEECH)
    await until(lambda: playback.played > 0)
    await session.close()

    assert [True, True] == closed


async def test_falling_silent_stops_everything_that_is_said(call: tuple[Session, Session]) -> None:
    session, far_end = call
    playbacks = [await session.play("tone"), await session.play("tone", mix=True), await session.play("tone")]
    await hear(far_end, 0.1)
    session.stop_playing()
    for playback in playbacks:
        await asyncio.wait_for(playback, DEADLINE)

    assert session.idle
    assert 0 == playbacks[2].played
    quiet = 0
    async with asyncio.timeout(DEADLINE):
        async for frame in far_end.audio:
            quiet = quiet + 1 if np.abs(frame.samples).max() < 100 else 0
            if quiet == 10:
                break


async def test_what_cannot_be_played_leaves_nothing_in_the_queue(call: tuple[Session, Session]) -> None:
    session, _ = call

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    with pytest.raises(ConfigurationError, match="need a format"):
        await session.play(b"\0\0")
    with pytest.raises(MediaError, match="float samples up to 1000"):
        await session.play(np.full(10, 1_000.0), format=SPEECH)
    with pytest.raises(ConfigurationError, match="gain of 90"):
        await session.play(never(), gain=90.0)
    assert session.idle


async def test_a_tap_that_holds_the_audio_up_is_named(
    call: tuple[Session, Session], caplog: pytest.LogCaptureFixture
) -> None:
    session, _ = call
    calls = []

    def write_to_a_slow_disk(position: int, said: np.ndarray, heard: np.ndarray) -> None:
        calls.append(position)
        if len(calls) in (10, 30):
            time.sleep(0.4)

    with caplog.at_level(logging.WARNING, "rtcpeer.transports.media_clock"):
        session.tap(write_to_a_slow_disk)
        await until(lambda: len(calls) > 40)

    [warning] = caplog.messages
    assert "write_to_a_slow_disk" in warning
    assert session.stats()["clock"]["frames_skipped"] > 0
    assert session.stats()["clock"]["late_slots"] > 0


async def test_a_session_names_itself(call: tuple[Session, Session]) -> None:
    session, far_end = call

    assert "<Session orga client conv_test>" == repr(session)
    assert "<Session orga server" in repr(far_end)


async def test_a_source_that_is_refused_stays_its_owners(call: tuple[Session, Session]) -> None:
    session, _ = call
    source = ToneSource()
    with pytest.raises(ConfigurationError):
        await session.play(source, loop=True)

    assert source.read(960) is not None


class StereoLink(MemoryLink):
    """Two channels are heard, loud ones, whatever comes; it cannot be cut off."""

    def hear(self, now: float) -> PlayoutFrame:
        return PlayoutFrame(np.full((960, 1), 9_000, np.int16), "normal", np.full((960, 2), 9_000, np.int16))


@pytest.mark.parametrize("channels", [1, 2])
def test_an_interrupted_agent_in_stereo_is_silent_for_readers_too(channels: int) -> None:
    async def call() -> tuple[list[np.ndarray], list[np.ndarray]]:
        protocol = Orga(Side.CLIENT, Orga.configure({}))
        session = Session(protocol, asyncio.get_running_loop().time())
        session.link = StereoLink(protocol, session)
        far = MemoryLink(Orga(Side.SERVER), session)
        session.link.connect(far)
        session.start_audio()
        reader = session.audio.in_format(AudioFormat(48_000, channels))
        before = [(await anext(reader)).samples for _ in range(5)]
        await session.interrupt()
        after = [(await anext(reader)).samples for _ in range(5)]
        await session.close()
        await far.close()
        return before, after

    before, after = virtual_time.run(call())

    assert all((frame == 9_000).all() for frame in before)
    assert not any(frame.any() for frame in after)
