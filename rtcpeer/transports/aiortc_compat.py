"""The one room that knows aiortc's private parts.

Every touch says what it works around. Private names change between minor versions, so the ones used here are
checked at import: an aiortc that moved them fails loudly at start-up, not silently in a call.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from aioice.ice import Connection, StunProtocol
from aiortc import RTCPeerConnection, RTCRtpTransceiver, clock
from aiortc.codecs import is_rtx
from aiortc.codecs.vpx import vp8_depayload
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcdtlstransport import State as DtlsState
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics, decoder_worker
from aiortc.rtcrtpsender import RTCEncodedFrame, RTCRtpSender, random_sequence_number
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    DataChunk,
    InboundStream,
    RTCSctpTransport,
    tsn_plus_one,
)
from aiortc.rtp import AnyRtcpPacket, HeaderExtensions, RtcpByePacket, RtcpRrPacket, RtcpSrPacket, RtpPacket
from aiortc.utils import random32, uint16_add, uint32_gte
from pylibsrtp import Error as SrtpError

from ..audio.jitter import MediaPacket
from ..formats import VOICE
from .rtp import Numbering, PacketWriter, is_rtcp
from .rtp import parse as parse_rtp

logger = logging.getLogger(__name__)

LONGEST_DATAGRAM = 1484
"""Bytes: libsrtp's buffer here holds 1500, trailer included; nothing longer crosses an Ethernet."""
LONGEST_PACKET = LONGEST_DATAGRAM - 16
"""Bytes of an RTP packet before SRTP's tag is added."""

_PRIVATE: dict[type, tuple[str, ...]] = {
    RTCPeerConnection: (
        "_RTCPeerConnection__connect",
        "_RTCPeerConnection__iceTransports",
        "_RTCPeerConnection__sctp",
    ),
    RTCRtpSender: (
        "_run_rtp",
        "_handle_rtcp_packet",
        "_next_encoded_frame",
        "_send_keyframe",
        "_ssrc",
        "_RTCRtpSender__mid",
        "_RTCRtpSender__rtp_started",
        "_RTCRtpSender__rtp_exited",
        "_RTCRtpSender__rtp_header_extensions_map",
        "_RTCRtpSender__ntp_timestamp",
        "_RTCRtpSender__rtp_timestamp",
        "_RTCRtpSender__octet_count",
        "_RTCRtpSender__packet_count",
        "_RTCRtpSender__rtt",
    ),
    RTCRtpReceiver: (
        "receive",
        "_handle_rtp_packet",
        "_handle_rtcp_packet",
        "_run_rtcp",
        "_send_rtcp_pli",
        "_RTCRtpReceiver__codecs",
        "_RTCRtpReceiver__decoder_error",
        "_RTCRtpReceiver__decoder_queue",
        "_RTCRtpReceiver__decoder_thread",
        "_RTCRtpReceiver__jitter_buffer",
        "_RTCRtpReceiver__remote_streams",
        "_RTCRtpReceiver__rtcp_task",
        "_RTCRtpReceiver__started",
        "_RTCRtpReceiver__transport",
    ),
    RTCRtpTransceiver: ("_codecs",),
    RTCDtlsTransport: (
        "_handle_rtp_data",
        "_register_rtp_receiver",
        "_rtp_router",
        "_rx_srtp",
        "_send_rtp",
        "_state",
        "_tx_srtp",
        "_RTCDtlsTransport__rx_bytes",
        "_RTCDtlsTransport__rx_packets",
        "_RTCDtlsTransport__tx_bytes",
        "_RTCDtlsTransport__tx_packets",
    ),
    RTCSctpTransport: (
        "_advertised_rwnd",
        "_data_channel_receive",
        "_get_inbound_stream",
        "_inbound_streams",
        "_last_received_tsn",
        "_receive_data_chunk",
    ),
    Connection: (
        "connect",
        "get_component_candidates",
        "sendto",
        "_closing",
        "_nominated",
        "_protocols",
    ),
    StunProtocol: ("send_stun", "send_data", "datagram_received"),
}


