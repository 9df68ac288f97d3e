"""What an offer may ask for: checked before aiortc parses it, opens sockets for it and makes keys."""

from __future__ import annotations

from rtcpeer.protocols.http import Refusal

from .places import LimitReached

CHARACTERS = 64_000
"""Of the whole SDP. Chromium's is 6 to 10 thousand with video."""
LINES = 1000
LINE = 4096
"""Characters of one line: as long as any that browsers write, fingerprints and fmtp included, several times over."""
MEDIA = 8
"""Lines that begin with ``m=``, of which one for DataChannels; each costs ICE and DTLS."""
CANDIDATES = 64
"""Each would be asked whether it answers (RFC 8445, 6.1.2.5 wants a limit, and 100 pairs as the default)."""


def check_offer(sdp: str) -> None:
    """Raises LimitReached: it is longer, or asks for more, than any call needs."""
    if len(sdp) > CHARACTERS:
        raise _too_much(f"at most {CHARACTERS} characters")
    lines = sdp.splitlines()
    if len(lines) > LINES:
        raise _too_much(f"at most {LINES} lines")
    if any(len(line) > LINE for line in lines):
        raise _too_much(f"lines of at most {LINE} characters")
    media = [line for line in lines if line.startswith("m=")]
    if len(media) > MEDIA or sum(line.startswith("m=application") for line in media) > 1:
        raise _too_much(f"at most {MEDIA} media, one of them for data")
    if sum(line.startswith("a=candidate:") for line in lines) > CANDIDATES:
        raise _too_much(f"at most {CANDIDATES} candidates")


def _too_much(what: str) -> LimitReached:
    return LimitReached(
        "offer", f"Input should have {what}", refusal=Refusal.INVALID_FIELD, field=("body", "offer", "sdp")
    )
