"""Opening a WebSocket as a client: the proxy, the refusals, and what to release afterwards."""

from __future__ import annotations

import asyncio

import aiohttp

from ..errors import RtcPeerError, SignalingError
from ..protocols.http import HttpResponse, SocketRequest
from ..protocols.websocket import WebSocketProtocol
from .http import explain, open_pool, redact_url, redacted

MESSAGE_LIMIT = 1024 * 1024
"""Bytes. A longer message is not read, and ends the connection (close code 1009)."""
CLOSE_DEADLINE = 2.0
"""Seconds for the far end's half of a goodbye."""


class Dialled:
    """A client's open socket and the pool it came from."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, http: aiohttp.ClientSession) -> None:
        self.socket = socket
        self._http = http

    async def release(self) -> None:
        await self._http.close()

    def abort(self) -> None:
        # aiohttp has no public way to a client socket's transport.
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


async def dial(request: SocketRequest, protocol: type[WebSocketProtocol], *, timeout: float | None) -> Dialled:
    """Open a socket as a client.

    Args:
        timeout: Seconds until it is open; ``None``: no limit.

    Raises:
        AuthError, SignalingError: it was refused, or nothing answers.
        ConfigurationError: the URL or a header can't be sent.
    """
    http_url = "http" + request.url.removeprefix("ws")
    http = open_pool(http_url)
    failure: RtcPeerError
    try:
        async with asyncio.timeout(timeout):
            socket = await http.ws_connect(
                request.url,
                headers=request.headers,
                protocols=request.subprotocols,
                max_msg_size=MESSAGE_LIMIT,
                autoping=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_DEADLINE),
            )
        return Dialled(socket, http)
    except aiohttp.WSServerHandshakeError as exc:
        headers = {name.lower(): value for name, value in (exc.headers or {}).items()}
        failure = protocol.socket_refused(HttpResponse(exc.status, headers))
        if exc.status == 101:
            failure = SignalingError(f"{redact_url(http_url)} answered the upgrade with nonsense; is it a WebSocket?")
        cause: Exception = redacted(exc)
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        failure, cause = explain(exc, http_url, timeout), redacted(exc)
    except BaseException:
        await http.close()
        raise
    await http.close()
    # Outside the handler: __context__ would keep aiohttp's error, and with it the URL and the headers.
    raise failure from cause
