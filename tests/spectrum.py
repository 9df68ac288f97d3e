"""What a tone is worth, measured: dominant frequency and level, by numpy alone.

Tests of media assert on these rather than on packet counts: packets may arrive and carry the wrong sound. Audio in
here is ``float64`` of ±1.0, shape ``(samples, channels)``; full scale is 0 dBFS for a sine that touches ±1.0.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SILENCE = -120.0
"""dBFS; nothing is reported lower, so that digital silence compares as a number."""


def tone(frequency: float, seconds: float, sample_rate: int = 48_000, level: float = -12.0) -> NDArray[np.int16]:
    """Return a sine at ``level`` dBFS as mono PCM, ``(samples, 1)``."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    sine = 10 ** (level / 20) * np.sin(2 * np.pi * frequency * time)
    return np.round(32767 * sine).astype(np.int16)[:, np.newaxis]


def write_wav(path: Path, pcm: NDArray[np.int16], sample_rate: int = 48_000) -> Path:
    """Write ``(samples, channels)`` PCM as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path


def read_wav(data: bytes) -> tuple[NDArray[np.float64], int]:
    """Return the samples of a 16-bit WAV file and its rate; one still being written is read as far as it goes."""
    with wave.open(io.BytesIO(data), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{8 * file.getsampwidth()}-bit WAV: only 16-bit is read here")
        channels, sample_rate = file.getnchannels(), file.getframerate()
        raw = file.readframes(file.getnframes())
    whole = len(raw) - len(raw) % (2 * channels)
    return as_float(np.frombuffer(raw[:whole], "<i2").reshape(-1, channels)), sample_rate


def as_float(pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    """PCM ``(samples, channels)`` as ±1.0."""
    return pcm.astype(np.float64) / 32768


def _power(mono: NDArray[np.float64], sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies in Hz and the mean square at each, scaled so that their sum is the signal's."""
    window = np.hanning(len(mono))
    lines = np.abs(np.fft.rfft(mono * window)) ** 2 / (len(mono) * np.sum(window**2))
    lines[1:] *= 2  # the negative frequencies, folded over
    return np.fft.rfftfreq(len(mono), 1 / sample_rate).astype(np.float64), lines


def _mono(audio: NDArray[np.float64]) -> NDArray[np.float64]:
    """One channel only: averaging two could cancel what is being measured."""
    if audio.ndim != 2 or audio.shape[1] != 1:
        raise ValueError(f"shape {audio.shape}: give one channel, (samples, 1)")
    return audio[:, 0]


def dominant_frequency(audio: NDArray[np.float64], sample_rate: int, *, above: float = 50.0) -> float:
    """Return the strongest frequency over ``above`` Hz in ``(samples, 1)``; between two lines, by a parabola.

    With half a second of audio a steady tone is found to within 1 Hz.
    """
    frequencies, lines = _power(_mono(audio), sample_rate)
    lines = np.where(frequencies >= above, lines, 0.0)
    peak = int(np.argmax(lines))
    if not 0 < peak < len(lines) - 1 or lines[peak] == 0.0:
        return float(frequencies[peak])
    left, middle, right = np.log(np.maximum(lines[peak - 1 : peak + 2], 1e-30))
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    return float(frequencies[peak] + offset * frequencies[1])


def band_level(audio: NDArray[np.float64], sample_rate: int, low: float, high: float) -> float:
    """Return the level in dBFS of ``(samples, 1)`` from ``low`` to ``high`` Hz."""
    frequencies, lines = _power(_mono(audio), sample_rate)
    power = float(np.sum(lines[(frequencies >= low) & (frequencies <= high)]))
    return max(SILENCE, 10 * float(np.log10(max(2 * power, 1e-30))))


def tone_level(audio: NDArray[np.float64], sample_rate: int, frequency: float) -> float:
    """Return the level in dBFS within 20 Hz of ``frequency``: of a clean tone, its own level."""
    return band_level(audio, sample_rate, frequency - 20, frequency + 20)


def loudest(audio: NDArray[np.float64], sample_rate: int, seconds: float = 1.0) -> NDArray[np.float64]:
    """Return the ``seconds`` of ``(samples, 1)`` that hold the most energy: a recording's silence left out."""
    mono = _mono(audio)
    length = min(len(mono), round(seconds * sample_rate))
    energy = np.concatenate(([0.0], np.cumsum(mono**2)))
    start = int(np.argmax(energy[length:] - energy[: len(energy) - length]))
    return audio[start : start + length]
