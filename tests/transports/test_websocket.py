"""The WebSocket link against far ends that are not ours: scripted servers of bare aiohttp, well-behaved and not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import pytest
import spectrum
from aiohttp import web
from calling import DEADLINE, serving, until

import rtcpeer
from rtcpeer import (
    AuthError,
    Closed,
    ConfigurationError,
    ConnectionLost,
    Degraded,
    ErrorReported,
    Interrupted,
    OpenTimeout,
    ResponseCompleted,
    Session,
    SignalingError,
    TokenExpired,
    TranscriptCompleted,
    Unknown,
    Unsupported,
    Watchdog,
)
from rtcpeer.connecting import Connecting
from rtcpeer.protocols import Orbitali
from rtcpeer.transports import heartbeat, outbox, websocket
from rtcpeer.transports.dialling import MESSAGE_LIMIT
from rtcpeer.transports.stream_impairment import LINE_LIMIT

Script = Callable[[web.WebSocketResponse], Awaitable[None]]
STARTED = {"type": "session.started", "callId": "call_1"}


pytestmark = pytest.mark.usefixtures("nothing_left")


@asynccontextmanager
async def far_end(script: Script, *, autoping: bool = True) -> AsyncIterator[str]:
    """Serve one script a connection; yields the socket's URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(autoping=autoping, timeout=1.0)
        await socket.prepare(request)
        await script(socket)
        return socket

    app = web.Application()
    app.router.add_get("/ws/agents/a1", handle)
    async with serving(app) as url:
        yield f"ws{url.removeprefix('http')}/ws/agents/a1?token=t"


def calling(url: str, protocol: Any = "orbitali", **options: Any) -> Connecting:
    return rtcpeer.connect(protocol, url, **options)


async def drain(socket: web.WebSocketResponse) -> list[dict[str, Any]]:
    """Read until the peer is gone; return what it said."""
    return [message.json() async for message in socket if message.type is aiohttp.WSMsgType.TEXT]


def audio(seconds: float, frequency: float = 440.0) -> dict[str, Any]:
    pcm = spectrum.tone(frequency, seconds, 24_000)
    return {
        "type": "output_audio",
        "audio": base64.b64encode(pcm.tobytes()).decode(),
        "encoding": "pcm16",
        "sampleRate": 24_000,
    }


def of_kind(session: Session, kind: type) -> list[Any]:
    return [entry.said for entry in session.events.entries() if isinstance(entry.said, kind)]


class Ear:
    """What a session handed on, and how much of it when something happened."""

    def __init__(self, session: Session) -> None:
        self.frames: list[np.ndarray] = []
        self.at_interruption: int | None = None
        session.tap(lambda position, said, heard: self.frames.append(heard.copy()))
        session.events.tap(self._on_event)

    def _on_event(self, entry: Any) -> None:
        if isinstance(entry.said, Interrupted):
            self.at_interruption = len(self.frames)

    def audible(self) -> list[int]:
        return [number for number, frame in enumerate(self.frames) if np.abs(frame).max() > 100]


# Being told a secret of one's own


@pytest.mark.parametrize("spelled", ["tok/en-0123456789", "tok\\/en-0123456789", "tok%2Fen-0123456789"])
async def test_a_far_end_that_quotes_our_token_does_not_get_it_into_events_or_errors(spelled: str):
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await socket.send_json({"type": "mock.unknown", "token": spelled})
        await socket.send_json({"type": "error", "message": f"bad token {spelled}!"})
        await socket.close(code=4401, message=f"no: {spelled}".encode())

    async with far_end(script) as url:
        async with calling(url.replace("token=t", "token=tok%2Fen-0123456789"), reconnect=None) as session:
            await session.wait_for(Closed, timeout=DEADLINE)
        shown = repr([entry.said for entry in session.events.entries()])

    assert "en-0123456789" not in shown
    assert ["bad token [credential]"] == [each.message for each in of_kind(session, ErrorReported)][:1]
    assert 1 == len(of_kind(session, Unknown))


# Opening


