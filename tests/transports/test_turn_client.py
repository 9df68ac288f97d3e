"""aioice's TURN client, as it is used here, with a server that says odd things."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aioice import stun, turn

from rtcpeer.transports.aiortc_compat.turn import LEAST_LIFETIME, _Udp


@pytest.mark.parametrize("lifetime", [0, 1, 600])
async def test_a_server_that_gives_no_lifetime_is_not_asked_again_and_again(
    lifetime: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        if len(delays) == 5:
            enough.set()
            await asyncio.Event().wait()

    async def answered(self: Any, request: stun.Message) -> tuple[stun.Message, Any]:
        address = ("192.0.2.1", 49152)
        attributes = {"LIFETIME": lifetime, "XOR-MAPPED-ADDRESS": address, "XOR-RELAYED-ADDRESS": address}
        return stun.Message(request.message_method, stun.Class.RESPONSE, attributes=attributes), self.server

    monkeypatch.setattr(turn, "asyncio", SimpleNamespace(sleep=sleep, create_task=asyncio.create_task))
    monkeypatch.setattr(turn.TurnClientMixin, "request", answered)
    client = _Udp(
        ("192.0.2.1", 3478),
        username="u",
        password="p",
        lifetime=600,
        channel_refresh_time=500,
        on_alive=lambda: None,
    )
    await client.connect()
    await enough.wait()
    client.refresh_task.cancel()

    assert [5 / 6 * max(LEAST_LIFETIME, lifetime)] * 5 == delays
