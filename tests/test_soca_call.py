"""Calls to the mock's Soca over real sockets: what is heard, what is cut off, and connections that break."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import spectrum
from aiohttp import web
from calling import (
    AGENT,
    DEADLINE,
    USER,
    Belongings,
    greeting_scenario,
    loudest_frequency,
    nothing_left_since,
    serving,
    short_scenario,
    until,
    write_tone,
)
from numpy.typing import NDArray

import rtcpeer
from rtcpeer import Backoff, Interrupted, Reconnected, Reconnecting, ResponseCompleted, TranscriptCompleted
from rtcpeer.commands import EndUtterance
from rtcpeer.errors import AuthError, ConnectionLost
from rtcpeer.events import Closed, ErrorReported, SessionStarted, SpeechStarted, TranscriptUpdated
from signaling import MockServer
from signaling.scenario import Line, Scenario, Turn

AT_ONCE = Backoff(initial=0.01, jitter=0.0, budget=DEADLINE)
PARAMS = {"agent_id": "a1"}


def talkative(folder: Path) -> Scenario:
    """Speaks for six seconds, until words of ours interrupt it."""
    greeting = Line(str(write_tone(folder / "long.wav", AGENT, 6.0)), "A long story.")
    answer = Line(str(write_tone(folder / "short.wav", 2 * AGENT, 0.5)), "As you like.")
    return Scenario("talkative", "", greeting=greeting, turns=(Turn("Please stop talking", answer),), think_time=0.0)


def mock_of(scenario: str | Scenario, **options: Any) -> MockServer:
    return MockServer(scenario=scenario, protocols=["soca"], **options)


def calling(mock: MockServer, **options: Any) -> Any:
    given: dict[str, Any] = {"api_key": mock.api_key, "params": PARAMS, "reconnect": AT_ONCE}
    return rtcpeer.connect("soca", mock.url("soca"), **given | options)


def tape_of(session: Any) -> list[tuple[NDArray[np.int16], NDArray[np.int16]]]:
    frames: list[tuple[NDArray[np.int16], NDArray[np.int16]]] = []
    session.tap(lambda position, ours, theirs: frames.append((ours.copy(), theirs.copy())))
    return frames


async def test_a_turn_is_asked_understood_and_answered(tmp_path: Path) -> None:
    before = Belongings.now()
    async with mock_of(short_scenario(tmp_path)) as mock, calling(mock) as session:
        await session.play(str(write_tone(tmp_path / "user.wav", USER, 1.0)))
        turn = await session.listen(timeout=DEADLINE)

        assert ("How are you?", "<emotion>Fine.</emotion>") == (turn.heard, turn.text)
        assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=5)
        said = [entry.said for entry in session.events.entries()]
        partials = [each.text for each in said if isinstance(each, TranscriptUpdated) and each.speaker == "user"]
        assert ["How", "How are", "How are you?"][: len(partials)] == partials != []
        assert "a1" == mock.calls[0].params["agent_id"]
        assert mock.api_key not in json.dumps(mock.calls[0].to_dict())
    await nothing_left_since(before)


async def test_the_far_voice_has_neither_gaps_nor_repetitions(tmp_path: Path) -> None:
    async with mock_of(talkative(tmp_path)) as mock, calling(mock) as session:
        frames = tape_of(session)
        turn = await session.listen(timeout=DEADLINE)

    heard = np.concatenate([theirs for _, theirs in frames])
    loud = np.flatnonzero(np.abs(heard[:, 0]) > 1000)
    voice = heard[loud[0] : loud[-1]]
    assert 6.0 == pytest.approx(len(voice) / 48_000, abs=0.05)
    # A steady tone: a gap, a repetition or a seam would be a frame of another level, or a jump in phase.
    level = np.sqrt((voice[: len(voice) // 960 * 960].reshape(-1, 960).astype(float) ** 2).mean(axis=1))[1:-1]
    assert level.min() > 0.9 * level.max()
    time = np.arange(len(voice)) / 48_000
    mixed = spectrum.as_float(voice)[:, 0] * np.exp(-2j * np.pi * AGENT * time)
    phase = np.unwrap(np.angle(mixed[: len(mixed) // 4800 * 4800].reshape(-1, 4800).mean(axis=1)))
    assert np.ptp(phase[1:-1]) < 0.2
    assert "A long story." == turn.text
    assert 0 == session.stats()["inbound_audio"]["concealed_samples"]


async def test_words_interrupt_and_it_is_quiet_within_60_ms(tmp_path: Path) -> None:
    async with mock_of(talkative(tmp_path)) as mock, calling(mock) as session:
        frames = tape_of(session)
        await session.wait_for(SpeechStarted, timeout=DEADLINE)
        await session.play(str(write_tone(tmp_path / "user.wav", USER, 1.5)))
        interrupted = await session.wait_for(Interrupted, timeout=DEADLINE)
        cut = len(frames)
        first = await session.listen(timeout=DEADLINE)
        second = await session.listen(timeout=DEADLINE)

        assert "content_partial" == interrupted.reason
        heard = np.concatenate([theirs for _, theirs in frames])[:, 0]
        began = int(np.flatnonzero(np.abs(heard) > 1000)[0])
        assert interrupted.played == pytest.approx((cut * 960 - began) / 48_000, abs=0.1)
        # In mid-story until then, and not heard of again.
        assert np.abs(heard[(cut - 3) * 960 : cut * 960]).max() > 1000
        quiet = np.abs(heard[(cut + 3) * 960 : (cut + 20) * 960])
        assert quiet.max() < 30
        assert ["A long story.", "As you like."] == [first.text, second.text]
        assert 2 * AGENT == pytest.approx(loudest_frequency(second.audio), abs=10)
        # Five seconds or so had come already, and are accounted for.
        assert session.stats()["inbound_audio"]["interrupted_samples"] > 2 * 48_000
        assert mock.calls[0].interruptions[0] == pytest.approx(interrupted.played, abs=0.3)


async def test_interrupt_sends_barge_and_the_rest_is_not_heard(tmp_path: Path) -> None:
    async with mock_of(talkative(tmp_path)) as mock, calling(mock) as session:
        frames = tape_of(session)
        await session.wait_for(SpeechStarted, timeout=DEADLINE)
        await session.interrupt()
        cut = len(frames)
        await until(lambda: mock.calls[0].interruptions)
        turn = await session.listen(timeout=DEADLINE)

        said = [entry.said for entry in session.events.entries()]
        cuts = [each for each in said if isinstance(each, Interrupted)]
        assert ["local"] == [each.reason for each in cuts]
        assert ("A long story.", True, cuts[0].played) == (turn.text, turn.interrupted, turn.played)
        assert 0 < turn.played < turn.ended - turn.started + 0.1
        heard = np.concatenate([theirs for _, theirs in frames])[:, 0]
        assert np.abs(heard[(cut + 3) * 960 :]).max() < 30
        assert "Interrupt" in {entry["type"] for entry in mock.calls[0].to_dict()["received"]}


async def test_interrupting_while_it_reconnects_cuts_off_here_and_then_says_that_nobody_was_told(
    tmp_path: Path,
) -> None:
    # Six seconds came at once: they would be heard while there is no connection.
    async with mock_of(talkative(tmp_path)) as mock, calling(mock) as session:
        frames = tape_of(session)
        await until(lambda: session._path.tracker.played > 0.2)
        await mock.calls[0].vanish()
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        with pytest.raises(ConnectionLost, match="reconnecting"):
            await session.interrupt()
        cut = len(frames)
        await until(lambda: len(frames) > cut + 25)

        heard = np.concatenate([theirs for _, theirs in frames])[:, 0]
        assert np.abs(heard[: cut * 960]).max() > 1000
        assert np.abs(heard[(cut + 2) * 960 :]).max() < 30
        cuts = [entry.said for entry in session.events.entries() if isinstance(entry.said, Interrupted)]
        assert ["local"] == [each.reason for each in cuts]
        assert cuts[0].played > 0.2


async def test_the_end_of_an_utterance_can_be_said(tmp_path: Path) -> None:
    async with mock_of(short_scenario(tmp_path)) as mock, calling(mock) as session:
        await session.play(str(write_tone(tmp_path / "user.wav", USER, 3.0)))
        await until(lambda: [e for e in session.events.entries() if isinstance(e.said, TranscriptUpdated)])
        await session.send(EndUtterance())
        final = await session.wait_for(TranscriptCompleted, timeout=DEADLINE)
        assert ("user", "How are you?") == (final.speaker, final.text)
        assert not session.idle  # we are still speaking


# Whoever is at the other end


async def scripted(*messages: Any, close: int | None = None) -> Any:
    """An app whose socket says these once ``start`` came."""
    heard: list[Any] = []

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        heard.append(json.loads((await socket.receive()).data))
        for message in messages:
            await socket.send_str(message if isinstance(message, str) else json.dumps(message))
        if close is not None:
            await socket.close(code=close)
        async for message in socket:
            heard.append(message.data)  # noqa: PERF401 - a test looks at it meanwhile
        return socket

    app = web.Application()
    app.router.add_get("/chat/agent/voice-ws", handle)
    return app, heard


READY = ({"type": "ready", "session_id": "s"}, {"type": "stt.ready"})


async def test_the_old_dialect_with_token_and_no_agent_on_the_self_hosted_path() -> None:
    app, heard = await scripted(*READY)
    async with serving(app) as url:
        socket = url.replace("http", "ws") + "/chat/agent/voice-ws"
        async with rtcpeer.connect("soca", socket, token="t0k3n") as session:
            assert SessionStarted("s") == await session.wait_for(SessionStarted, timeout=DEADLINE)
            await until(lambda: len(heard) > 5)

    start = heard[0]
    assert ("start", "t0k3n", None, "id", 16_000) == tuple(
        start[n] for n in ("type", "token", "agent_id", "lang", "sr")
    )
    assert start["session_id"].startswith("sess_")
    assert {640} == {len(message) for message in heard[1:6]}


async def test_messages_in_the_wrong_order_or_broken_end_nothing() -> None:
    sentence = {"stepType": "sentence", "sentenceId": 1, "chunkIndex": 0, "audioBase64": "AAAA", "seq": 4}
    app, _ = await scripted(
        *READY,
        {"type": "barge", "seq": 9, "reason": "early"},
        sentence,
        {"type": "barge"},
        "no json",
        {**sentence, "seq": 9, "audioBase64": "%"},
        {**sentence, "seq": 9},
        {**sentence, "seq": 9},
        {"type": "stt.final", "text": "still there"},
    )
    async with serving(app) as url:
        socket = url.replace("http", "ws") + "/chat/agent/voice-ws"
        async with rtcpeer.connect("soca", socket, token="t") as session:
            assert "still there" == (await session.wait_for(TranscriptCompleted, timeout=DEADLINE)).text
            assert 4 == session.counters["messages_refused"]


async def test_a_message_that_unpacks_to_many_minutes_is_decoded_in_small_steps_and_no_further_than_two() -> None:
    # MPEG-2.5, layer III, 8 kb/s, 8 kHz, mono: 72 ms in 72 bytes, silent.
    frame = bytes((0xFF, 0xE3, 0x18, 0xC0)) + bytes(68)
    piece = base64.b64encode(frame * 7000).decode()  # 504 s
    sentence = {"stepType": "sentence", "sentenceId": 1, "chunkIndex": 0, "audioBase64": piece, "seq": 1}
    app, _ = await scripted(*READY, sentence, {"type": "stt.final", "text": "still there"})
    steps = 0
    at_refusal: list[int] = []

    async def count() -> None:
        nonlocal steps
        while True:
            await asyncio.sleep(0)
            steps += 1

    async with serving(app) as url:
        socket = url.replace("http", "ws") + "/chat/agent/voice-ws"
        async with rtcpeer.connect("soca", socket, token="t") as session:
            session.events.tap(
                lambda entry: at_refusal.append(steps) if isinstance(entry.said, ErrorReported) else None
            )
            counting = asyncio.create_task(count())
            final = await session.wait_for(TranscriptCompleted, timeout=DEADLINE)
            counting.cancel()
            stats = session.stats()["inbound_audio"]

    assert "still there" == final.text
    refusals = [entry.said.message for entry in session.events.entries() if isinstance(entry.said, ErrorReported)]
    assert ["a message with more than 120 s of audio: the rest of it is dropped"] == refusals
    assert 1 == stats["packets_malformed"]
    assert 120 / 4.1 <= stats["packets_received"] <= 120 / 4 + 2  # pieces of 4096 bytes, 4.1 s each
    assert at_refusal[0] >= 29  # others had their turn between any two of them


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ('{"type": "stop"}', "must start with type=start"),
        ('{"type": "start", "private_key": "wrong", "sr": 16000}', "Invalid or expired token"),
        ('{"type": "start", "token": "wrong", "sr": 16000}', "Invalid or expired token"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/voice-ws", "/voice-ws", "/chat/agent/voice-ws"])
async def test_the_mock_refuses_in_the_documented_words_on_all_paths(path: str, first: str, words: str) -> None:
    async with (
        mock_of("echo") as mock,
        aiohttp.ClientSession() as http,
        http.ws_connect(mock.url("soca") + path) as socket,
    ):
        await socket.send_str(first)
        assert {"type": "error", "message": words} == await socket.receive_json(timeout=DEADLINE)
        assert aiohttp.WSMsgType.CLOSE == (await socket.receive(timeout=DEADLINE)).type
        assert 1008 == socket.close_code


async def test_the_documented_example_runs_against_the_mock(tmp_path: Path) -> None:
    """The vendor's client: blocks of 4096 samples, all chunks of a sentence collected before it is decoded."""
    async with mock_of(greeting_scenario(tmp_path)) as mock, aiohttp.ClientSession() as http:
        async with http.post(mock.url("soca") + "/v1/session/a1", headers={"private_key": mock.api_key}) as response:
            session_id = (await response.json())["data"]["session_id"]
        async with http.ws_connect(mock.url("soca") + "/v1/voice-ws") as socket:
            start = {"type": "start", "private_key": mock.api_key, "session_id": session_id}
            await socket.send_json({**start, "agent_id": "a1", "lang": "id", "sr": 16_000})
            assert {"type": "ready", "session_id": session_id} == await socket.receive_json(timeout=DEADLINE)
            assert {"type": "stt.ready"} == await socket.receive_json(timeout=DEADLINE)
            await socket.send_bytes(bytes(8192))
            chunks = [await socket.receive_json(timeout=DEADLINE)]
            while not chunks[-1]["isLastChunk"]:
                chunks.append(await socket.receive_json(timeout=DEADLINE))
            final = await socket.receive_json(timeout=DEADLINE)

    assert list(range(len(chunks))) == [each["chunkIndex"] for each in chunks]
    assert (None, {1}) == (chunks[-1]["audioBase64"], {each["seq"] for each in chunks})
    assert {"Hello."} == {each["contentStep"] for each in chunks[:-1]}
    assert ("final_answer", "Hello.") == (final["stepType"], final["fullResponse"]["answers"][0]["output"])


