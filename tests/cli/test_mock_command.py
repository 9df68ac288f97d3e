"""``rtcpeer mock`` as a process: what it prints, how it ends, what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from calling import DEADLINE
from typer.testing import CliRunner

import rtcpeer
from rtcpeer.cli import app

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(
    *options: str, module: Sequence[str] = ("rtcpeer", "mock")
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if name != "RTCPEER_API_KEY"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *module, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=environment | {"NO_COLOR": "1", "COLUMNS": "200"},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode().strip()


@pytest.mark.parametrize("module", [("rtcpeer", "mock"), ("signaling",)])
async def test_mock_prints_where_it_is_and_the_default_key(module):
    async with running("--port", "0", module=module) as process:
        line = await first_line(process)

    assert line.startswith("rtcpeer mock at http://127.0.0.1:")
    assert line.endswith(", API key sk_test")


async def test_key_of_ones_own_is_not_printed():
    async with running("--port", "0", "--api-key", "sk_mine") as process:
        assert "sk_" not in await first_line(process)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_signal_hangs_up_on_everybody_with_a_goodbye_and_closes_what_is_recorded(signum, code, tmp_path):
    async with running("--port", "0", "--scenario", "tone", "--record", str(tmp_path)) as process:
        url = (await first_line(process)).split()[3].rstrip(",")
        async with rtcpeer.connect("orga", url, api_key="sk_test") as session:
            process.send_signal(signum)

            assert (await session.wait_for(rtcpeer.Closed, timeout=DEADLINE)).reason == "remote"
        _, stderr = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == code
    # On a busy machine audio is late, and that is said.
    assert all(line.startswith(b"audio was ") for line in stderr.splitlines())
    [folder] = tmp_path.iterdir()
    assert json.loads((folder / "call.json").read_text("utf-8"))["ended"]["reason"] == "local"
    with wave.open(str(folder / "audio.wav")) as recording:
        assert recording.getnframes() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenario", "nonsense"], "unknown scenario 'nonsense'; there is conversation, echo, tone"),
        (["--fault", "nonsense"], "unknown fault 'nonsense'; there is reject-key"),
        (["--host", "0.0.0.0"], "give an API key"),
        (["--ice-server", "example.org"], "--ice-server example.org: give a URL like stun:"),
        (["--tls-key", "key.pem"], "--tls-key without --tls-cert"),
        (["--tls-cert", "/nonexistent/cert.pem"], "can't read the certificate"),
        (["--tls-cert", "pyproject.toml"], "no use for TLS"),
        (["--record", "/dev/null/x"], "can't record to /dev/null/x"),
        (["--udp-ports", "many"], "write them as 40000-40100"),
        (["--interface", "nothing0"], "there are: lo"),
        (["--advertise-ip", "here"], "no IP address"),
        (["--host", "192.0.2.123", "--api-key", "sk_mine"], "can't listen on 192.0.2.123:8080"),
    ],
)
def test_what_cannot_be_is_a_configuration_error(options, message):
    result = CliRunner().invoke(app, ["mock", *options], env={"RTCPEER_API_KEY": None})

    assert isinstance(result.exception, rtcpeer.ConfigurationError)
    assert message in str(result.exception)
    assert result.stdout == ""


async def test_refusal_is_exit_2_and_one_line():
    async with running("--host", "0.0.0.0") as process:
        stdout, stderr = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert process.returncode == 2
    assert stdout == b""
    (line,) = stderr.decode().splitlines()
    assert line.startswith("rtcpeer: configuration: listening on 0.0.0.0")


def test_port_that_is_none_is_a_usage_error():
    assert CliRunner().invoke(app, ["mock", "--port", "99999"]).exit_code == 2
