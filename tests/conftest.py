"""For every test: hypothesis without a stopwatch; and what calls on loopback begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from calling import USER, Belongings, nothing_left_since, short_scenario, write_tone
from hypothesis import HealthCheck, settings

from signaling import MockServer

# Hypothesis times each example; on a machine that others use too, that fails tests of code that is right.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """No task, thread or socket stays, however the call went."""
    before = Belongings.now()
    yield
    await nothing_left_since(before)


@pytest.fixture
async def mock(nothing_left: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MockServer]:
    """A mock that answers every turn at once, and leaves nothing."""
    monkeypatch.setattr("rtcpeer.turns.QUIET", 0.3)  # a tone has no pauses for breath
    async with MockServer(scenario=short_scenario(tmp_path)) as server:
        yield server


@pytest.fixture
async def http(nothing_left: None) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """A file with what the user says."""
    return write_tone(tmp_path / "user.wav", USER)
