"""What docs/audio.md shows can be run, in a call on loopback."""

from __future__ import annotations

import asyncio
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import spectrum
from calling import AGENT, DEADLINE, USER, answering

import rtcpeer

PAGE = (Path(__file__).parents[1] / "docs" / "audio.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


class Device:
    """A sound card as sounddevice shows it: gives and takes nothing."""

    def __init__(self, **options: object) -> None:
        pass

    def start(self) -> None:
        pass

    abort = close = start


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("sounddevice")
    vars(library).update(
        PortAudioError=RuntimeError,
        RawInputStream=Device,
        RawOutputStream=Device,
        check_input_settings=lambda *options: None,
        check_output_settings=lambda *options: None,
        query_devices=lambda device, kind: {
            "name": device or "card",
            "index": 0,
            "default_samplerate": 48_000.0,
            "max_input_channels": 1,
            "max_output_channels": 2,
        },
    )
    monkeypatch.setitem(sys.modules, "sounddevice", library)


@pytest.mark.parametrize("title", SECTIONS)
async def test_each_example_runs(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound_card: None
) -> None:
    for name in ("hello", "story", "music"):
        spectrum.write_wav(tmp_path / f"{name}.wav", spectrum.tone(USER, 0.5))
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", SECTIONS[title], re.MULTILINE | re.DOTALL))
    assert code

    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t") as session:
        await far_ends[0].play(rtcpeer.ToneSource(AGENT, duration=2.0))
        scope = {"asyncio": asyncio, "np": np, "rtcpeer": rtcpeer, "session": session}
        exec("async def example():\n" + textwrap.indent(code, "    "), scope)
        async with asyncio.timeout(DEADLINE):
            await scope["example"]()  # type: ignore[operator]
        events = [entry.said for entry in session.events.entries()]

    assert not [event for event in events if isinstance(event, rtcpeer.ErrorReported)]
