"""For the commands, which run in processes of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from calling import short_scenario

from signaling import MockServer


@pytest.fixture
async def mock(tmp_path: Path) -> AsyncIterator[MockServer]:
    """Here nobody listens to turns, and threads that wait for processes may end late."""
    async with MockServer(scenario=short_scenario(tmp_path)) as server:
        yield server
