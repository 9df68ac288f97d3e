from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.turn_playout import TurnPlayout
from rtcpeer.errors import MediaError
from rtcpeer.formats import VOICE
from rtcpeer.protocols.base import AudioChunk


def chunk(level: int, generation: int, seconds: float = 0.2) -> AudioChunk:
    return AudioChunk(np.full(round(seconds * 48_000), level, "<i2").tobytes(), VOICE, "pcm16", generation)


def heard(turns: TurnPlayout, start: float, frames: int = 30) -> set[int]:
    """Return the levels that are heard in so many frames, in whole hundreds: edges are faded."""
    levels = {int(np.median(turns.playout.get(start + 0.02 * n).samples)) for n in range(frames)}
    return {round(level, -2) for level in levels} - {0}


def test_a_newer_turn_cuts_off_the_older_alone():
    turns = TurnPlayout(live=False)
    turns.put(chunk(1000, 1), 0, 0.0)
    turns.put(chunk(2000, 2), 0, 0.0)

    assert turns.supersede(2, 0.0) is not None
    assert {2000} == heard(turns, 0.1)


def test_a_turn_that_is_announced_again_cuts_off_nothing():
    turns = TurnPlayout(live=False)
    turns.supersede(2, 0.0)
    turns.put(chunk(2000, 2), 2, 0.0)

    assert turns.supersede(2, 0.0) is None
    assert {2000} == heard(turns, 0.1)


def test_what_still_comes_of_a_turn_that_is_over_is_counted_and_not_heard():
    turns = TurnPlayout(live=False)

    turns.put(chunk(1000, 1), 2, 0.0)

    assert set() == heard(turns, 0.1)
    assert (1, 9600) == (turns.playout.stats.packets_received, turns.playout.stats.interrupted_samples)


@pytest.mark.parametrize(("everything", "levels"), [(True, set()), (False, {2000})])
def test_an_interrupt_spares_the_new_turn_unless_it_is_meant_for_all(everything: bool, levels: set[int]):
    turns = TurnPlayout(live=False)
    turns.put(chunk(1000, 1), 0, 0.0)
    turns.put(chunk(2000, 2), 0, 0.0)

    turns.interrupt(2, 0.0, everything=everything)

    assert levels == heard(turns, 0.1)


def test_another_connection_goes_on_behind_what_was_received():
    first = TurnPlayout(live=False)
    first.supersede(7, 0.0)
    first.put(chunk(1000, 7), 0, 0.0)

    second = TurnPlayout(live=False, predecessor=first)
    second.put(chunk(2000, 0), 0, 0.0)

    assert {1000, 2000} == heard(second, 0.1)


def test_what_cannot_be_read_is_counted_and_refused():
    turns = TurnPlayout(live=False)

    for data, codec in ((b"\0" * 9000, "mp3"), (b"\0\0", "speex")):
        with pytest.raises(MediaError):
            turns.put(AudioChunk(data, VOICE, codec), 0, 0.0)

    assert 2 == turns.playout.stats.packets_malformed