async def test_a_wrong_key_is_an_auth_error() -> None:
    async with mock_of("echo") as mock:
        with pytest.raises(AuthError):
            await calling(mock, api_key="wrong")
        with pytest.raises(AuthError, match="Invalid or expired token"):
            await calling(mock, api_key=None, token="wrong")


# Connections that break


async def test_a_session_comes_back_and_goes_on(tmp_path: Path) -> None:
    before = Belongings.now()
    async with mock_of(short_scenario(tmp_path)) as mock, calling(mock, record=tmp_path / "call") as session:
        voice = str(write_tone(tmp_path / "user.wav", USER, 0.6))
        await session.play(voice)
        await session.listen(timeout=DEADLINE)
        name = mock.calls[0].params["session_id"]
        frames = tape_of(session)
        await mock.calls[0].vanish()
        back = await session.wait_for(Reconnected, timeout=DEADLINE)
        await session.play(voice)
        turn = await session.listen(timeout=DEADLINE)

        assert (True, "<emotion>Fine.</emotion>") == (back.state_restored, turn.text)
        assert [name, name] == [call.params["session_id"] for call in mock.calls]
        again = await session.wait_for(Reconnecting, timeout=DEADLINE)
        assert (1, 0.01) == (again.attempt, again.delay)
        assert 0 < back.gap < DEADLINE
        assert frames  # the clock went on
        assert 2 == len([e for e in session.events.entries() if isinstance(e.said, ResponseCompleted)])
    call = json.loads((tmp_path / "call" / "call.json").read_text("utf-8"))
    assert "local" == call["ended"]["reason"]
    await nothing_left_since(before)


