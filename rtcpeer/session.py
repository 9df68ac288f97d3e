"""The session: what a user holds of a call.

It owns a link, the audio path on the media clock, the event log and the recording. The same class serves the peer,
which connected, and the mock, which was called; only the names of the speakers differ. How one comes to be is in
``connecting``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from .audio.outgoing import Playback
from .audio.packets import OpusFile, PacketPlayback, Packets, PacketSource
from .audio.read_ahead import PacketsAhead, ReadAhead, read_block
from .audio.reader import Heard
from .audio.sources import FileSource, Playable, Source, open_source
from .audio_path import AudioPath, FrameTap
from .commands import Interrupt, UpdateSession
from .deliveries import Deliveries, Iteration
from .errors import (
    ConfigurationError,
    ConnectionLost,
    MediaError,
    RtcPeerError,
    Unsupported,
    WaitTimeout,
    check_timeout,
)
from .event_log import EventLog
from .events import (
    Closed,
    ConversationStarted,
    ErrorReported,
    Event,
    Interrupted,
)
from .formats import AudioFormat, OpusSettings
from .gaps import Gaps
from .loop_guard import LoopGuard
from .protocols.base import VoiceProtocol
from .received_video import received_video
from .said import Said
from .transports.link import NO_STATS, Link
from .transports.media_clock import media_clock
from .turns import Turn
from .undecoded import Pipe, Undecoded

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Said)
Ending = Literal["local", "remote", "lost", "failed"]

CLOSER_DEADLINE = 30.0
"""Seconds for each function given to ``on_close``: a disk or a microphone that never answers must not hold us."""

_closing_session: ContextVar[Session | None] = ContextVar("rtcpeer_closing_session", default=None)
"""The session whose ``on_close`` functions are running in this context."""


def _close_opened(opening: asyncio.Future[tuple[Source, Any]]) -> None:
    """Nobody waits any more for what was opened."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()


