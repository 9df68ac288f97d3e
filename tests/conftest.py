"""For every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Hypothesis times each example; on a machine that others use too, that fails tests of code that is right.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
