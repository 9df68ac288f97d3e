"""Opus packets undecoded: their line of time, files of them, their pace."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import spectrum
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.jitter import MediaPacket
from rtcpeer.audio.opus import packet_samples
from rtcpeer.audio.packets import SILENT_PACKET, OpusFile, OpusPacket, PacketPlayback, PacketSource, StreamTimeline
from rtcpeer.errors import ConfigurationError


def packet(sequence: int, timestamp: int, ssrc: int = 1) -> MediaPacket:
    return MediaPacket(sequence & 0xFFFF, timestamp & 0xFFFF_FFFF, 96, ssrc, b"x")


@given(
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFF_FFFF),
    steps=st.lists(st.integers(1, 40), max_size=200),
)
def test_numbers_go_on_beyond_their_wrap_and_what_is_missing_stays_missing(sequence, timestamp, steps):
    line, at, now = StreamTimeline(), 0, 0.0
    assert (0, 0) == line.place(packet(sequence, timestamp), now)
    for step in steps:
        at += step
        now += step * 0.02
        assert (at, at * 960) == line.place(packet(sequence + at, timestamp + at * 960), now)
    assert line.packets_lost == at - len(steps)


def test_a_packet_out_of_order_has_its_own_place():
    line = StreamTimeline()
    placed = [line.place(packet(65_534 + n, n * 960), 0.02 * n) for n in (0, 1, 4, 2, 3, 5)]

    assert [(n, n * 960) for n in (0, 1, 4, 2, 3, 5)] == placed
    assert 0 == line.packets_lost


@pytest.mark.parametrize("jump", [packet(9, 9, ssrc=2), packet(40_000, 9), packet(3, 3 * 960 + 48_000 * 60)])
def test_another_stream_goes_on_where_the_last_one_was(jump: MediaPacket):
    line = StreamTimeline()
    for n in range(3):
        line.place(packet(n, n * 960), n * 0.02)

    assert (3, (2 + 5) * 960) == line.place(jump, 0.04 + 0.1)


def test_a_telephone_event_has_its_own_timestamp_and_moves_no_other():
    line = StreamTimeline()
    placed = [
        line.place(packet(n, ticks), n * 0.02, event=event)
        for n, (ticks, event) in enumerate(
            [(0, False), (960, False), (960, True), (960, True), (3840, False), (1920, True), (4800, False)]
        )
    ]

    assert [0, 960, 960, 960, 3840, 1920, 4800] == [timestamp for _, timestamp in placed]
    assert list(range(7)) == [sequence for sequence, _ in placed]


def write_opus(path: Path, seconds: float = 0.4) -> list[bytes]:
    pcm = spectrum.tone(440, seconds)
    payloads = []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm.T.copy(), format="s16", layout="mono")
        frame.sample_rate = 48_000
        for each in (*stream.encode(frame), *stream.encode(None)):
            payloads.append(bytes(each))
            container.mux(each)
    return payloads


@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.webm", "a.mka"])
def test_a_file_gives_its_packets_untouched_and_evenly_timed(tmp_path: Path, name: str):
    payloads = write_opus(tmp_path / name)
    source = OpusFile(tmp_path / name)
    packets = list(iter(source.read, None))
    source.close()

    assert payloads == [each.payload for each in packets]
    assert [n * 960 for n in range(len(packets))] == [each.timestamp for each in packets]
    assert list(range(len(packets))) == [each.sequence_number for each in packets]
    assert not any(each.marker for each in packets)


def test_a_looped_file_goes_on_without_a_jump(tmp_path: Path):
    payloads = write_opus(tmp_path / "a.ogg")
    source = OpusFile(tmp_path / "a.ogg", loop=True)
    packets = [source.read() for _ in range(3 * len(payloads))]
    source.close()

    assert 3 * payloads == [each.payload for each in packets]
    assert {960} == {b.timestamp - a.timestamp for a, b in pairwise(packets)}


def test_what_is_no_file_or_has_no_opus_is_refused(tmp_path: Path):
    spectrum.write_wav(tmp_path / "a.wav", spectrum.tone(440, 0.1))
    (tmp_path / "b.ogg").write_bytes(b"OggS but not really")
    for name, why in (("a.wav", "no Opus"), ("b.ogg", "can't read"), ("c.ogg", "is no file")):
        with pytest.raises(ConfigurationError, match=why):
            OpusFile(tmp_path / name)


class Listed(PacketSource):
    def __init__(self, packets: list[OpusPacket]) -> None:
        self._packets = packets
        self.closed = 0

    def read(self) -> OpusPacket | None:
        return self._packets.pop(0) if self._packets else None

    def close(self) -> None:
        self.closed += 1


async def test_packets_are_due_by_their_timestamps_and_the_last_is_heard_out():
    # 20 ms, a pause of 40 ms, two of 10 ms, one of 60 ms.
    ten, sixty = bytes([30 << 3]) + b"x", bytes([11 << 3]) + b"x"
    assert (480, 2880) == (packet_samples(ten), packet_samples(sixty))
    packets = [
        OpusPacket(payload, 7000 + at, number)
        for number, (payload, at) in enumerate(
            [(SILENT_PACKET, 0), (SILENT_PACKET, 2880), (ten, 3840), (ten, 4320), (sixty, 4800)]
        )
    ]
    source = Listed(packets)
    playback = PacketPlayback(source)
    sent = []
    while not playback.done:
        sent.append([each.sequence_number for each in playback.due()])

    assert [[0], [], [], [1], [2, 3], [4], [], []] == sent
    assert 0.16 == pytest.approx(playback.played)
    assert 1 == source.closed
    await playback


async def test_a_source_whose_timestamps_stand_still_does_not_stop_the_clock():
    class Endless(PacketSource):
        def read(self) -> OpusPacket:
            return OpusPacket(SILENT_PACKET, 0, 0)

    playback = PacketPlayback(Endless())
    assert 16 == len(list(playback.due()))
    playback.cancel()
    assert [] == list(playback.due())
    await playback


def test_the_silent_packet_is_20_ms_of_silence():
    from rtcpeer.audio.opus import OpusDecoder

    decoded = OpusDecoder().decode(SILENT_PACKET)
    assert (960, 1) == decoded.shape
    assert 0 == np.abs(decoded).max()
