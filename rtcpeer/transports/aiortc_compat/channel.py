"""DataChannel messages within fixed memory."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection
from aiortc.rtcdtlstransport import SSL  # type: ignore[attr-defined]  # pyOpenSSL's, which is no dependency of ours
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    Chunk,
    DataChunk,
    InboundStream,
    tsn_plus_one,
)
from aiortc.utils import uint16_add, uint32_gte

from .. import sctp as wire

logger = logging.getLogger(__name__)


def guard_channel(
    pc: RTCPeerConnection, limit: int, on_oversize: Callable[[str], None], on_malformed: Callable[[str], None]
) -> None:
    """Refuse DataChannel messages over ``limit`` bytes within fixed memory, and survive malformed ones.

    aiortc reassembles without any limit (its receive window is advertised but not enforced), and lets an assertion
    or a bad UTF-8 text out of its receive loop, which closes the whole connection. What ``sctp.fault``
    names is worse. What its timers can't send any more, it leaves to the loop to complain of.

    Args:
        on_oversize, on_malformed: Called with the reason, once a message, or a packet that is malformed as such.
    """
    private: Any = pc
    sctp = private._RTCPeerConnection__sctp
    if sctp is None:
        return
    streams: dict[int, InboundStream] = sctp._inbound_streams

    def give_back(size: int) -> None:
        sctp._advertised_rwnd += size

    bounds = ReassemblyBounds(limit, on_oversize, give_back)

    def bounded_stream(stream_id: int) -> InboundStream:
        if stream_id not in streams:
            streams[stream_id] = BoundedStream(bounds)
        return streams[stream_id]

    receive_packet, receive_chunk = sctp._handle_data, sctp._receive_data_chunk
    receive_message, send_chunk = sctp._data_channel_receive, sctp._send_chunk

    async def receive_sound_packet(packet: bytes) -> None:
        if (fault := wire.fault(packet, sctp._local_tsn)) is not None:
            on_malformed(f"malformed SCTP packet: {fault}")
            return
        try:
            await receive_packet(packet)
        # What contradicts itself, or the state of the association. A ConnectionError is none: it ends the transport.
        except (ArithmeticError, AssertionError, LookupError, NameError, TypeError, ValueError, struct.error) as exc:
            logger.debug("an SCTP packet was given up half-way", exc_info=exc)
            on_malformed(f"malformed SCTP packet: {type(exc).__name__}")

    async def receive_chunk_within_bounds(chunk: DataChunk) -> None:
        last = sctp._last_received_tsn
        if not uint32_gte(last, chunk.tsn) and (chunk.tsn - last) % wire.MODULO > wire.AHEAD:
            return
        if bounds.take(chunk, in_order=chunk.tsn == tsn_plus_one(last)):
            await receive_chunk(chunk)

    async def receive_message_guarded(stream_id: int, pp_id: int, data: bytes) -> None:
        try:
            await receive_message(stream_id, pp_id, data)
        except (AssertionError, UnicodeDecodeError, struct.error) as exc:
            on_malformed(f"malformed DataChannel message of {len(data)} bytes: {type(exc).__name__}")

    async def send_chunk_while_connected(chunk: Chunk) -> None:
        # Timers send from tasks that nobody looks at, and so they do when DTLS has said goodbye just before.
        try:
            await send_chunk(chunk)
        except (ConnectionError, SSL.Error) as exc:
            logger.debug("an SCTP chunk was not sent: %s", exc)

    sctp._inbound_streams_max = wire.STREAMS
    sctp._handle_data = receive_sound_packet
    sctp._get_inbound_stream = bounded_stream
    sctp._receive_data_chunk = receive_chunk_within_bounds
    sctp._data_channel_receive = receive_message_guarded
    sctp._send_chunk = send_chunk_while_connected


def watch_closing(channel: RTCDataChannel, on_closing: Callable[[], None]) -> None:
    """Call back as soon as either side begins to close the channel.

    Works around "close" coming only once our own answer to the far end's reset was answered, too (RFC 8831, 6.7): a
    far end that ends its connection right behind the reset would pass for one that was lost.
    """
    private: Any = channel
    set_state = private._setReadyState

    def set_and_tell(state: str) -> None:
        set_state(state)
        if state == "closing":
            on_closing()

    private._setReadyState = set_and_tell


class ReassemblyBounds:
    """How much may be held of unfinished messages, in all streams together.

    Args:
        limit: Bytes that one message may have.
        on_oversize: Called with the reason, once a message refused.
        give_back: Called with the bytes thrown away: the receive window has them again.
    """

    def __init__(self, limit: int, on_oversize: Callable[[str], None], give_back: Callable[[int], None]) -> None:
        self.limit = limit
        self.on_oversize = on_oversize
        self.give_back = give_back
        self.held = 0

    def take(self, chunk: DataChunk, *, in_order: bool) -> bool:
        """Whether to take this chunk, or to drop it unacknowledged (RFC 9260, 6.2).

        Who keeps to the receive window never comes near. What fills the first gap has a reserve of its own: without
        it nothing of what is held could ever leave.
        """
        return self.held + self.cost(chunk) <= (3 if in_order else 2) * self.limit

    @staticmethod
    def cost(chunk: DataChunk) -> int:
        """Bytes: the data's, but never less than the objects around it take."""
        return max(len(chunk.user_data), 512)


