"""JSON as RFC 8259 has it, not as Python's reader and writer stretch it."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 64
"""Levels of nesting that a message may have: what decodes must also be writable, and walkable, without care."""


def load_json(data: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: no JSON; NaN or Infinity; a number beyond a double; nested deeper than ``DEEPEST``.
        RecursionError: nested so deep that not even that could be found out.
    """
    found = json.loads(data, parse_constant=_finite, parse_float=_finite)
    level = [found]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return found
    raise ValueError(f"nested deeper than {DEEPEST} levels")


def load_object(message: str | bytes) -> dict[str, Any]:
    """Parse one JSON object: ``load_json``, and ``TypeError`` for JSON that is no object."""
    found = load_json(message)
    if not isinstance(found, dict):
        raise TypeError("expected a JSON object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no JSON number")
    return number
