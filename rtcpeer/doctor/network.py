"""What the network of this machine is like: addresses, UDP ports, and what a real offer has of both."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path

from ..protocols.http import is_loopback
from ..transports.ice_options import IceOptions, interfaces
from .finding import Finding


def local_addresses(ice: IceOptions) -> dict[str, list[str]]:
    """Return the addresses that calls use, by interface."""
    used = set(ice.addresses())
    found = {name: [each for each in addresses if each in used] for name, addresses in interfaces().items()}
    return {name: addresses for name, addresses in found.items() if addresses}


def judge_addresses(found: dict[str, list[str]]) -> Finding:
    """Say what addresses these are."""
    every = [address for addresses in found.values() for address in addresses]
    six = sum(":" in address for address in every)
    if all(is_loopback(address) for address in every):
        return Finding(
            name="addresses",
            status="warn" if every else "fail",
            detail=f"none but the loopback's, {', '.join(every)}" if every else "none, not even the loopback's",
            advice="only this machine itself can be called: bring an interface up to call another"
            if every
            else "WebRTC has no way out: bring an interface up",
            figures={"interfaces": found, "ipv4": len(every) - six, "ipv6": six},
        )
    detail = "; ".join(f"{name} {', '.join(addresses)}" for name, addresses in found.items())
    return Finding(
        name="addresses",
        status="ok",
        detail=detail,
        figures={"interfaces": found, "ipv4": len(every) - six, "ipv6": six},
    )


async def check_addresses(ice: IceOptions) -> Finding:
    return judge_addresses(local_addresses(ice))


# UDP ports


def count_free(ports: range, address: str) -> int:
    """Return how many of these UDP ports can be bound now on an address of ours."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    free = 0
    for port in ports:
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            try:
                udp.bind((address, port))
            except OSError as exc:
                if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                free += 1
    return free


def judge_ports(ports: range, free: int, needed: int, *, chosen: bool) -> Finding:
    """Say whether so many UDP ports are enough.

    Args:
        needed: One for each call, on each local address.
        chosen: The user gave the range; otherwise it is the kernel's own.
    """
    where = f"{ports[0]}-{ports[-1]}" + ("" if chosen else ", the kernel's own range")
    figures = {"first": ports[0], "last": ports[-1], "free": free, "needed": needed}
    detail = f"{free} of {len(ports)} ports can be bound ({where}); {needed} needed on each address"
    if free >= needed:
        return Finding(name="udp", status="ok", detail=detail, figures=figures)
    advice = f"give a wider range: --udp-ports {ports[0]}-{min(65535, ports[0] + needed + len(ports) - free - 1)}"
    if not chosen:
        advice = "end what holds them, or give a range of your own with --udp-ports"
    return Finding(name="udp", status="fail", detail=detail, advice=advice, figures=figures)


async def check_ports(ice: IceOptions, calls: int) -> Finding:
    """Whether there are UDP ports for so many calls; what a firewall does to them shows only from outside."""
    chosen = ice.udp_ports is not None
    ports = kernel_ports() if ice.udp_ports is None else range(ice.udp_ports[0], ice.udp_ports[1] + 1)
    if not chosen:
        # There are tens of thousands, and a part will do.
        ports = ports[-max(1000, 2 * calls) :]
    addresses = ice.addresses() or ["127.0.0.1"]
    free = await asyncio.to_thread(lambda: min(count_free(ports, address) for address in addresses))
    return judge_ports(ports, free, calls, chosen=chosen)


def kernel_ports(file: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> range:
    """Return the ports that a socket gets which asks for none; the usual ones where there is no Linux."""
    try:
        first, last = map(int, file.read_text("ascii").split())
    except (OSError, ValueError):
        first, last = 32768, 60999
    return range(first, last + 1)
