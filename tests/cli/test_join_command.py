"""``rtcpeer join`` as a process: what a new user, a script and an impatient operator get to see."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import spectrum
from aiohttp import web
from calling import AGENT, USER, serving, until
from command_line import DEADLINE, Done, check_voices, read_events, read_recording, run, run_each, running

from signaling import MockServer

# A call


async def test_call_is_joined_answered_and_left_with_everything_written_down(
    mock: MockServer, question: Path, tmp_path: Path
):
    done = await run(
        *("join", "orga", mock.url(), "--api-key", mock.api_key, "--play", question, "--record", tmp_path / "call"),
        *("--set", "instructions=Be brief.", "--param", "voice=Emma", "--param", "temperature=0.2", "--json"),
    )

    assert 0 == done.code
    printed = [json.loads(line) for line in done.out.splitlines()]
    assert printed == read_events(tmp_path / "call")
    assert {"type": "Closed", "reason": "local", "detail": ""}.items() <= printed[-1].items()
    assert "agent  “Fine.”" in done.err
    assert "1 agent turn heard" in done.err
    check_voices(read_recording(tmp_path / "call" / "audio.ogg"))
    call = json.loads((tmp_path / "call" / "call.json").read_text("utf-8"))
    assert ("orga", "Emma", "local") == (call["protocol"], call["params"]["voice"], call["ended"]["reason"])
    assert 1 == len(call["turnarounds"])
    assert ("Emma", 0.2) == (mock.calls[0].params["voice"], mock.calls[0].params["temperature"])
    assert "Be brief." == mock.calls[0].settings["instructions"]
    assert "session.update" not in done.err
    negotiated = call["negotiated"]
    assert ("sendrecv", "opus") == (negotiated["audio"]["direction"], negotiated["audio"]["codec"])
    assert "sendonly" == negotiated["video"]
    assert "negotiated" not in call["stats"]


async def test_video_can_be_left_out(mock: MockServer, question: Path, tmp_path: Path):
    done = await run(
        *("join", "orga", mock.url(), "--api-key", mock.api_key, "--play", question, "--record", tmp_path / "call"),
        *("--video", "none"),
    )

    assert 0 == done.code
    call = json.loads((tmp_path / "call" / "call.json").read_text("utf-8"))
    assert call["negotiated"]["video"] is None


@pytest.mark.parametrize("codec", ["pcm16", "opus"])
async def test_orga_over_websocket_is_joined_with_pcm_or_opus(
    mock: MockServer, question: Path, tmp_path: Path, codec: str
):
    done = await run(
        *("join", "orga-ws", mock.url("orga-ws"), "--api-key", mock.api_key, "--play", question),
        *("--record", tmp_path / "call", "--param", f"codec={codec}", "--param", "sample_rate=16000"),
        *("--set", "instructions=Be brief.", "--no-transcribe"),
    )

    assert (0, "") == (done.code, done.out), done.err
    assert "agent  “Fine.”" in done.err
    assert "you  " not in done.err
    check_voices(read_recording(tmp_path / "call" / "audio.ogg"))
    asked = {name: mock.calls[0].params[name] for name in ("codec", "sample_rate", "return_transcription")}
    assert {"codec": codec, "sample_rate": 16_000, "return_transcription": False} == asked
    assert "Be brief." == mock.calls[0].settings["instructions"]
    assert mock.api_key not in (tmp_path / "call" / "call.json").read_text("utf-8")


async def test_recording_may_have_another_format(mock: MockServer, question: Path, tmp_path: Path):
    async def join(format: str, *extra: str) -> Done:
        return await run(
            *("join", "orga", mock.url(), "--api-key", mock.api_key, "--play", question),
            *("--record", tmp_path / format, "--record-format", format, *extra),
        )

    received = ("--no-transcribe", "--record-received")
    for done in await asyncio.gather(join("wav", *received), join("mka", "--no-transcribe")):
        assert (0, "") == (done.code, done.out)
        assert "you  " not in done.err
    for format in ("wav", "mka"):
        check_voices(read_recording(tmp_path / format / f"audio.{format}"))
    assert [False, False] == [call.params["return_transcription"] for call in mock.calls]
    assert not (tmp_path / "mka" / "received.ogg").exists()
    with av.open(str(tmp_path / "wav" / "received.ogg")) as container:
        heard = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert AGENT == pytest.approx(spectrum.dominant_frequency(spectrum.loudest(heard.T, 48_000, 0.2), 48_000), abs=3)


async def test_what_comes_on_stdin_is_said(mock: MockServer, tmp_path: Path):
    pcm = spectrum.tone(USER, 0.4, sample_rate=16_000).astype("<i2").tobytes()
    done = await run(
        *("join", "orga", mock.url(), "--play", "-", "--rate", "16000", "--record", tmp_path / "call"),
        stdin=pcm,
        env={"RTCPEER_API_KEY": mock.api_key},
    )

    assert (0, "") == (done.code, done.out)
    check_voices(read_recording(tmp_path / "call" / "audio.ogg"))


async def test_stdin_that_never_ends_does_not_hold_up_the_end(mock: MockServer):
    reader, writer = os.pipe()
    try:
        os.write(writer, bytes(60_000))  # more than is played before the end
        async with running(
            *("join", "orga", mock.url(), "--play", "-", "--duration", "0.2", "--api-key", mock.api_key), stdin=reader
        ) as process:
            _, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        os.close(reader)
        os.close(writer)

    assert 0 == process.returncode
    assert "Traceback" not in err.decode()


async def test_far_end_that_hangs_up_is_a_call_that_is_done(mock: MockServer):
    async with running("join", "orga", mock.url(), "--api-key", mock.api_key, "--duration", "60") as process:
        await until(lambda: mock.calls and mock.calls[0].state == "open")
        await mock.calls[0].hang_up()
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert 0 == process.returncode
    assert "closed (remote)" in err.decode()


async def test_answer_without_an_agent_is_named_and_the_explicit_credential_wins(mock: MockServer):
    mock.scenario = "tone"
    done = await run(
        *("join", "orga", mock.url(), "--api-key", mock.api_key, "--duration", "0.2"),
        env={"RTCPEER_TOKEN": "an old one", "RTCPEER_API_KEY": "another"},
    )

    assert (0, "") == (done.code, done.out)


# Bad input: exit 2, one line, what to do; nothing is sent


async def test_what_cannot_be_done_is_one_line_and_exit_2(mock: MockServer, question: Path, tmp_path: Path):
    (tmp_path / "text.wav").write_text("this is no sound")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "call.json").write_text("{}")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    key = ("--api-key", "sk_secret_4711")
    url = mock.url()
    table: list[tuple[tuple[str | Path, ...], str]] = [
        (("morga", url, *key), "unknown protocol"),
        (("orga", "127.0.0.1:8080", *key), "no http URL"),
        (("orga", "htp://127.0.0.1:8080", *key), "no http URL"),
        (("orga", url), "no credential: give --api-key"),
        (("orga", url, "--api-key", ""), "API key"),
        (("orga", url, "--token", "one", *key), "one of"),
        (("orga", url, *key, "--play", tmp_path / "nothing.wav"), "cannot read"),
        (("orga", url, *key, "--play", tmp_path / "text.wav"), "not audio"),
        (("orga", url, *key, "--play", tmp_path / "empty.wav"), "is empty"),
        (("orga", url, *key, "--play", tmp_path), "is a folder"),
        (("orga", url, *key, "--play", "-", "--rate", "123"), "sample rate 123"),
        (("orga", url, *key, "--record", "/proc/nowhere"), "another folder"),
        (("orga", url, *key, "--record-received"), "give --record DIR"),
        (("orga", url, *key, "--overwrite"), "give --record DIR"),
        (("orga", url, *key, "--record", tmp_path / "full"), "holds a call already"),
        (("orga", url, *key, "--param", "colour=red"), "colour"),
        (("orga", url, *key, "--param", "temperature"), "key=value"),
        (("orga", url, *key, "--set", "temperature=9"), "temperature"),
        (("orga", url, *key, "--set", "email=a@example.org"), "email"),
        (("orga", url, *key, "--video", tmp_path / "sound.wav"), "no video"),
        (("orga", url, *key, "--video", tmp_path / "nothing.mp4"), "nothing.mp4"),
        (("orga", url, *key, "--netem", "loss=lots"), "loss"),
        (("orga", url, *key, "--turn-ca", tmp_path / "text.wav"), "holds no certificate"),
        (("orga", url, *key, "--udp-ports", "9-1"), "udp_ports=9-1"),
        (("orga", url, *key, "--interface", "nothing0"), "there are: lo"),
        (("orga", url, *key, "--advertise-ip", "here"), "no IP address"),
        (("orga", url, *key, "--gather-timeout", "0"), "gather_timeout=0"),
        (("orga", url, "--session-config-url", "nonsense"), "no http URL"),
    ]
    found = await run_each([("join", *arguments) for arguments, _ in table])

    for (arguments, expected), done in zip(table, found, strict=True):
        assert (2, "") == (done.code, done.out), (arguments, done)
        (line,) = done.err.splitlines()
        assert line.startswith("rtcpeer: configuration: ")
        assert expected in line
        assert "sk_secret_4711" not in line
    assert () == mock.calls


# A call that fails: exit 1, the phase named, the folder intact


async def test_call_that_fails_is_one_line_with_its_phase_and_exit_1(mock: MockServer, tmp_path: Path):
    async def html(request: web.Request) -> web.Response:
        return web.Response(text="<html>It works!</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", html)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with serving(app) as website:
        table = [
            (("orga", mock.url(), "--api-key", "sk_wrong"), "authentication", "is the API key right?"),
            (("orga", mock.url(), "--token", "eyJwrong"), "authentication", "is the token right?"),
            (("orga", website, "--api-key", "k"), "protocol", "HTML instead of JSON: is the base URL right?"),
            (("orga", f"{mock.url()}/v2", "--api-key", "k"), "signaling", "404"),
            (("orga", nobody, "--api-key", "k"), "signaling", "nothing answers at"),
            (("orga", mock.url(), "--api-key", mock.api_key, "--ice-policy", "relay"), "ice", "no TURN server"),
            (("orga", mock.url(), "--session-config-url", website), "protocol", "session"),
        ]
        found = await run_each(
            [("join", *args, "--record", tmp_path / str(n)) for n, (args, _, _) in enumerate(table)]
        )

    for number, ((arguments, phase, says), done) in enumerate(zip(table, found, strict=True)):
        assert (1, "") == (done.code, done.out), (arguments, done)
        last = done.err.splitlines()[-1]
        assert last.startswith(f"rtcpeer: {phase}: "), done.err
        assert says in last
        assert "Traceback" not in done.err
        events = read_events(tmp_path / str(number))
        assert ("Closed", "failed") == (events[-1]["type"], events[-1]["reason"])
        assert json.loads((tmp_path / str(number) / "call.json").read_text())["ended"]["reason"] == "failed"


async def test_folder_of_a_failed_call_can_be_kept_and_another_used(mock: MockServer, tmp_path: Path, question: Path):
    """Joining before the mock runs says so; the same line works once it does."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    join = ("join", "orga", f"http://127.0.0.1:{port}", "--api-key", mock.api_key, "--play", question)
    before = await run(*join)
    async with MockServer(scenario=mock.scenario, port=port):
        after = await run(*join)

    assert (1, 0) == (before.code, after.code)
    assert "is the server running?" in before.err


