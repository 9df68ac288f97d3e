"""The agent: plays a scenario on a session.

``Director`` decides and is pure: what happened goes in, with ``now`` in seconds, what to do comes out.
``Agent`` is the shell that waits, plays and sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtcpeer.audio.sources import QueueSource, open_source
from rtcpeer.commands import Interrupt
from rtcpeer.errors import ConnectionLost, LocalProtocolError, MediaError, RtcPeerError, Unsupported
from rtcpeer.events import (
    ConversationStarted,
    Event,
    Interrupted,
    ResponseCompleted,
    SessionStarted,
    SpeechStarted,
    SpeechStopped,
    TranscriptCompleted,
    TranscriptUpdated,
)
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.http import Refusal, RequestRefused, SocketClosing
from rtcpeer.protocols.websocket import WebSocketProtocol
from rtcpeer.said import Said
from rtcpeer.transports.websocket import WebSocketLink

from .ahead import Ahead
from .scenario import Line, Scenario, Turn, speech_file

if TYPE_CHECKING:
    from rtcpeer.audio.outgoing import Playback
    from rtcpeer.audio.source import Source
    from rtcpeer.protocols.base import VoiceProtocol
    from rtcpeer.session import Session

    from .desktop import Sound

logger = logging.getLogger(__name__)


class _Unheard:
    """In place of a playback: there is nobody to play it to."""


_UNHEARD = _Unheard()


@dataclass(frozen=True, slots=True)
class Tell:
    """Send an event."""

    event: Event


@dataclass(frozen=True, slots=True)
class Speak:
    """Play a speech file, ``tone`` or ``echo``; what was playing has ended before."""

    what: str


@dataclass(frozen=True, slots=True)
class Hush:
    """Stop what is playing."""

    interrupted: bool
    """The user cut in; otherwise nobody did."""
    reason: str = "barge-in"
    """Of the interruption, as the caller gets to read it."""


Action = Tell | Speak | Hush


class Director:
    """Decides what the agent does; one a call.

    Args:
        transcribe: The caller wants to read what the user said.
        active: The faults active now; ``late-transcript``, ``early-done`` and ``late-done`` are looked at.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        transcribe: bool = False,
        active: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._scenario = scenario
        self._transcribe = transcribe
        self._active = active
        self._taken = 0
        self._answering: Turn | None = None
        self._thinking_until: float | None = None
        self._speaking: Line | None = None
        self._done_told = False

    @property
    def due(self) -> float | None:
        """When ``tick`` wants to be called, or ``None``."""
        return self._thinking_until

    @property
    def taken(self) -> int:
        """Turns of the script that were taken."""
        return self._taken

    def resume(self, taken: int) -> Iterator[Action]:
        """The call is up again: so many turns were taken before."""
        self._taken = taken
        if self._scenario.kind != "script":
            yield from self.begin()

    def begin(self) -> Iterator[Action]:
        """The call is up."""
        match self._scenario.kind:
            case "tone":
                yield Speak("tone")
            case "echo":
                yield Speak("echo")
            case "script" if self._scenario.greeting is not None:
                yield from self._speak(self._scenario.greeting)

    def change(self, scenario: Scenario) -> Iterator[Action]:
        """Another scenario from here on; what was going on is dropped."""
        yield Hush(interrupted=False)
        yield from self._finish()
        self._scenario, self._taken = scenario, 0
        self._answering = self._thinking_until = None
        yield from self.begin()

    def hear(self, said: Said, now: float) -> Iterator[Action]:
        """Something came from the session."""
        match said:
            case SpeechStarted("user") | Interrupt() if self._speaking is not None:
                yield Hush(interrupted=True)
                yield from self._finish()
            case SpeechStarted("user"):
                # They go on after a pause that sounded like an end: the same turn is answered later.
                self._thinking_until = None
            case SpeechStopped("user") if self._scenario.turns and self._speaking is None:
                if self._answering is None:
                    self._answering = self._scenario.turns[self._taken % len(self._scenario.turns)]
                    self._taken += 1
                    if "late-transcript" not in self._active():
                        yield from self._tell_heard()
                self._thinking_until = now + self._scenario.think_time

    def tick(self, now: float) -> Iterator[Action]:
        """Time has passed."""
        if self._thinking_until is None or now < self._thinking_until or self._answering is None:
            return
        self._thinking_until = None
        yield from self._speak(self._answering.answer)

    def played(self) -> Iterator[Action]:
        """What was playing has been sent to its end."""
        yield from self._finish()

    def _speak(self, line: Line) -> Iterator[Action]:
        self._speaking, self._done_told = line, False
        yield Speak(line.say)
        active = self._active()
        if "early-done" in active or (self._scenario.done_order == "early" and "late-done" not in active):
            yield from self._tell_done()

    def _finish(self) -> Iterator[Action]:
        """The line being spoken is over, cut or not: it is marked done once, and its turn is no more."""
        if self._speaking is None:
            return
        if not self._done_told:
            yield from self._tell_done()
        if "late-transcript" in self._active() and self._answering is not None:
            yield from self._tell_heard()
        self._speaking = self._answering = None

    def _tell_done(self) -> Iterator[Action]:
        assert self._speaking is not None
        self._done_told = True
        yield Tell(ResponseCompleted(self._speaking.text, self._speaking.text))

    def _tell_heard(self) -> Iterator[Action]:
        if self._transcribe and self._answering is not None:
            yield Tell(TranscriptCompleted("user", self._answering.heard, self._answering.heard))


