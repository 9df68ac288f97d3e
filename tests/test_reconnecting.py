"""Calls over WebRTC that break and come back, on loopback, with short times: what goes on, and what is lost."""

from __future__ import annotations

import asyncio
import gc
import json
import wave
from pathlib import Path
from typing import Any
from weakref import ref

import av
import numpy as np
import pytest
from calling import (
    AGENT,
    DEADLINE,
    USER,
    greeting_scenario,
    loudest_frequency,
    short_scenario,
    until,
    write_tone,
)

import rtcpeer
from rtcpeer import (
    AuthError,
    Backoff,
    Closed,
    ConnectionLost,
    ConversationStarted,
    Degraded,
    DtmfReceived,
    Event,
    OpusSettings,
    PhaseCompleted,
    Reconnected,
    Reconnecting,
    Session,
    SessionStarted,
    SpeechStarted,
    TranscriptCompleted,
    UpdateSession,
    Watchdog,
)
from rtcpeer.commands import Interrupt
from rtcpeer.connecting import Connecting
from rtcpeer.opening import Opening
from rtcpeer.reconnecting import Attempt
from rtcpeer.transports.link import Link
from rtcpeer.transports.video import TestPattern
from signaling import MockServer

SHORT = Watchdog(ask_after=0.1, lost_after=0.4)
AT_ONCE = Backoff(initial=0.01, jitter=0.0, budget=DEADLINE)
PATIENT = Backoff(initial=30.0, jitter=0.0, budget=60.0)


pytestmark = pytest.mark.usefixtures("nothing_left")


def calling(mock: MockServer, protocol: str = "orga", **options: Any) -> Connecting:
    given = {"api_key": mock.api_key, "watchdog": SHORT, "reconnect": AT_ONCE} | options
    return rtcpeer.connect(protocol, mock.url(protocol), **given)


def said(session: Session) -> list[Any]:
    return [entry.said for entry in session.events.entries()]


def of_kind(session: Session, kind: type[Event]) -> list[Any]:
    return [each for each in said(session) if isinstance(each, kind)]


async def vanish(mock: MockServer, number: int = -1) -> None:
    await until(lambda: mock.calls[number].state == "open")
    await mock.calls[number].vanish()


async def read_to_the_end(session: Session) -> None:
    async for _ in session:
        pass


async def back(session: Session, times: int = 1) -> Reconnected:
    await until(lambda: len(of_kind(session, Reconnected)) >= times or session.events.closed)
    return of_kind(session, Reconnected)[times - 1]


# Coming back


async def test_a_call_whose_far_end_vanished_goes_on_with_another(mock: MockServer, tmp_path: Path) -> None:
    async with calling(mock, record=tmp_path / "call") as session:
        first = session.conversation_id
        phases = dict(session.phases)
        await vanish(mock)
        found = await back(session)
        await session.play(str(write_tone(tmp_path / "user.wav", USER)))
        turn = await session.listen(timeout=DEADLINE)

        assert "Fine." == turn.text
        assert not found.state_restored
        assert 0 < found.gap < DEADLINE
        kinds = [type(each) for each in said(session)]
        broken = kinds.index(Degraded)
        again = [
            kinds.index(kind, broken) for kind in (Reconnecting, Reconnected, ConversationStarted, SessionStarted)
        ]
        assert sorted(again) == again
        assert [first, session.conversation_id] == [each.id for each in of_kind(session, ConversationStarted)]
        assert 2 == len(mock.calls)
        # How long connecting took is said of the first time alone.
        assert phases == session.phases
        assert len(phases) == len(of_kind(session, PhaseCompleted))
    assert "local" == json.loads((tmp_path / "call" / "call.json").read_text())["ended"]["reason"]


async def test_t_never_goes_back_and_counters_go_on(mock: MockServer) -> None:
    async with calling(mock) as session:
        await until(lambda: session.stats()["inbound_audio"]["packets_received"] > 20)
        await vanish(mock)
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        before = session.stats()
        await back(session)
        await until(
            lambda: session.stats()["outbound_audio"]["packets_sent"] > before["outbound_audio"]["packets_sent"]
        )
        after = session.stats()
        times = [entry.t for entry in session.events.entries()]

        assert sorted(times) == times
        for name in ("packets_received", "total_samples_received", "bytes_received"):
            assert after["inbound_audio"][name] >= before["inbound_audio"][name] > 0
        assert 1 == after["reconnections"]["count"]
        assert after["reconnections"]["gaps"] == pytest.approx(of_kind(session, Reconnected)[0].gap, abs=0.1)


