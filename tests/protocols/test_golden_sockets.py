"""The REST step and the socket of protocols over WebSocket, against what the vendors' documents say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from protocols.test_golden import exchanges, request_of

from rtcpeer import errors
from rtcpeer.formats import AudioFormat
from rtcpeer.protocols import PROTOCOLS
from rtcpeer.protocols.http import HttpRequest, HttpResponse, Refusal, RequestRefused, Ticket


def base_of(protocol: Any, route: str, wire: dict[str, Any]) -> str:
    """The service's base URL: what stands before the first fixed part of the route's path."""
    return wire["url"].partition(protocol.profile.paths[route].partition("{")[0])[0]


@pytest.mark.parametrize(("name", "item"), exchanges("requests", "ws"))
def test_a_documented_request_is_what_we_send_and_understand(name: str, item: dict[str, Any]) -> None:
    protocol: Any = PROTOCOLS[name]
    given, wire = item["from"], item["wire"]
    if item["route"] == "session":
        sent = protocol.session_request(base_of(protocol, "session", wire), given["api_key"], given["params"])
        understood = protocol.parse_session_request(request_of(wire))
        assert (wire["method"], wire["url"]) == (sent.method, sent.url)
        assert given["api_key"] == understood.api_key
        assert understood.options.items() <= given["params"].items()
    else:
        ticket = Ticket(given["token"], session_id=given.get("session_id"))
        sent = protocol.socket_request(given["base_url"], ticket, given["params"])
        understood = protocol.parse_socket(HttpRequest("GET", wire["url"], wire["headers"]))
        assert wire["url"] == sent.url
        assert (given["token"], given["params"]) == (understood.token, understood.params)
    assert wire["headers"].items() <= sent.headers.items()


@pytest.mark.parametrize(("name", "item"), exchanges("answers", "ws"))
def test_a_documented_answer_is_what_we_understand_and_give(name: str, item: dict[str, Any]) -> None:
    protocol: Any = PROTOCOLS[name]
    wire = item["wire"]
    means = {key: AudioFormat(value) if key.startswith("audio_") else value for key, value in item["means"].items()}
    response = HttpResponse(wire["status"], {"content-type": "application/json"}, json.dumps(wire["body"]).encode())

    ticket = protocol.parse_session(response, item["base_url"])

    assert Ticket(**means) == ticket
    if not item.get("one_way"):
        ours = protocol.session_response(ticket)
        assert (wire["status"], wire["body"]) == (ours.status, json.loads(ours.body))


@pytest.mark.parametrize(("name", "item"), exchanges("refusals", "ws"))
def test_a_documented_refusal_is_what_we_answer_and_raise(name: str, item: dict[str, Any]) -> None:
    protocol: Any = PROTOCOLS[name]
    wire, expected = item["wire"], getattr(errors, item["raises"])
    refused = RequestRefused(Refusal(item["refusal"]), item.get("message", "no"))

    if "code" in wire:
        closing = protocol.refusal_closing(refused)
        assert (wire["code"], wire["messages"]) == (closing.code, [json.loads(said) for said in closing.messages])
        error = protocol.closing_error(closing.code, closing.reason)
    else:
        response = protocol.refusal_response(refused, item["route"])
        assert (wire["status"], wire["body"]) == (response.status, json.loads(response.body))
        if item["route"] == "session":
            with pytest.raises(expected) as caught:
                protocol.parse_session(response, "https://api.example.com")
            error = caught.value
        else:
            error = protocol.socket_refused(response)
    assert type(error) is expected
    assert item["says"] in str(error)
