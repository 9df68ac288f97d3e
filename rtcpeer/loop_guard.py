"""Ends what its user left open when the event loop ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable


class LoopGuard:
    """Awaits ``on_end()`` when the loop ends, unless it was released before.

    ``asyncio.run`` ends by closing every generator that has begun and not ended: all tasks are cancelled then, but
    the loop still runs.
    """

    def __init__(self, on_end: Callable[[], Awaitable[None]]) -> None:
        self._on_end: Callable[[], Awaitable[None]] | None = on_end
        self._generator = self._guard()
        with contextlib.suppress(StopIteration):  # it begins, and waits for nothing
            self._generator.__anext__().__await__().send(None)

    async def release(self) -> None:
        """Guard no more; from within ``on_end`` it does nothing."""
        if self._on_end is not None:
            self._on_end = None
            await self._generator.aclose()

    async def _guard(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            on_end, self._on_end = self._on_end, None
            if on_end is not None:
                await on_end()
