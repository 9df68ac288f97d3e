"""Text of strangers."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.protocols import PROTOCOLS
from rtcpeer.protocols.base import AudioChunk, Side
from rtcpeer.protocols.text import read_base64


@given(data=st.binary(max_size=100))
def test_base64_is_read_with_its_padding_and_without(data: bytes):
    text = base64.b64encode(data).decode()

    assert data == read_base64(text) == read_base64(text.rstrip("="))


@pytest.mark.parametrize("text", ["a", "aaaaa", "ab c", "ab=c", "=", "ä"])
def test_what_is_no_base64_is_refused(text: str):
    with pytest.raises(ValueError, match=r"."):
        read_base64(text)


def test_a_service_may_leave_out_the_padding_of_its_audio():
    codec = PROTOCOLS["orbitali"](Side.CLIENT)
    codec.receive(json.dumps({"type": "session.started", "callId": "c"}))

    heard = codec.receive(
        json.dumps({"type": "output_audio", "audio": base64.b64encode(b"abcd").decode().rstrip("=")})
    )

    assert [b"abcd"] == [each.data for each in heard if isinstance(each, AudioChunk)]
