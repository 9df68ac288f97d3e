"""One call at the mock: the session, the agent on it, and what is remembered of both when it is over."""

from __future__ import annotations

import dataclasses
import io
import logging
import wave
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtcpeer.audio.resample import Resampler
from rtcpeer.commands import Command, UpdateSession
from rtcpeer.errors import RtcPeerError
from rtcpeer.event_log import Entry
from rtcpeer.events import Closed, DtmfReceived, ErrorReported, Unknown
from rtcpeer.formats import FRAME_DURATION, VOICE, AudioFormat
from rtcpeer.netem import NetworkConditions
from rtcpeer.said import Said

from .agent import Agent
from .scenario import Scenario

if TYPE_CHECKING:
    from rtcpeer.session import Session

logger = logging.getLogger(__name__)

TAPE_SECONDS = 120.0
TAPE_FORMAT = AudioFormat(16_000, 2)
RECEIVED_LIMIT = 1000
"""Messages of a call that are remembered, the newest."""
TEXT_LIMIT = 2000
"""Characters of each text in them."""


class Tape:
    """The last two minutes of a call, left what the mock said, right what it heard; 64 kB a second."""

    def __init__(self) -> None:
        # What is older than two minutes goes: this is to look at, the whole call is what `record=` is for.
        self._blocks: deque[NDArray[np.int16]] = deque(maxlen=round(TAPE_SECONDS / FRAME_DURATION))
        self._resampler = Resampler(AudioFormat(VOICE.sample_rate, 2), TAPE_FORMAT)

    def write(self, position: int, left: NDArray[np.int16], right: NDArray[np.int16]) -> None:
        """Add one frame, ``(960, 1)`` each."""
        self._blocks.append(self._resampler.feed(np.concatenate((left, right), axis=1)))

    def to_wav(self) -> bytes:
        file = io.BytesIO()
        with wave.open(file, "wb") as wav:
            wav.setnchannels(TAPE_FORMAT.channels)
            wav.setsampwidth(2)
            wav.setframerate(TAPE_FORMAT.sample_rate)
            for block in self._blocks:
                wav.writeframesraw(block.astype("<i2", copy=False).tobytes())
        return file.getvalue()


