"""rtcpeer as the caller, used as its README shows it; orders as in ``caller.py``."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

import numpy as np
from faults.ear import Ear
from quality.orders import obey, tell

from rtcpeer import RtcPeerError, Session, connect
from rtcpeer.formats import VOICE


class End:
    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.session: Session | None = None

    async def call(
        self, url: str, key: str, policy: Literal["all", "relay"] = "all", record: str | None = None
    ) -> None:
        self.task = asyncio.create_task(self._call(url, key, policy, record))

    async def _call(self, url: str, key: str, policy: Literal["all", "relay"], record: str | None) -> None:
        reading: list[asyncio.Task[Any]] = []
        tell("began", t=time.monotonic())
        error = ""
        try:
            async with connect(
                "orga",
                url,
                api_key=key,
                ice_policy=policy,
                record=record,
                on_session=lambda session: reading.append(asyncio.create_task(self._read(session))),
            ) as session:
                self.session = session
                tell("phases", phases={name: round(took, 4) for name, took in session.phases.items()})
                ear = Ear()
                if record is not None:
                    # 0.3 s of tone a second: it begins and ends, and each is an event.
                    beep = np.zeros((48_000, 1), np.int16)
                    beep[:14_400, 0] = 8000 * np.sin(np.arange(14_400) * 0.05)
                    await session.play(beep, format=VOICE, loop=True)
                async for frame in session.audio:
                    ear.hear(int(np.abs(frame.samples).max()))
            await asyncio.gather(*reading)
        except RtcPeerError as exc:
            error = f"{type(exc).__name__}: {exc}"
        tell("ended", t=time.monotonic(), error=error)

    async def _read(self, session: Session) -> None:
        async for said in session:
            tell("told", t=time.monotonic(), what=type(said).__name__, **_shown(said.to_dict()))

    async def hangup(self) -> None:
        assert self.task is not None
        if self.session is not None:
            await self.session.close()
        elif not self.task.done():
            self.task.cancel()
        await asyncio.wait([self.task])
        self.session = None
        tell("hungup")

    async def stop(self) -> None:
        """Nothing is left to do."""


def _shown(said: dict[str, Any]) -> dict[str, Any]:
    """Leave out the name of the event, under which ``tell`` has another."""
    return {"said": {name: value for name, value in said.items() if name != "type"}}


asyncio.run(obey(End()))
