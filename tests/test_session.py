"""What a session promises whoever holds it, against the mock on loopback."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import spectrum
from calling import (
    AGENT,
    DEADLINE,
    answering,
    greeting_scenario,
    loudest_frequency,
    short_scenario,
    until,
    write_tone,
)

import rtcpeer
from rtcpeer import (
    AudioFormat,
    Closed,
    ConfigurationError,
    ConnectionLost,
    ConversationStarted,
    ErrorReported,
    Interrupted,
    LocalProtocolError,
    MediaError,
    OpusSettings,
    PhaseCompleted,
    ResponseCompleted,
    Session,
    SessionStarted,
    SpeechStarted,
    SpeechStopped,
    ToneSource,
    TranscriptCompleted,
    TurnMeasured,
    Unsupported,
    UpdateSession,
)
from rtcpeer.audio.sources import FileSource
from rtcpeer.connecting import Connecting
from signaling import MockServer
from signaling.scenario import Line, Scenario, Turn

pytestmark = pytest.mark.usefixtures("nothing_left")


def calling(mock: MockServer, **options) -> Connecting:
    return rtcpeer.connect("orga", mock.url(), api_key=mock.api_key, **options)


@pytest.fixture
async def session(mock: MockServer) -> AsyncIterator[Session]:
    async with calling(mock) as session:
        yield session


def kinds(session: Session) -> list[type]:
    return [type(entry.said) for entry in session.events.entries()]


# Events


async def test_iteration_starts_with_the_phases_and_ends_after_closed(mock: MockServer):
    session = await calling(mock)
    await session.wait_for(SessionStarted, timeout=DEADLINE)
    await session.close()

    said = [event async for event in session]

    phases = [event.phase for event in said if isinstance(event, PhaseCompleted)]
    assert ["token", "ice-config", "gathering", "signaling", "transport", "channel"] == phases
    assert Closed("local") == said[-1]
    assert 1 == kinds(session).count(Closed)
    assert all(event.to_dict()["type"] for event in said)


async def test_two_readers_of_the_log_get_all_of_it(mock: MockServer):
    session = await calling(mock)

    async def read() -> list[object]:
        return [entry.said async for entry in session.events.read()]

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await session.wait_for(SessionStarted, timeout=DEADLINE)
    await session.close()

    first, second = await asyncio.gather(*readers)
    assert first == second
    assert SessionStarted in map(type, first)


async def test_conversation_starts_once_though_answer_and_message_say_so(session: Session):
    await session.wait_for(SessionStarted, timeout=DEADLINE)
    await until(lambda: session.counters["messages_received"] >= 2)

    assert 1 == kinds(session).count(ConversationStarted)
    assert (await session.wait_for(ConversationStarted)).id == session.conversation_id


async def test_wait_for_finds_what_happened_before_it_was_asked(session: Session):
    assert "token" == (await session.wait_for(PhaseCompleted)).phase


async def test_event_that_wait_for_returned_is_not_returned_again_nor_iterated_over(mock: MockServer):
    session = await calling(mock)
    await session.wait_for(SessionStarted, timeout=DEADLINE)
    phases = [await session.wait_for(PhaseCompleted) for _ in range(2)]
    gathering = await session.wait_for(PhaseCompleted, where=lambda phase: phase.phase == "gathering")
    await session.close()

    rest = [event async for event in session]

    assert ["token", "ice-config"] == [each.phase for each in phases]
    assert "gathering" == gathering.phase
    assert ["signaling", "transport", "channel"] == [e.phase for e in rest if isinstance(e, PhaseCompleted)]
    assert SessionStarted not in map(type, rest)
    with pytest.raises(ConnectionLost, match="ended without a PhaseCompleted"):
        await session.wait_for(PhaseCompleted)


async def test_waiting_for_one_event_after_the_other_leaves_the_loop_to_others(session: Session):
    async def wait_for_ever() -> None:
        while True:
            await session.wait_for(PhaseCompleted)

    waiting = asyncio.create_task(wait_for_ever())
    await until(lambda: session._deliveries.waiters)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_listen_takes_the_mark_of_its_turn_and_leaves_the_next_one(session: Session, question: Path):
    await session.play(question)
    await session.listen(timeout=DEADLINE)
    assert 1 == kinds(session).count(ResponseCompleted)
    await session.play(question)

    async for event in session:
        if isinstance(event, ResponseCompleted):
            break

    assert 2 == kinds(session).count(ResponseCompleted)


async def test_wait_for_and_listen_give_up_after_their_timeout_with_an_error_of_ours(session: Session):
    for wait, message in (
        (session.wait_for(Interrupted, timeout=0.01), "no Interrupted in 0.01 s"),
        (session.listen(timeout=0.01), "the agent completed no turn in 0.01 s"),
    ):
        with pytest.raises(TimeoutError, match=message) as raised:
            await wait
        assert isinstance(raised.value, rtcpeer.RtcPeerError)


async def test_limit_that_is_not_a_number_is_refused(session: Session):
    for wait in (session.wait_for(Interrupted, timeout=math.nan), session.listen(timeout=math.nan)):
        with pytest.raises(ConfigurationError, match="timeout is nan"):
            await wait
    for option in ("ice_timeout", "http_timeout", "open_timeout"):
        with pytest.raises(ConfigurationError, match=f"{option} is nan"):
            rtcpeer.connect("orga", "http://127.0.0.1:1", api_key="k", **{option: math.nan})


async def test_wait_for_and_listen_say_that_the_session_ended(session: Session):
    waiting = [asyncio.create_task(session.wait_for(Interrupted)), asyncio.create_task(session.listen())]
    await asyncio.sleep(0)
    await session.close()

    for each in waiting:
        with pytest.raises(ConnectionLost, match="the session ended"):
            await each


# Turns


async def test_turn_tells_what_was_said_and_heard_and_how_it_sounded(session: Session, question: Path):
    playback = await session.play(question)
    turn = await session.listen(timeout=DEADLINE)

    assert ("Fine.", "How are you?") == (turn.text, turn.heard)
    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=3)
    assert (np.int16, 1) == (turn.audio.dtype, turn.audio.shape[1])
    # The mock cannot know sooner that we have finished: its voice detector hangs over for that long.
    assert turn.turnaround is not None
    assert turn.turnaround >= 0.5
    assert playback.done
    assert 0.3 == pytest.approx(playback.played)
    measured = await session.wait_for(TurnMeasured)
    assert measured.turnaround == turn.turnaround
    said = [entry.said for entry in session.events.entries() if isinstance(entry.said, TranscriptCompleted)]
    assert [("user", "How are you?"), ("assistant", "Fine.")] == [(each.speaker, each.text) for each in said]
    assert "<emotion>Fine.</emotion>" == said[-1].raw
    assert {"user", "assistant"} == {
        entry.said.speaker for entry in session.events.entries() if isinstance(entry.said, SpeechStarted)
    }


async def test_turn_marked_done_before_it_is_heard_is_heard_out(mock: MockServer, question: Path, tmp_path: Path):
    mock.scenario = short_scenario(tmp_path, done_order="early")
    async with calling(mock) as session:
        await session.play(question)
        turn = await session.listen(timeout=DEADLINE)

        order = kinds(session)
    assert order.index(ResponseCompleted) < order.index(TurnMeasured)
    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=3)
    assert "Fine." == turn.text


async def test_agent_may_speak_first_and_before_anybody_listens(mock: MockServer, tmp_path: Path):
    mock.scenario = greeting_scenario(tmp_path)
    async with calling(mock) as session:
        await session.wait_for(SpeechStopped, timeout=DEADLINE)
        turn = await session.listen(timeout=DEADLINE)

    assert ("Hello.", None, None) == (turn.text, turn.heard, turn.turnaround)
    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=3)


async def test_turn_in_progress_is_given_out_when_the_call_ends(mock: MockServer, tmp_path: Path):
    mock.scenario = greeting_scenario(tmp_path)
    session = await calling(mock)
    await session.wait_for(SpeechStarted, timeout=DEADLINE)
    await session.close()

    turn = await session.listen()
    assert len(turn.audio)
    with pytest.raises(ConnectionLost):
        await session.listen()


async def test_listen_gives_up_after_its_timeout_and_the_turn_is_not_lost(session: Session, question: Path):
    with pytest.raises(TimeoutError, match=r"no turn in 0\.01 s"):
        await session.listen(timeout=0.01)

    await session.play(question)
    assert "Fine." == (await session.listen(timeout=DEADLINE)).text


async def test_polling_leaves_nothing_behind_each_time(session: Session):
    for _ in range(3):
        for wait in (session.listen(timeout=0.001), session.wait_for(Interrupted, timeout=0.001)):
            with pytest.raises(TimeoutError):
                await wait

    assert 0 == session._path.turns.listeners
    assert 0 == session._deliveries.waiters


async def test_without_transcripts_nothing_is_known_of_what_was_heard(mock: MockServer, question: Path):
    async with calling(mock, transcribe=False) as session:
        await session.play(question)
        turn = await session.listen(timeout=DEADLINE)

    assert turn.heard is None
    assert not mock.calls[-1].params["return_transcription"]


# Commands


async def test_update_arrives_and_is_applied(mock: MockServer, session: Session):
    await session.update(instructions="Be brief.", temperature="0.25")
    await until(lambda: len(mock.received) >= 2)

    opening, update = mock.received
    assert isinstance(opening, UpdateSession)
    assert ("Be brief.", 0.25) == (update.instructions, update.temperature)
    await until(lambda: mock.calls[0].settings["instructions"] == "Be brief.")
    assert 1 == session.stats()["messages"]["messages_sent"]


@pytest.mark.parametrize("options", [{"instruction": "Be brief."}, {"temperature": 2}, {"modalities": ["smell"]}])
async def test_update_refuses_what_the_protocol_does_not_know_before_sending(session: Session, options: dict):
    with pytest.raises(ConfigurationError):
        await session.update(**options)

    assert 0 == session.counters["messages_sent"]


@dataclass(frozen=True, slots=True)
class Dance(rtcpeer.Command):
    pass


async def test_command_the_protocol_has_not_is_unsupported_by_name(session: Session):
    with pytest.raises(Unsupported, match="orga has no Dance"):
        await session.send(Dance())


async def test_event_of_the_other_side_may_not_be_said(session: Session):
    with pytest.raises(LocalProtocolError, match="can't say SessionStarted"):
        await session.send(SessionStarted("mine"))


async def test_after_the_end_everything_says_so(session: Session, question: Path):
    await session.close()
    await session.close()

    for attempt in (session.play(question), session.update(voice="Emma"), session.listen(), session.wait_for(Dance)):
        with pytest.raises(ConnectionLost):
            await attempt
    assert [] == [frame async for frame in session.audio]
    assert 1 == kinds(session).count(Closed)


# Playing


async def test_cancelled_playback_ends_at_once_and_tells_how_much_was_sent(session: Session):
    playback = await session.play("tone")
    await session.wait_for(SpeechStarted, timeout=DEADLINE)
    assert not session.idle
    playback.cancel()
    await asyncio.wait_for(playback, DEADLINE)

    assert playback.played > 0
    assert session.idle


def sent(session: Session) -> dict:
    return session.stats()["outbound_audio"]


async def test_opus_settings_may_change_in_mid_call_and_what_is_said_goes_on():
    economy = OpusSettings.economy()
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t", opus=economy) as session:
        await session.play("tone")
        heard = []
        for settings in (economy, OpusSettings(bitrate=24_000), OpusSettings(bitrate=16_000, complexity=0)):
            session.set_opus(settings)
            frames = []
            async for frame in far_ends[0].audio:
                frames.append(frame.samples)
                if len(frames) == 25:
                    break
            heard.append(loudest_frequency(np.concatenate(frames)))
            assert settings.bitrate == sent(session)["target_bitrate"]

    assert [440.0] * 3 == pytest.approx(heard, abs=5)


async def test_with_dtx_silence_is_announced_and_then_not_sent(session: Session):
    frames = []
    session.tap(lambda position, said, heard: frames.append(position))
    session.set_opus(OpusSettings(dtx=True))
    await until(lambda: len(frames) > 30)  # libopus wants to be sure that nobody speaks
    first, before = len(frames), sent(session)["packets_sent"]
    await until(lambda: len(frames) >= first + 50)

    # A packet every 400 ms keeps the noise of the silence up to date.
    assert sent(session)["packets_sent"] - before < 10


async def test_playbacks_follow_one_another(session: Session):
    first = await session.play(ToneSource(duration=0.05))
    second = await session.play(ToneSource(duration=0.05))
    await asyncio.wait_for(second, DEADLINE)

    assert first.done
    assert (0.05, 0.05) == (first.played, second.played)


class Failing(ToneSource):
    name = "a source that fails"

    def read(self, samples: int):
        if self._position >= 960:
            raise RuntimeError("out of tape")
        return super().read(samples)


async def test_source_that_fails_is_reported_and_the_call_goes_on(session: Session):
    playback = await session.play(Failing())
    after = await session.play(ToneSource(duration=0.04))

    with pytest.raises(MediaError, match="a source that fails: RuntimeError: out of tape"):
        await asyncio.wait_for(playback, DEADLINE)
    reported = await session.wait_for(ErrorReported, timeout=DEADLINE)
    assert "media" == reported.code
    assert "out of tape" in reported.message
    await asyncio.wait_for(after, DEADLINE)
    assert not session.events.closed


async def test_file_that_is_not_there_is_refused_and_the_call_goes_on(session: Session, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"cannot read .*nothing\.wav"):
        await session.play(tmp_path / "nothing.wav")
    await asyncio.wait_for(await session.play(ToneSource(duration=0.02)), DEADLINE)


async def test_file_on_a_disk_that_does_not_answer_holds_nobody_up_and_keeps_its_turn(
    session: Session, question: Path, monkeypatch: pytest.MonkeyPatch
):
    answer, asked = threading.Event(), threading.Event()
    read = FileSource.read

    def slow(source: FileSource, samples: int) -> np.ndarray | None:
        asked.set()
        assert answer.wait(DEADLINE)
        return read(source, samples)

    monkeypatch.setattr(FileSource, "read", slow)
    frames: list[int] = []
    session.tap(lambda at, ours, theirs: frames.append(at))
    first, second = (asyncio.create_task(session.play(each)) for each in (question, ToneSource(duration=0.1)))
    mixed = await session.play(ToneSource(duration=0.1), mix=True)
    await until(asked.is_set)
    begun = len(frames)
    await until(lambda: len(frames) > begun + 10)

    assert mixed.played > 0
    assert not first.done()
    answer.set()
    file, tone = await asyncio.wait_for(first, DEADLINE), await asyncio.wait_for(second, DEADLINE)
    await asyncio.wait_for(tone, DEADLINE)
    assert file.done  # before what was asked for after it
    assert (0.3, 0.1) == pytest.approx((file.played, tone.played))


async def test_session_says_so_when_it_is_used_on_another_event_loop(session: Session):
    async def use() -> list[str]:
        told: list[str] = []
        for attempt in (
            session.play("tone"),
            session.listen(timeout=DEADLINE),
            session.wait_for(SpeechStarted, timeout=DEADLINE),
            session.update(voice="Emma"),
            session.interrupt(),
            session.send_dtmf("1"),
            session.close(),
        ):
            with pytest.raises(ConfigurationError, match="another event loop") as raised:
                await attempt
            told.append(str(raised.value))
        for reach in (lambda: aiter(session), lambda: session.audio, lambda: session.packets, lambda: session.video):
            with pytest.raises(ConfigurationError, match="another event loop") as raised:
                reach()
            told.append(str(raised.value))
        return told

    told = await asyncio.to_thread(asyncio.run, use())

    assert 11 == len(told)
    await session.close()
    await asyncio.to_thread(asyncio.run, session.close())  # it is over: harmless


async def test_playback_ends_with_the_session(session: Session):
    playback = await session.play("tone")
    await session.close()

    await asyncio.wait_for(playback, DEADLINE)


async def test_what_we_play_is_what_the_far_end_hears(question: Path):
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t") as session:
        (far_end,) = far_ends
        await far_end.opened()
        await session.play("tone")
        await far_end.wait_for(SpeechStarted, timeout=DEADLINE)
        heard = [frame.samples async for frame in _take(aiter(far_end.audio), 25)]

    assert AGENT == pytest.approx(loudest_frequency(np.concatenate(heard)), abs=3)


async def _take(frames, count: int):
    async with asyncio.timeout(DEADLINE):
        for _ in range(count):
            yield await anext(frames)


# Hearing


async def test_audio_in_another_format_has_exact_frames_and_the_same_sound(mock: MockServer):
    mock.scenario = "tone"
    async with calling(mock) as session:
        await session.wait_for(SpeechStarted, timeout=DEADLINE)
        narrow, plain = aiter(session.audio.in_format(AudioFormat(16_000, 2))), aiter(session.audio)
        frames = [frame async for frame in _take(narrow, 30)]
        own = [frame async for frame in _take(plain, 30)]

    assert {((320, 2), np.dtype(np.int16))} == {(frame.samples.shape, frame.samples.dtype) for frame in frames}
    assert {(960, 1)} == {frame.samples.shape for frame in own}
    left = spectrum.as_float(np.concatenate([frame.samples for frame in frames])[:, :1])[1600:]
    assert AGENT == pytest.approx(spectrum.dominant_frequency(left, 16_000), abs=3)
    whole = spectrum.as_float(np.concatenate([frame.samples for frame in own]))[4800:]
    assert AGENT == pytest.approx(spectrum.dominant_frequency(whole, 48_000), abs=3)
    assert spectrum.tone_level(whole, 48_000, AGENT) == pytest.approx(spectrum.tone_level(left, 16_000, AGENT), abs=1)


async def test_two_readers_hear_the_same_and_one_that_sleeps_loses_the_oldest(session: Session):
    awake, asleep = aiter(session.audio), aiter(session.audio)
    heard = [frame async for frame in _take(awake, 60)]

    kept = [frame async for frame in _take(asleep, 1)]

    assert 0 == awake.frames_dropped
    assert asleep.frames_dropped >= 10
    # One second is kept, and it is the newest.
    assert kept[0].t == heard[asleep.frames_dropped].t
    assert np.array_equal(kept[0].samples, heard[asleep.frames_dropped].samples)


async def test_reader_that_was_left_is_fed_no_more(session: Session):
    async for _ in session.audio:
        break

    await until(lambda: not len(session.audio._readers))


async def test_interrupted_agent_is_silent_from_now_on(mock: MockServer):
    mock.scenario = "tone"
    async with calling(mock) as session:
        await session.wait_for(SpeechStarted, timeout=DEADLINE)
        await session.interrupt()
        await session.interrupt()
        frames = [frame async for frame in _take(aiter(session.audio), 10)]

    cuts = [entry.said for entry in session.events.entries() if isinstance(entry.said, Interrupted)]
    assert ["local"] == [cut.reason for cut in cuts]
    assert cuts[0].played > 0
    assert not any(frame.samples.any() for frame in frames)


def with_pauses(folder: Path) -> Scenario:
    """An agent whose answer is 0.4 s of tone, three times, with pauses of 0.6 s; the next answer is another tone."""
    piece = np.concatenate([spectrum.tone(AGENT, 0.4, level=-15.0), np.zeros((28_800, 1), np.int16)])
    long = Line(str(spectrum.write_wav(folder / "pauses.wav", np.concatenate([piece] * 3))), "A long story.")
    short = Line(str(write_tone(folder / "short.wav", 2 * AGENT)), "As you like.")
    turns = (Turn("Tell me.", long), Turn("Enough.", short))
    return Scenario("pauses", "tells a story, with pauses", turns=turns, think_time=0.0)


@pytest.mark.parametrize("protocol", ["orga", "orga-ws"])
@pytest.mark.parametrize("done_order", ["late", "early"])
async def test_interrupted_answer_is_not_heard_after_its_next_pause_and_the_next_answer_is(
    mock: MockServer, question: Path, tmp_path: Path, protocol: str, done_order: Literal["early", "late"]
):
    mock.scenario = replace(with_pauses(tmp_path), done_order=done_order)
    heard: list[np.ndarray] = []
    async with rtcpeer.connect(protocol, mock.url(protocol), api_key=mock.api_key) as session:
        session.tap(lambda at, ours, theirs: heard.append(theirs.copy()))
        await session.play(question)
        await session.wait_for(SpeechStarted, where=lambda event: event.speaker == "assistant", timeout=DEADLINE)
        await until(lambda: session._path.tracker.played >= 0.2)
        await session.interrupt()
        cut = len(heard)
        first = await session.listen(timeout=DEADLINE)
        spoken = [entry.t for entry in session.events.entries() if isinstance(entry.said, SpeechStarted)]
        await until(lambda: mock.calls[0]._session is not None and mock.calls[0]._session.idle)
        quiet = len(heard)
        await session.play(question)
        second = await session.listen(timeout=DEADLINE)

        cuts = [entry for entry in session.events.entries() if isinstance(entry.said, Interrupted)]

    assert ["local"] == [entry.said.reason for entry in cuts]
    played = cuts[0].said.played
    audible = [number for number, frame in enumerate(heard[:cut]) if np.abs(frame).max() > 1000]
    assert 0.02 * len(audible) == pytest.approx(played, abs=0.061)
    assert not np.concatenate(heard[cut + 1 : quiet]).any()
    assert ("A long story.", True, played) == (first.text, first.interrupted, first.played)
    assert cuts[0].t == pytest.approx(first.ended, abs=0.02)
    assert first.started <= spoken[-1]  # marked early, it begins with the mark
    assert ("As you like.", False) == (second.text, second.interrupted)
    assert 2 * AGENT == pytest.approx(loudest_frequency(second.audio), abs=5)
    assert 0.3 == pytest.approx(second.played, abs=0.06)
    assert second.started < second.ended


async def test_far_end_that_says_it_was_interrupted_over_webrtc_is_told_by_what_was_heard_of_it(mock: MockServer):
    mock.scenario = "tone"
    async with calling(mock) as session:
        await session.wait_for(SpeechStarted, timeout=DEADLINE)
        await until(lambda: session._path.tracker.played > 0.3)
        played = session._path.tracker.played
        session.on_said(Interrupted(0.0, "remote"))  # none of our protocols over WebRTC has a word for it
    turn = await session.listen()
    interrupted = await session.wait_for(Interrupted)

    assert (pytest.approx(played), "remote") == (interrupted.played, interrupted.reason)
    assert (True, interrupted.played) == (turn.interrupted, turn.played)


async def test_agent_that_fell_silent_after_an_interruption_is_heard_again(mock: MockServer, question: Path):
    async with calling(mock) as session:
        await session.interrupt()
        await session.play(question)
        turn = await session.listen(timeout=DEADLINE)

    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=3)


# Knowing


async def test_stats_have_the_names_of_w3c_and_are_json(session: Session):
    await asyncio.wait_for(await session.play(ToneSource(duration=0.1)), DEADLINE)
    await until(lambda: session.stats()["inbound_audio"]["packets_received"] > 3)
    stats = json.loads(json.dumps(session.stats()))

    assert {
        "inbound_audio",
        "outbound_audio",
        "inbound_video",
        "candidate_pair",
        "messages",
        "source_underruns",
        "clock",
    } <= set(stats)
    inbound = {"packets_received", "packets_lost", "jitter", "concealed_samples", "total_samples_received"}
    assert inbound <= set(stats["inbound_audio"])
    assert {"packets_sent", "bytes_sent", "round_trip_time"} <= set(stats["outbound_audio"])
    assert stats["outbound_audio"]["packets_sent"] >= 5
    assert "host" == stats["candidate_pair"]["local_type"]


async def test_taps_see_both_directions_frame_by_frame(mock: MockServer):
    seen: list[tuple[int, tuple[int, ...], tuple[int, ...]]] = []
    async with calling(
        mock,
        on_session=lambda session: session.tap(lambda at, ours, theirs: seen.append((at, ours.shape, theirs.shape))),
    ):
        await until(lambda: len(seen) >= 3)

    assert [(n * 960, (960, 1), (960, 1)) for n in range(3)] == seen[:3]


async def test_audio_path_that_breaks_ends_the_call_loudly(
    session: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def broken(now: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(session.link, "hear", broken)

    closed = await session.wait_for(Closed, timeout=DEADLINE)
    assert ("lost", "the audio path failed: ZeroDivisionError: ") == (closed.reason, closed.detail)
    assert "the audio path failed" in caplog.text
