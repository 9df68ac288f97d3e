"""libwebrtc (npm @roamhq/wrtc) calls the mock, and is called by the peer as if it were Orga's service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import spectrum
from parts import API_KEY, AUDIBLE, DEADLINE, INAUDIBLE, Node, fall_silent, hear, running_mock

import rtcpeer
from rtcpeer.errors import AuthError
from rtcpeer.events import (
    Closed,
    ConversationStarted,
    ErrorReported,
    ResponseCompleted,
    SessionStarted,
    TranscriptCompleted,
    Unknown,
)

# Node calls the mock.


@asynccontextmanager
async def node_calls(scenario: str, **params: Any) -> AsyncIterator[tuple[Any, Node, str]]:
    """A call that is up: the mock, Node, and the call's id."""
    async with (
        running_mock(scenario) as mock,
        Node.run("wrtc_client.js", base=mock.url, apiKey=API_KEY, frequency=880, params=params) as node,
    ):
        call_id = (await node.wait_for("session"))["conversation_id"]
        await node.wait_for("open")
        yield mock, node, call_id


async def test_node_and_the_mock_hear_each_other():
    async with node_calls("tone") as (mock, node, call_id):
        heard = await node.hears(440)
        dominant, level = await mock.heard(call_id, 880)

    assert heard["frequency"] == 440
    assert dominant == pytest.approx(880, abs=2)
    assert level == pytest.approx(-12, abs=2)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
async def test_a_node_that_has_g711_alone_hears_and_is_heard(codec):
    async with (
        running_mock("tone") as mock,
        Node.run("wrtc_client.js", base=mock.url, apiKey=API_KEY, frequency=880, codec=codec) as node,
    ):
        call_id = (await node.wait_for("session"))["conversation_id"]
        heard = await node.hears(440)
        dominant, level = await mock.heard(call_id, 880)

    assert heard["frequency"] == 440
    assert dominant == pytest.approx(880, abs=2)
    assert level == pytest.approx(-12, abs=1)


async def test_node_is_told_of_its_session_and_the_mock_of_each_update():
    update = {"event": "session.update", "data": {"voice": "Sofía", "temperature": 0, "modalities": ["audio"]}}

    async with node_calls("tone", voice="Emma", return_transcription=True) as (mock, node, call_id):
        created = await node.wait_for("message", lambda said: said["message"].get("type") == "session.created")
        conversation = await node.wait_for(
            "message", lambda said: said["message"].get("type") == "conversation.created"
        )
        await node.obey("send", message=update)
        record = await mock.call_where(call_id, lambda record: record["received"])

    session = created["message"]["session"]
    assert session["object"] == "realtime.session"
    assert session["voice"] == "Emma"
    assert session["return_transcription"] is True
    assert conversation["message"]["conversation"]["id"] == call_id
    (received,) = record["received"]
    assert received["type"] == "UpdateSession"
    assert received["voice"] == record["settings"]["voice"] == "Sofía"
    assert received["temperature"] == record["settings"]["temperature"] == 0
    assert received["modalities"] == ["audio"]


async def test_a_client_that_takes_its_track_away_has_muted_itself_and_not_hung_up():
    # libwebrtc sends RTCP BYE for the source then (RFC 3550, 6.6: it "is no longer active"), and the call goes on.
    async with node_calls("tone") as (mock, node, call_id):
        await mock.heard(call_id, 880)
        await node.obey("mute")
        await mock.silent(call_id)
        await node.obey("unmute")
        dominant, _ = await mock.heard(call_id, 880)
        await node.hears(440, fresh=True)

    assert dominant == pytest.approx(880, abs=2)


async def test_a_client_that_closes_has_hung_up():
    async with node_calls("tone") as (mock, node, call_id):
        await node.hears(440)
        await node.obey("stop")
        record = await mock.call_where(call_id, lambda record: record["state"] == "closed")

    assert record["closed"]["reason"] == "remote"
    assert record["failure"] is None


