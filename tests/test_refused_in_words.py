"""A server that says ``error`` instead of being ready: its words count, whatever code it closes with, or none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from calling import DEADLINE, serving, until

import rtcpeer
from rtcpeer import AuthError, Backoff, Closed, ConnectionLost, ErrorReported, OpenTimeout, TokenExpired
from rtcpeer.errors import LocalProtocolError
from signaling import MockServer

pytestmark = pytest.mark.usefixtures("nothing_left")

PARAMS: dict[str, dict[str, Any]] = {
    "soca": {"agent_id": "a1"},
    "orgo": {"computer_id": "c1"},
    "orbitali": {"agent_id": "a1"},
    "orga-ws": {},
}


@asynccontextmanager
async def refusing(
    words: str, code: int | None, *, ready: tuple[str, ...] = ()
) -> AsyncIterator[tuple[str, list[Any]]]:
    """Say ``error`` to each client, the first one after ``ready``; yields the URL, and what clients said first."""
    heard: list[Any] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(timeout=1.0)
        await socket.prepare(request)
        if request.path == "/v1/voice-ws":  # Soca's client speaks first
            heard.append(await socket.receive_json())
        else:
            heard.append(request.query.get("token"))
        if ready and len(heard) == 1:
            for message in ready:
                await socket.send_str(message)
            await socket.receive()
            assert request.transport is not None
            request.transport.abort()
            return socket
        await socket.send_json({"type": "error", "message": words})
        if code is None:
            async for _ in socket:
                pass
        else:
            await socket.close(code=code)
        return socket

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    async with serving(app) as url:
        yield f"ws{url.removeprefix('http')}", heard


@pytest.mark.parametrize("code", [None, 1000, 1001, 1008, 1011, 4401])
@pytest.mark.parametrize(
    ("protocol", "path", "credential", "words", "kind"),
    [
        ("soca", "/v1/voice-ws", {"token": "t"}, "Invalid or expired token", TokenExpired),
        ("soca", "/v1/voice-ws", {"api_key": "k"}, "Invalid or expired token", AuthError),
        ("soca", "/v1/voice-ws", {"token": "t"}, "must start with type=start", LocalProtocolError),
        ("orgo", "/audio?token=t", {}, "Failed to start audio capture", ConnectionLost),
        ("orgo", "/audio?token=t", {}, "Invalid token", AuthError),
        ("orbitali", "/ws/agents/a1?token=t", {}, "The token has expired", TokenExpired),
    ],
)
async def test_the_servers_words_decide_whatever_the_close_code(protocol, path, credential, words, kind, code):
    async with refusing(words, code) as (url, _):
        with pytest.raises(kind, match=words) as caught:
            # No time to wait for a close in: with one, this would be an OpenTimeout.
            await rtcpeer.connect(protocol, url + path, **credential, open_timeout=DEADLINE)

    assert kind is type(caught.value)
    assert not isinstance(caught.value, OpenTimeout)


@pytest.mark.parametrize(
    ("code", "kind"), [(None, ConnectionLost), (1000, ConnectionLost), (1008, AuthError), (1011, ConnectionLost)]
)
async def test_words_that_nobody_documented_are_in_the_error_of_the_close_code(code, kind):
    async with refusing("The moon is in the wrong phase", code) as (url, _):
        with pytest.raises(kind, match="The moon is in the wrong phase") as caught:
            await rtcpeer.connect("orgo", f"{url}/audio?token=t")

    assert kind is type(caught.value)


async def test_an_opening_that_failed_is_told_once_and_closed_as_failed():
    said: list[Any] = []
    async with refusing("Invalid or expired token", None) as (url, _):
        with pytest.raises(TokenExpired):
            await rtcpeer.connect(
                "soca",
                f"{url}/v1/voice-ws",
                token="t",
                on_session=lambda session: session.events.tap(lambda entry: said.append(entry.said)),
            )

    assert [ErrorReported("Invalid or expired token")] == [each for each in said if isinstance(each, ErrorReported)]
    assert ["failed"] == [each.reason for each in said if isinstance(each, Closed)]


READY = ('{"type": "ready", "session_id": "s"}', '{"type": "stt.ready"}')


@pytest.mark.parametrize("code", [None, 1000])
async def test_a_refused_token_is_not_shown_again(code):
    async with refusing("Invalid or expired token", code, ready=READY) as (url, heard):
        session = await rtcpeer.connect("soca", f"{url}/v1/voice-ws", token="t", reconnect=Backoff(initial=0.001))
        closed = await session.wait_for(Closed, timeout=DEADLINE)
        await session.close()

    assert 2 == len(heard)
    assert "Invalid or expired token" in closed.detail


async def test_a_fresh_token_is_tried_and_one_that_is_not_fresh_is_not():
    tokens = iter(["first", "second", "third", "third", "fourth"])

    async def token() -> str:
        return next(tokens)

    async with refusing("Invalid or expired token", 1000, ready=READY) as (url, heard):
        session = await rtcpeer.connect(
            "soca", f"{url}/v1/voice-ws", token=token, reconnect=Backoff(initial=0.001, attempts=20)
        )
        await session.wait_for(Closed, timeout=DEADLINE)
        await session.close()

    assert ["first", "second", "third"] == [start["token"] for start in heard]


# The mock


@pytest.mark.parametrize("ending", [(), ("close-1000",), ("no-close",)])
@pytest.mark.parametrize(
    ("protocol", "words"),
    [("soca", "Invalid or expired token"), ("orgo", "Invalid"), ("orbitali", "Invalid"), ("orga-ws", "Invalid")],
)
async def test_the_mock_refuses_a_good_credential_and_closes_as_it_is_told(protocol, words, ending):
    async with MockServer(faults=["bad-token", *ending]) as mock:
        with pytest.raises(AuthError, match=words):
            await rtcpeer.connect(protocol, mock.url(protocol), api_key=mock.api_key, params=PARAMS[protocol])


@pytest.mark.parametrize("ending", [(), ("close-1000",), ("no-close",)])
async def test_the_mocks_computer_says_that_its_sound_cannot_be_had(ending):
    async with MockServer(faults=["capture-failed", *ending]) as mock:
        with pytest.raises(ConnectionLost, match="Failed to start audio capture"):
            await rtcpeer.connect("orgo", mock.url("orgo"), api_key=mock.api_key, params=PARAMS["orgo"])


async def test_bad_token_refuses_a_call_over_webrtc_as_well():
    async with MockServer(faults=["bad-token"]) as mock:
        with pytest.raises(AuthError, match="Invalid ephemeral token"):
            await rtcpeer.connect("orga", mock.url(), api_key=mock.api_key)


async def test_a_socket_that_is_refused_and_left_open_gives_its_place_back(http):
    async with MockServer(faults=["bad-token", "no-close"], open_timeout=0.2) as mock:
        async with http.ws_connect(f"{mock.url('soca')}/v1/voice-ws") as socket:
            await socket.send_str('{"type": "start", "token": "t"}')
            assert "Invalid or expired token" == (await socket.receive_json(timeout=DEADLINE))["message"]
            assert "opening" == mock.calls[0].state
            await until(lambda: "closed" == mock.calls[0].state)
        assert json.dumps(mock.calls[0].to_dict())
