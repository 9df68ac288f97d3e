"""The codec contract: wire messages to typed events and back, for both sides.

A codec has no socket, no clock and no audio library. The same class plays the client and the server, so the
peer and the mock cannot drift apart; golden files typed from the vendor's documents keep both honest.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from ..commands import Command, UpdateSession
from ..errors import LocalProtocolError, RemoteProtocolError, RtcPeerError, Unsupported
from ..events import ErrorReported, ResponseCompleted, TranscriptCompleted, TranscriptUpdated, Unknown
from ..formats import AudioFormat
from ..said import Said
from .http import HttpResponse, RequestRefused
from .options import Check, check_options
from .redaction import Redaction
from .text import LONGEST_TEXT

Message = str | bytes
"""One WebSocket or DataChannel message: text or binary."""


class Side(enum.Enum):
    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Side:
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


InterruptRule = Literal["server-managed", "flush-all", "generation", "seq"]
"""Who decides that the agent was interrupted, and what of its audio is then not played any more.

``server-managed``: the far end stops sending, and no message says so. ``flush-all``: everything that waits.
``generation``: audio of a lower generation than the codec's; newer audio alone waits for its turn. ``seq``: the same,
and newer audio cuts older off by itself.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one can know of a protocol without talking to it."""

    name: str
    title: str
    transport: Literal["rtc", "ws"]
    paths: Mapping[str, str]
    """Route name (rtc: token, ice, call; ws: session, socket) → path below the base URL; ``{name}`` stands for a
    parameter of the call."""
    interrupt: InterruptRule

    # WebRTC
    channel: str = ""
    """Label of the DataChannel."""
    video: bool = False
    """The offer carries a video line."""

    # WebSocket
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further path → its route."""
    shared: frozenset[str] = frozenset()
    """Paths that another protocol has as well; whichever is there serves them for both."""
    session_method: Literal["GET", "POST"] = "POST"
    """Of the REST step, if there is a route ``session``."""
    backend_path: str | None = None
    """Where a backend that holds the key does the REST step for a browser; ``None``: nobody does."""
    token_lifetime: float | None = None
    """Seconds in which a token must have opened its socket; ``None``: not said."""
    token_is_spent: bool = False
    """It opens one socket."""
    token_stays: bool = False
    """It is a password: good for as long as it is not changed, and for as many sockets as one likes."""
    key_opens: bool = False
    """The socket takes the API key itself as well."""
    client_opens: bool = False
    """The server says nothing before the client's first message, which may hold the credential."""
    resumes: bool = False
    """A new socket under the same session id goes on where the old one broke off."""
    heartbeat: float | None = 20.0
    """Seconds between pings: the protocol's own ``Ping`` of the side that speaks it, else both sides' WebSocket's."""
    close_codes: Mapping[int, type[RtcPeerError]] = field(default_factory=dict)
    """Close code → what it means; the class says whether the same call may succeed later. RFC 6455's are known."""


@dataclass(frozen=True, slots=True)
class WireAudio:
    """One direction's audio, as messages carry it."""

    format: AudioFormat
    codec: str = "pcm16"
    """A name in ``audio.wire.CODECS``."""
    chunk: float = 0.02
    """Seconds in one message, as we send it; others are understood."""
    ahead: float = 0.0
    """Seconds by which what is spoken may leave before it is due, where whoever hears it lets it wait."""
    marks_end: bool = False
    """An ``AudioChunk`` of no bytes ends a stretch of speech, and with it the stream of the codec."""
    live: bool = True
    """Sent in real time, silence included, so that what piles up is delay. Otherwise only what is spoken is sent, and
    may come as fast as it is made."""


@dataclass(frozen=True, slots=True)
class AudioChunk(Said):
    """A piece of audio in a message. The link takes it to the playout: fifty a second would drown the events."""

    data: bytes = field(repr=False)
    """As the codec made it, taken out of what the message wraps it in."""
    format: AudioFormat
    codec: str = "pcm16"
    generation: int = 0
    """Of the agent's turn, for the interrupt rules that count them."""


