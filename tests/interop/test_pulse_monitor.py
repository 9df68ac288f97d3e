"""``rtcpeer mock --audio-source pulse`` on a PulseAudio of its own: what is played there is what one hears."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import spectrum
from calling import until
from numpy.typing import NDArray

import rtcpeer
from rtcpeer import ConnectionLost
from rtcpeer.formats import AudioFormat
from signaling.desktop import decode
from signaling.scenario import speech_file

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
COMPUTER = {"computer_id": "desktop", "sample_rate": 48_000, "channels": 2}


@asynccontextmanager
async def running(*argv: str, env: dict[str, str], stdout: int = DEVNULL) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*argv, env=env, cwd=ROOT, stdout=stdout, stderr=DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.communicate(), 5)
            except TimeoutError:
                process.kill()
        await process.communicate()


@pytest.fixture
async def desktop() -> AsyncIterator[dict[str, str]]:
    """The environment of a desktop whose one speaker, ``spk``, is a null sink; skips when a part is missing."""
    if shutil.which("pulseaudio") is None or shutil.which("paplay") is None:
        pytest.skip("PulseAudio is not installed: apt-get install pulseaudio pulseaudio-utils")
    if importlib.util.find_spec("pasimple") is None:
        pytest.skip("pasimple is not installed: pip install 'rtcpeer[pulse]'")
    # Not tmp_path, whose name is as long as the test's: the path of a socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="pulse-") as home:
        folders = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH"), home)
        env = os.environ | folders | {"PULSE_SERVER": f"unix:{home}/socket"}
        server = running(
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            *("-L", f"module-native-protocol-unix socket={home}/socket auth-anonymous=1"),
            # Without norewinds a monitor's first data are nearly two seconds late.
            *("-L", "module-null-sink sink_name=spk rate=48000 channels=2 norewinds=1"),
            env=env,
        )
        async with server:
            async with asyncio.timeout(DEADLINE):
                while not await answers(env):  # noqa: ASYNC110 - it tells nobody that it is ready
                    await asyncio.sleep(0.05)
            yield env


async def answers(env: dict[str, str]) -> bool:
    async with running("pactl", "info", env=env) as process:
        return await process.wait() == 0


@asynccontextmanager
async def mock(env: dict[str, str], source: str) -> AsyncIterator[str]:
    """A mock that listens to a sink; yields its URL."""
    argv = (sys.executable, "-m", "rtcpeer", "mock", "--port", "0", "--audio-source", source)
    async with running(*argv, env=env, stdout=PIPE) as process:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), DEADLINE)).decode()
        yield line.split()[3].rstrip(",")


async def listen_while_playing(url: str, env: dict[str, str], file: Path) -> NDArray[np.int16]:
    """Return what is heard, ``(samples, 2)``, from before the file is played until half a second after."""
    frames: list[NDArray[np.int16]] = []
    async with rtcpeer.connect("orgo", url, api_key="sk_test", params=COMPUTER) as session:

        async def listen() -> None:
            async for frame in session.audio.in_format(AudioFormat(48_000, 2)):
                frames.append(frame.samples)  # noqa: PERF401 - they are counted while they come

        listening = asyncio.create_task(listen())
        await until(lambda: len(frames) > 10)
        async with running("paplay", "--device=spk", str(file), env=env) as player:
            assert 0 == await player.wait()
        end = len(frames) + 25
        await until(lambda: len(frames) >= end)
    await listening
    assert 0 == session.stats()["inbound_audio"]["discarded_samples"]
    return np.concatenate(frames)


def offset_of(needle: NDArray[np.float64], hay: NDArray[np.float64]) -> tuple[int, float]:
    """Return where ``needle`` fits best, in samples, and how well: 1 is the same."""
    length = len(hay) + len(needle)
    correlation = np.fft.irfft(np.fft.rfft(hay, length) * np.conj(np.fft.rfft(needle, length)), length)[: len(hay)]
    at = int(np.argmax(correlation))
    found = hay[at : at + len(needle)]
    needle = needle[: len(found)]
    return at, float(found @ needle / np.sqrt((found @ found) * (needle @ needle) + 1e-9))


async def test_what_is_played_on_the_desktop_is_what_is_heard(desktop: dict[str, str], tmp_path: Path) -> None:
    mono = np.concatenate(list(decode(speech_file("assistant-1.flac"))))
    other = np.concatenate(list(decode(speech_file("user-2.flac"))))[: len(mono)]
    sent = np.stack((mono[: len(other), 0], other[:, 0]), axis=1)
    file = spectrum.write_wav(tmp_path / "both.wav", sent)

    async with mock(desktop, "pulse:spk") as url:
        heard = await listen_while_playing(url, desktop, file)

    offsets = []
    for side in (0, 1):
        at, fit = offset_of(spectrum.as_float(sent)[:, side], spectrum.as_float(heard)[:, side])
        assert fit > 0.99
        # All of it, in one piece: its last second is as far from its beginning as in the file.
        tail = spectrum.as_float(sent)[-48_000:, side]
        end, fit = offset_of(tail, spectrum.as_float(heard)[:, side])
        assert fit > 0.99
        assert abs(end - at - (len(sent) - 48_000)) <= 2
        offsets.append(at)
    assert abs(offsets[0] - offsets[1]) <= 1


async def test_the_default_speaker_is_heard_by_two_and_silence_comes_as_zeros(desktop: dict[str, str]) -> None:
    async with (
        mock(desktop, "pulse") as url,
        rtcpeer.connect("orgo", url, api_key="sk_test", params={"computer_id": "desktop"}) as quiet,
        rtcpeer.connect("orgo", url, api_key="sk_test", params=COMPUTER) as other,
    ):
        for session in (quiet, other):
            inbound = session.stats
            await until(lambda inbound=inbound: inbound()["inbound_audio"]["packets_received"] >= 50)
            assert 0.0 == inbound()["inbound_audio"]["total_audio_energy"]


async def test_a_sink_that_is_not_there_is_a_capture_that_fails(desktop: dict[str, str]) -> None:
    async with mock(desktop, "pulse:nowhere") as url:
        with pytest.raises(ConnectionLost, match="Failed to start audio capture"):
            async with rtcpeer.connect("orgo", url, api_key="sk_test", params=COMPUTER):
                pass


async def test_a_sound_server_that_ends_is_an_error_and_the_end(desktop: dict[str, str]) -> None:
    async with (
        mock(desktop, "pulse") as url,
        rtcpeer.connect("orgo", url, api_key="sk_test", params=COMPUTER) as session,
    ):
        await until(lambda: session.stats()["inbound_audio"]["packets_received"] >= 10)
        async with running("pactl", "exit", env=desktop) as process:
            await process.wait()
        with pytest.raises(ConnectionLost, match="Audio capture failed"):
            async for _ in session:
                pass
