"""The server-side half of Orbitali's two steps: a page gets the vendor's answer, and never the key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from calling import serving

import rtcpeer
from rtcpeer.errors import ConfigurationError, SignalingError
from rtcpeer.proxy import proxy_app
from signaling import MockServer

KEY = "orb_live_0123456789"
PAGE = "https://app.example.com"
AGENT = {"agent_id": "a1"}


@asynccontextmanager
async def upstream(status: int, body: str, headers: dict[str, str] | None = None) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        assert f"Bearer {KEY}" == request.headers["Authorization"]
        return web.Response(status=status, text=body, headers=headers)

    app = web.Application()
    app.router.add_post("/public/v1/agents/a1/realtime-sessions", handle)
    async with serving(app) as url:
        yield url


@asynccontextmanager
async def proxying(far: str, key: str = KEY) -> AsyncIterator[str]:
    async with (
        rtcpeer.VoiceTokenClient(far, key, params=AGENT) as client,
        serving(proxy_app(client, cors_origins=[PAGE])) as url,
    ):
        yield f"{url}/api/voice-token"


async def ask(url: str, method: str = "POST", **headers: str) -> tuple[int, aiohttp.typedefs.LooseHeaders, str]:
    async with aiohttp.ClientSession() as http, http.request(method, url, headers=headers) as response:
        return response.status, response.headers, await response.text()


@pytest.mark.parametrize("status", [200, 201, 404, 409, 429])
async def test_json_and_status_are_passed_on(status: int) -> None:
    body = json.dumps({"error": "no", "code": "AGENT_LIMIT_EXCEEDED"})
    async with upstream(status, body) as far, proxying(far) as url:
        got, headers, text = await ask(url, Origin=PAGE)

    assert (status, body) == (got, text)
    assert ("application/json", "no-store", PAGE) == tuple(
        headers[name] for name in ("Content-Type", "Cache-Control", "Access-Control-Allow-Origin")
    )


async def test_retry_after_is_passed_on() -> None:
    async with upstream(429, "{}", {"Retry-After": "7"}) as far, proxying(far) as url:
        _, headers, _ = await ask(url)

    assert "7" == headers["Retry-After"]


@pytest.mark.parametrize(
    ("given", "status", "retryable"), [(401, 502, False), (403, 502, False), (500, 502, True), (503, 503, True)]
)
async def test_refused_key_and_broken_service_are_our_failure_and_not_the_pages(given, status, retryable) -> None:
    async with upstream(given, '{"error": "upstream said"}', {"Retry-After": "7"}) as far, proxying(far) as url:
        got, headers, text = await ask(url, Origin=PAGE)
        with pytest.raises(SignalingError) as caught:
            await rtcpeer.connect("orbitali", far, session_config_url=url)

    assert (status, retryable) == (got, json.loads(text)["retryable"])
    assert (status, retryable) == (caught.value.status, caught.value.retryable)
    assert ("7" if given == 503 else None) == headers.get("Retry-After")
    assert "upstream said" not in text


async def test_key_that_upstream_quotes_stays_here() -> None:
    async with upstream(409, json.dumps({"error": f"{KEY} is no key"})) as far, proxying(far) as url:
        _, _, text = await ask(url)

    assert {"error": "[credential] is no key"} == json.loads(text)


async def test_upstream_that_makes_no_sense_or_is_not_there_is_502() -> None:
    async with upstream(200, "<html>") as far, proxying(far) as url:
        assert 502 == (await ask(url))[0]
    async with proxying(far) as url:
        status, _, text = await ask(url)

    assert (502, True) == (status, "error" in json.loads(text))


async def test_page_of_another_origin_is_refused_before_anything_is_spent() -> None:
    async with proxying("http://127.0.0.1:9") as url:
        status, headers, _ = await ask(url, Origin="https://evil.example")
        assert (403, False) == (status, "Access-Control-Allow-Origin" in headers)
        status, headers, _ = await ask(url, "OPTIONS", Origin=PAGE)
        assert (204, "POST") == (status, headers["Access-Control-Allow-Methods"])
        assert 405 == (await ask(url, "GET"))[0]


async def test_peer_joins_with_what_such_a_backend_gives() -> None:
    async with (
        MockServer(scenario="tone") as mock,
        proxying(mock.url("orbitali"), mock.api_key) as url,
        rtcpeer.connect("orbitali", mock.url("orbitali"), session_config_url=url) as session,
    ):
        assert ["session", "socket", "ready"] == list(session.phases)


@pytest.mark.parametrize(
    ("protocol", "params", "message"),
    [("orga", {}, "no step"), ("orbitali", {}, "agent_id"), ("orbitali", {"agent_id": "../x"}, "agent_id")],
)
def test_what_cannot_be_right_is_refused_at_once(protocol: str, params: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rtcpeer.VoiceTokenClient("https://api.orbitali.ai", KEY, protocol=protocol, params=params)
