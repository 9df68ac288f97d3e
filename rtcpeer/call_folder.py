"""The call folder: what is left of a call when it is over, and readable while it runs.

``call.json`` says what the call was and how it ended, ``events.jsonl`` what happened, ``stats.jsonl`` the figures
once a second, ``audio.ogg`` (or ``.wav``, ``.mka``, with video ``.mkv``) what was said and heard: ours left, theirs
right; when asked for, ``received.ogg`` has the packets that came, not decoded. All are written as things happen, so
that a killed process leaves them readable up to the last second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .audio.alignment import Alignment, Block
from .audio.packets import OpusPacket
from .audio.received import PacketRecorder
from .audio.recorder import Recorder
from .errors import ConfigurationError, MediaError
from .escaping import readable_json
from .event_log import Entry
from .events import Closed, ConversationStarted, ErrorReported, SessionStarted, TurnMeasured
from .formats import VOICE
from .session import Session
from .transports.link import Link, VideoDirection
from .transports.video import FrameTimeline

logger = logging.getLogger(__name__)

RecordFormat = Literal["ogg", "wav", "mka"]

_FILES = ("events.jsonl", "stats.jsonl", "audio.ogg", "audio.wav", "audio.mka", "audio.mkv", "received.ogg")
"""What a call leaves beside ``call.json``."""
_IDS = 100
"""Ids of one kind that are kept: each reconnection may bring another."""


def check_recording(path: str | os.PathLike[str], format: str, *, overwrite: bool) -> None:
    """Check, before anything is sent, that a call can be left there.

    Raises:
        ConfigurationError: there is no such format, or the folder holds a call already.
    """
    if format not in get_args(RecordFormat):
        raise ConfigurationError(f"record_format={format!r}: give {', '.join(get_args(RecordFormat))}")
    if not overwrite and (Path(path) / "call.json").exists():
        raise ConfigurationError(
            f"{path} holds a call already: give another folder, or replace that call (overwrite, --overwrite)"
        )


EVENTS_LIMIT = 64_000_000
"""Characters of ``events.jsonl``; a day's talk is a tenth of it. What comes after is counted in ``call.json``."""


