"""The outgoing stream: it never ends, whatever its sources do."""

import numpy as np
import pytest

from rtcpeer.audio.outgoing import Outgoing
from rtcpeer.audio.sources import Source
from rtcpeer.errors import MediaError


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