class BoundedStream(InboundStream):
    """Reassembly that throws a message away, fragment by fragment, once it has grown over the limit."""

    def __init__(self, bounds: ReassemblyBounds) -> None:
        super().__init__()
        self._bounds = bounds
        self._held = 0
        self._refused: int | None = None
        """Bytes thrown away of the message being refused; ``None`` when none is."""
        self._next_tsn = 0

    def add_chunk(self, chunk: DataChunk) -> None:
        super().add_chunk(chunk)
        cost = self._bounds.cost(chunk)
        self._held += cost
        self._bounds.held += cost
        if self._refused is None and self._held > self._bounds.limit and self._head_is_too_long():
            self._refused, self._next_tsn = 0, self.reassembly[0].tsn
        if self._refused is not None:
            self._throw_away()

    def _head_is_too_long(self) -> bool:
        """Whether the first fragments held are, in a row, more than one message may have."""
        head = self.reassembly[0]
        if not head.flags & SCTP_DATA_FIRST_FRAG:
            return False
        if not head.flags & SCTP_DATA_UNORDERED and head.stream_seq != self.sequence_number:
            return False  # a message before it is still missing
        size = cost = 0
        for number, chunk in enumerate(self.reassembly):
            if chunk.tsn != (head.tsn + number) & 0xFFFFFFFF:
                return False
            size += len(chunk.user_data)
            cost += self._bounds.cost(chunk)
            # Bytes are what counts, unless it comes in crumbs.
            if size > self._bounds.limit or cost > 2 * self._bounds.limit:
                return True
            if chunk.flags & SCTP_DATA_LAST_FRAG:
                return False
        return False

    def _throw_away(self) -> None:
        gone = 0
        for chunk in self.reassembly:
            if chunk.tsn != self._next_tsn or self._refused is None:
                break
            gone += 1
            self._next_tsn = tsn_plus_one(self._next_tsn)
            self._refused += len(chunk.user_data)
            self._bounds.give_back(len(chunk.user_data))
            if chunk.flags & SCTP_DATA_LAST_FRAG:
                if not chunk.flags & SCTP_DATA_UNORDERED:
                    self.sequence_number = uint16_add(self.sequence_number, 1)
                self._report(self._refused)
                self._refused = None
        del self.reassembly[:gone]
        self._recount()

    def _report(self, size: int) -> None:
        self._bounds.on_oversize(f"message of {size} bytes is over the limit of {self._bounds.limit}")

    def _recount(self) -> None:
        held = sum(map(self._bounds.cost, self.reassembly))
        self._bounds.held += held - self._held
        self._held = held

    def pop_messages(self) -> Iterator[tuple[int, int, bytes]]:
        for message in super().pop_messages():
            self._recount()
            size = len(message[2])
            if size > self._bounds.limit:  # it became whole behind another one that was missing
                self._bounds.give_back(size)
                self._report(size)
            else:
                yield message

    def prune_chunks(self, tsn: int) -> int:
        pruned = super().prune_chunks(tsn)
        self._recount()
        if self._refused is not None and uint32_gte(tsn, self._next_tsn):
            self._report(self._refused)  # its sender has given up on the rest (RFC 3758)
            self._refused = None
        return pruned
