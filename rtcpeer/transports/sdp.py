"""The few changes we make to our own SDP as text, and what a plain one says of audio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from ..audio.coding import ReceiverWishes

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


_EVENT = re.compile(r"^a=rtpmap:(\d+) telephone-event/(8000|48000)\s*$", re.IGNORECASE | re.MULTILINE)
# Chromium's numbers for them, then the others (RFC 3551, 3): it matters only that nobody else has it.
_EVENT_TYPES = (110, 126, *range(111, 126), 127, *range(96, 110))


def telephone_event_types(sdp: str) -> dict[int, int]:
    """Return the RTP payload types of telephone events by their clock rate: that of the audio they stand in for."""
    found = {int(rate): int(number) for number, rate in reversed(_EVENT.findall(sdp))}
    return {rate: number for rate, number in found.items() if number < 128}


def free_payload_types(sdp: str) -> list[int]:
    """Return the dynamic payload types that no line uses: bundled, they share one number space (RFC 9143, 9.1)."""
    used = {int(number) for number in re.findall(r"^a=rtpmap:(\d+) ", sdp, re.MULTILINE)}
    return [number for number in _EVENT_TYPES if number not in used]


def with_telephone_events(sdp: str, types: Mapping[int, int]) -> str:
    """Add telephone events, the sixteen keys, to the audio line (RFC 4733, 2.4.1); aiortc has no such codec.

    Args:
        types: Payload types by clock rate.
    """
    lines: list[str] = []
    attributes: list[str] = []
    for line in [*sdp.splitlines(), "m="]:
        if line.startswith("m="):
            lines += attributes
            attributes = []
        if line.startswith("m=audio "):
            line = " ".join([line, *map(str, types.values())])
            for rate, number in types.items():
                attributes += [f"a=rtpmap:{number} telephone-event/{rate}", f"a=fmtp:{number} 0-15"]
        lines.append(line)
    return "\r\n".join(lines[:-1]) + "\r\n"


def receiver_wishes(sdp: str) -> ReceiverWishes:
    """Read how the far end wants to be spoken to; what cannot be read counts as not said.

    aiortc copies our own parameters when it negotiates. ``stereo`` is of no use to one voice, and ``ptime`` is a
    preference that we do not follow (see ``VoiceEncoder``); nor ``minptime``, since nobody asks for 40 ms or more.
    """
    audio = _audio_section(sdp)
    opus = _OPUS.search(audio)
    fmtp = re.search(rf"^a=fmtp:{opus[1]} (.*)$", audio, re.MULTILINE) if opus else None
    said: dict[str, str] = {}
    for part in fmtp[1].split(";") if fmtp else ():
        name, _, value = part.partition("=")
        said.setdefault(name.strip().lower(), value.strip())

    def number(name: str, least: int, most: int) -> int | None:
        value = said.get(name, "")
        return int(value) if re.fullmatch(r"[0-9]{1,6}", value) and least <= int(value) <= most else None

    packet_time = re.search(r"^a=maxptime:([0-9]{1,4})(?:\.[0-9]+)?$", audio, re.MULTILINE)
    return ReceiverWishes(
        fec=said.get("useinbandfec") == "1",
        dtx=said.get("usedtx") == "1",
        bitrate=number("maxaveragebitrate", 6_000, 510_000),
        playback_rate=number("maxplaybackrate", 8_000, 48_000) or 48_000,
        packet_time=int(packet_time[1]) / 1000 if packet_time and int(packet_time[1]) else None,
    )


def _audio_section(sdp: str) -> str:
    """Return the lines of the first audio line, one newline after each."""
    lines = sdp.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("m=")] + [len(lines)]
    for start, end in pairwise(starts):
        if lines[start].startswith("m=audio "):
            return "\n".join(lines[start:end]) + "\n"
    return ""
