"""What a server turned down: counted by kind, and logged the first time of each, so that a flood floods no log."""

from __future__ import annotations

import logging
from collections import Counter

_KINDS = 100
"""A name that nobody foresaw must not make this grow: what comes after a hundred is counted as ``other``."""


class Refusals:
    """How often a server said no, by the reason."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._counts: Counter[str] = Counter()

    def count(self, kind: str, *, level: int = logging.WARNING) -> None:
        """Count one; ``kind`` names the limit or the rule, never what was sent."""
        if kind not in self._counts and len(self._counts) >= _KINDS:
            kind = "other"
        self._counts[kind] += 1
        if self._counts[kind] == 1:
            self._logger.log(level, "refused: kind=%s (said once; the others are only counted)", kind)

    def to_dict(self) -> dict[str, int]:
        return dict(sorted(self._counts.items()))
