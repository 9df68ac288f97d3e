"""Hostile input: whatever arrives, only documented errors leave a codec, and what leaves it can be written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from parrot import Parrot

from rtcpeer.commands import UpdateSession
from rtcpeer.errors import AuthError, ConfigurationError, RemoteProtocolError, RtcPeerError, SignalingError
from rtcpeer.escaping import escaped
from rtcpeer.protocols import PROTOCOLS as REGISTERED
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.http import HttpRequest, HttpResponse, Offer, Refusal, RequestRefused, Ticket, Upgrade

PROTOCOLS = {**REGISTERED, "parrot": Parrot}

# Of every protocol: a hostile message is most dangerous where it is nearly right.
NAMES = st.sampled_from(
    [
        *("type", "event", "data", "session", "id", "transcript", "text", "message", "modalities", "temperature"),
        *("offer", "sdp", "candidates", "candidate", "sdpMid", "sdpMLineIndex", "params", "mcp_server", "answer"),
        *("conversation_id", "ephemeral_token", "expires_at", "iceServers", "urls", "url", "username", "credential"),
        *("error", "detail", "loc", "msg", "session.created", "conversation.created", "response.output_item.done"),
        *("session.update", "conversation.item.input_audio_transcription.completed"),
        *("audio", "encoding", "sampleRate", "role", "user", "assistant", "callId", "pcm16", "input_audio"),
        *("output_audio", "session.started", "transcript", "clear", "stop", "token", "expiresAt", "websocketUrl"),
        *("protocol", "inputAudio", "outputAudio", "wss://api.example.com/", "hello", "heard", "said", "UklGRg=="),
        *("stepType", "sentence", "sentenceId", "contentStep", "audioBase64", "chunkIndex", "isLastChunk", "seq"),
        *("final_answer", "fullResponse", "answers", "output", "barge", "reason", "start", "session_id"),
        *("private_key", "ready", "stt.ready", "stt.partial", "stt.final", "status"),
        *("started", "sample_rate", "channels", "error", "pong", "password"),
        *("speech-started", "codec", "opus", "code"),
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(st.characters(), max_size=12)  # lone surrogates among them
    | NAMES
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)
NESTED = st.integers(1, 100_000).map(lambda depth: "[" * depth + "]" * depth)
DEEP_DETAILS = '{"type": "session.created", "session": {"id": "x", "a": ' + "[" * 600 + "]" * 600 + "}}"
SURROGATE = json.dumps({"type": "response.output_item.done", "text": "half \ud83d"})

OBJECTS = JSON.map(json.dumps)
MESSAGES = st.text(st.characters()) | st.binary() | OBJECTS | OBJECTS.map(str.encode) | NESTED


def attempt(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, RtcPeerError | None]:
    """Return what a call returned and what of ours it raised; everything else is a failure of the test."""
    try:
        return call(*args, **kwargs), None
    except RtcPeerError as exc:
        return None, exc


BOTH_SIDES = [
    pytest.param(protocol, side, id=f"{name}-{side.value}") for name, protocol in PROTOCOLS.items() for side in Side
]
EVERY_PROTOCOL = [pytest.param(protocol, id=name) for name, protocol in PROTOCOLS.items()]
OVER_RTC = [param for param in EVERY_PROTOCOL if param.values[0].profile.transport == "rtc"]
OVER_WS = [param for param in EVERY_PROTOCOL if param.values[0].profile.transport == "ws"]


@pytest.mark.parametrize(("protocol", "side"), BOTH_SIDES)
@given(message=MESSAGES)
@example(message=DEEP_DETAILS)
@example(message=SURROGATE)
@example(message='{"type": "session.created", "session": {"id": "x", "temperature": 1e999}}')
@example(message='{"type": "session.created", "session": {"id": "\\ud800"}}')
@example(message='{"event": "session.update", "data": {"temperature": NaN}}')
@example(message='{"event": "session.update", "data": {"temperature": ' + "9" * 400 + "}}")
@example(message="9" * 5000)
@example(message='{"a":' * 900 + "1" + "}" * 900)
def test_a_message_is_heard_or_refused_as_malformed(protocol: Any, side: Side, message: str | bytes) -> None:
    heard, error = attempt(protocol(side).receive, message)

    assert error is None or type(error) is RemoteProtocolError
    for said in heard or ():
        json.dumps(said.to_dict(), allow_nan=False).encode()


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@given(message=MESSAGES)
def test_a_refused_message_is_not_quoted(protocol: Any, message: str | bytes) -> None:
    secret = "sk_orga_ai_0123456789"
    poisoned = message + (secret if isinstance(message, str) else secret.encode())
    _, error = attempt(protocol(Side.CLIENT).receive, poisoned)
    # Binary messages may be audio, whatever is in them.
    assert error is not None or isinstance(message, bytes)
    assert secret not in str(error)


BODIES = st.binary() | JSON.map(json.dumps).map(str.encode) | NESTED.map(str.encode) | st.just(b"<html>")
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "authorization"]), st.text(st.characters(), max_size=20)
)
RESPONSES = st.builds(HttpResponse, st.integers(100, 599), HEADERS, BODIES)
URLS = st.just("/") | st.text().map(lambda text: f"/?{text}")
REQUESTS = st.builds(HttpRequest, st.just("POST"), URLS, HEADERS, BODIES)


@pytest.mark.parametrize("protocol", OVER_RTC)
@pytest.mark.parametrize("parse", ["parse_token", "parse_ice", "parse_answer"])
@given(response=RESPONSES)
@example(response=HttpResponse(200, {}, b"[" * 100_000))
@example(response=HttpResponse(200, {}, b'{"ephemeral_token": "x", "expires_at": ' + b"9" * 400 + b"}"))
@example(response=HttpResponse(200, {}, b'{"ephemeral_token": "x", "expires_at": "0001-01-01T00:00:00+23:59"}'))
@example(response=HttpResponse(429, {"retry-after": "9" * 400}, b""))
@example(response=HttpResponse(429, {"retry-after": "²"}, b""))
@example(response=HttpResponse(500, {}, json.dumps({"error": {"message": "\ud800\x1b[31m"}}).encode()))
def test_an_answer_is_understood_or_raises_a_documented_error(
    protocol: Any, parse: str, response: HttpResponse
) -> None:
    found, error = attempt(getattr(protocol, parse), response)

    assert found is None or response.ok
    if error is not None:
        assert isinstance(error, RemoteProtocolError if response.ok else (SignalingError, AuthError))
        assert str(error).isprintable()
        assert len(str(error)) < 320


@pytest.mark.parametrize("protocol", OVER_RTC)
@pytest.mark.parametrize("strict", [False, True])
@given(request=REQUESTS)
def test_a_request_is_understood_or_refused_with_a_field(protocol: Any, strict: bool, request: HttpRequest) -> None:
    protocol.parse_token_request(request)
    protocol.parse_ice_request(request)
    offer, refused = attempt(protocol.parse_offer, request, strict=strict)

    if refused is None:
        assert isinstance(offer, Offer)
    else:
        assert isinstance(refused, RequestRefused)
        assert refused.refusal in (Refusal.MISSING_FIELD, Refusal.INVALID_FIELD)
        assert protocol.refusal_response(refused, "call").status == 422


@pytest.mark.parametrize("protocol", [each for each in OVER_WS if "session" in each.values[0].profile.paths])
@given(response=RESPONSES)
@example(response=HttpResponse(200, {}, b"[" * 100_000))
@example(response=HttpResponse(500, {}, json.dumps({"error": {"message": "\ud800\x1b[31m"}}).encode()))
@example(response=HttpResponse(200, {}, b'{"token": "x", "websocketUrl": "wss://api.example.com:99999/"}'))
def test_a_session_is_understood_or_raises_a_documented_error(protocol: Any, response: HttpResponse) -> None:
    found, error = attempt(protocol.parse_session, response, "https://api.example.com")

    if error is None:
        assert response.ok
        assert isinstance(found, Ticket)
    else:
        assert isinstance(error, RemoteProtocolError if response.ok else (SignalingError, AuthError))
        assert str(error).isprintable()
        assert len(str(error)) < 320


@pytest.mark.parametrize("protocol", OVER_WS)
@given(request=REQUESTS)
def test_a_socket_request_is_understood_or_refused(protocol: Any, request: HttpRequest) -> None:
    if "session" in protocol.profile.paths:
        protocol.parse_session_request(request)
    upgrade, refused = attempt(protocol.parse_socket, request)

    if refused is None:
        assert isinstance(upgrade, Upgrade)
    else:
        assert isinstance(refused, RequestRefused)
        assert refused.refusal in (Refusal.MISSING_FIELD, Refusal.INVALID_FIELD)


SDP = "v=0\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:1\r\n"


@pytest.mark.parametrize("protocol", OVER_RTC)
@given(candidates=JSON, params=JSON, mcp_server=JSON)
def test_an_offer_with_hostile_fields_is_understood_or_refused(
    protocol: Any, candidates: object, params: object, mcp_server: object
) -> None:
    content = {"offer": {"sdp": SDP, "candidates": candidates}, "params": params, "mcp_server": mcp_server}
    request = HttpRequest("POST", "/", {}, json.dumps(content).encode())

    offer, refused = attempt(protocol.parse_offer, request)

    if refused is None:
        assert offer.sdp.startswith("v=0\r\n")
        json.dumps(dict(offer.params), allow_nan=False)
    else:
        assert isinstance(refused, RequestRefused)


OPTION_NAMES = st.sampled_from(
    ["voice", "model", "temperature", "instructions", "modalities", "history", "mcp_server", "email", "agent_id"]
)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@settings(max_examples=200)
@given(options=st.dictionaries(OPTION_NAMES | st.text(max_size=5), JSON | st.binary() | st.sets(LEAVES), max_size=4))
def test_options_are_taken_or_refused_by_name(protocol: Any, options: dict[str, object]) -> None:
    updates = UpdateSession in protocol.speaks[Side.CLIENT]
    for check in (protocol.configure, protocol.update) if updates else (protocol.configure,):
        _, error = attempt(check, options)
        if error is not None:
            assert isinstance(error, ConfigurationError)
            assert any(escaped(name) in str(error) for name in options)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@settings(max_examples=200)
@given(options=st.dictionaries(OPTION_NAMES, JSON, max_size=3))
def test_what_was_checked_passes_the_check_unchanged(protocol: Any, options: dict[str, object]) -> None:
    checked, error = attempt(protocol.configure, options)
    if error is None:
        json.dumps(checked, allow_nan=False)
        assert checked == protocol.configure(checked)


@pytest.mark.parametrize(("protocol", "side"), BOTH_SIDES)
def test_a_message_nested_too_deep_to_be_walked_without_care_is_refused(protocol: Any, side: Side) -> None:
    codec = protocol(side)
    assert codec.receive('{"a":' * 50 + "1" + "}" * 50)
    for depth in (70, 400, 900, 100_000):
        with pytest.raises(RemoteProtocolError):
            codec.receive('{"a":' * depth + "1" + "}" * depth)
