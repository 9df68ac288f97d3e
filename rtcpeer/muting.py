"""An interrupted agent that does not know it yet is not heard until it has stopped. Pure: times are in seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNTIL_QUIET = 0.4
"""Seconds of silence after which an interrupted agent counts as having stopped."""
_AUDIBLE = 300  # −40 dBFS


class Muting:
    """Begin it when the agent is interrupted; then give it every frame while it is ``active``."""

    def __init__(self) -> None:
        self._quiet_since: float | None = None

    @property
    def active(self) -> bool:
        return self._quiet_since is not None

    def begin(self, t: float) -> None:
        self._quiet_since = t

    def silence(self, heard: NDArray[np.int16], t: float) -> NDArray[np.int16]:
        """Return silence in place of what came at ``t``; with a quiet that has lasted, it is over."""
        if int(np.abs(heard).max()) > _AUDIBLE:
            self._quiet_since = t
        elif self._quiet_since is not None and t - self._quiet_since >= UNTIL_QUIET:
            self._quiet_since = None
        return np.zeros_like(heard)
