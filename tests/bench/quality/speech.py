"""What is said in the audio benchmarks: the four recorded sentences of the package, 20 s of them, at 48 kHz mono."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtcpeer.audio.sources import FileSource
from signaling.scenario import speech_file

RATE = 48_000
FRAME = 960
LENGTH = 20 * RATE
WARM_UP = 5 * RATE
"""Samples said before what is measured, over the same network: receiver reports and buffers need a few seconds."""

_FILES = ("user-1.flac", "assistant-1.flac", "user-2.flac", "assistant-2.flac")


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence within the measured 20 s; ``begin`` and ``end`` are samples from their start."""

    begin: int
    end: int


def _recording(name: str) -> NDArray[np.int16]:
    source = FileSource(str(speech_file(name)))
    try:
        frames = []
        while (frame := source.read(FRAME)) is not None:
            frames.append(frame[:, 0])
    finally:
        source.close()
    return np.concatenate(frames)


def material() -> tuple[NDArray[np.int16], list[Utterance]]:
    """Return the warm-up and the measured speech as ``(samples, 1)``, and where its sentences are."""
    recordings = [_recording(name) for name in _FILES]
    # What is left of the 20 s goes between the sentences.
    gap = (LENGTH - sum(map(len, recordings))) // len(recordings)
    measured = np.zeros(LENGTH, np.int16)
    utterances = []
    position = gap // 2
    for recording in recordings:
        measured[position : position + len(recording)] = recording
        utterances.append(Utterance(position, position + len(recording)))
        position += len(recording) + gap
    # The end of it: pauses and voices as in what follows.
    return np.concatenate((measured[-WARM_UP:], measured))[:, None], utterances
