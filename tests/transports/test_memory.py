"""Calls over the memory link, in virtual time: what minutes of a network do to a session."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import virtual_time
from calling import Nobody

from rtcpeer import Closed, Session, SpeechStopped, ToneSource, UpdateSession
from rtcpeer.audio.opus import OpusEncoder
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.orga import Orga
from rtcpeer.transports.media_clock import media_clock
from rtcpeer.transports.memory import MemoryLink
from rtcpeer.transports.rtp import PacketWriter
from rtcpeer.transports.watchdog import WATCHFUL

FRAME = 960


def make_session(side: Side, **options: Any) -> tuple[Session, MemoryLink]:
    protocol = Orga(side, Orga.configure({})) if side is Side.CLIENT else Orga(side)
    session = Session(protocol, asyncio.get_running_loop().time())
    link = session.link = MemoryLink(protocol, session, **options)
    return session, link


@asynccontextmanager
async def heard_by_a_session(
    netem: str = "", seed: int = 1
) -> AsyncIterator[tuple[Session, MemoryLink, MemoryLink, list[np.ndarray]]]:
    """A session and its link, a far end that is nothing but a link, and all that is heard."""
    session, link = make_session(Side.CLIENT, netem=NetworkConditions.parse(netem), netem_seed=seed)
    heard: list[np.ndarray] = []
    session.tap(lambda at, ours, theirs: heard.append(theirs))
    far = MemoryLink(Orga(Side.SERVER), Nobody())
    link.connect(far)
    session.start_audio()
    yield session, link, far, heard
    await session.close()
    await far.close()


def test_a_session_that_ended_before_its_audio_began_is_not_served_by_the_clock():
    async def main() -> None:
        session, _ = make_session(Side.CLIENT)
        await session.close()

        session.start_audio()

        assert not any(media_clock()._slots)
        assert media_clock()._timer is None

    virtual_time.run(main())


@pytest.fixture(scope="module")
def payloads(speech: list[np.ndarray]) -> list[bytes]:
    encoder = OpusEncoder(packet_loss=5)
    return [encoder.encode(frame) for frame in speech]


async def say(link: MemoryLink, frames: list[np.ndarray]) -> None:
    """As a session would."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, frame in enumerate(frames):
        await asyncio.sleep(began + number * 0.02 - loop.time())
        link.send_audio(frame, number, voiced=True)
        if number % 50 == 49:
            link.adapt()


async def send(
    link: MemoryLink,
    payloads: list[bytes],
    seconds: float,
    *,
    every: float = 0.02,
    watch: Callable[[float], None] | None = None,
) -> None:
    """Send the payloads again and again on a clock of one's own; ``watch`` is called once a second."""
    loop, writer = asyncio.get_running_loop(), PacketWriter(111, 7, b"", None)
    began = loop.time()
    for number in range(round(seconds / every)):
        await asyncio.sleep(began + number * every - loop.time())
        payload = payloads[number % len(payloads)]
        link.send_datagram(
            writer.write(number & 0xFFFF, number * FRAME & 0xFFFF_FFFF, payload, level=127, voiced=True)
        )
        if watch is not None and number % 50 == 0:
            watch(loop.time() - began)


