"""Soca's voice WebSocket: ``start`` first, PCM in binary messages up, MP3 in JSON down, told apart by ``seq``.

Sources: Soca docs (docs.soca.ai), api-reference/voice/voice-stream, in both its versions, and
api-reference/sessions/create_session. What those pages leave open is chosen here, see docs/protocols/soca.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from ..commands import EndUtterance, Interrupt
from ..errors import ConfigurationError, LocalProtocolError, RemoteProtocolError, RtcPeerError
from ..events import (
    ErrorReported,
    Interrupted,
    ResponseCompleted,
    SessionStarted,
    TranscriptCompleted,
    TranscriptUpdated,
    Unknown,
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
    TokenRequest,
    Upgrade,
    is_token,
    json_answer,
    json_response,
    parse_time,
    service_url,
)
from .options import checked_id, checked_name, one_of
from .strict_json import load_object
from .text import plain_text, read_base64, read_id
from .websocket import WebSocketProtocol

HELD = 512 * 1024
"""Bytes of later sentences that wait for the end of the one before: two minutes. Then it has ended without a word."""
_REMEMBERED = 64
"""Sentences of a turn that are known to be over, and as many that wait for theirs."""
_WORDS = 16 * 1024
"""Characters of a turn's sentences that are told together, the latest."""
_FEW_WORDS = 512
"""Characters up to which each sentence is told as it comes."""
_PIECE = 64
"""Bytes that a piece costs beside its own."""


@dataclass(slots=True)
class _Sentence:
    """One stream of MP3, as the client has it so far."""

    newest: int = -1
    over: bool = False
    held: list[bytes] = field(default_factory=list)
    """What can't be handed on before another sentence is over; an empty piece is its end."""


