"""Whole calls: rtcpeer against the mock, over real WebRTC on this machine."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
from calling import DEADLINE
from spectrum import as_float, dominant_frequency, read_wav

import rtcpeer
from rtcpeer.events import (
    Closed,
    ErrorReported,
    ResponseCompleted,
    SessionStarted,
    SpeechStarted,
    SpeechStopped,
    TranscriptCompleted,
    Unknown,
)
from signaling import MockServer, Scenario
from signaling.calls import Call
from signaling.scenario import Line, Turn, speech_file, user_lines

PROMPT = Scenario(
    "prompt",
    "answers at once",
    turns=(Turn("One?", Line("assistant-1.flac", "<emotion value='calm'/>One.")),),
    think_time=0.0,
)


def call(mock: MockServer, **options: Any) -> Any:
    return rtcpeer.connect("orga", mock.url(), api_key=mock.api_key, **options)


def beep(seconds: float = 0.3, frequency: float = 600.0) -> rtcpeer.ToneSource:
    return rtcpeer.ToneSource(frequency, duration=seconds)


async def over(mock: MockServer) -> Call:
    """Wait until the mock's first call is over, and return it."""
    await asyncio.gather(*mock._switchboard.running.values())
    return mock.calls[0]


@pytest.fixture
async def mock() -> AsyncIterator[MockServer]:
    async with MockServer() as server:
        yield server


async def hear(session: rtcpeer.Session, frames: int) -> np.ndarray:
    """Return that many frames from the first that is not silent, ``(samples, 1)``."""
    heard: list[np.ndarray] = []
    async for frame in session.audio:
        if heard or np.abs(frame.samples).max() > 500:
            heard.append(frame.samples)
        if len(heard) == frames:
            break
    return np.concatenate(heard)


async def test_conversation_hears_speech_and_answers_with_speech(mock):
    said = user_lines()[0]
    async with call(mock) as session:
        await session.play(speech_file(said.say))
        turn = await session.listen(timeout=DEADLINE)

        answer = mock.scenario.turns[0].answer
        assert (said.text, answer.text) == (turn.heard, turn.text)
        assert turn.turnaround is not None
        with_speech = np.abs(turn.audio).max(axis=1)
        assert with_speech.max() > 3000
    found = (await over(mock)).to_dict()
    assert ("closed", "remote", None) == (found["state"], found["closed"]["reason"], found["failure"])
    assert found["audio_seconds_in"] > 0
    assert found["audio_seconds_out"] > 0


async def test_session_and_conversation_are_announced_as_agreed(mock):
    async with call(mock, params={"voice": "alloy", "temperature": 0.2}) as session:
        started = await session.wait_for(SessionStarted, timeout=DEADLINE)

    assert "alloy" == started.details["voice"]
    assert 0.2 == started.details["temperature"]
    assert started.details["return_transcription"] is True
    assert mock.calls[0].id == session.conversation_id


async def test_update_is_recorded_and_applied(mock):
    async with call(mock) as session:
        await session.update(instructions="Be brief.", temperature=0.9)
    found = (await over(mock)).to_dict()

    assert [None, "Be brief."] == [said.instructions for said in mock.received]
    assert ("Be brief.", 0.9) == (found["settings"]["instructions"], found["settings"]["temperature"])
    assert "UpdateSession" == found["received"][1]["type"]
    assert found["received"][1]["t"] >= 0


async def test_agent_stops_when_it_is_cut_short(mock):
    mock.scenario = PROMPT
    async with call(mock) as session:
        await session.play(beep())
        await until(session, SpeechStarted, "assistant")
        await session.play(beep())
        await session.wait_for(ResponseCompleted, timeout=DEADLINE)
    (played,) = (await over(mock)).interruptions

    assert 0 < played < 4


async def until(session: rtcpeer.Session, kind: type, speaker: str) -> None:
    async with asyncio.timeout(DEADLINE):
        async for event in session:
            if isinstance(event, kind) and event.speaker == speaker:
                return


async def test_transcript_comes_only_when_asked_for(mock):
    mock.scenario = PROMPT
    mock.faults = ["early-done"]
    async with call(mock, transcribe=False) as session:
        await session.play(beep())
        await session.wait_for(ResponseCompleted, timeout=DEADLINE)

        transcripts = [e.said for e in session.events.entries() if isinstance(e.said, TranscriptCompleted)]
        assert "user" not in [said.speaker for said in transcripts]


async def test_emotion_tags_travel_raw(mock):
    mock.scenario = PROMPT
    mock.faults = ["early-done"]
    async with call(mock) as session:
        await session.play(beep())
        done = await session.wait_for(ResponseCompleted, timeout=DEADLINE)

    assert ("One.", "<emotion value='calm'/>One.") == (done.text, done.raw)


async def test_early_done_arrives_before_the_answer_is_heard_out(mock):
    mock.scenario = PROMPT
    mock.faults = ["early-done"]
    async with call(mock) as session:
        await session.play(beep())
        await session.wait_for(ResponseCompleted, timeout=DEADLINE)

        stopped = [e.said for e in session.events.entries() if isinstance(e.said, SpeechStopped)]
        assert "assistant" not in [said.speaker for said in stopped]


