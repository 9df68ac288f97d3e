"""Adaptive jitter buffer: packets arrive late, early, twice or never; a frame of 20 ms leaves at every tick.

It works in time, not in packet counts. How long a packet is held follows from how late packets come (``arrival``);
what is missing is decoded from the next packet's FEC or concealed; too much or too little delay is worked off by
shortening or lengthening the voice by a period (``stretch``), not by jumping. The division of labour is NetEQ's.

This module never reads a clock: ``now`` is always an argument, in seconds, and must not go backwards.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..formats import FRAME_DURATION, VOICE
from ..stats import InboundAudioStats
from .arrival import ArrivalDelay
from .level import Level, level_of
from .stretch import SHORTEST, find_period, lengthen, shorten

Operation = Literal["normal", "accelerate", "expand", "fec", "plc", "comfort", "silence"]

_RATE = VOICE.sample_rate
_FRAME = VOICE.frame_samples
# Decoders conceal in steps of 2.5 ms; a gap smaller than that is none.
_STEP = _RATE // 400

_LOWEST_TARGET = 0.02
_HIGHEST_TARGET = 0.4
# For as many packets, while little is known of the network, no less is aimed at.
_FIRST_TARGET = 0.04
_FIRST_PACKETS = 50
# More than a second held is worth less than what comes now: the oldest is dropped.
_MAX_SPAN = _RATE
_MAX_PACKETS = 100

# RFC 3550, A.1: what still is reordering, and what still is loss.
_MAX_MISORDER = 100
_MAX_DROPOUT = 3000
# A timestamp that runs this far ahead of the time that passed is another clock's.
_MAX_LEAP = 2 * _RATE

# After this much made-up sound nothing of the voice is left in it: the stream is then picked up anew.
_FADED = _RATE * 120 // 1000
# A sender that fell silent without a word is not imitated for longer than this.
_COMFORT = 2 * _RATE
# For so long after a loss packets are held until the next one, with its FEC, is here too.
_REMEMBER_LOSS = 10.0
# The delay is let be within these bounds around the target; above them a whole frame is to be gained.
_TOO_SHORT = -0.005
_TOO_LONG = FRAME_DURATION
_HURRY = 0.06
_NOTHING: NDArray[np.int16] = np.empty((0, 1), np.int16)
_FADE_OUT = np.linspace(1.0, 0.0, _FRAME, dtype=np.float32)[:, None]


@dataclass(slots=True)  # not frozen, which would make it three times as dear, fifty times a second
class MediaPacket:
    """What of an RTP packet matters for playing it out (RFC 3550, 5.1); the timestamp is as it came."""

    sequence_number: int
    timestamp: int
    payload_type: int
    ssrc: int
    payload: bytes
    marker: bool = False


@dataclass(slots=True, eq=False)
class PlayoutFrame:
    """20 ms as they are to be heard."""

    samples: NDArray[np.int16]
    """``(960, 1)`` at 48 kHz, the caller's to keep."""
    operation: Operation
    """How it came about; if it took several means, the last."""
    stereo: NDArray[np.int16] | None = None
    """The same, ``(960, 2)``, when two channels came; ``samples`` is their average."""
    level: Level | None = None
    """Of ``samples``, where it was measured."""
    delay: float | None = None
    """Seconds for which it was held, counted from when the fastest packet would have brought it; in a pause the most
    that what follows will be. ``None``: nobody knows, or what comes is ahead of its time anyway."""


class Decoder(Protocol):
    """One stream's decoder, to ``(samples, 1)`` int16 at 48 kHz; refuses with ``MediaError``."""

    @property
    def clock_rate(self) -> int:
        """Ticks of the RTP timestamp a second; a divisor of 48 000."""

    def decode(self, payload: bytes) -> NDArray[np.int16]: ...
    def has_fec(self, payload: bytes) -> bool: ...
    def recover(self, next_payload: bytes, samples: int) -> NDArray[np.int16]: ...
    def conceal(self, samples: int) -> NDArray[np.int16]: ...
    def reset(self) -> None: ...


@dataclass(slots=True)
class _Held:
    """A packet that waits; both numbers are extended beyond their wrap, the timestamp in samples at 48 kHz."""

    sequence: int
    timestamp: int
    arrival: float
    payload_type: int
    payload: bytes


