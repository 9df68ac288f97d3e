"""The vendors' own documented clients in Node (npm ws) against the mock: nothing but host and key is changed.

What a browser supplies is in ``browser.js``; what an example leaves to its reader is said at the top of each page.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import spectrum
from calling import AGENT, USER, short_scenario, write_tone
from numpy.typing import NDArray
from parts import API_KEY, Node

from signaling import MockServer
from signaling.scenario import Line, Scenario

AGENT_ID = "9dbf0d0b-2b55-45de-8c41-7a2d9b0ce8e9"
COMPUTER_ID = "a3bb189e-8bf9-3888-9912-ace4e6543002"
SPEECH = {"frequency": USER, "seconds": 0.5}


def page(script: str, mock: MockServer, **options: Any) -> Any:
    return Node.run(script, part="ws", base=mock.url(script.removesuffix("_page.js")), **options)


def talkative(folder: Path) -> Scenario:
    """Speaks first, for eight seconds unless it is interrupted."""
    greeting = Line(str(write_tone(folder / "long.wav", AGENT, 8.0)), "A long story.")
    return short_scenario(folder, greeting=greeting)


async def logged(node: Node, text: str) -> None:
    await node.wait_for("log", lambda said: said["text"].startswith(text))


def at_pitch(pcm: NDArray[np.int16], sample_rate: int, frequency: float) -> bool:
    """Whether it is that tone, wherever it is loud."""
    sound = spectrum.loudest(spectrum.as_float(pcm.reshape(-1, 1)), sample_rate, 0.2)
    return abs(spectrum.dominant_frequency(sound, sample_rate) - frequency) < 5


async def played(node: Node) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int16]]:
    """Return when each buffer began, in seconds, how long it lasted, and the samples of all of them."""
    await node.obey("played")
    said = await node.wait_for("played", fresh=True)
    pcm = np.frombuffer(base64.b64decode(said["pcm"]), "<i2")
    return np.array(said["at"]), np.array(said["lengths"]) / 24_000, pcm


async def test_orgos_example_plays_the_computer_without_gaps_until_it_says_stop():
    async with (
        MockServer(audio_source="tone", api_key=API_KEY) as mock,
        page("orgo_page.js", mock, computerId=COMPUTER_ID, apiKey=API_KEY) as node,
    ):
        await logged(node, "Audio stream: 24000Hz, 1ch")
        length = 0.0
        while length < 2.0:
            at, lengths, pcm = await played(node)
            length = float(lengths.sum())
        await node.obey("stop")
        closed = await node.wait_for("closed")

    assert 1000 == closed["code"]
    assert at_pitch(pcm, 24_000, 440.0)
    # The page's own schedule: a buffer begins where the one before it ended, but where its drift was reset.
    seams = np.abs(np.diff(at) - lengths[:-1]) > 0.001
    assert np.count_nonzero(seams) <= 5


async def test_orgos_example_with_a_wrong_key_is_closed_with_4401():
    async with (
        MockServer(audio_source="tone", api_key=API_KEY) as mock,
        page("orgo_page.js", mock, computerId=COMPUTER_ID, apiKey="sk_live_wrong") as node,
    ):
        # The example does not look at the status: its password is undefined then.
        assert 4401 == (await node.wait_for("closed"))["code"]


async def test_orbitalis_example_holds_a_conversation(tmp_path: Path):
    async with (
        MockServer(scenario=short_scenario(tmp_path), api_key=API_KEY) as mock,
        page("orbitali_page.js", mock, agentId=AGENT_ID, apiKey=API_KEY, speech=SPEECH) as node,
    ):
        await logged(node, "Voice session started: conv_")
        await logged(node, "[user]: How are you?")
        await logged(node, "[assistant]: <emotion>Fine.</emotion>")
        _, lengths, pcm = await played(node)
        await node.obey("stop")
        closed = await node.wait_for("closed")
        received = [type(said).__name__ for said in mock.received]

    assert closed["code"] in (1000, 1005)  # the mock's goodbye after `stop`, or the page's own, which has no code
    assert at_pitch(pcm, 24_000, AGENT)
    assert 0.3 == pytest.approx(float(lengths.sum()), abs=0.05)
    assert "Stop" in received


async def test_orbitalis_example_is_told_to_clear_when_it_interrupts(tmp_path: Path):
    async with (
        MockServer(scenario=talkative(tmp_path), api_key=API_KEY) as mock,
        page("orbitali_page.js", mock, agentId=AGENT_ID, apiKey=API_KEY, speech=SPEECH) as node,
    ):
        await logged(node, "User interrupted the agent. Clearing audio buffer.")
        await logged(node, "[assistant]: A long story.")
        _, lengths, _ = await played(node)
        assert mock.calls[0].interruptions

    assert float(lengths.sum()) < 7.0  # of eight seconds


async def test_socas_example_asks_and_gets_a_sentence_it_can_play(tmp_path: Path):
    async with (
        MockServer(scenario=short_scenario(tmp_path), api_key=API_KEY) as mock,
        page("soca_page.js", mock, token=API_KEY, speech=SPEECH) as node,
    ):
        await logged(node, "Partial: How")
        await logged(node, "Final: How are you?")
        sentence = await node.wait_for("sentence")
        await node.obey("stop")
        assert 1000 == (await node.wait_for("closed"))["code"]

    assert (1, "<emotion>Fine.</emotion>") == (sentence["seq"], sentence["words"])
    with av.open(io.BytesIO(base64.b64decode(sentence["mp3"])), format="mp3") as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
        rate = container.streams.audio[0].rate
    assert 22_050 == rate
    assert at_pitch((sound.reshape(-1) * 32767).astype(np.int16), rate, AGENT)


async def test_socas_example_interrupts_with_words(tmp_path: Path):
    async with (
        MockServer(scenario=talkative(tmp_path), api_key=API_KEY) as mock,
        page("soca_page.js", mock, token=API_KEY, speech={**SPEECH, "seconds": 1.5}) as node,
    ):
        await logged(node, "Barge: 2")
        await logged(node, "Final: How are you?")
        answer = await node.wait_for("sentence", lambda said: said["seq"] == 2)
        assert mock.calls[0].interruptions

    assert "<emotion>Fine.</emotion>" == answer["words"]


async def test_socas_example_with_a_wrong_token_is_told_so():
    async with MockServer(api_key=API_KEY) as mock, page("soca_page.js", mock, token="wrong", speech=SPEECH) as node:
        await logged(node, "Error: Invalid or expired token")
        assert 1008 == (await node.wait_for("closed"))["code"]
