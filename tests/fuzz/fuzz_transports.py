"""What comes off the network below the messages: RTP, RTCP, STUN, SCTP, SDP, and what a network is described with."""

from __future__ import annotations

import asyncio
import logging
import struct
from functools import partial
from types import SimpleNamespace
from typing import Any

from aioice import Connection
from aioice import stun as stun_messages
from aioice.ice import StunProtocol
from aiortc import RTCRtpSender
from aiortc.rtcdtlstransport import RTCDtlsTransport, RtpRouter
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcsctptransport import (
    DataChunk,
    ForwardTsnChunk,
    HeartbeatChunk,
    ReconfigChunk,
    RTCSctpTransport,
    SackChunk,
    StreamResetOutgoingParam,
)
from aiortc.rtp import RtcpByePacket, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket, RtcpSdesPacket, RtcpSourceInfo
from aiortc.sdp import SessionDescription
from fuzz_audio import TYPES, check_bounds
from given import FIXTURES, Bytes, Target, pieces
from google_crc32c import value as crc32c

from rtcpeer.audio.coding import DECODERS
from rtcpeer.audio.jitter import Playout
from rtcpeer.errors import ConfigurationError, RemoteProtocolError
from rtcpeer.netem import NetworkConditions
from rtcpeer.transports import sctp as sctp_wire
from rtcpeer.transports.aiortc_compat import AudioReceiver, AudioReports, AudioSender, guard_channel
from rtcpeer.transports.aiortc_compat.direct import WAITING, _bounded, _direct, _guard_rtcp
from rtcpeer.transports.remote_sdp import read_answer, read_offer
from rtcpeer.transports.rtp import parse
from rtcpeer.transports.sdp import (
    free_payload_types,
    receiver_wishes,
    telephone_event_types,
    with_opus_parameters,
    with_telephone_events,
)

logging.getLogger("aiortc").setLevel(logging.CRITICAL)


class _Transport:
    """As much of a transport as senders, receivers and associations ask for."""

    state = "connected"
    _stats_id = "transport"

    def __init__(self) -> None:
        self._rtp_router = RtpRouter()
        self._RTCDtlsTransport__log_debug = lambda *args: None
        self._handle_rtcp_data = partial(RTCDtlsTransport._handle_rtcp_data, self)  # type: ignore[arg-type]
        self.sent: list[bytes] = []

    def _register_data_receiver(self, receiver: Any) -> None:
        pass

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)

    async def _send_rtp(self, data: bytes) -> None:
        self.sent.append(data)


def datagrams(data: bytes) -> None:
    """Datagrams off the wire, each with its length before it, through the parser and the receiver to the playout."""
    under_test = Playout({number: DECODERS[name] for number, name in TYPES.items()})
    now = 0.0
    receiver: Any = RTCRtpReceiver("audio", _Transport())  # type: ignore[arg-type]
    audio = AudioReceiver(receiver, lambda packet: under_test.put(packet, now), lambda: None)
    for number, name in TYPES.items():
        rate = 48_000 if name == "opus" else 8_000
        receiver._RTCRtpReceiver__codecs[number] = RTCRtpCodecParameters(f"audio/{name}", rate, payloadType=number)
    given = Bytes(data)
    while given:
        datagram = given.take(given.number(1) * 6 % 1500)
        packet = parse(datagram)
        if packet is not None:
            assert len(packet.payload) <= len(datagram) - 12
            audio.take(packet)
        now += 0.02
        under_test.get(now)
        check_bounds(under_test)
        assert len(receiver._RTCRtpReceiver__remote_streams) <= 31


def rtcp(data: bytes) -> None:
    """Compound packets, past SRTP, to the sender and the receiver that they name."""

    async def run() -> None:
        transport: Any = _Transport()
        sender, receiver = RTCRtpSender("audio", transport), RTCRtpReceiver("audio", transport)
        sender._ssrc = 7
        ours = AudioReports(AudioSender(sender), AudioReceiver(receiver, lambda packet: None, lambda: None))
        transport._rtp_router.register_sender(sender, ssrc=7)
        transport._rtp_router.register_receiver(receiver, ssrcs=[8], payload_types=[96])
        _guard_rtcp(transport, set())
        given = Bytes(data)
        while given:
            await transport._handle_rtcp_data(given.piece())
            assert ours.fraction_lost is None or 0 <= ours.fraction_lost < 1
            assert ours.round_trip_time is None or abs(ours.round_trip_time) < 1e6
        assert len(ours._heard) <= 1

    asyncio.run(run())


