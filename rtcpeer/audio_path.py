"""A call's audio, 20 ms at a time: what is said goes to the link, what is heard comes from it.

The media clock ticks; nothing here waits. What is measured on the way (who speaks, how soon, which turn) is reported
as it happens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .audio.jitter import PlayoutFrame
from .audio.level import SILENCE, SILENT, Level, level_of
from .audio.outgoing import Outgoing
from .audio.reader import Heard
from .audio.vad import VoiceDetector
from .events import ErrorReported, Event, ResponseCompleted, Speaker, SpeechStarted, SpeechStopped, TurnMeasured
from .formats import FRAME_DURATION, VOICE
from .gaps import Gaps
from .latency import TurnMeter
from .muting import Muting
from .protocols.base import Side
from .said import Said
from .transports.link import Link
from .transports.media_clock import media_clock
from .turn_queue import TurnQueue
from .turns import LONGEST, TurnTracker
from .undecoded import Undecoded

logger = logging.getLogger(__name__)

FrameTap = Callable[[int, NDArray[np.int16], NDArray[np.int16]], None]
"""Called with the position in samples since the audio began, what we sent and what was heard: ``(960, 1)`` each."""

_AUDIBLE = 300  # −40 dBFS

_SLOW_TAP = 0.01
"""Seconds. Every call on the loop waits for a tap."""


class AudioPath:
    """One session's: ``start`` it when the transport is up, and ``close`` it.

    Args:
        side: The client's waits for turns and measures turnarounds; the answering side does not.
        connected_at: The loop's time at ``connect()``.
        decodes: What is received is decoded and played out; otherwise it is left to ``undecoded``.
        report: Told what happens.
        on_failed: Told why there can be no more audio.
    """

    def __init__(
        self,
        side: Side,
        connected_at: float,
        *,
        decodes: bool,
        undecoded: Undecoded,
        gaps: Gaps,
        report: Callable[[Said], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self.local: Speaker = "user" if side is Side.CLIENT else "assistant"
        self.remote: Speaker = "assistant" if side is Side.CLIENT else "user"
        self.started: float | None = None
        """Where sample 0 lies, in seconds since ``connect()``."""
        self.playout_delay: float | None = None
        """How long the newest frame that was heard had been held: ``PlayoutFrame.delay``."""
        self.outgoing = Outgoing(on_slow=media_clock().blame)
        self.heard = Heard()
        self.muting = Muting()
        self.turns = TurnQueue()
        # The answering side listens to no turns.
        self.tracker = TurnTracker(LONGEST if side is Side.CLIENT else None)
        self._client = side is Side.CLIENT
        self._connected_at = connected_at
        self._decodes = decodes
        self._undecoded = undecoded
        self._gaps = gaps
        self._report = report
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._mouth = VoiceDetector()
        self._ear = VoiceDetector()
        self._meter = TurnMeter()
        self._taps: list[FrameTap] = []
        self._first_frame: int | None = None
        self._saying = False
        self._cut_by_link = False
        self._last_heard: NDArray[np.int16] = SILENCE

    def start(self, link: Link) -> None:
        """The transport is up: begin to speak and to hear."""
        self._link = link
        media_clock().add(self._tick)

    def use(self, link: Link) -> None:
        """Go on over another link; what is being played goes on, too."""
        self._link = link
        # What was cut short came over the connection that is gone.
        self.muting.end()
        link.go_on()

    def tap(self, tap: FrameTap) -> None:
        """Hand every pair of frames to ``tap``; see ``Session.tap``."""
        self._taps.append(tap)

    @property
    def speaking(self) -> bool:
        """The far end is audible right now."""
        return self._ear.speaking

    def close(self) -> None:
        """Neither speak nor hear any more; the turn in progress ends as it is."""
        media_clock().remove(self._tick)
        self.outgoing.close()
        if (turn := self.tracker.finish()) is not None and self._client:
            self.turns.put(turn)

    def end(self) -> None:
        """Tell whoever listens that there is no more."""
        self.turns.end()
        self.heard.end()

    def cut_short(self) -> float | None:
        """Let nothing more be heard of what the agent is saying; return the seconds of it that were heard.

        ``None``: there is nothing to cut short, or it was done already.
        """
        link, tracker, t = self._link, self.tracker, self._loop.time() - self._connected_at
        if link is None or self.muting.active:
            return None
        sounding = int(np.abs(self._last_heard).max()) > _AUDIBLE  # the voice detector takes its time
        if not (tracker.in_progress or link.waiting or sounding):
            return None
        known, played = tracker.interrupted, tracker.played if link.played is None else link.played
        spoke_at = self._mouth.last_voiced_at
        if spoke_at is not None and (tracker.started is None or spoke_at < tracker.started):
            spoke_at = None
        self._cut_by_link = link.cut_off()
        self.muting.begin(
            t,
            last_audible=tracker.last_audible,
            marked=tracker.marked,
            marked_early=tracker.marked_early,
            spoke_at=spoke_at,
            in_order=self._cut_by_link,
            has_turns=ResponseCompleted in link.protocol.speaks[Side.SERVER],
        )
        return None if known else played

    def on_event(self, event: Event, t: float) -> None:
        """Take what happened, for what is known of the agent's turns."""
        received = self.tracker.played
        if self._link is not None and self._link.played is not None:
            # What is still called played before a turn has begun is the turn's before.
            received = self._link.waiting + (self._link.played if self.tracker.in_progress else 0.0)
        self.tracker.on_event(event, t, received=received, of_cut=self.muting.awaits_mark)
        self.muting.on_event(event, t)

    def _mute(self, link: Link, playout: PlayoutFrame, t: float) -> PlayoutFrame:
        """Return what is heard of it while the agent is cut short."""
        if self._cut_by_link and not link.cut:  # it knows by itself that another turn began
            self.muting.end()
            return playout
        we_speak = self._mouth.speaking and self._mouth.voiced
        audible = link.cut_sounded() if self._cut_by_link else int(np.abs(playout.samples).max()) > _AUDIBLE
        if self.muting.over(t, audible=audible, we_speak=we_speak):
            self.muting.end()
            link.go_on()
        # Of what a link drops by itself, the last 5 ms are faded out.
        if self._cut_by_link:
            return playout
        if audible:
            link.note_interrupted(len(playout.samples))
        return PlayoutFrame(np.zeros_like(playout.samples), "silence", None, SILENT, delay=playout.delay)

    def _tick(self, number: int, now: float) -> None:
        try:
            self._frame(number, now)
        except Exception as exc:
            # A call that has gone deaf and dumb is over, and whoever holds it must learn so.
            logger.exception("the audio path failed")
            self._on_failed(f"the audio path failed: {type(exc).__name__}: {exc}")

    def _frame(self, number: int, now: float) -> None:
        t = now - self._connected_at
        if self._first_frame is None:
            self._first_frame = number
            self.started = t
        frame = number - self._first_frame
        assert self._link is not None

        if self._gaps.open:
            self._gaps.frames_not_sent += self.outgoing.skip() or self._undecoded.skip()
            taken = True
        else:
            taken = self._undecoded.say(self._link, frame, speaking=not self.outgoing.idle)
        silent = taken or (self.outgoing.idle and not (self._link.sends_silence and self._decodes))
        said = SILENCE if taken else self.outgoing.read()
        if not self._decodes:
            if silent and not taken:
                self._undecoded.say_silence(self._link, frame)
            elif not taken:
                self._link.send_audio(said, frame, voiced=True)
            self._finish_frame(frame, said, SILENCE)
            return
        level = level_of(said)
        self._log_speech(self.local, self._mouth, said, t, level)
        if not silent:
            self._link.send_audio(said, frame, voiced=self._mouth.voiced, level=level)
            self._saying = True
        elif self._saying:
            self._link.finish_audio()
            self._saying = False
        if self._mouth.voiced:
            self._meter.spoke(t + FRAME_DURATION)

        playout = self._link.hear(now)
        self.playout_delay = playout.delay
        if self.muting.active:
            playout = self._mute(self._link, playout, t)
        heard, measured, stereo = playout.samples, playout.level, playout.stereo
        if self._log_speech(self.remote, self._ear, heard, t, measured) == "started":
            assert self._ear.started_at is not None
            turnaround = self._meter.heard(self._ear.started_at)
            if turnaround is not None and self._client:
                self._report(TurnMeasured(round(turnaround, 4)))
        turn = self.tracker.on_frame(heard, self._ear.voiced, t)
        if turn is not None:
            self._link.end_turn()
        if turn is not None and self._client:
            self.turns.put(turn)

        self._last_heard = heard
        self.heard.put(heard if stereo is None else stereo, t)
        self._finish_frame(frame, said, heard)

    def _finish_frame(self, frame: int, said: NDArray[np.int16], heard: NDArray[np.int16]) -> None:
        assert self._link is not None
        for tap in tuple(self._taps):
            began = self._loop.time()
            try:
                tap(frame * VOICE.frame_samples, said, heard)
            except Exception as exc:  # somebody else's code: the call goes on without it
                self._taps.remove(tap)
                name = getattr(tap, "__qualname__", tap)
                logger.exception("the tap %s failed: it is called no more", name)
                self._report(ErrorReported(f"the tap {name} failed: {type(exc).__name__}: {exc}", code="tap"))
            if (took := self._loop.time() - began) > _SLOW_TAP:
                media_clock().blame(f"the tap {getattr(tap, '__qualname__', tap)}", took)
        while self._undecoded.failures:
            self._report(ErrorReported(str(self._undecoded.failures.popleft()), code="media"))
        while self.outgoing.failures:
            self._report(ErrorReported(str(self.outgoing.failures.popleft()), code="media"))
        if frame % 50 == 49:
            self._link.adapt()

    def _log_speech(
        self,
        speaker: Speaker,
        detector: VoiceDetector,
        pcm: NDArray[np.int16],
        t: float,
        level: Level | None,
    ) -> Literal["started", "stopped"] | None:
        change = detector.feed(pcm, t, level)
        if change == "started":
            self._report(SpeechStarted(speaker))
        elif change == "stopped":
            assert detector.last_voiced_at is not None
            self._report(SpeechStopped(speaker, round(t + FRAME_DURATION - detector.last_voiced_at, 3)))
        return change