async def test_nothing_of_ours_is_sent_before_the_session_started_and_then_20_ms_at_a_time():
    before_started: list[Any] = []
    chunks: list[bytes] = []
    may_start, enough = asyncio.Event(), asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await may_start.wait()
        await socket.send_json(STARTED)
        async for message in socket:
            content = message.json()
            if content["type"] == "input_audio":
                chunks.append(base64.b64decode(content["audio"]))
            if len(chunks) == 20:
                enough.set()

    async with far_end(script) as url:
        connecting = asyncio.ensure_future(calling(url).__aenter__())
        await asyncio.sleep(0)
        before_started += chunks
        may_start.set()
        session = await connecting
        async with asyncio.timeout(DEADLINE):
            await enough.wait()
        await session.close()

    assert [] == before_started
    assert {640} == {len(chunk) for chunk in chunks[:20]}


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        (4401, TokenExpired, True),
        (4404, SignalingError, True),
        (1008, AuthError, False),
        (1011, ConnectionLost, True),
        (1000, ConnectionLost, True),
    ],
)
async def test_socket_closed_before_it_is_ready_raises_the_close_codes_error(code: int, kind: type, retryable: bool):
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.close(code=code, message=b"no")

    async with far_end(script) as url:
        with pytest.raises(kind) as caught:
            await calling(url)

    assert kind is type(caught.value)
    assert retryable is caught.value.retryable


async def test_what_the_server_said_before_it_closed_is_in_the_error():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "error", "message": "The token has expired"})
        await socket.close(code=4401)

    async with far_end(script) as url:
        with pytest.raises(TokenExpired, match="The token has expired"):
            await calling(url)


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (401, {}, AuthError),
        (403, {}, AuthError),
        (404, {}, SignalingError),
        (503, {"Retry-After": "7"}, SignalingError),
        (200, {}, SignalingError),
    ],
)
async def test_refused_upgrade_raises_the_error_of_its_status(status: int, headers: dict[str, str], kind: type):
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/ws/agents/a1", handle)
    async with serving(app) as url:
        with pytest.raises(kind) as caught:
            await calling(f"ws{url.removeprefix('http')}/ws/agents/a1?token=secret-token")

    assert kind is type(caught.value)
    assert "secret-token" not in f"{caught.value!r} {caught.value.__cause__!r}"
    if headers:
        assert 7.0 == caught.value.retry_after


async def test_nothing_at_that_port_is_a_signaling_error():
    with pytest.raises(SignalingError, match="nothing answers"):
        await calling("ws://127.0.0.1:9/ws/agents/a1?token=t")


async def test_server_that_never_says_ready_is_an_open_timeout():
    async with far_end(drain) as url:
        with pytest.raises(OpenTimeout, match="'ready'"):
            await calling(url, open_timeout=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"netem": "loss=5%"}, "loses, doubles and reorders nothing"),
        ({"netem": "delay=20ms,duplicate=1%"}, "duplicate"),
        ({"video": "test"}, "no video"),
        ({"ice_policy": "relay"}, "no ICE"),
        ({"interface": "lo", "udp_ports": (1, 2)}, "leave out interface, udp_ports"),
        ({"api_key": "orb_live_x"}, "opens no socket"),
        ({"params": {"voice": "x"}}, "voice"),
    ],
)
def test_what_cannot_be_done_over_a_websocket_is_refused_before_anything_is_sent(options: dict, message: str):
    with pytest.raises(ConfigurationError, match=message):
        calling("ws://127.0.0.1:9/ws/agents/a1?token=t", **options)


def test_base_url_needs_an_agent_and_a_credential():
    with pytest.raises(ConfigurationError, match="agent_id"):
        calling("http://127.0.0.1:9", api_key="orb_live_x")
    with pytest.raises(ConfigurationError, match="exactly one of api_key"):
        calling("http://127.0.0.1:9", params={"agent_id": "a1"})


# Hearing


async def test_burst_is_heard_whole_at_its_own_pitch():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        for _ in range(5):
            await socket.send_json(audio(0.2))
        await socket.send_json({"type": "transcript", "role": "assistant", "text": "Hello."})
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        turn = await session.listen(timeout=DEADLINE)

    sound = spectrum.as_float(turn.audio)
    voiced = np.flatnonzero(np.abs(sound[:, 0]) > 0.01)
    assert 1.0 == pytest.approx((voiced[-1] - voiced[0]) / 48_000, abs=0.02)
    assert 440 == pytest.approx(spectrum.dominant_frequency(sound[voiced[0] : voiced[-1]], 48_000), abs=3)
    assert "Hello." == turn.text


async def test_clear_cuts_what_plays_and_what_waits_and_says_how_much_was_heard():
    clear = asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await socket.send_json(audio(5.0))
        await clear.wait()
        await socket.send_json({"type": "clear"})
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        ear = Ear(session)
        await until(lambda: len(ear.audible()) >= 25)
        clear.set()
        interrupted = await session.wait_for(Interrupted, timeout=DEADLINE)
        assert ear.at_interruption is not None
        await until(lambda: len(ear.frames) >= ear.at_interruption + 25)
        stats = session.stats()["inbound_audio"]

    # One frame, with 5 ms of fade in it: 25 ms, and 20 until the next tick.
    assert len([number for number in ear.audible() if number >= ear.at_interruption]) <= 1
    handed_on = 0.02 * len([number for number in ear.audible() if number < ear.at_interruption])
    assert handed_on == pytest.approx(interrupted.played, abs=0.021)
    assert "clear" == interrupted.reason
    assert 5.0 - handed_on == pytest.approx(stats["interrupted_samples"] / 48_000, abs=0.03)


