"""What is Orga's own: parameters, text, envelopes, errors. Its documented messages are in fixtures/protocols."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest

from rtcpeer.commands import UpdateSession
from rtcpeer.errors import (
    AuthError,
    ConfigurationError,
    LocalProtocolError,
    RemoteProtocolError,
    RtcPeerError,
    SignalingError,
    TokenExpired,
)
from rtcpeer.events import ConversationStarted, ResponseCompleted, SessionStarted, TranscriptCompleted, Unknown
from rtcpeer.protocols import Orga
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.http import HttpRequest, HttpResponse, IceServer, Offer, Refusal, RequestRefused, Token
from rtcpeer.protocols.orga_messages import VOICES
from rtcpeer.protocols.session_config import SessionConfig, session_config_response

BASE = "http://127.0.0.1:8080"
SDP = (
    "v=0\r\ns=-\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 5 10.0.0.1 4000 typ host\r\na=end-of-candidates\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:1\r\n"
)
MCP = {
    "id": "files",
    "alias": "Files",
    "url": "http://localhost:3000/sse",
    "headers": {"Authorization": "Bearer hidden"},
}


def ask(content: object) -> HttpRequest:
    return HttpRequest("POST", "/v1/realtime/calls", {}, json.dumps(content).encode())


def answer(status: int, content: object = None, **headers: str) -> HttpResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, names, b"" if content is None else json.dumps(content).encode())


def sent(codec: Orga, command: UpdateSession) -> dict[str, Any]:
    (message,) = codec.send(command)
    return json.loads(message)["data"]


# Call parameters


def test_an_untouched_configuration_is_what_the_vendors_sdk_sends_with_transcription_on() -> None:
    expected = {
        "voice": "Sofía",
        "model": "orga-1-beta",
        "temperature": 0.5,
        "return_transcription": True,
        "instructions": None,
        "modalities": ["audio", "video"],
        "history": True,
    }
    assert expected == Orga.configure({})
    assert expected | {"return_transcription": False} == Orga.configure({}, transcribe=False)
    assert Orga.configure({"return_transcription": True}, transcribe=False)["return_transcription"]


def test_every_voice_is_sent_composed_however_it_was_typed() -> None:
    assert len(VOICES) == 60
    for voice in VOICES:
        for form in ("NFC", "NFD", "NFKD"):
            assert voice == Orga.configure({"voice": unicodedata.normalize(form, voice)})["voice"]
            assert voice == Orga.update({"voice": unicodedata.normalize(form, voice)}).voice


def test_a_voice_without_its_accent_is_another_voice() -> None:
    assert Orga.configure({"voice": "Chloe"})["voice"] != Orga.configure({"voice": "Chloe\u0301"})["voice"]


def test_an_unknown_voice_is_passed_on_as_it_was_typed() -> None:
    assert Orga.configure({"voice": "Zoe\u0308"})["voice"] == "Zoe\u0308"


@pytest.mark.parametrize("value", [0, 0.0, 1, 1.0, "0", "0.7", "1"])
def test_a_temperature_from_0_to_1_is_a_number_on_the_wire(value: Any) -> None:
    assert float(value) == Orga.configure({"temperature": value})["temperature"]
    assert float(value) == sent(Orga(Side.CLIENT), Orga.update({"temperature": value}))["temperature"]


@pytest.mark.parametrize(
    "value", [-0.001, 1.001, "2", "warm", "", "nan", float("nan"), float("inf"), True, [0.5], 10**400]
)
def test_any_other_temperature_is_refused_by_name_with_what_is_allowed(value: Any) -> None:
    for check in (Orga.configure, Orga.update):
        with pytest.raises(ConfigurationError, match=r"temperature.*0 to 1"):
            check({"temperature": value})
    with pytest.raises(LocalProtocolError, match="temperature"):
        Orga(Side.CLIENT).send(UpdateSession(temperature=value))


def test_what_a_command_line_gives_is_converted() -> None:
    given = {
        "modalities": "video, audio",
        "history": "false",
        "return_transcription": "no",
        "mcp_server": json.dumps(MCP),
        "instructions": "",
    }
    found = Orga.configure(given)

    assert found["modalities"] == ["audio", "video"]
    assert found["history"] is False
    assert found["return_transcription"] is False
    assert found["mcp_server"] == MCP
    assert found["instructions"] is None
    assert Orga.configure({"modalities": ""})["modalities"] == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("modalities", "audio,smell", "audio, video"),
        ("modalities", 3, "audio, video"),
        ("history", "perhaps", "true or false"),
        ("history", 2, "true or false"),
        ("voice", "", "a name"),
        ("voice", 7, "a name"),
        ("model", " ", "a name"),
        ("instructions", 7, "a text"),
        ("email", "nobody", "name@example.org"),
    ],
)
def test_an_error_names_the_parameter_its_value_and_what_is_allowed(name: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Orga.configure({name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


def test_an_unknown_parameter_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no parameter pitch; it has email, history, .*, voice"):
        Orga.configure({"pitch": 3})
    with pytest.raises(ConfigurationError, match=r"no parameter history; it has instructions, .*, voice"):
        Orga.update({"history": True})


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        3,
        MCP | {"id": ""},
        MCP | {"url": "ftp://hidden"},
        MCP | {"token": "hidden"},
        MCP | {"headers": {"Authorization": ["hidden"]}},
        '{"id": "hidden"',
    ],
)
def test_a_bad_mcp_server_is_refused_without_quoting_it(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="mcp_server") as caught:
        Orga.configure({"mcp_server": value})
    assert "hidden" not in str(caught.value)


# Messages


def test_the_client_opens_with_its_settings_and_audio_and_the_server_is_silent() -> None:
    params = Orga.configure({"voice": "Lucía", "temperature": 0, "modalities": "video", "instructions": "Be brief."})

    (message,) = Orga(Side.CLIENT, params).opening()

    assert [] == Orga(Side.SERVER).opening()
    assert json.loads(message) == {
        "event": "session.update",
        "data": {
            "model": "orga-1-beta",
            "voice": "Lucía",
            "temperature": 0,
            "instructions": "Be brief.",
            "modalities": ["audio", "video"],
        },
    }


def test_an_update_that_leaves_the_modalities_alone_repeats_those_that_are_on() -> None:
    client = Orga(Side.CLIENT, Orga.configure({"modalities": "audio"}))
    client.opening()

    assert sent(client, UpdateSession(voice="Emma")) == {"voice": "Emma", "modalities": ["audio"]}
    assert sent(client, UpdateSession(modalities=())) == {"modalities": []}
    assert sent(client, UpdateSession(model="orga-1-beta")) == {"model": "orga-1-beta", "modalities": []}


def test_instructions_can_be_emptied_while_the_call_runs() -> None:
    assert sent(Orga(Side.CLIENT), Orga.update({"instructions": ""}))["instructions"] == ""


def test_a_refused_update_changes_nothing() -> None:
    client = Orga(Side.CLIENT)
    with pytest.raises(LocalProtocolError):
        client.send(UpdateSession(temperature=2.0, modalities=()))
    assert sent(client, UpdateSession())["modalities"] == ["audio"]


def test_the_server_has_no_message_for_a_transcript_of_the_agent_alone() -> None:
    with pytest.raises(LocalProtocolError, match="assistant"):
        Orga(Side.SERVER).send(TranscriptCompleted("assistant", "Hello.", "Hello."))


def test_what_is_no_json_is_not_sent() -> None:
    for details in ({"temperature": float("nan")}, {"model": b"orga"}):
        with pytest.raises(LocalProtocolError):
            Orga(Side.SERVER).send(SessionStarted("x", details))


def test_the_server_writes_raw_and_the_client_hands_out_both() -> None:
    raw = '<emotion value="happy"/>So glad!\n[laughter]'

    (message,) = Orga(Side.SERVER).send(ResponseCompleted("So glad! 😂", raw))

    assert json.loads(message) == {"type": "response.output_item.done", "text": raw}
    assert Orga(Side.CLIENT).receive(message) == [
        TranscriptCompleted("assistant", "So glad! 😂", raw),
        ResponseCompleted("So glad! 😂", raw),
    ]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('<emotion value="a">one</emotion> two', "one two"),
        ("<emotion value='a'/>", ""),
        ("  so\t much\n\nspace\u00a0 ", "so much space"),
        ("[LAUGHTER]", "😂"),
        ("bell\x07 and \x1b[31mred", "bell and [31mred"),
        ("family 👨\u200d👩\u200d👧", "family 👨\u200d👩\u200d👧"),
        ("half \ud83d of an emoji", "half \ufffd of an emoji"),
        ("<emotion <emotion <emotion", "<emotion <emotion <emotion"),
    ],
)
def test_text_is_for_reading_and_raw_is_as_it_came(raw: str, text: str) -> None:
    (heard,) = Orga(Side.CLIENT).receive(
        json.dumps({"type": "conversation.item.input_audio_transcription.completed", "transcript": raw})
    )
    assert heard == TranscriptCompleted("user", text, raw)


def test_the_legacy_envelope_goes_round_for_everything_a_server_says() -> None:
    server, client = Orga(Side.SERVER), Orga(Side.CLIENT)
    server.legacy_events = True
    for said in (
        SessionStarted("s", {"voice": "Emma"}),
        ConversationStarted("c"),
        TranscriptCompleted("user", "Hi.", "Hi."),
        ResponseCompleted("Hello.", "Hello."),
    ):
        (message,) = server.send(said)
        assert "type" not in json.loads(message)
        assert said == client.receive(message)[-1]


@pytest.mark.parametrize(
    "message",
    [
        '{"type": "session.created"}',
        '{"type": "session.created", "session": {"id": 3}}',
        '{"type": "session.created", "session": {"id": ""}}',
        '{"type": "conversation.created", "conversation": "c"}',
        '{"type": "response.output_item.done", "text": {"a": 1}}',
        '{"type": "conversation.item.input_audio_transcription.completed", "transcript": ["a"]}',
        "invalid json",
        "[]",
        "",
    ],
)
def test_a_known_message_without_what_it_needs_is_malformed(message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=f"{len(message)} characters"):
        Orga(Side.CLIENT).receive(message)


@pytest.mark.parametrize(
    "field", [{"temperature": True}, {"temperature": "0.5"}, {"voice": 1}, {"modalities": "audio"}]
)
def test_an_update_with_a_field_of_the_wrong_type_is_malformed(field: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError):
        Orga(Side.SERVER).receive(json.dumps({"event": "session.update", "data": field}))


def test_an_unknown_message_is_kept_as_it_came() -> None:
    message = '{"type":"response.created",  "n": 1.50}'
    assert Orga(Side.CLIENT).receive(message) == [Unknown(message)]
    assert Orga(Side.SERVER).receive('{"event": "ping"}') == [Unknown('{"event": "ping"}')]
    assert Orga(Side.CLIENT).receive(b'{"a": "\xc3\xad"}') == [Unknown('{"a": "\\u00ed"}')]


# HTTP, client


@pytest.mark.parametrize(
    ("status", "content", "error", "says"),
    [
        (401, {"error": {"message": "Invalid ephemeral token"}}, AuthError, "Invalid ephemeral token"),
        (403, {"error": {"message": "Not authenticated"}}, AuthError, "Not authenticated"),
        (401, {"error": {"message": "Ephemeral token has expired"}}, TokenExpired, "fresh token"),
        (401, {"error": {"message": "Token already consumed"}}, TokenExpired, "fresh token"),
        (401, {"error": {"message": "An unexpired token is missing"}}, AuthError, "unexpired"),
        (401, None, AuthError, "401"),
        (
            422,
            {"detail": [{"loc": ["body", "offer", 0], "msg": "Field required"}]},
            SignalingError,
            "body.offer.0: Field",
        ),
        (422, {"detail": "no offer"}, SignalingError, "no offer"),
        (404, {"detail": "Not Found"}, SignalingError, "is the base URL right?"),
        (429, {"error": "slow down"}, SignalingError, "slow down"),
        (500, {"message": "Failed"}, SignalingError, "Failed"),
        (503, ["?"], SignalingError, "503"),
        (302, None, SignalingError, "302"),
    ],
)
def test_a_refused_call_raises_the_error_of_its_kind_with_the_servers_words(
    status: int, content: object, error: type[RtcPeerError], says: str
) -> None:
    with pytest.raises(error) as caught:
        Orga.parse_answer(answer(status, content))
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"calls: the server answered {status}")
    assert getattr(caught.value, "status", status) == status


def test_an_expired_api_key_is_no_expired_token() -> None:
    with pytest.raises(AuthError) as caught:
        Orga.parse_token(answer(401, {"error": {"message": "API key expired"}}))
    assert type(caught.value) is AuthError


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-1", None), ("soon", None), ("", None)])
def test_the_server_may_say_when_to_come_back(header: str, seconds: float | None) -> None:
    with pytest.raises(SignalingError) as caught:
        Orga.parse_ice(answer(429, {"error": {"message": "Too many"}}, retry_after=header))
    assert caught.value.retry_after == seconds
    assert caught.value.retryable


@pytest.mark.parametrize("parse", [Orga.parse_token, Orga.parse_ice, Orga.parse_answer])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<!DOCTYPE html><title>Hi</title>", "HTML instead of JSON: is the base URL right?"),
        (b"", "empty body"),
        (b'{"conversation_id": "c", "answ', "30 bytes that are not JSON"),
        (b"null", "the server's answer"),
        (b"{}", "the server's answer"),
    ],
)
def test_a_good_status_with_nonsense_is_malformed(parse: Any, body: bytes, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says.replace("?", r"\?")):
        parse(HttpResponse(200, {}, body))


@pytest.mark.parametrize(
    "content",
    [
        {"conversation_id": "", "answer": {"sdp": "v=0", "type": "answer"}},
        {"conversation_id": "c", "answer": {"sdp": "", "type": "answer"}},
        {"conversation_id": "c", "answer": {"sdp": "v=0", "type": "offer"}},
        {"conversation_id": "c", "answer": "v=0"},
    ],
)
def test_a_call_without_an_id_or_an_sdp_answer_is_malformed(content: object) -> None:
    with pytest.raises(RemoteProtocolError):
        Orga.parse_answer(answer(200, content))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1970-01-01T00:00:10", 10.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T02:00:10+02:00", 10.0),
        (10, 10.0),
        ("soon", None),
        (None, None),
        (True, None),
    ],
)
def test_an_expiry_without_a_time_zone_is_utc(said: object, seconds: float | None) -> None:
    assert Orga.parse_token(answer(200, {"ephemeral_token": "t", "expires_at": said})) == Token("t", seconds)


@pytest.mark.parametrize("value", ["", "a b", "a\r\nx-evil: 1", "tokén"])
def test_a_credential_that_no_header_can_carry_is_refused_unquoted(value: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Orga.parse_token(answer(200, {"ephemeral_token": value}))
    with pytest.raises(ConfigurationError) as caught:
        Orga.token_request(BASE, value, {})
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("server", [{}, {"urls": []}, {"urls": [3]}, {"urls": "stun:x", "username": 3}, 3])
def test_an_ice_server_that_no_peer_could_use_is_passed_over_in_its_place(server: object) -> None:
    read = Orga.parse_ice(answer(200, {"iceServers": [{"urls": "stun:ok"}, server, {"urls": ["turn:ok", None]}]}))

    assert (IceServer(("stun:ok",)), IceServer(()), IceServer(("turn:ok",))) == read


def test_a_page_gets_no_ice_server_that_its_browser_would_refuse_the_list_for() -> None:
    servers = (IceServer(("stun:ok", "http://x")), IceServer(()), IceServer(("https://x",)))

    response = session_config_response(SessionConfig("t", servers))

    assert [{"urls": ["stun:ok"]}] == json.loads(response.body)["iceServers"]


@pytest.mark.parametrize("id", ["\u202e", "a\x1bb", "x" * 201, "", 3, None])
def test_an_id_that_no_log_could_hold_is_malformed(id: object) -> None:
    with pytest.raises(RemoteProtocolError, match="conversation_id"):
        Orga.parse_answer(answer(200, {"conversation_id": id, "answer": {"sdp": "v=0"}}))
    for message in ({"type": "session.created", "session": {"id": id}},):
        with pytest.raises(RemoteProtocolError):
            Orga(Side.CLIENT).receive(json.dumps(message))


def test_no_ice_server_at_all_is_fine() -> None:
    assert Orga.parse_ice(answer(200, {"iceServers": []})) == ()


def test_the_servers_words_are_shown_short_on_one_line_and_without_what_they_echo_of_a_secret() -> None:
    words = "No:\n\x1b[31m sk_orga_ai_abc123 eyJhbGciOi.eyJzdWIi.c2ln Bearer hunter2 ?token=hunter2&a " + "long " * 99
    with pytest.raises(SignalingError) as caught:
        Orga.parse_answer(answer(500, {"error": {"message": words}}))
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 260
    for secret in ("abc123", "eyJ", "c2ln", "hunter2"):
        assert secret not in said


def test_no_secret_is_in_the_repr_of_what_goes_over_http() -> None:
    offer = Offer(SDP, Orga.configure({"mcp_server": MCP}), "hidden")
    for value in (
        Orga.token_request(BASE, "hidden", {}),
        Orga.parse_token_request(Orga.token_request(BASE, "hidden", {})),
        Orga.parse_token(answer(200, {"ephemeral_token": "hidden"})),
        Orga.token_response(Token("hidden")),
        Orga.ice_request(BASE, "hidden"),
        IceServer(("turn:x",), "user", "hidden"),
        Orga.ice_response((IceServer(("turn:x",), "user", "hidden"),)),
        offer,
        Orga.offer_request(BASE, offer),
        Orga.parse_offer(Orga.offer_request(BASE, offer)),
    ):
        assert "hidden" not in repr(value)


@pytest.mark.parametrize(
    "base_url", ["ws://x", "127.0.0.1:8080", "http://", "http://x/?a=1", "http://[", "http://x:99999", ""]
)
def test_a_base_url_that_cannot_be_one_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="base URL"):
        Orga.ice_request(base_url, "t")


def test_a_base_url_may_have_a_path_and_a_slash_at_its_end() -> None:
    assert Orga.ice_request("https://h:1/orga/", "t").url == "https://h:1/orga/v1/realtime/ice-config"


# HTTP, server


def test_the_email_is_for_the_token_and_not_for_the_call() -> None:
    params = Orga.configure({"email": "a+b@example.org"})

    body = json.loads(Orga.offer_request(BASE, Offer(SDP, params, "t")).body)

    assert "email" not in body["params"]
    assert Orga.token_request(BASE, "k", {"email": params["email"]}).url.endswith("?email=a%2Bb%40example.org")


def test_the_mcp_server_is_read_beside_the_params_and_within() -> None:
    for content in ({"mcp_server": MCP}, {"params": {"mcp_server": MCP}}):
        assert Orga.parse_offer(ask({"offer": {"sdp": SDP}} | content)).params["mcp_server"] == MCP


def test_params_default_to_the_sdks_unless_strict() -> None:
    request = ask({"offer": {"sdp": SDP}})

    assert Orga.parse_offer(request).params == Orga.configure({}, transcribe=False)
    with pytest.raises(RequestRefused) as caught:
        Orga.parse_offer(request, strict=True)
    assert (caught.value.refusal, caught.value.field) == (Refusal.MISSING_FIELD, ("body", "params"))


@pytest.mark.parametrize(
    ("content", "refusal", "field"),
    [
        ({}, Refusal.MISSING_FIELD, "offer"),
        ({"offer": None}, Refusal.MISSING_FIELD, "offer"),
        ({"offer": "v=0"}, Refusal.INVALID_FIELD, "offer"),
        ({"offer": {}}, Refusal.MISSING_FIELD, "offer.sdp"),
        ({"offer": {"sdp": "hello"}}, Refusal.INVALID_FIELD, "offer.sdp"),
        ({"offer": {"sdp": SDP, "type": "answer"}}, Refusal.INVALID_FIELD, "offer.type"),
        ({"offer": {"sdp": SDP, "candidates": "x"}}, Refusal.INVALID_FIELD, "offer.candidates"),
        ({"offer": {"sdp": SDP, "candidates": [{}]}}, Refusal.INVALID_FIELD, "offer.candidates.0.candidate"),
        (
            {"offer": {"sdp": SDP, "candidates": [{"candidate": "candidate:1 x\r\na=evil", "sdpMid": "0"}]}},
            Refusal.INVALID_FIELD,
            "offer.candidates.0.candidate",
        ),
        (
            {"offer": {"sdp": SDP, "candidates": [{"candidate": "candidate:1 x", "sdpMid": "9"}]}},
            Refusal.INVALID_FIELD,
            "offer.candidates.0",
        ),
        ({"offer": {"sdp": SDP}, "params": []}, Refusal.INVALID_FIELD, "params"),
        ({"offer": {"sdp": SDP}, "params": {"temperature": "hot"}}, Refusal.INVALID_FIELD, "params.temperature"),
        ({"offer": {"sdp": SDP}, "params": {"history": 1}}, Refusal.INVALID_FIELD, "params.history"),
        ({"offer": {"sdp": SDP}, "params": {"mcp_server": 3}}, Refusal.INVALID_FIELD, "params.mcp_server"),
        ({"offer": {"sdp": SDP}, "mcp_server": {"id": "x"}}, Refusal.INVALID_FIELD, "mcp_server"),
    ],
)
def test_a_call_with_a_bad_field_is_refused_where_it_stands(content: object, refusal: Refusal, field: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        Orga.parse_offer(ask(content))
    assert (caught.value.refusal, caught.value.field) == (refusal, ("body", *field.split(".")))

    response = Orga.refusal_response(caught.value, "call")
    loc = json.loads(response.body)["detail"][0]["loc"]
    assert (response.status, ["body", *field.split(".")]) == (422, [str(part) for part in loc])
    assert all(isinstance(part, int) for part in loc if str(part).isdecimal())


def test_candidates_in_either_place_or_both_give_the_same_sdp() -> None:
    candidate = "candidate:1 1 udp 5 10.0.0.1 4000 typ host"
    bare = SDP.replace(f"a={candidate}\r\n", "")
    listed = [
        [],
        [{"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0}],
        # A browser's list has what its SDP has not.
        [{"candidate": f"{candidate} generation 0 ufrag Ab1", "sdpMid": "0"}, {"candidate": ""}],
    ]
    for candidates in listed:
        assert Orga.parse_offer(ask({"offer": {"sdp": SDP, "candidates": candidates}})).sdp == SDP
    for where in ({"sdpMid": "0"}, {"sdpMLineIndex": 0}, {"sdpMid": "audio", "sdpMLineIndex": 0}):
        content = {"offer": {"sdp": bare, "candidates": [{"candidate": candidate} | where]}}
        assert Orga.parse_offer(ask(content)).sdp == SDP


def test_an_offer_lists_its_candidates_by_line_as_a_browser_does() -> None:
    sdp = SDP + "a=candidate:2 1 tcp 4 10.0.0.1 9 typ host tcptype active\r\n"

    body = json.loads(Orga.offer_request(BASE, Offer(sdp, {}, "t")).body)

    assert body["offer"]["candidates"] == [
        {"candidate": "candidate:1 1 udp 5 10.0.0.1 4000 typ host", "sdpMid": "0", "sdpMLineIndex": 0},
        {"candidate": "candidate:2 1 tcp 4 10.0.0.1 9 typ host tcptype active", "sdpMid": "1", "sdpMLineIndex": 1},
    ]


def test_what_was_configured_arrives_at_the_server_unchanged() -> None:
    for options in ({}, {"voice": "Élise", "temperature": "0", "instructions": "Kurz, bitte.", "mcp_server": MCP}):
        offer = Offer(SDP, Orga.configure(options), "t")
        assert Orga.parse_offer(Orga.offer_request(BASE, offer)) == offer


@pytest.mark.parametrize("route", Orga.profile.paths)
@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_on_every_route_reaches_the_client_as_a_documented_error(refusal: Refusal, route: str) -> None:
    parse = {"token": Orga.parse_token, "ice": Orga.parse_ice, "call": Orga.parse_answer}[route]
    with pytest.raises((AuthError, SignalingError)) as caught:
        parse(Orga.refusal_response(RequestRefused(refusal, "No.", field=("body", "x")), route))
    if route == "call" and refusal in (Refusal.EXPIRED_TOKEN, Refusal.SPENT_TOKEN):
        assert type(caught.value) is TokenExpired
