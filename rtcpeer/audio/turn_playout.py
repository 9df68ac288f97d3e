"""What the far end says in messages: decoded, and played out turn by turn; of a turn that was cut off nothing more.

This module never reads a clock: ``now`` is always an argument, in seconds, and must not go backwards.
"""

from __future__ import annotations

from ..errors import MediaError
from ..formats import VOICE, AudioFormat
from ..protocols.base import AudioChunk
from .stream_playout import StreamPlayout
from .wire import CODECS, WireDecoder

_DECODERS = 8
"""Streams that are being decoded: more are of turns that are over, or of formats that nobody mixes."""


class TurnPlayout:
    """One connection's; ``playout`` is what is heard, and goes on when another connection takes over.

    Args:
        live: The far end sends in real time, pauses included.
        predecessor: What it has received and not played yet comes first.
    """

    def __init__(self, *, live: bool, predecessor: TurnPlayout | None = None) -> None:
        self.playout: StreamPlayout = StreamPlayout(live=live) if predecessor is None else predecessor.playout
        # Each connection counts from 0; the playout counts on.
        self._first: int = 0 if predecessor is None else predecessor._first + predecessor._newest + 1
        self._newest: int = 0
        self._decoders: dict[tuple[str, AudioFormat, int], WireDecoder] = {}

    def put(self, chunk: AudioChunk, oldest: int, now: float) -> float:
        """Take a chunk of any turn, and return its seconds; of those before ``oldest`` it is not heard, but counted.

        Raises:
            MediaError: it can't be read, which is counted.
        """
        key = (chunk.codec, chunk.format, chunk.generation)
        stats = self.playout.stats
        stats.bytes_received += len(chunk.data)
        try:
            if key not in self._decoders:
                if chunk.codec not in CODECS:
                    raise MediaError(f"audio in {chunk.codec}, which can't be read here")
                if len(self._decoders) >= _DECODERS:
                    del self._decoders[next(iter(self._decoders))]
                self._decoders[key] = CODECS[chunk.codec][1](chunk.format)
            pcm = self._decoders[key].decode(chunk.data)
        except MediaError:
            stats.packets_malformed += 1
            raise
        if chunk.generation < oldest:
            stats.packets_received += 1
            stats.interrupted_samples += len(pcm) * VOICE.sample_rate // chunk.format.sample_rate
        else:
            self.playout.put(pcm, chunk.format, self._first + chunk.generation, now)
        return len(pcm) / chunk.format.sample_rate

    def refuse(self) -> None:
        """Count audio that came and is not even decoded."""
        self.playout.stats.packets_malformed += 1

    def interrupt(self, generation: int, now: float, *, everything: bool) -> float:
        """Drop what waits of the turns before ``generation``, or all; return the seconds of it that were heard."""
        played = self.playout.played
        self.playout.flush(now, before=None if everything else self._first + generation)
        self._newest = generation
        return played

    def supersede(self, generation: int, now: float) -> float | None:
        """A turn cuts those before it off: return the seconds that were heard, or ``None``: nothing was cut off."""
        if generation <= self._newest:
            return None
        self._newest = generation
        played = self.playout.played
        return played if self.playout.flush(now, before=self._first + generation) > 0 else None
