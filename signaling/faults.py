"""What goes wrong on purpose: the faults as data, and the pure half of each.

A fault is named, not programmed: ``rtcpeer mock --fault calls-422``. What it does to a request, an SDP or a message
is decided here without I/O; the server only asks. Faults may be changed while the mock runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from rtcpeer.errors import ConfigurationError
from rtcpeer.events import ErrorReported
from rtcpeer.protocols.base import AudioChunk, Message, Side, VoiceProtocol
from rtcpeer.protocols.http import HttpResponse, Refusal, RequestRefused, SocketClosing
from rtcpeer.protocols.websocket import WebSocketProtocol
from rtcpeer.said import Said

Strikes = Literal["token", "ice", "call", "answer", "channel", "session", "agent"]


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    description: str
    strikes: Strikes
    """The step of a call that goes wrong: a request, the SDP, the DataChannel, the call itself, the agent."""


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("reject-key", "no API key is good", "token"),
        Fault("expired-token", "tokens have expired when they are handed out", "token"),
        Fault("rate-limit", "every request is one too many: 429, Retry-After: 1", "token"),
        Fault("agent-missing", "there is no such agent", "token"),
        Fault("agent-inactive", "the agent is there, but not active", "token"),
        Fault("ice-html", "the ICE configuration is an HTML page, status 200", "ice"),
        Fault("spent-token", "every token was used for a call before", "call"),
        Fault("bad-token", "no credential opens a call, or a socket", "call"),
        Fault("close-1000", "a socket that is refused is closed with 1000, whatever the vendor's code is", "call"),
        Fault("no-close", "a socket that is refused is told so, and left open", "call"),
        Fault("calls-422", "the call is refused: a field is missing", "call"),
        Fault("calls-500", "the call breaks the server", "call"),
        Fault("calls-html", "the call is answered with an HTML page, status 200", "call"),
        Fault("calls-slow", "the call is never answered", "call"),
        Fault("stopped-computer", "the computer is not running: nobody can listen to it (Orgo)", "call"),
        Fault("capture-failed", "the computer's sound can't be had, or ends (Orgo)", "session"),
        Fault("bad-sdp", "the SDP answer is not one", "answer"),
        Fault("no-path", "nobody listens where the answer's candidates point", "answer"),
        Fault("malformed-events", "a message that is no JSON follows each message", "channel"),
        Fault("unknown-events", "a message of a type nobody knows follows each message", "channel"),
        Fault("huge-event", "a message of 10 MB follows the first message", "channel"),
        Fault("legacy-events", "messages have the envelope of 2025: event and message, no type", "channel"),
        Fault("close-channel", "the DataChannel is closed in mid-call", "session"),
        Fault("hang-up", "the mock hangs up in mid-call, with a goodbye", "session"),
        Fault("vanish", "the mock is gone in mid-call, without a goodbye", "session"),
        Fault("late-transcript", "what the user said arrives after the answer to it", "agent"),
        Fault("early-done", "a turn is marked done before it is heard", "agent"),
        Fault("late-done", "a turn is marked done once it was heard", "agent"),
    )
}

STRIKE_AFTER = 2.0
"""Seconds into a call at which a fault of the session strikes; set during a call, it strikes at once."""

HUGE = 10_000_000
"""Bytes of the huge message."""

_HTML = HttpResponse(
    200,
    {"content-type": "text/html; charset=utf-8"},
    b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n",
)
_NOWHERE = ("127.0.0.1", "9")  # loopback, and the discard port: nobody listens, nothing leaves the machine


def find_faults(names: Iterable[str]) -> frozenset[str]:
    """Check the names of faults.

    Raises:
        ConfigurationError: there is no such fault; the message lists those there are.
    """
    found = frozenset(names)
    for name in sorted(found):
        if name not in FAULTS:
            raise ConfigurationError(f"unknown fault {name!r}; there is {', '.join(FAULTS)}")
    return found


def http_fault(faults: frozenset[str], route: str) -> HttpResponse | None:
    """Return what a request on ``route`` is answered with instead of doing it, or ``None``.

    Raises:
        RequestRefused: the fault is a refusal; the codec knows how its vendor words it.
    """
    if "rate-limit" in faults:
        raise RequestRefused(Refusal.RATE_LIMITED, "Rate limit exceeded; try again later")
    match route:
        case "token" | "session" if "reject-key" in faults:
            raise RequestRefused(Refusal.BAD_API_KEY, "Incorrect or inactive API key provided.")
        case "session" if "agent-missing" in faults:
            raise RequestRefused(Refusal.NOT_FOUND, "Agent not found")
        case "session" if "agent-inactive" in faults:
            raise RequestRefused(Refusal.UNAVAILABLE, "Agent is not active")
        case "ice" if "ice-html" in faults:
            return _HTML
        case "call" if "calls-html" in faults:
            return _HTML
        case "call" if "calls-500" in faults:
            raise RequestRefused(Refusal.INTERNAL, "Internal server error")
        case "call" if "calls-422" in faults:
            raise RequestRefused(Refusal.MISSING_FIELD, "Field required", field=("body", "params"))
        case "call" if "spent-token" in faults:
            raise RequestRefused(Refusal.SPENT_TOKEN, "The ephemeral token was already used for a session")
    return None


def credential_fault(faults: frozenset[str]) -> None:
    """Raises RequestRefused: whatever the credential is, it is not good."""
    if "bad-token" in faults:
        raise RequestRefused(Refusal.BAD_TOKEN, "Invalid ephemeral token")


def closing_fault(
    faults: frozenset[str], protocol: type[WebSocketProtocol], closing: SocketClosing | None
) -> SocketClosing | None:
    """Return how a refused socket is closed; the words are said all the same."""
    if closing is None or not faults & {"close-1000", "no-close"}:
        return closing
    messages = closing.messages
    if not messages and ErrorReported in protocol.speaks[Side.SERVER]:
        # Where the vendor's close code says it all, there has to be something else to be told by.
        said = protocol(Side.SERVER).send(ErrorReported(closing.reason))
        messages = tuple(message for message in said if isinstance(message, str))
    return SocketClosing(None if "no-close" in faults else 1000, "", messages)


def offer_fault(faults: frozenset[str], sdp: str) -> str:
    """Return the offer as the mock's own WebRTC stack gets to see it."""
    if "no-path" in faults:
        # Both directions: our checks from a working address would show the caller the way.
        sdp = _lose_candidates(sdp)
    if "huge-event" in faults:
        # RFC 8841, 6.1: zero is "any size", so that our own stack lets the message go.
        sdp = re.sub(r"(?m)^a=max-message-size:\d+", "a=max-message-size:0", sdp)
    return sdp


