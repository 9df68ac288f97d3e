"""Both directions of a call in one file: ours left, theirs right, on one timeline.

The event loop only copies 20 ms and puts them on a queue; a thread takes them four times a second, fills what is
missing with silence, encodes and writes. A process killed with SIGKILL leaves a file that can be read up to its last
second.
"""

from __future__ import annotations

import io
import logging
import os
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, MediaError
from ..formats import AudioFormat
from .disk import Disk, DiskWriter

logger = logging.getLogger(__name__)

_QUEUE_SECONDS = 10


class _File(ABC):
    """What the thread writes ``(n, 2)`` blocks into; any method may raise ``OSError`` or ``av.FFmpegError``."""

    disk: Disk

    @abstractmethod
    def write(self, pcm: NDArray[np.int16]) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Write what is still to be written and close; the file is closed even if that fails."""


_UINT32_MAX = 0xFFFF_FFFF


class _WavFile(_File):
    """RIFF/WAVE, 16 bits, whose header is brought up to date with every block.

    Its sizes have 32 bits: over 4 GiB (6 hours at 48 kHz) they stay at their maximum, which players take as "to the
    end of the file".
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._bytes = 0
        self.disk = Disk(path, "wb")
        try:
            self.disk.write(self._header())
        except OSError:
            self.disk.close()
            raise

    def write(self, pcm: NDArray[np.int16]) -> None:
        self.disk.write(pcm.astype("<i2", copy=False).tobytes())
        self._bytes += pcm.nbytes
        os.pwrite(self.disk.fileno(), self._header(), 0)

    def close(self) -> None:
        self.disk.close()

    def _header(self) -> bytes:
        return struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            *(b"RIFF", min(36 + self._bytes, _UINT32_MAX), b"WAVE"),
            # 16 bytes of format, PCM, 2 channels, bytes a second, bytes a sample of all channels, bits a sample
            *(b"fmt ", 16, 1, 2, self._sample_rate, 4 * self._sample_rate, 4, 16),
            *(b"data", min(self._bytes, _UINT32_MAX)),
        )


# Complexity 5 costs two thirds of 10 and is not told from it at this rate.
_OPUS_OPTIONS = {"application": "audio", "compression_level": "5"}


