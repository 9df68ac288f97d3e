"""Seeded network emulator: what a network does to datagrams, without a network and without root.

It never reads a clock: the time is an argument, in seconds, and so are the times it answers with. The words are those
of Linux ``tc netem`` (tc-netem(8)) where it has them, and so is what they do, with these differences, all meant:

* Each effect has a random stream of its own. The same seed loses the same packets, whatever the jitter is.
* A lost packet is not duplicated; netem would send the one copy that is left.
* ``burst`` is netem's ``loss gemodel``, told by its mean length: the bad state loses all, the good one nothing.
* ``queue`` bounds what waits for ``rate``, as a router does; netem's ``limit`` counts delayed packets, too.
* ``ordered`` keeps jitter from reordering; netem has no such switch. Without it packets overtake each other wherever
  their delays differ by more than the time between them, as in netem.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from difflib import get_close_matches
from random import Random
from typing import Any, Self

from .errors import ConfigurationError

IP_UDP_BYTES = 28
"""What a datagram costs on a line beside its payload: IPv4 (20) and UDP (8)."""
IN_FLIGHT_LIMIT = 1000
"""Packets on their way in one direction; one more is dropped. netem's default ``limit``."""
DEFAULT_QUEUE = 100
_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in seconds from the first packet, once or again ``every`` so many seconds."""

    start: float
    duration: float
    every: float | None = None

    def remaining(self, t: float) -> float:
        """Return how long it still lasts at ``t``; 0 when it is not on."""
        into = t - self.start
        if into >= 0 and self.every is not None:
            into %= self.every
        return self.duration - into if 0 <= into < self.duration else 0.0

    def __str__(self) -> str:
        text = f"{_seconds_text(self.start)}+{_seconds_text(self.duration)}"
        return text if self.every is None else f"{text}/{_seconds_text(self.every)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConditions:
    """What one direction of a network does to packets; the default is nothing. ``parse`` reads it from a text.

    Raises:
        ConfigurationError: a value out of range, or one that needs another.
    """

    loss: float = 0.0
    """Fraction of the packets that are lost, 0 to 1."""
    burst: float | None = None
    """Mean number of packets lost in a row (Gilbert's model); ``None``: each is lost or not for itself."""
    delay: float = 0.0
    """Seconds."""
    jitter: float = 0.0
    """Seconds more or less than ``delay``, evenly distributed, each packet for itself; never before it was sent."""
    ordered: bool = False
    """Jitter lets no packet overtake another, as in a queue: it waits for those before it."""
    reorder: float = 0.0
    """Fraction of the packets that skip the delay, and so overtake others."""
    duplicate: float = 0.0
    """Fraction of the packets that come twice, each copy with a jitter of its own."""
    rate: int | None = None
    """Bits a second, IP and UDP headers included."""
    queue: int | None = None
    """Packets that may wait for ``rate``, the one being sent included; one more is dropped. ``None``: 100."""
    outage: Window | None = None
    """What is sent in it is lost."""
    stall: Window | None = None
    """What is sent in it waits for its end, and comes at once then."""
    all: bool = False
    """STUN and DTLS as well, not only RTP and RTCP. For whoever applies this: the emulator does not look inside."""

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigurationError(f"{name} is {value:.6g}: give 0 to 1, which is 0 % to 100 %")
        for name in ("delay", "jitter"):
            value = getattr(self, name)
            if not 0 <= value <= _LONGEST:
                raise ConfigurationError(f"{name} is {value:.6g} s: give 0 s to {_LONGEST:g} s")
        if self.burst is not None:
            if not 1 <= self.burst < math.inf:
                raise ConfigurationError(f"burst is {self.burst:.6g}: give the mean number lost in a row, 1 or more")
            if not self.loss:
                raise ConfigurationError("burst needs a loss: it says how many packets in a row are lost")
            if self.loss > (most := self.burst / (self.burst + 1)):
                # At least one packet comes between two bursts.
                raise ConfigurationError(
                    f"loss is {self.loss:.6g}: bursts of {self.burst:.6g} can lose {most:.4g} at most"
                )
        if self.rate is not None and not 0 < self.rate < 10**12:
            raise ConfigurationError(f"rate is {self.rate} bit/s: give 1 bit to 999 gbit")
        if self.queue is not None and not 0 < self.queue <= 10_000:
            raise ConfigurationError(f"queue is {self.queue}: give 1 to 10000 packets")
        if self.queue is not None and self.rate is None:
            raise ConfigurationError("queue needs a rate: nothing waits without one")
        if self.reorder and not self.delay:
            raise ConfigurationError("reorder needs a delay: reordered packets are those that skip it")
        if self.ordered and not self.jitter:
            raise ConfigurationError("ordered needs a jitter: without it packets keep their order")
        for name in ("outage", "stall"):
            window = getattr(self, name)
            if window is None:
                continue
            if not (0 <= window.start < math.inf and 0 < window.duration < math.inf):
                raise ConfigurationError(f"{name} is {window}: give when it begins and how long it lasts, as 10s+2s")
            if window.every is not None and not window.duration < window.every < math.inf:
                raise ConfigurationError(f"{name} is {window}: it comes again before it is over")
        if self.stall is not None and self.stall.duration > _LONGEST:
            raise ConfigurationError(f"stall is {self.stall}: it may last {_LONGEST:g} s at most")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"loss=5%,delay=40ms,jitter=20ms"``; an empty text is a network that does nothing.

        Raises:
            ConfigurationError: it names the part that is wrong, and what is allowed.
        """
        values: dict[str, Any] = {}
        for part in text.split(",") if text.strip() else ():
            name, separator, value = (each.strip() for each in part.partition("="))
            if name not in _PARTS:
                close = get_close_matches(name, _PARTS, 1)
                meant = f"; did you mean {close[0]}?" if close else "."
                raise ConfigurationError(f"netem {part.strip()[:80]!r}: no such part{meant} There is {_allowed()}")
            if name in values:
                raise ConfigurationError(f"netem {part.strip()[:80]!r}: {name} is given twice")
            example, read = _PARTS[name]
            found = read(value) if separator else None
            if found is None:
                raise ConfigurationError(f"netem {part.strip()[:80]!r}: write it as {name}={example}")
            values[name] = found
        return cls(**values)

    @classmethod
    def of(cls, given: str | NetworkConditions | None) -> NetworkConditions:
        """Return what a user gave: a text is parsed, ``None`` is a network that does nothing."""
        if isinstance(given, NetworkConditions):
            return given
        return cls.parse(given or "")

    @property
    def clean(self) -> bool:
        """It does nothing."""
        return self == NetworkConditions(all=self.all)

    @property
    def not_over_a_stream(self) -> list[str]:
        """The names of what ``for_stream`` leaves out."""
        left = self.for_stream()
        return [each.name for each in fields(self) if getattr(self, each.name) != getattr(left, each.name)]

    def for_stream(self) -> NetworkConditions:
        """Return what is left of it above TCP, which repairs losses and restores order: delay, rate, stalls."""
        return NetworkConditions(delay=self.delay, jitter=self.jitter, rate=self.rate, stall=self.stall)

    def __str__(self) -> str:
        """Return the text that ``parse`` reads back."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            match field.name:
                case "loss" | "reorder" | "duplicate":
                    shown = f"{_number_text(_decimal(value) * 100)}%"
                case "delay" | "jitter":
                    shown = _seconds_text(value)
                case "burst":
                    shown = _number_text(_decimal(value))
                case "rate":
                    shown = _rate_text(value)
                case "ordered" | "all":
                    shown = "1"
                case _:
                    shown = str(value)
            parts.append(f"{field.name}={shown}")
        return ",".join(parts)


CLEAN = NetworkConditions()


@dataclass(slots=True)
class EmulatorStats:
    """What an emulator did, in packets."""

    packets_sent: int = 0
    """Into the emulator."""
    packets_lost: int = 0
    """By ``loss`` and ``outage``."""
    packets_dropped: int = 0
    """The queue was full, or too many were on their way."""
    packets_duplicated: int = 0
    packets_reordered: int = 0
    """Overtook one that was sent before."""

    def to_dict(self) -> dict[str, int]:
        """Return ``{name: value}``."""
        return asdict(self)


class Emulator:
    """One direction of a network. The same seed and the same calls give the same answers, in every process."""

    def __init__(self, conditions: NetworkConditions, seed: int | str) -> None:
        self.stats = EmulatorStats()
        self._random = {
            effect: Random(f"{seed}/{effect}") for effect in ("loss", "delay", "reorder", "duplicate", "copy")
        }
        self._in_flight: list[float] = []  # arrivals to come, sorted
        self._newest = self._last_in_order = -math.inf
        self.conditions = conditions

    @property
    def conditions(self) -> NetworkConditions:
        """May be set at any time: it holds for what is sent from then on; windows count from the next packet.

        What is on its way arrives when it was going to, and no longer occupies the queue.
        """
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: NetworkConditions) -> None:
        self._conditions = conditions
        self._first: float | None = None
        self._in_burst = False
        self._departures: deque[float] = deque()

    def send(self, size: int, now: float) -> list[float]:
        """Send one packet; return when its copies arrive, the earliest first: none when it is lost.

        Args:
            size: Bytes of the UDP payload.
            now: Monotonic time in seconds; must not go backwards.
        """
        conditions = self._conditions
        if self._first is None:
            self._first = now
        since = now - self._first
        self.stats.packets_sent += 1
        # Every stream moves on with every packet, so that no effect changes what another one meets.
        lost = self._loses()
        jumps = self._random["reorder"].random() < conditions.reorder
        doubled = self._random["duplicate"].random() < conditions.duplicate
        late = self._random["delay"].uniform(-1, 1)
        copy_late = self._random["copy"].uniform(-1, 1)
        if lost or (conditions.outage is not None and conditions.outage.remaining(since)):
            self.stats.packets_lost += 1
            return []
        ready = now + (conditions.stall.remaining(since) if conditions.stall is not None else 0.0)
        arrivals = self._carry(size, now, ready, late, jumps)
        if doubled and arrivals:
            copies = self._carry(size, now, ready, copy_late, jumps)
            self.stats.packets_duplicated += len(copies)
            arrivals += copies
        return sorted(arrivals)

    def _loses(self) -> bool:
        conditions, draw = self._conditions, self._random["loss"].random()
        if conditions.burst is None:
            return draw < conditions.loss
        # Gilbert (1960): bad → good with r = 1/burst; good → bad with the p that makes p / (p + r) the loss.
        end = 1 / conditions.burst
        begin = end * conditions.loss / (1 - conditions.loss)
        self._in_burst = draw >= end if self._in_burst else draw < begin
        return self._in_burst

    def _carry(self, size: int, now: float, ready: float, late: float, jumps: bool) -> list[float]:
        """Return when one copy arrives; nothing when there is no room for it."""
        conditions = self._conditions
        del self._in_flight[: bisect_right(self._in_flight, now)]
        if len(self._in_flight) >= IN_FLIGHT_LIMIT:
            self.stats.packets_dropped += 1
            return []
        departure = ready
        if conditions.rate is not None:
            waiting = self._departures
            while waiting and waiting[0] <= now:
                waiting.popleft()
            if len(waiting) >= (conditions.queue or DEFAULT_QUEUE):
                self.stats.packets_dropped += 1
                return []
            start = max(ready, waiting[-1]) if waiting else ready
            departure = start + 8 * (size + IP_UDP_BYTES) / conditions.rate
            waiting.append(departure)
        if jumps:
            arrival = departure
        else:
            arrival = departure + max(0.0, conditions.delay + late * conditions.jitter)
            if conditions.ordered:
                arrival = max(arrival, self._last_in_order)
            self._last_in_order = arrival
        self.stats.packets_reordered += arrival < self._newest
        self._newest = max(arrival, self._newest)
        insort(self._in_flight, arrival)
        return [arrival]


