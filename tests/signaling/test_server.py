"""The mock over HTTP, as a client that is not ours sees it: bodies typed from the vendor's documents."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import wave
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from calling import DEADLINE

from rtcpeer.errors import ConfigurationError
from rtcpeer.protocols.http import IceServer
from signaling import MockServer, Scenario

KEY = {"Authorization": "Bearer sk_test"}
SECRETS = "/v1/realtime/client-secrets"
ICE = "/v1/realtime/ice-config"
CALLS = "/v1/realtime/calls"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def mock() -> AsyncIterator[MockServer]:
    async with MockServer() as server:
        yield server


async def ask(
    http: aiohttp.ClientSession, mock: MockServer, method: str, path: str, **options: Any
) -> tuple[int, Any]:
    async with http.request(method, mock.url() + path, **options) as response:
        text = await response.text()
        return response.status, json.loads(text) if response.content_type == "application/json" else text


async def fresh_token(http: aiohttp.ClientSession, mock: MockServer) -> dict[str, str]:
    status, found = await ask(http, mock, "POST", SECRETS, headers=KEY)
    assert status == 200
    return {"Authorization": f"Bearer {found['ephemeral_token']}"}


def error(message: Any, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


class Caller:
    """A WebRTC client with nothing of ours in it: A.5's order of operations on bare aiortc."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def body(self) -> dict[str, Any]:
        self.pc.addTransceiver("audio", direction="sendrecv")
        self.pc.addTransceiver("video", direction="sendonly")
        self.pc.createDataChannel("orga-realtime-client-events")
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return {"offer": {"sdp": self.pc.localDescription.sdp, "type": "offer", "candidates": []}, "params": {}}


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    caller = Caller()
    yield caller
    await caller.pc.close()


# client-secrets


async def test_key_buys_a_token_with_the_documented_fields(http, mock):
    status, found = await ask(http, mock, "POST", SECRETS, headers=KEY, params={"email": "a@example.org"})

    assert status == 200
    assert {"ephemeral_token", "token_type", "expires_at"} == set(found)
    assert found["token_type"] == "bearer"
    assert datetime.fromisoformat(found["expires_at"]).tzinfo is None


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic sk_test"}])
async def test_wrong_key_gets_the_error_wrapped_in_itself(http, mock, headers):
    inner = error("Incorrect or inactive API key provided.")

    assert (401, error(inner)) == await ask(http, mock, "POST", SECRETS, headers=headers)


# ice-config


async def test_ice_config_is_an_object_and_may_be_asked_for_again(http, mock):
    token = await fresh_token(http, mock)

    for _ in range(2):
        assert (200, {"iceServers": []}) == await ask(http, mock, "GET", ICE, headers=token)


async def test_ice_config_without_credential_is_403(http, mock):
    assert (403, error("Not authenticated")) == await ask(http, mock, "GET", ICE)


async def test_ice_config_with_a_bad_token_is_401(http, mock):
    headers = {"Authorization": "Bearer nonsense"}

    assert (401, error("Invalid ephemeral token")) == await ask(http, mock, "GET", ICE, headers=headers)


async def test_token_dies_after_900_seconds(http):
    clock = Clock()
    async with MockServer(clock=clock) as mock:
        token = await fresh_token(http, mock)
        clock.now += 899
        status, _ = await ask(http, mock, "GET", ICE, headers=token)
        assert status == 200
        clock.now += 1
        status, found = await ask(http, mock, "GET", ICE, headers=token)

    assert (401, error("Invalid ephemeral token")) == (status, found)


