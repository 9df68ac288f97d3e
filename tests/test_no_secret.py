"""No secret anywhere: whole calls, good ones and failed ones, and then a look at everything they said and left.

The secrets are recognisable: the API key, the key of the TURN server and the credentials made of it, ephemeral tokens
(whatever begins like a JWT), the password of Orgo's computers, the headers for an MCP server. Logs are at DEBUG.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from calling import DEADLINE, serving, short_scenario

import rtcpeer
import signaling.reception
from rtcpeer.auth import SessionConfigClient, VoiceTokenClient, fetch_session_config
from rtcpeer.errors import RtcPeerError
from rtcpeer.opening import CallOptions
from rtcpeer.protocols import http
from rtcpeer.protocols.session_config import SessionConfig
from rtcpeer.proxy import proxy_app
from signaling import MockServer

KEY = "sk_zebra_0123456789"
WRONG_KEY = "sk_giraffe_0123456789"
TURN_SECRET = "north-of-the-lynx"
MCP_SECRET = "mcp-otter-0123456789"
FIXED = (KEY, WRONG_KEY, TURN_SECRET, MCP_SECRET, "zebra", "giraffe", "lynx", "otter")
JWT = re.compile(r"eyJ[\w-]{8,}")
SDP = re.compile(r"a=ice-pwd|a=fingerprint|m=audio")

PARAMS: dict[str, dict[str, Any]] = {
    "orga": {"mcp_server": {"id": "m", "alias": "m", "url": "https://m/", "headers": {"X-Key": MCP_SECRET}}},
    "orga-ws": {},
    "orbitali": {"agent_id": "a"},
    "orgo": {"computer_id": "c"},
    "soca": {"agent_id": "a"},
}


class Witness:
    """What was seen, by where; and the secrets that only came to be on the way."""

    def __init__(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        self.made: set[str] = set()
        self._caplog = caplog
        real = signaling.reception.turn_credentials

        def turn_credentials(*given: Any, **options: Any) -> tuple[str, str]:
            username, credential = real(*given, **options)
            self.made.add(credential)
            return username, credential

        monkeypatch.setattr(signaling.reception, "turn_credentials", turn_credentials)

    def see(self, where: str, what: object) -> None:
        self.seen.append((where, what if isinstance(what, str) else repr(what)))

    def see_error(self, where: str, exc: BaseException) -> None:
        self.see(f"error of {where}", "".join(traceback.format_exception(exc)) + repr(exc) + repr(exc.__dict__))

    def see_folder(self, folder: Path) -> None:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.see(f"file {file.name}", file.read_bytes().decode("latin-1"))

    def testify(self) -> Iterator[tuple[str, str]]:
        """Yield where which secret was found."""
        self.see("logs", self._caplog.text)
        assert len(self.made) > 0, "no TURN credential was made: what is looked for was never there"
        for where, text in self.seen:
            for secret in {*FIXED, *self.made}:
                if secret in text:
                    yield where, secret
            if found := JWT.search(text):
                yield where, found.group()

    def check_quiet_logs(self) -> None:
        """SDP and what was said are for DEBUG only."""
        for record in self._caplog.records:
            if record.levelno > logging.DEBUG:
                assert not SDP.search(record.getMessage()), record
                assert not any(text in record.getMessage() for text in ("How are you?", "Fine.")), record


@pytest.fixture
def witness(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Witness:
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp.access", "aiohttp.server", "aiohttp.web", "aioice", "aiortc", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return Witness(caplog, monkeypatch)


@asynccontextmanager
async def mocking(witness: Witness, folder: Path, **options: Any) -> AsyncIterator[MockServer]:
    """A mock that records, whose reports are looked at in the end."""
    async with MockServer(
        api_key=KEY,
        scenario=short_scenario(folder),
        ice_servers=[http.IceServer(("turn:127.0.0.1:9?transport=udp",))],
        turn_secret=TURN_SECRET,
        record=folder / "mock",
        **options,
    ) as mock:
        witness.made.add(mock.tokens.password)
        yield mock
        witness.see("repr", [mock, *mock.calls, *mock.received])
        async with aiohttp.ClientSession() as client:
            for path in ("/mock/calls", "/mock/refused", "/healthz"):
                async with client.get(mock.url() + path) as response:
                    witness.see(path, await response.text())
    witness.see_folder(folder / "mock")


async def call(
    witness: Witness, name: str, protocol: str, url: str, folder: Path, **options: Any
) -> BaseException | None:
    """Make a call, look at all of it, and return how it failed."""
    given = {"params": PARAMS[protocol], "ice_timeout": 0.3, "http_timeout": 2.0, "open_timeout": 3.0} | options
    sessions: list[rtcpeer.Session] = []
    failure = None
    try:
        connecting = rtcpeer.connect(protocol, url, record=folder / name, on_session=sessions.append, **given)
        async with connecting as session:
            await session.wait_for(rtcpeer.SessionStarted, timeout=DEADLINE)
    except Exception as exc:
        failure = exc
        witness.see_error(name, exc)
    for session in sessions:
        witness.see(f"repr of {name}", [session, session.protocol, session.link, session.phases, session.stats()])
        witness.see(f"events of {name}", session.events.entries())
    witness.see_folder(folder / name)
    return failure


@pytest.mark.parametrize("protocol", PARAMS)
async def test_a_call_says_no_secret_nor_does_one_with_a_wrong_key(protocol, witness, tmp_path):
    async with mocking(witness, tmp_path) as mock:
        url = mock.url(protocol)
        assert await call(witness, "good", protocol, url, tmp_path, api_key=KEY) is None
        assert isinstance(await call(witness, "bad", protocol, url, tmp_path, api_key=WRONG_KEY), RtcPeerError)
        if protocol != "orga":
            async with rtcpeer.connect("orga", mock.url(), api_key=KEY):  # which gets a TURN credential
                pass

    assert [] == list(witness.testify())
    witness.check_quiet_logs()


FAULTS = (
    *("reject-key", "expired-token", "rate-limit", "ice-html", "spent-token", "calls-422", "calls-500", "calls-html"),
    *("bad-sdp", "no-path", "malformed-events", "unknown-events"),
)


async def test_no_failure_of_a_call_says_a_secret(witness, tmp_path):
    failures: dict[str, Any] = {}
    async with mocking(witness, tmp_path) as mock:

        async def fail(name: str, protocol: str = "orga", url: str = "", **options: Any) -> None:
            options = options or {"api_key": KEY}
            failures[name] = await call(witness, name, protocol, url or mock.url(protocol), tmp_path, **options)

        for fault in FAULTS:
            mock.faults = [fault]
            await fail(fault)
        mock.faults = []
        await fail("relay", api_key=KEY, ice_policy="relay", open_timeout=0.5)
        forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ6ZWJyYSJ9."
        ws = mock.url("orga-ws").replace("http", "ws") + "/v1/realtime/ws"
        await fail("token in URL", "orga-ws", f"{ws}?token={forged}", token=None)
        await fail("nobody there", "orga-ws", f"ws://127.0.0.1:9/v1/realtime/ws?token={forged}", token=None)
        await fail("forged token", token=forged)
        await fail("key with a space", api_key=f"{KEY} {KEY}")
        await fail("password in URL", url=f"http://user:{KEY}@127.0.0.1:9", api_key=KEY)
        await fail("bad header", api_key=KEY, params={"mcp_server": json.dumps({"headers": MCP_SECRET})})
        await fail("bad JSON", api_key=KEY, params={"mcp_server": f'{{"headers": "{MCP_SECRET}"'})
        async with aiohttp.ClientSession() as client:  # what our own peer would not send
            for raw in (f"/v1/realtime/ws?token={forged}", f"/nowhere?token={KEY}", f"/mock/calls?token={KEY}"):
                async with client.post(
                    mock.url() + raw, headers={"Authorization": f"Bearer {KEY}"}, data=KEY
                ) as answer:
                    witness.see(raw[:10], str(answer.headers) + await answer.text())
        host, _, port = mock.url().removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /?token={KEY} HTTP/9\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        await reader.read()
        writer.close()

    fine = {name for name, exc in failures.items() if exc is None}
    assert {"malformed-events", "unknown-events"} == fine
    assert all(isinstance(exc, RtcPeerError) for name, exc in failures.items() if name not in fine)
    assert [] == list(witness.testify())
    witness.check_quiet_logs()


async def test_the_proxy_says_no_secret(witness, tmp_path):
    async with mocking(witness, tmp_path) as mock:
        for key, far in ((KEY, mock.url()), (WRONG_KEY, mock.url()), (KEY, "http://127.0.0.1:9")):
            async with (
                SessionConfigClient(far, key) as client,
                VoiceTokenClient(far, key, params={"agent_id": "a"}) as voice,
                serving(proxy_app(client, cors_origins=[])) as proxy,
                serving(proxy_app(voice, cors_origins=[])) as voice_proxy,
                aiohttp.ClientSession() as caller,
            ):
                witness.see("repr", [client, voice])
                async with caller.post(f"{voice_proxy}/api/voice-token?token={KEY}") as response:
                    assert response.status == (200 if (key, far) == (KEY, mock.url()) else 502)
                    if response.status != 200:
                        witness.see("answer", await response.text())
                try:
                    witness.see("repr", await fetch_session_config(caller, f"{proxy}/session-config"))
                except RtcPeerError as exc:
                    witness.see_error("session config", exc)
        for protocol, path in (("orga", "/session-config"), ("orbitali", "/api/voice-token")):
            client_ = (
                SessionConfigClient(mock.url(), KEY)
                if protocol == "orga"
                else VoiceTokenClient(mock.url(), KEY, params={"agent_id": "a"})
            )
            async with client_, serving(proxy_app(client_, cors_origins=[])) as proxy:
                options = {"session_config_url": proxy + path}
                assert await call(witness, protocol, protocol, mock.url(), tmp_path, **options) is None

    assert [] == list(witness.testify())
    witness.check_quiet_logs()


@pytest.mark.parametrize(
    "value",
    [
        http.IceServer(("turn:t.example",), "user", KEY),
        http.HttpRequest("GET", f"https://h.example/?token={KEY}", {"authorization": KEY}, KEY.encode()),
        http.HttpResponse(200, {"set-cookie": KEY}, KEY.encode()),
        http.Token(KEY),
        http.TokenRequest(KEY),
        http.Offer(KEY, {"mcp_server": KEY}, KEY),
        http.Answer(KEY, "conv"),
        http.Ticket(KEY, url=f"wss://h.example/?token={KEY}"),
        http.SocketRequest(f"wss://h.example/?token={KEY}", {"authorization": KEY}, (KEY,)),
        http.Upgrade(KEY, {"password": KEY}),
        SessionConfig(KEY, (http.IceServer(("turn:t.example",), "user", KEY),)),
        CallOptions(url=f"wss://h/?token={KEY}", api_key=KEY, token=KEY, session_config_url=f"https://h/?key={KEY}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_repr_of_what_holds_a_secret_does_not_show_it(value):
    assert KEY not in repr(value)
    assert KEY not in repr([value])


LOUD = "import logging; logging.basicConfig(level=logging.DEBUG); from rtcpeer.cli import main; main()"


async def start(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """Start a command with its logs at DEBUG."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOUD, *arguments), stdout=-1, stderr=-1, stdin=-3, env={**os.environ, **environment}
    )


