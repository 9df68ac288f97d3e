"""Our side of a call with a far end that nobody here wrote: a program that speaks in lines of JSON, as far ends do.

    python near_end.py '{"as": "peer", …}'    calls; this process is the service that it calls, too
    python near_end.py '{"as": "mock"}'       the mock is called: an offer from stdin is posted to it over HTTP

``peer`` takes ``connect``, the options of ``rtcpeer.connect``, and ``ice_servers``, which the service tells it. It
says its offer and takes ``{"do": "answer", "sdp": …}``; the mock takes ``{"do": "offer", "sdp": …}`` and says its
answer. Both take ``close``, the peer ``send`` as well; both say ``open``, ``heard``, ``message``, ``closed`` with the
reason, and ``failed``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import spectrum
from aiohttp import web
from calling import serving
from parts import API_KEY, Mock, Sound, running_mock

import rtcpeer
from rtcpeer.audio.sources import ToneSource
from rtcpeer.errors import RtcPeerError
from rtcpeer.events import Closed, Event
from rtcpeer.protocols import Orga

HEARD_EVERY = 0.5
"""Seconds."""


def say(kind: str, **content: Any) -> None:
    print(json.dumps({"type": kind, **content}), flush=True)


def say_heard(sound: Sound) -> None:
    say("heard", frequency=sound.dominant, level=sound.level, clean=sound.is_tone(sound.dominant))


async def orders() -> AsyncIterator[dict[str, Any]]:
    """Yield what stdin orders, until it ends."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


class Service:
    """The service that the peer calls: its answer comes from a far end."""

    def __init__(self, ice_servers: list[dict[str, Any]]) -> None:
        self._ice_servers = ice_servers
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get(Orga.profile.paths["ice"], self._ice)
        app.router.add_post(Orga.profile.paths["call"], self._call)
        async with serving(app) as url:
            yield url

    async def _ice(self, request: web.Request) -> web.Response:
        return web.json_response({"iceServers": self._ice_servers})

    async def _call(self, request: web.Request) -> web.Response:
        say("offer", sdp=(await request.json())["offer"]["sdp"])
        sdp = await self.answer
        return web.json_response({"conversation_id": "conv_far", "answer": {"sdp": sdp, "type": "answer"}})


async def peer(options: dict[str, Any]) -> None:
    service = Service(options.get("ice_servers", []))
    sessions: list[rtcpeer.Session] = []

    async def call(url: str) -> None:
        try:
            async with rtcpeer.connect(
                "orga", url, token="t", reconnect=None, on_session=sessions.append, **options.get("connect", {})
            ) as session:
                say("open", pair=session.stats()["candidate_pair"])
                await session.play(ToneSource(440, -12))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(listen(session))
                    tasks.create_task(tell(session))
        except RtcPeerError as exc:
            say("failed", error=f"{type(exc).__name__}: {exc}")

    async with service.running() as url:
        calling = asyncio.create_task(call(url))
        async for order in orders():
            match order:
                case {"do": "answer", "sdp": sdp}:
                    service.answer.set_result(sdp)
                case {"do": "send", "text": text}:
                    await sessions[0].update(instructions=text)
                case {"do": "close"}:
                    await sessions[0].close()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)


async def listen(session: rtcpeer.Session) -> None:
    heard = []
    async for frame in session.audio:
        heard.append(frame.samples)
        if len(heard) == 25:
            say_heard(Sound(spectrum.as_float(np.concatenate(heard)), 48_000))
            heard.clear()


async def tell(session: rtcpeer.Session) -> None:
    async for entry in session.events.read():
        match entry.said:
            case Closed(reason=reason, detail=detail):
                say("closed", reason=reason, detail=detail)
            case Event() as event:
                say("message", text=json.dumps(event.to_dict(), ensure_ascii=False))


async def mock(options: dict[str, Any]) -> None:
    async with running_mock("tone") as server, aiohttp.ClientSession() as http:
        say("ready")
        call_id, watching = "", None
        async for order in orders():
            match order:
                case {"do": "offer", "sdp": sdp}:
                    call_id = await answer(server, http, sdp)
                    if call_id:
                        watching = asyncio.create_task(watch(server, call_id))
                case {"do": "close"}:
                    async with http.delete(f"{server.url}/mock/calls/{call_id}") as response:
                        response.raise_for_status()
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def answer(server: Mock, http: aiohttp.ClientSession, sdp: str) -> str:
    """Call the mock as a client would, and say its answer; the call's id, if it took it."""

    async def post(path: str, credential: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {credential}"}
        async with http.post(f"{server.url}{path}", headers=headers, json=body) as response:
            text = await response.text()
        return response.status, json.loads(text) if response.content_type == "application/json" else text

    _, secret = await post(Orga.profile.paths["token"], API_KEY)
    # Candidates stand in the SDP alone; a list beside it is the vendor's SDK's way.
    body = {"offer": {"sdp": sdp, "type": "offer", "candidates": []}, "params": {}}
    status, said = await post(Orga.profile.paths["call"], secret["ephemeral_token"], body)
    if status != 200:
        say("failed", error=f"the offer was refused with {status}: {json.dumps(said)[:300]}")
        return ""
    say("answer", sdp=said["answer"]["sdp"])
    return str(said["conversation_id"])


async def watch(server: Mock, call_id: str) -> None:
    """Say what the mock hears and is told, until the call is over."""
    told, was = 0, "opening"
    while was != "closed":
        call = await server.call(call_id)
        if was == "opening" and call["state"] == "open":
            say("open", pair=call["stats"]["candidate_pair"])
        was = call["state"]
        for message in call["received"][told:]:
            say("message", text=json.dumps(message, ensure_ascii=False))
        told = len(call["received"])
        if was == "open":
            audio, sample_rate = await server.received(call_id)
            if len(audio) >= sample_rate // 2:
                say_heard(Sound(audio[-sample_rate // 2 :], sample_rate))
            await asyncio.sleep(HEARD_EVERY)
        else:
            await asyncio.sleep(0.1)
    if call["failure"] is not None:
        say("failed", error=call["failure"])
    say("closed", **(call["closed"] or {"reason": "none", "detail": ""}))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asyncio.run((mock if given["as"] == "mock" else peer)(given))
