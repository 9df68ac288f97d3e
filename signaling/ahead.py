"""Speech that is made faster than it is spoken, as a service's synthesis is: it leaves before it is due."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtcpeer.audio.source import Fifo, Source
from rtcpeer.formats import VOICE
from rtcpeer.transports.websocket import WebSocketLink

PACE = 10
"""Frames that are made in the time of one."""


class Ahead(Source):
    """Plays a source in time, as the call's clock has it, and sends it ahead of that.

    Args:
        ahead: Seconds, at most.
    """

    def __init__(self, source: Source, link: WebSocketLink, ahead: float) -> None:
        self._source = source
        self._link = link
        self._limit = round(ahead * VOICE.sample_rate)
        self._fifo = Fifo()  # what was sent and is not due yet
        self._ended = False

    @property
    def name(self) -> str:
        return self._source.name

    def read(self, samples: int) -> NDArray[np.int16] | None:
        for _ in range(PACE):
            if self._ended or self._fifo.samples >= self._limit:
                break
            made = self._source.read(VOICE.frame_samples)
            if made is None:
                self._ended = True
                self._link.finish_ahead()
            elif len(made) == 0:
                break
            else:
                self._link.send_ahead(made)
                self._fifo.put(made)
        return None if self._ended and self._fifo.samples == 0 else self._fifo.take(samples)

    def close(self) -> None:
        self._ended = True
        self._fifo.clear()
        self._source.close()
        self.closing = self._source.closing
