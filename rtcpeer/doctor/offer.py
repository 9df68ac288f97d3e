"""What this machine would really offer: candidates and codecs, read from an offer that goes nowhere."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from ..errors import IceError
from ..protocols.base import Side, VoiceProtocol
from ..session import Session
from ..transports.ice_options import IceOptions
from ..transports.webrtc import RtcLink
from .finding import Finding

_CODEC = re.compile(r"^a=rtpmap:\d+ ([\w.-]+)/", re.MULTILINE)
_NOT_CODECS = {"rtx", "telephone-event"}
_CANDIDATE = re.compile(r"^a=candidate:\S+ \d+ \w+ \d+ (\S+) \d+ typ (\w+)", re.MULTILINE | re.IGNORECASE)


async def check_offer(protocol: type[VoiceProtocol], ice: IceOptions) -> list[Finding]:
    """Make an offer, without any ICE server, and throw it away."""
    loop = asyncio.get_running_loop()
    session = Session(protocol(Side.CLIENT), loop.time())
    session.link = link = RtcLink(session.protocol, session, ice=ice)
    began = loop.time()
    try:
        sdp = await link.offer()
    except IceError as exc:
        advice = "no call can begin: see addresses and udp"
        return [
            Finding(name="candidates", status="fail", detail=str(exc), advice=advice),
            Finding(name="codecs", status="skipped", detail="not tried: candidates failed"),
        ]
    finally:
        seconds = loop.time() - began
        await session.close()
    return [judge_candidates(sdp, seconds), judge_codecs(sdp)]


def judge_candidates(sdp: str, seconds: float) -> Finding:
    """Say what host candidates an offer has.

    Args:
        seconds: That it took to make.
    """
    found = {address for address, kind in _CANDIDATE.findall(sdp) if kind == "host"}
    return Finding(
        name="candidates",
        status="ok",
        detail=f"{len(found)} host candidate{'' if len(found) == 1 else 's'} in {1000 * seconds:.0f} ms",
        figures={"host": len(found), "seconds": round(seconds, 4)},
    )


def judge_codecs(sdp: str) -> Finding:
    """Say what codecs an offer has."""
    kinds: dict[str, list[str]] = {}
    for section in re.split(r"^m=", sdp, flags=re.MULTILINE)[1:]:
        kind = section.partition(" ")[0]
        names = Counter(name for name in _CODEC.findall(section) if name.lower() not in _NOT_CODECS)
        if names:
            kinds[kind] = list(names)
    opus = "opus" in (name.lower() for name in kinds.get("audio", []))
    events = "telephone-event" in sdp
    detail = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
    return Finding(
        name="codecs",
        status="ok" if opus else "fail",
        detail=f"{detail}{'; telephone keys' if events else ''}",
        advice="" if opus else "no call without Opus: pip install --force-reinstall aiortc av",
        figures={**kinds, "telephone_event": events},
    )
