"""Which STUN and TURN servers work from here, and what the NAT on the way does."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Sequence
from typing import Literal

from ..protocols.http import IceServer
from ..transports import resolving
from ..transports.ice_options import IceOptions
from ..transports.ice_probe import ask_stun, through_relay, try_turn
from ..transports.ice_servers import IceUrl, ServerOutcome, read_ice_servers
from .finding import Finding, Status

Passed = float | Literal["lost", "unknown"] | None
"""Seconds that data took through a relay and back, or why there are none."""


async def check_ice_servers(
    servers: Sequence[IceServer], *, asked_for: bool, ice: IceOptions, timeout: float
) -> list[Finding]:
    """Ask every server, all at once; what the STUN servers say tells what the NAT does, too.

    Args:
        asked_for: The user named them, and wants each to work; of a service's list, one for each purpose will do.
        ice: From where to ask, and what to trust.
        timeout: Seconds for each answer.
    """
    usable, unusable = read_ice_servers(servers)
    local = _local(ice)

    async def ask(server: IceUrl) -> tuple[ServerOutcome, Passed]:
        if server.kind == "stun":
            return await ask_stun(server, local=local, timeout=timeout), None
        outcome = await try_turn(server, local=local, tls=ice.trust, timeout=timeout)
        if not outcome.ok:
            return outcome, None
        return outcome, await through_relay(server, local=local, tls=ice.trust, timeout=timeout)

    asked = await asyncio.gather(*(ask(server) for server in usable))
    outcomes = [outcome for outcome, _ in asked]
    relayed = any(outcome.ok for server, outcome in zip(usable, outcomes, strict=True) if server.kind == "turn")
    kinds = ["turn" if outcome.server.startswith("turn") else "stun" for outcome in unusable]
    kinds += [server.kind for server in usable]
    findings = [
        # A call to a public server needs no STUN, and one relay is enough.
        judge_server(kind, outcome, passed, spare=not asked_for and (kind == "stun" or relayed))
        for kind, (outcome, passed) in zip(kinds, [*((each, None) for each in unusable), *asked], strict=True)
    ]
    if usable:
        findings.append(await _nat(usable, outcomes, ice, timeout))
    return findings


def judge_server(kind: str, outcome: ServerOutcome, passed: Passed = None, *, spare: bool) -> Finding:
    """Say what became of one server.

    Args:
        passed: What became of data sent through it.
        spare: Calls work without it.
    """
    detail, advice = outcome.detail, outcome.advice
    status: Status = "ok" if outcome.ok else "warn" if spare else "fail"
    if outcome.address is not None:
        address = _shown(*outcome.address)
        said = f"sees us as {address}" if kind == "stun" else f"relays for us at {address}"
        detail = f"{said}, {1000 * outcome.seconds:.0f} ms"
    if isinstance(passed, float):
        detail += f"; data went through it and back in {1000 * passed:.1f} ms"
    elif passed == "lost":
        status = "warn"
        detail += "; data sent through it to itself did not come back"
        advice = "does a firewall there let its relay ports through, and is its external address right?"
    return Finding(
        name=kind,
        target=outcome.server,
        status=status,
        detail=detail,
        advice=advice,
        figures={
            "result": outcome.result,
            "seconds": round(outcome.seconds, 4),
            "address": None if outcome.address is None else list(outcome.address),
        }
        | ({} if kind == "stun" else {"relayed": round(passed, 5) if isinstance(passed, float) else passed}),
    )


async def _nat(
    servers: Sequence[IceUrl], outcomes: Sequence[ServerOutcome], ice: IceOptions, timeout: float
) -> Finding:
    """Compare what servers in different places say of one socket of ours (RFC 4787, 4.1; RFC 5780, 4.3)."""
    asked = list(zip(servers, outcomes, strict=True))
    relayed = any(outcome.ok for server, outcome in asked if server.kind == "turn")
    by_udp = [outcome.result for server, outcome in asked if server.transport == "udp"]
    silent = bool(by_udp) and all(result == "silent" for result in by_udp)
    local, ours = _local(ice), ice.addresses()
    stun = [server for server, outcome in asked if server.kind == "stun" and outcome.ok]
    places: dict[object, IceUrl] = {}
    for server in stun:
        places.setdefault(await _place(server, local, timeout), server)
    seen = [outcome.address for server, outcome in asked if server in stun and outcome.address][:1]
    if len(places) > 1:
        port = _free_port(local)
        seen = []
        for server in list(places.values())[:3]:
            # One after the other: they have one port.
            again = await ask_stun(server, local=local, local_port=port, timeout=timeout)
            if again.address is not None:
                seen.append(again.address)
            await asyncio.sleep(0)  # its socket is closed by then
    return judge_nat(seen, ours, relayed=relayed, silent=silent)


def judge_nat(
    seen: Sequence[tuple[str, int]], ours: Collection[str], *, relayed: bool, silent: bool = False
) -> Finding:
    """Say what lies between us and the servers.

    Args:
        seen: One socket of ours, as each STUN server sees it.
        ours: The addresses of this machine.
        relayed: A TURN server works.
        silent: Nobody said anything over UDP, not even that nobody listens.
    """
    status: Status = "ok"
    advice = ""
    if silent:
        mapping, detail, status = None, "no server said anything over UDP", "warn"
        advice = "UDP seems to be closed here: open it, or have TURN over TCP or TLS"
        if relayed:
            advice = "UDP seems to be closed here: calls work through TURN over TCP or TLS, and stall at each loss"
    elif not seen:
        mapping, detail, status = None, "no STUN server answered: nothing is known of a NAT", "skipped"
    elif all(address in ours or ipaddress.ip_address(address).is_loopback for address, _ in seen):
        mapping, detail = "none", "no NAT: servers see this machine's own address"
    elif len(seen) == 1:
        mapping, detail = "unknown", "a NAT; a second STUN server, at another address, would show which kind"
    elif len(set(seen)) == 1:
        mapping, detail = "endpoint-independent", "a NAT that gives a socket one address for all: direct paths work"
    else:
        mapping, detail = "endpoint-dependent", "a symmetric NAT: each server sees another address"
        if not relayed:
            status = "warn"
            advice = "public servers can be called, peers behind a NAT of their own can't: have a TURN server"
    return Finding(
        name="nat",
        status=status,
        detail=detail,
        advice=advice,
        figures={"mapping": mapping, "seen": [list(address) for address in seen]},
    )


def _local(ice: IceOptions) -> str:
    """The address to ask from: of the interface that was asked for, and whatever the system takes otherwise."""
    if ice.interface is None:
        return ""
    addresses = ice.addresses()
    return next((each for each in addresses if ":" not in each), addresses[0])


async def _place(server: IceUrl, local: str, timeout: float) -> object:
    """Where a server is: two names of one place tell no more than one."""
    try:
        found = await resolving.addresses(server.host, server.port, socket.SOCK_DGRAM, timeout=timeout)
    except OSError:
        return server
    fitting = [address[:2] for family, address in found if not local or (family == socket.AF_INET6) == (":" in local)]
    return fitting[0] if fitting else server


def _free_port(local: str) -> int:
    family = socket.AF_INET6 if ":" in local else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.bind((local, 0))
        return int(udp.getsockname()[1])


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
