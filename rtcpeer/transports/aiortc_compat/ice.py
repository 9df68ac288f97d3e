"""The path: gathering, what was chosen, what goes over it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aioice.mdns import is_mdns_hostname
from aiortc import RTCPeerConnection
from aiortc.sdp import candidate_from_sdp

from .. import resolving
from .steps import run_now

logger = logging.getLogger(__name__)

NAME_DEADLINE = 5.0
"""Seconds for a candidate's name to be looked up."""
ADDRESSES = 2
"""Tried of each name: one of IPv4 and one of IPv6, mostly."""


def ice_transports(pc: RTCPeerConnection) -> list[Any]:
    private: Any = pc
    return list(private._RTCPeerConnection__iceTransports)


def path_alive(pc: RTCPeerConnection) -> bool:
    """Whether ICE has a nominated pair: tells a goodbye (DTLS closed, path alive) from silence (consent lost)."""
    return any(transport._connection._nominated for transport in ice_transports(pc))


def selected_pair(pc: RTCPeerConnection) -> dict[str, str] | None:
    """Candidate types and addresses of the pair in use, for the report; ``None`` before there is one."""
    for transport in ice_transports(pc):
        for pair in transport._connection._nominated.values():
            return {
                "local_type": pair.local_candidate.type,
                "local": f"{pair.local_candidate.host}:{pair.local_candidate.port}",
                "remote_type": pair.remote_candidate.type,
                "remote": f"{pair.remote_addr[0]}:{pair.remote_addr[1]}",
            }
    return None


def pairs_left_out(pc: RTCPeerConnection) -> int:
    """Return how many pairs of addresses were not checked, because there were too many."""
    return sum(transport._connection.checks.left_out for transport in ice_transports(pc))


def candidate_types(pc: RTCPeerConnection) -> tuple[list[str], list[str]]:
    """Return the types of our candidates and of the far end's, as far as they are known."""
    ours: list[str] = []
    theirs: list[str] = []
    for transport in ice_transports(pc):
        ours += [candidate.type for candidate in transport._connection.local_candidates]
        theirs += [candidate.type for candidate in transport._connection.remote_candidates]
    return ours, theirs


async def add_named_candidate(pc: RTCPeerConnection, line: str) -> bool:
    """Look up the name in a candidate and try it; return whether it was found.

    aioice looks up the names that browsers make, by multicast (draft-ietf-mmusic-mdns-ice-candidates, 3.2), and no
    others.

    Args:
        line: ``candidate:…``, as RFC 8839, 5.1, has it.
    """
    candidate = candidate_from_sdp(line.removeprefix("candidate:"))
    candidates = [candidate]
    try:
        if not is_mdns_hostname(candidate.ip):
            found = await resolving.addresses(candidate.ip, candidate.port, socket.SOCK_DGRAM, timeout=NAME_DEADLINE)
            candidates = [replace(candidate, ip=address[0]) for _, address in found[:ADDRESSES]]
        for transport in ice_transports(pc):
            for each in candidates:
                await transport.addRemoteCandidate(each)
    except (OSError, ValueError) as exc:
        logger.info("a candidate's name was not found: %s", type(exc).__name__)
        return False
    known = {each.host for transport in ice_transports(pc) for each in transport._connection.remote_candidates}
    return any(each.ip in known for each in candidates)


def mute(pc: RTCPeerConnection) -> None:
    """Send and hear nothing any more, not even a goodbye: what a killed process looks like from afar."""

    async def drop(*args: Any, **kwargs: Any) -> None:
        return None

    for transport in ice_transports(pc):
        connection: Any = transport._connection
        connection.sendto = drop
        for protocol in connection._protocols:
            protocol.send_data = drop
            protocol.send_stun = lambda *args: None
            protocol.datagram_received = lambda *args: None


def intercept_datagrams(
    pc: RTCPeerConnection,
    on_send: Callable[[bytes, Callable[[], None]], None],
    on_receive: Callable[[bytes, Callable[[], None]], None],
) -> Callable[[], None]:
    """Hand every datagram, and the function that passes it on, to the caller; return how to undo that.

    Passing on may happen later, or never; when the connection is closing it does nothing. Candidates must have been
    gathered. Works around aioice having no place for a socket of one's own. On a relayed pair this is what goes into
    TURN's framing and comes out of it.
    """
    undoing = [
        _intercept(transport._connection, protocol, on_send, on_receive)
        for transport in ice_transports(pc)
        for protocol in transport._connection._protocols
    ]

    def undo() -> None:
        for each in undoing:
            each()

    return undo


def _intercept(
    connection: Any,
    protocol: Any,
    on_send: Callable[[bytes, Callable[[], None]], None],
    on_receive: Callable[[bytes, Callable[[], None]], None],
) -> Callable[[], None]:
    send_data, send_stun, receive = protocol.send_data, protocol.send_stun, protocol.datagram_received

    def unless_closing(step: Callable[[], None]) -> Callable[[], None]:
        return lambda: None if connection._closing else step()

    async def intercepted_data(data: bytes, addr: tuple[str, int]) -> None:
        on_send(data, unless_closing(lambda: run_now(send_data(data, addr))))

    def intercepted_stun(message: Any, addr: tuple[str, int]) -> None:
        on_send(bytes(message), unless_closing(lambda: send_stun(message, addr)))

    def intercepted_receive(data: bytes, addr: tuple[Any, ...]) -> None:
        on_receive(data, unless_closing(lambda: receive(data, addr)))

    names = ("send_data", "send_stun", "datagram_received")
    for name, method in zip(names, (intercepted_data, intercepted_stun, intercepted_receive), strict=True):
        setattr(protocol, name, method)

    def undo() -> None:
        for name, method in zip(names, (send_data, send_stun, receive), strict=True):
            setattr(protocol, name, method)

    return undo
