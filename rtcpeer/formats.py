"""The shape of audio: rate and channels. Samples are always signed 16-bit."""

from __future__ import annotations

from dataclasses import dataclass

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
