"""Takes our own credentials out of what a service says of them, in whatever spelling it quotes them.

A key that was refused comes back as it is, as JSON may write it (``\\/``, ``\\u002f``), in a URL (``%2F``), in HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html.entities import html5
from urllib.parse import parse_qsl, urlsplit

SHORTEST = 6
"""Characters of a credential; a shorter one would be found in every other word."""
_TELLING = 16
"""Characters by which a credential is known: a service may quote the first few of it, and every JWT begins alike."""

_NOT_SECRET = frozenset({"accept", "accept-language", "content-type", "user-agent", "host"})
_SECRET_NAME = re.compile(r"token|key|secret|password|auth|credential|sig", re.IGNORECASE)
_SCHEME = re.compile(r"(?:bearer|basic|token)\s+", re.IGNORECASE)
_ENTITIES: dict[str, list[str]] = {}
for _name, _character in html5.items():
    if _name.endswith(";") and len(_character) == 1 and _character.isascii():
        _ENTITIES.setdefault(_character, []).append(_name)


class Redaction:
    """``redact`` for the credentials of one call; no ``repr`` or ``vars`` of whoever holds it shows them."""

    __slots__ = ("_secrets",)

    def __init__(self, *secrets: str | None) -> None:
        self._secrets = secrets

    def __call__(self, text: str) -> str:
        return redact(text, self._secrets)


def redact(text: str, secrets: Iterable[str | None]) -> str:
    """Return ``text`` with ``[credential]`` in the place of each secret, and of its beginning if that is long."""
    for secret in dict.fromkeys(secrets):
        if secret is not None and len(secret) >= SHORTEST:
            text = re.sub(_pattern(secret), "[credential]", text)
    return text


def credentials_of(url: str, headers: Iterable[tuple[str, str]]) -> list[str]:
    """Return what may be secret of a request: in its headers, and in its query by the name."""
    found = [_SCHEME.sub("", value, count=1) for name, value in headers if name.lower() not in _NOT_SECRET]
    try:
        query = parse_qsl(urlsplit(url).query)
    except ValueError:
        query = []
    return found + [value for name, value in query if _SECRET_NAME.search(name)]


def _pattern(secret: str) -> str:
    return "".join(map(_spellings, secret[:_TELLING])) + r"(?:\\{1,8}/|[^\s\"'<>\\,;)\]}])*"


def _spellings(character: str) -> str:
    # Backslashes are few: any number of them would have a megabyte of them looked at a megabyte of times.
    code = ord(character)
    ways = [rf"\\{{0,8}}{re.escape(character)}", rf"\\{{1,8}}(?:u00|x){code:02x}"]
    ways += [rf"%(?:25){{0,2}}{code:02x}", rf"&#0{{0,5}}{code};", rf"&#x0{{0,5}}{code:x};"]
    ways += [re.escape(f"&{name}") for name in _ENTITIES.get(character, ())]
    ways[1:5] = [f"(?i:{way})" for way in ways[1:5]]
    return f"(?:{'|'.join(ways)})"
