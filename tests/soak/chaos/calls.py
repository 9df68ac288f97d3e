"""One call of a soak: what was planned is done, what came of it is written down."""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rtcpeer
from rtcpeer import (
    AudioFormat,
    Closed,
    ConnectionLost,
    MediaError,
    Reconnecting,
    RtcPeerError,
    Session,
    SessionStarted,
)
from rtcpeer.event_log import Entry
from rtcpeer.transports.video import TestPattern
from signaling.scenario import speech_file, user_lines

from .mocks import Mock, cut_off, waited
from .schedule import Act, PlannedCall
from .verdicts import STARVED, Circumstances, allowed_endings

PARAMS: dict[str, dict[str, str]] = {
    "orga": {},
    "orga-ws": {},
    "orgo": {"computer_id": "desktop"},
    "orbitali": {"agent_id": "agent"},
    "soca": {"agent_id": "agent"},
}
AUDIBLE = 400
"""A frame that reaches this, some −38 dBFS, is heard; one that does not is not counted."""
ACT_DEADLINE = 15.0
"""Seconds after a call within which everything that used it must have ended."""
_FORMAT = AudioFormat(16_000)
_CHUNK = np.rint(9000 * np.sin(2 * np.pi * 500 * np.arange(320) / 16_000)).astype(np.int16)[:, np.newaxis]


class Deliberate(Exception):
    """A user's own exception."""


@dataclass(slots=True)
class Outcome:
    """What came of a call."""

    plan: PlannedCall
    ending: str = ""
    """What ``connect()`` raised, ``cancelled``, or the reason of ``Closed``."""
    began: float = 0.0
    opened: float | None = None
    ended: float = 0.0
    """When the call was told to end or ended itself, on the loop's clock, as the others."""
    closed: str | None = None
    """The reason of ``Closed``; ``None``: ``connect()`` was cancelled before there was a session."""
    closed_detail: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    frames: int = 0
    audible: list[int] = field(default_factory=lambda: [0, 0])
    """Frames of 20 ms in which we, and they, were heard."""
    events: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    folder: Path | None = None

    def fail(self, what: str) -> None:
        plan = self.plan
        self.failures.append(f"call {plan.number} ({plan.protocol}, mock {plan.mock}, {plan.ending}): {what}")


