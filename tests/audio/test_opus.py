from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio import opus
from rtcpeer.audio.opus import OpusDecoder, OpusEncoder, has_fec, packet_samples
from rtcpeer.audio.sources import FileSource
from rtcpeer.errors import MediaError
from signaling.scenario import speech_file

FRAME = 960


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    """20 ms frames of recorded speech, about 3 s."""
    source = FileSource(str(speech_file("user-2.flac")))
    try:
        frames = [source.read(FRAME) for _ in range(150)]
    finally:
        source.close()
    return [frame for frame in frames if frame is not None and len(frame) == FRAME]


def tone(frames: int, rate: int = 48_000) -> list[np.ndarray]:
    samples = rate // 50
    t = np.arange(frames * samples) / rate
    pcm = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[:, None]
    return [pcm[n : n + samples] for n in range(0, len(pcm), samples)]


def decibels(pcm: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(float) ** 2)))


def snr(reference: list[np.ndarray], heard: list[np.ndarray]) -> float:
    a, b = np.concatenate(reference).astype(float), np.concatenate(heard).astype(float)
    return float(10 * np.log10(np.sum(a**2) / np.sum((a - b) ** 2)))


@pytest.mark.parametrize("rate", [8_000, 12_000, 16_000, 24_000, 48_000])
def test_mono_comes_out_as_loud_as_it_went_in_at_every_rate_of_opus(rate):
    encoder, decoder = OpusEncoder(), OpusDecoder(rate)
    heard = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in tone(50)])

    assert (50 * rate // 50, 1) == heard.shape
    assert abs(decibels(heard[rate // 2 :]) - decibels(np.concatenate(tone(50)))) < 0.5


def test_stereo_is_decoded_to_mono_and_mono_to_stereo():
    left_only = np.hstack([tone(1)[0], np.zeros((FRAME, 1), np.int16)])

    assert (FRAME, 1) == OpusDecoder().decode(OpusEncoder(channels=2).encode(left_only)).shape
    assert (FRAME, 2) == OpusDecoder(channels=2).decode(OpusEncoder().encode(tone(1)[0])).shape


def test_a_frame_is_the_callers_to_keep():
    encoder, decoder = OpusEncoder(), OpusDecoder()
    payloads = [encoder.encode(frame) for frame in tone(3)]
    first = decoder.decode(payloads[0])
    before = first.copy()
    decoder.decode(payloads[1])

    np.testing.assert_array_equal(before, first)


def test_speech_at_32_kilobits_is_hybrid_and_about_that_large(speech):
    encoder = OpusEncoder()
    payloads = [encoder.encode(frame) for frame in speech]

    # RFC 6716, table 2: configurations 12 to 15 are hybrid.
    assert {12, 13, 14, 15} >= {payload[0] >> 3 for payload in payloads}
    assert 28_000 < sum(map(len, payloads)) * 8 / (len(payloads) / 50) < 36_000


def test_fec_is_only_there_while_loss_is_expected(speech):
    encoder = OpusEncoder()
    clean = [has_fec(encoder.encode(frame)) for frame in speech]
    encoder.packet_loss = 10
    lossy = [has_fec(encoder.encode(frame)) for frame in speech]
    encoder.fec = False
    switched_off = [has_fec(encoder.encode(frame)) for frame in speech]

    assert not any(clean)
    assert np.mean(lossy) > 0.5
    assert not any(switched_off[1:])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [480, 960, 1920, 2880])
def test_fec_is_seen_where_libopus_itself_sees_it(speech, samples, channels):
    library = opus._libopus()
    if not hasattr(library, "opus_packet_has_lbrr"):
        pytest.skip("this libopus is older than 1.4, which cannot tell; the one in PyAV's wheel can")
    library.opus_packet_has_lbrr.argtypes = [ctypes.c_char_p, ctypes.c_int32]
    pcm = np.repeat(np.concatenate(speech), channels, axis=1)
    pcm[:, channels - 1] //= 2
    encoder = OpusEncoder(channels=channels, packet_loss=15, bitrate=24_000)
    payloads = [encoder.encode(pcm[n : n + samples]) for n in range(0, len(pcm) - samples + 1, samples)]
    theirs = [bool(library.opus_packet_has_lbrr(payload, len(payload))) for payload in payloads]

    assert any(theirs)
    assert theirs == [has_fec(payload) for payload in payloads]


def test_a_lost_packet_sounds_better_recovered_than_concealed_than_silent(speech):
    encoder = OpusEncoder(bitrate=24_000, packet_loss=20)
    payloads = [encoder.encode(frame) for frame in speech]
    lost = range(10, len(payloads) - 1, 6)
    whole, recovering, concealing = OpusDecoder(), OpusDecoder(), OpusDecoder()
    reference = [whole.decode(payload) for payload in payloads]

    recovered, concealed = [], []
    for n, payload in enumerate(payloads):
        if n in lost:
            recovered.append(recovering.recover(payloads[n + 1], FRAME))
            concealed.append(concealing.conceal(FRAME))
        else:
            recovering.decode(payload)
            concealing.decode(payload)

    missing = [reference[n] for n in lost]
    assert snr(missing, concealed) > 1
    assert snr(missing, recovered) > snr(missing, concealed) + 4


def test_settings_change_during_the_stream(speech):
    encoder = OpusEncoder(bitrate=48_000)
    much = sum(len(encoder.encode(frame)) for frame in speech)
    encoder.bitrate = 16_000
    encoder.complexity = 2
    little = sum(len(encoder.encode(frame)) for frame in speech)

    assert little < much / 2
    assert (16_000, 2) == (encoder.bitrate, encoder.complexity)


def test_with_dtx_silence_is_described_once_then_left_out():
    encoder = OpusEncoder(dtx=True)
    silence = np.zeros((FRAME, 1), np.int16)
    sizes = [len(encoder.encode(silence)) for _ in range(100)]

    assert sum(size <= 2 for size in sizes) > 60


def test_a_packets_length_is_known_without_decoding_it():
    assert FRAME == packet_samples(OpusEncoder().encode(tone(1)[0]))
    assert 320 == packet_samples(OpusEncoder().encode(tone(1)[0]), 16_000)
    with pytest.raises(MediaError):
        packet_samples(b"")


def test_reset_makes_a_decoder_as_new(speech):
    encoder = OpusEncoder()
    payloads = [encoder.encode(frame) for frame in speech[:20]]
    decoder, fresh = OpusDecoder(), OpusDecoder()
    for payload in payloads:
        decoder.decode(payload)
    decoder.reset()

    np.testing.assert_array_equal(fresh.decode(payloads[5]), decoder.decode(payloads[5]))


@given(st.binary(max_size=1500))
def test_a_hostile_payload_is_refused_or_lasts_no_longer_than_120_ms(payload):
    decoder = OpusDecoder()
    has_fec(payload)
    for attempt in (decoder.decode, lambda given: decoder.recover(given, FRAME)):
        try:
            heard = attempt(payload)
        except MediaError:
            continue
        assert 0 < len(heard) <= 5760
    assert FRAME == len(decoder.conceal(FRAME))


@given(st.data())
def test_a_damaged_packet_never_does_more_than_be_refused(data):
    encoder = OpusEncoder(packet_loss=10)
    payload = bytearray([encoder.encode(frame) for frame in tone(3)][-1])
    for _ in range(data.draw(st.integers(1, 5))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    decoder = OpusDecoder()
    try:
        assert len(decoder.decode(damaged)) <= 5760
    except MediaError:
        assert FRAME == len(decoder.conceal(FRAME))


@pytest.mark.parametrize("shape", [(0, 1), (959, 1), (960, 2), (5760, 1), (960,)])
def test_a_frame_of_the_wrong_shape_is_refused_with_the_right_one(shape):
    with pytest.raises(MediaError, match=r"\(960, 1\)"):
        OpusEncoder().encode(np.zeros(shape, np.int16))


@pytest.mark.parametrize(
    "settings",
    [
        {"bitrate": 5000},
        {"complexity": 11},
        {"packet_loss": 101},
        {"packet_loss": -1},
        {"channels": 3},
        {"sample_rate": 44_100},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings):
    with pytest.raises(MediaError, match=str(next(iter(settings.values())))):
        OpusEncoder(**settings)


@pytest.mark.parametrize("samples", [0, -960, 100, 5880])
def test_only_multiples_of_two_and_a_half_milliseconds_are_concealed(samples):
    decoder = OpusDecoder()
    with pytest.raises(MediaError, match=r"2\.5 ms"):
        decoder.conceal(samples)
    with pytest.raises(MediaError, match=r"2\.5 ms"):
        decoder.recover(b"\x08\x00", samples)


def test_encoders_and_decoders_give_their_memory_back():
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc to see the memory of the process")

    def churn(count: int) -> int:
        for _ in range(count):
            OpusEncoder()
            OpusDecoder()
        gc.collect()
        return int(statm.read_text().split()[1]) * 4096

    before = churn(50)
    # Kept, each pair would be more than 40 kB.
    assert churn(1000) - before < 10_000_000


def test_without_libopus_the_error_says_how_to_get_it(monkeypatch):
    opus._libopus.cache_clear()
    monkeypatch.setattr(opus, "_candidates", lambda: iter(["/nowhere/libopus.so"]))
    try:
        with pytest.raises(MediaError, match=r"apt-get install libopus0.*nowhere"):
            OpusDecoder()
    finally:
        opus._libopus.cache_clear()
