"""MP3 as voice services send it: a stream cut anywhere, without a container.

MPEG audio layer III, ISO/IEC 11172-3 and 13818-3; FFmpeg's decoder, LAME's encoder.
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..formats import AudioFormat

PIECE = 4096
"""Bytes of a piece that is made here, but for the last of a stream: 1.02 s at 32 kb/s."""
BIT_RATE = 32_000
_FRUITLESS = 8192
"""Bytes without a frame in them after which it is no MP3: many frames of the lowest rate, or a tag of some size."""


class Mp3Decoder:
    """Pieces of one stream in, cut wherever they are; an empty piece ends it, and what follows is another stream."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._begin()

    def _begin(self) -> None:
        self._decoder: av.AudioCodecContext = av.CodecContext.create("mp3float", "r")  # type: ignore[assignment]
        self._begin_resampling()
        self._heard = False
        self._fruitless = 0

    def _begin_resampling(self) -> None:
        layout = "mono" if self._format.channels == 1 else "stereo"
        self._resampler = av.AudioResampler("s16", layout, self._format.sample_rate)
        self._shape: tuple[str, int] | None = None

    def decode(self, data: bytes) -> NDArray[np.int16]:
        """Return what is complete: ``(n, channels)``.

        Raises:
            MediaError: it is no MP3.
        """
        decoder = self._decoder
        packets = decoder.parse(data) if data else [*decoder.parse(None), None]
        parts: list[NDArray[np.int16]] = []
        for packet in packets:
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError:
                continue  # a tag, or a frame whose beginning was not sent: it goes on with the next
            for frame in frames:
                # Their times are of no use, and would be taken for gaps.
                frame.pts = None
                if self._shape not in (None, shape := (frame.layout.name, frame.sample_rate)):
                    parts += self._pcm(None)
                    self._begin_resampling()
                self._shape = shape
                parts += self._pcm(frame)
        if not data:
            if self._heard or parts:
                parts += self._pcm(None)
            self._begin()
        elif parts or self._heard:
            self._heard = True
        else:
            self._fruitless += len(data)
            if self._fruitless > _FRUITLESS:
                raise MediaError(f"no MP3 in {self._fruitless} bytes")
        return np.concatenate(parts) if parts else np.empty((0, self._format.channels), np.int16)

    def _pcm(self, frame: av.AudioFrame | None) -> list[NDArray[np.int16]]:
        found = [each.to_ndarray().reshape(-1, self._format.channels) for each in self._resampler.resample(frame)]
        return [pcm.astype(np.int16, copy=False) for pcm in found]


class Mp3Encoder:
    """PCM in, pieces of ``PIECE`` bytes out; each stream begins with LAME's delay, 50 ms of silence at 22.05 kHz."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._begin()

    def _begin(self) -> None:
        self._encoder: av.AudioCodecContext | None = None
        self._rest = np.empty((0, self._format.channels), np.int16)
        self._made = b""

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """Return the next piece, if it is full; no more than a second at a time makes no more than one."""
        self._rest = np.concatenate([self._rest, pcm])
        if self._encoder is None:
            self._encoder = self._open()
        size = self._encoder.frame_size
        while len(self._rest) >= size:
            frame, self._rest = np.split(self._rest, [size])
            self._feed(frame)
        return self._piece() if len(self._made) >= PIECE else b""

    def flush(self) -> bytes:
        """Return the next piece of what is left; empty: that was all, and what follows begins a new stream."""
        if self._encoder is not None:
            if len(self._rest):
                self._feed(self._rest)
            self._made += b"".join(bytes(packet) for packet in self._encoder.encode(None))
            self._encoder = None
            self._rest = self._rest[:0]
        return self._piece()

    def _open(self) -> av.AudioCodecContext:
        encoder = av.CodecContext.create("libmp3lame", "w")
        encoder.sample_rate = self._format.sample_rate
        encoder.layout = "mono" if self._format.channels == 1 else "stereo"
        encoder.format = "s16p"
        encoder.bit_rate = BIT_RATE
        encoder.open()
        return encoder

    def _feed(self, pcm: NDArray[np.int16]) -> None:
        assert self._encoder is not None
        planes = np.ascontiguousarray(pcm.T)
        frame = av.AudioFrame.from_ndarray(planes, format="s16p", layout=self._encoder.layout.name)
        frame.sample_rate = self._format.sample_rate
        self._made += b"".join(bytes(packet) for packet in self._encoder.encode(frame))

    def _piece(self) -> bytes:
        piece, self._made = self._made[:PIECE], self._made[PIECE:]
        return piece
