"""The call folder when its disk is no good; what is in it otherwise is seen in calls."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from rtcpeer import Session, SpeechStarted
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
