"""Some hundred inputs for every fuzzing target on every run; ``make fuzz`` gives them minutes, guided by coverage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import SEEDS, TARGETS

INPUT = st.binary(max_size=2000)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_raises_or_is_kept_without_bound(name: str) -> None:
    @settings(max_examples=150)
    @given(INPUT)
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_nor_does_damage_to_what_is_well_formed(name: str) -> None:
    seeds = SEEDS[name]

    @settings(max_examples=150)
    @given(st.sampled_from(seeds), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=30))
    def run(seed: bytes, damage: list[tuple[int, int]]) -> None:
        damaged = bytearray(seed * 8)
        for at, value in damage:
            damaged[at % len(damaged)] = value
        TARGETS[name](bytes(damaged))

    run()
