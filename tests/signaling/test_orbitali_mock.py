"""The mock as Orbitali: what the vendor's own documented client does, by bare aiohttp, and what goes wrong."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from calling import (
    AGENT,
    DEADLINE,
    loudest_frequency,
    short_scenario,
    until,
    write_tone,
)

import rtcpeer
from rtcpeer import AuthError, Closed, ConnectionLost, SignalingError, TokenExpired
from rtcpeer.commands import Stop
from rtcpeer.connecting import Connecting
from rtcpeer.protocols import Orbitali
from rtcpeer.protocols.http import HttpResponse
from signaling import MockServer
from signaling.scenario import Line

AGENT_ID = "9dbf0d0b-2b55-45de-8c41-7a2d9b0ce8e9"
KEY = {"Authorization": "Bearer sk_test"}
SESSIONS = f"/public/v1/agents/{AGENT_ID}/realtime-sessions"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


pytestmark = pytest.mark.usefixtures("nothing_left")


async def new_session(http: aiohttp.ClientSession, mock: MockServer, **options: Any) -> tuple[int, Any]:
    async with http.post(mock.url("orbitali") + SESSIONS, **{"headers": KEY, **options}) as response:
        return response.status, await response.json()


def calling(mock: MockServer, **options: Any) -> Connecting:
    given = {"api_key": mock.api_key, "params": {"agent_id": AGENT_ID}} | options
    return rtcpeer.connect("orbitali", mock.url("orbitali"), **given)


# The documented client


async def test_key_buys_a_session_with_the_documented_fields(http, mock):
    status, found = await new_session(http, mock)

    host = mock.url("orbitali").removeprefix("http://")
    assert 200 == status
    assert {"token", "expiresAt", "websocketUrl", "protocol"} == set(found)
    assert f"ws://{host}/ws/agents/{AGENT_ID}?token={found['token']}" == found["websocketUrl"]
    assert datetime.fromisoformat(found["expiresAt"]).tzinfo is not None
    assert {
        "inputAudio": {"encoding": "pcm16", "sampleRate": 16000},
        "outputAudio": {"encoding": "pcm16", "sampleRate": 24000},
    } == found["protocol"]


async def test_websocket_url_follows_the_host_that_was_asked(http, mock):
    port = mock.url("orbitali").rpartition(":")[2]
    _, found = await new_session(http, mock, headers=KEY | {"Host": f"voice.example.com:{port}"})

    assert found["websocketUrl"].startswith(f"ws://voice.example.com:{port}/ws/agents/")


async def test_a_conversation_as_the_vendors_page_has_it(http, mock):
    _, found = await new_session(http, mock)
    speech = (10_000 * np.sin(2 * np.pi * 1000 * np.arange(16_000 // 2) / 16_000)).astype("<i2")
    silence = np.zeros(16_000 * 2, "<i2")
    seen: list[dict[str, Any]] = []

    async with http.ws_connect(found["websocketUrl"]) as socket:

        async def speak() -> None:
            for piece in np.array_split(np.concatenate([speech, silence]), 125):
                content = {"type": "input_audio", "audio": base64.b64encode(piece.tobytes()).decode()}
                await socket.send_str(json.dumps(content))
                await asyncio.sleep(0.02)

        speaking = None
        async with asyncio.timeout(DEADLINE):
            async for message in socket:
                seen.append(json.loads(message.data))
                match seen[-1]:
                    case {"type": "session.started"}:
                        speaking = asyncio.create_task(speak())
                    case {"type": "transcript", "role": "assistant"}:
                        break
        await socket.send_str(json.dumps({"type": "stop"}))
        closing = await socket.receive(timeout=DEADLINE)
        while closing.type is aiohttp.WSMsgType.TEXT:
            closing = await socket.receive(timeout=DEADLINE)
        if speaking is not None:
            speaking.cancel()

    assert (aiohttp.WSMsgType.CLOSE, 1000) == (closing.type, closing.data)
    assert {"type": "session.started", "callId": mock.calls[0].id} == seen[0]
    assert {"type": "transcript", "role": "user", "text": "How are you?"} in seen
    audio = [each for each in seen if each["type"] == "output_audio"]
    assert {("pcm16", 24_000)} == {(each["encoding"], each["sampleRate"]) for each in audio}
    heard = np.frombuffer(b"".join(base64.b64decode(each["audio"]) for each in audio), "<i2").reshape(-1, 1)
    assert AGENT == pytest.approx(loudest_frequency(heard.astype(np.int16), 24_000), abs=5)
    # What is spoken and no silence around it: the file's 0.3 s.
    assert 0.3 == pytest.approx(len(heard) / 24_000, abs=0.03)


async def test_a_word_in_between_makes_the_agent_stop_and_say_clear(http, tmp_path):
    async with MockServer(scenario=short_scenario(tmp_path, greeting=long_line(tmp_path), turns=())) as mock:
        _, found = await new_session(http, mock)
        speech = (10_000 * np.sin(2 * np.pi * 1000 * np.arange(320) / 16_000)).astype("<i2")
        content = json.dumps({"type": "input_audio", "audio": base64.b64encode(speech.tobytes()).decode()})
        seen: list[str] = []
        async with http.ws_connect(found["websocketUrl"]) as socket, asyncio.timeout(DEADLINE):
            async for message in socket:
                seen.append(json.loads(message.data)["type"])
                if seen.count("output_audio") > 25:
                    await socket.send_str(content)
                if "transcript" in seen:
                    break

    # The server stops first: nothing of the turn follows its clear.
    assert "output_audio" not in seen[seen.index("clear") :]
    assert 0.4 < mock.calls[0].interruptions[0] < 3.0


def long_line(folder: Path) -> Line:
    return Line(str(write_tone(folder / "long.wav", AGENT, 5.0)), "A long story.")


# Refusals


async def test_wrong_key_is_401(http, mock):
    status, found = await new_session(http, mock, headers={"Authorization": "Bearer wrong"})

    assert (401, True) == (status, "error" in found)


@pytest.mark.parametrize(("age", "opens"), [(59, True), (60, False)])
async def test_token_has_sixty_seconds_to_open_its_socket(http, age, opens, tmp_path):
    clock = Clock()
    async with MockServer(clock=clock, scenario=short_scenario(tmp_path)) as mock:
        _, found = await new_session(http, mock)
        clock.now += age
        async with http.ws_connect(found["websocketUrl"]) as socket:
            first = await socket.receive(timeout=DEADLINE)
            if opens:
                assert "session.started" == first.json()["type"]
                clock.now += 3600  # the session outlives its token
                await socket.send_str("{}")
                await until(lambda: mock.received)
            else:
                assert "error" == first.json()["type"]
                assert 4401 == (await socket.receive(timeout=DEADLINE)).data


@pytest.mark.parametrize("token", ["", "?token=nonsense", "?token=sk_test"])
async def test_socket_without_a_token_of_ours_is_taken_and_closed_with_4401(http, mock, token):
    async with http.ws_connect(f"{mock.url('orbitali')}/ws/agents/{AGENT_ID}{token}") as socket:
        assert "error" == (await socket.receive(timeout=DEADLINE)).json()["type"]
        assert 4401 == (await socket.receive(timeout=DEADLINE)).data


async def test_request_that_is_no_upgrade_is_a_400(http, mock):
    _, found = await new_session(http, mock)
    async with http.get(found["websocketUrl"].replace("ws://", "http://")) as response:
        assert 400 == response.status


# The peer


async def test_a_turn_is_taken_heard_and_measured(mock, tmp_path):
    async with calling(mock) as session:
        await session.play(write_tone(tmp_path / "user.wav", 1000.0))
        turn = await session.listen(timeout=DEADLINE)

    assert ("How are you?", "<emotion>Fine.</emotion>") == (turn.heard, turn.text)
    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=5)
    # 500 ms of hang-over at the mock, which then answers at once; two leads on the way.
    assert 0.5 < turn.turnaround < 1.5
    assert ["session", "socket", "ready"] == list(session.phases)
    await until(lambda: mock.calls[0].state == "closed")
    assert Stop() in mock.calls[0].received
    assert 0.25 < mock.calls[0].to_dict()["audio_seconds_in"] < 0.4


@pytest.mark.parametrize("kind", ["string", "callable"])
async def test_token_of_the_users_own_opens_the_socket(http, mock, kind):
    async def fresh() -> str:
        _, found = await new_session(http, mock)
        return found["token"]

    token = await fresh() if kind == "string" else fresh
    async with calling(mock, api_key=None, token=token) as session:
        assert "session" in session.phases


async def test_full_socket_url_is_all_it_takes(http, mock):
    _, found = await new_session(http, mock)

    async with rtcpeer.connect("orbitali", found["websocketUrl"]) as session:
        assert ["socket", "ready"] == list(session.phases)


async def test_wrong_key_is_an_auth_error_that_does_not_repeat_it(mock):
    with pytest.raises(AuthError, match="is the API key right") as caught:
        await calling(mock, api_key="orb_live_secret")
    assert "orb_live_secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("reject-key", AuthError),
        ("rate-limit", SignalingError),
        ("expired-token", TokenExpired),
        ("agent-missing", SignalingError),
        ("agent-inactive", SignalingError),
        ("calls-500", ConnectionLost),
    ],
)
async def test_fault_before_the_session_is_the_error_of_its_kind(mock, fault, kind):
    mock.faults = [fault]

    with pytest.raises(kind) as caught:
        await calling(mock)
    assert kind is type(caught.value)


@pytest.mark.parametrize(("fault", "reason"), [("hang-up", "remote"), ("vanish", "lost")])
async def test_fault_in_mid_call_ends_it_as_it_should(mock, fault, reason):
    async with calling(mock, reconnect=None) as session:
        mock.faults = [fault]
        await until(lambda: session.events.closed)
        closed = session.events.entries()[-1].said

    assert isinstance(closed, Closed)
    assert reason == closed.reason


@pytest.mark.parametrize("fault", ["malformed-events", "unknown-events"])
async def test_faulty_messages_are_reported_and_end_nothing(mock, fault, tmp_path):
    mock.faults = [fault]
    async with calling(mock) as session:
        await session.play(write_tone(tmp_path / "user.wav", 1000.0))
        assert "<emotion>Fine.</emotion>" == (await session.listen(timeout=DEADLINE)).text


async def test_network_of_the_mock_is_what_a_stream_knows_of_it(mock):
    mock.netem = "loss=5%,delay=100ms"
    async with calling(mock) as session:
        assert 0.1 <= session.phases["ready"]
        mock.netem = "loss=50%,delay=1ms"
        await until(lambda: mock.calls[0].to_dict()["stats"]["netem"]["conditions"] == "delay=1ms")


async def test_caller_that_vanishes_ends_its_call(mock):
    session = await calling(mock)
    await session.abandon()

    await until(lambda: mock.calls[0].state == "closed")
    assert "lost" == mock.calls[0].to_dict()["closed"]["reason"]


async def test_call_is_hung_up_on_from_its_door(http, mock):
    async with calling(mock) as session:
        async with http.delete(f"{mock.url()}/mock/calls/{mock.calls[0].id}") as response:
            assert 204 == response.status
        await until(lambda: session.events.closed)
        assert "remote" == session.events.entries()[-1].said.reason


async def test_mock_that_closes_hangs_up_on_everybody(tmp_path):
    async with MockServer(scenario=short_scenario(tmp_path)) as mock:
        session = await calling(mock)
    await until(lambda: session.events.closed)
    assert "remote" == session.events.entries()[-1].said.reason
    await session.close()


def test_session_answer_without_a_token_is_no_ticket():
    response = HttpResponse(200, {}, b'{"websocketUrl": "wss://h/"}')
    with pytest.raises(rtcpeer.RemoteProtocolError, match="token"):
        Orbitali.parse_session(response, "https://h")