class StreamEmulator:
    """One direction of a network below a reliable, ordered stream (TCP): it delays, limits and stalls, no more.

    Raises:
        ConfigurationError: conditions that a stream does not know: it repairs losses, and restores the order.
    """

    def __init__(self, conditions: NetworkConditions, seed: int | str) -> None:
        self._random = Random(f"{seed}/delay")
        self._arrival = -math.inf
        self.stats = EmulatorStats()
        self.conditions = conditions

    @property
    def conditions(self) -> NetworkConditions:
        """May be set at any time; windows count from the next message."""
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: NetworkConditions) -> None:
        left = conditions.for_stream()
        for name in ("loss", "reorder", "duplicate", "outage", "queue"):
            if getattr(conditions, name) != getattr(left, name):
                raise ConfigurationError(
                    f"netem {name}: a WebSocket loses, doubles and reorders nothing; give delay, jitter, rate, stall"
                )
        self._conditions = conditions
        self._first: float | None = None
        self._departure = -math.inf

    def send(self, size: int, now: float) -> float:
        """Send so many bytes; return when all of them have arrived, never before what was sent earlier.

        Args:
            now: Monotonic time in seconds; must not go backwards.
        """
        conditions = self._conditions
        if self._first is None:
            self._first = now
        self.stats.packets_sent += 1
        late = self._random.uniform(-1, 1) * conditions.jitter
        ready = now
        if conditions.stall is not None:
            ready += conditions.stall.remaining(now - self._first)
        if conditions.rate is not None:
            ready = self._departure = max(ready, self._departure) + 8 * size / conditions.rate
        self._arrival = max(self._arrival, ready + max(0.0, conditions.delay + late))
        return self._arrival


