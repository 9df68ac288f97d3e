"""``join``, ``demo`` and ``mock`` where one only listens (Orgo)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import av
import numpy as np
import pytest
import spectrum
from calling import until
from command_line import DEADLINE, run, running
from numpy.typing import NDArray

from signaling import MockServer


def both_sides(folder: Path) -> NDArray[np.float64]:
    """The recording of a call folder, ``(samples, 2)``: ours, theirs."""
    with av.open(str(folder / "audio.wav")) as container:
        frames = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
    return spectrum.as_float(np.concatenate(frames))


async def test_join_listens_until_the_far_end_hangs_up_and_records_what_it_heard(tmp_path: Path) -> None:
    async with MockServer(audio_source="tone") as mock:
        where = ("orgo", mock.url("orgo"), "--api-key", "sk_test", "--computer", "desktop", "--param", "channels=2")
        async with running(
            "join", *where, "--json", "--record", tmp_path / "call", "--record-format", "wav"
        ) as process:
            told = asyncio.create_task(asyncio.wait_for(process.communicate(), DEADLINE))
            await until(lambda: mock.calls and mock.calls[0].to_dict()["audio_seconds_out"] > 2)
            await mock.calls[0].hang_up()
            out, err = await told

    assert 0 == process.returncode, err.decode()
    events = [json.loads(line) for line in out.decode().splitlines()]
    assert {"sample_rate": 24_000, "channels": 2} == next(
        event["details"] for event in events if event["type"] == "SessionStarted"
    )
    assert ("Closed", "remote") == (events[-1]["type"], events[-1]["reason"])
    assert "desktop" == json.loads((tmp_path / "call" / "call.json").read_text("utf-8"))["params"]["computer_id"]
    recording = both_sides(tmp_path / "call")
    assert not recording[:, 0].any()
    heard = recording[24_000:72_000, 1:]
    assert 440.0 == pytest.approx(spectrum.dominant_frequency(heard, 48_000), abs=1.0)
    assert -20.0 == pytest.approx(spectrum.tone_level(heard, 48_000, 440.0), abs=0.5)


async def test_join_stays_as_long_as_it_is_told_and_needs_no_key_with_a_full_url(tmp_path: Path) -> None:
    async with MockServer(audio_source="tone") as mock:
        url = f"ws{mock.url('orgo').removeprefix('http')}/audio?token={mock.tokens.password}"
        done = await run("join", "orgo", url, "--duration", "0.5", "--record", tmp_path / "call")

    assert 0 == done.code, done.err
    assert mock.tokens.password not in done.err + (tmp_path / "call" / "call.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--computer", "x", "--play", "tone"), "orgo has no audio from its client"),
        (("--computer", "x", "--set", "voice=alloy"), "orgo has no UpdateSession"),
        (("--computer", "x", "--param", "sample_rate=44100"), "give 24000 or 48000"),
        ((), "needs the parameter computer_id"),
    ],
)
async def test_join_refuses_at_once_what_cannot_be(options: tuple[str, ...], says: str) -> None:
    done = await run("join", "orgo", "http://127.0.0.1:9", "--api-key", "sk_test", *options)

    assert done.code in (1, 2)
    assert 1 == len(done.err.splitlines())
    assert says in done.err


async def test_demo_leaves_a_recording_with_the_far_voice_alone(tmp_path: Path) -> None:
    done = await run("demo", "--protocol", "orgo", "--out", tmp_path / "demo")

    assert 0 == done.code, done.err
    with av.open(str(tmp_path / "demo" / "audio.ogg")) as container:
        audio = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    levels = 20 * np.log10(np.sqrt((audio**2).mean(axis=1)) + 1e-9)
    assert levels[0] < -80
    assert -35 < levels[1]


async def test_mock_refuses_a_source_that_is_not_there() -> None:
    done = await run("mock", "--port", "0", "--audio-source", "nothing.wav")

    assert 2 == done.code
    assert done.err.startswith("rtcpeer: configuration: cannot read nothing.wav")
