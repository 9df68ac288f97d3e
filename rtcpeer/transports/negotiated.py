"""What an offer and its answer agree on. Pure: it reads two plain descriptions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..audio.coding import DECODERS
from ..errors import RemoteProtocolError
from .remote_sdp import RemoteDescription, codec_numbers
from .sdp_sections import Direction


@dataclass(frozen=True, slots=True)
class NegotiatedAudio:
    """The audio line of a call.

    Args:
        codec: What we send: encoding name in lower case.
        send_type: The RTP payload type we send it with.
        receive_types: Encoding name by the RTP payload type that we are sent.
        direction: Ours, as ``RTCRtpTransceiver.currentDirection`` has it.
    """

    codec: str
    send_type: int
    receive_types: Mapping[int, str]
    direction: Direction

    @property
    def sends(self) -> bool:
        """Whether the far end takes audio."""
        return self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        """Whether the far end sends audio, or may."""
        return self.direction in ("sendrecv", "recvonly")


def negotiate_audio(ours: str, remote: RemoteDescription) -> NegotiatedAudio:
    """Return what our description and the far end's agree on.

    Raises:
        RemoteProtocolError: they have no codec in common.
    """
    line = remote.line("audio")
    assert line is not None
    mine = codec_numbers(ours)
    common = [name for name in DECODERS if name in mine.values() and name in line.codecs.values()]
    if not common:
        wanted = ", ".join(dict.fromkeys(line.codecs.values()))
        raise RemoteProtocolError(f"the far end wants to hear {wanted[:200]}: we have {', '.join(DECODERS)}")
    # RFC 3264, 5.1 and 6.1: each side is sent the numbers of its own description. Some send with the other's.
    receive = {number: name for number, name in line.codecs.items() if name in common}
    receive |= {number: name for number, name in mine.items() if name in common}
    send_type = next(number for number, name in line.codecs.items() if name == common[0])
    return NegotiatedAudio(common[0], send_type, receive, mirrored(line.direction))


def mirrored(direction: Direction) -> Direction:
    """Return the other side's direction of a line."""
    swapped: dict[Direction, Direction] = {"sendonly": "recvonly", "recvonly": "sendonly"}
    return swapped.get(direction, direction)


def facts(remote: RemoteDescription, audio: NegotiatedAudio) -> dict[str, Any]:
    """Return what was negotiated, for people to read; JSON types only. Directions are ours."""
    video = next((line for line in remote.lines if line.kind == "video"), None)
    return {
        "audio": {
            "direction": audio.direction,
            "codec": audio.codec,
            "payload_type": audio.send_type,
            "receives": {str(number): name for number, name in sorted(audio.receive_types.items())},
        },
        "video": None if video is None else "rejected" if video.rejected else mirrored(video.direction),
        "ice_lite": remote.ice_lite,
        "passed_over": dict(remote.passed_over),
    }


def counted(what: Iterable[str] | Mapping[str, int]) -> str:
    """Return ``2 host, 1 relay``."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(what).items())