def stun(data: bytes) -> None:
    """Datagrams from anybody, on a socket that is open for a call; nothing is answered that is larger."""

    async def run() -> None:
        connection: Any = Connection(ice_controlling=False, local_username="user", local_password="p" * 22)
        sent: list[bytes] = []
        protocol: Any = _stun_protocol(connection, sent)
        audio: Any = SimpleNamespace(transport=SimpleNamespace(_state=None))
        connection.data_received = _bounded(connection)
        receive = _direct(connection, protocol, audio, set())
        given = Bytes(data)
        while given:
            datagram = given.piece()
            receive(datagram, ("192.0.2.1", 9))
        assert connection._queue.qsize() <= WAITING
        assert sum(map(len, sent)) <= 10 * len(data) + 200

    asyncio.run(run())


def _stun_protocol(connection: Any, sent: list[bytes]) -> Any:
    protocol: Any = StunProtocol(connection)
    protocol.transport = SimpleNamespace(sendto=lambda data, addr: sent.append(data))
    protocol.local_candidate = SimpleNamespace(component=1)
    return protocol


def sctp(data: bytes) -> None:
    """Packets of an association that is up, each some chunks; our checksum and tag are right, the rest is theirs."""

    async def run() -> None:
        transport: Any = _Transport()
        under_test: Any = RTCSctpTransport(transport)
        refused: list[str] = []
        guard_channel(SimpleNamespace(_RTCPeerConnection__sctp=under_test), 4000, refused.append, refused.append)  # type: ignore[arg-type]
        under_test._loop = asyncio.get_running_loop()
        under_test._remote_port = 5000
        under_test._last_received_tsn = 99
        under_test._local_tsn, under_test._last_sacked_tsn = 1000, 999
        under_test._association_state = under_test.State.ESTABLISHED
        given = Bytes(data)
        try:
            while given:
                await under_test._handle_data(_sctp_packet(under_test, given.piece()))
                assert len(under_test._inbound_streams) <= sctp_wire.STREAMS
                assert len(under_test._data_channels) <= sctp_wire.STREAMS
                assert len(under_test._sack_misordered) <= sctp_wire.AHEAD
                held = sum(
                    len(each.user_data) for kept in under_test._inbound_streams.values() for each in kept.reassembly
                )
                assert held <= 3 * 4000
            if under_test._association_state is under_test.State.ESTABLISHED:
                transport.sent.clear()
                alive = HeartbeatChunk()
                alive.params = [(1, b"alive")]
                await under_test._handle_data(_sctp_packet(under_test, bytes(alive)))
                assert any(b"alive" in each for each in transport.sent)
        finally:
            under_test._set_state(under_test.State.CLOSED)
            under_test._reconfig_timer_cancel()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    asyncio.run(run())


def _sctp_packet(association: Any, chunks: bytes) -> bytes:
    header = struct.pack("!HHL", 5000, 5000, association._local_verification_tag)
    return header + struct.pack("<L", crc32c(header + bytes(4) + chunks)) + chunks


OFFER = (FIXTURES / "sdp" / "aiortc-offer.sdp").read_text()
"""What fuzzed answers answer."""


def sdp(data: bytes) -> None:
    """What a far end may send as SDP: it is refused, or becomes what aiortc can parse."""
    text = data.decode("utf-8", "replace")
    receiver_wishes(text)
    for read in (read_offer, lambda text: read_answer(text, OFFER)):
        try:
            found = read(text)
        except RemoteProtocolError:
            continue
        SessionDescription.parse(found.sdp)
        assert found.sdp == read(found.sdp).sdp, "what is plain is not read as it is"
    with_opus_parameters(text)
    types = telephone_event_types(text)
    assert set(types) <= {8_000, 48_000}
    assert all(0 <= number < 128 for number in types.values())
    with_telephone_events(text, dict(zip((48_000, 8_000), free_payload_types(text), strict=False)))


