from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.level import SILENCE, SILENT, Level, level_of


def test_a_full_scale_square_wave_is_0_dbov_and_silence_127_below():
    square = np.where(np.arange(960) % 2, 32767, -32768).astype(np.int16)[:, None]

    assert 0 == level_of(square).below_full_scale
    assert (1.0, 0.0) == pytest.approx(level_of(square), abs=1e-4)
    assert SILENT == level_of(SILENCE) == level_of(SILENCE.copy()) == level_of(SILENCE[:0])
    assert 127 == SILENT.below_full_scale


@given(st.floats(1e-3, 1.0), st.integers(1, 2000), st.integers(1, 2))
def test_power_and_offset_are_the_means_of_all_channels(amplitude: float, samples: int, channels: int) -> None:
    rng = np.random.default_rng(samples)
    pcm = np.clip(rng.normal(3000, 32768 * amplitude, (samples, channels)), -32768, 32767).astype(np.int16)
    exact = pcm.astype(np.float64) / 32768

    assert ((exact**2).mean(), exact.mean()) == pytest.approx(level_of(pcm), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("decibels", range(0, 91, 15))
def test_the_level_of_a_header_is_whole_decibels_below_full_scale(decibels: int) -> None:
    assert decibels == Level(10 ** (-decibels / 10), 0.0).below_full_scale
    assert 127 >= Level(math.ulp(0.0), 0.0).below_full_scale
