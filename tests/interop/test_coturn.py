"""coturn as the relay: over UDP, TCP and TLS, with credentials that are right, wrong and expired."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from calling import until
from certificates import Authority
from parts import API_KEY, AUDIBLE, DEADLINE, hear, running_mock

import rtcpeer
from rtcpeer.auth import turn_credentials
from rtcpeer.errors import IceError
from rtcpeer.events import Closed, Degraded, ErrorReported
from rtcpeer.protocols.http import IceServer
from rtcpeer.transports.ice_options import relay_trust
from rtcpeer.transports.ice_probe import try_turn
from rtcpeer.transports.ice_servers import IceUrl, read_ice_url

SECRET = "north"


@asynccontextmanager
async def coturn(secret: str, *options: str, pem: Path | None = None) -> AsyncIterator[str]:
    """A TURN server on loopback that shares ``secret`` (its ``static-auth-secret``); the URL to use it by.

    Args:
        pem: Key and certificate for TURN over TLS, which it takes on the same port.
    """
    executable = shutil.which("turnserver")
    if executable is None:
        pytest.skip("coturn is not installed: apt-get install coturn")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        executable,
        "-n",
        "--no-cli",
        "--listening-ip=127.0.0.1",
        "--relay-ip=127.0.0.1",
        f"--listening-port={port}",
        "--use-auth-secret",
        f"--static-auth-secret={secret}",
        "--realm=test.local",
        "--fingerprint",
        "--allow-loopback-peers",
        *(("--no-tls",) if pem is None else (f"--cert={pem}", f"--pkey={pem}", "--tls-listening-port=0")),
        "--no-dtls",
        "--no-tcp-relay",
        "--log-file=stdout",
        "--simple-log",
        "--pidfile=/dev/null",
        *options,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(DEADLINE):
            while not await _listens(port):
                assert process.returncode is None, "coturn ended"
                await asyncio.sleep(0.05)
        yield f"turn:127.0.0.1:{port}?transport=udp"
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    """Whether somebody takes TCP there: coturn opens both on the same port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def relay(authority: Authority) -> Iterator[str]:
    """One server for all tests, with TLS, on a loop of its own: it takes a second to start."""
    authority.server(days=1)
    with asyncio.Runner() as runner:
        server = coturn(SECRET, pem=authority.file.with_name("server.pem"))
        yield runner.run(server.__aenter__())
        runner.run(server.__aexit__(None, None, None))


@pytest.fixture
def silent_port() -> Iterator[int]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


def over(relay: str, transport: str) -> str:
    url = relay.replace("transport=udp", "transport=tcp")
    return {"udp": relay, "tcp": url, "tls": url.replace("turn:", "turns:")}[transport]


def with_credential(url: str, user: str = "user") -> IceUrl:
    found = read_ice_url(url, *turn_credentials(SECRET, user=user, now=time.time(), ttl=600))
    assert isinstance(found, IceUrl)
    return found


def told(session: rtcpeer.Session) -> list[str]:
    said = [entry.said for entry in session.events.entries()]
    return [each.message for each in said if isinstance(each, ErrorReported) and each.code == "ice-server"]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_call_goes_through_the_relay_alone(relay: str, authority: Authority, transport: str):
    async with (
        running_mock("tone", ice_servers=[IceServer((over(relay, transport),))], turn_secret=SECRET) as mock,
        rtcpeer.connect("orga", mock.url, api_key=API_KEY, ice_policy="relay", turn_ca=authority.file) as session,
    ):
        async with asyncio.timeout(DEADLINE):
            dominant, level = await hear(session, 440)
        pair = session.stats()["candidate_pair"]

    assert pair["local_type"] == "relay"
    assert dominant == pytest.approx(440, abs=2)
    assert level > AUDIBLE
    assert [] == told(session)


