"""How late packets arrive, and how long one has to wait for nearly all of them.

The fastest packet of the last four seconds is the measure; every other is late by its transit time less that one's.
So neither the offset between the two ends' clocks nor their drift matters. Pure: times are arguments, in seconds.
"""

from __future__ import annotations

from collections import deque

# A step up in the network's delay is the new normal after it. NetEQ looks back 2 s; under jitter the fastest of 4 s
# moves less, and with it the delay that is aimed at.
_HISTORY = 4.0
_BIN = 0.001
_LONGEST = 0.4
# At 30±20 ms of jitter PESQ-WB is 3.5 with the 97th percentile, 4.1 with this one, 4.1 with the 99.3th.
_QUANTILE = 0.985
# Half of what is known is forgotten after 70 packets, 1.4 s.
_FORGET = 0.99
_RESCALE = 1e-6


class ArrivalDelay:
    """Relative delay of packets, and a forgetting quantile of it."""

    def __init__(self, *, expected: float) -> None:
        """``expected``: the quantile to report before anything is known, in seconds."""
        # (arrival, transit) with ever growing transits: the first is the smallest of the window.
        self._fastest: deque[tuple[float, float]] = deque()
        self.base = 0.0
        """Transit time of the fastest packet. The two ends' clocks differ: only differences to it mean anything."""
        self.jitter = 0.0
        """Interarrival jitter (RFC 3550, 6.4.1)."""
        self.quantile = expected
        """The delay, relative to ``base``, within which 98.5 % of the packets come; at most 0.4 s."""
        # A histogram that adds up to 1 once multiplied by the scale: forgetting is one multiplication, not 400. Fifty
        # times a second and call, in a list: numpy costs more to call than there is to do.
        self._weights = [0.0] * (round(_LONGEST / _BIN) + 1)
        self._scale = 1.0
        self._bin = round(expected / _BIN)
        self._below = 0.0  # the weights below that bin, which is the quantile's
        self._weights[self._bin] = 1.0
        self._known = 4.0  # what is expected counts as that many packets
        self._last: tuple[float, float] | None = None

    def add(self, arrival: float, media_time: float, duration: float) -> None:
        """A packet of ``duration`` seconds, sent at ``media_time`` by the sender's clock, has come."""
        transit = arrival - media_time
        while self._fastest and self._fastest[-1][1] >= transit:
            self._fastest.pop()
        self._fastest.append((arrival, transit))
        while self._fastest[0][0] < arrival - _HISTORY:
            self._fastest.popleft()
        self.base = self._fastest[0][1]

        weight = 1.0
        if self._last is not None:
            last_arrival, last_transit = self._last
            self.jitter += (abs(transit - last_transit) - self.jitter) / 16
            # Packets that a stall let loose all at once are one event, not many.
            weight = min(1.0, max(0.0, arrival - last_arrival) / duration)
        self._last = arrival, transit
        self._learn(min(transit - self.base, _LONGEST), weight)

    def restart(self) -> None:
        """The sender's clock was set anew; how the network behaves is still known."""
        self._fastest.clear()
        self._last = None

    def _learn(self, delay: float, weight: float) -> None:
        if weight < 0.01:
            return
        # Until enough is known, all of it counts alike.
        self._known += weight
        share = weight * max(1.0 - _FORGET, 1.0 / self._known)
        self._scale *= 1.0 - share
        number, added = round(delay / _BIN), share / self._scale
        self._weights[number] += added
        if number < self._bin:
            self._below += added
        self._move()
        if self._scale < _RESCALE:
            self._rescale()
        self.quantile = self._bin * _BIN

    def _move(self) -> None:
        """Find the quantile's bin from where it was: it is the first up to which there is enough."""
        weights, wanted = self._weights, _QUANTILE / self._scale
        while self._below >= wanted:
            self._bin -= 1
            self._below -= weights[self._bin]
        while self._bin < len(weights) - 1 and self._below + weights[self._bin] < wanted:
            self._below += weights[self._bin]
            self._bin += 1

    def _rescale(self) -> None:
        self._weights = [weight * self._scale for weight in self._weights]
        self._below = sum(self._weights[: self._bin])  # rid of what rounding has left in it
        self._scale = 1.0
