"""One question to one STUN or TURN server, for whoever asks no more than that, and what the answer means."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable
from typing import Any

from aioice import stun

from .. import resolving
from ..ice_servers import IceUrl, ServerOutcome, answered, failure, refusal
from .turn import Address, Refused, allocate, bind_to, reflexive_address, unless


async def explained(server: IceUrl, asking: Awaitable[Address], timeout: float | None) -> ServerOutcome:
    """Wait for what comes of asking a server, and put it into words."""
    began = time.monotonic()

    def seconds() -> float:
        return time.monotonic() - began

    try:
        async with asyncio.timeout(timeout):
            address = await asking
    except Refused as exc:
        return refusal(server, exc.code, exc.reason, seconds(), wall=time.time())
    except Exception as exc:
        return failure(server, exc, seconds())
    return answered(server, seconds(), address)


async def try_allocation(server: IceUrl, local: str, tls: ssl.SSLContext | None) -> Address:
    """Get an allocation and give it back; return its relayed address. Raises as ``allocate`` does."""
    relay = await allocate(server, _Receiver, bind=bind_to(local), tls=tls)
    relay.transport.close()
    await relay.protocol.closed
    return relay.address


class _Receiver(asyncio.DatagramProtocol):
    """Receives nothing."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class _Asker(asyncio.DatagramProtocol):
    """Enough of a socket for a Binding request."""

    def __init__(self) -> None:
        self.transactions: dict[bytes, Any] = {}
        self.broken: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send_stun(self, message: stun.Message, addr: Address) -> None:
        self.transport.sendto(bytes(message))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            message = stun.parse_message(data)
        except (ValueError, KeyError, IndexError, TypeError):
            return  # not for us
        if message.message_class & 0x100 and (found := self.transactions.get(message.transaction_id)) is not None:
            found.response_received(message, addr)

    def error_received(self, exc: Exception) -> None:
        if not self.broken.done():
            self.broken.set_result(exc)


async def ask_binding(server: IceUrl, local: str, local_port: int) -> Address:
    """Ask a STUN server from a socket of its own. Raises as ``reflexive_address`` does, and OSError."""
    loop = asyncio.get_running_loop()
    bind = bind_to(local, local_port)
    why: OSError = OSError()
    for family, address in await resolving.addresses(server.host, server.port, socket.SOCK_DGRAM):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            bind(sock)
            sock.connect(address)
            _, asker = await loop.create_datagram_endpoint(_Asker, sock=sock)
        except OSError as exc:
            sock.close()
            why = exc
            continue
        try:
            return await unless(asker.broken, reflexive_address(asker, address[:2], retries=6))
        finally:
            asker.transport.close()
    raise why
