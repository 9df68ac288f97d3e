"""What an SCTP packet may say of itself, and what a far end that does not care does to a call: nothing."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiortc.rtcsctptransport import Chunk, DataChunk, ForwardTsnChunk, SackChunk, serialize_packet
from calling import until
from stock import stock_call

from rtcpeer.events import ErrorReported
from rtcpeer.transports import sctp


def packet(*chunks: bytes) -> bytes:
    return bytes(12) + b"".join(chunk + bytes(-len(chunk) % 4) for chunk in chunks)


def chunk(type: int, body: bytes) -> bytes:
    return struct.pack("!BBH", type, 0, 4 + len(body)) + body


def sack(cumulative: int, *gaps: tuple[int, int]) -> bytes:
    found = SackChunk()
    found.cumulative_tsn, found.gaps = cumulative, list(gaps)
    return bytes(found)


def data(stream: int) -> bytes:
    found = DataChunk()
    found.stream_id, found.user_data = stream, b"x"
    return bytes(found)


def skip(*streams: int) -> bytes:
    found = ForwardTsnChunk()
    found.streams = [(stream, 0) for stream in streams]
    return bytes(found)


GOOD = {
    "a heartbeat": chunk(4, struct.pack("!HH", 1, 8) + b"time"),
    "a heartbeat whose parameter is padded": chunk(4, struct.pack("!HH", 1, 5) + b"t\0\0\0"),
    "a handshake": chunk(1, bytes(16) + struct.pack("!HH", 0xC000, 4)),
    "an acknowledgement": sack(99),
    "an acknowledgement with gaps": sack(90, (2, 3), (5, 9)),
    "one around the end of the numbers": sack(2**32 - 5, (2, 8)),
    "data": data(255),
    "a skip": skip(0, 255),
    "a kind that nobody knows": chunk(77, b"??"),
}
BAD = {
    "a parameter of length 0": chunk(4, struct.pack("!HH", 1, 0)),
    "a parameter of length 3": chunk(9, struct.pack("!HH", 1, 3)),
    "a parameter beyond its chunk": chunk(130, struct.pack("!HH", 13, 40) + bytes(12)),
    "a parameter of length 0 in a handshake": chunk(2, bytes(16) + bytes(4)),
    "gaps that overlap": sack(90, (1, 8), (3, 9)),
    "a gap that ends before it begins": sack(90, (5, 2)),
    "a gap of nothing": sack(90, (0, 0)),
    "what was never sent": sack(100),
    "gaps in what was never sent": sack(90, (2, 10)),
    "fewer gaps than it says": chunk(3, struct.pack("!LLHH", 90, 0, 5, 0)),
    "a SACK cut short": chunk(3, b"1234"),
    "data cut short": chunk(0, b"12345"),
    "a stream too many": data(256),
    "a skip on a stream too many": skip(0, 256),
    "half a skip": chunk(192, bytes(7)),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_far_end_may_say_passes(name: str):
    assert sctp.fault(packet(GOOD[name]), 100) is None


@pytest.mark.parametrize("name", BAD)
def test_what_contradicts_itself_does_not_wherever_it_stands(name: str):
    assert sctp.fault(packet(BAD[name]), 100)
    assert sctp.fault(packet(*GOOD.values(), BAD[name]), 100)


def test_what_is_no_chunk_is_left_to_aiortc():
    for junk in (b"", bytes(11), bytes(12), bytes(40), packet(struct.pack("!BBH", 4, 0, 400))):
        assert sctp.fault(junk, 100) is None


async def send(stock: Any, *chunks: Chunk | bytes) -> None:
    """What a stock peer's SCTP would never send, over its DTLS."""
    for each in chunks:
        wire = serialize_packet(5000, 5000, stock._remote_verification_tag, each)
        await stock.transport._send_data(wire)


class Raw:
    """A chunk of our own bytes."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def __bytes__(self) -> bytes:
        return self._wire


async def test_no_packet_takes_down_the_call_that_it_came_on():
    async with stock_call() as (pc, session):
        stock: Any = pc.sctp
        # Numbers begin anywhere: what was never sent is another in each call.
        always = [bad for name, bad in BAD.items() if "never sent" not in name]
        for bad in always:
            await send(stock, Raw(bad + bytes(-len(bad) % 4)))
        await send(stock, Raw(chunk(1, bytes(16)) + chunk(1, bytes(16))))  # two handshakes in one
        await until(lambda: session.counters["messages_refused"] > len(always))

        channel = next(iter(stock._data_channels.values()))
        channel.send('{"type": "ping of tomorrow"}')
        await until(lambda: session.counters["messages_received"])
        assert "open" == channel.readyState

    refused = [entry.said for entry in session.events.entries() if isinstance(entry.said, ErrorReported)]
    assert {"refused"} == {each.code for each in refused}


async def test_far_end_that_skips_every_other_number_is_not_waited_for_in_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sctp, "AHEAD", 100)
    async with stock_call() as (_, session):
        assert session.link is not None
        ours: Any = session.link._pc.sctp
        last = ours._last_received_tsn
        for number in range(150):
            piece = DataChunk(flags=7)  # a whole message, out of order
            piece.tsn, piece.stream_id, piece.protocol = (last + 2 + 2 * number) % sctp.MODULO, 1, 51
            piece.user_data = b'{"type": "of tomorrow"}'
            await ours._handle_data(serialize_packet(5000, 5000, ours._local_verification_tag, piece))

        assert 50 == len(ours._sack_misordered) == session.counters["messages_received"]


async def test_data_channels_beyond_the_number_that_we_take_are_not_made():
    async with stock_call() as (pc, session):
        stock: Any = pc.sctp
        assert session.link is not None
        ours: Any = session.link._pc.sctp
        stock._outbound_streams_count = 65535
        for number in range(600):
            pc.createDataChannel(f"flood {number}")
        await until(lambda: session.counters["messages_refused"] >= 300)

        assert len(ours._data_channels) <= sctp.STREAMS
        assert len(ours._inbound_streams) <= sctp.STREAMS