async def test_what_was_received_is_played_to_its_end_while_the_connection_is_gone(tmp_path: Path) -> None:
    patient = Backoff(initial=30.0, budget=60.0)
    async with mock_of(talkative(tmp_path)) as mock, calling(mock, reconnect=patient) as session:
        await session.wait_for(SpeechStarted, timeout=DEADLINE)
        await until(lambda: session.stats()["inbound_audio"]["packets_received"] >= 6)
        await mock.calls[0].vanish()
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        frames = tape_of(session)
        await until(lambda: len(frames) >= 60)
        assert AGENT == pytest.approx(loudest_frequency(np.concatenate([theirs for _, theirs in frames])), abs=5)
        with pytest.raises(ConnectionLost):
            await session.send(EndUtterance())


async def test_closing_a_session_ends_its_attempts_to_come_back(tmp_path: Path) -> None:
    before = Belongings.now()
    async with mock_of("echo") as mock:
        session = await calling(mock, reconnect=Backoff(initial=30.0))
        await mock.calls[0].vanish()
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        await session.close()
        assert "local" == (await session.wait_for(Closed)).reason
    await nothing_left_since(before)


async def test_without_reconnect_a_lost_connection_is_the_end() -> None:
    async with mock_of("echo") as mock, calling(mock, reconnect=None) as session:
        await mock.calls[0].vanish()
        with pytest.raises(ConnectionLost):
            await session.listen(timeout=DEADLINE)


