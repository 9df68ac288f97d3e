from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.alignment import Alignment, Block

FRAME = 960
SILENT = np.zeros((FRAME, 1), np.int16)


def loud(number: int) -> np.ndarray:
    return np.full((FRAME, 1), 1000 + number, np.int16)


def laid(blocks: list[Block]) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as a recorder would write them, and that the positions rise."""
    end = max(at + len(ours) for at, ours, _ in blocks)
    sides = np.zeros((end, 2), np.int16)
    reached = 0
    for at, ours, theirs in blocks:
        assert at >= reached
        reached = at + len(ours)
        sides[at:reached, 0] = ours[:, 0]
        if theirs is not None:
            assert len(theirs) == len(ours)
            sides[at:reached, 1] = theirs[:, 0]
    return sides[:, 0], sides[:, 1]


class Call:
    def __init__(self) -> None:
        self.alignment = Alignment()
        self.blocks: list[Block] = []
        self.at = 0
        self.said: list[np.ndarray] = []

    def hear(self, theirs: np.ndarray, delay: float | None, times: int = 1) -> Call:
        for _ in range(times):
            ours = loud(self.at // FRAME)
            self.said.append(ours)
            self.blocks += self.alignment.feed(self.at, ours, theirs, delay)
            self.at += FRAME
        return self

    def end(self) -> tuple[np.ndarray, np.ndarray]:
        self.blocks += self.alignment.flush()
        ours, theirs = laid(self.blocks)
        assert np.array_equal(np.concatenate(self.said)[:, 0], ours)
        return ours, theirs

    @property
    def waiting(self) -> int:
        return self.at - max(at + len(ours) for at, ours, _ in self.blocks)


def begins(theirs: np.ndarray, number: int = 0) -> int:
    return int(np.flatnonzero(theirs == 1000 + number)[0])


def test_what_was_held_lies_as_much_earlier():
    _, theirs = Call().hear(SILENT, 0.06, 10).hear(loud(0), 0.0535).hear(loud(1), 0.0535).end()

    assert 10 * FRAME - round(0.0535 * 48_000) == begins(theirs)


def test_where_nobody_knows_the_delay_nothing_waits():
    call = Call().hear(SILENT, None, 3).hear(loud(0), None)

    assert 0 == call.waiting
    assert 3 * FRAME == begins(call.end()[1])


def test_a_change_of_delay_in_the_voice_waits_for_a_pause_and_cuts_nothing():
    call = Call().hear(SILENT, 0.06, 10)
    for number in range(5):
        call.hear(loud(number), 0.06 if number < 2 else 0.08)
    call.hear(SILENT, 0.08).hear(loud(9), 0.08)
    _, theirs = call.end()

    assert 10 * FRAME - 2880 == begins(theirs)
    assert 5 * FRAME == np.count_nonzero((theirs >= 1000) & (theirs < 1005))
    assert 16 * FRAME - 3840 == begins(theirs, 9)


def test_a_delay_that_came_down_puts_silence_before_what_follows():
    call = Call().hear(SILENT, 0.06, 10).hear(loud(0), 0.02).hear(loud(1), 0.02)

    assert [10 * FRAME - 960, 11 * FRAME - 960] == [begins(call.end()[1], number) for number in (0, 1)]


def test_a_change_of_less_than_2_5_ms_is_let_be():
    call = Call().hear(SILENT, 0.06, 10).hear(SILENT, 0.0578, 10).hear(loud(0), 0.0578)

    assert 20 * FRAME - 2880 == begins(call.end()[1])


@pytest.mark.parametrize(("level", "delay", "moves"), [(200, 0.048, True), (200, 0.052, False), (900, 0.02, False)])
def test_in_a_background_that_is_heard_only_more_than_10_ms_are_put_in(level: int, delay: float, moves: bool):
    background = np.full((FRAME, 1), level, np.int16)
    call = Call().hear(SILENT, 0.06, 10).hear(background, 0.06, 5).hear(background, delay).hear(loud(0), delay)

    held = delay if moves else 0.06
    assert 16 * FRAME - round(held * 48_000) == call.end()[1].tolist().index(1000, 15 * FRAME - 2880)


def test_across_a_gap_both_sides_lie_where_they_did():
    call = Call().hear(SILENT, 0.06, 10).hear(loud(0), 0.06)
    call.at += 50 * FRAME
    call.said.append(np.zeros((50 * FRAME, 1), np.int16))
    call.hear(loud(1), 0.06, 3)
    _, theirs = call.end()

    assert 10 * FRAME - 2880 == begins(theirs, 0)
    assert 61 * FRAME - 2880 == begins(theirs, 1)


@pytest.mark.parametrize("delay", [1.0, 30.0])
def test_ours_waits_a_second_at_most(delay: float):
    call = Call().hear(SILENT, delay, 100)

    assert 48_000 == call.waiting
    call.end()
