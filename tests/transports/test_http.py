"""The HTTP shell, against servers that answer, dawdle, babble, vanish or point elsewhere."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
import logging
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from calling import DEADLINE
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.errors import ConfigurationError, SignalingError
from rtcpeer.protocols.http import HttpRequest, HttpResponse, refusal_error
from rtcpeer.transports.http import MAX_BODY, check_http_url, environment_proxy, exchange, open_pool, redact_url

SECRET = "s3cr3t-of-the-caller"


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run ``handler`` for every path on a free port; yields the base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server(ssl=tls)
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await server.close()


@asynccontextmanager
async def serving_bytes(answer: bytes) -> AsyncIterator[str]:
    """Run a server that reads a little, says ``answer`` and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def get(url: str, *, timeout: float = 10.0) -> HttpResponse:
    async with aiohttp.ClientSession() as http:
        return await exchange(http, HttpRequest("GET", url), timeout=timeout)


async def post(url: str, *, timeout: float = 10.0) -> HttpResponse:
    """POST with a secret in every place that may hold one."""
    request = HttpRequest("POST", f"{url}?token={SECRET}", {"authorization": f"Bearer {SECRET}"}, SECRET.encode())
    async with aiohttp.ClientSession() as http:
        return await exchange(http, request, timeout=timeout)


async def test_method_query_headers_and_body_arrive() -> None:
    async def echo(request: web.Request) -> web.Response:
        said = await request.text()
        where = f"{request.method} {request.path} {request.query['email']}"
        return web.Response(text=f"{where} {request.headers['authorization']} {said}")

    async with serving(echo) as url, aiohttp.ClientSession() as http:
        request = HttpRequest("POST", f"{url}/calls?email=a%2Bb%40c.de", {"authorization": "Bearer k"}, b"offer")
        response = await exchange(http, request)

    assert response.body == b"POST /calls a+b@c.de Bearer k offer"


async def test_header_names_are_lower_case_and_repeated_fields_one_list() -> None:
    async def linked(request: web.Request) -> web.Response:
        response = web.Response(status=201)
        response.headers.add("Link", "<stun:a>")
        response.headers.add("link", "<stun:b>")
        response.headers.add("LOCATION", "/call/1")
        return response

    async with serving(linked) as url:
        response = await get(url)

    assert (
        response.status,
        response.headers["link"],
        response.headers["location"],
    ) == (201, "<stun:a>, <stun:b>", "/call/1")


async def test_an_error_status_is_an_answer_for_the_codec() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=422, text="detail")

    async with serving(refuse) as url:
        response = await post(url)

    assert (response.status, response.body) == (422, b"detail")


async def test_a_server_that_never_answers_is_named_with_the_deadline() -> None:
    ended = asyncio.Event()

    async def dawdle(request: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    async with serving(dawdle) as url:
        with pytest.raises(SignalingError, match=rf"{url}/calls did not answer within 0\.05 s") as caught:
            await post(f"{url}/calls", timeout=0.05)
        ended.set()

    assert (caught.value.status, caught.value.retryable) == (None, True)


async def test_the_deadline_covers_the_body() -> None:
    ended = asyncio.Event()

    async def stall(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await ended.wait()
        return response

    async with serving(stall) as url:
        with pytest.raises(SignalingError, match="did not answer within"):
            await get(url, timeout=0.2)
        ended.set()


async def test_an_endless_body_is_refused_without_reading_on() -> None:
    broken = asyncio.Event()

    async def babble(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1 << 16))
        finally:
            broken.set()

    async with serving(babble) as url:
        with pytest.raises(SignalingError, match="more than 1 MiB") as caught:
            await get(url)
        await asyncio.wait_for(broken.wait(), DEADLINE)

    assert (caught.value.status, caught.value.retryable) == (200, False)


async def test_an_announced_length_over_the_limit_is_refused_before_the_body() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAX_BODY + 1)
    async with serving_bytes(head) as url:
        with pytest.raises(SignalingError, match="more than 1 MiB"):
            await get(url)


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async def fill(request: web.Request) -> web.Response:
        return web.Response(body=bytes(MAX_BODY))

    async with serving(fill) as url:
        assert len((await get(url)).body) == MAX_BODY


async def test_the_limit_counts_decompressed_bytes() -> None:
    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(bytes(64 << 20)), headers={"content-encoding": "gzip"})

    async with serving(bomb) as url:
        with pytest.raises(SignalingError, match="more than 1 MiB"):
            await get(url)


