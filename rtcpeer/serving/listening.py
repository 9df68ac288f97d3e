"""Listening for HTTP: how many connections at once, how long each may take to ask, and what of it is logged.

What aiohttp offers is used: sizes of lines, headers and bodies, and its keep-alive timeout, which also ends a
connection whose next request trickles in. What it does not have is here: a limit on connections, and a deadline for
the first request that is counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from ..errors import ConfigurationError
from ..protocols.http import is_loopback as is_loopback
from .rate_limit import Network, caller, is_trusted
from .refusals import Refusals

BODY_LIMIT = 1 << 20
"""Bytes of a request."""
HEADERS = 64
"""Of a request; each of 8190 bytes at most."""
KEEPALIVE = 60.0
"""Seconds between two requests on one connection, the second one's headers included."""
HANDSHAKE = 10.0
"""Seconds for that of TLS."""
LINGER = 1.0
"""Seconds in which the rest of a body is read that nobody wants, so that its sender sees the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server puts up with.

    Raises:
        ConfigurationError: a number below one, or no time at all.
    """

    connections: int = 1000
    """At once; one more is answered 503."""
    connections_each: int | None = 100
    """At once from one address; one more is answered 429. ``None``: no limit of its own."""
    request_deadline: float = 10.0
    """Seconds until a connection's first request is there, and for the body of each."""
    trusted_proxies: Sequence[Network] = ()
    """Reverse proxies: many callers come from their addresses."""

    def __post_init__(self) -> None:
        if self.connections < 1 or (self.connections_each is not None and self.connections_each < 1):
            raise ConfigurationError("give at least one connection")
        if self.request_deadline <= 0:
            raise ConfigurationError(f"the request deadline is {self.request_deadline:g} s: give more than none")


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str,
    port: int,
    *,
    limits: Limits,
    refusals: Refusals,
    tls: ssl.SSLContext | None = None,
    shutdown_timeout: float = 1.0,
    handler_cancellation: bool = False,
) -> AsyncIterator[tuple[str, int]]:
    """Serve ``app`` for as long as the context lasts; yields the address and the port.

    Args:
        host: ``""`` is every address.
        port: 0 takes a free one.
        shutdown_timeout: Seconds for requests under way at the end.
        handler_cancellation: A request ends when the one who asked is gone.

    Raises:
        ConfigurationError: the address can't be listened on.
    """
    loop = asyncio.get_running_loop()
    # Connections whose first request is not there yet.
    silent: dict[asyncio.BaseTransport | None, asyncio.TimerHandle] = {}

    @web.middleware
    async def hear(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        if timer := silent.pop(request.transport, None):
            timer.cancel()
        if not _names_a_place(request):
            refusals.count("malformed-http")
            raise web.HTTPBadRequest(text="Bad Request", headers={"Connection": "close"})
        response: web.StreamResponse = await handler(request)
        return response

    def give_up(transport: asyncio.Transport) -> None:
        silent.pop(transport, None)
        if not transport.is_closing():
            refusals.count("slow-request")
            transport.abort()

    app.middlewares.insert(0, hear)
    runner = web.AppRunner(
        app,
        # No access log: what is worth logging of a request is its path, and its query may hold a secret.
        access_log=None,
        logger=_ServerLog(refusals),
        handler_cancellation=handler_cancellation,
        shutdown_timeout=shutdown_timeout,
        keepalive_timeout=KEEPALIVE,
        lingering_time=LINGER,
        max_headers=HEADERS,
    )
    await runner.setup()
    assert runner.server is not None
    http: web.Server = runner.server

    class Doorman(asyncio.Protocol):
        """Hands a connection to aiohttp, or turns it away before anything of it is read."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport = cast(asyncio.Transport, transport)
            peer = _peer(transport.get_extra_info("peername"))
            if status := _full(peer, http, limits):
                refusals.count("connections" if status.startswith("503") else "connections-from-one-address")
                transport.write(
                    f"HTTP/1.1 {status}\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
                )
                transport.close()
                return
            silent[transport] = loop.call_later(limits.request_deadline, give_up, transport)
            protocol = http()
            transport.set_protocol(protocol)
            protocol.connection_made(transport)

    server: asyncio.Server | None = None
    try:
        try:
            server = await loop.create_server(
                Doorman, host or None, port, ssl=tls, ssl_handshake_timeout=HANDSHAKE if tls else None, backlog=128
            )
        except (OSError, OverflowError) as exc:
            raise ConfigurationError(
                f"can't listen on {host}:{port}: {_why(exc)}; choose another host or port"
            ) from exc
        yield server.sockets[0].getsockname()[:2]
    finally:
        if server is not None:
            server.close()
        await runner.cleanup()
        for timer in silent.values():
            timer.cancel()


async def read_body(request: web.Request, seconds: float, refusals: Refusals) -> bytes:
    """Return the whole body.

    Raises:
        web.HTTPRequestTimeout: it was not there after so many seconds.
        web.HTTPRequestEntityTooLarge: it is longer than the application's ``client_max_size``, once decompressed.
        web.HTTPBadRequest: its chunks or its compression are broken.
    """
    try:
        if (length := request.content_length or 0) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size, length)  # aiohttp would read it first
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        refusals.count("slow-body")
        raise web.HTTPRequestTimeout(text="Request Timeout", headers={"Connection": "close"}) from None
    except web.HTTPRequestEntityTooLarge:
        refusals.count("large-body")
        raise
    except web.RequestPayloadError:
        refusals.count("malformed-http")
        raise web.HTTPBadRequest(text="Bad Request") from None


def _names_a_place(request: web.Request) -> bool:
    """Whether a URL can be made of the request's target and its Host (RFC 9110, 7.2); a bad port can't be in one."""
    try:
        return bool(request.url.host) and len(request.headers.getall("Host", ())) <= 1
    except ValueError:
        return False


def came_by_loopback(request: web.Request) -> bool:
    """Whether it came to a loopback address: from this machine, or from a page of whoever browses on it."""
    transport = request.transport
    at = transport.get_extra_info("sockname") if transport is not None else None
    return isinstance(at, tuple) and is_loopback(at[0])


def _full(peer: str | None, http: web.Server, limits: Limits) -> str | None:
    """Return the status that one more connection is answered with, if it is one too many."""
    connections = http.connections
    if len(connections) >= limits.connections:
        return "503 Service Unavailable"
    if limits.connections_each is None or is_trusted(peer, limits.trusted_proxies):
        return None
    who = caller(peer)
    same = sum(caller(_peer(each.peername)) == who for each in connections)
    return "429 Too Many Requests" if same >= limits.connections_each else None


def _peer(peername: Any) -> str | None:
    return peername[0] if isinstance(peername, tuple) else None


def _why(exc: Exception) -> str:
    # asyncio's text repeats the address; the resolver's numbers are negative, and its texts short.
    if isinstance(exc, OSError):
        return os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror or type(exc).__name__
    return str(exc)


class _ServerLog(logging.LoggerAdapter[logging.Logger]):
    """aiohttp's own log of a server. It quotes requests that it can't read, with whatever secret is in them."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__(logging.getLogger("rtcpeer.serving"))
        self._refusals = refusals

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        exc = kwargs.get("exc_info")
        if isinstance(exc, BaseException) and type(exc).__module__.startswith("aiohttp."):
            self._refusals.count("malformed-http")
            return
        super().log(level, msg, *args, **kwargs)