async def test_turn_server_gets_a_rest_credential_and_stun_none(http):
    clock = Clock()
    servers = [IceServer(("stun:stun.example.org",)), IceServer(("turn:turn.example.org?transport=udp",))]
    async with MockServer(clock=clock, ice_servers=servers, turn_secret="north") as mock:
        _, found = await ask(http, mock, "GET", ICE, headers=await fresh_token(http, mock))

    stun, turn = found["iceServers"]
    assert stun == {"urls": ["stun:stun.example.org"]}
    # draft-uberti-behave-turn-rest-00, 2.2
    expiry, _, _ = turn["username"].partition(":")
    assert int(expiry) > clock.now
    expected = base64.b64encode(hmac.new(b"north", turn["username"].encode(), hashlib.sha1).digest()).decode()
    assert turn["credential"] == expected


# calls


async def test_call_without_offer_is_a_fastapi_422(http, mock):
    token = await fresh_token(http, mock)

    expected = {"detail": [{"loc": ["body", "offer"], "msg": "Field required", "type": "missing"}]}
    assert (422, expected) == await ask(http, mock, "POST", CALLS, headers=token, json={"params": {}})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"offer": 3}', b'{"offer": {"sdp": "v=1"}}', b"\xff\xfe"]
)
async def test_call_with_a_bad_body_is_422_and_keeps_the_token_good(http, mock, body):
    token = await fresh_token(http, mock)
    headers = token | {"Content-Type": "application/json"}

    status, found = await ask(http, mock, "POST", CALLS, headers=headers, data=body)

    assert status == 422
    assert {"loc", "msg", "type"} == set(found["detail"][0])
    assert (200, {"iceServers": []}) == await ask(http, mock, "GET", ICE, headers=token)


@pytest.mark.parametrize(
    "sdp", ["v=0\r\n", "v=0\r\nm=audio x y z\r\n", "v=0\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n"]
)
async def test_offer_that_webrtc_cannot_take_is_422_and_keeps_the_token_good(http, mock, caller, sdp):
    token = await fresh_token(http, mock)
    status, _ = await ask(
        http, mock, "POST", CALLS, headers=token, json={"offer": {"sdp": sdp, "type": "offer"}, "params": {}}
    )
    assert status == 422

    status, _ = await ask(http, mock, "POST", CALLS, headers=token, json=await caller.body())
    assert status == 200


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "Not authenticated"),
        ({"Authorization": "Bearer nonsense"}, 401, "Invalid ephemeral token"),
        (KEY, 401, "Invalid ephemeral token"),
    ],
)
async def test_call_wants_a_token_and_not_the_key(http, mock, caller, headers, status, message):
    body = await caller.body()

    assert (status, error(message)) == await ask(http, mock, "POST", CALLS, headers=headers, json=body)


async def test_token_opens_one_call(http, mock, caller):
    token, body = await fresh_token(http, mock), await caller.body()

    status, found = await ask(http, mock, "POST", CALLS, headers=token, json=body)
    assert status == 200
    assert {"conversation_id", "answer"} == set(found)
    assert found["answer"]["type"] == "answer"

    again = await ask(http, mock, "POST", CALLS, headers=token, json=body)
    assert (401, error("Ephemeral token was already consumed")) == again
    status, _ = await ask(http, mock, "GET", ICE, headers=token)
    assert status == 401


async def test_answer_has_the_three_lines_with_audio_both_ways_and_all_candidates(http, mock, caller):
    body = await caller.body()
    _, found = await ask(http, mock, "POST", CALLS, headers=await fresh_token(http, mock), json=body)
    await caller.pc.setRemoteDescription(RTCSessionDescription(found["answer"]["sdp"], "answer"))

    audio, video = caller.pc.getTransceivers()
    assert ("sendrecv", "sendonly") == (audio.currentDirection, video.currentDirection)
    assert caller.pc.sctp is not None
    assert "a=candidate:" in found["answer"]["sdp"]


