"""A UDP relay between two ends of a call that drops and delays the media of one direction, packet by packet.

Each end is told the relay's address instead of the other's: the candidates in the SDP are rewritten. So every sender
and receiver can be measured without a hook in it and without root, and all meet the same network. A packet's fate
goes by its RTP sequence number, which SRTP leaves readable; whatever is not RTP passes at once: STUN, DTLS, RTCP.
"""

from __future__ import annotations

import asyncio
import re
from itertools import pairwise
from typing import Any

from .sending import Fates

_HOST = re.compile(r"^a=candidate:(\S+) (\d+) udp (\d+) (\d+\.\d+\.\d+\.\d+) (\d+) typ host.*$", re.IGNORECASE)


class _Side(asyncio.DatagramProtocol):
    """The relay's socket that one end sends to; what comes there goes to the other end from the other socket."""

    transport: asyncio.DatagramTransport
    other: _Side
    end: tuple[str, int] | None = None

    def __init__(self, fates: Fates | None) -> None:
        self._fates = fates
        self._first: int | None = None
        self._loop = asyncio.get_running_loop()
        self.media_packets = 0
        self.media_lost = 0
        self.media_came: list[float] = []
        """Times of the loop."""

    def begin(self) -> None:
        self._first = None
        self.media_packets = self.media_lost = 0
        self.media_came.clear()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # RFC 7983, 7 and RFC 5761, 4: RTP begins with 128 to 191; payload types 64 to 95 are RTCP's.
        if self._fates is None or len(data) < 12 or not 128 <= data[0] <= 191 or 64 <= data[1] & 0x7F <= 95:
            self._pass(data)
            return
        sequence = int.from_bytes(data[2:4], "big")
        if self._first is None:
            self._first = sequence
        number = (sequence - self._first) & 0xFFFF
        fate = self._fates[number] if number < len(self._fates) else [0.0]
        self.media_packets += 1
        self.media_came.append(self._loop.time())
        self.media_lost += not fate
        for delay in fate:
            if delay:
                self._loop.call_later(delay, self._pass, data)
            else:
                self._pass(data)

    def _pass(self, data: bytes) -> None:
        # An end that is not known yet asks again.
        if self.other.end is not None and not self.transport.is_closing():
            self.other.transport.sendto(data, self.other.end)

    def error_received(self, exc: Exception) -> None:
        """An end that has gone: its process says so."""


class Relay:
    """One call's relay; ``fates`` are those of the media from the sender to the receiver."""

    def __init__(self, fates: Fates) -> None:
        self._from_sender = _Side(fates)
        self._from_receiver = _Side(None)
        self._from_sender.other, self._from_receiver.other = self._from_receiver, self._from_sender

    async def open(self, host: str) -> None:
        """Open both sockets on ``host``, the address of the ends."""
        loop = asyncio.get_running_loop()
        for side in (self._from_sender, self._from_receiver):
            await loop.create_datagram_endpoint(lambda side=side: side, (host, 0))  # type: ignore[misc]

    def begin(self) -> None:
        """Count packets, and their fates, from the next one on."""
        self._from_sender.begin()

    def close(self) -> None:
        for side in (self._from_sender, self._from_receiver):
            side.transport.close()

    @property
    def media(self) -> tuple[int, int]:
        """Packets of media that came in, and how many of them were lost."""
        return self._from_sender.media_packets, self._from_sender.media_lost

    @property
    def media_spacing(self) -> list[float]:
        """Seconds between one packet of media and the next, as the sender's come in."""
        return [after - before for before, after in pairwise(self._from_sender.media_came)]

    def pretend_sender(self, sdp: str) -> str:
        """Note where the sender is; return its SDP as the receiver is to see it."""
        return _redirect(sdp, self._from_sender, self._from_receiver)

    def pretend_receiver(self, sdp: str) -> str:
        """Note where the receiver is; return its SDP as the sender is to see it."""
        return _redirect(sdp, self._from_receiver, self._from_sender)


def _redirect(sdp: str, own: _Side, facing: _Side) -> str:
    """Put the address of ``facing``, which the reader of the SDP is to send to, in place of the candidates."""
    lines: list[str] = []
    for line in sdp.splitlines():
        if not line.startswith("a=candidate:"):
            lines.append(line)
        elif (found := _HOST.match(line)) and not (lines and lines[-1].startswith("a=candidate:")):
            own.end = found[4], int(found[5])
            host, port = facing.transport.get_extra_info("sockname")
            lines.append(f"a=candidate:{found[1]} {found[2]} udp {found[3]} {host} {port} typ host")
    return "\r\n".join(lines) + "\r\n"


def host_of(sdp: str) -> str:
    """Return the first IPv4 address in an SDP's host candidates."""
    for line in sdp.splitlines():
        if found := _HOST.match(line):
            return found[4]
    raise ValueError("the SDP has no IPv4 host candidate: is there a network interface beside lo?")
