"""When to ask which TURN server, and when gathering is done. Pure: ``now`` is always an argument, in seconds.

A candidate is worth waiting for as long as it may still change whether, or how, a call connects:

- A reflexive address saves a relay's detour, but most calls do without: it is worth ``timeout``, 0.3 s. Once one
  server has answered, the others mostly say the same: they get as long again and 50 ms, no more.
- One relay is enough, and UDP is the best. The next server starts when those before it failed or said nothing for a
  moment (RFC 8305 does so with addresses); the first to allocate wins.
- Policy ``relay``: nothing else counts, so a relay is worth all the time there is, ``limit``; the first one ends it.
- Policy ``all``, and no relay at ``timeout``: a TURN server that has shown a sign of life gets as long again. When no
  reflexive address came either, UDP is probably blocked and the relay is the only way: then it gets ``PATIENCE``, and
  one that was asked late gets its ``timeout``, too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .ice_servers import IceUrl

IcePolicy = Literal["all", "relay"]

GATHER_TIMEOUT = 0.3
"""Seconds."""
SETTLE = 0.05
"""Seconds that other STUN servers get on top of the time that the first one took."""
HEAD_START = {"all": 0.1, "relay": 0.25}
"""Seconds of silence until the next TURN server is tried. RFC 8305, 5: 250 ms is recommended, 100 ms the least."""
ALIVE_HEAD_START = 1.0
"""Seconds instead, for one that has shown a sign of life: TLS takes several round trips."""
PATIENCE = 2.0
"""Seconds of gathering at most, with policy ``all``."""
HOPELESS = 5.0
"""Seconds without a sign of life, and a TURN server counts as dead, with policy ``relay``."""


@dataclass(slots=True)
class _Attempt:
    began: float
    alive: bool = False
    over: bool = False
    """It failed, or it gave us a relay."""


class Gathering:
    """The decisions of one gathering. Ask ``due`` and ``done`` after everything told and after every ``wait``."""

    def __init__(
        self, relays: Iterable[IceUrl], *, policy: IcePolicy, now: float, timeout: float, limit: float
    ) -> None:
        """Begin.

        Args:
            relays: TURN servers in the order to try them.
            timeout: Seconds, with policy ``all``.
            limit: Seconds, with policy ``relay``.
        """
        self._relays = list(relays)
        self._policy = policy
        self._began = now
        self._timeout = timeout
        self._limit = limit
        self._questions: set[Hashable] = set()
        self._first_reflexive: float | None = None
        self._attempts: dict[IceUrl, _Attempt] = {}
        self._relayed = False

    # What happened

    def asked(self, question: Hashable) -> None:
        """A STUN server is being asked."""
        self._questions.add(question)

    def reflexive(self, question: Hashable, now: float) -> None:
        """It answered."""
        self._questions.discard(question)
        if self._first_reflexive is None:
            self._first_reflexive = now

    def unanswered(self, question: Hashable) -> None:
        """It failed: nobody will answer."""
        self._questions.discard(question)

    def alive(self, relay: IceUrl) -> None:
        """A TURN server has shown that it is there: TCP connected, or it answered something."""
        self._attempts[relay].alive = True

    def failed(self, relay: IceUrl) -> None:
        """A TURN server will not give us a relay."""
        self._attempts[relay].over = True

    def relayed(self, relay: IceUrl) -> None:
        """A TURN server gave us a relay."""
        self._attempts[relay].over = True
        self._relayed = True

    # What to do

    def due(self, now: float) -> list[IceUrl]:
        """Return the TURN servers to ask now, which count as asked from here on."""
        starting = []
        while (relay := self._next()) is not None and now >= self._next_start():
            self._attempts[relay] = _Attempt(now)
            starting.append(relay)
        return starting

    def done(self, now: float) -> bool:
        """Whether there is nothing left that is worth waiting for."""
        if self._policy == "relay":
            if self._relayed or now >= self._began + self._limit:
                return True
            return self._next() is None and not any(self._hopeful(each, now) for each in self._attempts.values())
        return self._reflexive_done(now) and self._relay_done(now)

    def wait(self, now: float) -> float:
        """Return the seconds until ``due`` or ``done`` may say something else by themselves; more than 0."""
        return min((moment - now for moment in self._moments() if moment > now), default=self._timeout)

    def silent(self, now: float) -> list[tuple[IceUrl, float]]:
        """Return the TURN servers that had their head start and gave no relay, and for how many seconds each."""
        return [
            (relay, now - attempt.began)
            for relay, attempt in self._attempts.items()
            if not attempt.over and now - attempt.began >= HEAD_START[self._policy]
        ]

    def _next(self) -> IceUrl | None:
        if self._relayed or len(self._attempts) == len(self._relays):
            return None
        return self._relays[len(self._attempts)]

    def _pending(self) -> list[_Attempt]:
        return [attempt for attempt in self._attempts.values() if not attempt.over]

    def _next_start(self) -> float:
        pending = self._pending()
        if not pending:
            return self._began
        last = pending[-1]
        return last.began + (ALIVE_HEAD_START if last.alive else HEAD_START[self._policy])

    def _reflexive_done(self, now: float) -> bool:
        return not self._questions or now >= min(self._deadline, self._settled)

    def _relay_done(self, now: float) -> bool:
        pending = self._pending()
        if self._relayed or (not pending and self._next() is None):
            return True
        if now < self._deadline:
            return False
        if self._first_reflexive is not None:
            return now >= self._extended or not any(attempt.alive for attempt in pending)
        return now >= self._last or not any(
            attempt.alive or now < attempt.began + self._timeout for attempt in pending
        )

    def _hopeful(self, attempt: _Attempt, now: float) -> bool:
        return not attempt.over and (attempt.alive or now < attempt.began + HOPELESS)

    @property
    def _deadline(self) -> float:
        return self._began + self._timeout

    @property
    def _extended(self) -> float:
        return self._began + 2 * self._timeout

    @property
    def _last(self) -> float:
        return self._began + max(PATIENCE, self._timeout)

    @property
    def _settled(self) -> float:
        first = self._first_reflexive
        return first + (first - self._began) + SETTLE if first is not None else self._deadline

    def _moments(self) -> Iterator[float]:
        yield self._next_start()
        if self._policy == "relay":
            yield self._began + self._limit
            yield from (attempt.began + HOPELESS for attempt in self._attempts.values())
        else:
            yield from (self._settled, self._deadline, self._extended, self._last)
            yield from (attempt.began + self._timeout for attempt in self._attempts.values())
