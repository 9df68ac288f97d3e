"""The outgoing stream: it never ends, whatever its sources do."""

import math
import time

import numpy as np
import pytest

from rtcpeer.audio.outgoing import Outgoing
from rtcpeer.audio.sources import Source
from rtcpeer.errors import ConfigurationError, MediaError


class Counting(Source):
    """1, 2, 3, …: every sample is known; ``None`` when ``length`` is reached."""

    def __init__(self, length, *, first=1):
        self.next, self.end, self.closed = first, first + length, False

    def read(self, samples):
        if self.next == self.end:
            return None
        stop = min(self.end, self.next + samples)
        chunk = np.arange(self.next, stop, dtype=np.int16)[:, None]
        self.next = stop
        return chunk

    def close(self):
        self.closed = True


class Failing(Source):
    def read(self, samples):
        raise ValueError("boom")


class Stalling(Source):
    def read(self, samples):
        return np.zeros((0, 1), np.int16)


async def test_with_nothing_to_say_it_says_silence():
    outgoing = Outgoing()

    assert not outgoing.read().any()
    assert outgoing.read().shape == (960, 1)


async def test_sources_follow_one_another_without_a_gap():
    outgoing = Outgoing()
    first = outgoing.play(Counting(1000))
    second = outgoing.play(Counting(500, first=1001))
    said = np.concatenate([outgoing.read() for _ in range(2)])[:, 0]

    assert list(range(1, 1501)) == said[:1500].tolist()
    assert not said[1500:].any()
    assert first.done
    assert (first.played, second.played) == (1000 / 48_000, 500 / 48_000)


async def test_awaiting_a_playback_returns_once_its_last_sample_is_out():
    outgoing = Outgoing()
    playback = outgoing.play(Counting(960))
    outgoing.read()
    assert not playback.done  # the source has not said yet that it ended
    outgoing.read()
    await playback


async def test_a_cancelled_playback_fades_out_within_a_frame():
    outgoing = Outgoing()
    source = Counting(30_000)
    source.read = lambda samples: np.full((samples, 1), 10_000, np.int16)
    playback = outgoing.play(source)
    outgoing.read()
    playback.cancel()
    last, after = outgoing.read()[:, 0], outgoing.read()

    assert last[0] == 10_000
    assert (np.diff(last) <= 0).all()
    assert np.abs(np.diff(last.astype(int))).max() < 100
    assert not last[240:].any()
    assert not after.any()
    assert source.closed
    await playback


async def test_a_playback_cancelled_before_its_turn_is_never_heard():
    outgoing = Outgoing()
    outgoing.play(Counting(100))
    playback = outgoing.play(Counting(100, first=5000))
    playback.cancel()

    assert outgoing.read().max() == 100
    assert playback.done
    assert playback.played == 0


async def test_a_source_that_raises_is_named_and_the_next_one_plays():
    outgoing = Outgoing()
    bad, good = outgoing.play(Failing()), outgoing.play(Counting(960))

    assert outgoing.read()[:, 0].tolist() == list(range(1, 961))
    assert "Failing" in str(outgoing.failures[0])
    with pytest.raises(MediaError, match=r"Failing.*boom"):
        await bad
    outgoing.read()
    await good


async def test_a_source_that_stalls_is_silence_and_counted():
    outgoing = Outgoing()
    outgoing.play(Stalling())

    assert not outgoing.read().any()
    assert outgoing.underruns == 1
    assert not outgoing.idle


async def test_closing_ends_every_playback():
    outgoing = Outgoing()
    sources = [Counting(10_000), Counting(10_000)]
    playbacks = [outgoing.play(source) for source in sources]
    outgoing.read()
    outgoing.close()

    for playback in playbacks:
        await playback
    assert all(source.closed for source in sources)


async def test_more_than_a_hundred_waiting_sources_are_refused():
    outgoing = Outgoing()
    for _ in range(100):
        outgoing.play(Counting(10))

    with pytest.raises(MediaError, match="100"):
        outgoing.play(Counting(10))


class Level(Source):
    """The same value for ever, or for ``length`` samples."""

    def __init__(self, value, length=1 << 40):
        self.value, self.left = value, length

    def read(self, samples):
        samples = min(samples, self.left)
        self.left -= samples
        return np.full((samples, 1), self.value, np.int16) if samples else None


class InParts(Source):
    """Gives these blocks, one a call; ``None`` where there is nothing just then."""

    def __init__(self, *blocks):
        self.blocks = list(blocks)

    def read(self, samples):
        block = self.blocks.pop(0) if self.blocks else None
        return np.zeros((0, 1), np.int16) if block is None else block


def said(outgoing, frames):
    return np.concatenate([outgoing.read() for _ in range(frames)])[:, 0].astype(int)


async def test_mixed_sources_are_added_to_the_sample_from_the_next_frame_on():
    outgoing = Outgoing()
    outgoing.play(Level(1_000))
    outgoing.read()
    first = outgoing.play(Level(200, 500), mix=True)
    second = outgoing.play(Level(30, 1_500), mix=True)
    heard = said(outgoing, 2)

    assert [1_230] * 500 + [1_030] * 1_000 + [1_000] * 420 == heard.tolist()
    assert (500 / 48_000, 1_500 / 48_000) == (first.played, second.played)
    assert first.done
    assert second.done


