"""Stock aiortc as one end of a measured call, as its examples use it; nothing of rtcpeer's is imported here.

``python aiortc_end.py receive|send FILE``; orders as in ``orders.py``.
"""

from __future__ import annotations

import asyncio
import fractions
import sys
import time
from pathlib import Path

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCBundlePolicy
from orders import obey, tell
from recording import Recording

RATE = 48_000
FRAME = 960


class Voice(MediaStreamTrack):
    """Mono speech from a file of raw samples, 20 ms at a time, then silence."""

    kind = "audio"

    def __init__(self, file: str) -> None:
        super().__init__()
        self._pcm = np.frombuffer(Path(file).read_bytes(), "<i2")
        self._spoken: int | None = None
        self._began: float | None = None
        self._frames = 0

    def speak(self) -> None:
        self._spoken = 0

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        await asyncio.sleep(self._began + self._frames * FRAME / RATE - loop.time())
        pcm = np.zeros((1, FRAME), np.int16)
        if self._spoken is not None:
            part = self._pcm[self._spoken : self._spoken + FRAME]
            pcm[0, : len(part)] = part
            self._spoken += FRAME
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = self._frames * FRAME
        frame.time_base = fractions.Fraction(1, RATE)
        self._frames += 1
        return frame


class End:
    def __init__(self, role: str, file: str) -> None:
        self.role, self.file = role, file
        self.recording = Recording()
        self.voice = Voice(file) if role == "send" else None
        self.pc: RTCPeerConnection | None = None
        self.listening: asyncio.Task[None] | None = None

    async def answer(self, sdp: str) -> None:
        pc = self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        connected = asyncio.Event()

        @pc.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            if self.role == "receive":
                self.listening = asyncio.create_task(self.listen(track))

        @pc.on("connectionstatechange")
        def on_state() -> None:
            if pc.connectionState == "connected":
                connected.set()

        await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        if self.voice is not None:
            pc.addTrack(self.voice)
        await pc.setLocalDescription(await pc.createAnswer())
        tell("answer", sdp=pc.localDescription.sdp)
        await asyncio.wait_for(connected.wait(), 15)
        tell("connected")

    async def listen(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                now = time.monotonic_ns()
                assert isinstance(frame, av.AudioFrame)
                channels = len(frame.layout.channels)
                self.recording.add(now, frame.sample_rate, frame.to_ndarray().reshape(-1, channels))
        except MediaStreamError:
            return

    async def speak(self) -> None:
        assert self.voice is not None
        tell("speaking", t=time.monotonic_ns())
        self.voice.speak()

    async def stats(self) -> None:
        # It counts neither what it plays nor what is missing.
        tell("stats", total=None, concealed=None)

    async def stop(self) -> None:
        assert self.pc is not None
        await self.pc.close()
        if self.listening is not None:
            await asyncio.wait([self.listening], timeout=5)
            self.recording.save(self.file)


asyncio.run(obey(End(*sys.argv[1:3])))
