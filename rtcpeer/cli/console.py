"""What a person sees of a call on stderr, and a program on stdout.

On a terminal: a line a happening, and below them a line that moves, with the levels of both voices. Elsewhere: the
same lines, nothing that moves.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..errors import ConfigurationError
from ..escaping import escaped, readable_json
from ..event_log import Entry
from ..events import (
    Closed,
    Degraded,
    ErrorReported,
    Interrupted,
    PhaseCompleted,
    Reconnected,
    Reconnecting,
    Recovered,
    SessionStarted,
    TranscriptCompleted,
    TurnMeasured,
)
from ..session import Session
from .output import let_go

_QUIET, _LOUD = -60.0, 0.0  # dBFS at the ends of a level bar
_BAR = 20


class CallConsole:
    """Shows one session; ``watch`` it, and keep this open as a context manager for as long as it runs."""

    def __init__(self, *, as_json: bool = False) -> None:
        if as_json and sys.stdout is None:
            raise ConfigurationError("--json: standard output is closed")
        self._json = as_json
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._session: Session | None = None
        self._levels = [_QUIET, _QUIET]

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            self._live.stop()

    def watch(self, session: Session) -> None:
        """Show what happens in ``session``."""
        self._session = session
        session.events.tap(self._on_event)
        if self._console.is_terminal:
            session.tap(self._on_frame)

    def say(self, line: str) -> None:
        """Print a line; what of it comes from the far end does not steer the terminal."""
        try:
            # A terminal would break a long line within a word; what reads a pipe wants it whole.
            self._console.print(Text(escaped(line)), soft_wrap=not self._console.is_terminal)
        except (OSError, SystemExit):  # the latter is what rich makes of a broken pipe
            self._console.quiet = True

    def _print(self, entry: Entry) -> None:
        line = readable_json({"t": entry.t} | entry.said.to_dict()) + "\n"
        try:
            # JSON is UTF-8 whatever the locale is (RFC 8259, 8.1).
            sys.stdout.buffer.write(line.encode())
            sys.stdout.buffer.flush()
        except OSError as exc:
            # Nobody gets the events any more, as after `| head`: end the call as if told to.
            self._json = False
            if not isinstance(exc, BrokenPipeError):
                self.say(f"can't write to standard output: {exc.strerror}; ending the call")
            let_go(sys.stdout)
            signal.raise_signal(signal.SIGTERM)

    def _on_event(self, entry: Entry) -> None:
        if self._json:
            self._print(entry)
        match entry.said:
            case PhaseCompleted(phase=phase, seconds=seconds):
                line = f"{phase}: {1000 * seconds:.0f} ms"
            case SessionStarted(id=name):
                line = f"session {name} started"
            case TranscriptCompleted(speaker=speaker, text=text):
                line = f"{'you  ' if speaker == 'user' else 'agent'}  “{text}”"
            case TurnMeasured(turnaround=turnaround):
                line = f"answer after {turnaround:.2f} s"
            case Interrupted(played=played, reason=reason):
                line = f"interrupted ({reason}) after {played:.2f} s"
            case Degraded(reason=reason):
                line = reason
            case Recovered(gap=gap):
                line = f"the far end is back after {gap:.1f} s"
            case Reconnecting(attempt=attempt, delay=delay, reason=reason):
                line = f"{reason}; attempt {attempt} to come back in {delay:.1f} s"
            case Reconnected(state_restored=restored, gap=gap):
                line = f"back after {gap:.2f} s{'' if restored else ', as a new session'}"
            case ErrorReported(message=message):
                line = f"note: {message}"
            case Closed(reason="failed"):
                return  # the command says so itself, as an error
            case Closed(reason=reason, detail=detail):
                line = f"closed ({reason}){': ' + detail if detail else ''}"
            case _:
                return
        self.say(f"{entry.t:8.2f}  {line}")

    def _on_frame(self, position: int, ours: NDArray[np.int16], theirs: NDArray[np.int16]) -> None:
        for side, pcm in enumerate((ours, theirs)):
            samples = pcm[::8, 0].astype(np.float32)
            level = 10 * np.log10(float(samples @ samples) / len(samples) / 32768**2 + 1e-9)
            self._levels[side] = max(float(level), self._levels[side] - 1.5)
        if position % 4800 == 0:
            bars = "   ".join(
                f"{name} {self._bar(level)}" for name, level in zip(("you", "agent"), self._levels, strict=True)
            )
            self._live.update(Text(f"{position / 48_000:8.1f}  {bars}"), refresh=True)

    @staticmethod
    def _bar(level: float) -> str:
        filled = round(_BAR * (min(max(level, _QUIET), _LOUD) - _QUIET) / (_LOUD - _QUIET))
        return "█" * filled + "·" * (_BAR - filled)


def summarize(session: Session, turns: int) -> list[str]:
    """Return what is worth knowing of a call that is over, in a few lines."""
    stats = session.stats()
    heard, said = stats["inbound_audio"], stats["outbound_audio"]
    lines = [
        f"connected in {sum(session.phases.values()):.2f} s, {turns} agent turn{'' if turns == 1 else 's'} heard"
    ]
    measured = [entry.said.turnaround for entry in session.events.entries() if isinstance(entry.said, TurnMeasured)]
    if measured:
        lines.append(f"turnaround: {', '.join(f'{each:.2f} s' for each in measured)}")
    if (again := stats["reconnections"])["count"]:
        times = "once" if again["count"] == 1 else f"{again['count']} times"
        lines.append(f"reconnected {times}, {again['gaps']:.1f} s without a connection")
    if netem := stats["netem"]:
        ways = [
            f"{name} {did['packets_lost'] + did['packets_dropped']} of {did['packets_sent']} packets lost"
            for name, did in (("out", netem["outgoing"]), ("in", netem["incoming"]))
        ]
        lines.append(f"network ({netem['conditions']}): {', '.join(ways)}")
    if heard:
        played = heard["total_samples_received"] / 48_000
        concealed = 100 * heard["concealed_samples"] / max(1, heard["total_samples_received"])
        lines.append(
            f"audio: sent {said.get('packets_sent', 0)} packets; received {heard['packets_received']}, "
            f"lost {heard['packets_lost']}; {played:.1f} s played, {concealed:.1f} % of it concealed"
        )
    return lines