class Call:
    """A call from its answer on. ``run`` it; afterwards it holds what happened, and no session."""

    def __init__(self, id: str, session: Session, agent: Agent, *, started_at: float) -> None:
        self.id = id
        self.protocol = session.protocol.profile.name
        self.params = remembered(session.protocol.params)
        self.state: Literal["opening", "open", "closed"] = "opening"
        self.failure: str | None = None
        """Why it never opened, or broke."""
        self.settings = dict(self.params)
        """The parameters as the caller's updates have changed them."""
        self.interruptions = agent.interruptions
        """Seconds the agent had spoken each time it was cut short."""
        self.tape: Tape | None = Tape()
        self.started_at = started_at
        self._session: Session | None = session
        self._agent: Agent | None = agent
        self._frames = {"out": 0, "in": 0}
        # The oldest go first; no text is kept whole that is longer than anybody would read.
        self._received: deque[Entry] = deque(maxlen=RECEIVED_LIMIT)
        self._closed: Closed | None = None
        self._stats: dict[str, Any] = {}
        session.tap(self._tap)
        session.events.tap(self._note)

    async def run(self, on_open: Callable[[], None]) -> None:
        """Play the agent's part until the call is over, and release everything."""
        assert self._session is not None
        assert self._agent is not None
        session = self._session
        try:
            await session.opened()
            # The first message may have brought more.
            self.params = remembered(self.params | session.protocol.params)
            self.settings = dict(self.params)
            self.state = "open"
            on_open()
            await self._agent.run()
        except RtcPeerError as exc:
            self.failure = f"{type(exc).__name__}: {exc}"
        except Exception as exc:
            logger.exception("the agent of a call failed")
            self.failure = type(exc).__name__
        finally:
            await session.close()
            self._stats = session.stats()
            self.state = "closed"
            # A hundred calls are remembered: their sessions must not be.
            self._session = self._agent = None

    def change(self, scenario: Scenario) -> None:
        """Play another scenario from here on."""
        if self._agent is not None:
            self._agent.change(scenario)

    def fail_sound(self) -> None:
        """Let what is heard break off, if it is no conversation."""
        if self._agent is not None:
            self._agent.fail_sound()

    async def hang_up(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def vanish(self) -> None:
        if self._session is not None:
            await self._session.abandon()

    def impair(self, conditions: NetworkConditions) -> None:
        """Do this to the mock's datagrams of this call from now on."""
        if self._session is not None and self._session.link is not None:
            self._session.link.impair(conditions)

    def close_channel(self) -> None:
        if self._session is not None and self._session.link is not None:
            self._session.link.close_channel()

    @property
    def received(self) -> list[Said]:
        """What the other side said in messages, in order; what was malformed is an ``ErrorReported``."""
        return [entry.said for entry in self._received]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types, without the token and without SDP."""
        stats = self._stats if self._session is None else self._session.stats()
        closed = self._closed
        return {
            "id": self.id,
            "protocol": self.protocol,
            "state": self.state,
            "started_at": self.started_at,
            "failure": self.failure,
            "closed": None if closed is None else {"reason": closed.reason, "detail": closed.detail},
            "params": {name: value for name, value in self.params.items() if name not in _PRIVATE},
            "settings": {name: value for name, value in self.settings.items() if name not in _PRIVATE},
            "received": [{"t": entry.t, **entry.said.to_dict()} for entry in self._received],
            "transcripts_from": "scenario",
            "interruptions": [round(played, 3) for played in self.interruptions],
            "audio_seconds_in": round(self._frames["in"] * FRAME_DURATION, 2),
            "audio_seconds_out": round(self._frames["out"] * FRAME_DURATION, 2),
            "video_frames": stats["inbound_video"]["frames_received"],
            "stats": stats,
        }

    def _tap(self, position: int, said: NDArray[np.int16], heard: NDArray[np.int16]) -> None:
        self._frames["out"] += _audible(said)
        self._frames["in"] += _audible(heard)
        if self.tape is not None:
            self.tape.write(position, said, heard)

    def _note(self, entry: Entry) -> None:
        match entry.said:
            case UpdateSession():
                changes = dataclasses.asdict(entry.said)
                self.settings |= remembered({name: value for name, value in changes.items() if value is not None})
            case Closed():
                self._closed = entry.said
        if isinstance(entry.said, (Command, Unknown, ErrorReported, DtmfReceived)):
            self._received.append(Entry(entry.t, _shortened(entry.said)))


PARAMS_LIMIT = 50_000
"""Characters, and as many numbers, of a call's parameters that are remembered."""


def remembered(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return as much of a caller's parameters as a hundred calls can hold; what is cut off ends in ``…``."""
    left = PARAMS_LIMIT

    def cut(value: Any) -> Any:
        nonlocal left
        left -= 1
        if isinstance(value, str):
            kept = value if len(value) <= left else value[: max(0, left)] + "…"
            left -= len(kept)
            return kept
        if isinstance(value, Mapping):
            found: dict[str, Any] = {}
            for name, item in value.items():
                if left <= 0:
                    return found | {"…": None}
                found[cut(str(name))] = cut(item)
            return found
        if isinstance(value, (list, tuple)):
            items = []
            for item in value:
                if left <= 0:
                    items.append("…")
                    break
                items.append(cut(item))
            return items
        return value

    kept: dict[str, Any] = cut(params)
    return kept


_PRIVATE = ("mcp_server", "email")
"""Call parameters that hold somebody's secrets or name."""


def _audible(pcm: NDArray[np.int16]) -> bool:
    # −50 dBFS: a decoder leaves a bit or two in what was sent as silence.
    return bool(pcm.max() > 100 or pcm.min() < -100)


def _shortened(said: Said) -> Said:
    long: dict[str, Any] = {}
    for field in dataclasses.fields(said):
        match getattr(said, field.name):
            case str(value) if len(value) > TEXT_LIMIT:
                long[field.name] = value[:TEXT_LIMIT]
            case tuple(value) if sum(map(len, map(str, value))) + len(value) > TEXT_LIMIT:
                long[field.name] = ("…",)
    return dataclasses.replace(said, **long) if long else said
