"""How far ends write their SDP, and what is read of it: the same call in many shapes, and hostile ones."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.errors import RemoteProtocolError
from rtcpeer.transports.negotiated import negotiate_audio
from rtcpeer.transports.remote_sdp import (
    CANDIDATES,
    NAMES,
    RemoteDescription,
    complete_answer,
    read_answer,
    read_offer,
)

FOLDER = Path(__file__).parents[2] / "fixtures" / "sdp"
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
TRANSPORT = ["a=ice-ufrag:abcd", "a=ice-pwd:0123456789012345678901", FINGERPRINT, "a=setup:actpass"]
HOST = "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def candidate(number: int, *, address: str = "192.0.2.1", kind: str = "host", protocol: str = "udp") -> str:
    return f"a=candidate:{number} 1 {protocol} {2130706431 - number} {address} {5000 + number} typ {kind}"


def audio(*attributes: str, line: str = "m=audio 9 UDP/TLS/RTP/SAVPF 111", mid: str = "0") -> list[str]:
    codecs = ["a=rtpmap:111 opus/48000/2"]
    return [line, "c=IN IP4 0.0.0.0", f"a=mid:{mid}", "a=sendrecv", "a=rtcp-mux", *codecs, *attributes]


def video(*attributes: str, line: str = "m=video 9 UDP/TLS/RTP/SAVPF 96", mid: str = "1") -> list[str]:
    return [
        line,
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtpmap:96 VP8/90000",
        *attributes,
    ]


def data(*attributes: str, mid: str = "2") -> list[str]:
    line = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
    return [line, "c=IN IP4 0.0.0.0", f"a=mid:{mid}", "a=sctp-port:5000", *attributes]


def sdp(*sections: list[str], head: tuple[str, ...] = ("a=group:BUNDLE 0 1 2",)) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", *head, *(line for each in sections for line in each)]
    return "".join(f"{line}\r\n" for line in lines)


PLAIN = sdp(audio(*TRANSPORT, HOST), video(*TRANSPORT, HOST), data(*TRANSPORT, HOST))
ANSWER = PLAIN.replace("a=setup:actpass", "a=setup:active")


def section(text: str, number: int) -> list[str]:
    return ["m=" + part for part in text.split("m=")[1:]][number].splitlines()


def as_aiortc_reads(description: RemoteDescription) -> SessionDescription:
    return SessionDescription.parse(description.sdp)


def addresses(description: RemoteDescription) -> list[list[str]]:
    return [[each.ip for each in media.ice_candidates] for media in as_aiortc_reads(description).media]


# A plain description


@pytest.mark.parametrize("ends", ["", "a=end-of-candidates\r\n"])
def test_a_plain_description_comes_out_as_it_went_in(ends: str):
    offer = PLAIN.replace(f"{HOST}\r\n", f"{HOST}\r\n{ends}")
    answer = ANSWER.replace(f"{HOST}\r\n", f"{HOST}\r\n{ends}")

    assert offer == read_offer(offer).sdp
    assert answer == read_answer(answer, offer).sdp
    assert {} == read_offer(offer).passed_over


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*-offer*.sdp")), ids=lambda path: path.stem)
def test_a_real_offer_is_read_and_what_comes_out_is_plain(path: Path):
    text = path.read_text()

    found = read_offer(text)

    assert found.sdp == read_offer(found.sdp).sdp
    assert "opus" in found.line("audio").codecs.values()
    assert [line.kind for line in found.lines] == re.findall(r"^m=(\w+)", text, re.MULTILINE)
    assert len(as_aiortc_reads(found).media) == len([line for line in found.lines if not line.rejected])


# Candidates


def test_candidates_of_the_first_line_are_everybodys():
    first_alone = sdp(audio(*TRANSPORT, HOST), video(*TRANSPORT), data(*TRANSPORT))

    assert [["192.0.2.1"]] * 3 == addresses(read_offer(first_alone))
    assert [["192.0.2.1"]] * 3 == addresses(read_answer(first_alone.replace("actpass", "passive"), PLAIN))


def test_candidates_of_another_line_are_everybodys_where_the_first_has_none():
    text = sdp(audio(*TRANSPORT), video(*TRANSPORT, HOST), data(*TRANSPORT))

    assert [["192.0.2.1"]] * 3 == addresses(read_offer(text))


def test_an_end_mark_anywhere_in_the_bundle_is_everybodys():
    text = sdp(audio(*TRANSPORT, HOST), video(*TRANSPORT), data(*TRANSPORT, "a=end-of-candidates"))

    assert [True] * 3 == [media.ice_candidates_complete for media in as_aiortc_reads(read_offer(text)).media]


@pytest.mark.parametrize(
    "hidden",
    [
        candidate(1, address="5f1c0a52-6a0e-4d0b-9b7e-3c1d2e4f5a6b.local"),
        candidate(1, protocol="TCP"),
        "a=candidate:1 1 udp 1 192.0.2.1",
        candidate(1, address="0.0.0.0"),
        candidate(1, address="fe80::1"),
        candidate(1, kind="fancy"),
    ],
)
def test_an_end_after_nothing_usable_waits_for_the_far_ends_own_checks(hidden: str):
    found = read_offer(sdp(audio(*TRANSPORT, hidden, "a=end-of-candidates"), data(*TRANSPORT), head=()))

    assert [[], []] == addresses(found)
    assert "end-of-candidates" not in found.sdp


@pytest.mark.parametrize("ufrag", ["efgh", "abcd"])  # browsers write one for all
def test_each_line_of_a_balanced_offer_has_ports_of_its_own_and_the_tagged_ones_count(ufrag: str):
    other = [line.replace("abcd", ufrag) for line in TRANSPORT]
    text = sdp(
        audio(*TRANSPORT, candidate(1)),
        video(*other, candidate(2)),
        data(*other, candidate(3)),
        head=("a=group:BUNDLE 0 1 2",),
    )

    media = as_aiortc_reads(read_offer(text)).media

    assert [[5001]] * 3 == [[each.port for each in line.ice_candidates] for line in media]
    assert ["abcd"] * 3 == [line.ice.usernameFragment for line in media]


def test_names_are_kept_for_a_look_up_and_there_is_no_end_before_it():
    text = sdp(audio(*TRANSPORT, candidate(1, address="media.example"), HOST, "a=end-of-candidates"), head=())

    found = read_offer(text)

    assert ("candidate:1 1 udp 2130706430 media.example 5001 typ host",) == found.named
    assert [["192.0.2.1"]] == addresses(found)
    assert "end-of-candidates" not in found.sdp


def test_the_second_component_is_passed_over_without_a_word():
    found = read_offer(sdp(audio(*TRANSPORT, HOST, HOST.replace(" 1 udp", " 2 udp")), head=()))

    assert [["192.0.2.1"]] == addresses(found)
    assert {} == found.passed_over


def test_a_flood_of_candidates_leaves_the_best_few_dozen():
    flood = [candidate(number, address=f"192.0.2.{number % 250 + 1}") for number in range(700)]
    names = [candidate(number, address=f"host{number}.example") for number in range(50)]

    found = read_offer(sdp(audio(*TRANSPORT, *reversed(flood), *names), head=()))

    (media,) = as_aiortc_reads(found).media
    assert set(range(5000, 5000 + CANDIDATES)) == {each.port for each in media.ice_candidates}
    assert NAMES == len(found.named)
    assert {"candidates beyond the first 40": 660, "named candidates beyond the first 8": 42} == found.passed_over


# Transport


@pytest.mark.parametrize("where", ["session", "first line"])
def test_transport_attributes_may_stand_once(where: str):
    once = tuple(TRANSPORT) if where == "session" else ()
    first = TRANSPORT if where == "first line" else []

    found = read_offer(sdp(audio(*first, HOST), video(), data(), head=("a=group:BUNDLE 0 1 2", *once)))

    for media in as_aiortc_reads(found).media:
        assert ("abcd", "0123456789012345678901") == (media.ice.usernameFragment, media.ice.password)
        assert {"AB:" * 31 + "AB"} == {each.value for each in media.dtls.fingerprints}
        assert "auto" == media.dtls.role


def test_a_bundle_only_line_with_port_0_is_not_rejected():
    text = sdp(
        audio(*TRANSPORT, HOST), video("a=bundle-only", line="m=video 0 UDP/TLS/RTP/SAVPF 96"), data("a=bundle-only")
    )

    found = read_offer(text)

    assert [False] * 3 == [line.rejected for line in found.lines]
    assert "m=video 9 " in found.sdp
    assert "bundle-only" not in found.sdp


def test_the_data_channel_must_share_the_transport_and_video_is_left_out_otherwise():
    other = [line.replace("abcd", "efgh") for line in TRANSPORT]

    with pytest.raises(RemoteProtocolError, match="data channel is not in one bundle"):
        read_offer(sdp(audio(*TRANSPORT), data(*other), head=()))
    found = read_offer(sdp(audio(*TRANSPORT), video(*other), data(*TRANSPORT), head=("a=group:BUNDLE 0 2",)))
    assert [False, True, False] == [line.rejected for line in found.lines]


@pytest.mark.parametrize(
    ("missing", "named"),
    [("a=ice-ufrag", "user name"), ("a=ice-pwd", "password"), ("a=fingerprint", "DTLS fingerprint")],
)
def test_what_no_call_can_do_without_is_named(missing: str, named: str):
    without = "".join(line for line in PLAIN.splitlines(keepends=True) if not line.startswith(missing))

    with pytest.raises(RemoteProtocolError, match=rf"^the far end's SDP offer can't be used: it has no {named}"):
        read_offer(without)


# Lines turned down

REJECTED = {
    "libwebrtc without video codecs": ["m=video 0 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 0.0.0.0", "a=inactive", "a=mid:1"],
    "libwebrtc": [
        *("m=video 0 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", *TRANSPORT),
        *("a=mid:1", "a=inactive", "a=rtcp-mux", "a=rtpmap:96 VP8/90000"),
    ],
    "Firefox": [
        "m=video 0 UDP/TLS/RTP/SAVPF 120",
        "c=IN IP4 0.0.0.0",
        "a=inactive",
        "a=mid:1",
        "a=rtpmap:120 VP8/90000",
    ],
    "Pion": ["m=video 0 UDP/TLS/RTP/SAVPF 0", "c=IN IP4 0.0.0.0", "a=mid:1"],
    "RFC 9429": ["m=video 0 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:1"],
    "a number of ports, no mid": ["m=video 0/2 RTP/AVP 31"],
    "taken, but without a codec of ours": ["m=video 9 UDP/TLS/RTP/SAVPF 102", "a=mid:1", "a=rtpmap:102 H264/90000"],
}


@pytest.mark.parametrize("shape", REJECTED)
def test_an_answer_that_turns_video_down_is_one_without_video(shape: str):
    transport = [line.replace("actpass", "passive") for line in TRANSPORT]
    answer = sdp(audio(*transport, HOST), REJECTED[shape], data(*transport), head=("a=group:BUNDLE 0 2",))

    found = read_answer(answer, PLAIN)

    assert found.line("video") is None
    media = as_aiortc_reads(found).media
    assert ["sendrecv", "inactive", None] == [line.direction for line in media]
    assert [96] == media[1].fmt  # aiortc wants a codec in common for a line that it does not use, too
    assert found.sdp == read_answer(found.sdp, PLAIN).sdp


def test_an_answer_may_leave_out_a_last_line_that_it_turns_down():
    offer = sdp(audio(*TRANSPORT), data(*TRANSPORT, mid="1"), video(*TRANSPORT, mid="2"))
    answer = sdp(audio(*TRANSPORT, HOST), data(mid="1"), head=("a=group:BUNDLE 0 1",))

    found = read_answer(answer, offer)

    assert [False, False, True] == [line.rejected for line in found.lines]
    assert ["0", "1", "2"] == [media.rtp.muxId for media in as_aiortc_reads(found).media]


OTHER_VIDEO = {
    "no codec of ours": [
        "m=video 9 UDP/TLS/RTP/SAVPF 102 35",
        "a=mid:1",
        "a=rtpmap:102 H264/90000",
        "a=rtpmap:35 AV1/90000",
    ],
    "rejected already": ["m=video 0 UDP/TLS/RTP/SAVPF 102", "a=mid:1", "a=rtpmap:102 H264/90000"],
    "another kind": ["m=text 9 UDP/TLS/RTP/SAVPF 98", "a=mid:1", "a=rtpmap:98 t140/1000"],
    "a second audio line": audio(mid="1"),
}


@pytest.mark.parametrize("shape", OTHER_VIDEO)
def test_a_line_of_an_offer_that_we_have_no_use_for_is_answered_with_port_0_at_its_place(shape: str):
    offer = sdp(audio(*TRANSPORT, HOST), [*OTHER_VIDEO[shape], *TRANSPORT], data(*TRANSPORT))
    ours = sdp(audio(*TRANSPORT), data(*TRANSPORT), head=("a=group:BUNDLE 0 2",))

    found = read_offer(offer)
    answer = complete_answer(ours, found)

    assert ["audio", "application"] == [media.kind for media in as_aiortc_reads(found).media]
    kind, formats = OTHER_VIDEO[shape][0].split()[0], OTHER_VIDEO[shape][0].split()[3:]
    assert f"{kind} 0 UDP/TLS/RTP/SAVPF {' '.join(formats)}" == section(answer, 1)[0]
    assert "a=mid:1" in section(answer, 1)
    assert section(ours, 0) == section(answer, 0)
    assert section(ours, 1) == section(answer, 2)
    assert "a=group:BUNDLE 0 2\r\n" in answer


def test_an_answer_to_an_offer_that_is_taken_whole_stays_as_it_is():
    assert ANSWER == complete_answer(ANSWER, read_offer(PLAIN))


# Directions


@pytest.mark.parametrize(
    ("of_session", "of_line", "direction"),
    [
        ((), (), "sendrecv"),
        (("a=recvonly",), (), "recvonly"),
        (("a=recvonly",), ("a=sendonly",), "sendonly"),
        ((), ("a=inactive",), "inactive"),
    ],
)
def test_a_direction_may_stand_nowhere_or_for_all_lines(
    of_session: tuple[str, ...], of_line: tuple[str, ...], direction: str
):
    line = [each for each in audio(*TRANSPORT) if each != "a=sendrecv"]

    found = read_offer(sdp([*line, *of_line], head=of_session))

    assert direction == found.line("audio").direction
    assert direction == as_aiortc_reads(found).media[0].direction


# Payload types


def answer_with(line: str, *attributes: str) -> str:
    rest = [each.replace("actpass", "active") for each in TRANSPORT]
    return sdp([line, "a=mid:0", *attributes, *rest], video(*rest), data(*rest))


@pytest.mark.parametrize("number", [45, 96, 100, 127])
def test_opus_under_another_number_is_sent_with_theirs_and_heard_with_both(number: int):
    answer = answer_with(f"m=audio 9 UDP/TLS/RTP/SAVPF {number}", f"a=rtpmap:{number} OPUS/48000/2")

    found = negotiate_audio(PLAIN, read_answer(answer, PLAIN))

    assert ("opus", number) == (found.codec, found.send_type)
    assert {number: "opus", 111: "opus"} == found.receive_types


def test_numbers_that_ours_and_theirs_give_to_different_codecs_mean_ours():
    offer = PLAIN.replace("SAVPF 111", "SAVPF 111 0", 1).replace(
        "a=rtpmap:111", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:111"
    )
    answer = answer_with("m=audio 9 UDP/TLS/RTP/SAVPF 99 111", "a=rtpmap:99 opus/48000/2", "a=rtpmap:111 PCMU/8000")

    found = negotiate_audio(offer, read_answer(answer, offer))

    assert {99: "opus", 111: "opus", 0: "pcmu"} == found.receive_types


def test_static_types_need_no_rtpmap():
    found = read_offer(sdp(["m=audio 9 UDP/TLS/RTP/SAVPF 8 0 18", "a=mid:0", *TRANSPORT], head=()))

    assert {8: "pcma", 0: "pcmu"} == found.line("audio").codecs
    assert [8, 0] == [codec.payloadType for codec in as_aiortc_reads(found).media[0].rtp.codecs]


def test_the_order_of_the_media_line_is_that_of_preference():
    maps = ["a=rtpmap:0 PCMU/8000", "a=rtpmap:111 opus/48000/2"]

    found = read_offer(sdp(["m=audio 9 UDP/TLS/RTP/SAVPF 111 0", "a=mid:0", *maps, *TRANSPORT], head=()))

    assert [111, 0] == [codec.payloadType for codec in as_aiortc_reads(found).media[0].rtp.codecs]


@pytest.mark.parametrize(
    "slip",
    [
        "a=fmtp:18 annexb=no",
        "a=fmtp:111 minptime=;useinbandfec=1",
        "a=fmtp:111",
        "a=fmtp",
        "a=ssrc:1",
        "a=ssrc:1 cname",
        "a=ssrc:x cname:y",
        "a=ssrc-group:FID one two",
        "a=rtcp:x",
        "a=rtcp-fb:111",
        "a=rtpmap:112",
        "a=rtpmap:113 telephone-event",
        "a=extmap:1",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on",
        "a=max-message-size:many",
        "a=fingerprint",
        "a=fingerprint:md5 AB",
        "a=setup:sometimes",
        "a=mid",
        "a=mid:one two",
        "c=IN IP4 0.0.0.0 ",
        "c=somewhere",
        "b=AS:30",
        "a=",
        "what is this",
    ],
)
def test_a_line_that_is_not_needed_and_can_t_be_read_is_passed_over(slip: str):
    text = sdp([*audio(*TRANSPORT, HOST), slip], data(*TRANSPORT, HOST), head=("a=group:BUNDLE 0 2",))

    found = read_offer(text)

    media = as_aiortc_reads(found).media
    assert ["audio", "application"] == [line.kind for line in media]
    assert 111 == media[0].rtp.codecs[0].payloadType
    assert found.sdp == read_offer(found.sdp).sdp


def test_without_an_sctp_port_it_is_everybodys():
    text = PLAIN.replace("a=sctp-port:5000\r\n", "")

    assert 5000 == as_aiortc_reads(read_offer(text)).media[2].sctp_port


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: "", "no SDP"),
        (lambda text: "hello", "no SDP"),
        (lambda text: text.split("m=")[0], "no SDP with a media line"),
        (
            lambda text: text.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF"),
            "names no formats",
        ),
        (lambda text: text.replace("m=audio 9", "m=audio x"), "a media line can't be read"),
        (lambda text: text.replace("m=audio 9", "m=audio 0"), "turned down"),
        (lambda text: text.replace("opus/48000/2", "AMR/8000"), "its audio line has amr"),
        (lambda text: text.replace("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP"), "over RTP/AVP"),
        (lambda text: text.replace("a=mid:1", "a=mid:0"), "the same a=mid"),
        (lambda text: text + "a=x\r\n" * 1000, "more than 1000 lines"),
    ],
)
def test_an_offer_that_can_t_be_used_is_refused_in_one_sentence(spoil: Callable[[str], str], says: str):
    with pytest.raises(RemoteProtocolError, match=f"^the far end's SDP offer can't be used: .*{says}"):
        read_offer(spoil(PLAIN))


SAMPLES = [path.read_text() for path in sorted(FOLDER.glob("*.sdp"))] + [PLAIN, ANSWER]


@given(seed=st.integers(0, 2**32))
def test_whatever_comes_out_aiortc_can_read_and_it_is_plain(seed: int):
    dice = random.Random(seed)
    lines = dice.choice(SAMPLES).splitlines()
    donor = dice.choice(SAMPLES).splitlines()
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(lines))
        match dice.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, dice.choice(donor))
            case 2:
                cut = dice.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + chr(dice.randrange(1, 300)) + lines[at][cut + 1 :]
            case 3:
                lines[at] = lines[at][: dice.randrange(len(lines[at]) + 1)]
            case 4:
                lines[at] = re.sub(
                    r"[0-9]+", lambda found: str(dice.choice([0, 72, 255, 10**12, found[0]])), lines[at]
                )
    text = "\r\n".join(lines)
    for read in (read_offer, lambda text: read_answer(text, PLAIN)):
        try:
            found = read(text)
        except RemoteProtocolError:
            continue
        as_aiortc_reads(found)
        assert found.sdp == read(found.sdp).sdp


# Real ones, with the facts that stand beside them

FACTS = {
    name: facts for path in sorted(FOLDER.glob("facts*.json")) for name, facts in json.loads(path.read_text()).items()
}


def offer_of_ours(lines: list[dict[str, Any]]) -> str:
    """An offer that has the kinds and mids of an answer."""
    make = {"audio": audio, "video": video, "application": data}
    made = [make[line["kind"]](*TRANSPORT, HOST, mid=line["mid"]) for line in lines]
    return sdp(*made, head=("a=group:BUNDLE " + " ".join(line["mid"] for line in lines),))


def usable(line: dict[str, Any]) -> set[tuple[str, int]]:
    return {
        (address, port)
        for component, protocol, address, port, _ in line["candidates"]
        if (component, protocol.lower()) == (1, "udp")
    }


@pytest.mark.parametrize("name", FACTS)
def test_the_facts_beside_a_real_description_are_what_is_read(name: str):
    facts, text = FACTS[name], (FOLDER / name).read_bytes().decode()
    lines = facts["lines"]
    audio_line = next(line for line in lines if line["kind"] == "audio")
    is_offer = "-offer" in name

    def read() -> RemoteDescription:
        return read_offer(text) if is_offer else read_answer(text, offer_of_ours(lines))

    if audio_line["rejected"]:
        with pytest.raises(RemoteProtocolError, match="its audio line is turned down"):
            read()
        return
    found = read()

    assert [line["kind"] for line in lines] == [line.kind for line in found.lines]
    assert [line["mid"] for line in lines] == [line.mid for line in found.lines]
    assert facts["ice_lite"] is found.ice_lite
    for line, said in zip(found.lines, lines, strict=True):
        assert line.rejected or not said["rejected"]
        if not line.rejected and said["direction"] is not None:
            assert said["direction"] == line.direction
    numbers = [number for number, codec in found.line("audio").codecs.items() if codec == "opus"]
    assert [audio_line["opus"]] == numbers
    if "codecs" in audio_line:
        codecs = [(int(number), name.partition("/")[0].lower()) for number, name in audio_line["codecs"].items()]
        assert codecs == list(found.line("audio").codecs.items())
    tag = next(line for line in lines if line["mid"] == (facts["bundle"] or [lines[0]["mid"]])[0])
    # A line of an offer that has ports of its own gives them up when it is answered in a bundle (RFC 9143, 7.1.1).
    counting = [tag] if is_offer and tag["candidates"] else lines
    expected = set().union(*(usable(line) for line in counting if line["ice_ufrag"] == tag["ice_ufrag"]))
    hidden = {each for each in expected if each[0].endswith(".local")}
    for media in as_aiortc_reads(found).media:
        assert tag["ice_ufrag"] == media.ice.usernameFragment
        assert expected - hidden == {(each.ip, each.port) for each in media.ice_candidates}
    assert hidden == {(each.split()[4], int(each.split()[5])) for each in found.named}
    assert found.sdp == (read_offer(found.sdp) if is_offer else read_answer(found.sdp, offer_of_ours(lines))).sdp


def test_every_captured_description_has_its_facts():
    assert set(FACTS) == {path.name for path in FOLDER.glob("*-[0-9]*.sdp")}
