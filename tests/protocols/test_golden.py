"""Messages typed from the vendors' documents, never produced by our codecs: both sides could be wrong together."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from rtcpeer import commands, errors, events
from rtcpeer.formats import AudioFormat
from rtcpeer.protocols import PROTOCOLS
from rtcpeer.protocols.base import AudioChunk, Side
from rtcpeer.protocols.http import Answer, HttpRequest, HttpResponse, IceServer, Offer, Refusal, RequestRefused, Token
from rtcpeer.said import Said

FIXTURES = Path(__file__).parents[2] / "fixtures" / "protocols"


def made(content: dict[str, Any]) -> Said:
    kinds: dict[str, Any] = vars(events) | vars(commands) | {"AudioChunk": AudioChunk}
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    if fields["type"] == "AudioChunk":
        fields |= {"data": base64.b64decode(fields["data"]), "format": AudioFormat(**fields["format"])}
    return kinds[fields.pop("type")](**fields)


def wires(line: dict[str, Any]) -> list[str | bytes]:
    """The message: ``wire`` is JSON, ``wire_base64`` a binary one; ``wires`` are several that are said at once."""
    if "wire_base64" in line:
        return [base64.b64decode(line["wire_base64"])]
    return [json.dumps(content) for content in line.get("wires") or [line["wire"]]]


def read(message: str | bytes) -> Any:
    return message if isinstance(message, bytes) else json.loads(message)


def speaker(name: str, side: Side, line: dict[str, Any]) -> Any:
    codec = PROTOCOLS[name](side, line.get("params"))
    for setting, value in line.get("settings", {}).items():
        setattr(codec, setting, value)
    return codec


def messages(*, both_ways: bool = False) -> list[Any]:
    """All of them, or those that we also write: others we only accept."""
    found = []
    for name in PROTOCOLS:
        lines = [json.loads(line) for line in (FIXTURES / f"{name}.jsonl").read_text("utf-8").splitlines()]
        found += [
            pytest.param(name, line, id=f"{name}-{number}")
            for number, line in enumerate(lines, 1)
            if not (both_ways and line.get("one_way"))
        ]
    return found


def exchanges(kind: str, transport: str = "rtc") -> list[Any]:
    found = []
    for name, protocol in PROTOCOLS.items():
        if protocol.profile.transport != transport:
            continue
        content = json.loads((FIXTURES / f"{name}_http.json").read_text("utf-8"))[kind]
        found += [
            pytest.param(name, item, id=f"{name}-{number}-{item['route']}") for number, item in enumerate(content)
        ]
    return found


@pytest.mark.parametrize(("name", "line"), messages())
def test_a_documented_message_decodes_to_its_events(name: str, line: dict[str, Any]) -> None:
    receiver = speaker(name, Side(line["from"]).other, line)

    assert line["events"] == [said.to_dict() for message in wires(line) for said in receiver.receive(message)]


@pytest.mark.parametrize(("name", "line"), messages(both_ways=True))
def test_what_was_said_encodes_to_the_documented_message(name: str, line: dict[str, Any]) -> None:
    sender = speaker(name, Side(line["from"]), line)

    # A message may be several events for its receiver; the last is what its sender said.
    documented = [read(message) for message in wires(line)]
    assert documented == [read(message) for message in sender.send(made(line["events"][-1]))]


def test_every_type_of_every_side_has_a_documented_message() -> None:
    for name, protocol in PROTOCOLS.items():
        covered = {
            (Side(line["from"]), line["events"][-1]["type"])
            for line in (param.values[1] for param in messages(both_ways=True) if param.values[0] == name)
        }
        assert covered == {(side, kind.__name__) for side, kinds in protocol.speaks.items() for kind in kinds}


def request_of(wire: dict[str, Any]) -> HttpRequest:
    body = b"" if wire["body"] is None else json.dumps(wire["body"]).encode()
    return HttpRequest(wire["method"], wire["url"], wire["headers"], body)


@pytest.mark.parametrize(("name", "item"), exchanges("requests"))
def test_a_documented_request_is_what_we_send_and_understand(name: str, item: dict[str, Any]) -> None:
    protocol, given, wire = PROTOCOLS[name], item["from"], item["wire"]
    base_url = wire["url"].partition("/v1/")[0]
    request = request_of(wire)
    match item["route"]:
        case "token":
            sent = protocol.token_request(base_url, given["api_key"], given["options"])
            understood = protocol.parse_token_request(request)
            assert (given["api_key"], given["options"]) == (understood.api_key, understood.options)
        case "ice":
            sent = protocol.ice_request(base_url, given["token"])
            assert given["token"] == protocol.parse_ice_request(request)
        case _:
            offer = Offer(given["sdp"], given["params"], given["token"])
            sent = protocol.offer_request(base_url, offer)
            assert offer == protocol.parse_offer(request)
    assert (wire["method"], wire["url"]) == (sent.method, sent.url)
    assert wire["headers"].items() <= sent.headers.items()
    assert wire["body"] == (json.loads(sent.body) if sent.body else None)


@pytest.mark.parametrize(("name", "item"), exchanges("answers"))
def test_a_documented_answer_is_what_we_understand_and_give(name: str, item: dict[str, Any]) -> None:
    protocol, means, wire = PROTOCOLS[name], item["means"], item["wire"]
    response = HttpResponse(wire["status"], {"content-type": "application/json"}, json.dumps(wire["body"]).encode())
    match item["route"]:
        case "token":
            token = Token(**means)
            assert token == protocol.parse_token(response)
            ours = protocol.token_response(token)
        case "ice":
            servers = tuple(IceServer(tuple(urls), username, credential) for urls, username, credential in means)
            assert servers == protocol.parse_ice(response)
            ours = protocol.ice_response(servers)
        case _:
            answer = Answer(**means)
            assert answer == protocol.parse_answer(response)
            ours = protocol.answer_response(answer)
    if not item.get("one_way"):
        assert (wire["status"], wire["body"]) == (ours.status, json.loads(ours.body))


@pytest.mark.parametrize(("name", "item"), exchanges("refusals"))
def test_a_documented_refusal_is_what_we_answer_and_raise(name: str, item: dict[str, Any]) -> None:
    protocol, wire = PROTOCOLS[name], item["wire"]
    refused = RequestRefused(Refusal(item["refusal"]), item.get("message", "no"), field=tuple(item.get("field", ())))
    parse = {"token": protocol.parse_token, "ice": protocol.parse_ice, "call": protocol.parse_answer}[item["route"]]

    response = protocol.refusal_response(refused, item["route"])

    assert (wire["status"], wire["body"]) == (response.status, json.loads(response.body))
    with pytest.raises(getattr(errors, item["raises"])) as caught:
        parse(response)
    assert type(caught.value) is getattr(errors, item["raises"])
    assert item["says"] in str(caught.value)
    assert str(wire["status"]) in str(caught.value)
