"""SRTP in the buffer that libsrtp works in, without what pylibsrtp makes around it for every packet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pylibsrtp
from pylibsrtp import Error as SrtpError
from pylibsrtp import Session

LONGEST_DATAGRAM = 1484
"""Bytes: libsrtp's buffer here holds 1500, trailer included; nothing longer crosses an Ethernet."""
LONGEST_PACKET = LONGEST_DATAGRAM - 16
"""Bytes of an RTP packet before SRTP's tag is added."""

_private: Any = pylibsrtp


def protector(session: Session) -> Callable[[bytes], bytes]:
    """Return ``session.protect`` for packets of up to ``LONGEST_PACKET`` bytes. Raises SrtpError."""
    return _in_place(session, _private.lib.srtp_protect)


def unprotector(session: Session) -> Callable[[bytes], bytes]:
    """Return ``session.unprotect`` for datagrams of up to ``LONGEST_DATAGRAM`` bytes. Raises SrtpError."""
    return _in_place(session, _private.lib.srtp_unprotect)


def _in_place(session: Any, process: Any) -> Callable[[bytes], bytes]:
    state, address, buffer = session._srtp, session._cdata, session._buffer
    length = _private.ffi.new("int *")

    def run(packet: bytes) -> bytes:
        size = len(packet)
        buffer[0:size] = packet
        length[0] = size
        status = process(state[0], address, length)
        if status:
            raise SrtpError(_private.ERRORS[status])
        data: bytes = buffer[0 : length[0]]
        return data

    return run