def netem(data: bytes) -> None:
    """A description of a network: read, or refused with our own error."""
    try:
        conditions = NetworkConditions.parse(data.decode("utf-8", "replace"))
    except ConfigurationError:
        return
    assert conditions == NetworkConditions.parse(str(conditions))


def _packets(*payloads: bytes) -> bytes:
    """Datagrams as the target wants them."""
    header = struct.pack("!BBHLL", 0x80, 96, 1, 960, 7)
    return b"".join(
        bytes([size]) + (header + payload).ljust(size * 6, b"\0")
        for payload in payloads
        for size in (len(header + payload) // 6 + 1,)
    )


def _stun() -> tuple[bytes, ...]:
    request = stun_messages.Message(stun_messages.Method.BINDING, stun_messages.Class.REQUEST, b"t" * 12)
    request.attributes |= {"USERNAME": "user:them", "PRIORITY": 1, "ICE-CONTROLLING": 5}
    wrong = bytes(request)
    request.add_message_integrity(b"p" * 22)
    return pieces(wrong, bytes(request)), pieces(b"\x16\xfe\xfd" + bytes(40), b"\x80\xc8\0\1" + bytes(8))


def _rtcp() -> bytes:
    info = RtcpReceiverInfo(ssrc=7, fraction_lost=5, packets_lost=1, highest_sequence=9, jitter=3, lsr=1, dlsr=1)
    source = RtcpSourceInfo(ssrc=8, items=[(1, b"{name}")])
    compound = (RtcpRrPacket(ssrc=8, reports=[info]), RtcpSdesPacket([source]), RtcpPsfbPacket(1, 8, 7))
    return pieces(
        b"".join(map(bytes, compound)), bytes(RtcpPsfbPacket(15, 8, 0, b"REMB" + bytes(8))), bytes(RtcpByePacket([8]))
    )


def _sctp() -> tuple[bytes, ...]:
    opening = DataChunk(flags=3)
    opening.tsn, opening.stream_id, opening.protocol = 100, 1, 50
    opening.user_data = struct.pack("!BBHLHH", 3, 0, 0, 0, 4, 0) + b"name"
    first = DataChunk(flags=2)
    first.tsn, first.stream_id, first.protocol, first.user_data = 101, 1, 51, b'{"type": '
    last = DataChunk(flags=1)
    last.tsn, last.stream_id, last.protocol, last.user_data = 102, 1, 51, b'"x"}'
    skipping, ack, reset, alive = ForwardTsnChunk(), SackChunk(), ReconfigChunk(), HeartbeatChunk()
    skipping.cumulative_tsn, skipping.streams = 110, [(1, 2)]
    ack.cumulative_tsn, ack.gaps = 999, []
    reset.params = [(13, bytes(StreamResetOutgoingParam(1, 1, 110, [1])))]
    alive.params = [(1, b"time")]
    return (
        pieces(bytes(opening), bytes(first) + bytes(last), bytes(ack), bytes(skipping), bytes(reset)),
        pieces(bytes(alive), bytes(skipping), bytes(opening), bytes(last), bytes(first)),
    )


TARGETS = {
    "datagrams": Target(datagrams, (_packets(b"\xf8\xff\xfe", b"\x78" + bytes(60)),), examples=60),
    "rtcp": Target(rtcp, (_rtcp(),)),
    "stun": Target(stun, _stun()),
    "sctp": Target(sctp, _sctp()),
    "sdp": Target(sdp, tuple(path.read_bytes() for path in sorted((FIXTURES / "sdp").glob("*.sdp")))),
    "netem": Target(
        netem, (b"loss=5%,burst=3,delay=40ms,jitter=20ms,rate=64kbit,queue=5,outage=10s+2s/20s",), examples=60
    ),
}
