"""Calls with far ends whose SDP is not ours: a stock peer's, rewritten as other implementations write it."""

from __future__ import annotations

import asyncio
import datetime
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import spectrum
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.rtcdtlstransport import RTCCertificate
from calling import DEADLINE, until
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from stock import LABEL, STOCK, Tone, stock_peer

from rtcpeer import Closed, ErrorReported, Session, Unsupported
from rtcpeer.audio.sources import ToneSource
from rtcpeer.connecting import accept
from rtcpeer.errors import RemoteProtocolError
from rtcpeer.protocols import Orga, Side
from rtcpeer.transports import aiortc_compat
from rtcpeer.transports.webrtc import RtcLink

Rewrite = Callable[[str], str]


def as_it_is(sdp: str) -> str:
    return sdp


def per_line(pattern: str, replacement: str) -> Rewrite:
    return lambda sdp: re.sub(pattern, replacement, sdp, flags=re.MULTILINE)


@asynccontextmanager
async def we_call(
    answer: Rewrite = as_it_is, *, prepare: Callable[[RTCPeerConnection], None] | None = None
) -> AsyncIterator[Session]:
    """A session that has called a stock peer, which sounds; it is not open yet."""
    async with stock_peer() as pc:
        pc.addTrack(Tone())
        session = Session(Orga(Side.CLIENT, Orga.configure({})), asyncio.get_running_loop().time())
        link = session.link = RtcLink(session.protocol, session)
        try:
            await pc.setRemoteDescription(RTCSessionDescription(await link.offer(), "offer"))
            if prepare is not None:
                prepare(pc)
            await pc.setLocalDescription()
            await link.accept(answer(pc.localDescription.sdp))
            async with asyncio.timeout(DEADLINE):
                await link.opened()
            session.start_audio()
            yield session
        finally:
            await session.close()


@asynccontextmanager
async def we_are_called(
    offer: Rewrite = as_it_is, answer: Rewrite = as_it_is, *, video: bool = False
) -> AsyncIterator[Session]:
    """A session that a stock peer, which sounds, has called; it is open."""
    async with stock_peer() as pc:
        pc.addTrack(Tone())
        if video:
            pc.addTransceiver("video", direction="sendonly")
        pc.createDataChannel(LABEL)
        await pc.setLocalDescription()
        session, ours = await accept(Orga(Side.SERVER), offer(pc.localDescription.sdp))
        try:
            await pc.setRemoteDescription(RTCSessionDescription(answer(ours), "answer"))
            async with asyncio.timeout(DEADLINE):
                await session.opened()
            yield session
        finally:
            await session.close()


async def hears(session: Session) -> float:
    """Return the frequency, in Hz, of the first fifth of a second that is loud."""
    heard: list[np.ndarray[Any, Any]] = []
    async with asyncio.timeout(DEADLINE):
        async for frame in session.audio:
            loud = np.abs(frame.samples).max() > 1000
            heard = [*heard, frame.samples] if loud else []
            if len(heard) == 10:
                break
    return spectrum.dominant_frequency(spectrum.as_float(np.concatenate(heard)), 48_000)


def told(session: Session) -> list[str]:
    return [entry.said.code for entry in session.events.entries() if isinstance(entry.said, ErrorReported)]


# What an answer may look like

ANSWERS: dict[str, Rewrite] = {
    "no direction": per_line(r"^a=sendrecv\r\n", ""),
    "a direction for all": lambda sdp: per_line(r"^a=sendrecv\r\n", "")(sdp).replace(
        "t=0 0\r\n", "t=0 0\r\na=sendrecv\r\n"
    ),
    "video turned down": lambda sdp: re.sub(
        r"m=video.*?(?=m=application)", "m=video 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n", sdp, flags=re.DOTALL
    ),
    "Opus under another number": lambda sdp: per_line(r"^(m=audio .*?) 96\b", r"\1 111")(sdp).replace(
        "a=rtpmap:96 opus", "a=rtpmap:111 opus"
    ),
    "no sctp-port": per_line(r"^a=sctp-port.*\r\n", ""),
    "candidates of the first line": lambda sdp: "m=".join(
        part if number < 2 else per_line(r"^a=(candidate|end-of).*\r\n", "")(part)
        for number, part in enumerate(sdp.split("m="))
    ),
}


@pytest.mark.parametrize("shape", ANSWERS)
async def test_a_call_is_heard_whatever_its_answer_is_written_like(shape: str):
    async with we_call(ANSWERS[shape]) as session:
        assert STOCK == pytest.approx(await hears(session), abs=5)