async def test_caller_that_names_no_candidate_is_answered_and_found_when_it_calls_at_ours(http, mock, caller):
    body = await caller.body()
    told = body["offer"]["sdp"].splitlines(keepends=True)
    body["offer"]["sdp"] = "".join(line for line in told if not line.startswith("a=candidate:"))
    assert "a=end-of-candidates" in body["offer"]["sdp"]
    connected = asyncio.Event()
    caller.pc.on(
        "connectionstatechange", lambda: connected.set() if caller.pc.connectionState == "connected" else None
    )

    status, found = await ask(http, mock, "POST", CALLS, headers=await fresh_token(http, mock), json=body)
    assert status == 200
    await caller.pc.setRemoteDescription(RTCSessionDescription(found["answer"]["sdp"], "answer"))

    async with asyncio.timeout(DEADLINE):
        await connected.wait()


async def test_call_over_the_limit_is_429_and_keeps_the_token_good(http, caller):
    async with MockServer(max_calls=1) as mock:
        body = await caller.body()
        first, second = await fresh_token(http, mock), await fresh_token(http, mock)
        status, _ = await ask(http, mock, "POST", CALLS, headers=first, json=body)
        assert status == 200

        status, _ = await ask(http, mock, "POST", CALLS, headers=second, json=body)
        assert status == 429
        status, _ = await ask(http, mock, "GET", ICE, headers=second)
        assert status == 200


async def test_same_seed_gives_the_same_ids(http):
    ids = []
    for seed in (1, 1, 2):
        async with MockServer(seed=seed) as mock:
            caller = Caller()
            body = await caller.body()
            _, found = await ask(http, mock, "POST", CALLS, headers=await fresh_token(http, mock), json=body)
            ids.append(found["conversation_id"])
            await caller.pc.close()

    assert ids[0] == ids[1] != ids[2]


# Everything else over HTTP


async def test_unknown_path_is_404_in_the_vendors_shape(http, mock):
    assert (404, error("Not Found", "not_found_error")) == await ask(http, mock, "GET", "/v2/realtime/calls")


@pytest.mark.parametrize(("method", "path", "allow"), [("GET", CALLS, "POST"), ("POST", ICE, "GET")])
async def test_wrong_method_is_405_and_names_the_right_one(http, mock, method, path, allow):
    async with http.request(method, mock.url() + path) as response:
        assert response.status == 405
        assert allow in response.headers["Allow"]


async def test_body_over_a_mebibyte_is_413(http, mock):
    status, _ = await ask(http, mock, "POST", CALLS, headers=KEY, data=io.BytesIO(b" " * ((1 << 20) + 1)))

    assert status == 413


@pytest.mark.parametrize("path", [SECRETS, ICE, CALLS])
async def test_preflight_lets_any_page_in_on_loopback(http, mock, path):
    async with http.options(mock.url() + path, headers={"Origin": "https://app.example"}) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        assert response.headers["Access-Control-Allow-Methods"] in ("GET", "POST")


async def test_page_can_read_a_refusal(http, mock):
    async with http.get(mock.url() + ICE, headers={"Origin": "https://app.example"}) as response:
        assert response.status == 403
        assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(("origin", "allowed"), [("https://a.example", True), ("https://b.example", False)])
async def test_listed_origin_is_let_in_and_no_other(http, origin, allowed):
    async with (
        MockServer(cors_origins=["https://a.example"]) as mock,
        http.options(mock.url() + CALLS, headers={"Origin": origin}) as response,
    ):
        assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("origin", "status"), [("https://a.example", 101), (None, 101), ("https://b.example", 403), ("null", 403)]
)
async def test_page_that_is_not_on_the_list_opens_no_socket(http, origin, status):
    headers = {} if origin is None else {"Origin": origin}
    async with MockServer(protocols=["soca"], cors_origins=["https://a.example"]) as mock:
        url = mock.url("soca") + "/v1/voice-ws"
        try:
            async with http.ws_connect(url, headers=headers):
                found = 101
        except aiohttp.WSServerHandshakeError as exc:
            found = exc.status

        assert status == found
        assert ({"origin": 1} if status == 403 else {}) == mock.refused


# Faults of a request


