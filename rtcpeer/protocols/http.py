"""HTTP as values: what a codec asks for and what it makes of the answer. Header names are in lower case."""

from __future__ import annotations

import enum
import ipaddress
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ..errors import AuthError, ConfigurationError, RemoteProtocolError, RtcPeerError, SignalingError, TokenExpired
from ..formats import AudioFormat
from .strict_json import load_json


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    url: str = field(repr=False)  # its query may hold a token
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
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
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


@dataclass(frozen=True, slots=True)
class Ticket:
    """What opens one WebSocket: what the REST step answered, or what a user brought."""

    token: str | None = field(default=None, repr=False)
    """``None``: the credential that asked for the ticket is the socket's as well, or the URL holds one."""
    is_key: bool = False
    """The token is the API key itself."""
    url: str | None = field(default=None, repr=False)
    """The socket's, when it was said; it may hold the token."""
    expires_at: float | None = None
    """Unix time in seconds; ``None``: not said."""
    issued_at: float | None = None
    """Unix time in seconds; ``None``: not said."""
    session_id: str | None = None
    audio_in: AudioFormat | None = None
    """What the service wants to hear, when it was said."""
    audio_out: AudioFormat | None = None


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """A client asks for a WebSocket (RFC 6455, 4.1)."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A client asks for a WebSocket: what a server reads of it."""

    token: str | None = field(default=None, repr=False)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The protocol's call parameters, checked, with its names."""


@dataclass(frozen=True, slots=True)
class SocketClosing:
    """How a server ends a WebSocket that it refuses after it took it, since no HTTP answer can carry a close code."""

    code: int | None
    """``None``: not at all. The words are said, and the socket stays open until its client goes or time is up."""
    reason: str = ""
    messages: tuple[str, ...] = ()
    """Said before."""


class Refusal(enum.Enum):
    """Why a server turns a request down; the codec knows the vendor's status and body for each."""

    BAD_API_KEY = "bad_api_key"
    NO_CREDENTIAL = "no_credential"
    BAD_TOKEN = "bad_token"
    EXPIRED_TOKEN = "expired_token"
    SPENT_TOKEN = "spent_token"
    USER_NOT_FOUND = "user_not_found"
    UNAVAILABLE = "unavailable"
    """The agent, or the computer, is there but not running."""
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


# URLs


def service_url(base_url: str, path: str) -> str:
    """Return the URL of ``path`` below a service's base.

    Raises:
        ConfigurationError: the base is not the URL of an http service.
    """
    wanted = "the base URL must read http(s)://host[:port][/path], without query or fragment"
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as exc:
        raise ConfigurationError(wanted) from exc
    if not usable or parts.query or parts.fragment:
        raise ConfigurationError(wanted)
    return base_url.rstrip("/") + path


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine and nobody else can reach it; ``""``, every address, is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def socket_url(base_url: str, path: str) -> str:
    """Return the WebSocket URL of ``path`` on the same service: wss where the base is https. Raises as above."""
    return "ws" + service_url(base_url, path).removeprefix("http")


def fill_path(template: str, values: Mapping[str, object]) -> str:
    """Put values in the place of ``{name}`` in a path."""
    return re.sub(r"\{(\w+)\}", lambda found: quote(str(values[found[1]]), safe=""), template)


def match_path(template: str, url: str) -> dict[str, str] | None:
    """Return what stands in the place of each ``{name}``; ``None``: the URL's path is another."""
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
    found = re.fullmatch(f"(?:.*?){pattern}", urlsplit(url).path)
    return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def authorization(credential: str | None, name: str) -> dict[str, str]:
    """Return the header of ``Authorization: Bearer`` (RFC 6750, 2.1); none for ``None``.

    Raises:
        ConfigurationError: the credential can't stand in a header; ``name`` says which it is.
    """
    if credential is None:
        return {}
    if not is_token(credential):
        raise ConfigurationError(f"the {name} is empty or has spaces, line breaks or non-ASCII characters in it")
    return {"authorization": f"Bearer {credential}"}


