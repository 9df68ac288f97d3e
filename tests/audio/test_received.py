"""received.ogg: what FFmpeg reads back is what came, where it came."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.opus import OpusDecoder, OpusEncoder, packet_samples
from rtcpeer.audio.received import PacketRecorder, filler
from rtcpeer.errors import MediaError


def clicks(*seconds: float, length: float = 2.0) -> list[bytes]:
    pcm = np.zeros((round(length * 48_000), 1), np.int16)
    for at in seconds:
        pcm[round(at * 48_000)] = 32_000
    encoder = OpusEncoder(bitrate=128_000)
    return [encoder.encode(frame) for frame in np.split(pcm, len(pcm) // 960)]


def decoded(path: Path) -> np.ndarray:
    """``(samples,)``, float."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def stored(path: Path) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        return [(packet.pts + 312, bytes(packet)) for packet in container.demux() if packet.size]


def test_packets_are_stored_untouched_and_a_gap_keeps_what_follows_in_its_place(tmp_path: Path):
    payloads = clicks(0.5, 1.5)
    recorder = PacketRecorder(tmp_path / "received.ogg")
    gone = range(40, 60)
    for number, payload in enumerate(payloads):
        if number not in gone:
            recorder.write(1_000_000 + number * 960, payload)
    recorder.close()

    assert recorder.error is None
    found = stored(recorder.path)
    assert payloads[:40] + payloads[60:] == [payload for _, payload in found if len(payload) > 1]
    assert [n * 960 for n in range(100)] == [pts for pts, _ in found]
    pcm = np.abs(decoded(recorder.path))
    for at in (0.5, 1.5):
        around = round(at * 48_000) - 2400
        assert 0.05 < pcm[around : around + 4800].max()
        assert 2400 == pytest.approx(int(pcm[around : around + 4800].argmax()), abs=48)


def test_reordered_packets_are_put_in_order_and_repeated_and_broken_ones_left_out(tmp_path: Path):
    payloads = clicks(0.5, length=1.0)
    recorder = PacketRecorder(tmp_path / "received.ogg")
    order = [*range(10), 12, 10, 11, 12, 12, *range(13, 50)]
    for number in order:
        recorder.write(number * 960, payloads[number])
    recorder.write(50 * 960, b"")
    recorder.write(51 * 960, b"\x03")
    recorder.close()

    assert [(n * 960, payload) for n, payload in enumerate(payloads)] == stored(recorder.path)
    assert 4 == recorder.packets_dropped


@given(configuration=st.integers(0, 31), stereo=st.booleans(), steps=st.integers(0, 2000))
def test_filling_lasts_as_long_as_the_gap_and_has_no_bytes_but_its_heads(configuration, stereo, steps):
    toc = configuration << 3 | stereo << 2
    filling = list(filler(toc | 3, steps * 120))

    assert steps * 120 == sum(length for _, length in filling)
    for payload, length in filling:
        assert 1 == len(payload)
        assert length == packet_samples(payload)
        assert stereo == bool(payload[0] & 4)


def test_a_pause_in_speech_sounds_as_the_call_would_conceal_it(tmp_path: Path):
    payloads = clicks(0.5, length=1.0)
    recorder = PacketRecorder(tmp_path / "received.ogg")
    for number in (0, 1, 2, 10, 11):
        recorder.write(number * 960, payloads[number])
    recorder.close()

    decoder = OpusDecoder()
    assert [960] * 12 == [packet_samples(payload) for _, payload in stored(recorder.path)]
    assert all(960 == len(decoder.decode(payload)) for _, payload in stored(recorder.path))


def test_nothing_received_leaves_no_file(tmp_path: Path):
    recorder = PacketRecorder(tmp_path / "received.ogg")
    recorder.close()

    assert not recorder.path.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_one_error_and_the_rest_is_counted():
    errors: list[MediaError] = []
    recorder = PacketRecorder("/dev/full", on_error=errors.append)
    for number, payload in enumerate(clicks(length=1.0)):
        recorder.write(number * 960, payload)
    recorder.close()

    assert 1 == len(errors)
    assert "/dev/full" in str(errors[0])
    recorder.write(0, b"x")
    assert 1 == len(errors)


def test_a_killed_process_leaves_what_came_until_a_moment_before(tmp_path: Path):
    program = """
import sys, time
from rtcpeer.audio.opus import OpusEncoder
from rtcpeer.audio.received import PacketRecorder
import numpy as np
recorder = PacketRecorder(sys.argv[1])
encoder, quiet = OpusEncoder(), np.zeros((960, 1), np.int16)
for number in range(500):
    recorder.write(number * 960, encoder.encode(quiet))
while (recorder._position or 0) < 480 * 960:
    time.sleep(0.01)
print("taken", flush=True)
time.sleep(30)
"""
    path = tmp_path / "received.ogg"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "taken\n"
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    assert len(decoded(path)) > 9.0 * 48_000
