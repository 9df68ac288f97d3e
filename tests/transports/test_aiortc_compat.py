"""What we replaced in aiortc must still do: held against a stock aiortc peer in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import spectrum
from aiortc import (
    MediaStreamTrack,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcsctptransport import CookieAckChunk, DataChunk, InboundStream
from aiortc.rtp import RtcpByePacket, RtcpPacket, RtcpSdesPacket, RtcpSrPacket
from calling import AGENT, DEADLINE, Nobody, loudest_frequency, open_sockets, until
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from stock import STOCK, stock_call, stock_peer

from rtcpeer.audio.packets import OpusPacket
from rtcpeer.errors import IceError, RemoteProtocolError, RtcPeerError
from rtcpeer.events import Closed, SpeechStarted
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols import Orga, Side
from rtcpeer.protocols.http import IceServer
from rtcpeer.transports import aiortc_compat
from rtcpeer.transports.aiortc_compat import BoundedStream, ReassemblyBounds
from rtcpeer.transports.aiortc_compat.steps import run_now
from rtcpeer.transports.ice_options import IceOptions
from rtcpeer.transports.webrtc import RtcLink

pytestmark = pytest.mark.usefixtures("nothing_left")


def watch(receiver: Any, method: str) -> list[Any]:
    """Note what a stock receiver or sender is given, on its way there."""
    seen: list[Any] = []
    handle = getattr(receiver, method)

    async def note(packet: Any, **more: Any) -> None:
        seen.append(packet)
        await handle(packet, **more)

    setattr(receiver, method, note)
    return seen


@asynccontextmanager
async def our_link(**options: Any) -> AsyncIterator[RtcLink]:
    link = RtcLink(Orga(Side.CLIENT, Orga.configure({})), Nobody(), **options)
    try:
        yield link
    finally:
        await link.close()


# Audio


async def test_our_audio_decodes_in_a_stock_peer_and_its_audio_plays_in_ours():
    async with stock_call() as (pc, session):
        track = pc.getReceivers()[0].track
        reader = aiter(session.audio)
        await session.play("tone")

        async def take() -> list[np.ndarray]:
            blocks: list[np.ndarray] = []
            while len(blocks) < 40:
                pcm = (await track.recv()).to_ndarray().reshape(-1, 2)[:, :1]
                if blocks or pcm.any():
                    blocks.append(pcm)
            return blocks

        theirs = np.concatenate(await asyncio.wait_for(take(), DEADLINE))
        await session.wait_for(SpeechStarted, timeout=DEADLINE)
        ours = np.concatenate([(await anext(reader)).samples for _ in range(40)])

    assert AGENT == pytest.approx(loudest_frequency(theirs), abs=3)
    assert STOCK == pytest.approx(loudest_frequency(ours), abs=3)
    sound = spectrum.loudest(spectrum.as_float(theirs), 48_000, 0.3)
    assert -20 == pytest.approx(spectrum.tone_level(sound, 48_000, AGENT), abs=1)


async def test_packets_carry_mid_and_audio_level():
    async with stock_call() as (pc, session):
        packets = watch(pc.getReceivers()[0], "_handle_rtp_packet")
        playback = await session.play("tone")
        await until(lambda: any(packet.extensions.audio_level == (True, 23) for packet in packets))
        playback.cancel()
        await until(lambda: packets[-1].extensions.audio_level == (False, 127))

    assert {pc.getTransceivers()[0].mid} == {packet.extensions.mid for packet in packets}
    steps = {
        (now.timestamp - before.timestamp) % 2**32
        for before, now in itertools.pairwise(packets)
        if (now.sequence_number - before.sequence_number) % 2**16 == 1
    }
    assert {0} == {step % 960 for step in steps}
    assert 1 == len({packet.ssrc for packet in packets})


async def test_a_packet_that_fits_an_ethernet_frame_is_sent_and_a_longer_one_left_out():
    async with stock_call() as (pc, session):
        packets = watch(pc.getReceivers()[0], "_handle_rtp_packet")
        origin = object()
        for number, length in enumerate((1500, 1400, 100)):
            session.link.send_packet(OpusPacket(bytes(length), 960 * number, number), origin)
        await until(lambda: any(len(packet.payload) == 100 for packet in packets))

    assert [1400, 100] == [len(packet.payload) for packet in packets if len(packet.payload) in (100, 1400, 1500)]


# RTCP


async def test_sender_reports_count_our_packets():
    async with stock_call() as (pc, session):
        receiver = pc.getReceivers()[0]
        packets, reports = watch(receiver, "_handle_rtp_packet"), []
        missed = session.stats()["outbound_audio"]["packets_sent"]
        handle = receiver._handle_rtcp_packet

        async def note(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                reports.append((packet.sender_info, len(packets), sum(len(each.payload) for each in packets)))
            await handle(packet)

        receiver._handle_rtcp_packet = note
        await until(lambda: reports)

    info, received, received_bytes = reports[0]
    # One that was on its way when we began to look may be on either side.
    assert received == pytest.approx(info.packet_count - missed, abs=2)
    assert received_bytes <= info.octet_count
    # It names the moment of the report: within the frame that began with the last packet, or that was being sent.
    passed = (info.rtp_timestamp - packets[received - 1].timestamp + 2**31) % 2**32 - 2**31
    assert -960 <= passed <= 2 * 960
    assert info.ntp_timestamp / 2**32 - 2_208_988_800 == pytest.approx(time.time(), abs=10)


async def test_receiver_reports_tell_of_loss_in_both_directions_and_we_answer_with_fec():
    async with stock_call() as (pc, session):
        assert session.link is not None
        session.link.impair(NetworkConditions.of("loss=25%"))

        def stock_knows() -> bool:
            return any(
                stats.type == "remote-inbound-rtp" and stats.packetsLost > 0
                for stats in pc.getSenders()[0]._RTCRtpSender__stats.values()
            )

        def we_know() -> bool:
            stats = session.stats()["outbound_audio"]
            return (stats["fraction_lost"] or 0) > 0.05 and stats["packets_lost"] > 0

        await until(lambda: stock_knows() and we_know())
        await until(lambda: session.link._voice._opus.packet_loss >= 5)


async def test_one_packet_reports_on_what_we_send_and_hear_and_names_us():
    async with stock_call() as (pc, session):
        received = watch(pc.getReceivers()[0].transport, "_handle_rtcp_data")
        theirs = pc.getSenders()[0]._ssrc

        def whole() -> RtcpSrPacket | None:
            for data in received:
                report, *rest = RtcpPacket.parse(data)
                if isinstance(report, RtcpSrPacket) and report.reports and rest:
                    (named,) = rest
                    assert isinstance(named, RtcpSdesPacket)
                    assert report.ssrc == named.chunks[0].ssrc
                    assert [theirs] == [block.ssrc for block in report.reports]
                    return report
            return None

        await until(whole)

        def stock_has_rtt() -> bool:
            stats = pc.getSenders()[0]._RTCRtpSender__stats.values()
            return any(each.type == "remote-inbound-rtp" and each.roundTripTime is not None for each in stats)

        await until(lambda: stock_has_rtt() and session.stats()["outbound_audio"]["round_trip_time"] is not None)

        assert 0 <= session.stats()["outbound_audio"]["round_trip_time"] < 1


async def hear_out(track: MediaStreamTrack) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            await track.recv()


async def test_stock_peer_hears_our_goodbye():
    async with stock_call() as (pc, session):
        seen = watch(pc.getReceivers()[0], "_handle_rtcp_packet")
        track = pc.getReceivers()[0].track
        await session.close()
        await until(lambda: any(isinstance(packet, RtcpByePacket) for packet in seen))

        await asyncio.wait_for(hear_out(track), DEADLINE)


async def test_we_hear_the_goodbye_of_a_stock_peer():
    async with stock_call() as (pc, session):
        await pc.close()
        assert "remote" == (await session.wait_for(Closed, timeout=DEADLINE)).reason


# SDP and transport


def sections(sdp: str) -> list[str]:
    return ("\r\n" + sdp).split("\r\nm=")[1:]


async def test_offer_has_the_vendors_three_lines_and_what_we_can_play():
    async with our_link() as link:
        audio, video, application = sections(await link.offer())

    assert audio.startswith("audio ")
    assert "a=sendrecv" in audio
    assert "a=fmtp:96 minptime=10;useinbandfec=1" in audio
    assert {"opus/48000/2", "PCMU/8000", "PCMA/8000", "telephone-event/48000", "telephone-event/8000"} == {
        line.split(" ", 1)[1] for line in audio.splitlines() if "rtpmap" in line
    }
    assert "a=sendonly" in video
    codecs = {line.split(" ", 1)[1] for line in video.splitlines() if "rtpmap" in line}
    assert {"VP8/90000", "rtx/90000"} == codecs
    assert "webrtc-datachannel" in application


async def test_offer_without_video_has_two_lines():
    async with our_link() as link:
        assert ["audio", "application"] == [each.split(" ")[0] for each in sections(await link.offer(video=False))]


async def test_one_socket_serves_all_lines():
    before = len(open_sockets())
    async with our_link() as link:
        sdp = await link.offer()
        hosts = {line.split(" ")[4] for line in sdp.splitlines() if line.startswith("a=candidate:")}
        ports = {line.split(" ")[5] for line in sdp.splitlines() if line.startswith("a=candidate:")}

        assert "a=group:BUNDLE 0 1 2" in sdp
        assert len(hosts) == len(ports) == len(open_sockets()) - before


async def test_server_that_never_answers_costs_no_more_than_the_deadline():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        servers = [IceServer((f"stun:127.0.0.1:{deaf.getsockname()[1]}",))]
        async with our_link(ice=IceOptions(gather_timeout=0.05)) as link:
            link.use_ice_servers(servers)
            # aioice's own patience is 5 s.
            assert "a=candidate:" in await asyncio.wait_for(link.offer(), 4)


async def test_idle_lines_cost_no_wake_ups(monkeypatch: pytest.MonkeyPatch):
    async with our_link() as link, stock_peer() as pc:
        await pc.setRemoteDescription(RTCSessionDescription(await link.offer(), "offer"))
        await pc.setLocalDescription()
        await link.accept(pc.localDescription.sdp)
        await asyncio.wait_for(link.opened(), DEADLINE)
        video = next(line for line in pc.getTransceivers() if line.kind == "video")
        reports = watch(video.receiver, "_handle_rtcp_packet")

        loop, delays = asyncio.get_running_loop(), []
        call_at = loop.call_at

        def note(when: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
            delays.append(when - loop.time())
            return call_at(when, *rest, **more)

        monkeypatch.setattr(loop, "call_at", note)
        while not reports:  # noqa: ASYNC110 - the line's own first report, half a second or more later
            await asyncio.sleep(0.25)
        monkeypatch.undo()

    # Polling every 20 ms would be twenty-five of them and more.
    assert len([delay for delay in delays if delay < 0.1]) <= 5


@asynccontextmanager
async def offered() -> AsyncIterator[tuple[RtcLink, str]]:
    """Our link, and the answer of a stock peer to its offer."""
    async with our_link() as link, stock_peer() as pc:
        await pc.setRemoteDescription(RTCSessionDescription(await link.offer(), "offer"))
        await pc.setLocalDescription()
        yield link, pc.localDescription.sdp


HOSTILE = {
    "nothing": lambda sdp: "",
    "prose": lambda sdp: "I'd rather not.",
    "no lines": lambda sdp: sdp.split("m=")[0],
    "a line is missing": lambda sdp: sdp.rsplit("m=", 1)[0],
    "lines in another order": lambda sdp: "m=".join([sdp.split("m=")[0], *reversed(sdp.split("m=")[1:])]),
    "no fingerprint": lambda sdp: without(sdp, "a=fingerprint"),
    "no ICE user": lambda sdp: without(sdp, "a=ice-ufrag"),
    "no ICE password": lambda sdp: without(sdp, "a=ice-pwd"),
    "a codec we did not offer": lambda sdp: re.sub("opus/48000/2|PCM[UA]/8000", "AMR/8000", sdp),
    "a port of noise": lambda sdp: sdp.replace("m=audio ", "m=audio x"),
    "its audio turned down": lambda sdp: re.sub(r"m=audio [0-9]+ ", "m=audio 0 ", sdp),
    "its data channel turned down": lambda sdp: re.sub(r"m=application [0-9]+ ", "m=application 0 ", sdp),
    "a digest that is none": lambda sdp: re.sub(r"(?m)^a=fingerprint:.*$", "a=fingerprint:sha-256 00\r", sdp),
    "a digest nobody knows": lambda sdp: re.sub(r"(?m)^a=fingerprint:.*$", "a=fingerprint:md2 AB:CD\r", sdp),
}
FORGIVEN = {
    "a line too many": lambda sdp: sdp + "m=" + sdp.split("m=")[1],
    "no DTLS role": lambda sdp: without(sdp, "a=setup"),
    "no DTLS role chosen": lambda sdp: sdp.replace("a=setup:active", "a=setup:actpass"),
    "another name for a line": lambda sdp: sdp.replace("a=mid:0", "a=mid:zero"),
    "a candidate of noise": lambda sdp: sdp.replace("a=candidate:", "a=candidate:x "),
    "no candidate": lambda sdp: without(sdp, "a=candidate"),
}


def without(sdp: str, prefix: str) -> str:
    return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith(prefix))


async def accept_and_connect(link: RtcLink, answer: str) -> None:
    await link.accept(answer)
    await asyncio.wait_for(link.connected(), DEADLINE)


@pytest.mark.parametrize("name", HOSTILE)
async def test_answer_that_cannot_be_used_is_the_far_ends_mistake(name: str):
    async with offered() as (link, answer):
        with pytest.raises(RemoteProtocolError, match=r"SDP (answer )?can't be used"):
            await accept_and_connect(link, HOSTILE[name](answer))


@pytest.mark.parametrize("name", FORGIVEN)
async def test_answer_with_a_slip_that_does_not_matter_connects(name: str):
    async with offered() as (link, answer):
        await accept_and_connect(link, FORGIVEN[name](answer))


async def test_certificate_that_is_not_the_one_announced_is_no_path():
    other = f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r"

    async with offered() as (link, answer):
        with pytest.raises(IceError, match="its certificate is not the one that its SDP announced"):
            await accept_and_connect(link, re.sub(r"(?m)^a=fingerprint:.*$", other, answer))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_answer_with_random_damage_never_raises_anything_else(seed: int):
    dice = random.Random(seed)
    stray: list[dict[str, Any]] = []

    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: stray.append(context))
        async with offered() as (link, answer):
            lines = answer.splitlines(keepends=True)
            for _ in range(dice.randint(1, 3)):
                at = dice.randrange(len(lines))
                match dice.randrange(4):
                    case 0:
                        del lines[at]
                    case 1:
                        lines.insert(dice.randrange(len(lines)), lines[at])
                    case 2:
                        cut = dice.randrange(len(lines[at]))
                        lines[at] = lines[at][:cut] + chr(dice.randrange(1, 300)) + lines[at][cut + 1 :]
                    case 3:
                        lines[at] = lines[at][: dice.randrange(len(lines[at]))] + "\r\n"
            try:
                await link.accept("".join(lines))
                await asyncio.sleep(0)
            except RtcPeerError:
                pass
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(play())
    assert [] == stray


# The DataChannel's messages, put together again

FIRST, LAST, UNORDERED = 2, 1, 4


def fragments(
    messages: list[bytes], *, size: int, ordered: bool = True, tsn: int = 2**32 - 3, sequence: int = 0
) -> list[DataChunk]:
    chunks = []
    for number, message in enumerate(messages):
        pieces = [message[at : at + size] for at in range(0, len(message), size)] or [b""]
        for index, piece in enumerate(pieces):
            flags = FIRST * (index == 0) | LAST * (index == len(pieces) - 1) | UNORDERED * (not ordered)
            chunk = DataChunk(flags=flags)
            chunk.tsn, chunk.stream_id, chunk.protocol = (tsn + len(chunks)) % 2**32, 1, 51
            chunk.stream_seq = (sequence + number) % 2**16 if ordered else 0
            chunk.user_data = piece
            chunks.append(chunk)
    return chunks


@given(data=st.data())
@settings(max_examples=150)
def test_reassembly_delivers_what_fits_and_refuses_what_does_not_in_any_order(data: st.DataObject):
    limit = 4000
    ordered = data.draw(st.booleans())
    lengths = data.draw(st.lists(st.sampled_from([1, 700, 1500, 3999, 4000, 4001, 6000]), min_size=1, max_size=5))
    messages = [bytes([number]) * length for number, length in enumerate(lengths)]
    chunks = data.draw(st.permutations(fragments(messages, size=1000, ordered=ordered)))
    refused: list[str] = []
    window: list[int] = []
    bounds = ReassemblyBounds(limit, refused.append, window.append)
    bounded, stock = BoundedStream(bounds), InboundStream()

    def feed(stream: InboundStream) -> list[bytes]:
        found = []
        for chunk in chunks:
            stream.add_chunk(chunk)
            found += [message for _, _, message in stream.pop_messages()]
        return found

    found, expected = feed(bounded), [message for message in feed(stock) if len(message) <= limit]

    assert sorted(expected) == sorted(found)
    if ordered:
        assert [message for message in messages if len(message) <= limit] == found
    assert len(refused) == sum(len(message) > limit for message in messages)
    assert sum(window) == sum(len(message) for message in messages if len(message) > limit)
    assert [] == bounded.reassembly
    assert 0 == bounds.held


def test_message_is_thrown_away_as_it_comes():
    refused: list[str] = []
    bounds = ReassemblyBounds(100_000, refused.append, lambda size: None)
    stream, most = BoundedStream(bounds), 0
    for chunk in fragments([bytes(10_000_000), b"after"], size=1200):
        stream.add_chunk(chunk)
        most = max(most, sum(len(held.user_data) for held in stream.reassembly))
        found = list(stream.pop_messages())

    assert most <= 100_000 + 1200
    assert ["message of 10000000 bytes is over the limit of 100000"] == refused
    assert [(1, 51, b"after")] == found


def test_what_is_held_is_bounded_whatever_is_sent():
    limit = 100_000
    bounds = ReassemblyBounds(limit, lambda reason: None, lambda size: None)
    streams: dict[int, BoundedStream] = {}

    def send(chunk: DataChunk, *, in_order: bool) -> None:
        if bounds.take(chunk, in_order=in_order):
            streams.setdefault(chunk.stream_id, BoundedStream(bounds)).add_chunk(chunk)

    for number in range(5000):  # first fragments only, of crumbs, on ever other streams
        (chunk,) = fragments([b"x"], size=1, tsn=number)
        chunk.flags, chunk.stream_id = FIRST, number % 500
        send(chunk, in_order=True)
    for chunk in fragments([bytes(1_000_000)], size=1200, tsn=10_000)[1:]:  # and all but the first
        send(chunk, in_order=False)

    assert bounds.held <= 3 * limit
    assert sum(len(stream.reassembly) for stream in streams.values()) <= 3 * limit / 512


def test_sender_that_gives_up_on_a_long_message_can_go_on():
    refused: list[str] = []
    bounds = ReassemblyBounds(4000, refused.append, lambda size: None)
    stream = BoundedStream(bounds)
    chunks = fragments([bytes(8000), b"after"], size=1000, ordered=False, tsn=1)
    for chunk in chunks[:6]:
        stream.add_chunk(chunk)
    stream.prune_chunks(8)
    stream.add_chunk(chunks[-1])

    assert [(1, 51, b"after")] == list(stream.pop_messages())
    assert 1 == len(refused)


# The room itself


def test_aiortc_that_lost_a_private_name_is_refused_at_import(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(
        aiortc_compat.names.PRIVATE, RTCPeerConnection, ("_RTCPeerConnection__iceTransports", "_gone")
    )
    with pytest.raises(ImportError, match=r"this aiortc/aioice has no RTCPeerConnection\._gone"):
        aiortc_compat.names.check()


@pytest.mark.parametrize("failure", [ConnectionError("not connected"), SSL.Error([("SSL routines", "", "shutdown")])])
async def test_a_timer_of_sctp_that_sends_after_the_goodbye_is_no_error(failure: Exception):
    async def refuse(data: bytes) -> None:
        raise failure

    async with offered() as (link, _):
        sctp: Any = link._pc.sctp
        sctp.transport._send_data = refuse
        sctp._remote_port = 5000

        await sctp._send_chunk(CookieAckChunk())


async def test_a_connection_that_does_not_close_in_time_is_torn_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("rtcpeer.transports.webrtc.CLOSE_DEADLINE", 0.05)
    before = asyncio.all_tasks()
    async with offered() as (link, answer):
        await accept_and_connect(link, answer)
        sender: Any = link._pc.getTransceivers()[0].sender
        sender.stop = asyncio.Event().wait
    # The fixture looks for sockets, and for tasks once what nobody holds is gone: but that is complained of.
    await until(lambda: asyncio.all_tasks() <= before)
    assert ["the peer connection did not close within 0.05 s: it is torn down"] == caplog.messages


async def test_send_path_that_would_wait_is_an_error_rather_than_a_leak():
    with pytest.raises(RuntimeError, match="send path waited"):
        run_now(asyncio.sleep(1))
