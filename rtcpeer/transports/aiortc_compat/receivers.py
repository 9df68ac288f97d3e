"""What both kinds of receiver need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import AnyRtcpPacket, RtcpByePacket

MOST_SOURCES = 31
"""Streams (SSRCs) that a far end may send: as many as a report can name (RFC 3550, 6.4.1), and more than any voice
call has."""


async def receive_without_decoder(receiver: Any, parameters: RTCRtpReceiveParameters) -> None:
    """``RTCRtpReceiver.receive`` less the decoder thread."""
    if receiver._RTCRtpReceiver__started:
        return
    for codec in parameters.codecs:
        receiver._RTCRtpReceiver__codecs[codec.payloadType] = codec
    receiver._RTCRtpReceiver__transport._register_rtp_receiver(receiver, parameters)
    receiver._RTCRtpReceiver__rtcp_task = asyncio.ensure_future(receiver._run_rtcp())
    receiver._RTCRtpReceiver__started = True


def watch_for_bye(receiver: RTCRtpReceiver, on_bye: Callable[[], None]) -> None:
    """Report RTCP BYE: aiortc stops its decoder and tells nobody, so that hung up and lost look the same."""
    handle = receiver._handle_rtcp_packet

    async def note_bye(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpByePacket):
            on_bye()
        await handle(packet)

    receiver._handle_rtcp_packet = note_bye  # type: ignore[method-assign]
