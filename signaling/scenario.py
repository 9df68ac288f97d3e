"""What the other end says, what it pretends to have heard, and when: data, no behaviour.

What the mock "transcribes" is a text of the scenario, not recognised speech; the call's record says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from rtcpeer.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Line:
    """Something said."""

    say: str
    """A speech file of this package's assets."""
    text: str
    """The words of it, as the speaker writes them: an agent may put emotion tags between them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The user was heard, and is answered."""

    heard: str
    """What the user is said to have said."""
    answer: Line
    confidence: float | None = None
    """How sure the recogniser pretends to be, 0 to 1; ``None``: it does not say."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """How the agent behaves for the length of a call; it never hangs up."""

    name: str
    description: str
    kind: Literal["script", "echo", "tone"] = "script"
    """``script`` takes ``turns``, ``echo`` says back what it hears as it hears it, ``tone`` sounds 440 Hz."""
    greeting: Line | None = None
    """Said as soon as the call is up."""
    turns: tuple[Turn, ...] = ()
    """Taken in order, and again from the first."""
    done_order: Literal["early", "late"] = "late"
    """A turn is marked done when it is generated, before it is heard; or when it was played."""
    think_time: float = 0.3
    """Seconds between hearing the user out and answering."""


def speech_file(name: str) -> Path:
    """Return where an asset of this package lies.

    Raises:
        ConfigurationError: there is no such asset.
    """
    # A path on disk, always: what needs PyAV cannot run from inside an archive.
    found = Path(str(resources.files("signaling"))) / "assets" / name
    if not found.is_file():
        raise ConfigurationError(f"no speech file {name!r} among the mock's assets")
    return found


def _lines(speaker: str) -> tuple[Line, ...]:
    speech: dict[str, dict[str, str]] = json.loads(speech_file("speech.json").read_text("utf-8"))
    return tuple(Line(name, entry["text"]) for name, entry in speech.items() if entry["speaker"] == speaker)


def user_lines() -> tuple[Line, ...]:
    """Return what a user can say to the built-in conversation: the lines it takes for heard, in its order."""
    return _lines("user")


def _conversation() -> Scenario:
    pairs = zip(user_lines(), _lines("assistant"), strict=True)
    return Scenario(
        "conversation",
        "answers every turn it hears, with recorded speech",
        turns=tuple(Turn(heard.text, answer) for heard, answer in pairs),
    )


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        _conversation(),
        Scenario("echo", "says back what it hears, as it hears it", kind="echo"),
        Scenario("tone", "sounds a steady 440 Hz", kind="tone"),
    )
}


def find_scenario(scenario: str | Scenario) -> Scenario:
    """Return the built-in of that name; a scenario is its own answer.

    Raises:
        ConfigurationError: there is no such scenario; the message lists those there are.
    """
    if isinstance(scenario, Scenario):
        return scenario
    try:
        return SCENARIOS[scenario]
    except KeyError:
        raise ConfigurationError(f"unknown scenario {scenario!r}; there is {', '.join(SCENARIOS)}") from None
