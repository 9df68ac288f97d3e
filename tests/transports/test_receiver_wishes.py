"""What far ends say they want to receive, as Chromium, Firefox, libwebrtc and aiortc wrote it, and as none should."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.audio.coding import ReceiverWishes
from rtcpeer.transports.sdp import receiver_wishes

FOLDER = Path(__file__).parents[2] / "fixtures" / "sdp"
WISHES = {
    "chromium": ReceiverWishes(fec=True),
    "firefox": ReceiverWishes(fec=True),  # maxplaybackrate=48000;stereo=1
    "libwebrtc": ReceiverWishes(fec=True),
    "aiortc": ReceiverWishes(),  # no fmtp: RFC 7587 takes that for "no FEC", and aiortc's receiver has none
}


@pytest.mark.parametrize("kind", ["offer", "answer"])
@pytest.mark.parametrize("name", WISHES)
def test_what_others_write_is_understood(name, kind):
    assert WISHES[name] == receiver_wishes((FOLDER / f"{name}-{kind}.sdp").read_text("utf-8"))


def sdp(*lines: str) -> str:
    return "\r\n".join(
        (
            "v=0",
            "a=maxptime:10",  # of the session, not of the audio
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "a=rtpmap:96 opus/48000/2",
            "a=fmtp:96 usedtx=1",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
            "a=rtpmap:111 OPUS/48000/2",
            "a=rtpmap:0 PCMU/8000",
            *lines,
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "a=maxptime:5",
            "",
        )
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), ReceiverWishes()),
        (("a=fmtp:111 useinbandfec=0",), ReceiverWishes(fec=False)),
        (("a=fmtp:111 minptime=10; UseInbandFEC=1 ;usedtx=1",), ReceiverWishes(fec=True, dtx=True)),
        (("a=fmtp:0 useinbandfec=1",), ReceiverWishes()),
        (("a=fmtp:111 maxaveragebitrate=20000;stereo=1",), ReceiverWishes(bitrate=20_000)),
        (("a=fmtp:111 maxaveragebitrate=5999",), ReceiverWishes()),
        (("a=fmtp:111 maxaveragebitrate=-1;maxplaybackrate=1e9",), ReceiverWishes()),
        (("a=fmtp:111 maxplaybackrate=16000",), ReceiverWishes(playback_rate=16_000)),
        (("a=fmtp:111 useinbandfec=1;useinbandfec=0",), ReceiverWishes(fec=True)),
        (("a=ptime:60", "a=maxptime:120"), ReceiverWishes(packet_time=0.12)),
        (("a=maxptime:10",), ReceiverWishes(packet_time=0.01)),
        (("a=maxptime:0",), ReceiverWishes()),
        (("a=maxptime:" + "9" * 5000,), ReceiverWishes()),
        (("a=fmtp:111 " + ";" * 5000,), ReceiverWishes()),
        (("a=fmtp:111",), ReceiverWishes()),
    ],
)
def test_what_is_said_of_the_audio_line_is_read_and_what_cannot_be_is_left(lines, expected):
    assert expected == receiver_wishes(sdp(*lines))


@given(st.text(), st.text())
def test_no_text_breaks_the_reader(fmtp, line):
    receiver_wishes(sdp(f"a=fmtp:111 {fmtp}", line))
    receiver_wishes(line)
