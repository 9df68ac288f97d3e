"""What we say, cut into messages: 20 ms frames at 48 kHz in, coded pieces of the length that the wire wants out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..formats import VOICE, AudioFormat
from ..protocols.base import WireAudio
from .resample import Resampler
from .wire import CODECS


class Chunker:
    """Frames of a voice in, its pieces out; one voice after another, each ended with ``finish``."""

    def __init__(self, wire: WireAudio) -> None:
        self.wire = wire
        self._resampler = Resampler(VOICE, wire.format)
        self._encoder = CODECS[wire.codec][0](wire.format)
        self._samples = round(wire.chunk * wire.format.sample_rate)
        self._fed = False
        self._rest = np.empty((0, wire.format.channels), np.int16)

    def feed(self, pcm: NDArray[np.int16]) -> list[bytes]:
        """Take ``(n, channels)`` at 48 kHz; return the pieces that are full."""
        self._fed = True
        if pcm.shape[1] != self._resampler.source.channels:
            self._resampler = Resampler(AudioFormat(VOICE.sample_rate, pcm.shape[1]), self.wire.format)
        self._rest = np.concatenate([self._rest, self._resampler.feed(pcm)])
        pieces = []
        while len(self._rest) >= self._samples:
            piece, self._rest = np.split(self._rest, [self._samples])
            pieces.append(self._encoder.encode(piece))
        return [piece for piece in pieces if piece]

    def finish(self) -> list[bytes]:
        """Return the rest, as short as it is, and the mark of its end, where there is one."""
        if not self._fed:
            return []
        self._fed = False
        rest = np.concatenate([self._rest, self._resampler.flush()])
        self._rest = rest[:0]
        pieces = [piece for piece in [self._encoder.encode(rest)] if piece] if len(rest) else []
        pieces += iter(self._encoder.flush, b"")
        return [*pieces, b""] if self.wire.marks_end else pieces
