"""Real calls on loopback for tests: short scenarios, a far end of our own, a look at what a call leaves behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spectrum
from aiohttp import web
from numpy.typing import NDArray

from rtcpeer.connecting import accept
from rtcpeer.protocols import Orga, Side
from rtcpeer.protocols.http import Answer, HttpRequest, IceServer, Token
from rtcpeer.session import Session
from rtcpeer.transports.ice_options import IceOptions
from signaling.scenario import Line, Scenario, Turn

DEADLINE = 120.0
"""Seconds. What it bounds takes well under three on a quiet machine, and may take ten times that on a busy one."""
USER, AGENT = 1000.0, 440.0
"""Hz: how the two sound in short scenarios."""


def write_tone(path: Path, frequency: float, seconds: float = 0.3) -> Path:
    return spectrum.write_wav(path, spectrum.tone(frequency, seconds, level=-15.0))


def short_scenario(folder: Path, **options: Any) -> Scenario:
    """An agent that answers every turn at once, with 0.3 s of 440 Hz."""
    line = Line(str(write_tone(folder / "agent.wav", AGENT)), "<emotion>Fine.</emotion>")
    defaults: dict[str, Any] = {"turns": (Turn("How are you?", line),), "think_time": 0.0}
    return Scenario("short", "answers with a short tone", **(defaults | options))


def greeting_scenario(folder: Path) -> Scenario:
    """An agent that speaks first, and answers nothing."""
    line = Line(str(write_tone(folder / "agent.wav", AGENT)), "Hello.")
    return Scenario("greeting", "greets", greeting=line)


def loudest_frequency(pcm: NDArray[np.int16], sample_rate: int = 48_000) -> float:
    """The dominant frequency in Hz of ``(samples, 1)``, silence around it left out."""
    sound = spectrum.loudest(spectrum.as_float(pcm), sample_rate, 0.2)
    assert spectrum.SILENCE < spectrum.band_level(sound, sample_rate, 50, 4000)
    return spectrum.dominant_frequency(sound, sample_rate)


class Nobody:
    """A listener that does not care."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


@asynccontextmanager
async def answering(
    answer: Callable[[str], str] = lambda sdp: sdp,
    *,
    host: str = "127.0.0.1",
    ice_servers: Sequence[IceServer] = (),
    ice: IceOptions | None = None,
) -> AsyncIterator[tuple[str, list[Session]]]:
    """A far end without an agent: yields its URL, and the sessions that called, to do with as a test likes.

    Args:
        answer: Makes what the caller gets of the SDP answer.
        ice_servers: Of this end and of the caller's.
    """
    sessions: list[Session] = []

    async def token(request: web.Request) -> web.Response:
        return respond(Orga.token_response(Token("token")))

    async def ice_config(request: web.Request) -> web.Response:
        return respond(Orga.ice_response(tuple(ice_servers)))

    async def call(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        offer = Orga.parse_offer(HttpRequest("POST", request.path, headers, await request.read()))
        session, sdp = await accept(Orga(Side.SERVER, offer.params), offer.sdp, ice_servers=ice_servers, ice=ice)
        sessions.append(session)
        return respond(Orga.answer_response(Answer(answer(sdp), "conv_test")))

    def respond(response: Any) -> web.Response:
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    app = web.Application()
    app.router.add_post(Orga.profile.paths["token"], token)
    app.router.add_get(Orga.profile.paths["ice"], ice_config)
    app.router.add_post(Orga.profile.paths["call"], call)
    async with serving(app, host) as url:
        try:
            yield url, sessions
        finally:
            await asyncio.gather(*(session.close() for session in sessions))


@asynccontextmanager
async def serving(app: web.Application, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve an application, on loopback unless told otherwise; yields its URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        yield f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Any]) -> None:
    """Wait until ``condition`` holds, looking at it each time the loop has done something."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - whatever it may look at, nobody sets an event
            await asyncio.sleep(0.002)


@dataclass(frozen=True)
class Belongings:
    """What a process holds: tasks of the running loop but for the one that asks, threads, open sockets."""

    tasks: frozenset[asyncio.Task[Any]]
    threads: frozenset[threading.Thread]
    sockets: frozenset[str]

    @classmethod
    def now(cls) -> Belongings:
        # The loop's default executor is asyncio's own: it stays until the loop is closed.
        threads = (thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_"))
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        return cls(frozenset(tasks), frozenset(threads), frozenset(open_sockets()))

    def new_since(self, before: Belongings) -> dict[str, Any]:
        found = {
            "tasks": [task for task in self.tasks - before.tasks if not task.done()],
            "threads": list(self.threads - before.threads),
            "sockets": list(self.sockets - before.sockets),
        }
        return {name: things for name, things in found.items() if things}


def open_sockets() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:  # the folder's own
            continue
        if target.startswith("socket:"):
            found.append(target)
    return found


async def nothing_left_since(before: Belongings) -> None:
    """Fail when something that came after ``before`` stays; what is being closed has time for it."""
    gc.collect()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20.0
    while (left := Belongings.now().new_since(before)) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if left:
        raise AssertionError(f"left behind: {left}")
