"""How what was heard differs from what was said: delay over time, speech lost to silence, PESQ-WB, PLCMOS.

Both signals lie on one clock: sample 0 of each is the same moment. ``sent`` starts when its first sample was handed
to the sender, a sample of ``heard`` stands where the receiver gave it out; so the delay between them is mouth to ear,
sound cards left out. Arrays are ``(samples,)`` float32 from -1 to 1 at 16 kHz: PESQ-WB listens at that rate.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pesq import NoUtterancesError, PesqError, pesq
from scipy.signal import resample_poly

from .speech import RATE as SOURCE_RATE
from .speech import Utterance

RATE = 16_000
Signal = NDArray[np.float32]

# A window long enough to be told from its neighbours, short enough to see the delay move.
_WINDOW = RATE * 240 // 1000
_HOP = RATE * 60 // 1000
_LONGEST_DELAY = 1.2
_ALIKE = 0.7
# 20 ms of the sent speech above this level are speech; of the heard, below that one, are silence.
_CELL = RATE // 50
_SPEECH = -40.0  # dB below the loudest 20 ms
_SILENCE = -36.0  # dB below what was sent there


def at_16k(pcm: NDArray[np.int16]) -> Signal:
    """Bring ``(samples,)`` int16 at 48 kHz to the rate of the measurement."""
    resampled: Signal = resample_poly(pcm.astype(np.float32) / 32768, 1, SOURCE_RATE // RATE).astype(np.float32)
    return resampled


@dataclass(slots=True)
class Measured:
    """One cell of the table."""

    pesq: float
    """PESQ-WB (ITU-T P.862.2), 1.0 to 4.64: the median of the sentences."""
    pesq_whole: float
    """The same of all 20 s at once: sees an outage that most sentences are spared."""
    silence: float
    """Share of the speech in whose place nothing was heard: 0 to 1."""
    delay: float
    """Median mouth-to-ear delay in seconds."""
    level: float
    """dB that what was heard is louder than what was sent."""
    delays: list[tuple[float, float]] = field(default_factory=list)
    """(when it was heard, delay), both in seconds, wherever the two signals could be matched."""
    plcmos: float | None = None

    def delay_between(self, begin: float, end: float) -> float | None:
        """Return the median delay of what was heard between two moments."""
        found = [delay for heard, delay in self.delays if begin <= heard < end]
        return float(np.median(found)) if found else None


def measure(
    sent: Signal, heard: Signal, utterances: Sequence[Utterance], begin: int, *, plcmos: bool = False
) -> Measured:
    """Compare.

    Args:
        utterances: In samples of the source, counted from ``begin``.
        begin: Where, in samples of the source, that starts which is to be measured.
    """
    start = begin * RATE // SOURCE_RATE
    spans = [
        (start + each.begin * RATE // SOURCE_RATE, start + each.end * RATE // SOURCE_RATE) for each in utterances
    ]
    heard = np.concatenate((heard, np.zeros(max(0, len(sent) + 2 * RATE - len(heard)), np.float32)))
    delays = delay_over_time(sent, heard)
    measured = [(when, delay) for when, delay in delays if when >= start / RATE]
    if not measured:
        return Measured(1.0, 1.0, 1.0, float("nan"), float("-inf"))
    typical = float(np.median([delay for _, delay in measured]))
    scores = [_utterance_pesq(sent, heard, span, delays, typical) for span in spans]
    whole = _shifted(heard, (start, len(sent)), typical)
    speech = np.concatenate([sent[a:b] for a, b in spans])
    back = np.concatenate([_shifted(heard, span, typical) for span in spans])
    return Measured(
        pesq=float(np.median(scores)),
        pesq_whole=_pesq(sent[start:], whole),
        silence=_silence(sent, heard, spans, delays, typical),
        delay=typical,
        level=10 * float(np.log10((back @ back + 1e-12) / (speech @ speech))),
        delays=[(round(when - start / RATE, 3), round(delay, 4)) for when, delay in measured],
        plcmos=_plcmos(whole) if plcmos else None,
    )


def delay_over_time(sent: Signal, heard: Signal) -> list[tuple[float, float]]:
    """Match each window of what was heard with what was sent up to 1.2 s before it: (seconds, delay) where found."""
    longest = int(_LONGEST_DELAY * RATE)
    size = 1 << (longest + 2 * _WINDOW - 1).bit_length()
    loudest = float(np.max(np.square(sent).reshape(-1, _CELL).mean(axis=1))) if len(sent) >= _CELL else 0.0
    found = []
    for begin in range(longest, len(heard) - _WINDOW, _HOP):
        window = heard[begin : begin + _WINDOW]
        energy = float(window @ window)
        if energy / _WINDOW < loudest * 10 ** (_SPEECH / 10):
            continue
        # lag 0 is at the end: what was sent at this very moment. A little beyond, for what the filters smear.
        stretch = sent[begin - longest : begin + _WINDOW]
        if len(stretch) < longest + _WINDOW:
            stretch = np.concatenate((stretch, np.zeros(longest + _WINDOW - len(stretch), np.float32)))
        spectrum = np.fft.rfft(stretch, size) * np.conj(np.fft.rfft(window, size))
        cross = np.fft.irfft(spectrum, size)[: longest + 1]
        power = np.concatenate(([0.0], np.cumsum(np.square(stretch, dtype=np.float64))))
        power = power[_WINDOW : _WINDOW + longest + 1] - power[: longest + 1]
        likeness = cross / np.sqrt(np.maximum(power, 1e-9) * energy)
        best = int(np.argmax(likeness))
        if likeness[best] >= _ALIKE:
            found.append((begin / RATE, (longest - best) / RATE))
    return _without_strays(found)


def _without_strays(found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Drop a match that neither neighbour bears out: a vowel is like its own next period."""
    kept = []
    for number, (when, delay) in enumerate(found):
        near = [other for _, other in found[max(0, number - 2) : number] + found[number + 1 : number + 3]]
        if any(abs(delay - other) < 0.025 for other in near):
            kept.append((when, delay))
    return kept


