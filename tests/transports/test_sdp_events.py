"""Telephone events in SDP: what we write, and what others write."""

from __future__ import annotations

import pytest
from aiortc.sdp import SessionDescription

from rtcpeer.transports.sdp import free_payload_types, telephone_event_types, with_telephone_events

SDP = "\r\n".join(
    [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 96 0",
        "c=IN IP4 0.0.0.0",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:0 PCMU/8000",
        "m=video 9 UDP/TLS/RTP/SAVPF 110 111",
        "c=IN IP4 0.0.0.0",
        "a=rtpmap:110 VP8/90000",
        "a=rtpmap:111 rtx/90000",
        "",
    ]
)


def test_events_are_added_to_the_audio_line_alone_and_aiortc_reads_them():
    sdp = with_telephone_events(SDP, {48_000: 112, 8_000: 126})
    audio, video = SessionDescription.parse(sdp).media

    assert "m=audio 9 UDP/TLS/RTP/SAVPF 96 0 112 126\r\n" in sdp
    assert [96, 0, 112, 126] == audio.fmt
    assert [("audio/telephone-event", 48_000, 112), ("audio/telephone-event", 8_000, 126)] == [
        (codec.mimeType, codec.clockRate, codec.payloadType) for codec in audio.rtp.codecs[2:]
    ]
    assert "a=fmtp:112 0-15\r\na=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-15\r\nm=video" in sdp
    assert [110, 111] == video.fmt
    assert {48_000: 112, 8_000: 126} == telephone_event_types(sdp)


def test_without_events_nothing_is_changed():
    assert with_telephone_events(SDP, {}) == SDP
    assert {} == telephone_event_types(SDP)


def test_a_number_that_any_line_uses_is_not_free():
    free = free_payload_types(SDP)

    assert 126 == free[0]
    assert not {96, 110, 111, 0} & set(free)
    assert all(96 <= number <= 127 for number in free)


@pytest.mark.parametrize(
    "lines",
    [
        # Chromium offers four rates; only those that our audio can have count.
        "a=rtpmap:110 telephone-event/48000\na=rtpmap:112 telephone-event/32000\na=rtpmap:126 telephone-event/8000",
        "a=rtpmap:110 TELEPHONE-EVENT/48000\r\na=rtpmap:126 telephone-event/8000\r\n",
        # The first of a rate is preferred.
        "a=rtpmap:110 telephone-event/48000\na=rtpmap:113 telephone-event/48000\na=rtpmap:126 telephone-event/8000",
        "a=rtpmap:110 telephone-event/48000\na=rtpmap:126 telephone-event/8000\na=rtpmap:999 telephone-event/8000000",
    ],
)
def test_what_others_write_is_read(lines: str):
    assert {48_000: 110, 8_000: 126} == telephone_event_types(lines)


def test_numbers_that_no_packet_can_have_are_left_out():
    assert {} == telephone_event_types("a=rtpmap:300 telephone-event/48000")
