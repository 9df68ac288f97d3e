"""Runs a check so that whatever happens in it is a finding: too late, an error, or a bug of ours."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import RtcPeerError
from .finding import Finding

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """A name, and what finds out."""

    name: str
    run: Callable[[], Awaitable[Finding | Iterable[Finding]]]
    target: str = ""
    timeout: float = 10.0
    """Seconds."""


async def run_check(check: Check) -> list[Finding]:
    """Return what a check found; never later than its time, and no exception comes out."""

    def failed(detail: str, advice: str) -> list[Finding]:
        return [Finding(name=check.name, target=check.target, status="fail", detail=detail, advice=advice)]

    try:
        async with asyncio.timeout(check.timeout):
            found = await check.run()
    except TimeoutError:
        return failed(f"no result within {check.timeout:g} s", "try again with a longer --timeout")
    except RtcPeerError as exc:
        return failed(str(exc), "do what it says")
    except Exception as exc:
        # Only its type and its place: a stranger's text may hold anything.
        last = traceback.extract_tb(exc.__traceback__)[-1]
        place = f"{Path(last.filename).name}, line {last.lineno}"
        return failed(
            f"the check itself broke: {type(exc).__name__} in {place}", "that is a bug of rtcpeer: report it"
        )
    return [found] if isinstance(found, Finding) else list(found)


async def run_checks(checks: Iterable[Check]) -> list[Finding]:
    """Run checks side by side and return what they found, in the order of ``checks``."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_check(check), name=f"doctor {check.name}") for check in checks]
    return [finding for task in tasks for finding in task.result()]


async def in_thread(work: Callable[[], T]) -> T:
    """Do what blocks on a thread of its own: a resolver or a driver that hangs must not hold up our exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, failure: Exception | None) -> None:
        if done.done():  # nobody waits any more
            return
        if failure is not None:
            done.set_exception(failure)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as exc:
            failure = exc
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop did not wait

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await done