def _director_for(protocol: VoiceProtocol) -> type[Director]:
    from .listening import ListeningDirector  # it is one of ours

    return ListeningDirector if TranscriptUpdated in protocol.speaks[Side.SERVER] else Director


class Agent:
    """Plays the server's side of one call; ``run`` returns when the call is over.

    Args:
        params: The call's parameters, as the caller set them.
        progress: Name of a session → turns taken in it, for those that come back; ours to change.
        sound: What there is to be heard, where nobody can talk to an agent; then there is no conversation.
    """

    def __init__(
        self,
        session: Session,
        scenario: Scenario,
        *,
        session_id: str,
        conversation_id: str,
        params: Mapping[str, Any],
        active: Callable[[], frozenset[str]],
        progress: MutableMapping[str, int] | None = None,
        sound: Sound | None = None,
    ) -> None:
        self._progress = {} if progress is None else progress
        self._session = session
        self._sound = sound
        self._session_id = session_id
        self._conversation_id = conversation_id
        self._params = params
        self.interruptions: deque[float] = deque(maxlen=100)
        """Seconds of speech that had been played each time the user cut in; the last hundred."""
        self._director = _director_for(session.protocol)(
            scenario, transcribe=bool(params.get("return_transcription", True)), active=active
        )
        # Small: the reader waits when it is full, and the session's own log is what keeps the rest.
        self._inbox: asyncio.Queue[Said | Scenario | Playback | _Unheard | None] = asyncio.Queue(100)
        self._playback: Playback | None = None
        self._companion: asyncio.Task[None] | None = None

    def change(self, scenario: Scenario) -> None:
        """Play another scenario from here on."""
        if self._sound is not None:
            self._sound.change(scenario)
            return
        with contextlib.suppress(asyncio.QueueFull):  # a hundred things wait: the call is beyond steering
            self._inbox.put_nowait(scenario)

    async def run(self) -> None:
        """Play on an open session until the call ends, however it ends."""
        if self._sound is not None:
            await self._be_heard(self._sound)
            return
        reader = asyncio.create_task(self._read())
        try:
            await self._introduce()
            name = self._session_name
            if name in self._progress:
                await self._act(self._director.resume(self._progress[name]))
            else:
                await self._act(self._director.begin())
            await self._play_on()
        finally:
            if self._session_name:
                self._progress[self._session_name] = self._director.taken
            reader.cancel()
            await self._stop_playing()
            await asyncio.gather(reader, return_exceptions=True)

    @property
    def _session_name(self) -> str:
        """Of a session that may go on after its connection broke; empty: there is no such thing here."""
        protocol = self._session.protocol
        return protocol.session_id if isinstance(protocol, WebSocketProtocol) and protocol.profile.resumes else ""

    def fail_sound(self) -> None:
        """Let what is heard break off, if it is no conversation."""
        if self._sound is not None:
            self._sound.fail("Audio capture failed")

    async def _be_heard(self, sound: Sound) -> None:
        """Sound until the call ends; if the sound fails, say so as the protocol does."""
        link = self._session.link
        assert isinstance(link, WebSocketLink)
        try:
            await self._introduce()
            playback = await self._session.play(sound)
            link.stereo = sound.stereo
            with contextlib.suppress(ConnectionLost):
                await playback
        except MediaError as exc:
            closing = link.protocol.refusal_closing(RequestRefused(Refusal.INTERNAL, str(exc)))
            link.excuse(closing or SocketClosing(1011, str(exc)))
        finally:
            sound.close()

    async def _play_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(self._director.due):
                    found = await self._inbox.get()
            except TimeoutError:
                await self._act(self._director.tick(loop.time()))
                continue
            match found:
                case None:
                    return
                case Scenario():
                    await self._act(self._director.change(found))
                case Said():
                    await self._act(self._director.hear(found, loop.time()))
                case _Unheard():
                    await self._act(self._director.played())
                case playback if playback is self._playback:  # one that was cancelled has nothing to report
                    await self._stop_playing()
                    await self._act(self._director.played())

    async def _introduce(self) -> None:
        may_say = self._session.protocol.speaks[Side.SERVER]
        if SessionStarted in may_say:
            details = {
                "id": self._session_id,
                "object": "realtime.session",
                **{
                    name: self._params.get(name)
                    for name in (
                        "model",
                        "voice",
                        "temperature",
                        "instructions",
                        "modalities",
                        "return_transcription",
                    )
                },
            }
            await self._tell(SessionStarted(self._session_id, details))
        if ConversationStarted in may_say:
            await self._tell(ConversationStarted(self._conversation_id))

    async def _act(self, actions: Iterator[Action]) -> None:
        for action in actions:
            match action:
                case Tell(event):
                    await self._tell(event)
                case Hush(interrupted, reason):
                    played = None if self._playback is None else self._playback.played
                    await self._stop_playing()
                    if interrupted and played is not None:
                        self.interruptions.append(played)
                        await self._tell(Interrupted(round(played, 3), reason))
                case Speak(what):
                    try:
                        await self._speak(what)
                    except ConnectionLost:  # gone in between: the session's events end as well
                        pass
                    except Unsupported as exc:  # a caller that takes no audio reads the words instead
                        logger.info("nothing is said: %s", exc)
                        await self._inbox.put(_UNHEARD)

    async def _tell(self, event: Event) -> None:
        try:
            await self._session.send(event)
        except LocalProtocolError as exc:
            logger.debug("the protocol has no word for it: %s", exc)
        except RtcPeerError as exc:
            # The channel is gone; the session says so on its own account.
            logger.info("could not tell the caller: event=%s cause=%s", type(event).__name__, type(exc).__name__)

    async def _speak(self, what: str) -> None:
        match what:
            case "tone":
                self._playback = await self._session.play(self._ahead(open_source("tone")))
            case "echo":
                queue = QueueSource(name="echo")
                self._playback = await self._session.play(self._ahead(queue))
                self._companion = asyncio.create_task(self._echo(queue))
            case _:
                self._playback = await self._session.play(self._ahead(open_source(speech_file(what))))
                self._companion = asyncio.create_task(self._report(self._playback))

    def _ahead(self, source: Source) -> Source:
        """Let it leave before it is due, where the protocol's clients wait for that."""
        link, wire = self._session.link, self._session.protocol.sends
        if wire is None or wire.ahead == 0 or not isinstance(link, WebSocketLink):
            return source
        return Ahead(source, link, wire.ahead)

    async def _stop_playing(self) -> None:
        if self._playback is not None:
            self._playback.cancel()
            with contextlib.suppress(RtcPeerError):
                await self._playback  # its last frame leaves before anything is said of it
        if self._companion is not None:
            self._companion.cancel()
            await asyncio.gather(self._companion, return_exceptions=True)
        self._playback = self._companion = None

    async def _report(self, playback: Playback) -> None:
        with contextlib.suppress(RtcPeerError):
            await playback
        await self._inbox.put(playback)

    async def _echo(self, queue: QueueSource) -> None:
        with contextlib.suppress(MediaError):  # cancelled: it takes nothing more
            async for frame in self._session.audio:
                await queue.write(frame.samples)

    async def _read(self) -> None:
        try:
            with contextlib.suppress(RtcPeerError):  # ConnectionLost: over is over
                async for said in self._session:
                    await self._inbox.put(said)
        except Exception:
            logger.exception("the session's events broke off")
        await self._inbox.put(None)
