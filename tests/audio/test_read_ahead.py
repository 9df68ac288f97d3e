"""Files are read ahead by a thread: what is slow there delays nobody, and everything is played."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
import spectrum
from calling import DEADLINE, until

from rtcpeer.audio.packets import SILENT_PACKET, OpusPacket, PacketPlayback, PacketSource
from rtcpeer.audio.read_ahead import PacketsAhead, ReadAhead, read_block
from rtcpeer.audio.sources import FileSource, Source
from rtcpeer.errors import MediaError


def ramp(begin: int, end: int) -> np.ndarray:
    return (np.arange(begin, end) % 30_011).astype(np.int16)[:, np.newaxis]


class Disk(Source):
    """A ramp, again and again; with ``stuck`` it answers no more until ``answer`` is set."""

    def __init__(self, samples: int, failure: MediaError | None = None) -> None:
        self.samples, self.position, self.failure = samples, 0, failure
        self.stuck, self.answer, self.asked, self.closed = False, threading.Event(), threading.Event(), 0

    def read(self, samples: int) -> np.ndarray | None:
        assert not self.closed
        self.asked.set()
        if self.stuck:
            assert self.answer.wait(DEADLINE)
        count = min(samples, self.samples - self.position)
        if count == 0 and self.failure is not None:
            raise self.failure
        if count == 0:
            return None
        self.position += count
        return ramp(self.position - count, self.position)

    def close(self) -> None:
        self.closed += 1


async def read_all(source: Source) -> list[np.ndarray]:
    blocks: list[np.ndarray] = []
    async with asyncio.timeout(DEADLINE):
        while (block := source.read(960)) is not None:
            blocks.append(block)
            await asyncio.sleep(0)
    return blocks


@pytest.mark.parametrize("samples", [1, 960, 24_000, 100_001])
async def test_every_sample_comes_once_and_in_order(samples: int):
    source = ReadAhead(disk := Disk(samples), read_block(disk))
    blocks = await read_all(source)
    source.close()

    assert np.array_equal(ramp(0, samples), np.concatenate(blocks))
    assert 1 == disk.closed


async def test_what_came_before_a_failure_is_played_and_then_the_failure_is_told():
    source = ReadAhead(disk := Disk(30_000, MediaError("damaged")), read_block(disk))
    read = 0

    async def read_on() -> None:
        nonlocal read
        while True:
            read += len(source.read(960))
            await asyncio.sleep(0)

    with pytest.raises(MediaError, match="damaged"):
        await asyncio.wait_for(read_on(), DEADLINE)

    assert 30_000 == read
    source.close()
    assert source.read(960) is None


async def test_disk_that_is_stuck_is_an_underrun_and_goes_on():
    source = ReadAhead(disk := Disk(200_000), read_block(disk))
    await until(lambda: source._errand.running is None)
    disk.stuck = True
    disk.asked.clear()
    there = 0
    while len(block := source.read(960)):
        there += len(block)

    assert there >= 48_000  # a second
    assert 0 == len(source.read(960))
    disk.answer.set()
    assert 200_000 - there == sum(map(len, await read_all(source)))
    source.close()


async def test_source_that_is_closed_while_it_is_read_is_closed_afterwards():
    source = ReadAhead(disk := Disk(200_000), read_block(disk))
    await until(lambda: source._errand.running is None)
    disk.stuck = True
    disk.asked.clear()
    while len(source.read(960)):
        pass
    await until(disk.asked.is_set)
    source.close()
    source.close()

    assert 0 == disk.closed
    assert source.closing is not None
    assert not source.closing.done()
    disk.answer.set()
    await asyncio.wait_for(asyncio.shield(source.closing), DEADLINE)
    await until(lambda: disk.closed)
    assert 1 == disk.closed


async def test_a_file_is_what_it_is_without_a_thread(tmp_path: Path):
    path = spectrum.write_wav(tmp_path / "tone.wav", spectrum.tone(440.0, 2.3, level=-15.0))
    plain, opened = FileSource(path), FileSource(path)
    source = ReadAhead(opened, read_block(opened))
    heard = np.concatenate(await read_all(source))
    alone = np.concatenate(await read_all(plain))
    source.close()
    plain.close()

    assert np.array_equal(alone, heard)


class Packets(PacketSource):
    """Two hundred packets, slowly if need be."""

    def __init__(self) -> None:
        self.count, self.closed, self.go_on = 0, 0, threading.Event()

    def read(self) -> OpusPacket | None:
        if self.count >= 50:
            assert self.go_on.wait(DEADLINE)
        self.count += 1
        return OpusPacket(SILENT_PACKET, self.count * 960, self.count) if self.count <= 200 else None

    def close(self) -> None:
        self.closed += 1


async def test_packets_of_a_stuck_disk_wait_and_none_is_lost():
    source = PacketsAhead(packets := Packets())
    playback = PacketPlayback(source)
    sent: list[int] = []

    def ticks(count: int) -> None:
        for _ in range(count):
            sent.extend(packet.sequence_number for packet in playback.due())

    ticks(5)  # nothing is there yet
    assert not playback.done
    await until(lambda: source._packets)
    ticks(100)

    assert list(range(1, 51)) == sent
    assert not playback.done
    packets.go_on.set()
    async with asyncio.timeout(DEADLINE):
        while not playback.done:
            ticks(1)
            await asyncio.sleep(0)
    assert list(range(1, 201)) == sent
    assert 4.0 == playback.played
    assert 1 == packets.closed
