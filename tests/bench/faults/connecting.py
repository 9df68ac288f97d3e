"""Faults that a call meets before it is up, on this machine: dead and strict servers in its list."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from parts import Node
from test_coturn import SECRET, coturn

from rtcpeer.auth import turn_credentials

from .caller import Caller, callers, same_words, told_since
from .rows import Cell, Outcome, Row
from .servers import KEY, dead_stun, mock

LONGEST = 45.0
"""Seconds that a first sound is waited for: libwebrtc asks a dead STUN server for 40 s."""
SILENT = 30.0
"""Seconds that an error is waited for."""
FIRST_SOUND = "first request to first sound"


async def first_sounds(repeats: Mapping[str, int]) -> AsyncIterator[Row]:
    """Yield the rows of how long it takes until something is heard; ``repeats`` by system."""
    async with callers(repeats, 1) as everybody:
        async with mock() as server:
            yield await _first_sound(everybody, repeats, "none", 0.12, server.url, "all")
        with dead_stun() as url:
            async with mock("--ice-server", url) as server:
                fewer = {system: 1 if system == "libwebrtc" else min(times, 5) for system, times in repeats.items()}
                yield await _first_sound(everybody, fewer, "a dead STUN server in the list", 0.5, server.url, "all")
        async with coturn(SECRET) as url, mock("--ice-server", url, "--turn-secret", SECRET) as server:
            yield await _first_sound(everybody, repeats, "relay only, by coturn over UDP", 0.3, server.url, "relay")
        async with coturn(SECRET) as url, mock("--ice-server", url, "--turn-secret", f"not {SECRET}") as server:
            fault = "wrong TURN password, other paths allowed"
            yield await _first_sound(everybody, repeats, fault, None, server.url, "all")


async def first_sounds_of_libwebrtc(repeats: Mapping[str, int]) -> AsyncIterator[Row]:
    """Yield the rows of how long it takes until a far end is heard that is libwebrtc: its SDP is that of browsers."""
    async with callers(repeats, 1) as everybody:

        async def row(fault: str, goal: float, servers: list[dict[str, Any]], policy: str, **most: int) -> Row:
            async with Node.run("wrtc_server.js", apiKey=KEY, frequency=660, iceServers=servers) as node:
                port = (await node.wait_for("listening"))["port"]
                reading = asyncio.create_task(node.drain())
                try:
                    fewer = {system: min(each, most.get(system, each)) for system, each in repeats.items()}
                    name = f"{fault}; the far end is libwebrtc"
                    return await _first_sound(everybody, fewer, name, goal, f"http://127.0.0.1:{port}", policy)
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)

        yield await row("none", 0.15, [], "all")
        with dead_stun() as url:
            yield await row(
                "a dead STUN server in the list", 0.5, [{"urls": [url]}], "all", rtcpeer=5, aiortc=3, libwebrtc=1
            )
        async with coturn(SECRET) as url:
            username, credential = turn_credentials(SECRET, user="bench", now=time.time())
            servers = [{"urls": [url], "username": username, "credential": credential}]
            yield await row("relay only, by coturn over UDP", 0.3, servers, "relay", aiortc=1)


async def _first_sound(
    everybody: list[Caller], repeats: Mapping[str, int], fault: str, goal: float | None, url: str, policy: str
) -> Row:
    row = Row(fault, FIRST_SOUND, goal, {caller.system: Cell(LONGEST) for caller in everybody})
    for number in range(max(repeats.values())):
        # In turns, so that what else the machine does meets all of them.
        for caller in everybody:
            if number >= repeats[caller.system]:
                continue
            await caller.call(url=url, key=KEY, policy=policy)
            found = await caller.first_sound(LONGEST)
            told = told_since(caller.said, caller.said[0]["t"])
            row.cells[caller.system].outcomes.append(
                Outcome(None, told=told) if found is None else Outcome(found[0], told=told, phases=found[1])
            )
            await caller.hang_up()
            await asyncio.sleep(0.2)  # until the mock has put its end away
    return row


async def wrong_password(repeats: Mapping[str, int]) -> Row:
    """Relay only, with credentials that coturn refuses."""
    row = Row("relay only, wrong TURN password", "first request to an error", 2.0)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(coturn(SECRET))
        server = await stack.enter_async_context(mock("--ice-server", url, "--turn-secret", f"not {SECRET}"))
        everybody = await stack.enter_async_context(callers(repeats, 1))
        cells = await asyncio.gather(*(_refused(caller, repeats[caller.system], server.url) for caller in everybody))
        row.cells = {caller.system: cell for caller, cell in zip(everybody, cells, strict=True)}
    return row


async def _refused(caller: Caller, times: int, url: str) -> Cell:
    cell = Cell(SILENT)
    for _ in range(times):
        await caller.call(url=url, key=KEY, policy="relay")
        cell.outcomes.append(await failure(caller, SILENT))
        if cell.outcomes[-1].seconds is None:
            break  # who waits for ever on a server may not be able to hang up either
        await caller.hang_up()
    return cell


async def failure(caller: Caller, bound: float) -> Outcome:
    """Return when, and with which words, a call was given up that never came to be."""
    ended = await caller.wait_for("ended", bound)
    began = await caller.wait_for("began", 0)
    if ended is None or began is None:
        return Outcome(None)
    # rtcpeer tells the phases that it came through.
    phases = {
        said["said"]["phase"]: round(said["said"]["seconds"], 4)
        for said in caller.said
        if said["type"] == "told" and said["what"] == "PhaseCompleted"
    }
    return Outcome(ended["t"] - began["t"], same_words(ended["error"]), phases=phases)
