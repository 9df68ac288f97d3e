"""RTP as bytes, against aiortc's own reader and writer and against lies."""

import struct

import pytest
from aiortc.rtp import HeaderExtensionsMap, RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.jitter import MediaPacket
from rtcpeer.transports.rtp import Numbering, PacketWriter, is_rtcp, parse

uint16, uint32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)


@given(
    sequence=uint16,
    timestamp=uint32,
    ssrc=uint32,
    payload_type=st.integers(0, 127),
    csrc=st.lists(uint32, max_size=15),
    padding=st.integers(0, 255),
    payload=st.binary(max_size=200),
)
def test_what_aiortc_writes_is_read(sequence, timestamp, ssrc, payload_type, csrc, padding, payload):
    packet = RtpPacket(payload_type, 0, sequence, timestamp, ssrc, payload)
    packet.csrc, packet.padding_size = csrc, padding

    assert MediaPacket(sequence, timestamp, payload_type, ssrc, payload) == parse(packet.serialize())


@given(sequence=uint16, timestamp=uint32, payload=st.binary(max_size=200), level=st.integers(0, 127), voiced=...)
def test_what_we_write_is_read_by_aiortc(sequence: int, timestamp: int, payload: bytes, level: int, voiced: bool):
    # RFC 8285, 4.2: one-byte header; element 1 is the mid "0", element 2 the audio level.
    extension = bytes.fromhex("BEDE 0001 10 30 20 00".replace(" ", ""))
    writer = PacketWriter(111, 0xDEADBEEF, extension, 7)
    packet = RtpPacket.parse(writer.write(sequence, timestamp, payload, level=level, voiced=voiced), _extensions())

    assert (111, sequence, timestamp, 0xDEADBEEF) == (
        packet.payload_type,
        packet.sequence_number,
        packet.timestamp,
        packet.ssrc,
    )
    assert payload == packet.payload
    assert ("0", (voiced, level)) == (packet.extensions.mid, packet.extensions.audio_level)


def _extensions() -> HeaderExtensionsMap:
    from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters

    extensions = HeaderExtensionsMap()
    extensions.configure(
        RTCRtpParameters(
            headerExtensions=[
                RTCRtpHeaderExtensionParameters(id=1, uri="urn:ietf:params:rtp-hdrext:sdes:mid"),
                RTCRtpHeaderExtensionParameters(id=2, uri="urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
            ]
        )
    )
    return extensions


def test_without_an_extension_there_is_none():
    written = PacketWriter(0, 1, b"", None).write(2, 3, b"x", level=0, voiced=True)

    assert MediaPacket(2, 3, 0, 1, b"x") == parse(written)
    assert len(written) == 13


HEADER = struct.pack("!BHLL", 111, 1, 2, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80" + HEADER[:-1],
        b"\x40" + HEADER,
        b"\x8f" + HEADER + b"\0" * 59,
        b"\x90" + HEADER + b"\xbe\xde\x00",
        b"\x90" + HEADER + b"\xbe\xde\xff\xff" + b"\0" * 100,
        b"\xa0" + HEADER + b"\x00",
        b"\xa0" + HEADER + b"\x05",
        b"\xa0" + HEADER,
    ],
    ids=[
        "empty",
        "truncated",
        "version 1",
        "more CSRCs than bytes",
        "half an extension header",
        "an extension longer than the packet",
        "padding of none",
        "padding longer than the packet",
        "padding read out of the header",
    ],
)
def test_lengths_that_lie_make_no_packet(data):
    assert parse(data) is None or parse(data).payload == b""


@given(st.binary(max_size=300))
def test_no_datagram_breaks_the_parser(data):
    packet = parse(data)
    if packet is not None:
        assert len(packet.payload) <= len(data) - 12


@pytest.mark.parametrize(("second", "expected"), [(200, True), (201, True), (207, True), (111, False), (239, False)])
def test_rtcp_is_told_from_rtp_by_its_second_byte(second, expected):
    assert expected == is_rtcp(bytes([0x80, second, 0, 0]))


def test_the_marker_is_read_and_written():
    writer = PacketWriter(111, 1, b"", None)
    for marker in (True, False):
        written = writer.write(1, 2, b"x", marker=marker)
        assert marker == bool(RtpPacket.parse(written).marker)
        assert MediaPacket(1, 2, 111, 1, b"x", marker) == parse(written)


def test_an_origin_keeps_its_steps_and_another_one_goes_on_by_the_time_that_passed():
    numbers = Numbering(65_534, 0xFFFF_FFFF - 959, frame=960)

    ours = [numbers.next("ours", None, frame * 960, 5 + frame * 960) for frame in range(3)]
    # Its first packet comes 50 ms after our last; number 101 was lost, 103 overtook 102.
    theirs = [
        numbers.next("theirs", sequence, 7000 + (sequence - 100) * 960, 5 + 2 * 960 + 2400 + at)
        for at, sequence in enumerate((100, 103, 102, 104))
    ]
    again = numbers.next("ours", None, 50 * 960, 1_000_000)

    assert [(65_534, 0xFFFF_FFFF - 959), (65_535, 0), (0, 960)] == ours
    assert [(1, 3360), (4, 3360 + 3 * 960), (3, 3360 + 2 * 960), (5, 3360 + 4 * 960)] == theirs
    assert (6, 3360 + 4 * 960 + 1_000_000 - (5 + 2 * 960 + 2403)) == again


def test_who_takes_over_at_once_does_not_overlap_the_packet_before():
    numbers = Numbering(0, 0, frame=960)
    numbers.next("ours", None, 0, 100)

    assert (1, 960) == numbers.next("theirs", 7, 9999, 101)


@pytest.mark.parametrize("leap", [-101, 3000, 40_000, -40_000])
def test_an_origin_whose_numbers_leap_goes_on_with_the_next(leap: int):
    numbers = Numbering(0, 0, frame=960)
    numbers.next("theirs", 50_000, 0, 0)

    assert (1, 4800) == numbers.next("theirs", 50_000 + leap, 77, 4800)
    assert (2, 5760) == numbers.next("theirs", 50_001 + leap, 77 + 960, 5760)


def test_what_is_left_out_on_purpose_leaves_no_gap():
    numbers = Numbering(0, 0, frame=960)
    numbers.next("theirs", 10, 0, 0)
    numbers.leave_out("ours")  # whose turn it is not
    numbers.leave_out("theirs")  # number 11

    assert (1, 1920) == numbers.next("theirs", 12, 1920, 1920)


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.integers(1, 5)), max_size=60),
    start=uint16,
    timestamp=uint32,
)
def test_numbers_never_go_back_nor_stand_still_whoever_feeds_the_stream(steps, start, timestamp):
    numbers, now, counts = Numbering(start, timestamp, frame=960), 0, {"a": 500, "b": 60_000}
    before = None
    for origin, ahead, passed in steps:
        now += passed * 960
        counts[origin] += ahead
        sequence, ticks = numbers.next(origin, counts[origin], counts[origin] * 960, now)
        if before is not None:
            assert 0 < (sequence - before[0]) & 0xFFFF <= 5
            assert 960 <= (ticks - before[1]) & 0xFFFF_FFFF <= 5 * 960 * 60
        before = (sequence, ticks)
