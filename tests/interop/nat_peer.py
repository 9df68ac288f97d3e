"""One side of a call in ``nat_lab.py``: a program that speaks in lines of JSON.

    python nat_peer.py called HOST OPTIONS      answers at HOST, once it has said its URL
    python nat_peer.py caller URL OPTIONS       calls for each line of more options; says the pair, or the error

OPTIONS is JSON: ``ice_servers`` as W3C has them, and what else ``IceOptions.of`` or ``connect`` takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from calling import answering

import rtcpeer
from rtcpeer.errors import RtcPeerError
from rtcpeer.events import ErrorReported
from rtcpeer.protocols.http import IceServer
from rtcpeer.transports.ice_options import IceOptions


async def called(host: str, options: dict[str, Any]) -> None:
    servers = [IceServer(**server) for server in options.pop("ice_servers")]
    async with answering(host=host, ice_servers=servers, ice=IceOptions.of(**options)) as (url, _):
        print(url)
        await asyncio.Event().wait()


async def caller(url: str, options: dict[str, Any]) -> None:
    print("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await call(url, options | json.loads(line))))


async def call(url: str, options: dict[str, Any]) -> dict[str, Any]:
    sessions: list[rtcpeer.Session] = []
    found: dict[str, Any] = {}
    try:
        async with rtcpeer.connect("orga", url, token="t", on_session=sessions.append, **options) as session:
            found = session.stats()["candidate_pair"]
            async for frame in session.audio:  # it is a path for sound, too
                found["heard"] = len(frame.samples)
                break
    except RtcPeerError as exc:
        found = {"error": f"{type(exc).__name__}: {exc}"}
    said = [entry.said for entry in sessions[0].events.entries()]
    return found | {"told": [each.message for each in said if isinstance(each, ErrorReported)]}


if __name__ == "__main__":
    role, place, options = sys.argv[1:]
    asyncio.run((called if role == "called" else caller)(place, json.loads(options)))
