"""Text of strangers on its way to a terminal, a log or a page: what could steer a reader's screen is spelled out."""

from __future__ import annotations

import json
import re
from typing import Any

# C0 and C1 control characters, marks and overrides of direction (UAX #9), separators of lines, halves of pairs.
# Joiners stay: emoji and many languages need them.
_STEERING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def escaped(text: str, *, keep: str = "") -> str:
    r"""Return ``text`` with each of those as ``\x1b`` or ``\u202e``; the characters in ``keep`` stay."""

    def spelled(found: re.Match[str]) -> str:
        character = found[0]
        code = ord(character)
        return character if character in keep else f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _STEERING.sub(spelled, text)


def readable_json(value: Any, *, indent: int | None = None) -> str:
    r"""Return JSON that people can read in any language, and that steers nothing: ``\u202e`` is an escape in it.

    What is read back is what was given, halves of surrogate pairs too.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # Line breaks are those between the values: within a text json.dumps has escaped them.
    return _STEERING.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)
