"""G.711, both laws (ITU-T G.711, 1988): 8 kHz, one byte a sample, an RTP clock of 8 kHz (RFC 3551, 4.5.14).

What it gives and takes here is 48 kHz; the way there and back costs 4 ms. G.711 has no concealment of its own:
the last period of the voice is repeated and faded (after its Appendix I), over noise as loud as the quietest that was
heard.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..formats import VOICE, AudioFormat
from .resample import Resampler
from .stretch import LONGEST, find_period

Law = Literal["mu", "A"]

_NARROW = AudioFormat(8_000, 1)
_FACTOR = VOICE.sample_rate // _NARROW.sample_rate
# RFC 3551 names no limit. This is Opus's, 120 ms, and more than a telephone ever sends.
_MAX_PAYLOAD = 120 * _NARROW.sample_rate // 1000

_MS = VOICE.sample_rate // 1000
# Appendix I: at full strength for 10 ms, then 20 % less each 10 ms.
_HOLD, _FADE = 10 * _MS, 50 * _MS
_SEAM = 4 * _MS
_HISTORY = 2 * LONGEST
# How fast the noise is believed to have become louder, a frame: 6 dB in about 3 s.
_NOISE_GROWTH = 1.005
# What never falls below -45 dBFS is no noise but a tone.
_LOUDEST_NOISE = 32768 * 10 ** (-45 / 20)


@cache
def expansion(law: Law) -> NDArray[np.int16]:
    """Return the 16-bit value of each of the 256 codes."""
    code = np.arange(256)
    if law == "mu":
        code = ~code & 0xFF
        size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
        negative = code & 0x80 != 0
    else:
        code = code ^ 0x55
        segment, step = code >> 4 & 7, ((code & 0x0F) << 4) + 8
        size = np.where(segment == 0, step, step + 0x100 << np.maximum(segment, 1) - 1)
        negative = code & 0x80 == 0
    return np.where(negative, -size, size).astype(np.int16)


@cache
def compression(law: Law) -> NDArray[np.uint8]:
    """Return the code of each 16-bit value, whose place is ``value & 0xFFFF``; as ITU-T G.191's own code has it."""
    value = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32)
    size = np.where(value < 0, ~value, value)
    if law == "mu":
        size = np.minimum((size >> 2) + 33, 0x1FFF)
        segment = np.frexp(size)[1] - 6
        code = ~(segment << 4 | size >> segment + 1 & 0x0F) & 0x7F
    else:
        size >>= 4
        segment = np.maximum(np.frexp(size)[1] - 4, 0)
        code = (segment << 4 | size >> np.maximum(segment, 1) - 1 & 0x0F) ^ 0x55
    code = np.where(value < 0, code, code | 0x80 if law == "mu" else code ^ 0x80)
    return np.asarray(code, np.uint8)


class _Steady:
    """A resampler that gives its share at once, exactly: what it holds back at first is made up for with silence."""

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self._resampler = Resampler(source, target)
        self._source, self._target = source.sample_rate, target.sample_rate
        self._ready: NDArray[np.int16] = np.empty((0, 1), np.int16)

    def feed(self, pcm: NDArray[np.int16]) -> NDArray[np.int16]:
        wanted = len(pcm) * self._target // self._source
        self._ready = np.concatenate((self._ready, self._resampler.feed(pcm)))
        if (short := wanted - len(self._ready)) > 0:
            self._ready = np.concatenate((np.zeros((short, 1), np.int16), self._ready))
        out, self._ready = self._ready[:wanted], self._ready[wanted:]
        return out


class G711Encoder:
    """One outgoing stream."""

    clock_rate = _NARROW.sample_rate

    def __init__(self, law: Law) -> None:
        self._table = compression(law)
        self._narrow = _Steady(VOICE, _NARROW)

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """Encode ``(samples, 1)`` at 48 kHz, samples a multiple of 6."""
        return self._table[self._narrow.feed(pcm)[:, 0].view(np.uint16)].tobytes()


class G711Decoder:
    """One incoming stream."""

    clock_rate = _NARROW.sample_rate

    def __init__(self, law: Law) -> None:
        self._table = expansion(law)
        self.reset()

    def reset(self) -> None:
        """Forget the stream, as if just made."""
        self._wide = _Steady(_NARROW, VOICE)
        self._past: NDArray[np.int16] = np.zeros((_HISTORY, 1), np.int16)
        self._noise = _LOUDEST_NOISE  # RMS
        self._random = np.random.default_rng(711)
        self._made = 0  # samples since the last decoded one
        self._cycle: NDArray[np.float32] = np.zeros(LONGEST, np.float32)

    def decode(self, payload: bytes) -> NDArray[np.int16]:
        """Decode one packet of up to 120 ms: ``(samples, 1)`` at 48 kHz.

        Raises:
            MediaError: the payload is empty or longer.
        """
        if not 0 < len(payload) <= _MAX_PAYLOAD:
            raise MediaError(f"a G.711 payload of {len(payload)} bytes: expected 1 to {_MAX_PAYLOAD}")
        pcm = self._wide.feed(self._table[np.frombuffer(payload, np.uint8)][:, None])
        self._learn_noise(pcm)
        if self._made:
            seam = min(_SEAM, len(pcm))
            ramp = np.linspace(0, 1, seam, endpoint=False, dtype=np.float32)[:, None]
            pcm = pcm.copy()
            pcm[:seam] = np.rint(pcm[:seam] * ramp + self._continue(seam) * (1 - ramp))
            self._made = 0
        self._past = np.concatenate((self._past, pcm))[-_HISTORY:]
        return pcm

    def has_fec(self, payload: bytes) -> bool:
        """No packet carries another one again."""
        return False

    def recover(self, next_payload: bytes, samples: int) -> NDArray[np.int16]:
        """Conceal: there is nothing to recover from."""
        return self.conceal(samples)

    def conceal(self, samples: int) -> NDArray[np.int16]:
        """Continue the sound by ``samples`` at 48 kHz that never came; going on, it fades to noise."""
        if not self._made:
            self._cycle = self._last_period()
        return self._continue(samples)

    def _continue(self, samples: int) -> NDArray[np.int16]:
        at = self._made + np.arange(samples)
        voice = self._cycle[at % len(self._cycle)]
        strength = np.clip(1 - (at - _HOLD) / _FADE, 0, 1).astype(np.float32)
        noise = self._random.standard_normal(samples, np.float32) * self._noise
        self._made += samples
        made = voice * strength + noise * np.sqrt(1 - strength**2)
        return np.asarray(np.rint(np.clip(made, -32768, 32767)), np.int16)[:, None]

    def _last_period(self) -> NDArray[np.float32]:
        """Return what is to be repeated, its end made to fit on to its beginning."""
        # Backwards, so that it is the newest sound whose period is looked for.
        period = find_period(self._past[::-1], like=0.5) or LONGEST
        seam = period // 4
        cycle = self._past[-period:, 0].astype(np.float32)
        before = self._past[-period - seam : -period, 0]
        # The first of it follows what was heard last; where the cycle closes, what came before it leads back there.
        ramp = np.linspace(0, 1, seam, endpoint=False, dtype=np.float32)
        cycle[-seam:] = cycle[-seam:] * (1 - ramp) + before * ramp
        return cycle

    def _learn_noise(self, pcm: NDArray[np.int16]) -> None:
        x = pcm[:, 0].astype(np.float32)
        level = float(np.sqrt(x @ x / len(x)))
        self._noise = min(level, _LOUDEST_NOISE, self._noise * _NOISE_GROWTH + 0.01)
