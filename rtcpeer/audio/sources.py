"""Where the audio that we say comes from.

A source is read on the event loop by whoever sends, 20 ms at a time, always as ``formats.VOICE``: ``(n, 1)`` int16 at
48 kHz. It never waits: it returns what it has.
"""

from __future__ import annotations

import asyncio
import os
import stat
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, MediaError
from ..formats import VOICE, AudioFormat
from .resample import Resampler


class Source(ABC):
    """A stream of audio that somebody else pulls. To play your own: subclass, and define ``read``."""

    @property
    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    @abstractmethod
    def read(self, samples: int) -> NDArray[np.int16] | None:
        """Return up to ``samples`` of ``(n, 1)`` int16 at 48 kHz, at once.

        An empty array means that there is nothing right now, ``None`` that it has ended.

        Raises:
            MediaError: it failed; it is not read again.
        """

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Let go of what it holds; ``read`` then returns ``None``. May be called twice."""


def checked_read(source: Source, samples: int) -> NDArray[np.int16] | None:
    """Read a source that may be somebody else's code.

    Raises:
        MediaError: it raised, or returned something other than ``(n <= samples, 1)`` int16; the message names it.
    """
    try:
        pcm = source.read(samples)
    except MediaError:
        raise
    except Exception as exc:
        raise MediaError(f"{source.name}: {type(exc).__name__}: {exc}") from exc
    if pcm is None:
        return None
    if not isinstance(pcm, np.ndarray):
        raise MediaError(f"{source.name}: read() returned {type(pcm).__name__}, not an array of int16")
    if pcm.dtype != np.int16 or pcm.ndim != 2 or pcm.shape[1] != 1 or len(pcm) > samples:
        raise MediaError(
            f"{source.name}: read({samples}) returned {pcm.dtype} {pcm.shape}, not int16 (n <= {samples}, 1)"
        )
    return pcm


class _Fifo:
    """Blocks of any length in, exact lengths out; all ``(n, 1)`` int16. Whoever puts keeps it bounded."""

    def __init__(self) -> None:
        self._blocks: deque[NDArray[np.int16]] = deque()
        self.samples = 0

    def put(self, block: NDArray[np.int16]) -> None:
        if len(block):
            self._blocks.append(block)
            self.samples += len(block)

    def take(self, samples: int) -> NDArray[np.int16]:
        """Return up to ``samples``, as many as there are."""
        taken: list[NDArray[np.int16]] = []
        missing = samples = min(samples, self.samples)
        while missing:
            block = self._blocks[0]
            if len(block) <= missing:
                taken.append(self._blocks.popleft())
            else:
                taken.append(block[:missing])
                self._blocks[0] = block[missing:]
            missing -= len(taken[-1])
        self.samples -= samples
        if len(taken) == 1:
            return taken[0]
        return np.concatenate(taken) if taken else np.empty((0, 1), np.int16)

    def clear(self) -> None:
        self._blocks.clear()
        self.samples = 0


class FileSource(Source):
    """Anything FFmpeg can read, as mono; decoded as it is read, so its length does not matter.

    Only regular files, and nothing that they point to: a playlist cannot make us open other files or connections.

    Raises:
        ConfigurationError: missing, unreadable, empty, or no audio in it. Damage further in is a ``MediaError`` from
            ``read``, once everything before it was read.
    """

    def __init__(self, path: str | os.PathLike[str], *, loop: bool = False) -> None:
        self._path = Path(path)
        self._loop = loop
        self._fifo = _Fifo()
        self._samples = 0
        self._failure: MediaError | None = None
        self._container: av.container.InputContainer | None = None
        self._check_file()
        try:
            self._frames = self._decode(*self._open())
            first = next(self._frames, None)
        except (av.FFmpegError, ValueError) as exc:
            self.close()
            if isinstance(exc, ConfigurationError):
                raise
            raise ConfigurationError(
                f"{self._path} is not audio that can be read ({_reason(exc)}): convert it to WAV, FLAC or Ogg"
            ) from exc
        if first is None:
            self.close()
            raise self._no_audio()
        self._fifo.put(first)

    @property
    def name(self) -> str:
        return str(self._path)

    @property
    def duration(self) -> float | None:
        """Seconds, once through, as the file itself says; ``None`` if it does not."""
        return self._duration

    def read(self, samples: int) -> NDArray[np.int16] | None:
        while self._fifo.samples < samples and self._container is not None:
            try:
                block = next(self._frames, None)
            except (av.FFmpegError, ValueError) as exc:
                # What came before the damage is read first, then this is raised.
                at = (self._samples + self._fifo.samples) / VOICE.sample_rate
                self._failure = MediaError(f"{self._path} is damaged {at:.2f} s in ({_reason(exc)})")
                self._failure.__cause__ = exc
                block = None
            if block is None:
                self._close_container()
            else:
                self._fifo.put(block)
        if self._fifo.samples == 0 and samples > 0:
            if self._failure is not None:
                raise self._failure
            return None
        pcm = self._fifo.take(samples)
        self._samples += len(pcm)
        return pcm

    def close(self) -> None:
        self._close_container()
        self._fifo.clear()
        self._failure = None

    def _close_container(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _check_file(self) -> None:
        try:
            status = self._path.stat()
            if stat.S_ISREG(status.st_mode):
                self._path.open("rb").close()
        except OSError as exc:
            raise ConfigurationError(f"cannot read {self._path}: {exc.strerror}") from exc
        if stat.S_ISDIR(status.st_mode):
            raise ConfigurationError(f"{self._path} is a folder: give an audio file")
        if not stat.S_ISREG(status.st_mode):
            # Reading a pipe or a device may wait, and with it the event loop.
            raise ConfigurationError(f"{self._path} is not a regular file: feed a stream through standard input")
        if status.st_size == 0:
            raise ConfigurationError(f"{self._path} is empty: give a file with audio in it")

    def _open(self) -> tuple[av.container.InputContainer, av.AudioStream]:
        # "file:" and the whitelist: a name or a playlist inside must not become a URL. Tags may be in any encoding.
        self._container = av.open(
            f"file:{self._path}", options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
        if not self._container.streams.audio:
            raise self._no_audio()
        length = self._container.duration
        self._duration = None if length is None else length / av.time_base
        return self._container, self._container.streams.audio[0]

    def _no_audio(self) -> ConfigurationError:
        return ConfigurationError(f"no audio in {self._path}: give a file that has some")

    def _decode(self, container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[NDArray[np.int16]]:
        """Yield blocks of ``(n, 1)``; over and over when looping."""
        while True:
            empty = True
            for block in _resampled(container, stream):
                empty = empty and len(block) == 0
                yield block
            if empty or not self._loop:
                return
            # Opened anew rather than rewound: not every format finds its first sample again by seeking.
            self._close_container()
            container, stream = self._open()


def _resampled(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[NDArray[np.int16]]:
    """Decode to blocks of ``(n, 1)``; whatever rate, layout and sample format, even if they change half-way."""
    resampler: av.AudioResampler | None = None
    shape: tuple[str, str, int] | None = None
    for frame in container.decode(stream):
        if shape != (now := (frame.format.name, frame.layout.name, frame.sample_rate)):
            if resampler is not None:
                yield from _mono(resampler.resample(None))
            shape = now
            # To s16, swresample normalises its mix: stereo is averaged, and nothing clips.
            resampler = av.AudioResampler("s16", "mono", VOICE.sample_rate)
        assert resampler is not None
        yield from _mono(resampler.resample(frame))
    if resampler is not None:
        yield from _mono(resampler.resample(None))


def _mono(frames: list[av.AudioFrame]) -> Iterator[NDArray[np.int16]]:
    # to_ndarray() leaves out the padding at the end of a plane; bytes(plane) would hand it on.
    return (frame.to_ndarray().astype(np.int16, copy=False).reshape(-1, 1) for frame in frames)


def _reason(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc)


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


class QueueSource(Source):
    """What somebody produces while it is played: standard input, a speech synthesis.

    For one event loop. ``max_seconds`` of audio wait inside at most; nothing is dropped, ``write`` waits instead.

    Args:
        format: Of what is written.
        name: What error messages call it.
    """

    def __init__(self, format: AudioFormat = VOICE, *, max_seconds: float = 1.0, name: str = "stream") -> None:
        if not 0 < max_seconds < float("inf"):
            raise ConfigurationError(f"max_seconds={max_seconds}: give a number over 0")
        self.format = format
        self._name = name
        self._limit = max(1, round(max_seconds * VOICE.sample_rate))
        self._resampler = Resampler(format, VOICE)
        self._fifo = _Fifo()
        self._cut = b""
        self._ended = False
        self._room = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    async def write(self, pcm: bytes | bytearray | memoryview | NDArray[np.int16]) -> None:
        """Queue interleaved little-endian bytes, cut anywhere, or ``(n, channels)`` int16; wait while it is full.

        How long depends on whoever plays it: give it a timeout of your own if that may never happen.

        Raises:
            MediaError: the wrong shape, or ended: by ``end()``, or because the playback was cancelled.
        """
        array = self._array(pcm)
        if len(array) == 0 and not self._ended:
            return
        step = self.format.sample_rate // 10
        for start in range(0, max(1, len(array)), step):
            while self._fifo.samples >= self._limit and not self._ended:
                self._room.clear()
                await self._room.wait()
            if self._ended:
                raise MediaError(f"{self._name} has ended: it plays nothing more")
            self._fifo.put(self._resampler.feed(array[start : start + step]))

    def end(self) -> None:
        """Say that nothing follows; what was written is played to its end."""
        if not self._ended:
            self._ended = True
            self._cut = b""
            self._fifo.put(self._resampler.flush())
            self._room.set()

    def read(self, samples: int) -> NDArray[np.int16] | None:
        pcm = self._fifo.take(samples)
        if self._fifo.samples < self._limit:
            self._room.set()
        return None if len(pcm) == 0 and self._ended and samples > 0 else pcm

    def close(self) -> None:
        self.end()
        self._fifo.clear()

    def _array(self, pcm: bytes | bytearray | memoryview | NDArray[np.int16]) -> NDArray[np.int16]:
        channels = self.format.channels
        if isinstance(pcm, np.ndarray):
            if pcm.dtype != np.int16 or pcm.ndim != 2 or pcm.shape[1] != channels:
                raise MediaError(f"{self._name}: {pcm.dtype} {pcm.shape} was written, not int16 (n, {channels})")
            # Resampling may return its input; the caller's array stays the caller's.
            return pcm.copy()
        data = self._cut + bytes(pcm)
        whole = len(data) - len(data) % (2 * channels)
        self._cut = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.int16, copy=False).reshape(-1, channels)


def open_source(spec: str | os.PathLike[str] | Source, *, loop: bool = False) -> Source:
    """Return a source for ``"tone"``, ``"silence"`` (both without end) or a file; a ``Source`` is returned as it is.

    A file that is called like one of these is ``"./tone"``.

    Raises:
        ConfigurationError: see ``FileSource``; or ``loop`` with a ``Source``, which cannot be rewound.
    """
    match spec:
        case Source():
            if loop:
                raise ConfigurationError(f"{spec.name}: only files can be looped")
            return spec
        case "tone":
            return ToneSource()
        case "silence":
            return SilenceSource()
        case _:
            return FileSource(spec, loop=loop)
