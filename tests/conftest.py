"""For every test: hypothesis without a stopwatch; what calls on loopback begin with; and speech."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from calling import USER, Belongings, nothing_left_since, short_scenario, write_tone
from hypothesis import HealthCheck, settings

from rtcpeer.audio.sources import FileSource
from rtcpeer.formats import VOICE
from signaling import MockServer
from signaling.scenario import speech_file

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


@pytest.fixture(scope="session")
def speech() -> list[np.ndarray]:
    """Two speakers, one after the other, in frames of 20 ms at 48 kHz."""
    frames = []
    for name in ("user-2.flac", "assistant-2.flac"):
        source = FileSource(str(speech_file(name)))
        while (frame := source.read(VOICE.frame_samples)) is not None and len(frame) == VOICE.frame_samples:
            frames.append(frame)
        source.close()
    return frames
