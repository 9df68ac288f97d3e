from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rtcpeer.audio.sources import FileSource
from rtcpeer.audio.vad import VoiceDetector
from signaling.scenario import speech_file

FRAME = 960


def noise(seconds: float, dbfs: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.standard_normal((round(seconds * 48_000), 1)) * 32768 * 10 ** (dbfs / 20)).astype(np.int16)


def tone(seconds: float, dbfs: float = -20.0) -> np.ndarray:
    t = np.arange(round(seconds * 48_000)) / 48_000
    return (32768 * 2**0.5 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[:, None]


def silence(seconds: float) -> np.ndarray:
    return np.zeros((round(seconds * 48_000), 1), np.int16)


def speech(name: str) -> np.ndarray:
    source = FileSource(str(speech_file(name)))
    frames = []
    try:
        while (frame := source.read(FRAME)) is not None and len(frame):
            frames.append(frame)
    finally:
        source.close()
    return np.concatenate(frames)


def hear(detector: VoiceDetector, *parts: np.ndarray) -> list[tuple[str, float]]:
    """What it told, with when that really was."""
    pcm = np.concatenate(parts)
    told = []
    for n in range(0, len(pcm) - FRAME + 1, FRAME):
        what = detector.feed(pcm[n : n + FRAME], n / 48_000)
        if what is not None:
            when = detector.started_at if what == "started" else detector.last_voiced_at
            told.append((what, round(when, 3)))
    return told


def test_an_utterance_begins_and_ends_where_the_voice_does_not_where_it_was_noticed():
    told = hear(VoiceDetector(), silence(1), tone(0.5), silence(1))

    assert [("started", 1.0), ("stopped", 1.5)] == told


def test_the_end_is_told_after_the_hangover():
    detector = VoiceDetector(hangover=0.2)
    pcm = np.concatenate([tone(0.2), silence(1)])
    at = next(n * 0.02 for n in range(60) if detector.feed(pcm[n * FRAME : (n + 1) * FRAME], n * 0.02) == "stopped")

    assert at + 0.02 == pytest.approx(0.4)


@pytest.mark.parametrize("seconds", [1, 30])
def test_a_tone_is_a_voice_however_long(seconds):
    assert [("started", 0.0)] == hear(VoiceDetector(), tone(seconds))


@pytest.mark.parametrize("background", [None, -60.0])
@pytest.mark.parametrize("name", ["user-1.flac", "user-2.flac", "assistant-2.flac"])
def test_a_sentence_is_one_utterance(name, background):
    pcm = np.concatenate([silence(1), speech(name), silence(1)])
    if background is not None:
        pcm = pcm + noise(len(pcm) / 48_000, background)
    told = hear(VoiceDetector(), pcm)

    assert ["started", "stopped"] == [what for what, _ in told]
    assert 1.0 <= told[0][1] < 1.3
    assert len(pcm) / 48_000 - 1.4 < told[1][1] <= len(pcm) / 48_000 - 0.9


def test_faint_noise_is_silence():
    assert [] == hear(VoiceDetector(), noise(20, -60))


def test_loud_steady_noise_is_taken_for_silence_before_long():
    told = hear(VoiceDetector(), noise(10, -40))

    assert told == [] or (len(told) == 2 and told[-1][1] < 2.0)


def test_speech_is_heard_above_the_noise_that_was_learnt():
    detector = VoiceDetector()
    hear(detector, noise(5, -45))

    assert "started" in [
        what for what, _ in hear(detector, (speech("user-1.flac") + noise(6, -45)[: len(speech("user-1.flac"))]))
    ]


@pytest.mark.parametrize("offset", range(0, FRAME, 120))
def test_a_click_is_no_speech_wherever_in_the_frame_it_falls(offset):
    click = silence(1)
    click[FRAME * 10 + offset : FRAME * 10 + offset + 240] = 20_000

    assert [] == hear(VoiceDetector(), click)


def test_a_click_after_the_voice_does_not_prolong_it():
    pause = silence(1)
    pause[FRAME * 15 : FRAME * 15 + 100] = 20_000

    assert [("started", 0.0), ("stopped", 0.4)] == hear(VoiceDetector(), tone(0.4), pause)


def test_a_pause_shorter_than_the_hangover_belongs_to_the_utterance():
    told = hear(VoiceDetector(), tone(0.4), silence(0.4), tone(0.4), silence(1))

    assert [("started", 0.0), ("stopped", 1.2)] == told


def test_a_constant_offset_is_no_voice():
    assert [] == hear(VoiceDetector(), np.full((48_000, 1), 9000, np.int16))


@given(st.lists(arrays(np.int16, st.tuples(st.integers(0, 40), st.integers(1, 2))), max_size=40))
def test_started_and_stopped_take_turns_whatever_is_fed(frames):
    detector = VoiceDetector(8_000, hangover=0.005)
    told = [what for n, frame in enumerate(frames) if (what := detector.feed(frame, n * 0.005))]

    assert told == ["started", "stopped"] * (len(told) // 2) + ["started"] * (len(told) % 2)
