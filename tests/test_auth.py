"""API key → token → ICE servers, against servers whose answers are typed from Orga's documents."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from rtcpeer.auth import SessionConfig, SessionConfigClient, fetch_session_config, turn_credentials
from rtcpeer.errors import AuthError, ConfigurationError, RemoteProtocolError, RtcPeerError, SignalingError
from rtcpeer.protocols.http import IceServer

KEY = "sk_orga_ai_0123456789abcdef"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2ln"

# Orga docs, reference/api-reference/client-secrets and ice-servers.
TOKEN_ANSWER = {"ephemeral_token": TOKEN, "token_type": "bearer", "expires_at": "2025-09-30T13:47:09.123456"}
ICE_ANSWER = {
    "iceServers": [
        {"urls": ["stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302"]},
        {
            "urls": ["turn:turn.orga-ai.com:3478?transport=udp"],
            "username": "u" * 64,
            "credential": "c" * 64,
        },
    ]
}
ICE_SERVERS = (
    IceServer(("stun:stun.l.google.com:19302", "stun:stun1.l.google.com:19302")),
    IceServer(("turn:turn.orga-ai.com:3478?transport=udp",), "u" * 64, "c" * 64),
)


class Upstream:
    """The service's first two routes; ``token`` and ``ice`` replace what they answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.token: web.Response | None = None
        self.ice: web.Response | None = None

    async def client_secrets(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}?{dict(request.query)}")
        if request.headers.get("authorization") != f"Bearer {KEY}":
            message = {
                "error": {"message": "Incorrect or inactive API key provided.", "type": "invalid_request_error"}
            }
            return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=401)
        return self.token or web.json_response(TOKEN_ANSWER)

    async def ice_config(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}?{dict(request.query)}")
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        return self.ice or web.json_response(ICE_ANSWER)


@asynccontextmanager
async def serving(*routes: web.RouteDef) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(routes)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


@asynccontextmanager
async def serving_upstream(upstream: Upstream) -> AsyncIterator[str]:
    async with serving(
        web.post("/v1/realtime/client-secrets", upstream.client_secrets),
        web.get("/v1/realtime/ice-config", upstream.ice_config),
    ) as url:
        yield url


async def test_a_key_becomes_a_token_and_ice_servers() -> None:
    upstream = Upstream()
    async with serving_upstream(upstream) as url, SessionConfigClient(url, KEY) as client:
        config = await client.get_session_config()

    assert config == SessionConfig(TOKEN, ICE_SERVERS, 1759240029.123456)
    assert upstream.asked == ["POST /v1/realtime/client-secrets?{}", "GET /v1/realtime/ice-config?{}"]


async def test_the_email_goes_with_the_token_request_only() -> None:
    upstream = Upstream()
    async with serving_upstream(upstream) as url, SessionConfigClient(url, KEY, email="a+b@example.org") as client:
        await client.get_session_config()

    assert upstream.asked == [
        "POST /v1/realtime/client-secrets?{'email': 'a+b@example.org'}",
        "GET /v1/realtime/ice-config?{}",
    ]


async def test_a_key_from_a_file_may_end_in_a_line_break() -> None:
    async with serving_upstream(Upstream()) as url, SessionConfigClient(url, f"{KEY}\n") as client:
        assert (await client.get_session_config()).ephemeral_token == TOKEN


async def test_many_may_ask_at_once_of_one_client() -> None:
    async with serving_upstream(Upstream()) as url, SessionConfigClient(url, KEY) as client:
        configs = await asyncio.gather(*(client.get_session_config() for _ in range(20)))

    assert [config.ephemeral_token for config in configs] == [TOKEN] * 20


async def test_a_netrc_entry_does_not_get_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with serving_upstream(Upstream()) as url, SessionConfigClient(url, KEY) as client:
        assert (await client.get_session_config()).ephemeral_token == TOKEN


