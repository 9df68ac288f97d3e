"""Files that are written by a thread while a call runs, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MediaError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

logger = logging.getLogger(__name__)

_INTERVAL = 0.25
"""Seconds between two visits of the thread. Waking it for every frame would cost the loop more than the copy does."""
_CLOSE_TIMEOUT = 5.0


class Disk(io.FileIO):
    """An unbuffered file that takes all of a write or raises: a disk that is nearly full takes a part in silence."""

    failure: OSError | None = None
    """The last write that failed."""

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as exc:
            self.failure = exc
            raise
        return size

    def reason(self, exc: Exception) -> Exception:
        """Return why writing failed: FFmpeg, between us and the file, may know only that it did."""
        return self.failure or exc


class DiskWriter(ABC):
    """A thread that looks four times a second for what is to be written; ``start`` it once the file is open.

    A failure while the call runs does not end the call: it is kept in ``error``, and ``on_error`` is called once, on
    the event loop.
    """

    _disk: Disk
    """What is written to; set before ``start``."""

    def __init__(self, path: str | os.PathLike[str], on_error: Callable[[MediaError], None] | None) -> None:
        self.path = Path(path)
        self.error: MediaError | None = None
        self._on_error = on_error
        self._closing = threading.Event()
        # A daemon: a disk that never answers must not keep the process alive. In every other case close() ends it.
        self._thread = threading.Thread(target=self._run, name=f"recorder {self.path.name}", daemon=True)

    def close(self) -> None:
        """Write what is queued, finish the file and wait for it, 5 s at most; never raises, see ``error``."""
        self._finish()
        self._report()

    async def aclose(self) -> None:
        """``close()`` without holding up the event loop."""
        self._closing.set()
        await asyncio.to_thread(self._finish)
        self._report()

    @abstractmethod
    def _drain(self, *, last: bool) -> None:
        """Write what is queued; on the thread. May raise anything. ``last``: nothing follows."""

    @abstractmethod
    def _close_file(self) -> None:
        """Finish and close the file; on the thread, even if ``_drain`` raised."""

    @abstractmethod
    def _give_up(self) -> None:
        """Count what is queued as dropped; on the thread, which ends."""

    def _finish(self) -> None:
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT)
        if self._thread.is_alive() and self.error is None:
            self.error = MediaError(
                f"{self.path}: the disk did not take the end of the recording within {_CLOSE_TIMEOUT:g} s"
            )

    def _report(self) -> None:
        if self.error is not None and self._on_error is not None:
            callback, self._on_error = self._on_error, None
            callback(self.error)

    def _failure(self, exc: Exception) -> MediaError:
        error = MediaError(f"cannot write {self.path}: {getattr(exc, 'strerror', None) or exc}")
        error.__cause__ = exc
        return error

    def _run(self) -> None:
        try:
            try:
                closing = False
                while not closing:
                    closing = self._closing.wait(_INTERVAL)
                    self._drain(last=closing)
            finally:
                self._close_file()
        except Exception as raised:
            exc = self._disk.reason(raised)
            # The thread's border: whatever it is, the call goes on, and the user is told.
            level = logging.WARNING if self._on_error is None else logging.INFO  # then it is said there
            logger.log(level, "the recording stopped: %s", exc)
            if self.error is None:
                self.error = self._failure(exc)
            self._give_up()
