"""The error tree: what a caller may catch, and what may be tried again."""

from __future__ import annotations

import inspect

import pytest

from rtcpeer import errors
from rtcpeer.errors import AuthError, ConfigurationError, ProtocolError, RtcPeerError, SignalingError, TokenExpired

ALL = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


def test_one_except_clause_catches_everything_raised_on_purpose() -> None:
    assert len(ALL) > 10
    assert all(issubclass(kind, RtcPeerError) for kind in ALL)
    assert issubclass(ConfigurationError, ValueError)  # what Python's own checks of arguments raise
    assert issubclass(TokenExpired, AuthError)
    assert {errors.LocalProtocolError, errors.RemoteProtocolError} == set(ProtocolError.__subclasses__())


def test_the_tree_drawn_in_the_docstring_is_the_tree() -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if line.lstrip().startswith("* ")]
    assert {kind.__name__ for kind in ALL} == {line.split()[1] for line in drawn}
    for line in drawn[1:]:
        above = [other for other in drawn[: drawn.index(line)] if other.index("*") < line.index("*")][-1]
        assert issubclass(getattr(errors, line.split()[1]), getattr(errors, above.split()[1]))


def test_every_error_names_the_phase_of_the_call_that_failed() -> None:
    assert all(kind.phase for kind in ALL)
    assert "call" not in {kind.phase for kind in ALL if kind is not RtcPeerError}


@pytest.mark.parametrize(("status", "retryable"), [(None, True), (429, True), (408, True), (500, True), (404, False)])
def test_a_server_that_is_busy_or_silent_may_be_asked_again(status: int | None, retryable: bool) -> None:
    assert retryable == SignalingError("no", status=status).retryable


def test_a_refused_key_stays_refused_and_an_expired_token_can_be_renewed() -> None:
    assert not AuthError("no").retryable
    assert TokenExpired("no").retryable
