"""The WebSocket link: one codec's messages, and the audio in them, over one socket of aiohttp, either side.

What arrives is taken apart by the codec: audio goes to the playout, the rest to a listener, which belongs to the
session. What is sent waits in one queue and leaves in order. Audio flows once ``SessionStarted`` was said.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import aiohttp
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from ..audio.chunker import Chunker
from ..audio.jitter import PlayoutFrame
from ..audio.level import Level
from ..audio.stream_playout import LIMIT
from ..audio.turn_playout import TurnPlayout
from ..audio.wire import EXPANDING, PIECE
from ..commands import Ping, Stop
from ..errors import ConnectionLost, MediaError, RemoteProtocolError, RtcPeerError
from ..events import ErrorReported, Interrupted, Pong, SessionStarted
from ..netem import CLEAN, NetworkConditions
from ..protocols.base import AudioChunk, Message, Side
from ..protocols.http import RequestRefused, SocketClosing, for_display
from ..protocols.websocket import WebSocketProtocol
from ..said import Said
from ..stats import OutboundAudioStats
from .dialling import CLOSE_DEADLINE, MESSAGE_LIMIT
from .heartbeat import PONG_DEADLINE, Heartbeat
from .link import NO_STATS, Link, LinkListener, Reports
from .liveness import Liveness
from .outbox import Outbox
from .stream_impairment import StreamImpairment
from .watchdog import WATCHFUL, Watchdog

logger = logging.getLogger(__name__)

SEND_DEADLINE = 10.0
"""Seconds for which a far end may take nothing at all."""

CLOSE_AFTER_ERROR = 0.5
"""Seconds that a server has to close the socket, with a code, once it said ``error`` instead of being ready."""

READING_TURN = 0.002
"""Seconds of messages that are taken before it is somebody else's turn: other calls have slots of 5 ms."""

Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


