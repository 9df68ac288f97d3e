"""Streams of audio as messages carry them: what goes in comes out, and what is none is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import spectrum
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.wire import CODECS
from rtcpeer.errors import MediaError
from rtcpeer.formats import AudioFormat


@pytest.mark.parametrize("rate", [8_000, 12_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("codec", ["pcm16", "opus"])
def test_a_tone_is_heard_at_its_pitch_and_at_its_length(codec: str, rate: int):
    make_encoder, make_decoder = CODECS[codec]
    encoder, decoder = make_encoder(AudioFormat(rate)), make_decoder(AudioFormat(rate))
    tone = spectrum.tone(440.0, 1.0, rate)

    heard = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in np.split(tone, 50)])

    assert tone.shape == heard.shape
    assert 440.0 == pytest.approx(spectrum.dominant_frequency(spectrum.as_float(heard[rate // 5 :]), rate), abs=2)


@pytest.mark.parametrize("samples", [1, 100, 479, 480])
def test_the_end_of_a_voice_is_one_whole_opus_packet_however_short(samples: int):
    make_encoder, make_decoder = CODECS["opus"]
    encoder, decoder = make_encoder(AudioFormat(24_000)), make_decoder(AudioFormat(24_000))

    assert 480 == len(decoder.decode(encoder.encode(np.zeros((samples, 1), np.int16))))
    assert b"" == encoder.flush()


@pytest.mark.parametrize("codec", ["pcm16", "opus"])
def test_no_bytes_are_no_sound(codec: str):
    assert (0, 2) == CODECS[codec][1](AudioFormat(48_000, 2)).decode(b"").shape


@given(data=st.binary(max_size=2000))
def test_whatever_comes_as_opus_is_decoded_or_refused(data: bytes):
    try:
        heard = CODECS["opus"][1](AudioFormat(16_000)).decode(data)
    except MediaError:
        return
    assert heard.shape[0] <= 16_000 * 0.12
    assert 1 == heard.shape[1]


@given(cuts=st.lists(st.integers(0, 96_000), max_size=30), channels=st.sampled_from([1, 2]))
def test_pcm_that_is_cut_anywhere_loses_nothing(cuts: list[int], channels: int):
    tone = np.repeat(spectrum.tone(440.0, 1.0, 24_000), channels, axis=1)
    data = tone.astype("<i2").tobytes()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    decoder = CODECS["pcm16"][1](AudioFormat(24_000, channels))

    heard = [decoder.decode(data[start:end]) for start, end in pairwise(edges)]

    assert np.array_equal(tone, np.concatenate(heard))


def test_a_stray_byte_at_the_end_of_a_voice_does_not_make_noise_of_the_next():
    tone = spectrum.tone(440.0, 0.5, 24_000)
    decoder = CODECS["pcm16"][1](AudioFormat(24_000))
    decoder.decode(tone.astype("<i2").tobytes() + b"\x55")

    assert np.array_equal(tone, decoder.decode(tone.astype("<i2").tobytes()))
