"""When to try again: pauses as numbers, and a redial that is scripted."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.errors import ConfigurationError
from rtcpeer.reconnect import Backoff


def none_of_it() -> float:
    return 0.0


def test_each_pause_is_twice_the_one_before_up_to_the_longest() -> None:
    assert [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0] == list(islice(Backoff(budget=None).delays(none_of_it), 7))


def test_all_pauses_together_stay_within_the_budget() -> None:
    assert [0.5, 1.0, 2.0, 4.0] == list(Backoff(budget=8.0).delays(none_of_it))
    assert [] == list(Backoff(budget=0.4).delays(none_of_it))


def test_there_are_no_more_attempts_than_allowed() -> None:
    assert [0.0, 0.0, 0.0] == list(Backoff(initial=0.0, attempts=3).delays(none_of_it))
    assert [] == list(Backoff(attempts=0).delays(none_of_it))


@given(seed=st.integers(), jitter=st.floats(0, 1))
def test_chance_shortens_a_pause_by_no_more_than_its_share(seed: int, jitter: float) -> None:
    pauses = list(Backoff(jitter=jitter).delays(random.Random(seed).random))
    assert sum(pauses) <= 60.0
    for pause, longest in zip(pauses, Backoff(budget=None).delays(none_of_it), strict=False):
        assert (1 - jitter) * longest <= pause <= longest


def test_the_same_chance_makes_the_same_pauses() -> None:
    runs = [list(Backoff().delays(random.Random(7).random)) for _ in range(2)]
    assert runs[0] == runs[1] != list(Backoff().delays(random.Random(8).random))


@pytest.mark.parametrize(
    "values",
    [{"initial": -1}, {"factor": 0.5}, {"jitter": 1.5}, {"longest": -1}, {"initial": 0}, {"initial": float("nan")}],
)
def test_nonsense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Backoff(**values)
