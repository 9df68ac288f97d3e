"""Ask one STUN or TURN server whether it works from here, and say what came of it.

Both functions end within their ``timeout``, raise nothing for what a server or a network does, and leave nothing
behind.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable

from ..errors import ConfigurationError
from . import aiortc_compat
from .ice_servers import IceUrl, ServerOutcome, answered, failure, refusal

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

    return await explained(server, ask(), timeout)


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

    return await explained(server, allocate(), timeout)


def relay_trust(ca: str | os.PathLike[str] | None) -> ssl.SSLContext | None:
    """Return what to trust in TURN over TLS: the system's CAs, and those in the file ``ca``.

    Raises:
        ConfigurationError: the file can't be read, or holds no certificate.
    """
    if ca is None:
        return None  # the system's alone, read when they are needed
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as exc:
        raise ConfigurationError(f"{os.fspath(ca)} holds no certificate: give a CA's, as PEM") from exc
    except OSError as exc:
        raise ConfigurationError(f"can't read the CA's certificate: {os.fspath(ca)}: {exc.strerror}") from exc
    return context


async def explained(server: IceUrl, asking: Awaitable[tuple[str, int]], timeout: float | None) -> ServerOutcome:
    """Wait for what comes of asking a server, and put it into words."""
    began = time.monotonic()

    def seconds() -> float:
        return time.monotonic() - began

    try:
        async with asyncio.timeout(timeout):
            address = await asking
    except aiortc_compat.Refused as exc:
        return refusal(server, exc.code, exc.reason, seconds(), wall=time.time())
    except Exception as exc:
        return failure(server, exc, seconds())
    return answered(server, seconds(), address)
