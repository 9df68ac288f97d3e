"""Who reads a stream, for as long as they do: fifty times a second and call, so that it must cost next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Generic, TypeVar
from weakref import ref

Reader = TypeVar("Reader")


class News:
    """Wakes who waits for the next item. An ``asyncio.Event`` asks which loop runs each time: a system call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        """Wake whoever waits now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    def next(self) -> asyncio.Future[None]:
        """Return what is done with the next news; one task awaits it."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._waiting:  # some may have been cancelled
            self._waiting = [each for each in self._waiting if not each.done()]
        future = self._loop.create_future()
        self._waiting.append(future)
        return future


class Readers(Generic[Reader]):
    """Weak references to readers: one that was left with ``break`` is gone when its loop is.

    A ``WeakSet`` does the same; but walking through an empty one costs 0.9 µs, and this 0.1.
    """

    def __init__(self) -> None:
        self._readers: list[ref[Reader]] = []

    def add(self, reader: Reader) -> None:
        self._readers.append(ref(reader, self._forget))

    def _forget(self, reader: ref[Reader]) -> None:
        # A new list: somebody may be walking through the old one.
        self._readers = [each for each in self._readers if each is not reader]

    def __len__(self) -> int:
        return len(self._readers)

    def __iter__(self) -> Iterator[Reader]:
        for each in self._readers:
            reader = each()
            if reader is not None:
                yield reader
