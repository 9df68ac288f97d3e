"""The frames that come on the video line, newest first come: a reader that is slow loses frames rather than time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import av

from .transports.link import Link


async def received_video(link: Link) -> AsyncIterator[av.VideoFrame]:
    """Yield the newest frame each time, until the line ends; none where the link receives no video."""
    track = link.receive_video()
    if track is None:
        return
    newest: asyncio.Queue[Any] = asyncio.Queue(1)

    async def pump() -> None:
        try:
            while True:
                frame = await track.recv()
                if newest.full():
                    newest.get_nowait()
                newest.put_nowait(frame)
        finally:
            if newest.full():
                newest.get_nowait()
            newest.put_nowait(None)

    pumping = asyncio.create_task(pump(), name="rtcpeer video")
    try:
        while (frame := await newest.get()) is not None:
            yield frame
    finally:
        pumping.cancel()
        # aiortc ends its track with an exception; the iterator's end says the same.
        await asyncio.gather(pumping, return_exceptions=True)
