"""One system under test: more and more calls in one process on one core, until its audio leaves late."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from quality.call import End

from rtcpeer.transports.media_clock import media_clock

from .load import DEADLINE, FarEnd
from .process import Usage
from .speech import payloads, speech

HERE = Path(__file__).parent
SYSTEMS: dict[str, list[str]] = {
    "aiortc": [sys.executable, str(HERE / "aiortc_bot.py")],
    "libwebrtc": ["node", str(HERE / "wrtc_bot.js")],
    "rtcpeer": [sys.executable, str(HERE / "rtcpeer_bot.py"), "bot"],
    "rtcpeer economy": [sys.executable, str(HERE / "rtcpeer_bot.py"), "economy"],
    "rtcpeer pass-through": [sys.executable, str(HERE / "rtcpeer_bot.py"), "pass-through"],
}
PUNCTUAL = 0.010
"""Seconds that 99 % of the packets may be late at most."""
_AT_ONCE = 4  # calls set up at the same time
_ALONE = 5  # calls set up one after the other first, to time it


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fine to measure."""

    window: float
    """Seconds that are measured at a time."""
    tries: int
    """Windows in a row in which a step must fail."""
    settle: float
    """Seconds from the last set-up to the window."""
    growth: float
    """A step has at least this many times the calls of the one before."""
    patience: float
    """Seconds for one system; the step in progress is finished."""


FULL = Plan(window=4.0, tries=8, settle=2.0, growth=1.06, patience=150.0)
QUICK = Plan(window=2.5, tries=2, settle=1.0, growth=1.15, patience=16.0)


@dataclass(slots=True)
class Step:
    """What was measured with so many calls."""

    calls: int
    lateness_p50: float
    lateness_p99: float
    """Seconds; infinite: one packet in a hundred never came."""
    missing: float
    """Share of the packets that never came."""
    heard: float
    """Share of the frames that reached the application decoded."""
    cpu: float
    """Of the core, 1.0 is all of it."""
    switches: float
    """Context switches in 20 ms of one call."""
    waited: float
    """Seconds a second that its threads could have run and did not: for one another, or for other processes."""
    rss: int
    """Bytes, of the whole process."""
    generator_cpu: float
    generator_late: float
    """Seconds: its own most unpunctual slot of 5 ms."""

    @property
    def held(self) -> bool:
        return self.lateness_p99 <= PUNCTUAL and self.heard >= 0.98


def _goodness(step: Step) -> tuple[bool, float]:
    return (False, step.cpu) if step.held else (True, step.lateness_p99)


def next_step(step: Step, growth: float) -> int:
    """Return how many calls to try next: up to 70 % of the core quickly, then step by step."""
    far = step.calls * min(2.0, 0.7 / max(step.cpu, 0.01))
    wanted = max(far, step.calls * growth, step.calls + 2)
    return max(step.calls + 2, 5 * round(wanted / 5)) if step.calls >= 20 else round(wanted)