class Session:
    """A running call. Iterate over it for events; ``play`` and ``listen`` to talk; ``close`` it when done."""

    def __init__(self, protocol: VoiceProtocol, started: float, *, decodes: bool = True) -> None:
        self.protocol = protocol
        self.decodes = decodes
        """What is received is decoded and played out; otherwise packets are all there is (``audio="packets"``)."""
        self.conversation_id: str | None = None
        self.phases: dict[str, float] = {}
        """Seconds each phase of connecting took."""
        self.events = EventLog()
        """The whole log, for any number of readers: ``events.read()``."""
        self._deliveries = Deliveries(self.events, self._failure_to_iterate)
        self.counters = {"messages_received": 0, "messages_refused": 0, "messages_sent": 0}
        self.link: Link | None = None
        """Set by whoever opens the session."""
        self.opening: asyncio.Task[None] | None = None
        """On the answering side: the task that waits for the transport and the channel."""
        self.on_lost: Callable[[str], bool] | None = None
        """Told why the connection broke; ``True``: somebody makes another, then calls ``relink`` or ``give_up``."""
        self._relinked: list[Callable[[Link], None]] = []
        self._gaps = Gaps()
        self._failure: RtcPeerError | None = None
        self._loop = asyncio.get_running_loop()
        self._started = started
        self.undecoded = Undecoded(started, self.report)
        """The same audio as packets."""
        self._path = AudioPath(
            protocol.side,
            started,
            decodes=decodes,
            undecoded=self.undecoded,
            gaps=self._gaps,
            report=self.report,
            on_failed=self._on_audio_failed,
        )
        self.local, self.remote = self._path.local, self._path.remote
        self._closers: list[Callable[[], Any]] = []
        self._closing: asyncio.Task[None] | None = None
        self._queueing = asyncio.Lock()
        self._awaited: set[Session] = set()  # sessions whose end our own closers are waiting for
        self._how_it_ended: tuple[Ending, str, bool] = ("local", "", False)
        self._guard: LoopGuard | None = None

    # Talking

    async def play(
        self,
        source: Playable,
        *,
        format: AudioFormat | None = None,
        loop: bool = False,
        start: float = 0.0,
        gain: float = 0.0,
        mix: bool = False,
    ) -> Playback:
        """Say something, queued behind what is being said; ``docs/audio.md`` has an example of each.

        Await the result to wait until its last sample was really sent.

        Args:
            source: A file name, ``"tone"``, ``"silence"`` or ``"mic"``; bytes, an array or a frame; an async iterator
                of such, fetched a second ahead; a ``Source``.
            format: Of bytes and arrays, which do not say it themselves.
            loop: Again and again: files, bytes and arrays.
            start: Seconds to leave out at the beginning: files, bytes and arrays.
            gain: dB; ``Playback.gain`` changes it while it plays.
            mix: On top of what is being said rather than behind it.

        Raises:
            ConfigurationError: no such file or device, no audio in it, or an option that it cannot have.
            MediaError: PCM that is not in ``format``; a device that does not start; too many sources are waiting.
            Unsupported: the protocol carries no audio this way, or the far end takes none.
            ConnectionLost: the session is over.
        """
        self._live_link().check_audio()
        if not self.protocol.has_voice(self.protocol.side):
            raise Unsupported(f"{self.protocol.profile.name} has no audio from its {self.protocol.side.value}")
        async with contextlib.AsyncExitStack() as turn:
            if not mix:  # those that are queued are queued in the order in which they were asked for
                await turn.enter_async_context(self._queueing)
            opened = await self._open(partial(open_source, source, format=format, loop=loop, start=start), source)
            try:
                self._live_link()
                return self._path.outgoing.play(opened, mix=mix, gain=gain)
            except Exception:
                if opened is not source:
                    opened.close()
                raise

    async def _open(self, open_it: Callable[[], Source], source: Playable) -> Source:
        """Open what is to be played: what waits for a disk or a device, in a thread."""
        if not isinstance(source, (str, os.PathLike, FileSource)) or source in ("tone", "silence"):
            return open_it()

        def begin() -> tuple[Source, tuple[NDArray[np.int16], bool, MediaError | None] | None]:
            opened = open_it()
            return opened, read_block(opened) if isinstance(opened, FileSource) else None

        begun = self._loop.run_in_executor(None, begin)
        try:
            opened, first = await asyncio.shield(begun)
        except asyncio.CancelledError:
            begun.add_done_callback(_close_opened)
            raise
        return opened if first is None else ReadAhead(opened, first)

    def stop_playing(self) -> None:
        """Fall silent: what plays is faded out in 5 ms, what waits to be played is forgotten."""
        self._path.outgoing.cancel_all()

    async def play_packets(self, source: PacketSource) -> PacketPlayback:
        """Send ready Opus packets, such as an ``OpusFile``, without a codec; queued behind those being sent.

        They wait while something is said with ``play``. Await the result to wait until the last was really sent.

        Raises:
            MediaError: too many sources are waiting.
            Unsupported: the protocol carries no Opus.
            ConnectionLost: the session is over.
        """
        link = self._live_link()
        link.check_packets()
        return self.undecoded.play(PacketsAhead(source) if isinstance(source, OpusFile) else source)

    def pipe(self, other: Session, *, both: bool = False) -> tuple[Pipe, ...]:
        """Send on what this session receives to ``other``'s far end, as it comes, without a codec.

        Pauses, losses and telephone events stay what they are. ``other`` sends no silence of its own then; what it
        plays goes first, and what comes meanwhile is left out. With ``both``, the other way, too. It lasts until
        ``stop()`` or until one of the sessions ends.

        Raises:
            ConfigurationError: something is piped into it already.
            Unsupported: one of the two carries no Opus.
            ConnectionLost: one of the two is over.
        """
        for session in (self, other):
            session._live_link().check_packets()
        if other is self or other.undecoded.feeds or (both and self.undecoded.feeds):
            raise ConfigurationError("one session at a time can be piped into another: voices mix only when decoded")
        return (Pipe(self, other), Pipe(other, self)) if both else (Pipe(self, other),)

    async def send_dtmf(self, digits: str, *, duration: float = 0.1, gap: float = 0.05) -> None:
        """Press keys of the telephone (RFC 4733), from ``0123456789*#ABCD``; ``,`` is a pause of 2 s.

        Returns when the last one was sent. While a key is down nothing else is sent: what plays waits, what is piped
        in is left out. Where the far end takes no telephone events, play a ``DtmfSource``.

        Args:
            duration: Seconds that each key is down, in steps of 20 ms: 0.04 to 6.
            gap: Seconds after each: 0.03 to 6.

        Raises:
            ConfigurationError: no such key, or a duration out of range.
            Unsupported: the far end did not negotiate telephone events.
            ConnectionLost: the session is over, or ended meanwhile.
        """
        self._live_link()
        if self._gaps.open:
            raise ConnectionLost("no digits were sent: the session is reconnecting")
        sent = self.undecoded.press(digits, duration, gap)
        await asyncio.wait([sent])
        if sent.cancelled():
            raise ConnectionLost(f"the connection ended before all digits were sent: {self._ending()}")

    async def send(self, said: Said) -> None:
        """Say it in the protocol's own words.

        While the session has no connection, ``UpdateSession`` waits for the next one, merged with those before it;
        everything else is about a moment that is passing, and is refused.

        Raises:
            Unsupported: the protocol has no such command.
            LocalProtocolError: this side may not say it.
            ConnectionLost: the session is over, has no connection just now, or the far end takes no messages.
        """
        link = self._live_link()
        if self._gaps.open:
            self.protocol.send(said)  # for its errors
            if not isinstance(said, UpdateSession):
                raise ConnectionLost(f"{type(said).__name__} was not sent: the session is reconnecting")
        else:
            link.send(said)
            self.counters["messages_sent"] += 1
        self._gaps.remember(said)

    async def update(self, **options: object) -> None:
        """Change the agent while the call runs: ``instructions``, ``voice``, ``temperature``, …

        Raises:
            ConfigurationError: an unknown name or a value out of range.
            Unsupported, ConnectionLost: as ``send``.
        """
        await self.send(self.protocol.update(options))

    def set_opus(self, settings: OpusSettings) -> None:
        """Code what we say like this from the next frame on.

        Another ``application`` begins with a fresh encoder: the far end hears the seam, if it listens closely.

        Raises:
            Unsupported: what we say does not travel as Opus.
            ConnectionLost: the session is over.
        """
        self._live_link().set_opus(settings)

    async def interrupt(self) -> None:
        """Cut the agent short, here and now: nothing more of this answer is handed on, until its next turn begins.

        If it is saying something, ``Interrupted`` with the reason ``local`` tells how much of it was heard; there is
        no second one when the far end confirms it. Where the protocol has no such message (Orga, Orbitali), the far
        end is not told; it hears us and decides for itself.

        Raises:
            ConnectionLost: the session is over, or reconnecting: then the far end is not told, and is cut short here.
        """
        self._live_link()
        if (played := self._path.cut_short()) is not None:
            self.report(Interrupted(round(played, 3), "local"))
        if Interrupt in self.protocol.speaks[self.protocol.side]:
            await self.send(Interrupt())

    # Listening

    async def listen(self, *, timeout: float | None = None) -> Turn:
        """Return the oldest agent turn not listened to yet, once it is complete and was heard to its end.

        Its ``ResponseCompleted`` is taken with it, unless somebody has that already.

        Raises:
            WaitTimeout: there was none in ``timeout`` seconds; it is a ``TimeoutError``, too.
            ConnectionLost: the session ended first.
            ConfigurationError: nothing is decoded (``audio="packets"``), so nobody can tell; ``timeout`` is NaN; this
                is not the session's event loop.
        """
        self._check_loop()
        self._check_decodes("listen()")
        check_timeout("timeout", timeout)
        try:
            async with asyncio.timeout(timeout):
                turn = await self._path.turns.get()
        except TimeoutError:
            raise WaitTimeout(f"the agent completed no turn in {timeout} s") from None
        if turn is None:
            raise ConnectionLost(f"the session ended before the agent's turn did: {self._ending()}")
        self._deliveries.take(turn.marks)
        return turn

    @property
    def turn_audio(self) -> float | None:
        """Seconds of each turn's sound that are kept for ``listen()``, 60 unless set otherwise: 96 kB each.

        ``None`` keeps none, and ``Turn.audio`` is empty: for many calls that read ``session.audio``, or nothing.
        """
        return self._path.tracker.longest

    @turn_audio.setter
    def turn_audio(self, seconds: float | None) -> None:
        self._path.tracker.longest = seconds

    async def wait_for(
        self, kind: type[S], *, where: Callable[[S], bool] | None = None, timeout: float | None = None
    ) -> S:
        """Take the oldest event of that kind that was not handed out yet, or wait for the next.

        Each event is handed out once: to the oldest ``wait_for`` that it matches, otherwise to the iteration. Events
        that do not match stay where they are.

        Args:
            where: Says whether an event of that kind is the one; what it raises is raised here.

        Raises:
            WaitTimeout: there was none in ``timeout`` seconds; it is a ``TimeoutError``, too.
            ConnectionLost: the session ended first.
            ConfigurationError: ``timeout`` is NaN; this is not the session's event loop.
        """
        self._check_loop()
        check_timeout("timeout", timeout)

        def matches(said: Said) -> bool:
            return isinstance(said, kind) and (where is None or where(said))

        # Asked apart from the wait: a TimeoutError that ``where`` raises is the user's own.
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                found = await self._deliveries.wait(matches)
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(f"no {kind.__name__} in {timeout} s") from None
        if found is None:
            raise ConnectionLost(f"the session ended without a {kind.__name__}: {self._ending()}")
        assert isinstance(found, kind)
        return found

    def __aiter__(self) -> Iteration:
        """Yield every event that nobody has taken, from the oldest; ``Closed`` is the last.

        Where one iteration stopped, the next goes on. ``session.events.read()`` has all events for any number of
        readers.

        Raises:
            ConnectionLost: after ``Closed``, when the session was lost rather than closed.
            RuntimeError: another iteration is under way.
            ConfigurationError: this is not the session's event loop.
        """
        self._check_loop()
        return self._deliveries.iterate()

    def _failure_to_iterate(self) -> Exception | None:
        """Return what an iteration ends with, once the session is over."""
        last = self.events.entries()[-1].said
        if not isinstance(last, Closed) or last.reason not in ("lost", "failed"):
            return None
        error = ConnectionLost(last.detail)
        error.__cause__ = self._failure
        return error

    @property
    def audio(self) -> Heard:
        """What is heard, as an async iterable of 20 ms frames; each iteration is a reader of its own.

        Raises:
            ConfigurationError: nothing is decoded (``audio="packets"``); this is not the session's event loop.
        """
        self._check_loop()
        self._check_decodes("session.audio")
        return self._path.heard

    @property
    def packets(self) -> Packets:
        """The Opus packets that are received, undecoded, as an async iterable; each iteration is a reader of its own.

        Raises:
            Unsupported: the protocol carries no Opus.
            ConfigurationError: this is not the session's event loop.
        """
        self._check_loop()
        self.undecoded.watch()
        return self.undecoded.packets

    def _check_decodes(self, what: str) -> None:
        if not self.decodes:
            raise ConfigurationError(f'{what} needs sound, and this session has packets only: connect(audio="pcm")')

    @property
    def video(self) -> AsyncIterator[av.VideoFrame]:
        """The frames that come on the video line, for ``async for``; decoding starts with the first reader.

        Late readers lose frames rather than time: only the newest is kept.
        """
        return received_video(self._live_link())

    # Knowing

    @property
    def audio_started(self) -> float | None:
        """Where sample 0 of the audio lies, in seconds since ``connect()``."""
        return self._path.started

    @property
    def playout_delay(self) -> float | None:
        """How long the newest frame that was heard had been held: ``PlayoutFrame.delay``."""
        return self._path.playout_delay

    def stats(self) -> dict[str, Any]:
        """Return W3C webrtc-stats figures in snake_case, JSON types only; times are seconds."""
        clock = media_clock()
        return {
            **(self.link.stats() if self.link else NO_STATS),
            "messages": dict(self.counters),
            "reconnections": self._gaps.to_dict(self.now()),
            "source_underruns": self._path.outgoing.underruns,
            "clock": {
                "frames_skipped": clock.frames_skipped,
                "late_slots": clock.late_slots,
                "worst_lateness": round(clock.worst_lateness, 4),
            },
        }

    @property
    def idle(self) -> bool:
        """Nothing is being said and nothing waits to be."""
        return self._path.outgoing.idle and self.undecoded.idle

    @property
    def speaking(self) -> bool:
        """The far end is audible right now."""
        return self._path.speaking

    def tap(self, tap: FrameTap) -> None:
        """Hand every pair of frames to ``tap``, on the event loop, twenty milliseconds apart: it must be quick.

        One that raises is called no more: ``ErrorReported`` with the code ``tap`` says so, and the log why.
        """
        self._path.tap(tap)

    def on_close(self, closer: Callable[[], Any]) -> None:
        """Run ``closer`` (a function, or one that returns an awaitable) when the session has ended.

        What it raises is logged, and the others are run. It has 30 s. It may close this session, or others that
        close this one: what would wait for itself returns at once.
        """
        self._closers.append(closer)

    def off_close(self, closer: Callable[[], Any]) -> None:
        """Take back what was given to ``on_close``; if it is not there, nothing happens."""
        if closer in self._closers:
            self._closers.remove(closer)

    # Ending

    async def close(self) -> None:
        """End the call with a goodbye and release everything; once is enough, twice is harmless.

        Raises:
            ConfigurationError: this is not the session's event loop, and the session is not over yet.
        """
        if self._closing is None or not self._closing.done():
            self._check_loop()
            self._end("local", "")
            await self._closed()

    async def abandon(self) -> None:
        """Vanish without a goodbye, as a killed process does: for tests of the far end."""
        self._end("local", "abandoned", abandon=True)
        await self._closed()

    async def _closed(self) -> None:
        """Wait for the end, unless that waits for us: we are in a function that was given to ``on_close``."""
        assert self._closing is not None
        waiting = _closing_session.get()
        if waiting is None or waiting._closing is None or waiting._closing.done():
            await asyncio.shield(self._closing)
        elif not self._waits_for(waiting):
            waiting._awaited.add(self)
            try:
                await asyncio.shield(self._closing)
            finally:
                waiting._awaited.discard(self)

    def _waits_for(self, other: Session) -> bool:
        """Whether our end needs the other's first; there are no circles in what is waited for."""
        return self is other or any(each._waits_for(other) for each in self._awaited)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def fail(self, error: BaseException) -> None:
        """End a call that never came to be; ``close`` waits for it."""
        self._end("failed", str(error) or type(error).__name__)

    def _end(self, reason: Ending, detail: str, *, abandon: bool = False) -> None:
        if self._closing is not None:
            return
        self._path.close()
        self._gaps.close(self.now())
        self.undecoded.close()
        self._how_it_ended = (reason, detail, abandon)
        self._closing = self._loop.create_task(self._shut(reason, detail, abandon), name="rtcpeer closing")

    async def _shut(self, reason: Ending, detail: str, abandon: bool) -> None:
        # A loop that ends cancels this as well, once: each step has its turn all the same.
        try:
            if self.link is not None:
                await (self.link.abandon() if abandon else self.link.close())
        except asyncio.CancelledError:
            logger.debug("closing the link was cut short")
        except Exception:
            logger.exception("closing the link failed")
        with contextlib.suppress(asyncio.CancelledError):
            await self._path.outgoing.wait_closed()
        self.report(Closed(reason, detail))
        self._path.end()
        _closing_session.set(self)
        for closer in tuple(self._closers):
            try:
                async with asyncio.timeout(CLOSER_DEADLINE):
                    result = closer()
                    if inspect.isawaitable(result):
                        await result
            except asyncio.CancelledError:
                logger.debug("closing a part of the session was cut short")
            except Exception:
                logger.exception("closing a part of the session failed: %s", getattr(closer, "__qualname__", closer))
        self._closers.clear()
        if self._guard is not None:
            await self._guard.release()

    async def _close_with_the_loop(self) -> None:
        self._end("local", "the event loop ended")
        assert self._closing is not None
        await asyncio.wait([self._closing])
        if self._closing.cancelled():  # before it began
            await self._shut(*self._how_it_ended)

    # The link's reports (LinkListener)

    def on_said(self, said: Said) -> None:
        self.counters["messages_received"] += 1
        if isinstance(said, ConversationStarted):
            # It may have come with the answer already: one conversation starts once.
            if said.id == self.conversation_id:
                return
            self.conversation_id = said.id
        if isinstance(said, Interrupted):
            if self._path.muting.active:
                # We cut it short before, and said so.
                self._path.on_event(said, self.now())
                return
            if self.link is not None and self.link.played is None:
                said = replace(said, played=round(self._path.tracker.played, 3))
        self.report(said)

    def on_refused(self, reason: str) -> None:
        self.counters["messages_refused"] += 1
        self.report(ErrorReported(reason, code="refused"))

    def on_media_error(self, error: MediaError) -> None:
        self.report(ErrorReported(str(error), code="media"))

    def on_ended(self, reason: Literal["remote", "lost"], detail: str) -> None:
        if reason == "lost" and self._closing is None and self.on_lost is not None and self.on_lost(detail):
            self._gaps.begin(self.now())
            self.undecoded.break_off()
            return
        self._end(reason, detail)

    def relink(self, link: Link) -> None:
        """Go on over another link, which is open; clock, recording and what is being played go on.

        Raises:
            ConnectionLost: the session is over meanwhile; the link is still the caller's.
        """
        old = self._live_link()
        link.succeed(old)
        old.retire()
        self.link, self.protocol = link, link.protocol
        self._gaps.end(self.now())
        self.undecoded.attach(link)
        self._path.use(link)
        for relinked in self._relinked:
            relinked(link)

    def repeat_settings(self) -> None:
        """Tell the far end again what ``update`` asked for. Raises ConnectionLost."""
        if self._gaps.settings is not None:
            self._live_link().send(self._gaps.settings)
            self.counters["messages_sent"] += 1

    def on_relink(self, relinked: Callable[[Link], None]) -> None:
        """Call ``relinked`` with each link after the first."""
        self._relinked.append(relinked)

    @property
    def connected(self) -> bool:
        """It has a link that was not lost."""
        return self.link is not None and self._closing is None and not self._gaps.open

    def give_up(self, detail: str, failure: RtcPeerError | None = None) -> None:
        """There will be no other link; ``failure`` is the cause of what iterating raises."""
        self._failure = failure
        self._end("lost", detail)

    async def opened(self) -> None:
        """Wait, on the answering side, until the far end can hear and be told things.

        Raises:
            IceError, OpenTimeout, RemoteProtocolError, ConnectionLost: it came to nothing; the session is closed.
        """
        if self.opening is not None:
            await asyncio.shield(self.opening)

    # The audio path

    def start_audio(self) -> None:
        """Begin to speak and to hear: the transport is up. Called once, by whoever opens the session."""
        if self._closing is not None:
            return  # it was up, and is over: the clock would serve it for ever
        assert self.link is not None
        self.undecoded.attach(self.link)
        self._path.start(self.link)
        self._guard = LoopGuard(self._close_with_the_loop)

    def _on_audio_failed(self, why: str) -> None:
        self._end("lost", why)

    def __repr__(self) -> str:
        return f"<Session {self.protocol.profile.name} {self.protocol.side.value} {self.conversation_id or '-'}>"

    def now(self) -> float:
        """Seconds since ``connect()``: the ``t`` of every event."""
        return self._loop.time() - self._started

    def report(self, said: Said) -> None:
        """Put it in the log, at the time it is now."""
        t = self.now()
        if isinstance(said, Event):
            self._path.on_event(said, t)
        self.events.append(round(t, 4), said)

    def _ending(self) -> str:
        if self._gaps.open and self._closing is None:
            return "the session is reconnecting"
        last = self.events.entries()[-1:]
        return last[0].said.detail or last[0].said.reason if last and isinstance(last[0].said, Closed) else "closed"

    def _check_loop(self) -> None:
        """Raises ConfigurationError: this is another event loop's task, or another thread."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            raise ConfigurationError(
                "this session belongs to another event loop: use it where connect() ran (from another thread: "
                "asyncio.run_coroutine_threadsafe; in pytest-asyncio: one loop_scope for fixture and test)"
            )

    def _live_link(self) -> Link:
        self._check_loop()
        if self._closing is not None or self.link is None:
            raise ConnectionLost(f"the session is over: {self._ending()}") from self._failure
        return self.link
