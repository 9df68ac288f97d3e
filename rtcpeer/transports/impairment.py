"""A network emulator on one link's datagrams: on what it sends and on what it receives, each for itself."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

from aiortc import RTCPeerConnection

from ..netem import Emulator, NetworkConditions
from . import aiortc_compat

Pass = Callable[[], None]
"""Sends or delivers one datagram for real."""


class Impairment:
    """Delays, drops and doubles datagrams as two emulators say.

    RTP and RTCP only, unless the conditions say ``all``. What waits is bounded by the emulators. Datagrams are given
    to it, or it takes them from a peer connection: attach it when the candidates are gathered, close it before the
    connection. What is on its way then is dropped, and the goodbye goes unimpaired.

    Args:
        seed: Of both directions, which differ.
    """

    def __init__(self, conditions: NetworkConditions, seed: int | str) -> None:
        self._outgoing = Emulator(conditions, f"{seed}/outgoing")
        self._incoming = Emulator(conditions, f"{seed}/incoming")
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[float, int, Pass]] = []
        self._number = 0
        """Of the datagram: those that come at the same time keep their order."""
        self._timer: asyncio.TimerHandle | None = None
        self._pc: RTCPeerConnection | None = None
        self._detach: Callable[[], None] | None = None
        self._used = not conditions.clean

    @property
    def conditions(self) -> NetworkConditions:
        """May be set while it runs."""
        return self._outgoing.conditions

    @conditions.setter
    def conditions(self, conditions: NetworkConditions) -> None:
        self._outgoing.conditions = self._incoming.conditions = conditions
        self._used = self._used or not conditions.clean
        self._intercept()

    def attach(self, pc: RTCPeerConnection) -> None:
        """Begin; calls that nobody impairs are not touched at all."""
        self._pc = pc
        self._intercept()

    def _intercept(self) -> None:
        if self._pc is not None and self._detach is None and not self.conditions.clean:
            self._detach = aiortc_compat.intercept_datagrams(self._pc, self.send, self.receive)

    def stats(self) -> dict[str, Any] | None:
        """Return what was done in both directions; ``None``: this call was never impaired."""
        if not self._used:
            return None
        return {
            "conditions": str(self.conditions),
            "outgoing": self._outgoing.stats.to_dict(),
            "incoming": self._incoming.stats.to_dict(),
        }

    def close(self) -> None:
        """Drop what is on its way and let everything pass from now on."""
        self._pc = None
        self._waiting.clear()
        self._set_timer()
        if self._detach is not None:
            self._detach()
            self._detach = None

    def send(self, data: bytes, passing: Pass) -> None:
        """Call ``passing`` when the datagram has come through: later, now, twice or never."""
        self._impair(self._outgoing, data, passing)

    def receive(self, data: bytes, passing: Pass) -> None:
        """The same for what arrives."""
        self._impair(self._incoming, data, passing)

    def _impair(self, emulator: Emulator, data: bytes, passing: Pass) -> None:
        # RFC 7983, 7: RTP and RTCP begin with 128 to 191, STUN with 0 to 3, DTLS with 20 to 63.
        if not (emulator.conditions.all or (data and 128 <= data[0] <= 191)):
            passing()
            return
        now = self._loop.time()
        for at in emulator.send(len(data), now):
            self._number += 1
            heapq.heappush(self._waiting, (at, self._number, passing))
        self._pass_due(now)

    def _pass_due(self, now: float) -> None:
        try:
            while self._waiting and self._waiting[0][0] <= now:
                heapq.heappop(self._waiting)[2]()
        finally:
            self._set_timer()

    def _set_timer(self) -> None:
        next_due = self._waiting[0][0] if self._waiting else None
        if self._timer is not None and self._timer.when() != next_due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and next_due is not None:
            self._timer = self._loop.call_at(next_due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._pass_due(self._loop.time())
