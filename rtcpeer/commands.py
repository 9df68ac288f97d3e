"""Every typed command of a voice session: what one side asks of the other."""

from __future__ import annotations

from dataclasses import dataclass

from .said import Said


@dataclass(frozen=True, slots=True)
class Command(Said):
    """Base class of every command."""


@dataclass(frozen=True, slots=True)
class UpdateSession(Command):
    """Change the agent while the call runs; ``None`` leaves a setting as it is."""

    model: str | None = None
    voice: str | None = None
    temperature: float | None = None
    instructions: str | None = None
    modalities: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Interrupt(Command):
    """Stop the agent's turn: the user has something to say."""


@dataclass(frozen=True, slots=True)
class EndUtterance(Command):
    """The user has said all: answer now, without waiting for a pause."""


@dataclass(frozen=True, slots=True)
class Ping(Command):
    """Say that you are there: a ``Pong`` is the answer."""


@dataclass(frozen=True, slots=True)
class Stop(Command):
    """End the session."""
