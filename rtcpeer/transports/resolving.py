"""Looking up host names, each on its own deadline.

A DNS server that says nothing holds a thread for half a minute. asyncio looks names up in the executor that also
writes recordings and reads files, and waits for that executor when the loop ends. The threads here do nothing else,
and nobody waits for them.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

THREADS = 16
"""Look-ups under way at once in this process; the next one waits, within its own deadline."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]

_free = threading.BoundedSemaphore(THREADS)


async def addresses(host: str, port: int, kind: socket.SocketKind, *, timeout: float) -> list[Address]:
    """Return the addresses of a host, as ``getaddrinfo`` orders them: families, and what ``connect`` takes.

    Args:
        timeout: Seconds.

    Raises:
        OSError: there is no such host.
        TimeoutError: nobody said within ``timeout``; it is an OSError, too.
    """
    async with asyncio.timeout(timeout):
        while not _free.acquire(blocking=False):  # noqa: ASYNC110 - a thread of another loop may free it
            await asyncio.sleep(0.02)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Address]] = loop.create_future()
        threading.Thread(
            target=_look_up, args=(loop, found, host, port, kind), daemon=True, name=f"looking up {host}"
        ).start()
        return await found


def _look_up(
    loop: asyncio.AbstractEventLoop,
    found: asyncio.Future[list[Address]],
    host: str,
    port: int,
    kind: socket.SocketKind,
) -> None:
    result: list[Address] | Exception
    try:
        result = [(each[0], each[4]) for each in socket.getaddrinfo(host, port, type=kind)]
    except (OSError, UnicodeError) as exc:  # UnicodeError: a label of more than 63 characters
        result = exc if isinstance(exc, OSError) else OSError(f"{host!r} is no host name")
    finally:
        _free.release()

    def tell() -> None:
        if found.done():
            return
        if isinstance(result, Exception):
            found.set_exception(result)
        else:
            found.set_result(result)

    with suppress(RuntimeError):  # the loop has ended: nobody asks any more
        loop.call_soon_threadsafe(tell)
