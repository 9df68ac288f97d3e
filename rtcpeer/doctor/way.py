"""The way to a service: its name, TCP, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..transports import resolving
from .finding import Finding, Status

_MOST_ADDRESSES = 4
_RENEW = 14.0
"""Days before its end at which a certificate should have been renewed: Let's Encrypt's clients do it at 30."""


class Way:
    """One host and port; ``dns`` before ``tcp`` before ``tls``.

    Args:
        trust: For TLS; ``None``: there is none.
        place: What findings call it.
        timeout: Seconds for each step.
        wall: Our clock, in Unix seconds.
    """

    def __init__(
        self,
        host: str,
        port: int,
        trust: ssl.SSLContext | None,
        place: str,
        timeout: float,
        wall: Callable[[], float],
    ) -> None:
        self._host = host
        self._port = port
        self._trust = trust
        self._place = place
        self._timeout = timeout
        self._wall = wall
        self._addresses: list[str] = []

    async def dns(self) -> Finding:
        began = time.monotonic()
        try:
            found = await resolving.addresses(self._host, self._port, socket.SOCK_STREAM, timeout=self._timeout)
        except socket.gaierror:
            advice = "is it spelled right, and does name resolution work here (/etc/resolv.conf)?"
            return self._found("dns", "fail", f"the name {self._host} has no address", advice)
        except resolving.ResolverSilent:
            advice = "the resolver does not answer: see /etc/resolv.conf"
            return self._found("dns", "fail", f"no answer within {self._timeout:g} s", advice)
        seconds = time.monotonic() - began
        self._addresses = list(dict.fromkeys(str(address[0]) for _, address in found))[:_MOST_ADDRESSES]
        detail = f"{', '.join(self._addresses)} in {1000 * seconds:.0f} ms"
        if self._addresses == [self._host]:
            detail = "an address: nothing to look up"
        slow = seconds > 1.0
        advice = "every call waits for that: is the first server in /etc/resolv.conf alive?" if slow else ""
        return self._found(
            "dns",
            "warn" if slow else "ok",
            detail,
            advice,
            {"addresses": self._addresses, "seconds": round(seconds, 4)},
        )

    async def tcp(self) -> Finding:
        times = await asyncio.gather(*(self._connect(address) for address in self._addresses))
        seconds = dict(zip(self._addresses, times, strict=True))
        reached = {address: took for address, took in seconds.items() if isinstance(took, float)}
        silent = [address for address in seconds if address not in reached]
        figures: dict[str, Any] = {
            "port": self._port,
            "connected": {name: round(took, 4) for name, took in reached.items()},
        }
        if not reached:
            refused = all(isinstance(each, ConnectionRefusedError) for each in seconds.values())
            detail = f"nothing answers at {_shown(self._addresses[0], self._port)}"
            advice = (
                "is the server running, on that port?" if refused else "does a firewall, here or there, block it?"
            )
            return self._found("tcp", "fail", detail, advice, figures)
        self._addresses = list(reached)
        best = min(reached.values())
        detail = f"port {self._port} connected in {1000 * best:.1f} ms"
        if silent:
            advice = (
                f"{silent[0]} does not answer: each connection may wait for it; is there a route, IPv6 above all?"
            )
            return self._found("tcp", "warn", f"{detail}, not at {', '.join(silent)}", advice, figures)
        return self._found("tcp", "ok", detail, figures=figures)

    async def _connect(self, address: str) -> float | Exception:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(address, self._port)
        except (OSError, TimeoutError) as exc:
            return exc
        seconds = time.monotonic() - began
        writer.transport.abort()
        return seconds

    async def tls(self) -> Finding:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(
                    self._addresses[0], self._port, ssl=self._trust, server_hostname=self._host
                )
        except ssl.SSLCertVerificationError as exc:
            return self._found("tls", "fail", f"the certificate is refused: {exc.verify_message}", _cure(exc))
        except TimeoutError:
            return self._found(
                "tls", "fail", f"no handshake within {self._timeout:g} s", "does that port speak https?"
            )
        except OSError:  # ssl.SSLError is one
            return self._found("tls", "fail", "the handshake failed", "does that port speak https, or plain http?")
        took = time.monotonic() - began
        session = writer.get_extra_info("ssl_object")
        certificate, version = session.getpeercert(), session.version()
        writer.transport.abort()
        ends = ssl.cert_time_to_seconds(certificate["notAfter"])
        return judge_certificate(ends, self._wall(), version, took, self._place)

    def _found(
        self, name: str, status: Status, detail: str, advice: str = "", figures: Mapping[str, Any] | None = None
    ) -> Finding:
        return Finding(
            name=name, target=self._place, status=status, detail=detail, advice=advice, figures=figures or {}
        )


def judge_certificate(ends: float, now: float, version: str, seconds: float, place: str) -> Finding:
    """Say how long a certificate is good for.

    Args:
        ends: Its notAfter, as ``now`` in Unix seconds.
        seconds: That the handshake took, with connecting.
    """
    days = (ends - now) / 86400
    until = datetime.fromtimestamp(ends, UTC)
    soon = days < _RENEW
    return Finding(
        name="tls",
        target=place,
        status="warn" if soon else "ok",
        detail=f"{version} in {1000 * seconds:.0f} ms, certificate good for {days:.0f} days, to {until:%Y-%m-%d}",
        advice="its renewal seems not to work: tell whoever runs the service" if soon else "",
        figures={
            "version": version,
            "seconds": round(seconds, 4),
            "expires": until.isoformat(),
            "days": round(days, 1),
        },
    )


def _cure(exc: ssl.SSLCertVerificationError) -> str:
    # X509_V_ERR_*: 9 not yet valid, 10 expired, 62 and 64 for another host or address; others are about who signed.
    match exc.verify_code:
        case 9:
            return "is this machine's clock right?"
        case 10:
            return "whoever runs the service must renew it, if this machine's clock is right"
        case 62 | 64:
            return "use the name that is in the certificate"
    return "is it signed by a CA of your own? SSL_CERT_FILE=ca.pem names one"


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
