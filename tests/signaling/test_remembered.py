"""What the mock remembers of what a caller sent has a bound, whatever shape it has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rtcpeer.commands import UpdateSession
from signaling.calls import PARAMS_LIMIT, TEXT_LIMIT, _shortened, remembered


def test_what_callers_usually_give_is_remembered_as_it_is() -> None:
    params = {
        "voice": "coral",
        "temperature": 0.7,
        "modalities": ["audio", "video"],
        "instructions": "Be kind. " * 2000,
        "history": True,
        "mcp_server": {"id": "m", "headers": {"X-Key": None}},
    }

    assert params == remembered(params)


@pytest.mark.parametrize(
    "params",
    [
        {"instructions": "x" * 1_000_000},
        {f"name{n}": n for n in range(100_000)},
        {"x" * 900_000: 1},
        {"modalities": ["audio"] * 100_000},
        {"modalities": [[]] * 300_000},
        {"deep": {"a": [{"b": ["x" * 1000] * 1000}] * 1000}},
    ],
)
def test_a_megabyte_of_parameters_is_cut_and_marked(params: dict[str, Any]) -> None:
    kept = json.dumps(remembered(params), ensure_ascii=False)

    assert len(kept) < 8 * PARAMS_LIMIT
    assert "…" in kept


def test_an_update_with_a_list_of_any_length_is_remembered_short() -> None:
    kept = _shortened(UpdateSession(voice="v" * 9000, modalities=("audio",) * 100_000))

    assert TEXT_LIMIT > len(str(kept.to_dict())) - TEXT_LIMIT
    assert UpdateSession(modalities=("audio",)) == _shortened(UpdateSession(modalities=("audio",)))
