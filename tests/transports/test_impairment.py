"""The emulator on a peer connection: two links on loopback, one of them impaired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from calling import DEADLINE, Nobody

from rtcpeer.audio.jitter import MediaPacket
from rtcpeer.commands import UpdateSession
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols import Orga
from rtcpeer.protocols.base import Side
from rtcpeer.said import Said
from rtcpeer.transports.webrtc import RtcLink

FRAMES = 1000
SILENCE = np.zeros((960, 1), np.int16)


class Listener(Nobody):
    def __init__(self) -> None:
        self.packets: list[MediaPacket] = []
        self.said: list[Said] = []
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()

    def on_said(self, said: Said) -> None:
        self.said.append(said)
        self.changed.set()

    def on_refused(self, reason: str) -> None:
        raise AssertionError(reason)

    def on_packet(self, packet: MediaPacket) -> None:
        self.packets.append(packet)
        self.changed.set()

    def on_ended(self, reason: str, detail: str) -> None:
        self.ended.set_result(reason)

    async def has_packets(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.packets) < number:
                self.changed.clear()
                await self.changed.wait()

    async def has_said(self, number: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while len(self.said) < number:
                self.changed.clear()
                await self.changed.wait()


class OpenLink(RtcLink):
    """Hands packets to whoever hears rather than to the playout."""

    heard: Listener

    def _on_packet(self, packet: MediaPacket) -> None:
        self.heard.on_packet(packet)


class End:
    """One of the two: a link and what it reported."""

    def __init__(self, side: Side, netem: str = "", seed: int = 0) -> None:
        self.heard = Listener()
        self.link = OpenLink(
            Orga(side, Orga.configure({})), self.heard, netem=NetworkConditions.parse(netem), netem_seed=seed
        )
        self.link.heard = self.heard
        self.sent = 0

    async def send(self, frames: int) -> None:
        """As fast as the far end can take them."""
        for _ in range(frames):
            self.link.send_audio(SILENCE, self.sent, voiced=False)
            self.sent += 1
            await asyncio.sleep(0)  # the far end lives in this loop, and its socket holds only so much


@asynccontextmanager
async def call(netem: str, *, seed: int = 0) -> AsyncIterator[tuple[End, End]]:
    """A peer whose datagrams are impaired, and a far end that knows nothing of it."""
    peer, far = End(Side.CLIENT, netem, seed), End(Side.SERVER)
    try:
        async with asyncio.timeout(DEADLINE):
            await peer.link.accept(await far.link.answer(await peer.link.offer(video=False)))
            for end in (peer, far):
                await end.link.connected()
                await end.link.opened()
        yield peer, far
    finally:
        await peer.link.close()
        await far.link.close()


async def exchange(peer: End, far: End, frames: int = FRAMES) -> None:
    """Send audio both ways, then a message behind it: once that has come, so has the audio."""
    await asyncio.gather(peer.send(frames), far.send(frames))
    peer.link.send(UpdateSession(instructions="done"))
    far.link.send_messages(['{"type": "done"}'])
    await far.heard.has_said(1)
    await peer.heard.has_said(1)


async def test_each_direction_loses_once_and_for_itself():
    async with call("loss=10%", seed=3) as (peer, far):
        await exchange(peer, far)
        stats = peer.link.stats()["netem"]

    for heard, direction in ((peer.heard, "incoming"), (far.heard, "outgoing")):
        assert 1 - len(heard.packets) / FRAMES == pytest.approx(0.10, abs=0.03)
        did = stats[direction]
        # RTCP goes the same way, and may be lost as well.
        assert FRAMES <= did["packets_sent"] <= FRAMES + 30
        assert FRAMES - len(heard.packets) <= did["packets_lost"] <= FRAMES - len(heard.packets) + 10
    lost = [
        set(range(FRAMES)) - {(packet.timestamp - heard.packets[0].timestamp) // 960 for packet in heard.packets}
        for heard in (peer.heard, far.heard)
    ]
    assert lost[0] != lost[1]


async def test_ice_dtls_and_the_channel_do_not_notice_unless_asked():
    async with call("loss=100%") as (peer, far):
        await exchange(peer, far, 50)
        stats = peer.link.stats()["netem"]

    assert ([], []) == (peer.heard.packets, far.heard.packets)
    assert ["done"] == [said.instructions for said in far.heard.said]
    assert 50 <= stats["outgoing"]["packets_sent"] == stats["outgoing"]["packets_lost"]


async def test_all_includes_ice_and_dtls():
    async with call("delay=10ms,all=1") as (peer, _):
        stats = peer.link.stats()["netem"]

    # No audio was sent: this was ICE, DTLS and SCTP.
    assert min(stats[way]["packets_sent"] for way in ("outgoing", "incoming")) >= 8


async def test_delayed_packets_all_arrive_and_jitter_reorders_them():
    async with call("delay=60ms,jitter=50ms") as (peer, far):
        await peer.send(200)
        await far.heard.has_packets(200)

    numbers = [packet.timestamp for packet in far.heard.packets]
    assert len(set(numbers)) == 200
    assert numbers != sorted(numbers)


async def test_a_stall_lets_go_of_packets_in_their_order():
    async with call("stall=0s+200ms") as (peer, far):
        await peer.send(100)
        await far.heard.has_packets(100)

    numbers = [packet.timestamp for packet in far.heard.packets]
    assert sorted(numbers) == numbers


async def test_conditions_change_while_a_clean_call_runs():
    async with call("") as (peer, far):
        await peer.send(20)
        await far.heard.has_packets(20)
        assert peer.link.stats()["netem"] is None
        peer.link.impair(NetworkConditions.parse("loss=100%"))
        await peer.send(20)
        peer.link.impair(NetworkConditions())
        await peer.send(20)
        await far.heard.has_packets(40)
        stats = peer.link.stats()["netem"]

    assert stats["outgoing"]["packets_lost"] >= 20
    assert stats["conditions"] == ""


async def test_the_goodbye_is_heard_though_everything_is_lost_and_late():
    async with call("delay=100ms") as (peer, far):
        peer.link.impair(NetworkConditions.parse("delay=10s,loss=50%,all=1"))
        await peer.send(20)
        await peer.link.close()
        async with asyncio.timeout(DEADLINE):
            assert "remote" == await far.heard.ended


async def test_an_impaired_link_that_vanishes_says_nothing():
    async with call("delay=10ms") as (peer, far):
        await peer.send(5)
        await peer.link.abandon()
        await far.send(5)

        assert not far.heard.ended.done()
