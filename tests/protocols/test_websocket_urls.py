"""What of a socket's URL is trusted, and what a close code means; pure."""

from __future__ import annotations

import json

import pytest
from parrot import Parrot

from rtcpeer.errors import AuthError, ConfigurationError, ConnectionLost, LocalProtocolError, RemoteProtocolError
from rtcpeer.protocols import Orbitali
from rtcpeer.protocols.http import HttpRequest, HttpResponse, Ticket, fill_path, match_path
from rtcpeer.protocols.websocket import check_socket_url, with_query


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("wss://agent.orbitali.ai/ws/agents/a?token=t", "https://api.orbitali.ai"),
        ("wss://api.orbitali.ai/ws", "https://api.orbitali.ai"),
        ("ws://127.0.0.1:8080/ws", "http://127.0.0.1:9000"),
        ("wss://localhost/ws", "http://localhost:8080"),
    ],
)
def test_a_socket_of_the_services_own_is_trusted(url: str, base: str):
    assert url == check_socket_url(url, base, domain="orbitali.ai")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("wss://evil.example/ws", "https://api.orbitali.ai"),
        ("wss://orbitali.ai.evil.example/ws", "https://api.orbitali.ai"),
        ("wss://evilorbitali.ai/ws", "https://api.orbitali.ai"),
        ("ws://api.orbitali.ai/ws", "https://api.orbitali.ai"),
        ("https://api.orbitali.ai/ws", "https://api.orbitali.ai"),
        ("wss://user@api.orbitali.ai/ws", "https://api.orbitali.ai"),
        ("ws://10.0.0.2/ws", "http://127.0.0.2"),
        ("ws://9.0.0.1/ws", "http://127.0.0.1"),
        ("wss://example.com/ws", "https://other.com"),
        ("wss://evil.github.io/ws", "https://mine.github.io"),
        ("wss://evil.co.uk/ws", "https://api.co.uk"),
        ("wss://agent.example.com/ws", "https://api.example.com"),
        ("wss://agent.orbitali.ai/ws", "https://api.example.com"),
        ("wss://agent.orbitali.ai/ws", "https://evilorbitali.ai"),
        ("wss://[::1", "https://api.orbitali.ai"),
        ("", "https://api.orbitali.ai"),
    ],
)
def test_a_socket_elsewhere_or_without_tls_is_not_trusted(url: str, base: str):
    with pytest.raises(RemoteProtocolError):
        check_socket_url(url, base, domain="orbitali.ai")


def test_a_session_that_leads_elsewhere_is_refused_before_its_token_is_sent_there():
    answer = {"token": "secret-token", "websocketUrl": "wss://evil.example/ws?token=secret-token"}
    response = HttpResponse(200, {}, json.dumps(answer).encode())

    with pytest.raises(RemoteProtocolError, match=r"evil\.example") as caught:
        Orbitali.parse_session(response, "https://api.orbitali.ai")

    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize(
    ("protocol", "code", "kind"),
    [
        (Parrot, 1000, None),
        (Parrot, 1001, None),
        (Parrot, 1005, None),
        (Parrot, None, ConnectionLost),
        (Parrot, 1006, ConnectionLost),
        (Parrot, 1008, AuthError),
        (Parrot, 1009, LocalProtocolError),
        (Parrot, 1012, ConnectionLost),
        (Parrot, 4999, ConnectionLost),
    ],
)
def test_close_code_is_a_goodbye_or_an_error(protocol: type[Parrot], code: int | None, kind: type | None):
    error = protocol.closing_error(code, "because")

    assert kind is (None if error is None else type(error))


def test_close_reason_is_quoted_without_control_characters_and_credentials():
    error = Parrot.closing_error(1011, "no \x1b[31m token=abc123")

    assert "abc123" not in str(error)
    assert str(error).isprintable()


def test_path_parameters_are_filled_in_and_read_again():
    template = "/public/v1/agents/{agent_id}/realtime-sessions"

    path = fill_path(template, {"agent_id": "a/b c"})

    assert "/public/v1/agents/a%2Fb%20c/realtime-sessions" == path
    assert {"agent_id": "a/b c"} == match_path(template, f"https://h{path}?x=1")
    assert None is match_path(template, "https://h/public/v1/agents/a/b/realtime-sessions/x")


def test_query_is_completed_and_what_was_there_is_kept():
    assert "wss://h/ws?a=1&token=n%2F" == with_query("wss://h/ws?a=1&token=old", token="n/", none=None)


def test_agent_id_that_would_lead_elsewhere_is_refused():
    for id in ("../../v2", "a/b", "a?b", "", "ü"):
        with pytest.raises(ConfigurationError, match="agent_id"):
            Orbitali.configure({"agent_id": id})


def test_token_goes_into_the_url_for_orbitali_and_into_a_header_by_default():
    params = {"agent_id": "a1"}

    assert "ws://h/ws/agents/a1?token=t" == Orbitali.socket_request("http://h", Ticket("t"), params).url
    request = Parrot.socket_request("https://h/base", Ticket("t"), {})
    assert ("wss://h/base/parrot", "Bearer t") == (request.url, request.headers["authorization"])


def test_server_reads_the_token_of_a_browser_which_can_set_no_header():
    upgrade = Parrot.parse_socket(HttpRequest("GET", "http://h/parrot?token=t&other=1"))

    assert ("t", {}) == (upgrade.token, upgrade.params)
