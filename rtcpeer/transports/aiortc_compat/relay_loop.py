"""A datagram through a TURN server and back: an allocation alone does not show that it relays anything."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from aioice import stun

from ..ice_servers import IceUrl
from .turn import Relay, allocate, bind_to, plain

_TRIES = (0.1, 0.2, 0.4, 0.8)
"""Seconds to wait for what was sent before it is sent again: one datagram may be lost on its way."""


class _Echo(asyncio.DatagramProtocol):
    """Sends back what it gets, or keeps it."""

    def __init__(self, on_data: Callable[[bytes], None] | None = None) -> None:
        self.send: Callable[[bytes], None] = lambda data: None
        self.on_data = on_data

    def datagram_received(self, data: bytes, addr: object) -> None:
        if self.on_data is not None:
            self.on_data(data)
        else:
            self.send(data)


async def relay_round_trip(server: IceUrl, local: str, tls: ssl.SSLContext | None) -> float | None:
    """Send a datagram from one allocation to another of ours and back; return seconds, ``None``: it did not come.

    Raises:
        What ``allocate`` does: ``Refused`` also where the server forbids that the two talk to each other.
    """
    came: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    sent: dict[bytes, float] = {}

    def on_data(data: bytes) -> None:
        if data in sent and not came.done():
            came.set_result(time.monotonic() - sent[data])

    async with AsyncExitStack() as ours:

        async def get(protocol: _Echo) -> Relay[_Echo]:
            relay = await allocate(server, lambda: protocol, bind=bind_to(local), tls=tls)
            ours.callback(relay.abandon)
            return relay

        near = await get(_Echo(on_data))
        far = await get(_Echo())
        try:
            await near.client.open_channel(far.address)
            await far.client.open_channel(near.address)
        except stun.TransactionError as exc:
            raise plain(exc) from None
        far.protocol.send = lambda data: far.transport.sendto(data, near.address)
        for wait in _TRIES:
            cookie = secrets.token_bytes(16)
            sent[cookie] = time.monotonic()
            near.transport.sendto(cookie, far.address)
            await asyncio.wait([came], timeout=wait)
            if came.done():
                return came.result()
    return None
