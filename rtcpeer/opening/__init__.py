"""From nothing to a running session, one file a transport; what they share is here."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..errors import OpenTimeout, RtcPeerError
from ..events import PhaseCompleted
from ..formats import OpusSettings
from ..netem import CLEAN, NetworkConditions
from ..reconnect import Backoff
from ..session import Session
from ..transports.ice_options import IceOptions
from ..transports.link import Link, LinkListener
from ..transports.video import VideoSource
from ..transports.watchdog import WATCHFUL, Watchdog

TokenSource = str | Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What a call is asked to be: the arguments of ``connect``, checked; what a transport has no use for is left."""

    url: str = field(repr=False)  # over WebSocket its query may hold a token
    api_key: str | None = field(default=None, repr=False)
    token: TokenSource | None = field(default=None, repr=False)
    session_config_url: str | None = field(default=None, repr=False)
    video: VideoSource | Literal[False] | None = None
    ice: IceOptions = field(default_factory=IceOptions)
    ice_timeout: float | None = 10.0
    netem: NetworkConditions = CLEAN
    netem_seed: int | str = 0
    opus: OpusSettings | None = None
    http_timeout: float | None = 10.0
    open_timeout: float | None = 30.0
    reconnect: Backoff | None = None
    watchdog: Watchdog | None = WATCHFUL


class Caller(LinkListener, Protocol):
    """Whom a way up is for: a session, or what stands in for it while another link is tried."""

    link: Link | None
    phases: dict[str, float]
    conversation_id: str | None
    decodes: bool

    def start_audio(self) -> None: ...


class Opening(ABC):
    """A caller's way up, phase by phase."""

    def __init__(self, session: Caller, options: CallOptions) -> None:
        self.phase = "start"
        self._session = session
        self._options = options

    @abstractmethod
    async def run(self) -> None:
        """Bring the session up.

        Raises:
            RtcPeerError: a phase failed; whoever called this ends the session.
        """

    @property
    @abstractmethod
    def repeatable(self) -> bool:
        """The credential is good for another link, or another can be had."""

    @abstractmethod
    def again(self, caller: Caller, old: Link, attempt: int) -> Opening:
        """Return the same way once more, for a link that is to go on where ``old`` broke off."""

    def worth_another(self, failure: RtcPeerError) -> bool:
        """Whether the same way may succeed later; it failed in ``phase``."""
        return failure.retryable

    def late(self, seconds: float) -> RtcPeerError:
        """Say what it means not to be open after so many seconds."""
        return OpenTimeout(f"not open after {seconds:g} s: still in phase {self.phase!r}")

    @asynccontextmanager
    async def _timed(self, phase: str) -> AsyncIterator[None]:
        self.phase = phase
        loop = asyncio.get_running_loop()
        began = loop.time()
        yield
        seconds = round(loop.time() - began, 4)
        self._session.phases[phase] = seconds
        self._session.report(PhaseCompleted(phase, seconds))


def open_in_background(session: Session, opening: Coroutine[Any, Any, None]) -> None:
    """Let whoever was called go on; ``session.opened()`` waits for it, and a failure ends the session."""

    async def run() -> None:
        try:
            await opening
        except RtcPeerError as exc:
            session.fail(exc)
            raise

    session.opening = asyncio.create_task(run(), name="rtcpeer opening")
    # The session reports the failure as its last event; a caller that never asks must not warn at exit.
    session.opening.add_done_callback(lambda task: task.cancelled() or task.exception())
    session.on_close(session.opening.cancel)
