"""Ask one STUN or TURN server whether it works from here, and say what came of it.

Both functions end within their ``timeout``, raise nothing for what a server or a network does, and leave nothing
behind.
"""

from __future__ import annotations

import ssl

from . import aiortc_compat
from .ice_options import relay_trust
from .ice_servers import IceUrl, ServerOutcome

__all__ = ["PROBE_TIMEOUT", "ask_stun", "relay_trust", "try_turn"]

PROBE_TIMEOUT = 5.0
"""Seconds."""


async def ask_stun(
    server: IceUrl, *, local: str = "", local_port: int = 0, timeout: float = PROBE_TIMEOUT
) -> ServerOutcome:
    """Ask a STUN server for our address as seen from there; ``outcome.address`` is the answer.

    Args:
        local: A local address to ask from, which decides the family too; empty: any.
        local_port: The UDP port to ask from: the same one for two servers shows whether a NAT is symmetric.
        timeout: Seconds.
    """

    async def ask() -> tuple[str, int]:
        return await aiortc_compat.ask_binding(server, local, local_port)

    return await aiortc_compat.explained(server, ask(), timeout)


async def try_turn(
    server: IceUrl, *, local: str = "", tls: ssl.SSLContext | None = None, timeout: float = PROBE_TIMEOUT
) -> ServerOutcome:
    """Get an allocation from a TURN server and give it back; ``outcome.address`` is the one it would relay for us.

    Args:
        local: A local address to reach it from; empty: any.
        tls: What to trust, as ``relay_trust`` makes it; ``None``: the system's CAs.
        timeout: Seconds.
    """

    async def allocate() -> tuple[str, int]:
        return await aiortc_compat.try_allocation(server, local, tls)

    return await aiortc_compat.explained(server, allocate(), timeout)