async def test_a_mock_that_was_restarted_is_another_mock_on_the_same_port(tmp_path: Path) -> None:
    scenario = short_scenario(tmp_path)
    mock = await MockServer(scenario=scenario).__aenter__()
    port = int(mock.url().rpartition(":")[2])
    async with calling(mock) as session:
        await vanish(mock)
        await mock.__aexit__(None, None, None)
        await until(lambda: len(of_kind(session, Reconnecting)) >= 2)
        async with MockServer(scenario=scenario, port=port) as other:
            await back(session)
            await until(lambda: other.calls[0].state == "open")
            assert "is the server running" in of_kind(session, Reconnecting)[1].reason


async def test_it_breaks_again_and_comes_back_again(mock: MockServer) -> None:
    async with calling(mock) as session:
        for times in (1, 2):
            await vanish(mock)
            await back(session, times)
        assert 2 == session.stats()["reconnections"]["count"]
        # Within ten seconds: the pauses go on where they were.
        assert [1, 2] == [each.attempt for each in of_kind(session, Reconnecting)]


@pytest.mark.parametrize("protocol", ["orbitali", "orga-ws", "orgo"])
async def test_over_websocket_another_session_begins_where_none_can_be_resumed(protocol: str, tmp_path: Path) -> None:
    params = {"orbitali": {"agent_id": "a"}, "orgo": {"computer_id": "c"}}.get(protocol, {})
    async with (
        MockServer(scenario=greeting_scenario(tmp_path)) as mock,
        calling(mock, protocol, params=params) as session,
    ):
        await vanish(mock)
        assert not (await back(session)).state_restored
        await until(lambda: len(of_kind(session, SessionStarted)) == 2)
        await until(lambda: len(mock.calls) == 2 and session.stats()["inbound_audio"]["packets_received"] > 10)


# Not coming back


async def test_a_goodbye_is_no_loss(mock: MockServer) -> None:
    async with calling(mock) as session:
        await until(lambda: mock.calls[0].state == "open")
        await mock.calls[0].hang_up()
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason
        assert [] == of_kind(session, Reconnecting)


async def test_a_token_that_is_a_string_opens_one_call(mock: MockServer) -> None:
    async with rtcpeer.SessionConfigClient(mock.url(), mock.api_key) as client:
        token = (await client.get_session_config()).ephemeral_token
    async with calling(mock, api_key=None, token=token) as session:
        await vanish(mock)
        assert "lost" == (await session.wait_for(Closed, timeout=DEADLINE)).reason
        assert [] == of_kind(session, Reconnecting)


async def test_a_password_is_good_for_as_many_sockets_as_one_likes(tmp_path: Path) -> None:
    async with MockServer(scenario=greeting_scenario(tmp_path)) as mock:
        password = mock.tokens.password
        async with calling(mock, "orgo", params={"computer_id": "c"}, api_key=None, token=password) as session:
            await vanish(mock)
            await back(session)


async def test_a_far_end_that_we_hung_up_on_is_not_called_again(tmp_path: Path) -> None:
    """It says ten megabytes at once."""
    async with (
        MockServer(scenario=greeting_scenario(tmp_path), faults=["huge-event"]) as mock,
        calling(mock, "orga-ws", watchdog=None) as session,
    ):
        closed = await session.wait_for(Closed, timeout=DEADLINE)
        assert ("lost", True) == (closed.reason, "hung up" in closed.detail)
        assert [] == of_kind(session, Reconnecting)


async def test_a_token_source_is_asked_again_and_may_fail_once(mock: MockServer) -> None:
    asked: list[int] = []
    async with rtcpeer.SessionConfigClient(mock.url(), mock.api_key) as client:

        async def token() -> str:
            asked.append(len(mock.calls))
            if len(asked) == 2:
                raise OSError("no network for the backend either")
            return (await client.get_session_config()).ephemeral_token

        async with calling(mock, api_key=None, token=token) as session:
            await vanish(mock)
            await back(session)
            assert [0, 1, 1] == asked
            assert "OSError" in of_kind(session, Reconnecting)[1].reason


