"""Orga over WebRTC: audio as RTP, messages on the DataChannel ``orga-realtime-client-events``.

Sources: docs.orga-ai.com (explanation, reference) and github.com/OrgaAI/orga-ai-sdk-monorepo; where they are silent
we chose, and docs/protocols/orga.md says what. Token, ICE servers and the call itself are in ``orga_http``, the
messages in ``orga_messages``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..commands import UpdateSession
from ..errors import ConfigurationError
from ..events import ConversationStarted, ResponseCompleted, SessionStarted, TranscriptCompleted
from .base import Profile, Side
from .options import Check, bad, check_options, checked_flag, listed
from .orga_http import CALL_DEFAULTS, PATHS, OrgaHttp
from .orga_messages import UPDATES, OrgaMessages


class Orga(OrgaMessages, OrgaHttp):
    profile = Profile(
        name="orga",
        title="Orga (WebRTC)",
        transport="rtc",
        paths=PATHS,
        channel="orga-realtime-client-events",
        video=True,
        interrupt="server-managed",
    )
    speaks: ClassVar = {
        Side.CLIENT: frozenset({UpdateSession}),
        Side.SERVER: frozenset({SessionStarted, ConversationStarted, TranscriptCompleted, ResponseCompleted}),
    }

    # What a user gives

    @classmethod
    def configure(cls, options: Mapping[str, object], *, transcribe: bool = True) -> dict[str, Any]:
        """Check and complete call parameters; ``None`` stands for not given.

        ``email`` stays in the result for the token's query; ``offer_request`` leaves it out. ``mcp_server`` is there
        only when given; its headers may hold secrets, and ``None`` tells the service to use no tools.
        """
        checked = check_options("orga", options, PARAMETERS)
        if "mcp_server" in options and options["mcp_server"] is None:
            checked["mcp_server"] = None
        checked["instructions"] = checked.get("instructions") or None
        found = {**CALL_DEFAULTS, "return_transcription": transcribe, **checked}
        return found | {"modalities": list(found["modalities"])}


def checked_email(name: str, value: object) -> str:
    # The vendor's own rule: @orga-ai/node, client.ts.
    if not isinstance(value, str) or not re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", value):
        raise bad(name, value, "an address like name@example.org")
    return value


def _checked_mcp_server(name: str, value: object) -> dict[str, Any] | None:
    """Errors don't quote the value: its headers and its URL may hold secrets."""
    # The page says that url must end in /sse, the vendor's newer example has /mcp: the service decides.
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigurationError(f"{name} is not valid JSON") from None
        if value is None:
            return None
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} is a {type(value).__name__}: give an object with id, alias, url, headers")
    if unknown := set(value) - {"id", "alias", "url", "headers"}:
        raise ConfigurationError(f"{name} has {listed(unknown)}: give id, alias, url and, if need be, headers")
    for key in ("id", "alias", "url"):
        if not isinstance(value.get(key), str) or not value[key].strip():
            raise ConfigurationError(f"{name} has no {key}: give id, alias and url as texts")
    parts = urlsplit(value["url"])
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigurationError(f"{name}.url must begin with http:// or https://")
    found = {key: value[key] for key in ("id", "alias", "url")}
    headers = value.get("headers")
    if headers is None:
        return found
    if not isinstance(headers, Mapping) or not all(
        isinstance(text, str) for pair in headers.items() for text in pair
    ):
        raise ConfigurationError(f"{name}.headers must be an object of texts")
    return found | {"headers": dict(headers)}


PARAMETERS: Mapping[str, Check] = {
    **UPDATES,
    "history": checked_flag,
    "return_transcription": checked_flag,
    "mcp_server": _checked_mcp_server,
    "email": checked_email,
}
