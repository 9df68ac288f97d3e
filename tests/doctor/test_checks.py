"""Whatever happens in a check is a finding."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rtcpeer.doctor.checks import Check, in_thread, run_check, run_checks
from rtcpeer.doctor.finding import Diagnosis, Finding
from rtcpeer.errors import MediaError


def finding(name: str, status="ok") -> Finding:
    return Finding(name=name, status=status, detail="…")


async def test_a_check_that_hangs_is_told_with_its_time():
    (found,) = await run_check(Check("slow", asyncio.Event().wait, "stun:a", timeout=0.01))  # type: ignore[arg-type]

    assert (found.name, found.target, found.status) == ("slow", "stun:a", "fail")
    assert "0.01 s" in found.detail


async def test_a_check_that_breaks_names_its_place_and_nothing_of_what_it_was_told():
    async def broken() -> Finding:
        raise ValueError("Bearer s3cr3t")

    (found,) = await run_check(Check("broken", broken))

    assert found.status == "fail"
    assert "ValueError in test_checks.py, line" in found.detail
    assert "s3cr3t" not in repr(found)


async def test_an_error_of_ours_is_told_in_its_words():
    async def broken() -> Finding:
        raise MediaError("libopus was not found")

    (found,) = await run_check(Check("libopus", broken))

    assert found.detail == "libopus was not found"


async def test_a_check_that_is_cancelled_ends():
    task = asyncio.create_task(run_check(Check("slow", asyncio.Event().wait)))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_checks_run_side_by_side_and_are_told_in_their_order():
    met = asyncio.Barrier(2)

    async def first() -> Finding:
        await met.wait()
        return finding("first")

    async def second() -> list[Finding]:
        await met.wait()
        return [finding("second"), finding("third")]

    found = await run_checks([Check("first", first), Check("second", second)])

    assert ["first", "second", "third"] == [each.name for each in found]


async def test_what_blocks_in_a_thread_does_not_outlive_its_check():
    release = threading.Event()

    (found,) = await run_check(Check("dns", lambda: in_thread(release.wait), timeout=0.01))  # type: ignore[arg-type]
    release.set()

    assert found.status == "fail"


async def test_what_a_thread_raises_comes_out():
    def broken() -> None:
        raise OSError(5, "x")

    with pytest.raises(OSError, match="x"):
        await in_thread(broken)


@pytest.mark.parametrize(("statuses", "ok"), [(["ok", "skipped", "warn"], True), (["ok", "fail"], False), ([], True)])
def test_only_what_fails_is_not_ok(statuses, ok):
    assert Diagnosis(tuple(finding("x", status) for status in statuses)).ok is ok
