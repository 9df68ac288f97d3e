"""What is Orgo's alone: where a computer's socket is, and refusals that no other protocol has."""

from __future__ import annotations

import json

import pytest

from rtcpeer.errors import AuthError, ConfigurationError, LocalProtocolError, RemoteProtocolError, SignalingError
from rtcpeer.formats import AudioFormat
from rtcpeer.protocols import Orgo, Side
from rtcpeer.protocols.base import AudioChunk
from rtcpeer.protocols.http import HttpRequest, HttpResponse, Ticket

ID = "a3bb189e-8bf9-3888-9912-ace4e6543002"
PASSWORD = Ticket("0f1e2d3c4b5a69788796")


@pytest.mark.parametrize(
    ("base", "host", "socket"),
    [
        ("https://www.orgo.ai", None, f"wss://{ID}.orgo.dev/audio"),
        ("https://orgo.ai/", None, f"wss://{ID}.orgo.dev/audio"),
        ("https://www.orgo.ai", "orgo-{computer_id}.orgo.dev", f"wss://orgo-{ID}.orgo.dev/audio"),
        ("http://127.0.0.1:8080", None, "ws://127.0.0.1:8080/audio"),
        ("https://mock.example/base", None, "wss://mock.example/base/audio"),
        ("https://mock.example", "10.0.0.7:6080", "wss://10.0.0.7:6080/audio"),
        (f"wss://{ID}.orgo.dev/audio", "other.example", f"wss://{ID}.orgo.dev/audio"),
    ],
)
def test_the_socket_is_at_the_computer_s_own_host(base: str, host: str | None, socket: str) -> None:
    params = Orgo.configure({"computer_id": ID, "host": host})

    assert f"{socket}?token={PASSWORD.token}" == Orgo.socket_request(base, PASSWORD, params).url


def test_a_full_url_with_its_token_is_taken_as_it_is() -> None:
    url = "wss://x.orgo.dev/audio?token=secret&sample_rate=48000"

    assert url == Orgo.socket_request(url, Ticket(), {}).url
    assert f"{url}&channels=2" == Orgo.socket_request(url, Ticket(), {"channels": 2}).url


@pytest.mark.parametrize(
    "host",
    ["", "https://x.orgo.dev", "x.orgo.dev/audio", "user@x.orgo.dev", "a b", "{id}.orgo.dev", "x:99999", 7, "x:0"],
)
def test_a_host_that_leads_elsewhere_is_refused(host: object) -> None:
    with pytest.raises(ConfigurationError, match="host is"):
        Orgo.configure({"host": host})


@pytest.mark.parametrize("computer", ["../admin", "x/y", "a.b", "", "x?y", "ü"])
def test_an_id_that_is_no_id_is_refused(computer: str) -> None:
    with pytest.raises(ConfigurationError, match="computer_id is"):
        Orgo.configure({"computer_id": computer})


def test_without_a_computer_the_error_names_the_parameter() -> None:
    with pytest.raises(ConfigurationError, match="needs the parameter computer_id"):
        Orgo.session_request("https://www.orgo.ai", "sk_live_x", {})
    with pytest.raises(ConfigurationError, match="needs the parameter computer_id"):
        Orgo.full_socket_url("https://www.orgo.ai", PASSWORD, {})


def test_a_key_of_another_workspace_is_an_auth_error() -> None:
    body = json.dumps({"error": "Key is scoped to another workspace", "code": "workspace_scope_mismatch"}).encode()

    with pytest.raises(AuthError, match=r"403: Key is scoped to another workspace .is the API key right"):
        Orgo.parse_session(HttpResponse(403, {}, body), "https://www.orgo.ai")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"password": null}', b'{"password": ""}', b'{"password": "a b"}', b"[]"]
)
def test_an_answer_without_a_password_is_malformed(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="vnc-password"):
        Orgo.parse_session(HttpResponse(200, {}, body), "https://www.orgo.ai")


@pytest.mark.parametrize(("status", "asks"), [(503, True), (409, True), (500, True), (404, False), (429, False)])
def test_a_refused_socket_asks_whether_the_computer_runs(status: int, asks: bool) -> None:
    error = Orgo.socket_refused(HttpResponse(status))

    assert isinstance(error, SignalingError)
    assert status == error.status
    assert asks == ("is the computer running?" in str(error))


def test_the_server_knows_the_computer_by_its_host_and_takes_no_host_from_the_query() -> None:
    request = HttpRequest(
        "GET", f"https://{ID}.orgo.dev/audio?token=x&channels=2&host=evil.example&computer_id=other"
    )

    assert {"channels": 2, "computer_id": ID} == Orgo.parse_socket(request).params


def test_a_client_that_sends_audio_is_malformed() -> None:
    with pytest.raises(RemoteProtocolError):
        Orgo(Side.SERVER).receive(bytes(960))


def test_audio_in_another_format_than_started_said_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError, match="24000"):
        Orgo(Side.SERVER).send(AudioChunk(bytes(4), AudioFormat(48_000)))
