"""What comes while it is played, at any time and in any size, in virtual ticks of 20 ms."""

from __future__ import annotations

import asyncio
import heapq

import numpy as np
import pytest

from rtcpeer.audio.frame import AudioFrame
from rtcpeer.audio.outgoing import Outgoing
from rtcpeer.audio.sources import IteratorSource, open_source
from rtcpeer.errors import MediaError
from rtcpeer.formats import AudioFormat

SPEECH = AudioFormat(24_000)
FRAME = 960


class Ticks:
    """Time that passes 20 ms at each frame that goes out, and not otherwise."""

    def __init__(self):
        self.now, self._number, self._sleepers = 0.0, 0, []

    async def sleep(self, seconds):
        awake = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._number, awake))
        await awake

    async def run(self, outgoing, frames):
        heard = []
        for _ in range(frames):
            await self.settle()
            heard.append(outgoing.read())
            self.now += 0.02
        return np.concatenate(heard)[:, 0]

    async def settle(self):
        """Let everything run that waits for nothing but its turn."""
        for _ in range(20):
            while self._sleepers and self._sleepers[0][0] <= self.now + 1e-9:
                awake = heapq.heappop(self._sleepers)[2]
                if not awake.done():
                    awake.set_result(None)
            await asyncio.sleep(0)


def voice(seconds):
    t = np.arange(round(seconds * SPEECH.sample_rate)) / SPEECH.sample_rate
    return np.rint(9_000 * np.sin(2 * np.pi * 300 * t + 1.0)).astype(np.int16)


STEEPEST = 9_000 * 2 * np.pi * 300 / 48_000 + 2


def steepest(pcm):
    return int(np.abs(np.diff(pcm.astype(int))).max())


def gaps(pcm):
    """Lengths, in seconds, of what is silent for over 2 ms between the first and the last sound."""
    loud = np.flatnonzero(pcm)
    steps = np.diff(loud)
    return [step / 48_000 for step in steps[steps > 96].tolist()]


@pytest.mark.parametrize("seed", range(6))
async def test_speech_synthesised_in_fits_and_starts_goes_out_without_a_gap(seed):
    rng = np.random.default_rng(seed)
    ticks, outgoing = Ticks(), Outgoing()
    words = voice(3.0)

    async def synthesise():
        rest = words
        await ticks.sleep(0.3)
        while len(rest):
            # Chunks of 2 to 400 ms; each takes from nothing to nearly as long as it sounds.
            size = int(rng.integers(48, 9_600))
            chunk, rest = rest[:size], rest[size:]
            yield chunk.astype("<i2").tobytes() if rng.random() < 0.5 else (chunk / 32768).astype(np.float32)
            await ticks.sleep(len(chunk) / 24_000 * float(rng.uniform(0.0, 0.9)))

    playback = outgoing.play(open_source(synthesise(), format=SPEECH))
    heard = await ticks.run(outgoing, 200)
    await playback

    begin, end = np.flatnonzero(heard)[[0, -1]]
    assert 144_000 == pytest.approx(end + 1 - begin, abs=5)
    assert [] == gaps(heard)
    assert steepest(heard[begin + 1 : end]) <= STEEPEST
    assert 3.0 == pytest.approx(playback.played, abs=0.001)


async def test_speech_slower_than_it_sounds_has_few_gaps_and_no_clicks():
    ticks, outgoing = Ticks(), Outgoing()
    words = voice(2.0)

    async def slow():
        for number, start in enumerate(range(0, len(words), 480)):
            yield words[start : start + 480]
            await ticks.sleep(0.04 if number % 4 == 3 else 0.02)

    playback = outgoing.play(open_source(slow(), format=SPEECH))
    heard = await ticks.run(outgoing, 180)
    await playback

    found = gaps(heard)
    assert 2 <= len(found) <= 6  # 25 chunks came late
    assert min(found) > 0.05
    begin, end = np.flatnonzero(heard)[[0, -1]]  # there, the voice itself begins and ends in mid-air
    # The ramps of 5 ms add a little to the slope of the voice itself.
    assert steepest(heard[begin + 1 : end]) <= STEEPEST + 9_000 / 240 + 2
    assert outgoing.underruns > 0


async def test_a_stream_that_is_not_played_yet_is_fetched_a_second_ahead_and_no_more():
    ticks, outgoing, yielded = Ticks(), Outgoing(), 0

    async def endless():
        nonlocal yielded
        while True:
            yielded += 1
            yield b"\1\0" * 480

    outgoing.play(open_source(endless(), format=SPEECH))
    for _ in range(20):
        await ticks.settle()
    assert 50 <= yielded <= 57

    await ticks.run(outgoing, 50)
    assert 100 <= yielded <= 107
    outgoing.close()
    await outgoing.wait_closed()


async def test_one_huge_chunk_does_not_all_wait_inside():
    ticks, outgoing = Ticks(), Outgoing()

    async def once():
        yield voice(30.0)

    playback = outgoing.play(open_source(once(), format=SPEECH))
    await ticks.settle()
    assert 1.0 <= playback.source._queue.buffered <= 1.1

    heard = await ticks.run(outgoing, 1510)
    assert 30.0 == pytest.approx(playback.played, abs=0.001)
    assert [] == gaps(heard)


