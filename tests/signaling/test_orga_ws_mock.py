"""Orga audio over WebSocket, our own profile: the mock by bare aiohttp, the peer against it, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
    loudest_frequency,
    serving,
    short_scenario,
    until,
    write_tone,
)

import rtcpeer
from rtcpeer import (
    AuthError,
    Closed,
    ConfigurationError,
    ConnectionLost,
    ErrorReported,
    Interrupted,
    LocalProtocolError,
    SessionStarted,
    TokenExpired,
    Unsupported,
)
from rtcpeer.audio.opus import OpusDecoder, OpusEncoder
from rtcpeer.commands import Interrupt, UpdateSession
from rtcpeer.connecting import Connecting
from rtcpeer.protocols import OrgaWs
from rtcpeer.session import Session
from signaling import MockServer
from signaling.scenario import Line

SOCKET = "/v1/realtime/ws"


pytestmark = pytest.mark.usefixtures("nothing_left")


async def new_token(http: aiohttp.ClientSession, mock: MockServer) -> str:
    url = f"{mock.url('orga-ws')}/v1/realtime/client-secrets"
    async with http.post(url, headers={"Authorization": f"Bearer {mock.api_key}"}) as response:
        found: str = (await response.json())["ephemeral_token"]
        return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def calling(mock: MockServer, **options: Any) -> Connecting:
    given = {"api_key": mock.api_key} | options
    return rtcpeer.connect("orga-ws", mock.url("orga-ws"), **given)


def of_kind(session: Session, kind: type) -> list[Any]:
    return [entry.said for entry in session.events.entries() if isinstance(entry.said, kind)]


async def refused_with(socket: aiohttp.ClientWebSocketResponse) -> tuple[str, int | None]:
    """Return the words of the error before the close, and the close's code."""
    error = (await socket.receive(timeout=DEADLINE)).json()
    assert "error" == error["type"]
    closing = await socket.receive(timeout=DEADLINE)
    assert aiohttp.WSMsgType.CLOSE is closing.type
    return error["error"]["message"], closing.data


# The mock, by hand


@pytest.mark.parametrize("codec", ["pcm16", "opus"])
@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_conversation_as_our_page_has_it(http, mock, codec, by):
    token = await new_token(http, mock)
    url = f"{mock.url('orga-ws')}{SOCKET}?codec={codec}" + (f"&token={token}" if by == "query" else "")
    seen: list[dict[str, Any]] = []
    heard: list[bytes] = []
    encoder = OpusEncoder(24_000)
    tone = spectrum.tone(USER, 0.5, 24_000).reshape(-1, 480, 1)
    frames = [*tone, *np.zeros((100, 480, 1), np.int16)]

    async with http.ws_connect(url, headers=bearer(token) if by == "header" else {}) as socket:
        await socket.send_json({"event": "session.update", "data": {"voice": "alloy", "modalities": ["audio"]}})

        async def speak() -> None:
            for frame in frames:
                await socket.send_bytes(encoder.encode(frame) if codec == "opus" else frame.tobytes())
                await asyncio.sleep(0.02)

        speaking = asyncio.create_task(speak())
        async with asyncio.timeout(DEADLINE):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    heard.append(message.data)
                else:
                    seen.append(message.json())
                if seen and seen[-1]["type"] == "response.output_item.done":
                    break
        speaking.cancel()
        await socket.close()

    assert [
        "session.created",
        "conversation.created",
        "conversation.item.input_audio_transcription.completed",
        "response.output_item.done",
    ] == [each["type"] for each in seen]
    assert {"id": mock.calls[0].id} == seen[1]["conversation"]
    assert "How are you?" == seen[2]["transcript"]
    decoder = OpusDecoder(24_000)
    pcm = [decoder.decode(data) if codec == "opus" else np.frombuffer(data, "<i2").reshape(-1, 1) for data in heard]
    assert {480} == {len(frame) for frame in pcm}  # 20 ms, silence included
    assert AGENT == pytest.approx(loudest_frequency(np.concatenate(pcm), 24_000), abs=5)
    assert UpdateSession(voice="alloy", modalities=("audio",)) in mock.received


