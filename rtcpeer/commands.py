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
