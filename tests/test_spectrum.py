"""The ruler itself is measured first."""

from __future__ import annotations

import numpy as np
import pytest
import spectrum


@pytest.mark.parametrize("frequency", [220.0, 440.0, 771.3, 3000.0])
@pytest.mark.parametrize("sample_rate", [8_000, 24_000, 48_000])
def test_tone_is_found_to_within_a_hertz(frequency: float, sample_rate: int):
    audio = spectrum.as_float(spectrum.tone(frequency, 0.5, sample_rate))

    assert spectrum.dominant_frequency(audio, sample_rate) == pytest.approx(frequency, abs=1.0)


def test_level_of_a_tone_is_its_own_and_that_of_another_band_is_not():
    audio = spectrum.as_float(spectrum.tone(440, 1.0, level=-20.0))

    assert spectrum.tone_level(audio, 48_000, 440) == pytest.approx(-20.0, abs=0.1)
    assert spectrum.tone_level(audio, 48_000, 770) < -80


def test_two_tones_are_told_apart():
    audio = spectrum.as_float(spectrum.tone(440, 1.0, level=-20.0) + spectrum.tone(770, 1.0, level=-30.0))

    assert spectrum.tone_level(audio, 48_000, 440) == pytest.approx(-20.0, abs=0.1)
    assert spectrum.tone_level(audio, 48_000, 770) == pytest.approx(-30.0, abs=0.1)


def test_silence_is_the_floor():
    assert spectrum.band_level(np.zeros((4800, 1)), 48_000, 20, 20_000) == spectrum.SILENCE


def test_two_channels_are_refused_rather_than_averaged():
    with pytest.raises(ValueError, match="one channel"):
        spectrum.dominant_frequency(np.zeros((4800, 2)), 48_000)


def test_loudest_second_is_where_the_tone_is():
    audio = np.concatenate([np.zeros((96_000, 1)), spectrum.as_float(spectrum.tone(440, 1.0)), np.zeros((96_000, 1))])

    assert spectrum.tone_level(spectrum.loudest(audio, 48_000), 48_000, 440) == pytest.approx(-12.0, abs=0.1)


def test_wav_comes_back_as_it_was_written(tmp_path):
    pcm = np.hstack([spectrum.tone(440, 0.1), spectrum.tone(770, 0.1)])

    audio, sample_rate = spectrum.read_wav(spectrum.write_wav(tmp_path / "two.wav", pcm).read_bytes())

    assert sample_rate == 48_000
    assert np.array_equal(pcm, (audio * 32768).astype(np.int16))
