"""What a process complains about: errors in the log, exceptions that nobody saw, warnings by their message."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from typing import Any


class Complaints(logging.Handler):
    """Keeps every record from ERROR on, and how often each warning came. Add it to the root logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: dict[str, int] = Counter()
        """By logger and message, before its arguments are put in."""
        # A hundred are more than anybody reads; the rest is counted.
        self._errors: list[str] = []
        self._more = 0
        self._formatter = logging.Formatter()
        logging.captureWarnings(True)  # "never awaited" and "unclosed" are warnings of Python's
        self._filters = warnings.filters[:]
        warnings.simplefilter("default")
        self._unraisable, sys.unraisablehook = sys.unraisablehook, self._on_unraisable

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR and record.name != "py.warnings":
            self.warnings[f"{record.name}: {record.msg}"] += 1
            return
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self._formatter.formatException(record.exc_info)
        self.note(text)

    def note(self, text: str) -> None:
        if len(self._errors) < 100:
            self._errors.append(text)
        else:
            self._more += 1

    def take(self) -> list[str]:
        """Return what there is to complain about since the last time."""
        found, self._errors = self._errors, []
        if self._more:
            found.append(f"and {self._more} more")
            self._more = 0
        return found

    def close(self) -> None:
        sys.unraisablehook = self._unraisable
        warnings.filters[:] = self._filters
        logging.captureWarnings(False)
        super().close()

    def _on_unraisable(self, unraisable: Any) -> None:
        self.note(f"unraisable: {unraisable.err_msg or ''} {unraisable.object!r}: {unraisable.exc_value!r}")
