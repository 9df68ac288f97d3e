"""Connecting, watched and stoppable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiortc import RTCPeerConnection


def watch_connecting(
    pc: RTCPeerConnection, on_failure: Callable[[Exception], None]
) -> Callable[[], Coroutine[Any, Any, None]]:
    """Report what breaks while connecting; return what stops connecting, to be awaited before ``pc.close()``.

    Works around ``RTCPeerConnection`` connecting in a task that nobody looks at: an SDP without a DTLS fingerprint
    fails there unseen, and a connection closed amid it is left with RTCP and consent tasks started after the close.
    """
    private: Any = pc
    connect = private._RTCPeerConnection__connect
    tasks: set[asyncio.Task[Any]] = set()

    async def connect_watched() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await connect()
        except Exception as exc:
            on_failure(exc)
        finally:
            tasks.discard(task)

    async def stop() -> None:
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    private._RTCPeerConnection__connect = connect_watched
    return stop
