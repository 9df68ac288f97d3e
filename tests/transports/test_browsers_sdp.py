"""What browsers write, against the facts that were read off it by eye: fixtures/sdp/facts-browsers.json."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from aiortc.sdp import SessionDescription

from rtcpeer.errors import RemoteProtocolError
from rtcpeer.transports.remote_sdp import RemoteDescription, read_answer, read_offer

FOLDER = Path(__file__).parents[2] / "fixtures" / "sdp"
FACTS: dict[str, dict[str, Any]] = json.loads((FOLDER / "facts-browsers.json").read_text("utf-8"))
USABLE = [name for name in FACTS if "no-common-codec" not in name]


def our_offer(facts: dict[str, Any]) -> str:
    """An offer with the lines of an answer, all of them wanted."""
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    lines.append(f"a=group:BUNDLE {' '.join(line['mid'] for line in facts['lines'])}")
    for line in facts["lines"]:
        formats = {
            "audio": ["m=audio 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 opus/48000/2"],
            "video": ["m=video 9 UDP/TLS/RTP/SAVPF 97", "a=rtpmap:97 VP8/90000"],
            "application": ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000"],
        }
        lines += [
            *formats[line["kind"]],
            f"a=mid:{line['mid']}",
            "a=ice-ufrag:abcd",
            "a=ice-pwd:0123456789012345678901",
        ]
        lines += ["a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:actpass"]
    return "".join(f"{line}\r\n" for line in lines)


def read(name: str) -> RemoteDescription:
    text = (FOLDER / name).read_bytes().decode()
    return read_offer(text) if "-offer-" in name else read_answer(text, our_offer(FACTS[name]))


def carrying(name: str) -> dict[str, Any]:
    """The line whose transport counts for the bundle."""
    found: dict[str, Any] = next(line for line in FACTS[name]["lines"] if line["mid"] == FACTS[name]["bundle"][0])
    return found


@pytest.mark.parametrize("name", USABLE)
def test_its_lines_are_those_that_stand_there(name: str):
    found = read(name)

    assert [(line["mid"], line["kind"], line["rejected"]) for line in FACTS[name]["lines"]] == [
        (line.mid, line.kind, line.rejected) for line in found.lines
    ]
    for line, said in zip(found.lines, FACTS[name]["lines"], strict=True):
        if not said["rejected"]:
            assert (said["direction"] or "sendrecv") == line.direction
        if said["kind"] == "audio":
            assert [said["opus"]] == [number for number, codec in line.codecs.items() if codec == "opus"]
    assert FACTS[name]["ice_lite"] is found.ice_lite


@pytest.mark.parametrize("name", USABLE)
def test_its_transport_is_that_of_the_bundles_first_line_and_no_others(name: str):
    wanted = {
        (host, port)
        for component, transport, host, port, _ in carrying(name)["candidates"]
        if (component, transport) == (1, "udp")
    }
    found = read(name)
    used = [line for line in SessionDescription.parse(found.sdp).media if line.port]

    named = {(each.split()[4], int(each.split()[5])) for each in found.named}
    assert {each for each in wanted if each[0].endswith(".local")} == named
    for line in used:
        assert wanted - named == {(str(ipaddress.ip_address(each.ip)), each.port) for each in line.ice_candidates}
        assert carrying(name)["ice_ufrag"] == line.ice.usernameFragment


@pytest.mark.parametrize("name", [name for name in FACTS if name not in USABLE])
def test_an_answer_without_a_codec_of_ours_is_refused_in_one_sentence(name: str):
    with pytest.raises(RemoteProtocolError, match=r"audio line is turned down \(m=audio 0\)"):
        read(name)


def test_every_capture_has_its_facts():
    assert set(FACTS) == {path.name for path in FOLDER.glob("*-1[0-9][0-9]-*.sdp")}
