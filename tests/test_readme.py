"""What README.md shows can be run."""

from __future__ import annotations

import asyncio
import re
import sys
import wave
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtcpeer.audio.sources import FileSource
from signaling.pytest_plugin import VoiceServer
from signaling.scenario import SCENARIOS, speech_file

README = (Path(__file__).parents[1] / "README.md").read_text()


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


async def run(*argv: str, cwd: Path) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(*argv, cwd=cwd, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 45)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(), errors.decode()


@pytest.fixture
def hello_wav(tmp_path: Path) -> Path:
    source = FileSource(str(speech_file("user-1.flac")))
    pcm = []
    while (block := source.read(960)) is not None:
        pcm.append(block)
    source.close()
    with wave.open(str(tmp_path / "hello.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(np.concatenate(pcm).astype("<i2").tobytes())
    return tmp_path / "hello.wav"


async def test_the_lines_of_python_run_as_printed(voice_server: VoiceServer, hello_wav: Path) -> None:
    program = next(block for block in fenced("python") if block.startswith("import asyncio, rtcpeer"))
    assert "http://127.0.0.1:8080" in program

    program = program.replace("http://127.0.0.1:8080", voice_server.url("orga"))
    code, output, errors = await run(sys.executable, "-W", "error", "-c", program, cwd=hello_wav.parent)

    assert 0 == code, errors
    assert "Warning" not in errors  # a busy machine may be told so, in a log line
    assert re.fullmatch(r"they heard '.+', said '.+' after \d+\.\d+ s\n", output)


async def test_they_run_with_an_agent_that_speaks_first(voice_server: VoiceServer, hello_wav: Path) -> None:
    program = next(block for block in fenced("python") if block.startswith("import asyncio, rtcpeer"))
    script = SCENARIOS["conversation"]
    voice_server.scenario = replace(script, greeting=script.turns[0].answer)

    program = program.replace("http://127.0.0.1:8080", voice_server.url("orga"))
    code, output, errors = await run(sys.executable, "-W", "error", "-c", program, cwd=hello_wav.parent)

    assert 0 == code, errors
    assert re.fullmatch(r"they heard .+, said '.+' after (None|\d+\.\d+) s\n", output)


async def test_every_command_it_names_is_there(tmp_path: Path) -> None:
    named = set(re.findall(r"^rtcpeer (\w+)", "\n".join(fenced("sh")), re.MULTILINE))
    assert {"demo", "doctor", "join", "mock", "proxy", "protocols"} == named

    for command in sorted(named):
        code, output, _ = await run(sys.executable, "-m", "rtcpeer", command, "--help", cwd=tmp_path)
        assert 0 == code
        assert f"rtcpeer {command}" in output


def test_every_make_target_it_names_is_there() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    named = set(re.findall(r"^make (\w+)", "\n".join(fenced("sh")), re.MULTILINE))
    assert {"demo", "image", "test"} == named
    assert named <= set(re.findall(r"^(\w+):.*##", makefile, re.MULTILINE))