@pytest.mark.parametrize("token", [None, "nonsense", "sk_test"])
async def test_without_a_token_of_ours_the_socket_says_so_and_is_closed_with_4401(http, mock, token):
    query = "" if token is None else f"?token={token}"
    async with http.ws_connect(f"{mock.url('orga-ws')}{SOCKET}{query}") as socket:
        expected = "Not authenticated" if token is None else "Invalid ephemeral token"
        assert (expected, 4401) == await refused_with(socket)
    assert () == mock.calls


async def test_a_token_opens_one_socket(http, mock):
    token = await new_token(http, mock)
    url = mock.url("orga-ws") + SOCKET
    async with http.ws_connect(url, headers=bearer(token)) as first:
        assert "session.created" == (await first.receive(timeout=DEADLINE)).json()["type"]
        async with http.ws_connect(url, headers=bearer(token)) as second:
            assert ("Ephemeral token was already consumed", 4401) == await refused_with(second)
        assert 1 == len(mock.calls)


async def test_a_request_that_is_no_upgrade_is_a_400_and_spends_no_token(http, mock):
    token = await new_token(http, mock)
    async with http.get(mock.url("orga-ws") + SOCKET, headers=bearer(token)) as response:
        assert 400 == response.status
    async with http.ws_connect(mock.url("orga-ws") + SOCKET, headers=bearer(token)) as socket:
        assert "session.created" == (await socket.receive(timeout=DEADLINE)).json()["type"]


@pytest.mark.parametrize("query", ["sample_rate=7", "sample_rate=44100&codec=opus", "codec=mp3", "temperature=x"])
async def test_a_parameter_that_cannot_be_had_is_closed_with_1003(http, mock, query):
    token = await new_token(http, mock)
    async with http.ws_connect(f"{mock.url('orga-ws')}{SOCKET}?{query}", headers=bearer(token)) as socket:
        said, code = await refused_with(socket)
    assert 1003 == code
    assert "give" in said


async def test_a_client_that_says_nonsense_is_refused_message_by_message_and_goes_on(http, mock):
    token = await new_token(http, mock)
    async with http.ws_connect(f"{mock.url('orga-ws')}{SOCKET}?codec=opus", headers=bearer(token)) as socket:
        await socket.send_str("{")
        await socket.send_str('{"event": "session.update", "data": []}')
        await socket.send_bytes(b"")
        await socket.send_bytes(b"\xff" * 3000)  # no Opus packet
        await socket.send_str('{"event": "session.update", "data": {"voice": "Lucía"}}')
        await until(lambda: UpdateSession(voice="Lucía") in mock.received)
        stats = mock.calls[0].to_dict()["stats"]

    assert 4 == sum(isinstance(said, ErrorReported) for said in mock.received)
    assert (4, 1) == (stats["messages"]["messages_refused"], stats["inbound_audio"]["packets_malformed"])


async def test_either_protocol_alone_has_the_route_of_the_token(http):
    for protocols in (["orga-ws"], ["orga-ws", "orga"], ["orga", "orga-ws"]):
        async with MockServer(protocols=protocols) as mock, calling(mock) as session:
            assert of_kind(session, SessionStarted)


# The peer


@pytest.mark.parametrize("params", [{}, {"codec": "opus"}, {"sample_rate": 8_000}, {"sample_rate": "44100"}])
async def test_a_turn_is_taken_heard_and_measured(mock, tmp_path, params):
    async with calling(mock, params=params) as session:
        await session.play(write_tone(tmp_path / "user.wav", USER))
        turn = await session.listen(timeout=DEADLINE)
        kinds = [type(entry.said).__name__ for entry in session.events.entries()]

    assert ("How are you?", "Fine.") == (turn.heard, turn.text)
    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=5)
    # 500 ms of hang-over at the mock, which then answers at once; two leads on the way.
    assert 0.5 < turn.turnaround < 1.5
    assert ["session", "socket", "ready"] == list(session.phases)
    assert kinds.index("SessionStarted") < kinds.index("ConversationStarted") < kinds.index("SpeechStarted")
    assert session.conversation_id == mock.calls[0].id


