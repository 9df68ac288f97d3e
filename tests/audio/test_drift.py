"""Two clocks that nearly agree, for minutes in a moment."""

from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.drift import DriftBuffer


def run(buffer, seconds, skew, *, block=480, sound=None):
    """Put ``1 + skew`` times as much as is taken, in blocks of a device; return what came out of 20 ms frames."""
    sound = sound or (lambda at, n: np.zeros((n, 1), np.int16))
    put, heard, levels = 0, [], []
    for tick in range(round(seconds * 50)):
        while put + block <= (tick + 1) * 960 * (1 + skew):
            buffer.put(sound(put, block))
            put += block
        heard.append(buffer.take(960))
        levels.append(buffer.level)
    return np.concatenate(heard)[:, 0], levels


def tone(frequency, peak=9_000):
    turn = 2 * np.pi * frequency / 48_000
    return lambda at, n: (peak * np.sin(turn * np.arange(at, at + n))).astype(np.int16)[:, None]


@pytest.mark.parametrize("skew", [-1e-3, 0.0, 1e-3])
@pytest.mark.parametrize("block", [128, 480, 1024])
def test_a_device_whose_clock_is_off_neither_runs_dry_nor_piles_up(skew, block):
    buffer = DriftBuffer()
    _, levels = run(buffer, 200, skew, block=block)

    assert 0 == buffer.underruns == buffer.samples_dropped
    assert max(levels) <= 0.1
    assert (buffer.samples_removed - buffer.samples_inserted) / 48_000 == pytest.approx(200 * skew, abs=0.05)


@pytest.mark.parametrize("skew", [-2e-3, 2e-3])
@pytest.mark.parametrize("frequency", [120, 440, 997])
def test_what_is_put_in_or_taken_out_does_not_click(skew, frequency):
    buffer = DriftBuffer()
    heard, _ = run(buffer, 60, skew, sound=tone(frequency))

    assert buffer.samples_removed + buffer.samples_inserted > 0
    assert np.abs(np.diff(heard.astype(int))).max() <= 1.15 * 9_000 * 2 * np.pi * frequency / 48_000 + 2


def test_noise_has_no_period_and_is_corrected_all_the_same():
    rng = np.random.default_rng(1)
    buffer = DriftBuffer()
    run(buffer, 120, 1e-3, sound=lambda at, n: rng.integers(-3_000, 3_000, (n, 1), np.int16))

    assert 0 == buffer.underruns
    assert buffer.samples_removed / 48_000 == pytest.approx(0.12, abs=0.04)


def test_nothing_comes_out_before_the_target_is_there_and_after_it_ran_dry():
    buffer = DriftBuffer(target=0.06)
    block = np.ones((960, 1), np.int16)
    buffer.put(block)
    buffer.put(block)
    assert 0 == len(buffer.take(960))

    buffer.put(block)
    assert [960, 960, 960, 0] == [len(buffer.take(960)) for _ in range(4)]
    assert 1 == buffer.underruns
    buffer.put(block)
    assert 0 == len(buffer.take(960))


def test_when_nobody_takes_the_oldest_is_dropped():
    buffer = DriftBuffer()
    for number in range(100):
        buffer.put(np.full((960, 1), number, np.int16))

    assert buffer.level <= 0.5
    assert 960 * 100 == buffer.samples_dropped + round(buffer.level * 48_000)
    # What is left is the newest.
    assert buffer.take(960)[0, 0] > 70
