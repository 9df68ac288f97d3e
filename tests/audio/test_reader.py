"""What is heard, in the format that was asked for."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from calling import DEADLINE

from rtcpeer.audio.frame import AudioFrame
from rtcpeer.audio.packets import SILENT_PACKET, OpusPacket, Packets
from rtcpeer.audio.reader import Heard
from rtcpeer.errors import ConfigurationError
from rtcpeer.formats import AudioFormat

RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000]


def tone(frames: int, peak: float = 8_000) -> np.ndarray:
    t = np.arange(960 * frames) / 48_000
    return np.rint(peak * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[:, None]


def play_out(heard: Heard, pcm: np.ndarray) -> None:
    for number, start in enumerate(range(0, len(pcm), 960)):
        heard.put(pcm[start : start + 960], number * 0.02)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
async def test_every_format_has_as_many_frames_as_were_heard_at_their_level(rate: int, channels: int) -> None:
    heard, audio_format = Heard(), AudioFormat(rate, channels)
    reader = heard.in_format(audio_format)
    play_out(heard, tone(40))
    heard.end()

    frames = [frame async for frame in reader]
    assert 40 == len(frames)
    assert {(rate // 50, channels)} == {frame.samples.shape for frame in frames}
    pcm = np.concatenate([frame.samples for frame in frames])[rate // 10 : -rate // 10].astype(float)
    assert 10 * np.log10(np.mean(pcm**2) / (8_000**2 / 2)) == pytest.approx(0, abs=0.1)
    assert 0 == reader.frames_dropped


async def test_a_reader_that_is_slow_keeps_the_newest_second() -> None:
    heard = Heard()
    slow, quick = aiter(heard), aiter(heard)
    got = []
    for number in range(70):
        heard.put(np.full((960, 1), number, np.int16), number * 0.02)
        got.append(await anext(quick))
    heard.end()

    assert list(range(20, 70)) == [int(frame.samples[0, 0]) for frame in [frame async for frame in slow]]
    assert (20, 0) == (slow.frames_dropped, quick.frames_dropped)
    assert list(range(70)) == [int(frame.samples[0, 0]) for frame in got]


@pytest.mark.parametrize("kind", ["audio", "packets"])
async def test_two_tasks_share_a_reader_and_both_learn_that_it_is_over(kind: str) -> None:
    stream = Heard() if kind == "audio" else Packets()
    reader = aiter(stream)

    async def read() -> list[float | None]:
        return [each.t async for each in reader]

    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(read()) for _ in range(2)]
        await asyncio.sleep(0)
        for number in range(10):
            if isinstance(stream, Heard):
                stream.put(np.zeros((960, 1), np.int16), number)
            else:
                stream.put(OpusPacket(SILENT_PACKET, 960 * number, number, t=number))
            if number % 3 == 2:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        stream.end()

    assert list(range(10)) == sorted(both[0].result() + both[1].result())


async def test_a_reader_that_comes_after_the_end_hears_nothing() -> None:
    heard = Heard()
    reader = aiter(heard)
    heard.end()
    heard.end()

    assert [] == [frame async for frame in reader]
    assert [] == [frame async for frame in heard]


@pytest.mark.parametrize("audio_format", [AudioFormat(24_000), AudioFormat(22_050, 2)])
def test_a_frame_as_bytes_and_for_pyav_holds_its_samples_and_no_padding(audio_format: AudioFormat) -> None:
    samples = np.arange(audio_format.frame_samples * audio_format.channels, dtype=np.int16)
    frame = AudioFrame(samples.reshape(-1, audio_format.channels), audio_format, 1.5)

    assert samples.astype("<i2").tobytes() == frame.to_bytes()
    assert samples.tolist() == frame.to_av().to_ndarray()[0].tolist()
    assert (audio_format.frame_samples, round(1.5 * audio_format.sample_rate)) == (
        frame.to_av().samples,
        frame.to_av().pts,
    )


@pytest.mark.parametrize("format", [16_000, "pcm16", None])
def test_what_is_no_format_is_refused_with_one_that_is(format: object):
    with pytest.raises(ConfigurationError, match=r"give an AudioFormat, as in_format\(AudioFormat\(16_000\)\)"):
        Heard().in_format(format)
