"""How many calls there may be at once, and how many of them from one address may be half open.

Whoever is being answered has a place, and whoever is in a call; a call that is not up yet is half open. No I/O is
done here and no call is known.
"""

from __future__ import annotations

from collections import Counter

from rtcpeer.protocols.http import Refusal, RequestRefused


class LimitReached(RequestRefused):
    """A limit of the mock's own turned a request down.

    ``kind`` is what it is counted as. ``retry_after``: seconds, where they are known.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        refusal: Refusal = Refusal.RATE_LIMITED,
        field: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(refusal, message, field=field)
        self.kind = kind
        self.retry_after = retry_after


class Place:
    """One call's; ``opened`` when the call is up, ``leave`` when it is over or did not come about."""

    def __init__(self, places: Places, address: str) -> None:
        self._places = places
        self._address = address
        self._half_open = True
        self._left = False

    def opened(self) -> None:
        if self._half_open:
            self._half_open = False
            self._places.half_open -= Counter((self._address,))

    def leave(self) -> None:
        if not self._left:
            self._left = True
            self._places.taken -= 1
            self.opened()


class Places:
    """The places there are.

    Args:
        total: Calls at once.
        half_open_each: Calls that are not up yet, from one address; ``None``: no limit but the total.
    """

    def __init__(self, total: int, half_open_each: int | None) -> None:
        self.taken = 0
        self.half_open: Counter[str] = Counter()
        self._total = total
        self._half_open_each = half_open_each

    def take(self, address: str) -> Place:
        """Return a place for who asks from ``address``.

        Raises:
            LimitReached: there is none.
        """
        if self.taken >= self._total:
            raise LimitReached("calls", "Too many calls at once")
        if self._half_open_each is not None and self.half_open[address] >= self._half_open_each:
            raise LimitReached("half-open-calls", "Too many calls from here that are not up yet")
        self.taken += 1
        self.half_open[address] += 1
        return Place(self, address)
