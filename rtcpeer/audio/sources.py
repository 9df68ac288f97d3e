"""Every source of audio there is, and what ``play`` makes of what it is given."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable
from typing import TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..formats import VOICE, AudioFormat
from .file_source import FileSource
from .frame import AudioFrame
from .pcm import Pcm, format_of
from .source import Source, checked_read
from .streams import IteratorSource, PcmSource, QueueSource

__all__ = [
    "FileSource",
    "IteratorSource",
    "PcmSource",
    "Playable",
    "QueueSource",
    "SilenceSource",
    "Source",
    "ToneSource",
    "checked_read",
    "open_source",
]

Playable: TypeAlias = str | os.PathLike[str] | Source | Pcm | AsyncIterable[Pcm]
"""A file name, ``"tone"``, ``"silence"``, ``"mic"``; a source; PCM that is all there, or that an iterator yields."""


class ToneSource(Source):
    """A sine.

    Args:
        frequency: Hz.
        level_dbfs: Its level; 0 is a sine that touches full scale.
        duration: Seconds; ``None`` never ends.

    Raises:
        ConfigurationError: not a frequency, a level or a duration that 48 kHz int16 can hold.
    """

    def __init__(self, frequency: float = 440.0, level_dbfs: float = -20.0, duration: float | None = None) -> None:
        if not 0 < frequency < VOICE.sample_rate / 2:
            raise ConfigurationError(f"a tone of {frequency} Hz: give one between 0 and 24000")
        if not level_dbfs <= 0:
            raise ConfigurationError(f"a tone at {level_dbfs} dBFS: give a level of 0 or less")
        self.frequency = frequency
        self._amplitude = 32767 * 10 ** (level_dbfs / 20)
        self._position = 0
        self._end = _samples_of(duration)

    def read(self, samples: int) -> NDArray[np.int16] | None:
        if self._end is not None:
            samples = min(samples, self._end - self._position)
            if samples <= 0:
                return None
        # Whole turns are taken off first: after days the sine is as clean as at the start.
        turns = self._position * self.frequency / VOICE.sample_rate % 1.0
        phase = 2 * np.pi * (turns + np.arange(samples) * (self.frequency / VOICE.sample_rate))
        self._position += samples
        sine: NDArray[np.float64] = np.rint(self._amplitude * np.sin(phase))
        return sine.astype(np.int16)[:, np.newaxis]

    def close(self) -> None:
        self._end = 0


class SilenceSource(Source):
    """Digital silence for ``duration`` seconds; ``None`` never ends."""

    def __init__(self, duration: float | None = None) -> None:
        self._left = _samples_of(duration)

    def read(self, samples: int) -> NDArray[np.int16] | None:
        if self._left is not None:
            samples = min(samples, self._left)
            if samples <= 0:
                return None
            self._left -= samples
        return np.zeros((samples, 1), np.int16)

    def close(self) -> None:
        self._left = 0


def _samples_of(duration: float | None) -> int | None:
    if duration is None:
        return None
    if not 0 <= duration < float("inf"):
        raise ConfigurationError(f"{duration} s: give a length of 0 or more, or None for no end")
    return int(duration * VOICE.sample_rate + 0.5)


def open_source(
    spec: Playable, *, format: AudioFormat | None = None, loop: bool = False, start: float = 0.0
) -> Source:
    """Return a source for what ``play`` was given; a ``Source`` is returned as it is.

    ``"tone"`` and ``"silence"`` have no end, nor has ``"mic"``, whose device may take half a second to open. A file
    that is called like one of these is ``"./tone"``. An async iterator is begun at once: that needs a running loop.

    Args:
        format: Of bytes and arrays, and of an iterator that yields such; everything else says it itself.
        loop: Again and again: files, bytes and arrays.
        start: Seconds to leave out at the beginning, the first time: files, bytes and arrays.

    Raises:
        ConfigurationError: no such file (see ``FileSource``) or device, or an option that this cannot have.
        MediaError: PCM that is not in ``format``, or a device that cannot be opened.
    """
    is_pcm = isinstance(spec, bytes | bytearray | memoryview | np.ndarray | AudioFrame | av.AudioFrame)
    is_file = isinstance(spec, str | os.PathLike) and spec not in ("tone", "silence", "mic")
    if (loop or start) and not (is_file or is_pcm):
        raise ConfigurationError(f"{_name(spec)}: only files, bytes and arrays can be looped or begun later")
    if format is not None and not is_pcm and not isinstance(spec, AsyncIterable):
        raise ConfigurationError(f"{_name(spec)}: only bytes, arrays and iterators are told their format")
    if not 0 <= start < float("inf"):
        raise ConfigurationError(f"start={start}: give seconds of 0 or more")
    match spec:
        # These first: an array that is compared with a word gives an array.
        case bytes() | bytearray() | memoryview() | np.ndarray() | AudioFrame() | av.AudioFrame():
            known = format or format_of(spec)
            if known is None:
                raise ConfigurationError("bytes and arrays need a format: play(pcm, format=AudioFormat(24_000))")
            return PcmSource(spec, known, loop=loop, start=start)
        case Source():
            return spec
        case "tone":
            return ToneSource()
        case "silence":
            return SilenceSource()
        case "mic":
            from .devices import MicrophoneSource  # needs an extra

            return MicrophoneSource()
        case str() | os.PathLike():
            return FileSource(spec, loop=loop, start=start)
        case AsyncIterable():
            return IteratorSource(spec, format)
        case Iterable():
            raise ConfigurationError(
                f"{_name(spec)} would hold up the event loop for its next item: give an async iterator"
            )
        case _:
            raise ConfigurationError(f"{_name(spec)} is nothing that can be played: give a file, PCM or a Source")


def _name(spec: object) -> str:
    if isinstance(spec, Source):
        return spec.name
    return str(spec) if isinstance(spec, str | os.PathLike) else type(spec).__name__
