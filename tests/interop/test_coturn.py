"""The peer reaches the mock through coturn alone, with the credentials that the mock hands out."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from parts import API_KEY, AUDIBLE, DEADLINE, hear, running_mock

import rtcpeer
from rtcpeer.errors import IceError
from rtcpeer.protocols.http import IceServer

SECRET = "north"


@asynccontextmanager
async def coturn(secret: str, *options: str) -> AsyncIterator[str]:
    """A TURN server on loopback that shares ``secret`` (its ``static-auth-secret``); the URL to use it by."""
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
        "--no-tls",
        "--no-dtls",
        "--no-tcp-relay",
        "--log-file=stdout",
        "--simple-log",
        "--pidfile=/dev/null",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    drain = asyncio.create_task(_drain(process))
    try:
        async with asyncio.timeout(DEADLINE):
            while not await _listens(port):
                assert process.returncode is None, "coturn ended"
                await asyncio.sleep(0.1)
        yield f"turn:127.0.0.1:{port}?transport=udp"
    finally:
        process.kill()
        await process.wait()
        await drain


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while await process.stdout.readline():
        pass


async def _listens(port: int) -> bool:
    """Whether somebody takes TCP there: coturn opens both on the same port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_a_call_goes_through_the_relay_alone():
    async with (
        coturn(SECRET) as url,
        running_mock("tone", ice_servers=[IceServer((url,))], turn_secret=SECRET) as mock,
        rtcpeer.connect("orga", mock.url, api_key=API_KEY, ice_policy="relay") as session,
    ):
        async with asyncio.timeout(DEADLINE):
            dominant, level = await hear(session, 440)
        pair = session.stats()["candidate_pair"]

    assert pair["local_type"] == "relay"
    assert dominant == pytest.approx(440, abs=2)
    assert level > AUDIBLE


async def test_a_relay_that_refuses_the_credentials_is_an_ice_error():
    async with (
        coturn(SECRET) as url,
        running_mock("tone", ice_servers=[IceServer((url,))], turn_secret="south") as mock,
    ):
        with pytest.raises(IceError, match="no relay candidate"):
            async with rtcpeer.connect("orga", mock.url, api_key=API_KEY, ice_policy="relay"):
                pytest.fail("it let us in")
