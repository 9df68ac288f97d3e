"""Listening to a computer (Orgo): real sockets, from the password to what is heard, and every way it goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import spectrum
from aiohttp import web
from calling import DEADLINE, serving, until
from numpy.typing import NDArray

import rtcpeer
from rtcpeer import (
    AuthError,
    ConfigurationError,
    ConnectionLost,
    ErrorReported,
    Session,
    SessionStarted,
    SignalingError,
    Unsupported,
)
from rtcpeer.commands import Ping, Stop
from rtcpeer.connecting import Connecting
from rtcpeer.events import Closed, Pong
from rtcpeer.formats import AudioFormat
from signaling import MockServer

COMPUTER = "a3bb189e-8bf9-3888-9912-ace4e6543002"
STEREO = AudioFormat(48_000, 2)


pytestmark = pytest.mark.usefixtures("nothing_left")


def listening(url: str, **options: Any) -> Connecting:
    params = {"computer_id": COMPUTER} | options.pop("params", {})
    return rtcpeer.connect("orgo", url, **({"api_key": "sk_test"} | options), params=params)


async def heard(session: Session, seconds: float, audio_format: AudioFormat = STEREO) -> NDArray[np.int16]:
    """Return what is heard from now on, ``(samples, channels)``."""
    frames, enough = [], round(seconds * 50)
    async with asyncio.timeout(seconds + DEADLINE):
        async for frame in session.audio.in_format(audio_format):
            frames.append(frame.samples)
            if len(frames) == enough:
                break
    return np.concatenate(frames)


def clicks(seconds: float, every: float = 0.25) -> NDArray[np.int16]:
    """A click of 1 ms every so often: on the left side, and on the right half-way between."""
    pcm = np.zeros((round(48_000 * seconds), 2), np.int16)
    step = round(48_000 * every)
    for begin in range(4800, len(pcm) - 48, step):
        pcm[begin : begin + 48, 0] = 16_000
        pcm[begin + step // 2 : begin + step // 2 + 48, 1] = 16_000
    return pcm


def onsets(side: NDArray[np.int16]) -> list[int]:
    """Where something begins that is louder than 8000, in samples."""
    found = np.flatnonzero(side > 8000)
    return [int(at) for at in found[np.diff(found, prepend=-10_000) > 1000]]


# What is heard


@pytest.mark.parametrize(("rate", "batch"), [(48_000, 1), (24_000, 1), (24_000, 5)])
async def test_clicks_arrive_as_far_apart_as_they_were_sent(tmp_path: Path, rate: int, batch: int) -> None:
    file = spectrum.write_wav(tmp_path / "clicks.wav", clicks(7.0))
    async with (
        MockServer(audio_source=str(file), audio_batch=batch) as mock,
        listening(mock.url("orgo"), params={"sample_rate": rate, "channels": 2}) as session,
    ):
        pcm = await heard(session, 6.5)
        stats = session.stats()

    for side in (0, 1):
        found = onsets(pcm[:, side])
        assert 5.0 < (found[-1] - found[0]) / 48_000
        apart = [later - sooner for sooner, later in pairwise(found)]
        if stats["inbound_audio"]["concealment_events"] == 0:  # a machine that stood still is no fault of the playout
            assert all(abs(each - 12_000) <= 2 for each in apart), apart
        assert len(found) == round((found[-1] - found[0]) / 12_000) + 1, "none twice, none left out"
    # One side's are not on the other.
    assert not set(onsets(pcm[:, 0])) & set(onsets(pcm[:, 1]))
    assert 0 == stats["inbound_audio"]["discarded_samples"]


async def test_both_sides_are_kept_apart_for_who_asks_and_averaged_for_the_rest(tmp_path: Path) -> None:
    left, right = spectrum.tone(500.0, 4.0), spectrum.tone(1500.0, 4.0)
    file = spectrum.write_wav(tmp_path / "two.wav", np.concatenate((left, right), axis=1))
    async with (
        MockServer(audio_source=str(file)) as mock,
        listening(mock.url("orgo"), params={"channels": 2}) as session,
    ):
        stereo, mono = await asyncio.gather(heard(session, 2.0), heard(session, 2.0, AudioFormat(24_000)))

    for side, frequency, other in ((0, 500.0, 1500.0), (1, 1500.0, 500.0)):
        sound = spectrum.as_float(stereo[48_000:, side : side + 1])
        assert -12.0 == pytest.approx(spectrum.tone_level(sound, 48_000, frequency), abs=0.5)
        assert spectrum.tone_level(sound, 48_000, other) < -70
    sound = spectrum.as_float(mono[24_000:])
    for frequency in (500.0, 1500.0):
        assert -18.0 == pytest.approx(spectrum.tone_level(sound, 24_000, frequency), abs=0.5)


async def test_silence_keeps_coming_after_a_file_has_ended(tmp_path: Path) -> None:
    file = spectrum.write_wav(tmp_path / "short.wav", spectrum.tone(440.0, 0.1))
    async with MockServer(audio_source=str(file)) as mock, listening(mock.url("orgo")) as session:
        await heard(session, 1.0)
        before = session.stats()["inbound_audio"]["packets_received"]
        pcm = await heard(session, 1.0)
        came = session.stats()["inbound_audio"]["packets_received"] - before

    assert not pcm.any()
    assert 45 <= came <= 55


async def test_several_listen_at_once_and_each_hears_the_file_from_its_beginning(tmp_path: Path) -> None:
    file = spectrum.write_wav(tmp_path / "tone.wav", spectrum.tone(440.0, 5.0))
    async with MockServer(audio_source=str(file)) as mock, listening(mock.url("orgo")) as first:
        await heard(first, 0.5)
        async with listening(mock.url("orgo"), params={"sample_rate": 48_000}) as second:
            both = await asyncio.gather(heard(first, 1.0), heard(second, 1.0))

    for pcm in both:
        assert 440.0 == pytest.approx(spectrum.dominant_frequency(spectrum.as_float(pcm[:, :1]), 48_000), abs=1.0)


async def test_without_a_source_the_agent_of_the_scenario_is_heard() -> None:
    async with MockServer(scenario="tone") as mock, listening(mock.url("orgo")) as session:
        pcm = await heard(session, 1.0)

    assert 440.0 == pytest.approx(spectrum.dominant_frequency(spectrum.as_float(pcm[24_000:, :1]), 48_000), abs=1.0)


async def test_started_says_what_comes_and_stop_ends_it() -> None:
    async with MockServer() as mock:
        async with listening(mock.url("orgo"), params={"sample_rate": 48_000, "channels": 2}) as session:
            started = await session.wait_for(SessionStarted, timeout=DEADLINE)
            await session.send(Ping())
            await session.wait_for(Pong, timeout=DEADLINE)
            with pytest.raises(Unsupported, match="orgo has no audio from its client"):
                await session.play("tone")
        (call,) = mock.calls
        await until(lambda: call.state == "closed")

    assert SessionStarted(COMPUTER, {"sample_rate": 48_000, "channels": 2}) == started
    assert [Ping(), Stop()] == call.received
    assert call.failure is None


async def test_an_interrupted_sound_is_not_heard_until_it_has_paused(tmp_path: Path) -> None:
    sound = [spectrum.tone(440.0, 1.5), np.zeros((28_800, 1), np.int16), spectrum.tone(1000.0, 2.0)]
    file = spectrum.write_wav(tmp_path / "two.wav", np.concatenate(sound))
    async with MockServer(audio_source=str(file)) as mock, listening(mock.url("orgo")) as session:
        await heard(session, 0.5)
        await session.interrupt()
        pcm = await heard(session, 2.5)
        interrupted = session.stats()["inbound_audio"]["interrupted_samples"]

    audible = spectrum.as_float(pcm[4800:, :1])
    assert spectrum.tone_level(audible, 48_000, 440.0) < -60
    assert -25 < spectrum.tone_level(audible, 48_000, 1000.0)
    assert interrupted > 24_000


# What goes wrong


async def get(mock: MockServer, query: str) -> tuple[list[Any], int | None, str]:
    """Open the socket as a stranger's client does; return what came, the close code, and the reason."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{mock.url('orgo')}/audio{query}", autoclose=False) as socket,
        asyncio.timeout(DEADLINE),
    ):
        said = []
        while (message := await socket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            said.append(json.loads(message.data) if isinstance(message.data, str) else message.data)
        assert message.type is aiohttp.WSMsgType.CLOSE
        return said, message.data, message.extra or ""


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=sk_test", "?token=%00&sample_rate=24000"])
async def test_a_bad_token_is_told_with_4401_on_an_accepted_upgrade(query: str) -> None:
    async with MockServer() as mock:
        said, code, _ = await get(mock, query)

    assert ([], 4401) == (said, code)


@pytest.mark.parametrize("query", ["sample_rate=11025", "sample_rate=x", "channels=3", "channels=0"])
async def test_audio_that_cannot_be_had_is_an_error_and_1003(query: str) -> None:
    async with MockServer() as mock:
        said, code, _ = await get(mock, f"?token={mock.tokens.password}&{query}")

    assert (["error"], 1003) == ([each["type"] for each in said], code)


async def test_a_wrong_password_and_a_wrong_key_are_auth_errors() -> None:
    async with MockServer() as mock:
        with pytest.raises(AuthError, match="4401"):
            async with listening(mock.url("orgo"), api_key=None, token="0f1e2d3c4b5a69788796"):
                pass
        with pytest.raises(AuthError, match="401"):
            async with listening(mock.url("orgo"), api_key="sk_other"):
                pass


async def test_the_full_socket_url_is_enough_and_the_key_does_not_go_into_it() -> None:
    async with MockServer() as mock:
        url = f"ws{mock.url('orgo').removeprefix('http')}/audio?token={mock.tokens.password}"
        async with rtcpeer.connect("orgo", url, params={"channels": 2}) as session:
            await heard(session, 0.1)
            assert AudioFormat(24_000, 2) == session.protocol.audio_out.format  # type: ignore[union-attr]
        with pytest.raises(ConfigurationError, match="opens no socket"):
            rtcpeer.connect("orgo", url.partition("?")[0], api_key="sk_test")


async def test_a_stopped_computer_is_refused_before_the_upgrade_and_may_run_later() -> None:
    async with MockServer(faults=["stopped-computer"]) as mock:
        with pytest.raises(SignalingError, match=r"503.*is the computer running") as caught:
            async with listening(mock.url("orgo")):
                pass
        assert (503, True) == (caught.value.status, caught.value.retryable)
        mock.faults = ()
        async with listening(mock.url("orgo")) as session:
            await heard(session, 0.1)


async def test_a_capture_that_does_not_start_is_an_error_and_the_end() -> None:
    async with MockServer(faults=["capture-failed"]) as mock:
        said, code, _ = await get(mock, f"?token={mock.tokens.password}")
        with pytest.raises(ConnectionLost, match="Failed to start audio capture"):
            async with listening(mock.url("orgo")):
                pass

    assert ([{"type": "error", "message": "Failed to start audio capture"}], 1011) == (said, code)


async def test_a_capture_that_breaks_off_is_an_event_and_the_end() -> None:
    async with MockServer() as mock, listening(mock.url("orgo"), reconnect=None) as session:
        await heard(session, 0.2)
        mock.faults = ["capture-failed"]
        with pytest.raises(ConnectionLost, match="Audio capture failed"):
            async for _ in session:
                pass

    reported = [entry.said for entry in session.events.entries() if isinstance(entry.said, ErrorReported)]
    assert [ErrorReported("Audio capture failed")] == reported


@asynccontextmanager
async def far_end(speak: Callable[[web.WebSocketResponse], Awaitable[None]]) -> AsyncIterator[Session]:
    """A far end of our own: it says ``started`` and then whatever a test likes."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "started", "sample_rate": 24_000, "channels": 1})
        await speak(socket)
        async for _ in socket:
            pass
        return socket

    app = web.Application()
    app.router.add_get("/audio", handle)
    async with serving(app) as url, listening(url, api_key=None, token="password", reconnect=None) as session:
        yield session


async def test_messages_that_end_within_a_sample_are_heard_whole() -> None:
    tone = spectrum.tone(440.0, 2.0, sample_rate=24_000).astype("<i2").tobytes()

    async def speak(socket: web.WebSocketResponse) -> None:
        for at in range(0, len(tone), 961):
            await socket.send_bytes(tone[at : at + 961])
            await socket.send_bytes(b"")

    async with far_end(speak) as session:
        await until(lambda: session.stats()["inbound_audio"]["audio_level"] > 0.1)
        audio = await heard(session, 0.1, AudioFormat(48_000))
        stats = session.stats()

    assert 440.0 == pytest.approx(spectrum.dominant_frequency(spectrum.as_float(audio), 48_000), abs=10)
    assert 0 == stats["inbound_audio"]["packets_malformed"] == stats["messages"]["messages_refused"]


async def test_a_message_over_the_limit_ends_the_connection_unread() -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(bytes(2 * 1024 * 1024))

    async with far_end(speak) as session:
        with pytest.raises(ConnectionLost, match="a message over 1048576 bytes"):
            async for _ in session:
                pass
    assert 1 == session.stats()["messages"]["messages_refused"]


async def test_what_comes_far_too_early_is_dropped_and_counted_never_heard_on_top() -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        for number in range(100):  # two seconds at once
            frame = np.full((480, 1), 100 * number, "<i2")
            await socket.send_bytes(frame.tobytes())

    async with far_end(speak) as session:
        # Every sample is heard or dropped, to the millisecond that a filter holds when it is cut.
        await until(lambda: accounted(session) > 1.98)
        stats = session.stats()

    assert accounted(session) <= 2.0
    assert stats["websocket"]["playout_resets"] > 0
    assert stats["inbound_audio"]["discarded_samples"] > 1.7 * 48_000


def accounted(session: Session) -> float:
    """Seconds that were heard or dropped."""
    inbound = session.stats()["inbound_audio"]
    return float(inbound["discarded_samples"] + inbound["jitter_buffer_emitted_count"]) / 48_000


@pytest.mark.parametrize(
    "message",
    ["{", "[]", '{"type": "started", "sample_rate": 7, "channels": 1}', '{"type": "started", "sample_rate": 24000}'],
)
async def test_a_malformed_message_is_reported_and_the_sound_goes_on(message: str) -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        await socket.send_str(message)
        await socket.send_bytes(spectrum.tone(440.0, 0.5, sample_rate=24_000).astype("<i2").tobytes())

    async with far_end(speak) as session:
        refused = await session.wait_for(ErrorReported, timeout=DEADLINE)
        await until(lambda: session.stats()["inbound_audio"]["audio_level"] > 0.1)

    assert "refused" == refused.code


async def test_what_started_says_goes_before_what_was_asked_for() -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        await socket.send_json({"type": "started", "sample_rate": 48_000, "channels": 2})
        pcm = np.zeros((9600, 2), "<i2")
        pcm[:, 1] = 8000
        await socket.send_bytes(pcm.tobytes())

    async with far_end(speak) as session:
        pcm = await heard(session, 1.0)

    assert (0, 8000) == tuple(pcm.max(axis=0))


async def test_a_socket_that_dies_without_a_close_is_lost() -> None:
    async def speak(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None
        socket._req.transport.abort()  # type: ignore[union-attr]

    async with far_end(speak) as session:
        with pytest.raises(ConnectionLost, match="without a goodbye"):
            async for _ in session:
                pass
    assert "lost" == next(entry.said for entry in session.events.entries() if isinstance(entry.said, Closed)).reason


async def test_a_call_that_is_recorded_at_the_mock_has_the_sound_in_it(tmp_path: Path) -> None:
    async with MockServer(audio_source="tone", record=tmp_path) as mock:
        async with listening(mock.url("orgo")) as session:
            await heard(session, 1.0)
        await until(lambda: mock.calls[0].state == "closed")

    (recording,) = tmp_path.glob("*/audio.wav")  # noqa: ASYNC240 - nothing else runs any more
    audio, rate = spectrum.read_wav(recording.read_bytes())
    assert 440.0 == pytest.approx(spectrum.dominant_frequency(audio[:, :1], rate), abs=1.0)


# What is refused at once


@pytest.mark.parametrize("source", ["nothing.wav", "pulse:", ""])
def test_a_source_that_cannot_be_is_refused_at_once(source: str) -> None:
    with pytest.raises(ConfigurationError):
        MockServer(audio_source=source)


@pytest.mark.parametrize("batch", [0, 51])
def test_a_batch_that_is_none_is_refused_at_once(batch: int) -> None:
    with pytest.raises(ConfigurationError, match="audio_batch"):
        MockServer(audio_batch=batch)
