"""Audio files: decoded as they are read."""

from __future__ import annotations

import logging
import math
import os
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, MediaError
from ..formats import VOICE
from .media_file import audio_stream, decode_audio, open_media
from .source import FADE, FADE_IN, Fifo, Source

logger = logging.getLogger(__name__)

# Seconds. A decoder that starts in mid-stream is right after some packets: Opus 80 ms (RFC 7845, 4.6), MP3 a few.
_PREROLL = 0.25
# Hz. A damaged header may say anything: from 709 MHz, swresample's filters are 1.5 GB and take half a minute.
_LOWEST_RATE, _HIGHEST_RATE = 2_000, 768_000


class FileSource(Source):
    """Anything FFmpeg can read, as mono; decoded as it is read, so its length does not matter.

    Looping rewinds it: to the sample, where the format's time stamps are exact (Matroska's are milliseconds).

    Of several audio streams it is the default one, and damage that sound follows is left out.

    Only regular files, and nothing that they point to: a playlist cannot make us open other files or connections.

    Args:
        loop: Again and again, from its beginning.
        start: Seconds to leave out, the first time. What is then in mid-waveform is brought up in 5 ms.

    Raises:
        ConfigurationError: missing, unreadable, empty, no audio in it, or none after ``start``. Damage up to the
            end is a ``MediaError`` from ``read``, once everything before it was read.
    """

    def __init__(self, path: str | os.PathLike[str], *, loop: bool = False, start: float = 0.0) -> None:
        self._path = Path(path)
        self._loop = loop
        self._fifo = Fifo()
        self._samples = 0
        self._failure: MediaError | None = None
        self._container: av.container.InputContainer | None = None
        self._stream: av.AudioStream | None = None
        self._check_file()
        try:
            self._frames = self._decode(*self._open(), start)
            first = next((block for block in self._frames if len(block)), None)
        except (av.FFmpegError, ValueError) as exc:
            self.close()
            if isinstance(exc, ConfigurationError):
                raise
            raise ConfigurationError(
                f"{self._path} is not audio that can be read ({_reason(exc)}): convert it to WAV, FLAC or Ogg"
            ) from exc
        if first is None:
            self.close()
            raise ConfigurationError(f"{self._path} ends before {start} s") if start else self._no_audio()
        if start:
            first = first.copy()
            ramp = FADE_IN[: len(first)]
            first[:FADE] = first[:FADE] * ramp
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
        self._container = open_media(self._path)
        self._stream = audio_stream(self._container)
        if self._stream is None:
            raise self._no_audio()
        length = self._container.duration
        self._duration = None if length is None else length / av.time_base
        return self._container, self._stream

    def _no_audio(self) -> ConfigurationError:
        return ConfigurationError(f"no audio in {self._path}: give a file that has some")

    def _decode(
        self, container: av.container.InputContainer, stream: av.AudioStream, start: float
    ) -> Iterator[NDArray[np.int16]]:
        """Yield blocks of ``(n, 1)``; over and over when looping."""
        decoded = decode_audio(container, stream)
        first = next(decoded, None)
        if first is None:
            return
        # Where the audio begins on the file's own time line: encoders' delays make it more than 0.
        origin = first.time
        frames, skip = self._seek(origin, start) if start else (chain([first], decoded), 0)
        while True:
            empty = True
            for block in _resampled(frames):
                cut = min(skip, len(block))
                skip -= cut
                empty = empty and len(block) == cut
                yield block[cut:]
            if empty or not self._loop:
                return
            frames, skip = self._seek(origin, 0.0)

    def _seek(self, origin: float | None, at: float) -> tuple[Iterator[av.AudioFrame], int]:
        """Return frames that begin at or before ``at`` seconds, and how many samples of 48 kHz they are too early."""
        container, stream = self._container, self._stream
        if container is not None and stream is not None and origin is not None:
            try:
                # Rewinding costs 20 µs, opening anew 0.5 to 7 ms of the event loop.
                container.seek(math.floor((origin + at - _PREROLL) / (stream.time_base or 1)), stream=stream)
                frames = decode_audio(container, stream)
                first = next(frames, None)
            except av.FFmpegError as exc:
                logger.debug("%s cannot be sought in: %s", self._path, exc)
            else:
                if first is None and at:
                    return iter(()), 0
                if first is not None and first.time is not None and first.time <= origin + at + 0.001:
                    return chain([first], frames), max(0, round((origin + at - first.time) * VOICE.sample_rate))
        self._close_container()
        container, stream = self._open()
        return decode_audio(container, stream), round(at * VOICE.sample_rate)


def _resampled(frames: Iterator[av.AudioFrame]) -> Iterator[NDArray[np.int16]]:
    """Decode to blocks of ``(n, 1)``; whatever rate, layout and sample format, even if they change half-way."""
    resampler: av.AudioResampler | None = None
    shape: tuple[str, str, int] | None = None
    for frame in frames:
        if shape != (now := (frame.format.name, frame.layout.name, frame.sample_rate)):
            if resampler is not None:
                yield from _mono(resampler.resample(None))
            shape = now
            if not _LOWEST_RATE <= frame.sample_rate <= _HIGHEST_RATE:
                raise ValueError(f"a sample rate of {frame.sample_rate} Hz")
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
