"""The media clock, on a loop whose time is a number."""

import heapq

import pytest

from rtcpeer.transports.media_clock import MOST_WORK, MediaClock


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

    def run_next(self):
        """Run what is due next, as a turn of the loop does: timers that it sets are for the next turn."""
        due, self._timers = self._timers, []
        self.now = max(self.now, due[0][0])
        for number, (when, _, handle) in enumerate(sorted(due)):
            if when > self.now:
                for entry in sorted(due)[number:]:
                    heapq.heappush(self._timers, entry)
                return
            if not handle.cancelled:
                handle.callback()

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


class Tick:
    """A session's: takes ``slow`` seconds each time, by the loop's own clock."""

    def __init__(self, loop, slow=0.0):
        self.loop, self.slow, self.served = loop, slow, 0

    def __repr__(self):
        return "<Session orga client conv_1>"

    def tick(self, number, now):
        self.served += 1
        self.loop.now += self.slow


def test_a_busy_loop_is_warned_of_once_an_episode_and_counted(loop, caplog):
    clock, session = MediaClock(loop), Tick(loop)
    clock.add(session.tick)
    for _ in range(20):  # half a second in every two, for 40 s
        loop.run_until(loop.now + 1.5)
        loop.now += 0.5

    loop.run_until(loop.now + 1)
    assert ["WARNING"] == [record.levelname for record in caplog.records]
    assert "something else on this event loop held it up" in caplog.text
    assert "PYTHONASYNCIODEBUG=1" in caplog.text
    assert 1 == clock.episodes
    assert clock.frames_skipped == pytest.approx(20 * 25, abs=20)
    assert clock.late_slots >= 20

    loop.run_until(loop.now + 11)
    loop.now += 0.5
    loop.run_until(loop.now + 1)
    assert 2 == clock.episodes == len(caplog.records)


def test_a_slow_session_is_named(loop, caplog):
    clock, fast, slow = MediaClock(loop), Tick(loop), Tick(loop, 0.0)
    slow.__class__ = type("Slow", (Tick,), {"__repr__": lambda self: "<Session slow>"})
    clock.add(fast.tick)
    clock.add(slow.tick)
    loop.run_until(100.5)
    slow.slow = 0.3
    loop.run_until(103.0)

    assert ["the audio path of <Session slow> took 300 ms of it"] == [
        record.getMessage().split(": ")[1].split(";")[0] for record in caplog.records
    ]


def test_the_part_of_a_session_that_was_slow_is_named(loop, caplog):
    clock = MediaClock(loop)

    def tick(number, now):
        if number == 10:
            loop.now += 0.4
            clock.blame("the tap write_to_database", 0.39)

    clock.add(tick)
    loop.run_until(101.0)

    assert "the tap write_to_database took 400 ms of it" in caplog.text


def test_a_part_that_was_not_the_slow_one_is_not_blamed(loop, caplog):
    clock = MediaClock(loop)

    def tick(number, now):
        if number == 5:
            clock.blame("the tap innocent", 0.011)
        if number == 10:
            clock.blame("the tap innocent", 0.011)
            loop.now += 0.4

    clock.add(tick)
    loop.run_until(101.0)

    assert "innocent" not in caplog.text
    assert "tick took 400 ms of it" in caplog.text


def test_a_loop_that_keeps_up_has_no_late_slots(loop, caplog):
    clock, session = MediaClock(loop), Tick(loop, 0.004)
    clock.add(session.tick)
    loop.run_until(110.0)

    assert 0 == clock.late_slots == clock.frames_skipped == clock.episodes
    assert not caplog.records


def test_more_calls_than_there_is_time_for_leave_the_loop_its_turns(loop):
    clock, sessions = MediaClock(loop), [Tick(loop, slow=0.004) for _ in range(20)]  # 80 ms of work in 20
    for session in sessions:
        clock.add(session.tick)
    loop.run_next()
    while loop.now < 102.0:
        before = loop.now
        loop.run_next()
        assert loop.now - before <= MOST_WORK + 0.004

    assert 450 <= sum(session.served for session in sessions) <= 510  # and nothing of the time is wasted
    assert min(session.served for session in sessions) > 15


def test_a_session_that_leaves_in_mid_slot_is_not_served_any_more(loop):
    clock, sessions = MediaClock(loop), [Tick(loop, slow=0.004) for _ in range(40)]
    for session in sessions:
        clock.add(session.tick)
    while clock.worst_lateness < 0.02:
        loop.run_next()
    before = [session.served for session in sessions]
    for session in sessions:
        clock.remove(session.tick)
    loop.run_until(loop.now + 1)

    assert before == [session.served for session in sessions]
    assert not loop.pending