class _OpusFile(_File):
    """Opus in Ogg or Matroska, by FFmpeg."""

    # Left alone, FFmpeg keeps an Ogg page of a second and a Matroska cluster of five to itself, and 32 KiB before it
    # writes at all: a killed process would leave 0 bytes for the first seconds. µs for Ogg, ms for Matroska.
    _CONTAINERS: ClassVar = {
        ".ogg": ("ogg", {"flush_packets": "1", "page_duration": "200000"}),
        ".mka": ("matroska", {"flush_packets": "1", "cluster_time_limit": "200"}),
    }

    def __init__(self, path: Path, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._samples = 0
        container, options = self._CONTAINERS[path.suffix.lower()]
        # Given a name, FFmpeg would open it as a URL, and report a write that failed at the next one or never.
        self.disk = Disk(path, "wb")
        self._container = av.open(self.disk, "w", format=container, options=options)
        self._stream = self._container.add_stream(
            "libopus",
            rate=sample_rate,
            layout="stereo",
            bit_rate=64_000,
            options=_OPUS_OPTIONS,
        )
        try:
            self._container.start_encoding()
        except Exception as exc:
            self._abandon()
            raise self.disk.reason(exc) from exc

    def write(self, pcm: NDArray[np.int16]) -> None:
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = self._sample_rate
        # The encoder starts its packets earlier by its own delay and says so in the file; players skip that much.
        frame.time_base = Fraction(1, self._sample_rate)
        frame.pts = self._samples
        self._samples += len(pcm)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        try:
            if self._samples == 0:
                # Players refuse a file without a single packet; one frame of silence is an empty recording they open.
                self.write(np.zeros((self._sample_rate // 50, 2), np.int16))
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except Exception:
            self._abandon()
            raise
        self.disk.close()

    def _abandon(self) -> None:
        try:
            self._container.close()
        except (OSError, av.FFmpegError) as exc:
            logger.debug("closing a broken recording failed too: %s", exc)
        self.disk.close()


def vp8_size(frame: bytes) -> tuple[int, int] | None:
    """Return width and height of a VP8 key frame, ``None`` of any other (RFC 6386, 9.1)."""
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    width, height = struct.unpack_from("<HH", frame, 6)
    return width & 0x3FFF, height & 0x3FFF


class _VideoFile(_File):
    """Matroska with VP8 tracks beside the audio, not coded again (RFC 9559).

    FFmpeg writes the head and codes the voices; the clusters are ours, since its muxer holds everything back while a
    VP8 track is silent. A track's size stands in the head, so that waits for the first key frames: for two seconds. A
    track that begins later has a size that players correct from its first key frame.
    """

    _SIZE = (640, 480)

    def __init__(self, path: Path, sample_rate: int, tracks: Sequence[str]) -> None:
        self._sample_rate = sample_rate
        self._samples = 0
        self._numbers = {track: number for number, track in enumerate(tracks, 2)}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._waiting: list[NDArray[np.int16]] | None = []
        self._waited = 0
        self._patience = 2 * sample_rate
        self._closing = False
        # (milliseconds, track number, key frame, payload): what goes into the next cluster.
        self._blocks: list[tuple[int, int, bool, bytes]] = []
        self._duration_at: int | None = None
        self._head = io.BytesIO()
        self._container = av.open(self._head, "w", format="matroska")
        self._stream = self._container.add_stream(
            "libopus", rate=sample_rate, layout="stereo", bit_rate=64_000, options=_OPUS_OPTIONS
        )
        self.disk = Disk(path, "wb")

    def write(self, pcm: NDArray[np.int16]) -> None:
        if self._waiting is not None:
            self._waiting.append(pcm)
            self._waited += len(pcm)
            if not self._closing and len(self._sizes) < len(self._numbers) and self._waited < self._patience:
                return
            pcm = self._begin()
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = self._sample_rate
        frame.time_base = Fraction(1, self._sample_rate)
        frame.pts = self._samples
        self._samples += len(pcm)
        self._write_cluster(self._stream.encode(frame))

    def write_video(self, track: str, position: float, frame: bytes) -> None:
        size = vp8_size(frame)
        if size is not None:
            self._sizes.setdefault(track, size)
        elif track not in self._sizes:
            return  # nothing can be seen before a key frame
        self._blocks.append((max(0, round(position * 1000)), self._numbers[track], size is not None, frame))

    def _begin(self) -> NDArray[np.int16]:
        """Write the head, and return the audio that waited for it."""
        for track in self._numbers:
            width, height = self._sizes.get(track, self._SIZE)
            self._container.add_mux_stream("vp8", width=width, height=height).metadata["title"] = track
        self._container.start_encoding()
        head = self._head.getvalue()
        info = head.index(b"\x15\x49\xa9\x66") + 4  # Info; FFmpeg gives it a size of one byte
        assert 0x80 <= head[info] <= 0xFF - 11
        self._duration_at = info + 1 + 3
        duration = b"\x44\x89\x88" + bytes(8)  # Duration, a double in milliseconds: written at the end
        self.disk.write(head[:info] + bytes([head[info] + len(duration)]) + duration + head[info + 1 :])
        waiting, self._waiting = self._waiting or [], None
        return np.concatenate(waiting)

    def _write_cluster(self, voices: Sequence[av.Packet[av.AudioStream]]) -> None:
        # The head says how much of the first packet is the encoder's delay; times count from its beginning.
        delay = self._stream.codec_context.delay or 0
        for packet in voices:
            assert packet.pts is not None
            time = Fraction(packet.pts + delay) / self._sample_rate * 1000
            self._blocks.append((max(0, round(time)), 1, True, bytes(packet)))
        self._blocks.sort(key=lambda block: block[0])
        # A block's time is 16 bits from its cluster's on.
        for start, blocks in groupby(self._blocks, key=lambda block: block[0] // 10_000 * 10_000):
            cluster = _element(b"\xe7", start.to_bytes(8, "big")) + b"".join(
                _element(b"\xa3", struct.pack(">BhB", 0x80 | number, time - start, 0x80 if key else 0) + payload)
                for time, number, key, payload in blocks
            )
            self.disk.write(_element(b"\x1f\x43\xb6\x75", cluster))
        self._blocks.clear()

    def close(self) -> None:
        try:
            if self._waiting is not None:
                self._closing = True
                # Players refuse a file without a single packet; one frame of silence is an empty recording they open.
                self.write(np.zeros((0 if self._waited else self._sample_rate // 50, 2), np.int16))
            self._write_cluster(self._stream.encode(None))
            if self._duration_at is not None:
                duration = struct.pack(">d", self._samples / self._sample_rate * 1000)
                os.pwrite(self.disk.fileno(), duration, self._duration_at)
        finally:
            self.disk.close()
            self._container.close()


def _element(identifier: bytes, content: bytes) -> bytes:
    """Return an EBML element, its size in eight bytes (RFC 8794, 4.4)."""
    return identifier + (len(content) | 1 << 56).to_bytes(8, "big") + content


class Recorder(DiskWriter):
    """Record a call; the suffix of ``path`` (``.ogg``, ``.mka``, ``.wav``) says how. An existing file is replaced.

    A failure while the call runs does not end the call: it is kept in ``error``, ``on_error`` is called once, from
    ``write`` or ``close``, and everything from there on is dropped and counted.

    Args:
        sample_rate: Hz, of the audio, of the positions and of the file.
        video: Names of the VP8 tracks that there may be, in an ``.mkv``.

    Raises:
        ConfigurationError: no such format, or a rate it cannot hold.
        MediaError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sample_rate: int = 48_000,
        video: Sequence[str] = (),
        on_error: Callable[[MediaError], None] | None = None,
    ) -> None:
        super().__init__(path, on_error)
        self._sample_rate = AudioFormat(sample_rate, 2).sample_rate
        self._video = tuple(video)
        # About the ten seconds that audio has, at 30 frames a second and track.
        self._frames: deque[tuple[str, float, bytes]] = deque()
        self._frame_limit = 300 * len(self._video)
        self._lacking: set[str] = set()
        self.video_frames_dropped = 0
        self._file = self._create()
        self._disk = self._file.disk
        # The disk may stall: 10 s wait for it, then what comes is dropped and counted, and its place stays silent.
        self._queue: deque[tuple[int, NDArray[np.int16]]] = deque()
        self._queue_limit = _QUEUE_SECONDS * sample_rate
        # Each of these is written by one side only: the loop, then the thread.
        self._put = self._refused = 0
        self._taken = self._lost = self._timeline = self._written = 0
        self._blocks: list[NDArray[np.int16]] = []  # what lies between _written and _timeline, a second at most
        self._silence = np.zeros((sample_rate, 2), np.int16)
        self._thread.start()

    @property
    def samples_written(self) -> int:
        """Samples on the timeline of the file so far, silence included."""
        return self._written

    @property
    def samples_dropped(self) -> int:
        """Samples that are not in the file: the disk was too slow or failed, or their place was taken already."""
        return self._refused + self._lost

    def write(self, position: int, left: NDArray[np.int16] | None, right: NDArray[np.int16] | None) -> None:
        """Put ours and theirs, ``(n, 1)`` each or ``None`` for silence, at a sample of the timeline.

        Never waits, and keeps nothing of the caller's. Call it with rising positions: what nobody writes is silence,
        what lies before the end of an earlier write is dropped. With neither, there is silence up to ``position``.
        """
        samples = max(len(left) if left is not None else 0, len(right) if right is not None else 0)
        if self.error is not None or self._closing.is_set() or self._put - self._taken + samples > self._queue_limit:
            self._refused += samples
            self._report()
            return
        block = np.zeros((samples, 2), np.int16)
        if left is not None:
            block[: len(left), 0] = left[:, 0]
        if right is not None:
            block[: len(right), 1] = right[:, 0]
        self._put += samples
        self._queue.append((position, block))

    def write_video(self, track: str, position: float, frame: bytes) -> None:
        """Put a whole VP8 frame at ``position``, seconds on the timeline; never waits.

        Where the disk is too slow, frames are dropped up to the next key frame, and counted.
        """
        full = len(self._frames) >= self._frame_limit
        if full or self.error is not None or self._closing.is_set():
            self._lacking.add(track)
        elif vp8_size(frame) is not None:
            self._lacking.discard(track)
        if track in self._lacking:
            self.video_frames_dropped += 1
            return
        self._frames.append((track, position, frame))

    def _create(self) -> _File:
        suffix = self.path.suffix.lower()
        if suffix not in (".ogg", ".mka", ".wav", *((".mkv",) if self._video else ())):
            raise ConfigurationError(f"cannot record to {self.path}: give a name that ends in .ogg, .mka or .wav")
        if suffix != ".wav" and self._sample_rate not in (8_000, 12_000, 16_000, 24_000, 48_000):
            raise ConfigurationError(
                f"Opus does not know {self._sample_rate} Hz: record {self.path.name} as .wav or at 48000"
            )
        try:
            if suffix == ".mkv":
                return _VideoFile(self.path, self._sample_rate, self._video)
            return (_WavFile if suffix == ".wav" else _OpusFile)(self.path, self._sample_rate)
        except (OSError, av.FFmpegError) as exc:
            raise self._failure(exc) from exc

    def _drain(self, *, last: bool) -> None:
        while self._frames:
            assert isinstance(self._file, _VideoFile)
            self._file.write_video(*self._frames.popleft())
        while self._queue:
            position, block = self._queue.popleft()
            while (gap := position - self._timeline) > 0:
                self._append(self._silence[:gap])
            early = min(self._timeline - position, len(block))
            self._lost += early
            self._append(block[early:])
            self._taken += len(block)
        self._flush()

    def _close_file(self) -> None:
        self._file.close()

    def _give_up(self) -> None:
        self._lost += self._timeline - self._written + sum(len(block) for _, block in self._queue)
        self._queue.clear()

    def _append(self, pcm: NDArray[np.int16]) -> None:
        self._blocks.append(pcm)
        self._timeline += len(pcm)
        if self._timeline - self._written >= self._sample_rate:
            self._flush()

    def _flush(self) -> None:
        """Hand on what was collected: one long block costs the encoder's wrapper less than many short ones."""
        if self._timeline > self._written:
            self._file.write(np.concatenate(self._blocks))
            self._blocks.clear()
            self._written = self._timeline
