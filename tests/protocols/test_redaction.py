from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.protocols import PROTOCOLS, Side
from rtcpeer.protocols.base import VoiceProtocol
from rtcpeer.protocols.redaction import Redaction, credentials_of, redact

KEY = "sk_zebra/0123456789+abc=="


@pytest.mark.parametrize(
    "quoted",
    [
        KEY,
        KEY.replace("/", "\\/"),
        json.dumps(KEY).replace("/", "\\/"),
        json.dumps(json.dumps({"key": KEY.replace("/", "\\/")})),
        KEY.replace("/", "\\u002F"),
        "".join(f"\\u{ord(c):04x}" for c in KEY),
        quote(KEY, safe=""),
        quote(quote(KEY, safe=""), safe="").lower(),
        "".join(f"%{ord(c):02X}" for c in KEY),
        html.escape(KEY).replace("/", "&#47;").replace("_", "&lowbar;"),
        "".join(f"&#x{ord(c):X};" for c in KEY),
        f"{KEY[:18]}…",
    ],
)
def test_a_credential_does_not_get_out_in_any_spelling(quoted: str) -> None:
    shown = redact(f"the key {quoted} is wrong", [None, "", KEY])

    assert "[credential]" in shown
    assert "0123456789"[:6] not in shown
    assert "zebra" not in shown
    assert shown.startswith("the key ")
    assert shown.endswith("is wrong")


@given(st.text(max_size=50), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=50))
def test_no_credential_and_no_text_breaks_it(text: str, secret: str) -> None:
    assert len(secret) < 6 or secret not in redact(f"{text} {secret} {text}", [secret])


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_every_protocols_unknown_messages_come_without_our_credentials(protocol: type[VoiceProtocol]) -> None:
    codec = protocol(Side.CLIENT)
    codec.redact = Redaction(None, KEY)

    heard = codec.receive(json.dumps({"type": "weather.changed", "error": f"bad key {KEY}"}).replace("/", "\\/"))

    assert 1 == len(heard)
    assert "[credential]" in heard[0].to_dict()["data"]
    assert "zebra" not in repr(heard) + repr(vars(codec))


def test_a_short_word_is_not_taken_out_of_every_other() -> None:
    assert "a test of keys" == redact("a test of keys", ["test"])


def test_the_credentials_of_a_request_are_known_by_their_names() -> None:
    headers = {"Authorization": "Bearer t1t1t1", "private_key": "k1k1k1", "accept": "application/json"}

    found = credentials_of("wss://h/x?token=t2t2t2&email=ann@example.org&access_key=k2", headers.items())

    assert ["t1t1t1", "k1k1k1", "t2t2t2", "k2"] == found
    assert [] == credentials_of("http://[::1", [])