@pytest.mark.parametrize(
    ("secret", "ttl", "why"),
    [("south", 600, "wrong username or credential"), (SECRET, -60, "the credential expired")],
)
async def test_relay_alone_with_a_credential_that_is_refused_names_the_server_and_the_reason(
    relay: str, secret: str, ttl: float, why: str
):
    username, credential = turn_credentials(secret, user="mock", now=time.time(), ttl=ttl)
    servers = [IceServer((relay, over(relay, "tcp")), username, credential)]
    async with running_mock("tone", ice_servers=servers) as mock:
        with pytest.raises(IceError) as caught:
            async with (
                asyncio.timeout(DEADLINE),
                rtcpeer.connect("orga", mock.url, api_key=API_KEY, ice_policy="relay"),
            ):
                pytest.fail("it let us in")

    for url in (relay, over(relay, "tcp")):
        assert f"{url}: refused: " in str(caught.value)
    assert why in str(caught.value)
    assert credential not in str(caught.value)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_whether_anybody_is_there_is_asked_and_answered_through_the_relay(relay: str, transport: str):
    """The network loses all media, RTP and RTCP: what keeps the call are the answers to our questions."""
    short = rtcpeer.Watchdog(ask_after=0.2, lost_after=1.0)
    async with (
        running_mock("tone", ice_servers=[IceServer((over(relay, transport),))], turn_secret=SECRET) as mock,
        rtcpeer.connect(
            "orga", mock.url, api_key=API_KEY, ice_policy="relay", watchdog=short, netem="loss=100%", reconnect=None
        ) as session,
    ):
        link: Any = session.link
        asked: list[float] = []
        ask = link._liveness._ask
        link._liveness._ask = lambda: (asked.append(session.now()), ask())
        await until(lambda: len(asked) >= 5)
        assert [] == [each for each in session.events.entries() if isinstance(each.said, (Degraded, Closed))]
        link.impair(rtcpeer.NetworkConditions.of("loss=100%,all=1"))
        assert "lost" == (await session.wait_for(Closed, timeout=DEADLINE)).reason


async def test_a_certificate_of_a_ca_that_we_do_not_know_is_not_trusted(relay: str):
    outcome = await try_turn(with_credential(over(relay, "tls")))

    assert "certificate not trusted" == outcome.detail
    assert "--turn-ca" in outcome.advice


async def test_a_certificate_of_another_host_is_called_so(relay: str, authority: Authority):
    url = over(relay, "tls").replace("127.0.0.1", "localhost")

    assert (
        "certificate for another host than localhost"
        == (await try_turn(with_credential(url), tls=relay_trust(authority.file))).detail
    )


async def test_a_certificate_that_expired_is_called_so(authority: Authority):
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    expired = authority.server(days=-1)
    server = await asyncio.start_server(drop, "127.0.0.1", 0, ssl=expired)
    async with server:
        url = f"turns:127.0.0.1:{server.sockets[0].getsockname()[1]}"
        outcome = await try_turn(with_credential(url), tls=relay_trust(authority.file))

    assert "certificate expired" == outcome.detail


async def test_a_dead_relay_at_the_head_of_the_list_is_passed_over_and_named(relay: str, silent_port: int):
    dead = f"turn:127.0.0.1:{silent_port}?transport=udp"
    async with (
        running_mock("tone", ice_servers=[IceServer((dead, relay))], turn_secret=SECRET) as mock,
        rtcpeer.connect("orga", mock.url, api_key=API_KEY, ice_policy="relay") as session,
    ):
        pair = session.stats()["candidate_pair"]

    assert pair["local_type"] == "relay"
    assert [f"{dead}: no answer in"] == [each[: len(dead) + 14] for each in told(session)]


async def test_where_no_relay_is_needed_a_wrong_password_is_told_and_the_call_goes_on(relay: str):
    async with (
        running_mock("tone", ice_servers=[IceServer((relay,))], turn_secret="south") as mock,
        rtcpeer.connect("orga", mock.url, api_key=API_KEY) as session,
    ):
        pair = session.stats()["candidate_pair"]

    assert pair["local_type"] == "host"
    assert 1 == len(told(session))
    assert told(session)[0].startswith(f"{relay}: refused: wrong username or credential (401)")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_allocation_that_nobody_waits_for_any_more_is_given_back(transport: str):
    # One allocation a user: what is not given back keeps the next one out for ten minutes.
    async with coturn(SECRET, "--user-quota=1") as url:
        servers = [with_credential(over(url, transport), user=f"user{steps}") for steps in range(1, 12)]
        for steps, server in enumerate(servers, 1):
            asking = asyncio.create_task(try_turn(server))
            for _ in range(steps * 3):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])

        # Of two datagrams that come at once, coturn may read the second, which gives back, before the first.
        lost = 1 if transport == "udp" else 0
        async with asyncio.timeout(DEADLINE):
            while len(servers) > lost:  # coturn forgets within a second
                await asyncio.sleep(0.1)
                outcomes = [(server, await try_turn(server)) for server in servers]
                assert all(outcome.ok or "(486)" in outcome.detail for _, outcome in outcomes)
                servers = [server for server, outcome in outcomes if not outcome.ok]
