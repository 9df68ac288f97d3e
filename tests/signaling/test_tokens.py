from __future__ import annotations

import jwt
import pytest

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


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_token_that_names_its_own_algorithm_is_refused(algorithm: str):
    desk = TokenDesk("sk")
    payload = jwt.decode(desk.issue(1000.0).value, options={"verify_signature": False})
    key = "" if algorithm == "none" else desk._secret
    forged = jwt.encode(payload, key, algorithm=algorithm)

    assert refusal(desk, forged, 1000.0) is Refusal.BAD_TOKEN


def test_token_without_a_name_is_refused():
    desk = TokenDesk("sk")
    payload = jwt.decode(desk.issue(1000.0).value, options={"verify_signature": False})
    del payload["jti"]

    assert refusal(desk, jwt.encode(payload, desk._secret, algorithm="HS256"), 1000.0) is Refusal.BAD_TOKEN


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
