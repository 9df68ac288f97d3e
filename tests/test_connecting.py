"""From nothing to a session and back to nothing: every phase, every way it can fail, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from pathlib import Path

import pytest
from aiohttp import web
from calling import DEADLINE, Nobody, answering, serving, until

import rtcpeer
from rtcpeer import (
    AuthError,
    Closed,
    ConfigurationError,
    ConnectionLost,
    ErrorReported,
    IceError,
    OpenTimeout,
    PhaseCompleted,
    RemoteProtocolError,
    ResponseCompleted,
    RtcPeerError,
    Session,
    SessionStarted,
    SignalingError,
    TokenExpired,
    TranscriptCompleted,
    Unknown,
)
from rtcpeer.connecting import Connecting, accept
from rtcpeer.event_log import Entry
from rtcpeer.protocols import Orga, Side
from rtcpeer.proxy import proxy_app
from rtcpeer.transports import message_channel, webrtc
from signaling import MockServer

pytestmark = pytest.mark.usefixtures("nothing_left")


def calling(mock: MockServer, **options) -> Connecting:
    return rtcpeer.connect("orga", mock.url(), **({"api_key": mock.api_key} | options))


async def fresh_token(mock: MockServer) -> str:
    async with rtcpeer.SessionConfigClient(mock.url(), mock.api_key) as client:
        return (await client.get_session_config()).ephemeral_token


# Credentials


async def test_token_may_be_a_string_and_is_good_for_one_call(mock: MockServer):
    token = await fresh_token(mock)
    async with calling(mock, api_key=None, token=token) as session:
        assert "token" in session.phases

    with pytest.raises(AuthError):
        await calling(mock, api_key=None, token=token)


async def test_token_may_be_made_by_an_async_callable(mock: MockServer):
    async with calling(mock, api_key=None, token=lambda: fresh_token(mock)) as session:
        await session.wait_for(SessionStarted, timeout=DEADLINE)


async def test_backend_of_the_users_own_gives_token_and_ice_servers(mock: MockServer):
    async with rtcpeer.SessionConfigClient(mock.url(), mock.api_key) as client:
        app = proxy_app(client, cors_origins=[])
        async with (
            serving(app) as url,
            calling(mock, api_key=None, session_config_url=f"{url}/session-config") as session,
        ):
            assert "session-config" in session.phases
            assert "ice-config" not in session.phases
            await session.wait_for(SessionStarted, timeout=DEADLINE)


@pytest.mark.parametrize("given", [{}, {"api_key": "k", "token": "t"}, {"token": "t", "session_config_url": "u"}])
async def test_exactly_one_credential_is_taken(given: dict):
    with pytest.raises(ConfigurationError, match="exactly one of api_key, token and session_config_url"):
        rtcpeer.connect("orga", "http://127.0.0.1:1", **given)


# What is refused before anything is sent


@pytest.mark.parametrize(
    ("protocol", "url", "options", "message"),
    [
        ("morga", "http://127.0.0.1:1", {}, "morga"),
        ("orga", "127.0.0.1:1", {}, "no http URL"),
        ("orga", "ftp://127.0.0.1", {}, "no http URL"),
        ("orga", "http://127.0.0.1:1", {"record": "call", "record_format": "mp3"}, "'mp3': give ogg, wav, mka"),
        ("orga", "http://user:password@127.0.0.1", {}, "leave user and password out"),
        ("orga", "http://127.0.0.1:1", {"params": {"colour": "red"}}, "colour"),
        ("orga", "http://127.0.0.1:1", {"params": {"temperature": 3}}, "temperature"),
    ],
)
async def test_what_cannot_be_done_is_refused_at_once(protocol: str, url: str, options: dict, message: str):
    with pytest.raises(ConfigurationError, match=message) as caught:
        rtcpeer.connect(protocol, url, api_key="k", **options)
    assert "password@" not in str(caught.value)


async def test_folder_that_cannot_be_written_is_refused_before_anything_is_sent(mock: MockServer, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ConfigurationError, match="give another folder"):
        await calling(mock, record=tmp_path / "file" / "call")
    assert () == mock.calls


async def test_folder_that_holds_a_call_is_not_overwritten(mock: MockServer, tmp_path: Path):
    async with calling(mock, record=tmp_path / "call"):
        pass
    before = (tmp_path / "call" / "events.jsonl").read_text()

    with pytest.raises(ConfigurationError, match="holds a call already"):
        await calling(mock, record=tmp_path / "call")
    assert before == (tmp_path / "call" / "events.jsonl").read_text()
    assert 1 == len(mock.calls)


async def test_a_call_is_replaced_when_that_is_asked_for_and_nothing_else_is(mock: MockServer, tmp_path: Path):
    folder = tmp_path / "call"
    async with calling(mock, record=folder, record_format="wav"):
        pass
    (folder / "notes.txt").write_text("mine")

    async with calling(mock, record=folder, record_overwrite=True) as session:
        pass

    assert session.conversation_id == json.loads((folder / "call.json").read_text("utf-8"))["conversation_id"]
    assert "mine" == (folder / "notes.txt").read_text()
    assert not (folder / "audio.wav").exists()
    assert 1 == (folder / "events.jsonl").read_text("utf-8").count('"Closed"')


# Faults: each with the class of the phase it strikes, the last phase that was completed, and how the session ended


@pytest.mark.parametrize(
    ("fault", "error", "says", "after"),
    [
        ("reject-key", AuthError, "Incorrect or inactive API key", None),
        ("expired-token", AuthError, "Invalid ephemeral token", "token"),
        ("rate-limit", SignalingError, "429", None),
        ("ice-html", RemoteProtocolError, "ice-config", "token"),
        ("spent-token", TokenExpired, "consumed", "gathering"),
        ("calls-422", SignalingError, "422", "gathering"),
        ("calls-500", SignalingError, "500", "gathering"),
        ("calls-html", RemoteProtocolError, "calls", "gathering"),
        ("calls-slow", SignalingError, "did not answer within 0.2 s", "gathering"),
        ("bad-sdp", RemoteProtocolError, "SDP answer", "gathering"),
        ("no-path", IceError, "no candidate pair", "signaling"),
    ],
)
async def test_fault_is_the_error_of_its_phase(
    mock: MockServer, tmp_path: Path, fault: str, error: type[RtcPeerError], says: str, after: str | None
):
    sessions: list[Session] = []
    mock.faults = [fault]
    with pytest.raises(error, match=says) as caught:
        await calling(mock, http_timeout=0.2, open_timeout=0.5, on_session=sessions.append, record=tmp_path / "call")

    assert type(caught.value) is error
    (session,) = sessions
    said = [entry.said for entry in session.events.entries()]
    completed = [event.phase for event in said if isinstance(event, PhaseCompleted)]
    assert after == (completed[-1] if completed else None)
    assert Closed("failed", str(caught.value)) == said[-1]
    # The folder tells the same story.
    lines = [json.loads(line) for line in (tmp_path / "call" / "events.jsonl").read_text().splitlines()]
    assert [event.to_dict()["type"] for event in said] == [line["type"] for line in lines]
    call = json.loads((tmp_path / "call" / "call.json").read_text())
    assert ("failed", str(caught.value)) == (call["ended"]["reason"], call["ended"]["detail"])


async def test_rate_limit_says_when_to_come_back(mock: MockServer):
    mock.faults = ["rate-limit"]
    with pytest.raises(SignalingError) as caught:
        await calling(mock)

    assert (429, 1.0, True) == (caught.value.status, caught.value.retry_after, caught.value.retryable)


async def test_nothing_listening_is_a_signaling_error_that_may_be_tried_again():
    async with serving(web.Application()) as url:
        pass
    with pytest.raises(SignalingError, match="is the server running") as caught:
        await rtcpeer.connect("orga", url, api_key="k")
    assert caught.value.retryable


async def test_opening_takes_no_longer_than_its_timeout_and_names_the_phase(mock: MockServer):
    mock.faults = ["calls-slow"]
    with pytest.raises(OpenTimeout, match=r"not open after 0\.2 s: still in phase 'signaling'"):
        await calling(mock, open_timeout=0.2)


async def test_relay_without_a_turn_server_says_so(mock: MockServer):
    with pytest.raises(IceError, match="named no TURN server"):
        await calling(mock, ice_policy="relay")


@pytest.mark.parametrize("fault", ["malformed-events", "unknown-events", "legacy-events", "late-transcript"])
async def test_call_goes_on_through_a_fault_of_messages(mock: MockServer, question: Path, fault: str):
    mock.faults = [fault]
    async with calling(mock) as session:
        await session.play(question)
        turn = await session.listen(timeout=DEADLINE)
        said = [entry.said for entry in session.events.entries()]

    assert "Fine." == turn.text
    match fault:
        case "malformed-events":
            refused = [event for event in said if isinstance(event, ErrorReported)]
            assert len(refused) == session.counters["messages_refused"] >= 3
            assert {"refused"} == {event.code for event in refused}
        case "unknown-events":
            assert sum(isinstance(event, Unknown) for event in said) >= 3
        case "late-transcript":
            order = [event.speaker for event in said if isinstance(event, TranscriptCompleted)]
            assert ["assistant", "user"] == order
        case _:
            assert turn.heard == "How are you?"


async def test_message_of_ten_megabytes_is_refused_and_the_session_lives(mock: MockServer, question: Path):
    held: list[int] = []
    mock.faults = ["huge-event"]
    async with calling(mock) as session:
        refused = asyncio.create_task(session.wait_for(ErrorReported, timeout=DEADLINE))
        assert session.link is not None
        streams = session.link._pc.sctp._inbound_streams
        while not refused.done():
            held.append(sum(len(chunk.user_data) for stream in streams.values() for chunk in stream.reassembly))
            await asyncio.sleep(0)
        assert f"is over the limit of {message_channel.MESSAGE_LIMIT}" in (await refused).message
        await session.play(question)
        assert "Fine." == (await session.listen(timeout=DEADLINE)).text

    assert max(held) <= 2 * message_channel.MESSAGE_LIMIT
    assert 1 == session.counters["messages_refused"]


async def test_far_end_that_keeps_sending_oversize_messages_is_hung_up_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(message_channel, "MESSAGE_LIMIT", 10_000)
    async with answering() as (url, far_ends):
        session = await rtcpeer.connect("orga", url, token="t")
        await far_ends[0].opened()
        assert far_ends[0].link is not None
        far_ends[0].link.send_messages(["x" * 20_000] * (message_channel.OVERSIZE_LIMIT + 4))
        closed = await session.wait_for(Closed, timeout=DEADLINE)

    assert "messages over 10000 bytes" in closed.detail
    assert message_channel.OVERSIZE_LIMIT <= session.counters["messages_refused"]
    with pytest.raises(ConnectionLost, match="messages over 10000 bytes"):
        await read_to_the_end(session)
    await session.close()


async def test_messages_that_are_only_malformed_never_end_the_session():
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t") as session:
        await far_ends[0].opened()
        link = far_ends[0].link
        assert link is not None
        link.send_messages(['{"type": ', b"\xff\xfe", "[]", "null", "", '{"type": 1}'] * 10)
        sctp = link._pc.sctp
        for _ in range(2 * message_channel.OVERSIZE_LIMIT):
            await sctp._send(
                link._channel.channel.id, 51, b"\xc3\x28"
            )  # WebRTC String (RFC 8831, 8) that is no UTF-8
        link.send_messages(['{"type": "response.output_item.done", "text": "Still here."}'])

        assert "Still here." == (await session.wait_for(ResponseCompleted, timeout=DEADLINE)).text
        assert session.counters["messages_refused"] >= 2 * message_channel.OVERSIZE_LIMIT + 30


async def read_to_the_end(session: Session) -> None:
    async for _ in session:
        pass


def hurry_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask every 50 ms whether the far end is there, and take the first silence for an answer."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 1)


@pytest.mark.parametrize("fault", ["close-channel", "hang-up"])
async def test_goodbye_of_the_far_end_is_a_clean_end(mock: MockServer, fault: str):
    async with calling(mock) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = [fault]
        async with asyncio.timeout(DEADLINE):
            said = [event async for event in session]

    assert "remote" == said[-1].reason


async def test_far_end_that_vanishes_is_lost(mock: MockServer, monkeypatch: pytest.MonkeyPatch):
    hurry_consent(monkeypatch)
    async with calling(mock, reconnect=None) as session:
        await until(lambda: mock.calls[0].state == "open")
        mock.faults = ["vanish"]
        with pytest.raises(ConnectionLost, match="stopped answering") as caught:
            await asyncio.wait_for(read_to_the_end(session), DEADLINE)

    assert caught.value.retryable
    closed = session.events.entries()[-1].said
    assert isinstance(closed, Closed)
    assert "lost" == closed.reason


async def test_mock_sees_a_caller_that_vanished_as_lost_and_one_that_left_as_gone(
    mock: MockServer, monkeypatch: pytest.MonkeyPatch
):
    hurry_consent(monkeypatch)
    polite, rude = await calling(mock), await calling(mock)
    await until(lambda: all(call.state == "open" for call in mock.calls))
    await polite.close()
    await rude.abandon()
    await until(lambda: all(call.state == "closed" for call in mock.calls))

    assert ["remote", "lost"] == [call.to_dict()["closed"]["reason"] for call in mock.calls]


# Giving up


@pytest.mark.parametrize("phase", ["token", "ice-config", "gathering", "signaling", "transport"])
async def test_cancelled_amid_opening_leaves_nothing(mock: MockServer, tmp_path: Path, phase: str):
    sessions: list[Session] = []

    def cancel_after(session: Session) -> None:
        def look(entry: Entry) -> None:
            if isinstance(entry.said, PhaseCompleted) and entry.said.phase == phase:
                task.cancel()

        sessions.append(session)
        session.events.tap(look)

    async def connect() -> Session:
        return await calling(mock, on_session=cancel_after, record=tmp_path / "call")

    task = asyncio.create_task(connect())
    with pytest.raises(asyncio.CancelledError):
        await task

    assert "failed" == (await sessions[0].wait_for(Closed)).reason
    assert json.loads((tmp_path / "call" / "call.json").read_text())["ended"]["reason"] == "failed"


async def test_cancelled_at_any_moment_of_connecting_leaves_nothing(mock: MockServer):
    """ICE, DTLS and SCTP take some forty steps of the loop; what aiortc has begun differs with each."""
    for steps in range(0, 80, 4):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.create_task(cancel_after_signaling(mock, steps))


async def cancel_after_signaling(mock: MockServer, steps: int) -> None:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def count_down(left: int) -> None:
        loop.call_soon(count_down, left - 1) if left else task.cancel()

    def look(entry: Entry) -> None:
        if isinstance(entry.said, PhaseCompleted) and entry.said.phase == "signaling":
            # The ICE checks wait 20 ms for each other; what follows takes steps, not time.
            loop.call_later(0.02 * (steps % 3), count_down, steps)

    session = await calling(mock, on_session=lambda session: session.events.tap(look))
    try:
        await asyncio.sleep(DEADLINE)
    finally:
        await session.close()


@pytest.mark.parametrize("protocol", ["orga", "orga-ws", "orgo", "orbitali", "soca"])
async def test_cancelled_after_any_number_of_steps_leaves_nothing(mock: MockServer, protocol: str):
    """Requests, the socket, its first messages: each step of the loop is another place to be cancelled at."""
    params = {"orbitali": {"agent_id": "a1"}, "soca": {"agent_id": "a1"}, "orgo": {"computer_id": "c1"}}
    reached: set[str] = set()

    async def call() -> None:
        async with rtcpeer.connect(protocol, mock.url(), api_key=mock.api_key, params=params.get(protocol)):
            reached.add("open")
            await asyncio.sleep(DEADLINE)

    for steps in [*range(0, 120, 4), *range(120, 600, 32), None]:
        task = asyncio.create_task(call())
        for _ in range(steps or 0):
            await asyncio.sleep(0)
        if steps is None:
            await until(lambda: "open" in reached)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_cancelled_before_the_first_step_leaves_nothing(mock: MockServer):
    async def connect() -> Session:
        return await calling(mock)

    task = asyncio.create_task(connect())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_far_end_whose_caller_never_comes_gives_up_and_leaves_nothing():
    """The offer of a caller that is gone by the time it is answered."""
    caller = webrtc.RtcLink(Orga(Side.CLIENT, Orga.configure({})), Nobody())
    offer = await caller.offer()
    await caller.close()

    session, _ = await accept(Orga(Side.SERVER), offer, open_timeout=0.1)
    with pytest.raises(IceError, match="no candidate pair"):
        await session.opened()
    assert "failed" == (await session.wait_for(Closed, timeout=DEADLINE)).reason
    await session.close()


async def test_exception_in_the_body_of_async_with_ends_the_call(mock: MockServer):
    with pytest.raises(ZeroDivisionError):
        async with calling(mock) as session:
            raise ZeroDivisionError
    assert "local" == (await session.wait_for(Closed)).reason


# What is written down


async def test_half_an_emoji_from_the_far_end_is_written_down(tmp_path: Path):
    async with (
        answering() as (url, far_ends),
        rtcpeer.connect("orga", url, token="t", record=tmp_path / "call") as session,
    ):
        await far_ends[0].opened()
        far_ends[0].link.send_messages(['{"type": "session.created", "session": {"id": "1", "mood": "\\ud83d"}}'])
        await session.wait_for(SessionStarted, timeout=DEADLINE)

    lines = [json.loads(line) for line in (tmp_path / "call" / "events.jsonl").read_text("utf-8").splitlines()]
    assert [{"mood": "\ud83d"}] == [line["details"] for line in lines if line["type"] == "SessionStarted"]


# What must not be seen


async def test_no_secret_is_in_the_log_the_events_or_the_folder(
    mock: MockServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    token = await fresh_token(mock)
    secret = "tool-secret-4711"
    server = {"id": "1", "alias": "a", "url": "https://tools.example", "headers": {"Authorization": secret}}
    async with calling(
        mock, api_key=None, token=token, params={"mcp_server": server}, record=tmp_path / "one"
    ) as session:
        await session.wait_for(SessionStarted, timeout=DEADLINE)
    with pytest.raises(AuthError) as caught:
        await calling(mock, api_key="sk_wrong_4712", record=tmp_path / "two")

    texts = [caplog.text, repr(session), repr(caught.value), repr(caught.value.__cause__)]
    texts += [
        (tmp_path / call / name).read_text() for call in ("one", "two") for name in ("call.json", "events.jsonl")
    ]
    for text in texts:
        assert not [found for found in (token, secret, "sk_wrong_4712", mock.api_key) if found in text]
