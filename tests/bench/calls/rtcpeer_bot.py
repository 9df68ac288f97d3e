"""rtcpeer as the system under test: ``python rtcpeer_bot.py SPEECH MODE``; orders as in ``quality/orders.py``.

``bot`` plays PCM and reads what is heard, with the settings as they come; ``economy`` the same with Opus in its
CELT mode; ``pass-through`` sends ready packets and reads packets, without a codec.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from calls.speech import payloads
from numpy.typing import NDArray
from quality.orders import obey, tell

from rtcpeer import OpusPacket, OpusSettings, PacketSource
from rtcpeer.audio.sources import Source
from rtcpeer.connecting import accept
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.orga import Orga
from rtcpeer.session import Session

FRAME = 960
OPUS = {"bot": OpusSettings(), "economy": OpusSettings.economy()}


class Speech(Source):
    """Speech from memory, over and over."""

    def __init__(self, pcm: NDArray[np.int16], begin: int) -> None:
        self._pcm, self._at = pcm, begin

    def read(self, samples: int) -> NDArray[np.int16] | None:
        chunk = self._pcm[self._at : self._at + samples]
        self._at = (self._at + len(chunk)) % len(self._pcm)
        return chunk

    def close(self) -> None:
        pass


class Ready(PacketSource):
    """The same as packets."""

    def __init__(self, payloads: Sequence[bytes], begin: int) -> None:
        self._payloads, self._begin, self._number = payloads, begin, 0

    def read(self) -> OpusPacket | None:
        number = self._number
        self._number += 1
        payload = self._payloads[(self._begin + number) % len(self._payloads)]
        return OpusPacket(payload, number * FRAME, number)


class End:
    def __init__(self, file: str, mode: str) -> None:
        self.pcm = np.frombuffer(Path(file).read_bytes(), np.int16).reshape(-1, 1)
        self.ready = payloads() if mode == "pass-through" else []
        self.opus = OPUS.get(mode)
        self.tasks: list[asyncio.Task[None]] = []
        self.heard = 0

    async def answer(self, sdp: str, begin: int) -> None:
        session, answer = await accept(
            Orga(Side.CLIENT, Orga.configure({})), sdp, opus=self.opus, audio="packets" if self.ready else "pcm"
        )
        tell("answer", sdp=answer)
        self.tasks.append(asyncio.create_task(self.talk(session, begin)))

    async def talk(self, session: Session, begin: int) -> None:
        session.turn_audio = None  # it reads session.audio and listens to no turns
        await session.opened()
        if self.ready:
            await session.play_packets(Ready(self.ready, begin))
            async for _ in session.packets:
                self.heard += 1
        else:
            await session.play(Speech(self.pcm, begin * FRAME))
            async for _ in session.audio:
                self.heard += 1

    async def stats(self) -> None:
        tell("stats", heard=self.heard)


asyncio.run(obey(End(*sys.argv[1:])))
