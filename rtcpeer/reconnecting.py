"""A session whose connection broke gets another: same session, new link; clock, recording and playback go on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal

from .errors import ConfigurationError, ConnectionLost, MediaError, OpenTimeout, RtcPeerError, SignalingError
from .events import ErrorReported, PhaseCompleted, Reconnected, Reconnecting
from .opening import Opening
from .protocols.websocket import WebSocketProtocol
from .reconnect import Backoff
from .said import Said
from .session import Session
from .transports.link import Link

logger = logging.getLogger(__name__)


STABLE = 10.0
"""Seconds after which a connection that breaks has worked; before that, the attempts go on where they were."""
SPARE = 30.0
"""Seconds before a session's known end at which the next connection is begun; a quarter of a short one."""
HELD = 1000
"""Reports of a link that is not in use yet: of more than that the oldest are forgotten."""


class Attempt:
    """Stands in for a session while another link is brought up; nothing is heard of one that fails."""

    def __init__(self, session: Session, old: Link) -> None:
        self._old: Link | None = old
        self._link: Link | None = None
        self.phases: dict[str, float] = {}
        self.conversation_id: str | None = None
        self.decodes = session.decodes
        self.broken: RtcPeerError | None = None
        """It came up, and was gone again."""
        self._session = session
        self._held: deque[Callable[[], None]] | None = deque(maxlen=HELD)

    @property
    def link(self) -> Link | None:
        return self._link

    @link.setter
    def link(self, link: Link | None) -> None:
        self._link = link
        if self._old is not None:
            self._old.heir = link

    def start_audio(self) -> None:
        """It runs."""

    def adopt(self, gap: float, *, restored: bool) -> None:
        """Let the session go on over this link, and tell it what was reported meanwhile.

        Raises:
            ConnectionLost: the session is over; the link is still the caller's.
        """
        session, held = self._session, self._held
        assert self.link is not None
        assert held is not None
        session.relink(self.link)
        # Its link holds on to this for as long as it lives; and must not, so, to all that were there before.
        self._held = self._old = None
        if self.conversation_id is not None:
            session.conversation_id = self.conversation_id
        session.report(Reconnected(restored, round(gap, 4)))
        for report in held:
            report()
        with contextlib.suppress(ConnectionLost):  # which the link reports itself
            session.repeat_settings()

    # Its link's reports (LinkListener)

    def on_said(self, said: Said) -> None:
        self._pass(self._session.on_said, said)

    def report(self, said: Said) -> None:
        if not isinstance(said, PhaseCompleted):  # the session's are those of its first link
            self._pass(self._session.report, said)

    def on_refused(self, reason: str) -> None:
        self._pass(self._session.on_refused, reason)

    def on_media_error(self, error: MediaError) -> None:
        self._pass(self._session.on_media_error, error)

    def on_ended(self, reason: Literal["remote", "lost"], detail: str) -> None:
        if self._held is None:
            self._session.on_ended(reason, detail)
        else:
            failure = self.link.failure if self.link is not None else None
            self.broken = failure or ConnectionLost(detail)

    def _pass(self, report: Callable[[Any], None], what: Any) -> None:
        if self._held is None:
            report(what)
        else:
            self._held.append(lambda: report(what))


