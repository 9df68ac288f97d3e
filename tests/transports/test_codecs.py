"""Calls with a stock aiortc peer that has one codec only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import spectrum
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpsender import RTCRtpSender
from calling import AGENT, DEADLINE, until
from stock import STOCK, Tone

from rtcpeer import Session
from rtcpeer.connecting import accept
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.orga import Orga
from rtcpeer.transports.webrtc import RtcLink

LEVEL = -20.0
NARROW = [("PCMU", 0), ("PCMA", 8)]


def narrow_peer(codec: str) -> RTCPeerConnection:
    """A stock peer that sounds, and has nothing but this codec."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    line = pc.addTransceiver(Tone(), direction="sendrecv")
    line.setCodecPreferences(
        [each for each in RTCRtpSender.getCapabilities("audio").codecs if codec in each.mimeType]
    )
    return pc


@asynccontextmanager
async def call(codec: str, *, we_offer: bool) -> AsyncIterator[tuple[RTCPeerConnection, Session]]:
    pc = narrow_peer(codec)
    try:
        if we_offer:
            session = Session(Orga(Side.CLIENT, Orga.configure({})), asyncio.get_running_loop().time())
            link = session.link = RtcLink(session.protocol, session)
            await pc.setRemoteDescription(RTCSessionDescription(await link.offer(), "offer"))
            await pc.setLocalDescription(await pc.createAnswer())
            await link.accept(pc.localDescription.sdp)
            await link.opened()
            session.start_audio()
        else:
            pc.createDataChannel(Orga.profile.channel)
            await pc.setLocalDescription()
            session, answer = await accept(Orga(Side.SERVER), pc.localDescription.sdp)
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await session.opened()
        try:
            yield pc, session
        finally:
            await session.close()
    finally:
        await pc.close()


async def sound(track: MediaStreamTrack, seconds: float) -> np.ndarray:
    """What a stock track gives once it sounds: ``(samples, 1)`` at its own rate."""
    blocks: list[np.ndarray] = []
    rate = 8_000
    while len(blocks) * 0.02 < seconds:
        frame = await track.recv()
        rate = frame.sample_rate
        pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, :1]
        if blocks or int(np.abs(pcm).max()) > 1000:
            blocks.append(pcm)
    return spectrum.loudest(spectrum.as_float(np.concatenate(blocks)), rate, 0.3)


@pytest.mark.parametrize("we_offer", [True, False])
@pytest.mark.parametrize(("codec", "payload_type"), NARROW)
async def test_a_peer_with_g711_alone_is_heard_and_hears_us_as_loud(codec, payload_type, we_offer):
    async with call(codec, we_offer=we_offer) as (pc, session):
        await session.play("tone")
        reader = aiter(session.audio)
        ours = await asyncio.wait_for(sound(pc.getReceivers()[0].track, 0.8), DEADLINE)
        await until(lambda: session.speaking)
        theirs = np.concatenate([(await anext(reader)).samples for _ in range(40)])
        stats = session.stats()

    assert LEVEL == pytest.approx(spectrum.tone_level(ours, 8_000, AGENT), abs=0.5)
    heard = spectrum.loudest(spectrum.as_float(theirs), 48_000, 0.3)
    assert spectrum.tone_level(spectrum.as_float(spectrum.tone(STOCK, 1.0)), 48_000, STOCK) == pytest.approx(
        spectrum.tone_level(heard, 48_000, STOCK), abs=0.5
    )
    assert 64_000 == stats["outbound_audio"]["target_bitrate"]
    assert 0 == stats["inbound_audio"]["packets_unplayable"] == stats["inbound_audio"]["restarts"]
    assert stats["inbound_audio"]["concealed_samples"] < 0.2 * stats["inbound_audio"]["total_samples_received"]


async def test_a_peer_that_asks_for_no_fec_gets_none():
    # Stock aiortc writes no fmtp, and its decoder cannot use FEC.
    async with call("opus", we_offer=False) as (_, session):
        assert not session.link._voice._opus.fec