class Soca(WebSocketProtocol):
    profile = Profile(
        name="soca",
        title="Soca (WebSocket)",
        transport="ws",
        paths={"session": "/v1/session/{agent_id}", "socket": "/v1/voice-ws"},
        aliases={"/voice-ws": "socket", "/chat/agent/voice-ws": "socket"},
        interrupt="seq",
        key_opens=True,
        client_opens=True,
        resumes=True,
    )
    speaks: ClassVar = {
        Side.CLIENT: frozenset({AudioChunk, Interrupt, EndUtterance}),
        Side.SERVER: frozenset(
            {
                AudioChunk,
                SessionStarted,
                TranscriptUpdated,
                TranscriptCompleted,
                ResponseCompleted,
                Interrupted,
                ErrorReported,
            }
        ),
    }
    parameters: ClassVar = {"agent_id": checked_id, "session_id": checked_name, "lang": one_of("id", "en")}

    audio_in = WireAudio(AudioFormat(16_000))
    audio_out = WireAudio(AudioFormat(22_050), codec="mp3", live=False, marks_end=True, ahead=30.0)

    # The server's, of what it is saying:
    chat_id = ""
    sentence_id = 0
    sentence = ""
    """The words of the sentence, said with each piece of it."""
    chunk_index = 0

    def __init__(self, side: Side, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(side, params)
        self._started = False
        self._answering = False  # the turn that ``generation`` counts has begun
        self._answer_seq: int | None = None
        self._fresh = True  # nothing was said yet under this ``generation``
        self._sentences: dict[int, _Sentence] = {}  # the first is the one being handed on
        self._over: dict[int, None] = {}
        self._held = 0
        self._final = False  # the answer was said to be complete
        self._texts: list[str] = []
        self._untold = 0  # characters of them that no event has told
        if side is Side.SERVER:
            self.generation = 1

    # Messages

    def opening(self) -> list[Message]:
        if self.side is Side.SERVER:
            return []
        ticket = self.ticket
        self.session_id = self.params.get("session_id") or ticket.session_id or ""
        start = {
            "type": "start",
            "private_key" if ticket.is_key else "token": ticket.token,
            "session_id": self.session_id,
            "agent_id": self.params.get("agent_id"),
            "lang": self.params.get("lang", "id"),
            "sr": self.audio_in.format.sample_rate,
        }
        return [json.dumps(start)]

    def encode(self, said: Said) -> Iterator[Message]:
        match said:
            case AudioChunk(data, AudioFormat(16_000, 1), "pcm16") if self.side is Side.CLIENT:
                yield data
            case AudioChunk(data, _, "mp3", seq) if self.side is Side.SERVER:
                yield json.dumps(self._sentence_chunk(data, seq))
            case AudioChunk():
                raise LocalProtocolError("soca carries PCM at 16 kHz up, MP3 down, both mono, and nothing else")
            case Interrupt():
                yield json.dumps({"type": "barge"})
            case EndUtterance():
                yield json.dumps({"type": "stop"})  # of the utterance: the session goes on
            case SessionStarted(id):
                yield json.dumps({"type": "ready", "session_id": self.session_id or id})
                yield json.dumps({"type": "stt.ready"})
            case TranscriptUpdated("user", ""):
                yield json.dumps({"type": "stt.final", "text": ""})  # what was heard came to nothing
            case TranscriptUpdated("user", text):
                yield json.dumps({"type": "stt.partial", "text": text})
            case TranscriptUpdated(_, text):
                # No message of its own: the words go with the audio that follows.
                self._begin_sentence(text)
            case TranscriptCompleted("user", _, raw):
                yield json.dumps({"type": "stt.final", "text": raw})
            case TranscriptCompleted(speaker):
                raise LocalProtocolError(f"soca server: no message carries a transcript of the {speaker} alone")
            case ResponseCompleted(_, raw):
                seq = self.generation if self._answer_seq is None else self._answer_seq
                self._answering, self._answer_seq = False, None
                yield json.dumps(
                    {
                        "stepType": "final_answer",
                        "stepTitle": "Final Answer",
                        "fullResponse": {"answers": [{"output": raw}]},
                        "audioBase64": None,
                        "audioMime": "audio/mp3",
                        "isFinal": True,
                        "seq": seq,
                        "stepDuration": 0.0,
                    }
                )
            case Interrupted(_, reason):
                # The answer that follows is this seq's; the one that was cut is marked done with its own.
                self._answer_seq = self.generation if self._answering else None
                self._answering = False
                self.generation += 1
                self._fresh = True
                yield json.dumps({"type": "barge", "seq": self.generation, "reason": reason})
            case ErrorReported(message):
                yield json.dumps({"type": "error", "message": message})

    def _begin_sentence(self, text: str) -> None:
        if not self._answering:
            if not self._fresh:
                self.generation += 1
            self._answering, self._answer_seq = True, None
            self.chat_id = f"{self.session_id or 'chat'}-{self.generation}"
        self._fresh = False
        self.sentence_id += 1
        self.sentence, self.chunk_index = text, 0

    def _sentence_chunk(self, data: bytes, seq: int) -> dict[str, Any]:
        index, self.chunk_index = self.chunk_index, self.chunk_index + 1
        position = {"chunkIndex": index, "isLastChunk": not data, "seq": seq}
        if not data:
            return {"stepType": "sentence", "sentenceId": self.sentence_id, "audioBase64": None, **position}
        return {
            "stepType": "sentence",
            "chatId": self.chat_id,
            "sentenceId": self.sentence_id,
            "contentStep": self.sentence,
            "audioBase64": base64.b64encode(data).decode(),
            "audioMime": "audio/mp3",
            **position,
        }

    def decode(self, message: Message) -> Iterator[Said]:
        if isinstance(message, bytes) and self.side is Side.SERVER and (self._started or self.admit is None):
            yield AudioChunk(message, self.audio_in.format)
            return
        try:
            found = load_object(message)
        except (ValueError, TypeError, RecursionError):
            if self.side is Side.SERVER:
                self._check_started()
            raise
        if self.side is Side.SERVER:
            yield from self._decode_as_server(found)
        else:
            yield from self._decode_as_client(found)

    def _decode_as_server(self, found: dict[str, Any]) -> Iterator[Said]:
        match found:
            case {"type": "start"}:
                self._start(found)
                return
        self._check_started()
        match found:
            case {"type": "barge"}:
                yield Interrupt()
            case {"type": "stop"}:
                yield EndUtterance()
            case _:
                yield Unknown(json.dumps(found))

    def _check_started(self) -> None:
        """Raises RequestRefused: whoever has to be admitted must say ``start`` first."""
        if self.admit is not None and not self._started:
            raise RequestRefused(Refusal.MISSING_FIELD, "must start with type=start")

    def _start(self, found: dict[str, Any]) -> None:
        if self._started:
            raise ValueError("started already")
        if self.admit is not None:
            credential = found.get("private_key") or found.get("token")
            try:
                self.admit(credential if isinstance(credential, str) else None)
            except RequestRefused as refused:
                raise RequestRefused(refused.refusal, "Invalid or expired token") from refused
        if found.get("sr", 16_000) != 16_000:
            raise RequestRefused(Refusal.INVALID_FIELD, "sr must be 16000", field=("sr",))
        given = {name: found.get(name) or None for name in self.parameters}  # "" and null: not given
        try:
            self.params |= self.configure(given)
        except ConfigurationError as exc:
            raise RequestRefused(Refusal.INVALID_FIELD, str(exc)) from exc
        self.session_id = self.params.get("session_id", "")
        self._started = True

    def _decode_as_client(self, found: dict[str, Any]) -> Iterator[Said]:
        match found:
            case {"type": "ready"}:
                name = read_id(found.get("session_id", ""), name="session_id", may_be_empty=True)
                self.session_id = name or self.session_id
            case {"type": "stt.ready"}:
                yield SessionStarted(self.session_id)
            case {"type": "stt.partial", "text": str(text)}:
                yield TranscriptUpdated("user", plain_text(text))
            case {"type": "stt.final", "text": str(raw)}:
                text = plain_text(raw)
                # An empty one says that what was heard came to nothing.
                yield TranscriptCompleted("user", text, raw) if text else TranscriptUpdated("user", "")
            case {"type": "barge", "seq": seq}:
                # One that is not newer came late: its audio has been cut off already.
                if self._follow(seq):
                    yield Interrupted(0.0, plain_text(str(found.get("reason", "barge"))))
            case {"type": "barge"}:
                raise ValueError("a barge without seq")
            case {"type": "error", "message": str(text)}:
                yield ErrorReported(plain_text(text))
            case {"stepType": "sentence", "sentenceId": int(sentence), "chunkIndex": int(index)}:
                yield from self._hear_sentence(sentence, index, found)
            case {"stepType": "sentence"}:
                raise ValueError("a sentence without sentenceId or chunkIndex")
            case {"stepType": "final_answer", "fullResponse": {"answers": [{"output": str(raw)}, *_]}}:
                seq = found.get("seq", self.generation)
                self._follow(seq)
                if seq == self.generation:
                    self._final = True
                    yield from self._hand_on()
                yield TranscriptCompleted("assistant", plain_text(raw), raw)
                yield ResponseCompleted(plain_text(raw), raw)
            case _:
                yield Unknown(json.dumps(found))

    def _follow(self, seq: Any) -> bool:
        """A newer ``seq``, of whatever message, silences all that is older."""
        if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq < 2**53:
            raise TypeError("seq is no number")
        if seq <= self.generation:
            return False
        self.generation = seq
        self._sentences.clear()
        self._over.clear()
        self._texts.clear()
        self._untold = 0
        self._held = 0
        self._final = False
        return True

    def _hear_sentence(self, id: int, index: int, found: dict[str, Any]) -> Iterator[Said]:
        encoded, last = found.get("audioBase64"), found.get("isLastChunk") is True
        # Each piece by itself: joined base64 has padding in mid-text.
        data = b"" if encoded is None else read_base64(encoded)
        text = found.get("contentStep")
        if text is not None and not isinstance(text, str):
            raise TypeError("contentStep is no text")
        seq = found.get("seq", self.generation)
        self._follow(seq)
        assert self.audio_out is not None
        if seq < self.generation:
            if data:
                yield AudioChunk(data, self.audio_out.format, "mp3", seq)
            return
        waiting = self._sentences.get(id)
        if id in self._over or (waiting is not None and (waiting.over or index <= waiting.newest)):
            raise RemoteProtocolError(f"soca: chunk {index} of a sentence came twice, or after a later one")
        if id not in self._sentences:
            self._sentences[id] = _Sentence()
            if text:
                self._texts = [*self._texts[-_REMEMBERED:], plain_text(text)]
                while len(self._texts) > 1 and sum(map(len, self._texts)) > _WORDS:
                    del self._texts[0]
                told = " ".join(self._texts)
                self._untold += len(text)
                # Each time the whole turn is said again, and kept: of a long one, when an eighth of it is new.
                if len(told) <= _FEW_WORDS or 8 * self._untold >= len(told):
                    self._untold = 0
                    yield TranscriptUpdated("assistant", told)
        sentence = self._sentences[id]
        sentence.newest = index
        if data:
            sentence.held.append(data)
            self._held += len(data) + _PIECE
        if last:
            sentence.over = True
            sentence.held.append(b"")
        yield from self._hand_on()

    def _hand_on(self) -> Iterator[AudioChunk]:
        """One sentence after the other; the last of a turn may still be going on."""
        assert self.audio_out is not None
        while self._sentences:
            id, sentence = next(iter(self._sentences.items()))
            for data in sentence.held:
                self._held -= len(data) + _PIECE if data else 0
                yield AudioChunk(data, self.audio_out.format, "mp3", self.generation)
            sentence.held = []
            later = [other for other in self._sentences.values() if other is not sentence]
            if not sentence.over:
                # Its end got lost if the answer is complete and so is another sentence; or if too much waits for it.
                too_much = self._held > HELD or len(later) > _REMEMBERED
                if not (self._final and any(other.over for other in later)) and not too_much:
                    return
                yield AudioChunk(b"", self.audio_out.format, "mp3", self.generation)
            del self._sentences[id]
            self._over[id] = None
            if len(self._over) > _REMEMBERED:
                del self._over[next(iter(self._over))]

    # The REST step

    @classmethod
    def session_request(cls, base_url: str, api_key: str, params: Mapping[str, Any]) -> HttpRequest:
        if not is_token(api_key):
            raise ConfigurationError("the API key is empty or has spaces, line breaks or non-ASCII characters in it")
        url = service_url(base_url, cls.path("session", params))
        return HttpRequest("POST", url, {"accept": "application/json", "private_key": api_key})

    @classmethod
    def parse_session(cls, response: HttpResponse, base_url: str) -> Ticket:
        match json_answer(response, "session", credential="API key"):
            case {"data": {"session_id": name}, **rest}:
                with suppress(TypeError):
                    return Ticket(session_id=read_id(name), issued_at=parse_time(rest.get("message")))
        raise RemoteProtocolError("session: the server's answer has no usable session_id")

    @classmethod
    def parse_session_request(cls, request: HttpRequest) -> TokenRequest:
        return TokenRequest(request.headers.get("private_key"), cls.path_values("session", request.url))

    @classmethod
    def session_response(cls, ticket: Ticket) -> HttpResponse:
        assert ticket.issued_at is not None
        issued_at = datetime.fromtimestamp(ticket.issued_at, UTC).isoformat(timespec="milliseconds")
        content = {
            "status": True,
            "message": issued_at.replace("+00:00", "Z"),
            "data": {"session_id": ticket.session_id},
        }
        return json_response(200, content)

    # The socket: all that a server needs to know stands in ``start``.

    @classmethod
    def socket_request(cls, url: str, ticket: Ticket, params: Mapping[str, Any]) -> SocketRequest:
        if ticket.token is not None and not is_token(ticket.token):
            raise ConfigurationError("the token is empty or has spaces, line breaks or non-ASCII characters in it")
        return SocketRequest(cls.full_socket_url(url, ticket, params))

    @classmethod
    def parse_socket(cls, request: HttpRequest) -> Upgrade:
        return Upgrade()

    # Refusals

    @classmethod
    def refusal_response(cls, refused: RequestRefused, route: str) -> HttpResponse:
        ours = super().refusal_response(refused, route)
        return json_response(ours.status, {"status": False, "message": str(refused)}, _without_type(ours))

    @classmethod
    def refusal_closing(cls, refused: RequestRefused) -> SocketClosing:
        reason = str(refused)
        match refused.refusal:
            case Refusal.RATE_LIMITED:
                code = 1013  # try again later (IANA's registry of close codes)
            case Refusal.INTERNAL:
                code = 1011
            case _:
                code = 1008
        return SocketClosing(code, reason, (json.dumps({"type": "error", "message": reason}),))

    def words_error(self, said: ErrorReported) -> RtcPeerError | None:
        # Both are on the page, under "Error Handling"; no close code is.
        if said.message.strip().lower() == "must start with type=start":
            return LocalProtocolError(f"the server took our first message for no start: {said.message}")
        return super().words_error(said)

    @classmethod
    def closing_error(cls, code: int | None, reason: str) -> RtcPeerError | None:
        # "if (event.code !== 1000) reconnect": going away, or a close without a code, is no goodbye here.
        return super().closing_error(1006 if code in (1001, 1005) else code, reason)


def _without_type(response: HttpResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != "content-type"}