class Reconnector:
    """Watches one session until it is over; what is lost before it was ready is lost.

    Args:
        opening: The way up that the session came.
        attempt_timeout: Seconds for each attempt; ``None``: no limit but the budget's.
        session_limit: Seconds after which the far end ends each connection.
    """

    def __init__(
        self,
        session: Session,
        opening: Opening,
        backoff: Backoff,
        *,
        attempt_timeout: float | None,
        session_limit: float | None = None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._opening = opening
        self._backoff = backoff
        self._attempt_timeout = attempt_timeout
        self._limit = session_limit
        self._rotation: asyncio.TimerHandle | None = None
        self._rng = rng
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._attempts = 0
        self._failure: RtcPeerError = OpenTimeout("there was no time for an attempt")
        self._delays: Iterator[tuple[int, float]] = iter(())
        self._back_at = -STABLE
        session.on_lost = self._on_lost
        session.on_close(self._stop)

    def opened(self) -> None:
        """The session has its first link; called once, by whoever opened it."""
        if self._limit is not None:
            loop = asyncio.get_running_loop()
            self._rotation = loop.call_later(self._limit - _spare(self._limit), self._start, self._rotate)

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Do this and nothing else: only one link is being made at a time."""
        self._cancel()
        task = asyncio.get_running_loop().create_task(work(*args), name="rtcpeer reconnecting")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self) -> None:
        if self._rotation is not None:
            self._rotation.cancel()
        for task in self._tasks:
            task.cancel()

    def _on_lost(self, detail: str) -> bool:
        link = self._session.link
        assert link is not None
        if not link.was_ready or link.failure is None or not link.failure.retryable:
            return False
        if self._session.now() - self._back_at >= STABLE:
            self._delays = enumerate(self._backoff.delays(self._rng), 1)
        self._start(self._run, link, detail)
        return True

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        self._cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _close(self, link: Link) -> asyncio.Task[None]:
        """Close a link that is not the session's; whoever stops waiting for it leaves it to ``_stop``."""
        task = asyncio.get_running_loop().create_task(link.close(), name="rtcpeer closing")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    async def _run(self, old: Link, detail: str) -> None:
        """Try until it works, or time is up. What was received is still played out by the old link meanwhile."""
        session, budget = self._session, self._backoff.budget
        began = session.now()
        self._close(old)
        self._attempts, self._failure = 0, OpenTimeout("there was no time for an attempt")
        try:
            async with asyncio.timeout(budget):
                attempt = await self._try(old, detail, math.inf if budget is None else began + budget)
        except RtcPeerError as exc:
            self._failure = exc
            self._give_up(detail)
        except TimeoutError:
            self._give_up(detail)
        else:
            self._adopt(attempt, old, session.now() - began)

    async def _rotate(self) -> None:
        """Make the next connection before the far end ends this one, which serves until then."""
        session, old, limit = self._session, self._session.link, self._limit
        assert old is not None
        assert limit is not None
        spare = _spare(limit)
        self._failure = OpenTimeout("there was no time for an attempt")
        self._delays = enumerate(itertools.chain([0.0], self._backoff.delays(self._rng)), 1)
        try:
            async with asyncio.timeout(spare):
                why = f"the session's {limit:g} s are nearly over"
                attempt = await self._try(old, why, session.now() + spare)
        except (TimeoutError, RtcPeerError):
            why = f"the session is about to end, and there is no other connection: {self._failure}"
            session.report(ErrorReported(why, code="session-limit"))
        else:
            self._adopt(attempt, old, 0.0)
            self._close(old)

    def _adopt(self, attempt: Attempt, old: Link, gap: float) -> None:
        # Nothing was awaited between the moment it was ready and this: what happens to it from now on is news.
        assert attempt.link is not None
        self._back_at = self._session.now()
        self._failure = OpenTimeout("there was no time for an attempt")  # the last one's traceback holds its links
        try:
            attempt.adopt(gap, restored=_same_session(old, attempt.link))
        except ConnectionLost:  # it was closed meanwhile
            self._close(attempt.link)
        else:
            self.opened()

    def _give_up(self, detail: str) -> None:
        tried = f"{self._attempts} attempt{'' if self._attempts == 1 else 's'}"
        self._session.give_up(f"{detail}; no new connection after {tried}: {self._failure}", self._failure)

    async def _try(self, old: Link, why: str, deadline: float) -> Attempt:
        """Raises RtcPeerError: the last attempt failed, or one that no other can make good."""
        wait = 0.0
        for number, pause in self._delays:
            delay = max(pause, wait)
            if self._session.now() + delay > deadline:
                break
            self._attempts = number
            self._session.report(Reconnecting(number, round(delay, 3), why))
            await asyncio.sleep(delay)
            attempt = Attempt(self._session, old)
            opening = self._opening.again(attempt, old, number)
            try:
                await self._open(opening, attempt)
            except RtcPeerError as exc:
                self._failure = exc
            else:
                return attempt
            logger.info("reconnecting failed: attempt=%d cause=%s", number, type(self._failure).__name__)
            if not opening.worth_another(self._failure):
                break
            why = str(self._failure)
            wait = (self._failure.retry_after or 0.0) if isinstance(self._failure, SignalingError) else 0.0
        raise self._failure

    async def _open(self, opening: Opening, attempt: Attempt) -> None:
        """Raises RtcPeerError: it did not come up; nothing is left of it."""
        try:
            async with asyncio.timeout(self._attempt_timeout) as limit:
                await opening.run()
            if attempt.broken is not None:
                raise attempt.broken
        except BaseException as exc:
            if attempt.link is not None:
                await asyncio.shield(self._close(attempt.link))
            if isinstance(exc, RtcPeerError) or not isinstance(exc, Exception):
                raise
            if limit.expired() and self._attempt_timeout is not None:
                raise opening.late(self._attempt_timeout) from exc
            # A user's own token source, which may need the same network.
            logger.warning("reconnecting failed", exc_info=exc)
            raise SignalingError(f"the attempt failed here: {type(exc).__name__}") from exc


def check_session_limit(seconds: float) -> None:
    """Raises ConfigurationError: nothing could be done in that time."""
    if not 1.0 <= seconds < math.inf:
        raise ConfigurationError(f"session_limit is {seconds}: give a second or more, or None")


def _spare(limit: float) -> float:
    return min(SPARE, limit / 4)


def _same_session(old: Link, new: Link) -> bool:
    """Whether the far end takes the new link for the old one's session."""
    one, other = old.protocol, new.protocol
    if not isinstance(one, WebSocketProtocol) or not isinstance(other, WebSocketProtocol):
        return False
    return one.profile.resumes and one.session_id == other.session_id
