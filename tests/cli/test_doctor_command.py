"""``rtcpeer doctor``: its exit codes, its table, its JSON, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rtcpeer
from rtcpeer.cli import app
from rtcpeer.cli.doctor import _doctor
from rtcpeer.doctor import Finding, Plan, diagnose, machine
from rtcpeer.doctor.call import judge_call
from rtcpeer.protocols.http import IceServer
from signaling import MockServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text("utf-8")
KEY = "sk_s3cr3t-of-the-caller"


async def doctor(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run it as a process; return exit code, stdout and stderr."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RTCPEER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rtcpeer", "doctor", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=bare | {"NO_COLOR": "1", "COLUMNS": "80"} | environment,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


async def test_json_has_every_finding_and_exit_0_means_that_all_works():
    # A port of ours that is closed: a service's dead STUN server is a warning.
    async with MockServer(api_key=KEY, ice_servers=[IceServer(("stun:127.0.0.1:9", "stuns:x"))]) as mock:
        code, stdout, stderr = await doctor(mock.url("orga"), "--json", RTCPEER_API_KEY=KEY)

    said = json.loads(stdout)
    found = {finding["name"]: finding for finding in said["findings"]}
    # Timers and CPU are the machine's, which others use too.
    others = {name: finding["status"] for name, finding in found.items() if name not in ("timers", "cpu", "limits")}
    assert "fail" not in others.values(), others
    assert said["ok"] is (code == 0)
    assert found["token"]["status"] == "ok"
    assert {"name", "target", "status", "detail", "advice", "figures"} == set(found["token"])
    assert KEY not in stdout + stderr
    documented = dict(re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \| (.*) \|$", PAGE, re.MULTILINE))
    figures = {name: row for names, row in documented.items() for name in re.findall(r"`([\w-]+)`", names)}
    for name, finding in found.items():
        missing = [each for each in finding["figures"] if f"`{each}`" not in figures[name]]
        assert missing == [], f"docs/doctor.md does not know {missing} of {name}"


async def test_with_a_call_it_says_what_was_negotiated():
    async with MockServer(api_key=KEY) as mock:
        _, stdout, stderr = await doctor(mock.url("orga"), "--api-key", KEY, "--call", "--json")
        (call,) = [each for each in json.loads(stdout)["findings"] if each["name"] == "call"]

    assert "ok" == call["status"]
    assert "audio sendrecv, opus as payload type" in call["detail"]
    assert "certificate ECDSA" in call["detail"]
    negotiated = call["figures"]["negotiated"]
    assert {"audio", "video", "ice_lite", "passed_over", "candidates", "dtls"} == negotiated.keys()
    assert "opus" == negotiated["audio"]["receives"][str(negotiated["audio"]["payload_type"])]
    assert KEY not in stdout + stderr
    for name in call["figures"]:
        assert f"`{name}`" in next(line for line in PAGE.splitlines() if line.startswith("| `call`"))


async def test_a_call_without_a_credential_is_refused_before_anything_is_sent():
    code, _, stderr = await doctor("http://127.0.0.1:9", "--call")

    assert 2 == code
    assert "--api-key" in stderr


def test_a_service_that_takes_no_audio_is_a_warning():
    negotiated = {
        "audio": {"direction": "recvonly", "codec": "opus", "payload_type": 111},
        "candidates": {"local": {"host": 1}, "remote": {}},
        "dtls": None,
        "passed_over": {"TCP candidates": 2},
    }

    found = judge_call(negotiated, None, 0.1)

    assert ("warn", "the service takes no audio: ask whoever runs it") == (found.status, found.advice)
    assert "not used of its SDP: 2 TCP candidates" in found.detail


@pytest.fixture
def not_measured(monkeypatch):
    """Timers and CPU take a second and a half, and say nothing of the rest."""

    async def nothing(*args: object) -> list[Finding]:
        return []

    monkeypatch.setattr(machine, "check_timers", nothing)
    monkeypatch.setattr(machine, "check_cpu", nothing)


def test_a_dead_service_is_exit_1_with_a_line_that_says_what_to_do(not_measured):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    result = CliRunner().invoke(app, ["doctor", f"http://127.0.0.1:{port}"], env={"COLUMNS": "80"})

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith(("FAIL", "WARN"))) <= 80
    assert f"FAIL tcp: nothing answers at 127.0.0.1:{port}; is the server running, on that port?" in lines
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ftp://example.org"], "is no http URL"),
        (["--api-key", KEY], "but no URL"),
        (["http://x", "--api-key", "two words"], "spaces"),
        (["http://x", "--api-key", KEY, "--token", "t"], "not both"),
        (["http://x", "--protocol", "nonsense"], "unknown protocol 'nonsense'"),
        (["http://x", "--protocol", "soca", "--token", "t"], "when its socket opens"),
        (["--ice-server", "example.org"], "--ice-server example.org: no STUN or TURN URL"),
        (["--username", "ann"], "--username is for --ice-server"),
        (["--ice-server", "turn:x", "--username", "ann"], "go together"),
        (["--ice-server", "turn:x", "--username", "a", "--credential", "b", "--turn-secret", "c"], "--turn-secret"),
        (["--udp-ports", "9-1"], "the lower first"),
        (["--udp-ports", "x"], "40000-40100"),
        (["--interface", "nonsense0"], "nonsense0"),
        (["--turn-ca", "/nonexistent/ca.pem"], "/nonexistent/ca.pem"),
    ],
)
def test_what_cannot_be_is_a_configuration_error(arguments, message):
    result = CliRunner().invoke(app, ["doctor", *arguments], env={"RTCPEER_API_KEY": None, "RTCPEER_TOKEN": None})

    assert isinstance(result.exception, rtcpeer.ConfigurationError)
    assert message in str(result.exception)
    assert KEY not in str(result.exception)
    assert result.stdout == ""


def test_an_option_that_is_none_is_a_usage_error():
    assert CliRunner().invoke(app, ["doctor", "--calls", "0"]).exit_code == 2


@pytest.mark.parametrize("as_json", [True, False])
async def test_a_full_disk_behind_standard_output_is_an_error_of_ours(as_json, not_measured, monkeypatch):
    with Path("/dev/full").open("w") as full:  # noqa: ASYNC230
        monkeypatch.setattr(sys, "stdout", full)

        with pytest.raises(rtcpeer.MediaError, match="No space left"):
            await _doctor(Plan(), as_json=as_json)


async def test_without_standard_output_nothing_is_checked(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(rtcpeer.ConfigurationError, match="standard output is closed"):
        await _doctor(Plan(), as_json=True)


async def test_a_diagnosis_is_to_be_had_without_a_terminal(not_measured):
    async with MockServer(api_key=KEY) as mock:
        diagnosis = await diagnose(Plan(url=mock.url("orga"), api_key=KEY))

    assert [finding.status for finding in diagnosis.named("ice-config")] == ["ok"]
    assert [finding.status for finding in diagnosis.named("turn")] == ["skipped"]
    assert len({finding.name for finding in diagnosis}) == len(list(diagnosis))


async def test_a_sockets_url_stands_for_its_service_and_its_token_is_told_nowhere(not_measured):
    async with MockServer(api_key=KEY) as mock:
        url = f"{mock.url('orga').replace('http:', 'ws:')}/chat?token={KEY}"
        diagnosis = await diagnose(Plan(url=url, protocol="soca"))

    assert [finding.status for finding in diagnosis.named("http")] == ["ok"]
    assert KEY not in repr(diagnosis)
