"""What one side says, the other hears: for every protocol, both sides, every type it speaks."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parrot import Parrot

from rtcpeer.commands import Command, EndUtterance, Interrupt, Ping, Stop, UpdateSession
from rtcpeer.errors import LocalProtocolError, Unsupported
from rtcpeer.events import (
    Closed,
    ConversationStarted,
    ErrorReported,
    Event,
    Interrupted,
    Pong,
    ResponseCompleted,
    SessionStarted,
    TranscriptCompleted,
    TranscriptUpdated,
)
from rtcpeer.protocols import PROTOCOLS as REGISTERED
from rtcpeer.protocols.base import AudioChunk, Side
from rtcpeer.said import Said

PROTOCOLS = {**REGISTERED, "parrot": Parrot}

WORD = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
# Text that a protocol's mark-up does not touch: `text` and `raw` are then the same, as far as the wire can carry it.
SENTENCE = st.lists(WORD, max_size=6).map(" ".join)
VALUE = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    VALUE | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=8,
)
SETTING = WORD.filter(lambda name: name not in ("id", "object"))

STRATEGIES: dict[type[Said], st.SearchStrategy[Any]] = {
    SessionStarted: st.builds(
        SessionStarted,
        WORD,
        st.dictionaries(WORD.filter(lambda name: name not in ("id", "object")), JSON, max_size=4),
    ),
    ConversationStarted: st.builds(ConversationStarted, WORD),
    TranscriptCompleted: SENTENCE.map(lambda text: TranscriptCompleted("user", text, text)),
    ResponseCompleted: SENTENCE.map(lambda text: ResponseCompleted(text, text)),
    TranscriptUpdated: SENTENCE.map(lambda text: TranscriptUpdated("user", text)),
    ErrorReported: SENTENCE.map(ErrorReported),
    **{kind: st.just(kind()) for kind in (Interrupt, EndUtterance, Ping, Pong, Stop)},
    UpdateSession: st.builds(
        UpdateSession,
        model=st.none() | WORD,
        voice=st.none() | WORD.map(lambda name: f"voice {name}"),
        temperature=st.none() | st.floats(0, 1),
        instructions=st.none() | st.text(max_size=40),
        modalities=st.sampled_from([(), ("audio",), ("video",), ("audio", "video")]),
    ),
}

# What a wire carries less of than others.
CARRIED: dict[str, dict[type[Said], st.SearchStrategy[Any]]] = {
    "orga-ws": {
        Interrupted: st.just(Interrupted(0.0, "speech-started")),
    },
    "orgo": {
        SessionStarted: st.just(SessionStarted("", {"sample_rate": 24_000, "channels": 1})),
    },
    "orbitali": {
        SessionStarted: st.builds(SessionStarted, WORD),
        Interrupted: st.just(Interrupted(0.0, "clear")),
    },
    "soca": {
        SessionStarted: st.builds(SessionStarted, WORD),
        Interrupted: st.just(Interrupted(0.0, "content_partial")),
        # An empty one is a TranscriptUpdated: nothing was understood.
        TranscriptCompleted: SENTENCE.filter(bool).map(lambda text: TranscriptCompleted("user", text, text)),
    },
    "parrot": {
        SessionStarted: st.builds(SessionStarted, WORD),
        Interrupted: st.just(Interrupted(0.0, "hushed")),
    },
}


def strategy(protocol: Any, side: Side, kind: type[Said]) -> st.SearchStrategy[Any]:
    if kind is AudioChunk:
        wire = protocol(side).sends
        frame = st.binary(min_size=wire.format.frame_bytes, max_size=wire.format.frame_bytes)
        return st.builds(AudioChunk, frame, st.just(wire.format), st.just(wire.codec))
    return {**STRATEGIES, **CARRIED.get(protocol.profile.name, {})}[kind]


SPOKEN = [
    pytest.param(protocol, side, kind, id=f"{name}-{side.value}-{kind.__name__}")
    for name, protocol in PROTOCOLS.items()
    for side, kinds in protocol.speaks.items()
    for kind in sorted(kinds, key=lambda kind: kind.__name__)
]


@pytest.mark.parametrize(("protocol", "side", "kind"), SPOKEN)
@given(data=st.data())
def test_what_is_said_is_heard(protocol: Any, side: Side, kind: type[Said], data: st.DataObject) -> None:
    said = data.draw(strategy(protocol, side, kind))
    sender, receiver = protocol(side), protocol(side.other)

    heard = [found for message in sender.send(said) for found in receiver.receive(message)]

    assert said in heard


@pytest.mark.parametrize(("protocol", "side", "kind"), SPOKEN)
@given(data=st.data())
def test_what_is_heard_can_be_said_again_in_the_same_words(
    protocol: Any, side: Side, kind: type[Said], data: st.DataObject
) -> None:
    messages = protocol(side).send(data.draw(strategy(protocol, side, kind)))
    receiver = protocol(side.other)
    heard = [found for message in messages for found in receiver.receive(message)]

    assert messages == protocol(side).send(next(found for found in heard if type(found) is kind))


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("side", Side)
def test_a_side_says_only_what_it_speaks(protocol: Any, side: Side) -> None:
    foreign = protocol.speaks[side.other] - protocol.speaks[side] | {Closed}
    for kind in foreign:
        # The check comes before any field is looked at, so the fields may hold anything.
        said = kind(**{field.name: None for field in fields(kind)})
        expected = Unsupported if isinstance(said, Command) else LocalProtocolError
        with pytest.raises(expected, match=kind.__name__):
            protocol(side).send(said)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_other_side_understands_every_opening(protocol: Any) -> None:
    for side in Side:
        receiver = protocol(side.other)
        for message in protocol(side, protocol.configure({}) if side is Side.CLIENT else None).opening():
            assert all(type(found) in protocol.speaks[side] for found in receiver.receive(message))


def test_every_spoken_type_is_an_event_or_a_command_with_a_strategy() -> None:
    for protocol in PROTOCOLS.values():
        for kinds in protocol.speaks.values():
            assert kinds <= STRATEGIES.keys() | CARRIED.get(protocol.profile.name, {}).keys() | {AudioChunk}
            assert all(issubclass(kind, (Event, Command, AudioChunk)) for kind in kinds)
