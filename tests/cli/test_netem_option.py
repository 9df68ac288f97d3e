"""``--netem``: the same words for demo, join and mock, and the same answer to a typo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rtcpeer
from rtcpeer.cli import app


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["join", "orga", "http://127.0.0.1:1", "--api-key", "sk_test"],
        ["mock", "--port", "0"],
    ],
    ids=lambda command: command[0],
)
def test_a_typo_is_a_configuration_error_before_anything_happens(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(app, [*command, "--netem", "los=5%"])

    assert isinstance(result.exception, rtcpeer.ConfigurationError)
    assert "netem 'los=5%': no such part; did you mean loss? There is loss=5%" in str(result.exception)
    assert [] == list(tmp_path.iterdir())


def test_a_demo_over_a_bad_network_is_a_good_call_and_its_folder_says_what_network(tmp_path: Path):
    out = tmp_path / "demo"

    result = CliRunner().invoke(app, ["demo", "--out", str(out), "--netem", "loss=5%,delay=40ms,jitter=20ms"])

    assert result.exit_code == 0, result.output
    call = json.loads((out / "call.json").read_text("utf-8"))
    assert call["netem"] == "loss=5%,delay=40ms,jitter=20ms"
    stats = [json.loads(line) for line in (out / "stats.jsonl").read_text("utf-8").splitlines()][-1]
    for way in ("outgoing", "incoming"):
        assert 0 < stats["netem"][way]["packets_lost"] < 0.2 * stats["netem"][way]["packets_sent"]
    assert "network (loss=5%,delay=40ms,jitter=20ms): out" in result.output
