"""Orga's messages, which are the same on the DataChannel and on a WebSocket: JSON text, both sides.

Sources: docs.orga-ai.com (explanation, reference) and github.com/OrgaAI/orga-ai-sdk-monorepo; docs/protocols/orga.md.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..commands import UpdateSession
from ..errors import ConfigurationError, LocalProtocolError
from ..events import ConversationStarted, ResponseCompleted, SessionStarted, TranscriptCompleted, Unknown
from ..said import Said
from .base import Message, Side, VoiceProtocol
from .options import Check, bad, check_options, checked_name, checked_text
from .strict_json import load_object
from .text import plain_text, read_id, without_control

MODALITIES = ("audio", "video")
VOICES = frozenset(
    unicodedata.normalize("NFC", name)
    for names in (
        "alloy ash ballad coral echo fable onyx nova sage shimmer",  # core 1.0; the docs still show alloy
        "Sofía Juan Marta Emilio Clara Álvaro Lucía Ignacio Natalia Ricardo Teresa",
        "Victoria Ethan Chloe Harold Alex Hannah Valerie Max Adrian Emma",
        "Julien Camille Chloé Aurélie Antoine Mathieu Bernard Élise Nadine Laurent",
        "Bruno Mariana Carolina Joana André Rafael Gustavo Helena Henrique",
        "Giada Marco Alessandro Matteo Davide Valentina Serena Roberto Lorenzo Paola",
    )
    for name in names.split()
)
"""Every voice an SDK of the vendor ever listed; others are passed on, the service decides."""


class OrgaMessages(VoiceProtocol):
    """What ``Orga`` and ``OrgaWs`` say in text."""

    legacy_events: bool = False
    """As a server, speak the envelope from before 2025-09-30: ``{"event": name, "message": text}``."""

    def __init__(self, side: Side, params: Mapping[str, Any] | None = None) -> None:
        super().__init__(side, params)
        # The wire always carries the modalities that are on, so an update that leaves them alone repeats them.
        # Audio is among them from the start: a headless peer's microphone is never off.
        wanted = {"audio", *self.params.get("modalities", ())}
        self._modalities = tuple(name for name in MODALITIES if name in wanted)

    def opening(self) -> list[Message]:
        """As the vendor's React Native SDK: the service may ignore audio until it is told of it."""
        if self.side is Side.SERVER:
            return []
        settings = {name: self.params.get(name) for name in ("model", "voice", "temperature", "instructions")}
        return self.send(UpdateSession(modalities=self._modalities, **settings))

    # Messages

    def encode(self, said: Said) -> Iterator[Message]:
        match said:
            case UpdateSession():
                yield self.dump({"event": "session.update", "data": self._update_data(said)})
            case SessionStarted(id, details):
                session = {"object": "realtime.session", **details, "id": id}
                yield self.dump(self._envelope("session.created", session=session))
            case ConversationStarted(id):
                yield self.dump(self._envelope("conversation.created", conversation={"id": id}))
            case TranscriptCompleted("user", _, raw):
                name = "conversation.item.input_audio_transcription.completed"
                yield self.dump(self._envelope(name, transcript=raw))
            case ResponseCompleted(_, raw):
                yield self.dump(self._envelope("response.output_item.done", text=raw))
            case TranscriptCompleted(speaker):
                # The agent's words travel with its turn, in response.output_item.done.
                raise self.unsayable(f"no message carries a transcript of the {speaker}")

    def _envelope(self, name: str, **content: Any) -> dict[str, Any]:
        if not self.legacy_events:
            return {"type": name, **content}
        text = content.pop("transcript", content.pop("text", None))
        return {"event": name, **content} if text is None else {"event": name, "message": text}

    def _update_data(self, said: UpdateSession) -> dict[str, Any]:
        given = {name: getattr(said, name) for name in UPDATES if getattr(said, name) is not None}
        try:
            said = self.update(given)
        except ConfigurationError as exc:
            raise self.unsayable(str(exc)) from exc
        if said.modalities is not None:
            self._modalities = said.modalities
        data = {name: getattr(said, name) for name in given if name != "modalities"}
        return data | {"modalities": list(self._modalities)}

    def dump(self, content: Mapping[str, Any]) -> str:
        try:
            return json.dumps(content, allow_nan=False)
        except (ValueError, TypeError, RecursionError) as exc:
            raise self.unsayable(f"what was said is no JSON: {exc}") from exc

    def unsayable(self, why: str) -> LocalProtocolError:
        return LocalProtocolError(f"{self.profile.name} {self.side.value}: {why}")

    def decode(self, message: Message) -> Iterator[Said]:
        yield from self.read(load_object(message), message)

    def read(self, found: Mapping[str, Any], message: Message) -> Iterator[Said]:
        """Decode one message that was parsed already."""
        name = found.get("type") or found.get("event")
        match self.side, name:
            case Side.CLIENT, "session.created":
                details = {**_object(found, "session")}
                session_id = read_id(details.pop("id"))
                details.pop("object", None)
                yield SessionStarted(session_id, details)
            case Side.CLIENT, "conversation.created":
                yield ConversationStarted(read_id(_object(found, "conversation")["id"]))
            case Side.CLIENT, "conversation.item.input_audio_transcription.completed":
                raw = _first_text(found, "transcript", "text", "message")
                yield TranscriptCompleted("user", readable(raw), raw)
            case Side.CLIENT, "response.output_item.done":
                raw = _first_text(found, "text", "message")
                yield TranscriptCompleted("assistant", readable(raw), raw)
                yield ResponseCompleted(readable(raw), raw)
            case Side.SERVER, "session.update":
                data = _object(found, "data") if "data" in found else found
                yield UpdateSession(
                    model=_optional(data, "model", str),
                    voice=_optional(data, "voice", str),
                    temperature=_number(data, "temperature"),
                    instructions=_optional(data, "instructions", str),
                    modalities=_texts(data, "modalities"),
                )
            case _:
                yield Unknown(message if isinstance(message, str) else json.dumps(found))

    @classmethod
    def update(cls, options: Mapping[str, object]) -> UpdateSession:
        return UpdateSession(**check_options(cls.profile.name, options, UPDATES))