class WebSocketLink(Link):
    """One open socket. Make it and ``start`` it; on the server's side await ``greeted``; ``ready``; then ``close``.

    Args:
        socket: Open already, with ``autoping`` off.
        abort: Ends the connection under the socket, without a word.
        release: Lets go of what else there is, once the socket is closed.
        predecessor: This one goes on for it: what it has received and not played yet comes first.
    """

    protocol: WebSocketProtocol

    def __init__(
        self,
        protocol: WebSocketProtocol,
        listener: LinkListener,
        socket: Socket,
        *,
        abort: Callable[[], None],
        release: Callable[[], Awaitable[None]] | None = None,
        netem: NetworkConditions = CLEAN,
        netem_seed: int | str = 0,
        predecessor: WebSocketLink | None = None,
        watchdog: Watchdog | None = WATCHFUL,
    ) -> None:
        self.protocol = protocol
        self._listener = self.reports = listener = Reports(listener)
        self._socket = socket
        self._abort = abort
        self._release = release
        self._loop = asyncio.get_running_loop()
        self._impairment = StreamImpairment(netem, netem_seed, self._put, self._take)
        self._tasks: list[asyncio.Task[None]] = []
        self._writer: asyncio.Task[None] | None = None
        self._ended = False
        self._gone = False
        self._closing: SocketClosing | None = None
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        for future in (self._greeted, self._ready):
            # Whoever opens the link awaits these; a link closed before that must not complain at exit.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())

        self._outbox = Outbox()
        self._liveness = Liveness(watchdog, self._ask_for_life, listener.report, self._on_silent)
        self._asking: asyncio.Task[None] | None = None
        self._last_error = ""
        self._refusing: asyncio.TimerHandle | None = None  # until the close code that goes with an early error

        self._chunker: Chunker | None = None
        self._ahead = False
        self.stereo: Callable[[], NDArray[np.int16]] | None = None
        """Asked for each frame that is sent: the same with both sides, ``(960, 2)``; a session says the average."""
        hears = protocol.hears
        self._turns: TurnPlayout = TurnPlayout(
            live=hears is not None and hears.live, predecessor=predecessor._turns if predecessor else None
        )
        self._playout = self._turns.playout
        self._said = OutboundAudioStats()
        if predecessor is not None:
            self._said = predecessor._said
            self._outbox.audio_dropped = predecessor._outbox.audio_dropped
        self._heartbeat = Heartbeat(protocol.profile.heartbeat, self._say_ping, self._said)

    # Opening

    def start(self) -> None:
        """Begin to read and write: our opening messages first."""
        for work in (self._read(), self._write(), self._beat()):
            task = self._loop.create_task(work, name="rtcpeer websocket")
            task.add_done_callback(self._on_task_done)
            self._tasks.append(task)
        self._writer = self._tasks[1]
        self.send_messages(self.protocol.opening())
        if not self.protocol.profile.client_opens:
            _resolve(self._greeted)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            # A session that is half deaf is over, and whoever holds it must learn so.
            logger.error("a WebSocket's task failed", exc_info=exc)
            self._end("lost", f"the connection failed here: {type(exc).__name__}")

    async def greeted(self) -> None:
        """Wait, on the server's side, until we may speak.

        Raises:
            RequestRefused: the client's first message is none that we take; ``close`` says so.
            ConnectionLost: it is gone.
        """
        await asyncio.shield(self._greeted)

    async def ready(self) -> None:
        """Wait until ``SessionStarted`` was said, by whichever side says it.

        Raises:
            AuthError, ConnectionLost, …: the socket was closed before; the class is the close code's.
        """
        await asyncio.shield(self._ready)

    @property
    def was_ready(self) -> bool:
        return self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None

    # Sending

    def send(self, said: Said) -> None:
        messages = self.protocol.send(said)
        if isinstance(said, Interrupted):
            # What was cut off and has not left yet must not follow the word that it was.
            self._outbox.drop_audio()
            self._chunker = None
        self.send_messages(messages)
        if isinstance(said, SessionStarted):
            self._on_ready()

    def send_messages(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self._ended:
                raise ConnectionLost("the socket is closed")
            self._outbox.put(message)

    @property
    def sends_silence(self) -> bool:
        return self.protocol.sends is not None and self.protocol.sends.live

    def send_audio(self, pcm: NDArray[np.int16], frame: int, *, voiced: bool, level: Level | None = None) -> None:
        if self.stereo is not None:
            pcm = self.stereo()
        if not self._ahead and (chunker := self._speaking()) is not None:
            self._queue_audio(chunker, chunker.feed(pcm))

    def send_ahead(self, pcm: NDArray[np.int16]) -> None:
        """Send speech before it is due; what ``send_audio`` brings meanwhile is the same again, and left out."""
        self._ahead = True
        if (chunker := self._speaking()) is not None:
            self._queue_audio(chunker, chunker.feed(pcm))

    def finish_ahead(self) -> None:
        """The speech that was sent before it is due has been sent to its end."""
        if (chunker := self._speaking()) is not None:
            self._queue_audio(chunker, chunker.finish())

    def finish_audio(self) -> None:
        self._ahead = False
        if (chunker := self._speaking()) is not None:
            self._queue_audio(chunker, chunker.finish())

    def _speaking(self) -> Chunker | None:
        """Return what makes our audio, once there may be any."""
        wire = self.protocol.sends
        if wire is None or self._ended or not self._ready.done() or self._ready.exception() is not None:
            return None
        if self._chunker is None or self._chunker.wire != wire:
            self._chunker = Chunker(wire)
        return self._chunker

    def _queue_audio(self, chunker: Chunker, pieces: list[bytes]) -> None:
        wire = chunker.wire
        for data in pieces:
            for message in self.protocol.send(AudioChunk(data, wire.format, wire.codec, self.protocol.generation)):
                self._outbox.put_audio(message, wire.chunk)
            self._said.packets_sent += 1
            self._said.bytes_sent += len(data)

    async def _write(self) -> None:
        while True:
            message = await self._outbox.first()
            await self._impairment.outgoing.carry(len(message), message)
            self._outbox.remove(message)

    async def _put(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_DEADLINE):
                if isinstance(message, str):
                    await self._socket.send_str(message)
                else:
                    await self._socket.send_bytes(message)
        except TimeoutError:
            self._end("lost", f"the far end took no data for {SEND_DEADLINE:g} s")
        except (OSError, aiohttp.ClientError, RuntimeError):
            logger.debug("a message was not sent: the socket is closing")  # the reader learns why

    # Hearing

    def hear(self, now: float) -> PlayoutFrame:
        return self._playout.get(now)

    @property
    def _holds_turns(self) -> bool:
        """What comes is speech alone, ahead of its time; otherwise it is a stream with the pauses in it."""
        hears = self.protocol.hears
        return hears is not None and not hears.live

    def cut_off(self) -> bool:
        if self._holds_turns:
            self._playout.flush(self._loop.time(), rest=True)
        return self._holds_turns

    def note_interrupted(self, samples: int) -> None:
        self._playout.stats.interrupted_samples += samples

    @property
    def cut(self) -> bool:
        return self._playout.cut

    def cut_sounded(self) -> bool:
        return self._playout.cut_sounded()

    def go_on(self) -> None:
        self._playout.go_on()

    @property
    def waiting(self) -> float:
        return self._playout.waiting if self._holds_turns else 0.0

    @property
    def played(self) -> float | None:
        return self._playout.played if self._holds_turns else None

    def end_turn(self) -> None:
        self._playout.end_turn()

    async def _read(self) -> None:
        turn = self._loop.time()
        while True:
            # What has come already is received without waiting: who floods us would have the loop for himself.
            if self._loop.time() - turn > READING_TURN:
                await asyncio.sleep(0)
                turn = self._loop.time()
            message = await self._socket.receive()
            self._heartbeat.heard()
            self._liveness.heard = self._loop.time()
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    await self._impairment.incoming.carry(len(message.data), message.data)
                case aiohttp.WSMsgType.PING:
                    with contextlib.suppress(OSError, aiohttp.ClientError):
                        await self._socket.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    self._heartbeat.answered()
                case aiohttp.WSMsgType.CLOSE:
                    # In line behind what was said before.
                    await self._impairment.incoming.carry(0, SocketClosing(message.data or 1005, message.extra or ""))
                    return
                case aiohttp.WSMsgType.ERROR if isinstance(message.data, aiohttp.WebSocketError):
                    self._on_violation(message.data)
                    return
                case _:  # no goodbye: aiohttp reports a connection that ends without one as closed, too
                    await self._impairment.incoming.carry(0, SocketClosing(1006))
                    return

    def _on_violation(self, error: aiohttp.WebSocketError) -> None:
        """The far end broke RFC 6455, or sent more than we read; aiohttp has told it so."""
        what = f"a message over {MESSAGE_LIMIT} bytes" if error.code == 1009 else "no valid WebSocket frames"
        self._gone = True
        self._listener.on_refused(what)
        why = f"hung up: the far end sent {what}"
        self._end("lost", why, RemoteProtocolError(why))

    async def _take(self, message: Message | SocketClosing) -> None:
        if isinstance(message, SocketClosing):
            self._on_close(message)
            return
        try:
            heard = self.protocol.receive(message)
        except RemoteProtocolError as exc:
            if isinstance(exc, RequestRefused) or not self._greeted.done():
                self._refuse(exc)
            else:
                self._listener.on_refused(str(exc))
            return
        try:
            for said in heard:
                if isinstance(said, AudioChunk) and len(said.data) > PIECE and said.codec in EXPANDING:
                    await self._play_pieces(said)
                else:
                    self._hear(said)
            self._follow_seq()
        except ConnectionLost as exc:  # an answer of ours, to one who takes none
            self._end("lost", str(exc))
        _resolve(self._greeted)

    def _hear(self, said: Said) -> None:
        match said:
            case AudioChunk():
                self._play(said)
                return
            case SessionStarted():
                self._on_ready()
            case Ping() if Pong in self.protocol.speaks[self.protocol.side]:
                self.send(Pong())
            case Pong():
                self._heartbeat.answered()
            case ErrorReported():
                self._last_error = said.message
                if self.protocol.side is Side.CLIENT and not self._ready.done():
                    self._listener.on_said(said)
                    self._on_early_error(said)
                    return
            case Interrupted():
                everything = self.protocol.profile.interrupt == "flush-all"
                played = self._turns.interrupt(self.protocol.generation, self._loop.time(), everything=everything)
                said = Interrupted(round(played, 3), said.reason)
        self._listener.on_said(said)
        if isinstance(said, Stop):
            self._end("remote", "the far end said stop")

    async def _play_pieces(self, chunk: AudioChunk) -> None:
        """Decode a long piece of a stream bit by bit: a megabyte of MP3 may be seconds of work."""
        seconds = 0.0
        for start in range(0, len(chunk.data), PIECE):
            if seconds > LIMIT:
                # Nobody waits for more, and the stream may go on in the next message.
                self._turns.refuse()
                self._listener.on_refused(f"a message with more than {LIMIT:g} s of audio: the rest of it is dropped")
                return
            took = self._play(replace(chunk, data=chunk.data[start : start + PIECE]))
            if took is None:
                return  # what is left of it can't be read either
            seconds += took
            await asyncio.sleep(0)

    def _play(self, chunk: AudioChunk) -> float | None:
        """Return its seconds, or ``None``: it can't be read, which is told."""
        self._follow_seq()
        # Who serves has no turns of the far end's to cut off.
        oldest = self.protocol.generation if self.protocol.side is Side.CLIENT else 0
        try:
            return self._turns.put(chunk, oldest, self._loop.time())
        except MediaError as exc:
            self._listener.on_refused(str(exc))
            return None

    def _follow_seq(self) -> None:
        """Where that is the rule, a newer turn cuts the older off, whatever message it was in."""
        if self.protocol.profile.interrupt != "seq" or self.protocol.side is not Side.CLIENT:
            return
        played = self._turns.supersede(self.protocol.generation, self._loop.time())
        if played is not None:
            self._listener.on_said(Interrupted(round(played, 3), "superseded"))

    # Being alive

    async def _beat(self) -> None:
        try:
            await self._heartbeat.run()
        except TimeoutError:
            self._on_silent(f"the far end gave no sign of life for {PONG_DEADLINE:g} s after a ping")
        except (OSError, aiohttp.ClientError, ConnectionLost):
            return  # the reader learns why

    async def _say_ping(self) -> None:
        if Ping in self.protocol.speaks[self.protocol.side]:
            self.send(Ping())
        else:
            await self._socket.ping()

    def _on_ready(self) -> None:
        _resolve(self._ready)
        if self._refusing is not None:
            self._refusing.cancel()
        if not self._ended:
            self._liveness.start()

    def _ask_for_life(self) -> None:
        """Ping, whatever the protocol's own rhythm is; one that can't be written is not followed by another."""
        if self._asking is None or self._asking.done():
            self._asking = self._loop.create_task(self._ping(), name="rtcpeer websocket ping")

    async def _ping(self) -> None:
        with contextlib.suppress(OSError, aiohttp.ClientError, RuntimeError):  # the reader learns why
            await self._socket.ping()

    def _on_silent(self, why: str) -> None:
        self._gone = True
        self._end("lost", why)
        # Without a close frame: it may hear us still, and a goodbye would be a hang-up to it.
        self._abort()

    def stats(self) -> dict[str, Any]:
        return {
            **NO_STATS,
            "inbound_audio": self._playout.stats.to_dict(),
            "outbound_audio": self._said.to_dict(),
            "netem": self._impairment.stats(),
            "websocket": {
                "audio_messages_dropped": self._outbox.audio_dropped,
                "playout_lead": self._playout.lead,
                "playout_resets": self._playout.resets,
                "texts_cut": self.protocol.texts_cut,
            },
        }

    @property
    def conditions(self) -> NetworkConditions:
        return self._impairment.conditions

    def impair(self, conditions: NetworkConditions) -> None:
        self._impairment.conditions = conditions
        if self.heir is not None:
            self.heir.impair(conditions)

    # Ending

    async def close(self) -> None:
        """Say goodbye, ours (``Stop``) and the socket's, and release everything."""
        if not self._gone:
            if not self._ended and Stop in self.protocol.speaks[self.protocol.side]:
                with contextlib.suppress(ConnectionLost):
                    self.send(Stop())
            # What was said before the goodbye arrives before it.
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await self._send_rest()
        self._ended = True
        self._fail(ConnectionLost("closed before it was open"))
        with contextlib.suppress(asyncio.CancelledError):  # a loop that ends does that once, to whatever we wait for
            await self._stop()
        closing = self._closing or SocketClosing(1000)
        try:
            async with asyncio.timeout(2 * CLOSE_DEADLINE):
                await self._socket.close(code=closing.code or 1000, message=closing.reason.encode()[:123])
        except (TimeoutError, OSError, aiohttp.ClientError, RuntimeError):
            self._abort()
        finally:
            if self._release is not None:
                await self._release()

    async def _send_rest(self) -> None:
        if self._writer is None or not self._writer.done():
            await self._outbox.emptied()
            await self._impairment.outgoing.drained()
        for message in self._outbox.take_rest():  # the loop is ending, and took the writer with it
            await self._put(message)

    async def abandon(self) -> None:
        """Vanish without a goodbye: the connection is reset."""
        self._ended = self._gone = True
        self._abort()
        await self.close()

    async def _stop(self) -> None:
        self._liveness.close()
        if self._refusing is not None:
            self._refusing.cancel()
        tasks = [*self._tasks, *self._impairment.tasks]
        if self._asking is not None:
            tasks.append(self._asking)
        current = asyncio.current_task()
        for task in tasks:
            if task is not current:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not current), return_exceptions=True)

    def _refuse(self, refused: RemoteProtocolError) -> None:
        """Hang up on who said what can't be had; ``close`` says why."""
        if self._closing is not None:
            return  # it was told, and says on what it likes
        closing = self.protocol.refusal_closing(refused) if isinstance(refused, RequestRefused) else None
        self.excuse(closing or SocketClosing(1008, str(refused)))
        if closing is not None and closing.code is None:
            return
        if self._greeted.done():
            self._listener.on_refused(str(refused))
            self._end("lost", f"hung up: {refused}", refused)
        else:
            self._greeted.set_exception(refused)

    def excuse(self, closing: SocketClosing) -> None:
        """Say why it is going to end: in words now, with the code when it is closed."""
        self._closing = closing
        with contextlib.suppress(ConnectionLost):
            self.send_messages(closing.messages)

    def _on_close(self, closing: SocketClosing) -> None:
        self._gone = True
        if self._ended:
            return
        error = self.protocol.closing_error(closing.code, self.protocol.redact(closing.reason))
        if error is None and self._last_error and not self.was_ready:
            error = ConnectionLost(f"the far end closed the socket with code {closing.code}")
        if error is None:
            self._end("remote", "the far end closed the socket")
            return
        if self._last_error and self._last_error not in str(error):
            error = type(error)(f"{error} (it had said: {for_display(self._last_error)})")
        self._end("lost", str(error), error)

    def _end(self, reason: Literal["remote", "lost"], detail: str, failure: RtcPeerError | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._liveness.close()
        self.failure = failure or (ConnectionLost(detail) if reason == "lost" else None)
        opening = self.protocol.side is Side.CLIENT and not self._ready.done()
        self._fail(self.failure or ConnectionLost(f"{detail} before it was open"))
        if not opening:  # otherwise whoever waits for it to be ready ends the session
            self._listener.on_ended(reason, detail)

    def _on_early_error(self, said: ErrorReported) -> None:
        """Give up: the server said what is wrong instead of being ready. It need not close the socket."""
        if (error := self.protocol.words_error(said)) is not None:
            self._end("lost", str(error), error)
        elif self._refusing is None:
            self._refusing = self._loop.call_later(CLOSE_AFTER_ERROR, self._on_no_close)

    def _on_no_close(self) -> None:
        self._end("lost", f"the far end said before it was ready: {for_display(self._last_error)}")

    def _fail(self, failure: RtcPeerError) -> None:
        for future in (self._greeted, self._ready):
            if not future.done():
                future.set_exception(failure)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
