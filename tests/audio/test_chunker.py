from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.chunker import Chunker
from rtcpeer.formats import AudioFormat
from rtcpeer.protocols.base import WireAudio

WIRE = WireAudio(AudioFormat(24_000), chunk=0.05)
FRAME = np.full((960, 1), 1000, np.int16)


def test_every_piece_but_the_last_has_the_length_the_wire_wants():
    chunker = Chunker(WIRE)

    pieces = [piece for _ in range(6) for piece in chunker.feed(FRAME)]
    rest = chunker.finish()

    assert [2400, 2400] == [len(piece) for piece in pieces]
    assert 120 * 24 * 2 == sum(map(len, [*pieces, *rest]))


@pytest.mark.parametrize("marks_end", [False, True])
def test_an_end_is_marked_once_and_only_where_something_was_said(marks_end: bool):
    chunker = Chunker(WireAudio(WIRE.format, marks_end=marks_end))

    assert [] == chunker.finish()
    chunker.feed(FRAME)
    assert marks_end == (chunker.finish()[-1] == b"")
    assert [] == chunker.finish()


def test_a_voice_that_becomes_stereo_goes_on():
    chunker = Chunker(WIRE)
    for _ in range(3):
        chunker.feed(FRAME)

    samples = np.frombuffer(b"".join(chunker.feed(np.repeat(FRAME, 2, axis=1)) + chunker.finish()), "<i2")

    assert 1000 == np.median(samples)
