"""From frames to packets, as the far end wants them."""

from __future__ import annotations

import numpy as np
import pytest

from rtcpeer.audio.coding import DECODERS, ReceiverWishes, VoiceEncoder
from rtcpeer.audio.opus import has_fec, packet_samples
from rtcpeer.formats import OpusSettings

FRAME = 960


def tone(frames: int, hertz: float = 300.0) -> list[np.ndarray]:
    t = np.arange(frames * FRAME) / 48_000
    rng = np.random.default_rng(1)
    voice = 8_000 * np.sin(2 * np.pi * hertz * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2 + rng.normal(0, 500, len(t))
    return list(np.round(voice).astype(np.int16).reshape(-1, FRAME, 1))


def packets(encoder: VoiceEncoder, frames: list[np.ndarray]) -> list[tuple[bytes, int]]:
    return [packet for number, frame in enumerate(frames) for packet in encoder.encode(frame, number)]


@pytest.mark.parametrize("codec", DECODERS)
def test_what_is_encoded_can_be_decoded_and_its_timestamps_count_in_its_own_clock(codec):
    encoder, decoder = VoiceEncoder(codec), DECODERS[codec]()
    sent = packets(encoder, tone(10))

    assert encoder.clock_rate == decoder.clock_rate
    assert [number * encoder.clock_rate // 50 for number in range(10)] == [timestamp for _, timestamp in sent]
    assert all((FRAME, 1) == decoder.decode(payload).shape for payload, _ in sent)


@pytest.mark.parametrize("codec", DECODERS)
@pytest.mark.parametrize(
    ("packet_time", "expected"),
    [(None, 20), (0.12, 20), (0.02, 20), (0.019, 10), (0.01, 10), (0.005, 5), (0.003, 2.5), (0.001, 2.5)],
)
def test_packets_last_20_ms_unless_that_is_too_long(codec, packet_time, expected):
    encoder = VoiceEncoder(codec, ReceiverWishes(packet_time=packet_time))
    sent = packets(encoder, tone(3))
    ticks = encoder.clock_rate * expected / 1000

    assert [number * ticks for number in range(round(3 * 20 / expected))] == [timestamp for _, timestamp in sent]
    decoder = DECODERS[codec]()
    assert {round(48 * expected)} == {len(decoder.decode(payload)) for payload, _ in sent}


@pytest.mark.parametrize("wanted", [False, True])
def test_fec_is_sent_to_who_wants_it(wanted):
    encoder = VoiceEncoder("opus", ReceiverWishes(fec=wanted))
    encoder.adapt(0.2)

    assert wanted == any(has_fec(payload) for payload, _ in packets(encoder, tone(50)))


def test_the_bitrate_is_no_higher_than_wanted():
    def sent(wishes: ReceiverWishes) -> int:
        return sum(len(payload) for payload, _ in packets(VoiceEncoder("opus", wishes), tone(100)))

    assert 12_000 == VoiceEncoder("opus", ReceiverWishes(bitrate=12_000)).bitrate
    assert sent(ReceiverWishes(bitrate=12_000)) < 0.5 * sent(ReceiverWishes())
    assert OpusSettings().bitrate == VoiceEncoder("opus", ReceiverWishes(bitrate=510_000)).bitrate
    assert 64_000 == VoiceEncoder("pcmu").bitrate


@pytest.mark.parametrize(("rate", "bandwidth"), [(8_000, 0), (16_000, 2), (24_000, 3), (44_100, 4), (48_000, 4)])
def test_nothing_finer_is_sent_than_the_far_end_plays(rate, bandwidth):
    # RFC 6716, 3.1: the configuration tells the bandwidth, in order NB, MB, WB, SWB, FB.
    encoder = VoiceEncoder("opus", ReceiverWishes(playback_rate=rate))
    found = set()
    for payload, _ in packets(encoder, tone(50)):
        configuration = payload[0] >> 3
        if configuration < 12:
            found.add(configuration // 4)
        elif configuration < 16:
            found.add(3 + (configuration - 12) // 2)
        else:
            found.add((0, 2, 3, 4)[(configuration - 16) // 4])

    assert bandwidth == max(found)


def test_in_a_pause_who_wants_dtx_gets_next_to_nothing():
    silence = [np.zeros((FRAME, 1), np.int16)] * 100
    with_dtx = packets(VoiceEncoder("opus", ReceiverWishes(dtx=True)), [*tone(10), *silence, *tone(5)])
    without = packets(VoiceEncoder("opus"), [*tone(10), *silence, *tone(5)])

    assert 115 == len(without)
    assert len(with_dtx) < 45
    # The pause is announced, and what comes after it is in its place.
    assert any(len(payload) <= 2 for payload, _ in with_dtx)
    assert 114 * FRAME == with_dtx[-1][1]
    assert FRAME == packet_samples(with_dtx[-1][0])


def test_expected_loss_rises_at_once_and_falls_slowly():
    encoder = VoiceEncoder("opus", ReceiverWishes(fec=True))
    seen = []
    for lost in (0.0, 0.1, 0.0, 0.0, 0.9):
        encoder.adapt(lost)
        seen.append(encoder._opus.packet_loss)

    assert [0, 10, 8, 6, 30] == seen


def test_g711_has_nothing_to_adapt():
    encoder = VoiceEncoder("pcma")
    encoder.adapt(0.5)

    assert 160 == len(packets(encoder, tone(1))[0][0])
