"""The client of Orgo's own documentation against the mock: it hears the computer, in frames of 960 bytes, in time."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import numpy as np
import pytest
import spectrum

from signaling import MockServer

HERE = Path(__file__).parent
DEADLINE = 30.0


async def test_the_documented_client_hears_what_the_computer_sounds() -> None:
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("Node is not installed: apt-get install nodejs npm")
    if not (HERE / "node_modules" / "ws").is_dir():
        pytest.skip("npm ws is not installed: make interop-parts, or cd tests/interop && npm ci")
    async with MockServer(audio_source="tone") as mock:
        options = {"base": mock.url("orgo"), "apiKey": mock.api_key, "computer": "desktop", "seconds": 3}
        process = await asyncio.create_subprocess_exec(
            node, str(HERE / "orgo_client.mjs"), json.dumps(options), stdout=PIPE, stderr=PIPE
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        (call,) = mock.calls

    assert 0 == process.returncode, err.decode()
    listened = json.loads(out)
    assert ["Audio stream: 24000Hz, 1ch"] == listened["started"]
    assert (["started", "pong"], 1000) == (listened["answers"], listened["code"])
    assert [480] == listened["frames"]
    assert 3.0 == pytest.approx(listened["seconds"], abs=0.3)
    pcm = np.frombuffer(base64.b64decode(listened["pcm"]), "<i2").reshape(-1, 1)
    sound = spectrum.as_float(pcm[24_000:48_000])
    assert 440.0 == pytest.approx(spectrum.dominant_frequency(sound, 24_000), abs=0.5)
    assert -20.0 == pytest.approx(spectrum.tone_level(sound, 24_000, 440.0), abs=0.2)
    assert ["Ping", "Stop"] == [type(said).__name__ for said in call.received]
