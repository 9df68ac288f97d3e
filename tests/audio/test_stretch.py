from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.stretch import find_period, lengthen, shorten


def voice(pitch: float, samples: int = 1440, peak: float = 8000) -> np.ndarray:
    """A vowel, more or less: harmonics that fall off."""
    t = np.arange(samples) / 48_000
    wave = sum(np.sin(2 * np.pi * pitch * k * t + k) / k for k in range(1, 12))
    return (wave / np.abs(wave).max() * peak).astype(np.int16)[:, None]


def steepest(pcm: np.ndarray) -> int:
    return int(np.abs(np.diff(pcm[:, 0].astype(int))).max())


@pytest.mark.parametrize("pitch", [70, 100, 150, 220, 380])
def test_a_voices_period_is_found(pitch):
    period = find_period(voice(pitch))

    assert period is not None
    assert abs(period * pitch / 48_000 - round(period * pitch / 48_000)) < 0.02


@pytest.mark.parametrize("pitch", [100, 150, 220])
@pytest.mark.parametrize("how", [shorten, lengthen])
def test_a_seam_is_no_steeper_than_the_voice_itself(pitch, how):
    pcm = voice(pitch)
    period = find_period(pcm)
    before, after = voice(pitch, 2880)[:1440], pcm
    changed = how(after, period)

    assert len(pcm) - len(changed) == (period if how is shorten else -period)
    assert steepest(changed) <= 1.2 * steepest(before)
    # It still fits on to what came before it and to what comes after it.
    assert changed[0] == pcm[0]
    assert changed[-1] == pcm[-1]


def test_noise_and_a_click_have_no_period():
    noise = (np.random.default_rng(1).standard_normal((1440, 1)) * 5000).astype(np.int16)
    click = np.zeros((1440, 1), np.int16)
    click[200] = 30_000

    assert find_period(noise) is None
    assert find_period(click) is None


def test_silence_may_be_cut_anywhere():
    assert 700 == find_period(np.zeros((1440, 1), np.int16), 700)


@pytest.mark.parametrize("samples", [0, 100, 239])
def test_in_too_little_sound_nothing_is_found(samples):
    assert find_period(voice(200, 1440)[:samples]) is None


def test_no_more_than_asked_for_is_taken():
    assert find_period(voice(100), longest=300) is None
    assert find_period(voice(400), longest=130) in (None, *range(120, 131))
