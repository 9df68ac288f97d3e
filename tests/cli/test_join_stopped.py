"""``rtcpeer join`` that is stopped: by a signal, a kill, or a reader that goes away; the folder is whole."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from calling import until
from command_line import DEADLINE, check_voices, read_events, read_recording, running

from signaling import MockServer


@asynccontextmanager
async def in_mid_call(mock: MockServer, folder: Path, *options: str | Path) -> AsyncIterator[Any]:
    """A process whose call has heard its first answer."""
    async with running(
        *("join", "orga", mock.url(), "--api-key", mock.api_key, "--duration", "60", "--record", folder, "--json"),
        *options,
    ) as process:
        async with asyncio.timeout(DEADLINE):
            async for line in process.stdout:
                said = json.loads(line)
                if said["type"] == "SpeechStopped" and said["speaker"] == "assistant":
                    break
        yield process


async def test_signal_ends_the_call_cleanly(mock: MockServer, question: Path, tmp_path: Path):
    async def interrupt(signum: signal.Signals) -> None:
        folder = tmp_path / signum.name
        async with in_mid_call(mock, folder, "--play", question) as process:
            process.send_signal(signum)
            out, err = await asyncio.wait_for(process.communicate(), DEADLINE)

        assert 128 + signum == process.returncode
        assert "Traceback" not in err.decode()
        events = read_events(folder)
        assert ("Closed", "local") == (events[-1]["type"], events[-1]["reason"])
        assert events[-1] == json.loads(out.splitlines()[-1])
        check_voices(read_recording(folder / "audio.ogg"))

    await asyncio.gather(interrupt(signal.SIGTERM), interrupt(signal.SIGINT))
    await until(lambda: all(call.state == "closed" for call in mock.calls))
    assert ["remote", "remote"] == [call.to_dict()["closed"]["reason"] for call in mock.calls]


async def test_signal_while_connecting_ends_it_and_the_folder_says_so(mock: MockServer, tmp_path: Path):
    mock.faults = ["calls-slow"]
    async with running(
        *("join", "orga", mock.url(), "--api-key", mock.api_key, "--record", tmp_path / "call", "--json")
    ) as process:
        async with asyncio.timeout(DEADLINE):
            async for line in process.stdout:
                if json.loads(line).get("phase") == "gathering":
                    break
        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert 143 == process.returncode
    assert "Traceback" not in err.decode()
    assert "failed" == read_events(tmp_path / "call")[-1]["reason"]
    assert "failed" == json.loads((tmp_path / "call" / "call.json").read_text())["ended"]["reason"]


async def test_killed_process_leaves_everything_up_to_the_last_second(
    mock: MockServer, question: Path, tmp_path: Path
):
    async with in_mid_call(mock, tmp_path / "call", "--play", question) as process:
        process.kill()
        await process.wait()

    events = read_events(tmp_path / "call")
    assert "Closed" not in {event["type"] for event in events}
    heard_until = events[-1]["t"]
    call = json.loads((tmp_path / "call" / "call.json").read_text("utf-8"))
    assert call["ended"] is None
    recording = read_recording(tmp_path / "call" / "audio.ogg")
    check_voices(recording)
    assert call["audio"]["starts_at"] + len(recording) / 48_000 > heard_until - 1.0
    stats = [json.loads(line) for line in (tmp_path / "call" / "stats.jsonl").read_text().splitlines()]
    assert stats[-1]["t"] > heard_until - 1.1


async def test_reader_of_stdout_that_goes_away_ends_the_call_without_a_traceback(
    mock: MockServer, question: Path, tmp_path: Path
):
    async with running(
        *("join", "orga", mock.url(), "--api-key", mock.api_key, "--duration", "60", "--json"),
        *("--record", tmp_path / "call", "--play", question),
    ) as process:
        await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        process._transport.get_pipe_transport(1).close()
        err = await asyncio.wait_for(process.stderr.read(), DEADLINE)
        await asyncio.wait_for(process.wait(), DEADLINE)

    assert "Traceback" not in err.decode()
    assert "Exception ignored" not in err.decode()
    assert 143 == process.returncode
    assert "Closed" == read_events(tmp_path / "call")[-1]["type"]


async def test_closed_standard_streams_are_named(mock: MockServer):
    join = [sys.executable, "-m", "rtcpeer", "join", "orga", mock.url(), "--api-key", mock.api_key]

    async def attempt(redirection: str, *options: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", f'exec "$@" {redirection}', "sh", *join, *options, stderr=asyncio.subprocess.PIPE
        )
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE)
        return process.returncode, err.decode().splitlines()[-1]

    no_input, no_output, full = await asyncio.gather(
        attempt("<&-", "--play", "-"), attempt(">&-", "--json"), attempt(">/dev/full", "--json", "--duration", "60")
    )

    assert (2, "rtcpeer: configuration: --play -: standard input is closed") == no_input
    assert (2, "rtcpeer: configuration: --json: standard output is closed") == no_output
    assert 143 == full[0]
