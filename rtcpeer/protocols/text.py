"""Text of strangers, fit to be read."""

from __future__ import annotations

import base64
import re

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")  # but for those that are white space


LONGEST_ID = 200
"""Characters of an id that comes from the network; UUIDs have 36."""


LONGEST_TEXT = 20_000
"""Characters of a transcript that are kept: a quarter of an hour's talk. Events and files hold each several times."""


def read_id(value: object, *, name: str = "an id", may_be_empty: bool = False) -> str:
    """Return an id that the far end gave. Raises TypeError: it is none that a log or a file could hold."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_ID:
        raise TypeError(f"{name} is no printable text of {LONGEST_ID} characters at most")
    if not value and not may_be_empty:
        raise TypeError(f"{name} is empty")
    return value


def without_control(raw: str) -> str:
    """Leave out control characters, which could steer a terminal."""
    return _CONTROL.sub("", raw)


def plain_text(raw: str) -> str:
    """White space becomes single spaces; control characters are left out.

    So are halves of surrogate pairs: they come from servers that cut a string amid an emoji, and no file takes them.
    """
    text = " ".join(without_control(raw).split())
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_base64(text: str) -> bytes:
    """Decode base64 (RFC 4648, 4); the padding at its end may be missing, as some encoders leave it out.

    Raises:
        ValueError: it is no base64.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
