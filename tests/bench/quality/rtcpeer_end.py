"""rtcpeer as one end of a measured call: ``python rtcpeer_end.py receive|send FILE``; orders as in ``orders.py``."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import wave
from collections.abc import AsyncIterator
from typing import Any

from orders import obey, tell
from recording import Recording

from rtcpeer.connecting import accept
from rtcpeer.formats import VOICE
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.orga import Orga
from rtcpeer.session import Session


class End:
    def __init__(self, role: str, file: str) -> None:
        self.role, self.file = role, file
        self.session: Session | None = None
        self.recording = Recording()
        self.listening: asyncio.Task[None] | None = None

    async def answer(self, sdp: str) -> None:
        self.session, answer = await accept(Orga(Side.SERVER), sdp)
        tell("answer", sdp=answer)
        await self.session.opened()
        if self.role == "receive":
            self.listening = asyncio.create_task(self.listen(self.session))
        tell("connected")

    async def listen(self, session: Session) -> None:
        async for frame in session.audio:
            self.recording.add(time.monotonic_ns(), frame.format.sample_rate, frame.samples)

    async def speak(self) -> None:
        assert self.session is not None
        tell("speaking", t=time.monotonic_ns())
        await self.session.play(synthesised(self.file), format=VOICE)

    async def stats(self) -> None:
        assert self.session is not None
        found = self.session.stats()
        inbound: dict[str, Any] = found["inbound_audio"]
        tell(
            "stats",
            total=inbound["total_samples_received"],
            concealed=inbound["concealed_samples"],
            bytes=found["outbound_audio"]["bytes_sent"],
            own=found,
        )

    async def stop(self) -> None:
        assert self.session is not None
        await self.session.close()
        if self.listening is not None:
            await self.listening
            self.recording.save(self.file)


async def synthesised(file: str) -> AsyncIterator[bytes]:
    """Yield a file's PCM as a speech synthesiser does: pieces of any length, ahead of what is said, with stalls."""
    rng = random.Random(1)
    with wave.open(file) as speech:
        began, given = time.monotonic(), 0.0
        while pcm := speech.readframes(int(speech.getframerate() * rng.uniform(0.02, 0.4))):
            yield pcm
            given += len(pcm) / (2 * speech.getframerate())
            ahead = given - (time.monotonic() - began)
            if ahead > 1.5:
                await asyncio.sleep(ahead - rng.uniform(0.2, 0.6))


asyncio.run(obey(End(*sys.argv[1:3])))
