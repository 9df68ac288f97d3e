"""RTP packets as bytes (RFC 3550, 5.1): what an audio call needs of them, fifty times a second each way."""

from __future__ import annotations

import struct

from ..audio.jitter import MediaPacket

HEADER_LENGTH = 12
_header = struct.Struct("!BBHLL")
_word_count = struct.Struct("!H")


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
    return MediaPacket(sequence_number, timestamp, payload_type & 0x7F, ssrc, data[start:end])


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

    def write(self, sequence_number: int, timestamp: int, payload: bytes, *, level: int, voiced: bool) -> bytes:
        """Return one packet; ``level`` is −dBov, 0 to 127."""
        if self._level_at is not None:
            self._extension[self._level_at] = (0x80 if voiced else 0) | level
        header = _header.pack(self._flags, self._payload_type, sequence_number, timestamp, self._ssrc)
        return header + self._extension + payload
