"""Soca's own rules: who starts, what ``seq`` silences, and sentences that come in pieces, late, twice or mixed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fuzz.given import size
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.commands import EndUtterance
from rtcpeer.errors import AuthError, ConfigurationError, ConnectionLost, LocalProtocolError, RemoteProtocolError
from rtcpeer.events import (
    Interrupted,
    ResponseCompleted,
    SessionStarted,
    TranscriptUpdated,
    Unknown,
)
from rtcpeer.formats import AudioFormat
from rtcpeer.protocols import Orbitali, Side, Soca
from rtcpeer.protocols.base import AudioChunk
from rtcpeer.protocols.http import HttpRequest, Refusal, RequestRefused, Ticket
from rtcpeer.protocols.text import LONGEST_TEXT

DOWN = AudioFormat(22_050)


def client(**params: str) -> Soca:
    return Soca(Side.CLIENT, Soca.configure(params))


def chunk(sentence: int, index: int, data: bytes | None = b"mp3", *, seq: int = 1, **more: Any) -> str:
    encoded = None if data is None else base64.b64encode(data).decode()
    content = {
        "stepType": "sentence",
        "sentenceId": sentence,
        "chunkIndex": index,
        "audioBase64": encoded,
        "seq": seq,
    }
    return json.dumps(content | {"isLastChunk": data is None} | more)


def audio(found: list[Any]) -> list[bytes]:
    return [said.data for said in found if isinstance(said, AudioChunk)]


def started(seq: int = 0) -> Soca:
    codec = client()
    codec.generation = seq
    return codec


# start


@pytest.mark.parametrize(("is_key", "name"), [(True, "private_key"), (False, "token")])
def test_start_names_the_credential_for_what_it_is(is_key: bool, name: str) -> None:
    codec = client(agent_id="a1", lang="en")
    codec.take(Ticket("secret", is_key=is_key, session_id="sess_1"))

    [message] = codec.opening()

    expected = {"type": "start", name: "secret", "session_id": "sess_1", "agent_id": "a1", "lang": "en", "sr": 16_000}
    assert expected == json.loads(message)


def test_a_session_id_that_was_asked_for_goes_before_the_services_own() -> None:
    codec = client(session_id="mine")
    codec.take(Ticket(session_id="theirs"))
    assert "mine" == json.loads(codec.opening()[0])["session_id"]


@pytest.mark.parametrize("name", ["private_key", "token"])
def test_a_server_admits_by_either_name_and_learns_who_is_there(name: str) -> None:
    server = Soca(Side.SERVER)
    asked: list[str | None] = []
    server.admit = asked.append

    start = {"type": "start", name: "secret", "session_id": "sess_1", "agent_id": None, "lang": "en", "sr": 16_000}
    assert [] == server.receive(json.dumps(start))

    assert ["secret"] == asked
    assert ("sess_1", {"session_id": "sess_1", "lang": "en"}) == (server.session_id, server.params)
    assert "secret" not in repr(vars(server))
    assert [AudioChunk(b"\0\0", AudioFormat(16_000))] == server.receive(b"\0\0")


@pytest.mark.parametrize("first", [b"\0\0", '{"type": "stop"}', "nonsense", "[]", '{"type": "begin"}', "[" * 100_000])
def test_whoever_does_not_start_with_start_is_refused(first: str | bytes) -> None:
    server = Soca(Side.SERVER)
    server.admit = lambda credential: None

    with pytest.raises(RequestRefused, match="must start with type=start") as caught:
        server.receive(first)

    closing = server.refusal_closing(caught.value)
    assert 1008 == closing.code
    assert {"type": "error", "message": "must start with type=start"} == json.loads(closing.messages[0])


def test_whoever_is_not_admitted_reads_the_documented_words() -> None:
    server = Soca(Side.SERVER)

    def refuse(credential: str | None) -> None:
        raise RequestRefused(Refusal.BAD_TOKEN, "no such thing")

    server.admit = refuse
    with pytest.raises(RequestRefused, match=r"^Invalid or expired token$"):
        server.receive('{"type": "start", "private_key": "wrong"}')


@pytest.mark.parametrize("change", [{"sr": 8000}, {"lang": "fr"}, {"agent_id": "../x"}, {"session_id": 7}])
def test_a_start_with_values_that_cannot_be_had_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused):
        Soca(Side.SERVER).receive(json.dumps({"type": "start", "sr": 16_000} | change))


def test_a_second_start_is_malformed() -> None:
    server = Soca(Side.SERVER)
    server.receive('{"type": "start"}')
    with pytest.raises(RemoteProtocolError):
        server.receive('{"type": "start"}')


def test_ready_alone_is_not_ready() -> None:
    codec = client()
    assert [] == codec.receive('{"type": "ready", "session_id": "sess_1"}')
    assert [SessionStarted("sess_1")] == codec.receive('{"type": "stt.ready"}')


def test_stop_ends_an_utterance_here_and_the_session_elsewhere() -> None:
    assert ['{"type": "stop"}'] == client().send(EndUtterance())
    assert [EndUtterance()] == Soca(Side.SERVER).receive('{"type": "stop"}')
    assert [EndUtterance()] != Orbitali(Side.SERVER).receive('{"type": "stop"}')


# seq


def test_the_server_counts_turns_and_interruptions() -> None:
    server = Soca(Side.SERVER)
    seqs = []
    for said in (
        TranscriptUpdated("assistant", "One."),
        AudioChunk(b"x", DOWN, "mp3"),
        ResponseCompleted("One.", "One."),
        TranscriptUpdated("assistant", "Two."),
        AudioChunk(b"x", DOWN, "mp3"),
        Interrupted(0.5, "content_partial"),
        ResponseCompleted("Two.", "Two."),
        TranscriptUpdated("assistant", "Three."),
        AudioChunk(b"x", DOWN, "mp3"),
    ):
        if isinstance(said, AudioChunk):
            said = AudioChunk(said.data, said.format, "mp3", server.generation)  # as a link says it
        seqs += [json.loads(message)["seq"] for message in server.send(said)]

    # 1: sentence, final answer · 2: sentence · barge to 3, the answer that was cut is still 2's · 3: sentence
    assert [1, 1, 2, 3, 2, 3] == seqs


@pytest.mark.parametrize(
    "message",
    [
        chunk(5, 0, seq=3),
        json.dumps({"type": "barge", "seq": 3, "reason": "content_partial"}),
        json.dumps({"stepType": "final_answer", "fullResponse": {"answers": [{"output": "x"}]}, "seq": 3}),
    ],
)
def test_a_newer_seq_in_any_message_is_followed(message: str) -> None:
    codec = started(2)
    codec.receive(message)
    assert 3 == codec.generation


def test_an_older_seq_changes_nothing_and_its_audio_is_marked_as_old() -> None:
    codec = started(3)
    assert [AudioChunk(b"mp3", DOWN, "mp3", 2)] == codec.receive(chunk(5, 0, seq=2))
    assert [] == codec.receive(json.dumps({"type": "barge", "seq": 2, "reason": "late"}))
    assert [] == codec.receive(json.dumps({"type": "barge", "seq": 3, "reason": "again"}))
    assert 3 == codec.generation


@pytest.mark.parametrize("seq", ["3", 3.0, -1, None, True, [], 2**70])
def test_a_seq_that_is_no_number_is_malformed(seq: object) -> None:
    codec = started(2)
    with pytest.raises(RemoteProtocolError):
        codec.receive(json.dumps({"type": "barge", "seq": seq}))
    assert 2 == codec.generation


# Sentences


def test_each_piece_of_base64_is_decoded_by_itself() -> None:
    codec = started()
    pieces = [b"a", b"bb", b"ccc", b"dddd"]  # joined base64 of these is no base64
    heard = [codec.receive(chunk(1, index, data)) for index, data in enumerate(pieces)]
    assert pieces == [data for found in heard for data in audio(found)]


def test_the_end_of_a_sentence_is_an_empty_piece() -> None:
    codec = started()
    assert [b"x"] == audio(codec.receive(chunk(1, 0, b"x")))
    assert [b""] == audio(codec.receive(chunk(1, 1, None)))
    assert [b"y", b""] == audio(codec.receive(chunk(2, 0, b"y", isLastChunk=True)))


def test_words_grow_with_each_sentence_and_are_said_once() -> None:
    codec = started()
    heard = codec.receive(chunk(1, 0, contentStep="Hello."))
    heard += codec.receive(chunk(1, 1, contentStep="Hello."))
    heard += codec.receive(chunk(1, 2, None))
    heard += codec.receive(chunk(2, 0, contentStep="How are you?"))
    heard += codec.receive(chunk(3, 0, contentStep="Fine.", seq=2))

    texts = [said.text for said in heard if isinstance(said, TranscriptUpdated)]
    assert ["Hello.", "Hello. How are you?", "Fine."] == texts


@pytest.mark.parametrize("length", [1, 80, 27_000])
@pytest.mark.parametrize("sentences_each", [10**9, 40])
def test_a_flood_of_words_is_told_a_few_times_over_and_not_hundreds(length: int, sentences_each: int) -> None:
    codec = started()
    came = told = 0
    for number in range(min(20_000, 1_700_000 // length)):
        message = chunk(number, 0, None, contentStep="x" * length, seq=2 + number // sentences_each, isLastChunk=True)
        came += len(message)
        told += sum(len(json.dumps(said.to_dict())) for said in codec.receive(message))

    assert told < 8 * came


def test_a_transcript_longer_than_anybody_talks_is_cut_and_counted() -> None:
    codec = started()
    words = "word " * 100_000

    heard = codec.receive(json.dumps({"stepType": "final_answer", "fullResponse": {"answers": [{"output": words}]}}))
    heard += codec.receive(json.dumps({"type": "stt.final", "text": words}))
    heard += codec.receive(json.dumps({"type": "stt.partial", "text": words}))

    assert 4 == codec.texts_cut == len(heard)
    for said in heard:
        assert LONGEST_TEXT == len(said.text)
        assert said.text == words[: LONGEST_TEXT - 1] + "…"
        assert LONGEST_TEXT >= len(getattr(said, "raw", ""))


@given(order=st.permutations([1] * 4 + [2] * 4 + [3] * 4))
def test_sentences_that_come_mixed_are_handed_on_one_after_the_other(order: list[int]) -> None:
    codec = started()
    sent = {1: 0, 2: 0, 3: 0}
    heard: list[bytes] = []
    for sentence in order:
        index = sent[sentence]
        sent[sentence] += 1
        heard += audio(codec.receive(chunk(sentence, index, None if index == 3 else b"%d%d" % (sentence, index))))

    first_seen = list(dict.fromkeys(order))
    assert [
        b"%d%d" % (sentence, index) if index < 3 else b"" for sentence in first_seen for index in range(4)
    ] == heard


@pytest.mark.parametrize("late", [chunk(1, 0), chunk(1, 1)])
def test_a_chunk_that_comes_again_or_too_late_is_refused(late: str) -> None:
    codec = started()
    codec.receive(chunk(1, 0))
    codec.receive(chunk(1, 1))
    with pytest.raises(RemoteProtocolError, match="twice, or after"):
        codec.receive(late)
    codec.receive(chunk(1, 2, None))
    with pytest.raises(RemoteProtocolError, match="twice, or after"):
        codec.receive(chunk(1, 3))


def test_a_missing_chunk_is_not_waited_for() -> None:
    codec = started()
    codec.receive(chunk(1, 0))
    assert [b"later"] == audio(codec.receive(chunk(1, 5, b"later")))


def test_a_sentence_whose_end_got_lost_ends_with_the_answer() -> None:
    codec = started()
    codec.receive(chunk(1, 0, b"one"))
    assert [] == audio(codec.receive(chunk(2, 0, b"two")))
    assert [] == audio(codec.receive(chunk(2, 1, None)))
    final = {"stepType": "final_answer", "fullResponse": {"answers": [{"output": "x"}]}, "seq": 1}
    assert [b"", b"two", b""] == audio(codec.receive(json.dumps(final)))


@pytest.mark.parametrize("data", [b"", b"x"], ids=["nothing", "crumbs"])
def test_sentences_that_never_end_are_not_waited_for_however_little_is_in_them(data: bytes) -> None:
    codec = client()
    for sentence in range(20_000):
        codec.receive(chunk(sentence, 0, data, contentStep="some words", isLastChunk=False))
    for index in range(1, 20_000):
        codec.receive(chunk(19_999, index, data, isLastChunk=False))

    assert size(codec) < 100_000


def test_the_end_of_a_sentence_comes_once() -> None:
    codec = client()
    codec.receive(chunk(1, 0))
    codec.receive(chunk(2, 0, None))
    for index in range(1, 4):
        with pytest.raises(RemoteProtocolError, match="twice"):
            codec.receive(chunk(2, index, None))


def test_words_of_a_turn_that_never_ends_are_the_latest() -> None:
    codec = client()
    for sentence in range(40):
        (told, *_) = codec.receive(chunk(sentence, 0, None, contentStep=f"{sentence} " + "word " * 2000))

    assert told.text.endswith("word")
    assert "39 word" in told.text
    assert len(told.text) <= 2**16 + 100


def test_what_waits_for_the_end_of_a_sentence_is_bounded() -> None:
    codec = started()
    codec.receive(chunk(1, 0, b"one"))
    heard = [audio(codec.receive(chunk(2, index, bytes(100_000)))) for index in range(8)]
    assert [] == heard[0]
    assert 8 == sum(len([data for data in found if data]) for found in heard)


@pytest.mark.parametrize(
    "broken",
    [
        {"audioBase64": "???"},
        {"audioBase64": "Q"},
        {"audioBase64": 7},
        {"chunkIndex": "0"},
        {"sentenceId": None},
        {"contentStep": 7},
    ],
)
def test_a_broken_chunk_is_refused_and_the_next_is_heard(broken: dict[str, Any]) -> None:
    codec = started()
    with pytest.raises(RemoteProtocolError):
        codec.receive(chunk(1, 0, **broken))
    assert [b"mp3"] == audio(codec.receive(chunk(1, 1)))


def test_an_empty_final_says_that_nothing_was_understood() -> None:
    assert [TranscriptUpdated("user", "")] == client().receive('{"type": "stt.final", "text": "  "}')


def test_steps_nobody_knows_are_kept() -> None:
    [said] = client().receive('{"stepType": "thinking", "seq": 0}')
    assert isinstance(said, Unknown)


# The rest


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1000, None), (1001, ConnectionLost), (1005, ConnectionLost), (1006, ConnectionLost), (1008, AuthError)],
)
def test_only_1000_is_a_goodbye(code: int, expected: type[Exception] | None) -> None:
    error = Soca.closing_error(code, "")
    assert expected is (None if error is None else type(error))


def test_audio_in_another_shape_is_not_sent() -> None:
    for side, sent in (
        (Side.CLIENT, AudioChunk(b"\0\0", AudioFormat(24_000))),
        (Side.SERVER, AudioChunk(b"\0\0", DOWN)),
        (Side.CLIENT, AudioChunk(b"\0\0", DOWN, "mp3")),
    ):
        with pytest.raises(LocalProtocolError, match="PCM"):
            Soca(side).send(sent)


def test_what_cannot_be_sent_is_refused_before() -> None:
    with pytest.raises(ConfigurationError, match="agent_id"):
        Soca.session_request("https://api.soca.ai", "key", {})
    with pytest.raises(ConfigurationError, match="API key"):
        Soca.session_request("https://api.soca.ai", "a key", {"agent_id": "a1"})
    with pytest.raises(ConfigurationError, match="token"):
        Soca.socket_request("https://api.soca.ai", Ticket("a token"), {})
    with pytest.raises(ConfigurationError, match="lang"):
        Soca.configure({"lang": "fr"})


@pytest.mark.parametrize("path", ["/v1/voice-ws", "/voice-ws", "/chat/agent/voice-ws"])
def test_all_three_paths_are_sockets(path: str) -> None:
    assert path in {Soca.profile.paths["socket"], *Soca.profile.aliases}
    url = f"wss://api.soca.ai{path}"
    assert url == Soca.socket_request(url, Ticket("key"), {}).url
    assert {} == Soca.parse_socket(HttpRequest("GET", url)).params
