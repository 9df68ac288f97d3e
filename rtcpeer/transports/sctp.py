"""What of SCTP (RFC 9260) is not passed on to aiortc, which takes its far end's word for every length in a packet.

A parameter of length 0 is read by it for ever, and the process with it; a SACK of a hundred gaps that overlap costs
seconds; numbers of streams and of what came out of order have no bounds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

STREAMS = 256
"""Data channels there can be, a stream each way: what we say in the handshake, and hold the far end to."""
AHEAD = 4096
"""DATA chunks that may come before one that is missing; of further ones the far end hears nothing, and sends them
again (RFC 9260, 6.2)."""

MODULO = 2**32
"""Of TSNs."""

_DATA, _INIT, _INIT_ACK, _SACK, _HEARTBEAT, _HEARTBEAT_ACK, _ABORT, _ERROR = 0, 1, 2, 3, 4, 5, 6, 9
_RECONFIG, _FORWARD_TSN = 130, 192
# Type → where its parameters begin (RFC 9260, 3.3; RFC 6525, 3.1).
_PARAMETERS_AT = {
    _INIT: 16,
    _INIT_ACK: 16,
    **dict.fromkeys((_HEARTBEAT, _HEARTBEAT_ACK, _ABORT, _ERROR, _RECONFIG), 0),
}
_COMMON_HEADER = 12


def fault(packet: bytes, next_tsn: int) -> str | None:
    """Say why a packet is not to be read any further; ``None``: nothing speaks against it.

    Args:
        next_tsn: Of the first chunk that we have not sent.
    """
    try:
        for type, body in _chunks(packet):
            if found := _fault_of(type, body, next_tsn):
                return found
    except struct.error:
        return "a chunk shorter than its kind"
    return None


def _chunks(packet: bytes) -> Iterator[tuple[int, bytes]]:
    at = _COMMON_HEADER
    while at <= len(packet) - 4:
        type, _, length = struct.unpack_from("!BBH", packet, at)
        if length < 4 or at + length > len(packet):
            return  # aiortc looks at this itself, and leaves the packet
        yield type, packet[at + 4 : at + length]
        at += length + -length % 4


def _fault_of(type: int, body: bytes, next_tsn: int) -> str | None:
    if type in _PARAMETERS_AT:
        return _fault_of_parameters(body[_PARAMETERS_AT[type] :])
    if type == _DATA:
        (stream,) = struct.unpack_from("!H", body, 4)
        return None if stream < STREAMS else f"data on stream {stream} of {STREAMS}"
    if type == _FORWARD_TSN:
        streams = [stream for stream, _ in struct.iter_unpack("!HH", body[4:])]
        return None if all(stream < STREAMS for stream in streams) else f"a skip on more than {STREAMS} streams"
    return _fault_of_sack(body, next_tsn) if type == _SACK else None


def _fault_of_parameters(body: bytes) -> str | None:
    at = 0
    while at <= len(body) - 4:
        (length,) = struct.unpack_from("!H", body, at + 2)
        if length < 4 or at + length > len(body):
            return f"a parameter of length {length}"
        at += length + -length % 4
    return None


def _fault_of_sack(body: bytes, next_tsn: int) -> str | None:
    """RFC 9260, 3.3.4: gap blocks come in ascending order, and name what was sent."""
    cumulative, _, gaps, _ = struct.unpack_from("!LLHH", body)
    highest = 0
    for number in range(gaps):
        start, end = struct.unpack_from("!HH", body, 12 + 4 * number)
        if not highest < start <= end:
            return "gaps that overlap in a SACK"
        highest = end
    # Serial number arithmetic (RFC 1982): what is not behind the next one was never sent.
    behind = (next_tsn - cumulative - highest) % MODULO
    return None if 0 < behind < MODULO // 2 else "a SACK of what was never sent"
