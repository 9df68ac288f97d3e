"""Opus packets as they are: received ones for whoever wants them undecoded, ready ones to be sent.

Nothing in here decodes or encodes. Timestamps count at 48 kHz, Opus's RTP clock (RFC 7587, 4.1).
"""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import av

from ..errors import ConfigurationError, MediaError
from ..formats import VOICE
from .jitter import MediaPacket
from .media_file import audio_stream, open_media
from .opus import packet_samples
from .readers import News, Readers
from .source import name_of

logger = logging.getLogger(__name__)

SILENT_PACKET = b"\xf8\xff\xfe"
"""20 ms of silence: CELT, mono, full band (RFC 6716, 3.1)."""

_RATE = VOICE.sample_rate
# RFC 3550, A.1: what still is reordering, and what still is loss.
_MAX_MISORDER = 100
_MAX_DROPOUT = 3000
# A timestamp that runs this far ahead of the time that passed is another clock's.
_MAX_LEAP = 2 * _RATE
# The shortest packets last 2.5 ms; a source that gives more than twice as many counts wrongly.
_MAX_PACKETS_A_TICK = 16


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """One Opus packet, undecoded."""

    payload: bytes
    timestamp: int
    """Samples at 48 kHz since the first packet; a step longer than the packet before is a pause or a loss."""
    sequence_number: int
    """Counts up by one a packet; what is missing was lost, or was a telephone event (RFC 4733)."""
    marker: bool = False
    """The first packet after a pause, where its sender says so (RFC 7587, 4.1)."""
    t: float | None = None
    """When it arrived, in seconds since ``connect()``; ``None``: it was not received."""


