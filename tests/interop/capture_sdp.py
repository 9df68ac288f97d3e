"""Write ``fixtures/sdp/{browser}-{version}-*.sdp``: what Chromium and Firefox say in each shape of call.

    python tests/interop/capture_sdp.py [firefox | chromium-offer | firefox-answer-turn …]

Linux, and root. The browser is alone on a host whose one neighbour is coturn; on the way there its address is
translated, so that it has candidates of every type. The facts beside the files are not written by this: see
``fixtures/README.md``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection

HERE = Path(__file__).parent
FIXTURES = HERE.parents[1] / "fixtures" / "sdp"
VERSIONS = {"chromium": ("chromium", "--version"), "firefox": ("firefox-esr", "--version")}
OUTSIDE = "203.0.113.7"
TURN = [
    {"urls": "stun:10.77.0.2"},
    {"urls": ["turn:10.77.0.2", "turn:10.77.0.2?transport=tcp"], "username": "ann", "credential": "s3cret"},
]
DEADLINE = 60.0
OFFERS: dict[str, dict[str, Any]] = {
    "obfuscated": {},
    "balanced": {"obfuscate": False, "video": "sendonly"},
    "max-bundle": {"obfuscate": False, "video": "sendonly", "bundle_policy": "max-bundle"},
    "max-compat": {"obfuscate": False, "video": "sendonly", "bundle_policy": "max-compat"},
    "recvonly": {"obfuscate": False, "direction": "recvonly"},
    "turn": {"obfuscate": False, "ice_servers": TURN},
}
ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "obfuscated": ("voice", {}),
    "voice": ("voice", {"obfuscate": False}),
    "video": ("video", {"obfuscate": False}),
    "video-stopped": ("video", {"obfuscate": False, "video": "stopped"}),
    "video-codec-unknown": ("video-codec-unknown", {"obfuscate": False}),
    "codecs-unknown": ("codecs-unknown", {"obfuscate": False}),
    "no-common-codec": ("no-common-codec", {"obfuscate": False}),
    "sendonly": ("recvonly", {"obfuscate": False}),
    "turn": ("voice", {"obfuscate": False, "ice_servers": TURN}),
}
"""Of each answer: the offer that it answers, and how the browser is set up."""


async def our_offers() -> dict[str, str]:
    """Offers as aiortc writes them, by name; those with strange codecs are changed by hand."""
    offers = {}
    for name, direction, video in (
        ("voice", "sendrecv", False),
        ("video", "sendrecv", True),
        ("recvonly", "recvonly", False),
    ):
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.addTransceiver("audio", direction=direction)
        if video:
            pc.addTransceiver("video", direction="sendonly")
        pc.createDataChannel("orga-realtime-client-events")
        offers[name] = (await pc.createOffer()).sdp
        await pc.close()
    video = offers["video"]
    for codec in ("VP8/90000", "H264/90000", "rtx/90000"):
        video = video.replace(codec, "X-NOBODY/90000")
    offers["video-codec-unknown"] = video
    unknown = "a=rtpmap:107 EVS/16000\r\na=fmtp:107 br=5.9-24.4;bw=nb-swb\r\na=rtpmap:108 AMR-WB/16000\r\n"
    mixed = re.sub(r"(m=audio \d+ \S+) ", r"\1 107 108 ", offers["voice"])
    offers["codecs-unknown"] = mixed.replace("a=rtpmap:", f"{unknown}a=rtpmap:", 1)
    none = re.sub(r"(m=audio \d+ \S+) [\d ]+", r"\1 107 108", offers["voice"])
    none = re.sub(r"a=(rtpmap|fmtp|rtcp-fb):\d+ .*\r\n", "", none)
    offers["no-common-codec"] = none.replace("a=rtcp-mux\r\n", f"a=rtcp-mux\r\n{unknown}", 1)
    return offers


def run(*command: str) -> str:
    return subprocess.run(command, stdout=PIPE, text=True, check=True).stdout


def ip(*arguments: str) -> None:
    run("ip", *arguments)


@asynccontextmanager
async def host() -> AsyncIterator[str]:
    """Make the browser's host, with its neighbour; the name of its namespace."""
    near, far = (f"capture-{os.getpid()}-{name}" for name in ("near", "far"))
    made = []
    try:
        for name in (near, far):
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "dev", "lo", "up")
        ip("-n", near, "link", "add", "dev", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far)
        for number, name in enumerate((near, far), 1):
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", name, "address", "add", f"2001:db8:77::{number}/64", "dev", "eth0", "nodad")
            ip("-n", name, "link", "set", "dev", "eth0", "addrgenmode", "none", "up")
            ip("-n", name, "route", "add", "default", "via", f"10.77.0.{3 - number}")
            ip("-n", name, "-6", "route", "add", "default", "via", f"2001:db8:77::{3 - number}")
        rules = "add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; "
        rules += f"add rule ip n p oifname eth0 ip daddr 10.77.0.2 snat to {OUTSIDE}"
        ip("netns", "exec", near, "nft", rules)
        coturn = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", far, "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--lt-cred-mech"),
            *("--listening-ip=10.77.0.2", "--relay-ip=10.77.0.2", "--realm=test.local", "--user=ann:s3cret"),
            *("--log-file=/dev/null", "--pidfile=/dev/null"),
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        try:
            yield near
        finally:
            coturn.kill()
            await coturn.wait()
    finally:
        for name in made:
            ip("netns", "delete", name)


async def said(browser: Process, kind: str) -> dict[str, Any]:
    assert browser.stdout is not None
    async with asyncio.timeout(DEADLINE):
        async for line in browser.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["type"] == "failed":
                raise SystemExit(f"{message}")
            if message["type"] == kind:
                return message
    raise SystemExit(f"the far end ended without {kind}; its stderr says why")


async def capture(namespace: str, browser: str, role: str, options: dict[str, Any], **order: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, sys.executable, HERE / "far_ends" / f"{browser}.py"),
        json.dumps({"role": role, "tone": 660, **options}),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        limit=1 << 20,
    )
    try:
        await said(process, "ready")
        assert process.stdin is not None
        process.stdin.write(json.dumps({"do": role, **order}).encode() + b"\n")
        sdp: str = (await said(process, role))["sdp"]
        return sdp
    finally:
        await process.communicate(b"")  # which closes its stdin


async def main(wanted: tuple[str, ...]) -> None:
    """Capture what begins with one of ``wanted``: ``firefox``, ``chromium-offer``, ``firefox-answer-turn``."""
    ours = await our_offers()
    shapes = [("offer", name, options, {}) for name, options in OFFERS.items()]
    shapes += [("answer", name, options, {"sdp": ours[offer]}) for name, (offer, options) in ANSWERS.items()]
    async with host() as namespace:
        for browser, command in VERSIONS.items():
            version = re.search(r"\d+", run(*command))
            assert version is not None
            for role, name, options, order in shapes:
                if f"{browser}-{role}-{name}".startswith(wanted):
                    sdp = await capture(namespace, browser, role, options, **order)
                    path = FIXTURES / f"{browser}-{version[0]}-{role}-{name}.sdp"
                    path.write_text(sdp, newline="")
                    print(path.name, flush=True)


if __name__ == "__main__":
    asyncio.run(main(tuple(sys.argv[1:]) or ("",)))