async def test_a_goodbye_is_no_loss() -> None:
    async with mock_of("echo") as mock, calling(mock) as session:
        await mock.calls[0].hang_up()
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason
        assert not [e for e in session.events.entries() if isinstance(e.said, Reconnecting)]


@pytest.mark.parametrize(("code", "again"), [(1001, True), (1011, True), (1008, False)])
async def test_another_close_code_is_a_loss_unless_it_is_ours_to_mend(code: int, again: bool) -> None:
    app, heard = await scripted(*READY, close=code)
    async with serving(app) as url:
        socket = url.replace("http", "ws") + "/chat/agent/voice-ws"
        attempts = Backoff(initial=0.001, attempts=2, jitter=0.0)
        async with rtcpeer.connect("soca", socket, token="t", reconnect=attempts) as session:
            if again:
                await until(lambda: len([each for each in heard if isinstance(each, dict)]) >= 3)
                ids = {each["session_id"] for each in heard if isinstance(each, dict)}
                assert 1 == len(ids)
                # It opens each time, and is gone again: two attempts are two attempts.
                await session.wait_for(Closed, timeout=DEADLINE)
                assert 3 == len([each for each in heard if isinstance(each, dict)])
            else:
                closed = await session.wait_for(Closed, timeout=DEADLINE)
                assert "lost" == closed.reason
                assert 1 == len([each for each in heard if isinstance(each, dict)])


