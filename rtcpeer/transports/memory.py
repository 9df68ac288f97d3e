"""The memory link: two sessions of one process, an emulated network between them, no socket.

All of it happens on the running loop's clock. On a loop whose time is virtual, minutes of a call take seconds, and
the same seed makes the same call. Audio goes as RTP packets and is reported on by RTCP; messages arrive whole and in
order, late by the network's delay. There is no encryption, no negotiation and no video.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Literal

import numpy as np
from aiortc.rtp import RtcpPacket, RtcpReceiverInfo, RtcpRrPacket
from numpy.typing import NDArray

from ..audio.coding import DECODERS, ReceiverWishes, VoiceEncoder
from ..audio.jitter import Playout, PlayoutFrame
from ..audio.level import Level
from ..errors import ConnectionLost, RemoteProtocolError
from ..formats import OpusSettings
from ..netem import CLEAN, NetworkConditions
from ..protocols.base import Message, VoiceProtocol
from ..stats import OutboundAudioStats
from .impairment import Impairment
from .link import NO_STATS, Link, LinkListener, Reports
from .rtp import PacketWriter, is_rtcp
from .rtp import parse as parse_rtp
from .watchdog import WATCHFUL

PAYLOAD_TYPES = {111: "opus", 0: "pcmu", 8: "pcma"}
MESSAGE_LIMIT = 1000
"""Messages on their way before we call the far end stuck."""


class MemoryLink(Link):
    """One end. Make two, ``connect`` one to the other; both are open then, until one of them is closed.

    Args:
        codec: What we speak, one of ``audio.coding.DECODERS``; all of them are heard.
        wishes: What the far end wants to receive.
        netem: What happens to our packets, to those we send and to those we receive.
    """

    def __init__(
        self,
        protocol: VoiceProtocol,
        listener: LinkListener,
        *,
        codec: str = "opus",
        wishes: ReceiverWishes | None = None,
        netem: NetworkConditions = CLEAN,
        netem_seed: int | str = 0,
    ) -> None:
        self.protocol = protocol
        self._listener = self.reports = listener = Reports(listener)
        self._loop = asyncio.get_running_loop()
        self._impairment = Impairment(netem, netem_seed)
        self._voice = VoiceEncoder(codec, wishes or ReceiverWishes(fec=True))
        self._playout = Playout({number: DECODERS[name] for number, name in PAYLOAD_TYPES.items()})
        random = Random(f"{netem_seed}/rtp")
        self._ssrc = random.getrandbits(32)
        self._sequence_number = random.getrandbits(16)
        self._timestamp_origin = random.getrandbits(32)
        payload_type = next(number for number, name in PAYLOAD_TYPES.items() if name == codec)
        self._writer = PacketWriter(payload_type, self._ssrc, b"", None)
        self._sent = OutboundAudioStats(target_bitrate=self._voice.bitrate)
        self._reported = (0, 0)
        self._messages: deque[Message] = deque()
        self._other: MemoryLink | None = None
        self._consent: asyncio.TimerHandle | None = None

    def connect(self, other: MemoryLink) -> None:
        """Open both ends."""
        self._other, other._other = other, self

    # While it runs

    @property
    def was_ready(self) -> bool:
        return self._other is not None

    @property
    def conditions(self) -> NetworkConditions:
        return self._impairment.conditions

    def send_messages(self, messages: Sequence[Message]) -> None:
        if self._other is None:
            raise ConnectionLost("the far end is gone")
        delay = self._impairment.conditions.delay + self._other._impairment.conditions.delay
        if len(self._messages) + len(messages) > MESSAGE_LIMIT:
            raise ConnectionLost(f"the far end takes no messages: {len(self._messages)} wait")
        for message in messages:
            self._messages.append(message)
            self._loop.call_later(delay, self._deliver_message, self._other)

    def _deliver_message(self, to: MemoryLink) -> None:
        if to._other is not self:
            return
        try:
            said = to.protocol.receive(self._messages.popleft())
        except RemoteProtocolError as exc:
            to._listener.on_refused(str(exc))
            return
        for each in said:
            to._listener.on_said(each)

    def send_audio(self, pcm: NDArray[np.int16], frame: int, *, voiced: bool, level: Level | None = None) -> None:
        for payload, timestamp in self._voice.encode(pcm, frame):
            ticks = (self._timestamp_origin + timestamp) & 0xFFFF_FFFF
            self.send_datagram(self._writer.write(self._sequence_number, ticks, payload, level=127, voiced=voiced))
            self._sequence_number = (self._sequence_number + 1) & 0xFFFF
            self._sent.packets_sent += 1
            self._sent.bytes_sent += len(payload)

    def send_datagram(self, data: bytes) -> None:
        """Send what may or may not be RTP or RTCP, through both ends' networks."""
        other = self._other
        if other is not None:
            self._impairment.send(data, lambda: other._impairment.receive(data, lambda: other._on_datagram(data)))

    def _on_datagram(self, data: bytes) -> None:
        if self._other is None:
            return
        if is_rtcp(data):
            self._on_rtcp(data)
        elif (packet := parse_rtp(data)) is not None:
            self._playout.put(packet, self._loop.time())

    def _on_rtcp(self, data: bytes) -> None:
        try:
            packets = RtcpPacket.parse(data)
        except ValueError:
            return
        for report in (each for packet in packets if isinstance(packet, RtcpRrPacket) for each in packet.reports):
            if report.ssrc == self._ssrc:
                self._sent.fraction_lost = report.fraction_lost / 256
                self._sent.packets_lost = report.packets_lost
                self._sent.jitter = report.jitter / self._voice.clock_rate

    def hear(self, now: float) -> PlayoutFrame:
        return self._playout.get(now)

    def set_opus(self, settings: OpusSettings) -> None:
        self._voice.use(settings)
        self._sent.target_bitrate = self._voice.bitrate

    def adapt(self) -> None:
        if self._sent.fraction_lost is not None:
            self._voice.adapt(self._sent.fraction_lost)
        if self._other is not None:
            self.send_datagram(self._report(self._other))

    def _report(self, other: MemoryLink) -> bytes:
        """Make a receiver report (RFC 3550, 6.4.2)."""
        stats = self._playout.stats
        now = stats.packets_lost, stats.packets_received
        lost, received = (each - before for each, before in zip(now, self._reported, strict=True))
        self._reported = now
        expected = max(1, lost + received)
        info = RtcpReceiverInfo(
            ssrc=other._ssrc,
            fraction_lost=min(255, max(0, 256 * lost // expected)),
            packets_lost=max(0, stats.packets_lost),
            highest_sequence=0,
            jitter=round(stats.jitter * other._voice.clock_rate),
            lsr=0,
            dlsr=0,
        )
        return bytes(RtcpRrPacket(ssrc=self._ssrc, reports=[info]))

    def stats(self) -> dict[str, Any]:
        return {
            **NO_STATS,
            "inbound_audio": self._playout.stats.to_dict(),
            "outbound_audio": self._sent.to_dict(),
            "netem": self._impairment.stats(),
        }

    def impair(self, conditions: NetworkConditions) -> None:
        self._impairment.conditions = conditions

    # Ending

    async def close(self) -> None:
        self._leave(lambda other: other._end("remote", "the far end closed the link"))

    async def abandon(self) -> None:
        self._leave(MemoryLink._miss_consent)

    def _miss_consent(self) -> None:
        self._consent = self._loop.call_later(WATCHFUL.lost_after, self._end, "lost", "the far end stopped answering")

    def _leave(self, tell: Callable[[MemoryLink], None]) -> None:
        self._impairment.close()
        if self._consent is not None:
            self._consent.cancel()
        other, self._other = self._other, None
        if other is not None:
            tell(other)

    def _end(self, reason: Literal["remote", "lost"], detail: str) -> None:
        self._impairment.close()
        self._other = None
        self._listener.on_ended(reason, detail)
