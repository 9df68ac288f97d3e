"""A stock aiortc peer in the same process, to be held against what we replaced in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction

import av
import spectrum
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy

from rtcpeer.connecting import accept
from rtcpeer.protocols import Orga, Side
from rtcpeer.session import Session
from rtcpeer.transports import aiortc_compat

LABEL = Orga.profile.channel
STOCK = 700.0
"""Hz: how a stock peer sounds."""


class Tone(AudioStreamTrack):
    """A sine through aiortc's own encoder: 48 kHz, mono, 20 ms."""

    def __init__(self) -> None:
        super().__init__()
        self._pcm = spectrum.tone(STOCK, 1.0)
        self._position = 0
        self._started = 0.0

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._started = self._started or loop.time()
        await asyncio.sleep(max(0.0, self._started + self._position / 48_000 - loop.time()))
        start = self._position % 48_000
        frame = av.AudioFrame.from_ndarray(self._pcm[start : start + 960].T.copy(), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._position, Fraction(1, 48_000)
        self._position += 960
        return frame


@asynccontextmanager
async def stock_peer(bundle: RTCBundlePolicy = RTCBundlePolicy.BALANCED) -> AsyncIterator[RTCPeerConnection]:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=bundle))
    # A stock connection that is closed amid connecting leaves tasks behind; what we look for are ours.
    stop_connecting = aiortc_compat.watch_connecting(pc, lambda exc: None)
    try:
        yield pc
    finally:
        await stop_connecting()
        await pc.close()


@asynccontextmanager
async def stock_call(*, video: bool = False) -> AsyncIterator[tuple[RTCPeerConnection, Session]]:
    """A stock peer that sounds calls us, and the session that answered."""
    async with stock_peer() as pc:
        pc.addTrack(Tone())
        if video:
            pc.addTransceiver("video", direction="sendonly")
        pc.createDataChannel(LABEL)
        await pc.setLocalDescription()
        session, answer = await accept(Orga(Side.SERVER), pc.localDescription.sdp)
        try:
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await session.opened()
            yield pc, session
        finally:
            await session.close()
