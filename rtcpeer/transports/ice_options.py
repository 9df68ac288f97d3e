"""How a path is looked for: through which of this machine's addresses and ports, what is trusted, for how long."""

from __future__ import annotations

import errno
import ipaddress
import os
import random
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ifaddr

from ..errors import ConfigurationError
from ..protocols.http import is_loopback
from .gathering import GATHER_TIMEOUT, IcePolicy
from .ice_servers import PortsExhausted

RELAY_LIMIT = 15.0
"""Seconds that a relay candidate is worth where nobody says how much time there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IceOptions:
    """``IceOptions.of`` checks what a user gave."""

    policy: IcePolicy = "all"
    gather_timeout: float = GATHER_TIMEOUT
    relay_limit: float = RELAY_LIMIT
    interface: str | None = None
    udp_ports: tuple[int, int] | None = None
    advertise_ip: str | None = None
    loopback: bool = False
    """The far end is on this machine: take the loopback address beside the others."""
    trust: ssl.SSLContext | None = None
    """For TURN over TLS; ``None``: the system's CAs."""

    @classmethod
    def of(
        cls,
        *,
        policy: IcePolicy = "all",
        gather_timeout: float = GATHER_TIMEOUT,
        relay_limit: float = RELAY_LIMIT,
        interface: str | None = None,
        udp_ports: tuple[int, int] | None = None,
        advertise_ip: str | None = None,
        turn_ca: str | os.PathLike[str] | None = None,
    ) -> IceOptions:
        """Check what a user gave.

        Raises:
            ConfigurationError: it can't be; the message says what can.
        """
        if policy not in ("all", "relay"):
            raise ConfigurationError(f'ice_policy={policy!r}: give "all" or "relay"')
        if not 0 < gather_timeout <= 30:
            raise ConfigurationError(f"gather_timeout={gather_timeout:g}: give more than 0 s, and at most 30")
        if udp_ports is not None:
            first, last = udp_ports
            if not 0 < first <= last < 65536:
                raise ConfigurationError(f"udp_ports={first}-{last}: give two ports of 1 to 65535, the lower first")
        options = cls(
            policy=policy,
            gather_timeout=gather_timeout,
            relay_limit=relay_limit,
            interface=interface,
            udp_ports=udp_ports,
            advertise_ip=advertise_ip,
            trust=relay_trust(turn_ca),
        )
        addresses = options.addresses()
        if advertise_ip is not None:
            try:
                version = ipaddress.ip_address(advertise_ip).version
            except ValueError as exc:
                raise ConfigurationError(f"advertise_ip={advertise_ip!r} is no IP address") from exc
            if not any(_version(address) == version for address in addresses):
                raise ConfigurationError(
                    f"advertise_ip={advertise_ip}: there is no IPv{version} address here for it to stand for "
                    f"({_list_of(addresses)})"
                )
        return options

    @property
    def given(self) -> list[str]:
        """The names of the options that say through what to go."""
        values = {
            "turn_ca": self.trust,
            "interface": self.interface,
            "udp_ports": self.udp_ports,
            "advertise_ip": self.advertise_ip,
        }
        return [name for name, value in values.items() if value is not None]

    def addresses(self) -> list[str]:
        """Return the local addresses to use now; without ``interface`` every one but loopback and link-local.

        Loopback comes last, where ``loopback`` asks for it or there is no other.

        Raises:
            ConfigurationError: there is no such interface, or none that has an address.
        """
        found = interfaces()
        if self.interface is None:
            every = [each for addresses in found.values() for each in addresses]
            others = [each for each in every if not is_loopback(each)]
            own = sorted((each for each in every if is_loopback(each)), key=_version)[:1]
            return [*others, *own] if self.loopback or not others else others
        if self.interface in found:
            return found[self.interface]
        try:
            wanted = str(ipaddress.ip_address(self.interface))
        except ValueError:
            wanted = ""
        if any(wanted in addresses for addresses in found.values()):
            return [wanted]
        there = "; ".join(f"{name} ({_list_of(addresses)})" for name, addresses in found.items())
        raise ConfigurationError(f"interface={self.interface!r} has no address here; there are: {there or 'none'}")

    def toward(self, host: str) -> IceOptions:
        """Return the same for a far end that is at ``host``: one on this machine is reached over loopback, too.

        What is on another machine must not be sent to its own loopback address, and so is not offered ours.
        """
        chosen = self.interface is not None or self.advertise_ip is not None
        return self if chosen or not is_loopback(host) else replace(self, loopback=True)

    def advertised(self, address: str) -> str:
        """Return the address to put into the host candidate of a local address."""
        if self.advertise_ip is None or _version(self.advertise_ip) != _version(address):
            return address
        return self.advertise_ip

    def bind_udp(self, sock: socket.socket, address: str) -> None:
        """Bind a UDP socket to a local address, at a port of the range.

        Raises:
            PortsExhausted: every one is taken.
            OSError: the address can't be used.
        """
        if self.udp_ports is None:
            sock.bind((address, 0))
            return
        first, last = self.udp_ports
        count = last - first + 1
        start = random.randrange(count)
        for step in range(count):
            try:
                sock.bind((address, first + (start + step) % count))
                return
            except OSError as exc:
                if exc.errno != errno.EADDRINUSE:
                    raise
        raise PortsExhausted(f"every UDP port from {first} to {last} is taken on {address or 'this machine'}")

    def bind_to_server(self, sock: socket.socket) -> None:
        """Bind a socket that is to reach a TURN server. Raises as ``bind_udp`` does."""
        local = ""
        if self.interface is not None:
            version = 6 if sock.family == socket.AF_INET6 else 4
            local = next((each for each in self.addresses() if _version(each) == version), "")
            if not local:
                raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        if sock.type == socket.SOCK_DGRAM and self.udp_ports is not None:
            self.bind_udp(sock, local)
        elif local:
            sock.bind((local, 0))


def read_port_range(text: str) -> tuple[int, int]:
    """Read ``A-B``. Raises ConfigurationError."""
    first, dash, last = text.partition("-")
    if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
        raise ConfigurationError(f"UDP ports {text!r}: write them as 40000-40100")
    return int(first), int(last or first)


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


def interfaces() -> dict[str, list[str]]:
    """The addresses of each interface that has any; IPv6 ones of a link are left out: SDP can't say which link."""
    found: dict[str, list[str]] = {}
    for adapter in ifaddr.get_adapters():
        addresses = []
        for ip in adapter.ips:
            address: Any = ip.ip
            if isinstance(address, str):
                addresses.append(address)
            elif address[2] == 0:
                addresses.append(address[0])
        if addresses:
            found[adapter.nice_name] = addresses
    return found


def may_reach(local: str, remote: str) -> bool:
    """Whether a datagram from one address can get to the other: from loopback, only to this machine."""
    return is_loopback(remote) or not is_loopback(local)


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _list_of(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) or "none"
