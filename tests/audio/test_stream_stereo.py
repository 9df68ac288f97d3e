"""Two channels over a WebSocket: kept apart beside the mono of a call; and far ends that send their pauses."""

from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.reader import Heard
from rtcpeer.audio.stream_playout import StreamPlayout
from rtcpeer.formats import VOICE, AudioFormat

FRAME = 0.02


def sides(left: int, right: int, rate: int = 48_000, seconds: float = FRAME) -> np.ndarray:
    return np.tile(np.array([[left, right]], np.int16), (round(rate * seconds), 1))


def test_stereo_is_kept_beside_its_average():
    playout = StreamPlayout(live=True)
    for number in range(5):
        playout.put(sides(1000, -500), AudioFormat(48_000, 2), 0, number * FRAME)

    frame = playout.get(5 * FRAME)

    assert (960, 2) == frame.stereo.shape
    assert [1000, -500] == frame.stereo[480].tolist()
    assert (960, 1) == frame.samples.shape
    assert 250 == frame.samples[480, 0]


def test_mono_is_not_made_stereo():
    playout = StreamPlayout(live=True)
    playout.put(np.full((960, 1), 1000, np.int16), VOICE, 0, 0.0)

    assert playout.get(0.1).stereo is None


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_one_that_turns_stereo_in_mid_stream_loses_nothing(rate: int):
    playout = StreamPlayout(live=True)
    heard = 0
    for number in range(100):
        now = number * FRAME
        if number < 50:
            playout.put(sides(1000, 0, rate)[:, :1], AudioFormat(rate, 1), 0, now)
        else:
            playout.put(sides(1000, 1000, rate), AudioFormat(rate, 2), 0, now)
        heard += int((playout.get(now).samples > 500).sum())
    heard += sum(int((playout.get((100 + number) * FRAME).samples > 500).sum()) for number in range(10))

    assert abs(heard - 100 * 960) < 200
    assert 0 == playout.stats.discarded_samples


async def test_readers_get_stereo_or_mono_as_they_ask_whatever_comes():
    audio = Heard()
    stereo, mono, slow = (audio.in_format(AudioFormat(*shape)) for shape in ((48_000, 2), (48_000, 1), (24_000, 2)))
    for number in range(20):
        audio.put(sides(1000, -500) if number >= 10 else sides(200, 200)[:, :1], number * FRAME)
    audio.end()

    frames = {reader: [frame.samples async for frame in reader] for reader in (stereo, mono, slow)}

    assert [200, 200] == frames[stereo][0][0].tolist()
    assert [1000, -500] == frames[stereo][-1][-1].tolist()
    assert 200 == frames[mono][0][0, 0]
    assert 250 == frames[mono][-1][-1, 0]
    assert [1000, -500] == pytest.approx(frames[slow][-2][240].tolist(), abs=2)
    assert {(960, 2)} == {frame.shape for frame in frames[stereo]}
