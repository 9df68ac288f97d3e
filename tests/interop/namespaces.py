"""Two hosts on this machine with a bad network between them: Linux network namespaces, and a bridge in user space.

    near (10.77.0.1) eth0 ── near [middle: bridge.py] far ── eth0 (10.77.0.2) far

It wants root and ``ip``, and touches nothing outside its three namespaces, which are gone afterwards with every
process in them. The kernel's netem would do the same, where there is one; but it takes no seed.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from parts import HERE

STARTED_WITHIN = 15.0
"""Seconds until a process says its first line."""
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Host:
    """A network namespace."""

    namespace: str
    address: str

    def command(self, *command: str | Path) -> list[str]:
        """Return the command that runs ``command`` there."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]

    @asynccontextmanager
    async def running(self, *command: str | Path, **environment: str) -> AsyncIterator[Process]:
        """Run a program there, from its first line on stdout until the block is left."""
        process = await asyncio.create_subprocess_exec(
            *self.command(*command),
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), "PYTHONUNBUFFERED": "1", **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        running = Process(process)
        try:
            await running.line()
            yield running
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(3):
                    await process.communicate()
            except TimeoutError:
                process.kill()
                await process.communicate()

    def socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Open a socket there for this process, as ``aiohttp.TCPConnector(socket_factory=…)`` asks for one."""
        family, kind, protocol = address[:3]

        def enter_and_open() -> socket.socket:
            # setns(2) moves one thread, and this one ends; a socket stays where it was opened. 3.12 has os.setns.
            libc = ctypes.CDLL(None, use_errno=True)
            with Path("/run/netns", self.namespace).open() as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"can't enter {self.namespace}")
            return socket.socket(family, kind, protocol)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter_and_open).result()


class Process:
    """A program in a namespace, which speaks in lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(STARTED_WITHIN):
            line = await self._process.stdout.readline()
        if not line:
            pytest.fail(f"a program in a namespace ended with {await self._process.wait()}; stderr says why")
        return line.decode()

    async def ask(self, line: str = "") -> str:
        """Send a line, and return the line that it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        return await self.line()


@dataclass(frozen=True)
class Hosts:
    """Two hosts and the network between them."""

    near: Host
    far: Host
    bridge: Process

    async def change(self, conditions: str, *, udp_only: bool = False) -> None:
        """Make it another network from now on, in both directions; ``udp_only`` lets everything else pass."""
        await self.bridge.ask(f"{'udp' if udp_only else 'all'} {conditions}")

    async def lost(self) -> dict[str, float]:
        """Return the fraction of the RTP packets that the network has lost, from ``near`` and from ``far``."""
        stats = json.loads(await self.bridge.ask())
        return {side: each["packets_lost"] / each["packets_sent"] for side, each in stats.items()}


@asynccontextmanager
async def two_hosts(conditions: str, seed: int) -> AsyncIterator[Hosts]:
    """Make them, with ``rtcpeer.netem`` conditions in each direction; skip where that is not possible."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux and root: run it as root, or with sudo")
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed: apt-get install iproute2")
    near, middle, far = (
        Host(f"rtcpeer-{os.getpid()}-{name}", address)
        for name, address in (("near", "10.77.0.1"), ("middle", ""), ("far", "10.77.0.2"))
    )
    made: list[Host] = []
    try:
        for host in (near, middle, far):
            code, said = await _ip("netns", "add", host.namespace)
            if code:
                pytest.skip(f"no network namespace to be had here ({said}): a container wants --privileged")
            made.append(host)
            await ip("-n", host.namespace, "link", "set", "dev", "lo", "up")
        for name, host, other in (("near", near, far), ("far", far, near)):
            peer = ("peer", "name", name, "netns", middle.namespace)
            await ip("-n", host.namespace, "link", "add", "dev", "eth0", "type", "veth", *peer)
            await ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            # An IPv6 address would come seconds later: the network changes, and Chromium gives up what it fetches.
            await ip("-n", host.namespace, "link", "set", "dev", "eth0", "addrgenmode", "none", "up")
            await ip("-n", middle.namespace, "link", "set", "dev", name, "addrgenmode", "none", "up")
            # Chromium uses the address on the way to the Internet, until a page may use the microphone.
            await ip("-n", host.namespace, "route", "add", "default", "via", other.address)
        async with middle.running(sys.executable, HERE / "bridge.py", "near", "far", conditions, str(seed)) as bridge:
            yield Hosts(near, far, bridge)
    finally:
        for host in made:
            _, left = await _ip("netns", "pids", host.namespace)
            for pid in left.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            await _ip("netns", "delete", host.namespace)


async def _ip(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        "ip", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode().strip()


async def ip(*arguments: str) -> None:
    """Run ``ip`` with these arguments, which must succeed."""
    code, said = await _ip(*arguments)
    assert code == 0, f"ip {' '.join(arguments)}: {said}"
