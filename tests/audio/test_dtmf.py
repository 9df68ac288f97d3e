"""Telephone events and tones, with numbers and without a call."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import spectrum
from hypothesis import example, given
from hypothesis import strategies as st

from rtcpeer.audio.dtmf import DIGITS, DtmfSource, EventPacket, EventReceiver, EventSender, tones
from rtcpeer.errors import ConfigurationError


def sent(digits: str, duration: float, gap: float, clock_rate: int = 48_000) -> list[EventPacket | None]:
    sender = EventSender(clock_rate)
    sender.add(digits, duration, gap)
    packets = []
    while sender.active:
        packets.append(sender.next())
    return packets


def test_an_event_grows_by_20_ms_a_packet_and_its_end_is_said_three_times():
    packets = sent("5", 0.1, 0.1)

    assert packets[7:] == [None, None, None, None]  # the gap, of which the end's repetitions took 40 ms; and the end
    events = [struct.unpack("!BBH", packet.payload) for packet in packets[:7]]
    assert {5} == {code for code, _, _ in events}
    assert [960, 1920, 2880, 3840, 4800, 4800, 4800] == [duration for _, _, duration in events]
    assert [0, 0, 0, 0, 1, 1, 1] == [flags >> 7 for _, flags, _ in events]
    assert {10} == {flags & 0x3F for _, flags, _ in events}
    assert [True] + [False] * 6 == [packet.first for packet in packets[:7]]
    assert {0} == {packet.offset for packet in packets[:7]}


def test_at_8_khz_durations_are_in_ticks_of_it():
    packets = sent("#", 0.1, 0.05, 8_000)

    assert [160, 320, 480, 640, 800, 800, 800] == [
        struct.unpack("!BBH", packet.payload)[2] for packet in packets if packet is not None
    ]


def test_a_long_event_goes_on_in_segments_from_where_the_last_one_ended():
    packets = [packet for packet in sent("1", 3.0, 0.05) if packet is not None]
    durations = [struct.unpack("!BBH", packet.payload)[2] for packet in packets]
    ends = [struct.unpack("!BBH", packet.payload)[1] >> 7 for packet in packets]

    assert [0, 0xFFFF, 2 * 0xFFFF] == sorted({packet.offset for packet in packets})
    assert 2 == durations.count(0xFFFF)  # each full segment is reported as such (RFC 4733, 2.5.1.3)
    assert [0] * (len(ends) - 3) + [1] * 3 == ends
    assert 3.0 == pytest.approx((packets[-1].offset + durations[-1]) / 48_000, abs=0.001)


def test_a_comma_is_two_seconds():
    assert [None] * 100 == sent(",", 0.1, 0.05)[:100]
    assert 101 == len(sent(",", 0.1, 0.05))


@given(
    digits=st.text(DIGITS, min_size=1, max_size=8),
    duration=st.floats(0.04, 6.0),
    gap=st.floats(0.03, 0.5),
    lost=st.sets(st.integers(0, 200)),
    start=st.integers(0, 0xFFFF_FFFF),
    clock_rate=st.sampled_from([8_000, 48_000]),
)
@example(digits="0", duration=5.46875, gap=0.5, lost=set(), start=0, clock_rate=48_000)
def test_every_key_of_which_a_packet_arrives_is_received_once_and_in_order(
    digits: str, duration: float, gap: float, lost: set[int], start: int, clock_rate: int
):
    receiver, received, arrived, now = EventReceiver(), [], [], 0.0
    key = -1
    begun = start
    for number, packet in enumerate(sent(digits, duration, gap, clock_rate)):
        now += 0.02
        if packet is not None:
            if packet.first:
                key += 1
                begun = start + number * clock_rate // 50
            if number not in lost:
                arrived.append(key)
                timestamp = (begun + packet.offset) & 0xFFFF_FFFF
                received.append(receiver.put(packet.payload, timestamp, now, clock_rate))
        received.append(receiver.expire(now))
    received.append(receiver.expire(now + 1))

    pressed = [each for each in received if each is not None]
    assert [digits[key] for key in sorted(set(arrived))] == [digit for digit, _ in pressed]
    if not lost:
        # It ends with a packet, 20 ms apart; one that reports a full segment can't report the rest, too.
        assert all(duration <= length + 1e-3 and length < duration + 0.041 for _, length in pressed)


def test_packets_that_come_twice_or_out_of_order_are_one_key():
    packets = [packet.payload for packet in sent("3", 0.1, 0.05) if packet is not None]
    receiver = EventReceiver()

    received = [receiver.put(packets[at], 4000, 0.0, 48_000) for at in (0, 2, 1, 1, 4, 3, 5, 6, 6)]

    assert [("3", 0.1)] == [each for each in received if each is not None]
    assert not receiver.active


@pytest.mark.parametrize("payload", [b"", b"\x05", b"\x05\x8a\x00", b"\x10\x8a\x03\xc0", b"\xff\xff\xff\xff"])
def test_payloads_that_are_no_key_are_left_out(payload: bytes):
    assert EventReceiver().put(payload, 0, 0.0, 48_000) is None


@pytest.mark.parametrize("key", DIGITS)
def test_tones_are_those_of_the_key_and_nothing_else(key: str):
    source = DtmfSource(key, duration=0.2, level=-20.0)
    pcm = source.read(9600)

    assert (9600, 1) == pcm.shape
    sound = spectrum.as_float(pcm)
    low, high = tones(key)
    assert -20 == pytest.approx(spectrum.tone_level(sound, 48_000, low), abs=0.5)
    assert -18 == pytest.approx(spectrum.tone_level(sound, 48_000, high), abs=0.5)
    for other in (697, 770, 852, 941, 1209, 1336, 1477, 1633):
        if other not in (low, high):
            assert spectrum.tone_level(sound, 48_000, other) < -45


def test_tones_last_as_long_as_asked_with_gaps_between_them():
    source = DtmfSource("1,2", duration=0.1, gap=0.05)
    blocks = []
    while (block := source.read(960)) is not None:
        blocks.append(block)
    pcm = np.concatenate(blocks)

    assert round(48_000 * (0.1 + 0.05 + 2.0 + 0.1 + 0.05)) == len(pcm)
    assert 0 == np.abs(pcm[4800 : 4800 + 2400 + 96_000]).max()
    assert source.read(960) is None


def test_what_no_telephone_has_is_refused():
    for wrong in (
        {"digits": "E"},
        {"digits": "1", "duration": 7},
        {"digits": "1", "gap": 0},
        {"digits": "1", "level": 0},
    ):
        with pytest.raises(ConfigurationError):
            DtmfSource(**wrong)
