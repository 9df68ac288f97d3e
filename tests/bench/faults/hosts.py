"""Callers on one host, the mock on another, and a network between them that can be broken (``namespaces.py``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from namespaces import Host, Hosts, ip, two_hosts

from .caller import Caller, Said, callers, told_since
from .connecting import failure
from .rows import Cell, Outcome, Row
from .servers import KEY, Mock, mock

PORT = 8080
UP_WITHIN = 20.0
"""Seconds until a call on a healthy network is heard."""
WATCHED = 45.0
"""Seconds that a broken call is watched."""
NO_PATH = 75.0
OUTAGES = (5.0, 10.0)
"""Seconds: shorter and longer than what a call is given up after."""
MOVED = "10.77.0.3"
SEED = 689


@dataclass(frozen=True)
class Lab:
    """Two hosts with callers on the one and the mock on the other."""

    hosts: Hosts
    server: Mock
    everybody: list[Caller]

    async def all_up(self) -> None:
        """Call, and wait until everybody hears the other end."""
        for caller in self.everybody:
            await caller.call(url=self.server.url, key=KEY)
        for caller in self.everybody:
            if await caller.first_sound(UP_WITHIN) is None:
                raise RuntimeError(f"{caller.system} was not up within {UP_WITHIN:g} s: {caller.said}")
        await asyncio.sleep(3.0)  # a call that runs, not one that begins

    async def hang_up(self) -> None:
        await asyncio.gather(*(caller.hang_up() for caller in self.everybody))


@asynccontextmanager
async def lab(each: Mapping[str, int]) -> AsyncIterator[Lab]:
    """Make it, with so many callers of each system; skips (``pytest.skip``) where there are no namespaces."""
    async with two_hosts("", SEED) as hosts:
        far = hosts.far
        async with mock(host=far.address, port=PORT, prefix=far.command()) as server:
            [count] = set(each.values())
            async with callers(each, count, hosts.near.command()) as everybody:
                yield Lab(hosts, server, everybody)


async def broken_calls(each: Mapping[str, int]) -> AsyncIterator[Row]:
    """Yield the rows of what breaks between two hosts; ``each``: callers by system, at the same time."""
    async with lab(each) as two:
        yield await no_path(two)
        for seconds in OUTAGES:
            yield await outage(two, seconds)
        yield await restart(two)
        yield await vanished(two)
        yield await moved(two)


async def no_path(two: Lab) -> Row:
    row = Row("no path at all: HTTP passes, UDP does not", "first request to an error", 10.5)
    await two.hosts.change("loss=100%", udp_only=True)
    for caller in two.everybody:
        await caller.call(url=two.server.url, key=KEY)
    found = await asyncio.gather(*(failure(caller, NO_PATH) for caller in two.everybody))
    await two.hosts.change("")
    await two.hang_up()
    return _gather(row, two, found, NO_PATH)


async def vanished(two: Lab) -> Row:
    """The far end's machine is gone, its server with it."""
    row = Row("the far end vanished", "last sign of life to being told that it is lost", 9.0)
    await two.all_up()
    broken = time.monotonic()
    await two.hosts.change("loss=100%")
    found = await asyncio.gather(*(_noticed(caller, broken) for caller in two.everybody))
    await two.hosts.change("")
    await two.hang_up()
    return _gather(row, two, found, WATCHED)


async def outage(two: Lab, seconds: float) -> Row:
    row = Row(f"{seconds:g} s outage, then the network is back", "network back to sound again", None)
    await two.all_up()
    broken = time.monotonic()
    await two.hosts.change("loss=100%")
    await asyncio.sleep(seconds)
    back = time.monotonic()
    await two.hosts.change("")
    found = await asyncio.gather(*(_heard_again(caller, broken, back) for caller in two.everybody))
    await two.hang_up()
    return _gather(row, two, found, WATCHED)


async def restart(two: Lab) -> Row:
    row = Row("the server is killed and started again", "kill to sound again", None)
    await two.all_up()
    broken = time.monotonic()
    await two.server.kill()
    await two.server.start()
    started = time.monotonic() - broken
    found = await asyncio.gather(*(_heard_again(caller, broken, broken) for caller in two.everybody))
    for each in found:
        each.phases["server was down"] = round(started, 2)
    await two.hang_up()
    return _gather(row, two, found, WATCHED)


async def moved(two: Lab) -> Row:
    """The caller's address is taken away and it gets another, as from one network to the next."""
    row = Row("the caller's address changes", "change to sound again", None)
    await two.all_up()
    near = two.hosts.near
    broken = time.monotonic()
    await _readdress(near, near.address, MOVED)
    found = await asyncio.gather(*(_heard_again(caller, broken, broken) for caller in two.everybody))
    await two.hang_up()
    await _readdress(near, MOVED, near.address)
    return _gather(row, two, found, WATCHED)


async def _readdress(host: Host, old: str, new: str) -> None:
    await ip("-n", host.namespace, "address", "delete", f"{old}/24", "dev", "eth0")
    await ip("-n", host.namespace, "address", "add", f"{new}/24", "dev", "eth0")


def _gather(row: Row, two: Lab, found: list[Outcome], bound: float) -> Row:
    for caller, outcome in zip(two.everybody, found, strict=True):
        row.cells.setdefault(caller.system, Cell(bound)).outcomes.append(outcome)
    return row


def _says_lost(said: Said) -> bool:
    """Whether that tells a user that the connection is no more, whatever is done about it."""
    return said["type"] == "ended" or (
        said["type"] == "told" and said["what"] in ("Reconnecting", "Closed", "the track ended")
    )


async def _noticed(caller: Caller, broken: float) -> Outcome:
    lost = await caller.wait_until(
        lambda said: said.get("t", 0.0) >= broken and _says_lost(said), broken + WATCHED - time.monotonic()
    )
    return Outcome(None if lost is None else lost["t"] - broken, told=told_since(caller.said, broken))


async def _heard_again(caller: Caller, broken: float, since: float) -> Outcome:
    """Wait for the sound after the gap that began at ``broken``."""

    def back_or_over(said: Said) -> bool:
        return said["type"] == "ended" or (
            said["type"] == "sound" and said["gap"] is not None and said["t"] >= max(broken + 0.2, since)
        )

    sound = await caller.wait_until(back_or_over, broken + WATCHED - time.monotonic())
    await asyncio.sleep(0.5)  # for what is told of it besides
    told = told_since(caller.said, broken)
    if sound is None or sound["type"] == "ended":
        return Outcome(None, told=told)
    return Outcome(sound["t"] - since, told=told, phases={"silence": round(sound["gap"], 2)})
