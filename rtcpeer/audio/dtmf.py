"""Keys of a telephone: as telephone events beside the audio (RFC 4733), as the tones they once were (ITU-T Q.23).

Pure: ``EventSender`` is asked every 20 ms, ``EventReceiver`` is told the time. RTP timestamps count at the
rate of the audio that the events stand in for.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..formats import FRAME_DURATION, VOICE
from .sources import Source

DIGITS = "0123456789*#ABCD"
"""By their event codes (RFC 4733, 3.2)."""

_RATE = VOICE.sample_rate
_FINALS = 3  # RFC 4733, 2.5.1.4: the final packet is sent three times
_MAX_SEGMENT = 0xFFFF
_COMMA = 2.0
"""Seconds of pause (W3C WebRTC, 7: insertDTMF)."""
_MAX_WAITING = 256
# An event whose end was lost three times over is over when nothing was heard of it for so long.
_TIMEOUT = 0.3

_payload = struct.Struct("!BBH")


def check_digits(digits: str, duration: float, gap: float) -> str:
    """Return the digits in upper case.

    Raises:
        ConfigurationError: something that is no key, or a duration that the far end may take for another.
    """
    keys = digits.upper()
    if wrong := sorted(set(keys) - set(DIGITS + ",")):
        raise ConfigurationError(f"{''.join(wrong)!r} is on no telephone: give digits from {DIGITS}, and ',' for 2 s")
    if not 0.04 <= duration <= 6.0:
        raise ConfigurationError(f"a digit of {duration} s: give 0.04 to 6")
    if not 0.03 <= gap <= 6.0:
        raise ConfigurationError(f"a gap of {gap} s: give 0.03 to 6")
    return keys


@dataclass(frozen=True, slots=True)
class EventPacket:
    """One telephone-event packet to be sent."""

    payload: bytes
    offset: int
    """Ticks from the beginning of the event to that of its segment: the RTP timestamp is the two together."""
    first: bool
    """Of its event: it carries the marker, and now is when the event begins."""


class EventSender:
    """What goes out in place of audio while keys are pressed: ask once every 20 ms.

    Args:
        clock_rate: Ticks of the RTP timestamp a second.
        volume: −dBm0 of the tone that the far end may make of it, 0 to 63.
    """

    def __init__(self, clock_rate: int = VOICE.sample_rate, *, volume: int = 10) -> None:
        self._clock_rate = clock_rate
        self._volume = volume
        self._waiting: deque[tuple[str, int, int]] = deque()
        self._steps: Iterator[EventPacket | None] = iter(())
        self.active = False
        """Something is being sent, or waits to be; ``next`` need not be asked otherwise."""

    @property
    def done(self) -> bool:
        """Nothing is left to be sent."""
        return not self.active

    def add(self, digits: str, duration: float, gap: float) -> None:
        """Queue digits, each followed by a gap. Raises ConfigurationError: see ``check_digits``; or too many wait."""
        keys = check_digits(digits, duration, gap)
        if len(self._waiting) + len(keys) > _MAX_WAITING:
            raise ConfigurationError(f"more than {_MAX_WAITING} digits are waiting to be sent")
        pause = math.ceil(round(gap / FRAME_DURATION, 6))
        self._waiting.extend((key, round(duration * self._clock_rate), pause) for key in keys)
        self.active = bool(self._waiting)

    def next(self) -> EventPacket | None:
        """Return what to send in these 20 ms; ``None``: the audio."""
        while True:
            for step in self._steps:
                return step
            if not self._waiting:
                self.active = False
                return None
            key, length, pause = self._waiting.popleft()
            self._steps = (
                self._silence(round(_COMMA / FRAME_DURATION)) if key == "," else self._event(key, length, pause)
            )

    def _silence(self, frames: int) -> Iterator[None]:
        for _ in range(frames):
            yield None

    def _event(self, key: str, length: int, pause: int) -> Iterator[EventPacket | None]:
        elapsed = segment = 0
        first, end = True, False
        while not end:
            elapsed += self._clock_rate // 50
            reported = min(elapsed - segment, _MAX_SEGMENT)
            end = segment + reported >= length
            packet = EventPacket(self._payload(key, reported, end=end), segment, first)
            yield packet
            first = False
            if reported == _MAX_SEGMENT:
                # RFC 4733, 2.5.1.3: what does not fit the field goes on as another segment.
                segment += _MAX_SEGMENT
        for _ in range(_FINALS - 1):
            yield EventPacket(packet.payload, packet.offset, first=False)
        yield from self._silence(max(0, pause - _FINALS + 1))

    def _payload(self, key: str, duration: int, *, end: bool) -> bytes:
        return _payload.pack(DIGITS.index(key), (0x80 if end else 0) | self._volume, duration)


class EventReceiver:
    """Makes keys pressed of the packets that come, however many of them were lost."""

    def __init__(self) -> None:
        self._code: int | None = None
        self._origin = 0  # timestamp of the segment that goes on
        self._before = 0  # ticks in segments that are over
        self._duration = 0
        self._clock_rate = VOICE.sample_rate
        self._seen_at = 0.0
        self._over: deque[int] = deque(
            maxlen=4
        )  # timestamps of events that were reported: their last packets come thrice

    def put(self, payload: bytes, timestamp: int, now: float, clock_rate: int) -> tuple[str, float] | None:
        """Take a packet; return the key and its seconds once it was released."""
        if len(payload) < _payload.size:
            return None
        code, flags, duration = _payload.unpack_from(payload)
        if code >= len(DIGITS) or timestamp in self._over:
            return None
        ended = None
        if self._code is not None and (code != self._code or timestamp != self._origin):
            if code == self._code and timestamp == (self._origin + _MAX_SEGMENT) & 0xFFFF_FFFF:
                self._before += _MAX_SEGMENT
                self._over.append(self._origin)
                self._origin, self._duration = timestamp, 0
            elif (timestamp - self._origin) & 0xFFFF_FFFF >= 0x8000_0000:
                return None  # a straggler of an event before this one
            else:
                ended = self._end()  # every packet that said so was lost
        if self._code is None:
            self._code, self._origin, self._before, self._duration = code, timestamp, 0, 0
        self._duration = max(self._duration, duration)
        self._clock_rate = clock_rate
        self._seen_at = now
        return ended or (self._end() if flags & 0x80 else None)

    @property
    def active(self) -> bool:
        """A key is held down."""
        return self._code is not None

    def expire(self, now: float) -> tuple[str, float] | None:
        """Return the key of which nothing was heard for 0.3 s."""
        return self._end() if self._code is not None and now - self._seen_at >= _TIMEOUT else None

    def _end(self) -> tuple[str, float]:
        assert self._code is not None
        digit, duration = DIGITS[self._code], (self._before + self._duration) / self._clock_rate
        self._code = None
        self._over.append(self._origin)
        return digit, duration


class DtmfSource(Source):
    """The digits as pairs of tones, for a far end that knows no telephone events; ``,`` is a pause of 2 s.

    Args:
        level: dBFS of each of the two tones; the higher one has the usual 2 dB more (ITU-T Q.24, Annex A).

    Raises:
        ConfigurationError: something that is no key, or a duration out of range.
    """

    def __init__(self, digits: str, *, duration: float = 0.1, gap: float = 0.05, level: float = -12.0) -> None:
        keys = check_digits(digits, duration, gap)
        if not -60.0 <= level <= -8.0:
            raise ConfigurationError(
                f"a level of {level} dBFS: give -60 to -8, two tones fill the range sooner than one"
            )
        self._digits = digits
        self._waiting = deque(keys)
        self._duration, self._gap, self._level = duration, gap, level
        self._pcm: NDArray[np.int16] = np.empty((0, 1), np.int16)

    @property
    def name(self) -> str:
        return f"DTMF {self._digits}"

    def read(self, samples: int) -> NDArray[np.int16] | None:
        while len(self._pcm) == 0:
            if not self._waiting:
                return None
            self._pcm = self._tones(self._waiting.popleft())
        pcm, self._pcm = self._pcm[:samples], self._pcm[samples:]
        return pcm

    def close(self) -> None:
        self._waiting.clear()
        self._pcm = self._pcm[:0]

    def _tones(self, key: str) -> NDArray[np.int16]:
        if key == ",":
            return np.zeros((round(_COMMA * _RATE), 1), np.int16)
        low, high = tones(key)
        t = np.arange(round(self._duration * _RATE)) / _RATE
        amplitude = 10 ** (self._level / 20) * 32767
        sound = amplitude * (np.sin(2 * np.pi * low * t) + 10 ** (2 / 20) * np.sin(2 * np.pi * high * t))
        # Begun and ended at once, it would click: the clicks are heard as other keys.
        ramp = np.linspace(0.0, 1.0, _RATE // 400)
        sound[: len(ramp)] *= ramp
        sound[-len(ramp) :] *= ramp[::-1]
        pause = np.zeros(round(self._gap * _RATE))
        return np.concatenate((sound, pause)).astype(np.int16)[:, None]


def tones(key: str) -> tuple[float, float]:
    """Return the two frequencies of a key in Hz (ITU-T Q.23)."""
    row, column = divmod("123A456B789C*0#D".index(key), 4)
    return (697.0, 770.0, 852.0, 941.0)[row], (1209.0, 1336.0, 1477.0, 1633.0)[column]