class Caller:
    """Makes the planned calls of one round.

    Args:
        folder: For the call folders.
        full: A folder on a disk with no room, if there is one.
        speech: An Opus file to send as it is.
        also: Called with each session as it is made.
    """

    def __init__(self, mocks: list[Mock], folder: Path, full: Path | None, speech: Path, also: Any = None) -> None:
        self._mocks = mocks
        self._folder = folder
        self._full = full
        self._speech = speech
        self._also = also
        self._open: dict[int, Session] = {}
        self.outcomes: list[Outcome] = []

    async def call(self, plan: PlannedCall) -> None:
        """Make a call at once, see it to its end, and say what is wrong with that."""
        loop = asyncio.get_running_loop()
        outcome = Outcome(plan, began=loop.time())
        pids = (os.getpid(), self._mocks[plan.mock].pid)
        waits = [waited(pid) for pid in pids]
        self.outcomes.append(outcome)
        acts: list[asyncio.Task[None]] = []
        over = asyncio.Event()
        held = asyncio.create_task(self._hold(plan, outcome, acts, over), name="call")
        if plan.ending == "cancel-connect":
            loop.call_later(plan.patience, held.cancel)
        failure: RtcPeerError | None = None
        try:
            await asyncio.wait([held])
            held.result()
        except asyncio.CancelledError:
            outcome.ending = "cancelled"
        except Deliberate:
            pass
        except RtcPeerError as exc:
            failure = exc
            outcome.ending = type(exc).__name__
            if outcome.opened is not None:
                outcome.fail(f"was open, and its block raised {exc!r}")
        except Exception as exc:
            outcome.ending = type(exc).__name__
            outcome.fail("".join(traceback.format_exception(exc)))
        outcome.ended = outcome.ended or loop.time()
        self._open.pop(plan.number, None)
        if not outcome.ending:
            outcome.ending = outcome.closed or "never closed"
        if plan.record == "full":
            outcome.events["on a full disk"] += 1
        share = max(waited(pid) - wait for pid, wait in zip(pids, waits, strict=True)) / (loop.time() - outcome.began)
        if share > STARVED:
            outcome.events["starved"] += 1
        self._judge(outcome, failure, starved=share > STARVED)
        await self._finish_acts(outcome, acts)

    async def _hold(
        self, plan: PlannedCall, outcome: Outcome, acts: list[asyncio.Task[None]], over: asyncio.Event
    ) -> None:
        loop = asyncio.get_running_loop()
        mock = self._mocks[plan.mock]
        if plan.record == "full" and self._full is not None:
            outcome.folder = self._full / str(plan.number)
        elif plan.record is not None:
            outcome.folder = self._folder / str(plan.number)
        options: dict[str, Any] = {}
        if plan.protocol == "orga":
            options["record_received"] = plan.received and outcome.folder is not None
            options["video"] = TestPattern(160, 120, 5.0) if plan.video else None
            options["netem"] = plan.network
        if outcome.folder is not None:
            options["record"] = outcome.folder
            options["record_format"] = "wav" if plan.record == "full" else plan.record
        async with rtcpeer.connect(
            plan.protocol,
            mock.url,
            api_key="sk_wrong" if plan.ending == "wrong-key" else "sk_test",
            params=PARAMS[plan.protocol],
            netem_seed=plan.number,
            ice_timeout=4.0,
            http_timeout=4.0,
            open_timeout=12.0,
            reconnect=rtcpeer.Backoff(initial=0.3, longest=2.0, budget=10.0),
            on_session=lambda session: self._watch(session, outcome),
            **options,
        ) as session:
            outcome.opened = loop.time()
            self._open[plan.number] = session
            acts += [asyncio.create_task(self._act(session, act, over), name=f"act {act.name}") for act in plan.acts]
            if plan.piped_to is not None:
                acts.append(asyncio.create_task(self._pipe(session, plan.piped_to), name="act pipe"))
            try:
                await self._stay(session, plan)
                if plan.ending == "cancel":
                    task = asyncio.current_task()
                    assert task is not None
                    loop.call_later(0.01, task.cancel)
                    await session.wait_for(Closed)
                elif plan.ending == "hang-up":
                    await self._be_hung_up_on(session, mock)
                elif plan.ending == "abandon":
                    await session.abandon()
                elif plan.ending == "raise":
                    raise Deliberate
            finally:
                over.set()
                outcome.ended = loop.time()

    async def _stay(self, session: Session, plan: PlannedCall) -> None:
        """Until the time is up or the call is over."""
        with suppress(TimeoutError, ConnectionLost):
            async with asyncio.timeout(plan.seconds):
                # What an act waits for is not handed out a second time: here is what happened, for everybody.
                async with aclosing(session.events.read()) as entries:
                    async for entry in entries:
                        if isinstance(entry.said, Reconnecting) and plan.ending == "close-while-reconnecting":
                            return

    async def _be_hung_up_on(self, session: Session, mock: Mock) -> None:
        started = [e.said.id for e in session.events.entries() if isinstance(e.said, SessionStarted)]
        for id in (session.conversation_id, *started[:1]):
            if id is not None and await mock.hang_up(id):
                with suppress(TimeoutError, ConnectionLost):
                    await session.wait_for(Closed, timeout=3.0)
                return

    async def _pipe(self, session: Session, number: int) -> None:
        async with asyncio.timeout(3.0):
            while number not in self._open:  # noqa: ASYNC110 - somebody else opens it
                await asyncio.sleep(0.1)
        pipes = session.pipe(self._open[number], both=True)
        await asyncio.sleep(4.0)
        for pipe in pipes:
            pipe.stop()

    def _watch(self, session: Session, outcome: Outcome) -> None:
        def on_event(entry: Entry) -> None:
            outcome.events[type(entry.said).__name__] += 1
            if isinstance(entry.said, Closed):
                outcome.closed, outcome.closed_detail = entry.said.reason, entry.said.detail

        def on_frame(position: int, ours: NDArray[np.int16], theirs: NDArray[np.int16]) -> None:
            outcome.frames += 1
            for channel, pcm in enumerate((ours, theirs)):
                outcome.audible[channel] += int(pcm.max()) > AUDIBLE

        session.events.tap(on_event)
        session.tap(on_frame)
        outcome.phases = session.phases
        if self._also is not None:
            self._also(session)

    def _judge(self, outcome: Outcome, failure: RtcPeerError | None, *, starved: bool) -> None:
        """Is this an ending that fits what happened to the call?"""
        plan, mock = outcome.plan, self._mocks[outcome.plan.mock]
        span = (outcome.began, asyncio.get_running_loop().time())
        networks = [plan.network, *(act.network for act in plan.acts), *mock.networks(*span)]
        met = Circumstances(
            protocol=plan.protocol,
            ending=plan.ending,
            throughout=mock.faults(outcome.began, outcome.opened or outcome.ended, throughout=True),
            sometime=mock.faults(*span, throughout=False),
            killed=mock.killed(*span),
            cut_off=max(cut_off(network, plan.protocol) for network in networks),
            starved=starved,
        )
        allowed = allowed_endings(met)
        if outcome.ending not in allowed:
            why = repr(failure) if failure is not None else outcome.closed_detail
            outcome.fail(
                f"ended as {outcome.ending}: {why}\n  phases: {outcome.phases}\n"
                f"  allowed: {', '.join(sorted(allowed))}\n  met: {met}"
            )
        if outcome.closed is None and outcome.events:
            outcome.fail("no Closed among its events")

    async def _finish_acts(self, outcome: Outcome, acts: list[asyncio.Task[None]]) -> None:
        """What used the call has ended with it, and said so in one of our words."""
        if not acts:
            return
        _, running = await asyncio.wait(acts, timeout=ACT_DEADLINE)
        for task in running:
            outcome.fail(f"{task.get_name()} still waits {ACT_DEADLINE:g} s after the call")
            task.cancel()
        for result, task in zip(await asyncio.gather(*acts, return_exceptions=True), acts, strict=True):
            if isinstance(result, ConnectionLost | MediaError | TimeoutError | asyncio.CancelledError | None):
                continue
            outcome.fail(f"{task.get_name()}: {''.join(traceback.format_exception(result))}")

    # What may be done in a call

    async def _act(self, session: Session, act: Act, over: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(act.at):
                await over.wait()
                return
        line = user_lines()[int(act.at * 100) % len(user_lines())]
        match act.name:
            case "file":
                await (await session.play(speech_file(line.say)))
            case "mix":
                await (await session.play(speech_file(line.say), mix=True, gain=-6.0, start=0.3))
            case "tone":
                await (await session.play(rtcpeer.ToneSource(700.0, duration=1.5)))
            case "iterator":
                await (await session.play(_synthesised(), format=_FORMAT))
            case "queue":
                queue = rtcpeer.QueueSource(_FORMAT)
                playback = await session.play(queue)
                for _ in range(75):
                    await queue.write(_CHUNK)
                queue.end()
                await playback
            case "listen":
                await session.listen(timeout=6.0)
            case "interrupt":
                await session.interrupt()
            case "update":
                await session.update(instructions="Be brief.")
            case "ping":
                await session.send(rtcpeer.Ping())
            case "end-utterance":
                await session.send(rtcpeer.EndUtterance())
            case "dtmf":
                await session.send_dtmf("12#")
            case "opus":
                session.set_opus(rtcpeer.OpusSettings.economy())
            case "opus-file":
                await (await session.play_packets(rtcpeer.OpusFile(self._speech)))
            case "impair":
                if session.link is not None:
                    conditions = rtcpeer.NetworkConditions.parse(act.network)
                    session.link.impair(conditions)
            case "stats":
                json.dumps(session.stats())
            case _:
                await _read(session, act.name)


async def _read(session: Session, how: str) -> None:
    match how:
        case "read":
            await _some(session.audio, 150)
        case "read-16k":
            await _some(session.audio.in_format(AudioFormat(16_000, 2)), 150)
        case "packets":
            await _some(session.packets, 150)
        case "events":
            await _some(session.events.read(), 10_000)
        case "stalled-reader":
            reader = aiter(session.audio)
            with suppress(StopAsyncIteration):
                await anext(reader)
            await session.wait_for(Closed)
        case "stalled-events":
            events = session.events.read()
            await anext(events)
            await session.wait_for(Closed)
        case _:
            raise ValueError(how)


async def _some(items: Any, count: int) -> None:
    async for _ in items:
        count -= 1
        if not count:
            return


async def _synthesised() -> AsyncIterator[NDArray[np.int16]]:
    for _ in range(20):
        await asyncio.sleep(0.04)
        yield np.concatenate([_CHUNK] * 4)
