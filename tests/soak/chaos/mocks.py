"""The mock servers of a soak: each a process of its own, so that one can be killed, and what was done to each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from rtcpeer.netem import NetworkConditions

PROGRAM = Path(__file__).with_name("mock_process.py")
ANSWER_DEADLINE = 30.0
"""Seconds for a mock to answer: it has a core for itself only now and then."""


@dataclass(slots=True)
class Span:
    """Something that was done to a mock, on the loop's clock: when it was asked for and when it was so."""

    kind: str
    what: str
    begin_asked: float
    begun: float | None = None
    end_asked: float | None = None
    ended: float | None = None

    def touches(self, start: float, end: float) -> bool:
        return self.begin_asked <= end and (self.ended is None or self.ended >= start)

    def covers(self, start: float, end: float) -> bool:
        return self.begun is not None and self.begun <= start and (self.end_asked is None or self.end_asked >= end)


class Mock:
    """One mock server: ``start`` it, then ``stop`` it; ``kill`` has no manners."""

    def __init__(self, name: str, seed: int, record: Path | None = None) -> None:
        self.name = name
        self.record = record
        self.lives = 0
        """How many processes it has been."""
        self.spans: list[Span] = []
        self._seed = seed
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self.lives += 1
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(PROGRAM), str(self._port), str(self.record or ""), str(self._seed)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )
        self._port = (await self._answer())["port"]

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def stop(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(ANSWER_DEADLINE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise

    async def ask(self, what: str, **more: Any) -> dict[str, Any]:
        """Ask the process itself, not the server."""
        async with self._turn:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"ask": what, **more}).encode() + b"\n")
            return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_DEADLINE):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the mock {self.name} died: see stderr")
        found: dict[str, Any] = json.loads(line)
        return found

    # What goes wrong on purpose

    async def fault(self, name: str, seconds: float) -> None:
        """Let a fault be on for so long."""
        await self._for("fault", name, seconds, "faults", {"faults": [name]}, {"faults": []})

    async def network(self, conditions: str, seconds: float) -> None:
        """Let the mock's network be bad for so long."""
        await self._for("network", conditions, seconds, "netem", {"netem": conditions}, {"netem": None})

    async def _for(self, kind: str, what: str, seconds: float, door: str, on: object, off: object) -> None:
        loop = asyncio.get_running_loop()
        span = Span(kind, what, loop.time())
        self.spans.append(span)
        try:
            await self._put(door, on)
            span.begun = loop.time()
            await asyncio.sleep(seconds)
        finally:
            span.end_asked = loop.time()
            await self._put(door, off)
            span.ended = loop.time()

    async def kill(self, seconds: float) -> None:
        """SIGKILL; so many seconds later another process listens on the same port."""
        assert self._process is not None
        loop = asyncio.get_running_loop()
        span = Span("kill", "", loop.time())
        self.spans.append(span)
        self._process.kill()
        await self._process.wait()
        span.begun = loop.time()
        await asyncio.sleep(seconds)
        await self.start()
        span.ended = loop.time()

    async def hang_up(self, id: str) -> bool:
        """Let the far end hang up; ``False``: it knows no such call, or is not there."""
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_DEADLINE)) as http,
                http.delete(f"{self.url}/mock/calls/{id}") as response,
            ):
                return response.status == 204
        return False

    async def _put(self, door: str, what: object) -> None:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_DEADLINE)) as http,
            http.put(f"{self.url}/mock/{door}", json=what) as response,
        ):
            response.raise_for_status()

    # What a call met with

    def faults(self, start: float, end: float, *, throughout: bool) -> frozenset[str]:
        return frozenset(
            span.what
            for span in self.spans
            if span.kind == "fault" and (span.covers(start, end) if throughout else span.touches(start, end))
        )

    def killed(self, start: float, end: float) -> bool:
        return any(span.kind == "kill" and span.touches(start, end) for span in self.spans)

    def networks(self, start: float, end: float) -> list[str]:
        return [span.what for span in self.spans if span.kind == "network" and span.touches(start, end)]


def waited(pid: int | None) -> float:
    """Return for how many seconds in all a process's first thread wanted a core and there was none."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:  # it is gone, or the kernel does not count
        return 0.0


def cut_off(conditions: str, protocol: str) -> float:
    """Return for how many seconds on end nothing may come through."""
    parsed = NetworkConditions.of(conditions)
    if protocol != "orga":
        # 384 kbit/s through 64: what waits is as good as lost, and a ping waits with it.
        stream = parsed.for_stream()
        return 60.0 if stream.rate is not None else stream.stall.duration if stream.stall is not None else 0.0
    return max((window.duration for window in (parsed.outage, parsed.stall) if window is not None), default=0.0)
