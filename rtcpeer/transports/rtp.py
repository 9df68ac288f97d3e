"""RTP packets as bytes (RFC 3550, 5.1): what an audio call needs of them, fifty times a second each way."""

from __future__ import annotations

import struct

from ..audio.jitter import MediaPacket

HEADER_LENGTH = 12
_header = struct.Struct("!BBHLL")
_word_count = struct.Struct("!H")
# RFC 3550, A.1: what still is reordering, and what still is loss.
_MAX_MISORDER = 100
_MAX_DROPOUT = 3000


def parse(data: bytes) -> MediaPacket | None:
    """Return the packet, its CSRCs, header extension and padding left out; ``None``: its lengths contradict it."""
    if len(data) < HEADER_LENGTH:
        return None
    flags, payload_type, sequence_number, timestamp, ssrc = _header.unpack_from(data)
    if flags >> 6 != 2:
        return None
    start, end = HEADER_LENGTH + 4 * (flags & 0x0F), len(data)
    if flags & 0x10:
        if end < start + 4:
            return None
        start += 4 + 4 * _word_count.unpack_from(data, start + 2)[0]
    if flags & 0x20:
        padding = data[-1]
        if not padding:
            return None
        end -= padding
    if start > end:
        return None
    marker = payload_type >= 0x80
    return MediaPacket(sequence_number, timestamp, payload_type & 0x7F, ssrc, data[start:end], marker)


def is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP on one port (RFC 5761, 4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


class PacketWriter:
    """Writes the packets of one stream whose header extension differs in the audio level alone.

    Args:
        extension: As it is to stand after the fixed header, profile and length included; empty: there is none.
        level_at: Where in it the audio level stands (RFC 6464); ``None``: nowhere.
    """

    def __init__(self, payload_type: int, ssrc: int, extension: bytes, level_at: int | None) -> None:
        self._flags = 0x90 if extension else 0x80
        self._payload_type = payload_type
        self._ssrc = ssrc
        self._extension = bytearray(extension)
        self._level_at = level_at

    def write(
        self,
        sequence_number: int,
        timestamp: int,
        payload: bytes,
        *,
        level: int = 127,
        voiced: bool = False,
        marker: bool = False,
    ) -> bytes:
        """Return one packet; ``level`` is −dBov, 0 to 127."""
        if self._level_at is not None:
            self._extension[self._level_at] = (0x80 if voiced else 0) | level
        payload_type = self._payload_type | (0x80 if marker else 0)
        header = _header.pack(self._flags, payload_type, sequence_number, timestamp, self._ssrc)
        return header + self._extension + payload


class Numbering:
    """Sequence numbers and timestamps of one outgoing stream that several origins take turns to feed.

    An origin counts for itself. Where another takes over, the stream goes on with the next sequence number and with a
    timestamp that has advanced by the time that passed, one frame at least; so it does where an origin's own numbers
    leap. What an origin leaves out stays missing.

    Args:
        sequence_number, timestamp: Of the first packet: random (RFC 3550, 5.1).
        frame: Ticks that a packet lasts as a rule.
    """

    def __init__(self, sequence_number: int, timestamp: int, *, frame: int) -> None:
        self._frame = frame
        self._origin: object = None
        self._sequence = sequence_number - 1  # the highest so far
        self._timestamp = timestamp
        self._at: int | None = None  # when that timestamp was sent
        self._sequence_offset = self._timestamp_offset = 0

    def next(self, origin: object, sequence: int | None, timestamp: int, now: int) -> tuple[int, int]:
        """Return the next packet's numbers, as they stand in its header.

        Args:
            sequence: As its origin counts; ``None``: just the next one.
            now: Ticks, on any clock that does not go backwards.
        """
        if sequence is None:
            sequence = self._sequence + 1 - self._sequence_offset
        # SRTP refuses what lies 128 back, and takes a leap of half the numbers for one back (RFC 3711, 3.3.1).
        ahead = sequence + self._sequence_offset - self._sequence
        if origin is not self._origin or not -_MAX_MISORDER <= ahead < _MAX_DROPOUT:
            passed = 0 if self._at is None else max(self._frame, now - self._at)
            self._origin = origin
            self._sequence_offset = self._sequence + 1 - sequence
            self._timestamp_offset = self._timestamp + passed - timestamp
        placed, ticks = sequence + self._sequence_offset, timestamp + self._timestamp_offset
        self._sequence = max(self._sequence, placed)
        if self._at is None or ticks > self._timestamp:
            self._timestamp, self._at = ticks, now
        return placed & 0xFFFF, ticks & 0xFFFF_FFFF

    def leave_out(self, origin: object) -> None:
        """Close the gap that a packet of this origin leaves which is not sent on purpose."""
        if origin is self._origin:
            self._sequence_offset -= 1
