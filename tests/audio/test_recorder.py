from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rtcpeer.audio import recorder as recorder_module
from rtcpeer.audio.recorder import Recorder
from rtcpeer.errors import ConfigurationError, MediaError

SUFFIXES = [".ogg", ".mka", ".wav"]
RATE = 48_000


def read_back(path: Path) -> NDArray[np.float64]:
    """Decode to ``(samples, 2)`` of ±1.0."""
    resampler = av.AudioResampler("flt", "stereo", RATE)
    with av.open(str(path)) as container:
        blocks = [block for frame in container.decode(audio=0) for block in resampler.resample(frame)]
    blocks += resampler.resample(None) if blocks else []
    return np.concatenate([block.to_ndarray().reshape(-1, 2) for block in blocks]).astype(np.float64)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_named_as_such(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"audio{suffix}"
    path.symlink_to("/dev/full")

    with pytest.raises(MediaError, match=rf"cannot write .*{suffix}: No space left on device"):
        Recorder(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up_is_named_as_such(tmp_path: Path, suffix: str) -> None:
    recorder = Recorder(tmp_path / f"audio{suffix}")
    os.dup2(os.open("/dev/full", os.O_WRONLY), recorder._disk.fileno())
    recorder.write(0, tone(440, 2.0), None)
    recorder.close()

    assert f"cannot write {recorder.path}: No space left on device" == str(recorder.error)


def tone(frequency: float, seconds: float, rate: int = RATE) -> NDArray[np.int16]:
    time = np.arange(round(seconds * rate)) / rate
    return np.rint(8_000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)[:, np.newaxis]


def level(mono: NDArray[np.float64], frequency: float) -> float:
    """Amplitude at ``frequency`` in dB relative to ``tone``."""
    window = np.hanning(len(mono))
    line = np.exp(-2j * np.pi * frequency * np.arange(len(mono)) / RATE)
    return float(20 * np.log10(2 * abs(np.sum(mono * window * line)) / np.sum(window) / (8_000 / 32_768) + 1e-12))


def write_frames(
    recorder: Recorder,
    left: NDArray[np.int16] | None,
    right: NDArray[np.int16] | None,
    *,
    at: int = 0,
    frame: int = 960,
) -> None:
    """Write in frames of 20 ms; as fast as possible, so the queue must be larger than what is written."""
    samples = len(left if left is not None else right if right is not None else ())
    for start in range(0, samples, frame):
        stop = start + frame
        recorder.write(
            at + start,
            left[start:stop] if left is not None else None,
            right[start:stop] if right is not None else None,
        )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_ours_is_left_and_theirs_is_right_at_their_level(tmp_path: Path, suffix: str) -> None:
    recorder = Recorder(tmp_path / f"call{suffix}")
    write_frames(recorder, tone(440, 10), tone(880, 10))
    recorder.close()

    pcm = read_back(recorder.path)

    assert recorder.error is None
    assert (recorder.samples_written, recorder.samples_dropped) == (480_000, 0)
    assert abs(len(pcm) - 480_000) <= 960
    steady = pcm[RATE:-RATE]
    assert abs(level(steady[:, 0], 440)) < 0.1
    assert abs(level(steady[:, 1], 880)) < 0.1
    assert level(steady[:, 0], 880) < -50
    assert level(steady[:, 1], 440) < -50


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_click_stays_within_5_ms_of_its_place(tmp_path: Path, suffix: str) -> None:
    left, right = np.zeros((2, 3 * RATE, 1), np.int16)
    left[12_345] = 25_000
    right[100_000] = 25_000
    recorder = Recorder(tmp_path / f"call{suffix}")
    write_frames(recorder, left, right)
    recorder.close()

    pcm = np.abs(read_back(recorder.path))

    assert abs(int(np.argmax(pcm[:, 0])) - 12_345) < 240
    assert abs(int(np.argmax(pcm[:, 1])) - 100_000) < 240


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_nobody_wrote_is_silence_and_what_follows_is_in_its_place(tmp_path: Path, suffix: str) -> None:
    recorder = Recorder(tmp_path / f"call{suffix}")
    write_frames(recorder, tone(440, 1), None, at=0)
    write_frames(recorder, None, tone(880, 1), at=5 * RATE)
    recorder.close()

    pcm = read_back(recorder.path)

    assert recorder.samples_written == 6 * RATE
    assert abs(level(pcm[5_000:40_000, 0], 440)) < 0.2
    assert np.max(np.abs(pcm[RATE + 4_800 : 5 * RATE - 4_800])) < 1e-3
    assert abs(level(pcm[5 * RATE + 5_000 : 5 * RATE + 40_000, 1], 880)) < 0.2
    assert np.max(np.abs(pcm[5 * RATE + 5_000 :, 0])) < 1e-3


def test_a_place_that_is_taken_is_not_written_twice(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "call.wav")
    recorder.write(0, np.full((960, 1), 100, np.int16), None)
    recorder.write(480, np.full((960, 1), 200, np.int16), None)
    recorder.write(-10, np.full((960, 1), 300, np.int16), None)
    recorder.close()

    left = np.round(read_back(recorder.path)[:, 0] * 32_768).astype(int).tolist()

    assert left == [100] * 960 + [200] * 480
    assert (recorder.samples_written, recorder.samples_dropped) == (1_440, 480 + 960)


def test_silence_at_the_end_can_be_written_without_audio(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "call.wav")
    recorder.write(0, tone(440, 0.02), None)
    recorder.write(RATE, None, None)
    recorder.close()

    assert len(read_back(recorder.path)) == RATE


def test_the_shorter_side_is_followed_by_silence(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "call.wav")
    recorder.write(0, np.full((960, 1), 100, np.int16), np.full((480, 1), 100, np.int16))
    recorder.close()

    pcm = read_back(recorder.path)

    assert np.all(pcm[:, 0] > 0)
    assert np.all(pcm[:480, 1] > 0)
    assert not np.any(pcm[480:, 1])


def test_nothing_of_the_callers_arrays_is_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "call.wav")
    buffer = np.full((960, 1), 100, np.int16)
    recorder.write(0, buffer, buffer)
    buffer[:] = 0
    recorder.close()

    assert np.all(read_back(recorder.path) > 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_recording_can_be_opened(tmp_path: Path, suffix: str) -> None:
    recorder = Recorder(tmp_path / f"call{suffix}")
    recorder.close()

    with av.open(str(recorder.path)) as container:
        assert len(container.streams.audio) == 1
    assert recorder.samples_written == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_rate_is_kept(tmp_path: Path, suffix: str) -> None:
    recorder = Recorder(tmp_path / f"call{suffix}", sample_rate=24_000)
    write_frames(recorder, tone(440, 2, 24_000), tone(880, 2, 24_000), frame=480)
    recorder.close()

    pcm = read_back(recorder.path)

    assert abs(len(pcm) - 2 * RATE) <= 960
    assert abs(level(pcm[5_000:-5_000, 0], 440)) < 0.1
    assert abs(level(pcm[5_000:-5_000, 1], 880)) < 0.1


KILLED = """
import sys, threading, numpy as np
from rtcpeer.audio.recorder import Recorder
recorder = Recorder(sys.argv[1])
time = np.arange(5 * 48_000) / 48_000
pcm = np.rint(8_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)[:, np.newaxis]
for start in range(0, len(pcm), 960):
    recorder.write(start, pcm[start : start + 960], None)
while recorder.samples_written < len(pcm):
    threading.Event().wait(0.01)
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_killed_process_leaves_all_but_the_last_second(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"call{suffix}"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "written\n"
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()

    pcm = read_back(path)

    assert len(pcm) >= 4 * RATE
    assert abs(level(pcm[5_000 : 4 * RATE, 0], 440)) < 0.1


def test_a_wav_still_being_written_can_be_read_by_others(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "call.wav")
    write_frames(recorder, tone(440, 1), None)
    deadline = threading.Event()
    for _ in range(500):
        if recorder.samples_written == RATE:
            break
        deadline.wait(0.01)

    with wave.open(str(recorder.path), "rb") as file:
        assert (
            file.getnchannels(),
            file.getsampwidth(),
            file.getframerate(),
            file.getnframes(),
        ) == (2, 2, RATE, RATE)
    recorder.close()


def test_the_sizes_of_a_wav_over_4_gib_stay_at_their_maximum(tmp_path: Path) -> None:
    file = recorder_module._WavFile(tmp_path / "long.wav", RATE)
    file._bytes = 5 << 30
    header = file._header()
    file.close()

    assert len(header) == 44
    assert b"\xff\xff\xff\xff" == header[4:8] == header[40:44]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """What a full disk is like, for everybody and without a disk: writes past ``size`` bytes fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fills_up_ends_the_recording_and_not_the_call(tmp_path: Path, suffix: str) -> None:
    errors: list[MediaError] = []
    recorder = Recorder(tmp_path / f"call{suffix}", on_error=errors.append)
    with files_limited_to(20_000):
        write_frames(recorder, tone(440, 9), tone(880, 9))
        recorder._thread.join(10)  # it ends by itself, at the first failure
    recorder.write(9 * RATE, tone(440, 0.02), None)
    assert [recorder.error] == errors
    recorder.close()

    assert not recorder._thread.is_alive()
    assert isinstance(recorder.error, MediaError)
    assert [recorder.error] == errors
    assert str(recorder.path) in str(recorder.error)
    assert recorder.samples_dropped >= 960
    assert len(read_back(recorder.path)) > 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_told_at_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"call{suffix}"
    path.symlink_to("/dev/full")

    with pytest.raises(MediaError, match=f"cannot write .*call{suffix}: No space left"):
        Recorder(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(MediaError, match=r"cannot write .*nowhere.*: No such file or directory"):
        Recorder(tmp_path / "nowhere" / f"call{suffix}")


def test_other_suffixes_and_rates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"call\.mp3: give a name that ends in"):
        Recorder(tmp_path / "call.mp3")
    with pytest.raises(ConfigurationError, match="Opus does not know 44100 Hz"):
        Recorder(tmp_path / "call.ogg", sample_rate=44_100)


def test_a_disk_that_stalls_costs_audio_but_neither_memory_nor_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = threading.Event()
    write = recorder_module._WavFile.write

    def wait(self: recorder_module._WavFile, pcm: NDArray[np.int16]) -> None:
        assert stalled.wait(30)
        write(self, pcm)

    monkeypatch.setattr(recorder_module._WavFile, "write", wait)
    recorder = Recorder(tmp_path / "call.wav")
    frame = np.ones((960, 1), np.int16)
    for number in range(1_000):  # 20 s
        recorder.write(number * 960, frame, frame)
    queued = sum(len(block) for _, block in recorder._queue)
    dropped = recorder.samples_dropped
    stalled.set()
    recorder.close()

    assert queued <= 10 * RATE
    assert dropped >= 8 * RATE
    assert recorder.samples_written + dropped == 20 * RATE


def test_a_disk_that_never_answers_does_not_hold_up_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr("rtcpeer.audio.disk._CLOSE_TIMEOUT", 0.01)
    monkeypatch.setattr(recorder_module._WavFile, "write", lambda self, pcm: answers.wait(30))
    errors: list[MediaError] = []
    recorder = Recorder(tmp_path / "call.wav", on_error=errors.append)
    recorder.write(0, tone(440, 0.02), None)

    recorder.close()

    assert "did not take the end" in str(recorder.error)
    assert [recorder.error] == errors
    answers.set()
    recorder._thread.join(5)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_closing_twice_is_harmless_and_leaves_no_thread_or_descriptor(tmp_path: Path) -> None:
    threads, files = threading.active_count(), descriptors()
    for suffix in SUFFIXES:
        recorder = Recorder(tmp_path / f"call{suffix}")
        recorder.write(0, tone(440, 0.02), None)
        recorder.close()
        recorder.close()

    assert threads == threading.active_count()
    assert files == descriptors()


async def test_aclose_finishes_the_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "call.ogg")
    recorder.write(0, tone(440, 1), tone(880, 1))
    await recorder.aclose()
    recorder.write(RATE, tone(440, 0.02), None)

    assert recorder.samples_dropped == 960
    assert abs(len(read_back(recorder.path)) - RATE) <= 960