def virtually(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in virtual time."""

    @functools.wraps(test)
    def wrapper(**fixtures: Any) -> None:
        virtual_time.run(test(**fixtures))

    return wrapper


# The link


@virtually
async def test_two_sessions_hear_and_tell_each_other():
    loop = asyncio.get_running_loop()
    client, link = make_session(Side.CLIENT, netem=NetworkConditions.parse("delay=100ms"))
    server, other = make_session(Side.SERVER)
    link.connect(other)
    client.start_audio()
    server.start_audio()
    await client.update(instructions="Be brief.")
    sent = loop.time()
    said = await server.wait_for(UpdateSession)
    assert 0.1 == pytest.approx(loop.time() - sent)
    assert "Be brief." == said.instructions

    await client.play(ToneSource(440, duration=1))
    await server.play(ToneSource(660, duration=1))
    for session in (client, server):
        assert (await session.wait_for(SpeechStopped, timeout=5)) is not None
    await client.close()
    await server.wait_for(Closed)
    await server.close()

    assert Closed("remote", "the far end closed the link") == server.events.entries()[-1].said
    for session in (client, server):
        stats = session.stats()
        assert 0 == stats["inbound_audio"]["packets_lost"] == stats["inbound_audio"]["packets_unplayable"]
        assert stats["inbound_audio"]["packets_received"] > 50


@virtually
async def test_a_far_end_that_vanishes_is_lost_when_the_watchdog_says():
    client, link = make_session(Side.CLIENT)
    server, other = make_session(Side.SERVER)
    link.connect(other)
    await server.abandon()
    gone = asyncio.get_running_loop().time()
    closed = await client.wait_for(Closed)

    assert "lost" == closed.reason
    assert pytest.approx(gone + WATCHFUL.lost_after) == asyncio.get_running_loop().time()
    await client.close()


def test_the_same_seed_makes_the_same_call(speech):
    async def call(seed: int) -> tuple[list[bytes], dict[str, Any]]:
        async with heard_by_a_session("loss=10%,delay=40ms,jitter=30ms,duplicate=2%", seed) as (_, link, far, heard):
            await say(far, speech[:250])
            return [frame.tobytes() for frame in heard], link.stats()

    first, again, other = (virtual_time.run(call(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first[0] != other[0]


@virtually
async def test_malformed_datagrams_end_nothing(payloads):
    rng = np.random.default_rng(8)
    async with heard_by_a_session() as (session, link, far, _):
        for size in [*range(40), 1500, 65_000] * 20:
            far.send_datagram(rng.bytes(size))
            far.send_datagram(b"\x80\xc9" + rng.bytes(size))
            far.send_datagram(b"\x90\x6f" + rng.bytes(size))
        await send(far, payloads, 3)
        assert not session.events.closed
        assert "normal" == link.hear(asyncio.get_running_loop().time()).operation


# What a network does


@pytest.mark.parametrize("ppm", [-200, 200])
def test_in_ten_minutes_a_senders_clock_that_is_off_adds_no_delay_and_conceals_nothing(ppm, payloads):
    async def call() -> None:
        # Links alone: a session would say something, too, and that is what costs.
        near, far = (MemoryLink(Orga(Side.SERVER), Nobody()) for _ in range(2))
        near.connect(far)
        near.impair(NetworkConditions.parse("delay=20ms"))
        delays = []

        def hear(number: int, now: float) -> None:
            near.hear(now)
            if number > 500:
                delays.append(near._playout.delay)

        media_clock().add(hear)
        await send(far, payloads, 600, every=0.02 * (1 - ppm * 1e-6))
        media_clock().remove(hear)
        stats = near.stats()["inbound_audio"]
        await near.close()
        assert 29_000 < len(delays)
        assert 0.01 < min(delays) <= max(delays) < 0.05
        assert 0 == stats["packets_discarded"] == stats["restarts"]
        assert stats["concealed_samples"] <= 2 * FRAME
        worked_off = stats["removed_samples_for_acceleration"] - stats["inserted_samples_for_deceleration"]
        assert ppm * 1e-6 * 600 == pytest.approx(worked_off / 48_000, abs=0.04)

    virtual_time.run(call())


@virtually
async def test_five_seconds_after_an_outage_the_delay_is_back(payloads):
    async with heard_by_a_session("delay=20ms,outage=10s+2s") as (session, link, far, heard):
        seen: dict[int, float] = {}
        await send(far, payloads, 17, watch=lambda t: seen.update({round(t): link._playout.delay}))
        stats = session.stats()["inbound_audio"]
        last = np.concatenate(heard[-100:])

    assert 100 == pytest.approx(stats["packets_lost"], abs=1)
    assert seen[16] < seen[9] + 0.005
    assert last.any()
    assert stats["concealed_samples"] < 2.3 * 48_000


def silenced(speech: list[np.ndarray], heard: list[np.ndarray]) -> int:
    """Samples of digital silence, 2.5 ms and more in a row, where there was loud speech."""
    said, got = (np.concatenate(each)[:, 0].astype(np.float64) for each in (speech, heard))
    size = 1 << int(np.ceil(np.log2(len(said) + len(got))))
    envelopes = [np.fft.rfft(np.abs(each), size) for each in (said, got)]
    shift = int(np.argmax(np.fft.irfft(envelopes[1] * np.conj(envelopes[0]), size)[: 48_000 * 2]))
    loud = np.convolve(np.abs(said), np.ones(480) / 480, "same") > 800
    got = got[shift : shift + len(said)]
    zero = np.concatenate(([0], (got == 0).astype(int), [0]))
    edges = np.flatnonzero(np.diff(zero))
    return sum(int(loud[a:b].sum()) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 120)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_at_5_percent_loss_no_speech_becomes_silence_and_fec_is_asked_for(seed, speech):
    async def call() -> None:
        async with heard_by_a_session("loss=5%,delay=30ms", seed) as (session, _, far, heard):
            frames = speech * 3
            await say(far, frames)
            await asyncio.sleep(0.3)
            stats = session.stats()["inbound_audio"]
        assert 0.02 < stats["packets_lost"] / len(frames) < 0.09
        assert 0 == silenced(frames, heard)
        # The first report comes after a second; from then on most of what is lost comes again with the next packet.
        assert stats["fec_recovered_samples"] > 0.5 * stats["packets_lost"] * FRAME
        assert stats["concealed_samples"] < 0.5 * stats["packets_lost"] * FRAME

    virtual_time.run(call())


@virtually
async def test_a_sender_that_stops_in_mid_word_fades_and_is_silent_within_three_seconds(speech, payloads):
    loudest = max(range(50, len(speech) - 20), key=lambda n: int(np.abs(speech[n].astype(int)).sum()))
    async with heard_by_a_session("delay=20ms") as (session, _, far, heard):
        await send(far, payloads, (loudest + 1) * 0.02)
        spoken = len(heard)
        await asyncio.sleep(60)
        stats = session.stats()["inbound_audio"]
        assert not session.events.closed

    levels = [float(np.sqrt(np.mean(frame.astype(float) ** 2))) for frame in heard[spoken:]]
    assert max(levels[15:]) < 0.1 * max(levels[:5])
    assert not any(levels[150:])
    assert stats["concealment_events"] <= 2
    assert 60 * 50 <= len(levels) + 5


@pytest.mark.parametrize("hertz", [100, 500])
def test_a_sender_faster_than_real_time_is_bounded(hertz, payloads):
    async def call() -> None:
        async with heard_by_a_session() as (session, link, far, heard):
            worst = 0.0

            def watch(_: float) -> None:
                nonlocal worst
                worst = max(worst, link._playout.delay)
                assert len(link._playout._queue) <= 100

            await send(far, payloads, 60, every=1 / hertz, watch=watch)
            stats = session.stats()["inbound_audio"]
            assert not session.events.closed
            # One that comes to its senses is heard in time again.
            began = len(heard)
            await send(far, payloads, 8)
            assert link._playout.delay < 0.1
            assert np.concatenate(heard[began + 100 :]).any()
        assert worst < 1.1
        assert stats["packets_discarded"] > 500
        assert 3000 == pytest.approx(stats["total_samples_received"] / FRAME, abs=3)

    virtual_time.run(call())