async def test_the_next_one_follows_the_end_of_a_stream_without_a_gap():
    ticks, outgoing = Ticks(), Outgoing()

    async def short(value):
        yield np.full(500, value, np.int16)

    for value in (1000, 2000, 3000):
        outgoing.play(open_source(short(value), format=AudioFormat(48_000)))
    heard = await ticks.run(outgoing, 3)

    assert [1000] * 500 + [2000] * 500 + [3000] * 500 == heard[:1500].tolist()


async def test_an_exception_of_the_iterator_is_raised_once_what_it_gave_was_said():
    ticks, outgoing = Ticks(), Outgoing()

    async def broken_synthesis():
        yield voice(0.1)
        raise ConnectionResetError("the synthesis went away")

    playback = outgoing.play(open_source(broken_synthesis(), format=SPEECH))
    heard = await ticks.run(outgoing, 8)

    with pytest.raises(MediaError, match="broken_synthesis: ConnectionResetError: the synthesis") as caught:
        await playback
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert 0.1 == pytest.approx(playback.played, abs=0.001)
    assert [str(caught.value)] == [str(failure) for failure in outgoing.failures]
    assert not heard[5_100:].any()


@pytest.mark.parametrize("item", ["text", None, np.zeros((5, 2), np.int16), np.zeros(5, np.int64), 7])
async def test_an_item_that_is_no_audio_ends_the_stream_and_its_iterator(item):
    ticks, outgoing, closed = Ticks(), Outgoing(), []

    async def odd():
        try:
            yield voice(0.1)
            yield item
            yield voice(0.1)
        finally:
            closed.append(True)

    playback = outgoing.play(open_source(odd(), format=SPEECH))
    await ticks.run(outgoing, 8)

    with pytest.raises(MediaError, match="odd: "):
        await playback
    assert [True] == closed


async def test_a_cancelled_stream_closes_its_iterator_and_leaves_no_task():
    before = asyncio.all_tasks()
    ticks, outgoing, closed = Ticks(), Outgoing(), []

    async def endless():
        try:
            while True:
                yield b"\1\1" * 480
        finally:
            await asyncio.sleep(0)  # says goodbye to a server, perhaps
            closed.append(True)

    playback = outgoing.play(open_source(endless(), format=SPEECH))
    await ticks.run(outgoing, 3)
    playback.cancel()
    await ticks.run(outgoing, 1)
    await playback
    await outgoing.wait_closed()

    assert [True] == closed
    assert before == asyncio.all_tasks()


async def test_a_stream_cancelled_while_it_waits_for_its_server_is_gone_too():
    before = asyncio.all_tasks()
    outgoing = Outgoing()

    async def never():
        await asyncio.Event().wait()
        yield b""

    playback = outgoing.play(open_source(never(), format=SPEECH))
    await asyncio.sleep(0)
    playback.cancel()
    await playback
    await outgoing.wait_closed()

    assert before == asyncio.all_tasks()


async def test_a_stream_that_gives_nothing_for_too_long_has_failed_and_the_next_one_plays():
    ticks, outgoing = Ticks(), Outgoing()

    async def hung():
        yield voice(0.2)
        await asyncio.Event().wait()

    playback = outgoing.play(IteratorSource(hung(), SPEECH, stall_timeout=2.0))
    after = outgoing.play(open_source(voice(0.1), format=SPEECH))
    await ticks.run(outgoing, 130)

    with pytest.raises(MediaError, match="hung gave nothing for 2 s"):
        await playback
    await after
    await outgoing.wait_closed()


async def test_a_stream_that_may_pause_is_waited_for():
    ticks, outgoing = Ticks(), Outgoing()

    async def patient():
        yield voice(0.2)
        await ticks.sleep(60.0)
        yield voice(0.2)

    playback = outgoing.play(IteratorSource(patient(), SPEECH, stall_timeout=None))
    await ticks.run(outgoing, 3_030)
    await playback

    assert 0.4 == pytest.approx(playback.played, abs=0.001)


async def test_the_last_words_are_said_even_if_they_are_shorter_than_what_is_waited_for():
    ticks, outgoing = Ticks(), Outgoing()

    async def brief():
        yield np.full(100, 500, np.int16)
        await ticks.sleep(5.0)
        yield np.full(100, 500, np.int16)

    playback = outgoing.play(open_source(brief(), format=AudioFormat(48_000)))
    heard = await ticks.run(outgoing, 50)
    assert 500 == heard.max()  # it did not wait for the second word

    await ticks.run(outgoing, 220)
    await playback


async def test_frames_say_their_format_themselves():
    ticks, outgoing = Ticks(), Outgoing()

    async def frames():
        for _ in range(10):
            yield AudioFrame(np.full((320, 1), 1_000, np.int16), AudioFormat(16_000), 0.0)

    playback = outgoing.play(open_source(frames()))
    await ticks.run(outgoing, 12)
    await playback

    assert 0.2 == pytest.approx(playback.played, abs=0.001)


async def test_bytes_of_no_known_format_are_not_guessed_at():
    ticks, outgoing = Ticks(), Outgoing()

    async def raw():
        yield b"\0\0"

    playback = outgoing.play(open_source(raw()))
    await ticks.run(outgoing, 2)

    with pytest.raises(MediaError, match="raw needs a format"):
        await playback
