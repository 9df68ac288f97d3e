from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.errors import ConnectionLost, RtcPeerError, SignalingError
from rtcpeer.escaping import escaped, readable_json

STEERING = "\x00\x07\x1b\r\n\t\x7f\x85\x9b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ud83d\ufeff"


def test_what_steers_a_terminal_is_spelled_out_and_what_people_write_stays() -> None:
    assert r"a\x1b[2Jb\x9b1m\u202ec\u2066\x0d\ud83d" == escaped("a\x1b[2Jb\x9b1m\u202ec\u2066\r\ud83d")
    for text in ("Grüße, שלום, नमस्ते", "👩\u200d💻 می\u200cخواهم", "100\u00a0€", "\\x1b"):
        assert text == escaped(text)


def test_line_breaks_may_stay_where_lines_are_meant() -> None:
    assert "v=0\r\ns=\\x1b\r\n" == escaped("v=0\r\ns=\x1b\r\n", keep="\r\n")


@given(st.text(st.characters() | st.sampled_from(STEERING)))
def test_json_is_read_back_as_it_was_given_and_holds_nothing_that_steers(text: str) -> None:
    for indent in (None, 2):
        written = readable_json({text: [text]}, indent=indent)

        assert {text: [text]} == json.loads(written)
        assert not set(written) & (set(STEERING) - {"\n"})
        assert "\n" not in readable_json(text)


@pytest.mark.parametrize("kind", [RtcPeerError, SignalingError, ConnectionLost])
def test_an_error_never_carries_a_strangers_control_characters(kind: type[RtcPeerError]) -> None:
    assert r"said \x1b]0;x\x07\u202e" == str(kind("said \x1b]0;x\x07\u202e"))
    assert r"\x1b" == ConnectionLost("\x1b").reason
