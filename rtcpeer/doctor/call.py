"""What a real call to the service negotiates; a short one, which the service counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..connecting import connect
from ..errors import RtcPeerError
from ..transports.negotiated import counted
from .finding import Finding

if TYPE_CHECKING:
    from .plan import Plan


async def check_call(plan: Plan) -> Finding:
    """Join a session of ``plan.url``, look at what was agreed on, and leave."""
    assert plan.url is not None
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with connect(
            plan.protocol,
            plan.url,
            api_key=plan.api_key,
            token=plan.token,
            interface=plan.interface,
            udp_ports=plan.udp_ports,
            turn_ca=plan.turn_ca,
            http_timeout=plan.timeout,
            ice_timeout=2 * plan.timeout,
            open_timeout=4 * plan.timeout,
            video=False,
            reconnect=None,
        ) as session:
            seconds = loop.time() - began
            stats = session.stats()
    except RtcPeerError as exc:
        advice = f"the call got as far as its {exc.phase} phase: see the lines above"
        return Finding(name="call", status="fail", detail=str(exc), advice=advice)
    return judge_call(stats["negotiated"], stats["candidate_pair"], seconds)


def judge_call(negotiated: Mapping[str, Any] | None, pair: Mapping[str, str] | None, seconds: float) -> Finding:
    """Say what a call that came up has agreed on.

    Args:
        negotiated: As ``Session.stats`` has it; ``None``: it is no WebRTC call.
        pair: As ``Session.stats`` has ``candidate_pair``.
        seconds: From the first request until it was open.
    """
    detail = f"up in {1000 * seconds:.0f} ms"
    if negotiated is None:
        return Finding(name="call", status="ok", detail=detail, figures={"seconds": round(seconds, 4)})
    audio, dtls, candidates = negotiated["audio"], negotiated["dtls"] or {}, negotiated["candidates"]
    told = [detail, f"audio {audio['direction']}, {audio['codec']} as payload type {audio['payload_type']}"]
    if pair is not None:
        told.append(f"path {pair['local_type']} to {pair['remote_type']}")
    told.append(f"candidates: ours {counted(candidates['local'])}, theirs {counted(candidates['remote'])}")
    if dtls:
        told.append(f"{dtls['version']} as {dtls['role']}, {dtls['cipher']}, certificate {dtls['certificate']}")
    if negotiated["passed_over"]:
        told.append(f"not used of its SDP: {counted(negotiated['passed_over'])}")
    both = audio["direction"] == "sendrecv"
    missing = "takes" if audio["direction"] in ("recvonly", "inactive") else "sends"
    return Finding(
        name="call",
        status="ok" if both else "warn",
        detail="; ".join(told),
        advice="" if both else f"the service {missing} no audio: ask whoever runs it",
        figures={"seconds": round(seconds, 4), "negotiated": dict(negotiated), "candidate_pair": pair},
    )
