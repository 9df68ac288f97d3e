"""Probes of servers that are none; those of a real one are in interop/test_coturn.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rtcpeer.errors import ConfigurationError
from rtcpeer.transports.ice_probe import ask_stun, relay_trust, try_turn
from rtcpeer.transports.ice_servers import IceUrl


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A UDP port that takes everything and says nothing."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


def closed_port(kind: socket.SocketKind) -> int:
    with closing(socket.socket(socket.AF_INET, kind)) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_a_silent_stun_server_is_told_after_the_timeout(silent_port: int) -> None:
    outcome = await ask_stun(IceUrl("stun", "127.0.0.1", silent_port), timeout=0.05)

    assert "silent" == outcome.result
    assert outcome.server == f"stun:127.0.0.1:{silent_port}"


async def test_a_silent_turn_server_is_told_after_the_timeout(silent_port: int) -> None:
    outcome = await try_turn(IceUrl("turn", "127.0.0.1", silent_port, "udp", "ann", "s3cret"), timeout=0.05)

    assert "silent" == outcome.result


async def test_a_closed_udp_port_is_told_at_once() -> None:
    port = closed_port(socket.SOCK_DGRAM)

    for outcome in (
        await ask_stun(IceUrl("stun", "127.0.0.1", port)),
        await try_turn(IceUrl("turn", "127.0.0.1", port, "udp", "ann", "s3cret")),
    ):
        assert "connection refused" == outcome.detail


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_closed_tcp_port_is_told_at_once(transport: str) -> None:
    port = closed_port(socket.SOCK_STREAM)

    outcome = await try_turn(IceUrl("turn", "127.0.0.1", port, transport, "ann", "s3cret"))  # type: ignore[arg-type]

    assert "connection refused" == outcome.detail


async def test_a_local_address_of_the_other_family_reaches_nothing(silent_port: int) -> None:
    outcome = await ask_stun(IceUrl("stun", "127.0.0.1", silent_port), local="::1")

    assert "unreachable" == outcome.result


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")

    with pytest.raises(ConfigurationError, match=r"wrong\.pem holds no certificate"):
        relay_trust(wrong)
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        relay_trust(tmp_path / "missing.pem")
