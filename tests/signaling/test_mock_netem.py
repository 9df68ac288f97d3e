"""A bad network at the mock: as an option, through the door, from the pytest fixture, on calls that run."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from calling import DEADLINE

import rtcpeer
import signaling.reception
from rtcpeer.errors import ConfigurationError
from rtcpeer.netem import NetworkConditions
from rtcpeer.session import Session
from signaling import MockServer


async def ticks(session: Session, number: int) -> None:
    """Wait until so many frames more were sent and played."""
    done = asyncio.Event()
    seen = 0

    def tap(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            done.set()

    session.tap(tap)
    async with asyncio.timeout(DEADLINE):
        await done.wait()


def netem_of(mock: MockServer, call: int = -1) -> dict[str, Any] | None:
    found: dict[str, Any] | None = mock.calls[call].to_dict()["stats"]["netem"]
    return found


async def put(mock: MockServer, body: object) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{mock.url()}/mock/netem", json=body) as response,
    ):
        return response.status, await response.json()


async def test_the_mock_loses_what_it_sends_and_what_it_receives():
    async with (
        MockServer(scenario="tone", netem="loss=100%") as mock,
        rtcpeer.connect("orga", mock.url(), api_key=mock.api_key) as session,
    ):
        await ticks(session, 20)
        did = netem_of(mock)

        assert session.stats()["inbound_audio"]["packets_received"] == 0
        assert session.stats()["netem"] is None
    assert did is not None
    assert did["conditions"] == "loss=100%"
    for way in ("outgoing", "incoming"):
        assert 0 < did[way]["packets_sent"] == did[way]["packets_lost"]


async def test_the_door_changes_a_call_that_runs():
    async with (
        MockServer(scenario="tone") as mock,
        rtcpeer.connect("orga", mock.url(), api_key=mock.api_key) as session,
    ):
        await ticks(session, 5)
        assert netem_of(mock) is None
        said = {"netem": "loss=100%", "not_over_websocket": ["loss"]}
        assert (200, said) == await put(mock, {"netem": "loss=100%"})
        await ticks(session, 10)
        did = netem_of(mock)
        assert did is not None
        assert 0 < did["outgoing"]["packets_lost"]

        assert (200, {"netem": None}) == await put(mock, {"netem": None})
        assert mock.netem == NetworkConditions()
        lost = netem_of(mock)["outgoing"]["packets_lost"]
        await ticks(session, 10)
        assert netem_of(mock)["outgoing"]["packets_lost"] == lost


@pytest.mark.parametrize("body", [{}, 3, ["loss=5%"], {"netem": 5}, {"netem": "los=5%"}, "loss=500%", {"loss": "5%"}])
async def test_a_bad_put_is_422_and_says_what_to_write(body):
    async with MockServer() as mock:
        status, found = await put(mock, body)

    assert status == 422
    assert "loss" in found["error"]
    assert mock.netem == NetworkConditions()


async def test_each_call_has_a_network_of_its_own_that_the_mocks_seed_decides(monkeypatch):
    seeds = []

    async def accept(*given: Any, netem_seed: int | str, **options: Any) -> tuple[Session, str]:
        seeds.append(netem_seed)
        return await real(*given, netem_seed=netem_seed, **options)

    real = signaling.reception.accept
    monkeypatch.setattr(signaling.reception, "accept", accept)
    for seed in (1, 1, 2):
        async with MockServer(scenario="tone", seed=seed) as mock:
            for _ in range(2):
                async with rtcpeer.connect("orga", mock.url(), api_key=mock.api_key):
                    pass

    assert seeds[0:2] == seeds[2:4]
    assert len(set(seeds)) == 4


def test_bad_conditions_are_refused_when_the_mock_is_made():
    with pytest.raises(ConfigurationError, match="did you mean jitter"):
        MockServer(netem="jiter=5ms")


def test_the_fixture_takes_and_gives_conditions(voice_server):
    voice_server.netem = "delay=40ms,jitter=20ms"
    assert str(voice_server.netem) == "delay=40ms,jitter=20ms"
    with pytest.raises(ConfigurationError):
        voice_server.netem = "delay=40"
    voice_server.netem = None
    assert voice_server.netem == NetworkConditions()