# Texts

_NUMBER = r"(\d{1,40}(?:\.\d{0,40})?(?:e[+-]?\d{1,3})?)"
_DURATION_UNITS = {"us": Decimal("1e-6"), "ms": Decimal("1e-3"), "s": Decimal(1)}
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


def _percentage(text: str) -> float | None:
    found = re.fullmatch(rf"{_NUMBER}\s*%", text, re.IGNORECASE)
    return float(Decimal(found[1]) / 100) if found else None


def _seconds(text: str) -> float | None:
    found = re.fullmatch(rf"{_NUMBER}\s*(us|ms|s)", text.strip(), re.IGNORECASE)
    return float(Decimal(found[1]) * _DURATION_UNITS[found[2].lower()]) if found else None


def _window(text: str) -> Window | None:
    start, _, rest = text.partition("+")
    length, again, every = rest.partition("/")
    times = [_seconds(each) for each in ((start, length, every) if again else (start, length))]
    known = [time for time in times if time is not None]
    return Window(*known) if len(known) == len(times) else None


def _bits(text: str) -> int | None:
    found = re.fullmatch(rf"{_NUMBER}\s*([kmg]?bit)", text, re.IGNORECASE)
    return round(Decimal(found[1]) * _RATE_UNITS[found[2].lower()]) if found else None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text, re.IGNORECASE) else None