async def test_interrupting_here_drops_what_still_comes_of_that_turn_and_hears_the_next():
    go_on, next_turn, begin = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await socket.send_json(audio(3.0))
        await go_on.wait()
        await socket.send_json(audio(3.0))
        await next_turn.wait()
        await socket.send_json({"type": "transcript", "role": "assistant", "text": "The first turn."})
        await begin.wait()
        await socket.send_json(audio(0.5, 1000.0))
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        ear = Ear(session)
        await until(lambda: len(ear.audible()) >= 10)
        await session.interrupt()
        cut = len(ear.frames)
        go_on.set()
        await until(lambda: len(ear.frames) >= cut + 30)
        assert len([number for number in ear.audible() if number >= cut]) <= 1
        next_turn.set()
        await until(lambda: of_kind(session, ResponseCompleted))
        marked = len(ear.frames)
        await until(lambda: len(ear.frames) >= marked + 15)
        begin.set()
        await until(lambda: len([number for number in ear.audible() if number > cut + 30]) >= 20)
        heard = np.concatenate(ear.frames[cut + 30 :])

    assert "local" == of_kind(session, Interrupted)[0].reason
    sound = spectrum.loudest(spectrum.as_float(heard), 48_000, 0.2)
    assert 1000 == pytest.approx(spectrum.dominant_frequency(sound, 48_000), abs=5)


@pytest.mark.parametrize(
    "nonsense",
    [
        "no JSON",
        "[1, 2]",
        '{"type": "output_audio"}',
        '{"type": "output_audio", "audio": "%%%"}',
        '{"type": "output_audio", "audio": "QUJDR"}',  # a fifth character stands for no byte
        '{"type": "output_audio", "audio": "QUI=", "sampleRate": 7}',
        '{"type": "output_audio", "audio": "QUI=", "encoding": "mp3"}',
        '{"type": "session.started", "callId": 7}',
        b"\x00\xff\x00",
    ],
)
async def test_malformed_message_is_reported_and_the_call_goes_on(nonsense: str | bytes):
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await (socket.send_str(nonsense) if isinstance(nonsense, str) else socket.send_bytes(nonsense))
        await socket.send_json({"type": "transcript", "role": "assistant", "text": "Still here."})
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        await session.wait_for(ResponseCompleted, timeout=DEADLINE)

    assert ["refused"] == [error.code for error in of_kind(session, ErrorReported)]
    assert 1 == session.counters["messages_refused"]


async def test_messages_out_of_order_and_unknown_ones_are_events():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "clear"})
        await socket.send_json({"type": "transcript", "role": "user", "text": "early"})
        await socket.send_json({"type": "weather", "sunny": True})
        await socket.send_json(STARTED)
        await socket.send_json(STARTED)
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        await until(lambda: len(of_kind(session, rtcpeer.SessionStarted)) == 2)

    assert 0.0 == of_kind(session, Interrupted)[0].played
    assert ["early"] == [said.text for said in of_kind(session, TranscriptCompleted)]
    assert 1 == len(of_kind(session, Unknown))


# Ending


async def ended(session: Session) -> Closed:
    async with asyncio.timeout(DEADLINE):
        async for entry in session.events.read():
            if isinstance(entry.said, Closed):
                return entry.said
    raise AssertionError("no Closed")


@pytest.mark.parametrize(("code", "reason"), [(1000, "remote"), (1001, "remote"), (1011, "lost"), (4401, "lost")])
async def test_far_ends_close_code_says_whether_it_hung_up_or_broke(code: int, reason: str):
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await socket.close(code=code)

    async with far_end(script) as url, calling(url) as session:
        assert reason == (await ended(session)).reason
        if reason == "lost":
            assert str(code) in (await ended(session)).detail
            with pytest.raises(ConnectionLost):
                _ = [said async for said in session]


async def test_socket_that_dies_without_a_close_is_lost():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        transport = socket._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()

    async with far_end(script) as url, calling(url) as session:
        assert "lost" == (await ended(session)).reason


async def test_message_over_the_limit_ends_the_connection_unread():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await socket.send_str("x" * (MESSAGE_LIMIT + 1))
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        closed = await ended(session)

    assert "lost" == closed.reason
    assert "over 1048576 bytes" in closed.detail
    assert 1 == session.counters["messages_refused"]


