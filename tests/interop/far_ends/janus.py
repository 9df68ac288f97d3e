"""A Janus gateway as a far end; README.md says what it speaks. Option ``ice_lite``: it sends no checks of its own.

What is called, or calls, is Janus: its ICE, DTLS, SRTP and SCTP. Its plugin videocall passes the media on to a stock
aiortc on the same host, which sends the tone, listens, and has the data channel. It is called only: Janus opens a
channel once its client has opened one, and our mock opens none.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
from in_browser import executable, running

sys.path[1:1] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]  # the tests' own

import spectrum  # noqa: E402
from aiortc import (  # noqa: E402
    AudioStreamTrack,
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from parts import Sound  # noqa: E402

PORT = 8088
LABEL = "orga-realtime-client-events"
LEVEL = -12.0
"""dBFS."""


def say(kind: str, **content: Any) -> None:
    print(json.dumps({"type": kind, **content}), flush=True)


def configure(folder: str, *, ice_lite: bool) -> None:
    home = Path(executable("janus")).resolve().parents[1]
    (libraries,) = {*home.glob("lib/*/janus"), *home.glob("lib/janus")}
    Path(folder, "janus.jcfg").write_text(
        f'general: {{ configs_folder = "{folder}" plugins_folder = "{libraries}/plugins" '
        f'transports_folder = "{libraries}/transports" }}\n'
        f"nat: {{ ice_lite = {str(ice_lite).lower()} }}\n"
    )
    Path(folder, "janus.transport.http.jcfg").write_text(
        f'general: {{ http = true ip = "127.0.0.1" port = {PORT} base_path = "/janus" json = "compact" }}\n'
    )


@asynccontextmanager
async def gateway(*, ice_lite: bool) -> AsyncIterator[str]:
    """Run a Janus with a configuration of its own; the URL of its API."""
    with tempfile.TemporaryDirectory(prefix="janus-") as folder:
        configure(folder, ice_lite=ice_lite)
        async with running((executable("janus"), f"--configs-folder={folder}", "--disable-colors")):
            yield f"http://127.0.0.1:{PORT}/janus"


class Handle:
    """One party of a call through Janus: a session with the plugin, and what it says."""

    def __init__(self, http: aiohttp.ClientSession, url: str, name: str) -> None:
        self._http = http
        self._url = url
        self.name = name
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(100)

    async def attach(self) -> None:
        for _ in range(200):
            try:
                made = await self._post(self._url, {"janus": "create"})
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)  # it is starting
        else:
            raise TimeoutError("Janus does not answer")
        self._session = f"{self._url}/{made['data']['id']}"
        attached = await self._post(self._session, {"janus": "attach", "plugin": "janus.plugin.videocall"})
        self._handle = f"{self._session}/{attached['data']['id']}"

    async def send(self, request: str, jsep: dict[str, str] | None = None, **body: Any) -> None:
        message = {"janus": "message", "body": {"request": request, **body}}
        await self._post(self._handle, message if jsep is None else {**message, "jsep": jsep})

    async def _post(self, url: str, content: dict[str, Any]) -> dict[str, Any]:
        async with self._http.post(url, json={**content, "transaction": secrets.token_hex(4)}) as response:
            found: dict[str, Any] = await response.json(content_type=None)
        if found["janus"] == "error":
            raise RuntimeError(f"Janus: {found['error']}")
        return found

    async def poll(self) -> None:
        """Read what Janus says to this party, until cancelled."""
        while True:
            async with self._http.get(self._session) as response:
                await self.events.put(await response.json(content_type=None))

    async def wait_for(self, event: str) -> dict[str, Any]:
        """Return the next event of that name, which the plugin says as its result."""
        async with asyncio.timeout(15):
            while True:
                said = await self.events.get()
                data = said.get("plugindata", {}).get("data", {})
                if "error" in data:
                    raise RuntimeError(f"Janus: {data['error']}")
                if data.get("result", {}).get("event") == event:
                    return said


class Tone(AudioStreamTrack):
    """A sine, 20 ms at a time."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self._pcm = spectrum.tone(frequency, 1.0, level=LEVEL)
        self._sent = 0
        self._began: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._began = loop.time() if self._began is None else self._began
        await asyncio.sleep(self._began + self._sent * 0.02 - loop.time())
        start = self._sent * 960 % 48_000
        # Stock aiortc sends mono 3 dB quieter than it is.
        pcm = np.repeat(self._pcm[start : start + 960], 2, axis=1)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._sent * 960, Fraction(1, 48_000)
        self._sent += 1
        return frame