async def test_the_call_starts_with_what_was_asked_for_and_instructions_are_in_no_url(mock):
    given = {"voice": "alloy", "temperature": 0, "instructions": "Be brief.", "codec": "opus"}
    async with calling(mock, params=given) as session:
        await until(lambda: mock.received)
        details = of_kind(session, SessionStarted)[0].details
        await session.update(instructions="Be long.")
        await until(lambda: len(mock.received) == 2)

    assert ("alloy", 0.0, None) == (details["voice"], details["temperature"], details["instructions"])
    wanted = UpdateSession("orga-1-beta", "alloy", 0.0, "Be brief.", ("audio",))
    assert [wanted, UpdateSession(instructions="Be long.", modalities=("audio",))] == mock.received


async def test_a_word_in_between_interrupts_the_agent_and_silences_it(tmp_path):
    line = Line(str(write_tone(tmp_path / "long.wav", AGENT, 8.0)), "A long story.")
    async with MockServer(scenario=short_scenario(tmp_path, greeting=line, turns=())) as mock:
        async with calling(mock) as session:
            frames: list[Any] = []
            at: list[int] = []
            session.tap(lambda position, said, heard: frames.append(heard.copy()))
            session.events.tap(lambda entry: at.append(len(frames)) if isinstance(entry.said, Interrupted) else None)
            await until(lambda: len(frames) > 50)
            await session.play(write_tone(tmp_path / "user.wav", USER))
            interrupted = await session.wait_for(Interrupted, timeout=DEADLINE)
            await until(lambda: len(frames) > at[0] + 25)
        assert mock.calls[0].interruptions

    assert "speech-started" == interrupted.reason
    audible = [number for number, frame in enumerate(frames) if np.abs(frame).max() > 100]
    # Of the answer, and not since the session began.
    assert 0.02 * (at[0] - audible[0]) == pytest.approx(interrupted.played, abs=0.06)
    assert max(audible) - at[0] <= 3  # frames of 20 ms


async def test_we_interrupt_here_and_have_no_word_for_it(mock):
    async with calling(mock) as session:
        with pytest.raises(Unsupported, match="Interrupt"):
            await session.send(Interrupt())
        await session.interrupt()
        assert [] == of_kind(session, Interrupted)  # nobody spoke


async def test_closing_twice_is_closing_once_with_1000(mock):
    session = await calling(mock)
    await asyncio.gather(session.close(), session.close())
    await session.close()

    assert [Closed("local")] == of_kind(session, Closed)
    await until(lambda: mock.calls[0].state == "closed")
    assert "remote" == mock.calls[0].to_dict()["closed"]["reason"]  # 1000: a goodbye


@pytest.mark.parametrize("netem", ["delay=80ms,jitter=40ms", "stall=500ms+200ms/2s"])
async def test_a_turn_survives_a_network_that_delays_and_stalls(mock, tmp_path, netem):
    async with calling(mock, netem=netem) as session:
        await session.play(write_tone(tmp_path / "user.wav", USER))
        turn = await session.listen(timeout=DEADLINE)
        stats = session.stats()

    assert ("How are you?", "Fine.") == (turn.heard, turn.text)
    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=5)
    assert 0.02 <= stats["websocket"]["playout_lead"] <= 0.2
    assert 0 == stats["inbound_audio"]["packets_malformed"]


async def test_loss_on_a_stream_is_a_usage_error(mock):
    with pytest.raises(ConfigurationError, match="loss"):
        await calling(mock, netem="loss=5%")


# What goes wrong


async def test_wrong_key_is_an_auth_error_that_does_not_repeat_it(mock):
    with pytest.raises(AuthError, match="is the API key right") as caught:
        await calling(mock, api_key="sk_orga_ai_wrong")
    assert "sk_orga_ai_wrong" not in str(caught.value)


