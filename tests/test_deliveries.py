"""Each event is handed out once: to the oldest waiter that it matches, otherwise to the iteration."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from rtcpeer.deliveries import Deliveries
from rtcpeer.event_log import EventLog
from rtcpeer.events import Closed, EventsMissed, SpeechStarted, Unknown
from rtcpeer.said import Said


def made(**limits: int) -> tuple[EventLog, Deliveries]:
    log = EventLog(**limits)
    return log, Deliveries(log, lambda: None)


def unknown(said: Said) -> bool:
    return isinstance(said, Unknown)


async def rest(deliveries: Deliveries) -> list[Said]:
    return [said async for said in deliveries.iterate()]


async def test_event_goes_to_the_waiter_that_began_first_and_to_nobody_else() -> None:
    log, deliveries = made()
    first, second = (asyncio.create_task(deliveries.wait(unknown)) for _ in range(2))
    await asyncio.sleep(0)
    for text in "abc":
        log.append(0, Unknown(text))
    log.append(0, Closed("local"))

    assert (Unknown("a"), Unknown("b")) == (await first, await second)
    assert [Unknown("c"), Closed("local")] == await rest(deliveries)


async def test_event_that_does_not_match_is_left_to_the_iteration() -> None:
    log, deliveries = made()
    waiting = asyncio.create_task(deliveries.wait(unknown))
    await asyncio.sleep(0)
    log.append(0, SpeechStarted("user"))
    log.append(1, Unknown("x"))
    log.append(2, Closed("local"))

    assert Unknown("x") == await waiting
    assert [SpeechStarted("user"), Closed("local")] == await rest(deliveries)


async def test_waiter_takes_the_oldest_that_was_not_handed_out() -> None:
    log, deliveries = made()
    for text in "abc":
        log.append(0, Unknown(text))

    assert Unknown("b") == await deliveries.wait(lambda said: said == Unknown("b"))
    assert [Unknown("a"), Unknown("c")] == [await deliveries.wait(unknown) for _ in range(2)]


async def test_event_that_reached_a_waiter_in_the_moment_it_was_cancelled_is_the_next_ones() -> None:
    log, deliveries = made()
    cancelled = asyncio.create_task(deliveries.wait(unknown))
    await asyncio.sleep(0)
    log.append(0, Unknown("a"))
    log.append(1, Unknown("b"))
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    log.append(2, Closed("local"))

    assert [Unknown("a"), Unknown("b"), Closed("local")] == await rest(deliveries)
    assert 0 == deliveries.waiters


async def test_predicate_that_raises_is_its_users_and_the_event_is_for_others() -> None:
    log, deliveries = made()
    waiting = asyncio.create_task(deliveries.wait(lambda said: said.nothing))  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    log.append(0, Unknown("a"))

    with pytest.raises(AttributeError, match="nothing"):
        await waiting
    assert Unknown("a") == await deliveries.wait(unknown)


async def test_waiters_learn_that_there_will_be_no_more() -> None:
    log, deliveries = made()
    waiting = asyncio.create_task(deliveries.wait(unknown))
    await asyncio.sleep(0)
    log.append(0, Closed("local"))

    assert await waiting is None
    assert await deliveries.wait(unknown) is None
    assert Closed("local") == await deliveries.wait(lambda said: isinstance(said, Closed))
    assert [] == await rest(deliveries)


async def test_an_iteration_goes_on_where_the_one_before_was_left() -> None:
    log, deliveries = made()
    for text in "ab":
        log.append(0, Unknown(text))
    log.append(0, Closed("local"))
    async for said in deliveries.iterate():
        assert Unknown("a") == said
        break

    assert [Unknown("b"), Closed("local")] == await rest(deliveries)


async def test_an_iteration_that_was_closed_lets_another_begin_while_somebody_holds_it() -> None:
    log, deliveries = made()
    log.append(0, Unknown("a"))
    log.append(0, Closed("local"))
    async with aclosing(deliveries.iterate()) as held:
        assert Unknown("a") == await anext(held)

    assert [Closed("local")] == await rest(deliveries)


async def test_two_iterations_at_a_time_are_one_too_many() -> None:
    log, deliveries = made()
    log.append(0, Unknown("a"))
    async for _ in deliveries.iterate():
        with pytest.raises(RuntimeError, match=r"session\.events\.read\(\)"):
            await rest(deliveries)
        break


async def test_iteration_is_told_how_much_the_log_forgot_of_what_nobody_had() -> None:
    log, deliveries = made(limit=3)
    for number in range(5):
        log.append(number, Unknown(str(number)))
    assert Unknown("3") == await deliveries.wait(lambda said: said == Unknown("3"))
    for number in range(5, 8):
        log.append(number, Unknown(str(number)))
    log.append(8, Closed("local"))

    # 0 to 5 are gone, and 3 was handed out.
    assert [EventsMissed(5), Unknown("6"), Unknown("7"), Closed("local")] == await rest(deliveries)


async def test_what_is_taken_is_taken_by_identity() -> None:
    log, deliveries = made()
    one, same = Unknown("x"), Unknown("x")
    log.append(0, one)
    log.append(1, same)
    log.append(2, Closed("local"))
    deliveries.take([one])

    left = await rest(deliveries)
    assert [same, Closed("local")] == left
    assert left[0] is same
