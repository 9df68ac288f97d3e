"""The listening socket, with raw connections: what a client of ours would never send."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web
from calling import DEADLINE

from rtcpeer.errors import ConfigurationError
from rtcpeer.serving.listening import BODY_LIMIT, Limits, listening, read_body
from rtcpeer.serving.refusals import Refusals

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Server:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refusals = Refusals(logging.getLogger("rtcpeer.test"))
        self.port = 0

    @property
    def refused(self) -> dict[str, int]:
        return self.refusals.to_dict()

    async def answer(self, request: web.Request) -> web.Response:
        body = await read_body(request, self.limits.request_deadline, self.refusals)
        return web.Response(text=f"{len(body)} bytes\n")

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def serving(**limits: object) -> AsyncIterator[Server]:
    server = Server(Limits(**limits))  # type: ignore[arg-type]
    app = web.Application(client_max_size=BODY_LIMIT)
    app.router.add_route("*", "/", server.answer)
    async with listening(app, "127.0.0.1", 0, limits=server.limits, refusals=server.refusals) as (_, port):
        server.port = port
        yield server


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends; a reset ends it, too."""
    found = b""
    async with asyncio.timeout(DEADLINE):
        try:
            while block := await reader.read(1 << 16):
                found += block
        except ConnectionResetError:
            pass
    return found


async def ask(server: Server, request: bytes) -> bytes:
    async with server.dial() as (reader, writer):
        writer.write(request)
        async with asyncio.timeout(DEADLINE):
            return await reader.readline()


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_without_a_whole_request_is_closed_at_the_deadline_and_counted(said):
    async with serving(request_deadline=0.05) as server, server.dial() as (reader, writer):
        writer.write(said)

        assert b"" == await rest(reader)
        assert {"slow-request": 1} == server.refused


async def test_headers_that_trickle_in_do_not_put_the_deadline_off():
    async with serving(request_deadline=0.2) as server, server.dial() as (reader, writer):

        async def trickle() -> None:
            writer.write(GET[:-2])
            for n in range(1000):
                writer.write(b"X-%d: 1\r\n" % n)
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        assert b"" == await rest(reader)
        trickling.cancel()
        assert {"slow-request": 1} == server.refused


async def test_a_request_that_came_in_time_may_be_followed_by_another_after_the_deadline():
    async with serving(request_deadline=0.5) as server, server.dial() as (reader, writer):
        writer.write(GET)
        assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
        await reader.readuntil(b"bytes\n")
        async with server.dial() as (silent, _):  # which lasts as long as the deadline
            await rest(silent)
        writer.write(GET)

        assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()


@pytest.mark.parametrize("host", [b"x:99999", b"x:y", b"x:1:2", b":80", b""])
async def test_a_host_that_no_url_can_have_is_400_and_counted_and_not_logged(
    host: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server:
        line = await ask(server, b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host)

    assert line == b"HTTP/1.1 400 Bad Request\r\n"
    assert {"malformed-http": 1} == server.refused
    assert ["refused: kind=malformed-http (said once; the others are only counted)"] == caplog.messages


async def test_a_body_that_does_not_come_is_408():
    async with serving(request_deadline=0.5) as server:
        line = await ask(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

        assert line == b"HTTP/1.1 408 Request Timeout\r\n"
        assert {"slow-body": 1} == server.refused


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 2000000", b"x"),
        (b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked", gzip.compress(b" " * 50_000_000)),
    ],
)
async def test_a_body_that_is_too_long_is_413_before_it_is_read_or_unpacked(head, body):
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if b"chunked" in head else body
    async with serving(request_deadline=20.0) as server:
        line = await ask(server, b"POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s" % (head, chunks))

        assert line.startswith(b"HTTP/1.1 413 ")
        assert {"large-body": 1} == server.refused


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /?token=SECRET HTTP/9\r\n\r\n",
        b"GET /?token=SECRET" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: SECRET\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: SECRET\r\n" * 100 + b"\r\n",
        b"SECRET\r\n\r\n\x00\xff",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nSECRET\r\n",
        b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nSECRET",
    ],
)
async def test_what_is_no_http_is_400_and_is_not_quoted_in_the_log(request_, caplog):
    caplog.set_level(logging.DEBUG)
    async with serving() as server:
        line = await ask(server, request_)

        assert line.startswith(b"HTTP/1.")
        assert b" 400 " in line
        assert {"malformed-http": 1} == server.refused
    assert "SECRET" not in caplog.text


async def test_one_connection_more_is_503_and_gets_in_when_another_has_left():
    async with serving(connections=1) as server:
        async with server.dial() as (reader, writer):
            writer.write(GET)
            await reader.readuntil(b"bytes\n")
            async with server.dial() as (second, _):
                refusal = await rest(second)
        assert refusal.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in refusal
        assert {"connections": 1} == server.refused

        async with asyncio.timeout(DEADLINE):
            while not (await ask(server, GET)).startswith(b"HTTP/1.1 200"):
                pass


async def test_one_connection_more_from_one_address_is_429_for_that_address_only():
    async with serving(connections_each=1) as server, server.dial() as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"bytes\n")
        async with server.dial() as (second, _):
            assert (await rest(second)).startswith(b"HTTP/1.1 429 ")
        assert {"connections-from-one-address": 1} == server.refused

        other = await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.2", 0))
        other[1].write(GET)
        assert (await other[0].readline()).startswith(b"HTTP/1.1 200")
        other[1].close()


async def test_a_flood_is_one_line_in_the_log(caplog):
    async with serving(connections=1) as server, server.dial() as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"bytes\n")
        for _ in range(20):
            async with server.dial() as (second, _):
                await rest(second)

        assert {"connections": 20} == server.refused
    assert 1 == sum("refused" in record.message for record in caplog.records)


def test_kinds_that_nobody_foresaw_do_not_fill_the_memory():
    refusals = Refusals(logging.getLogger("rtcpeer.test"))
    for n in range(1000):
        refusals.count(f"kind {n}")

    assert refusals.to_dict()["other"] == 900


@pytest.mark.parametrize("limits", [{"connections": 0}, {"connections_each": 0}, {"request_deadline": 0.0}])
def test_limits_that_let_nobody_in_are_refused(limits):
    with pytest.raises(ConfigurationError):
        Limits(**limits)
