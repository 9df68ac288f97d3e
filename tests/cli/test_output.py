"""What the commands print, where standard output and error are not what one would wish, and when they are stopped."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import running

from rtcpeer.cli import app

COMMANDS = ["demo", "join", "mock", "proxy", "protocols", "doctor"]
# Until a loop runs; the second is printed once it does, and there is nothing to be seen of the first.
PRINTING = [["--version"], ["--help"], ["protocols"], ["mock", "--port", "0"]]


def command(*words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", **more.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "rtcpeer", *words],
        **({"stdout": subprocess.PIPE} | more),
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r"])
@pytest.mark.parametrize("words", [["protocols"], ["join", "--help"], ["doctor", "--help"]], ids=" ".join)
def test_what_an_encoding_lacks_is_written_in_its_own_signs(words: list[str], encoding: str):
    done = command(*words, env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})

    assert (0, b"") == (done.returncode, done.stderr)
    assert "WebSocket" in done.stdout.decode(encoding) or "--json" in done.stdout.decode(encoding)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_full_disk_is_one_line(words: list[str]):
    with Path("/dev/full").open("wb") as full:
        done = command(*words, stdout=full)

    assert 1 == done.returncode
    assert re.fullmatch(rb"rtcpeer: output: .*No space left on device\n", done.stderr)


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_closed_pipe_ends_a_command_without_a_traceback(words: list[str]):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = command(*words, stdout=writing)
    finally:
        os.close(writing)

    assert 1 == done.returncode
    assert done.stderr.count(b"\n") <= 1
    assert b"Traceback" not in done.stderr


def words_of(name: str) -> set[str]:
    """The words of a command's help, as they are written in its options."""
    params = typer.main.get_command(app).commands[name].params
    texts = [text for each in params for text in (getattr(each, "help", None), each.metavar) if text]
    return {word for text in texts for word in text.split()}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_of_the_help_is_broken_or_cut_in_80_columns(name: str):
    shown = command(name, "--help").stdout.decode()

    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert set() == words_of(name) - set(re.sub("[│╭╮╰╯]", " ", shown).split())


@pytest.mark.parametrize("columns", [60, 80, 250])
def test_no_word_of_the_protocols_is_broken_or_cut(columns: int):
    shown = command("protocols", env={"COLUMNS": str(columns)}).stdout.decode()

    assert max(map(len, shown.splitlines())) <= columns
    assert "…" not in shown
    for word in ("WebSocket", "TranscriptCompleted", "server managed", "orbitali", "soca"):
        assert re.search(rf" {word} ", shown)


# Being stopped

_EARLY = """
import os, signal, sys
class Early:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Early())
sys.argv = ["rtcpeer", "demo"]
from rtcpeer.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["rtcpeer.cli", "typer", "rtcpeer.cli.join", "aiortc", "signaling"])
def test_ctrl_c_while_a_command_is_still_being_imported_is_one_line(module: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", _EARLY.format(module=module)], capture_output=True, cwd=tmp_path, check=False
    )

    assert 130 == done.returncode
    # Once the loop runs, the command ends as a call does, and has nothing to say yet.
    assert done.stderr in (b"", b"rtcpeer: interrupted\n")


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda it: str(it)
)
async def test_a_signal_ends_a_call_with_its_recording_closed(signum: signal.Signals, code: int, tmp_path: Path):
    async with running("demo", "--out", tmp_path / "demo", "--json") as process:
        assert process.stdout is not None
        async for line in process.stdout:
            if json.loads(line)["type"] == "TranscriptCompleted":
                break
        process.send_signal(signum)
        out, err = await process.communicate()

    assert code == process.returncode
    assert b"Traceback" not in err
    assert "Closed" == json.loads(out.splitlines()[-1])["type"]
    assert "local" == json.loads((tmp_path / "demo" / "call.json").read_text("utf-8"))["ended"]["reason"]


async def test_under_nohup_a_call_outlives_its_terminal(tmp_path: Path):
    ignoring = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from rtcpeer.__main__ import main; main()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ignoring, "mock", "--port", "0"), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert b"rtcpeer mock at" in await process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)

        assert 143 == await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
