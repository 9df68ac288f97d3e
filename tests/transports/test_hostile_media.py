"""Datagrams and media of a far end, or of anybody, that wants to fill our memory: what is kept has bounds."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket, RtpPacket
from calling import until
from stock import stock_call

from rtcpeer.session import Session
from rtcpeer.transports.aiortc_compat.direct import WAITING
from rtcpeer.transports.aiortc_compat.receivers import MOST_SOURCES
from rtcpeer.transports.aiortc_compat.video import MOST_PIXELS, claims_too_many_pixels


def dtls_of(session: Session) -> Any:
    link: Any = session.link
    return link._audio_in.transport


def ice_of(session: Session) -> Any:
    return dtls_of(session).transport._connection


async def test_streams_beyond_what_a_report_can_name_are_not_kept():
    async with stock_call(video=True) as (pc, session):
        assert session.link is not None
        assert session.link.receive_video() is not None  # decoding, it would feed aiortc's own tables
        await until(lambda: session.stats()["inbound_audio"]["packets_received"])
        audio_type, video_type = (line._codecs[0].payloadType for line in pc.getTransceivers())
        stock: Any = pc.getTransceivers()[0].sender.transport
        for number in range(300):
            for payload_type in (audio_type, video_type):
                packet = RtpPacket(payload_type, 0, number, 0, 1_000_000 * payload_type + number, b"\x10\0\0\0")
                await stock._send_rtp(packet.serialize())
            report = RtcpSrPacket(ssrc=77_000_000 + number, sender_info=sender_info())
            await stock._send_rtp(bytes(report))
            await asyncio.sleep(0)
        before = session.stats()["inbound_audio"]["packets_received"]
        await until(lambda: session.stats()["inbound_audio"]["packets_received"] > before + 5)  # the call goes on

        router = dtls_of(session)._rtp_router
        assert len(router.ssrc_table) <= MOST_SOURCES + 1
        for receiver in router.receivers:
            assert len(receiver._RTCRtpReceiver__remote_streams) <= MOST_SOURCES
            assert len(receiver._RTCRtpReceiver__active_ssrc) <= MOST_SOURCES


def sender_info() -> RtcpSenderInfo:
    return RtcpSenderInfo(ntp_timestamp=0, rtp_timestamp=0, packet_count=0, octet_count=0)


async def test_anybodys_datagrams_raise_nothing_and_fill_nothing():
    stray: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: stray.append(context))
    async with stock_call() as (_, session):
        ice = ice_of(session)
        assert session.link is not None
        address = session.link.stats()["candidate_pair"]["local"].rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
            anybody.setblocking(False)
            for number in range(2000):
                short = struct.pack("!HHI12sHH", 1, 8, 0x2112A442, bytes(12), 0x24, 2) + b"ab\0\0"
                wrong = struct.pack("!HHI12sHH", 1, 8, 0x2112A442, bytes(12), 0x06, 4) + b"user"
                noise = bytes([(20, 63, 100, 130, 200)[number % 5], number % 256]) * 30
                for datagram in (short, wrong, noise, b"", bytes(2000)):
                    anybody.sendto(datagram, (address[0], int(address[1])))
                await asyncio.sleep(0)
                assert ice._queue.qsize() <= WAITING
        assert len(dtls_of(session)._rtp_router.ssrc_table) <= MOST_SOURCES
        before = session.stats()["inbound_audio"]["packets_received"]
        await until(lambda: session.stats()["inbound_audio"]["packets_received"] > before + 5)

    assert [] == stray


async def test_what_waits_for_a_connection_that_never_comes_is_bounded():
    async with stock_call() as (_, session):
        ice = ice_of(session)
        dtls_of(session).transport._recv = asyncio.get_running_loop().create_future  # nobody takes it out
        protocol = ice._protocols[0]
        for number in range(3 * WAITING):
            protocol.datagram_received(bytes([22, number % 256]) * 500, ("127.0.0.1", 9))

        assert ice._queue.qsize() <= WAITING
        ice._queue.put_nowait(None)


def key_frame(width: int, height: int) -> bytes:
    return b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)


@pytest.mark.parametrize(
    ("width", "height", "refused"), [(640, 480, False), (3840, 2160, False), (16383, 16383, True)]
)
def test_picture_of_a_few_bytes_may_not_claim_a_gigabyte(width: int, height: int, refused: bool):
    assert refused == claims_too_many_pixels(key_frame(width, height)) == (width * height > MOST_PIXELS)
    assert not claims_too_many_pixels(b"\x11" + key_frame(width, height)[1:])  # no key frame
    assert not claims_too_many_pixels(key_frame(width, height)[:9])


async def test_pictures_that_nobody_looks_at_any_more_do_not_pile_up():
    async with stock_call(video=True) as (_, session):
        link: Any = session.link
        track, receiver = link.receive_video(), link._video_in._line.receiver
        video: Any = link._video_in._receiver
        codec = RTCRtpCodecParameters("video/VP8", 90_000, payloadType=97)
        await video._handle(RtpPacket(97, 0, 0, 0, 5), 0)  # the decoder starts
        frames = receiver._RTCRtpReceiver__decoder_queue
        for number in range(200):
            track._queue.put_nowait("a picture that was decoded")
            frames.put((codec, JitterFrame(key_frame(16383, 16383), number)))
            frames.put((codec, JitterFrame(b"\x11", number)))

        assert frames.qsize() <= 30
