"""The call folder when its disk is no good; what is in it otherwise is seen in calls."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from rtcpeer import Session, SpeechStarted, call_folder
from rtcpeer.call_folder import CallFolder
from rtcpeer.protocols import Orga, Side


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
async def test_a_full_disk_is_a_warning_and_the_end_of_the_call_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("events.jsonl", "stats.jsonl"):
        (tmp_path / name).symlink_to("/dev/full")
    session = Session(Orga(Side.CLIENT), asyncio.get_running_loop().time())
    folder = CallFolder(tmp_path, session, {})
    session.report(SpeechStarted("user"))

    await session.close()

    assert {logging.WARNING} == {record.levelno for record in caplog.records if record.levelno > logging.INFO}
    assert folder._events.closed
    assert folder._stats.closed


async def test_events_beyond_the_limit_are_counted_and_the_end_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(call_folder, "EVENTS_LIMIT", 1000)
    session = Session(Orga(Side.CLIENT), asyncio.get_running_loop().time())
    CallFolder(tmp_path, session, {})
    for _ in range(1000):
        session.report(SpeechStarted("user"))
    await session.close()

    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    call = json.loads((tmp_path / "call.json").read_text("utf-8"))
    assert 1000 == len(lines) - 1 + call["events_left_out"]
    assert 1000 < (tmp_path / "events.jsonl").stat().st_size < 1300
    assert "Closed" == lines[-1]["type"]
    assert 1 == sum("further events are only counted" in message for message in caplog.messages)