async def test_attempts_that_fail_end_the_session_and_say_why() -> None:
    async with mock_of("echo") as mock:
        session = await calling(mock, reconnect=Backoff(initial=0.001, attempts=3, jitter=0.0))
        await mock.calls[0].vanish()
        mock.faults = ["calls-500"]
        closed = await session.wait_for(Closed, timeout=DEADLINE)
        await session.close()
        said = [entry.said for entry in session.events.entries()]
    tried = [each.attempt for each in said if isinstance(each, Reconnecting)]
    assert list(range(1, len(tried) + 1)) == tried
    assert "lost" == closed.reason
    assert "no new connection" in closed.detail


async def test_a_key_that_is_no_longer_good_is_not_tried_again() -> None:
    async with mock_of("echo") as mock:
        session = await calling(mock, reconnect=Backoff(initial=0.001, attempts=9, jitter=0.0))
        mock.tokens._api_key = b"changed"
        await mock.calls[0].vanish()
        closed = await session.wait_for(Closed, timeout=DEADLINE)
        await session.close()
        tried = [e for e in session.events.entries() if isinstance(e.said, Reconnecting)]
    assert 1 == len(tried)
    assert "Invalid or expired token" in closed.detail


async def test_a_fresh_token_is_made_for_each_connection() -> None:
    made: list[str] = []
    async with mock_of("echo") as mock:

        async def token() -> str:
            made.append(mock.api_key)
            return mock.api_key

        async with calling(mock, api_key=None, token=token) as session:
            await mock.calls[0].vanish()
            await session.wait_for(Reconnected, timeout=DEADLINE)
    assert 2 == len(made)


