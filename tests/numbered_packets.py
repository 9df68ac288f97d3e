"""Packets whose samples say where they come from, and a call that listens to a playout of them."""

from __future__ import annotations

import itertools

import numpy as np

from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.errors import MediaError

FRAME = 960
VOICE, OTHER, UNKNOWN, NARROW = 96, 97, 101, 0


class Numbered:
    """Decodes a payload ``number,samples[,fec]`` to that many samples of 1000 + 10 × number; made-up ones are 1."""

    clock_rate = 48_000

    def __init__(self) -> None:
        self.resets = 0

    def _read(self, payload: bytes) -> tuple[int, int, bool]:
        try:
            number, samples, *fec = payload.decode().split(",")
            return int(number), int(samples), bool(fec)
        except ValueError as exc:
            raise MediaError("malformed") from exc

    def decode(self, payload: bytes) -> np.ndarray:
        if len(payload) <= 2:
            return np.full((FRAME, 1), 2, np.int16)  # DTX
        number, samples, _ = self._read(payload)
        return np.full((samples, 1), 1000 + 10 * (number % 3000), np.int16)

    def has_fec(self, payload: bytes) -> bool:
        return payload.endswith(b",fec")

    def recover(self, next_payload: bytes, samples: int) -> np.ndarray:
        return np.full((samples, 1), 1000 + 10 * (self._read(next_payload)[0] - 1), np.int16)

    def conceal(self, samples: int) -> np.ndarray:
        return np.ones((samples, 1), np.int16)

    def reset(self) -> None:
        self.resets += 1


def packet(
    number: int,
    *,
    sequence: int = 1000,
    timestamp: int = 50_000,
    samples: int = FRAME,
    ssrc: int = 7,
    payload_type: int = VOICE,
    fec: bool = False,
    payload: bytes | None = None,
) -> MediaPacket:
    """The ``number``-th of a stream that began with those two numbers."""
    return MediaPacket(
        (sequence + number) & 0xFFFF,
        (timestamp + number * samples) & 0xFFFF_FFFF,
        payload_type,
        ssrc,
        payload if payload is not None else f"{number},{samples}{',fec' if fec else ''}".encode(),
    )


class Narrow(Numbered):
    """The same with an RTP clock of 8 kHz, as G.711 has it."""

    clock_rate = 8_000


class Call:
    """A playout on a clock of ticks: packets are given with the tick after which they come, 5 ms later."""

    def __init__(self) -> None:
        self.playout = Playout({VOICE: Numbered, OTHER: Numbered, NARROW: Narrow})
        self.tick = 0
        self.operations: list[str] = []
        self.heard: list[int] = []
        """The number of each packet heard, in order, once for each frame it is heard in."""

    @property
    def now(self) -> float:
        return self.tick * 0.02

    @property
    def stats(self):
        return self.playout.stats

    def run(self, *arriving: MediaPacket, ticks: int = 1) -> Call:
        for n in range(ticks):
            if n == 0:
                for each in arriving:
                    self.playout.put(each, self.now + 0.005)
            self.tick += 1
            frame = self.playout.get(self.now)
            assert (FRAME, 1) == frame.samples.shape
            assert np.int16 == frame.samples.dtype
            self.operations.append(frame.operation)
            # What lasts less than half a millisecond is a cross-fade.
            for value, run in itertools.groupby(frame.samples[:, 0].tolist()):
                if value >= 1000 and sum(1 for _ in run) > 24:
                    self.heard.append((value - 1000) // 10)
        return self

    def stream(self, numbers: range, **kwargs) -> Call:
        """One packet a tick."""
        for number in numbers:
            self.run(packet(number, **kwargs))
        return self

    @property
    def numbers(self) -> list[int]:
        """The packets heard, in order."""
        return [number for number, _ in itertools.groupby(self.heard)]
