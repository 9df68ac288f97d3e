"""What a fuzzing target is, and the bytes that it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(frozen=True)
class Target:
    """A function of some bytes that must return, whatever the bytes are, in bounded memory and time."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    """Well-formed, to be damaged."""
    words: frozenset[str] = frozenset()
    """What it looks for: a fuzzer guided by coverage need not guess them."""
    examples: int = 30
    """In each test of every run; those that make files or loops are dear."""


class Bytes:
    """Bytes taken off the front; zeros once there are none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def piece(self) -> bytes:
        """Bytes that say first, in two, how many they are."""
        return self.take(self.number(2))


def pieces(*found: bytes) -> bytes:
    """Return what ``Bytes.piece`` takes apart."""
    return b"".join(len(piece).to_bytes(2, "little") + piece for piece in found)


def golden(name: str) -> list[dict[str, Any]]:
    """The lines of a file of messages typed from a vendor's document."""
    path = FIXTURES / "protocols" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def words_in(found: Any) -> frozenset[str]:
    """Every name, and every short text, of some JSON."""
    match found:
        case dict():
            return words_in([*found.keys(), *found.values()])
        case list():
            return frozenset().union(*map(words_in, found))
        case str() if 1 < len(found) <= 60:
            return frozenset({found})
    return frozenset()


def size(found: object, seen: set[int] | None = None) -> int:
    """Bytes that something holds: those of its texts, and 64 for each thing in it. What is shared counts once."""
    seen = set() if seen is None else seen
    if id(found) in seen or isinstance(found, type) or callable(found):
        return 0
    seen.add(id(found))
    own = 64 + (len(found) if isinstance(found, (str, bytes, bytearray)) else 0)
    inner: Iterable[object] = ()
    if isinstance(found, dict):
        inner = (*found.keys(), *found.values())
    elif isinstance(found, (list, tuple, set, frozenset)):
        inner = found
    elif hasattr(found, "__dict__") or hasattr(found, "__slots__"):
        names = (*getattr(found, "__dict__", ()), *getattr(found, "__slots__", ()))
        inner = [getattr(found, name, None) for name in names]
    return own + sum(size(each, seen) for each in inner)
