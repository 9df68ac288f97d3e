"""What this machine was short of when a call did not come up: files, memory, or time."""

from __future__ import annotations

import asyncio
import errno
from types import TracebackType
from typing import Self

from ..errors import ConnectionLost, IceError, OpenTimeout, RtcPeerError

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

BEAT = 0.05
"""Seconds between two looks at how late the loop is."""
_MUCH, _LONG = 0.25, 1.0
"""Of the time, and seconds: a loop that is late for less of it is not what kept a call from coming up."""


def shortage(exc: BaseException) -> IceError | None:
    """Return the error of a system that has no more to give, ``None``: it is another."""
    match exc.errno if isinstance(exc, OSError) else None:
        case errno.EMFILE:
            limit = "" if resource is None else f" (ulimit -n is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
            return IceError(f"this process may open no more files, and so no socket{limit}: end calls, or raise it")
        case errno.ENFILE:
            return IceError("this machine can open no more files, and so no socket: end what holds them")
        case errno.ENOMEM | errno.ENOBUFS:
            return IceError("this machine has no memory for another socket: end what holds it")
    return None


class Lag:
    """How late the running event loop is, for as long as this context lasts."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._late = 0.0
        self._worst = 0.0

    def __enter__(self) -> Self:
        self._schedule()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _schedule(self) -> None:
        self._due = self._loop.time() + BEAT
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        self.note(self._loop.time() - self._due)
        self._schedule()

    def note(self, late: float) -> None:
        """Count a look that came so many seconds late."""
        self._late += max(0.0, late)
        self._worst = max(self._worst, late)

    def explained(self, failure: RtcPeerError) -> RtcPeerError:
        """Return the failure of a call that came to no end, with a word of the CPU if that was short."""
        share = self._late / max(BEAT, self._loop.time() - self._began)
        if self._late < _LONG or share < _MUCH or type(failure) not in (OpenTimeout, IceError, ConnectionLost):
            return failure
        return type(failure)(
            f"{failure}; the CPU was short here: for {min(1.0, share):.0%} of the time this event loop was late, "
            f"by up to {self._worst:.1f} s. Fewer calls at once, or in more processes, may do"
        )