async def test_far_end_that_answers_no_ping_is_lost(monkeypatch: pytest.MonkeyPatch):
    class Hasty(Orbitali):
        profile = replace(Orbitali.profile, name="hasty", heartbeat=0.05)

    monkeypatch.setattr(heartbeat, "PONG_DEADLINE", 0.1)

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await drain(socket)  # without autoping it reads pings, and says nothing

    async with far_end(script, autoping=False) as url, calling(url, Hasty) as session:
        closed = await ended(session)

    assert ("lost", True) == (closed.reason, "no sign of life" in closed.detail)


async def test_far_end_that_falls_silent_is_asked_long_before_the_protocol_would():
    asked: list[aiohttp.WSMsgType] = []

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.PING:
                asked.append(message.type)
                if len(asked) <= 3:
                    await socket.pong(message.data)
        codes.append(socket.close_code)

    codes: list[int | None] = []
    short = Watchdog(ask_after=0.1, lost_after=0.5)
    async with far_end(script, autoping=False) as url, calling(url, watchdog=short, reconnect=None) as session:
        closed = await ended(session)
        said = [type(entry.said) for entry in session.events.entries()]
        await session.close()

    assert ("lost", True) == (closed.reason, "stopped answering" in closed.detail)
    assert len(asked) >= 5
    assert [Degraded, Closed] == said[-2:]
    assert [aiohttp.WSCloseCode.ABNORMAL_CLOSURE] == codes  # it is not told goodbye: it may hear us, and come back


async def test_questions_that_were_answered_leave_nothing_behind():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        link: Any = session.link
        before = len(link._tasks)
        for _ in range(20):
            link._ask_for_life()
            await link._asking

        assert before == len(link._tasks)


async def test_far_end_that_answers_pings_is_alive_and_timed():
    class Hasty(Orbitali):
        profile = replace(Orbitali.profile, name="hasty", heartbeat=0.05)

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await drain(socket)

    async with far_end(script) as url, calling(url, Hasty) as session:
        await until(lambda: session.stats()["outbound_audio"]["round_trip_time"] is not None)


async def test_closing_says_stop_and_then_1000():
    said: list[dict[str, Any]] = []
    codes: list[int | None] = []

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        said.extend(await drain(socket))
        codes.append(socket.close_code)

    async with far_end(script) as url:
        async with calling(url):
            pass
        await until(lambda: codes)

    assert {"type": "stop"} == said[-1]
    assert [1000] == codes


async def test_abandoned_session_is_gone_without_a_word():
    said: list[dict[str, Any]] = []
    codes: list[int | None] = []

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        said.extend(await drain(socket))
        codes.append(socket.close_code)

    async with far_end(script) as url:
        session = await calling(url)
        await session.abandon()
        await until(lambda: codes)

    assert {"type": "stop"} not in said
    assert codes != [1000]


async def test_far_end_that_reads_nothing_costs_old_audio_and_no_control_message(monkeypatch: pytest.MonkeyPatch):
    """What waits is bounded: of audio the oldest is dropped, and too much else means that the far end is stuck."""
    monkeypatch.setattr(outbox, "CONTROL_WAITING", 50)

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        link = session.link
        assert isinstance(link, websocket.WebSocketLink)
        line = link._impairment.outgoing
        line._waiting.append((link._loop.time() + 3600, 0, ""))  # the network takes nothing
        line._bytes = LINE_LIMIT + 1
        await until(lambda: session.stats()["websocket"]["audio_messages_dropped"] >= 3)
        assert link._outbox._audio * 0.02 <= outbox.AUDIO_WAITING
        with pytest.raises(ConnectionLost, match="takes no messages"):
            link.send_messages(["{}"] * 60)
        assert 50 == len(link._outbox._queue) - link._outbox._audio
        link._gone = True  # spare the goodbye


async def test_delay_on_the_network_is_there_and_nothing_is_lost():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        for number in range(20):
            await socket.send_json({"type": "transcript", "role": "user", "text": str(number)})
        await drain(socket)

    async with far_end(script) as url, calling(url, netem="delay=100ms,jitter=50ms") as session:
        await until(lambda: len(of_kind(session, TranscriptCompleted)) == 20)
        netem = session.stats()["netem"]

    assert [str(number) for number in range(20)] == [said.text for said in of_kind(session, TranscriptCompleted)]
    assert 0.05 <= session.phases["ready"]
    assert 21 <= netem["incoming"]["packets_sent"]


async def test_settings_cannot_be_changed_where_the_protocol_has_no_word_for_it():
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_json(STARTED)
        await drain(socket)

    async with far_end(script) as url, calling(url) as session:
        with pytest.raises(Unsupported, match="orbitali"):
            await session.update(instructions="Be brief.")
