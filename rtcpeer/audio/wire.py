"""Audio as messages carry it: by codec, how a stream of it is made and read.

A codec of a message and a codec of a protocol are two things; this is the former.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..formats import AudioFormat, OpusSettings
from .mp3 import Mp3Decoder, Mp3Encoder
from .opus import OpusDecoder, OpusEncoder


class WireDecoder(Protocol):
    """Reads one stream, piece by piece."""

    def decode(self, data: bytes) -> NDArray[np.int16]:
        """Return ``(n, channels)`` in the stream's format; ``n`` may be 0. No bytes: the stream is over.

        Raises:
            MediaError: it can't be read.
        """


class WireEncoder(Protocol):
    """Makes one stream, piece by piece."""

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """Take ``(n, channels)`` in the stream's format; nothing may come of it yet."""

    def flush(self) -> bytes:
        """Return the next piece of what is still inside; empty: no more, and what follows begins a new stream."""


class PcmDecoder:
    """Signed 16-bit little-endian, interleaved, cut anywhere: the rest of a sample waits for the next piece."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._channels = audio_format.channels
        self._rest = b""

    def decode(self, data: bytes) -> NDArray[np.int16]:
        rest = self._rest
        pcm, left = self._samples(rest + data)
        if rest and data:
            # Was that a stray byte at the end of a voice? Sound whose bytes are out of step is noise.
            afresh, left_afresh = self._samples(data)
            if _ROUGHER * _roughness(afresh) < _roughness(pcm):
                pcm, left = afresh, left_afresh
        self._rest = left
        return pcm

    def _samples(self, data: bytes) -> tuple[NDArray[np.int16], bytes]:
        whole = len(data) - len(data) % (2 * self._channels)
        pcm = np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False).reshape(-1, self._channels)
        return pcm, data[whole:]


def _roughness(pcm: NDArray[np.int16]) -> float:
    """How far each sample is from the one before it, on average."""
    if len(pcm) < 2:
        return 0.0
    return float(np.abs(np.diff(pcm.astype(np.int32), axis=0)).mean())


_ROUGHER = 4.0
"""Times: speech in step is 10 to 1000 times smoother than out of step."""


class PcmEncoder:
    """Signed 16-bit little-endian, interleaved."""

    def __init__(self, audio_format: AudioFormat) -> None:
        pass

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        return pcm.astype("<i2", copy=False).tobytes()

    def flush(self) -> bytes:
        return b""


class OpusWireEncoder:
    """One Opus packet of 20 ms a piece (RFC 6716). No FEC: what carries the messages loses none."""

    def __init__(self, audio_format: AudioFormat) -> None:
        settings = OpusSettings()
        self._samples = audio_format.frame_samples
        self._encoder = OpusEncoder(
            audio_format.sample_rate,
            channels=audio_format.channels,
            bitrate=settings.bitrate,
            complexity=settings.complexity,
            application=settings.application,
            fec=False,
        )

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        # What is left when a voice ends is shorter than a packet: silence fills it.
        return self._encoder.encode(np.pad(pcm, ((0, self._samples - len(pcm)), (0, 0))))

    def flush(self) -> bytes:
        return b""


class OpusWireDecoder:
    def __init__(self, audio_format: AudioFormat) -> None:
        self._channels = audio_format.channels
        self._decoder = OpusDecoder(audio_format.sample_rate, channels=audio_format.channels)

    def decode(self, data: bytes) -> NDArray[np.int16]:
        return self._decoder.decode(data) if data else np.empty((0, self._channels), np.int16)


EXPANDING = frozenset({"mp3"})
"""Codecs of streams that may be cut anywhere, and of which few bytes may be much audio."""
PIECE = 4096
"""Bytes of such a stream that are decoded at once: 1 s at 32 kb/s, and 4 s of the thinnest that there is."""

CODECS: Mapping[str, tuple[Callable[[AudioFormat], WireEncoder], Callable[[AudioFormat], WireDecoder]]] = {
    "pcm16": (PcmEncoder, PcmDecoder),
    "mp3": (Mp3Encoder, Mp3Decoder),
    "opus": (OpusWireEncoder, OpusWireDecoder),
}
"""Name → encoder and decoder of one stream."""
