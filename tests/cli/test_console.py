"""What a person and a program see of a call whose far end tries to steer their terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rtcpeer.cli.console import CallConsole
from rtcpeer.event_log import Entry, EventLog
from rtcpeer.events import Closed, Degraded, ErrorReported, Interrupted, SessionStarted, TranscriptCompleted

HOSTILE = "\x1b]0;owned\x07 \x9b2J \u202egnp.exe\u2069 \u2028"
STEERING = set(HOSTILE) - set(" ]0;owned2Jgnp.exe")


class Called:
    """As much of a session as the console wants."""

    def __init__(self) -> None:
        self.events = EventLog()

    def tap(self, listener: Callable[..., None]) -> None:
        pass


@pytest.mark.parametrize(
    "said",
    [
        TranscriptCompleted("assistant", HOSTILE, HOSTILE),
        SessionStarted(HOSTILE),
        ErrorReported(HOSTILE),
        Interrupted(1.0, HOSTILE),
        Degraded(HOSTILE),
        Closed("lost", HOSTILE),
    ],
)
def test_the_far_ends_words_steer_neither_terminal_nor_json(
    said: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.TextIOWrapper(io.BytesIO(), "utf-8")
    monkeypatch.setattr(sys, "stdout", written)
    session: Any = Called()
    with CallConsole(as_json=True) as console:
        console.watch(session)
        session.events.append(1.0, said)
    line = written.buffer.getvalue().decode()  # type: ignore[attr-defined]

    shown = capsys.readouterr().err.removesuffix("\n")
    assert not STEERING & (set(line) | set(shown))
    assert r"\x1b]0;owned\x07 \x9b2J \u202egnp.exe\u2069" in shown
    assert json.loads(line) == json.loads(json.dumps({"t": 1.0} | Entry(1.0, said).said.to_dict()))