@pytest.mark.parametrize(
    ("fault", "method", "path", "status"),
    [
        ("reject-key", "POST", SECRETS, 401),
        ("rate-limit", "POST", SECRETS, 429),
        ("rate-limit", "GET", ICE, 429),
        ("rate-limit", "POST", CALLS, 429),
        ("calls-422", "POST", CALLS, 422),
        ("calls-500", "POST", CALLS, 500),
        ("spent-token", "POST", CALLS, 401),
    ],
)
async def test_fault_answers_with_its_status(http, mock, fault, method, path, status):
    token = await fresh_token(http, mock)
    mock.faults = {fault}

    async with http.request(method, mock.url() + path, headers=token if path != SECRETS else KEY) as response:
        assert response.status == status
        assert ("Retry-After" in response.headers) == (fault == "rate-limit")
        assert response.content_type == "application/json"


@pytest.mark.parametrize(("fault", "method", "path"), [("ice-html", "GET", ICE), ("calls-html", "POST", CALLS)])
async def test_html_fault_answers_with_a_page(http, mock, fault, method, path):
    mock.faults = [fault]

    async with http.request(method, mock.url() + path) as response:
        assert (200, "text/html") == (response.status, response.content_type)


async def test_expired_token_fault_hands_out_dead_tokens(http, mock):
    mock.faults = ["expired-token"]
    token = await fresh_token(http, mock)

    status, _ = await ask(http, mock, "GET", ICE, headers=token)
    assert status == 401


async def test_slow_fault_never_answers_and_does_not_keep_the_mock_from_closing(http, caller):
    async with MockServer(faults=["calls-slow"]) as mock:
        token, body = await fresh_token(http, mock), await caller.body()
        with pytest.raises(TimeoutError):
            await ask(http, mock, "POST", CALLS, headers=token, json=body, timeout=aiohttp.ClientTimeout(total=0.2))


async def test_unknown_fault_and_scenario_are_refused_and_change_nothing(mock):
    with pytest.raises(ConfigurationError, match="unknown fault"):
        mock.faults = ["nonsense"]
    with pytest.raises(ConfigurationError, match="unknown scenario"):
        mock.scenario = "nonsense"
    assert mock.faults == frozenset()
    assert mock.scenario.name == "conversation"


# The mock's doors


async def test_health_is_everybodys(http, mock):
    assert (200, {"status": "ok"}) == await ask(http, mock, "GET", "/healthz")


async def test_doors_show_a_call_and_hang_it_up(http, mock, caller):
    assert (200, []) == await ask(http, mock, "GET", "/mock/calls")
    body = await caller.body()
    _, answered = await ask(http, mock, "POST", CALLS, headers=await fresh_token(http, mock), json=body)
    path = f"/mock/calls/{answered['conversation_id']}"

    status, found = await ask(http, mock, "GET", path)
    assert status == 200
    assert ("orga", "opening", "scenario") == (found["protocol"], found["state"], found["transcripts_from"])
    assert {"received", "audio_seconds_in", "audio_seconds_out", "video_frames"} <= set(found)
    assert (204, "") == await ask(http, mock, "DELETE", path)
    _, listed = await ask(http, mock, "GET", "/mock/calls")
    assert [found["id"]] == [call["id"] for call in listed]


async def test_audio_door_gives_a_stereo_wav(http, mock, caller):
    _, answered = await ask(
        http, mock, "POST", CALLS, headers=await fresh_token(http, mock), json=await caller.body()
    )
    async with http.get(f"{mock.url()}/mock/calls/{answered['conversation_id']}/audio.wav") as response:
        assert response.content_type == "audio/wav"
        with wave.open(io.BytesIO(await response.read())) as wav:
            assert (2, 16_000, 2) == (wav.getnchannels(), wav.getframerate(), wav.getsampwidth())


@pytest.mark.parametrize("path", ["/mock/calls/none", "/mock/calls/none/audio.wav", "/mock/none"])
async def test_door_to_nothing_is_404(http, mock, path):
    status, _ = await ask(http, mock, "GET", path)

    assert status == 404


