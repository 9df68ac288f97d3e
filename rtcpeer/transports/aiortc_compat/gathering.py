"""Gathering candidates in place of aioice, which asks one STUN and one TURN server and tells nobody what they said.

What to ask and when to stop is decided in ``transports/gathering.py``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from aioice import Candidate, turn
from aioice.candidate import candidate_foundation, candidate_priority
from aiortc import RTCPeerConnection

from ...errors import IceError
from ...protocols.http import is_loopback
from .. import resolving
from ..gathering import Gathering
from ..ice_options import IceOptions, may_reach
from ..ice_servers import IceUrl, PortsExhausted, ServerOutcome, in_order, silent
from .asking import explained
from .checks import CheckingProtocol
from .ice import ice_transports
from .turn import Address, allocate, reflexive_address

logger = logging.getLogger(__name__)

_SECOND_CHOICE = 65534
"""The local preference of other addresses where there is loopback, whose own is 65535."""
ENDLESS = 30
"""Repetitions of a question: gathering ends before them."""


def gather_with(
    pc: RTCPeerConnection,
    servers: Sequence[IceUrl],
    options: IceOptions,
    on_outcome: Callable[[ServerOutcome], None],
) -> None:
    """Have ``setLocalDescription`` gather so; ``on_outcome`` gets what became of each server that was of no use.

    It then raises IceError when no port of the range is free, ConfigurationError when the interface is gone.
    """
    for transport in ice_transports(pc):
        connection: Any = transport._connection

        async def gather(
            component: int, addresses: list[str], timeout: int = 5, connection: Any = connection
        ) -> list[Candidate]:
            return await _Gatherer(connection, component, servers, options, on_outcome).run()

        connection.get_component_candidates = gather


class _Gatherer:
    """One gathering of one connection."""

    def __init__(
        self,
        connection: Any,
        component: int,
        servers: Sequence[IceUrl],
        options: IceOptions,
        on_outcome: Callable[[ServerOutcome], None],
    ) -> None:
        self._connection = connection
        self._component = component
        self._stuns = [server for server in servers if server.kind == "stun"]
        self._options = options
        self._on_outcome = on_outcome
        self._time = asyncio.get_running_loop().time
        self._began = self._time()
        self._plan = Gathering(
            in_order(servers),
            policy=options.policy,
            now=self._began,
            timeout=options.gather_timeout,
            limit=options.relay_limit,
        )
        self._hosts: list[CheckingProtocol] = []
        self._found: list[Candidate] = []
        self._relay: Candidate | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unheard: set[IceUrl] = set()
        """STUN servers that have said nothing yet."""

    async def run(self) -> list[Candidate]:
        try:
            if self._options.policy == "all":
                await self._bind_hosts()
                for server in self._stuns:
                    self._unheard.add(server)
                    self._plan.asked(server)  # as one question, until it has an address
                    self._start(self._ask(server))
            while True:
                now = self._time()
                for relay in self._plan.due(now):
                    self._start(self._allocate(relay))
                if self._plan.done(now):
                    break
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._plan.wait(now)):
                        await self._changed.wait()
        finally:
            # Whoever is late gives back what it got.
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        elapsed = now - self._began
        for server in self._stuns:
            if server in self._unheard and elapsed >= self._options.gather_timeout:
                self._on_outcome(silent(server, elapsed))
        for server, seconds in self._plan.silent(now):
            self._on_outcome(silent(server, seconds))
        return self._found if self._relay is None else [*self._found, self._relay]

    def _start(self, asking: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(asking))

    # Host candidates

    async def _bind_hosts(self) -> None:
        exhausted: PortsExhausted | None = None
        for address in self._options.addresses():
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, turn.UDP_SOCKET_BUFFER_SIZE)
                self._options.bind_udp(sock, address)
            except OSError as exc:
                sock.close()
                logger.info("can't bind to %s: %s", address, exc)
                exhausted = exc if isinstance(exc, PortsExhausted) else exhausted
                continue
            loop = asyncio.get_running_loop()
            _, host = await loop.create_datagram_endpoint(lambda: CheckingProtocol(self._connection), sock=sock)
            self._connection._protocols.append(host)
            self._hosts.append(host)
            shown, port = self._options.advertised(address), sock.getsockname()[1]
            host.local_candidate = self._candidate("host", address, (shown, port))
            if self._options.loopback and not is_loopback(address):
                # RFC 8445, 5.1.2.1: the local preference says which of several addresses is the best.
                host.local_candidate.priority = candidate_priority(self._component, "host", _SECOND_CHOICE)
            self._found.append(host.local_candidate)
        if exhausted is not None and not self._hosts:
            raise IceError(
                f"{exhausted}: end other calls, or widen the range (udp_ports, --udp-ports)"
            ) from exhausted

    # Server-reflexive candidates

    async def _ask(self, server: IceUrl) -> None:
        try:
            outcome = await explained(server, self._ask_from_all(server), None)
        finally:
            self._plan.unanswered(server)
            self._changed.set()
        self._unheard.discard(server)
        if not outcome.ok:
            self._on_outcome(outcome)

    async def _ask_from_all(self, server: IceUrl) -> Address:
        """Ask from every socket of a family that the server has; return what the first one heard."""
        asked: dict[int, Address] = {}
        for family, address in await resolving.addresses(server.host, server.port, socket.SOCK_DGRAM):
            asked.setdefault(6 if family == socket.AF_INET6 else 4, address[:2])
        questions = [
            self._ask_from(host, server, asked[version])
            for host in self._hosts
            if (version := 6 if ":" in (local := host.transport.get_extra_info("sockname")[0]) else 4) in asked
            and may_reach(local, asked[version][0])
        ]
        if not questions:
            raise OSError
        answers = await asyncio.gather(*questions, return_exceptions=True)
        for answer in answers:
            if not isinstance(answer, BaseException):
                return answer
        assert isinstance(answers[0], BaseException)
        raise answers[0]

    async def _ask_from(self, host: CheckingProtocol, server: IceUrl, address: Address) -> Address:
        question = (server, host)
        self._plan.asked(question)
        try:
            seen = await reflexive_address(host, address, retries=ENDLESS)
        except BaseException:
            self._plan.unanswered(question)
            self._changed.set()
            raise
        self._unheard.discard(server)
        self._plan.reflexive(question, self._time())
        self._changed.set()
        local = host.transport.get_extra_info("sockname")[:2]
        candidate = self._candidate("srflx", local[0], seen, related=(host.local_candidate.host, local[1]))
        if all((each.host, each.port) != seen for each in self._found):
            self._found.append(candidate)
        return seen

    # Relayed candidates

    async def _allocate(self, server: IceUrl) -> None:
        try:
            outcome = await explained(server, self._get_relay(server), None)
        finally:
            self._changed.set()
        if not outcome.ok:
            self._plan.failed(server)
            self._on_outcome(outcome)

    async def _get_relay(self, server: IceUrl) -> Address:
        def on_alive() -> None:
            self._plan.alive(server)
            self._changed.set()

        relay = await allocate(
            server,
            lambda: CheckingProtocol(self._connection),
            bind=self._options.bind_to_server,
            tls=self._options.trust,
            on_alive=on_alive,
        )
        if self._relay is not None:
            relay.abandon()  # two came at once
            return relay.address
        # RFC 9429, 3.5.3: with policy relay the related address would show what is to be hidden.
        related: Address = relay.client.mapped_address
        if self._options.policy == "relay":
            related = ("::" if ":" in relay.address[0] else "0.0.0.0", 9)
        self._relay = self._candidate("relay", relay.address[0], relay.address, related=related)
        relay.protocol.local_candidate = self._relay
        relay.protocol.client = relay.client
        self._connection._protocols.append(relay.protocol)
        self._plan.relayed(server)
        return relay.address

    def _candidate(self, kind: str, base: str, at: Address, *, related: Address | None = None) -> Candidate:
        return Candidate(
            foundation=candidate_foundation(kind, "udp", base),
            component=self._component,
            transport="udp",
            priority=candidate_priority(self._component, kind),
            host=at[0],
            port=at[1],
            type=kind,
            related_address=related[0] if related else None,
            related_port=related[1] if related else None,
        )
