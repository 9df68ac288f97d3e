"""Who sends as much as he can, from either side: it is bounded, counted, and other calls go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from calling import Nobody, answering, short_scenario, until
from stock import stock_call

import rtcpeer
from rtcpeer import Closed, EventsMissed, Unknown
from rtcpeer.protocols import OrgaWs, Side
from rtcpeer.transports.websocket import WebSocketLink
from signaling import MockServer

KEPT = 10_000
"""Events that are kept of a call."""
COUNTED = ("messages_received", "messages_refused")


pytestmark = pytest.mark.usefixtures("nothing_left")


class Busy:
    """A socket on which there is always another message, as while a burst is taken apart."""

    def __init__(self) -> None:
        self.received = 0

    async def receive(self) -> aiohttp.WSMessage:
        self.received += 1
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, '{"type": "of tomorrow"}', None)

    async def close(self, **how: Any) -> None: ...


async def test_one_who_sends_without_a_pause_does_not_have_the_loop_for_himself():
    socket: Any = Busy()
    link = WebSocketLink(OrgaWs(Side.SERVER), Nobody(), socket, abort=lambda: None)
    link.start()
    for _ in range(5):  # each would be the first of many that never comes
        before = socket.received
        await until(lambda before=before: socket.received > before)
    await link.close()


async def test_a_client_that_floods_its_socket_is_counted_and_another_call_goes_on(tmp_path: Path):
    async with MockServer(scenario=short_scenario(tmp_path)) as mock, aiohttp.ClientSession() as http:
        calling = rtcpeer.connect("orga", mock.url("orga"), api_key=mock.api_key)
        async with calling as other:
            key = {"Authorization": f"Bearer {mock.api_key}"}
            async with http.post(f"{mock.url('orga-ws')}/v1/realtime/client-secrets", headers=key) as response:
                token = (await response.json())["ephemeral_token"]
            headers = {"Authorization": f"Bearer {token}"}
            async with http.ws_connect(f"{mock.url('orga-ws')}/v1/realtime/ws", headers=headers) as socket:
                for number in range(15_000):
                    await socket.send_str("no JSON" if number % 2 else '{"event": "of tomorrow"}')
                flooded: Any = mock.calls[-1]
                session = flooded._session
                await until(lambda: sum(session.counters[name] for name in COUNTED) >= 15_000)
                before = other.stats()["inbound_audio"]["packets_received"]
                await until(lambda: other.stats()["inbound_audio"]["packets_received"] > before + 5)

                assert {"messages_received": 7_500, "messages_refused": 7_500}.items() <= session.counters.items()
                assert len(session.events.entries()) <= KEPT
                assert "open" == flooded.state
            await other.update(voice="Alloy")
            await until(lambda: mock.calls[0].received)


async def test_a_far_end_that_floods_the_channel_is_counted_and_heard_to_the_last():
    async with stock_call() as (pc, session):
        stock: Any = pc.sctp
        (channel,) = stock._data_channels.values()
        for number in range(400):
            channel.send("no JSON" if number % 2 else '{"type": "of tomorrow"}')
        await until(lambda: sum(session.counters[name] for name in COUNTED) >= 400)

        assert 200 == session.counters["messages_refused"]


async def test_a_session_that_nobody_reads_keeps_the_latest_of_what_a_server_says_and_says_how_much_it_lost():
    async with answering() as (url, sessions):
        async with rtcpeer.connect("orga", url, api_key="sk_test") as session:
            session.events._limit = 100
            events = aiter(session)
            await anext(events)
            await sessions[0].opened()
            assert sessions[0].link is not None
            sessions[0].link.send_messages(['{"type": "of tomorrow"}'] * 500)
            await until(lambda: session.counters["messages_received"] >= 500)

            assert 100 == len(session.events.entries())
            missed = await anext(events)
            assert isinstance(missed, EventsMissed)
            assert missed.count > 400
            assert isinstance(await anext(events), Unknown)
        assert isinstance(session.events.entries()[-1].said, Closed)