class StreamTimeline:
    """Places received packets on one line that goes on: beyond the wrap of their numbers, and across their jumps.

    Where a stream begins anew (another SSRC, numbers that jump) it goes on with the next sequence number, and with a
    timestamp that has advanced by the time that passed. Never reads a clock.
    """

    def __init__(self) -> None:
        self.packets_received = 0
        self.bytes_received = 0
        self._ssrc: int | None = None
        self._sequence = -1  # the highest so far
        self._timestamp = 0  # of that one
        self._arrival = 0.0
        self._raw_sequence = self._raw_timestamp = 0

    @property
    def packets_lost(self) -> int:
        """Expected less received (RFC 3550, A.3)."""
        return self._sequence + 1 - self.packets_received

    def place(self, packet: MediaPacket, now: float, *, event: bool = False) -> tuple[int, int]:
        """Return the packet's sequence number and timestamp on the line, both from 0; ``now`` in seconds.

        Args:
            event: A telephone event: its timestamp is that of its beginning, and the audio's go on regardless.
        """
        self.packets_received += 1
        self.bytes_received += len(packet.payload)
        ahead = (packet.sequence_number - self._raw_sequence) & 0xFFFF
        back = -ahead & 0xFFFF
        leap = ((packet.timestamp - self._raw_timestamp + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
        if self._ssrc is None:
            self._sequence = 0
        elif packet.ssrc != self._ssrc or (ahead >= _MAX_DROPOUT and back > _MAX_MISORDER):
            self._sequence += 1
            self._timestamp += self._passed(now)
        elif back <= _MAX_MISORDER:
            return self._sequence - back, self._timestamp + min(leap, 0)
        elif event and abs(leap) < _MAX_LEAP:
            self._sequence += ahead
            self._raw_sequence = packet.sequence_number
            return self._sequence, self._timestamp + leap
        else:
            self._sequence += ahead
            sane = 0 <= leap <= (now - self._arrival) * _RATE + _MAX_LEAP
            self._timestamp += leap if sane else self._passed(now)
        self._ssrc = packet.ssrc
        self._arrival = now
        self._raw_sequence, self._raw_timestamp = packet.sequence_number, packet.timestamp
        return self._sequence, self._timestamp

    def _passed(self, now: float) -> int:
        """Samples since the last packet, in whole frames: at least one."""
        return VOICE.frame_samples * max(1, round((now - self._arrival) * 50))


class Packets:
    """Received packets, for ``async for``: each iteration is a reader of its own, from now on."""

    def __init__(self) -> None:
        self._readers: Readers[PacketReader] = Readers()
        self._ended = False

    def put(self, packet: OpusPacket) -> None:
        for reader in self._readers:
            reader._put(packet)

    def end(self) -> None:
        """The session is over: readers finish what they hold."""
        self._ended = True
        for reader in self._readers:
            reader._end()

    def __aiter__(self) -> PacketReader:
        reader = PacketReader()
        if self._ended:
            reader._end()
        self._readers.add(reader)
        return reader


class PacketReader:
    """It keeps the newest five hundred packets, ten seconds as a rule: what is older is dropped and counted.

    Tasks may share one: each packet goes to one of them.
    """

    def __init__(self) -> None:
        self._packets: deque[OpusPacket] = deque(maxlen=500)
        self._news = News()
        self._ended = False
        self.packets_dropped = 0

    def _put(self, packet: OpusPacket) -> None:
        self.packets_dropped += len(self._packets) == self._packets.maxlen
        self._packets.append(packet)
        self._news.tell()

    def _end(self) -> None:
        self._ended = True
        self._news.tell()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> OpusPacket:
        while not self._packets:
            if self._ended:
                raise StopAsyncIteration
            await self._news.next()
        return self._packets.popleft()


class PacketSource(ABC):
    """Ready Opus packets, one after the other. To send your own: subclass, and define ``read``."""

    @property
    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    @property
    def stalled(self) -> bool:
        """There is nothing to read just now, and it goes on later: what waits behind it waits, too."""
        return False

    @abstractmethod
    def read(self) -> OpusPacket | None:
        """Return the next packet, at once; it is sent when its timestamp is due. ``None``: it has ended.

        Raises:
            MediaError: it failed; it is not read again.
        """

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Let go of what it holds."""


class OpusFile(PacketSource):
    """A file's Opus packets (.ogg, .opus, .webm, .mka), as they stand in it; its pauses stay pauses.

    Raises:
        ConfigurationError: the file cannot be opened, or has no Opus in it.
    """

    def __init__(self, path: str | os.PathLike[str], *, loop: bool = False) -> None:
        self._name = Path(path).name
        self._loop = loop
        try:
            if not Path(path).is_file():
                raise ConfigurationError(f"{os.fspath(path)} is no file: give one with Opus in it")
            self._container = open_media(path)
        except (av.FFmpegError, OSError) as exc:
            why = getattr(exc, "strerror", None) or exc
            raise ConfigurationError(f"can't read {os.fspath(path)}: {why}") from exc
        found = [stream for stream in self._container.streams.audio if stream.codec_context.name.endswith("opus")]
        if not found:
            self._container.close()
            raise ConfigurationError(f"no Opus in {os.fspath(path)}: play() encodes what is not")
        # Of several, the one that players play.
        default = audio_stream(self._container)
        self._stream = next((stream for stream in found if stream is default), found[0])
        self._packets: Iterator[av.Packet[av.AudioStream]] = self._container.demux(self._stream)
        self._count = 0
        self._origin: float | None = None  # of the file's own times, on our line
        self._next = 0
        self._paused = False
        self._read_since_rewind = False

    @property
    def name(self) -> str:
        return self._name

    def read(self) -> OpusPacket | None:
        while True:
            try:
                packet = next(self._packets, None)
            except (av.FFmpegError, OSError) as exc:
                raise MediaError(f"{self._name}: {getattr(exc, 'strerror', None) or exc}") from exc
            if packet is None:
                if not self._loop or not self._read_since_rewind:
                    return None
                self._rewind()
                continue
            payload = bytes(packet)
            if not payload:  # the demuxer's way to say that it is through
                continue
            length = packet_samples(payload)
            timestamp = self._place(packet)
            if timestamp > self._next:
                self._paused = True
            self._next = timestamp + length
            self._read_since_rewind = True
            if len(payload) == 1:
                # A frame of no bytes stands for a packet that never came (RFC 7845, 4.1), or for a pause.
                self._paused = True
                continue
            found = OpusPacket(payload, timestamp, self._count, marker=self._paused)
            self._count += 1
            self._paused = False
            return found

    def _place(self, packet: av.Packet[av.AudioStream]) -> int:
        if packet.pts is None or packet.time_base is None:
            return self._next
        time = float(packet.pts * packet.time_base) * _RATE
        if self._origin is None:
            self._origin = self._next - time
        placed = round(time + self._origin)
        # Matroska counts milliseconds: what is off by less than half a packet is rounding, the rest is a gap.
        return placed // 120 * 120 if placed - self._next > VOICE.frame_samples // 2 else self._next

    def _rewind(self) -> None:
        try:
            self._container.seek(0)
        except (av.FFmpegError, OSError) as exc:
            raise MediaError(f"{self._name}: can't go back to its beginning: {exc}") from exc
        self._packets = self._container.demux(self._stream)
        self._origin = None
        self._read_since_rewind = False

    def close(self) -> None:
        self._container.close()


def _checked(packet: OpusPacket | None, name: str) -> OpusPacket | None:
    """Raises MediaError: a source gave what is no packet."""
    if packet is None:
        return None
    if not isinstance(packet, OpusPacket) or not isinstance(packet.payload, bytes):
        raise MediaError(f"{name}: read() returned {type(packet).__name__}, not an OpusPacket with bytes")
    if not isinstance(packet.timestamp, int) or not isinstance(packet.sequence_number, int):
        raise MediaError(f"{name}: read() returned a packet whose timestamp or sequence number is not an int")
    return packet


class PacketPlayback:
    """A packet source on its way out; awaiting it waits until its last packet was really sent."""

    def __init__(self, source: PacketSource) -> None:
        self.source = source
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A playback whose failure nobody awaits must not warn at exit: the session reports it as an event as well.
        self._done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._first: int | None = None
        self._held: OpusPacket | None = None
        self._end = 0
        self._elapsed = 0
        self._unsent = 0

    @property
    def played(self) -> float:
        """Seconds of it that were really sent."""
        return (min(self._elapsed, self._end) - self._unsent) / _RATE

    @property
    def unsent(self) -> float:
        """Seconds of it that went by while there was no connection: nobody heard them."""
        return self._unsent / _RATE

    @property
    def done(self) -> bool:
        return self._done.done()

    def cancel(self) -> None:
        """Send nothing more of it; awaiting it then returns at once."""
        self._finish(None)

    def due(self) -> Iterator[OpusPacket]:
        """Yield what is to be sent in the next 20 ms; afterwards it may be ``done``."""
        until = self._elapsed + VOICE.frame_samples
        for _ in range(_MAX_PACKETS_A_TICK):
            if self.done:
                return
            try:
                if self._held is None and self.source.stalled:
                    return
                packet = self._held or _checked(self.source.read(), name_of(self.source))
                length = packet_samples(packet.payload) if packet is not None and self._held is None else 0
            except Exception as exc:  # a source may be anybody's code
                wrapped = exc if isinstance(exc, MediaError) else MediaError(f"{name_of(self.source)}: {exc!r}")
                self._finish(wrapped)
                return
            self._held = packet
            if packet is None:
                # Its last packet has been sent; that it is over is known when its sound would be.
                if self._end <= until:
                    self._finish(None)
                break
            if self._first is None:
                self._first = packet.timestamp
            at = packet.timestamp - self._first
            if length:
                self._end = max(self._end, at + length)
            if at >= until:
                break
            self._held = None
            yield packet
        self._elapsed = until

    def skip(self) -> None:
        """Let 20 ms of it go by that nobody sends."""
        before = min(self._elapsed, self._end)
        for _ in self.due():
            pass
        self._unsent += min(self._elapsed, self._end) - before

    def _finish(self, error: MediaError | None) -> None:
        if self._done.done():
            return
        try:
            self.source.close()
        except Exception:  # a source may be anybody's code, and it is over all the same
            logger.exception("closing %s failed", name_of(self.source))
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    @property
    def error(self) -> BaseException | None:
        """Why it ended too early."""
        return self._done.exception() if self._done.done() else None

    def __await__(self) -> Generator[None, None, None]:
        """Wait for the end.

        Raises:
            MediaError: the source failed half-way, or gave what is no Opus packet.
        """
        yield from asyncio.shield(self._done).__await__()
