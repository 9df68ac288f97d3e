"""A protocol in one file: binary PCM both ways, JSON beside it; docs/adding-a-protocol.md walks through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

from rtcpeer.commands import Interrupt
from rtcpeer.events import Interrupted, ResponseCompleted, SessionStarted, TranscriptCompleted, Unknown
from rtcpeer.formats import AudioFormat
from rtcpeer.protocols.base import AudioChunk, Message, Profile, Side, WireAudio
from rtcpeer.protocols.strict_json import load_object
from rtcpeer.protocols.websocket import WebSocketProtocol
from rtcpeer.said import Said


class Parrot(WebSocketProtocol):
    profile = Profile(
        name="parrot",
        title="Parrot (example)",
        transport="ws",
        paths={"socket": "/parrot"},
        interrupt="flush-all",
        key_opens=True,
    )
    speaks: ClassVar = {
        Side.CLIENT: frozenset({AudioChunk, Interrupt}),
        Side.SERVER: frozenset({AudioChunk, SessionStarted, TranscriptCompleted, ResponseCompleted, Interrupted}),
    }
    audio_in = WireAudio(AudioFormat(16_000))
    audio_out = WireAudio(AudioFormat(24_000), live=False)

    def encode(self, said: Said) -> Iterator[Message]:
        match said:
            case AudioChunk(data):
                yield data
            case Interrupt():
                yield json.dumps({"type": "hush"})
            case SessionStarted(id):
                yield json.dumps({"type": "hello", "id": id})
            case TranscriptCompleted("user", text):
                yield json.dumps({"type": "heard", "text": text})
            case ResponseCompleted(text):
                yield json.dumps({"type": "said", "text": text})
            case Interrupted():
                yield json.dumps({"type": "hushed"})

    def decode(self, message: Message) -> Iterator[Said]:
        if isinstance(message, bytes):
            assert self.hears is not None
            yield AudioChunk(message, self.hears.format)
            return
        match self.side, load_object(message):
            case Side.SERVER, {"type": "hush"}:
                yield Interrupt()
            case Side.CLIENT, {"type": "hello", "id": str(id)}:
                yield SessionStarted(id)
            case Side.CLIENT, {"type": "heard", "text": str(text)}:
                yield TranscriptCompleted("user", text, text)
            case Side.CLIENT, {"type": "said", "text": str(text)}:
                yield ResponseCompleted(text, text)
            case Side.CLIENT, {"type": "hushed"}:
                yield Interrupted(0.0, "hushed")
            case _:
                yield Unknown(message)
