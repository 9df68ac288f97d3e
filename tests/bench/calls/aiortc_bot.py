"""Stock aiortc as the system under test, as its examples use it: PCM goes out, what comes is decoded and read.

``python aiortc_bot.py SPEECH``: raw 48 kHz mono samples; orders as in ``quality/orders.py``. Nothing of rtcpeer's is
imported here.
"""

from __future__ import annotations

import asyncio
import fractions
import sys
from pathlib import Path

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcconfiguration import RTCBundlePolicy
from numpy.typing import NDArray
from quality.orders import obey, tell

RATE, FRAME = 48_000, 960
BASE = fractions.Fraction(1, RATE)


class Voice(MediaStreamTrack):
    """Speech from memory, 20 ms at a time, by absolute deadlines."""

    kind = "audio"

    def __init__(self, pcm: NDArray[np.int16], begin: int) -> None:
        super().__init__()
        self._pcm, self._at, self._frames = pcm, begin, 0
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
        await asyncio.sleep(self._began + self._frames * FRAME / RATE - loop.time())
        frame = av.AudioFrame.from_ndarray(self._pcm[:, self._at : self._at + FRAME], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._frames * FRAME, BASE
        self._at = (self._at + FRAME) % self._pcm.shape[1]
        self._frames += 1
        return frame


class End:
    def __init__(self, file: str) -> None:
        self.pcm = np.frombuffer(Path(file).read_bytes(), "<i2").reshape(1, -1)
        self.calls: list[RTCPeerConnection] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.heard = 0

    async def answer(self, sdp: str, begin: int) -> None:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.calls.append(pc)
        pc.on("track", lambda track: self.tasks.append(asyncio.create_task(self.listen(track))))
        await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        pc.addTrack(Voice(self.pcm, begin * FRAME))
        await pc.setLocalDescription(await pc.createAnswer())
        tell("answer", sdp=pc.localDescription.sdp)

    async def listen(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                await track.recv()
                self.heard += 1
        except MediaStreamError:
            return

    async def stats(self) -> None:
        tell("stats", heard=self.heard)


asyncio.run(obey(End(*sys.argv[1:])))
