"""What a user calls audio, as int16: bytes, arrays of int16 or float, frames of ours and of PyAV.

Nothing is guessed: what does not fit the format that was named is an error that says what came and what was expected.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, MediaError
from ..formats import AudioFormat
from .frame import AudioFrame

Pcm: TypeAlias = bytes | bytearray | memoryview | NDArray[Any] | AudioFrame | av.AudioFrame
"""Bytes: interleaved little-endian int16. Arrays: ``(samples, channels)``, or ``(samples,)`` when mono, of int16, or
of float in -1…1. Frames know their own format."""

# 12 dB over full scale is no peak that was left in, it is int16 that was called float.
_LOUDEST = 4.0


def format_of(pcm: Pcm) -> AudioFormat | None:
    """Return what a frame says of itself; ``None`` for bytes and arrays, which say nothing.

    Raises:
        ConfigurationError: neither mono nor stereo, or a rate that ``AudioFormat`` refuses.
    """
    match pcm:
        case AudioFrame():
            return pcm.format
        case av.AudioFrame():
            return AudioFormat(pcm.sample_rate, len(pcm.layout.channels))
        case _:
            return None


class PcmInput:
    """One stream of it; bytes may be cut anywhere, in the middle of a sample too."""

    def __init__(self, audio_format: AudioFormat, name: str) -> None:
        self._format = audio_format
        self._name = name
        self._cut = b""

    @property
    def incomplete(self) -> bool:
        """The bytes so far end within a sample."""
        return bool(self._cut)

    def feed(self, pcm: Pcm) -> NDArray[np.int16]:
        """Return ``(samples, channels)``, an array of the caller's own.

        Raises:
            MediaError: another type, shape or format than expected; it names the stream.
        """
        channels = self._format.channels
        match pcm:
            case bytes() | bytearray() | memoryview():
                data = self._cut + bytes(pcm)
                whole = len(data) - len(data) % (2 * channels)
                self._cut = data[whole:]
                return np.frombuffer(data[:whole], "<i2").astype(np.int16).reshape(-1, channels)
            case AudioFrame() | av.AudioFrame():
                return self._array(self._of_frame(pcm))
            case np.ndarray():
                return self._array(pcm)
            case _:
                raise MediaError(f"{self._name}: {type(pcm).__name__} is not audio: give bytes, an array or a frame")

    def _of_frame(self, frame: AudioFrame | av.AudioFrame) -> NDArray[Any]:
        try:
            found = format_of(frame)
        except ConfigurationError as exc:
            raise MediaError(f"{self._name}: a frame that cannot be played: {exc}") from exc
        if found != self._format:
            raise MediaError(f"{self._name}: a frame of {found}, in a stream of {self._format}")
        if isinstance(frame, AudioFrame):
            return frame.samples
        # to_ndarray() leaves out the padding at the end of a plane; bytes(plane) would hand it on.
        array = frame.to_ndarray()
        return array.T if frame.format.is_planar else array.reshape(-1, self._format.channels)

    def _array(self, array: NDArray[Any]) -> NDArray[np.int16]:
        channels = self._format.channels
        if array.ndim == 1 and channels == 1:
            array = array[:, np.newaxis]
        kind_fits = array.dtype == np.int16 or array.dtype in (np.float32, np.float64)
        if not kind_fits or array.ndim != 2 or array.shape[1] != channels:
            raise MediaError(
                f"{self._name}: {array.dtype} {array.shape} was written, not (n, {channels}) of int16, "
                "or of float in -1…1"
            )
        if array.dtype == np.int16:
            return array.astype(np.int16)  # a copy: the caller's array stays the caller's
        if not len(array):
            return np.empty((0, channels), np.int16)
        loudest = float(np.abs(array).max())
        if not loudest <= _LOUDEST:
            raise MediaError(f"{self._name}: float samples up to {loudest:g}: scale them to -1…1")
        converted: NDArray[np.int16] = np.clip(np.rint(array * 32768.0), -32768, 32767).astype(np.int16)
        return converted
