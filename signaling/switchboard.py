"""The calls of a mock: put through, changed while they run, struck by faults, remembered."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from rtcpeer.call_folder import CallFolder
from rtcpeer.errors import ConfigurationError, MediaError
from rtcpeer.events import ConversationStarted
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols.base import Side
from rtcpeer.session import Session

from .agent import Agent
from .calls import Call
from .desktop import Desktop
from .faults import STRIKE_AFTER, find_faults
from .places import Place, Places
from .scenario import Scenario, find_scenario

logger = logging.getLogger(__name__)

RECORDS = 100
"""Calls remembered; of the oldest, those that are over go first."""
TAPES = 16
"""Calls whose last two minutes can be listened to, the newest: 7.7 MB each."""


class Switchboard:
    """Every call from its answer on, and what happens to all of them: scenario, faults, network.

    Args:
        seed: Of the ids that calls get and of their networks.
        record: A folder for one call folder a call.
        session_limit: Seconds that a call may last; then it is hung up on, with a goodbye.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        places: Places,
        desktop: Desktop,
        *,
        scenario: str | Scenario,
        faults: Iterable[str],
        netem: str | NetworkConditions | None,
        seed: int,
        record: Path | None,
        session_limit: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.places = places
        self.closing = asyncio.Event()
        self.running: dict[Call, asyncio.Task[None]] = {}
        self.errands: set[asyncio.Task[None]] = set()
        self.networks = (f"{seed}/{number}" for number in itertools.count(1))  # the seed of each call's network
        self._desktop = desktop
        self._scenario = find_scenario(scenario)
        self._faults = find_faults(faults)
        self._netem = NetworkConditions.of(netem)
        self._ids = random.Random(seed)
        self._record = record
        self._session_limit = session_limit
        self._clock = clock
        self._calls: list[Call] = []
        self._progress: dict[str, int] = {}

    @property
    def calls(self) -> tuple[Call, ...]:
        """Oldest first; the last hundred."""
        return tuple(self._calls)

    @property
    def scenario(self) -> Scenario:
        return self._scenario

    @scenario.setter
    def scenario(self, scenario: str | Scenario) -> None:
        self._scenario = find_scenario(scenario)
        for call in self.running:
            call.change(self._scenario)

    @property
    def faults(self) -> frozenset[str]:
        return self._faults

    @faults.setter
    def faults(self, faults: Iterable[str]) -> None:
        self._faults = find_faults(faults)
        for call in list(self.running):
            if call.state == "open":
                self._strike(call)

    @property
    def netem(self) -> NetworkConditions:
        return self._netem

    @netem.setter
    def netem(self, netem: str | NetworkConditions | None) -> None:
        self._netem = NetworkConditions.of(netem)
        for call in self.running:
            call.impair(self._netem)

    def new_id(self, kind: str) -> str:
        return f"{kind}_{self._ids.getrandbits(64):016x}"

    def put_through(self, session: Session, params: Mapping[str, Any], place: Place) -> Call:
        """Put an agent on a session and run it until it is over; the place is given back then."""
        id = self.new_id("conv")
        named = ConversationStarted in session.protocol.speaks[Side.SERVER]
        agent = Agent(
            session,
            self._scenario,
            # Where a conversation has no name of its own, that of the session is the one to find it by.
            session_id=self.new_id("sess") if named else id,
            conversation_id=id,
            params=params,
            active=lambda: self._faults,
            progress=self._progress,
            # To whom nobody can talk is no agent: it is a computer's speaker.
            sound=None if session.protocol.has_voice(Side.CLIENT) else self._desktop.listen(self._scenario),
        )
        call = Call(id, session, agent, started_at=self._clock())
        self._keep_recording(call, session)
        self._remember(call)
        self.running[call] = asyncio.create_task(self._run(call, place), name=f"call {id}")
        logger.info("call: protocol=%s id=%s", call.protocol, id)
        return call

    async def hang_up(self) -> None:
        """Hang up on everybody, and wait for what still goes on."""
        tasks = [*self.running.values(), *self.errands]
        await asyncio.gather(*(call.hang_up() for call in self.running), return_exceptions=True)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep_recording(self, call: Call, session: Session) -> None:
        if self._record is None:
            return
        session.conversation_id = call.id
        about = {"protocol": call.protocol, "side": "server"}
        try:
            CallFolder(_free_folder(self._record, call.id), session, about, format="wav")
        except (ConfigurationError, MediaError) as exc:  # the disk: the call goes on without
            logger.warning("the call is not recorded: %s", exc)

    def _remember(self, call: Call) -> None:
        self._calls.append(call)
        if len(self._calls) > RECORDS:
            over = next(old for old in self._calls if old not in self.running)
            self._calls.remove(over)
        for name in list(self._progress)[:-RECORDS]:
            del self._progress[name]
        for old in self._calls[:-TAPES]:
            old.tape = None

    async def _run(self, call: Call, place: Place) -> None:
        strikes: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()

        def opened() -> None:
            place.opened()
            strikes.append(loop.call_later(STRIKE_AFTER, self._strike, call))
            if self._session_limit is not None:
                strikes.append(loop.call_later(self._session_limit, self._time_is_up, call))

        try:
            await call.run(opened)
        finally:
            for strike in strikes:
                strike.cancel()
            place.leave()
            del self.running[call]
            logger.info("call over: id=%s failure=%s", call.id, call.failure is not None)

    def _time_is_up(self, call: Call) -> None:
        self._send_off(call.hang_up())

    def _strike(self, call: Call) -> None:
        """Let the faults of the session happen to a call that is up."""
        if "vanish" in self._faults:
            self._send_off(call.vanish())
        elif "hang-up" in self._faults:
            self._send_off(call.hang_up())
        elif "close-channel" in self._faults:
            call.close_channel()
        elif "capture-failed" in self._faults:
            call.fail_sound()

    def _send_off(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(errand)
        self.errands.add(task)
        task.add_done_callback(self.errands.discard)


def _free_folder(parent: Path, name: str) -> Path:
    """Return the folder of a call: with the same seed, the next run has the same ids, and its calls get a number."""
    candidates = (parent / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
    return next(each for each in candidates if not (each / "call.json").exists())
