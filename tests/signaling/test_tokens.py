from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rtcpeer.protocols.http import Refusal, RequestRefused
from signaling.tokens import TokenDesk


def refusal(desk: TokenDesk, token: str | None, now: float) -> Refusal:
    with pytest.raises(RequestRefused) as caught:
        desk.check(token, now)
    return caught.value.refusal


def test_token_has_the_documented_claims_and_lives_900_seconds():
    token = TokenDesk("sk").issue(1000.0)
    header = jwt.get_unverified_header(token.value)
    payload = jwt.decode(token.value, options={"verify_signature": False})

    assert header["alg"] == "HS256"
    assert {"sub", "api_key_id", "scope", "iat", "exp", "jti"} == set(payload)
    assert payload["scope"] == "api"
    assert payload["exp"] - payload["iat"] == 900
    assert token.expires_at == payload["exp"]


def test_token_is_good_until_the_second_it_expires():
    desk = TokenDesk("sk")
    token = desk.issue(1000.0).value

    assert desk.check(token, 1899.9).expires_at == 1900.0
    assert refusal(desk, token, 1900.0) is Refusal.EXPIRED_TOKEN


def test_token_can_be_checked_often_and_spent_once():
    desk = TokenDesk("sk")
    token = desk.issue(1000.0).value
    desk.check(token, 1001.0)
    desk.check(token, 1002.0)
    desk.spend(token, 1003.0)

    assert refusal(desk, token, 1004.0) is Refusal.SPENT_TOKEN
    with pytest.raises(RequestRefused):
        desk.spend(token, 1004.0)


def test_restored_token_can_be_spent_again():
    desk = TokenDesk("sk")
    token = desk.issue(1000.0).value
    desk.restore(desk.spend(token, 1001.0))

    assert desk.spend(token, 1002.0).expires_at == 1900.0


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "..", "\ud800"])
def test_nonsense_is_a_bad_token(token: str):
    assert refusal(TokenDesk("sk"), token, 1000.0) is Refusal.BAD_TOKEN


@pytest.mark.parametrize("token", [None, ""])
def test_no_token_is_no_credential(token: str | None):
    assert refusal(TokenDesk("sk"), token, 1000.0) is Refusal.NO_CREDENTIAL


def test_token_of_another_desk_is_refused():
    assert refusal(TokenDesk("sk"), TokenDesk("sk").issue(1000.0).value, 1000.0) is Refusal.BAD_TOKEN


def payload_of(desk: TokenDesk) -> dict[str, Any]:
    payload: dict[str, Any] = jwt.decode(desk.issue(1000.0).value, options={"verify_signature": False})
    return payload


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_token_that_names_another_algorithm_is_refused_even_with_our_secret(algorithm: str):
    desk = TokenDesk("sk")
    forged = jwt.encode(payload_of(desk), desk._secret, algorithm=algorithm)

    assert refusal(desk, forged, 1000.0) is Refusal.BAD_TOKEN


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", ["", "AA"])
def test_unsigned_token_is_refused(algorithm: str, signature: str):
    desk = TokenDesk("sk")
    forged = f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(payload_of(desk))}.{signature}"

    assert refusal(desk, forged, 1000.0) is Refusal.BAD_TOKEN


def test_token_signed_with_a_key_pair_of_the_strangers_own_is_refused():
    desk = TokenDesk("sk")
    pair = ec.generate_private_key(ec.SECP256R1())
    public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    signed = jwt.encode(payload_of(desk), pair, algorithm="ES256")
    # The key that it brings itself (RFC 7515, 4.1.3 and 4.1.6) must not be believed either.
    for header in ({}, {"jwk": {"kty": "oct", "k": "AAAA"}}, {"x5c": [public]}, {"kid": "../../dev/null"}):
        own = jwt.encode(payload_of(desk), b"0" * 32, algorithm="HS256", headers=header)
        assert refusal(desk, own, 1000.0) is Refusal.BAD_TOKEN
    assert refusal(desk, signed, 1000.0) is Refusal.BAD_TOKEN


@pytest.mark.parametrize("claim", ["sub", "api_key_id", "scope", "iat", "exp", "jti"])
def test_token_without_one_of_its_claims_is_refused(claim: str):
    desk = TokenDesk("sk")
    payload = payload_of(desk)
    del payload[claim]

    assert refusal(desk, jwt.encode(payload, desk._secret, algorithm="HS256"), 1000.0) is Refusal.BAD_TOKEN


@pytest.mark.parametrize(
    ("claim", "value"),
    [("scope", "admin"), ("scope", ["api"]), ("scope", None), ("exp", "never"), ("exp", None), ("exp", [1])],
)
def test_token_with_another_scope_or_no_end_is_refused(claim: str, value: Any):
    desk = TokenDesk("sk")
    forged = jwt.encode(payload_of(desk) | {claim: value}, desk._secret, algorithm="HS256")

    assert refusal(desk, forged, 1000.0) is Refusal.BAD_TOKEN


def test_keys_and_passwords_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    compared: list[bytes] = []

    class Spy:
        @staticmethod
        def compare_digest(given: bytes, ours: bytes) -> bool:
            compared.append(given)
            return hmac.compare_digest(given, ours)

    monkeypatch.setattr("signaling.tokens.hmac", Spy)
    desk = TokenDesk("sk")
    desk.knows_key("sk_near")
    with pytest.raises(RequestRefused):
        desk.check_password("near")

    assert [b"sk_near", b"near"] == compared


def test_spent_tokens_are_forgotten_only_when_they_expired():
    desk = TokenDesk("sk", capacity=2)
    for _ in range(2):
        desk.spend(desk.issue(1000.0).value, 1000.0)

    with pytest.raises(RequestRefused) as caught:
        desk.spend(desk.issue(1001.0).value, 1001.0)
    assert caught.value.refusal is Refusal.RATE_LIMITED

    desk.spend(desk.issue(1900.0).value, 1900.0)


@pytest.mark.parametrize(("key", "known"), [("sk", True), ("sk ", False), ("", False), (None, False), ("é", False)])
def test_only_the_whole_key_is_known(key: str | None, known: bool):
    assert TokenDesk("sk").knows_key(key) is known


def test_token_born_dead_is_refused_as_expired():
    desk = TokenDesk("sk")

    assert refusal(desk, desk.issue(1000.0, ttl=-1.0).value, 1000.0) is Refusal.EXPIRED_TOKEN
