"""A browser calls the mock: Debian's Chromium, driven by Playwright, with a plain-JavaScript page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import spectrum
from browser import Browser, chromium, hears, served
from parts import API_KEY, AUDIBLE, INAUDIBLE, decode, running_mock

from rtcpeer.auth import SessionConfigClient
from rtcpeer.proxy import proxy_app
from signaling.scenario import speech_file


@pytest.fixture
def tone_770(tmp_path: Path) -> str:
    """2 s hold a whole number of its periods: it loops without a click."""
    return str(spectrum.write_wav(tmp_path / "770.wav", spectrum.tone(770, 2.0)))


@pytest.fixture
async def browser(tmp_path: Path, tone_770: str) -> AsyncIterator[Browser]:
    async with chromium(tmp_path / "profile", tone_770) as browser:
        yield browser


async def test_chromium_and_the_mock_hear_each_other(browser: Browser):
    async with running_mock("tone", cors_origins=[browser.origin]) as mock:
        call_id = await browser.call(base=mock.url, apiKey=API_KEY)
        await browser.do("call.enableMic()")
        heard = await hears(browser, 440)
        dominant, level = await mock.heard(call_id, 770)
        await browser.do("call.stop()")

    at_440, at_770 = heard["levels"]
    assert at_440 > AUDIBLE
    assert at_770 < INAUDIBLE
    assert dominant == pytest.approx(770, abs=2)
    assert level == pytest.approx(-12, abs=2)


async def test_a_page_of_another_origin_needs_no_key_but_a_proxy(browser: Browser):
    async with (
        running_mock("tone", cors_origins=[browser.origin]) as mock,
        SessionConfigClient(mock.url, API_KEY) as backend,
        served(proxy_app(backend, cors_origins=[browser.origin])) as proxy,
    ):
        call_id = await browser.call(base=mock.url, sessionConfig=f"{proxy}/session-config")
        await hears(browser, 440)
        record = await mock.call(call_id)

    assert len({browser.origin, mock.url, proxy}) == 3
    assert record["protocol"] == "orga"


async def test_a_page_that_is_not_on_the_list_gets_nothing(browser: Browser):
    async with running_mock("tone", cors_origins=["https://app.example.com"]) as mock:
        with pytest.raises(Exception, match="Failed to fetch"):
            await browser.call(base=mock.url, apiKey=API_KEY)


async def test_events_reach_the_page_and_its_updates_the_mock(browser: Browser):
    async with running_mock("tone", cors_origins=[browser.origin]) as mock:
        call_id = await browser.call(base=mock.url, apiKey=API_KEY, params={"voice": "Sofía"})
        created = await browser.event("session.created")
        conversation = await browser.event("conversation.created")
        await browser.do("call.enableMic()")
        await browser.do("call.update({ instructions: 'Be brief.', temperature: 0 })")
        record = await mock.call_where(call_id, lambda record: len(record["received"]) >= 2)
        problems = await browser.do("call.problems")

    assert created["session"]["object"] == "realtime.session"
    assert created["session"]["voice"] == "Sofía"
    assert conversation["conversation"]["id"] == call_id
    assert record["received"][0]["modalities"] == ["audio"]
    assert record["received"][1]["instructions"] == record["settings"]["instructions"] == "Be brief."
    assert record["settings"]["temperature"] == 0
    assert problems == []


async def test_keys_pressed_in_the_page_arrive_as_they_were_pressed(browser: Browser):
    async with running_mock("tone", cors_origins=[browser.origin]) as mock:
        call_id = await browser.call(base=mock.url, apiKey=API_KEY)
        await browser.do("call.enableMic()")
        await mock.heard(call_id, 770)
        await browser.do("call.audio.sender.dtmf.insertDTMF('19*D', 100, 70)")
        record = await mock.call_where(
            call_id, lambda record: 4 == sum(said["type"] == "DtmfReceived" for said in record["received"])
        )
        await mock.heard(call_id, 770)  # and the voice goes on

    pressed = [said for said in record["received"] if said["type"] == "DtmfReceived"]
    assert ["1", "9", "*", "D"] == [said["digit"] for said in pressed]
    assert all(said["duration"] == pytest.approx(0.1, abs=0.021) for said in pressed)
    assert 0 == record["stats"]["inbound_audio"]["packets_unplayable"]


async def test_a_call_survives_its_microphone_being_taken_away(browser: Browser):
    async with running_mock("tone", cors_origins=[browser.origin]) as mock:
        call_id = await browser.call(base=mock.url, apiKey=API_KEY)
        await browser.do("call.enableMic()")
        await mock.heard(call_id, 770)
        await browser.do("call.disableMic()")
        await mock.silent(call_id)
        await browser.do("call.enableMic()")
        dominant, _ = await mock.heard(call_id, 770)
        states = await browser.do("call.states")

    assert dominant == pytest.approx(770, abs=2)
    assert states[-1] == "connected"


async def test_frames_of_the_camera_are_counted(browser: Browser):
    async with running_mock("tone", cors_origins=[browser.origin]) as mock:
        call_id = await browser.call(base=mock.url, apiKey=API_KEY)
        await browser.do("call.enableCamera()")
        record = await mock.call_where(call_id, lambda record: record["video_frames"] >= 24)
        statistics = await browser.do("call.statistics()")
        await browser.do("call.stop()")

    sent = statistics["outbound-rtp.video"]["framesSent"]
    assert 24 <= record["video_frames"] <= sent
    assert any(codec.startswith("video/VP8") for codec in statistics["codecs"])


async def test_a_spoken_turn_is_transcribed_and_answered_aloud(tmp_path: Path):
    speech = json.loads(speech_file("speech.json").read_text("utf-8"))
    question = decode(speech_file("user-1.flac").read_bytes(), tmp_path)
    microphone = spectrum.write_wav(tmp_path / "question.wav", question)

    async with (
        chromium(tmp_path / "profile", f"{microphone}%noloop") as browser,
        running_mock("conversation", cors_origins=[browser.origin]) as mock,
    ):
        await browser.call(base=mock.url, apiKey=API_KEY, params={"return_transcription": True})
        await browser.do("call.enableMic()")
        heard = await browser.event("conversation.item.input_audio_transcription.completed")
        loud = await browser.wait_for(
            f"(() => {{ const heard = call.spectrum(); return heard.level > {INAUDIBLE} && heard }})()",
            tell="call.spectrum()",
        )
        answer = await browser.event("response.output_item.done")

    assert heard["transcript"] == speech["user-1.flac"]["text"]
    assert 80 < loud["dominant"] < 4000
    assert answer["text"] in {entry["text"] for entry in speech.values() if entry["speaker"] == "assistant"}


async def test_a_browser_that_closes_has_hung_up(browser: Browser):
    async with running_mock("tone", cors_origins=[browser.origin]) as mock:
        call_id = await browser.call(base=mock.url, apiKey=API_KEY)
        await hears(browser, 440)
        await browser.do("call.stop()")
        record = await mock.call_where(call_id, lambda record: record["state"] == "closed")

    assert record["closed"]["reason"] == "remote"
    assert record["failure"] is None
