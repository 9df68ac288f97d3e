"""A session whose connection broke gets another: same session, new link; clock, recording and playback go on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator

from .errors import ConnectionLost, OpenTimeout, RtcPeerError
from .events import Reconnected, Reconnecting
from .reconnect import Backoff
from .session import Session
from .transports.websocket import WebSocketLink

logger = logging.getLogger(__name__)


STABLE = 10.0
"""Seconds after which a connection that breaks has worked; before that, the attempts go on where they were."""


class Reconnector:
    """Watches one session over WebSocket until it is over; what is lost before it was ready is lost.

    Args:
        redial: Opens a new link under the same session id, to go on after the old one; it cleans up after itself.
        attempt_timeout: Seconds for each attempt; ``None``: no limit but the budget's.
    """

    def __init__(
        self,
        session: Session,
        redial: Callable[[WebSocketLink], Awaitable[WebSocketLink]],
        backoff: Backoff,
        *,
        attempt_timeout: float | None,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._redial = redial
        self._backoff = backoff
        self._attempt_timeout = attempt_timeout
        self._rng = rng
        self._tasks: set[asyncio.Task[None]] = set()
        self._trying = False
        self._delays: Iterator[tuple[int, float]] = iter(())
        self._back_at = -STABLE
        session.on_lost = self._on_lost
        session.on_close(self._stop)

    def _on_lost(self, detail: str) -> bool:
        if self._trying:
            return True  # a link that never opened: the attempt fails, and says so
        link = self._session.link
        assert isinstance(link, WebSocketLink)
        if not link.was_ready or link.failure is None or not link.failure.retryable:
            return False
        if self._session.now() - self._back_at >= STABLE:
            self._delays = enumerate(self._backoff.delays(self._rng), 1)
        self._trying = True
        task = asyncio.get_running_loop().create_task(self._run(link, detail), name="rtcpeer reconnecting")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, old: WebSocketLink, detail: str) -> None:
        """Try until it works, or time is up. What was received is still played out by the old link meanwhile."""
        began = self._session.now()
        closing = asyncio.create_task(old.close(), name="rtcpeer closing")
        try:
            async with asyncio.timeout(self._backoff.budget):
                link = await self._try(old, detail)
        except TimeoutError:
            self._session.give_up(f"{detail}; no new connection within {self._backoff.budget:g} s")
        except RtcPeerError as exc:
            self._session.give_up(f"{detail}; no new connection: {exc}")
        except Exception as exc:  # a user's own token source
            logger.exception("reconnecting failed")
            self._session.give_up(f"{detail}; no new connection: {type(exc).__name__}")
        else:
            # Nothing is awaited between the moment it was ready and this: what happens to it from now on is news.
            self._trying = False
            self._back_at = self._session.now()
            restored = link.protocol.session_id == old.protocol.session_id
            try:
                self._session.relink(link)
            except ConnectionLost:  # it was closed meanwhile
                await link.close()
            else:
                self._session.report(Reconnected(restored, round(self._session.now() - began, 4)))
        finally:
            await asyncio.gather(closing, return_exceptions=True)

    async def _try(self, old: WebSocketLink, detail: str) -> WebSocketLink:
        """Raises RtcPeerError: the last attempt failed, or one that no other can make good."""
        failure: RtcPeerError = OpenTimeout("there was no time for an attempt")
        for attempt, delay in self._delays:
            self._session.report(Reconnecting(attempt, round(delay, 3), detail))
            await asyncio.sleep(delay)
            try:
                async with asyncio.timeout(self._attempt_timeout):
                    return await self._redial(old)
            except TimeoutError:
                failure = OpenTimeout(f"not open after {self._attempt_timeout} s")
            except RtcPeerError as exc:
                failure = exc
            logger.info("reconnecting failed: attempt=%d cause=%s", attempt, type(failure).__name__)
            if not failure.retryable:
                break
        raise failure
