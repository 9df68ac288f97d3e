"""The few changes we make to SDP as text; parsing it is aiortc's business."""

from __future__ import annotations

import re

# RFC 7587, 6.1: what we are happy to receive. Stereo is left out: a voice has one channel.
OPUS_FMTP = "minptime=10;useinbandfec=1"

_OPUS = re.compile(r"^a=rtpmap:(\d+) opus/48000/2$", re.IGNORECASE | re.MULTILINE)


def with_opus_parameters(sdp: str) -> str:
    """Add our ``fmtp`` to every Opus format that has none; aiortc offers none and senders then leave FEC off."""
    lines: list[str] = []
    for line in sdp.splitlines():
        lines.append(line)
        if (found := _OPUS.match(line)) and f"a=fmtp:{found[1]} " not in sdp:
            lines.append(f"a=fmtp:{found[1]} {OPUS_FMTP}")
    return "\r\n".join(lines) + "\r\n"


def media_kinds(sdp: str) -> list[str]:
    """Return the kind of each media line, in order."""
    return re.findall(r"^m=(\w+) ", sdp, re.MULTILINE)
