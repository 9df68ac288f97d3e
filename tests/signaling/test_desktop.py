"""What the mock's computer sounds: files on both sides, tones, and a capture whose library is a stand-in."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import spectrum
from calling import Belongings, nothing_left_since, until

from rtcpeer.errors import ConfigurationError, MediaError
from signaling.desktop import CapturedSound, Desktop, FileSound, PulseCapture, decode
from signaling.scenario import SCENARIOS


class PaSimpleError(Exception):
    pass


class Stream:
    """A monitor that gives what it is fed, block by block, and waits for it as the library does."""

    opened: list[Stream]

    def __init__(self, *args: Any, device_name: str, fragsize: int, app_name: str) -> None:
        if device_name == "nowhere.monitor":
            raise PaSimpleError("Error while creating stream: 5")
        self.device, self.closed = device_name, False
        self._blocks = threading.Semaphore(0)
        self._level, self._broken = 0, False
        assert 3840 == fragsize
        Stream.opened.append(self)

    def feed(self, *, broken: bool = False) -> None:
        self._broken = broken
        self._blocks.release()

    def read(self, size: int) -> bytes:
        # It gives silence when nobody feeds it, as a monitor does.
        self._blocks.acquire(timeout=0.01)
        if self._broken:
            raise PaSimpleError("Could not record audio, error code: 11")
        self._level += 1
        return np.full(size // 2, self._level, "<i2").tobytes()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pulse(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Stream]]:
    library, inner = ModuleType("pasimple"), ModuleType("pasimple.pa_simple")
    vars(library).update(
        PaSimple=Stream, PaSimpleError=PaSimpleError, PA_STREAM_RECORD=2, PA_SAMPLE_S16LE=3, pa_simple=inner
    )
    vars(inner).update(get_libpulse_simple=lambda: None)
    monkeypatch.setitem(sys.modules, "pasimple", library)
    monkeypatch.setitem(sys.modules, "pasimple.pa_simple", inner)
    Stream.opened = []
    yield Stream.opened
    assert all(stream.closed for stream in Stream.opened)


async def test_one_capture_serves_all_who_listen_and_ends_with_the_last(pulse: list[Stream]) -> None:
    before = Belongings.now()
    desktop = Desktop("pulse:spk")
    await desktop.start()
    await desktop.start()
    first, second = desktop.listen(SCENARIOS["tone"]), desktop.listen(SCENARIOS["tone"])
    await until(lambda: first.read(960).any() and second.read(960).any())
    first.close()
    await until(lambda: second.read(960).any())
    second.close()
    assert second.closing is not None
    await second.closing

    assert ["spk.monitor"] == [stream.device for stream in pulse]
    await nothing_left_since(before)
    # And anew for the next.
    await desktop.start()
    await desktop.aclose()
    assert 2 == len(pulse)


async def test_a_monitor_may_be_named_as_such_and_the_default_is_the_default_sink_s(pulse: list[Stream]) -> None:
    for source in ("pulse:spk.monitor", "pulse"):
        desktop = Desktop(source)
        await desktop.start()
        await desktop.aclose()

    assert ["spk.monitor", "@DEFAULT_MONITOR@"] == [stream.device for stream in pulse]


async def test_a_monitor_that_is_not_there_is_a_media_error_and_may_come(pulse: list[Stream]) -> None:
    with pytest.raises(MediaError, match=r"no sound of nowhere\.monitor"):
        await Desktop("pulse:nowhere").start()


async def test_a_capture_that_breaks_off_fails_for_its_listeners_and_can_be_started_again(
    pulse: list[Stream],
) -> None:
    desktop = Desktop("pulse")
    await desktop.start()
    sound = desktop.listen(SCENARIOS["tone"])
    pulse[0].feed(broken=True)

    def failed() -> bool:
        try:
            sound.read(960)
        except MediaError:
            return True
        return False

    await until(failed)
    sound.close()
    await desktop.start()
    await desktop.aclose()
    assert 2 == len(pulse)


def test_without_the_extra_or_its_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, pulse: list[Stream]
) -> None:
    def no_library() -> None:
        raise PaSimpleError("libpulse-simple.so.0: cannot open shared object file")

    monkeypatch.setattr(sys.modules["pasimple.pa_simple"], "get_libpulse_simple", no_library)
    with pytest.raises(ConfigurationError, match="apt-get install libpulse0"):
        Desktop("pulse")
    monkeypatch.setitem(sys.modules, "pasimple", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rtcpeer\[pulse\]'"):
        Desktop("pulse:spk")


async def test_captured_sound_begins_with_two_blocks_in_hand_and_drops_the_oldest_when_nobody_reads(
    pulse: list[Stream],
) -> None:
    sound = CapturedSound(PulseCapture(None))
    blocks = [np.full((960, 2), number, np.int16) for number in range(1, 40)]

    sound.put(blocks[0])
    assert not sound.read(960).any()
    sound.put(blocks[1])
    assert [1, 2, 0] == [int(sound.read(960)[0, 0]) for _ in range(3)]
    for block in blocks[:11]:
        sound.put(block)

    assert 9 == sound.blocks_dropped
    assert [10, 11, 0] == [int(sound.read(960)[0, 0]) for _ in range(3)]
    sound.close()
    await asyncio.gather(sound.closing)


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (48_000, 1), (44_100, 2), (16_000, 1)])
def test_a_file_is_as_loud_on_both_sides_as_it_is_and_then_silent(tmp_path: Path, rate: int, channels: int) -> None:
    tones = [spectrum.tone(500.0 * (side + 1), 0.5, sample_rate=rate) for side in range(channels)]
    path = spectrum.write_wav(tmp_path / "file.wav", np.concatenate(tones, axis=1), rate)
    sound = FileSound([path])
    frames = []
    for _ in range(40):
        mono = sound.read(960)
        frames.append(sound.stereo())
        assert (mono.shape, frames[-1].shape) == ((960, 1), (960, 2))
    sides = spectrum.as_float(np.concatenate(frames))

    for side in (0, 1):
        frequency = 500.0 * (min(side, channels - 1) + 1)
        level = spectrum.tone_level(sides[2400:21_600, side : side + 1], 48_000, frequency)
        assert -12.0 == pytest.approx(level, abs=0.2)
    assert not sides[24_100:].any()
    assert 24_000 == pytest.approx(sum(len(block) for block in decode(path)), abs=50)


def test_files_follow_one_another_with_a_pause_and_again(tmp_path: Path) -> None:
    paths = [
        spectrum.write_wav(tmp_path / f"{level}.wav", np.full((960, 1), level, np.int16)) for level in (1000, 2000)
    ]
    sound = FileSound(paths, pause=0.02, loop=True)

    assert [1000, 0, 2000, 0, 1000, 0] == [int(sound.read(960)[0, 0]) for _ in range(6)]
    sound.close()
    assert not sound.read(960).any()


def test_the_agent_s_lines_are_heard_and_another_scenario_takes_over() -> None:
    sound = Desktop().listen(SCENARIOS["conversation"])
    spoken = np.concatenate([sound.read(960) for _ in range(100)])
    assert spectrum.band_level(spectrum.as_float(spoken), 48_000, 80, 4000) > -40

    sound.change(SCENARIOS["tone"])
    tone = np.concatenate([sound.read(960) for _ in range(50)])
    assert 440.0 == pytest.approx(spectrum.dominant_frequency(spectrum.as_float(tone), 48_000), abs=1.0)


@pytest.mark.parametrize("source", ["", "pulse:", "nothing.wav"])
def test_a_source_that_cannot_be_is_refused(source: str, pulse: list[Stream]) -> None:
    with pytest.raises(ConfigurationError):
        Desktop(source)
