"""When to try again after a connection broke, and for how long. Pure: chance is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import ConfigurationError, check_timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff: each pause is longer than the one before, and a little random, so that not all callers of
    a server that was restarted come back at once.

    Raises:
        ConfigurationError: a value that makes no sense.
    """

    initial: float = 0.5
    """Seconds before the first attempt."""
    factor: float = 2.0
    longest: float = 10.0
    """Seconds between two attempts, at most."""
    jitter: float = 0.5
    """Share of each pause that is left to chance: 0.5 is anything from half of it to all."""
    attempts: int | None = None
    """``None``: as many as there is time for."""
    budget: float | None = 60.0
    """Seconds from the loss until we give up; ``None``: never."""

    def __post_init__(self) -> None:
        if not (self.initial >= 0 and self.longest >= 0 and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ConfigurationError(
                f"{self}: give no negative pauses, a factor of 1 or more and a jitter from 0 to 1"
            )
        check_timeout("budget", self.budget)
        if self.initial == 0 and self.attempts is None:
            raise ConfigurationError("backoff: without a pause there has to be a number of attempts")

    def delays(self, rng: Callable[[], float]) -> Iterator[float]:
        """Yield the pause before each attempt, in seconds, as long as all pauses together stay within the budget.

        Args:
            rng: Returns a number in [0, 1), such as ``random.random``.
        """
        pause, total, attempt = min(self.initial, self.longest), 0.0, 0
        while self.attempts is None or attempt < self.attempts:
            delay = pause * (1 - self.jitter * rng())
            total += delay
            if self.budget is not None and total > self.budget:
                return
            yield delay
            attempt += 1
            pause = min(self.longest, pause * self.factor)
