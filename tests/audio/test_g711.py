"""G.711 against FFmpeg's and the Recommendation's tables, then what it does with a lossy stream."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.coding import DECODERS, VoiceEncoder
from rtcpeer.audio.g711 import G711Decoder, G711Encoder, compression, expansion
from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.audio.sources import FileSource
from rtcpeer.errors import MediaError
from signaling.scenario import speech_file

FRAME = 960
NAMES = {"mu": "pcm_mulaw", "A": "pcm_alaw"}
EVERY_INPUT = np.arange(-32768, 32768).astype(np.int16)
# ITU-T G.711, tables 1a and 2a: where one segment ends and the next begins; A-law in 13 bits, µ-law in 14.
DECISIONS = {
    "A": (8, (64, 128, 256, 512, 1024, 2048)),
    "mu": (4, (31, 95, 223, 479, 991, 2015, 4063)),
}


@pytest.fixture(params=["mu", "A"])
def law(request: pytest.FixtureRequest) -> str:
    return request.param


def ffmpeg_codes(law: str) -> np.ndarray:
    """FFmpeg's code for each of the 65536 inputs, the smallest first."""
    encoder = av.CodecContext.create(NAMES[law], "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8_000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(EVERY_INPUT.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 8_000
    return np.frombuffer(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])), np.uint8)


def test_every_code_expands_as_in_ffmpeg(law):
    decoder = av.CodecContext.create(NAMES[law], "r")
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    (frame,) = decoder.decode(av.Packet(bytes(range(256))))

    assert frame.to_ndarray().reshape(-1).tolist() == expansion(law).tolist()


def test_every_input_becomes_ffmpegs_code_or_at_a_decision_value_its_neighbour(law):
    ours, theirs = compression(law)[EVERY_INPUT.view(np.uint16)], ffmpeg_codes(law)
    other = np.flatnonzero(ours != theirs)
    levels = np.unique(expansion(law))
    apart = np.searchsorted(levels, expansion(law)[ours[other]]) - np.searchsorted(
        levels, expansion(law)[theirs[other]]
    )

    # FFmpeg decides in the middle between two levels, to 14 bits and towards below.
    assert len(other) < 0.015 * 65536
    assert {-1, 1} >= set(apart.tolist())


def test_segments_begin_at_the_recommendations_decision_values(law):
    unit, decisions = DECISIONS[law]
    for decision in decisions:
        below, above = (expansion(law)[compression(law)[unit * decision + off]] for off in (-1, 0))
        assert below < unit * decision < above


def test_each_code_comes_back_but_for_the_second_zero(law):
    back = compression(law)[expansion(law).view(np.uint16)]

    assert ([0x7F] if law == "mu" else []) == np.flatnonzero(back != np.arange(256)).tolist()


def test_louder_in_is_never_quieter_out(law):
    out = expansion(law)[compression(law)[EVERY_INPUT.view(np.uint16)]].astype(int)

    assert (np.diff(out) >= 0).all()


def tone(frames: int, hertz: float = 440.0, peak: int = 12_000) -> list[np.ndarray]:
    t = np.arange(frames * FRAME) / 48_000
    pcm = np.round(peak * np.sin(2 * np.pi * hertz * t)).astype(np.int16)[:, None]
    return [pcm[at : at + FRAME] for at in range(0, len(pcm), FRAME)]


def test_each_frame_is_one_packet_of_160_bytes_and_one_frame_again(law):
    encoder, decoder = G711Encoder(law), G711Decoder(law)
    for frame in tone(10):
        payload = encoder.encode(frame)
        assert 160 == len(payload)
        assert (FRAME, 1) == decoder.decode(payload).shape


def test_a_tone_is_the_same_tone_as_loud(law):
    encoder, decoder = G711Encoder(law), G711Decoder(law)
    said = tone(50)
    heard = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in said])[4800:, 0].astype(float)
    said = np.concatenate(said)[4800:, 0].astype(float)
    shift = 4 * 48  # both resamplers together

    assert 0 == pytest.approx(20 * np.log10(heard.std() / said.std()), abs=0.1)
    error = heard[shift:] - said[:-shift]
    assert 10 * np.log10(np.mean(said**2) / np.mean(error**2)) > 35


@given(st.binary(min_size=1, max_size=960))
def test_any_payload_is_six_times_as_many_samples(payload):
    assert (6 * len(payload), 1) == G711Decoder("A").decode(payload).shape