def _check_private_names() -> None:
    missing = [
        f"{cls.__name__}.{name}"
        for cls, names in _PRIVATE.items()
        for name in names
        if not hasattr(cls, name) and name not in vars(cls)["__init__"].__code__.co_names
    ]
    if missing:
        raise ImportError(
            f"this aiortc/aioice has no {', '.join(missing)}; rtcpeer needs aiortc 1.16 and aioice 0.13"
        )


_check_private_names()


def _run_now(step: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never really waits, without a task.

    aiortc's send chain is declared async, but ends in ``DatagramTransport.sendto``, which is not. Driving it here
    saves a task and a wake-up fifty times a second and call.
    """
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise RuntimeError("aiortc's send path waited")


def _send_rtp(dtls: Any, packet: bytes) -> None:
    """``RTCDtlsTransport._send_rtp`` in one step, where nobody stands between it and the transport.

    Works around its ``state`` being an enumeration's name made anew each time, and three coroutines a packet.
    """
    pair = dtls.transport._connection._nominated.get(1)
    if pair is None or dtls._state is not DtlsState.CONNECTED or "send_data" in vars(pair.protocol):
        _run_now(dtls._send_rtp(packet))  # raises what there is to raise, or passes an interceptor
        return
    data = dtls._tx_srtp.protect(packet)
    pair.protocol.transport.sendto(data, pair.remote_addr)
    dtls._RTCDtlsTransport__tx_bytes += len(data)
    dtls._RTCDtlsTransport__tx_packets += 1


class AudioSender:
    """Ready-made audio packets out of aiortc's sender, whenever the caller says.

    Works around ``RTCRtpSender._run_rtp``: it pulls frames from a track (a task and two wake-ups a frame), encodes in
    the default executor with fixed settings, and ends for good when the track ends. RTCP reports, BYE and the
    transport stay aiortc's; its counters are kept up to date so that they stay true.
    """

    def __init__(self, sender: RTCRtpSender) -> None:
        self._sender = sender
        self._writer: PacketWriter | None = None
        self._ready_writer: PacketWriter | None = None
        self._event_writer: PacketWriter | None = None
        self._now = asyncio.get_running_loop().time
        self.clock_rate = VOICE.sample_rate
        """Ticks of the RTP timestamp a second."""
        self.event_types: Mapping[int, int] = {}
        """RTP payload types of telephone events that the far end takes, by clock rate."""
        self.packets_sent = 0
        self.bytes_sent = 0
        self.fraction_lost: float | None = None
        """Of our packets, as the far end's last receiver report says: 0 to 1."""
        self.packets_lost = 0
        self.jitter = 0
        """From the same report, in ticks of the RTP clock."""
        sender._run_rtp = self._stay_ready  # type: ignore[method-assign]
        self._handle_rtcp = sender._handle_rtcp_packet
        sender._handle_rtcp_packet = self._note_report  # type: ignore[method-assign]

    @property
    def ready(self) -> bool:
        """Negotiated and connected: packets can go."""
        transport: Any = self._sender.transport
        return self._writer is not None and transport._state is DtlsState.CONNECTED

    @property
    def round_trip_time(self) -> float | None:
        """Seconds, from RTCP; ``None`` until the first report."""
        rtt: float | None = self._sender._RTCRtpSender__rtt  # type: ignore[attr-defined]
        return rtt

    def send(self, payload: bytes, timestamp: int, *, level: int, voiced: bool) -> None:
        """Send one packet of our own making now.

        Args:
            timestamp: In ticks of the RTP clock since the call began.
            level: −dBov, 0 (loudest) to 127 (RFC 6464).
        """
        assert self._writer is not None
        sequence, ticks = self._number(self, None, timestamp)
        self._send(self._writer.write(sequence, ticks, payload, level=level, voiced=voiced), payload, ticks)

    @property
    def event_rate(self) -> int | None:
        """Ticks a second of telephone events, which is the audio's own; ``None``: the far end takes none."""
        return self.clock_rate if self.clock_rate in self.event_types else None

    def send_ready(self, origin: object, sequence: int, timestamp: int, payload: bytes, *, marker: bool) -> None:
        """Send somebody else's packet now, numbered as its origin counts; its audio level, not known, is left out."""
        assert self._ready_writer is not None
        sequence, ticks = self._number(origin, sequence, timestamp)
        self._send(self._ready_writer.write(sequence, ticks, payload, marker=marker), payload, ticks)

    def send_event(
        self, payload: bytes, timestamp: int, *, marker: bool, origin: object = None, sequence: int | None = None
    ) -> None:
        """Send one telephone-event packet now: ours, or numbered as its origin counts."""
        if self._event_writer is None:
            if origin is not None:
                self._numbers.leave_out(origin)
            return
        number, ticks = self._number(origin or self, sequence, timestamp)
        self._send(self._event_writer.write(number, ticks, payload, marker=marker), payload, ticks)

    def _number(self, origin: object, sequence: int | None, timestamp: int) -> tuple[int, int]:
        return self._numbers.next(origin, sequence, timestamp, round(self._now() * self.clock_rate))

    def _send(self, packet: bytes, payload: bytes, rtp_timestamp: int) -> None:
        sender: Any = self._sender
        if len(packet) > LONGEST_PACKET:
            return  # no Opus packet is so long, whoever made it
        try:
            _send_rtp(sender.transport, packet)
        except (ConnectionError, OSError):
            return  # the transport is going down and says so itself
        except SrtpError:
            return  # somebody else's packets, two with the same number: only the first is sent
        self.packets_sent += 1
        self.bytes_sent += len(payload)
        # The pair that sender reports carry: seconds since 1900 in 32.32 bits (RFC 3550, 4).
        sender._RTCRtpSender__ntp_timestamp = int((time.time() + 2_208_988_800) * (1 << 32))
        sender._RTCRtpSender__rtp_timestamp = rtp_timestamp
        sender._RTCRtpSender__packet_count = self.packets_sent
        sender._RTCRtpSender__octet_count = self.bytes_sent

    async def _stay_ready(self, codec: RTCRtpCodecParameters) -> None:
        sender: Any = self._sender
        assert codec.payloadType is not None
        extension, level_at = self._header_extension()
        self._writer = PacketWriter(codec.payloadType, sender._ssrc, extension, level_at)
        without_level = self._written_extension(None)
        self._ready_writer = PacketWriter(codec.payloadType, sender._ssrc, without_level, None)
        self.clock_rate = codec.clockRate
        self._numbers = Numbering(random_sequence_number(), random32(), frame=codec.clockRate // 50)
        if codec.clockRate in self.event_types:
            event_type = self.event_types[codec.clockRate]
            self._event_writer = PacketWriter(event_type, sender._ssrc, without_level, None)
        sender._RTCRtpSender__rtp_started.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass
        finally:
            self._writer = self._ready_writer = self._event_writer = None
            sender._RTCRtpSender__rtp_exited.set()

    def _header_extension(self) -> tuple[bytes, int | None]:
        """Let aiortc write the extension twice: the byte that differs is the audio level."""
        written = [self._written_extension(level) for level in ((False, 0), (True, 127))]
        differing = [at for at, (one, other) in enumerate(zip(*written, strict=True)) if one != other]
        return written[0], differing[0] if differing else None

    def _written_extension(self, level: tuple[bool, int] | None) -> bytes:
        sender: Any = self._sender
        values = HeaderExtensions(mid=sender._RTCRtpSender__mid, audio_level=level)
        profile, content = sender._RTCRtpSender__rtp_header_extensions_map.set(values)
        return struct.pack("!HH", profile, len(content) // 4) + content if content else b""

    async def _note_report(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, (RtcpRrPacket, RtcpSrPacket)):
            for report in packet.reports:
                if report.ssrc == self._sender._ssrc:
                    self.fraction_lost = report.fraction_lost / 256
                    self.packets_lost = report.packets_lost
                    self.jitter = report.jitter
        await self._handle_rtcp(packet)


class AudioReceiver:
    """Received audio packets, undecoded, as they arrive.

    Works around ``RTCRtpReceiver``: its jitter buffer counts packets instead of time and loses a fifth of the speech
    at 5 % packet loss, and its decoder thread fills an unbounded queue that nobody may be reading. Its reception
    statistics are still fed: without receiver reports the far end never turns FEC on.
    """

    def __init__(
        self, receiver: RTCRtpReceiver, on_packet: Callable[[MediaPacket], None], on_bye: Callable[[], None]
    ) -> None:
        self.receiver = receiver
        self._receiver: Any = receiver
        self._on_packet = on_packet
        self.event_types: Mapping[int, int] = {}
        """Clock rates of telephone events by the payload type we announced; set it before the connection is up."""
        receiver.receive = self._receive  # type: ignore[method-assign]
        receiver._handle_rtp_packet = self._handle  # type: ignore[method-assign]
        _watch_for_bye(receiver, on_bye)

    async def _receive(self, parameters: RTCRtpReceiveParameters) -> None:
        # aiortc negotiates no telephone-event (RFC 4733), and routes no payload type that it did not negotiate.
        for payload_type, clock_rate in self.event_types.items():
            event = RTCRtpCodecParameters("audio/telephone-event", clock_rate, payloadType=payload_type)
            parameters.codecs.append(event)
        await _receive_without_decoder(self._receiver, parameters)

    @property
    def transport(self) -> RTCDtlsTransport:
        return self.receiver.transport

    async def _handle(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.take(
            MediaPacket(
                packet.sequence_number,
                packet.timestamp,
                packet.payload_type,
                packet.ssrc,
                packet.payload,
                bool(packet.marker),
            )
        )

    def take(self, packet: MediaPacket) -> None:
        """Count one packet for the receiver reports and hand it on, if its payload type was negotiated."""
        codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
        if codec is None:
            return
        streams = self._receiver._RTCRtpReceiver__remote_streams
        if packet.ssrc not in streams:
            # RFC 3550, 6.4.1: a report block names at most 31 sources; more than that is nobody's voice call.
            if len(streams) >= 31:
                return
            streams[packet.ssrc] = StreamStatistics(codec.clockRate)
        streams[packet.ssrc].add(packet)
        self._on_packet(packet)


def receive_directly(pc: RTCPeerConnection, audio: AudioReceiver) -> None:
    """Take audio from the socket to its receiver in one step; candidates must have been gathered.

    Works around aioice trying to parse every datagram as STUN and queueing it for a task of the DTLS transport: a
    wake-up a packet. And around that task dying of an empty datagram, or of one longer than libsrtp's buffer, which
    anybody may send: the call went down with it.
    """
    for transport in _ice_transports(pc):
        for protocol in transport._connection._protocols:
            protocol.datagram_received = _direct(transport._connection, protocol, audio)
            # asyncio makes room for 256 KiB before every read, which costs more than the read. What this truncates
            # is too long anyway. A TURN transport, and other loops' transports, have no such size.
            if hasattr(protocol.transport, "max_size"):
                protocol.transport.max_size = 2048


def _direct(connection: Any, protocol: Any, audio: AudioReceiver) -> Callable[[bytes, tuple[Any, ...]], None]:
    receive = protocol.datagram_received
    component = protocol.local_candidate.component

    def datagram_received(data: bytes, addr: tuple[Any, ...]) -> None:
        if not data or len(data) > LONGEST_DATAGRAM:
            return
        # RFC 7983, 7: RTP and RTCP begin with 128 to 191, STUN with 0 to 3, DTLS with 20 to 63.
        if not 128 <= data[0] <= 191:
            receive(data, addr)
            return
        dtls: Any = audio.transport
        if is_rtcp(data) or dtls._state is not DtlsState.CONNECTED:
            connection.data_received(data, component)
            return
        dtls._RTCDtlsTransport__rx_bytes += len(data)
        dtls._RTCDtlsTransport__rx_packets += 1
        try:
            plain = dtls._rx_srtp.unprotect(data)
        except SrtpError:
            return
        packet = parse_rtp(plain)
        if packet is None:
            return
        if dtls._rtp_router.route_rtp(packet) is audio.receiver:
            audio.take(packet)
            return
        try:
            _run_now(dtls._handle_rtp_data(plain, arrival_time_ms=clock.current_ms()))
        except struct.error as exc:
            logger.debug("a malformed header extension: %s", exc)

    return datagram_received


class VideoReceiver:
    """Received video: counted always, decoded only once somebody wants to look.

    Works around ``RTCRtpReceiver.receive``, which starts a decoder thread for a line that may stay silent, feeding
    a queue that may never be read.
    """

    def __init__(self, receiver: RTCRtpReceiver, on_bye: Callable[[], None]) -> None:
        self._receiver: Any = receiver
        self._handle_rtp = receiver._handle_rtp_packet
        self._decoding = False
        self._on_frame: Callable[[bytes, int], None] | None = None
        self.packets_received = 0
        self.frames_received = 0
        receiver.receive = functools.partial(_receive_without_decoder, receiver)  # type: ignore[method-assign]
        receiver._handle_rtp_packet = self._handle  # type: ignore[method-assign]
        _watch_for_bye(receiver, on_bye)

    def decode(self) -> None:
        """Start decoding; frames come out of the receiver's track. Needs a running receiver to have any effect."""
        self._decoding = True

    def watch(self, on_frame: Callable[[bytes, int], None]) -> None:
        """Hand every frame, whole and undecoded, and its RTP timestamp to ``on_frame``."""
        self._on_frame = on_frame
        buffer = self._receiver._RTCRtpReceiver__jitter_buffer
        add = buffer.add
        self._asked_for_key_frame = False

        def add_and_tell(packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
            wants_key_frame, frame = add(packet)
            if frame is not None:
                on_frame(frame.data, frame.timestamp)
            wants_key_frame = wants_key_frame or not self._asked_for_key_frame
            self._asked_for_key_frame = True
            return wants_key_frame, frame

        buffer.add = add_and_tell

    async def _handle(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self.packets_received += 1
        codec = self._receiver._RTCRtpReceiver__codecs.get(packet.payload_type)
        # libwebrtc probes the bandwidth with retransmissions (RFC 4588): an old frame again, its marker included.
        if codec is not None and not is_rtx(codec):
            self.frames_received += packet.marker  # RFC 7741, 4.1: set on the last packet of a frame
        if not self._decoding and self._on_frame is None:
            return
        receiver = self._receiver
        if self._decoding and receiver._RTCRtpReceiver__decoder_thread is None:
            thread = threading.Thread(
                name="video-decoder",
                target=decoder_worker,
                args=(
                    asyncio.get_running_loop(),
                    receiver._RTCRtpReceiver__decoder_queue,
                    receiver._track._queue,
                    receiver._RTCRtpReceiver__decoder_error,
                ),
            )
            receiver._RTCRtpReceiver__decoder_thread = thread
            thread.start()
            await receiver._send_rtcp_pli(packet.ssrc)  # decoding can only start at a key frame
        await self._handle_rtp(packet, arrival_time_ms)


async def _receive_without_decoder(receiver: Any, parameters: RTCRtpReceiveParameters) -> None:
    """``RTCRtpReceiver.receive`` less the decoder thread."""
    if receiver._RTCRtpReceiver__started:
        return
    for codec in parameters.codecs:
        receiver._RTCRtpReceiver__codecs[codec.payloadType] = codec
    receiver._RTCRtpReceiver__transport._register_rtp_receiver(receiver, parameters)
    receiver._RTCRtpReceiver__rtcp_task = asyncio.ensure_future(receiver._run_rtcp())
    receiver._RTCRtpReceiver__started = True


def _watch_for_bye(receiver: RTCRtpReceiver, on_bye: Callable[[], None]) -> None:
    """Report RTCP BYE: aiortc stops its decoder and tells nobody, so that hung up and lost look the same."""
    handle = receiver._handle_rtcp_packet

    async def note_bye(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpByePacket):
            on_bye()
        await handle(packet)

    receiver._handle_rtcp_packet = note_bye  # type: ignore[method-assign]


def negotiated_codecs(line: RTCRtpTransceiver) -> dict[int, str]:
    """The codecs of a line, once negotiated: payload type → encoding name in lower case, the one we send first.

    aiortc has no ``getParameters``.
    """
    return {codec.payloadType: codec.name.lower() for codec in line._codecs if codec.payloadType is not None}


def idle_until_track(sender: RTCRtpSender) -> asyncio.Event:
    """Let a sender without a track sleep; set the event once it has one.

    Works around ``RTCRtpSender._run_rtp`` polling every 20 ms for a track that may never come.
    """
    attached = asyncio.Event()
    run = sender._run_rtp

    async def wait_then_run(codec: RTCRtpCodecParameters) -> None:
        private: Any = sender
        private._RTCRtpSender__rtp_started.set()
        try:
            await attached.wait()
        except asyncio.CancelledError:
            private._RTCRtpSender__rtp_exited.set()
            return
        await run(codec)

    sender._run_rtp = wait_then_run  # type: ignore[method-assign]
    return attached


def watch_video_sender(sender: RTCRtpSender, on_frame: Callable[[bytes, int], None]) -> None:
    """Hand every VP8 frame that is sent, whole, and its timestamp (90 kHz, from 0) to ``on_frame``."""
    next_frame = sender._next_encoded_frame
    told = False

    async def next_frame_and_tell(codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        nonlocal told
        if not told:
            sender._send_keyframe()  # it may run already, and the others cannot be seen without one
            told = True
        frame = await next_frame(codec)
        if frame is not None:
            on_frame(b"".join(vp8_depayload(payload) for payload in frame.payloads), frame.timestamp)
        return frame

    sender._next_encoded_frame = next_frame_and_tell  # type: ignore[method-assign]


def limit_gathering(pc: RTCPeerConnection, seconds: float) -> None:
    """Give every server that long to answer while gathering; aioice's own 5 s cannot be configured."""
    for transport in _ice_transports(pc):
        connection: Any = transport._connection
        connection.get_component_candidates = functools.partial(connection.get_component_candidates, timeout=seconds)


def path_alive(pc: RTCPeerConnection) -> bool:
    """Whether ICE has a nominated pair: tells a goodbye (DTLS closed, path alive) from silence (consent lost)."""
    return any(transport._connection._nominated for transport in _ice_transports(pc))


def selected_pair(pc: RTCPeerConnection) -> dict[str, str] | None:
    """Candidate types and addresses of the pair in use, for the report; ``None`` before there is one."""
    for transport in _ice_transports(pc):
        for pair in transport._connection._nominated.values():
            return {
                "local_type": pair.local_candidate.type,
                "local": f"{pair.local_candidate.host}:{pair.local_candidate.port}",
                "remote_type": pair.remote_candidate.type,
                "remote": f"{pair.remote_addr[0]}:{pair.remote_addr[1]}",
            }
    return None


def mute(pc: RTCPeerConnection) -> None:
    """Send and hear nothing any more, not even a goodbye: what a killed process looks like from afar."""

    async def drop(*args: Any, **kwargs: Any) -> None:
        return None

    for transport in _ice_transports(pc):
        connection: Any = transport._connection
        connection.sendto = drop
        for protocol in connection._protocols:
            protocol.send_data = drop
            protocol.send_stun = lambda *args: None
            protocol.datagram_received = lambda *args: None


def intercept_datagrams(
    pc: RTCPeerConnection,
    on_send: Callable[[bytes, Callable[[], None]], None],
    on_receive: Callable[[bytes, Callable[[], None]], None],
) -> Callable[[], None]:
    """Hand every datagram, and the function that passes it on, to the caller; return how to undo that.

    Passing on may happen later, or never; when the connection is closing it does nothing. Candidates must have been
    gathered. Works around aioice having no place for a socket of one's own. On a relayed pair this is what goes into
    TURN's framing and comes out of it.
    """
    undoing = [
        _intercept(transport._connection, protocol, on_send, on_receive)
        for transport in _ice_transports(pc)
        for protocol in transport._connection._protocols
    ]

    def undo() -> None:
        for each in undoing:
            each()

    return undo


def _intercept(
    connection: Any,
    protocol: Any,
    on_send: Callable[[bytes, Callable[[], None]], None],
    on_receive: Callable[[bytes, Callable[[], None]], None],
) -> Callable[[], None]:
    send_data, send_stun, receive = protocol.send_data, protocol.send_stun, protocol.datagram_received

    def unless_closing(step: Callable[[], None]) -> Callable[[], None]:
        return lambda: None if connection._closing else step()

    async def intercepted_data(data: bytes, addr: tuple[str, int]) -> None:
        on_send(data, unless_closing(lambda: _run_now(send_data(data, addr))))

    def intercepted_stun(message: Any, addr: tuple[str, int]) -> None:
        on_send(bytes(message), unless_closing(lambda: send_stun(message, addr)))

    def intercepted_receive(data: bytes, addr: tuple[Any, ...]) -> None:
        on_receive(data, unless_closing(lambda: receive(data, addr)))

    names = ("send_data", "send_stun", "datagram_received")
    for name, method in zip(names, (intercepted_data, intercepted_stun, intercepted_receive), strict=True):
        setattr(protocol, name, method)

    def undo() -> None:
        for name, method in zip(names, (send_data, send_stun, receive), strict=True):
            setattr(protocol, name, method)

    return undo


def _ice_transports(pc: RTCPeerConnection) -> list[Any]:
    private: Any = pc
    return list(private._RTCPeerConnection__iceTransports)


def watch_connecting(
    pc: RTCPeerConnection, on_failure: Callable[[Exception], None]
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Report what breaks while connecting; return what stops connecting, to be awaited before ``pc.close()``.

    Works around ``RTCPeerConnection`` connecting in a task that nobody looks at: an SDP without a DTLS fingerprint
    fails there unseen, and a connection closed amid it is left with RTCP and consent tasks started after the close.
    """
    private: Any = pc
    connect = private._RTCPeerConnection__connect
    tasks: set[asyncio.Task[Any]] = set()

    async def connect_watched() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await connect()
        except Exception as exc:
            on_failure(exc)
        finally:
            tasks.discard(task)

    async def stop() -> None:
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    private._RTCPeerConnection__connect = connect_watched
    return stop


def guard_channel(
    pc: RTCPeerConnection, limit: int, on_oversize: Callable[[str], None], on_malformed: Callable[[str], None]
) -> None:
    """Refuse DataChannel messages over ``limit`` bytes within fixed memory, and survive malformed ones.

    aiortc reassembles without any limit (its receive window is advertised but not enforced), and lets an assertion
    or a bad UTF-8 text out of its receive loop, which closes the whole connection.

    Args:
        on_oversize, on_malformed: Called with the reason, once a message.
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

    receive_chunk, receive_message = sctp._receive_data_chunk, sctp._data_channel_receive

    async def receive_chunk_within_bounds(chunk: DataChunk) -> None:
        if bounds.take(chunk, in_order=chunk.tsn == tsn_plus_one(sctp._last_received_tsn)):
            await receive_chunk(chunk)

    async def receive_message_guarded(stream_id: int, pp_id: int, data: bytes) -> None:
        try:
            await receive_message(stream_id, pp_id, data)
        except (AssertionError, UnicodeDecodeError, struct.error) as exc:
            on_malformed(f"malformed DataChannel message of {len(data)} bytes: {type(exc).__name__}")

    sctp._get_inbound_stream = bounded_stream
    sctp._receive_data_chunk = receive_chunk_within_bounds
    sctp._data_channel_receive = receive_message_guarded


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
