"""The event log: one writer, many readers, bounded."""

import asyncio

import pytest

from rtcpeer.event_log import EventLog
from rtcpeer.events import Closed, EventsMissed, SpeechStarted, Unknown


async def read_all(log):
    return [entry.said async for entry in log.read()]


async def test_every_reader_sees_every_event():
    log = EventLog()
    early = asyncio.create_task(read_all(log))
    log.append(0.1, SpeechStarted("user"))
    await asyncio.sleep(0)
    log.append(0.2, Closed("local"))

    expected = [SpeechStarted("user"), Closed("local")]
    assert expected == await early
    assert expected == await read_all(log)


async def test_nothing_follows_closed():
    log = EventLog()
    log.append(0.1, Closed("remote"))
    log.append(0.2, SpeechStarted("user"))

    assert [Closed("remote")] == await read_all(log)


async def test_a_reader_that_falls_behind_is_told_how_much_it_missed():
    log = EventLog(limit=3)
    reader = log.read(start=0)
    for number in range(10):
        log.append(number, Unknown(str(number)))
    log.append(10, Closed("local"))

    assert [EventsMissed(8), Unknown("8"), Unknown("9"), Closed("local")] == [entry.said async for entry in reader]


async def test_long_messages_push_older_ones_out():
    log = EventLog(limit_characters=10_000)
    for number in range(100):
        log.append(number, Unknown(f"{number} " + 1000 * "x"))

    assert 8 <= len(log.entries()) < 10
    assert log.end == 100


async def test_a_single_message_over_the_limit_is_kept():
    log = EventLog(limit_characters=10)
    log.append(0, Unknown(100 * "x"))

    assert len(log.entries()) == 1


async def test_a_reader_may_start_anywhere():
    log = EventLog()
    log.append(0, Unknown("old"))
    position = log.end
    log.append(1, Unknown("new"))
    log.append(2, Closed("local"))

    assert [Unknown("new"), Closed("local")] == [entry.said async for entry in log.read(position)]


async def test_a_tap_sees_entries_as_they_come():
    log, seen = EventLog(), []
    log.tap(seen.append)
    log.append(1.5, Unknown("x"))

    assert [(1.5, Unknown("x"))] == [(entry.t, entry.said) for entry in seen]


async def test_a_cancelled_reader_leaves_the_others_running():
    log = EventLog()
    first, second = asyncio.create_task(read_all(log)), asyncio.create_task(read_all(log))
    await asyncio.sleep(0)
    first.cancel()
    log.append(0, Closed("local"))

    assert [Closed("local")] == await second
    with pytest.raises(asyncio.CancelledError):
        await first