async def test_a_call_without_video_says_so_and_goes_on():
    async with we_call(ANSWERS["video turned down"]) as session:
        assert "rejected" == session.stats()["negotiated"]["video"]
        assert [] == told(session)


async def test_a_far_end_that_turns_the_data_channel_down_is_named():
    with pytest.raises(RemoteProtocolError, match="turns the data channel down"):
        async with we_call(per_line(r"^m=application [0-9]+ ", "m=application 0 ")):
            pass


# What was negotiated is told


@pytest.mark.parametrize("direction", ["sendonly", "inactive"])
async def test_a_far_end_that_takes_no_audio_is_told_of_to_whoever_plays(direction: str):
    async with we_call(per_line(r"^a=sendrecv\r$", f"a={direction}\r")) as session:
        for play in (session.play(ToneSource(duration=0.1)), session.send_dtmf("1")):
            with pytest.raises(Unsupported):
                await play

        assert 1 == told(session).count("no_audio_out")
        assert 0 == session.stats()["outbound_audio"]["packets_sent"]


async def test_a_far_end_that_sends_no_audio_is_told_of():
    async with we_call(per_line(r"^a=sendrecv\r$", "a=recvonly\r")) as session:
        assert "no_audio_in" in told(session)
        assert "sendonly" == session.stats()["negotiated"]["audio"]["direction"]


async def test_what_arrives_and_cannot_be_played_is_counted_and_told_of_once():
    def renumber(pc: RTCPeerConnection) -> None:
        transport: Any = pc.getTransceivers()[0].sender.transport
        send = transport._send_rtp

        async def send_as_120(packet: bytes) -> None:
            if packet[1] & 0x7F == 96:
                packet = packet[:1] + bytes([packet[1] & 0x80 | 120]) + packet[2:]
            await send(packet)

        transport._send_rtp = send_as_120

    async with we_call(prepare=renumber) as session:
        await until(lambda: session.stats()["inbound_audio"]["packets_unplayable"] >= 5)

        assert ["unplayable_audio"] == told(session)


async def test_what_was_negotiated_stands_in_the_statistics():
    async with we_call(ANSWERS["Opus under another number"]) as session:
        found = session.stats()["negotiated"]

    audio = found["audio"]
    assert ("sendrecv", "opus", 111) == (audio["direction"], audio["codec"], audio["payload_type"])
    assert {"0": "pcmu", "8": "pcma", "96": "opus", "111": "opus"} == audio["receives"]
    assert found["candidates"]["local"]["host"] >= 1
    assert found["candidates"]["remote"]["host"] >= 1
    assert "ECDSA secp256r1" == found["dtls"]["certificate"]
    assert "server" == found["dtls"]["role"]
    assert {"certificate", "cipher", "role", "srtp", "version"} == found["dtls"].keys()


# Certificates


def rsa_certificate() -> RTCCertificate:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "media")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day).sign(key, hashes.SHA256())
    found: Any = RTCCertificate(key, made)  # type: ignore[arg-type]
    make = found._create_ssl_context

    def with_rsa(**options: Any) -> Any:
        context = make(**options)
        context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
        return context

    found._create_ssl_context = with_rsa
    return found


@pytest.mark.parametrize("role", ["server", "client"])
async def test_a_far_end_with_an_rsa_certificate_is_talked_to_in_both_dtls_roles(role: str):
    def give(pc: RTCPeerConnection) -> None:
        theirs = rsa_certificate()
        for line in pc.getTransceivers():
            transport: Any = line.receiver.transport
            transport._RTCDtlsTransport__local_certificate = theirs
            transport._set_role(role)

    async with we_call(prepare=give) as session:
        assert STOCK == pytest.approx(await hears(session), abs=5)
        assert "RSA 2048" == session.stats()["negotiated"]["dtls"]["certificate"]


# Candidates


async def test_a_candidate_with_a_host_name_is_looked_up_and_tried(monkeypatch: pytest.MonkeyPatch):
    address = ""
    look_up = socket.getaddrinfo

    def resolver(host: str, *args: Any, **options: Any) -> Any:
        return look_up(address if host == "media.voice.example" else host, *args, **options)

    def named(sdp: str) -> str:
        nonlocal address
        candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
        address = candidates[0].split()[4]
        line = candidates[0].replace(f" {address} ", " media.voice.example ")
        return per_line(r"^a=candidate:.*\r\n", "")(sdp).replace("a=end-of-candidates", line)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    async with we_call(named) as session:
        # The far end's own checks may be faster, and make it a peer-reflexive candidate: then it is renamed.
        await until(lambda: session.stats()["negotiated"]["candidates"]["remote"].get("host"))


