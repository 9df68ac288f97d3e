"""What a receiver gave out, and when: written by every contestant in the same form, heard through the same sink.

A file of records: int64 nanoseconds on the machine's monotonic clock, int32 sample rate, int32 channels, int32
samples per channel, then the samples as interleaved int16; all little-endian. ``wrtc_end.js`` writes it too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
SINK_BUFFER = 0.02
"""Seconds that the sink holds. It is left out of the delay."""

_HEAD = struct.Struct("<qiii")


class Recording:
    """Keeps what is heard in memory until ``save``: a disk must not disturb what is measured."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def add(self, nanoseconds: int, sample_rate: int, samples: NDArray[np.int16]) -> None:
        """Take ``(samples, channels)`` that were given out at that moment."""
        self._parts.append(_HEAD.pack(nanoseconds, sample_rate, samples.shape[1], len(samples)))
        self._parts.append(samples.astype("<i2", copy=False).tobytes())

    def save(self, path: str) -> None:
        Path(path).write_bytes(b"".join(self._parts))


def _records(path: Path) -> Iterator[tuple[float, NDArray[np.int16]]]:
    data = path.read_bytes()
    at = 0
    while at < len(data):
        nanoseconds, sample_rate, channels, samples = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        pcm = np.frombuffer(data, "<i2", samples * channels, at).reshape(samples, channels)
        at += 2 * samples * channels
        if sample_rate != RATE:
            # libwebrtc's silence has 16 kHz until something comes.
            if pcm.any():
                raise ValueError(f"{path.name}: sound at {sample_rate} Hz, not {RATE}")
            pcm = np.zeros((samples * RATE // sample_rate, 1), np.int16)
            channels = 1
        yield nanoseconds / 1e9, pcm.mean(axis=1).astype(np.int16) if channels > 1 else pcm[:, 0]


def heard(path: Path, begin: float, seconds: float) -> NDArray[np.int16]:
    """Return ``(samples,)`` as a sound card would have played them from ``begin`` on, less the card's own buffer.

    It plays without a gap while what comes is at most ``SINK_BUFFER`` late; what is later than that begins when it
    comes, after a pause. So a receiver that gives out a frame every 20 ms is heard as it is, and one that gives out
    frames whenever packets allow is heard as well as such a sink can make it.
    """
    pcm = np.zeros(round((seconds + 1) * RATE), np.int16)
    end: float | None = None
    for came, samples in _records(path):
        if end is None or came > end + SINK_BUFFER:
            end = came
        at = round((end - begin) * RATE)
        end += len(samples) / RATE
        if at >= len(pcm):
            break
        if at + len(samples) > 0:
            part = samples[max(0, -at) : len(pcm) - at]
            pcm[max(0, at) : max(0, at) + len(part)] = part
    return pcm[: round(seconds * RATE)]