async def test_agent_that_vanishes_is_a_call_that_failed(mock: MockServer, tmp_path: Path):
    code = (
        "import sys, aioice.ice; aioice.ice.CONSENT_INTERVAL = 0.05; aioice.ice.CONSENT_FAILURES = 1;"
        "from rtcpeer.cli import main; main()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "join", "orga", mock.url(), "--api-key", mock.api_key, "--duration", "60"),
        *("--no-reconnect", "--record", str(tmp_path / "call")),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: mock.calls and mock.calls[0].state == "open")
        await mock.calls[0].vanish()
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert 1 == process.returncode
    assert "rtcpeer: session: the far end stopped answering" == err.decode().splitlines()[-1]
    assert "lost" == read_events(tmp_path / "call")[-1]["reason"]
    assert len(read_recording(tmp_path / "call" / "audio.ogg"))


# Secrets


async def test_no_secret_is_in_what_is_printed_logged_or_written(mock: MockServer, tmp_path: Path):
    secret = "tool-secret-4713"
    server = {"id": "1", "alias": "a", "url": "https://tools.example/sse", "headers": {"Authorization": secret}}
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG);"
        "import asyncio; asyncio.get_event_loop_policy();"
        "from rtcpeer.cli import main; main()"
    )
    arguments = ["join", "orga", mock.url(), "--duration", "0.2", "--record", str(tmp_path / "call"), "--json"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *arguments, "--param", f"mcp_server={json.dumps(server)}"),
        env=os.environ | {"RTCPEER_API_KEY": mock.api_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), DEADLINE)

    assert 0 == process.returncode
    assert b"DEBUG" in err
    files = [path.read_bytes() for path in (tmp_path / "call").iterdir()]
    for text in (out, err, *files):
        for found in (mock.api_key, secret, "eyJ"):
            assert found.encode() not in text
