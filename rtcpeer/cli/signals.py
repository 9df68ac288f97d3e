"""SIGINT, SIGTERM and SIGHUP end a call cleanly: recording closed, far end told, last events written."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signal(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work`` and return its exit code, or 129, 130 or 143 when a signal cancelled it."""
    before = {signum: signal.getsignal(signum) for signum in _ENDING}
    try:
        return asyncio.run(_run(work))
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


async def _run(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    received: list[signal.Signals] = []

    def stop(signum: signal.Signals) -> None:
        received.append(signum)
        task.cancel()

    loop = asyncio.get_running_loop()
    for signum in _ENDING:
        # Under nohup a call outlives its terminal. The handlers stay until the loop is closed.
        if signum is not signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:
            loop.add_signal_handler(signum, stop, signum)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
