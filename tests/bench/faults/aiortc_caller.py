"""Stock aiortc as the caller, as its examples use it; orders as in ``caller.py``. Nothing of rtcpeer's is imported.

Everything that aiortc lets its user know is told: the states of the connection, and the end of the track.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRecorder, MediaRelay
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy
from faults.ear import Ear
from quality.orders import obey, tell

PARAMS = {
    "voice": "alloy",
    "model": "orga-1-beta",
    "temperature": 0.5,
    "return_transcription": False,
    "instructions": None,
    "modalities": ["audio", "video"],
    "history": True,
}


class End:
    def __init__(self) -> None:
        self.pc: RTCPeerConnection | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def call(self, url: str, key: str, policy: str = "all", record: str | None = None) -> None:
        self.tasks = [asyncio.create_task(self._call(f"{url}/v1/realtime", key, policy, record))]

    async def _call(self, url: str, key: str, policy: str, record: str | None) -> None:
        try:
            await self._open(url, key, policy, record)
        except Exception as exc:
            tell("ended", t=time.monotonic(), error=f"{type(exc).__name__}: {exc}")

    async def _open(self, url: str, key: str, policy: str, record: str | None) -> None:
        phases: dict[str, float] = {}
        last = time.monotonic()

        def done(phase: str) -> None:
            nonlocal last
            now = time.monotonic()
            phases[phase], last = round(now - last, 4), now

        async def request(method: str, route: str, bearer: str, body: Any = None) -> Any:
            headers = {"Authorization": f"Bearer {bearer}"}
            async with http.request(method, f"{url}/{route}", headers=headers, json=body) as response:
                response.raise_for_status()
                return await response.json()

        tell("began", t=last)
        async with aiohttp.ClientSession() as http:
            token = (await request("POST", "client-secrets", key))["ephemeral_token"]
            done("token")
            servers = [RTCIceServer(**each) for each in (await request("GET", "ice-config", token))["iceServers"]]
            done("ice-config")
            pc = self.pc = RTCPeerConnection(
                RTCConfiguration(
                    iceServers=servers,
                    bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
                    iceTransportPolicy=RTCIceTransportPolicy(policy),
                )
            )

            @pc.on("track")
            async def on_track(track: MediaStreamTrack) -> None:
                if record is not None:
                    relay, whole = MediaRelay(), track
                    track = relay.subscribe(whole)
                    recorder = MediaRecorder(record)
                    recorder.addTrack(relay.subscribe(whole))
                    await recorder.start()
                    tell("recording", t=time.monotonic())
                self.tasks.append(asyncio.create_task(self._listen(track)))

            @pc.on("connectionstatechange")
            async def on_state() -> None:
                state = pc.connectionState
                if state in ("failed", "closed"):
                    tell("ended", t=time.monotonic(), error=f"connectionState {state}")
                else:
                    tell("told", t=time.monotonic(), what=f"connectionState {state}")
                if state == "connected":
                    done("transport")
                    tell("phases", phases=phases)

            pc.addTrack(AudioStreamTrack())
            pc.createDataChannel("orga-realtime-client-events")
            await pc.setLocalDescription(await pc.createOffer())
            done("gathering")
            body = {"offer": {"sdp": pc.localDescription.sdp, "type": "offer", "candidates": []}, "params": PARAMS}
            answer = (await request("POST", "calls", token, body))["answer"]
            done("signaling")
            await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    async def _listen(self, track: MediaStreamTrack) -> None:
        ear = Ear()
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, av.AudioFrame)
                ear.hear(int(np.abs(frame.to_ndarray()).max()))
        tell("told", t=time.monotonic(), what="the track ended")

    async def hangup(self) -> None:
        if self.pc is not None:
            await self.pc.close()
        for task in self.tasks:
            task.cancel()  # a track that never began does not end either
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.pc = None
        tell("hungup")

    async def stop(self) -> None:
        """Nothing is left to do."""


asyncio.run(obey(End()))
