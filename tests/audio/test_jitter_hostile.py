"""What the playout makes of any network there may be: always one frame a tick, in bounds, and in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numbered_packets import FRAME, OTHER, UNKNOWN, VOICE, Call, Numbered, packet

from rtcpeer.audio import jitter
from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.audio.opus import OpusDecoder


def random_packets():
    near = st.integers(0, 60).map(lambda n: packet(n))
    damaged = st.builds(
        packet, st.integers(0, 60), payload=st.binary(max_size=8), payload_type=st.sampled_from([VOICE, OTHER])
    )
    anything = st.builds(
        MediaPacket,
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFF_FFFF),
        st.sampled_from([VOICE, OTHER, UNKNOWN]),
        st.integers(7, 9),
        st.one_of(st.binary(max_size=40), st.just(b"1,5760"), st.just(b"1,1,fec"), st.just(b"1,0")),
    )
    return st.one_of(near, damaged, anything)


class HostileNetwork(RuleBasedStateMachine):
    """Whatever arrives, one frame leaves at every tick, memory is bounded, and counters only grow."""

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout({VOICE: Numbered, OTHER: OpusDecoder})
        self.now = 0.0
        self.frames = 0
        self.last: dict[str, float] = {}
        self.sent = 0

    @rule(given=random_packets())
    def arrive(self, given):
        self.playout.put(given, self.now)

    @rule(count=st.integers(1, 150), samples=st.sampled_from([120, 960, 2880]))
    def burst(self, count, samples):
        for _ in range(count):
            self.playout.put(packet(self.sent, samples=samples, fec=self.sent % 3 == 0), self.now)
            self.sent += 1

    @rule(count=st.integers(1, 500))
    def lose(self, count):
        self.sent += count

    @rule(count=st.integers(1, 30), late=st.floats(0, 0.05))
    def play(self, count, late):
        for n in range(count):
            frame = self.playout.get(self.now + (late if n == 0 else 0))
            self.frames += 1
            self.now += 0.02 + (late if n == 0 else 0)
            assert (FRAME, 1) == frame.samples.shape
            assert np.int16 == frame.samples.dtype

    @precondition(lambda self: self.frames)
    @rule(seconds=st.floats(0, 100))
    def stall(self, seconds):
        self.now += seconds

    @invariant()
    def memory_is_bounded(self):
        assert len(self.playout._queue) <= 100
        assert len(self.playout._pcm) <= 20 * FRAME
        assert 0.02 <= self.playout.target_delay <= 0.4

    @invariant()
    def counters_only_grow(self):
        stats = self.playout.stats.to_dict()
        for name in ("audio_level", "jitter", "packets_lost"):
            stats.pop(name)
        assert all(value >= self.last.get(name, 0) for name, value in stats.items())
        assert stats["total_samples_received"] == self.frames * FRAME
        assert stats["concealed_samples"] >= stats["silent_concealed_samples"]
        self.last = stats


HostileNetwork.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestHostileNetwork = HostileNetwork.TestCase


@settings(deadline=None)
@given(st.data())
def test_any_network_that_only_delays_and_loses_keeps_the_order(data):
    # Lengthening says some milliseconds twice, which is a step back.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jitter, "find_period", lambda *_, **__: None)
        listen_to_delays(data)


def listen_to_delays(data):
    call = Call()
    waiting: list[tuple[int, int]] = []
    delays = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=60, max_size=60))
    for number, delay in enumerate(delays):
        if delay is not None:
            waiting.append((number + delay, number))
        due = [n for at, n in waiting if at <= number]
        waiting = [(at, n) for at, n in waiting if at > number]
        call.run(*(packet(n) for n in due))

    assert sorted(call.numbers) == call.numbers