@asynccontextmanager
async def redirecting(status: int) -> AsyncIterator[tuple[str, list[str]]]:
    """Redirect ``/old`` to ``/new?token=…`` on the same server; yields the base URL and the paths asked for."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/old":
            return web.Response(status=status, headers={"location": f"/new?token={SECRET}"})
        return web.Response(text="here")

    async with serving(handler) as url:
        yield url, asked


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_post_is_not_sent_on_to_another_place(status: int) -> None:
    async with redirecting(status) as (url, asked):
        with pytest.raises(SignalingError) as caught:
            await post(f"{url}/old")

    assert asked == ["/old"]
    assert str(caught.value) == f"{url}/old redirects to {url}/new: use that URL"
    assert (status, False) == (caught.value.status, caught.value.retryable)


async def test_a_token_is_not_sent_on_to_another_place() -> None:
    async with redirecting(302) as (url, asked), aiohttp.ClientSession() as http:
        with pytest.raises(SignalingError, match="use that URL"):
            await exchange(http, HttpRequest("GET", f"{url}/old", {"authorization": "Bearer t"}))

    assert asked == ["/old"]


@pytest.mark.parametrize("quoted", ["sk/SECRET-0123456789", "sk%2FSECRET-0123456789", "sk%252FSECRET-0123456789"])
async def test_a_redirect_with_the_key_in_its_path_is_told_without_it_and_steers_no_terminal(quoted: str) -> None:
    async def astray(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        location = f"/login/{quoted}/\u202e\x9b2J"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(astray, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, open_pool("http://127.0.0.1") as http:
        request = HttpRequest("POST", f"http://127.0.0.1:{port}/", {"private_key": "sk/SECRET-0123456789"})
        with pytest.raises(SignalingError, match=r"redirects to http://.*/login/\[credential\]") as caught:
            await exchange(http, request)

    assert "SECRET" not in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_refusal_that_quotes_the_key_as_json_may_spell_it_does_not_bring_it() -> None:
    async def refuse(request: web.Request) -> web.Response:
        quoted = request.headers["authorization"].removeprefix("Bearer ").replace("/", "\\/")
        return web.Response(status=401, text=json.dumps({"error": f'{{"key": "{quoted}"}} is not known'}))

    async with serving(refuse) as url, aiohttp.ClientSession() as http:
        request = HttpRequest("POST", url, {"authorization": "Bearer pa/ss+wo/rd="})
        response = await exchange(http, request)

    assert '{"key": "[credential]"} is not known' in str(refusal_error(response, "token"))


async def test_a_get_without_credentials_follows_a_redirect() -> None:
    async with redirecting(308) as (url, asked):
        response = await get(f"{url}/old")

    assert (response.body, asked) == (b"here", ["/old", "/new"])


async def test_redirects_without_end_are_an_error() -> None:
    async def around(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": "/again"})

    async with serving(around) as url:
        with pytest.raises(SignalingError, match="redirects without end"):
            await get(url)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1", ""])
async def test_a_redirect_to_nowhere_is_a_signaling_error(location: str) -> None:
    async def astray(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"location": location})

    async with serving(astray) as url:
        with pytest.raises(SignalingError, match="redirects to"):
            await get(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection_asks_whether_the_server_runs(host: str) -> None:
    url = f"http://{host}:{unused_port()}"
    with pytest.raises(SignalingError) as caught:
        await post(f"{url}/v1/realtime/calls")

    assert str(caught.value) == f"nothing answers at {url}: is the server running?"
    assert caught.value.retryable


class NoNames(AbstractResolver):
    """A resolver that knows no name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(None, "DNS lookup failed")

    async def close(self) -> None:
        pass


async def test_an_unknown_name_is_named() -> None:
    connector = aiohttp.TCPConnector(resolver=NoNames())
    async with aiohttp.ClientSession(connector=connector) as http:
        with pytest.raises(SignalingError, match=r"the name in http://no-such\.example has no address"):
            await exchange(http, HttpRequest("GET", "http://no-such.example/path"))


async def test_https_to_a_plain_port_is_not_worth_a_retry() -> None:
    async with serving_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(SignalingError, match="does that port speak https") as caught:
            await get(url.replace("http:", "https:"))

    assert not caught.value.retryable


