"""``--play mic`` and ``--speaker`` with a sound server of their own: PulseAudio, through ALSA and PortAudio."""

from __future__ import annotations

import asyncio
import ctypes.util
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spectrum
from calling import answering, loudest_frequency, until

import rtcpeer

DEADLINE = 60.0
PARTS = "pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins"


@asynccontextmanager
async def running(*argv: str, **options: Any) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *argv, **{"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL} | options
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def home() -> Iterator[Path]:
    """A home whose default device is PulseAudio; skips when a part is missing."""
    if shutil.which("pulseaudio") is None or shutil.which("parec") is None:
        pytest.skip(f"PulseAudio is not installed: apt-get install {PARTS}")
    if ctypes.util.find_library("portaudio") is None:
        pytest.skip("PortAudio is not installed: apt-get install libportaudio2")
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        pytest.skip("ALSA knows no PulseAudio: apt-get install libasound2-plugins")
    if importlib.util.find_spec("sounddevice") is None:
        pytest.skip("sounddevice is not installed: pip install 'rtcpeer[devices]'")
    # Not tmp_path, whose name is as long as the test's: the path of a socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        (Path(folder) / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        yield Path(folder)


@pytest.fixture
async def sound(home: Path) -> AsyncIterator[tuple[dict[str, str], Process]]:
    """A sound server with two null sinks, ``room`` and ``speaker``: its environment, and its process."""
    env = os.environ | {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PULSE_RUNTIME_PATH": str(home),
        "PULSE_STATE_PATH": str(home),
        "PULSE_SERVER": f"unix:{home}/socket",
        "PULSE_SOURCE": "room.monitor",
        "PULSE_SINK": "speaker",
    }
    server = running(
        *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
        *("-L", f"module-native-protocol-unix socket={home}/socket auth-anonymous=1"),
        # Without norewinds a monitor's first data are nearly two seconds late.
        *("-L", "module-null-sink sink_name=room rate=48000 channels=2 norewinds=1"),
        *("-L", "module-null-sink sink_name=speaker rate=48000 channels=2 norewinds=1"),
        env=env,
    )
    async with server as process:
        async with asyncio.timeout(DEADLINE):
            while not await answers(env):  # noqa: ASYNC110 - it tells nobody that it is ready
                await asyncio.sleep(0.05)
        yield env, process


async def answers(env: dict[str, str]) -> bool:
    async with running("pactl", "info", env=env) as process:
        return await process.wait() == 0


def join(url: str, env: dict[str, str], seconds: float) -> Any:
    clean = {name: value for name, value in env.items() if not name.startswith("RTCPEER_")}
    return running(
        *(sys.executable, "-m", "rtcpeer", "join", "orga", url, "--token", "t", "--json"),
        *("--play", "mic", "--speaker", "--duration", str(seconds)),
        env=clean,
        stdout=PIPE,
        stderr=PIPE,
    )


async def hear(session: rtcpeer.Session, frequency: float) -> None:
    """Wait until the far end hears it for half a second without a break."""
    block = []
    async for frame in session.audio:
        block.append(frame.samples)
        if len(block) == 25:
            pcm = np.concatenate(block)
            block.clear()
            audible = spectrum.band_level(spectrum.as_float(pcm), 48_000, 50, 4_000) > -40.0
            if audible and abs(loudest_frequency(pcm) - frequency) < 10:
                return


async def test_the_microphone_is_heard_and_the_speaker_sounds(sound: tuple[dict[str, str], Process], tmp_path: Path):
    env, _ = sound
    room = spectrum.write_wav(tmp_path / "room.wav", spectrum.tone(1_000.0, 20.0, level=-12.0))
    async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE):
        url, far_ends = await stack.enter_async_context(answering())
        await stack.enter_async_context(running("paplay", "--device=room", str(room), env=env))
        ear = await stack.enter_async_context(
            running(
                *("parec", "--device=speaker.monitor", "--format=s16le", "--rate=48000", "--channels=1"),
                "--latency-msec=20",
                env=env,
                stdout=PIPE,
            )
        )
        caller = await stack.enter_async_context(join(url, env, 20.0))
        await until(lambda: far_ends)
        await far_ends[0].opened()
        await far_ends[0].play("tone")
        await hear(far_ends[0], 1_000.0)

        heard = 0.0
        while abs(heard - 440.0) > 5:
            pcm = np.frombuffer(await ear.stdout.readexactly(48_000), "<i2")[:, None]
            if np.abs(pcm).max() > 500:
                heard = loudest_frequency(pcm)
        await far_ends[0].close()
        _, errors = await caller.communicate()

    assert 0 == caller.returncode, errors.decode()


async def test_a_sound_server_that_dies_is_reported_and_the_call_goes_on(
    sound: tuple[dict[str, str], Process], tmp_path: Path
):
    env, server = sound
    room = spectrum.write_wav(tmp_path / "room.wav", spectrum.tone(1_000.0, 20.0, level=-12.0))
    async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE):
        url, far_ends = await stack.enter_async_context(answering())
        await stack.enter_async_context(running("paplay", "--device=room", str(room), env=env))
        caller = await stack.enter_async_context(join(url, env, 20.0))
        await until(lambda: far_ends)
        await far_ends[0].opened()
        await hear(far_ends[0], 1_000.0)
        server.kill()

        said = []
        while len(said) < 2:
            event = json.loads(await caller.stdout.readline())
            if event["type"] == "ErrorReported":
                said.append(event["message"])
        assert not far_ends[0].events.closed
        await far_ends[0].close()
        _, errors = await caller.communicate()

    assert ["microphone", "speaker"] == sorted(message.split()[0] for message in said)
    assert all("has stopped" in message for message in said)
    assert 0 == caller.returncode, errors.decode()
