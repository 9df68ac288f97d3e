"""The Opus packets of one stream in an Ogg file, as they came: nothing decoded, nothing encoded again.

The granule positions are the RTP timestamps. What never came, lost or not sent, is filled with frames of no bytes,
for which a player conceals or makes comfort noise as the call's own playout did (RFC 7845, 4.1).
"""

from __future__ import annotations

import heapq
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction

import av

from ..errors import MediaError
from ..formats import VOICE
from .disk import Disk, DiskWriter
from .opus import packet_samples

logger = logging.getLogger(__name__)

_RATE = VOICE.sample_rate
_STEP = _RATE // 400
# A packet waits so long for one before it; what is later than that was late for the listener, too.
_REORDERING = _RATE // 5
_QUEUE_PACKETS = 1000
# An hour of silence is filled in at once when the far end speaks again; more is another clock's.
_LONGEST_GAP = 3600 * _RATE


def filler(toc: int, samples: int) -> Iterator[tuple[bytes, int]]:
    """Yield packets of one frame without bytes, and their lengths, that last ``samples`` (a multiple of 2.5 ms).

    Args:
        toc: First byte of the packet before: mode and bandwidth stay what they were (RFC 6716, 3.1).
    """
    channels = toc & 0x04
    length = packet_samples(bytes([toc & 0xFC]))
    while samples >= length:
        yield bytes([toc & 0xFC]), length
        samples -= length
    # SILK has no frames below 10 ms: what is left is CELT's, whose configurations go 2.5, 5, 10, 20 ms.
    for size, shift in ((8, 3), (4, 2), (2, 1), (1, 0)):
        while samples >= size * _STEP:
            yield bytes([(28 + shift) << 3 | channels]), size * _STEP
            samples -= size * _STEP


class PacketRecorder(DiskWriter):
    """Write received packets to ``path`` while the call runs; a killed process leaves it readable.

    Raises:
        MediaError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, on_error: Callable[[MediaError], None] | None = None) -> None:
        super().__init__(path, on_error)
        self.packets_dropped = 0
        """Too late, twice there, no Opus, or more than a slow disk had room for."""
        try:
            self._disk = Disk(self.path, "wb")
        except OSError as exc:
            raise self._failure(exc) from exc
        # A disk may stall: 20 s wait for it as a rule, then what comes is dropped and counted.
        self._queue: deque[tuple[int, bytes]] = deque()
        self._heap: list[tuple[int, bytes]] = []
        self._newest = 0
        self._position: int | None = None  # in the file, of what comes next; on the line of the timestamps
        self._origin = 0
        self._toc = 0
        self._container: av.container.OutputContainer | None = None
        self._stream: av.AudioStream | None = None
        self._padding = 0
        self._thread.start()

    def write(self, timestamp: int, payload: bytes) -> None:
        """Put a packet at its timestamp, 48 kHz, which need not rise; never waits."""
        if self.error is not None or self._closing.is_set() or len(self._queue) >= _QUEUE_PACKETS:
            self.packets_dropped += 1
            self._report()
            return
        self._queue.append((timestamp, payload))

    def _drain(self, *, last: bool) -> None:
        while self._queue:
            timestamp, payload = self._queue.popleft()
            self._newest = max(self._newest, timestamp)
            heapq.heappush(self._heap, (timestamp, payload))
        while self._heap and (last or self._heap[0][0] <= self._newest - _REORDERING):
            self._place(*heapq.heappop(self._heap))

    def _place(self, timestamp: int, payload: bytes) -> None:
        try:
            length = packet_samples(payload)
        except MediaError:
            self.packets_dropped += 1
            return
        if self._position is None:
            self._open(timestamp, payload)
            self._position = timestamp
        gap = timestamp - self._position
        if gap < -length // 2 or gap > _LONGEST_GAP:
            self.packets_dropped += 1
            return
        for filling, samples in filler(self._toc, gap // _STEP * _STEP if gap > 0 else 0):
            self._mux(filling, samples)
        self._mux(payload, length)
        self._toc = payload[0]

    def _open(self, timestamp: int, payload: bytes) -> None:
        self._origin, self._toc = timestamp, payload[0]
        # Left alone, FFmpeg keeps an Ogg page of a second to itself; microseconds.
        options = {"flush_packets": "1", "page_duration": "200000"}
        self._container = av.open(self._disk, "w", format="ogg", options=options)
        # It never encodes: it is made for the header that it writes.
        layout = "stereo" if payload[0] & 0x04 else "mono"
        self._stream = self._container.add_stream("libopus", rate=_RATE, layout=layout)
        self._container.start_encoding()
        # The header says how much a player skips, which is the encoder's delay; the muxer adds it to each position.
        self._padding = int.from_bytes((self._stream.codec_context.extradata or bytes(12))[10:12], "little")

    def _mux(self, payload: bytes, samples: int) -> None:
        assert self._container is not None
        assert self._stream is not None
        assert self._position is not None
        packet = av.Packet(payload)
        packet.stream = self._stream
        packet.time_base = Fraction(1, _RATE)
        packet.pts = packet.dts = self._position - self._origin - self._padding
        packet.duration = samples
        self._container.mux(packet)
        self._position += samples

    def _close_file(self) -> None:
        try:
            if self._container is not None:
                self._container.close()
        finally:
            self._disk.close()
            if self._container is None and self.error is None:
                # Nothing ever came: players refuse an empty file, and nobody misses it.
                self.path.unlink(missing_ok=True)

    def _give_up(self) -> None:
        self.packets_dropped += len(self._queue) + len(self._heap)
        self._queue.clear()
        self._heap.clear()
