"""A caller in a process of its own, steered by lines of JSON as in ``quality/orders.py``; its times are monotonic.

``call`` with ``url``, ``key`` and, if wanted, ``policy`` (``relay``) and ``record`` → ``began`` when the first
request is about to be sent, ``phases``, ``told`` for whatever its user is told, ``sound`` for the first sample above
−40 dBFS that its user is handed and the first after each gap of half a second, ``ended`` when its user is told that
the call is over. ``hangup`` → ``hungup``; then it may call again.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = {
    "rtcpeer": [sys.executable, str(HERE / "rtcpeer_caller.py")],
    "aiortc": [sys.executable, str(HERE / "aiortc_caller.py")],
    "libwebrtc": ["node", str(HERE / "wrtc_caller.js")],
}
DEADLINE = 60.0
"""Seconds for what is not measured: to start, to hang up."""

Said = dict[str, Any]


class Caller:
    """One of ``PROGRAMS``; what it says is kept in ``said`` from one ``call`` to the next."""

    def __init__(self, system: str, process: asyncio.subprocess.Process) -> None:
        self.system = system
        self.said: list[Said] = []
        self._process = process
        self._news = asyncio.Condition()
        self._over = False
        self._complaints: deque[str] = deque(maxlen=12)  # the last lines of its stderr
        self._reading = asyncio.gather(self._read(), self._read_complaints())

    @classmethod
    @asynccontextmanager
    async def running(cls, system: str, prefix: Iterable[str] = ()) -> AsyncIterator[Caller]:
        """Run one until the block is left; ``prefix``: what comes before its command."""
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *PROGRAMS[system],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Why it ended, if it does; what its user is told, it says on stdout.
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
            # They import what stands beside this package.
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join((str(HERE.parent), str(HERE.parents[2]))),
            },
        )
        caller = cls(system, process)
        try:
            if await caller.wait_for("ready", DEADLINE) is None:
                raise RuntimeError(f"{system} did not start within {DEADLINE:g} s")
            yield caller
        finally:
            await caller.kill()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            async with self._news:
                self.said.append(json.loads(line))
                self._news.notify_all()
        async with self._news:
            self._over = True
            self._news.notify_all()

    async def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._complaints.append(line.decode(errors="replace"))

    async def order(self, do: str, **rest: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **rest}).encode() + b"\n")
        try:
            await self._process.stdin.drain()
        except ConnectionError as exc:
            await self._process.wait()
            raise RuntimeError(f"{self.system} ended: {''.join(self._complaints)}") from exc

    async def call(self, **options: Any) -> None:
        """Forget the call before, and begin one."""
        self.said.clear()
        await self.order("call", **options)

    async def hang_up(self) -> None:
        await self.order("hangup")
        if await self.wait_for("hungup", DEADLINE) is None:
            raise RuntimeError(f"{self.system} did not hang up within {DEADLINE:g} s")

    async def wait_for(
        self, kind: str, timeout: float, where: Callable[[Said], bool] = lambda said: True
    ) -> Said | None:
        """Return the first that is said of that kind, or ``None`` if it is not within so many seconds."""
        return await self.wait_until(lambda said: said["type"] == kind and where(said), timeout)

    async def wait_until(self, where: Callable[[Said], bool], timeout: float) -> Said | None:
        """Return the first thing said of which ``where`` is true, or ``None``."""
        found: Said | None = None

        def there() -> bool:
            nonlocal found
            found = next(filter(where, self.said), None)
            return found is not None or self._over

        try:
            async with asyncio.timeout(timeout), self._news:
                await self._news.wait_for(there)
        except TimeoutError:
            return None
        if found is None:
            raise RuntimeError(f"{self.system} ended: {''.join(self._complaints)}")
        return found

    async def first_sound(self, timeout: float) -> tuple[float, dict[str, float]] | None:
        """Return the seconds from the first request to the first sound, and the phases of that time."""
        sound = await self.wait_for("sound", timeout)
        began = await self.wait_for("began", 0)
        phases = await self.wait_for("phases", DEADLINE) if sound is not None else None
        if sound is None or began is None or phases is None:
            return None
        took = sound["t"] - began["t"]
        # Between the last phase and the sound: the agent begins to speak, the packet travels, the playout waits.
        rest = took - sum(phases["phases"].values())
        return took, {**phases["phases"], "sound": round(rest, 4)}

    async def kill(self) -> None:
        """As ``kill -9``."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def callers(systems: Iterable[str], each: int, prefix: Iterable[str] = ()) -> AsyncIterator[list[Caller]]:
    """Run so many of each."""
    prefix = list(prefix)
    async with AsyncExitStack() as stack:
        wanted = [Caller.running(system, prefix) for system in systems for _ in range(each)]
        yield list(await asyncio.gather(*(stack.enter_async_context(one) for one in wanted)))


_USUAL = frozenset(
    (
        "SpeechStarted",
        "SpeechStopped",
        "PhaseCompleted",
        "SessionStarted",
        "ConversationStarted",
        "connectionState connecting",
        "connectionState connected",
    )
)


def told_since(said: list[Said], broken: float) -> dict[str, float]:
    """Return what a user was told after ``broken``, each thing with its seconds, the first time only."""
    told: dict[str, float] = {}
    for each in said:
        name = each.get("what") if each["type"] == "told" else each.get("error") if each["type"] == "ended" else None
        if name == "ErrorReported":
            name = f"{name}: {same_words(each['said']['message'])}"
        if name and name not in _USUAL and each["t"] >= broken:
            told.setdefault(name, round(each["t"] - broken, 2))
    return told


def same_words(text: str) -> str:
    """Leave out the ports on this machine, which were free by chance: what is told is to be the same every time."""
    return re.sub(r"(127\.0\.0\.1:)\d+", r"\1…", text)