async def test_a_bad_key_is_an_auth_error() -> None:
    async with serving_upstream(Upstream()) as url, SessionConfigClient(url, "sk_orga_ai_wrong") as client:
        with pytest.raises(AuthError, match="Incorrect or inactive API key"):
            await client.get_session_config()


async def test_a_server_that_is_busy_says_when_to_come_back() -> None:
    upstream = Upstream()
    upstream.token = web.json_response({"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "7"})
    async with serving_upstream(upstream) as url, SessionConfigClient(url, KEY) as client:
        with pytest.raises(SignalingError) as caught:
            await client.get_session_config()

    assert (caught.value.status, caught.value.retry_after, caught.value.retryable) == (429, 7.0, True)


@pytest.mark.parametrize("route", ["token", "ice"])
async def test_html_instead_of_json_is_said_to_be_html(route: str) -> None:
    upstream = Upstream()
    setattr(upstream, route, web.Response(text="<!doctype html><p>Welcome", content_type="text/html"))
    async with serving_upstream(upstream) as url, SessionConfigClient(url, KEY) as client:
        with pytest.raises(RemoteProtocolError, match="HTML instead of JSON"):
            await client.get_session_config()


async def test_a_slow_server_is_not_waited_for() -> None:
    ended = asyncio.Event()

    async def dawdle(request: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    async with (
        serving(web.post("/v1/realtime/client-secrets", dawdle)) as url,
        SessionConfigClient(url, KEY, timeout=0.05) as client,
    ):
        with pytest.raises(SignalingError, match=r"client-secrets did not answer within 0\.05 s"):
            await client.get_session_config()
        ended.set()


async def test_a_closed_client_leaves_no_connection_and_may_be_used_again() -> None:
    async with serving_upstream(Upstream()) as url:
        client = SessionConfigClient(url, KEY)
        await client.close()
        await client.get_session_config()
        await client.close()
        await client.close()

        assert (await client.get_session_config()).ephemeral_token == TOKEN
        await client.close()


@pytest.mark.parametrize("said", ["text", "json", "header"])
@pytest.mark.parametrize("status", [400, 401, 500])
async def test_a_service_that_quotes_the_key_does_not_spread_it(
    said: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "plainkey0123456789"  # without a prefix that a pattern could know
    answers: dict[str, dict[str, Any]] = {
        "text": {"text": f"bad key {key}"},
        "json": {"text": f'{{"error": {{"message": "Incorrect API key provided: {key}."}}}}'},
        "header": {"headers": {"www-authenticate": key, "retry-after": key}},
    }

    async def quote(request: web.Request) -> web.Response:
        return web.Response(status=status, **answers[said])

    async with (
        serving(web.post("/v1/realtime/client-secrets", quote)) as url,
        SessionConfigClient(url, key) as client,
    ):
        with pytest.raises(RtcPeerError) as caught:
            await client.get_session_config()

    shown = [str(caught.value), repr(caught.value), repr(client), caplog.text]
    assert key not in "\n".join([*shown, *traceback.format_exception(caught.value)])


async def test_neither_key_nor_token_nor_turn_credential_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving_upstream(Upstream()) as url, SessionConfigClient(url, KEY) as client:
        config = await client.get_session_config()

    shown = repr(client) + repr(config) + caplog.text
    assert not any(secret in shown for secret in (KEY, TOKEN, "c" * 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"api_key": ""}, "the API key is empty"),
        ({"api_key": " \n"}, "the API key is empty"),
        ({"api_key": "two words"}, "is it whole"),
        ({"api_key": "sk_\nx"}, "is it whole"),
        ({"api_key": "clé"}, "is it whole"),
        ({"email": "nobody"}, "email is 'nobody'"),
        ({"email": ""}, "email is ''"),
        ({"url": "127.0.0.1:8080"}, "no http URL"),
        ({"url": "wss://api.orga-ai.com"}, "no http URL"),
        ({"url": "https://me:pw@api.orga-ai.com"}, "out of the URL"),
        ({"url": "https://api.orga-ai.com?x=1"}, "base URL"),
        ({"protocol": "telepathy"}, "unknown protocol"),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(arguments: dict[str, str], message: str) -> None:
    given: dict[str, Any] = {"url": "https://api.orga-ai.com", "api_key": KEY} | arguments
    with pytest.raises(ConfigurationError, match=message):
        SessionConfigClient(given.pop("url"), given.pop("api_key"), **given)


def test_a_key_that_cannot_be_right_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SessionConfigClient("https://api.orga-ai.com", f"{KEY} {KEY}")

    assert KEY not in str(caught.value)


# The other end: fetch_session_config

SESSION_CONFIG = {"ephemeralToken": TOKEN, "iceServers": ICE_ANSWER["iceServers"]}


async def fetch(answer: web.Response) -> SessionConfig:
    async def session_config(request: web.Request) -> web.Response:
        assert "authorization" not in request.headers
        return answer

    async with serving(web.get("/api/session-config", session_config)) as url, aiohttp.ClientSession() as http:
        return await fetch_session_config(http, f"{url}/api/session-config")


async def test_a_backend_gives_a_token_and_ice_servers() -> None:
    assert await fetch(web.json_response(SESSION_CONFIG)) == SessionConfig(TOKEN, ICE_SERVERS)


async def test_a_backend_without_ice_servers_is_fine() -> None:
    assert await fetch(web.json_response(SESSION_CONFIG | {"iceServers": []})) == SessionConfig(TOKEN, ())


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        {"ephemeralToken": TOKEN},
        {"iceServers": []},
        {"ephemeralToken": "", "iceServers": []},
        {"ephemeralToken": 7, "iceServers": []},
        {"ephemeralToken": "with\nbreak", "iceServers": []},
        {"ephemeralToken": TOKEN, "iceServers": {}},
        {"ephemeral_token": TOKEN, "ice_servers": []},
    ],
)
async def test_a_backend_that_answers_something_else_is_malformed(content: object) -> None:
    with pytest.raises(RemoteProtocolError):
        await fetch(web.json_response(content))


async def test_a_backend_that_answers_html_is_malformed() -> None:
    with pytest.raises(RemoteProtocolError, match="is its URL right"):
        await fetch(web.Response(text="<p>log in", content_type="text/html"))


async def test_a_backend_that_fails_is_quoted_in_one_line() -> None:
    with pytest.raises(SignalingError) as caught:
        await fetch(
            web.json_response(
                {"error": "Failed to get session config", "reason": "a\nb"}, status=503, headers={"Retry-After": "3"}
            )
        )

    assert str(caught.value) == "the session config endpoint answered 503: a b"
    assert (caught.value.status, caught.value.retry_after, caught.value.retryable) == (503, 3.0, True)


async def test_a_backend_that_wants_a_login_is_not_asked_again() -> None:
    with pytest.raises(SignalingError, match="answered 401") as caught:
        await fetch(web.Response(status=401, text="<p>log in"))

    assert (caught.value.status, caught.value.retryable) == (401, False)


# TURN REST


def test_turn_credentials_are_those_that_coturn_computes() -> None:
    # Computed with: printf 1433895918:ninefingers | openssl dgst -sha1 -hmac north -binary | base64
    expected = ("1433895918:ninefingers", "jy8hTxmOO7UtEKXqSkSlvakPVYA=")

    assert turn_credentials("north", user="ninefingers", now=1433895918.0 - 86400) == expected
    assert turn_credentials("north", user="ninefingers", now=1433895858.9, ttl=60) == expected


def test_turn_credentials_without_a_user_are_the_expiry_alone() -> None:
    assert turn_credentials("north", now=1000.0, ttl=600.0)[0] == "1600"


def test_an_empty_turn_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="TURN secret is empty"):
        turn_credentials("", now=0.0)
