"""Calls through real NATs, and over IPv6 alone: which pair of candidates is found, and what is said when none is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from nat_lab import PUBLISHED, Lab, cable, called, calling, nat_lab
from test_doctor_nat import namespace


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[asyncio.Runner, Lab]]:
    """One network for all tests, on a loop of its own: it takes two seconds to build."""
    with asyncio.Runner() as runner:
        lab = nat_lab()
        yield runner, runner.run(lab.__aenter__())
        runner.run(lab.__aexit__(None, None, None))


def call(network: tuple[asyncio.Runner, Lab], left: str, right: str, *, udp: bool = True, **options: object) -> dict:
    runner, lab = network

    async def become_and_call() -> dict:
        await lab.become(left, right, udp=udp)  # type: ignore[arg-type]
        return await lab.call(**options)

    return runner.run(become_and_call())


def test_behind_a_cone_nat_a_public_host_is_reached_without_a_relay(network):
    found = call(network, "cone", "none")

    assert "10.80.2.2" == found["remote"].partition(":")[0]
    assert "host" == found["local_type"]
    assert found["heard"]
    assert [] == found["told"]


def test_two_cone_nats_are_crossed_by_what_stun_servers_said(network):
    found = call(network, "cone", "cone")

    assert "10.80.12.2" == found["remote"].partition(":")[0]
    assert "relay" not in (found["local_type"], found["remote_type"])
    assert found["heard"]


def test_two_symmetric_nats_need_the_relay_and_get_it(network):
    found = call(network, "symmetric", "symmetric")

    assert "relay" in (found["local_type"], found["remote_type"])
    assert found["heard"]


def test_where_no_udp_passes_the_relay_is_reached_over_tcp(network):
    found = call(network, "cone", "cone", udp=False)

    assert "relay" == found["local_type"]
    assert found["heard"]
    told = "\n".join(found["told"])
    assert "stun:10.80.11.1:3478: no answer" in told
    assert "turn:10.80.11.1:3478?transport=udp: no answer" in told


def test_without_a_path_the_error_says_what_was_tried(network):
    found = call(network, "symmetric", "symmetric", udp=False, ice_policy="all", ice_timeout=0.5, gather_timeout=0.01)

    assert "IceError: no network path to the far end" in found["error"]
    assert "we offered 1 host" in found["error"]
    assert "the far end 1 host" in found["error"]
    assert "stun:10.80.11.1:3478: no answer in 0.01" in found["error"]


def test_published_ports_and_an_advertised_address_let_a_container_be_called(network):
    runner, lab = network
    mapped = {"interface": "eth0", "udp_ports": PUBLISHED, "advertise_ip": "10.80.12.2"}

    async def call_the_container() -> dict:
        await lab.become("none", "cone")
        async with (
            called(lab.right, "10.81.0.2", ice_servers=[], **mapped) as url,
            calling(lab.left, url, interface="eth0") as caller,
        ):
            return json.loads(await caller.ask("{}"))

    found = runner.run(call_the_container())

    address, _, port = found["remote"].partition(":")
    assert ("host", "10.80.12.2") == (found["remote_type"], address)
    assert PUBLISHED[0] <= int(port) <= PUBLISHED[1]
    assert found["heard"]


async def test_over_ipv6_alone_a_call_connects():
    async with namespace("six") as left, namespace("sixth") as right:
        try:
            await cable(left, "eth0", "fd00:80::1", right, "eth0", "fd00:80::2")
        except AssertionError as exc:
            pytest.skip(f"this machine has no IPv6: {exc}")
        async with called(right, "fd00:80::2", ice_servers=[]) as url, calling(left, url) as caller:
            found = json.loads(await caller.ask("{}"))

    assert found["remote"].startswith("fd00:80::2:")
    assert found["heard"]
