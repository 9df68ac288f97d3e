"""Whatever a user calls audio becomes int16, or an error that says what came."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.frame import AudioFrame
from rtcpeer.audio.pcm import PcmInput, format_of
from rtcpeer.audio.sources import PcmSource, open_source
from rtcpeer.errors import ConfigurationError, MediaError
from rtcpeer.formats import AudioFormat

RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000]
MONO, STEREO = AudioFormat(24_000), AudioFormat(24_000, 2)


def sine(audio_format: AudioFormat, seconds: float = 1.0, peak: float = 8_000) -> np.ndarray:
    t = np.arange(round(audio_format.sample_rate * seconds)) / audio_format.sample_rate
    mono = np.rint(peak * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[:, None]
    return np.repeat(mono, audio_format.channels, axis=1)


def read_all(source) -> np.ndarray:
    parts = []
    while (pcm := source.read(960)) is not None:
        parts.append(pcm)
    return np.concatenate(parts)


def decibels(pcm: np.ndarray, peak: float = 8_000) -> float:
    middle = pcm[len(pcm) // 4 : 3 * len(pcm) // 4].astype(float)
    return float(10 * np.log10(np.mean(middle**2) / (peak**2 / 2)))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["int16", "float32", "float64", "bytes", "frame", "av"])
def test_pcm_of_any_format_keeps_its_level_and_its_length(rate, channels, kind):
    audio_format = AudioFormat(rate, channels)
    pcm = sine(audio_format)
    frame = AudioFrame(pcm, audio_format, 0.0)
    given_as = {
        "int16": pcm,
        "float32": (pcm / 32768).astype(np.float32),
        "float64": pcm / 32768,
        "bytes": pcm.astype("<i2").tobytes(),
        "frame": frame,
        "av": frame.to_av(),
    }[kind]

    heard = read_all(open_source(given_as, format=audio_format))

    assert 48_000 == len(heard)
    assert abs(decibels(heard)) < 0.1


def test_int16_and_the_float_of_it_are_the_same_to_the_sample():
    pcm = np.array([-32768, -1, 0, 1, 32767], np.int16)[:, None]

    assert np.array_equal(pcm, PcmInput(MONO, "x").feed((pcm / 32768).astype(np.float32)))


def test_float_that_peaks_above_full_scale_is_clipped_not_wrapped():
    assert [32767, -32768] == PcmInput(MONO, "x").feed(np.array([1.2, -1.2]))[:, 0].tolist()


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8), st.sampled_from([MONO, STEREO]))
def test_bytes_may_be_cut_anywhere(data, cuts, audio_format):
    whole = len(data) - len(data) % (2 * audio_format.channels)
    feed = PcmInput(audio_format, "x")
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [feed.feed(data[start:end]) for start, end in pairwise(edges)]

    assert data[:whole] == np.concatenate(parts).astype("<i2").tobytes()
    assert feed.incomplete == (whole != len(data))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((10, 2), np.int16), r"tts: int16 \(10, 2\) was written, not \(n, 1\)"),
        (np.zeros((1, 10), np.float32), r"float32 \(1, 10\)"),
        (np.zeros(10, np.int32), "int32"),
        (np.zeros(10, np.uint8), "uint8"),
        (np.zeros(10, ">i2"), ">i2"),
        (np.zeros(10, np.complex64), "complex64"),
        (np.full(10, 1200.0), "float samples up to 1200: scale them"),
        (np.full(10, np.nan), "float samples up to nan"),
        ("hello", "str is not audio"),
        (None, "NoneType is not audio"),
        ([1, 2, 3], "list is not audio"),
        (
            AudioFrame(np.zeros((480, 1), np.int16), AudioFormat(48_000), 0.0),
            "frame of .*48000.* in a stream of .*24000",
        ),
    ],
)
def test_what_does_not_fit_is_named(wrong, said):
    with pytest.raises(MediaError, match=said):
        PcmInput(MONO, "tts").feed(wrong)


@pytest.mark.parametrize("kind", ["s16", "s16p", "flt", "fltp"])
def test_a_frame_of_pyav_is_read_without_its_padding(kind):
    pcm = sine(STEREO, 0.0205)  # 492 samples: planes are padded to a multiple of 32 or so
    packed = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
    packed.sample_rate = 24_000
    [frame] = av.AudioResampler(kind, "stereo", 24_000).resample(packed)

    assert STEREO == format_of(frame)
    assert np.array_equal(pcm, PcmInput(STEREO, "x").feed(frame))


def test_a_frame_of_six_channels_is_refused():
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 60), np.int16), format="s16", layout="5.1")
    frame.sample_rate = 24_000

    with pytest.raises(MediaError, match="6 channels"):
        PcmInput(MONO, "x").feed(frame)


def test_nothing_is_kept_of_the_callers_array():
    pcm = np.full((960, 1), 7, np.int16)
    source = PcmSource(pcm, AudioFormat(48_000))
    pcm[:] = 0

    assert np.all(source.read(960) == 7)


def test_pcm_loops_and_begins_later_to_the_sample():
    pcm = np.arange(1, 1001, dtype=np.int16)
    source = PcmSource(pcm, AudioFormat(48_000), loop=True, start=0.01)
    heard = np.concatenate([source.read(960) for _ in range(3)])[:, 0]

    assert np.array_equal(np.concatenate([pcm[480:], pcm, pcm, pcm])[:2880], heard)
    source.close()
    assert source.read(960) is None


def test_bytes_that_end_within_a_sample_are_not_that_format():
    with pytest.raises(MediaError, match="end within a sample"):
        PcmSource(b"\0" * 6, STEREO)


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        (b"\0\0", {}, "need a format"),
        (np.zeros(10, np.int16), {}, "need a format"),
        ("tone", {"format": MONO}, "only bytes, arrays and iterators are told their format"),
        ("mic", {"loop": True}, "mic: only files, bytes and arrays can be looped"),
        ("silence", {"start": 1.0}, "begun later"),
        (b"\0\0", {"format": MONO, "start": -1.0}, "start=-1.0"),
        (iter([b"\0\0"]), {}, "give an async iterator"),
        (42, {}, "int is nothing that can be played"),
    ],
)
def test_options_that_make_no_sense_are_refused(spec, options, said):
    with pytest.raises(ConfigurationError, match=said):
        open_source(spec, **options)
