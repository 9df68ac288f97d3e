"""Soca's rule of when words interrupt, a row for each condition and each of its limits."""

from __future__ import annotations

from typing import Any

import pytest

from signaling.barge_in import FILLERS, BargeInRule

ENOUGH: dict[str, Any] = {
    "partial": "wait, tell me",
    "agent_speaking": True,
    "confidence": 0.9,
    "since_speech": 0.6,
    "since_barge": None,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, True, id="all conditions hold"),
        pytest.param({"agent_speaking": False}, False, id="nobody is to be interrupted"),
        pytest.param({"partial": ""}, False, id="nothing was said"),
        pytest.param({"partial": "hey stopp"}, False, id="nine characters"),
        pytest.param({"partial": "hey stop!!"}, True, id="ten characters"),
        pytest.param({"partial": "   hey   you   "}, False, id="white space is no character"),
        pytest.param({"partial": "supercalifragilistic"}, False, id="one long word"),
        pytest.param({"partial": "hello\tthere"}, True, id="two words"),
        pytest.param({"confidence": 0.29}, False, id="hardly understood"),
        pytest.param({"confidence": 0.30}, True, id="just understood"),
        pytest.param({"confidence": 0.0}, False, id="a confidence of nothing is not none"),
        pytest.param({"confidence": None}, True, id="no confidence is no doubt"),
        pytest.param({"since_speech": 1.5}, True, id="at the end of the window"),
        pytest.param({"since_speech": 1.51}, False, id="after the window"),
        pytest.param({"since_barge": 0.8}, True, id="cooled down"),
        pytest.param({"since_barge": 0.79}, False, id="interrupted a moment ago"),
        pytest.param({"partial": "uh um hmm eh ah ya yah uh um"}, False, id="fillers alone"),
        pytest.param({"partial": "Uh, um... HMM! uh, um"}, False, id="fillers in any dress"),
        pytest.param({"partial": "uh um hmm wait"}, False, id="fillers don't make up for words"),
        pytest.param({"partial": "um, tell me more"}, True, id="words after a filler"),
        pytest.param({"partial": "umbrella yahoo"}, True, id="a word that begins like a filler is none"),
    ],
)
def test_interrupts_when_all_conditions_hold(change: dict[str, Any], expected: bool) -> None:
    assert expected == BargeInRule().interrupts(**{**ENOUGH, **change})


@pytest.mark.parametrize("filler", sorted(FILLERS))
def test_a_filler_is_no_word(filler: str) -> None:
    assert not BargeInRule(min_partial_chars=1, min_partial_words=1).interrupts(**{**ENOUGH, "partial": filler})


def test_the_limits_can_be_set() -> None:
    late = {**ENOUGH, "since_speech": 60.0}
    assert BargeInRule(speech_start_window=None).interrupts(**late)
    assert not BargeInRule(min_confidence=0.95).interrupts(**ENOUGH)
    assert BargeInRule(min_partial_chars=1, min_partial_words=1).interrupts(**{**ENOUGH, "partial": "no"})