# The peer calls Node.


@asynccontextmanager
async def peer_calls_node(*, video: str | None = None, **params: Any) -> AsyncIterator[tuple[Any, Node]]:
    """A call that is up: the peer's session, and Node as the service."""
    async with Node.run("wrtc_server.js", apiKey=API_KEY, frequency=660) as node:
        port = (await node.wait_for("listening"))["port"]
        url = f"http://127.0.0.1:{port}"
        async with rtcpeer.connect("orga", url, api_key=API_KEY, params=params, video=video) as session:
            await node.wait_for("open")
            yield session, node


async def test_the_peer_and_node_hear_each_other(tmp_path: Path):
    question = spectrum.write_wav(tmp_path / "550.wav", spectrum.tone(550, 10.0))

    async with peer_calls_node() as (session, node):
        await session.play(str(question))
        heard_by_node = await node.hears(550)
        async with asyncio.timeout(DEADLINE):
            dominant, level = await hear(session, 660)

    assert heard_by_node["level"] == pytest.approx(-12, abs=2)
    assert dominant == pytest.approx(660, abs=2)
    assert level == pytest.approx(-12, abs=2)


async def test_keys_that_the_peer_presses_are_tones_in_node():
    # libwebrtc plays the telephone events that it receives.
    async with peer_calls_node() as (session, node):
        pressing = asyncio.create_task(session.send_dtmf("9", duration=3.0))
        await node.wait_for(
            "heard",
            lambda heard: (
                min(abs(heard["frequency"] - tone) for tone in (852, 1477)) <= 5 and heard["level"] > AUDIBLE
            ),
        )
        await pressing
        await node.wait_for("heard", lambda heard: heard["level"] < INAUDIBLE, fresh=True)


async def test_the_peer_posts_what_the_vendor_documents():
    async with peer_calls_node(voice="Sofía", temperature=0, instructions="Be brief.") as (_, node):
        body = (await node.wait_for("call"))["body"]
        channel = await node.wait_for("open")

    offer, params = body["offer"], body["params"]
    lines = [line for line in offer["sdp"].split("\r\n") if line]
    assert offer["type"] == "offer"
    assert [line.split()[0] for line in lines if line.startswith("m=")] == ["m=audio", "m=video", "m=application"]
    assert [line for line in lines if line in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")] == [
        "a=sendrecv",
        "a=sendonly",
    ]
    assert offer["candidates"]
    for candidate in offer["candidates"]:
        assert candidate["candidate"].startswith("candidate:")
        assert f"a={candidate['candidate']}" in lines
    assert params == {
        "voice": "Sofía",
        "model": "orga-1-beta",
        "temperature": 0,
        "return_transcription": True,
        "instructions": "Be brief.",
        "modalities": ["audio", "video"],
        "history": True,
    }
    assert channel["label"] == "orga-realtime-client-events"
    assert channel["ordered"] is True


async def test_updates_arrive_as_the_vendors_sdk_writes_them():
    async with peer_calls_node() as (session, node):
        first = json.loads((await node.wait_for("message"))["text"])
        await session.update(instructions="Speak like a pirate.", temperature=0)
        second = json.loads((await node.wait_for("message", lambda said: "pirate" in said["text"]))["text"])

    # The SDK for React Native opens with one: the service may ignore audio until it is told of it.
    assert first["event"] == "session.update"
    assert "audio" in first["data"]["modalities"]
    assert second["event"] == "session.update"
    assert second["data"]["instructions"] == "Speak like a pirate."
    assert second["data"]["temperature"] == 0
    assert isinstance(second["data"]["modalities"], list)