# Answers


def json_answer(response: HttpResponse, name: str, *, credential: str = "token") -> Any:
    """Return the JSON of a 2xx answer.

    Args:
        name: Of the request, for errors.
        credential: What was sent with it.

    Raises:
        AuthError, SignalingError: the answer is a refusal.
        RemoteProtocolError: it is no JSON.
    """
    if not response.ok:
        raise refusal_error(response, name, credential=credential)
    try:
        return load_json(response.body)
    except (ValueError, RecursionError) as exc:
        raise RemoteProtocolError(f"{name}: the server answered {_nonsense(response)}") from exc


def refusal_error(response: HttpResponse, name: str, *, credential: str = "token") -> RtcPeerError:
    """Make the error of an answer that is not 2xx."""
    status = response.status
    found: Any = None
    try:
        found = load_json(response.body)
        said = for_display(_words(found))
    except (ValueError, RecursionError):
        said = _nonsense(response)
    message = f"{name}: the server answered {status}" + (f": {said}" if said else "")
    if status in (401, 403):
        if credential != "token":
            return AuthError(f"{message} (is the {credential} right?)")
        if re.search(r"\b(expired|consumed)\b", said, re.IGNORECASE):
            return TokenExpired(f"{message} (each session needs a fresh token)")
        return AuthError(f"{message} (is the token right?)")
    if status == 404 and not re.search(r"\b(user|agent|computer)\b", said, re.IGNORECASE):
        message = f"{message} (is the base URL right?)"
    failure = SignalingError(message, status=status, retry_after=retry_after(response))
    if isinstance(found, dict) and found.get("retryable") is False:  # as `rtcpeer proxy` says of a refused key
        failure.retryable = False
    return failure


_EXPIRED = re.compile(r"\b(expired|consumed|already used)\b", re.IGNORECASE)
_REFUSED = re.compile(
    r"\b(unauthori[sz]ed|not authenticated|authentication (failed|required)|forbidden)\b"
    r"|\b(invalid|incorrect|inactive|wrong|bad|missing|unknown|revoked)\b.{0,40}\b(token|key|password|credentials?)\b",
    re.IGNORECASE,
)


def credential_error(words: str, credential: str) -> AuthError | None:
    """Make the error of a server's words that refuse what we showed it; ``None``: they are about something else.

    Args:
        credential: What was shown: token, API key or password. Only a token can be had afresh.
    """
    said = f"the server refused the {credential}: {for_display(words)}"
    if credential == "token" and _EXPIRED.search(words):
        return TokenExpired(f"{said} (get a fresh token)")
    if _EXPIRED.search(words) or _REFUSED.search(words):
        return AuthError(f"{said} (is the {credential} right?)")
    return None


def parse_time(value: Any) -> float | None:
    """ISO 8601, in UTC unless it says otherwise, or Unix seconds; what is neither counts as not said."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except (ValueError, OverflowError):
        pass
    return None


def _nonsense(response: HttpResponse) -> str:
    if not response.body.strip():
        return "with an empty body"
    if response.body.lstrip().startswith(b"<") or "html" in response.headers.get("content-type", ""):
        return "HTML instead of JSON: is the base URL right?"
    return f"{len(response.body)} bytes that are not JSON"


def _words(found: Any) -> str:
    """Find the server's own words in whatever shape its error has."""
    while isinstance(found, dict):
        # error.message may be an error envelope itself, as Orga's client-secrets has it.
        found = next((found[name] for name in ("error", "message", "detail", "msg") if found.get(name)), "")
    if isinstance(found, list):
        return "; ".join(_detail(item) for item in found[:3])
    return found if isinstance(found, str) else ""


def _detail(item: Any) -> str:
    """One entry of FastAPI's ``detail``: ``body.offer: Field required``."""
    match item:
        case {"loc": list(loc), "msg": str(text)}:
            return f"{'.'.join(str(part) for part in loc if isinstance(part, (str, int)))}: {text}"
        case {"msg": str(text)} | str(text):
            return text
    return ""
