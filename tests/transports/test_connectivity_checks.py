"""Connectivity checks on sockets of loopback; what they find behind NATs and relays is in interop/test_nat.py."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aioice import Candidate, stun
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy
from calling import until
from stock import LABEL, stock_peer

from rtcpeer.connecting import accept
from rtcpeer.protocols import Orga, Side
from rtcpeer.transports.aiortc_compat import checks
from rtcpeer.transports.aiortc_compat.checks import AGAIN, PAIRS, CheckingProtocol
from rtcpeer.transports.aiortc_compat.ice import ice_transports

ADDRESS = ("192.0.2.1", 9)


class Wire(CheckingProtocol):
    """A socket that keeps what it is to send."""

    def __init__(self) -> None:
        super().__init__(None)
        self.sent: list[bytes] = []

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        assert addr == ADDRESS
        self.sent.append(bytes(message))


@asynccontextmanager
async def our_checks() -> AsyncIterator[tuple[Any, CheckingProtocol]]:
    """A connection that is being checked, and one of its sockets."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("audio")
    (transport,) = ice_transports(pc)
    connection = transport._connection
    checks.check_quickly(pc)
    connection.remote_username, connection.remote_password = "theirs", "0123456789012345678901"
    wire = Wire()
    wire.local_candidate = Candidate("1", 1, "udp", 1, "127.0.0.1", 9, "host")
    connection.check_start_task = lambda pair: None
    try:
        yield connection, wire
    finally:
        await pc.close()


def binding() -> stun.Message:
    return stun.Message(stun.Method.BINDING, stun.Class.REQUEST)


async def test_a_first_check_that_was_lost_is_repeated_when_the_far_ends_comes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "FIRST_RETRY", 3600.0)  # so that nothing else repeats it
    lost: Counter[Any] = Counter()
    send = CheckingProtocol.send_stun

    def lose_the_first(self: CheckingProtocol, message: stun.Message, addr: tuple[str, int]) -> None:
        if message.message_class == stun.Class.REQUEST and not lost[self, addr]:
            lost[self, addr] += 1
        else:
            send(self, message, addr)

    monkeypatch.setattr(CheckingProtocol, "send_stun", lose_the_first)
    # With one transport its candidates are what its checks come from, so that ours are under way by then.
    async with stock_peer(RTCBundlePolicy.MAX_BUNDLE) as pc:
        pc.addTransceiver("audio")
        pc.createDataChannel(LABEL)
        await pc.setLocalDescription()
        session, answer = await accept(Orga(Side.SERVER), pc.localDescription.sdp)
        try:
            await until(lambda: lost)
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await session.opened()
        finally:
            await session.close()


def check_of_theirs(**attributes: Any) -> stun.Message:
    found = binding()
    found.attributes.update({"USERNAME": "a:b", "ICE-CONTROLLED": 1, **attributes})
    return found


async def test_checks_from_a_thousand_addresses_make_no_more_pairs_than_there_may_be():
    async with our_checks() as (connection, wire):
        for number in range(1000):
            connection.check_incoming(check_of_theirs(PRIORITY=1), ("192.0.2.1", 10_000 + number), wire)
        for _ in range(3):  # those that are known already are answered as ever
            connection.check_incoming(check_of_theirs(PRIORITY=1), ("192.0.2.1", 10_000), wire)

        assert PAIRS == len(connection._check_list)
        assert 1000 - PAIRS == connection.checks.left_out


async def test_a_check_without_a_priority_is_ignored():
    async with our_checks() as (connection, wire):
        connection.check_incoming(check_of_theirs(), ADDRESS, wire)

        assert [] == connection._check_list


async def test_a_far_end_that_checks_without_end_makes_us_repeat_ours_a_few_times_alone():

    wire = Wire()
    checking = asyncio.create_task(wire.request(binding(), ADDRESS, integrity_key=b"key"))
    await asyncio.sleep(0)
    for _ in range(100):
        wire.check_again(ADDRESS)
    checking.cancel()
    await asyncio.wait([checking])
    wire.check_again(ADDRESS)  # it is over

    assert 1 + AGAIN == len(wire.sent)
    assert 1 == len(set(wire.sent))


async def test_a_consent_check_waits_half_a_second_for_its_answer_as_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        checks, "FIRST_RETRY", 0.0
    )  # were it repeated so, or given up so early, it would fail at once
    monkeypatch.setattr(stun, "RETRY_RTO", 3600.0)

    wire = Wire()
    asking = asyncio.create_task(wire.request(binding(), ADDRESS, integrity_key=b"key", retransmissions=0))
    for _ in range(20):
        await asyncio.sleep(0)

    assert not asking.done()
    assert 1 == len(wire.sent)
    asking.cancel()
    await asyncio.wait([asking])