def _delay_at(delays: Sequence[tuple[float, float]], moment: float, typical: float) -> float:
    """Return the delay of what was *sent* at that moment."""
    if not delays:
        return typical
    times = np.array([when - delay for when, delay in delays])
    return delays[int(np.argmin(np.abs(times - moment)))][1]


def _shifted(heard: Signal, span: tuple[int, int], delay: float) -> Signal:
    offset = round(delay * RATE)
    begin, end = span[0] + offset, span[1] + offset
    part = heard[max(0, begin) : end]
    return np.concatenate((np.zeros(end - begin - len(part), np.float32), part)) if begin < 0 else part


def _utterance_pesq(
    sent: Signal, heard: Signal, span: tuple[int, int], delays: Sequence[tuple[float, float]], typical: float
) -> float:
    within = [delay for when, delay in delays if span[0] <= (when - delay) * RATE < span[1]]
    delay = float(np.median(within)) if within else typical
    return _pesq(sent[span[0] : span[1]], _shifted(heard, span, delay))


def _pesq(reference: Signal, degraded: Signal) -> float:
    degraded = np.concatenate((degraded, np.zeros(max(0, len(reference) - len(degraded)), np.float32)))
    try:
        return float(pesq(RATE, reference, degraded[: len(reference)], "wb"))
    except (NoUtterancesError, PesqError, ValueError):
        return 1.0  # there is nothing in it that could be taken for speech


def _silence(
    sent: Signal,
    heard: Signal,
    spans: Sequence[tuple[int, int]],
    delays: Sequence[tuple[float, float]],
    typical: float,
) -> float:
    powers = [np.square(sent[a : a + (b - a) // _CELL * _CELL]).reshape(-1, _CELL).mean(axis=1) for a, b in spans]
    threshold = max(float(each.max()) for each in powers) * 10 ** (_SPEECH / 10)
    speech = silent = 0
    for (begin, _), power in zip(spans, powers, strict=True):
        for number in np.flatnonzero(power > threshold):
            at = begin + int(number) * _CELL
            offset = round(_delay_at(delays, at / RATE, typical) * RATE)
            # A little wider on both sides: where it was stretched, it may lie off by a period.
            near = heard[max(0, at + offset - _CELL // 2) : at + offset + _CELL + _CELL // 2]
            speech += 1
            silent += len(near) == 0 or float(near @ near) / len(near) < power[number] * 10 ** (_SILENCE / 10)
    return silent / speech


def _plcmos(heard: Signal) -> float | None:
    """PLCMOS v2 (Diener et al., Interspeech 2023), without a reference; ``None`` where speechmos is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from speechmos import plcmos

            # It asks 15 listeners drawn by numpy: the same ones each time.
            np.random.seed(0)
            found: dict[str, Any] = plcmos.run(np.clip(heard, -1, 1), RATE)
    except ImportError:
        return None
    return float(found["plcmos"])