MESSAGES: list[dict[str, Any]] = [
    {
        "type": "session.created",
        "session": {
            "id": "sess_7",
            "object": "realtime.session",
            "model": "orga-1-beta",
            "voice": "Sofía",
            "temperature": 0.5,
            "instructions": None,
            "modalities": ["audio", "video"],
            "return_transcription": True,
        },
    },
    {"type": "conversation.created", "conversation": {"id": "conv_7"}},
    {
        "type": "conversation.item.input_audio_transcription.completed",
        "transcript": "",
        "text": "¿Qué hora es?",
        "message": "not this",
    },
    {
        "type": "response.output_item.done",
        "text": '<emotion value="happy"/> It is   noon. [laughter] <emotion value="calm"/>',
    },
    {"type": "response.output_item.added", "item": {"id": "item_1"}},
]
"""As the vendor's documents and SDK have them, typed by hand; the last is one that nobody knows."""


async def test_messages_of_the_service_come_out_as_typed_events():
    async with peer_calls_node() as (session, node):
        for message in MESSAGES:
            await node.obey("send", message=message)
        unknown = await session.wait_for(Unknown, timeout=DEADLINE)
        await node.obey("goodbye")
        events = [said async for said in session]

    began = next(number for number, said in enumerate(events) if isinstance(said, SessionStarted))
    typed = [
        said
        for said in events[began:]
        if isinstance(said, SessionStarted | ConversationStarted | TranscriptCompleted | ResponseCompleted)
    ]
    raw = MESSAGES[3]["text"]
    assert [type(said).__name__ for said in typed] == [
        "SessionStarted",
        "ConversationStarted",
        "TranscriptCompleted",
        "TranscriptCompleted",
        "ResponseCompleted",
    ]
    started, conversation, user, assistant, response = typed
    assert started.id == "sess_7"
    assert started.details["voice"] == "Sofía"
    assert conversation == ConversationStarted("conv_7")
    assert user == TranscriptCompleted("user", "¿Qué hora es?", "¿Qué hora es?")
    assert assistant == TranscriptCompleted("assistant", "It is noon. 😂", raw)
    assert response == ResponseCompleted("It is noon. 😂", raw)
    assert json.loads(unknown.data) == MESSAGES[4]


async def test_the_envelope_from_before_2025_09_30_is_understood():
    async with peer_calls_node() as (session, node):
        await node.obey("send", message={"event": "response.output_item.done", "message": "Good evening."})
        response = await session.wait_for(ResponseCompleted, timeout=DEADLINE)

    assert response == ResponseCompleted("Good evening.", "Good evening.")


async def test_the_peers_test_picture_is_decoded_by_the_service():
    async with peer_calls_node(video="test") as (_, node):
        first = await node.wait_for("seen")
        await node.wait_for("seen", lambda _: sum(said["type"] == "seen" for said in node.said) >= 24)

    assert first["width"] >= 320
    assert first["height"] >= 180
    assert first["brightest"] - first["darkest"] > 100  # a picture, not one colour


async def test_a_goodbye_of_the_service_is_a_clean_close():
    async with peer_calls_node() as (session, node):
        await node.wait_for("heard")
        await node.obey("goodbye")
        async with asyncio.timeout(DEADLINE):
            events = [said async for said in session]  # would raise ConnectionLost if it were none

    assert isinstance(events[-1], Closed)
    assert events[-1].reason == "remote"
    assert not [said for said in events if isinstance(said, ErrorReported)]


async def test_a_service_that_takes_its_track_away_has_not_hung_up():
    async with peer_calls_node() as (session, node):
        async with asyncio.timeout(DEADLINE):
            await hear(session, 660)
            await node.obey("mute")
            await fall_silent(session)
            await node.obey("unmute")
            dominant, level = await hear(session, 660)

    assert dominant == pytest.approx(660, abs=2)
    assert level == pytest.approx(-12, abs=2)


async def test_a_key_that_the_service_refuses_is_an_auth_error():
    async with Node.run("wrtc_server.js", apiKey="another", frequency=660) as node:
        port = (await node.wait_for("listening"))["port"]

        with pytest.raises(AuthError, match="Incorrect or inactive API key"):
            async with rtcpeer.connect("orga", f"http://127.0.0.1:{port}", api_key=API_KEY):
                pytest.fail("it let us in")
