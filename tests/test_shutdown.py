"""However a program ends, or its own code fails: the recording is whole, the far end told, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from calling import DEADLINE, short_scenario, until

import rtcpeer
from rtcpeer import Closed, ErrorReported, Session
from rtcpeer.connecting import Connecting
from rtcpeer.formats import AudioFormat
from signaling import MockServer

PARAMS = {"orbitali": {"agent_id": "a1"}, "soca": {"agent_id": "a1"}, "orgo": {"computer_id": "c1"}}


class Elsewhere:
    """A mock on an event loop of its own, in a thread of its own: it sees what an ending program still says."""

    def __init__(self, folder: Path) -> None:
        self._ready = threading.Event()
        self._folder = folder
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Elsewhere:
        self._thread.start()
        assert self._ready.wait(DEADLINE)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with MockServer(scenario=short_scenario(self._folder), audio_source="tone") as self.mock:
            self._ready.set()
            await self._over.wait()

    def ended(self) -> str:
        """Return how its last call ended, once it has."""

        async def wait() -> str:
            call = self.mock.calls[-1]
            await until(lambda: call.state == "closed")
            reason: str = call.to_dict()["closed"]["reason"]
            return reason

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(DEADLINE)

    def calling(self, protocol: str, **options: Any) -> Connecting:
        given = {"api_key": self.mock.api_key, "params": PARAMS.get(protocol)}
        return rtcpeer.connect(protocol, self.mock.url(protocol), **given, **options)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    with Elsewhere(tmp_path) as far_end:
        yield far_end


@contextmanager
def silently(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nobody complains: no task destroyed, no coroutine never awaited, no thread left, nothing logged."""
    before = set(threading.enumerate())
    with caplog.at_level(logging.WARNING):
        yield
        gc.collect()
    # That the machine was busy is no complaint.
    assert [] == [each for each in caplog.records if not each.name.endswith("media_clock")]
    left = [each for each in threading.enumerate() if each not in before and not each.name.startswith("asyncio_")]
    assert [] == left


def seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return sum(frame.samples for frame in container.decode(audio=0)) / 48_000


def ending(folder: Path) -> dict[str, Any]:
    call = json.loads((folder / "call.json").read_text("utf-8"))
    last = json.loads((folder / "events.jsonl").read_text("utf-8").splitlines()[-1])
    assert "Closed" == last["type"]
    assert last["reason"] == call["ended"]["reason"]
    assert seconds(folder / "audio.ogg") >= last["t"] - call["audio"]["starts_at"] - 0.1
    found: dict[str, Any] = call["ended"]
    return found


# The program ends, and the session was not closed