class Inner:
    """The party behind Janus: a stock aiortc."""

    def __init__(self, tone: float) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTrack(Tone(tone))
        self.channel: RTCDataChannel | None = None
        self._listening: set[asyncio.Task[None]] = set()
        self.pc.on("track", self._on_track)

    def open_channel(self) -> None:
        channel = self.channel = self.pc.createDataChannel(LABEL)
        channel.on("open", lambda: say("open", label=LABEL))
        channel.on("message", lambda text: say("message", text=text))

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._listening.add(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: MediaStreamTrack) -> None:
        heard: list[np.ndarray[Any, Any]] = []
        while True:
            frame = await track.recv()
            assert isinstance(frame, av.AudioFrame)
            heard.append(frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, :1])
            if len(heard) == 25:
                sound = spectrum.as_float(np.concatenate(heard).astype(np.int16))
                found = Sound(sound, frame.sample_rate)
                # A sine of full scale is 0 dBFS, here as in ``Sound``.
                rms = 10 * np.log10(2 * float((sound**2).mean()) + 1e-12)
                say("heard", frequency=round(found.dominant, 1), level=round(found.level, 2), rms=round(rms, 2))
                heard.clear()

    async def close(self) -> None:
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        await self.pc.close()


class Call:
    """A call between Janus's two parties: ``outer`` is the one that is really elsewhere."""

    def __init__(self, outer: Handle, inner: Handle, options: dict[str, Any]) -> None:
        self._outer, self._inner, self._options = outer, inner, options
        self._peer = Inner(options["tone"])

    async def obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"do": "answer", "sdp": sdp}:
                await self._outer.send("call", {"type": "offer", "sdp": sdp}, username="inner")
                offer = (await self._inner.wait_for("incomingcall"))["jsep"]
                await self._peer.pc.setRemoteDescription(RTCSessionDescription(**_only_sdp(offer)))
                self._peer.open_channel()
                await self._peer.pc.setLocalDescription(await self._peer.pc.createAnswer())
                await self._inner.send("accept", _as_jsep(self._peer.pc.localDescription))
                say("answer", sdp=(await self._outer.wait_for("accepted"))["jsep"]["sdp"])
            case {"do": "send", "text": text}:
                assert self._peer.channel is not None
                self._peer.channel.send(text)
            case {"do": "close"}:
                await self._inner.send("hangup")

    async def watch(self) -> None:
        """Say when Janus finds that the far end is gone."""
        await self._until(lambda said: said["janus"] in ("hangup", "detached"))
        say("closed")

    async def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        while not wanted(await self._outer.events.get()):
            pass

    async def close(self) -> None:
        await self._peer.close()


def _as_jsep(description: RTCSessionDescription) -> dict[str, str]:
    return {"type": description.type, "sdp": description.sdp}


def _only_sdp(jsep: dict[str, Any]) -> dict[str, str]:
    return {"type": jsep["type"], "sdp": jsep["sdp"]}


async def orders() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


async def main(options: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(gateway(ice_lite=options.get("ice_lite", False)))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        parties = [Handle(http, url, name) for name in ("outer", "inner")]
        tasks: set[asyncio.Task[None]] = set()
        for party in parties:
            await party.attach()
            tasks.add(asyncio.create_task(party.poll()))
            await party.send("register", username=party.name)
            await party.wait_for("registered")
        call = Call(*parties, options)
        stack.push_async_callback(call.close)
        say("ready")
        async for order in orders():
            try:
                await call.obey(order)
            except Exception as exc:
                say("failed", error=f"{type(exc).__name__}: {exc}")
            if order["do"] == "answer":
                tasks.add(asyncio.create_task(call.watch()))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    os.umask(0o077)
    asyncio.run(main(json.loads(sys.argv[1])))
