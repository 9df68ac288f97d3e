"""``rtcpeer demo`` and ``rtcpeer protocols`` as a new user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from rtcpeer.protocols import PROTOCOLS
from rtcpeer.protocols.base import AudioChunk
from signaling.scenario import SCENARIOS

DEADLINE = 250
"""Seconds; the demo's speech lasts about twenty."""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "rtcpeer", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200"},
        check=False,
    )


@pytest.mark.parametrize("protocol", ["orga", "orga-ws", "orbitali", "soca"])
def test_demo_makes_a_real_call_prints_its_transcript_and_leaves_both_voices(tmp_path: Path, protocol: str):
    out = tmp_path / "demo"
    done = run("demo", "--protocol", protocol, "--out", out, "--json")

    assert 0 == done.returncode, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        json.loads(line) for line in (out / "events.jsonl").read_text("utf-8").splitlines()
    ]
    for turn in SCENARIOS["conversation"].turns:
        assert f"you    “{turn.heard}”" in done.stderr
        assert f"agent  “{turn.answer.text}”" in done.stderr
    assert ["audio.ogg", "call.json", "events.jsonl", "stats.jsonl"] == sorted(path.name for path in out.iterdir())
    with av.open(str(out / "audio.ogg")) as container:
        audio = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert 2 == audio.shape[0]
    assert (20 * np.log10(np.sqrt((audio**2).mean(axis=1))) > -45).all()
    # They take turns: where one speaks, the other is silent.
    seconds = audio[:, : audio.shape[1] // 4800 * 4800].reshape(2, -1, 4800)
    ours, theirs = np.sqrt((seconds**2).mean(axis=2)) > 0.01
    assert ours.sum() > 20
    assert theirs.sum() > 20
    assert (ours & theirs).sum() < 5


def test_demo_does_not_clear_a_folder_that_is_not_its_own(tmp_path: Path):
    (tmp_path / "call.json").write_text("{}")
    (tmp_path / "thesis.txt").write_text("years of work")
    done = run("demo", "--out", tmp_path)

    assert 2 == done.returncode
    assert 1 == len(done.stderr.splitlines())
    assert "thesis.txt, which is no demo's" in done.stderr
    assert "years of work" == (tmp_path / "thesis.txt").read_text()


def test_demo_into_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    done = run("demo", "--out", tmp_path / "file")

    assert 2 == done.returncode
    assert done.stderr.splitlines()[-1].startswith("rtcpeer: configuration: can't write to")
    assert "Traceback" not in done.stderr


def test_demo_may_be_run_again_and_be_interrupted(tmp_path: Path):
    (tmp_path / "call.json").write_text("an earlier demo's")
    (tmp_path / "audio.ogg").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "rtcpeer", "demo", "--out", tmp_path, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == "SpeechStarted":
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)

    assert 130 == process.returncode
    assert "Traceback" not in err
    last = json.loads((tmp_path / "events.jsonl").read_text("utf-8").splitlines()[-1])
    assert ("Closed", "local") == (last["type"], last["reason"])
    assert "local" == json.loads((tmp_path / "call.json").read_text("utf-8"))["ended"]["reason"]


def test_protocols_lists_every_protocol_and_what_either_side_may_say():
    done = run("protocols")

    assert (0, "") == (done.returncode, done.stderr)
    for name, protocol in PROTOCOLS.items():
        assert name in done.stdout
        for said in protocol.speaks.values():
            for kind in said - {AudioChunk}:  # a row of its own, with codec and rate
                assert kind.__name__ in done.stdout


def test_help_version_and_nonsense_have_the_exit_codes_of_the_trade():
    assert 0 == run("--help").returncode
    assert run("--version").stdout.startswith("rtcpeer ")
    assert 2 == run("jion").returncode
    assert 2 == run("join", "orga").returncode
