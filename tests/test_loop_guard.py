from __future__ import annotations

import asyncio

from rtcpeer.loop_guard import LoopGuard


def test_what_was_not_released_is_ended_on_a_loop_that_still_runs():
    ended = []
    kept = []

    async def end() -> None:
        await asyncio.sleep(0)
        ended.append("ended")
        await kept[0].release()

    async def leave_it_open() -> None:
        kept.append(LoopGuard(end))

    asyncio.run(leave_it_open())

    assert ["ended"] == ended


def test_what_was_released_is_left_alone():
    ended = []

    async def end() -> None:
        ended.append("ended")

    async def release_it() -> None:
        guard = LoopGuard(end)
        await guard.release()
        await guard.release()

    asyncio.run(release_it())

    assert [] == ended
