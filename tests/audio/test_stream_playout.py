"""Audio that comes in bursts over TCP, played out frame by frame; the clock is a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtcpeer.audio.stream_playout import LIMIT, LIVE_LIMIT, StreamPlayout
from rtcpeer.formats import VOICE, AudioFormat
from rtcpeer.netem import NetworkConditions, StreamEmulator

WIRE = AudioFormat(24_000)
FRAME = 0.02
MS5 = VOICE.sample_rate // 200


def sound(seconds: float, audio_format: AudioFormat = WIRE, level: int = 10_000) -> NDArray[np.int16]:
    """A sine of 300 Hz: between two samples of it there is never a step that would click."""
    t = np.arange(round(seconds * audio_format.sample_rate)) / audio_format.sample_rate
    wave = np.rint(level * np.sin(2 * np.pi * 300 * t)).astype(np.int16)
    return np.repeat(wave[:, None], audio_format.channels, axis=1)


class Listener:
    """Calls ``get`` every 20 ms, and keeps what came."""

    def __init__(self, playout: StreamPlayout) -> None:
        self.playout = playout
        self.now = 100.0
        self.frames: list[NDArray[np.int16]] = []

    def put(self, pcm: NDArray[np.int16], generation: int = 0, audio_format: AudioFormat = WIRE) -> None:
        self.playout.put(pcm, audio_format, generation, self.now)

    def listen(self, seconds: float) -> NDArray[np.int16]:
        """Hear so much more, and return it."""
        count = round(seconds / FRAME)
        for _ in range(count):
            self.now += FRAME
            self.frames.append(self.playout.get(self.now).samples)
        return np.concatenate(self.frames[-count:]) if count else np.empty((0, 1), np.int16)


def speech(live: bool = False) -> Listener:
    return Listener(StreamPlayout(live=live))


def loud(pcm: NDArray[np.int16]) -> NDArray[np.intp]:
    return np.flatnonzero(np.abs(pcm[:, 0]) > 100)


def biggest_step(pcm: NDArray[np.int16]) -> int:
    return int(np.abs(np.diff(pcm[:, 0].astype(np.int32))).max())


# Half as much again as the sine itself: a resampler overshoots where it begins. A cut in mid-air is 10 000.
NO_CLICK = 1.5 * biggest_step(sound(1.0, VOICE))


def test_a_burst_is_heard_whole_and_once():
    listener = speech()
    listener.put(sound(3.0))

    heard = listener.listen(4.0)

    voiced = loud(heard)
    assert abs((voiced[-1] - voiced[0]) / VOICE.sample_rate - 3.0) < 0.01
    assert biggest_step(heard) < NO_CLICK
    assert 3 * VOICE.sample_rate == listener.playout.stats.jitter_buffer_emitted_count
    assert 0 == listener.playout.stats.concealment_events


@pytest.mark.parametrize(
    "wire", [AudioFormat(16_000), AudioFormat(22_050), AudioFormat(24_000), AudioFormat(48_000, 2), VOICE]
)
def test_every_format_is_as_long_here_as_it_was_there(wire: AudioFormat):
    listener = speech()
    for _ in range(10):
        listener.put(sound(0.1, wire), audio_format=wire)
    listener.listen(2.0)

    assert VOICE.sample_rate == pytest.approx(listener.playout.stats.jitter_buffer_emitted_count, abs=2)


def test_a_first_piece_is_held_back_for_the_lead_and_no_longer():
    listener = speech()
    listener.put(sound(0.02))

    assert 0 == len(loud(listener.listen(0.02)))
    assert 0 < len(loud(listener.listen(0.04)))


def test_a_late_piece_is_silence_that_fades_and_makes_the_next_lead_longer():
    listener = speech(live=True)
    before = listener.playout.lead
    for _ in range(10):
        listener.put(sound(0.02))
        listener.listen(0.02)
    listener.listen(0.14)  # nothing comes
    for _ in range(10):
        listener.put(sound(0.02))
        listener.listen(0.02)

    heard = np.concatenate(listener.frames)
    stats = listener.playout.stats
    assert (1, stats.silent_concealed_samples) == (stats.concealment_events, stats.concealed_samples)
    assert stats.concealed_samples > 0
    assert listener.playout.lead > before
    assert biggest_step(heard) < NO_CLICK


def test_a_pause_of_the_speaker_is_nobodys_fault():
    listener = speech()
    before = listener.playout.lead
    listener.put(sound(0.5))
    listener.listen(1.5)
    listener.put(sound(0.5))
    listener.listen(1.0)

    assert (0, 0) == (listener.playout.stats.concealment_events, listener.playout.stats.concealed_samples)
    assert listener.playout.lead <= before


def test_live_audio_that_piled_up_is_dropped_down_to_the_lead_and_counted():
    listener = speech(live=True)
    for _ in range(50):
        listener.put(sound(0.02))
        listener.listen(0.02)
    for _ in range(100):  # a stall of two seconds ends
        listener.put(sound(0.02))

    stats = listener.playout.stats
    assert listener.playout.waiting <= listener.playout.lead + FRAME + LIVE_LIMIT + 0.01
    assert 1.5 * VOICE.sample_rate < stats.discarded_samples < 2.1 * VOICE.sample_rate
    listener.listen(1.0)
    assert biggest_step(np.concatenate(listener.frames)) < NO_CLICK


def test_batches_of_live_audio_are_no_pile():
    listener = speech(live=True)
    for _ in range(20):
        listener.put(sound(0.3))
        listener.listen(0.3)

    assert 0 == listener.playout.stats.discarded_samples


def test_more_than_two_minutes_lose_their_beginning():
    listener = speech()
    for _ in range(int(LIMIT) + 5):
        listener.put(sound(1.0))

    assert LIMIT == pytest.approx(listener.playout.waiting, abs=0.01)
    assert 5 * VOICE.sample_rate == pytest.approx(listener.playout.stats.discarded_samples, rel=0.01)


def test_flush_is_quiet_within_a_frame_and_five_milliseconds():
    listener = speech()
    listener.put(sound(5.0))
    listener.listen(1.0)

    unheard = listener.playout.flush(listener.now)
    after = listener.listen(1.0)

    assert 0 < len(loud(after)) <= MS5
    assert loud(after)[-1] < MS5
    assert biggest_step(after) < NO_CLICK
    assert unheard == pytest.approx(4.0, abs=0.1)
    assert round(unheard * VOICE.sample_rate) == pytest.approx(listener.playout.stats.interrupted_samples, abs=1)


def test_played_counts_what_was_handed_on_and_begins_anew_with_a_turn():
    listener = speech()
    listener.put(sound(5.0))
    listener.listen(1.0)
    assert listener.playout.played == pytest.approx(1.0 - listener.playout.lead, abs=0.021)

    listener.playout.flush(listener.now)
    listener.put(sound(0.5))
    listener.listen(1.0)
    assert listener.playout.played == pytest.approx(0.5, abs=0.001)

    listener.playout.end_turn()
    assert listener.playout.played == 0


def test_generations_are_counted_each_for_itself():
    listener = speech()
    listener.put(sound(0.5), generation=1)
    listener.put(sound(0.3), generation=2)
    listener.listen(1.0)

    assert listener.playout.played == pytest.approx(0.3, abs=0.003)


def test_flush_up_to_a_generation_keeps_what_is_newer():
    listener = speech()
    listener.put(sound(1.0), generation=1)
    listener.listen(0.5)
    listener.put(sound(0.4), generation=2)

    listener.playout.flush(listener.now, before=2)
    listener.listen(1.0)

    assert listener.playout.played == pytest.approx(0.4, abs=0.001)
    assert 2 == listener.playout._generation


def test_flush_of_older_generations_leaves_the_one_that_plays():
    listener = speech()
    listener.put(sound(1.0), generation=3)
    listener.listen(0.5)

    assert 0 == listener.playout.flush(listener.now, before=3)
    assert len(loud(listener.listen(0.2))) > 0.15 * VOICE.sample_rate


def test_rest_of_a_turn_that_still_comes_is_dropped_pauses_or_not_until_it_may_go_on():
    listener = speech()
    listener.put(sound(0.5))
    listener.listen(0.2)
    listener.playout.flush(listener.now, rest=True)
    listener.listen(0.02)
    for _ in range(20):
        listener.put(sound(0.02))
        assert 0 == len(loud(listener.listen(0.02)))
    assert listener.playout.cut_sounded()
    assert not listener.playout.cut_sounded()
    listener.listen(2.0)
    listener.put(sound(0.1))
    assert 0 == len(loud(listener.listen(0.2)))
    listener.playout.go_on()

    listener.put(sound(0.5))
    assert 0 < len(loud(listener.listen(0.5)))
    assert 0.4 * VOICE.sample_rate < listener.playout.stats.interrupted_samples


def test_rest_of_a_turn_ends_with_another_generation():
    listener = speech()
    listener.put(sound(0.5), generation=1)
    listener.listen(0.2)
    listener.playout.flush(listener.now, rest=True)
    listener.listen(0.02)
    listener.put(sound(0.2), generation=1)
    listener.put(sound(0.5), generation=2)

    assert 0 < len(loud(listener.listen(0.5)))


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["put", "listen", "flush", "cut", "before"]), st.floats(0, 0.5), st.integers(0, 3)),
    max_size=40,
)


@given(live=st.booleans(), actions=ACTIONS)
def test_whatever_comes_every_frame_is_20_ms_and_every_sample_is_accounted_for(live: bool, actions):
    listener = speech(live)
    came = 0
    for action, seconds, generation in actions:
        match action:
            case "put":
                pcm = sound(seconds)
                came += 2 * len(pcm)
                listener.put(pcm, generation)
            case "listen":
                listener.listen(seconds)
            case "flush":
                listener.playout.flush(listener.now)
            case "cut":
                listener.playout.flush(listener.now, rest=True)
            case "before":
                listener.playout.flush(listener.now, before=generation)
    listener.listen(25.0)

    stats = listener.playout.stats
    assert all(frame.shape == (960, 1) and frame.dtype == np.int16 for frame in listener.frames)
    assert len(listener.frames) * 960 == stats.total_samples_received
    # A cut loses the millisecond inside the resampler.
    lost = came - stats.jitter_buffer_emitted_count - stats.discarded_samples - stats.interrupted_samples
    assert -2 * len(actions) <= lost <= 0.006 * VOICE.sample_rate * len(actions)
    assert listener.playout.waiting == pytest.approx(0, abs=1e-6)


def over_a_network(conditions: str, seconds: float, *, seed: int) -> Listener:
    """Hear a live sine of which 20 ms are sent every 20 ms, over an emulated stream."""
    listener = speech(live=True)
    network = StreamEmulator(NetworkConditions.of(conditions), seed)
    wave = sound(seconds)
    samples = WIRE.frame_samples
    arrivals = [network.send(2 * samples, listener.now + number * FRAME) for number in range(round(seconds / FRAME))]
    for number, arrival in enumerate(arrivals):
        while listener.now + FRAME < arrival:
            listener.listen(FRAME)
        listener.playout.put(wave[number * samples : (number + 1) * samples], WIRE, 0, arrival)
    return listener


@pytest.mark.parametrize("seed", range(5))
def test_live_audio_over_a_network_that_jitters_has_no_gaps_once_the_lead_is_long_enough(seed: int):
    listener = over_a_network("delay=80ms,jitter=40ms", 60.0, seed=seed)

    stats, heard = listener.playout.stats, np.concatenate(listener.frames)
    assert 0.02 <= listener.playout.lead <= 0.2
    # Of a minute; and nothing is dropped.
    assert stats.concealed_samples < 0.005 * stats.total_samples_received
    assert (True, 0) == (stats.concealment_events <= 3, stats.discarded_samples)
    assert 0.02 < stats.jitter_buffer_delay / stats.jitter_buffer_emitted_count < 0.12
    assert biggest_step(heard) < NO_CLICK


def test_live_audio_that_stalls_now_and_then_is_behind_by_no_more_than_the_limit():
    listener = over_a_network("stall=2s+300ms/5s", 60.0, seed=0)

    stats = listener.playout.stats
    assert 12 >= stats.concealment_events
    assert listener.playout.waiting <= listener.playout.lead + FRAME + LIVE_LIMIT + 0.01
    assert stats.discarded_samples + stats.concealed_samples < 0.05 * stats.total_samples_received