class CallFolder:
    """Writes one session's folder. Make it before the call is opened: failing to connect is part of the story.

    Args:
        about: What is known of the call beforehand, for ``call.json``; no secrets.
        overwrite: Replace a call that the folder holds; what else is in there stays.

    Raises:
        ConfigurationError: no such format; or the folder cannot be written, or holds another call.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        session: Session,
        about: dict[str, Any],
        *,
        format: RecordFormat = "ogg",
        received: bool = False,
        overwrite: bool = False,
    ) -> None:
        check_recording(path, format, overwrite=overwrite)
        self.path = Path(path)
        self._session = session
        self._about = {"started_at": datetime.now(UTC).isoformat(timespec="milliseconds")} | about
        self._turnarounds: list[float] = []
        self._events_size = 0
        self._events_left_out = 0
        self._ended: dict[str, Any] | None = None
        self._audio_name = f"audio.{format}"
        self._session_ids: deque[str] = deque(maxlen=_IDS)
        self._conversation_ids: deque[str] = deque(maxlen=_IDS)
        self._failed: set[str] = set()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if overwrite and (self.path / "call.json").exists():
                for name in (*_FILES, "call.json"):
                    (self.path / name).unlink(missing_ok=True)
            self._events = (self.path / "events.jsonl").open("w", encoding="utf-8")
            self._stats = (self.path / "stats.jsonl").open("w", encoding="utf-8")
        except OSError as exc:
            raise ConfigurationError(f"can't write to {self.path}: {exc.strerror}; give another folder") from exc
        self._recorder: Recorder | None = None
        self._alignment = Alignment()
        self._video: dict[VideoDirection, FrameTimeline] = {}
        self._packets: PacketRecorder | None = None
        self._received_at: float | None = None
        if received:
            session.undecoded.tap(self._on_packet)
        self._write_call()
        session.events.tap(self._on_event)
        session.tap(self._on_frame)
        session.on_close(self.close)

    def _on_event(self, entry: Entry) -> None:
        if isinstance(entry.said, TurnMeasured):
            self._turnarounds.append(entry.said.turnaround)
        elif isinstance(entry.said, SessionStarted):
            _remember(entry.said.id, self._session_ids)
        elif isinstance(entry.said, ConversationStarted):
            _remember(entry.said.id, self._conversation_ids)
        elif isinstance(entry.said, Closed):
            self._ended = {"t": entry.t, "reason": entry.said.reason, "detail": entry.said.detail}
        if self._events_size < EVENTS_LIMIT or isinstance(entry.said, Closed):
            self._events_size += self._append(self._events, {"t": entry.t} | entry.said.to_dict())
            return
        if not self._events_left_out:
            logger.warning("%s is full: further events are only counted", self._events.name)
        self._events_left_out += 1

    def _on_packet(self, packet: OpusPacket, is_event: bool) -> None:
        if is_event:
            return
        if self._packets is None:
            if self._received_at is not None:
                return  # it failed to open
            self._received_at = packet.t
            try:
                self._packets = PacketRecorder(self.path / "received.ogg", on_error=self._on_recorder_error)
            except MediaError as exc:
                self._on_recorder_error(exc)
                return
            self._write_call()
        self._packets.write(packet.timestamp, packet.payload)

    def _on_frame(self, position: int, ours: NDArray[np.int16], theirs: NDArray[np.int16]) -> None:
        if self._session.decodes:
            self._record(position, ours, theirs)
        if position % VOICE.sample_rate == 0:
            assert self._session.audio_started is not None
            t = self._session.audio_started + position / VOICE.sample_rate
            figures, _ = self._figures()
            self._append(self._stats, {"t": round(t, 3)} | figures)

    def _record(self, position: int, ours: NDArray[np.int16], theirs: NDArray[np.int16]) -> None:
        if self._recorder is None:
            if position:
                return  # it failed to open
            assert self._session.link is not None
            video = self._session.link.watch_video(self._on_video) if self._audio_name == "audio.mka" else ()
            if video:
                self._audio_name = "audio.mkv"
                self._session.on_relink(self._on_relink)
            try:
                self._recorder = Recorder(
                    self.path / self._audio_name,
                    sample_rate=VOICE.sample_rate,
                    video=video,
                    on_error=self._on_recorder_error,
                )
            except MediaError as exc:
                self._on_recorder_error(exc)
                return
            self._write_call()
        self._write_blocks(self._alignment.feed(position, ours, theirs, self._session.playout_delay))

    def _write_blocks(self, blocks: list[Block]) -> None:
        assert self._recorder is not None
        for block in blocks:
            self._recorder.write(*block)

    def _on_relink(self, link: Link) -> None:
        link.watch_video(self._on_video)

    def _on_video(self, direction: VideoDirection, frame: bytes, timestamp: int) -> None:
        if self._recorder is not None and self._session.audio_started is not None:
            # It is shown when it came, as what is heard is laid there too, however long the playout holds it.
            now = self._session.now() - self._session.audio_started
            position = self._video.setdefault(direction, FrameTimeline()).place(timestamp, now)
            self._recorder.write_video(direction, position, frame)

    def _on_recorder_error(self, error: MediaError) -> None:
        self._session.report(ErrorReported(str(error), code="recording"))

    def _append(self, file: Any, line: dict[str, Any]) -> int:
        """Return the characters that were written."""
        try:
            written: int = file.write(readable_json(line) + "\n")
            file.flush()
            return written
        except (OSError, ValueError) as exc:
            # The call matters more than its log; the recorder reports a full disk as an event.
            self._warn(file.name, exc)
            return 0

    def _warn(self, name: str, exc: Exception) -> None:
        """Say once of each file that it can't be written."""
        if name not in self._failed:
            self._failed.add(name)
            logger.warning("can't write %s: %s", name, getattr(exc, "strerror", None) or exc)

    def _figures(self) -> tuple[dict[str, Any], Any]:
        """Return the figures that change, and what was negotiated, which does not."""
        figures = self._session.stats()
        return figures, figures.pop("negotiated")

    def _write_call(self) -> None:
        session = self._session
        figures, negotiated = self._figures()
        call = self._about | {
            # The newest; all of them, oldest first, are in "ids".
            "session_id": self._session_ids[-1]
            if self._session_ids
            else getattr(session.protocol, "session_id", None),
            "conversation_id": session.conversation_id,
            "ids": {"session": list(self._session_ids), "conversation": list(self._conversation_ids)},
            "phases": session.phases,
            "audio": {
                "file": self._audio_name,
                "sample_rate": VOICE.sample_rate,
                "channels": ["ours", "theirs"],
                "starts_at": None if session.audio_started is None else round(session.audio_started, 4),
            }
            if session.decodes
            else None,
            # Its first packet arrived then.
            "received": None
            if self._packets is None
            else {"file": self._packets.path.name, "starts_at": self._received_at},
            "negotiated": negotiated,
            "turnarounds": self._turnarounds,
            "stats": figures,
            "ended": self._ended,
        }
        if self._events_left_out:
            call["events_left_out"] = self._events_left_out
        unfinished = self.path / "call.json.part"
        try:
            unfinished.write_text(readable_json(call, indent=2) + "\n", encoding="utf-8")
            # Renamed into place: whoever reads it never sees half of it.
            unfinished.replace(self.path / "call.json")
        except OSError as exc:
            self._warn(str(self.path / "call.json"), exc)
            with contextlib.suppress(OSError):
                unfinished.unlink()

    async def close(self) -> None:
        """Finish the recording and write how the call ended."""
        if self._recorder is not None:
            self._write_blocks(self._alignment.flush())
        for recorder in (self._recorder, self._packets):
            if recorder is not None:
                try:
                    await recorder.aclose()
                except asyncio.CancelledError:
                    recorder.close()  # the loop is ending: there is no other time
        self._write_call()
        for file in (self._events, self._stats):
            try:
                file.close()
            except OSError as exc:  # the disk is full: what it did not take is tried once more, and refused
                self._warn(file.name, exc)


def _remember(id: str, ids: deque[str]) -> None:
    if id and id not in ids:
        ids.append(id)
