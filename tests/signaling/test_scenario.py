from __future__ import annotations

import av
import pytest

from rtcpeer.errors import ConfigurationError
from signaling.scenario import SCENARIOS, Scenario, find_scenario, speech_file


def test_built_in_scenarios_are_the_documented_three():
    assert {"conversation", "echo", "tone"} == set(SCENARIOS)


def test_every_line_of_the_conversation_is_a_readable_speech_file():
    for turn in find_scenario("conversation").turns:
        assert turn.heard
        assert turn.answer.text
        with speech_file(turn.answer.say).open("rb") as file, av.open(file) as container:
            assert container.streams.audio[0].codec_context.channels == 1


def test_unknown_scenario_lists_those_there_are():
    with pytest.raises(ConfigurationError, match=r"'ecco'; there is conversation, echo, tone"):
        find_scenario("ecco")


def test_scenario_is_its_own_answer():
    own = Scenario("own", "")

    assert find_scenario(own) is own


def test_missing_speech_file_is_named():
    with pytest.raises(ConfigurationError, match=r"no-such\.flac"):
        speech_file("no-such.flac")
