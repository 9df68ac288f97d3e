"""Orgo's computer audio: what a computer's virtual speaker sounds, as raw PCM. One listens; there is nothing to say.

Source: Orgo docs, "Audio Streaming" and "Get VNC Password" (docs.orgo.ai). What they leave open is chosen here: a
stopped computer is refused with status 503 before the upgrade, a rate or a number of channels that can't be had with
``error`` and close code 1003 after it, a capture that fails with ``error`` and 1011.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..commands import Ping, Stop
from ..errors import (
    AuthError,
    ConfigurationError,
    ConnectionLost,
    LocalProtocolError,
    RemoteProtocolError,
    RtcPeerError,
    SignalingError,
)
from ..events import ErrorReported, Pong, SessionStarted, Unknown
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
    Upgrade,
    is_token,
    json_answer,
    json_response,
)
from .options import bad, checked_id, needs_parameter, one_of
from .strict_json import load_object
from .text import plain_text
from .websocket import WebSocketProtocol, with_query

_SERVICE = ("www.orgo.ai", "orgo.ai")
_COMPUTER = "{computer_id}.orgo.dev"
_DOMAIN = ".orgo.dev"

_BAD_TOKEN = 4401
_BAD_AUDIO = 1003


def checked_host(name: str, value: object) -> str:
    """A host and perhaps a port, with ``{computer_id}`` where its id stands."""
    if isinstance(value, str) and "://" not in value:
        try:
            parts = urlsplit(f"//{value.replace('{computer_id}', 'x')}")
            usable = parts.hostname is not None and parts.port != 0 and parts.netloc.isascii() and "@" not in value
        except ValueError:
            usable = False
        if usable and parts.netloc == value.replace("{computer_id}", "x") and not set(" {}%\\") & set(parts.netloc):
            return value
    raise bad(name, value, f"a host like {_COMPUTER} or 127.0.0.1:8080")


class Orgo(WebSocketProtocol):
    profile = Profile(
        name="orgo",
        title="Orgo computer audio (WebSocket)",
        transport="ws",
        paths={"session": "/api/computers/{computer_id}/vnc-password", "socket": "/audio"},
        session_method="GET",
        token_stays=True,
        interrupt="flush-all",
        heartbeat=30.0,
        close_codes={_BAD_TOKEN: AuthError},
    )
    speaks: ClassVar = {
        Side.CLIENT: frozenset({Ping, Stop}),
        Side.SERVER: frozenset({AudioChunk, SessionStarted, Pong, ErrorReported}),
    }
    parameters: ClassVar = {
        "computer_id": checked_id,
        "sample_rate": one_of(24_000, 48_000),
        "channels": one_of(1, 2),
        "host": checked_host,
    }
    audio_out = WireAudio(AudioFormat(24_000))

    def __init__(self, side: Side, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(side, params)
        wanted = AudioFormat(self.params.get("sample_rate", 24_000), self.params.get("channels", 1))
        self.audio_out = replace(type(self).audio_out, format=wanted)

    # Messages

    def encode(self, said: Said) -> Iterator[Message]:
        match said:
            case AudioChunk(data, audio_format, "pcm16") if audio_format == self.audio_out.format:
                yield data
            case AudioChunk():
                raise LocalProtocolError(f"orgo carries PCM as it said it would: {self.audio_out.format}")
            case SessionStarted():
                wire = self.audio_out.format
                yield json.dumps({"type": "started", "sample_rate": wire.sample_rate, "channels": wire.channels})
            case Ping():
                yield json.dumps({"type": "ping"})
            case Pong():
                yield json.dumps({"type": "pong"})
            case Stop():
                yield json.dumps({"type": "stop"})
            case ErrorReported(message):
                yield json.dumps({"type": "error", "message": message})

    def decode(self, message: Message) -> Iterator[Said]:
        if isinstance(message, bytes):
            if self.side is Side.SERVER:
                raise ValueError("no client sends audio")
            yield AudioChunk(message, self.audio_out.format)
            return
        match self.side, load_object(message):
            case Side.SERVER, {"type": "ping"}:
                yield Ping()
            case Side.SERVER, {"type": "stop"}:
                yield Stop()
            case Side.CLIENT, {"type": "started", **found}:
                yield self._started(found)
            case Side.CLIENT, {"type": "pong"}:
                yield Pong()
            case Side.CLIENT, {"type": "error", "message": str(text)}:
                yield ErrorReported(plain_text(text))
            case _:
                yield Unknown(message)

    def _started(self, found: Mapping[str, Any]) -> SessionStarted:
        """What it says is what comes, whatever was asked for; it names no session, so the computer's id does."""
        rate, channels = found["sample_rate"], found["channels"]
        if not (type(rate) is type(channels) is int):
            raise TypeError("sample_rate and channels are no whole numbers")
        try:
            self.audio_out = replace(self.audio_out, format=AudioFormat(rate, channels))
        except ConfigurationError as exc:
            raise ValueError("audio of no usable rate and channels") from exc
        return SessionStarted(self.params.get("computer_id", ""), {"sample_rate": rate, "channels": channels})

    # The REST step

    @classmethod
    def parse_session(cls, response: HttpResponse, base_url: str) -> Ticket:
        match json_answer(response, "vnc-password", credential="API key"):
            case {"password": str(password)} if is_token(password):
                return Ticket(password)
        raise RemoteProtocolError("vnc-password: the server's answer has no usable password")

    @classmethod
    def session_response(cls, ticket: Ticket) -> HttpResponse:
        return json_response(200, {"password": ticket.token})

    # The socket

    @classmethod
    def full_socket_url(cls, url: str, ticket: Ticket, params: Mapping[str, Any]) -> str:
        """The computer's own host: ``host``, for the vendor's service its template, else the base URL's."""
        parts = urlsplit(url)
        host = params.get("host", _COMPUTER if parts.hostname in _SERVICE else None)
        if ticket.url is not None or parts.scheme in ("ws", "wss") or host is None:
            return super().full_socket_url(url, ticket, params)
        if "{computer_id}" in host and "computer_id" not in params:
            raise ConfigurationError(needs_parameter("orgo", "computer_id"))
        base = f"{parts.scheme}://{host.replace('{computer_id}', params.get('computer_id', ''))}"
        return super().full_socket_url(base, ticket, params)

    @classmethod
    def socket_request(cls, url: str, ticket: Ticket, params: Mapping[str, Any]) -> SocketRequest:
        full = cls.full_socket_url(url, ticket, params)
        wanted = {name: params[name] for name in ("sample_rate", "channels") if name in params}
        if ticket.url is None and ticket.token is not None:
            wanted = {"token": ticket.token, **wanted}
        return SocketRequest(with_query(full, **wanted) if wanted else full)

    @classmethod
    def parse_socket(cls, request: HttpRequest) -> Upgrade:
        upgrade = super().parse_socket(request)
        params = {name: value for name, value in upgrade.params.items() if name in ("sample_rate", "channels")}
        host = urlsplit(request.url).hostname or ""
        if host.endswith(_DOMAIN):
            params["computer_id"] = host.removesuffix(_DOMAIN)
        return Upgrade(upgrade.token, params)

    @classmethod
    def refusal_response(cls, refused: RequestRefused, route: str) -> HttpResponse:
        if refused.refusal is Refusal.UNAVAILABLE:
            return json_response(503, {"error": str(refused)})
        return super().refusal_response(refused, route)

    @classmethod
    def refusal_closing(cls, refused: RequestRefused) -> SocketClosing | None:
        match refused.refusal:
            case Refusal.UNAVAILABLE | Refusal.RATE_LIMITED | Refusal.NOT_FOUND:
                return None
            case Refusal.INVALID_FIELD | Refusal.MISSING_FIELD:
                code = _BAD_AUDIO
            case Refusal.INTERNAL:
                code = 1011
            case _:
                return SocketClosing(_BAD_TOKEN, str(refused))
        return SocketClosing(code, str(refused), (json.dumps({"type": "error", "message": str(refused)}),))

    def words_error(self, said: ErrorReported) -> RtcPeerError | None:
        if said.message.strip().lower() == "failed to start audio capture":  # the page's own words
            return ConnectionLost(f"the computer can't be listened to: {said.message}")
        return super().words_error(said)

    @classmethod
    def socket_refused(cls, response: HttpResponse) -> RtcPeerError:
        error = super().socket_refused(response)
        # The document has no status for a computer that does not run: "the connection will be rejected".
        if isinstance(error, SignalingError) and response.status not in (404, 429):
            return SignalingError(f"{error} (is the computer running?)", status=error.status)
        return error
