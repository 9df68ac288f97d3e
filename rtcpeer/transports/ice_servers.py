"""ICE servers as values: a URL read, and what became of asking it. Nothing here opens a socket or reads a clock.

Whatever a user sees of a server is named by its URL as read here, which holds no user and no password.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ..protocols.http import IceServer
from ..protocols.text import plain_text
from .resolving import ResolverSilent

Transport = Literal["udp", "tcp", "tls"]
Result = Literal["answered", "silent", "refused", "unreachable", "unusable"]

MOST_URLS = 8
"""Of each kind, that are used of a list."""
_LONGEST_HOST = 253
"""Characters of a DNS name (RFC 1035, 2.3.4)."""

_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9a-f:.]+\]|[^\[\]:?@/\\\s]+)(?::(?P<port>[0-9]{1,5}))?(?:\?(?P<query>.*))?",
    re.IGNORECASE,
)
_SHAPES = {"stun": "stun:host:port", "turn": "turn:host:port?transport=udp", "turns": "turns:host:port?transport=tcp"}


class PortsExhausted(OSError):
    """No local port of the range that we may use is free; the message says which."""


@dataclass(frozen=True, slots=True)
class IceUrl:
    """One URL of an ICE server (RFC 7064, RFC 7065), with the credentials of its entry in the list."""

    kind: Literal["stun", "turn"]
    host: str
    """A name or an address; an IPv6 address without its brackets."""
    port: int
    transport: Transport = "udp"
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        scheme = "turns" if self.transport == "tls" else self.kind
        host = f"[{self.host}]" if ":" in self.host else self.host
        over = {"udp": "?transport=udp", "tcp": "?transport=tcp", "tls": "?transport=tcp"}[self.transport]
        return f"{scheme}:{host}:{self.port}{over if self.kind == 'turn' else ''}"


@dataclass(frozen=True, slots=True)
class ServerOutcome:
    """What became of asking one server: one line of a report."""

    server: str
    """Its URL, without secrets."""
    result: Result
    detail: str
    """What happened, as ``no answer in 0.3 s``."""
    advice: str = ""
    """What to do about it; empty when it answered."""
    seconds: float = 0.0
    """From the first packet, or the lookup of its name, until this was known."""
    address: tuple[str, int] | None = None
    """Our address as the server sees it (STUN), or the one it relays for us (TURN)."""

    @property
    def ok(self) -> bool:
        return self.result == "answered"

    def __str__(self) -> str:
        return f"{self.server}: {self.detail}" + (f"; {self.advice}" if self.advice else "")


def read_ice_servers(servers: Iterable[IceServer]) -> tuple[list[IceUrl], list[ServerOutcome]]:
    """Read a list: what can be used of it, in its order, and why the rest can't.

    At most ``MOST_URLS`` STUN URLs and as many TURN URLs are used, and as many complaints made one by one: a service
    names a handful, and a longer list would have us send packets to thousands of strangers.
    """
    usable: list[IceUrl] = []
    refused: list[ServerOutcome] = []
    used = {"stun": 0, "turn": 0}
    passed_over = 0
    for number, server in enumerate(servers, 1):
        for url in server.urls:
            found = read_ice_url(url, server.username, server.credential)
            if isinstance(found, ServerOutcome):
                if len(refused) < MOST_URLS:
                    refused.append(found)
                else:
                    passed_over += 1
            elif used[found.kind] == MOST_URLS:
                passed_over += 1
            elif found not in usable:
                used[found.kind] += 1
                usable.append(found)
        if not server.urls:
            if len(refused) < MOST_URLS:
                detail, advice = "it has no URL that can be read", "see what the service sends"
                refused.append(ServerOutcome(f"ICE server {number}", "unusable", detail, advice))
            else:
                passed_over += 1
    if passed_over:
        detail = f"passed over: at most {MOST_URLS} STUN and {MOST_URLS} TURN URLs are used"
        refused.append(ServerOutcome(f"{passed_over} more ICE servers", "unusable", detail, "shorten the list"))
    return usable, refused


def read_ice_url(url: str, username: str | None = None, credential: str | None = None) -> IceUrl | ServerOutcome:
    """Read one URL, or say what is wrong with it."""
    match = _URL.fullmatch(url)
    scheme = url.partition(":")[0].lower()
    if match is None or not (url.isascii() and url.isprintable()):
        return _unusable(url, "no STUN or TURN URL", f"write it as {_SHAPES.get(scheme, _SHAPES['turn'])}")
    host = match["host"].strip("[]")
    if match["host"].startswith("[") and not _is_address(host):
        return _unusable(url, "the address in brackets is no IPv6 address", "write it as turn:[2001:db8::1]:3478")
    if len(host) > _LONGEST_HOST:
        return _unusable(url, "the host name is too long", "is it whole, and nothing but a name?")
    port = int(match["port"]) if match["port"] else 5349 if scheme in ("stuns", "turns") else 3478
    if not 0 < port < 65536:
        return _unusable(url, f"port {port} does not exist", "give one of 1 to 65535")
    if scheme == "stuns":
        return _unusable(url, "STUN over TLS is not supported", "a stun: or turns: URL of that server will do")
    over = match["query"]
    if scheme == "stun":
        if over is not None:
            return _unusable(url, "a stun: URL has no ?transport=", "leave it out")
        return IceUrl("stun", host, port)
    over = "transport=tcp" if over is None and scheme == "turns" else over or "transport=udp"
    if scheme == "turns" and over == "transport=udp":
        return _unusable(url, "TURN over DTLS is not supported", "give ?transport=tcp, if the server takes TLS")
    if over not in ("transport=udp", "transport=tcp"):
        return _unusable(url, "what follows the ? is not known", "give ?transport=udp or ?transport=tcp")
    transport: Transport = "tls" if scheme == "turns" else "udp" if over == "transport=udp" else "tcp"
    return IceUrl("turn", host, port, transport, username, credential)


def in_order(servers: Iterable[IceUrl]) -> list[IceUrl]:
    """TURN URLs in the order to try them: UDP before TCP before TLS, each in the list's order.

    UDP carries sound best; TCP and TLS stall at every lost packet, but get through where UDP does not.
    """
    rank = {"udp": 0, "tcp": 1, "tls": 2}
    return sorted((server for server in servers if server.kind == "turn"), key=lambda server: rank[server.transport])


def answered(server: IceUrl, seconds: float, address: tuple[str, int]) -> ServerOutcome:
    return ServerOutcome(str(server), "answered", f"answered in {seconds:.3f} s", "", seconds, address)


def silent(server: IceUrl, seconds: float) -> ServerOutcome:
    match server.transport:
        case "udp":
            advice = "is the server up, and does a firewall let UDP through?"
        case _:
            advice = "is the server up, and does a firewall let it through?"
    return ServerOutcome(str(server), "silent", f"no answer in {seconds:.2g} s", advice, seconds)


def refusal(server: IceUrl, code: int, reason: str, seconds: float, *, wall: float) -> ServerOutcome:
    """Say what an ERROR-CODE means (RFC 8489, 14.8; RFC 8656, 19).

    Args:
        wall: Unix time in seconds: a REST username begins with the time at which it expires.
    """
    expiry = (server.username or "").partition(":")[0]
    match code:
        case 401 | 441 if server.username is None or server.credential is None:
            detail, advice = "wants a username and a credential", "the list of ICE servers gave none with this URL"
        case 401 | 441 if expiry.isascii() and expiry.isdigit() and 1e9 < int(expiry) < wall and len(expiry) < 12:
            ago = wall - int(expiry)
            detail, advice = (
                f"the credential expired {ago:.0f} s ago",
                "get fresh ICE servers; are both clocks right?",
            )
        case 401 | 441:
            detail, advice = "wrong username or credential", "are they those of this server, and not expired?"
        case 403:
            detail, advice = "forbidden", "does the server let this user, or this network, use it?"
        case 437:
            detail, advice = "it knows another allocation of this socket", "try again"
        case 438:
            detail, advice = "it takes none of the nonces that it gives", "are its clock and set-up right?"
        case 440:
            detail, advice = "it has no address of that family to relay with", "use a server with an IPv4 address"
        case 442:
            detail, advice = "it does not relay UDP", "use another server, or turn on UDP relaying there"
        case 486:
            detail, advice = "the quota of this user is used up", "close other calls, or raise the server's quota"
        case 508:
            detail, advice = "it has no relay port left", "try later, or widen the server's port range"
        case 300:
            detail, advice = "it names another server instead", "put that one's URL into the list"
        case _:
            detail, advice = plain_text(reason)[:60] or "no reason given", "see the server's log"
    return ServerOutcome(str(server), "refused", f"refused: {detail} ({code})", advice, seconds)


def failure(server: IceUrl, exc: Exception, seconds: float) -> ServerOutcome:
    """Say what a failure of the system, of TLS or of the answer's form means; no stranger's text is passed on."""
    name = str(server)
    match exc:
        case ResolverSilent():
            advice = "see /etc/resolv.conf, or name the server by its address"
            detail = f"name resolution gave no answer for {server.host} in {seconds:.2g} s"
            return ServerOutcome(name, "unreachable", detail, advice, seconds)
        case TimeoutError():
            return silent(server, seconds)
        case PortsExhausted():
            return ServerOutcome(name, "unreachable", str(exc), "end other calls, or widen the range", seconds)
        case socket.gaierror() | UnicodeError():
            advice = "is it spelled right, and does name resolution work here?"
            return ServerOutcome(name, "unreachable", f"the name {server.host} has no address", advice, seconds)
        case ssl.SSLCertVerificationError():
            detail, advice = _certificate(server, exc.verify_code)
            return ServerOutcome(name, "unreachable", f"certificate {detail}", advice, seconds)
        case ssl.SSLError():
            return ServerOutcome(name, "unreachable", "TLS failed", "does that port speak TLS?", seconds)
        case ConnectionRefusedError():
            advice = "is the server running, on that port?"
            return ServerOutcome(name, "unreachable", "connection refused", advice, seconds)
        case ConnectionError() if exc.errno is None or exc.errno in (errno.ECONNRESET, errno.EPIPE):
            advice = "is that port a TURN server's, and does it take this transport?"
            return ServerOutcome(name, "unreachable", "it broke the connection", advice, seconds)
        case OSError():
            why = os.strerror(exc.errno) if exc.errno else "no connection"
            advice = "is there a route to it from here?"
            return ServerOutcome(name, "unreachable", f"can't be reached: {why}", advice, seconds)
    return ServerOutcome(name, "unreachable", "its answer makes no sense", f"is it a {server.kind} server?", seconds)


def _certificate(server: IceUrl, code: int) -> tuple[str, str]:
    # X509_V_ERR_*: 10 has expired, 62 and 64 are for another host or address; the others are about who signed it.
    match code:
        case 9:
            return "not valid yet", "is the clock right?"
        case 10:
            return "expired", "its owner must renew it; is the clock right?"
        case 62 | 64:
            return f"for another host than {server.host}", "use the name that is in the certificate"
    return "not trusted", "if it is signed by a CA of your own, name its file as turn_ca (--turn-ca FILE)"


def _unusable(url: str, detail: str, advice: str) -> ServerOutcome:
    return ServerOutcome(_without_secrets(url), "unusable", detail, advice)


def _without_secrets(url: str) -> str:
    """What may be shown of a URL that can't be read: somebody may have written user and password into it."""
    place, _, query = plain_text(url[:2000]).partition("?")
    scheme, colon, rest = place.partition(":")
    if re.fullmatch(r"transport=[a-z]{1,10}", query):
        rest += f"?{query}"
    return f"{scheme}{colon}{rest.rpartition('@')[2]}"[:80] if colon else scheme.rpartition("@")[2][:80]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
