"""``rtcpeer join --play mic --speaker`` where there are no devices; tests/interop/test_pulseaudio.py has some."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest
from calling import DEADLINE


@pytest.mark.parametrize("option", [("--play", "mic"), ("--speaker",)])
@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ImportError('no')", "pip install 'rtcpeer[devices]'"),
        ("OSError('PortAudio library not found')", "apt-get install libportaudio2"),
    ],
)
async def test_what_is_missing_is_said_before_the_call(
    option: tuple[str, ...], raised: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "sounddevice.py").write_text(f"raise {raised}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rtcpeer", "join", "orga", "http://127.0.0.1:1", "--token", "t", *option),
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]), "COLUMNS": "200"},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert 2 == process.returncode
    assert said in errors.decode()
    assert "Traceback" not in errors.decode()
