"""Ask one STUN or TURN server whether it works from here, and say what came of it.

The functions end within their ``timeout``, raise nothing for what a server or a network does, and leave nothing
behind.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Literal

from . import aiortc_compat
from .ice_options import relay_trust
from .ice_servers import IceUrl, ServerOutcome

__all__ = ["PROBE_TIMEOUT", "ask_stun", "relay_trust", "through_relay", "try_turn"]

logger = logging.getLogger(__name__)

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


async def through_relay(
    server: IceUrl, *, local: str = "", tls: ssl.SSLContext | None = None, timeout: float = PROBE_TIMEOUT
) -> float | Literal["lost", "unknown"]:
    """Send a datagram through a TURN server, from one allocation of ours to another and back; return seconds.

    ``"lost"``: it did not come back. ``"unknown"``: it could not be tried; servers may give one user one allocation,
    or forbid that two of theirs talk to each other. Arguments as for ``try_turn``.
    """
    try:
        async with asyncio.timeout(timeout):
            seconds = await aiortc_compat.relay_round_trip(server, local, tls)
    except TimeoutError:
        return "lost"
    except Exception as exc:
        logger.debug("no data was sent through %s: %s", server, type(exc).__name__)
        return "unknown"
    return "lost" if seconds is None else seconds