async def test_echo_says_back_what_it_hears(mock):
    mock.scenario = "echo"
    async with call(mock) as session:
        await session.play(beep(2.0, 1000.0))
        heard = await hear(session, 40)

    assert dominant_frequency(as_float(heard[9600:]), 48_000) == pytest.approx(1000, abs=5)


async def test_tone_sounds_440_hz(mock):
    mock.scenario = "tone"
    async with call(mock) as session:
        heard = await hear(session, 40)

    assert dominant_frequency(as_float(heard[9600:]), 48_000) == pytest.approx(440, abs=3)


async def test_scenario_can_change_in_mid_call(mock):
    mock.scenario = Scenario("quiet", "says nothing")
    async with call(mock) as session:
        mock.scenario = "tone"
        assert len(await hear(session, 5))


async def test_audio_door_has_what_was_said_left_and_what_was_heard_right(mock):
    mock.scenario = "tone"
    async with call(mock) as session:
        await session.play(beep(5.0, 1000.0))
        await until(session, SpeechStarted, "assistant")
        await hear(session, 60)
    url = f"{mock.url()}/mock/calls/{mock.calls[0].id}/audio.wav"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        audio, rate = read_wav(await response.read())
    left, right = audio[-rate // 2 :].T

    assert dominant_frequency(left[:, None], rate) == pytest.approx(440, abs=5)
    assert dominant_frequency(right[:, None], rate) == pytest.approx(1000, abs=5)


async def test_video_is_counted(mock):
    async with call(mock, video="test") as session:
        while not mock.calls[0].to_dict()["video_frames"]:
            await hear_on(session)


async def hear_on(session: rtcpeer.Session) -> None:
    """Wait for 20 ms."""
    async for _ in session.audio:
        return


async def test_call_that_is_over_holds_no_session(mock):
    async with call(mock) as session:
        await session.wait_for(SessionStarted, timeout=DEADLINE)
        alive = weakref.ref(mock.calls[0]._session)
    await over(mock)
    gc.collect()

    assert alive() is None


async def test_record_leaves_a_folder_a_call(tmp_path):
    async with MockServer(record=tmp_path / "calls", scenario="tone") as mock:
        async with call(mock) as session:
            await hear(session, 5)
        await over(mock)
    (folder,) = (tmp_path / "calls").iterdir()

    found = json.loads((folder / "call.json").read_text())
    assert ("orga", mock.calls[0].id) == (found["protocol"], found["conversation_id"])
    assert (folder / "audio.wav").is_file()


# Faults


async def test_hang_up_and_door_end_the_call_with_a_goodbye(mock):
    async with call(mock) as session:
        mock.faults = ["hang-up"]
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason
    mock.faults = []
    async with call(mock) as session:
        await mock.calls[1].hang_up()
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason


async def test_close_channel_ends_the_call(mock):
    async with call(mock) as session:
        mock.faults = ["close-channel"]
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason


async def test_vanish_leaves_the_caller_without_a_goodbye(mock):
    async with call(mock) as session:
        mock.faults = ["vanish"]
        await over(mock)

        assert not session.events.closed
        assert "closed" == mock.calls[0].state


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("malformed-events", ErrorReported), ("unknown-events", Unknown), ("huge-event", ErrorReported)],
)
async def test_bad_event_is_reported_and_the_call_goes_on(mock, fault, kind):
    mock.faults = [fault]
    async with call(mock) as session:
        await session.wait_for(kind, timeout=DEADLINE)
        mock.faults = []
        await session.update(voice="alloy")
        await session.wait_for(SessionStarted, timeout=DEADLINE)

        assert not session.events.closed


async def test_legacy_events_are_understood(mock):
    mock.scenario = PROMPT
    mock.faults = ["legacy-events", "early-done"]
    async with call(mock) as session:
        await session.wait_for(SessionStarted, timeout=DEADLINE)
        await session.play(beep())

        assert "One." == (await session.wait_for(ResponseCompleted, timeout=DEADLINE)).text


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("reject-key", rtcpeer.AuthError),
        ("expired-token", rtcpeer.AuthError),
        ("spent-token", rtcpeer.AuthError),
        ("ice-html", rtcpeer.RemoteProtocolError),
        ("calls-html", rtcpeer.RemoteProtocolError),
        ("bad-sdp", rtcpeer.RemoteProtocolError),
        ("calls-422", rtcpeer.SignalingError),
        ("calls-500", rtcpeer.SignalingError),
        ("rate-limit", rtcpeer.SignalingError),
    ],
)
async def test_fault_fails_the_connection_with_the_error_of_its_phase(mock, fault, failure):
    mock.faults = [fault]
    with pytest.raises(failure):
        await call(mock)


@pytest.mark.parametrize(("fault", "failure"), [("no-path", rtcpeer.IceError), ("calls-slow", rtcpeer.OpenTimeout)])
async def test_fault_that_leads_nowhere_runs_into_the_callers_deadline(mock, fault, failure):
    mock.faults = [fault]
    with pytest.raises(failure):
        await call(mock, open_timeout=1.0)


# Ending


async def test_mock_that_closes_says_goodbye_and_leaves_nothing_behind():
    before = asyncio.all_tasks()
    async with MockServer(scenario="tone") as mock:
        session = await call(mock)
    try:
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason
    finally:
        await session.close()

    assert "closed" == mock.calls[0].state
    assert not mock._switchboard.errands
    assert asyncio.all_tasks() == before
