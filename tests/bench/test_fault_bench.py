"""The reliability benchmark's instruments show what was put into them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "interop"))

from faults.caller import Caller, told_since
from faults.endings import lines, playable
from faults.report import BEGIN, END, write_markdown
from faults.rows import Cell, Outcome, Row
from faults.servers import KEY, dead_stun, mock

MACHINE = {"processor": "x", "cpus": 2, "python": "3", "aiortc": "1", "@roamhq/wrtc": "0", "load_before": 0}


def written(row: Row, document: Path) -> str:
    document.write_text(f"head\n{BEGIN}\nold\n{END}\ntail\n")
    results = {"rows": [row.to_dict()], "machine": MACHINE, "date": "d", "command": "c", "seconds": 1, "left_out": []}
    write_markdown(results, document)
    return document.read_text()


def test_the_table_says_the_median_and_how_far_the_others_were_from_it(tmp_path: Path):
    row = Row("fault", "what", 0.5, {"rtcpeer": Cell(10, [Outcome(each) for each in (0.3, 0.1, 0.2)])})

    text = written(row, tmp_path / "table.md")

    assert "| fault | what | ≤ 0.5 | 0.20 (0.10–0.30) | nothing |" in text
    assert text.startswith("head\n")
    assert text.endswith("tail\n")
    assert "old" not in text


def test_a_goal_that_was_not_reached_is_said_to_be_missed(tmp_path: Path):
    late = Row("fault", "what", 0.5, {"rtcpeer": Cell(10, [Outcome(0.6)])})
    never = Row("fault", "what", 0.5, {"rtcpeer": Cell(10, [Outcome(None)])})

    assert "| 0.60, goal missed |" in written(late, tmp_path / "table.md")
    assert "| > 10, goal missed |" in written(never, tmp_path / "table.md")


def test_what_never_came_is_no_small_number():
    assert Cell(10, [Outcome(0.1), Outcome(None), Outcome(None)]).seconds is None
    assert Cell(10, [Outcome(0.1), Outcome(0.3), Outcome(None)]).seconds == pytest.approx(0.3)
    assert "∞" not in Cell(10, [Outcome(0.1)]).sees


def test_a_call_that_ended_instead_is_not_one_that_was_still_waited_for(tmp_path: Path):
    over = Outcome(None, told={"connectionState closed": 29.0, "the track ended": 29.0})
    row = Row("fault", "what", None, {"rtcpeer": Cell(45, [Outcome(None)]), "aiortc": Cell(45, [over, over])})

    text = written(row, tmp_path / "table.md")

    assert (
        "| – | > 45 | nothing | never: it is over | connectionState closed at 29.0 s, the track ended at 29.0 s |"
        in text
    )


def test_what_users_saw_is_what_most_of_them_saw_in_its_order():
    cell = Cell(
        45,
        [
            Outcome(9.0, "IceError: x", told={"Reconnecting": 9.0, "Degraded": 3.0}),
            Outcome(9.2, "IceError: x", told={"Reconnecting": 9.2, "Degraded": 3.2}),
            Outcome(9.4, "IceError: y", told={"Reconnecting": 9.4, "Surprise": 1.0}),
        ],
    )

    assert "Degraded at 3.1 s, Reconnecting at 9.2 s, IceError: x" == cell.sees


def test_only_what_was_said_after_the_fault_is_told():
    said = [
        {"type": "told", "what": "Degraded", "t": 1.0},
        {"type": "told", "what": "Reconnecting", "t": 12.0},
        {"type": "told", "what": "SpeechStopped", "t": 12.0},
        {"type": "told", "what": "Reconnecting", "t": 15.0},
        {"type": "ended", "error": "ConnectionLost: gone", "t": 20.0},
        {"type": "ended", "error": "", "t": 21.0},
    ]

    assert {"Reconnecting": 2.0, "ConnectionLost: gone": 10.0} == told_since(said, 10.0)


def test_a_recording_that_was_cut_is_read_as_far_as_it_goes(tmp_path: Path):
    path = tmp_path / "audio.ogg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        for number in range(500):
            frame = av.AudioFrame.from_ndarray(np.full((1, 960), number, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48_000, number * 960
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = playable(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert whole == pytest.approx(10.0, abs=0.1)
    assert 2.0 < playable(path) < 8.0
    assert playable(tmp_path / "never-written.ogg") == 0.0


def test_half_a_line_is_no_event(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"t": 1}\n{"t": 2}\n{"t": ')

    assert [{"t": 1}, {"t": 2}] == lines(path)


async def test_a_caller_tells_when_it_began_and_when_it_heard_the_mock():
    before = time.monotonic()
    with dead_stun() as url:
        async with mock("--ice-server", url) as server, Caller.running("rtcpeer") as caller:
            await caller.call(url=server.url, key=KEY)
            found = await caller.first_sound(20)
            after = time.monotonic()
            await caller.hang_up()

    assert found is not None
    took, phases = found
    assert 0 < took < after - before
    assert {"token", "ice-config", "gathering", "signaling", "transport", "channel", "sound"} == set(phases)
    assert took == pytest.approx(sum(phases.values()), abs=0.01)
