"""The media clock, on a loop whose time is a number."""

import heapq

import pytest

from rtcpeer.transports.media_clock import MediaClock


class Timer:
    def __init__(self, callback):
        self.callback, self.cancelled = callback, False

    def cancel(self):
        self.cancelled = True


class FakeLoop:
    """What the clock needs of an event loop."""

    def __init__(self):
        self.now, self._timers, self._number = 100.0, [], 0

    def time(self):
        return self.now

    def call_at(self, when, callback):
        self._number += 1
        handle = Timer(callback)
        heapq.heappush(self._timers, (when, self._number, handle))
        return handle

    def run_until(self, end):
        while self._timers and self._timers[0][0] <= end:
            when, _, handle = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not handle.cancelled:
                handle.callback()
        self.now = end

    @property
    def pending(self):
        return [handle for _, _, handle in self._timers if not handle.cancelled]


@pytest.fixture
def loop():
    return FakeLoop()


def test_a_session_is_served_every_20_ms(loop):
    clock, ticks = MediaClock(loop), []
    clock.add(lambda number, now: ticks.append((number, now)))
    loop.run_until(101.0)

    assert list(range(51)) == [number for number, _ in ticks]
    assert ticks[10][1] == pytest.approx(100.2)


def test_four_sessions_have_a_slot_each(loop):
    clock, ticks = MediaClock(loop), []
    for name in "abcd":
        clock.add(lambda number, now, name=name: ticks.append((name, round(1000 * (now - 100)) % 20)))
    loop.run_until(100.099)

    assert {("a", 0), ("b", 5), ("c", 10), ("d", 15)} == set(ticks)


def test_a_short_delay_of_the_loop_is_caught_up_with(loop):
    clock, numbers = MediaClock(loop), []
    clock.add(lambda number, now: numbers.append(number))
    loop.run_until(100.01)
    loop.now = 100.15
    loop.run_until(100.2)

    assert list(range(len(numbers))) == numbers
    assert clock.frames_skipped == 0
    assert clock.worst_lateness > 0.1


def test_a_long_block_of_the_loop_is_skipped_not_replayed(loop):
    clock, numbers = MediaClock(loop), []
    clock.add(lambda number, now: numbers.append(number))
    loop.run_until(100.01)
    loop.now = 103.0
    loop.run_until(103.1)

    assert len(numbers) < 10
    assert numbers[-1] == pytest.approx(155, abs=1)
    assert clock.frames_skipped == pytest.approx(149, abs=1)


def test_it_stops_with_its_last_session_and_starts_again_with_the_next(loop):
    clock, ticks = MediaClock(loop), []

    def tick(number, now):
        ticks.append(number)

    clock.add(tick)
    loop.run_until(100.1)
    clock.remove(tick)
    clock.remove(tick)
    assert not loop.pending

    clock.add(tick)
    loop.run_until(100.2)
    assert ticks[-1] == 5


def test_a_session_that_raises_does_not_stop_the_others(loop, caplog):
    clock, ticks = MediaClock(loop), []

    def bad(number, now):
        raise RuntimeError("boom")

    clock.add(bad)
    clock.add(lambda number, now: ticks.append(number))
    loop.run_until(100.1)

    assert len(ticks) == 5
    assert "no longer served" in caplog.text
