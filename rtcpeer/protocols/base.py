"""The codec contract: wire messages to typed events and back, for both sides.

A codec has no socket, no clock and no audio library. The same class plays the client and the server, so the
peer and the mock cannot drift apart; golden files typed from the vendor's documents keep both honest.
"""

from __future__ import annotations

import enum
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..commands import Command, UpdateSession
from ..errors import LocalProtocolError, RemoteProtocolError, Unsupported
from ..events import Event
from ..formats import AudioFormat
from ..said import Said
from .http import Answer, HttpRequest, HttpResponse, IceServer, Offer, RequestRefused, Token, TokenRequest

Message = str | bytes
"""One WebSocket or DataChannel message: text or binary."""


class Side(enum.Enum):
    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Side:
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


@dataclass(frozen=True, slots=True)
class Profile:
    """What one can know of a protocol without talking to it."""

    name: str
    title: str
    transport: Literal["rtc"]
    paths: Mapping[str, str]
    """Route name (token, ice, call) → path below the service's base URL."""
    channel: str
    """Label of the DataChannel."""
    video: bool
    """The offer carries a video line."""
    interrupt: Literal["server-managed"]
    """Who decides that the agent was interrupted, and how we learn of it."""


class VoiceProtocol(ABC):
    """One instance a connection and side; standard library only."""

    profile: ClassVar[Profile]
    speaks: ClassVar[Mapping[Side, frozenset[type[Event] | type[Command]]]]
    """What each side may say; the support matrix is printed from it."""

    audio_in: AudioFormat | None = None
    """What the far end wants of us, as negotiated; ``None``: audio travels as RTP."""
    audio_out: AudioFormat | None = None

    def __init__(self, side: Side, params: Mapping[str, Any] | None = None) -> None:
        self.side = side
        self.params = dict(params or {})

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
            return list(self.decode(message))
        # Whatever a hostile message breaks, the session must see one documented error.
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as exc:
            raise RemoteProtocolError(
                f"{self.profile.name}: malformed message of {len(message)} characters: {type(exc).__name__}"
            ) from exc

    @abstractmethod
    def encode(self, said: Said) -> Iterator[Message]: ...

    @abstractmethod
    def decode(self, message: Message) -> Iterator[Said]: ...

    # What a user gives, checked before anything is sent.

    @classmethod
    @abstractmethod
    def configure(cls, options: Mapping[str, object], *, transcribe: bool = True) -> dict[str, Any]:
        """Check and complete call parameters; strings, as a command line has them, are converted.

        Raises:
            ConfigurationError: an unknown name (the message lists the known ones) or a value out of range.
        """

    @classmethod
    @abstractmethod
    def update(cls, options: Mapping[str, object]) -> UpdateSession:
        """Make a checked ``UpdateSession``; the same conversions and errors as ``configure``."""

    # HTTP before media, both sides. Client: x_request, parse_x. Server: parse_x_request, x_response.

    @classmethod
    @abstractmethod
    def token_request(cls, base_url: str, api_key: str, options: Mapping[str, str]) -> HttpRequest: ...
    @classmethod
    @abstractmethod
    def parse_token(cls, response: HttpResponse) -> Token: ...
    @classmethod
    @abstractmethod
    def parse_token_request(cls, request: HttpRequest) -> TokenRequest: ...
    @classmethod
    @abstractmethod
    def token_response(cls, token: Token) -> HttpResponse: ...

    @classmethod
    @abstractmethod
    def ice_request(cls, base_url: str, token: str) -> HttpRequest: ...
    @classmethod
    @abstractmethod
    def parse_ice(cls, response: HttpResponse) -> tuple[IceServer, ...]: ...
    @classmethod
    @abstractmethod
    def parse_ice_request(cls, request: HttpRequest) -> str | None:
        """Return the token, or ``None`` when there is none."""

    @classmethod
    @abstractmethod
    def ice_response(cls, servers: tuple[IceServer, ...]) -> HttpResponse: ...

    @classmethod
    @abstractmethod
    def offer_request(cls, base_url: str, offer: Offer) -> HttpRequest: ...
    @classmethod
    @abstractmethod
    def parse_answer(cls, response: HttpResponse) -> Answer: ...
    @classmethod
    @abstractmethod
    def parse_offer(cls, request: HttpRequest) -> Offer:
        """Raises RequestRefused: a field is missing or invalid."""

    @classmethod
    @abstractmethod
    def answer_response(cls, answer: Answer) -> HttpResponse: ...

    @classmethod
    @abstractmethod
    def refusal_response(cls, refused: RequestRefused, route: str) -> HttpResponse:
        """The vendor's status and body for a refusal on ``route`` (a key of ``profile.paths``)."""


DEEPEST = 64
"""Levels of nesting that a message may have: what decodes must also be writable, and walkable, without care."""


def load_json(data: str | bytes) -> Any:
    """Parse JSON as RFC 8259 has it, not as Python's reader stretches it.

    Raises:
        ValueError: no JSON; NaN or Infinity; a number beyond a double; nested deeper than ``DEEPEST``.
        RecursionError: nested so deep that not even that could be found out.
    """
    found = json.loads(data, parse_constant=_finite, parse_float=_finite)
    level = [found]
    for _ in range(DEEPEST):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return found
    raise ValueError(f"nested deeper than {DEEPEST} levels")


def load_object(message: Message) -> dict[str, Any]:
    """Parse one JSON object: ``load_json``, and ``TypeError`` for JSON that is no object."""
    found = load_json(message)
    if not isinstance(found, dict):
        raise TypeError("expected a JSON object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no JSON number")
    return number
