"""What the playout makes of a network with Opus: loss, FEC and payloads that are none."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_packets import FRAME, VOICE, packet

from rtcpeer.audio.jitter import Playout
from rtcpeer.audio.opus import OpusDecoder, OpusEncoder


def play(payloads: list[bytes], lost: set[int]) -> tuple[Playout, np.ndarray]:
    playout = Playout({VOICE: OpusDecoder})
    heard = []
    for n, payload in enumerate(payloads):
        if n not in lost:
            playout.put(packet(n, payload=payload), n * 0.02)
        heard.append(playout.get(n * 0.02 + 0.001).samples)
    return playout, np.concatenate(heard)


def test_at_5_percent_loss_no_voiced_frame_is_digital_silence(speech):
    encoder = OpusEncoder(packet_loss=5)
    payloads = [encoder.encode(frame) for frame in speech]
    rng = np.random.default_rng(5)
    lost = {n for n in range(5, len(payloads)) if rng.random() < 0.05}
    playout, heard = play(payloads, lost)

    voiced = [n for n, frame in enumerate(speech) if np.abs(frame.astype(int)).max() > 1000]
    shift = round(playout.delay / 0.02)
    silent = [n for n in voiced if n + shift < len(speech) and not heard.reshape(-1, FRAME)[n + shift].any()]
    assert [] == silent
    assert len(lost) == playout.stats.packets_lost
    assert playout.stats.concealed_samples < 0.5 * len(lost) * FRAME


def test_fec_is_closer_to_what_was_said_than_concealment(speech):
    lost = set(range(60, len(speech) - 20, 9))

    def error(fec: bool) -> float:
        encoder = OpusEncoder(bitrate=24_000, fec=fec, packet_loss=20)
        payloads = [encoder.encode(frame) for frame in speech]
        whole = np.concatenate([decoder.decode(payload) for decoder in [OpusDecoder()] for payload in payloads])
        _, heard = play(payloads, lost)
        # Stretching moves things about: each lost frame is looked for where it is most alike.
        errors = []
        for n in lost:
            wanted = whole[n * FRAME : (n + 1) * FRAME, 0].astype(float)
            if not wanted.any():
                continue
            around = heard[n * FRAME : (n + 6) * FRAME, 0].astype(float)
            windows = np.lib.stride_tricks.sliding_window_view(around, FRAME)
            distance = ((windows - wanted) ** 2).sum(axis=1).min() / (wanted**2).sum()
            errors.append(distance)
        return float(np.median(errors))

    assert error(fec=True) < error(fec=False) / 2


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=60))
def test_hostile_opus_payloads_never_raise_and_always_give_frames(payloads):
    playout, heard = play(payloads, set())

    assert len(payloads) * FRAME == len(heard)
    assert playout.stats.packets_received == len(payloads)
