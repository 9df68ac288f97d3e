"""A call's video line: who offers the call sends, who answers receives; silent until somebody wants it."""

from __future__ import annotations

from collections.abc import Callable

from aiortc import MediaStreamTrack, RTCRtpTransceiver

from ..errors import MediaError
from . import aiortc_compat
from .video import VideoSource, VideoTrack

FrameWatcher = Callable[[bytes, int], None]
"""Called with a whole VP8 frame and its RTP timestamp, which counts at 90 kHz."""


class OutgoingVideo:
    """The side that sends; negotiated at once, and nothing goes before ``send``."""

    def __init__(self, line: RTCRtpTransceiver, on_failure: Callable[[MediaError], None]) -> None:
        self._sender = line.sender
        self._attached = aiortc_compat.idle_until_track(line.sender)
        self._on_failure = on_failure
        self._track: VideoTrack | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is something to send."""
        return self._track is not None

    def send(self, source: VideoSource, *, after: VideoTrack | None = None) -> None:
        """Send what comes from ``source``; ``after`` let go of it."""
        self._track = VideoTrack(source, self._on_failure, after=after)
        self._sender.replaceTrack(self._track)
        self._attached.set()

    def succeed(self, old: OutgoingVideo) -> None:
        """Go on with the source of another connection's line, which sends no more."""
        if old._track is not None:
            old._track.stop()
            self.send(old._track.source, after=old._track)

    def watch(self, watcher: FrameWatcher) -> bool:
        """Hand every frame that is sent to ``watcher``; ``False``: nothing is being sent."""
        if self._track is None:
            return False
        aiortc_compat.watch_video_sender(self._sender, watcher)
        return True

    def stop(self) -> None:
        if self._track is not None:
            self._track.stop()


class IncomingVideo:
    """The side that receives; frames are counted always, and decoded once somebody looks."""

    def __init__(self, line: RTCRtpTransceiver, on_bye: Callable[[], None]) -> None:
        self._line = line
        self._receiver = aiortc_compat.VideoReceiver(line.receiver, on_bye)

    @property
    def frames_received(self) -> int:
        return self._receiver.frames_received

    def decode(self) -> MediaStreamTrack:
        """Start decoding; the frames come out of the track."""
        self._receiver.decode()
        return self._line.receiver.track

    def watch(self, watcher: FrameWatcher) -> None:
        """Hand every frame that is received to ``watcher``."""
        self._receiver.watch(watcher)
