"""When words cut the agent short: the rule that Soca documents, as a pure function.

Source: Soca docs (docs.soca.ai), api-reference/voice/voice-stream, "Gate Conditions": all must hold. What that page
leaves open is chosen here: characters are counted without the fillers and the white space around, words are parted by
white space, limits are included, case and punctuation don't matter.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

FILLERS = frozenset({"uh", "um", "hmm", "eh", "ah", "ya", "yah"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeInRule:
    min_partial_chars: int = 10
    min_partial_words: int = 2
    min_confidence: float = 0.30
    speech_start_window: float | None = 1.5
    """Seconds after the user's voice began; ``None``: at any time, as one version of the page has it."""
    barge_cooldown: float = 0.8
    """Seconds between two interruptions."""

    def interrupts(
        self,
        partial: str,
        *,
        agent_speaking: bool,
        confidence: float | None,
        since_speech: float,
        since_barge: float | None,
    ) -> bool:
        """Decide.

        Args:
            partial: What the user is taken to have said so far.
            confidence: Of the recogniser, 0 to 1; ``None``: it has no doubt.
            since_speech: Seconds since the user's voice began.
            since_barge: Seconds since the last interruption; ``None``: there was none.
        """
        words = [word for word in partial.split() if word.strip(string.punctuation).lower() not in FILLERS]
        return (
            agent_speaking
            and len(" ".join(words)) >= self.min_partial_chars
            and len(words) >= self.min_partial_words
            and (confidence is None or confidence >= self.min_confidence)
            and (self.speech_start_window is None or since_speech <= self.speech_start_window)
            and (since_barge is None or since_barge >= self.barge_cooldown)
        )
