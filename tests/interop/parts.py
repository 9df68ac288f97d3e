"""Code that is not ours against the mock and the peer: Chromium, libwebrtc and ws in Node, coturn.

A test whose part is missing skips and says how to get it; ``make interop`` installs what it can, and
``apt-packages.txt`` lists what comes from the system. Nothing leaves this machine. Every wait has a deadline, and
every process is ended.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
import spectrum
from numpy.typing import NDArray

import rtcpeer

HERE = Path(__file__).parent
DEADLINE = 60.0
"""Seconds. What it bounds takes well under two on a quiet machine."""
AUDIBLE = -30.0
"""dBFS; every tone in here is sent at -12 or louder."""
INAUDIBLE = -50.0
"""dBFS."""
API_KEY = "sk_test"


class Node:
    """A Node program that speaks lines of JSON on stdout, and obeys those on its stdin."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []

    @classmethod
    @asynccontextmanager
    async def run(cls, script: str, *, part: str = "@roamhq/wrtc", **options: Any) -> AsyncIterator[Node]:
        """Run a script with its options; ``part`` is the npm package it needs."""
        node = shutil.which("node") or shutil.which("nodejs")
        if node is None:
            pytest.skip("Node is not installed: apt-get install nodejs npm")
        if not (HERE / "node_modules" / part).is_dir():
            pytest.skip(f"npm {part} is not installed: make interop-parts, or cd tests/interop && npm ci")
        process = await asyncio.create_subprocess_exec(
            node,
            script,
            json.dumps(options),
            cwd=HERE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(3):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def wait_for(
        self, kind: str, where: Callable[[dict[str, Any]], bool] = lambda said: True, *, fresh: bool = False
    ) -> dict[str, Any]:
        """Return the first line of that type for which ``where`` is true; ``fresh``: of those still to come."""
        checked = len(self.said) if fresh else 0
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    for said in self.said[checked:]:
                        if said["type"] == kind and where(said):
                            return said
                    checked = len(self.said)
                    await self._read()
        except TimeoutError:
            said = "\n".join(json.dumps(line)[:300] for line in self.said[-20:])
            pytest.fail(f"Node did not say {kind!r} within {DEADLINE} s; what it said last:\n{said}")

    async def drain(self) -> None:
        """Read what it says until cancelled: whoever waits for nothing must, or it stops when the pipe is full."""
        while True:
            await self._read()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            pytest.fail(f"Node ended; what it said last: {self.said[-5:]}")
        try:
            self.said.append(json.loads(line))
        except ValueError:
            self.said.append({"type": "noise", "text": line.decode(errors="replace").rstrip()})
        if self.said[-1]["type"] == "failed":
            pytest.fail(f"Node failed: {self.said[-1]}")

    async def hears(self, frequency: float, *, fresh: bool = False) -> dict[str, Any]:
        """Wait until it hears a clean tone: half a second in which nothing else is worth mentioning."""
        return await self.wait_for(
            "heard",
            lambda heard: (
                abs(heard["frequency"] - frequency) <= 5
                and heard["level"] > AUDIBLE
                and abs(heard["rms"] - heard["level"]) < 1
            ),
            fresh=fresh,
        )

    async def obey(self, do: str, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
        await self._process.stdin.drain()


class Sound:
    """A stretch of audio, ``(samples, 1)``, measured."""

    def __init__(self, audio: NDArray[np.float64], sample_rate: int) -> None:
        self.dominant = spectrum.dominant_frequency(audio, sample_rate)
        self.level = spectrum.tone_level(audio, sample_rate, self.dominant)
        halves = np.array_split(audio, 2)
        levels = [spectrum.tone_level(half, sample_rate, self.dominant) for half in halves]
        steady = abs(levels[0] - levels[1]) < 1
        # A jump of phase, where the playout caught up with the clock, spreads the tone over other frequencies.
        pure = spectrum.band_level(audio, sample_rate, 50, sample_rate / 2) - self.level < 0.5
        self._whole = steady and pure

    def is_tone(self, frequency: float) -> bool:
        """Whether it is that tone from end to end, and nothing else."""
        return abs(self.dominant - frequency) < 2 and self.level > AUDIBLE and self._whole

    def __str__(self) -> str:
        return f"{self.dominant:.1f} Hz at {self.level:.1f} dBFS"


class Mock:
    """The mock as anybody's program sees it: over HTTP."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def call(self, call_id: str) -> dict[str, Any]:
        """``GET /mock/calls/{id}``."""
        async with self._http.get(f"{self.url}/mock/calls/{call_id}") as response:
            assert response.status == 200, await response.text()
            found: dict[str, Any] = await response.json()
            return found

    async def call_where(self, call_id: str, where: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the call's record once ``where`` is true of it."""
        record: Mapping[str, Any] = {}
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    record = await self.call(call_id)
                    if where(record):
                        return dict(record)
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"not within {DEADLINE} s; the call's record is {json.dumps(record)[:2000]}")

    async def received(self, call_id: str) -> tuple[NDArray[np.float64], int]:
        """Return all that the mock has heard, ``(samples, 1)``, and its sample rate."""
        async with self._http.get(f"{self.url}/mock/calls/{call_id}/audio.wav") as response:
            assert response.status == 200, await response.text()
            audio, sample_rate = spectrum.read_wav(await response.read())
        # Two channels on one timeline: the mock's own voice left, what it received right.
        return audio[:, -1:], sample_rate

    async def heard(self, call_id: str, frequency: float) -> tuple[float, float]:
        """Wait for half a second of ``frequency``; return its exact frequency and its level in dBFS."""
        return await self._hear(call_id, f"{frequency} Hz", lambda heard: heard.is_tone(frequency))

    async def silent(self, call_id: str) -> None:
        """Wait for half a second of silence."""
        await self._hear(call_id, "silence", lambda heard: heard.level < INAUDIBLE)

    async def _hear(self, call_id: str, what: str, found: Callable[[Sound], bool]) -> tuple[float, float]:
        heard = Sound(np.zeros((480, 1)), 48_000)
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    audio, sample_rate = await self.received(call_id)
                    if len(audio) >= sample_rate // 2:
                        heard = Sound(audio[-sample_rate // 2 :], sample_rate)
                        if found(heard):
                            return heard.dominant, heard.level
                    await asyncio.sleep(0.2)
        except TimeoutError:
            record = json.dumps(await self.call(call_id))[:1000]
            pytest.fail(f"the mock did not hear {what} in {DEADLINE} s, last {heard}: {record}")


@asynccontextmanager
async def running_mock(scenario: str, **options: Any) -> AsyncIterator[Mock]:
    from signaling import MockServer

    async with (
        MockServer(port=0, scenario=scenario, api_key=API_KEY, **options) as server,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE)) as http,
    ):
        yield Mock(server.url("orga").rstrip("/"), http)


async def hear(session: rtcpeer.Session, frequency: float) -> tuple[float, float]:
    """Wait for half a second of ``frequency``; return its exact frequency and its level in dBFS."""
    heard: list[NDArray[np.int16]] = []
    async for frame in session.audio:
        heard.append(frame.samples)
        if len(heard) == 25:
            sound = Sound(spectrum.as_float(np.concatenate(heard)), 48_000)
            if sound.is_tone(frequency):
                return sound.dominant, sound.level
            heard.clear()
    pytest.fail("the session ended")


async def fall_silent(session: rtcpeer.Session) -> None:
    """Wait for a fifth of a second without sound."""
    quiet = 0
    async for frame in session.audio:
        quiet = quiet + 1 if np.abs(frame.samples).max() < 32768 * 10 ** (INAUDIBLE / 20) else 0
        if quiet == 10:
            return
    pytest.fail("the session ended")


def decode(flac: bytes, folder: Path) -> NDArray[np.int16]:
    """Return an asset as mono PCM at 48 kHz, ``(samples, 1)``."""
    path = folder / "asset.flac"
    path.write_bytes(flac)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
    with av.open(path) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1, 1) for frame in frames])