class VoiceProtocol(ABC):
    """One instance a connection and side; standard library only."""

    profile: ClassVar[Profile]
    speaks: ClassVar[Mapping[Side, frozenset[type[Said]]]]
    """What each side may say; the support matrix is printed from it."""

    parameters: ClassVar[Mapping[str, Check]] = {}
    """What a user may give for a call, and how it is checked."""

    audio_in: WireAudio | None = None
    """Of this call, what the server wants to hear; ``None``: nothing, or audio travels as RTP."""
    audio_out: WireAudio | None = None
    """Of this call, what the client gets to hear."""
    generation: int = 0
    """Audio of a lower one is not to be played any more; the codec raises it as messages say so."""

    def __init__(self, side: Side, params: Mapping[str, Any] | None = None) -> None:
        self.side = side
        self.params = dict(params or {})
        self.redact = Redaction()
        """Knows the credentials that the far end was sent: its errors and unknown messages come without them."""
        self.texts_cut = 0
        """Transcripts of the far end that were longer than ``LONGEST_TEXT``."""

    @classmethod
    def has_voice(cls, side: Side) -> bool:
        """Whether that side may say anything aloud."""
        return cls.profile.transport == "rtc" or AudioChunk in cls.speaks[side]

    @property
    def sends(self) -> WireAudio | None:
        """The audio that this side says, if messages carry it."""
        return self.audio_in if self.side is Side.CLIENT else self.audio_out

    @property
    def hears(self) -> WireAudio | None:
        return self.audio_out if self.side is Side.CLIENT else self.audio_in

    def opening(self) -> list[Message]:
        """Return what this side says first, once the transport is open."""
        return []

    def send(self, said: Said) -> list[Message]:
        """Encode one event or command.

        Raises:
            Unsupported: the protocol has no such command.
            LocalProtocolError: this side may not say it, or not with these values.
        """
        if type(said) not in self.speaks[self.side]:
            name = f"{self.profile.name} {self.side.value}"
            if isinstance(said, Command):
                raise Unsupported(f"{self.profile.name} has no {type(said).__name__} for its {self.side.value}")
            raise LocalProtocolError(f"{name} can't say {type(said).__name__}")
        return list(self.encode(said))

    def receive(self, message: Message) -> list[Said]:
        """Decode one message; what is well-formed but not known becomes ``Unknown``.

        Raises:
            RemoteProtocolError: the message is malformed.
        """
        try:
            return [self._fit(said) for said in self.decode(message)]
        # Whatever a hostile message breaks, the session must see one documented error.
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as exc:
            raise RemoteProtocolError(
                f"{self.profile.name}: malformed message of {len(message)} characters: {type(exc).__name__}"
            ) from exc

    def _fit(self, said: Said) -> Said:
        """Return what was said as it may be kept: transcripts not endless, and nothing with a credential of ours."""
        match said:
            case ErrorReported():
                return replace(said, message=self.redact(said.message))
            case Unknown():
                return replace(said, data=self.redact(said.data))
            case TranscriptCompleted() | ResponseCompleted() if max(len(said.text), len(said.raw)) > LONGEST_TEXT:
                self.texts_cut += 1
                return replace(said, text=_shortened(said.text), raw=_shortened(said.raw))
            case TranscriptUpdated() if len(said.text) > LONGEST_TEXT:
                self.texts_cut += 1
                return replace(said, text=_shortened(said.text))
        return said

    @abstractmethod
    def encode(self, said: Said) -> Iterator[Message]: ...

    @abstractmethod
    def decode(self, message: Message) -> Iterator[Said]: ...

    # What a user gives, checked before anything is sent.

    @classmethod
    def configure(cls, options: Mapping[str, object], *, transcribe: bool = True) -> dict[str, Any]:
        """Check and complete call parameters; strings, as a command line has them, are converted.

        Args:
            transcribe: Ask for transcripts of what we say, where the protocol has a word for it.

        Raises:
            ConfigurationError: an unknown name (the message lists the known ones) or a value out of range.
        """
        return check_options(cls.profile.name, options, cls.parameters)

    @classmethod
    def update(cls, options: Mapping[str, object]) -> UpdateSession:
        """Make a checked ``UpdateSession``; the same conversions and errors as ``configure``.

        Raises:
            Unsupported: the settings of a running session can't be changed.
        """
        raise Unsupported(f"{cls.profile.name} has no UpdateSession for its client: give it as a call parameter")

    @classmethod
    @abstractmethod
    def refusal_response(cls, refused: RequestRefused, route: str) -> HttpResponse:
        """The vendor's status and body for a refusal on ``route`` (a key of ``profile.paths``, or empty)."""


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
