"""Events and commands: facts that cannot change and that can be written down."""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any

import pytest

from rtcpeer import commands, events
from rtcpeer.commands import Command, UpdateSession
from rtcpeer.events import Event, SessionStarted, TranscriptCompleted
from rtcpeer.said import Said

SAMPLES: dict[str, Any] = {"float": 1.5, "float | None": None, "int": 3, "Mapping[str, Any]": {"a": ({"b": [1]},)}}
KINDS = [
    kind
    for module in (events, commands)
    for kind in vars(module).values()
    if inspect.isclass(kind) and issubclass(kind, Said) and kind not in (Said, Event, Command)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_and_command_can_be_written_as_one_line_of_json(kind: type[Said]) -> None:
    said = kind(**{field.name: SAMPLES.get(str(field.type), "text") for field in dataclasses.fields(kind)})

    written = json.loads(json.dumps(said.to_dict(), allow_nan=False))

    assert written.pop("type") == kind.__name__
    assert list(written) == [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_or_command_cannot_be_changed(kind: type[Said]) -> None:
    said = kind(**{field.name: "text" for field in dataclasses.fields(kind)})
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(said, field.name, "other")


def test_a_name_belongs_to_one_event_or_command_only() -> None:
    assert len({kind.__name__ for kind in KINDS}) == len(KINDS)


def test_nested_details_are_written_as_they_are() -> None:
    assert SessionStarted("s", {"modalities": ("audio",), "x": {"y": None}}).to_dict() == {
        "type": "SessionStarted",
        "id": "s",
        "details": {"modalities": ["audio"], "x": {"y": None}},
    }
    assert UpdateSession(voice="Emma").to_dict()["modalities"] is None


def test_events_with_the_same_content_are_equal() -> None:
    assert TranscriptCompleted("user", "Hi", "Hi") == TranscriptCompleted("user", "Hi", "Hi")
    assert TranscriptCompleted("user", "Hi", "Hi") != TranscriptCompleted("assistant", "Hi", "Hi")
