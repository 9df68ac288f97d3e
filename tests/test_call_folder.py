"""The call folder when its disk is no good; what is in it otherwise is seen in calls."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
from calling import until

import rtcpeer
from rtcpeer import ConversationStarted, Session, SessionStarted, SpeechStarted, call_folder
from rtcpeer.call_folder import CallFolder
from rtcpeer.protocols import Orga, Side
from signaling import MockServer


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


# Ids


@pytest.mark.parametrize(
    ("protocol", "params"),
    [("orga", {}), ("orga-ws", {}), ("orbitali", {"agent_id": "a"}), ("soca", {"agent_id": "a"})],
)
async def test_every_id_that_the_service_gave_is_there(protocol: str, params: dict[str, str], tmp_path: Path):
    async with (
        MockServer() as mock,
        rtcpeer.connect(
            protocol, mock.url(protocol), api_key=mock.api_key, params=params, record=tmp_path / "call"
        ) as session,
    ):
        if "orga" in protocol:
            await session.wait_for(SessionStarted, timeout=None)
    call = json.loads((tmp_path / "call" / "call.json").read_text("utf-8"))
    said = [entry.said for entry in session.events.entries()]

    given = [event.id for event in said if isinstance(event, SessionStarted)]
    assert given
    assert given[-1] == call["session_id"]
    assert {
        "session": given,
        "conversation": [event.id for event in said if isinstance(event, ConversationStarted)],
    } == call["ids"]


async def test_ids_are_remembered_up_to_a_limit(tmp_path: Path):
    session = Session(Orga(Side.CLIENT), asyncio.get_running_loop().time())
    CallFolder(tmp_path, session, {})
    for number in range(1000):
        session.report(SessionStarted(f"sess_{number}"))
    await session.close()

    ids = json.loads((tmp_path / "call.json").read_text("utf-8"))["ids"]["session"]
    assert [f"sess_{number}" for number in range(900, 1000)] == ids


async def test_the_mock_leaves_a_call_under_its_id_and_the_next_run_beside_it(tmp_path: Path):
    for _ in range(2):
        async with MockServer(record=tmp_path) as mock:
            async with rtcpeer.connect("orga", mock.url(), api_key=mock.api_key) as session:
                name = session.conversation_id
            await until(lambda mock=mock: mock.calls[0].state == "closed")

    folders = {folder.name for folder in tmp_path.iterdir()}  # noqa: ASYNC240 - nothing else runs any more
    assert {name, f"{name}-2"} == folders