async def test_something_can_be_mixed_on_top_of_nothing():
    outgoing = Outgoing()
    outgoing.play(Level(50, 960), mix=True)

    assert not outgoing.idle
    assert [50] * 960 == said(outgoing, 1).tolist()
    assert not said(outgoing, 1).any()
    assert outgoing.idle


@pytest.mark.parametrize("sign", [1, -1])
async def test_what_is_too_loud_together_stays_at_full_scale(sign):
    outgoing = Outgoing()
    for _ in range(3):
        outgoing.play(Level(sign * 30_000), mix=True)

    assert {32_767 if sign > 0 else -32_768} == set(said(outgoing, 1).tolist())


async def test_a_mixed_source_that_fails_is_named_and_the_others_go_on():
    outgoing = Outgoing()
    outgoing.play(Level(1_000))
    bad = outgoing.play(Failing(), mix=True)

    assert [1_000] * 960 == said(outgoing, 1).tolist()
    with pytest.raises(MediaError, match="Failing"):
        await bad
    assert 1 == len(outgoing.failures)


async def test_more_than_sixteen_mixed_sources_are_refused():
    outgoing = Outgoing()
    for _ in range(16):
        outgoing.play(Level(1), mix=True)

    with pytest.raises(MediaError, match="16 sources are being mixed"):
        outgoing.play(Level(1), mix=True)


@pytest.mark.parametrize(("gain", "value"), [(-20.0, 1_000), (6.0206, 20_000), (20.0, 32_767), (-math.inf, 0)])
async def test_a_gain_is_there_from_the_first_sample(gain, value):
    outgoing = Outgoing()
    outgoing.play(Level(10_000), gain=gain)

    assert value == pytest.approx(said(outgoing, 2), abs=1)


async def test_a_change_of_gain_takes_a_frame_and_does_not_click():
    outgoing = Outgoing()
    playback = outgoing.play(Level(20_000))
    outgoing.read()
    playback.gain = -math.inf
    down = said(outgoing, 2)
    playback.gain = 0.0
    up = said(outgoing, 2)

    for ramp in (down, up):
        assert np.abs(np.diff(ramp)).max() <= 22
    assert (0, 20_000) == (down[-1], up[-1])
    assert 0.0 == playback.gain


@pytest.mark.parametrize("gain", [math.nan, 41.0, math.inf])
async def test_impossible_gains_are_refused(gain):
    outgoing = Outgoing()
    with pytest.raises(ConfigurationError, match="dB"):
        outgoing.play(Level(1), gain=gain)
    assert outgoing.idle


async def test_falling_silent_fades_what_plays_and_forgets_what_waits():
    outgoing = Outgoing()
    playing = [outgoing.play(Level(9_000)), outgoing.play(Level(9_000), mix=True)]
    waiting = [outgoing.play(Level(9_000)) for _ in range(5)]
    outgoing.read()
    outgoing.cancel_all()
    for playback in waiting:
        await playback  # at once: it never began
    heard = said(outgoing, 2)

    assert np.abs(np.diff([18_000, *heard])).max() <= 18_000 / 200
    assert not heard[240:].any()
    assert outgoing.idle
    assert [0.0] * 5 == [playback.played for playback in waiting]
    for playback in playing:
        await playback
        assert 0.025 == playback.played


async def test_what_is_played_instead_begins_as_soon_as_the_fade_is_over():
    outgoing = Outgoing()
    old = outgoing.play(Level(9_000))
    outgoing.read()
    old.cancel()
    outgoing.play(Counting(960))
    heard = said(outgoing, 1)

    assert list(range(1, 721)) == heard[240:].tolist()


async def test_a_source_that_runs_dry_in_mid_air_is_brought_down_and_up_again():
    outgoing = Outgoing()
    loud = np.full((960, 1), 9_000, np.int16)
    playback = outgoing.play(InParts(loud, loud[:400], None, None, loud))
    heard = said(outgoing, 4)

    assert [9_000] * 1_360 == heard[:1_360].tolist()
    assert np.abs(np.diff(heard[:2_879])).max() <= 9_000 / 200
    assert not heard[1_700:2_880].any()
    assert 0 == heard[2_880]
    assert [9_000] * 700 == heard[3_120:3_820].tolist()
    assert 2 == outgoing.underruns
    assert (960 + 400 + 960) / 48_000 == playback.played


async def test_a_source_that_fails_in_mid_air_is_brought_down_too():
    class Torn(Level):
        def read(self, samples):
            if self.left < 1 << 39:
                raise OSError("gone")
            self.left = 0
            return np.full((samples, 1), 9_000, np.int16)

    outgoing = Outgoing()
    outgoing.play(Torn(9_000))
    heard = said(outgoing, 2)

    assert np.abs(np.diff(heard)).max() <= 9_000 / 200
    assert not heard[1_200:].any()


async def test_what_begins_and_ends_by_itself_is_sent_to_the_sample():
    outgoing = Outgoing()
    outgoing.play(Level(30_000, 100))
    outgoing.play(Level(-30_000, 100))

    assert [30_000] * 100 + [-30_000] * 100 + [0] * 760 == said(outgoing, 1).tolist()


async def test_a_source_that_is_slow_to_read_is_named():
    class Slow(Level):
        def read(self, samples):
            time.sleep(0.02)
            return super().read(samples)

    named = []
    outgoing = Outgoing(on_slow=lambda what, seconds: named.append((what, seconds >= 0.02)))
    outgoing.play(Slow(1))
    outgoing.read()

    assert [("the source Slow", True)] == named