@pytest.mark.parametrize("payload", [b"", bytes(961), bytes(65_000)])
def test_a_payload_of_no_or_unheard_of_length_is_refused(payload):
    with pytest.raises(MediaError, match="bytes"):
        G711Decoder("mu").decode(payload)


def decoder_after(frames: list[np.ndarray]) -> tuple[G711Decoder, np.ndarray]:
    encoder, decoder = G711Encoder("mu"), G711Decoder("mu")
    return decoder, np.concatenate([decoder.decode(encoder.encode(frame)) for frame in frames])


@pytest.mark.parametrize("hertz", [90, 150, 220, 380])
def test_a_lost_frame_of_a_vowel_goes_on_as_it_was(hertz):
    t = np.arange(20 * FRAME) / 48_000
    vowel = sum(8_000 / n * np.sin(2 * np.pi * hertz * n * t) for n in range(1, 6))
    pcm = np.round(vowel).astype(np.int16)[:, None]
    decoder, heard = decoder_after([pcm[at : at + FRAME] for at in range(0, 16 * FRAME, FRAME)])
    lost = decoder.conceal(FRAME)[:, 0].astype(float)
    shift = 4 * 48
    wanted = pcm[16 * FRAME - shift : 17 * FRAME - shift, 0].astype(float)

    assert np.corrcoef(lost, wanted)[0, 1] > 0.9
    assert abs(int(lost[0]) - int(heard[-1, 0])) < 3_000  # no click


def test_what_is_made_up_fades_but_not_to_digital_silence():
    rng = np.random.default_rng(1)
    hiss = [np.round(rng.normal(0, 40, (FRAME, 1))).astype(np.int16) for _ in range(10)]
    decoder, heard = decoder_after([*hiss, *tone(10, peak=8_000)])
    made = [decoder.conceal(FRAME)[:, 0].astype(float).std() for _ in range(6)]

    assert made[0] > 0.8 * heard[-FRAME:].std()
    assert made == sorted(made, reverse=True) or made[3:] == pytest.approx([made[-1]] * 3, rel=0.2)
    assert 10 < made[-1] < 60


def test_after_a_reset_nothing_of_the_stream_is_left():
    decoder, _ = decoder_after(tone(5))
    decoder.reset()

    payload = bytes(range(160))
    assert G711Decoder("mu").decode(payload).tolist() == decoder.decode(payload).tolist()


def test_at_5_percent_loss_no_voiced_frame_is_digital_silence(law):
    source = FileSource(str(speech_file("user-2.flac")))
    speech = []
    while (frame := source.read(FRAME)) is not None and len(frame) == FRAME:
        speech.append(frame)
    source.close()
    encoder, playout = G711Encoder(law), Playout({0: lambda: G711Decoder(law)})
    rng = np.random.default_rng(5)
    heard, lost = [], 0
    for n, frame in enumerate(speech):
        payload = encoder.encode(frame)
        if n > 5 and rng.random() < 0.05:
            lost += 1
        else:
            playout.put(MediaPacket(n, 160 * n, 0, 1, payload), n * 0.02)
        heard.append(playout.get(n * 0.02 + 0.001).samples)

    assert lost == playout.stats.packets_lost > 5
    assert playout.stats.concealed_samples < 1.2 * lost * FRAME
    shift = round(playout.delay / 0.02)
    voiced = [n for n, frame in enumerate(speech) if np.abs(frame.astype(int)).max() > 1000]
    assert [] == [n for n in voiced if n + shift < len(heard) and not heard[n + shift].any()]


def test_a_call_may_change_to_g711_and_back(law):
    name = "pcmu" if law == "mu" else "pcma"
    playout = Playout({0: DECODERS[name], 96: DECODERS["opus"]})
    encoders = {0: VoiceEncoder(name), 96: VoiceEncoder("opus")}
    ticks, heard = 1_000, []
    for n, frame in enumerate(tone(150)):
        payload_type = 0 if 50 <= n < 100 else 96
        ticks += encoders[payload_type].clock_rate // 50
        ((payload, _),) = encoders[payload_type].encode(frame, n)
        playout.put(MediaPacket(n, ticks, payload_type, 1, payload), n * 0.02)
        heard.append(playout.get(n * 0.02 + 0.001).samples)

    stats = playout.stats
    assert 0 == stats.concealed_samples == stats.packets_discarded == stats.restarts
    levels = [float(frame.astype(float).std()) for frame in heard[5:]]
    assert min(levels) > 0.3 * max(levels)  # the Opus decoder begins anew in the middle of a tone
