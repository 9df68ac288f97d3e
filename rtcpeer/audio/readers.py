"""Who reads a stream, for as long as they do: fifty times a second and call, so that it must cost next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar
from weakref import ref

Reader = TypeVar("Reader")


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
