from __future__ import annotations

import asyncio

import pytest

from rtcpeer.errors import ConnectionLost
from rtcpeer.transports import outbox
from rtcpeer.transports.outbox import Outbox


async def test_of_audio_the_oldest_second_is_dropped_and_of_messages_nothing():
    box = Outbox()

    for number in range(60):
        box.put_audio(f"audio {number}", 0.02)
        box.put(f"message {number}")

    rest = box.take_rest()
    assert [f"audio {number}" for number in range(10, 60)] == [each for each in rest if str(each).startswith("audio")]
    assert [f"message {number}" for number in range(60)] == [each for each in rest if str(each).startswith("message")]
    assert 10 == box.audio_dropped


async def test_audio_is_not_counted_among_the_messages_that_may_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "CONTROL_WAITING", 2)
    box = Outbox()

    for _ in range(5):
        box.put_audio(b"", 0.02)
    box.put("one")
    box.put("two")

    with pytest.raises(ConnectionLost, match="2 wait"):
        box.put("three")


async def test_what_is_being_sent_while_audio_is_dropped_takes_no_other_with_it():
    box = Outbox()
    box.put_audio(b"being sent", 0.02)
    sending = await box.first()

    box.drop_audio()
    box.put("stop")
    box.remove(sending)

    assert ["stop"] == box.take_rest()


async def test_it_is_emptied_when_the_last_was_sent_and_not_when_it_was_taken():
    box = Outbox()
    box.put("last")
    emptied = asyncio.ensure_future(box.emptied())

    message = await box.first()
    await asyncio.sleep(0)
    assert not emptied.done()

    box.remove(message)
    looking = asyncio.ensure_future(box.first())
    await emptied

    box.put("another")
    assert "another" == await looking
