"""Every typed event of a voice session: what happened, the same for every protocol.

Some come over the wire, through a codec; some are measured here, from the audio. All are facts: frozen, and
nobody's to change. What one side *asks* of the other is in ``commands``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .said import Said

Speaker = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Event(Said):
    """Base class of every event."""


@dataclass(frozen=True, slots=True)
class PhaseCompleted(Event):
    """A phase of connecting ended: token, ice-config, gathering, signaling, transport, channel (WebRTC); session,
    socket, ready (WebSocket)."""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SessionStarted(Event):
    """The far end is ready; ``details`` is what it said of the session, as it said it."""

    id: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConversationStarted(Event):
    """The conversation has a name on the far end's books."""

    id: str


@dataclass(frozen=True, slots=True)
class SpeechStarted(Event):
    """A speaker's voice became audible: ours as sent, theirs as played out."""

    speaker: Speaker


@dataclass(frozen=True, slots=True)
class SpeechStopped(Event):
    """A speaker has been silent for the hang-over time of the voice detector."""

    speaker: Speaker
    silence: float
    """Seconds since the last voiced sample."""


@dataclass(frozen=True, slots=True)
class TranscriptCompleted(Event):
    """A speaker's turn was transcribed in full."""

    speaker: Speaker
    text: str
    """For reading: the protocol's mark-up (Orga's emotion tags) taken out."""
    raw: str
    """As it came over the wire."""


@dataclass(frozen=True, slots=True)
class TranscriptUpdated(Event):
    """What a speaker is taken to have said so far, in a turn that goes on; the next one replaces it."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class ResponseCompleted(Event):
    """The agent's answer is generated whole; it may not be heard whole yet."""

    text: str
    raw: str


@dataclass(frozen=True, slots=True)
class Interrupted(Event):
    """The agent was cut short."""

    played: float
    """Seconds of its turn that were really handed on here; for the mock, that it had sent."""
    reason: str


@dataclass(frozen=True, slots=True)
class TurnMeasured(Event):
    """The agent answered: how long after we fell silent it became audible here."""

    turnaround: float
    """Seconds from the last voiced sample we sent to the first audible one played out."""


@dataclass(frozen=True, slots=True)
class Pong(Event):
    """The answer to a ``Ping``."""


@dataclass(frozen=True, slots=True)
class DtmfReceived(Event):
    """The far end pressed a key of its telephone (RFC 4733), and let go of it."""

    digit: str
    """One of ``0123456789*#ABCD``."""
    duration: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ErrorReported(Event):
    """Something went wrong and the session goes on: the far end said so, or sent what we refused."""

    message: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Unknown(Event):
    """A well-formed message that this codec does not know; kept, never dropped."""

    data: str


@dataclass(frozen=True, slots=True)
class Degraded(Event):
    """The far end is silent and does not answer when asked whether it is there: ``Recovered`` or a loss follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Recovered(Event):
    """After ``Degraded``: something came from the far end again, over the same connection."""

    gap: float
    """Seconds in which nothing came."""


@dataclass(frozen=True, slots=True)
class Reconnecting(Event):
    """The connection broke, or is about to end (``session_limit``); another is tried after a pause."""

    attempt: int
    """From 1."""
    delay: float
    """Seconds until it."""
    reason: str
    """Why the connection broke; from the second attempt on, why the one before it failed."""


@dataclass(frozen=True, slots=True)
class Reconnected(Event):
    """The session goes on over a new connection."""

    state_restored: bool
    """The far end took it for the same session; otherwise it begins anew."""
    gap: float
    """Seconds since the loss was noticed; 0 when the new connection was there before the old one ended."""


@dataclass(frozen=True, slots=True)
class EventsMissed(Event):
    """A reader fell so far behind that the log has forgotten this many events."""

    count: int


@dataclass(frozen=True, slots=True)
class Closed(Event):
    """The session is over: always the last event."""

    reason: Literal["local", "remote", "lost", "failed"]
    """We hung up, the far end did, it stopped answering, or the call never came to be."""
    detail: str = ""
