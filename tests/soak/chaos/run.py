"""A soak: rounds of calls and troubles, and after each, when all is over, a look at what is left."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from rtcpeer import Session
from rtcpeer.transports.media_clock import media_clock
from signaling.scenario import speech_file, user_lines

from .calls import AUDIBLE, Caller, Outcome
from .census import Census, who_keeps
from .complaints import Complaints
from .mocks import Mock
from .schedule import FAULTY, MORTAL, STEADY, Round, Trouble, plan_round
from .verdicts import BOUNDS, Slope, leaks, warm

CHECKER = Path(__file__).with_name("recordings.py")
QUIET_DEADLINE = 60.0
"""Seconds after a round in which what was going on may end; what takes how long is in the report."""
SETTLE = 10.0
"""Seconds after that for what closes by itself."""
NAMES = {STEADY: "steady", FAULTY: "faulty", MORTAL: "mortal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    seconds: float
    seed: int
    round_seconds: float = 40.0
    lanes: int = 10
    mocks: int = 3
    folder: Path
    """For what is recorded; call folders that are not whole stay."""
    plan: Callable[[int], Round] | None = None
    """What happens in a round, by its number; ``None``: what the seed says."""
    also: Callable[[Session], object] | None = None
    """Called with each session, to see whether what it does is noticed."""
    settle: float = SETTLE
    say: Callable[[str], object] = print


@dataclass(slots=True)
class Results:
    rounds: int = 0
    minutes: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    """By protocol."""
    endings: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    folders: int = 0
    seconds_of_calls: float = 0.0
    failures: list[str] = field(default_factory=list)
    samples: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """By process: what it held after each round, memory in bytes; a mock that was killed is another process."""
    lateness: dict[str, float] = field(default_factory=dict)
    frames_skipped: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    longest_quiet: float = 0.0
    """Seconds until a mock had noticed that its last call was over."""
    full_disk: bool = False


class Soak:
    """``run`` it once."""

    def __init__(self, options: Options) -> None:
        self.results = Results()
        self._options = options
        self._complaints = Complaints()
        self._base: dict[str, Census] = {}
        self._full: Path | None = None
        self._mocks: list[Mock] = []

    async def run(self) -> Results:
        """Soak for as long as was asked, and to the end of the round."""
        options, loop = self._options, asyncio.get_running_loop()
        options.folder.mkdir(parents=True, exist_ok=True)
        speech = options.folder / "speech.ogg"
        _write_speech(speech)
        if options.mocks > 1:
            self._full = _full_disk(options.folder / "full")
            self.results.full_disk = self._full is not None
        root = logging.getLogger()
        root.addHandler(self._complaints)
        # The steady one records, too: what a mock leaves is to be whole as well.
        self._mocks = [
            Mock(NAMES[number], options.seed, options.folder / "mock" if number == STEADY else None)
            for number in range(options.mocks)
        ]
        try:
            await asyncio.gather(*(mock.start() for mock in self._mocks))
            await self._look(first=True)
            began = loop.time()
            ends = began + options.seconds
            while loop.time() < ends:
                await self._round(self.results.rounds, speech)
                self.results.rounds += 1
            self.results.minutes = (loop.time() - began) / 60
            self._look_at_memory()
        finally:
            await asyncio.gather(*(mock.stop() for mock in self._mocks), return_exceptions=True)
            root.removeHandler(self._complaints)
            self._complaints.close()
            self.results.warnings = dict(self._complaints.warnings)
        return self.results

    async def _round(self, number: int, speech: Path) -> None:
        options, results, loop = self._options, self.results, asyncio.get_running_loop()
        plan = self._plan(number)
        folder = options.folder / f"round-{number}"
        caller = Caller(self._mocks, folder, self._full, speech, options.also)
        began = loop.time()
        await self._play(plan, caller, began)
        quiet = loop.time()
        await self._become_quiet()
        results.longest_quiet = max(results.longest_quiet, loop.time() - quiet)
        found = [failure for outcome in caller.outcomes for failure in outcome.failures]
        self._count(plan, caller.outcomes)
        whole = await self._check_folders(caller.outcomes)
        del caller
        found += whole
        found += await self._look()
        for mock in self._mocks:
            mock.spans.clear()
        if whole:
            options.say(f"  left to be looked at: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        for path in self._full.iterdir() if self._full is not None else ():
            shutil.rmtree(path, ignore_errors=True)
        self._fail(found, number)
        ours = results.samples["peer"][-1]
        options.say(
            f"round {number}: {len(plan.calls)} calls, {loop.time() - began:.0f} s, {results.calls.total()} so far; "
            f"RSS {ours['rss'] / 1e6:.1f} MB, malloc {ours['malloced'] / 1e6:.2f} MB, {ours['blocks']:.0f} blocks; "
            f"{len(found)} findings"
        )

    def _plan(self, number: int) -> Round:
        options = self._options
        if options.plan is not None:
            return options.plan(number)
        full = self._full is not None
        return plan_round(options.seed, number, seconds=options.round_seconds, lanes=options.lanes, full_disk=full)

    async def _play(self, plan: Round, caller: Caller, began: float) -> None:
        loop = asyncio.get_running_loop()

        async def at(when: float, work: Any, *arguments: Any) -> None:
            await asyncio.sleep(began + when - loop.time())
            await work(*arguments)

        async with asyncio.TaskGroup() as tasks:
            for call in plan.calls:
                tasks.create_task(at(call.at, caller.call, call))
            for trouble in plan.troubles:
                tasks.create_task(at(trouble.at, self._trouble, trouble))

    async def _trouble(self, trouble: Trouble) -> None:
        mock = self._mocks[trouble.mock]
        match trouble.kind:
            case "fault":
                await mock.fault(trouble.what, trouble.seconds)
            case "network":
                await mock.network(trouble.what, trouble.seconds)
            case "kill":
                await mock.kill(trouble.seconds)

    async def _become_quiet(self) -> None:
        """Until every mock knows that its calls are over: of those that vanished nobody told it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + QUIET_DEADLINE
        for mock in self._mocks:
            while (await mock.ask("running"))["running"] and loop.time() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.25)

    # What is left

    async def _look(self, *, first: bool = False) -> list[str]:
        """Count what each process holds; say what it did not hold after the first round."""
        results, found = self.results, []
        ours = await self._settled()
        clock = media_clock()
        results.lateness["peer"], results.frames_skipped["peer"] = clock.worst_lateness, clock.frames_skipped
        found += await self._compare("peer", ours, None, first)
        found += [f"peer: {text}" for text in self._complaints.take()]
        for mock in self._mocks:
            answer = await mock.ask("census")
            name = mock.name if mock.name != NAMES[MORTAL] else f"{mock.name} {mock.lives}"
            found += await self._compare(name, Census.of(answer["census"]), mock, first)
            found += [f"mock {name}: {text}" for text in answer["complaints"]]
            for what, value in (("worst_lateness", results.lateness), ("frames_skipped", results.frames_skipped)):
                value[mock.name] = max(value.get(mock.name, 0), answer[what])  # type: ignore[attr-defined, index]
        return found

    async def _settled(self) -> Census:
        """Count, again and again, until nothing is held or the time for it is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.settle
        census = Census.take()
        while self._compare_now("peer", census) and loop.time() < deadline:
            await asyncio.sleep(0.25)
            census = Census.take()
        return census

    def _compare_now(self, name: str, census: Census) -> list[str]:
        # What the first round loads, and needs not let go of, is no news.
        return census.held_since(self._base[name] if self.results.rounds else census)

    async def _compare(self, name: str, census: Census, mock: Mock | None, first: bool) -> list[str]:
        if not first:
            self.results.samples.setdefault(name, []).append(
                {
                    "calls": self.results.calls.total(),
                    "rss": census.rss,
                    "malloced": census.malloced,
                    "blocks": census.blocks,
                    "tasks": sum(census.tasks.values()),
                    "threads": sum(census.threads.values()),
                    "descriptors": sum(census.descriptors.values()),
                    "objects": sum(census.objects.values()),
                }
            )
        # Before the first call nothing is loaded that a call needs: what there is after the first round is the
        # measure, but for what belongs to a call.
        known = self._base.get(name)
        held = census.held_since(known if known is not None else census)
        if known is None or held or self.results.rounds == 0:
            self._base[name] = census  # what is left is said once
        if self.results.rounds == 0 and not first:
            held = census.held_since(census)
        found = []
        for what in held:
            kind = what.removeprefix("objects: ").partition(":")[0]
            lines: list[str] = []
            if what.startswith("objects"):
                lines = who_keeps(kind) if mock is None else (await mock.ask("who-keeps", type=kind))["lines"]
            found.append("\n".join([f"{name}: {what}", *lines]))
        return found

    def _look_at_memory(self) -> None:
        found = []
        for name, samples in self.results.samples.items():
            found += leaks(name, samples)
        self._fail(found, self.results.rounds)

    async def _check_folders(self, outcomes: list[Outcome]) -> list[str]:
        expected = [
            {
                "folder": str(outcome.folder),
                "reason": outcome.closed,
                "frames": outcome.frames,
                "audible": outcome.audible,
                "threshold": AUDIBLE,
                "received": outcome.plan.received,
            }
            for outcome in outcomes
            if outcome.folder is not None and outcome.plan.record != "full" and outcome.folder.exists()
        ]
        mock = self._options.folder / "mock"
        expected += [
            {"folder": str(folder), "reason": None, "frames": None, "audible": None, "received": False}
            for folder in (mock.iterdir() if mock.exists() else ())
            if folder.is_dir()
        ]
        self.results.folders += len(expected)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CHECKER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate(json.dumps(expected).encode())
        found: list[str] = json.loads(output)
        for each in expected if not found else ():
            shutil.rmtree(each["folder"], ignore_errors=True)
        return found

    def _count(self, plan: Round, outcomes: list[Outcome]) -> None:
        results = self.results
        for outcome in outcomes:
            results.calls[outcome.plan.protocol] += 1
            results.endings[outcome.ending] += 1
            results.events += outcome.events
            results.seconds_of_calls += outcome.frames * 0.02
        for trouble in plan.troubles:
            kind = trouble.what if trouble.kind == "fault" else trouble.what.partition("=")[0] or trouble.kind
            results.troubles[f"{trouble.kind}: {kind}" if kind != trouble.kind else kind] += 1

    def _fail(self, found: list[str], number: int) -> None:
        for failure in found:
            self._options.say(f"round {number}: FOUND {failure}")
        self.results.failures += [f"round {number}: {failure}" for failure in found]


def slopes(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """Return what memory does with the calls, by process: bytes, bytes, blocks a call and the standard errors."""
    return {
        name: {
            what: {"per_call": round(slope.per_call, 1), "error": round(slope.error, 1)}
            for what in BOUNDS
            for slope in [Slope.through([(row["calls"], row[what]) for row in warm(samples)])]
        }
        for name, samples in results.samples.items()
        if len(warm(samples)) >= 3
    }


def _write_speech(path: Path) -> None:
    """An Opus file, 20 ms a packet, of what the mock's user says."""
    with av.open(str(speech_file(user_lines()[0].say))) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libopus", rate=48_000, layout="mono", bit_rate=32_000)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        for frame in source.decode(audio=0):
            for each in resampler.resample(frame):
                target.mux(stream.encode(each))
        target.mux(stream.encode(None))


def _full_disk(folder: Path) -> Path | None:
    """Mount a disk of 300 kB there, seen by this process and its children alone; ``None``: we may not.

    It goes with the process, whatever ends it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, recursive_private = 0x00020000, 0x4000 | 0x40000  # CLONE_NEWNS; MS_REC | MS_PRIVATE
    if os.geteuid() != 0 or not hasattr(libc, "unshare") or libc.unshare(new_namespace):
        return None
    if libc.mount(b"none", b"/", None, recursive_private, None):
        return None
    folder.mkdir(exist_ok=True)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=300k"):
        return None
    return folder
