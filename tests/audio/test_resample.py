from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtcpeer.audio.frame import AudioFrame
from rtcpeer.audio.resample import Resampler
from rtcpeer.formats import VOICE, AudioFormat

RATES = [8_000, 16_000, 22_050, 44_100, 48_000]


def tone(format: AudioFormat, seconds: float = 1.0, frequency: float = 440.0) -> NDArray[np.int16]:
    time = np.arange(round(format.sample_rate * seconds)) / format.sample_rate
    sine = np.rint(8_000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)
    return np.repeat(sine[:, np.newaxis], format.channels, axis=1)


def decibels(pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    """Level of the middle half of each channel, relative to ``tone``."""
    middle = pcm[len(pcm) // 4 : 3 * len(pcm) // 4].astype(np.float64)
    return 10 * np.log10(np.mean(middle**2, axis=0) / (8_000**2 / 2))


def convert(resampler: Resampler, pcm: NDArray[np.int16], block: int) -> NDArray[np.int16]:
    parts = [resampler.feed(pcm[start : start + block]) for start in range(0, len(pcm), block)]
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("target", [VOICE, AudioFormat(48_000, 2), AudioFormat(16_000, 1), AudioFormat(24_000, 2)])
def test_level_and_length_survive_every_pair_of_formats(rate: int, channels: int, target: AudioFormat) -> None:
    source = AudioFormat(rate, channels)

    pcm = convert(Resampler(source, target), tone(source), source.frame_samples)

    assert pcm.dtype == np.int16
    assert (target.sample_rate, target.channels) == pcm.shape
    assert np.all(np.abs(decibels(pcm)) < 0.1)


def test_equal_formats_are_handed_through_untouched() -> None:
    pcm = tone(VOICE)

    assert Resampler(VOICE, VOICE).feed(pcm) is pcm


def test_stereo_to_mono_averages_and_does_not_overflow() -> None:
    pcm = np.array([[32_767, 32_767], [-32_768, -32_768], [1_000, 0], [20_000, -20_000]], np.int16)

    mono = Resampler(AudioFormat(48_000, 2), VOICE).feed(pcm)

    assert mono.tolist() == [[32_767], [-32_768], [500], [0]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=12), st.sampled_from(RATES), st.sampled_from(RATES))
def test_the_sizes_of_the_blocks_do_not_matter(sizes: list[int], rate: int, to: int) -> None:
    source, target = AudioFormat(rate), AudioFormat(to, 2)
    pcm = np.random.default_rng(1).integers(-20_000, 20_000, (sum(sizes), 1), np.int16)
    cut = Resampler(source, target)
    whole = Resampler(source, target)

    parts = [cut.feed(block) for block in np.split(pcm, np.cumsum(sizes)[:-1])]
    pieces = np.concatenate([*parts, cut.flush()])

    assert np.array_equal(np.concatenate([whole.feed(pcm), whole.flush()]), pieces)
    assert abs(len(pieces) - len(pcm) * to / rate) <= to / 1_000


def test_flush_leaves_nothing_behind_for_the_next_stream() -> None:
    resampler = Resampler(AudioFormat(16_000), VOICE)
    loud = tone(AudioFormat(16_000))
    resampler.feed(loud)

    assert len(resampler.flush()) > 0
    assert len(resampler.flush()) == 0
    assert not np.any(convert(resampler, np.zeros_like(loud), 320))


def test_padding_of_planes_does_not_leak() -> None:
    resampler = Resampler(AudioFormat(44_100), VOICE)
    constant = np.full((44_100, 1), 1_000, np.int16)

    pcm = convert(resampler, constant, 441)

    assert len(pcm) == 48_000
    assert np.all(np.abs(pcm[100:-100].astype(np.int32) - 1_000) <= 2)


def test_a_frame_converts_to_bytes_and_to_pyav_and_back() -> None:
    format = AudioFormat(16_000, 2)
    samples = np.arange(640, dtype=np.int16).reshape(-1, 2)[::-1]
    frame = AudioFrame(samples, format, t=1.5)

    assert samples.astype("<i2").tobytes() == frame.to_bytes()
    converted = frame.to_av()
    assert isinstance(converted, av.AudioFrame)
    assert (
        converted.layout.name,
        converted.sample_rate,
        converted.samples,
        converted.pts,
    ) == ("stereo", 16_000, 320, 24_000)
    assert np.array_equal(samples, converted.to_ndarray().reshape(-1, 2))


def test_frames_compare_by_identity_and_can_be_kept_in_a_set() -> None:
    one, other = (AudioFrame(np.zeros((2, 1), np.int16), VOICE, t=0.0) for _ in range(2))

    assert one != other
    assert len({one, other, one}) == 2