def _switch(text: str) -> bool | None:
    return {"1": True, "0": False}.get(text)


# Name → an example and how it is read; None means that it can't be.
_PARTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "loss": ("5%", _percentage),
    "burst": ("3", _number),
    "delay": ("40ms", _seconds),
    "jitter": ("20ms", _seconds),
    "ordered": ("1", _switch),
    "reorder": ("1%", _percentage),
    "duplicate": ("1%", _percentage),
    "rate": ("64kbit", _bits),
    "queue": ("50", _count),
    "outage": ("10s+2s", _window),
    "stall": ("10s+300ms/5s", _window),
    "all": ("1", _switch),
}


def _allowed() -> str:
    return ", ".join(f"{name}={example}" for name, (example, _) in _PARTS.items())


def _decimal(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def _number_text(value: Decimal) -> str:
    plain = format(value.normalize(), "f")
    return plain if len(plain) <= 24 else str(value).lower().replace("+", "")  # a plus stands between two times


def _seconds_text(value: float) -> str:
    if 0 < value < 1:
        return f"{_number_text(_decimal(value) * 1000)}ms"
    return f"{_number_text(_decimal(value))}s"


def _rate_text(value: int) -> str:
    unit, factor = next((unit, factor) for unit, factor in reversed(_RATE_UNITS.items()) if value % factor == 0)
    return f"{value // factor}{unit}"
