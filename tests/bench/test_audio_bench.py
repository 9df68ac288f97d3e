"""The benchmark's instruments show what was put into them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import numpy as np
import pytest
from bench.quality.recording import RATE, Recording, heard
from bench.quality.relay import Relay, host_of
from bench.quality.sending import encode, packet_fates
from bench.quality.speech import FRAME, LENGTH, WARM_UP, material

from rtcpeer.netem import NetworkConditions


def recorded(path: Path, arrivals: list[float]) -> Path:
    """Frames of 20 ms full of their own number, from 1 on, given out at those moments."""
    recording = Recording()
    for number, arrival in enumerate(arrivals, 1):
        recording.add(round(arrival * 1e9), RATE, np.full((FRAME, 1), number, np.int16))
    recording.save(str(path))
    return path


def test_what_comes_a_little_late_is_heard_without_a_gap(tmp_path: Path):
    path = recorded(tmp_path / "heard", [10.0, 10.035, 10.045])

    pcm = heard(path, 10.0, 0.1)

    assert np.concatenate([np.repeat([1, 2, 3], FRAME), np.zeros(2 * FRAME)]).tolist() == pcm.tolist()


def test_what_comes_too_late_is_heard_when_it_comes_and_the_rest_behind_it(tmp_path: Path):
    path = recorded(tmp_path / "heard", [10.0, 10.060, 10.061])

    pcm = heard(path, 10.0, 0.12)

    assert [1, 0, 0, 2, 3, 0] == pcm[::FRAME].tolist()


def test_what_was_given_out_before_the_beginning_is_not_heard(tmp_path: Path):
    path = recorded(tmp_path / "heard", [9.99, 10.01])

    pcm = heard(path, 10.0, 0.04)

    assert [1] * (FRAME // 2) + [2] * FRAME + [0] * (FRAME // 2) == pcm.tolist()


def candidate(port: int) -> str:
    return f"v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\na=end-of-candidates\r\n"


def port_in(sdp: str) -> int:
    return int(sdp.split("127.0.0.1 ")[1].split()[0])


def rtp(sequence: int, payload_type: int = 96) -> bytes:
    return bytes([0x80, payload_type]) + sequence.to_bytes(2, "big") + bytes(8)


async def test_the_relay_gives_each_packet_the_fate_of_its_number_and_lets_rtcp_pass():
    loop = asyncio.get_running_loop()
    sender, receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for each in (sender, receiver):
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
    relay = Relay([[0.0], [], [0.0, 0.0]])
    await relay.open(host_of(candidate(1)))
    to_sender = port_in(relay.pretend_sender(candidate(sender.getsockname()[1])))
    to_receiver = port_in(relay.pretend_receiver(candidate(receiver.getsockname()[1])))
    try:
        packets = [rtp(65535), rtp(0), rtp(1), rtp(0, payload_type=200 & 0x7F)]
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", to_receiver))
        came = [await loop.sock_recvfrom(receiver, 100) for _ in range(4)]
        receiver.sendto(b"report", ("127.0.0.1", to_sender))
        back = await loop.sock_recvfrom(sender, 100)
    finally:
        relay.close()
        sender.close()
        receiver.close()

    assert [packets[0], packets[2], packets[2], packets[3]] == [data for data, _ in came]
    assert {to_sender} == {address[1] for _, address in came}
    assert (b"report", ("127.0.0.1", to_receiver)) == back
    assert (3, 1) == relay.media


def test_a_seed_gives_the_same_packets_and_fates_and_fec_where_there_is_loss():
    pcm = material()[0][: 3 * RATE]
    network = NetworkConditions.parse("loss=20%")
    clean = packet_fates(NetworkConditions(), 1, 150)
    lossy = packet_fates(network, 1, 150)

    assert lossy == packet_fates(network, 1, 150)
    assert encode(pcm, lossy) == encode(pcm, lossy)
    assert encode(pcm, clean)[:50] == encode(pcm, lossy)[:50]  # nothing is known of the loss yet
    assert encode(pcm, clean)[50:] != encode(pcm, lossy)[50:]


def test_the_delay_is_found_where_it_changes_and_what_is_missing_is_silence():
    pytest.importorskip("pesq", reason="pip install '.[bench]'")
    pytest.importorskip("scipy")
    from bench.quality.measure import RATE as LISTENING_RATE
    from bench.quality.measure import at_16k, measure

    pcm, utterances = material()
    sent = at_16k(pcm[:, 0])
    half = len(sent) // 2
    # 50 ms late, then 120 ms; a second of the last sentence is missing.
    received = np.zeros(len(sent) + LISTENING_RATE, np.float32)
    received[800 : half + 800] = sent[:half]
    received[half + 1920 : len(sent) + 1920] = sent[half:]
    missing = (WARM_UP + utterances[3].begin) // 3 + LISTENING_RATE
    received[missing : missing + LISTENING_RATE] = 0

    found = measure(sent, received, utterances, WARM_UP)

    assert pytest.approx(0.05, abs=0.001) == found.delay_between(0, 7)
    assert pytest.approx(0.12, abs=0.001) == found.delay_between(9, 13)
    assert pytest.approx(1.0 / 18, abs=0.02) == found.silence
    assert 3 < found.pesq < 4.64  # of four sentences two are whole
    assert found.pesq_whole < found.pesq
    assert pytest.approx(4.64, abs=0.01) == measure(sent, sent, utterances, WARM_UP).pesq  # the highest there is
    assert WARM_UP + LENGTH == len(pcm)
