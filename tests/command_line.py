"""The command line as a process, and what a call that it made left in its folder."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import spectrum
from calling import AGENT, USER
from numpy.typing import NDArray

DEADLINE = 200.0
"""Seconds; a process takes one to start on a quiet machine, and many are started at once."""


@dataclass(frozen=True)
class Done:
    code: int | None
    out: str
    err: str


@asynccontextmanager
async def running(*args: str | Path, env: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Any]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RTCPEER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "rtcpeer", *map(str, args)),
        **{
            "stdin": asyncio.subprocess.DEVNULL,
            "stdout": asyncio.subprocess.PIPE,
            "stderr": asyncio.subprocess.PIPE,
            "env": clean | {"NO_COLOR": "1", "COLUMNS": "250"} | (env or {}),
        }
        | options,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(*args: str | Path, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Done:
    options = {} if stdin is None else {"stdin": asyncio.subprocess.PIPE}
    async with running(*args, env=env, **options) as process:
        out, err = await asyncio.wait_for(process.communicate(stdin), DEADLINE)
        return Done(process.returncode, out.decode(), err.decode())


_EACH = """
import contextlib, io, json, sys
from rtcpeer.cli import main
for arguments in json.load(sys.stdin):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    sys.argv = ["rtcpeer", *arguments]
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as exc:
            code = exc.code
    print(json.dumps([code or 0, out.buffer.getvalue().decode(), err.buffer.getvalue().decode()]))
"""


async def run_each(commands: Sequence[Sequence[str | Path]]) -> list[Done]:
    """Run one command after the other, in one process: starting twenty would take half of a minute."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", _EACH),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("RTCPEER_")},
    )
    try:
        given = json.dumps([list(map(str, command)) for command in commands]).encode()
        out, _ = await asyncio.wait_for(process.communicate(given), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [Done(*json.loads(line)) for line in out.splitlines()]


def read_events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]


def read_recording(path: Path) -> NDArray[np.float64]:
    """``(samples, 2)`` at 48 kHz, as far as it can be read."""
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    pcm = np.concatenate(blocks, axis=1)
    return (pcm.reshape(-1, 2) / 32768 if pcm.dtype == np.int16 else pcm.T).astype(np.float64)


def check_voices(recording: NDArray[np.float64]) -> None:
    for channel, frequency in enumerate((USER, AGENT)):
        sound = spectrum.loudest(recording[:, channel : channel + 1], 48_000, 0.2)
        assert frequency == pytest.approx(spectrum.dominant_frequency(sound, 48_000), abs=5)