class Playout:
    """One received audio stream: ``put`` what arrives, ``get`` 20 ms at every tick.

    Args:
        decoders: Makes a decoder, by RTP payload type; packets of another type are counted and left out.
        events: Payload types of telephone events (RFC 4733): they are not played, and nothing is wrong with them.
    """

    def __init__(self, decoders: Mapping[int, Callable[[], Decoder]], *, events: Container[int] = ()) -> None:
        self._event_types = events
        self.stats = InboundAudioStats()
        self._factories = dict(decoders)
        self._decoders: dict[int, Decoder] = {}
        self._arrival = ArrivalDelay(expected=_LOWEST_TARGET)
        # By sequence number, at most _MAX_PACKETS and _MAX_SPAN; the oldest is dropped and counted as discarded.
        self._queue: list[_Held] = []

        self._ssrc: int | None = None
        self._previous_ssrc: int | None = None
        self._first = self._highest = 0
        self._seen = 0  # bit n: highest - n has come
        self._jump: int | None = None  # the sequence number that would confirm a jump
        self._last_timestamp = 0  # extended, in samples
        self._last_ticks = 0  # the same as it came
        self._last_sequence = 0  # of the packet that had it
        self._clock_rate = _RATE
        self._last_arrival = 0.0
        self._received = 0
        self._lost_before = 0

        self._pcm = _NOTHING
        self._payload_type: int | None = None
        self._duration = _FRAME
        self._next_sequence: int | None = None
        self._next_timestamp = 0
        self._waiting = True  # for the next packet to be due: nothing has come, or there was a pause
        self._pausing = True  # the sender is silent on purpose
        self._made_up = 0  # samples since the last decoded one
        self._expanded = 0  # of them, those that stand for no particular packet
        self._concealing = False
        self._delay: float | None = None
        self._rest = 0  # frames until stretching is tried again
        self._operation: Operation = "silence"
        self._fec_until = self._loss_until = float("-inf")
        self._target = _FIRST_TARGET

    @property
    def target_delay(self) -> float:
        """Seconds that a packet is to be held, counted from when the fastest one would have come."""
        return self._target

    @property
    def delay(self) -> float:
        """Seconds that packets are held at present, counted likewise."""
        return self._delay if self._delay is not None else self._target

    # -- arriving -----------------------------------------------------------------------------------------------

    def put(self, packet: MediaPacket, now: float) -> None:
        """Take a packet that arrived at ``now``; whatever is wrong with it is counted, never raised."""
        stats = self.stats
        stats.packets_received += 1
        stats.bytes_received += len(packet.payload)
        playable = packet.payload_type in self._factories
        if packet.ssrc != self._ssrc:
            if not playable:
                stats.packets_unplayable += packet.payload_type not in self._event_types
                return
            if packet.ssrc == self._previous_ssrc and now - self._last_arrival < 1.0:
                stats.packets_discarded += 1  # a straggler of the stream before this one
                return
            self._restart(packet, now)
            sequence: int | None = self._highest
        else:
            sequence = self._extend_sequence(packet, now)
        if sequence is None:
            return
        self._first = min(self._first, sequence)
        self._received += 1
        stats.packets_lost = self._lost_before + self._highest - self._first + 1 - self._received
        if not playable:
            stats.packets_unplayable += packet.payload_type not in self._event_types
            return
        timestamp = self._extend_timestamp(packet, sequence, now)
        if timestamp is None:
            stats.packets_discarded += 1
            return
        self._arrival.add(now, timestamp / _RATE, self._duration / _RATE)
        stats.jitter = self._arrival.jitter
        if self._decoder(packet.payload_type).has_fec(packet.payload):
            stats.fec_packets_received += 1
            self._fec_until = now + _REMEMBER_LOSS
        if self._next_sequence is not None and self._is_past(timestamp):
            stats.packets_discarded += 1  # its time was concealed already
            return
        held = _Held(sequence, timestamp, now, packet.payload_type, packet.payload)
        if not self._queue or sequence > self._queue[-1].sequence:
            self._queue.append(held)
        else:
            self._queue.insert(bisect_left(self._queue, sequence, key=lambda other: other.sequence), held)
        self._bound()

    def _extend_sequence(self, packet: MediaPacket, now: float) -> int | None:
        """Place the packet in the stream (RFC 3550, A.1); ``None``: a duplicate, or too far off to be of it."""
        delta = (packet.sequence_number - self._highest) & 0xFFFF
        if 0 < delta < _MAX_DROPOUT:
            self._highest += delta
            self._seen = (self._seen << delta | 1) & ((1 << _MAX_MISORDER + 1) - 1)
        elif (back := -delta & 0xFFFF) <= _MAX_MISORDER:
            if self._seen >> back & 1:
                self.stats.packets_duplicated += 1
                self._received += 1
                return None
            self._seen |= 1 << back
            self._jump = None
            return self._highest - back
        elif packet.sequence_number == self._jump:
            # Two in a row: it is the sender that jumped, and not a stray packet.
            self._restart(packet, now)
        else:
            self._jump = (packet.sequence_number + 1) & 0xFFFF
            self.stats.packets_discarded += 1
            return None
        self._jump = None
        return self._highest

    def _extend_timestamp(self, packet: MediaPacket, sequence: int, now: float) -> int | None:
        """Extend the timestamp; ``None`` if it contradicts the order of the sequence numbers."""
        ticks = ((packet.timestamp - self._last_ticks + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        late = sequence < self._last_sequence
        if not late:
            # RFC 7160, 4.1: what passed since the packet before counts in ticks of the later one's codec.
            self._clock_rate = self._decoder(packet.payload_type).clock_rate
        ahead = ticks * (_RATE // self._clock_rate)
        if late:
            return self._last_timestamp + ahead if ahead < 0 else None
        passed = (now - self._last_arrival) * _RATE
        if ahead < 0 or ahead - passed > _MAX_LEAP:
            # The sender's clock was set anew: aiortc does so when it replaces a track.
            self._restart_media(packet, now)
            ahead = 0
        elif ahead == 0 and self._next_sequence is not None and sequence > self._next_sequence:
            return None
        self._last_timestamp += ahead
        self._last_ticks = packet.timestamp
        self._last_sequence = sequence
        self._last_arrival = now
        return self._last_timestamp

    def _restart(self, packet: MediaPacket, now: float) -> None:
        """Begin anew with ``packet``: another stream, or numbers that jumped."""
        self._lost_before = self.stats.packets_lost
        self._received = 0
        if packet.ssrc != self._ssrc:
            self._previous_ssrc, self._ssrc = self._ssrc, packet.ssrc
        self._first = self._highest = self._last_sequence = packet.sequence_number
        self._seen = 1
        self._restart_media(packet, now)

    def _restart_media(self, packet: MediaPacket, now: float) -> None:
        """Begin the timeline anew with ``packet``; what was playing is faded out."""
        if self._next_sequence is not None or self._queue:
            self.stats.restarts += 1
        if not self._waiting:
            tail = (self._conceal(_FRAME) * _FADE_OUT).astype(np.int16)
            self._pcm = np.concatenate((self._pcm, tail))[-2 * _FRAME :]
        self.stats.packets_discarded += len(self._queue)
        self._queue.clear()
        self._last_timestamp = self._last_ticks = packet.timestamp
        self._last_arrival = now
        self._next_sequence = None
        self._waiting = self._pausing = True
        self._made_up = _COMFORT
        self._arrival.restart()
        for decoder in self._decoders.values():
            decoder.reset()

    def _bound(self) -> None:
        queue = self._queue
        while len(queue) > _MAX_PACKETS or queue[-1].timestamp - queue[0].timestamp > _MAX_SPAN:
            del queue[0]
            self.stats.packets_discarded += 1
            if not self._waiting:
                self._jump_to(queue[0])

    def _jump_to(self, held: _Held) -> None:
        self._next_sequence = held.sequence
        self._next_timestamp = held.timestamp
        self._expanded = 0
        self._delay = None

    # -- leaving ------------------------------------------------------------------------------------------------

    def get(self, now: float) -> PlayoutFrame:
        """Return the 20 ms that begin at ``now``: always."""
        self._operation = "normal"
        self._set_target(now)
        if not self._waiting and len(self._pcm) < _FRAME:
            self._steer(now)
        while len(self._pcm) < _FRAME:
            chunk = self._next_chunk(now)
            self._pcm = np.concatenate((self._pcm, chunk)) if len(self._pcm) else chunk
        if len(self._pcm) == _FRAME:
            frame, self._pcm = self._pcm, _NOTHING
        else:
            frame, self._pcm = self._pcm[:_FRAME], self._pcm[_FRAME:]

        stats = self.stats
        level = level_of(frame)
        stats.audio_level = level.power**0.5
        stats.total_audio_energy += level.power * FRAME_DURATION
        stats.total_samples_duration += FRAME_DURATION
        stats.total_samples_received += _FRAME
        delay = self._target + FRAME_DURATION if self._waiting else self._delay
        return PlayoutFrame(frame, self._operation, None, level, delay)

    def _set_target(self, now: float) -> None:
        target = self._arrival.quantile
        if now < self._loss_until and now < self._fec_until:
            target += self._duration / _RATE
        if self.stats.packets_received < _FIRST_PACKETS:
            target = max(target, _FIRST_TARGET)
        self._target = min(max(target, _LOWEST_TARGET), _HIGHEST_TARGET)

    def _held_for(self, timestamp: int, now: float) -> float:
        """How long ago that moment would have arrived at the fastest."""
        return now - timestamp / _RATE - self._arrival.base

    def _steer(self, now: float) -> None:
        """Bring the delay back to the target by a period of the voice, if it can be done without being heard."""
        if self._expanded:
            return
        residue = len(self._pcm)
        delay = self._held_for(self._next_timestamp - residue, now)
        # The tick comes now late, now early; what we do to the delay ourselves is known exactly.
        self._delay = delay if self._delay is None else self._delay + (delay - self._delay) / 16
        # The next packet is decoded now, though its first sample is only due after the residue.
        excess = self._delay - residue / _RATE - self._target
        if excess < _TOO_SHORT:
            self._stretch(now, lengthen)
        elif excess > _TOO_LONG:
            hurry = excess > _HURRY
            for _ in range(2 if hurry else 1):
                self._stretch(now, shorten, _FRAME, hurry=hurry)
        elif residue >= SHORTEST:
            # It keeps nobody from running dry: it is only late.
            self._stretch(now, shorten, residue)

    def _stretch(
        self,
        now: float,
        how: Callable[[NDArray[np.int16], int], NDArray[np.int16]],
        longest: int = _FRAME,
        *,
        hurry: bool = False,
    ) -> None:
        if self._rest and not hurry:
            self._rest -= 1
            return
        wanted = _FRAME if how is lengthen else _FRAME + _FRAME // 2
        while len(self._pcm) < wanted and self._queue and self._gap(self._queue[0]) < _STEP:
            chunk = self._decode(self._queue.pop(0), now)
            self._pcm = np.concatenate((self._pcm, chunk)) if len(self._pcm) else chunk
        if len(self._pcm) < wanted or self._concealing:
            return
        period = find_period(self._pcm, longest, like=0.6 if hurry else 0.85)
        if period is None or self._delay is None:
            # A consonant, or noise. The search costs more than decoding a frame; too short a delay is urgent, though.
            self._rest = 0 if how is lengthen else 4
            return
        self._rest = 1  # every frame stretched sounds rough
        self._pcm = how(self._pcm, period)
        if how is lengthen:
            self._delay += period / _RATE
            self.stats.inserted_samples_for_deceleration += period
            self._operation = "expand"
        else:
            self._delay -= period / _RATE
            self.stats.removed_samples_for_acceleration += period
            self._operation = "accelerate"

    def _gap(self, head: _Held) -> int:
        """Samples that are missing before ``head``; below 0 if it is late."""
        return head.timestamp - self._next_timestamp - self._expanded

    def _next_chunk(self, now: float) -> NDArray[np.int16]:
        """Return some sound, at least 2.5 ms of it."""
        head = self._queue[0] if self._queue else None
        if self._waiting:
            if head is None or self._held_for(head.timestamp, now) < self._target:
                return self._comfort()
            self._waiting = False
            self._jump_to(head)
            self._delay = self._held_for(head.timestamp, now) + len(self._pcm) / _RATE
        if head is None:
            return self._run_dry()
        gap = self._gap(head)
        if gap < _STEP:
            return self._decode(self._queue.pop(0), now)
        if head.sequence == self._next_sequence or self._made_up >= _FADED:
            # A pause that the sender made (DTX), or one so long that its end is to be timed anew.
            self._pausing = head.sequence == self._next_sequence
            self._waiting = True
            return self._comfort()
        return self._fill(gap // _STEP * _STEP, head, now)

    def _decode(self, held: _Held, now: float) -> NDArray[np.int16]:
        stats = self.stats
        if held.payload_type != self._payload_type:
            self._payload_type = held.payload_type
            self._decoder(held.payload_type).reset()
        try:
            chunk = self._decoder(held.payload_type).decode(held.payload)
            if len(chunk) == 0:
                raise MediaError("the packet holds no samples")
        except MediaError:
            stats.packets_malformed += 1
            chunk = self._made(self._conceal(self._duration), "plc")
        else:
            self._duration = len(chunk)
            self._made_up = 0
            self._concealing = False
            # RFC 6716, 2.1.9 and libopus: no more than the TOC byte or one more announces a pause.
            self._pausing = len(held.payload) <= 2
            stats.jitter_buffer_delay += len(chunk) * (now - held.arrival + len(self._pcm) / _RATE)
            stats.jitter_buffer_target_delay += len(chunk) * self._target
            stats.jitter_buffer_emitted_count += len(chunk)
        if self._expanded:
            self._expanded = 0
            self._delay = None
        self._next_sequence = held.sequence + 1
        self._next_timestamp = held.timestamp + len(chunk)
        while self._queue and self._is_past(self._queue[0].timestamp):
            del self._queue[0]
            stats.packets_discarded += 1
        return chunk

    def _is_past(self, timestamp: int) -> bool:
        """Whether the better part of a packet with that timestamp was played or concealed."""
        return timestamp < self._next_timestamp - self._duration // 2

    def _fill(self, gap: int, head: _Held, now: float) -> NDArray[np.int16]:
        """Make up for packets lost before ``head``: the last of them from its FEC, the others by concealment."""
        self._loss_until = now + _REMEMBER_LOSS
        same = head.payload_type == self._payload_type
        if same and gap <= self._duration and self._decoder(head.payload_type).has_fec(head.payload):
            try:
                chunk = self._decoder(head.payload_type).recover(head.payload, gap)
            except MediaError:
                chunk = self._made(self._conceal(gap), "plc")
            else:
                self._operation = "fec"
                self._concealing = False
                self._made_up += gap
                self.stats.fec_recovered_samples += gap
        else:
            samples = min(gap - self._duration if gap > self._duration else gap, _FRAME)
            chunk = self._made(self._conceal(samples), "plc")
        self._next_timestamp += len(chunk)
        return chunk

    def _run_dry(self) -> NDArray[np.int16]:
        """Nothing is there: late, lost, or never sent; that will be known when the next packet comes."""
        if self._pausing or self._made_up >= _FADED:
            self._waiting = True
            return self._comfort()
        self._expanded += _FRAME
        return self._made(self._conceal(_FRAME), "plc")

    def _comfort(self) -> NDArray[np.int16]:
        """What is heard while nothing is due: the decoder's comfort noise, then silence."""
        if self._next_sequence is None or (self._made_up >= _COMFORT and not self._pausing):
            chunk = np.zeros((_FRAME, 1), np.int16)
            operation: Operation = "silence"
        else:
            chunk = self._conceal(_FRAME)
            operation = "comfort"
        if self._pausing:
            self._operation = operation
            self._made_up += len(chunk)
            self._concealing = False
            return chunk
        self.stats.silent_concealed_samples += len(chunk)
        return self._made(chunk, operation)

    def _made(self, chunk: NDArray[np.int16], operation: Operation) -> NDArray[np.int16]:
        self._operation = operation
        self._made_up += len(chunk)
        self.stats.concealed_samples += len(chunk)
        if not self._concealing:
            self._concealing = True
            self.stats.concealment_events += 1
        return chunk

    def _conceal(self, samples: int) -> NDArray[np.int16]:
        if self._payload_type is not None:
            try:
                return self._decoder(self._payload_type).conceal(samples)
            except MediaError:
                pass
        return np.zeros((samples, 1), np.int16)

    def _decoder(self, payload_type: int) -> Decoder:
        decoder = self._decoders.get(payload_type)
        if decoder is None:
            decoder = self._decoders[payload_type] = self._factories[payload_type]()
        return decoder
