"""One measured call: two ends, the relay between them, and 25 s of speech from one to the other."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy

from rtcpeer.transports.aiortc_compat import AudioSender
from rtcpeer.transports.sdp import with_opus_parameters

from .relay import Relay, host_of
from .sending import FRAME_SECONDS, Fates
from .speech import FRAME

HERE = Path(__file__).parent
PROGRAMS = {
    "rtcpeer": [sys.executable, str(HERE / "rtcpeer_end.py")],
    "aiortc": [sys.executable, str(HERE / "aiortc_end.py")],
    "libwebrtc": ["node", str(HERE / "wrtc_end.js")],
}
DEADLINE = 20.0


class End:
    """A contestant in a process of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, role: str, file: Path) -> End:
        process = await asyncio.create_subprocess_exec(
            *PROGRAMS[name],
            role,
            str(file),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Warnings about what is none of ours; why an end failed, it says on stdout.
            stderr=asyncio.subprocess.DEVNULL,
            limit=1 << 20,
        )
        end = cls(name, process)
        await end.hear("ready")
        return end

    async def hear(self, kind: str) -> dict[str, Any]:
        """Return the next answer of that kind."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while line := await self._process.stdout.readline():
                answer: dict[str, Any] = json.loads(line)
                if answer["type"] == kind:
                    return answer
                if answer["type"] == "failed":
                    raise RuntimeError(f"{self.name}: {answer['error']}")
        raise RuntimeError(f"{self.name} ended before it said {kind!r}")

    async def order(self, do: str, **rest: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **rest}).encode() + b"\n")
        await self._process.stdin.drain()

    async def ask(self, do: str, kind: str, **rest: Any) -> dict[str, Any]:
        await self.order(do, **rest)
        return await self.hear(kind)

    async def stop(self) -> None:
        """Let it save what it heard, and see it off."""
        try:
            await self.ask("stop", "stopped")
        finally:
            await self.kill()

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


class Speaker:
    """Sends ready-made packets by rtcpeer's own sending path, from this process."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._payloads = payloads
        # Without the bundle the data channel would have a transport, and candidates, of its own.
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self._loop = asyncio.get_running_loop()
        self._began = 0.0
        self._sent = 0
        self._connected = asyncio.Event()
        self._pc.on("connectionstatechange", self._on_state)
        self.lateness: list[float] = []
        """Seconds each packet was sent too late."""

    async def offer(self) -> str:
        line = self._pc.addTransceiver("audio", direction="sendonly")
        opus = [each for each in RTCRtpSender.getCapabilities("audio").codecs if each.mimeType == "audio/opus"]
        line.setCodecPreferences(opus)
        self._audio = AudioSender(line.sender)
        # rtcpeer's session is up when its channel is.
        self._pc.createDataChannel("orga-realtime-client-events")
        await self._pc.setLocalDescription()
        return with_opus_parameters(self._pc.localDescription.sdp)

    async def accept(self, sdp: str) -> None:
        await self._pc.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def connected(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self._connected.wait()

    def _on_state(self) -> None:
        if self._pc.connectionState == "connected":
            self._connected.set()

    def speak(self, at: float) -> None:
        """Begin to say it at that time of the loop."""
        self._began = at
        self._loop.call_at(at, self._send)

    def _send(self) -> None:
        due = self._began + self._sent * FRAME_SECONDS
        self.lateness.append(self._loop.time() - due)
        self._audio.send(self._payloads[self._sent], self._sent * FRAME, level=30, voiced=True)
        self._sent += 1
        if self._sent < len(self._payloads):
            self._loop.call_at(due + FRAME_SECONDS, self._send)

    async def close(self) -> None:
        await self._pc.close()


class Call:
    """A call with one contestant as its receiver, or as its sender to libwebrtc."""

    def __init__(self, role: str, contestant: str, fates: Fates, file: Path) -> None:
        self.role, self.contestant, self.file = role, contestant, file
        self.relay = Relay(fates)
        self.began = 0.0
        """Monotonic time at which the first sample was handed to the sender."""
        self.stats: list[dict[str, Any]] = []
        """Of the receiver, when the measured speech begins and when it ends."""
        self.speaker: Speaker | None = None
        self._sender: End | None = None
        self._receiver: End | None = None

    async def connect_from(self, payloads: Sequence[bytes]) -> None:
        """Let the contestant be called by a ``Speaker``."""
        self.speaker = speaker = Speaker(payloads)
        receiver = self._receiver = await End.start(self.contestant, "receive", self.file)
        offer = await speaker.offer()
        await self.relay.open(host_of(offer))
        answer = await receiver.ask("answer", "answer", sdp=self.relay.pretend_sender(offer))
        await speaker.accept(self.relay.pretend_receiver(answer["sdp"]))
        await asyncio.gather(receiver.hear("connected"), speaker.connected())

    async def connect_to(self, said: Path) -> None:
        """Let libwebrtc call the contestant, who says what is in the file."""
        receiver = self._receiver = await End.start("libwebrtc", "receive", self.file)
        sender = self._sender = await End.start(self.contestant, "send", said)
        offer = (await receiver.ask("offer", "offer"))["sdp"]
        await self.relay.open(host_of(offer))
        answer = await sender.ask("answer", "answer", sdp=self.relay.pretend_receiver(offer))
        await receiver.order("accept", sdp=self.relay.pretend_sender(answer["sdp"]))
        await asyncio.gather(receiver.hear("connected"), sender.hear("connected"))

    async def speak(self, at: float) -> None:
        """Begin to say it; a contestant that sends begins when it is told to."""
        if self.speaker is not None:
            self.speaker.speak(at)
            self.began = at
            return
        assert self._sender is not None
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        # It has been sending silence for a while: give all senders the same losses at the same words.
        self.relay.begin()
        self.began = (await self._sender.ask("speak", "speaking"))["t"] / 1e9

    async def count(self) -> None:
        assert self._receiver is not None
        self.stats.append(await self._receiver.ask("stats", "stats"))

    async def close(self) -> None:
        """Hang up, receiver first: it is to save what it heard."""
        if self._receiver is not None:
            await self._receiver.stop()
        if self._sender is not None:
            await self._sender.stop()

    async def release(self) -> None:
        """Leave nothing behind, however the call went."""
        for end in (self._receiver, self._sender):
            if end is not None:
                await end.kill()
        if self.speaker is not None:
            await self.speaker.close()
        self.relay.close()
