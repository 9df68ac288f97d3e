"""What an offer may ask for: checked before it is read, sockets are opened for it and keys are made."""

from __future__ import annotations

from rtcpeer.protocols.http import Refusal
from rtcpeer.transports.sdp_sections import too_large

from .places import LimitReached


def check_offer(sdp: str) -> None:
    """Raises LimitReached: it is larger than any call needs."""
    if (why := too_large(sdp)) is not None:
        message = f"Input should be an SDP offer that can be answered: {why}"
        raise LimitReached("offer", message, refusal=Refusal.INVALID_FIELD, field=("body", "offer", "sdp"))
