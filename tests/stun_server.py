"""A STUN server on loopback, that sees whatever a NAT would show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aioice import stun

Address = tuple[str, int]


class StunServer(asyncio.DatagramProtocol):
    """Answers Binding requests with the address that a NAT would have made of the sender's."""

    def __init__(self, nat: Callable[[Address], Address]) -> None:
        self._nat = nat

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = stun.parse_message(data)
        answer = stun.Message(request.message_method, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = self._nat(addr)
        self._transport.sendto(bytes(answer), addr)


@asynccontextmanager
async def stun_server(nat: Callable[[Address], Address] = lambda sender: sender) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: StunServer(nat), local_addr=("127.0.0.1", 0))
    try:
        yield f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()
