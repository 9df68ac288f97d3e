"""Video: a line that may stay silent costs nothing, and whole frames can be seen."""

from __future__ import annotations

import asyncio
import functools
import queue
import struct
import threading
from collections.abc import Callable
from typing import Any

from aiortc.codecs import is_rtx
from aiortc.codecs.vpx import vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver, decoder_worker
from aiortc.rtcrtpsender import RTCEncodedFrame, RTCRtpSender
from aiortc.rtp import RtpPacket

from .receivers import MOST_SOURCES, receive_without_decoder, watch_for_bye

MOST_PIXELS = 4096 * 2304
"""Of a picture that is decoded: a frame of a few bytes may claim 268 million, and a byte and a half for each."""
_MOST_FRAMES = 30
_size = struct.Struct("<HH")


def claims_too_many_pixels(frame: bytes) -> bool:
    """Whether a VP8 key frame says that it is larger than ``MOST_PIXELS`` (RFC 6386, 9.1); others say nothing."""
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return False
    width: int
    height: int
    width, height = _size.unpack_from(frame, 6)
    return (width & 0x3FFF) * (height & 0x3FFF) > MOST_PIXELS


class _Undecoded(queue.Queue[Any]):
    """Frames on their way to aiortc's decoder thread: thirty, while it has no more than thirty pictures unread.

    aiortc's own takes as many as come, and the pictures wait for a reader who may have gone.
    """

    def __init__(self, pictures: asyncio.Queue[Any], wants_key_frame: threading.Event) -> None:
        super().__init__()
        self._pictures = pictures
        self._wants_key_frame = wants_key_frame
        self._dropped = False

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is not None:  # which ends it
            if self.qsize() >= _MOST_FRAMES or self._pictures.qsize() >= _MOST_FRAMES:
                self._dropped = True
                return
            if claims_too_many_pixels(item[1].data):
                return
            if self._dropped:
                self._wants_key_frame.set()
                self._dropped = False
        super().put(item, block, timeout)


class VideoReceiver:
    """Received video: counted always, decoded only once somebody wants to look.

    Works around ``RTCRtpReceiver.receive``, which starts a decoder thread for a line that may stay silent, feeding
    a queue that may never be read.
    """

    def __init__(self, receiver: RTCRtpReceiver, on_bye: Callable[[], None]) -> None:
        self._receiver: Any = receiver
        self._handle_rtp = receiver._handle_rtp_packet
        self._decoding = False
        self._on_frame: Callable[[bytes, int], None] | None = None
        self.packets_received = 0
        self.frames_received = 0
        receiver.receive = functools.partial(receive_without_decoder, receiver)  # type: ignore[method-assign]
        receiver._handle_rtp_packet = self._handle  # type: ignore[method-assign]
        watch_for_bye(receiver, on_bye)

    def decode(self) -> None:
        """Start decoding; frames come out of the receiver's track. Needs a running receiver to have any effect."""
        self._decoding = True

    def watch(self, on_frame: Callable[[bytes, int], None]) -> None:
        """Hand every frame, whole and undecoded, and its RTP timestamp to ``on_frame``."""
        self._on_frame = on_frame
        buffer = self._receiver._RTCRtpReceiver__jitter_buffer
        add = buffer.add
        self._asked_for_key_frame = False

        def add_and_tell(packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
            wants_key_frame, frame = add(packet)
            if frame is not None:
                on_frame(frame.data, frame.timestamp)
            wants_key_frame = wants_key_frame or not self._asked_for_key_frame
            self._asked_for_key_frame = True
            return wants_key_frame, frame

        buffer.add = add_and_tell

    async def _handle(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.packets_received += 1
        codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
        # libwebrtc probes the bandwidth with retransmissions (RFC 4588): an old frame again, its marker included.
        if codec is not None and not is_rtx(codec):
            self.frames_received += packet.marker  # RFC 7741, 4.1: set on the last packet of a frame
        if not self._decoding and self._on_frame is None:
            return
        receiver = self._receiver
        streams = receiver._RTCRtpReceiver__remote_streams
        if packet.ssrc not in streams and len(streams) >= MOST_SOURCES:
            return  # a report with one more can't be written, and ends aiortc's reporting
        if self._decoding and receiver._RTCRtpReceiver__decoder_thread is None:
            receiver._RTCRtpReceiver__decoder_queue = _Undecoded(
                receiver._track._queue, receiver._RTCRtpReceiver__decoder_error
            )
            thread = threading.Thread(
                name="video-decoder",
                target=decoder_worker,
                args=(
                    asyncio.get_running_loop(),
                    receiver._RTCRtpReceiver__decoder_queue,
                    receiver._track._queue,
                    receiver._RTCRtpReceiver__decoder_error,
                ),
            )
            receiver._RTCRtpReceiver__decoder_thread = thread
            thread.start()
            await receiver._send_rtcp_pli(packet.ssrc)  # decoding can only start at a key frame
        await self._handle_rtp(packet, arrival_time_ms)


def idle_until_track(sender: RTCRtpSender) -> asyncio.Event:
    """Let a sender without a track sleep; set the event once it has one.

    Works around ``RTCRtpSender._run_rtp`` polling every 20 ms for a track that may never come.
    """
    attached = asyncio.Event()
    run = sender._run_rtp

    async def wait_then_run(codec: RTCRtpCodecParameters) -> None:
        private: Any = sender
        private._RTCRtpSender__rtp_started.set()
        try:
            await attached.wait()
        except asyncio.CancelledError:
            private._RTCRtpSender__rtp_exited.set()
            return
        await run(codec)

    sender._run_rtp = wait_then_run  # type: ignore[method-assign]
    return attached


def watch_video_sender(sender: RTCRtpSender, on_frame: Callable[[bytes, int], None]) -> None:
    """Hand every VP8 frame that is sent, whole, and its timestamp (90 kHz, from 0) to ``on_frame``."""
    next_frame = sender._next_encoded_frame
    told = False

    async def next_frame_and_tell(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        nonlocal told
        if not told:
            sender._send_keyframe()  # it may run already, and the others cannot be seen without one
            told = True
        frame = await next_frame(codec)
        if frame is not None:
            on_frame(b"".join(vp8_depayload(payload) for payload in frame.payloads), frame.timestamp)
        return frame

    sender._next_encoded_frame = next_frame_and_tell  # type: ignore[method-assign]
