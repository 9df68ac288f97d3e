"""MP3 in pieces: real MP3 from LAME, cut wherever a network may cut it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import spectrum
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtcpeer.audio.mp3 import PIECE, Mp3Decoder, Mp3Encoder
from rtcpeer.errors import MediaError
from rtcpeer.formats import AudioFormat

FORMAT = AudioFormat(22_050)


def encoded(pcm: NDArray[np.int16]) -> list[bytes]:
    encoder = Mp3Encoder(FORMAT)
    pieces = [encoder.encode(pcm[at : at + 441]) for at in range(0, len(pcm), 441)]
    pieces += iter(encoder.flush, b"")
    return [piece for piece in pieces if piece]


def decoded(pieces: list[bytes], decoder: Mp3Decoder | None = None) -> NDArray[np.int16]:
    decoder = decoder or Mp3Decoder(FORMAT)
    return np.concatenate([decoder.decode(piece) for piece in (*pieces, b"")])


def tone(frequency: float, seconds: float) -> NDArray[np.int16]:
    return spectrum.tone(frequency, seconds, FORMAT.sample_rate, level=-12.0)


VOICE = tone(440.0, 2.5)
STREAM = b"".join(encoded(VOICE))
WHOLE = decoded([STREAM])


def test_pieces_are_4096_bytes_but_for_the_last():
    pieces = encoded(VOICE)
    assert [PIECE] * (len(pieces) - 1) == [len(piece) for piece in pieces[:-1]]
    assert 0 < len(pieces[-1]) <= PIECE
    # 32 kb/s
    assert 4000 == pytest.approx(len(STREAM) / 2.5, rel=0.05)


def test_a_tone_survives_without_a_gap():
    assert len(VOICE) < len(WHOLE) < len(VOICE) + 0.1 * FORMAT.sample_rate
    middle = WHOLE[len(WHOLE) // 4 : -len(WHOLE) // 4]
    assert 440.0 == pytest.approx(spectrum.dominant_frequency(spectrum.as_float(middle), FORMAT.sample_rate), abs=2)
    frames = middle[: len(middle) // 441 * 441].reshape(-1, 441).astype(float)
    levels = np.sqrt((frames**2).mean(axis=1))
    assert levels.min() > 0.9 * levels.max()


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(1, len(STREAM) - 1), max_size=30, unique=True).map(sorted))
def test_wherever_it_is_cut_the_same_comes_out(cuts: list[int]):
    edges = [0, *cuts, len(STREAM)]
    pieces = [STREAM[begin:end] for begin, end in itertools.pairwise(edges)]

    assert np.array_equal(WHOLE, decoded(pieces))


def test_byte_by_byte_the_same_comes_out():
    assert np.array_equal(WHOLE, decoded([STREAM[at : at + 1] for at in range(len(STREAM))]))


def test_after_the_end_of_a_stream_comes_another():
    decoder = Mp3Decoder(FORMAT)
    first, second = decoded([STREAM], decoder), decoded([STREAM], decoder)

    assert np.array_equal(first, second)


def test_an_encoder_that_was_flushed_begins_again():
    encoder = Mp3Encoder(FORMAT)
    streams = []
    for _ in range(2):
        made = [encoder.encode(VOICE[:9000]), *iter(encoder.flush, b"")]
        streams.append(b"".join(made))

    assert streams[0] == streams[1] != b""
    assert b"" == encoder.flush()


def test_a_stream_that_is_cut_off_gives_what_was_complete():
    heard = decoded([STREAM[: len(STREAM) // 2]])
    assert len(WHOLE) // 2 == pytest.approx(len(heard), rel=0.03)
    assert np.array_equal(WHOLE[: len(heard) - 1200], heard[:-1200])


def test_a_stream_that_is_joined_in_the_middle_is_heard_from_there():
    heard = decoded([STREAM[5001:]])
    assert len(heard) > 0.4 * len(WHOLE)


def test_another_rate_in_the_stream_is_brought_to_ours():
    encoder = Mp3Encoder(AudioFormat(44_100))
    pcm = spectrum.tone(440.0, 1.0, 44_100, level=-12.0)
    heard = decoded([encoder.encode(pcm[:20_000]), encoder.encode(pcm[20_000:]), *iter(encoder.flush, b"")])

    sound = spectrum.as_float(heard[5000:15_000])
    assert 440.0 == pytest.approx(spectrum.dominant_frequency(sound, FORMAT.sample_rate), abs=3)


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(max_size=3000), max_size=8))
def test_noise_is_refused_or_heard_but_breaks_nothing(pieces: list[bytes]):
    decoder = Mp3Decoder(FORMAT)
    try:
        decoded(pieces, decoder)
    except MediaError:
        decoder.decode(b"")
    assert np.array_equal(WHOLE, decoded([STREAM], decoder))


def test_what_is_no_mp3_is_said_to_be_none():
    decoder = Mp3Decoder(FORMAT)
    decoder.decode(bytes(8192))
    with pytest.raises(MediaError, match="no MP3"):
        decoder.decode(bytes(1024))


def test_a_stream_that_changes_its_rate_half_way_is_heard_on():
    def sound(rate: int) -> bytes:
        encoder = Mp3Encoder(AudioFormat(rate))
        return b"".join([encoder.encode(spectrum.tone(440.0, 0.5, rate)), *iter(encoder.flush, b"")])

    decoder = Mp3Decoder(AudioFormat(24_000))
    heard = [decoder.decode(piece) for piece in (sound(22_050), sound(44_100), b"")]

    pcm = spectrum.as_float(np.concatenate(heard))
    assert len(pcm) / 24_000 == pytest.approx(1.0, abs=0.25)
    for half in np.split(pcm[: len(pcm) // 2 * 2], 2):
        assert 440.0 == pytest.approx(spectrum.dominant_frequency(half[2000:8000], 24_000), abs=6)
