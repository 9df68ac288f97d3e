"""Orbitali's browser voice sessions: a REST step for a token of 60 seconds, then JSON text with base64 PCM in it.

Source: Orbitali docs, "Browser Voice Sessions" (docs.orbitali.ai). What that page leaves open is chosen here: a
message ``error``, close codes 4401 (token) and 4404 (agent), 20 ms of audio in a message, WebSocket pings.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from ..commands import Stop
from ..errors import LocalProtocolError, RemoteProtocolError, SignalingError, TokenExpired
from ..events import ErrorReported, Interrupted, ResponseCompleted, SessionStarted, TranscriptCompleted, Unknown
from ..formats import AudioFormat
from ..said import Said
from .base import AudioChunk, Message, Profile, Side, WireAudio
from .http import (
    HttpResponse,
    Refusal,
    RequestRefused,
    SocketClosing,
    SocketRequest,
    Ticket,
    is_token,
    json_answer,
    json_response,
    parse_time,
)
from .options import checked_id
from .strict_json import load_object
from .text import plain_text, read_base64, read_id
from .websocket import WebSocketProtocol, check_socket_url, with_query

_TOKEN_CLOSED = 4401
_AGENT_CLOSED = 4404


class Orbitali(WebSocketProtocol):
    profile = Profile(
        name="orbitali",
        title="Orbitali (WebSocket)",
        transport="ws",
        paths={
            "session": "/public/v1/agents/{agent_id}/realtime-sessions",
            "socket": "/ws/agents/{agent_id}",
        },
        interrupt="flush-all",
        backend_path="/api/voice-token",
        token_lifetime=60.0,
        close_codes={_TOKEN_CLOSED: TokenExpired, _AGENT_CLOSED: SignalingError},
    )
    speaks: ClassVar = {
        Side.CLIENT: frozenset({AudioChunk, Stop}),
        Side.SERVER: frozenset(
            {AudioChunk, SessionStarted, TranscriptCompleted, ResponseCompleted, Interrupted, ErrorReported}
        ),
    }
    parameters: ClassVar = {"agent_id": checked_id}

    audio_in = WireAudio(AudioFormat(16_000))
    audio_out = WireAudio(AudioFormat(24_000), live=False)

    # Messages

    def encode(self, said: Said) -> Iterator[Message]:
        match said:
            case AudioChunk(data, AudioFormat(rate, 1), "pcm16"):
                audio: dict[str, Any] = {"type": "input_audio", "audio": base64.b64encode(data).decode()}
                if self.side is Side.SERVER:
                    audio |= {"type": "output_audio", "encoding": "pcm16", "sampleRate": rate}
                yield json.dumps(audio)
            case AudioChunk():
                raise LocalProtocolError("orbitali carries mono PCM and nothing else")
            case Stop():
                yield json.dumps({"type": "stop"})
            case SessionStarted(id):
                yield json.dumps({"type": "session.started", "callId": id})
            case Interrupted():
                yield json.dumps({"type": "clear"})
            case TranscriptCompleted("user", _, raw):
                yield json.dumps({"type": "transcript", "role": "user", "text": raw})
            case ResponseCompleted(_, raw):
                yield json.dumps({"type": "transcript", "role": "assistant", "text": raw})
            case TranscriptCompleted(speaker):
                # The agent's words come once a completed turn: with ResponseCompleted.
                raise LocalProtocolError(f"orbitali server: no message carries a transcript of the {speaker} alone")
            case ErrorReported(message):
                yield json.dumps({"type": "error", "message": message})

    def decode(self, message: Message) -> Iterator[Said]:
        found = load_object(message)
        match self.side, found:
            case Side.SERVER, {"type": "input_audio", "audio": str(audio)}:
                assert self.audio_in is not None
                yield AudioChunk(read_base64(audio), self.audio_in.format)
            case Side.CLIENT, {"type": "output_audio", "audio": str(audio)}:
                assert self.audio_out is not None
                rate = found.get("sampleRate", self.audio_out.format.sample_rate)
                if not isinstance(rate, int) or found.get("encoding", "pcm16") != "pcm16":
                    raise ValueError("not PCM")
                yield AudioChunk(read_base64(audio), AudioFormat(rate))
            case _, {"type": "input_audio" | "output_audio"}:
                raise ValueError("no audio in it")
            case Side.SERVER, {"type": "stop"}:
                yield Stop()
            case Side.CLIENT, {"type": "session.started"}:
                yield SessionStarted(read_id(found.get("callId", ""), name="callId", may_be_empty=True))
            case Side.CLIENT, {"type": "clear"}:
                yield Interrupted(0.0, "clear")
            case Side.CLIENT, {"type": "transcript", "role": "user", "text": str(raw)}:
                yield TranscriptCompleted("user", plain_text(raw), raw)
            case Side.CLIENT, {"type": "transcript", "role": "assistant", "text": str(raw)}:
                yield TranscriptCompleted("assistant", plain_text(raw), raw)
                yield ResponseCompleted(plain_text(raw), raw)
            case Side.CLIENT, {"type": "error", "message": str(text)}:
                yield ErrorReported(plain_text(text))
            case _:
                yield Unknown(message if isinstance(message, str) else json.dumps(found))

    # The REST step

    @classmethod
    def parse_session(cls, response: HttpResponse, base_url: str) -> Ticket:
        match json_answer(response, "realtime-sessions", credential="API key"):
            case {"token": str(token), "websocketUrl": str(url), **rest} if is_token(token):
                wanted = rest.get("protocol")
                return Ticket(
                    token=token,
                    url=check_socket_url(url, base_url, domain="orbitali.ai"),
                    expires_at=parse_time(rest.get("expiresAt")),
                    audio_in=_audio_format(wanted, "inputAudio"),
                    audio_out=_audio_format(wanted, "outputAudio"),
                )
        raise RemoteProtocolError("realtime-sessions: the server's answer has no usable token and websocketUrl")

    @classmethod
    def session_response(cls, ticket: Ticket) -> HttpResponse:
        assert ticket.expires_at is not None
        expires_at = datetime.fromtimestamp(ticket.expires_at, UTC).isoformat(timespec="milliseconds")
        content = {
            "token": ticket.token,
            "expiresAt": expires_at.replace("+00:00", "Z"),
            "websocketUrl": ticket.url,
            "protocol": {
                "inputAudio": {"encoding": "pcm16", "sampleRate": cls.audio_in.format.sample_rate},
                "outputAudio": {"encoding": "pcm16", "sampleRate": cls.audio_out.format.sample_rate},
            },
        }
        return json_response(200, content)

    # The socket

    @classmethod
    def socket_request(cls, url: str, ticket: Ticket, params: Mapping[str, Any]) -> SocketRequest:
        full = cls.full_socket_url(url, ticket, params)
        if ticket.url is None and ticket.token is not None:
            full = with_query(full, token=ticket.token)
        return SocketRequest(full)

    @classmethod
    def refusal_closing(cls, refused: RequestRefused) -> SocketClosing:
        match refused.refusal:
            case (
                Refusal.NO_CREDENTIAL
                | Refusal.BAD_TOKEN
                | Refusal.EXPIRED_TOKEN
                | Refusal.SPENT_TOKEN
                | Refusal.BAD_API_KEY
            ):
                code = _TOKEN_CLOSED
            case Refusal.NOT_FOUND | Refusal.INVALID_FIELD | Refusal.UNAVAILABLE:
                code = _AGENT_CLOSED
            case Refusal.RATE_LIMITED:
                code = 1013  # try again later (IANA's registry of close codes)
            case _:
                code = 1011
        reason = str(refused)
        return SocketClosing(code, reason, (json.dumps({"type": "error", "message": reason}),))


def _audio_format(wanted: Any, name: str) -> AudioFormat | None:
    """What the service said of one direction's audio; ``None``: nothing."""
    match wanted:
        case None:
            return None
        case {**each} if each.get(name) is None:
            return None
        case {**each}:
            match each[name]:
                case {"encoding": "pcm16", "sampleRate": int(rate)} if rate % 50 == 0 and 8000 <= rate <= 192_000:
                    return AudioFormat(rate)
    raise RemoteProtocolError(f"realtime-sessions: the server wants {name} that is not PCM at a usable rate")
