"""Connectivity checks on sockets of loopback; what they find behind NATs and relays is in interop/test_nat.py."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from aioice import stun
from aiortc import RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy
from calling import until
from stock import LABEL, stock_peer

from rtcpeer.connecting import accept
from rtcpeer.protocols import Orga, Side
from rtcpeer.transports.aiortc_compat import checks
from rtcpeer.transports.aiortc_compat.checks import AGAIN, CheckingProtocol

ADDRESS = ("192.0.2.1", 9)


class Wire(CheckingProtocol):
    """A socket that keeps what it is to send."""

    def __init__(self) -> None:
        super().__init__(None)
        self.sent: list[bytes] = []

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        assert addr == ADDRESS
        self.sent.append(bytes(message))


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