async def test_a_revoked_key_ends_it_with_that_error(mock: MockServer) -> None:
    async with calling(mock) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["reject-key"]
        await mock.calls[0].vanish()
        with pytest.raises(ConnectionLost, match=r"after 1 attempt: .*Incorrect or inactive API key") as caught:
            await asyncio.wait_for(read_to_the_end(session), DEADLINE)
    assert isinstance(caught.value.__cause__, AuthError)


async def test_a_token_that_is_refused_is_no_key_that_is_refused(mock: MockServer) -> None:
    async with calling(mock) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["spent-token"]
        await mock.calls[0].vanish()
        await until(lambda: len(of_kind(session, Reconnecting)) >= 3)
        mock.faults = []
        await back(session)


async def test_what_the_server_asks_us_to_wait_is_waited(mock: MockServer) -> None:
    async with calling(mock) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["rate-limit"]
        await mock.calls[0].vanish()
        await until(lambda: len(of_kind(session, Reconnecting)) >= 2)
        mock.faults = []
        await back(session)
        assert [0.01, 1.0] == [each.delay for each in of_kind(session, Reconnecting)][:2]


async def test_more_waiting_than_there_is_time_for_is_the_end(mock: MockServer) -> None:
    hasty = Backoff(initial=0.01, jitter=0.0, budget=0.9)
    async with calling(mock, reconnect=hasty) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["rate-limit"]
        await mock.calls[0].vanish()
        closed = await session.wait_for(Closed, timeout=DEADLINE)
    assert "after 1 attempt" in closed.detail
    assert "429" in closed.detail


async def test_when_the_attempts_are_used_up_cause_and_number_are_said(mock: MockServer) -> None:
    async with calling(mock, reconnect=Backoff(initial=0.01, jitter=0.0, attempts=3)) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["calls-500"]
        await mock.calls[0].vanish()
        closed = await session.wait_for(Closed, timeout=DEADLINE)
        assert "lost" == closed.reason
        assert "stopped answering" in closed.detail
        assert "after 3 attempts" in closed.detail
        assert "500" in closed.detail


async def test_without_reconnect_a_lost_call_is_the_end(mock: MockServer) -> None:
    async with calling(mock, reconnect=None) as session:
        await vanish(mock)
        with pytest.raises(ConnectionLost):
            await session.listen(timeout=DEADLINE)


# Closed in the midst of it: nothing_left looks at what is left


async def test_closed_while_it_waits_for_the_next_attempt(mock: MockServer) -> None:
    async with calling(mock, reconnect=PATIENT) as session:
        await vanish(mock)
        await session.wait_for(Reconnecting, timeout=DEADLINE)
    assert "local" == of_kind(session, Closed)[0].reason


@pytest.mark.parametrize("late", [0.0, 0.005, 0.05])
@pytest.mark.parametrize("phase", ["token", "ice-config", "gathering", "signaling", "transport", "channel"])
async def test_closed_amid_an_attempt(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch, phase: str, late: float
) -> None:
    closing: list[asyncio.Task[None]] = []
    timed = Opening._timed

    def timed_and_closed(opening: Opening, name: str) -> Any:
        if name == phase and isinstance(opening._session, Attempt) and not closing:
            closing.append(asyncio.create_task(close_soon()))
        return timed(opening, name)

    async def close_soon() -> None:
        await asyncio.sleep(late)
        await session.close()

    monkeypatch.setattr(Opening, "_timed", timed_and_closed)
    session = await calling(mock)
    await vanish(mock)
    await session.wait_for(Closed, timeout=DEADLINE)
    await closing[0]
    assert "local" == of_kind(session, Closed)[0].reason