_EMOTION = re.compile(r"</?emotion\b[^<>]*>", re.IGNORECASE)
_LAUGHTER = re.compile(r"\[laughter\]", re.IGNORECASE)


def readable(raw: str) -> str:
    """Take out the mark-up for the vendor's voices, as its SDK does: no emotion tags, ``[laughter]`` as 😂.

    What is not fit to be read goes, too, beyond the SDK: see ``plain_text``.
    """
    # Control characters first: with one inside it, a tag would not be seen.
    return plain_text(_EMOTION.sub("", _LAUGHTER.sub("😂", without_control(raw))))


# Reading messages: whatever is wrong raises, and ``receive`` makes it a RemoteProtocolError.


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = found[name]
    if not isinstance(value, dict):
        raise TypeError(f"{name} is no object")
    return value


def _first_text(found: Mapping[str, Any], *names: str) -> str:
    """The first text that is not empty; all absent or empty: nothing was said."""
    for name in names:
        if text := _optional(found, name, str):
            return text
    return ""


def _optional(found: Mapping[str, Any], name: str, kind: type[str]) -> str | None:
    value = found.get(name)
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} is no text")
    return value


def _number(found: Mapping[str, Any], name: str) -> float | None:
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{name} is no number")
    return float(value)


def _texts(found: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = found.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{name} is no list of texts")
    return tuple(value)


# Checking what a user gives: each takes the name, for the error, and the value as given.


def _checked_voice(name: str, value: object) -> str:
    voice = checked_name(name, value)
    composed = unicodedata.normalize("NFC", voice)
    return composed if composed in VOICES else voice


def _checked_temperature(name: str, value: object) -> float:
    allowed = "a number from 0 to 1"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise bad(name, value, allowed)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise bad(name, value, allowed) from None
    if not 0 <= number <= 1:  # also refuses NaN
        raise bad(name, value, allowed)
    return number


def _checked_modalities(name: str, value: object) -> tuple[str, ...]:
    allowed = "audio, video, both with a comma between, or none"
    if isinstance(value, str):
        wanted: list[object] = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
        wanted = list(value)
    else:
        raise bad(name, value, allowed)
    if not all(item in MODALITIES for item in wanted):
        raise bad(name, value, allowed)
    return tuple(item for item in MODALITIES if item in wanted)


UPDATES: Mapping[str, Check] = {
    "model": checked_name,
    "voice": _checked_voice,
    "temperature": _checked_temperature,
    "instructions": checked_text,
    "modalities": _checked_modalities,
}