def answer_fault(faults: frozenset[str], sdp: str) -> str:
    """Return the answer as the caller gets to see it."""
    if "bad-sdp" in faults:
        return "v=0\r\nthis is no session description\r\n"
    return _lose_candidates(sdp) if "no-path" in faults else sdp


def _lose_candidates(sdp: str) -> str:
    # RFC 8839, 5.1: foundation, component, transport, priority, then address and port.
    address, port = _NOWHERE
    return re.sub(
        r"(?m)^(a=candidate:\S+ \d+ \S+ \d+) \S+ \d+(.*)$",
        rf"\g<1> {address} {port}\g<2>",
        sdp,
    )


def garbled(messages: Iterable[Message], faults: frozenset[str], *, first: bool) -> Iterator[Message]:
    """Yield what leaves the DataChannel in place of some messages; ``first``: nothing was said before them."""
    for message in messages:
        yield message
        if "malformed-events" in faults:
            yield '{"type": "response.output_item.done", "text": '
        if "unknown-events" in faults:
            yield json.dumps({"type": "mock.weather.changed", "temperature": 21})
        if "huge-event" in faults and first:
            yield json.dumps({"type": "response.output_item.done", "text": "x" * HUGE})
            first = False


class _Garbled(VoiceProtocol):
    """Mixed in before a protocol: its messages pass through ``garbled`` on their way out."""

    active: Callable[[], frozenset[str]]
    said_something = False

    @property
    def legacy_events(self) -> bool:
        """Orga's codec knows the old envelope itself; the others have none."""
        return "legacy-events" in self.active()

    def send(self, said: Said) -> list[Message]:
        messages = super().send(said)
        if isinstance(said, AudioChunk):
            return messages
        first = bool(messages) and not self.said_something
        self.said_something = self.said_something or first
        return list(garbled(messages, self.active(), first=first))


class _GarbledSocket(_Garbled, WebSocketProtocol):
    """The same, and how its refusals close the socket passes through ``closing_fault``."""

    @classmethod
    def refusal_closing(cls, refused: RequestRefused) -> SocketClosing | None:
        return closing_fault(cls.active(), cls, super().refusal_closing(refused))


def garble(protocol: type[VoiceProtocol], active: Callable[[], frozenset[str]]) -> type[VoiceProtocol]:
    """Return the protocol with a tongue that obeys the faults ``active`` at the moment something is said."""
    mixed = _GarbledSocket if issubclass(protocol, WebSocketProtocol) else _Garbled
    return type(f"Garbled{protocol.__name__}", (mixed, protocol), {"active": staticmethod(active)})
