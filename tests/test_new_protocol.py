"""A protocol from outside the tree: one class, and the peer, the mock and the recording know it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from calling import AGENT, DEADLINE, USER, loudest_frequency, short_scenario, until
from calling import write_tone as write
from parrot import Parrot

import rtcpeer
from rtcpeer import AuthError, ConfigurationError, Interrupt, Interrupted
from rtcpeer.protocols import PROTOCOLS
from signaling import MockServer
from signaling.scenario import Line

ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_class_of_ones_own_takes_a_turn_with_the_mock_and_is_recorded(tmp_path: Path):
    async with (
        MockServer(protocols=[Parrot], scenario=short_scenario(tmp_path)) as mock,
        rtcpeer.connect(Parrot, mock.url(Parrot), api_key=mock.api_key, record=tmp_path / "call") as session,
    ):
        await session.play(write(tmp_path / "user.wav", USER))
        turn = await session.listen(timeout=DEADLINE)

    assert "How are you?" == turn.heard
    assert AGENT == pytest.approx(loudest_frequency(turn.audio), abs=5)
    assert {"call.json", "events.jsonl", "stats.jsonl", "audio.ogg"} == {
        path.name for path in (tmp_path / "call").iterdir()
    }
    assert "parrot" == mock.calls[0].to_dict()["protocol"]


async def test_interrupt_is_the_protocols_own_message_and_the_agent_stops(tmp_path: Path):
    story = Line(str(write(tmp_path / "story.wav", AGENT, 5.0)), "A long story.")
    scenario = short_scenario(tmp_path, greeting=story, turns=())
    frames: list[np.ndarray] = []
    async with (
        MockServer(protocols=[Parrot], scenario=scenario) as mock,
        rtcpeer.connect(Parrot, mock.url(Parrot), api_key=mock.api_key) as session,
    ):
        session.tap(lambda position, said, heard: frames.append(heard.copy()))
        await until(lambda: sum(np.abs(frame).max() > 100 for frame in frames) >= 25)
        await session.interrupt()
        cut = len(frames)
        await until(lambda: mock.calls[0].interruptions)
        await until(lambda: len(frames) >= cut + 25)
        interrupted = [entry.said for entry in session.events.entries() if isinstance(entry.said, Interrupted)]

    assert sum(np.abs(frame).max() > 100 for frame in frames[cut:]) <= 1
    assert [Interrupt()] == [said for said in mock.calls[0].received if isinstance(said, Interrupt)]
    assert interrupted[0].played == pytest.approx(0.5, abs=0.1)
    assert mock.calls[0].interruptions[0] < 2.0


async def test_refusal_before_the_upgrade_is_an_http_status(tmp_path: Path):
    async with MockServer(protocols=[Parrot]) as mock:
        with pytest.raises(AuthError):
            await rtcpeer.connect(Parrot, mock.url(Parrot), api_key="wrong")
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(f"{mock.url(Parrot)}/parrot")
    assert 401 == caught.value.status


async def test_browser_gives_its_key_in_the_query(tmp_path: Path):
    async with (
        MockServer(protocols=[Parrot]) as mock,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{mock.url(Parrot)}/parrot?token=sk_test") as socket,
    ):
        async with asyncio.timeout(DEADLINE):
            assert "hello" == (await socket.receive_json())["type"]


def test_two_protocols_on_one_path_are_refused():
    class Cuckoo(Parrot):
        pass

    with pytest.raises(ConfigurationError, match="/parrot"):
        asyncio.run(_enter(MockServer(protocols=[Parrot, Cuckoo])))


async def _enter(mock: MockServer) -> None:
    async with mock:
        pass


def test_example_is_not_registered():
    assert "parrot" not in PROTOCOLS


def test_guide_shows_the_example_as_it_is():
    """Every code block of the guide that is Python stands in the file it talks about, line for line."""
    source = (ROOT / "tests" / "parrot.py").read_text("utf-8")
    guide = (ROOT / "docs" / "adding-a-protocol.md").read_text("utf-8")
    blocks = [part.partition("```")[0] for part in guide.split("```python\n")[1:]]

    assert blocks
    for block in blocks[:-1]:  # the last is how it is used
        assert block.strip() in source