async def run(witness: Witness, *arguments: str, **environment: str) -> int | None:
    process = await start(*arguments, **environment)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    witness.see(f"rtcpeer {arguments[0]}", (out + err).decode())
    return process.returncode


@asynccontextmanager
async def server(witness: Witness, *arguments: str, **environment: str) -> AsyncIterator[str]:
    """Run a server; yields its URL. What it printed is looked at in the end."""
    process = await start(*arguments, "--port", "0", **environment)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
    try:
        yield next(word for word in line.decode().split() if word.startswith("http")).rstrip(",")
    finally:
        process.terminate()
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
        assert b"DEBUG:" in err
        witness.see(f"rtcpeer {arguments[0]}", (line + out + err).decode())


async def test_the_commands_print_no_secret(witness, tmp_path):
    mock_options = ("--ice-server", "turn:127.0.0.1:9", "--record", str(tmp_path / "mock"))
    secrets = {"RTCPEER_API_KEY": KEY, "RTCPEER_TURN_SECRET": TURN_SECRET}
    async with (
        server(witness, "mock", *mock_options, **secrets) as mock,
        server(witness, "proxy", "--upstream", mock, RTCPEER_API_KEY=KEY) as proxy,
    ):
        async with aiohttp.ClientSession() as client, client.get(proxy) as response:
            config = await response.json()
        witness.made |= {config["ephemeralToken"], config["iceServers"][0]["credential"]}
        socket = f"{mock.replace('http', 'ws')}/v1/realtime/ws?token={config['ephemeralToken']}"

        async def join(name: str, *arguments: str, **environment: str) -> int | None:
            options = ("--record", str(tmp_path / name), "--duration", "0.3")
            return await run(witness, "join", *arguments, *options, **environment)

        assert [0, 0, 1] == await asyncio.gather(
            join("good", "orga", mock, RTCPEER_API_KEY=KEY),
            join("token", "orga-ws", socket),
            join("wrong", "orga", mock, RTCPEER_API_KEY=WRONG_KEY),
        )
        assert 1 == await join("used", "orga-ws", socket)
    witness.see_folder(tmp_path)

    assert [] == list(witness.testify())