# The command line


async def test_join_takes_the_agent_and_leaves_a_recording(tmp_path: Path) -> None:
    async with mock_of(short_scenario(tmp_path)) as mock:
        voice = write_tone(tmp_path / "user.wav", USER, 0.6)
        command = [sys.executable, "-W", "error", "-m", "rtcpeer", "join", "soca", mock.url("soca"), "--agent", "a1"]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--play",
            str(voice),
            "--record",
            str(tmp_path / "call"),
            "--json",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"RTCPEER_API_KEY": mock.api_key},
        )
        out, err = await asyncio.wait_for(process.communicate(), 2 * DEADLINE)

    assert 0 == process.returncode, err.decode()
    types = [json.loads(line)["type"] for line in out.decode().splitlines()]
    assert {"SessionStarted", "TranscriptUpdated", "TranscriptCompleted", "ResponseCompleted"} <= set(types)
    assert (tmp_path / "call" / "audio.ogg").stat().st_size > 1000


async def test_join_without_reconnect_fails_when_the_connection_breaks(tmp_path: Path) -> None:
    async with mock_of("echo") as mock:
        command = [
            sys.executable,
            "-m",
            "rtcpeer",
            "join",
            "soca",
            mock.url("soca"),
            "--agent",
            "a1",
            "--no-reconnect",
        ]
        process = await asyncio.create_subprocess_exec(
            *command,
            "--duration",
            "60",
            "--json",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"RTCPEER_API_KEY": mock.api_key},
        )
        await until(lambda: mock.calls and mock.calls[0].state == "open")
        await mock.calls[0].vanish()
        out, _ = await asyncio.wait_for(process.communicate(), 2 * DEADLINE)

    assert 1 == process.returncode
    last = json.loads(out.decode().splitlines()[-1])
    assert ("Closed", "lost") == (last["type"], last["reason"])
    assert "Reconnecting" not in out.decode()
