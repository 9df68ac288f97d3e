"""Orga's audio over WebSocket, OUR OWN PROFILE: the vendor publishes no wire, nothing here was verified with it.

What is public is a page without code (orga-ai.com, blog, "Audio Streaming over WebSockets", 2026-02-20): one socket a
session, audio in binary messages, control events beside it. The rest is chosen, from what Orga says on its
DataChannel, and written down in docs/protocols/orga-ws.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..commands import UpdateSession
from ..errors import AuthError, RtcPeerError, TokenExpired
from ..events import (
    ConversationStarted,
    ErrorReported,
    Interrupted,
    ResponseCompleted,
    SessionStarted,
    TranscriptCompleted,
)
from ..formats import AudioFormat
from ..said import Said
from .base import AudioChunk, Message, Profile, Side, WireAudio
from .http import (
    HttpRequest,
    HttpResponse,
    Refusal,
    RequestRefused,
    SocketClosing,
    SocketRequest,
    Ticket,
    Token,
    TokenRequest,
)
from .options import Check, bad, check_options, checked_flag, one_of
from .orga import checked_email
from .orga_http import CALL_DEFAULTS, CREDENTIAL_WORDS, PATHS, OrgaHttp, error_envelope
from .orga_messages import UPDATES, OrgaMessages
from .strict_json import load_object
from .text import plain_text
from .websocket import WebSocketProtocol, with_query

_REFUSED = 4401
_BAD_PARAMETER = 1003
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)

_IN_QUERY = ("model", "voice", "temperature", "return_transcription", "history", "sample_rate", "codec")
"""Of a call's parameters. Instructions are long, and nobody's business who reads a log of URLs: session.update."""
_DEFAULTS: Mapping[str, Any] = {
    **{name: value for name, value in CALL_DEFAULTS.items() if name != "modalities"},
    "sample_rate": 24_000,
    "codec": "pcm16",
}


def _checked_rate(name: str, value: object) -> int:
    rate = (
        int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 7 else value
    )
    if type(rate) is not int or not 8_000 <= rate <= 48_000 or rate % 50:
        raise bad(name, value, "a multiple of 50 from 8000 to 48000")
    return rate


class OrgaWs(OrgaMessages, WebSocketProtocol):
    profile = Profile(
        name="orga-ws",
        title="Orga audio over WebSocket (our own profile)",
        transport="ws",
        paths={"session": PATHS["token"], "socket": "/v1/realtime/ws"},
        shared=frozenset({PATHS["token"]}),
        token_is_spent=True,
        interrupt="flush-all",
        close_codes={_REFUSED: AuthError},
    )
    speaks: ClassVar = {
        Side.CLIENT: frozenset({AudioChunk, UpdateSession}),
        Side.SERVER: frozenset(
            {
                AudioChunk,
                SessionStarted,
                ConversationStarted,
                TranscriptCompleted,
                ResponseCompleted,
                Interrupted,
                ErrorReported,
            }
        ),
    }
    parameters: ClassVar[Mapping[str, Check]] = {
        **{name: check for name, check in UPDATES.items() if name != "modalities"},
        "history": checked_flag,
        "return_transcription": checked_flag,
        "email": checked_email,
        "sample_rate": _checked_rate,
        "codec": one_of("pcm16", "opus"),
    }
    audio_in = audio_out = WireAudio(AudioFormat(24_000))

    def __init__(self, side: Side, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(side, params)
        chosen = {**_DEFAULTS, **self.params}
        self._wire = WireAudio(AudioFormat(chosen["sample_rate"]), codec=chosen["codec"])
        self.audio_in = self.audio_out = self._wire

    # Messages

    def encode(self, said: Said) -> Iterator[Message]:
        wire = self._wire
        match said:
            case AudioChunk(data, audio_format, codec) if (audio_format, codec) == (
                self._wire.format,
                self._wire.codec,
            ):
                yield data
            case AudioChunk():
                raise self.unsayable(f"this socket carries {wire.codec}, {wire.format}, and nothing else")
            case Interrupted():
                yield self.dump({"type": "speech-started"})
            case ErrorReported(message, code):
                yield self.dump({"type": "error", **error_envelope(message, "server_error", code or None)})
            case _:
                yield from super().encode(said)

    def decode(self, message: Message) -> Iterator[Said]:
        if isinstance(message, bytes):
            if not message:
                raise ValueError("no audio in it")
            yield AudioChunk(message, self._wire.format, self._wire.codec)
            return
        found = load_object(message)
        match self.side, found:
            case Side.CLIENT, {"type": "speech-started"}:
                yield Interrupted(0.0, "speech-started")
            case Side.CLIENT, {"type": "error", "error": {"message": str(text), **rest}}:
                code = rest.get("code")
                yield ErrorReported(plain_text(text), plain_text(code) if isinstance(code, str) else "")
            case Side.CLIENT, {"type": "error"}:
                raise ValueError("no message in it")
            case _:
                yield from self.read(found, message)

    # What a user gives

    @classmethod
    def configure(cls, options: Mapping[str, object], *, transcribe: bool = True) -> dict[str, Any]:
        checked = check_options(cls.profile.name, options, cls.parameters)
        checked["instructions"] = checked.get("instructions") or None
        found = {**_DEFAULTS, "return_transcription": transcribe, **checked}
        if found["codec"] == "opus" and found["sample_rate"] not in _OPUS_RATES:
            # RFC 6716, 2: libopus takes and gives nothing in between.
            raise bad(
                "sample_rate", found["sample_rate"], f"with codec=opus one of {', '.join(map(str, _OPUS_RATES))}"
            )
        return found

    # The REST step: the token that would open a call over WebRTC

    @classmethod
    def session_request(cls, base_url: str, api_key: str, params: Mapping[str, Any]) -> HttpRequest:
        return OrgaHttp.token_request(base_url, api_key, {"email": params["email"]} if "email" in params else {})

    @classmethod
    def parse_session(cls, response: HttpResponse, base_url: str) -> Ticket:
        token = OrgaHttp.parse_token(response)
        return Ticket(token.value, expires_at=token.expires_at)

    @classmethod
    def parse_session_request(cls, request: HttpRequest) -> TokenRequest:
        return OrgaHttp.parse_token_request(request)

    @classmethod
    def session_response(cls, ticket: Ticket) -> HttpResponse:
        assert ticket.token is not None
        return OrgaHttp.token_response(Token(ticket.token, ticket.expires_at))

    # The socket

    @classmethod
    def socket_request(cls, url: str, ticket: Ticket, params: Mapping[str, Any]) -> SocketRequest:
        asked = super().socket_request(url, ticket, params)
        wanted = {name: _in_query(params[name]) for name in _IN_QUERY if params.get(name) is not None}
        return SocketRequest(with_query(asked.url, **wanted), asked.headers)

    # Refusals

    @classmethod
    def refusal_response(cls, refused: RequestRefused, route: str) -> HttpResponse:
        return OrgaHttp.refusal_response(refused, "token" if route == "session" else route)

    @classmethod
    def refusal_closing(cls, refused: RequestRefused) -> SocketClosing:
        reason, kind = str(refused), "invalid_request_error"
        match refused.refusal:
            case refusal if refusal in CREDENTIAL_WORDS:
                code, reason = _REFUSED, CREDENTIAL_WORDS[refusal]
            case Refusal.MISSING_FIELD | Refusal.INVALID_FIELD:
                code = _BAD_PARAMETER
            case Refusal.RATE_LIMITED:
                code, kind = 1013, "rate_limit_error"  # try again later (IANA's registry of close codes)
            case _:
                code, kind = 1011, "server_error"
        said = json.dumps({"type": "error", **error_envelope(reason, kind)})
        return SocketClosing(code, reason, (said,))

    @classmethod
    def closing_error(cls, code: int | None, reason: str) -> RtcPeerError | None:
        error = super().closing_error(code, reason)
        if code == _REFUSED and re.search(r"\b(expired|consumed)\b", reason, re.IGNORECASE):
            return TokenExpired(f"{error} (each session needs a fresh token)")
        return error


def _in_query(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
