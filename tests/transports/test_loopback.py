"""Both ends on one machine: media goes over loopback, also where there is nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rtcpeer
from rtcpeer.transports.ice_options import interfaces
from signaling import MockServer

UNSHARE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
# The user's own fixtures in a test of theirs: a call with speech, both ways.
FIXTURES = """
import rtcpeer

async def test_the_agent_answers(voice_server, voice_call):
    await voice_call.play(rtcpeer.ToneSource(duration=0.5))
    assert (await voice_call.listen(timeout=60)).text
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_call_on_one_machine_goes_over_loopback(nothing_left: None, host: str):
    if ":" in host and host not in [each for addresses in interfaces().values() for each in addresses]:
        pytest.skip(f"{host} is no address of this machine")
    async with (
        MockServer(host=host) as mock,
        rtcpeer.connect("orga", mock.url("orga"), api_key=mock.api_key) as session,
    ):
        pair = session.stats()["candidate_pair"]

    assert ("127.0.0.1", "127.0.0.1") == (pair["local"].rpartition(":")[0], pair["remote"].rpartition(":")[0])


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "rtcpeer", "demo"],
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            "-o",
            "asyncio_mode=auto",
            "test_it.py",
        ],
    ],
    ids=["demo", "fixtures"],
)
def test_a_machine_with_loopback_alone_can_call_itself(command: list[str], tmp_path: Path):
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("unshare can't make a network namespace here: it takes root, or user namespaces")
    (tmp_path / "test_it.py").write_text(FIXTURES)

    done = subprocess.run(
        [*UNSHARE, "sh", "-c", 'ip link set dev lo up && exec "$@"', "sh", *command],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 0 == done.returncode, done.stdout + done.stderr