async def test_scenario_and_faults_can_be_put(http, mock):
    assert (200, {"scenario": "echo"}) == await ask(http, mock, "PUT", "/mock/scenario", json={"scenario": "echo"})
    assert (200, {"faults": ["ice-html"]}) == await ask(
        http, mock, "PUT", "/mock/faults", json={"faults": ["ice-html"]}
    )
    assert mock.scenario.name == "echo"
    assert mock.faults == {"ice-html"}


@pytest.mark.parametrize("door", ["scenario", "faults"])
@pytest.mark.parametrize("body", [b"", b"{}", b"3", b'{"scenario": "nonsense"}', b'{"faults": ["nonsense"]}', b"[3]"])
async def test_bad_put_is_422_and_says_what_there_is(http, mock, door, body):
    status, found = await ask(http, mock, "PUT", f"/mock/{door}", data=body)

    assert status == 422
    assert "there is" in found["error"] or "JSON" in found["error"]


async def test_page_that_reaches_loopback_by_a_name_of_its_own_is_kept_out(http, mock):
    status, _ = await ask(http, mock, "GET", "/mock/calls", headers={"Host": "rebound.example:8080"})
    assert status == 403

    status, _ = await ask(http, mock, "GET", "/mock/calls", headers={"Host": "rebound.example:8080", **KEY})
    assert status == 200


async def test_doors_want_the_key_beyond_loopback(http):
    async with MockServer(host="0.0.0.0", api_key="sk_mine") as mock:
        url = mock.url().replace("0.0.0.0", "127.0.0.1")
        for headers, expected in (
            ({}, 401),
            (KEY, 401),
            ({"Authorization": "Bearer sk_mine"}, 200),
        ):
            async with http.get(f"{url}/mock/calls", headers=headers) as response:
                assert response.status == expected
        async with http.get(f"{url}/healthz") as response:
            assert response.status == 200
        async with http.options(url + CALLS, headers={"Origin": "https://app.example"}) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


# Being set up


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "", "example.org"])
def test_default_key_is_for_loopback_only(host):
    with pytest.raises(ConfigurationError, match="API key"):
        MockServer(host=host)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": " "}, "API key is empty"),
        ({"turn_secret": ""}, "TURN secret is empty"),
        ({"protocols": ["nonsense"]}, "unknown protocol"),
        ({"record": Path("/dev/null/x")}, "can't record to"),
        ({"max_calls": 0}, "max_calls"),
        ({"udp_ports": (9, 1)}, "udp_ports=9-1"),
        ({"interface": "nothing0"}, "there are: lo"),
        ({"advertise_ip": "here"}, "advertise_ip='here'"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options, message):
    with pytest.raises(ConfigurationError, match=message):
        MockServer(**options)


async def test_taken_port_is_a_configuration_error(mock):
    port = int(mock.url().rpartition(":")[2])

    with pytest.raises(ConfigurationError, match=f"can't listen on 127.0.0.1:{port}"):
        async with MockServer(port=port):
            pass


async def test_two_protocols_cannot_have_one_path():
    with pytest.raises(ConfigurationError, match="both want"):
        async with MockServer(protocols=["orga", "orga"]):
            pass


def test_url_of_a_mock_that_does_not_run_is_refused():
    with pytest.raises(ConfigurationError, match="not running"):
        MockServer(scenario=Scenario("quiet", "")).url()


async def test_no_secret_is_logged(http, mock, caller, caplog):
    caplog.set_level("DEBUG")
    token = await fresh_token(http, mock)
    await ask(http, mock, "POST", CALLS, headers=token, json=await caller.body())
    await ask(http, mock, "POST", f"{SECRETS}?email=a@example.org", headers={"Authorization": "Bearer sk_wrong"})

    for secret in ("sk_test", "sk_wrong", token["Authorization"].removeprefix("Bearer "), "a@example.org"):
        assert secret not in caplog.text
