"""What the doctor makes of STUN servers, of servers that are none, and of the NAT on the way."""

from __future__ import annotations

import socket

import pytest
from stun_server import Address, stun_server

from rtcpeer.doctor.finding import Finding
from rtcpeer.doctor.ice import check_ice_servers, judge_nat, judge_server
from rtcpeer.protocols.http import IceServer
from rtcpeer.transports.ice_options import IceOptions
from rtcpeer.transports.ice_servers import ServerOutcome


def closed_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def check(*urls: str, asked_for: bool = True, timeout: float = 2.0, **credentials: str) -> dict[str, Finding]:
    """Return the findings by their target, or their name where they have none."""
    servers = [IceServer((url,), **credentials) for url in urls]
    findings = await check_ice_servers(servers, asked_for=asked_for, ice=IceOptions(), timeout=timeout)
    return {finding.target or finding.name: finding for finding in findings}


async def test_a_stun_server_says_where_we_are():
    async with stun_server(lambda sender: ("198.51.100.7", sender[1])) as url:
        found = await check(url)

    assert found[url].status == "ok"
    assert found[url].figures["address"][0] == "198.51.100.7"
    assert found["nat"].figures["mapping"] == "unknown"


async def test_a_server_that_sees_our_own_address_means_no_nat():
    async with stun_server() as url:
        found = await check(url)

    assert (found["nat"].status, found["nat"].figures["mapping"]) == ("ok", "none")


async def test_a_nat_with_one_address_for_all_is_endpoint_independent():
    def cone(sender: Address) -> Address:
        return "198.51.100.7", sender[1]

    async with stun_server(cone) as first, stun_server(cone) as second:
        found = await check(first, second)

    assert (found["nat"].status, found["nat"].figures["mapping"]) == ("ok", "endpoint-independent")


async def test_a_nat_with_an_address_for_each_server_wants_turn():
    async with (
        stun_server(lambda sender: ("198.51.100.7", 40001)) as first,
        stun_server(lambda sender: ("198.51.100.7", 40002)) as second,
    ):
        found = await check(first, second)

    assert (found["nat"].status, found["nat"].figures["mapping"]) == ("warn", "endpoint-dependent")
    assert "TURN" in found["nat"].advice


async def test_two_names_of_one_server_do_not_show_which_nat_it_is():
    async with stun_server(lambda sender: ("198.51.100.7", sender[1])) as url:
        found = await check(url, url.replace("127.0.0.1", "localhost"))

    assert found["nat"].figures["mapping"] in ("unknown", "none")


async def test_a_dead_server_that_was_asked_for_fails_and_no_password_is_told():
    url = f"turn:127.0.0.1:{closed_port(socket.SOCK_STREAM)}?transport=tcp"

    found = await check(url, username="ann", credential="s3cr3t")

    assert found[url].status == "fail"
    assert found[url].figures["result"] == "unreachable"
    assert "s3cr3t" not in repr(found)


async def test_a_dead_stun_server_of_a_services_list_is_a_warning_and_a_dead_turn_server_fails():
    dead = f"stun:127.0.0.1:{closed_port(socket.SOCK_DGRAM)}"
    relay = f"turn:127.0.0.1:{closed_port(socket.SOCK_STREAM)}?transport=tcp"

    async with stun_server() as alive:
        found = await check(dead, relay, alive, asked_for=False)

    assert [found[url].status for url in (dead, relay, alive)] == ["warn", "fail", "ok"]


async def test_a_url_that_cannot_be_used_is_told_with_the_reason():
    found = await check("stuns:stun.example.org", asked_for=False)

    (finding,) = found.values()
    assert (finding.name, finding.status) == ("stun", "warn")
    assert "not supported" in finding.detail


async def test_silence_over_udp_means_that_it_is_closed_here():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        found = await check(f"stun:127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)

    assert (found["nat"].status, found["nat"].figures["mapping"]) == ("warn", None)
    assert "UDP seems to be closed" in found["nat"].advice


async def test_a_server_that_is_not_there_says_nothing_of_udp():
    found = await check(f"stun:127.0.0.1:{closed_port(socket.SOCK_DGRAM)}")

    assert (found["nat"].status, found["nat"].advice) == ("skipped", "")


async def test_nothing_to_ask_is_nothing_found():
    assert await check() == {}


@pytest.mark.parametrize("relayed", [True, False])
def test_a_relay_makes_up_for_closed_udp_and_for_a_symmetric_nat(relayed):
    symmetric = judge_nat([("198.51.100.7", 1), ("198.51.100.7", 2)], ["192.0.2.1"], relayed=relayed)
    closed = judge_nat([], [], relayed=relayed, silent=True)

    assert symmetric.status == ("ok" if relayed else "warn")
    assert closed.advice.startswith("UDP seems to be closed here: calls work") is relayed


@pytest.mark.parametrize(("passed", "status"), [(0.012, "ok"), ("lost", "warn"), ("unknown", "ok")])
def test_a_relay_that_data_does_not_get_through_is_a_warning(passed, status):
    outcome = ServerOutcome("turn:a:3478?transport=udp", "answered", "answered", "", 0.01, ("198.51.100.9", 50000))

    found = judge_server("turn", outcome, passed, spare=False)

    assert (found.status, found.figures["relayed"]) == (status, passed)