async def test_a_key_for_the_socket_itself_is_refused_before_it_is_sent(mock):
    with pytest.raises(ConfigurationError, match="opens no socket"):
        await rtcpeer.connect("orga-ws", f"ws{mock.url().removeprefix('http')}{SOCKET}", api_key=mock.api_key)


@pytest.mark.parametrize(
    ("token", "kind", "says"), [("nonsense", AuthError, "Invalid"), ("spent", TokenExpired, "consumed")]
)
async def test_refused_token_reports_its_error_and_then_closes_once(http, mock, token, kind, says):
    if token == "spent":
        token = await new_token(http, mock)
        async with http.ws_connect(mock.url("orga-ws") + SOCKET, headers=bearer(token)):
            await until(lambda: mock.calls)
    entries: list[Any] = []
    with pytest.raises(kind, match=says) as caught:
        await calling(mock, api_key=None, token=token, on_session=lambda session: session.events.tap(entries.append))

    assert kind is type(caught.value)
    said = [entry.said for entry in entries if isinstance(entry.said, (SessionStarted, ErrorReported, Closed))]
    assert ["ErrorReported", "Closed"] == [type(each).__name__ for each in said]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("reject-key", AuthError),
        ("expired-token", TokenExpired),
        ("spent-token", TokenExpired),
        ("calls-422", LocalProtocolError),
        ("calls-500", ConnectionLost),
    ],
)
async def test_fault_before_the_session_is_the_error_of_its_kind(mock, fault, kind):
    mock.faults = [fault]
    with pytest.raises(kind) as caught:
        await calling(mock)
    assert kind is type(caught.value)


@pytest.mark.parametrize(("fault", "reason"), [("hang-up", "remote"), ("vanish", "lost")])
async def test_fault_in_mid_call_ends_it_once(mock, fault, reason):
    async with calling(mock, reconnect=None) as session:
        mock.faults = [fault]
        await until(lambda: session.events.closed)
    assert [reason] == [closed.reason for closed in of_kind(session, Closed)]


@asynccontextmanager
async def hostile(*messages: str | bytes) -> AsyncIterator[str]:
    """Yield the URL of a far end that says this, then waits for the goodbye."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get(SOCKET, handle)
    async with serving(app) as url:
        yield f"ws{url.removeprefix('http')}{SOCKET}"


CREATED = json.dumps({"type": "session.created", "session": {"id": "sess_1"}})


async def test_far_end_that_says_nonsense_is_reported_counted_and_outlived():
    nonsense = [
        "{",
        '{"type": "error"}',
        '{"type": "session.created"}',
        b"",
    ]
    errors = json.dumps({"type": "error", "error": {"message": "Not now.", "type": "server_error"}})
    unknown = json.dumps({"type": "weather.changed"})
    async with hostile(CREATED, *nonsense, unknown, errors) as url, rtcpeer.connect("orga-ws", url) as session:
        await until(lambda: "Not now." in [each.message for each in of_kind(session, ErrorReported)])
        stats = session.stats()

    assert len(nonsense) == stats["messages"]["messages_refused"]
    assert [Closed("local")] == of_kind(session, Closed)


async def test_far_end_that_starts_no_session_is_a_timeout():
    async with hostile() as url:
        with pytest.raises(rtcpeer.OpenTimeout):
            await rtcpeer.connect("orga-ws", url, open_timeout=0.3)


# Parameters


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sample_rate": 7_999}, "8000 to 48000"),
        ({"sample_rate": 48_050}, "8000 to 48000"),
        ({"sample_rate": 24_001}, "multiple of 50"),
        ({"sample_rate": True}, "sample_rate"),
        ({"sample_rate": "22050", "codec": "opus"}, "with codec=opus"),
        ({"codec": "mp3"}, "pcm16 or opus"),
        ({"modalities": "video"}, "no parameter modalities"),
    ],
)
def test_parameter_that_cannot_be_is_refused_by_name(options, says):
    with pytest.raises(ConfigurationError, match=says):
        OrgaWs.configure(options)
