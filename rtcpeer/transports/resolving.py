"""Names to addresses, so that a DNS server that does not answer costs its own deadline and nothing else.

The system's resolver blocks, for 10 s or more, and can't be cancelled. asyncio runs it in the loop's default
executor, where files are written too, and waits for it at exit. Here a look-up has a daemon thread of its own, which
nobody joins.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

TIMEOUT = 5.0
"""Seconds for a look-up, unless told otherwise."""
MOST_THREADS = 64
"""Look-ups under way at once in this process; one that was given up counts until the system's resolver ends it."""
MOST_WAITING = 256
"""Look-ups that wait for a thread; one more fails at once."""
MOST_ADDRESSES = 4
"""Of one family, that are used of one name: a name may have hundreds, and each is a stranger who gets packets."""

Found = list[tuple[socket.AddressFamily, Any]]
"""Families, and addresses as ``socket.connect`` takes them, the system's first choice first."""


class ResolverSilent(TimeoutError):
    """Name resolution did not answer within the deadline."""


async def addresses(
    host: str,
    port: int,
    kind: socket.SocketKind,
    *,
    timeout: float = TIMEOUT,
    family: socket.AddressFamily = socket.AF_UNSPEC,
) -> Found:
    """Return the addresses of a host, at most ``MOST_ADDRESSES`` of each family; an address is its own, at once.

    Args:
        timeout: Seconds until it is given up.

    Raises:
        ResolverSilent: no answer within ``timeout``. It is a TimeoutError, and so an OSError.
        socket.gaierror: this can't be a name, it has no address, or too many look-ups wait already.
    """
    with suppress(ValueError):
        version = ipaddress.ip_address(host).version
        if "%" not in host and family in (socket.AF_UNSPEC, socket.AF_INET6 if version == 6 else socket.AF_INET):
            return [(socket.AF_INET6, (host, port, 0, 0)) if version == 6 else (socket.AF_INET, (host, port))]
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Found] = loop.create_future()
    waiter = (loop, answer)
    lookup = _lookups.join((host, port, kind, family), waiter)
    try:
        async with asyncio.timeout(timeout):
            return await answer
    except TimeoutError:
        raise ResolverSilent(f"name resolution did not answer within {timeout:g} s") from None
    finally:
        _lookups.leave(lookup, waiter)


class Resolver(AbstractResolver):
    """For ``aiohttp.TCPConnector(resolver=…)``. A look-up ends within ``TIMEOUT``."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises socket.gaierror, which aiohttp makes a ClientConnectorDNSError; ``EAI_AGAIN``: no answer in time."""
        try:
            found = await addresses(host, port, socket.SOCK_STREAM, family=family, timeout=TIMEOUT)
        except ResolverSilent as exc:
            raise socket.gaierror(socket.EAI_AGAIN, str(exc)) from None
        return [
            ResolveResult(
                hostname=host,
                # A link-local address is nothing without its interface.
                host=f"{address[0]}%{address[3]}" if len(address) > 3 and address[3] else address[0],
                port=address[1],
                family=each,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for each, address in found
        ]

    async def close(self) -> None:
        pass


_Question = tuple[str, int, socket.SocketKind, socket.AddressFamily]
_Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Future[Found]]


class _Lookup:
    """One question to the system, for everybody who asks the same: a name that is silent holds one thread."""

    def __init__(self, question: _Question) -> None:
        self.question = question
        self.waiters: list[_Waiter] = []


class _Lookups:
    """All look-ups of this process; its loops may be several."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[_Question, _Lookup] = {}
        self._threads = 0
        # When it is full, the newest is refused: those that wait have asked first.
        self._waiting: deque[_Lookup] = deque()

    def join(self, question: _Question, waiter: _Waiter) -> _Lookup:
        """Ask, or wait with those who asked already. Raises socket.gaierror when too many wait."""
        with self._lock:
            lookup = self._open.get(question)
            if lookup is not None:
                lookup.waiters.append(waiter)
                return lookup
            if self._threads >= MOST_THREADS and len(self._waiting) >= MOST_WAITING:
                raise socket.gaierror(socket.EAI_AGAIN, "too many names wait to be looked up")
            lookup = self._open[question] = _Lookup(question)
            lookup.waiters.append(waiter)
            if self._threads >= MOST_THREADS:
                self._waiting.append(lookup)
                return lookup
            self._threads += 1
        try:
            threading.Thread(target=self._run, args=(lookup,), name="name look-up", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            with self._lock:
                self._threads -= 1
                self._open.pop(question, None)
            raise socket.gaierror(socket.EAI_AGAIN, "no thread to look the name up") from None
        return lookup

    def leave(self, lookup: _Lookup, waiter: _Waiter) -> None:
        """Wait no more; what nobody waits for and was not begun is forgotten."""
        with self._lock:
            with suppress(ValueError):
                lookup.waiters.remove(waiter)
            if not lookup.waiters and lookup in self._waiting:
                self._waiting.remove(lookup)
                del self._open[lookup.question]

    def _run(self, lookup: _Lookup | None) -> None:
        while lookup is not None:
            host, port, kind, family = lookup.question
            found: Found = []
            failure: OSError | None = None
            try:
                # Through the module: who patches the resolver is heard here too.
                found = _first_few(socket.getaddrinfo(host, port, family=family, type=kind))
            except OSError as exc:
                failure = exc
            except Exception:  # UnicodeError: a label of more than 63 characters; ValueError: a NUL
                failure = socket.gaierror(socket.EAI_NONAME, "this can't be a name")
            with self._lock:
                # A question that is asked from now on is asked anew.
                del self._open[lookup.question]
                waiters = list(lookup.waiters)
                lookup = self._waiting.popleft() if self._waiting else None
                if lookup is None:
                    self._threads -= 1
            for loop, answer in waiters:
                with suppress(RuntimeError):  # that loop is closed
                    loop.call_soon_threadsafe(_settle, answer, found, failure)


_lookups = _Lookups()


def _settle(answer: asyncio.Future[Found], found: Found, failure: OSError | None) -> None:
    if answer.done():
        return
    if failure is not None:
        answer.set_exception(failure)
    else:
        answer.set_result(found)


def _first_few(found: Iterable[tuple[Any, ...]]) -> Found:
    """Drop what came twice and, of each family, all but the first few; the order stays."""
    kept: Found = []
    for family, _, _, _, address in found:
        if (family, address) not in kept and sum(each == family for each, _ in kept) < MOST_ADDRESSES:
            kept.append((family, address))
    return kept
