"""The shape of audio: rate and channels, and how Opus is to code it. Samples are always signed 16-bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from .errors import ConfigurationError

FRAME_DURATION = 0.02
"""Seconds. Every path in this library moves audio in frames of 20 ms."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Signed 16-bit PCM; arrays of it are ``(samples, channels)``, bytes are interleaved little-endian.

    Raises:
        ConfigurationError: a rate that does not divide into 20 ms frames, or neither mono nor stereo.
    """

    sample_rate: int = 48_000
    """Hz."""
    channels: int = 1

    def __post_init__(self) -> None:
        if not 8_000 <= self.sample_rate <= 192_000 or self.sample_rate % 50:
            raise ConfigurationError(
                f"sample rate {self.sample_rate} Hz: give one from 8000 to 192000 that is a multiple of 50"
            )
        if self.channels not in (1, 2):
            raise ConfigurationError(f"{self.channels} channels: give 1 or 2")

    @property
    def frame_samples(self) -> int:
        """Samples per channel in one 20 ms frame."""
        return self.sample_rate // 50

    @property
    def frame_bytes(self) -> int:
        """Bytes in one 20 ms frame, all channels."""
        return self.frame_samples * self.channels * 2


VOICE = AudioFormat(48_000, 1)
"""What a call works in: Opus's own clock, one voice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusSettings:
    """How what we say is coded on WebRTC; the defaults sounded best at up to 40 kb/s (docs/audio-quality.md).

    Raises:
        ConfigurationError: a value out of range.
    """

    bitrate: int = 40_000
    """Bits a second, on average, from 6000 to 510 000."""
    complexity: int = 9
    """From 0, the cheapest, to 10."""
    application: Literal["voip", "audio", "lowdelay"] = "audio"
    """``voip`` filters for a voice, as libwebrtc does, ``audio`` stays closer to what it is given, voice or not;
    ``lowdelay`` is CELT alone: a quarter of the computing,
    4 ms less delay, more bits for the same sound, and no in-band FEC."""
    fec: bool = True
    """A packet may carry the one before it again; it only does once the far end reports loss."""
    dtx: bool = False
    """Silence is described once, then nothing is sent until it ends."""

    def __post_init__(self) -> None:
        if not 6_000 <= self.bitrate <= 510_000:
            raise ConfigurationError(f"opus bitrate={self.bitrate}: give one from 6000 to 510000 bits a second")
        if not 0 <= self.complexity <= 10:
            raise ConfigurationError(f"opus complexity={self.complexity}: give one from 0 to 10")
        if self.application not in ("voip", "audio", "lowdelay"):
            raise ConfigurationError(f"opus application={self.application!r}: give 'voip', 'audio' or 'lowdelay'")

    @classmethod
    def economy(cls) -> Self:
        """For many calls on one core (docs/performance.md): CELT at 48 kb/s, complexity 5."""
        return cls(bitrate=48_000, complexity=5, application="lowdelay")
