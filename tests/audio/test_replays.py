"""Every arrival trace through the playout, with real Opus: how much is made up, how late it is, what is heard.

The bounds are what was measured, and a fifth more: a change of the playout that costs more than that shows here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import pytest
import traces

from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.audio.opus import OpusDecoder, OpusEncoder
from rtcpeer.audio.sources import FileSource
from rtcpeer.stats import InboundAudioStats
from signaling.scenario import speech_file

FRAME = 960
PHASES = (0.0005, 0.0105)
"""Of the playout's ticks against the sender's: chance decides in a call."""


@pytest.fixture(scope="module")
def payloads() -> list[bytes]:
    frames = []
    for name in ("user-1.flac", "user-2.flac", "assistant-2.flac"):
        source = FileSource(str(speech_file(name)))
        while (frame := source.read(FRAME)) is not None and len(frame) == FRAME:
            frames.append(frame)
        source.close()
    encoder = OpusEncoder(packet_loss=5)
    return [encoder.encode(frames[number % len(frames)]) for number in range(1000)]


@dataclass(slots=True)
class Replay:
    stats: InboundAudioStats
    delays: list[float]
    """At each tick, in seconds."""
    zeros: int
    """Frames of digital silence after the first that was heard."""

    @property
    def concealed(self) -> float:
        return self.stats.concealed_samples / self.stats.total_samples_received

    @property
    def held(self) -> float:
        """Seconds that a sample waited on average."""
        return self.stats.jitter_buffer_delay / self.stats.jitter_buffer_emitted_count


def replay(trace: traces.Trace, payloads: list[bytes], phase: float) -> Replay:
    playout = Playout({96: OpusDecoder})
    waiting = deque(trace.arrivals)
    delays, frames = [], []
    for tick in range(trace.packets):
        now = tick * traces.PTIME + phase
        while waiting and waiting[0].at <= now:
            arrival = waiting.popleft()
            number = arrival.number
            playout.put(MediaPacket(number, number * FRAME, 96, 1, payloads[number]), arrival.at)
        frames.append(playout.get(now).samples)
        delays.append(playout.delay)
    sounding = [bool(frame.any()) for frame in frames]
    return Replay(playout.stats, delays, sounding[sounding.index(True) :].count(False))


@dataclass(frozen=True, slots=True)
class Bound:
    concealed: float
    """Fraction of the samples, at most."""
    held: float
    """Seconds, at most."""
    end: float
    """Delay at the end, in seconds, at most."""
    recovered: float = 0.0
    """Fraction of the packets lost that come from FEC, at least."""


BOUNDS = {
    "clean": Bound(0.0, 0.036, 0.036),
    "loss-5": Bound(0.012, 0.040, 0.036, recovered=0.75),
    "bursts": Bound(0.036, 0.040, 0.036, recovered=0.25),  # four in a row: FEC has the last
    "jitter": Bound(0.002, 0.036, 0.060),
    "loss-and-jitter": Bound(0.012, 0.060, 0.080, recovered=0.75),
    "outage": Bound(0.137, 0.040, 0.036),  # 13.3 % are in the outage
    "wifi": Bound(0.060, 0.080, 0.060, recovered=0.9),
    "thin-line": Bound(0.016, 0.050, 0.130, recovered=0.7),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("name", traces.CONDITIONS)
def test_a_trace_costs_no_more_than_it_did(name, phase, payloads):
    trace, bound = traces.load_trace(name), BOUNDS[name]
    found = replay(trace, payloads, phase)

    assert found.concealed <= bound.concealed
    assert found.held <= bound.held
    assert found.delays[-1] <= bound.end
    assert found.stats.fec_recovered_samples >= bound.recovered * len(trace.lost) * FRAME
    assert 0 == found.zeros
    assert 0 == found.stats.packets_discarded == found.stats.restarts == found.stats.packets_malformed
    # RFC 3550, 6.4.1: a duplicate makes up for a loss. What was lost after the last arrival is not known to be.
    assert len(trace.lost) == pytest.approx(found.stats.packets_lost + found.stats.packets_duplicated, abs=2)


def test_five_seconds_after_the_outage_the_delay_is_what_it_was(payloads):
    found = replay(traces.load_trace("outage"), payloads, PHASES[0])

    assert found.delays[-1] <= found.delays[240] + 0.005
