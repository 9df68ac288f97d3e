"""Two hosts, each behind a router that can be a NAT, and coturn between them: five network namespaces.

    left 10.80.1.2 ── natl ── 10.80.11.0/24 ── wan (coturn) ── 10.80.12.0/24 ── natr ── right 10.80.2.2

Signaling has a cable of its own between left and right, ``side``, which no candidate may use. Skips where a part is
missing; everything is gone afterwards.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from namespaces import Host, Process, ip
from parts import HERE
from test_doctor_nat import namespace, run

Nat = Literal["none", "cone", "symmetric"]
TURN = "10.80.11.1"
PUBLISHED = (47_000, 47_009)
"""UDP ports of the right router."""
CREDENTIALS = {"username": "ann", "credential": "s3cret"}
RULES = {"none": "", "cone": "masquerade", "symmetric": "masquerade fully-random"}


@dataclass
class Lab:
    left: Host
    right: Host
    natl: Host
    natr: Host
    caller: Process

    async def become(self, left: Nat, right: Nat, *, udp: bool = True) -> None:
        """Make the routers such NATs; with ``udp=False`` the left one lets no UDP through.

        A cone on the right has ``PUBLISHED`` mapped to the host behind it, as a container's ports are.
        """
        for router, kind in ((self.natl, left), (self.natr, right)):
            rules = ["flush ruleset", "add table ip n"]
            if kind != "none":
                rules += [
                    "add chain ip n p { type nat hook postrouting priority 100; }",
                    f"add rule ip n p oifname wan {RULES[kind]}",
                    # Nobody outside begins, nor is an address of the inside known there.
                    "add chain ip n f { type filter hook forward priority 0; }",
                    "add rule ip n f ct status dnat accept",
                    "add rule ip n f iifname wan ct state new drop",
                    # If the router itself answered a packet that comes too early, conntrack would give its port away.
                    "add chain ip n i { type filter hook input priority 0; }",
                    "add rule ip n i iifname wan ct state new drop",
                ]
                if router is self.natr and kind == "cone":
                    rules += [
                        "add chain ip n d { type nat hook prerouting priority -100; }",
                        f"add rule ip n d iifname wan udp dport {PUBLISHED[0]}-{PUBLISHED[1]} dnat to 10.80.2.2",
                    ]
                if router is self.natl and not udp:
                    rules.append("add rule ip n f meta l4proto udp drop")
            await run(router, "nft", "; ".join(rules))

    async def call(self, **options: Any) -> dict[str, Any]:
        """Call from the left; return the pair of candidates, or the error."""
        found: dict[str, Any] = json.loads(await self.caller.ask(json.dumps(options)))
        return found


@asynccontextmanager
async def nat_lab() -> AsyncIterator[Lab]:
    for program, package in (("nft", "nftables"), ("turnserver", "coturn")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    async with AsyncExitStack() as stack:
        left, natl, wan, natr, right = [
            await stack.enter_async_context(namespace(name)) for name in ("left", "natl", "wan", "natr", "right")
        ]
        await cable(left, "eth0", "10.80.1.2", natl, "lan", "10.80.1.1")
        await cable(natl, "wan", "10.80.11.2", wan, "left", TURN)
        await cable(natr, "wan", "10.80.12.2", wan, "right", "10.80.12.1")
        await cable(right, "eth0", "10.80.2.2", natr, "lan", "10.80.2.1")
        await cable(left, "side", "10.81.0.1", right, "side", "10.81.0.2")
        for host, gateway in ((left, "10.80.1.1"), (natl, TURN), (natr, "10.80.12.1"), (right, "10.80.2.1")):
            await ip("-n", host.namespace, "route", "add", "default", "via", gateway)
        await ip("-n", wan.namespace, "route", "add", "10.80.1.0/24", "via", "10.80.11.2")
        await ip("-n", wan.namespace, "route", "add", "10.80.2.0/24", "via", "10.80.12.2")
        # An address that can't be routed makes coturn drop the allocation.
        await ip("-n", wan.namespace, "route", "add", "blackhole", "default")
        for router in (natl, wan, natr):
            await run(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        options = (f"--listening-ip={TURN}", f"--relay-ip={TURN}", "--user=ann:s3cret", "--lt-cred-mech")
        more = ("--realm=test.local", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--pidfile=/dev/null")
        await stack.enter_async_context(wan.running("turnserver", "-n", *options, *more))
        servers = [
            {"urls": [f"stun:{TURN}:3478", f"turn:{TURN}:3478", f"turn:{TURN}:3478?transport=tcp"]} | CREDENTIALS
        ]
        url = await stack.enter_async_context(called(right, "10.81.0.2", ice_servers=servers, interface="eth0"))
        yield Lab(left, right, natl, natr, await stack.enter_async_context(calling(left, url, interface="eth0")))


@asynccontextmanager
async def called(host: Host, address: str, **options: Any) -> AsyncIterator[str]:
    """Run the side that is called there; yields its URL."""
    async with _peer(host, "called", address, options) as process:
        yield (await process.line()).strip()


@asynccontextmanager
async def calling(host: Host, url: str, **options: Any) -> AsyncIterator[Process]:
    """Run the side that calls there; it calls when it is asked to."""
    async with _peer(host, "caller", url, options) as process:
        assert "ready\n" == await process.line()
        yield process


@asynccontextmanager
async def _peer(host: Host, role: str, place: str, options: dict[str, Any]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *host.command(sys.executable, HERE / "nat_peer.py", role, place, json.dumps(options)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(process)
    finally:
        process.kill()
        await process.communicate()


async def cable(near: Host, near_name: str, near_address: str, far: Host, far_name: str, far_address: str) -> None:
    """Lay a cable, an interface at each end."""
    await ip(
        *("-n", near.namespace, "link", "add", "dev", near_name, "type", "veth"),
        *("peer", "name", far_name, "netns", far.namespace),
    )
    for host, name, address in ((near, near_name, near_address), (far, far_name, far_address)):
        # No second one, that comes seconds later; and no waiting for another host to object to ours.
        options = ("64", "nodad") if ":" in address else ("24",)
        await ip("-n", host.namespace, "link", "set", "dev", name, "addrgenmode", "none")
        await ip("-n", host.namespace, "address", "add", f"{address}/{options[0]}", "dev", name, *options[1:])
        await ip("-n", host.namespace, "link", "set", "dev", name, "up")