async def test_a_call_that_fails_names_what_of_the_candidates_was_of_no_use():
    def unreachable(sdp: str) -> str:
        lines = ["a=candidate:1 1 udp 9 nobody.invalid 9 typ host", "a=candidate:2 1 TCP 9 192.0.2.9 9 typ host"]
        return per_line(r"^(a=mid:0)\r$", "\r\n".join([r"\1", *lines, ""]))(sdp)

    async with stock_peer() as pc:
        session = Session(Orga(Side.CLIENT, Orga.configure({})), asyncio.get_running_loop().time())
        link = session.link = RtcLink(session.protocol, session)
        await pc.setRemoteDescription(RTCSessionDescription(await link.offer(), "offer"))
        await link.accept(unreachable((await pc.createAnswer()).sdp))
        tried = link.tried()
        await session.close()

    assert "not used: 1 TCP candidates, 1 names that were not found" in tried


HIDDEN = r"a=candidate:\1 udp \2 5f1c0a52-6a0e-4d0b-9b7e-3c1d2e4f5a6b.local \3 typ host"
OFFERS: dict[str, Rewrite] = {
    "hidden behind mDNS names, then the end": per_line(
        r"^a=candidate:(\S+ 1) udp ([0-9]+) \S+ ([0-9]+) typ host", HIDDEN
    ),
    "TCP alone, then the end": per_line(r"^(a=candidate:\S+ 1) udp (.*)\r$", r"\1 TCP \2 tcptype active\r"),
    "none, and no end": per_line(r"^a=(candidate|end-of).*\r\n", ""),
    "no direction": per_line(r"^a=sendrecv\r\n", ""),
}


@pytest.mark.parametrize("shape", OFFERS)
async def test_an_offer_is_answered_and_the_callers_own_checks_connect_it(shape: str):
    async with we_are_called(OFFERS[shape]) as session:
        assert STOCK == pytest.approx(await hears(session), abs=5)


async def test_a_caller_without_vp8_has_its_video_line_turned_down_and_is_heard():
    ours = ""

    def h264_alone(sdp: str) -> str:
        head, rest = sdp.split("m=video", 1)
        video, tail = rest.split("m=application", 1)
        kept = [line for line in video.splitlines() if not re.match(r"a=(rtpmap|fmtp|rtcp-fb|ssrc)|.*SAVPF", line)]
        lines = [" 9 UDP/TLS/RTP/SAVPF 102", *kept, "a=rtpmap:102 H264/90000"]
        return head + "m=video" + "\r\n".join(each for each in lines if each) + "\r\nm=application" + tail

    def as_stock_can_read(sdp: str) -> str:
        nonlocal ours
        ours = sdp
        transport = "".join(
            f"{line}\r\n"
            for line in sdp.split("m=video")[0].splitlines()
            if re.match(r"a=(ice-|fingerprint|setup)", line)
        )
        inactive = (
            "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=inactive\r\na=mid:1\r\n"
            f"a=rtcp-mux\r\na=rtpmap:97 VP8/90000\r\n{transport}"
        )
        return re.sub(r"m=video 0.*?(?=m=application)", inactive, sdp, flags=re.DOTALL).replace(
            "BUNDLE 0 2", "BUNDLE 0 1 2"
        )

    async with we_are_called(h264_alone, as_stock_can_read, video=True) as session:
        assert STOCK == pytest.approx(await hears(session), abs=5)
        assert "rejected" == session.stats()["negotiated"]["video"]
    assert "m=video 0 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:1\r\n" in ours


# Goodbyes


async def test_a_far_end_that_closes_its_channel_and_is_gone_the_next_moment_has_hung_up():
    async with stock_peer() as pc:
        pc.addTrack(Tone())
        channel = pc.createDataChannel(LABEL)
        await pc.setLocalDescription()
        session, ours = await accept(Orga(Side.SERVER), pc.localDescription.sdp)
        await pc.setRemoteDescription(RTCSessionDescription(ours, "answer"))
        async with asyncio.timeout(DEADLINE):
            await session.opened()
        await until(lambda: channel.readyState == "open")
        channel.close()
        await asyncio.sleep(0)  # the reset leaves, and nothing after it
        aiortc_compat.mute(pc)

        async with asyncio.timeout(DEADLINE):
            closed = [event async for event in session][-1]

        assert isinstance(closed, Closed)
        assert "remote" == closed.reason
        await session.close()
