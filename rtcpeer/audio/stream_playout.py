"""Playout of audio that comes in messages over TCP: nothing is lost, but much comes at once or late.

A small lead is kept before a voice begins; when it was too small, the next is larger. Exactly one frame of 20 ms
leaves at every tick, ``(960, 1)`` at 48 kHz, and beside it ``(960, 2)`` when stereo comes. What the far end does not
send is silence: TCP says nothing about why.

This module never reads a clock: ``now`` is always an argument, in seconds, and must not go backwards.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..formats import FRAME_DURATION, VOICE, AudioFormat
from ..stats import InboundAudioStats
from .jitter import PlayoutFrame
from .level import level_of
from .resample import Resampler, map_channels

_FRAME = VOICE.frame_samples
_RATE = VOICE.sample_rate

# One frame for the tick that may be due now, one for the network.
_FIRST_LEAD = 0.04
_LOWEST_LEAD = 0.02
_HIGHEST_LEAD = 0.2
# A gap longer than this was not the network's: the voice paused.
_PAUSE = 0.4
# Below this, audio that comes is a pause: what silence becomes at −40 dBFS.
_QUIET = 300
# So long without a gap, and a lead of one frame less is tried.
_CALM = 10.0

LIMIT = 120.0
"""Seconds that wait at most, when speech may come faster than it is spoken: two minutes of an answer."""
LIVE_LIMIT = 0.15
"""Seconds beyond the lead that wait at most, when the far end sends in real time: the rest is delay for ever."""

# A waveform cut in mid-air clicks; 5 ms are enough to bring it down, or up, unheard.
_FADE = np.linspace(1.0, 0.0, _RATE // 200, dtype=np.float32)[:, None]


@dataclass(slots=True)
class _Block:
    pcm: NDArray[np.int16]
    format: AudioFormat
    generation: int
    arrival: float


class StreamPlayout:
    """``put`` what arrives, decoded; ``get`` 20 ms at every tick; ``flush`` when the speaker is interrupted.

    Args:
        live: The far end sends in real time, pauses included; what piles up is dropped down to the lead.
    """

    def __init__(self, *, live: bool) -> None:
        self.stats = InboundAudioStats()
        self.resets = 0
        """How often it was dropped down to the lead."""
        self.lead = _FIRST_LEAD
        """Seconds for which the first piece of a voice is held back."""
        self._live = live
        # The oldest is dropped and counted when more waits than LIMIT, or LIVE_LIMIT beyond what has to.
        self._blocks: deque[_Block] = deque()
        self._waiting = 0.0
        self._batch = 0.0
        self._resampler: Resampler | None = None
        self._pcm: NDArray[np.int16] = np.empty((0, 1), np.int16)  # two columns once stereo has come
        self._rise = 0  # samples that are still to be faded up
        self._generation = 0
        self._turn = 0
        self._old = 0  # samples in _pcm that belong to the generation before, or to one that was cut off
        self._playing = False
        self._ran_dry: float | None = None
        self._gap = False
        self._silent = 0  # samples since it ran dry
        self._last_change: float | None = None
        self._cut: int | None = None  # the newest generation that is to be dropped
        self._cut_sounded = False

    @property
    def waiting(self) -> float:
        """Seconds that came and were not handed on yet."""
        return self._waiting + len(self._pcm) / _RATE

    @property
    def played(self) -> float:
        """Seconds of the turn in progress that were really handed on.

        A turn ends with ``end_turn`` or ``flush``, or when audio of another generation begins.
        """
        return self._turn / _RATE

    def end_turn(self) -> None:
        """What comes from now on is another turn's."""
        self._turn = 0

    def put(self, pcm: NDArray[np.int16], audio_format: AudioFormat, generation: int, now: float) -> None:
        """Take ``(n, channels)`` in ``audio_format``."""
        self.stats.packets_received += 1
        if self._cut is not None:
            if generation <= self._cut:
                self.stats.interrupted_samples += _at_48k(len(pcm), audio_format)
                self._cut_sounded = self._cut_sounded or _is_loud(pcm)
                return
            self._cut = None
        if len(pcm) == 0:
            return
        if self._ran_dry is not None and not self._blocks:
            self._notice_gap(now)
        seconds = len(pcm) / audio_format.sample_rate
        self._batch = max(seconds, 0.98 * self._batch)
        if audio_format.channels > self._pcm.shape[1]:
            self._pcm = map_channels(self._pcm, audio_format.channels)
            self._resampler = None
        self._blocks.append(_Block(pcm, audio_format, generation, now))
        self._waiting += seconds
        # Live audio comes in batches of its own size: they, and the lead, have to wait.
        needed = min(self.lead + self._batch, LIMIT) if self._live else LIMIT
        if self._waiting > needed + (LIVE_LIMIT if self._live else 0.0):
            self._drop_to(needed, now)

    def get(self, now: float) -> PlayoutFrame:
        """Return the 20 ms to be heard at ``now``."""
        if not self._playing and self._blocks:
            held = now - self._blocks[0].arrival
            if held >= self.lead or self._waiting >= self.lead + self._batch:
                self._begin()
        if self._playing:
            # 5 ms more than a frame, so that it is known in time when the voice has to fall silent.
            self._fill(_FRAME + len(_FADE), now)
            if len(self._pcm) < _FRAME + len(_FADE):
                _fade_down(self._pcm)
                self._playing = False
                self._ran_dry, self._gap, self._silent = now, False, 0
        filled = min(_FRAME, len(self._pcm))
        frame = np.zeros((_FRAME, self._pcm.shape[1]), np.int16)
        frame[:filled] = self._pcm[:filled]
        self._pcm = self._pcm[filled:]
        self._count(filled)
        self._silent += _FRAME - filled
        self.stats.jitter_buffer_emitted_count += filled
        if self._last_change is None:
            self._last_change = now
        elif now - self._last_change >= _CALM:
            self.lead = max(_LOWEST_LEAD, self.lead - FRAME_DURATION)
            self._last_change = now
        return self._counted(frame)

    def flush(self, now: float, *, before: int | None = None, rest: bool = False) -> float:
        """Drop what waits, with a fade of 5 ms; the frames after the next are silent until more comes.

        Args:
            before: Only audio of lower generations than this.
            rest: And what still comes: until ``go_on``, or another generation.

        Returns:
            Seconds that came and will never be heard.
        """
        newest = max((block.generation for block in self._blocks), default=self._generation)
        kept = [block for block in self._blocks if before is not None and block.generation >= before]
        self._blocks = deque(block for block in self._blocks if before is None or block.generation < before)
        if self._playing and (before is None or self._generation < before):
            self._fade_out(now)
            self._playing = False
        if not self._playing:
            self._turn = 0
            self._old = len(self._pcm)
            self._ran_dry = None
        samples = sum(_at_48k(len(block.pcm), block.format) for block in self._blocks)
        self._blocks = deque(kept)
        self._waiting = sum(len(block.pcm) / block.format.sample_rate for block in kept)
        self._cut = max(newest, self._generation) if rest else None
        self._cut_sounded = False
        self.stats.interrupted_samples += samples
        return samples / _RATE

    @property
    def cut(self) -> bool:
        """What comes is dropped, because it belongs to what was cut off."""
        return self._cut is not None

    def cut_sounded(self) -> bool:
        """Return whether anything audible was dropped since the last time this was asked."""
        sounded, self._cut_sounded = self._cut_sounded, False
        return sounded

    def go_on(self) -> None:
        """What comes now is another turn's."""
        self._cut = None

    def _count(self, samples: int) -> None:
        """So many samples leave: for whom do they count?"""
        if self._old and samples >= self._old:
            self._turn = samples - self._old
        elif not self._old:
            self._turn += samples
        self._old = max(0, self._old - samples)

    def _begin(self) -> None:
        self._playing = True
        if self._gap:
            self.stats.concealment_events += 1
            self.stats.concealed_samples += self._silent
            self.stats.silent_concealed_samples += self._silent
            self._rise = len(_FADE)
        self._ran_dry, self._gap = None, False

    def _fill(self, samples: int, now: float) -> None:
        """Resample as much as is missing for ``samples``, if it has come."""
        have = len(self._pcm)
        parts = [self._pcm]
        while have < samples and self._blocks:
            block = self._blocks[0]
            if block.generation != self._generation:
                self._generation, self._old = block.generation, have
                self._turn = self._turn if have else 0
            if self._resampler is None or self._resampler.source != block.format:
                if self._resampler is not None:
                    parts.append(self._resampler.flush())
                self._resampler = Resampler(block.format, AudioFormat(_RATE, self._pcm.shape[1]))
            wanted = -(-(samples - have) * block.format.sample_rate // _RATE)
            part = self._resampler.feed(self._take(wanted))
            parts.append(self._faded_up(part))
            have += len(part)
            self.stats.jitter_buffer_delay += (now - block.arrival) * len(part)
            self.stats.jitter_buffer_target_delay += self.lead * len(part)
        if have < samples and self._resampler is not None:
            # Dry: the millisecond inside the filter belongs to what was said.
            parts.append(self._resampler.flush())
        self._pcm = np.concatenate(parts)

    def _take(self, samples: int) -> NDArray[np.int16]:
        """Take up to so many samples of the oldest block."""
        block = self._blocks[0]
        piece, block.pcm = block.pcm[:samples], block.pcm[samples:]
        if len(block.pcm) == 0:
            self._blocks.popleft()
        self._waiting = max(0.0, self._waiting - len(piece) / block.format.sample_rate)
        return piece

    def _faded_up(self, part: NDArray[np.int16]) -> NDArray[np.int16]:
        if count := min(self._rise, len(part)):
            part = part.copy()
            begin = len(_FADE) - self._rise
            part[:count] = (part[:count] * _FADE[::-1][begin : begin + count]).astype(np.int16)
            self._rise -= count
        return part

    def _fade_out(self, now: float) -> None:
        """Let what is heard end here: 5 ms more, falling silent."""
        self._fill(len(_FADE), now)
        self._pcm = self._pcm[: len(_FADE)].copy()
        _fade_down(self._pcm)
        self._resampler = None

    def _drop_to(self, seconds: float, now: float) -> None:
        """Drop the oldest that waits until so many seconds are left."""
        self.resets += 1
        if self._playing:
            # What is cut off here was to be heard, too.
            self.stats.discarded_samples += max(0, len(self._pcm) - len(_FADE))
            self._fade_out(now)
            self._rise = len(_FADE)
        while self._blocks and (surplus := self._waiting - seconds) > 0:
            audio_format = self._blocks[0].format
            gone = self._take(max(1, int(surplus * audio_format.sample_rate)))
            self.stats.discarded_samples += _at_48k(len(gone), audio_format)

    def _notice_gap(self, now: float) -> None:
        """Audio came again after there was none: was that the network's doing?"""
        assert self._ran_dry is not None
        self._gap = now - self._ran_dry < _PAUSE
        if self._gap:
            self.lead = min(_HIGHEST_LEAD, 1.5 * self.lead)
            self._last_change = now

    def _counted(self, frame: NDArray[np.int16]) -> PlayoutFrame:
        stats = self.stats
        mono = map_channels(frame, 1)
        level = level_of(mono)
        stats.audio_level = level.power**0.5
        stats.total_audio_energy += level.power * FRAME_DURATION
        stats.total_samples_duration += FRAME_DURATION
        stats.total_samples_received += _FRAME
        stereo = frame if frame.shape[1] == 2 else None
        return PlayoutFrame(mono, "normal" if level.power else "silence", stereo, level)


def _is_loud(pcm: NDArray[np.int16]) -> bool:
    return len(pcm) > 0 and (int(pcm.max()) > _QUIET or int(pcm.min()) < -_QUIET)


def _fade_down(pcm: NDArray[np.int16]) -> None:
    """Fade the end, in place."""
    if length := min(len(pcm), len(_FADE)):
        pcm[-length:] = (pcm[-length:] * _FADE[-length:]).astype(np.int16)


def _at_48k(samples: int, audio_format: AudioFormat) -> int:
    return samples * _RATE // audio_format.sample_rate
