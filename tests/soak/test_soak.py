"""The soak notices what it is there to notice; how long it soaks otherwise is `make soak`'s affair."""

from __future__ import annotations

import json
import random
import sys
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from chaos.recordings import faults_of
from chaos.run import Options, Soak
from chaos.schedule import STEADY, Act, PlannedCall, Round, plan_round
from chaos.verdicts import Circumstances, allowed_endings, leaks

from rtcpeer import Session
from signaling.faults import FAULTS

RATE = 48_000
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def plan(seed: int, number: int = 0, lanes: int = 10):
    return plan_round(seed, number, seconds=40.0, lanes=lanes, full_disk=True)


# The schedule


def test_the_same_seed_is_the_same_schedule():
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)
    assert plan(7) != plan(7, number=1)


def test_no_more_calls_at_once_than_there_are_lanes():
    for number in range(20):
        calls = plan(1, number, lanes=8).calls
        at_once = max(sum(c.at <= t < c.at + c.seconds for c in calls) for t in np.arange(0, 40, 0.5))
        assert at_once <= 8


def test_each_fault_comes_as_often_as_the_others():
    faults = Counter(t.what for n in range(len(FAULTS)) for t in plan(1, n).troubles if t.kind == "fault")

    assert set(FAULTS) == set(faults)
    assert {8} == set(faults.values())


def test_without_a_full_disk_the_same_happens_at_the_same_times():
    times = [
        [(call.at, call.seconds, call.ending, call.acts) for call in round_.calls]
        for round_ in (plan_round(7, 0, seconds=40.0, lanes=10, full_disk=full) for full in (True, False))
    ]
    assert times[0] == times[1]


def test_two_calls_a_round_are_recorded_to_the_full_disk():
    assert [2] * 10 == [sum(call.record == "full" for call in plan(1, n).calls) for n in range(10)]


# The verdicts


def test_a_call_that_met_with_nothing_ends_when_we_say_so_and_not_otherwise():
    assert {"local"} == allowed_endings(Circumstances(protocol="orga", ending="close"))


def test_no_call_gets_through_a_fault_that_refuses_it():
    met = Circumstances(
        protocol="orga",
        ending="close",
        throughout=frozenset({"reject-key"}),
        sometime=frozenset({"reject-key"}),
    )
    assert {"AuthError"} == allowed_endings(met)
    # One that began before it was on may have come through.
    met = Circumstances(protocol="orga", ending="close", sometime=frozenset({"reject-key"}))
    assert {"AuthError", "local"} == allowed_endings(met)


def samples(resident: float, malloced: float = 0.0, rounds: int = 20) -> list[dict[str, float]]:
    """Of rounds of thirty calls, of each of which so many bytes are left, in a noise of half a megabyte."""
    rng = random.Random(1)
    return [
        {
            "calls": calls,
            "rss": 9e7 + resident * calls + rng.uniform(-5e5, 5e5),
            "malloced": 1e7 + malloced * calls,
            "blocks": 3e5,
        }
        for calls in range(30, 30 * rounds, 30)
    ]


def test_memory_that_comes_and_goes_is_no_leak():
    assert [] == leaks("peer", samples(0.0, rounds=200))


def test_four_kilobytes_a_call_that_nobody_gave_back_are_a_leak():
    (found,) = leaks("peer", samples(4096.0, malloced=4096.0))
    assert found.startswith("peer: malloced grows by ")


def test_pages_that_are_kept_are_a_leak_only_when_they_go_on_and_on():
    assert [] == leaks("peer", samples(8192.0))
    (found,) = leaks("peer", samples(8192.0, rounds=200))
    assert found.startswith("peer: rss grows by ")


# The recordings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A call of two seconds, in the second of which theirs was heard."""
    pcm = np.zeros((2 * RATE, 2), np.int16)
    pcm[RATE:, 1] = 9000
    with wave.open(str(tmp_path / "audio.wav"), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(pcm.tobytes())
    call = {
        "audio": {"file": "audio.wav", "starts_at": 0.1},
        "received": None,
        "stats": {"clock": {"frames_skipped": 0}},
        "ended": {"t": 2.2, "reason": "local", "detail": ""},
    }
    (tmp_path / "call.json").write_text(json.dumps(call))
    events = [{"t": 0.1, "type": "SessionStarted"}, {"t": 2.2, "type": "Closed", "reason": "local", "detail": ""}]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (tmp_path / "stats.jsonl").write_text("")
    return tmp_path


def found_in(folder: Path, **different: object) -> list[str]:
    expected = {"folder": str(folder), "reason": "local", "frames": 100, "audible": [0, 50], "received": False}
    return [fault.removeprefix(f"{folder}: ") for fault in faults_of(expected | {"threshold": 400} | different)]


def test_a_whole_folder_is_whole(folder: Path):
    assert [] == found_in(folder)


def test_what_is_missing_in_a_folder_is_found(folder: Path):
    assert ["audio.wav lasts 2.00 s, 3.00 s were said and heard"] == found_in(folder, frames=150)
    assert ["audio.wav: ours: 0.00 s are audible, 1.00 s were"] == found_in(folder, audible=[50, 50])
    assert ["ended as local, and the caller saw lost"] == found_in(folder, reason="lost")
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"t": 2.3, "type": "Sp')
    assert ["ValueError: events.jsonl ends in mid-line"] == found_in(folder)


# The whole


def short_call(number: int, protocol: str, acts: tuple[Act, ...]) -> PlannedCall:
    received = protocol == "orga"
    return PlannedCall(number, 0.0, 0.8, protocol, STEADY, "close", acts, "wav", received, video=False, network="")


@needs_proc
async def test_a_session_that_somebody_keeps_is_found_and_nothing_else_is(tmp_path: Path):
    calls = (
        short_call(0, "orga", (Act(0.0, "tone"), Act(0.1, "stalled-reader"))),
        short_call(1, "orga-ws", (Act(0.1, "stalled-events"),)),
    )
    kept: list[Session] = []
    options = Options(
        seconds=0.1,
        seed=1,
        mocks=1,
        settle=0.5,
        folder=tmp_path,
        plan=lambda number: Round(calls, ()),
        also=kept.append,
    )
    results = await Soak(options).run()

    assert {"local": 2} == results.endings
    assert 2 * len(calls) == results.folders  # the mock's as well
    heads = [failure.splitlines()[0] for failure in results.failures]
    assert "round 0: peer: objects: rtcpeer.session.Session: 2, were 0" in heads
    # They hold their links and parts, which are found as well.
    assert [] == [head for head in heads if not head.startswith("round 0: peer: objects: ")]
