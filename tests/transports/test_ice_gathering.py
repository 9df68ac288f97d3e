"""Gathering with real sockets on loopback. What a real TURN server makes of it is in interop/test_coturn.py."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from calling import DEADLINE, Nobody, open_sockets, until
from stun_server import stun_server

from rtcpeer.errors import IceError
from rtcpeer.events import ErrorReported
from rtcpeer.protocols import Orga, Side
from rtcpeer.protocols.http import IceServer
from rtcpeer.transports.ice_options import IceOptions
from rtcpeer.transports.webrtc import RtcLink


class Listener(Nobody):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def report(self, said: Any) -> None:
        if isinstance(said, ErrorReported):
            assert "ice-server" == said.code
            self.errors.append(said.message)

    def on_refused(self, reason: str) -> None:
        pytest.fail(reason)


@asynccontextmanager
async def link_with(*urls: str, **options: Any) -> AsyncIterator[tuple[RtcLink, Listener]]:
    listener = Listener()
    ice = IceOptions.of(**{"interface": "127.0.0.1", **options})
    link = RtcLink(Orga(Side.CLIENT, Orga.configure({})), listener, ice=ice)
    link.use_ice_servers([IceServer(urls, "ann", "s3cret")])
    try:
        yield link, listener
    finally:
        await link.close()


def candidates(sdp: str) -> list[tuple[str, str, int]]:
    """Type, address and port of each candidate; lines that are bundled repeat them."""
    lines = dict.fromkeys(line for line in sdp.splitlines() if line.startswith("a=candidate:"))
    return [(words[7], words[4], int(words[5])) for words in (line.split() for line in lines)]


@pytest.fixture
def silent_port() -> Iterator[int]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


async def test_every_stun_server_is_asked_and_what_two_say_alike_is_one_candidate():
    async with (
        stun_server(lambda sender: ("198.51.100.7", sender[1])) as first,
        stun_server(lambda sender: ("198.51.100.7", sender[1])) as second,
        stun_server(lambda sender: ("198.51.100.8", sender[1])) as third,
        link_with(first, second, third) as (link, listener),
    ):
        found = candidates(await link.offer())

    port = found[0][2]
    assert [("host", "127.0.0.1", port)] == found[:1]
    assert {("srflx", "198.51.100.7", port), ("srflx", "198.51.100.8", port)} == set(found[1:])
    assert 3 == len(found)
    assert [] == listener.errors


async def test_where_there_is_no_nat_there_is_no_reflexive_candidate():
    async with stun_server() as url, link_with(url) as (link, _):
        assert ["host"] == [kind for kind, _, _ in candidates(await link.offer())]


async def test_a_dead_first_server_does_not_keep_us_from_the_second(silent_port: int):
    async with (
        stun_server(lambda sender: ("198.51.100.7", 9)) as good,
        link_with(f"stun:127.0.0.1:{silent_port}", good, gather_timeout=20.0) as (link, _),
    ):
        async with asyncio.timeout(DEADLINE):
            found = candidates(await link.offer())

    assert ("srflx", "198.51.100.7", 9) in found


async def test_servers_that_are_of_no_use_are_told_by_name_and_the_call_goes_on(silent_port: int):
    urls = (
        "stuns:a.example",
        f"stun:127.0.0.1:{silent_port}",
        "stun:nobody.invalid",
        "turn:127.0.0.1:1?transport=tcp",
    )
    async with link_with(*urls, gather_timeout=0.1) as (link, listener):
        assert ["host"] == [kind for kind, _, _ in candidates(await link.offer())]

    told = "\n".join(listener.errors)
    assert "stuns:a.example: STUN over TLS is not supported" in told
    assert f"stun:127.0.0.1:{silent_port}: no answer in 0.1 s" in told
    assert "turn:127.0.0.1:1?transport=tcp: connection refused" in told
    assert "s3cret" not in told


async def test_an_answer_without_an_address_and_one_that_is_no_stun_are_named():
    class Nonsense(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self._transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            # A Binding success response to the request's transaction (RFC 8489, 5), and no attributes.
            self._transport.sendto(b"\x01\x01\x00\x00" + data[4:20], addr)
            self._transport.sendto(b"nonsense", addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Nonsense, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    async with link_with(f"stun:127.0.0.1:{port}") as (link, listener):
        await link.offer()
    transport.close()

    assert [f"stun:127.0.0.1:{port}: its answer makes no sense; is it a stun server?"] == listener.errors


async def test_host_candidates_are_within_the_range_of_ports_and_carry_the_advertised_address():
    async with link_with(udp_ports=(47_000, 47_900), advertise_ip="203.0.113.9") as (link, _):
        [(kind, address, port)] = candidates(await link.offer())

    assert ("host", "203.0.113.9") == (kind, address)
    assert 47_000 <= port <= 47_900


async def test_a_range_that_is_used_up_is_an_ice_error_that_says_so():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with link_with(udp_ports=(port, port)) as (link, _):
            with pytest.raises(IceError, match=f"every UDP port from {port} to {port} is taken .*--udp-ports"):
                await link.offer()


async def test_relay_alone_names_every_server_that_gave_none():
    urls = ("turn:127.0.0.1:1?transport=tcp", "turns:127.0.0.1:1", "stun:127.0.0.1:1")
    async with link_with(*urls, policy="relay") as (link, _):
        with pytest.raises(IceError, match=r"no relay candidate: turn:127\.0\.0\.1:1.*refused.*turns:127\.0\.0\.1:1"):
            await link.offer()


async def test_a_call_that_ends_amid_gathering_leaves_nothing(silent_port: int):
    before = len(open_sockets())
    urls = (f"stun:127.0.0.1:{silent_port}", f"turn:127.0.0.1:{silent_port}")
    async with link_with(*urls, gather_timeout=20.0) as (link, _):
        offering = asyncio.create_task(link.offer())
        await until(lambda: len(open_sockets()) >= before + 2)  # its own, and the one to the TURN server
        offering.cancel()
        await asyncio.wait([offering])

    assert before == len(open_sockets())
    assert {asyncio.current_task()} == asyncio.all_tasks()
