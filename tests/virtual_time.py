"""An event loop whose clock jumps to the next timer instead of waiting for it: hours of timers in seconds.

``run(main())`` is ``asyncio.run`` on it. Work takes no time there, so that what happens depends on nothing but the
program. A loop on which nothing is left to happen raises instead of sleeping for ever.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if events:
            return events
        if timeout is None:
            raise RuntimeError("nothing will ever happen on this loop again")
        self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """No sockets but the loop's own: they would need real time. What is meant for a thread is done at once."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def block(self, seconds: float) -> None:
        """Let the callback that runs take so long."""
        self._virtual.now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as exc:
            done.set_exception(exc)
        return done


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` to its end."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
