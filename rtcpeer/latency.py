"""Turn-taking, measured on the audio timeline.

What counts is what was said and what was heard, not when a message came: from the last voiced sample we sent to the
first audible sample of the agent at playout. The trailing silence of a file does not count.
"""

from __future__ import annotations


class TurnMeter:
    """Pairs the end of our speech with the start of theirs. Times are seconds since ``connect()``."""

    def __init__(self) -> None:
        self._spoke_until: float | None = None

    def spoke(self, until: float) -> None:
        """We sent voiced audio; it ends at ``until``."""
        self._spoke_until = until

    def heard(self, since: float) -> float | None:
        """The agent became audible at ``since``: return the turnaround in seconds.

        ``None``: we have said nothing since the last answer, or are still speaking (that is barge-in, not an answer).
        """
        if self._spoke_until is None or since < self._spoke_until:
            return None
        turnaround = since - self._spoke_until
        self._spoke_until = None
        return turnaround
