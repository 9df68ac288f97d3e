"""RTCP of one call's audio: what we report once a second, and what the far end reports."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from .audio import AudioReceiver, AudioSender
from .steps import run_now

_CNAME = 1
_SINCE_1900 = 2_208_988_800
# RFC 6298's smoothing, as aiortc does it.
_RTT_ALPHA = 0.85


class AudioReports:
    """Both directions in one compound packet (RFC 3550, 6.1).

    Works around ``RTCRtpSender`` and ``RTCRtpReceiver`` reporting each for itself, and making W3C statistics of all
    they are told, which nobody here asks for: a twentieth of what a call costs. Make it before the connection is up.
    """

    def __init__(self, sender: AudioSender, receiver: AudioReceiver) -> None:
        self._audio = sender
        self._sender: Any = sender.sender
        self._receiver: Any = receiver.receiver
        self._told: tuple[int, float] | None = None  # NTP time of our last sender report as it comes back, and when
        # By SSRC, of which the transport lets in a bounded number: the same of the far end's sender reports.
        self._heard: dict[int, tuple[int, float]] = {}
        self.round_trip_time: float | None = None
        """Seconds; ``None`` until the first report."""
        self.fraction_lost: float | None = None
        """Of our packets, as the far end's last receiver report says: 0 to 1."""
        self.packets_lost = 0
        self.jitter = 0
        """From the same report, in ticks of the RTP clock."""
        self._handle_others = self._receiver._handle_rtcp_packet
        replacing: tuple[tuple[Any, str, Any], ...] = (
            (self._sender, "_run_rtcp", self._report_regularly),
            (self._sender, "_handle_rtcp_packet", self._on_reception_report),
            (self._receiver, "_run_rtcp", self._stay),
            (self._receiver, "_handle_rtcp_packet", self._on_sender_report),
        )
        for owner, name, method in replacing:
            setattr(owner, name, method)

    # What we report

    async def _report_regularly(self) -> None:
        self._sender._RTCRtpSender__rtcp_started.set()
        try:
            while True:
                # RFC 3550, 6.2: now sooner, now later, so that not everybody reports at the same time.
                await asyncio.sleep(0.5 + random.random())
                self._send(self._report())
        except asyncio.CancelledError:
            pass
        self._send(bytes(RtcpByePacket(sources=[self._sender._ssrc])))
        self._sender._RTCRtpSender__rtcp_exited.set()

    async def _stay(self) -> None:
        """The receiver's task: its reports are in the sender's."""
        self._receiver._RTCRtpReceiver__rtcp_started.set()
        with suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        self._receiver._RTCRtpReceiver__rtcp_exited.set()

    def _send(self, data: bytes) -> None:
        with suppress(ConnectionError):
            run_now(self._sender.transport._send_rtp(data))

    def _report(self) -> bytes:
        audio, ssrc, now = self._audio, self._sender._ssrc, time.time()
        report: RtcpSrPacket | RtcpRrPacket
        if audio.packets_sent:
            ntp = int((now + _SINCE_1900) * (1 << 32))
            info = RtcpSenderInfo(
                ntp_timestamp=ntp,
                rtp_timestamp=audio.timestamp_now(),
                packet_count=audio.packets_sent & 0xFFFF_FFFF,
                octet_count=audio.bytes_sent & 0xFFFF_FFFF,
            )
            report = RtcpSrPacket(ssrc, info, self._blocks(now))
            self._told = ntp >> 16 & 0xFFFF_FFFF, now
        else:
            report = RtcpRrPacket(ssrc, self._blocks(now))
        name = self._sender._RTCRtpSender__cname
        if name is None:
            return bytes(report)
        return bytes(report) + bytes(RtcpSdesPacket([RtcpSourceInfo(ssrc, [(_CNAME, name.encode())])]))

    def _blocks(self, now: float) -> list[RtcpReceiverInfo]:
        blocks = []
        for ssrc, stream in self._receiver._RTCRtpReceiver__remote_streams.items():
            last, when = self._heard.get(ssrc, (0, 0.0))
            delay = now - when
            blocks.append(
                RtcpReceiverInfo(
                    ssrc=ssrc,
                    fraction_lost=stream.fraction_lost,
                    packets_lost=stream.packets_lost,
                    highest_sequence=stream.max_seq,
                    jitter=stream.jitter,
                    lsr=last,
                    dlsr=int(delay * 65536) if last and 0 < delay < 65536 else 0,
                )
            )
        return blocks

    # What we are told

    async def _on_reception_report(self, packet: AnyRtcpPacket) -> None:
        if not isinstance(packet, (RtcpRrPacket, RtcpSrPacket)):
            return
        for report in packet.reports:
            if report.ssrc != self._sender._ssrc:
                continue
            self.fraction_lost = report.fraction_lost / 256
            self.packets_lost = report.packets_lost
            self.jitter = report.jitter
            if self._told is not None and report.lsr == self._told[0] and report.dlsr:
                took = max(0.0, time.time() - self._told[1] - report.dlsr / 65536)
                known = self.round_trip_time
                self.round_trip_time = took if known is None else _RTT_ALPHA * known + (1 - _RTT_ALPHA) * took

    async def _on_sender_report(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket):
            self._heard[packet.ssrc] = packet.sender_info.ntp_timestamp >> 16 & 0xFFFF_FFFF, time.time()
        else:
            await self._handle_others(packet)
