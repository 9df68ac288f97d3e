"""The mock's limits, met by floods: refused with the right status, counted, given back, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection
from calling import DEADLINE, until

import rtcpeer
from rtcpeer.errors import ConfigurationError, SignalingError
from signaling import MockServer
from signaling.switchboard import Switchboard

KEY = {"Authorization": "Bearer sk_test"}
SECRETS = "/v1/realtime/client-secrets"
CALLS = "/v1/realtime/calls"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def offer_body() -> dict[str, Any]:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("audio", direction="sendrecv")
    pc.createDataChannel("orga-realtime-client-events")
    await pc.setLocalDescription(await pc.createOffer())
    body = {"offer": {"sdp": pc.localDescription.sdp, "type": "offer", "candidates": []}, "params": {}}
    await pc.close()
    return body


async def statuses(http: aiohttp.ClientSession, mock: MockServer, bodies: list[Any]) -> list[int]:
    """Offer each, with a token of its own."""

    async def offer(body: Any) -> int:
        bearer = {"Authorization": f"Bearer {mock.tokens.issue(time.time()).value}"}
        async with http.post(mock.url() + CALLS, json=body, headers=bearer) as response:
            assert ("Retry-After" in response.headers) == (response.status == 429)
            return response.status

    return await asyncio.gather(*map(offer, bodies))


async def all_over(mock: MockServer) -> None:
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*switchboard(mock).running.values())


def switchboard(mock: MockServer) -> Switchboard:
    return mock._switchboard


def held() -> tuple[int, int]:
    """Sockets and other files that are open, and tasks."""
    return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())


async def test_offers_beyond_the_places_are_429_and_a_caller_that_goes_gives_its_place_back(http):
    body = await offer_body()
    async with MockServer(max_calls=4, faults=["calls-slow"]) as mock:
        answered = [asyncio.create_task(statuses(http, mock, [body])) for _ in range(4)]
        await until(lambda: switchboard(mock).places.taken == 4)

        assert [429] * 100 == await statuses(http, mock, [body] * 100)
        assert {"calls": 100} == mock.refused
        for task in answered:
            task.cancel()
        await until(lambda: switchboard(mock).places.taken == 0)
        mock.faults = []
        async with rtcpeer.connect("orga", mock.url(), api_key="sk_test"):  # there is room for who means it
            pass


async def test_calls_that_nobody_connects_are_over_at_the_deadline_and_leave_nothing():
    body, before = await offer_body(), held()
    async with MockServer(max_calls=4, open_timeout=0.1) as mock, aiohttp.ClientSession() as http:
        for _ in range(3):
            assert [200] * 4 == await statuses(http, mock, [body] * 4)
            await all_over(mock)

        assert (0, 0) == (switchboard(mock).places.taken, len(switchboard(mock).running))
        assert {"IceError: no network path to the far end"} == {
            ":".join(str(c.failure).split(":")[:2]) for c in mock.calls
        }
    for _ in range(100):  # steps of the loop, for transports that are closing
        await asyncio.sleep(0)
    assert held() <= before


async def test_sockets_beyond_the_places_are_closed_and_one_that_goes_gives_its_place_back(http):
    async with MockServer(max_calls=3) as mock:
        url = mock.url("soca") + "/v1/voice-ws"
        silent = [await http.ws_connect(url) for _ in range(3)]
        for _ in range(5):
            async with http.ws_connect(url) as socket:
                assert "error" in str((await socket.receive(timeout=DEADLINE)).data)
                assert aiohttp.WSMsgType.CLOSE == (await socket.receive(timeout=DEADLINE)).type
                assert 1013 == socket.close_code  # RFC 6455's registry: try again later
        assert {"calls": 5} == mock.refused
        for socket in silent:
            await socket.close()
        await until(lambda: switchboard(mock).places.taken == 0)


async def test_a_socket_that_never_says_start_is_closed_at_the_deadline(http):
    async with MockServer(open_timeout=0.05) as mock:
        async with http.ws_connect(mock.url("soca") + "/v1/voice-ws") as socket, asyncio.timeout(DEADLINE):
            async for _ in socket:
                pass
        await all_over(mock)

        assert 0 == switchboard(mock).places.taken
        assert ["OpenTimeout: not open after 0.05 s: the caller said nothing"] == [
            call.failure for call in mock.calls
        ]


async def test_beyond_loopback_one_address_holds_a_quarter_of_the_places_half_open():
    async with (
        MockServer(host="0.0.0.0", api_key="sk_test_2", max_calls=8) as mock,
        aiohttp.ClientSession() as here,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))) as there,
    ):
        body = await offer_body()
        assert [200, 200, 429] == sorted(await statuses(here, mock, [body] * 3))
        assert [200] == await statuses(there, mock, [body])
        assert {"half-open-calls": 1} == mock.refused


async def test_too_many_requests_are_429_and_the_peer_hears_how_long_to_wait(http):
    async with MockServer(rate_limit=0.6) as mock:
        async with http.post(mock.url() + SECRETS, headers=KEY) as response:
            assert response.status == 200
        async with http.post(mock.url() + SECRETS, headers=KEY | {"Origin": "https://app.example"}) as response:
            assert response.status == 429
            assert 80 <= int(response.headers["Retry-After"]) <= 100
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert (await response.json())["error"]["type"] == "rate_limit_error"
        for protocol, params in (
            ("orga", {}),
            ("orga-ws", {}),
            ("orbitali", {"agent_id": "a"}),
            ("orgo", {"computer_id": "c"}),
            ("soca", {"agent_id": "a"}),
        ):
            with pytest.raises(SignalingError) as caught:
                await rtcpeer.connect(protocol, mock.url(protocol), token="x", params=params)
            assert (429, True) == (caught.value.status, caught.value.retryable)
            assert caught.value.retry_after is not None
            assert 80 <= caught.value.retry_after <= 100
        async with http.get(mock.url() + "/mock/refused") as response:  # the mock's own doors are open
            assert {"rate-limit": 6} == await response.json()


async def test_without_a_good_token_an_offer_is_not_read(http):
    candidates = [
        {"candidate": f"candidate:1 1 udp 1 192.0.2.1 {port} typ host", "sdpMLineIndex": 0} for port in range(1, 102)
    ]
    offers = ((await offer_body())["offer"] | {"candidates": candidates}, {"sdp": "v=0" + "x" * 300_000})
    async with MockServer() as mock:
        for offer in offers:
            found = []
            for token in ("stolen", mock.tokens.issue(time.time()).value):
                bearer = {"Authorization": f"Bearer {token}"}
                body = {"offer": offer, "params": {}}
                async with http.post(mock.url() + CALLS, json=body, headers=bearer) as response:
                    found.append(response.status)

            assert [401, 422] == found


async def test_offer_that_asks_for_too_much_is_422_and_keeps_the_token_good(http):
    body = await offer_body()
    too_much = {"offer": body["offer"] | {"sdp": body["offer"]["sdp"] + "a=x\r\n" * 2000}, "params": {}}
    async with MockServer() as mock:
        bearer = {"Authorization": f"Bearer {mock.tokens.issue(time.time()).value}"}
        found = []
        for each in (too_much, body):
            async with http.post(mock.url() + CALLS, json=each, headers=bearer) as response:
                found.append(response.status)

        assert [422, 200] == found
        assert {"offer": 1} == mock.refused


async def test_what_is_refused_is_counted_by_kind_and_logged_once_each(http, caplog):
    caplog.set_level(logging.DEBUG)
    async with MockServer() as mock:
        for _ in range(3):
            async with http.post(mock.url() + SECRETS, headers={"Authorization": "Bearer wrong"}):
                pass
            async with http.get(mock.url() + "/v1/realtime/ice-config"):
                pass
            async with http.get(mock.url() + "/mock/calls", headers={"Host": "rebound.example"}):
                pass
            async with http.get(mock.url() + "/etc/passwd"):
                pass

        assert {"bad-api-key": 3, "no-credential": 3, "door": 3, "not-found": 3} == mock.refused
    lines = [
        r.getMessage() for r in caplog.records if r.levelno >= logging.INFO and "refused: kind" in r.getMessage()
    ]
    assert 4 == len(lines)


@pytest.mark.parametrize(
    "options", [{"rate_limit": 0}, {"open_timeout": 0.0}, {"open_timeout": float("nan")}, {"max_connections": 0}]
)
def test_limits_that_make_no_sense_are_refused_at_once(options):
    with pytest.raises(ConfigurationError):
        MockServer(**options)


async def test_a_call_more_than_there_are_media_ports_is_429_and_the_place_is_free_again():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with MockServer(interface="127.0.0.1", udp_ports=(port, port)) as mock:
        async with rtcpeer.connect("orga", mock.url(), api_key=mock.api_key, interface="127.0.0.1") as session:
            assert session.stats()["candidate_pair"]["remote"] == f"127.0.0.1:{port}"
            with pytest.raises(SignalingError) as caught:
                await rtcpeer.connect("orga", mock.url(), api_key=mock.api_key)
            assert 429 == caught.value.status
            assert 1 == len(mock.calls)
        async with rtcpeer.connect("orga", mock.url(), api_key=mock.api_key, interface="lo"):
            pass


async def test_a_caller_that_went_before_its_upgrade_was_answered_is_no_failure_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def gone(socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.WebSocketResponse, "prepare", gone)
    async with MockServer() as mock:
        with pytest.raises(rtcpeer.SignalingError):
            async with rtcpeer.connect("orga-ws", mock.url(), api_key=mock.api_key):
                pass

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
