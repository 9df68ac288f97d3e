"""Video out: frames from a file or a test pattern, paced on the monotonic clock."""

from __future__ import annotations

import asyncio
import fractions
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from aiortc import VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from ..audio.media_file import open_media
from ..errors import ConfigurationError, MediaError

TIME_BASE = fractions.Fraction(1, 90_000)


class VideoSource(ABC):
    """Frames one after the other, ``frame_rate`` of them a second; ``read`` is called in a thread."""

    name: str
    frame_rate: float

    @abstractmethod
    def read(self) -> av.VideoFrame | None:
        """Return the next frame, ``None`` when there is no new one; a source never ends (a file begins anew).

        It is called on a thread. Raises MediaError.
        """

    def close(self) -> None:  # noqa: B027 — most sources hold nothing
        """Release what the source holds."""


class TestPattern(VideoSource):
    """Colour bars with a moving white line, so that a frozen picture is seen to be frozen."""

    __test__ = False  # not a test, for all that pytest knows
    name = "test pattern"

    def __init__(self, width: int = 640, height: int = 480, frame_rate: float = 15.0) -> None:
        self.frame_rate = frame_rate
        bars = np.array(
            [
                [180, 180, 180],
                [180, 180, 16],
                [16, 180, 180],
                [16, 180, 16],
                [180, 16, 180],
                [180, 16, 16],
                [16, 16, 180],
            ],
            np.uint8,
        )
        self._bars = np.ascontiguousarray(
            np.broadcast_to(bars[np.arange(width) * len(bars) // width], (height, width, 3))
        )
        self._line = 0

    def read(self) -> av.VideoFrame:
        picture = self._bars.copy()
        picture[:, self._line : self._line + 4] = 255
        self._line = (self._line + 4) % picture.shape[1]
        return av.VideoFrame.from_ndarray(picture, format="rgb24")


class VideoFile(VideoSource):
    """A file's video, from the beginning again when it ends.

    Raises:
        ConfigurationError: the file cannot be opened or has no video. Damage further in is a ``MediaError``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = Path(path).name
        try:
            if not Path(path).is_file():
                raise ConfigurationError(f"{os.fspath(path)} is no file: give a video file")
            self._container = open_media(path)
        except (av.FFmpegError, OSError) as exc:
            why = getattr(exc, "strerror", None) or exc
            raise ConfigurationError(f"can't read {os.fspath(path)} as video: {why}") from exc
        if not self._container.streams.video:
            self._container.close()
            raise ConfigurationError(f"no video in {os.fspath(path)}: give a file that has some")
        self._stream = self._container.streams.video[0]
        # VP8 at more than 30 frames a second is wasted on an agent's eye.
        self.frame_rate = min(30.0, float(self._stream.average_rate or 25))
        self._frames = self._container.decode(self._stream)
        self._lock = threading.Lock()
        self._closed = False

    def read(self) -> av.VideoFrame:
        with self._lock:
            if self._closed:
                raise MediaError(f"{self.name} is closed")
            try:
                for _ in range(2):
                    frame = next(self._frames, None)
                    if frame is not None:
                        return frame
                    self._container.seek(0)
                    self._frames = self._container.decode(self._stream)
            except (av.FFmpegError, ValueError) as exc:  # the second: sizes and formats that contradict each other
                raise MediaError(f"{self.name}: {exc}") from exc
        raise MediaError(f"{self.name}: no picture in it")

    def close(self) -> None:
        # A thread may be reading: FFmpeg does not survive that.
        with self._lock:
            self._closed = True
            self._container.close()


class VideoQueue(VideoSource):
    """Pictures that you push; only the newest waits to be sent: what comes too fast is dropped and counted.

    Args:
        frame_rate: Pictures a second that are sent at most.
    """

    name = "pushed video"

    def __init__(self, frame_rate: float = 15.0) -> None:
        if not 0.1 <= frame_rate <= 60:
            raise ConfigurationError(f"{frame_rate} pictures a second: give 0.1 to 60")
        self.frame_rate = frame_rate
        self.frames_dropped = 0
        self._newest: deque[NDArray[np.uint8]] = deque(maxlen=1)

    def push(self, picture: NDArray[np.uint8]) -> None:
        """Send this one next: ``(height, width, 3)``, RGB; it is copied. From any thread.

        Raises:
            MediaError: another shape or type.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise MediaError(f"a picture is uint8 (height, width, 3), not {picture.dtype} {picture.shape}")
        self.frames_dropped += len(self._newest)
        self._newest.append(picture.copy())

    def read(self) -> av.VideoFrame | None:
        try:
            picture = self._newest.popleft()
        except IndexError:
            return None
        return av.VideoFrame.from_ndarray(picture, format="rgb24")


class FrameTimeline:
    """Where frames lie on another clock's line: spaced by their timestamps, placed by when they came."""

    def __init__(self, clock_rate: int = 90_000) -> None:
        self._clock_rate = clock_rate
        self._timestamp: int | None = None
        self._position = 0.0

    def place(self, timestamp: int, now: float) -> float:
        """Return the position in seconds of a frame that came at ``now``; it never goes back.

        Args:
            timestamp: RTP, 32 bits.
        """
        position = now
        if self._timestamp is not None:
            ahead = ((timestamp - self._timestamp + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
            spaced = self._position + ahead / self._clock_rate
            # What is further off than any network delays it was timed anew, or is late for good.
            position = spaced if abs(spaced - now) < 0.25 else max(now, self._position)
        self._timestamp = timestamp
        self._position = max(self._position, position)
        return self._position


def open_video(spec: str | os.PathLike[str] | VideoSource) -> VideoSource:
    """Return the source for ``test`` or a file name. Raises ConfigurationError."""
    if isinstance(spec, VideoSource):
        return spec
    return TestPattern() if spec == "test" else VideoFile(spec)


class VideoTrack(VideoStreamTrack):
    """Hands a source's frames to aiortc at the source's rate; late frames are skipped, not queued.

    Deadlines are absolute and on the loop's monotonic clock, as the media clock's are: it is the same time, and voice
    and picture do not drift apart. It has no slot there, since decoding and encoding a picture take longer than one
    lasts. A blocked loop is caught up with by one frame at most.

    The source is somebody else's to close: another connection's track may go on with it.

    Args:
        on_failure: Called once, when the source fails; the track has ended then.
        after: A track that was stopped and may still be reading from this source.
    """

    def __init__(
        self, source: VideoSource, on_failure: Callable[[MediaError], None], *, after: VideoTrack | None = None
    ) -> None:
        super().__init__()
        self.source = source
        self._after = after
        self._reading: asyncio.Future[av.VideoFrame | None] | None = None
        self._on_failure = on_failure
        self._origin: float | None = None
        self._next = 0

    async def recv(self) -> av.VideoFrame:
        loop = asyncio.get_running_loop()
        if self._after is not None:
            if self._after._reading is not None:
                await asyncio.wait([self._after._reading])
            self._after = None
        if self._origin is None:
            self._origin = loop.time()
        frame = None
        try:
            while frame is None:
                late = loop.time() - (self._origin + self._next / self.source.frame_rate)
                if late > 0:
                    self._next += int(late * self.source.frame_rate)
                else:
                    await asyncio.sleep(-late)
                # Decoding a large picture takes longer than an audio frame may wait.
                self._reading = loop.run_in_executor(None, self.source.read)
                self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
                # The thread reads on, whoever stops waiting for it.
                frame = await asyncio.shield(self._reading)
                self._next += 1
        except Exception as exc:  # the source may be somebody else's code
            if self.readyState == "live":
                why = f"{self.source.name}: {type(exc).__name__}: {exc}"
                self._on_failure(exc if isinstance(exc, MediaError) else MediaError(why))
            self.stop()
            raise MediaStreamError from exc  # the word for a track that has ended
        frame.pts = int((self._next - 1) * 90_000 / self.source.frame_rate)
        frame.time_base = TIME_BASE
        return frame
