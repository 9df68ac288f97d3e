"""Audio as messages carry it: by codec, how a stream of it is made and read.

A codec of a message and a codec of a protocol are two things; this is the former.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
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


class PcmCodec:
    """Signed 16-bit little-endian, interleaved; both ways, no state."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._channels = audio_format.channels

    def decode(self, data: bytes) -> NDArray[np.int16]:
        # A rest is not kept for the next message: were it a stray byte, all that follows would be noise.
        if len(data) % (2 * self._channels):
            raise MediaError(f"{len(data)} bytes of audio are no whole samples")
        return np.frombuffer(data, "<i2").astype(np.int16, copy=False).reshape(-1, self._channels)

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


CODECS: Mapping[str, tuple[Callable[[AudioFormat], WireEncoder], Callable[[AudioFormat], WireDecoder]]] = {
    "pcm16": (PcmCodec, PcmCodec),
    "mp3": (Mp3Encoder, Mp3Decoder),
    "opus": (OpusWireEncoder, OpusWireDecoder),
}
"""Name → encoder and decoder of one stream."""
