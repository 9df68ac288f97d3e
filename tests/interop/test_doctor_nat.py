"""The doctor behind real NATs, on a host without a network, and in front of coturn."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from namespaces import Host
from test_coturn import coturn

from rtcpeer.auth import turn_credentials
from rtcpeer.doctor.ice import check_ice_servers
from rtcpeer.protocols.http import IceServer
from rtcpeer.transports.ice_options import IceOptions

SECRET = "north"
SERVERS = ("10.79.2.2", "10.79.2.3")
"""One coturn, at two addresses."""

ASK = """
import asyncio, json, sys
from rtcpeer.doctor.ice import check_ice_servers
from rtcpeer.protocols.http import IceServer
from rtcpeer.transports.ice_options import IceOptions

servers = [IceServer((url,)) for url in sys.argv[1:]]
findings = asyncio.run(check_ice_servers(servers, asked_for=True, ice=IceOptions(), timeout=5.0))
print(json.dumps([finding.to_dict() for finding in findings]))
"""

LOOK = """
import asyncio, json
from rtcpeer.doctor.network import check_addresses
from rtcpeer.doctor.offer import check_offer
from rtcpeer.protocols.orga import Orga
from rtcpeer.transports.ice_options import IceOptions

async def main():
    return [await check_addresses(IceOptions()), *await check_offer(Orga, IceOptions())]

print(json.dumps([finding.to_dict() for finding in asyncio.run(main())]))
"""


async def ip(*command: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, f"ip {' '.join(command)}: {said.decode()}"


@asynccontextmanager
async def namespace(name: str) -> AsyncIterator[Host]:
    """A host of its own, with loopback alone."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux and root: run it as root, or with sudo")
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed: apt-get install iproute2")
    host = Host(f"rtcpeer-doctor-{os.getpid()}-{name}", "")
    try:
        await ip("netns", "add", host.namespace)
    except AssertionError as exc:
        pytest.skip(f"no network namespace to be had here ({exc}): a container wants --privileged")
    try:
        await ip("-n", host.namespace, "link", "set", "dev", "lo", "up")
        yield host
    finally:
        await ip("netns", "delete", host.namespace)


async def connect(near: Host, far: Host, near_address: str, far_addresses: tuple[str, ...]) -> None:
    """Lay a cable: an interface in each, named after the other's address."""
    ends = [(near, "up", (near_address,)), (far, "down", far_addresses)]
    await ip(
        *("-n", near.namespace, "link", "add", "dev", "up", "type", "veth"),
        *("peer", "name", "down", "netns", far.namespace),
    )
    for host, name, addresses in ends:
        for address in addresses:
            await ip("-n", host.namespace, "address", "add", f"{address}/24", "dev", name)
        await ip("-n", host.namespace, "link", "set", "dev", name, "up")


@asynccontextmanager
async def behind_nat(kind: Literal["masquerade", "masquerade fully-random"]) -> AsyncIterator[Host]:
    """A host, and a NAT between it and a coturn at both of ``SERVERS``."""
    for program, package in (("nft", "nftables"), ("turnserver", "coturn")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    chain = "add table ip n; add chain ip n p { type nat hook postrouting priority 100; }"
    rules = f"{chain}; add rule ip n p oifname up {kind}"
    async with namespace("in") as inner, namespace("nat") as router, namespace("out") as outer:
        await connect(inner, router, "10.79.1.2", ("10.79.1.1",))
        await ip("-n", inner.namespace, "route", "add", "default", "via", "10.79.1.1")
        await connect(router, outer, "10.79.2.1", SERVERS)
        await run(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        await run(router, "nft", rules)
        addresses = [f"--listening-ip={address}" for address in SERVERS]
        options = ("--no-cli", "--stun-only", "--no-tls", "--no-dtls", "--log-file=stdout", "--pidfile=/dev/null")
        async with outer.running("turnserver", "-n", *addresses, *options):
            yield inner


async def run(host: Host, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *host.command(*command),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    assert process.returncode == 0, f"{command[:3]} ended with {process.returncode}"
    return said.decode()


async def look(host: Host, program: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """Run a program there, and return the findings that it prints by their target, or name."""
    found = json.loads(await run(host, sys.executable, "-c", program, *arguments))
    return {each["target"] or each["name"]: each for each in found}


@pytest.mark.parametrize(
    ("kind", "mapping", "status"),
    [
        ("masquerade", "endpoint-independent", "ok"),
        ("masquerade fully-random", "endpoint-dependent", "warn"),
    ],
)
async def test_a_nat_is_told_by_what_it_does(kind, mapping, status):
    async with behind_nat(kind) as host:
        found = await look(host, ASK, *(f"stun:{address}" for address in SERVERS))

    assert [found[f"stun:{address}:3478"]["status"] for address in SERVERS] == ["ok", "ok"]
    assert {address for address, _ in found["nat"]["figures"]["seen"]} == {"10.79.2.1"}
    assert (found["nat"]["figures"]["mapping"], found["nat"]["status"]) == (mapping, status)


async def test_a_host_with_loopback_alone_can_call_itself_and_nobody_else():
    async with namespace("alone") as host:
        found = await look(host, LOOK)

    assert {name: found[name]["status"] for name in ("addresses", "candidates", "codecs")} == {
        "addresses": "warn",
        "candidates": "ok",
        "codecs": "ok",
    }


async def test_the_address_that_it_advises_is_what_such_a_host_lacks():
    async with namespace("alone") as host:
        await ip("-n", host.namespace, "address", "add", "10.99.0.1/32", "dev", "lo")
        found = await look(host, LOOK)

    assert (found["addresses"]["status"], found["candidates"]["status"]) == ("ok", "ok")


async def test_a_relay_works_with_its_secret_and_tells_a_wrong_credential_from_an_expired_one():
    async with coturn(SECRET) as url:
        stun = url.replace("turn:", "stun:").partition("?")[0]
        now = time.time()
        servers = [
            IceServer((stun,)),
            IceServer((url,), *turn_credentials(SECRET, now=now, ttl=600)),
            IceServer((url,), *turn_credentials("south", now=now, ttl=600)),
            IceServer((url,), *turn_credentials(SECRET, now=now - 1000, ttl=600)),
            IceServer((url,)),
        ]
        findings = await check_ice_servers(servers, asked_for=True, ice=IceOptions(), timeout=5.0)

    assert ["ok", "ok", "fail", "fail", "fail", "ok"] == [finding.status for finding in findings]
    wrong, expired, without = (finding.detail for finding in findings[2:5])
    assert "wrong username or credential" in wrong
    assert "expired" in expired
    assert "wants a username" in without
    assert findings[5].figures["mapping"] == "none"
    assert 0 < findings[1].figures["relayed"] < 1


async def test_data_that_a_relay_does_not_pass_on_is_missed():
    # It forbids its own address, where the other allocation is; so does many a service.
    async with coturn(SECRET, "--denied-peer-ip=127.0.0.1") as url:
        servers = [IceServer((url,), *turn_credentials(SECRET, now=time.time(), ttl=600))]
        findings = await check_ice_servers(servers, asked_for=True, ice=IceOptions(), timeout=5.0)

    assert (findings[0].status, findings[0].figures["relayed"]) == ("ok", "unknown")