async def test_an_attempt_that_is_gone_again_at_once_is_an_attempt_that_failed(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The far end takes the call, and hangs up before we have taken it over."""
    run = rtcpeer.opening.rtc.RtcOpening.run  # type: ignore[attr-defined]
    attempts: list[int] = []

    async def run_and_lose(opening: Any) -> None:
        await run(opening)
        if isinstance(opening._session, Attempt) and not attempts:
            attempts.append(1)
            await until(lambda: mock.calls[-1].state == "open")
            await mock.calls[-1].hang_up()
            await until(lambda: opening._session.broken is not None)

    monkeypatch.setattr("rtcpeer.opening.rtc.RtcOpening.run", run_and_lose)
    async with calling(mock) as session:
        await vanish(mock)
        await back(session)
        assert 3 == len(mock.calls)
        assert "closed" in of_kind(session, Reconnecting)[1].reason
        # What was said over the link that failed is not news.
        assert 2 == len(of_kind(session, ConversationStarted))


# What goes on


async def test_what_is_played_goes_on_and_the_recording_says_what_was_sent(mock: MockServer, tmp_path: Path) -> None:
    """One tone from before the break to after it: it is where it belongs on both sides, and silence in between."""
    voice = write_tone(tmp_path / "user.wav", USER, 3.0)
    async with calling(mock, record=tmp_path / "call", record_format="wav") as session:
        playback = await session.play(str(voice))
        await until(lambda: playback.played > 0.3)
        await vanish(mock)
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        with pytest.raises(ConnectionLost):
            await session.send_dtmf("1")
        await back(session)
        await playback
        assert 3.0 == pytest.approx(playback.played + playback.unsent, abs=0.001)
        assert 0 < playback.unsent < 2.0
        gap = of_kind(session, Reconnected)[0].gap
        assert playback.unsent == pytest.approx(gap, abs=0.06)
        assert session.stats()["reconnections"]["audio_not_sent"] == pytest.approx(playback.unsent, abs=0.021)

    with wave.open(str(tmp_path / "call" / "audio.wav")) as wav:
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2)[:, 0]
    frames = np.abs(pcm[: len(pcm) // 960 * 960].reshape(-1, 960)).max(axis=1) > 1000
    loud = np.flatnonzero(frames)
    silent = [number for number in range(loud[0], loud[-1]) if not frames[number]]
    assert list(range(silent[0], silent[-1] + 1)) == silent
    assert gap == pytest.approx(len(silent) * 0.02, abs=0.06)
    # It went on while nobody heard it: beginning and end are as far apart as ever, and the phase is the same.
    assert 3.0 == pytest.approx((loud[-1] + 1 - loud[0]) * 0.02, abs=0.041)
    began = loud[0] * 960
    before, after = (phase_of(pcm, began, number * 960) for number in (loud[0] + 5, loud[-1] - 5))
    assert abs(np.exp(1j * before) - np.exp(1j * after)) < 0.1


def phase_of(pcm: Any, origin: int, at: int) -> float:
    time = (np.arange(at, at + 960) - origin) / 48_000
    return float(np.angle((pcm[at : at + 960] * np.exp(-2j * np.pi * USER * time)).sum()))


async def test_the_agent_is_recorded_where_it_was_heard_before_and_after(tmp_path: Path) -> None:
    """Each mock call greets: two tones on their side of the recording, as far apart as they were heard."""
    async with (
        MockServer(scenario=greeting_scenario(tmp_path)) as mock,
        calling(mock, record=tmp_path / "call", record_format="wav") as session,
    ):
        await until(lambda: len(agent_began(session)) == 1 and not session.speaking)
        await vanish(mock)
        await back(session)
        await until(lambda: len(agent_began(session)) == 2 and not session.speaking)
        started = session.audio_started
        assert started is not None
        heard = agent_began(session)

    with wave.open(str(tmp_path / "call" / "audio.wav")) as wav:
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2)[:, 1]
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 1000)
    begins = [loud[0], loud[np.flatnonzero(np.diff(loud) > 9600)[0] + 1]]
    for position, t in zip(begins, heard, strict=True):
        assert position / 48_000 + started == pytest.approx(t, abs=0.1)
        assert AGENT == pytest.approx(loudest_frequency(pcm[position : position + 12_000, None]), abs=5)


def agent_began(session: Session) -> list[float]:
    entries = session.events.entries()
    return [each.t for each in entries if isinstance(each.said, SpeechStarted) and each.said.speaker == "assistant"]


async def test_packets_go_on_on_one_line(mock: MockServer, tmp_path: Path) -> None:
    async with calling(mock, record=tmp_path / "call", record_received=True) as session:
        reader = session.packets.__aiter__()
        first = [await anext(reader) for _ in range(10)]
        await vanish(mock)
        found = await back(session)
        while (packet := await anext(reader)).t < session.now() - 0.1:  # type: ignore[operator]
            first.append(packet)
        numbers = [each.sequence_number for each in first] + [packet.sequence_number]
        assert list(range(numbers[0], numbers[0] + len(numbers))) == numbers
        apart = (packet.timestamp - first[0].timestamp) / 48_000
        assert packet.t is not None
        assert first[0].t is not None
        assert packet.t - first[0].t == pytest.approx(apart, abs=0.1)
        assert found.gap < apart
    with av.open(str(tmp_path / "call" / "received.ogg")) as container:
        lasts = sum(frame.samples for frame in container.decode(audio=0)) / 48_000
    assert apart <= lasts + 0.1


async def test_packets_that_are_played_and_piped_in_know_what_was_not_sent(mock: MockServer, tmp_path: Path) -> None:
    class Ticks(rtcpeer.PacketSource):
        number = 0

        def read(self) -> rtcpeer.OpusPacket | None:
            self.number += 1
            return rtcpeer.OpusPacket(b"\xf8\xff\xfe", self.number * 960, self.number)

    async with calling(mock) as session, calling(mock) as other:
        playback = await session.play_packets(Ticks())
        await until(lambda: playback.played > 0.1)
        (pipe,) = other.pipe(session)
        held_back = pipe.packets_held_back
        await vanish(mock, 0)
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        await until(lambda: (playback.unsent > 0 and not session.connected) or session.connected)
        await back(session)
        sent, unsent = playback.played, playback.unsent
        await until(lambda: playback.played > sent + 0.1)
        assert unsent == playback.unsent
        assert playback.unsent == pytest.approx(of_kind(session, Reconnected)[0].gap, abs=0.06)
        playback.cancel()
        assert pipe.packets_held_back > held_back
        passed_on = pipe.packets_sent
        await until(lambda: pipe.packets_sent > passed_on + 5)


async def test_a_pipe_holds_back_what_nobody_would_get(mock: MockServer) -> None:
    async with calling(mock, reconnect=PATIENT) as session, calling(mock) as other:
        (pipe,) = other.pipe(session)
        await until(lambda: pipe.packets_sent > 3)
        await vanish(mock, 0)
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        sent, held_back = pipe.packets_sent, pipe.packets_held_back
        await until(lambda: pipe.packets_held_back > held_back + 3)
        assert sent == pipe.packets_sent


async def test_an_outage_is_over_for_the_attempt_that_began_in_it(mock: MockServer) -> None:
    """``all``: its ICE checks, too. Without the end of the outage they would have ten seconds to fail in."""
    async with calling(mock) as session:
        first: Any = session.link
        first.impair(rtcpeer.NetworkConditions.of("loss=100%,all=1"))
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        await until(lambda: first.heir is not None and first.heir.conditions == first.conditions)
        first.impair(rtcpeer.NetworkConditions())
        await back(session)
        assert 1 == len(of_kind(session, Reconnecting))


async def test_settings_of_the_call_go_with_it(mock: MockServer) -> None:
    settings = OpusSettings.economy()
    conditions = rtcpeer.NetworkConditions.of("delay=10ms")
    async with calling(mock) as session:
        session.set_opus(settings)
        assert session.link is not None
        session.link.impair(conditions)
        await vanish(mock)
        await back(session)
        link: Any = session.link
        assert (settings, conditions) == (link._opus, link.conditions)
        await until(lambda: session.stats()["netem"]["outgoing"]["packets_sent"] > 0)


async def test_video_goes_on_with_the_same_source(mock: MockServer, tmp_path: Path) -> None:
    class Counted(TestPattern):
        reading = closed = 0

        def read(self) -> Any:
            assert not self.reading
            self.reading += 1
            try:
                return super().read()
            finally:
                self.reading -= 1

        def close(self) -> None:
            self.closed += 1

    source = Counted(160, 120, 30.0)
    async with calling(mock, video=source, record=tmp_path / "call", record_format="mka") as session:
        await until(lambda: mock.calls[0].to_dict()["video_frames"] > 3)
        await vanish(mock)
        await back(session)
        await until(lambda: mock.calls[1].to_dict()["video_frames"] > 3)
        assert not source.closed
        assert [] == of_kind(session, rtcpeer.ErrorReported)
    assert source.closed
    assert video_lasts(tmp_path / "call" / "audio.mkv") > of_kind(session, Reconnected)[0].gap + 0.4


def video_lasts(path: Path) -> float:
    with av.open(str(path)) as container:
        times = [
            float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None
        ]
    assert sorted(times) == times
    return times[-1] - times[0]


# A known end of the session: the mock's is a second later than we are told, for machines that are busy


async def test_another_connection_takes_over_before_the_service_ends_the_session(tmp_path: Path) -> None:
    """Twice; and the one that was left said goodbye before its time was up."""
    async with (
        MockServer(scenario=greeting_scenario(tmp_path), session_limit=3.0) as mock,
        calling(mock, session_limit=2.0) as session,
    ):
        playback = await session.play(rtcpeer.ToneSource(USER))
        await back(session, 2)
        assert not session.events.closed
        assert [0.0, 0.0] == [each.gap for each in of_kind(session, Reconnected)]
        assert [] == of_kind(session, Degraded)
        assert 0.0 == playback.unsent
        await until(lambda: [call.state for call in mock.calls[:2]] == ["closed", "closed"])
        # We hung up on it, not it on us.
        assert ["remote", "remote"] == [call.to_dict()["closed"]["reason"] for call in mock.calls[:2]]
        assert 0.0 == session.stats()["reconnections"]["gaps"]


@pytest.mark.parametrize("protocol", ["orga", "orbitali"])
async def test_what_a_replaced_connection_still_says_is_not_heard_and_its_end_ends_nothing(
    protocol: str, tmp_path: Path
) -> None:
    params = {"agent_id": "a"} if protocol == "orbitali" else None
    async with (
        MockServer(scenario=greeting_scenario(tmp_path)) as mock,
        calling(mock, protocol, params=params, session_limit=4.0) as session,
    ):
        old = session.link
        assert old is not None
        close, last_words = old.close, asyncio.Event()

        async def close_late() -> None:
            """As one that is slow to go: its far end has time to say something, and to hang up."""
            far_end = mock.calls[0]._session
            assert far_end is not None
            await far_end.send(TranscriptCompleted("user", "late", "late"))
            received = len(of_kind(session, Reconnected))
            await far_end.close()
            await until(lambda: old._ended)
            assert received
            last_words.set()
            await close()

        old.close = close_late  # type: ignore[method-assign]
        await asyncio.wait_for(last_words.wait(), DEADLINE)
        await until(lambda: session.connected)

        assert not session.events.closed
        assert "late" not in [each.text for each in of_kind(session, TranscriptCompleted)]


@pytest.mark.parametrize("protocol", ["orga", "orbitali"])
async def test_replaced_connections_are_let_go(protocol: str, tmp_path: Path) -> None:
    params = {"agent_id": "a"} if protocol == "orbitali" else None
    async with (
        MockServer(scenario=greeting_scenario(tmp_path)) as mock,
        calling(mock, protocol, params=params) as session,
    ):
        links: set[ref[Link]] = set()

        def count() -> None:
            assert session.link is not None
            links.add(ref(session.link))

        count()
        session.on_relink(lambda _: count())
        for times in (1, 2, 3):
            await vanish(mock)
            await back(session, times)

        def alive() -> list[Link]:
            gc.collect()
            return [link for each in links if (link := each()) is not None]

        await until(lambda: len(alive()) == 1)
        assert 4 == len(links)


async def test_over_websocket_too(tmp_path: Path) -> None:
    async with (
        MockServer(scenario=greeting_scenario(tmp_path), session_limit=3.0) as mock,
        calling(mock, "orbitali", params={"agent_id": "a"}, session_limit=2.0) as session,
    ):
        assert 0.0 == (await back(session)).gap
        await until(lambda: mock.calls[0].state == "closed")
        await until(lambda: len(agent_began(session)) == 2)
        assert not session.events.closed


async def test_a_service_that_ends_the_session_unexpectedly_has_hung_up(tmp_path: Path) -> None:
    async with MockServer(scenario=greeting_scenario(tmp_path), session_limit=0.3) as mock, calling(mock) as session:
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason


async def test_when_no_other_connection_can_be_had_the_session_ends_at_its_end(tmp_path: Path) -> None:
    async with (
        MockServer(scenario=greeting_scenario(tmp_path), session_limit=3.0) as mock,
        calling(mock, session_limit=2.0, reconnect=Backoff(initial=0.05, jitter=0.0)) as session,
    ):
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["calls-500"]
        closed = await session.wait_for(Closed, timeout=DEADLINE)
        assert "remote" == closed.reason
        assert len(of_kind(session, Reconnecting)) >= 2
        assert "500" in of_kind(session, rtcpeer.ErrorReported)[0].message


async def test_a_session_that_breaks_while_it_is_taken_over_comes_back(mock: MockServer) -> None:
    async with calling(mock, session_limit=DEADLINE / 5) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["calls-slow"]
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        await mock.calls[0].vanish()
        await session.wait_for(Degraded, timeout=DEADLINE)
        mock.faults = []
        assert (await back(session)).gap > 0
        await until(lambda: mock.calls[-1].state == "open")


@pytest.mark.parametrize(
    "given",
    [{"session_limit": 0.0}, {"session_limit": float("inf")}, {"reconnect": None}, {"api_key": None, "token": "t"}],
)
async def test_a_limit_that_nothing_can_be_done_about_is_refused(mock: MockServer, given: dict[str, Any]) -> None:
    with pytest.raises(rtcpeer.ConfigurationError, match="session_limit"):
        calling(mock, **{"session_limit": 60.0} | given)


# Commands, by kind


async def test_settings_wait_for_the_next_connection_and_old_ones_are_said_again(mock: MockServer) -> None:
    async with calling(mock, reconnect=Backoff(initial=0.3, jitter=0.0)) as session:
        await session.update(voice="Sofía", temperature=0.2)
        await until(lambda: len(mock.received) == 2)
        await vanish(mock)
        await session.wait_for(Reconnecting, timeout=DEADLINE)
        await session.update(instructions="Be brief.")
        await session.update(instructions="Be very brief.", temperature=0.4)
        with pytest.raises(rtcpeer.ConfigurationError):
            await session.update(temperature=7)
        await back(session)
        await until(lambda: len(mock.calls[1].received) == 2)

        # After the codec's own opening one message: the latest of each.
        opening, repeated = mock.calls[1].received
        assert isinstance(repeated, UpdateSession)
        assert ("Sofía", 0.4, "Be very brief.") == (repeated.voice, repeated.temperature, repeated.instructions)
        assert opening != repeated
        assert 2 == session.counters["messages_sent"]


async def test_what_is_about_this_moment_is_refused(mock: MockServer) -> None:
    params = {"agent_id": "a1"}
    async with (
        calling(mock, "soca", params=params, reconnect=PATIENT) as soca,
        calling(mock, reconnect=PATIENT) as orga,
    ):
        for number in (0, 1):
            await vanish(mock, number)
        for session in (soca, orga):
            await session.wait_for(Reconnecting, timeout=DEADLINE)
        for command in (Interrupt(), rtcpeer.EndUtterance()):
            with pytest.raises(ConnectionLost, match=f"{type(command).__name__} was not sent"):
                await soca.send(command)
        with pytest.raises(ConnectionLost, match="no digits were sent"):
            await orga.send_dtmf("1")
        with pytest.raises(rtcpeer.Unsupported):
            await orga.send(rtcpeer.EndUtterance())


async def test_keys_that_were_not_pressed_yet_are_not_pressed_in_another_conversation(mock: MockServer) -> None:
    async with calling(mock) as session:
        pressing = asyncio.create_task(session.send_dtmf("1234567890" * 5, duration=0.2))
        await vanish(mock)
        with pytest.raises(ConnectionLost, match="before all digits were sent"):
            await asyncio.wait_for(pressing, DEADLINE)
        await back(session)
        await session.send_dtmf("7", duration=0.04)
        await until(lambda: keys_of(mock.calls[1]))
        assert ["7"] == keys_of(mock.calls[1])


def keys_of(call: Any) -> list[str]:
    return [each.digit for each in call.received if isinstance(each, DtmfReceived)]
