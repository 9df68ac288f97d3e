"""HTTP as values: what a codec asks for and what it makes of the answer. Header names are in lower case."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    url: str
    """Absolute on the client's side; a server's parser reads only the query of it."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def bearer(self) -> str | None:
        """The credential of ``Authorization: Bearer`` (RFC 6750, 2.1), or ``None``."""
        scheme, _, credential = self.headers.get("authorization", "").partition(" ")
        return (credential.strip() or None) if scheme.lower() == "bearer" else None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class IceServer:
    """W3C ``RTCIceServer``."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The W3C JSON: ``urls`` as a list, absent fields left out. Holds the credential."""
        found: dict[str, Any] = {"urls": list(self.urls)}
        if self.username is not None:
            found["username"] = self.username
        if self.credential is not None:
            found["credential"] = self.credential
        return found


@dataclass(frozen=True, slots=True)
class Token:
    """An ephemeral credential for one session."""

    value: str = field(repr=False)
    expires_at: float | None = None
    """Unix time in seconds; ``None``: not said."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A backend asks for a token: what a server reads of that request."""

    api_key: str | None = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """One side proposes a call."""

    sdp: str = field(repr=False)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The protocol's call parameters, checked, with its names; headers for an MCP server are among them."""
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The other side takes the call."""

    sdp: str = field(repr=False)
    conversation_id: str


class Refusal(enum.Enum):
    """Why a server turns a request down; the codec knows the vendor's status and body for each."""

    BAD_API_KEY = "bad_api_key"
    NO_CREDENTIAL = "no_credential"
    BAD_TOKEN = "bad_token"
    EXPIRED_TOKEN = "expired_token"
    SPENT_TOKEN = "spent_token"
    USER_NOT_FOUND = "user_not_found"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"


class RequestRefused(RemoteProtocolError):
    """A server-side parser or check turned a request down; ``field`` locates the culprit, if one field is."""

    def __init__(self, refusal: Refusal, message: str, *, field: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.field = field


def json_response(status: int, content: Any, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(
        status, {"content-type": "application/json"} | dict(headers or {}), json.dumps(content).encode()
    )


LONGEST_QUOTE = 200
"""Characters of a stranger's own words that an error of ours repeats."""

# What a server might echo of a credential: keys, JWTs, and anything announced as one.
_SECRET = re.compile(r"\bsk[-_][\w-]+|\beyJ[\w-]+(?:\.[\w-]*)*|(?<=bearer )\S+|(?<=token=)[^\s&]+", re.IGNORECASE)


def for_display(text: str) -> str:
    """Make a stranger's words fit to be shown: one line, no control characters, no credentials, not too long."""
    shown = "".join(character if character.isprintable() else " " for character in text[: 20 * LONGEST_QUOTE])
    shown = _SECRET.sub("…", " ".join(shown.split()))
    return shown if len(shown) <= LONGEST_QUOTE else shown[: LONGEST_QUOTE - 1] + "…"


def retry_after(response: HttpResponse) -> float | None:
    """Seconds of ``Retry-After`` (RFC 9110, 10.2.3), if it says seconds: a date needs a clock."""
    text = response.headers.get("retry-after", "").strip()
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


def is_token(text: str) -> bool:
    """Whether a text can be a credential in a header: ASCII, not empty, no spaces, no line breaks (RFC 6750, 2.1)."""
    return text.isascii() and text.isprintable() and text != "" and " " not in text
