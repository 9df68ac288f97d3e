"""What is called: the mock as a process of its own, and the STUN and TURN servers that it names."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

KEY = "sk_reliability"
STARTED_WITHIN = 60.0
"""Seconds."""


class Mock:
    """``rtcpeer mock`` with an agent that sounds a steady tone; it can be killed and started again where it was."""

    def __init__(self, *options: str, host: str = "127.0.0.1", port: int = 0, prefix: Iterable[str] = ()) -> None:
        self.url = ""
        self._options = options
        self._host, self._port = host, port
        self._prefix = list(prefix)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix,
            *(sys.executable, "-m", "rtcpeer", "mock", "--scenario", "tone"),
            *("--host", self._host, "--port", str(self._port), *self._options),
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[3]),
                "PYTHONUNBUFFERED": "1",
                "RTCPEER_API_KEY": KEY,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(STARTED_WITHIN):
            line = (await self._process.stdout.readline()).decode()
        if " at http" not in line:
            raise RuntimeError(f"the mock did not start: {line!r}")
        self.url = line.split(" at ")[1].split(",")[0].strip()

    async def kill(self) -> None:
        """As ``kill -9``: nobody is told goodbye."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def mock(
    *options: str, host: str = "127.0.0.1", port: int = 0, prefix: Iterable[str] = ()
) -> AsyncIterator[Mock]:
    server = Mock(*options, host=host, port=port, prefix=prefix)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


@contextmanager
def dead_stun() -> Iterator[str]:
    """A STUN URL where everything is swallowed, as behind a firewall: no answer, and no ICMP that says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield f"stun:127.0.0.1:{nobody.getsockname()[1]}"
