"""The proxy, between a real upstream and a real caller; the command, as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from calling import DEADLINE

from rtcpeer.auth import SessionConfigClient, fetch_session_config
from rtcpeer.errors import ConfigurationError, SignalingError
from rtcpeer.protocols.http import IceServer
from rtcpeer.proxy import proxy_app, session_config_handler
from rtcpeer.serving.rate_limit import parse_networks

KEY = "sk_orga_ai_0123456789abcdef"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2ln"
PAGE = "https://app.example.com"


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


class Upstream:
    """A service that gives tokens until ``refusal`` says otherwise."""

    def __init__(self) -> None:
        self.tokens = 0
        self.refusal: dict[str, Any] | None = None

    async def client_secrets(self, request: web.Request) -> web.Response:
        self.tokens += 1
        if self.refusal is not None:
            return web.json_response(**self.refusal)
        return web.json_response({"ephemeral_token": TOKEN, "token_type": "bearer", "expires_at": None})

    async def ice_config(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"iceServers": [{"urls": "turn:t.example:3478", "username": "u", "credential": "c"}]}
        )

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/realtime/client-secrets", self.client_secrets)
        app.router.add_get("/v1/realtime/ice-config", self.ice_config)
        return app


@asynccontextmanager
async def proxying(upstream: Upstream, *cors_origins: str) -> AsyncIterator[str]:
    """Run ``upstream`` and a proxy before it; yields the URL of its session config."""
    async with (
        serving(upstream.app()) as far,
        SessionConfigClient(far, KEY) as client,
        serving(proxy_app(client, cors_origins=cors_origins)) as url,
    ):
        yield f"{url}/session-config"


async def ask(
    url: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    async with aiohttp.ClientSession() as http, http.request(method, url, headers=headers) as response:
        content = await response.json() if response.content_type == "application/json" else await response.text()
        return response.status, {name.lower(): value for name, value in response.headers.items()}, content


async def test_a_caller_gets_what_the_vendors_sdk_reads() -> None:
    async with proxying(Upstream()) as url:
        status, headers, content = await ask(url)

    assert (status, headers["cache-control"]) == (200, "no-store")
    assert content == {
        "ephemeralToken": TOKEN,
        "iceServers": [{"urls": ["turn:t.example:3478"], "username": "u", "credential": "c"}],
    }


async def test_the_peer_reads_what_the_proxy_says() -> None:
    async with proxying(Upstream()) as url, aiohttp.ClientSession() as http:
        config = await fetch_session_config(http, url)

    assert (TOKEN, (IceServer(("turn:t.example:3478",), "u", "c"),)) == (config.ephemeral_token, config.ice_servers)


async def test_the_handler_serves_in_an_application_of_the_users_own() -> None:
    async with serving(Upstream().app()) as far, SessionConfigClient(far, KEY) as client:
        app = web.Application()
        app.router.add_get("/api/voice", session_config_handler(client))
        async with serving(app) as url:
            status, headers, content = await ask(f"{url}/api/voice", headers={"Origin": "https://evil.example"})

    assert (status, content["ephemeralToken"]) == (200, TOKEN)
    assert not any(name.startswith("access-control") for name in headers)


@pytest.mark.parametrize(
    ("refusal", "status", "reason", "retryable"),
    [
        (
            {"data": {"error": {"message": "k"}}, "status": 401},
            502,
            "the service refused this server's API key",
            False,
        ),
        (
            {"data": {"error": {"message": "k"}}, "status": 403},
            502,
            "the service refused this server's API key",
            False,
        ),
        ({"data": {"detail": "upstream's"}, "status": 500}, 502, "the service answered with status 500", True),
        ({"data": {}, "status": 404}, 502, "the service answered with status 404", False),
        ({"data": {}, "status": 503}, 503, "the service answered with status 503", True),
        ({"data": {}}, 502, "the service gave an answer that makes no sense", False),
        ({"data": {"more": "x" * (1 << 21)}}, 502, "the service gave an answer that makes no sense", False),
    ],
)
async def test_what_upstream_refuses_is_a_failure_of_the_proxy_that_says_whether_to_try_again(
    refusal: dict[str, Any], status: int, reason: str, retryable: bool
) -> None:
    upstream = Upstream()
    upstream.refusal = refusal
    async with proxying(upstream, PAGE) as url, aiohttp.ClientSession() as http:
        got, headers, content = await ask(url, headers={"Origin": PAGE})
        with pytest.raises(SignalingError) as caught:
            await fetch_session_config(http, url)

    expected = {"error": "Failed to get session config", "reason": reason, "retryable": retryable}
    assert (status, expected) == (got, content)
    assert (status, retryable) == (caught.value.status, caught.value.retryable)
    assert (headers["access-control-allow-origin"], headers["cache-control"]) == (PAGE, "no-store")


async def test_a_busy_upstream_makes_the_caller_wait_as_long() -> None:
    upstream = Upstream()
    upstream.refusal = {"data": {}, "status": 429, "headers": {"Retry-After": "2.5"}}
    async with proxying(upstream) as url, aiohttp.ClientSession() as http:
        status, headers, _ = await ask(url)
        with pytest.raises(SignalingError) as caught:
            await fetch_session_config(http, url)

    assert (status, headers["retry-after"]) == (503, "3")
    assert (caught.value.retry_after, caught.value.retryable) == (3.0, True)


async def test_an_upstream_that_is_away_is_a_bad_gateway() -> None:
    async with serving(web.Application()) as url:
        gone = url
    async with (
        SessionConfigClient(gone, KEY) as client,
        serving(proxy_app(client, cors_origins=[])) as url,
    ):
        status, _, content = await ask(f"{url}/session-config")

    assert (status, content["reason"]) == (502, "the service does not answer")


async def test_an_upstream_that_is_late_is_a_gateway_timeout() -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/v1/realtime/client-secrets", never)
    async with (
        TestServer(app, handler_cancellation=True) as far,
        SessionConfigClient(str(far.make_url("")), KEY, timeout=0.05) as client,
        serving(proxy_app(client, cors_origins=[])) as url,
    ):
        status, _, content = await ask(f"{url}/session-config")

    assert (504, "the service did not answer in time", True) == (status, content["reason"], content["retryable"])


# Limits


async def test_too_many_requests_are_429_and_the_peer_hears_how_long_to_wait() -> None:
    upstream = Upstream()
    async with (
        serving(upstream.app()) as far,
        SessionConfigClient(far, KEY) as client,
        serving(proxy_app(client, cors_origins=[PAGE], rate_limit=0.6)) as base,
        aiohttp.ClientSession() as http,
    ):
        url = f"{base}/session-config"
        await fetch_session_config(http, url)
        with pytest.raises(SignalingError) as caught:
            await fetch_session_config(http, url)
        status, headers, content = await ask(url, headers={"Origin": PAGE})
        preflight, _, _ = await ask(url, method="OPTIONS", headers={"Origin": PAGE})
        health, _, _ = await ask(f"{base}/healthz")

    assert (429, True) == (caught.value.status, caught.value.retryable)
    assert caught.value.retry_after is not None
    assert 80 <= caught.value.retry_after <= 100
    assert (429, "too many requests from this address", True) == (status, content["reason"], content["retryable"])
    assert (PAGE, "Retry-After") == (
        headers["access-control-allow-origin"],
        headers["access-control-expose-headers"],
    )
    assert (429, 200, 1) == (preflight, health, upstream.tokens)


async def test_behind_a_reverse_proxy_that_is_trusted_callers_have_limits_of_their_own() -> None:
    statuses = []
    async with serving(Upstream().app()) as far, SessionConfigClient(far, KEY) as client:
        for trusted in ([], ["127.0.0.0/8"]):
            app = proxy_app(client, cors_origins=[], rate_limit=0.6, trusted_proxies=parse_networks(trusted))
            async with serving(app) as base:
                for name in ("198.51.100.1", "203.0.113.1, 198.51.100.1", "198.51.100.2"):
                    status, _, _ = await ask(f"{base}/session-config", headers={"X-Forwarded-For": name})
                    statuses.append(status)

    assert [200, 429, 429, 200, 429, 200] == statuses


async def test_no_secret_is_logged_or_answered(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    upstream = Upstream()
    async with proxying(upstream, PAGE) as url:
        await ask(url)
        upstream.refusal = {"data": {"error": {"message": f"Incorrect API key provided: {KEY}"}}, "status": 401}
        _, headers, content = await ask(url, headers={"Origin": PAGE})

    assert "session config failed, and will until this server gets a key" in caplog.text
    assert not any(secret in caplog.text for secret in (KEY, TOKEN))
    assert KEY not in repr((headers, content))


# CORS


async def test_a_page_on_the_list_may_read_the_answer() -> None:
    async with proxying(Upstream(), "https://other.example", PAGE) as url:
        status, headers, _ = await ask(url, headers={"Origin": PAGE})

    assert (status, headers["access-control-allow-origin"], headers["vary"]) == (200, PAGE, "Origin")
    assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{PAGE}.evil.example", "http://app.example.com", f"{PAGE}:8443", "null", "*", ""],
)
async def test_a_page_not_on_the_list_gets_nothing_and_costs_no_token(origin: str) -> None:
    upstream = Upstream()
    async with proxying(upstream, PAGE) as url:
        status, headers, content = await ask(url, headers={"Origin": origin})
        preflight, preflight_headers, _ = await ask(url, method="OPTIONS", headers={"Origin": origin})

    assert (status, preflight, upstream.tokens) == (403, 403, 0)
    assert "ephemeralToken" not in content
    assert "access-control-allow-origin" not in headers | preflight_headers
    assert headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
async def test_an_image_tag_or_a_link_of_another_site_spends_no_token(headers: dict[str, str]) -> None:
    upstream = Upstream()
    async with proxying(upstream, "*") as url:
        status, _, content = await ask(url, headers=headers)
        same, _, _ = await ask(url, headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"})

    assert (403, 200, 1) == (status, same, upstream.tokens)
    assert "ephemeralToken" not in content


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("evil.example", False),
        ("evil.example:8081", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:80", False),
        ("192.0.2.1", False),
        ("127.0.0.1:8081", True),
        ("localhost", True),
        ("[::1]:8081", True),
        ("app.example.com", True),
        ("Voice.Example:443", True),
    ],
)
async def test_a_page_that_reaches_loopback_by_a_name_of_its_own_gets_no_token(host: str, served: bool) -> None:
    upstream = Upstream()
    async with (
        serving(upstream.app()) as far,
        SessionConfigClient(far, KEY) as client,
        serving(proxy_app(client, cors_origins=[PAGE], public_hosts=["voice.example"])) as url,
    ):
        status, _, content = await ask(f"{url}/session-config", headers={"Host": host})

    assert (200 if served else 403, int(served)) == (status, upstream.tokens)
    assert served == ("ephemeralToken" in content)


async def test_a_preflight_is_answered_without_spending_a_token() -> None:
    upstream = Upstream()
    async with proxying(upstream, PAGE) as url:
        asks = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "content-type",
        }
        status, headers, _ = await ask(url, method="OPTIONS", headers=asks)

    assert (status, upstream.tokens) == (204, 0)
    assert (headers["access-control-allow-origin"], headers["vary"]) == (PAGE, "Origin")
    assert headers["access-control-allow-methods"] == "GET"
    assert "Content-Type" in headers["access-control-allow-headers"]


async def test_a_star_must_be_asked_for_and_then_admits_any_page() -> None:
    async with proxying(Upstream(), "*") as url:
        status, headers, _ = await ask(url, headers={"Origin": "https://any.example"})

    assert (status, headers["access-control-allow-origin"]) == (200, "*")


@pytest.mark.parametrize(
    "origin", [f"{PAGE}/", f"{PAGE}/path", "app.example.com", "https://App.example.com", "https://*.example.com", ""]
)
async def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    async with SessionConfigClient("https://api.orga-ai.com", KEY) as client:
        with pytest.raises(ConfigurationError, match="is no origin"):
            proxy_app(client, cors_origins=[origin])


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE"])
async def test_only_get_spends_a_token(method: str) -> None:
    upstream = Upstream()
    async with proxying(upstream) as url:
        status, _, _ = await ask(url, method=method)

    assert (status, upstream.tokens) == (405, 0)


async def test_health_is_answered_without_asking_upstream() -> None:
    upstream = Upstream()
    async with proxying(upstream) as url:
        status, _, content = await ask(url.replace("session-config", "healthz"))

    assert (status, content, upstream.tokens) == (200, {"status": "ok"}, 0)


# The command


@asynccontextmanager
async def running(*arguments: str, key: str | None = KEY) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if name != "RTCPEER_API_KEY"}
    if key is not None:
        environment["RTCPEER_API_KEY"] = key
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rtcpeer", "proxy", *arguments, env=environment, stdout=-1, stderr=-1
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_the_command_serves_until_a_signal_and_says_no_secret(signum: signal.Signals, code: int) -> None:
    async with (
        serving(Upstream().app()) as far,
        running("--upstream", far, "--port", "0", "--cors-origin", PAGE) as process,
    ):
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
        status, headers, content = await ask(line.split()[-1], headers={"Origin": PAGE})
        process.send_signal(signum)
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert line.startswith("listening on http://127.0.0.1:")
    assert line.endswith("/session-config\n")
    assert (status, content["ephemeralToken"], headers["access-control-allow-origin"]) == (200, TOKEN, PAGE)
    assert (code, b"", b"") == (process.returncode, out, err)


async def test_the_command_warns_when_no_page_may_ask() -> None:
    async with running("--upstream", "http://127.0.0.1:9", "--port", "0") as process:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert b"no --cors-origin" in err


async def test_the_commands_help_does_not_show_the_key() -> None:
    async with running("--help") as process:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert b"RTCPEER_API_KEY" in out
    assert KEY.encode() not in out + err


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        (["--upstream", "http://127.0.0.1:9"], None, "the API key is empty"),
        (["--upstream", "127.0.0.1:9"], KEY, "is no http URL"),
        (["--upstream", "http://127.0.0.1:9", "--cors-origin", "example.com"], KEY, "is no origin"),
        (["--upstream", "http://127.0.0.1:9", "--trusted-proxy", "example.com"], KEY, "is no address"),
        (["--upstream", "http://127.0.0.1:9", "--tls-key", "key.pem"], KEY, "--tls-key without --tls-cert"),
        (["--upstream", "http://127.0.0.1:9", "--host", "198.51.100.1"], KEY, "can't listen on 198.51.100.1:8081"),
    ],
)
async def test_the_command_raises_what_the_user_must_mend(
    arguments: list[str], key: str | None, message: str
) -> None:
    async with running(*arguments, key=key) as process:
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    said = err.decode()
    assert (process.returncode, said.count("\n")) == (2, 1)
    assert message in said
    assert KEY not in said


async def test_the_command_names_a_port_that_is_taken() -> None:
    async with serving(web.Application()) as taken:
        port = taken.rpartition(":")[2]
        async with running("--upstream", "http://127.0.0.1:9", "--port", port) as process:
            _, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert (2, f"can't listen on 127.0.0.1:{port}: Address already in use; choose another host or port\n") == (
        process.returncode,
        err.decode().partition("configuration: ")[2],
    )


# The documentation


async def test_the_example_in_the_documentation_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "proxy.md").read_text()
    example: dict[str, Any] = {"__name__": "backend"}
    exec(page.partition("```python\n")[2].partition("```")[0], example)

    async with serving(Upstream().app()) as far:
        monkeypatch.setenv("UPSTREAM", far)
        monkeypatch.setenv("RTCPEER_API_KEY", KEY)
        async with serving(example["make_app"]()) as url:
            status, _, content = await ask(f"{url}/api/session-config")

    assert (status, content["ephemeralToken"]) == (200, TOKEN)
