"""A call that does not come up says what this machine was short of."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from calling import short_scenario

import rtcpeer
from rtcpeer.errors import AuthError, ConnectionLost, IceError, OpenTimeout
from rtcpeer.opening.shortage import Lag, shortage
from signaling import MockServer

PATIENCE = 120.0
"""Seconds: fifty calls in one process come up in two where nothing else runs."""


@pytest.mark.parametrize(
    ("number", "what"), [(errno.EMFILE, r"ulimit -n is \d+"), (errno.ENFILE, "machine"), (errno.ENOBUFS, "memory")]
)
def test_a_system_that_has_no_more_to_give_is_named(number: int, what: str) -> None:
    failure = shortage(OSError(number, os.strerror(number)))

    assert failure is not None
    with pytest.raises(IceError, match=what):
        raise failure


@pytest.mark.parametrize(
    "exc", [OSError(errno.ECONNREFUSED, "refused"), OSError(), ValueError(), IceError("no path")]
)
def test_another_error_is_not_called_a_shortage(exc: Exception) -> None:
    assert shortage(exc) is None


async def test_no_file_left_for_a_socket_is_said_by_peer_and_mock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoneLeft(socket.socket):
        def __init__(self, family: int = -1, type: int = -1, *args: Any, **options: Any) -> None:
            if type == socket.SOCK_DGRAM and short:
                raise OSError(errno.EMFILE, "Too many open files")
            super().__init__(family, type, *args, **options)

    short = False
    monkeypatch.setattr(socket, "socket", NoneLeft)
    async with MockServer(scenario=short_scenario(tmp_path)) as mock:
        short = True
        with pytest.raises(IceError, match="this process may open no more files"):
            await rtcpeer.connect("orga", mock.url(), api_key=mock.api_key)
        short = False
        async with rtcpeer.connect("orga", mock.url(), api_key=mock.api_key) as session:
            assert session.conversation_id


async def test_a_loop_that_is_late_is_named_and_one_that_is_not_is_left_out() -> None:
    with Lag() as lag:
        timely = lag.explained(OpenTimeout("not open"))
        lag.note(0.4)
        lag.note(1.2)
        late = lag.explained(OpenTimeout("not open"))

        assert "not open" == str(timely)
        assert isinstance(late, OpenTimeout)
        assert str(late).startswith("not open; the CPU was short here: for 100% of the time")
        assert "by up to 1.2 s" in str(late)
        assert isinstance(lag.explained(ConnectionLost("gone")), ConnectionLost)
        assert ("no",) == lag.explained(AuthError("no")).args


async def test_fifty_calls_at_once_come_up_in_one_process(tmp_path: Path) -> None:
    up = asyncio.Event()
    count = 0

    async def call(mock: MockServer) -> None:
        nonlocal count
        options: Any = {"open_timeout": PATIENCE, "ice_timeout": PATIENCE, "http_timeout": PATIENCE}
        async with rtcpeer.connect("orga", mock.url(), api_key=mock.api_key, **options):
            count += 1
            if count == 50:
                up.set()
            await up.wait()

    async with MockServer(scenario="tone", open_timeout=PATIENCE) as mock:
        async with asyncio.TaskGroup() as calls:
            for _ in range(50):
                calls.create_task(call(mock))

        assert [None] * 50 == [each.failure for each in mock.calls]
