"""The watchdog on a real path: whoever is there answers, whoever vanished is noticed; short times, loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from calling import DEADLINE, Belongings, answering, nothing_left_since, until
from virtual_time import run

import rtcpeer
from rtcpeer import Closed, Degraded, NetworkConditions, Recovered, Session, Watchdog
from rtcpeer.errors import ConnectionLost
from rtcpeer.said import Said
from rtcpeer.transports.liveness import Liveness
from rtcpeer.transports.webrtc import RtcLink

SHORT = Watchdog(ask_after=0.1, lost_after=0.4)


@asynccontextmanager
async def two_ends(**options: Any) -> AsyncIterator[tuple[Session, Session]]:
    before = Belongings.now()
    given = {"token": "t", "watchdog": SHORT, "reconnect": None} | options
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, **given) as session:
        await far_ends[0].opened()
        yield session, far_ends[0]
    await nothing_left_since(before)


def private(session: Session) -> Any:
    assert isinstance(session.link, RtcLink)
    return session.link._pc


def stop_sending(session: Session) -> None:
    """Say nothing more of one's own accord: no audio, no RTCP; what is asked is still answered."""
    private(session)._RTCPeerConnection__iceTransports.copy().pop()._connection.sendto = nothing
    assert session.link is not None
    session.link.send_audio = lambda *args, **kwargs: None  # type: ignore[method-assign]


async def nothing(*args: Any) -> None:
    return None


async def test_a_far_end_that_vanishes_is_degraded_and_then_lost() -> None:
    async with two_ends() as (session, far):
        await far.abandon()
        closed = await session.wait_for(Closed, timeout=DEADLINE)
        said = [type(entry.said) for entry in session.events.entries()]

        assert "lost" == closed.reason
        assert "stopped answering" in closed.detail
        assert 1 == said.count(Degraded)
        assert Recovered not in said


async def test_a_far_end_that_was_given_up_is_not_told_goodbye() -> None:
    """It may hear us though we do not hear it: a goodbye would be a hang-up, after which nobody comes back."""
    async with two_ends() as (session, far):
        assert session.link is not None
        session.link.impair(NetworkConditions.parse("loss=100%,all=1"))
        assert "lost" == (await session.wait_for(Closed, timeout=DEADLINE)).reason
        await session.close()
        for _ in range(20):  # what was sent on loopback is there
            await asyncio.sleep(0)

        assert not far.events.closed


async def test_a_far_end_that_is_silent_for_ever_answers_and_is_not_degraded() -> None:
    async with two_ends() as (session, far):
        asked = count_questions(session)
        stop_sending(far)
        await until(lambda: len(asked) >= 5)

        assert not session.events.closed
        assert not [entry for entry in session.events.entries() if isinstance(entry.said, Degraded)]


async def test_a_far_end_that_speaks_is_never_asked() -> None:
    async with two_ends(watchdog=Watchdog(ask_after=0.5, lost_after=1.0)) as (session, _):
        asked = count_questions(session)
        await until(lambda: session.stats()["inbound_audio"]["packets_received"] >= 50)
        assert [] == asked


def count_questions(session: Session) -> list[float]:
    link: Any = session.link
    asked: list[float] = []
    ask = link._liveness._ask

    def ask_and_count() -> None:
        asked.append(0.0)
        ask()

    link._liveness._ask = ask_and_count
    return asked


async def test_a_network_that_comes_back_in_time_is_a_recovery() -> None:
    async with two_ends(watchdog=Watchdog(ask_after=0.1, lost_after=DEADLINE)) as (session, _):
        assert session.link is not None
        session.link.impair(rtcpeer.NetworkConditions.of("loss=100%,all=1"))
        await session.wait_for(Degraded, timeout=DEADLINE)
        session.link.impair(rtcpeer.NetworkConditions())
        recovered = await session.wait_for(Recovered, timeout=DEADLINE)

        assert 0.1 < recovered.gap < DEADLINE
        assert not session.events.closed


def test_a_recovery_is_told_when_it_comes_with_the_seconds_in_which_nothing_came() -> None:
    told: list[tuple[Said, float]] = []

    async def five_seconds_of_silence() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def report(said: Said) -> None:
            told.append((said, round(loop.time() - began, 3)))

        liveness = Liveness(Watchdog(), lambda: None, report, pytest.fail)
        liveness.start()
        await asyncio.sleep(5.3)
        liveness.heard = loop.time()
        for _ in range(50):  # it goes on
            await asyncio.sleep(0.02)
            liveness.heard = loop.time()
        liveness.close()

    run(five_seconds_of_silence())

    degraded = Degraded("nothing came from the far end for 4.0 s; it does not answer")
    assert [(degraded, 4.0), (Recovered(5.3), 5.3)] == told


async def test_both_ends_notice() -> None:
    """The one who was called looks as well, or a mock would keep dead callers."""
    async with two_ends() as (session, far):
        link: Any = far.link
        link._liveness._watchdog = SHORT
        link._liveness.close()
        link._liveness.start()
        await session.abandon()
        with pytest.raises(ConnectionLost, match="stopped answering"):
            await asyncio.wait_for(read_to_the_end(far), DEADLINE)


async def read_to_the_end(session: Session) -> None:
    async for _ in session:
        pass


async def test_a_socket_that_cannot_send_makes_us_ask_at_once() -> None:
    async with two_ends(watchdog=Watchdog(ask_after=DEADLINE, lost_after=DEADLINE + 0.3)) as (session, far):
        asked = count_questions(session)
        await far.abandon()
        for transport in private(session)._RTCPeerConnection__iceTransports:
            for pair in transport._connection._nominated.values():
                # What asyncio does with a sendto that failed.
                pair.protocol.error_received(OSError(101, "Network is unreachable"))
        assert 1 == len(asked)
        # 0.3 s instead of fifteen.
        closed = await session.wait_for(Closed, timeout=DEADLINE / 2)
        assert "lost" == closed.reason


async def test_without_a_watchdog_nobody_is_asked() -> None:
    async with two_ends(watchdog=None) as (session, _):
        link: Any = session.link
        assert link._liveness._watch is None


def test_one_timer_that_is_gone_when_it_is_closed() -> None:
    """In virtual time: with nothing left to happen, the loop would raise."""

    async def main() -> tuple[list[Said], list[str], int]:
        told: list[Said] = []
        lost: list[str] = []
        asked: list[float] = []
        loop = asyncio.get_running_loop()
        liveness = Liveness(
            Watchdog(),
            lambda: asked.append(loop.time()),
            told.append,
            lost.append,
        )
        liveness.start()
        liveness.start()
        await asyncio.sleep(60)
        liveness.suspect()
        liveness.close()
        return told, lost, len(asked)

    told, lost, asked = run(main())
    assert [Degraded] == [type(each) for each in told]
    assert ["the far end stopped answering: nothing came for 8.8 s"] == lost
    assert 6 == asked
