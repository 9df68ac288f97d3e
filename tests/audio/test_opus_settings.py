"""How Opus is set: by us, within what the far end wants."""

from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.coding import ReceiverWishes, VoiceEncoder
from rtcpeer.audio.sources import FileSource
from rtcpeer.formats import OpusSettings
from signaling.scenario import speech_file

FRAME = 960


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    source = FileSource(str(speech_file("user-2.flac")))
    try:
        frames = [source.read(FRAME) for _ in range(100)]
    finally:
        source.close()
    return [frame for frame in frames if frame is not None and len(frame) == FRAME]


def packets(encoder: VoiceEncoder, frames: list[np.ndarray]) -> list[bytes]:
    return [payload for number, frame in enumerate(frames) for payload, _ in encoder.encode(frame, number)]


def celt(payloads: list[bytes]) -> set[bool]:
    """RFC 6716, 3.1: configurations from 16 on are CELT alone."""
    return {payload[0] >> 3 >= 16 for payload in payloads}


def test_only_the_economy_settings_code_by_celt_alone(speech):
    assert {True} == celt(packets(VoiceEncoder(settings=OpusSettings.economy()), speech))
    assert {False} == celt(packets(VoiceEncoder(), speech))


def test_settings_change_from_one_packet_to_the_next(speech):
    encoder = VoiceEncoder(settings=OpusSettings(bitrate=64_000))
    before = packets(encoder, speech)
    encoder.use(OpusSettings(bitrate=12_000, complexity=2))
    after = packets(encoder, speech)
    encoder.use(OpusSettings.economy())

    assert sum(map(len, after)) < sum(map(len, before)) / 3
    assert {True} == celt(packets(encoder, speech))
    assert 48_000 == encoder.bitrate


def test_what_the_far_end_wants_stays_the_limit(speech):
    wishes = ReceiverWishes(fec=True, bitrate=16_000)
    encoder = VoiceEncoder("opus", wishes, OpusSettings(bitrate=64_000))
    encoder.adapt(fraction_lost=0.2)
    assert 16_000 == encoder.bitrate
    encoder.use(OpusSettings(bitrate=40_000))
    assert 16_000 == encoder.bitrate
    encoder.use(OpusSettings(bitrate=8_000))
    assert 8_000 == encoder.bitrate


def test_g711_has_nothing_to_set(speech):
    encoder = VoiceEncoder("pcmu", settings=OpusSettings(bitrate=8_000))
    encoder.use(OpusSettings(bitrate=6_000))

    assert 64_000 == encoder.bitrate
    assert {160} == {len(payload) for payload in packets(encoder, speech)}