class Ramp:
    def __init__(self, name: str, plan: Plan, core: int) -> None:
        self.name, self.plan, self.core = name, plan, core
        self.calls: list[FarEnd] = []
        self.setup: list[float] = []
        """Seconds from the offer to the first audio packet, one call at a time."""
        self.steps: list[Step] = []
        self.failure: str | None = None
        self._payloads = payloads()
        self._asking = asyncio.Lock()

    async def run(self) -> None:
        with tempfile.NamedTemporaryFile(suffix=".s16") as file:
            file.write(speech().tobytes())
            file.flush()
            process = await asyncio.create_subprocess_exec(
                *SYSTEMS[self.name][:2],
                file.name,
                *SYSTEMS[self.name][2:],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=1 << 20,
                # They import what stands beside this package.
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join((str(HERE.parent), os.environ.get("PYTHONPATH", ""))),
                },
                # A file a socket, and the threads that it starts inherit the core.
                preexec_fn=self._confine,
            )
            self._pid = process.pid
            self._end = End(self.name, process)
            try:
                await self._end.hear("ready")
                await self._climb()
            except (TimeoutError, RuntimeError, OSError) as exc:
                self.failure = f"with {len(self.calls)} calls: {type(exc).__name__} {exc}".rstrip()
            finally:
                await self._end.kill()
                await asyncio.gather(*(call.close() for call in self.calls), return_exceptions=True)

    def _confine(self) -> None:
        os.sched_setaffinity(0, {self.core})
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    async def _climb(self) -> None:
        began = time.monotonic()
        for _ in range(_ALONE):
            self.setup.append(await self._set_up())
        while True:
            step = await self._step()
            self.steps.append(step)
            if not step.held or time.monotonic() - began > self.plan.patience:
                return
            await self._grow(next_step(step, self.plan.growth))

    async def _step(self) -> Step:
        """Measure twice, and on until it is held: a stranger on the same core halves its speed at times."""
        await asyncio.sleep(self.plan.settle)
        best = await self._measure()
        for tried in range(1, self.plan.tries):
            if best.held and tried > 1:
                break
            best = min(best, await self._measure(), key=_goodness)
        return best

    async def _set_up(self) -> float:
        call = FarEnd(self._payloads, begin=(len(self.calls) * 137) % len(self._payloads))
        self.calls.append(call)
        loop = asyncio.get_running_loop()
        offer = await call.offer()
        began = loop.time()
        async with self._asking:
            answer = await self._end.ask("answer", "answer", sdp=offer, begin=len(self.calls) * 61 % 1000)
        async with asyncio.timeout(DEADLINE):
            await call.accept(answer["sdp"])
            heard = await call.heard()
        call.take_over()
        return heard - began

    async def _grow(self, wanted: int) -> None:
        while len(self.calls) < wanted:
            some = min(_AT_ONCE, wanted - len(self.calls))
            await asyncio.gather(*(self._set_up() for _ in range(some)))

    async def _measure(self) -> Step:
        gc.collect()
        gc.freeze()
        gc.disable()
        count = len(self.calls)
        heard, before, own, began = await self._heard(), Usage.of(self._pid), time.process_time(), time.monotonic()
        clock = media_clock()
        clock.worst_lateness = 0.0
        for call in self.calls:
            call.measure()
        await asyncio.sleep(self.plan.window)
        late_by = clock.worst_lateness
        took = time.monotonic() - began
        late = np.concatenate([call.lateness(took) for call in self.calls])
        after, own = Usage.of(self._pid), time.process_time() - own
        heard = await self._heard() - heard
        gc.enable()
        frames = count * took / 0.02
        return Step(
            calls=count,
            lateness_p50=float(np.quantile(late, 0.5, method="higher")),
            lateness_p99=float(np.quantile(late, 0.99, method="higher")),
            missing=float(np.isinf(late).mean()),
            heard=heard / frames,
            cpu=(after.cpu - before.cpu) / took,
            switches=(after.switches - before.switches) / frames,
            waited=(after.waited - before.waited) / took,
            rss=after.rss,
            generator_cpu=own / took,
            generator_late=late_by,
        )

    async def _heard(self) -> int:
        return int((await self._end.ask("stats", "stats"))["heard"])

    def row(self) -> dict[str, Any]:
        """Return the results as JSON types."""
        held = [step for step in self.steps if step.held]
        failed = [step.calls for step in self.steps if not step.held]
        best = held[-1] if held else None
        first = self.steps[0] if self.steps else None
        # What a call costs is asked of a core that is busy but not overrun: the step next to half of what it holds.
        usual = min(held, key=lambda step: abs(step.calls - best.calls / 2)) if best else None
        return {
            "system": self.name,
            "holds": best.calls if best else 0,
            "fails_at": failed[0] if failed else None,
            "cpu_per_call": usual.cpu / usual.calls if usual else None,
            "rss_per_call": (best.rss - first.rss) / (best.calls - first.calls)
            if best and first and best.calls > first.calls
            else None,
            "switches_per_frame": best.switches if best else None,
            "lateness_p99": best.lateness_p99 if best else None,
            "waited": best.waited if best else None,
            "setup": median(self.setup) if self.setup else None,
            "generator_cpu": best.generator_cpu if best else None,
            "failure": self.failure,
            "steps": [{name: _json(getattr(step, name)) for name in Step.__slots__} for step in self.steps],
        }


def _json(value: float) -> float | None:
    return None if value == float("inf") else round(value, 6) if isinstance(value, float) else value


def climb(name: str, plan: Plan, core: int, own_core: int) -> dict[str, Any]:
    """Measure one system; for a process of its own, which becomes the load generator."""
    os.sched_setaffinity(0, {own_core})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    ramp = Ramp(name, plan, core)
    asyncio.run(ramp.run())
    return ramp.row()
