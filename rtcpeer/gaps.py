"""What a session remembers across the times in which it has no connection.

Pure: ``now`` is an argument, in seconds.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from .commands import UpdateSession
from .said import Said


class Gaps:
    """One session's: the settings that the next conversation is to be told again, and what was missed."""

    def __init__(self) -> None:
        self.settings: UpdateSession | None = None
        """All that was ever asked for with ``UpdateSession``, the latest of each: one command, no queue of them."""
        self.frames_not_sent = 0
        """20 ms frames of what was played that went by unsent."""
        self._count = 0
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def open(self) -> bool:
        """There is no connection right now."""
        return self._since is not None

    def begin(self, now: float) -> None:
        self._since = now

    def end(self, now: float) -> None:
        """There is a connection again, or one took over from another without a gap."""
        self.close(now)
        self._count += 1

    def close(self, now: float) -> None:
        """The session is over: a gap that goes on goes on no more."""
        self._seconds += now - self._since if self._since is not None else 0.0
        self._since = None

    def remember(self, said: Said) -> None:
        """Keep what a new conversation would have to be told again, if it is that."""
        if not isinstance(said, UpdateSession):
            return
        new = {field.name: value for field in fields(said) if (value := getattr(said, field.name)) is not None}
        self.settings = said if self.settings is None else replace(self.settings, **new)

    def to_dict(self, now: float) -> dict[str, Any]:
        """Return how often there was another connection, and seconds: without one, and of speech that went unsent."""
        going_on = now - self._since if self._since is not None else 0.0
        return {
            "count": self._count,
            "gaps": round(self._seconds + going_on, 4),
            "audio_not_sent": round(self.frames_not_sent * 0.02, 2),
        }
