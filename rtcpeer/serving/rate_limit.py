"""How many requests one address may make: a token bucket for each, and a bounded memory of addresses.

No clock is read here: ``now`` is an argument, monotonic time in seconds. Of the libraries, aiolimiter makes callers
wait instead of refusing them and keeps one bucket, and limits reads the clock itself and remembers every address
there ever was; what is left to write is this.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Sequence

from ..errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ADDRESSES = 10_000
"""Remembered at most. One more makes that one be forgotten which was silent for longest: it begins anew."""


class RateLimit:
    """So many requests a minute from each address, a sixth of them at once.

    Args:
        per_minute: ``None``: no limit.

    Raises:
        ConfigurationError: no number above zero.
    """

    def __init__(self, per_minute: float | None, *, addresses: int = ADDRESSES) -> None:
        if per_minute is not None and not (0 < per_minute < math.inf):
            raise ConfigurationError(f"the rate limit is {per_minute}: give requests a minute, or none at all")
        self._rate = None if per_minute is None else per_minute / 60
        self._burst = 1.0 if per_minute is None else max(1.0, per_minute / 6)
        self._addresses = addresses
        # What is left to each address, and when that was; the one heard of last is last.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Addresses remembered."""
        return len(self._buckets)

    def take(self, address: str, now: float) -> float:
        """Count a request; return 0 when it may be served, else the seconds until the next one may."""
        if self._rate is None:
            return 0.0
        left, then = self._buckets.pop(address, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - then) * self._rate)
        served = left >= 1 - 1e-9  # a wait of exactly the seconds we named is long enough
        self._buckets[address] = (max(0.0, left - 1) if served else left, now)
        if len(self._buckets) > self._addresses:
            self._buckets.popitem(last=False)
        return 0.0 if served else (1 - left) / self._rate


def caller(peer: str | None, forwarded_for: str | None = None, trusted: Sequence[Network] = ()) -> str:
    """Return whom a request counts for: an IPv4 address, or the /64 of an IPv6 one, which is what one customer has.

    Args:
        peer: The address of the connection.
        forwarded_for: ``X-Forwarded-For``, which only a ``trusted`` peer is believed: the last address in it that is
            not trusted itself.
    """
    found = _address(peer)
    if found is None:
        return peer or ""
    for name in reversed((forwarded_for or "").split(",")):
        if not is_trusted(found, trusted):
            break
        nearer = _address(name.strip())
        if nearer is None:
            break
        found = nearer
    alone = found.version == 4 or found.is_loopback
    return str(found) if alone else str(ipaddress.ip_network((found, 64), strict=False))


def is_trusted(
    address: str | ipaddress.IPv4Address | ipaddress.IPv6Address | None, trusted: Sequence[Network]
) -> bool:
    """Whether an address is one of our own reverse proxies."""
    found = _address(address) if isinstance(address, str) else address
    return found is not None and any(found in network for network in trusted)


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read addresses and networks such as ``10.0.0.0/8``.

    Raises:
        ConfigurationError: one is neither.
    """
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip()))
        except ValueError:
            raise ConfigurationError(f"{text!r} is no address; write 192.0.2.1, 10.0.0.0/8 or ::1") from None
    return tuple(found)


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    # What a socket that listens on both families calls an IPv4 peer.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
