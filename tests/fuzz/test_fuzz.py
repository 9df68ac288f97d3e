"""Some dozens of inputs for every fuzzing target on every run; ``make fuzz`` gives them time, guided by coverage."""

from __future__ import annotations

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from targets import TARGETS

INPUT = st.binary(max_size=2000)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_well_formed_passes(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_raises_or_is_kept_without_bound(name: str) -> None:
    @settings(max_examples=TARGETS[name].examples, deadline=None)
    @drawn(INPUT)
    def run(data: bytes) -> None:
        TARGETS[name].run(data)

    run()


@pytest.mark.parametrize("name", TARGETS)
def test_nor_does_damage_to_what_is_well_formed(name: str) -> None:
    seeds = TARGETS[name].seeds

    @settings(max_examples=TARGETS[name].examples, deadline=None)
    @drawn(st.sampled_from(seeds), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=30))
    def run(seed: bytes, damage: list[tuple[int, int]]) -> None:
        damaged = bytearray(seed * max(1, min(8, 4000 // len(seed))))
        for at, value in damage:
            damaged[at % len(damaged)] = value
        TARGETS[name].run(bytes(damaged))

    run()