async def test_a_certificate_of_nobody_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    # The server's loop reports the handshake that we break off.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with serving(answer, tls=self_signed(tmp_path)) as url:
        with pytest.raises(SignalingError, match=rf"TLS with {url} failed: self.signed certificate") as caught:
            await get(url)

    assert not caught.value.retryable


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_a_server_of_another_protocol_is_told_apart() -> None:
    async with serving_bytes(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        with pytest.raises(SignalingError, match="does not speak HTTP"):
            await get(url)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"])
async def test_a_connection_that_breaks_is_worth_a_retry(answer: bytes) -> None:
    async with serving_bytes(answer) as url:
        with pytest.raises(SignalingError, match="broke the connection") as caught:
            await post(url)

    assert caught.value.retryable


async def test_a_line_break_in_a_token_is_a_configuration_error() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConfigurationError, match="line break"):
            await exchange(http, HttpRequest("GET", "http://127.0.0.1:9", {"authorization": "Bearer k\n"}))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"%s\r\n\r\n" % SECRET.encode(),
        b"HTTP/1.1 302 Found\r\nlocation: http://u:%s@h/?t=%s\r\n\r\n" % (SECRET.encode(), SECRET.encode()),
        b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n",
        None,
    ],
    ids=["hang-up", "half", "no-http", "redirect", "too-long", "refused"],
)
async def test_no_failure_shows_a_secret(answer: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    if answer is None:
        with pytest.raises(SignalingError) as caught:
            await post(f"http://127.0.0.1:{unused_port()}")
    else:
        async with serving_bytes(answer) as url:
            with pytest.raises(SignalingError) as caught:
                await post(url)

    chain: list[BaseException] = [caught.value]
    while (following := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(following)
    shown = [*(str(exc) for exc in chain), *(repr(exc) for exc in chain), *(repr(vars(exc)) for exc in chain)]
    shown += [*traceback.format_exception(caught.value), caplog.text]
    assert SECRET not in "\n".join(shown)
    assert not any(isinstance(exc, aiohttp.ClientError) for exc in chain)


async def test_the_cause_keeps_the_kind_of_failure() -> None:
    with pytest.raises(SignalingError) as caught:
        await post(f"http://127.0.0.1:{unused_port()}")

    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8080/audio?token=t#f", "http://127.0.0.1:8080/audio"),
        ("wss://user:pw@example.com/ws/agents/1?token=t", "wss://example.com/ws/agents/1"),
        ("http://[::1]:9/x", "http://[::1]:9/x"),
        ("http://[::1", "(not a URL)"),
        ("http://h:notaport/", "(not a URL)"),
        ("sk_live_key", "(not a URL)"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(st.text())
def test_no_text_at_all_breaks_the_redaction(text: str) -> None:
    assert "?" not in redact_url(text)
    assert SECRET not in redact_url(f"https://u:{SECRET}@h/?token={SECRET}{text}")


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ws://h", "http://", "http://h:x", "http://[::1", "http://a b"]
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write it as"):
        check_http_url(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="out of the URL") as caught:
        check_http_url(f"https://me:{SECRET}@example.com")

    assert SECRET not in str(caught.value)


@pytest.fixture
def no_proxy_set(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_the_environment_names_the_proxy(no_proxy_set: pytest.MonkeyPatch) -> None:
    assert environment_proxy("https://example.com") is None

    no_proxy_set.setenv("HTTPS_PROXY", "proxy.example:3128")
    no_proxy_set.setenv("NO_PROXY", "127.0.0.1,.internal.example")

    assert environment_proxy("https://example.com/v1") == "http://proxy.example:3128"
    assert environment_proxy("http://example.com") is None
    assert environment_proxy("https://api.internal.example:8443") is None
    assert environment_proxy("https://127.0.0.1:8443") is None


def test_a_proxy_that_aiohttp_cannot_use_is_refused(no_proxy_set: pytest.MonkeyPatch) -> None:
    no_proxy_set.setenv("HTTPS_PROXY", f"socks5://u:{SECRET}@proxy.example")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: only http and https") as caught:
        environment_proxy("https://example.com")

    assert SECRET not in str(caught.value)


async def test_a_request_goes_through_the_proxy() -> None:
    async def relay(request: web.Request) -> web.Response:
        return web.Response(text=request.raw_path)  # RFC 9112, 3.2.2: a proxy is asked for the absolute form

    async with serving(relay) as proxy, aiohttp.ClientSession(proxy=proxy) as http:
        response = await exchange(http, HttpRequest("GET", "http://far.example/v1"))

    assert response.body == b"http://far.example/v1"


async def test_a_dead_proxy_is_blamed_and_not_the_server() -> None:
    port = unused_port()
    async with aiohttp.ClientSession(proxy=f"http://u:{SECRET}@127.0.0.1:{port}") as http:
        with pytest.raises(SignalingError, match=f"the proxy at 127.0.0.1:{port} does not answer") as caught:
            await exchange(http, HttpRequest("GET", "https://far.example/v1"))

    assert SECRET not in str(caught.value)


async def test_a_proxy_that_refuses_is_blamed_and_not_the_server() -> None:
    async with (
        serving_bytes(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy,
        aiohttp.ClientSession(proxy=proxy) as http,
    ):
        with pytest.raises(SignalingError, match=r"the proxy refused to reach https://far\.example, with status 407"):
            await exchange(http, HttpRequest("GET", "https://far.example/v1"))
