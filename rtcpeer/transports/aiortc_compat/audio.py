"""Audio packets past aiortc's encoder, jitter buffer and decoder thread."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable, Mapping
from typing import Any

from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcdtlstransport import State as DtlsState
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics
from aiortc.rtcrtpsender import RTCRtpSender, random_sequence_number
from aiortc.rtp import HeaderExtensions, RtpPacket
from aiortc.utils import random32
from pylibsrtp import Error as SrtpError

from ...audio.jitter import MediaPacket
from ...formats import VOICE
from ..rtp import Numbering, PacketWriter
from .receivers import MOST_SOURCES, receive_without_decoder, watch_for_bye
from .srtp import LONGEST_PACKET, protector
from .steps import run_now

logger = logging.getLogger(__name__)


class _DirectSender:
    """``RTCDtlsTransport._send_rtp`` in one step, where nobody stands between it and the transport.

    Works around three coroutines a packet, and around its ``state`` being an enumeration's name made anew each time.
    """

    def __init__(self) -> None:
        self._session: Any = None
        self._protect: Callable[[bytes], bytes] = bytes

    def send(self, dtls: Any, packet: bytes) -> None:
        """Send an RTP packet of up to ``LONGEST_PACKET`` bytes; ``dtls`` must be connected.

        Raises:
            ConnectionError, OSError: there is no path, or it is going down.
            SrtpError: two packets with the same number.
        """
        pair = dtls.transport._connection._nominated.get(1)
        if pair is None or "send_data" in vars(pair.protocol):
            run_now(dtls._send_rtp(packet))  # raises what there is to raise, or passes an interceptor
            return
        if dtls._tx_srtp is not self._session:
            self._session = dtls._tx_srtp
            self._protect = protector(self._session)
        pair.protocol.transport.sendto(self._protect(packet), pair.remote_addr)


class AudioSender:
    """Ready-made audio packets out of aiortc's sender, whenever the caller says.

    Works around ``RTCRtpSender._run_rtp``: it pulls frames from a track (a task and two wake-ups a frame), encodes in
    the default executor with fixed settings, and ends for good when the track ends. The transport stays aiortc's;
    ``AudioReports`` says what was sent.
    """

    def __init__(self, sender: RTCRtpSender) -> None:
        self.sender = sender
        self._writer: PacketWriter | None = None
        self._ready_writer: PacketWriter | None = None
        self._event_writer: PacketWriter | None = None
        self._now = asyncio.get_running_loop().time
        self._direct = _DirectSender()
        self.clock_rate = VOICE.sample_rate
        """Ticks of the RTP timestamp a second."""
        self.event_types: Mapping[int, int] = {}
        """RTP payload types of telephone events that the far end takes, by clock rate."""
        self.payload_type: int | None = None
        """What to number audio with; ``None``: as aiortc negotiated, which knows 96 to 127 alone."""
        self.packets_sent = 0
        self.bytes_sent = 0
        self._last = (0.0, 0)  # when the last packet was sent, on the loop's clock, and its RTP timestamp
        sender._run_rtp = self._stay_ready  # type: ignore[method-assign]

    @property
    def ready(self) -> bool:
        """Negotiated and connected: packets can go."""
        transport: Any = self.sender.transport
        return self._writer is not None and transport._state is DtlsState.CONNECTED

    def timestamp_now(self) -> int:
        """Return the RTP timestamp of this moment: what was sent last, and the time that has passed since."""
        sent, timestamp = self._last
        return round(timestamp + (self._now() - sent) * self.clock_rate) & 0xFFFF_FFFF

    def send(self, payload: bytes, timestamp: int, *, level: int, voiced: bool) -> None:
        """Send one packet of our own making now.

        Args:
            timestamp: In ticks of the RTP clock since the call began.
            level: −dBov, 0 (loudest) to 127 (RFC 6464).
        """
        assert self._writer is not None
        now = self._now()
        sequence, ticks = self._numbers.next(self, None, timestamp, round(now * self.clock_rate))
        self._send(self._writer.write(sequence, ticks, payload, level=level, voiced=voiced), payload, ticks, now)

    @property
    def event_rate(self) -> int | None:
        """Ticks a second of telephone events, which is the audio's own; ``None``: the far end takes none."""
        return self.clock_rate if self.clock_rate in self.event_types else None

    def send_ready(self, origin: object, sequence: int, timestamp: int, payload: bytes, *, marker: bool) -> None:
        """Send somebody else's packet now, numbered as its origin counts; its audio level, not known, is left out."""
        assert self._ready_writer is not None
        now = self._now()
        sequence, ticks = self._numbers.next(origin, sequence, timestamp, round(now * self.clock_rate))
        self._send(self._ready_writer.write(sequence, ticks, payload, marker=marker), payload, ticks, now)

    def send_event(
        self, payload: bytes, timestamp: int, *, marker: bool, origin: object = None, sequence: int | None = None
    ) -> None:
        """Send one telephone-event packet now: ours, or numbered as its origin counts."""
        if self._event_writer is None:
            if origin is not None:
                self._numbers.leave_out(origin)
            return
        now = self._now()
        number, ticks = self._numbers.next(origin or self, sequence, timestamp, round(now * self.clock_rate))
        self._send(self._event_writer.write(number, ticks, payload, marker=marker), payload, ticks, now)

    def _send(self, packet: bytes, payload: bytes, rtp_timestamp: int, now: float) -> None:
        if len(packet) > LONGEST_PACKET:
            return  # no Opus packet is so long, whoever made it
        try:
            self._direct.send(self.sender.transport, packet)
        except (ConnectionError, OSError):
            return  # the transport is going down and says so itself
        except SrtpError:
            return  # somebody else's packets, two with the same number: only the first is sent
        self.packets_sent += 1
        self.bytes_sent += len(payload)
        self._last = now, rtp_timestamp

    async def _stay_ready(self, codec: RTCRtpCodecParameters) -> None:
        sender: Any = self.sender
        payload_type = codec.payloadType if self.payload_type is None else self.payload_type
        assert payload_type is not None
        extension, level_at = self._header_extension()
        self._writer = PacketWriter(payload_type, sender._ssrc, extension, level_at)
        without_level = self._written_extension(None)
        self._ready_writer = PacketWriter(payload_type, sender._ssrc, without_level, None)
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
        sender: Any = self.sender
        values = HeaderExtensions(mid=sender._RTCRtpSender__mid, audio_level=level)
        profile, content = sender._RTCRtpSender__rtp_header_extensions_map.set(values)
        return struct.pack("!HH", profile, len(content) // 4) + content if content else b""


class AudioReceiver:
    """Received audio packets, undecoded, as they arrive.

    Works around ``RTCRtpReceiver``: its jitter buffer counts packets instead of time and loses a fifth of the speech
    at 5 % packet loss, and its decoder thread fills an unbounded queue that nobody may be reading. Its reception
    statistics are still fed: without receiver reports the far end never turns FEC on.
    """

    def __init__(
        self,
        receiver: RTCRtpReceiver,
        on_packet: Callable[[MediaPacket], None],
        on_bye: Callable[[], None],
        on_unplayable: Callable[[int], None] = lambda payload_type: None,
    ) -> None:
        """``on_unplayable`` gets the payload type of each packet that nothing was negotiated for."""
        self.receiver = receiver
        self._receiver: Any = receiver
        self._on_packet = on_packet
        self.event_types: Mapping[int, int] = {}
        """Clock rates of telephone events by the payload type we announced; set it before the connection is up."""
        self.payload_types: Mapping[int, str] = {}
        """Encoding names by every payload type to be taken, also of those aiortc did not negotiate."""
        self.on_unplayable = on_unplayable
        receiver.receive = self._receive  # type: ignore[method-assign]
        receiver._handle_rtp_packet = self._handle  # type: ignore[method-assign]
        watch_for_bye(receiver, on_bye)

    async def _receive(self, parameters: RTCRtpReceiveParameters) -> None:
        # aiortc negotiates no telephone-event (RFC 4733), and routes no payload type that it did not negotiate.
        for payload_type, clock_rate in self.event_types.items():
            event = RTCRtpCodecParameters("audio/telephone-event", clock_rate, payloadType=payload_type)
            parameters.codecs.append(event)
        known = {codec.payloadType for codec in parameters.codecs}
        for payload_type, name in self.payload_types.items():
            if payload_type not in known:
                rate = VOICE.sample_rate if name == "opus" else 8_000
                parameters.codecs.append(RTCRtpCodecParameters(f"audio/{name}", rate, payloadType=payload_type))
        await receive_without_decoder(self._receiver, parameters)

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
            self.on_unplayable(packet.payload_type)
            return
        streams = self._receiver._RTCRtpReceiver__remote_streams
        if packet.ssrc not in streams:
            if len(streams) >= MOST_SOURCES:
                return
            streams[packet.ssrc] = StreamStatistics(codec.clockRate)
        streams[packet.ssrc].add(packet)
        self._on_packet(packet)