@pytest.mark.parametrize("protocol", rtcpeer.PROTOCOLS)
def test_session_that_was_left_open_is_closed_with_the_loop(
    elsewhere: Elsewhere, protocol: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async def main() -> None:
        await elsewhere.calling(protocol, record=tmp_path / "call")
        await asyncio.sleep(0.3)

    with silently(caplog):
        asyncio.run(main())

    assert {"reason": "local", "detail": "the event loop ended"}.items() <= ending(tmp_path / "call").items()
    assert "remote" == elsewhere.ended()


@pytest.mark.parametrize("protocol", ["orga", "soca"])
def test_programs_own_exception_ends_the_call_and_reaches_the_user(
    elsewhere: Elsewhere, protocol: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async def main() -> None:
        session = await elsewhere.calling(protocol, record=tmp_path / "call")
        await session.play("tone")
        await asyncio.sleep(0.1)
        raise SystemExit(3)

    with silently(caplog), pytest.raises(SystemExit):
        asyncio.run(main())

    assert "local" == ending(tmp_path / "call")["reason"]
    assert "remote" == elsewhere.ended()


@pytest.mark.parametrize("protocol", ["orga", "soca"])
@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_loop_that_ends_amid_closing_lets_it_end(
    elsewhere: Elsewhere, protocol: str, steps: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async def main() -> None:
        session = await elsewhere.calling(protocol, record=tmp_path / "call")
        await asyncio.sleep(0.1)
        closing = asyncio.ensure_future(session.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        assert not closing.done()

    with silently(caplog):
        asyncio.run(main())

    assert "local" == ending(tmp_path / "call")["reason"]
    assert "remote" == elsewhere.ended()


@pytest.mark.parametrize("steps", [0, 3, 30])
def test_loop_that_ends_amid_connecting_leaves_nothing(
    elsewhere: Elsewhere, steps: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async def main() -> None:
        connecting = elsewhere.calling("orga", record=tmp_path / "call")
        opening = asyncio.ensure_future(connecting.__aenter__())
        for _ in range(steps):
            await asyncio.sleep(0.001)
        assert not opening.done() or steps == 30

    with silently(caplog):
        asyncio.run(main())


# The user's own code fails


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    async with MockServer(scenario=short_scenario(tmp_path)) as mock:
        calling = rtcpeer.connect("orga", mock.url(), api_key=mock.api_key, record=tmp_path / "call")
        async with calling as session:
            yield session


def broken(*args: object) -> None:
    raise ZeroDivisionError("the user's own")


async def goes_on(session: Session) -> None:
    heard = aiter(session.audio)
    for _ in range(5):
        await anext(heard)


async def test_tap_that_fails_is_called_no_more_and_the_call_goes_on(session: Session, tmp_path: Path):
    session.tap(broken)

    reported = await session.wait_for(ErrorReported, timeout=DEADLINE)

    assert ("tap", "the tap broken failed: ZeroDivisionError: the user's own") == (reported.code, reported.message)
    await goes_on(session)
    await session.close()
    assert 1 == len([entry for entry in session.events.entries() if isinstance(entry.said, ErrorReported)])
    assert "local" == ending(tmp_path / "call")["reason"]


async def test_listener_to_events_that_fails_is_called_no_more_and_others_are(
    session: Session, caplog: pytest.LogCaptureFixture
):
    heard: list[object] = []
    session.events.tap(broken)
    session.events.tap(heard.append)
    for number in range(2):
        session.report(ErrorReported(f"{number}"))

    assert 2 == len(heard)
    assert 1 == caplog.text.count("the listener broken failed")
    await goes_on(session)


async def test_closer_that_fails_is_logged_and_the_others_are_run(
    session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    closed: list[str] = []

    async def broken_later() -> None:
        broken()

    session.on_close(broken)
    session.on_close(broken_later)
    session.on_close(lambda: closed.append("the last"))
    await goes_on(session)
    await session.close()

    assert ["the last"] == closed
    assert 2 == caplog.text.count("closing a part of the session failed")
    assert "local" == ending(tmp_path / "call")["reason"]


async def test_closer_may_close_its_own_session_itself_or_through_a_task(session: Session):
    closed: list[str] = []

    async def close() -> None:
        await session.close()
        await asyncio.gather(session.close(), session.abandon())
        closed.append("all of them")

    session.on_close(close)
    await asyncio.wait_for(session.close(), DEADLINE)

    assert ["all of them"] == closed


@pytest.mark.parametrize("both_at_once", [False, True])
async def test_sessions_that_close_each_other_end(session: Session, tmp_path: Path, both_at_once: bool):
    async with MockServer(scenario=short_scenario(tmp_path)) as mock:
        others = [await rtcpeer.connect("orga", mock.url(), api_key=mock.api_key) for _ in range(2)]
        circle = [session, *others]
        for number, each in enumerate(circle):
            each.on_close(circle[number - 1].close)
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(each.close() for each in (circle if both_at_once else circle[:1])))

        assert all(each.events.closed for each in circle)


async def test_closer_that_does_not_end_is_cut_off(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("rtcpeer.session.CLOSER_DEADLINE", 0.05)
    closed: list[str] = []
    session.on_close(asyncio.Event().wait)
    session.on_close(lambda: closed.append("the last"))
    await asyncio.wait_for(session.close(), DEADLINE)

    assert ["the last"] == closed
    assert "closing a part of the session failed: Event.wait" in caplog.text


@pytest.mark.parametrize("which", ["on_session", "token"])
async def test_what_is_called_while_connecting_may_fail_and_the_user_sees_its_own_error(which: str, tmp_path: Path):
    async def no_token() -> str:
        broken()
        return ""

    async with MockServer(scenario=short_scenario(tmp_path)) as mock:
        options: dict[str, Any] = (
            {"api_key": mock.api_key, "on_session": broken} if which == "on_session" else {"token": no_token}
        )
        with pytest.raises(ZeroDivisionError, match="the user's own"):
            async with rtcpeer.connect("orga", mock.url(), record=tmp_path / "call", **options):
                pass

    call = json.loads((tmp_path / "call" / "call.json").read_text("utf-8"))
    assert ("failed", "the user's own") == (call["ended"]["reason"], call["ended"]["detail"])


async def test_iterator_that_fails_ends_its_playback_alone(session: Session):
    async def speech() -> AsyncIterator[bytes]:
        yield np.zeros(2_400, np.int16).tobytes()
        broken()

    playback = await session.play(speech(), format=AudioFormat(24_000))
    with pytest.raises(rtcpeer.MediaError, match="ZeroDivisionError: the user's own"):
        await asyncio.wait_for(playback, DEADLINE)

    await goes_on(session)


async def test_reader_that_fails_takes_nobody_with_it(session: Session):
    async def read() -> None:
        async for _ in session:
            broken()

    with pytest.raises(ZeroDivisionError):
        await read()
    await goes_on(session)
    assert not any(isinstance(entry.said, Closed) for entry in session.events.entries())
