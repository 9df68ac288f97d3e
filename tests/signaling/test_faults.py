from __future__ import annotations

import json

import pytest

from rtcpeer.commands import UpdateSession
from rtcpeer.errors import ConfigurationError
from rtcpeer.events import ResponseCompleted
from rtcpeer.protocols import Orga, Side
from rtcpeer.protocols.http import Refusal, RequestRefused
from signaling.faults import FAULTS, HUGE, answer_fault, find_faults, garble, garbled, http_fault, offer_fault

SDP = (
    "v=0\r\nm=audio 40000 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 192.0.2.7\r\n"
    "a=candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host\r\n"
    "a=candidate:2 1 UDP 1694498815 2001:db8::7 40001 typ srflx raddr 192.0.2.7 rport 40000\r\n"
    "a=max-message-size:262144\r\na=end-of-candidates\r\n"
)


def test_at_least_a_dozen_faults_are_described():
    assert len(FAULTS) >= 12
    assert all(name == fault.name and fault.description for name, fault in FAULTS.items())


def test_unknown_fault_lists_those_there_are():
    with pytest.raises(ConfigurationError, match=r"'calls-418'; there is reject-key, "):
        find_faults(["calls-422", "calls-418"])


@pytest.mark.parametrize("route", ["token", "ice", "call"])
def test_without_faults_every_request_goes_through(route: str):
    assert http_fault(frozenset(), route) is None


@pytest.mark.parametrize(
    ("fault", "route", "refusal"),
    [
        ("reject-key", "token", Refusal.BAD_API_KEY),
        ("rate-limit", "token", Refusal.RATE_LIMITED),
        ("rate-limit", "ice", Refusal.RATE_LIMITED),
        ("rate-limit", "call", Refusal.RATE_LIMITED),
        ("calls-422", "call", Refusal.MISSING_FIELD),
        ("calls-500", "call", Refusal.INTERNAL),
        ("spent-token", "call", Refusal.SPENT_TOKEN),
    ],
)
def test_fault_refuses_its_route(fault: str, route: str, refusal: Refusal):
    with pytest.raises(RequestRefused) as caught:
        http_fault(frozenset({fault}), route)
    assert caught.value.refusal is refusal


@pytest.mark.parametrize(("fault", "route"), [("ice-html", "ice"), ("calls-html", "call")])
def test_html_fault_claims_success(fault: str, route: str):
    response = http_fault(frozenset({fault}), route)

    assert response is not None
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/html")
    assert http_fault(frozenset({fault}), "token") is None


def test_no_path_leaves_only_loopback_candidates_in_both_directions():
    expected = (
        "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
        "a=candidate:2 1 UDP 1694498815 127.0.0.1 9 typ srflx raddr 192.0.2.7 rport 40000\r\n"
    )
    for change in (offer_fault, answer_fault):
        assert expected in change(frozenset({"no-path"}), SDP)
        assert change(frozenset(), SDP) == SDP


def test_bad_sdp_is_none():
    assert "m=" not in answer_fault(frozenset({"bad-sdp"}), SDP)


def test_huge_event_lifts_the_size_limit_of_the_offer():
    assert "a=max-message-size:0\r\n" in offer_fault(frozenset({"huge-event"}), SDP)


MESSAGE = json.dumps({"type": "response.output_item.done", "text": "Yes."})


def test_garbled_without_faults_is_untouched():
    assert list(garbled([MESSAGE], frozenset(), first=True)) == [MESSAGE]


def test_malformed_event_is_no_json_and_comes_after_the_true_one():
    true, malformed = garbled([MESSAGE], frozenset({"malformed-events"}), first=True)

    assert true == MESSAGE
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(malformed)


def test_unknown_event_is_well_formed():
    _, unknown = garbled([MESSAGE], frozenset({"unknown-events"}), first=True)

    assert json.loads(unknown)["type"] == "mock.weather.changed"


def test_huge_event_comes_once():
    faults = frozenset({"huge-event"})

    assert max(len(message) for message in garbled([MESSAGE, MESSAGE], faults, first=True)) > HUGE
    assert list(garbled([MESSAGE], faults, first=False)) == [MESSAGE]


def test_garbled_codec_speaks_the_legacy_envelope_while_the_fault_is_on():
    active: set[str] = set()
    server = garble(Orga, lambda: frozenset(active))(Side.SERVER)
    (new,) = server.send(ResponseCompleted("Yes.", "Yes."))
    active.add("legacy-events")
    (legacy,) = server.send(ResponseCompleted("Yes.", "Yes."))

    assert json.loads(new)["type"] == "response.output_item.done"
    assert json.loads(legacy) == {"event": "response.output_item.done", "message": "Yes."}


def test_garbled_codec_sends_its_huge_message_once():
    server = garble(Orga, lambda: frozenset({"huge-event"}))(Side.SERVER)

    assert [len(server.send(ResponseCompleted("Yes.", "Yes."))) for _ in range(2)] == [2, 1]


def test_garbled_codec_still_hears():
    server = garble(Orga, lambda: frozenset({"malformed-events"}))(Side.SERVER)
    (sent,) = Orga(Side.CLIENT).send(UpdateSession(voice="alloy"))

    assert [UpdateSession(voice="alloy", modalities=("audio",))] == server.receive(sent)
