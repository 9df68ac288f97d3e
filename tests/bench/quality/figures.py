"""Figures of several runs, and those of the outage."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import numpy as np

from .conditions import OUTAGE_BEGINS, OUTAGE_ENDS
from .measure import Measured


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of those that are known."""
    known = [value for value in values if value is not None and value == value]
    return round(statistics.median(known), 4) if known else None


def delay_95th(measured: Measured) -> float | None:
    return float(np.quantile([delay for _, delay in measured.delays], 0.95)) if measured.delays else None


def delay_growth(measured: Measured) -> float | None:
    """Return the delay 5 s after the moment at which the outage ends, less the one before it began, in seconds."""
    before = measured.delay_between(OUTAGE_BEGINS - 3, OUTAGE_BEGINS)
    after = measured.delay_between(OUTAGE_ENDS + 4, OUTAGE_ENDS + 6)
    return after - before if before is not None and after is not None else None
