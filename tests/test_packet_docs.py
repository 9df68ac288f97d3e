"""What docs/packets.md shows can be run, in calls on loopback."""

from __future__ import annotations

import asyncio
import re
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest
import spectrum
from calling import AGENT, DEADLINE, greeting_scenario

import rtcpeer
from signaling import MockServer

PAGE = (Path(__file__).parents[1] / "docs" / "packets.md").read_text("utf-8")
EXAMPLES = {
    title: code
    for title, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    if (code := "\n".join(re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)))
}


@pytest.mark.parametrize("title", EXAMPLES)
async def test_each_example_runs(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with av.open("hello.opus", "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(spectrum.tone(AGENT, 0.5).T.copy(), format="s16", layout="mono")
        frame.sample_rate = 48_000
        container.mux([*stream.encode(frame), *stream.encode(None)])

    async with MockServer(scenario=greeting_scenario(tmp_path), api_key="sk_test") as mock:
        url = mock.url()
        async with (
            rtcpeer.connect("orga", url, api_key="sk_test") as session,
            rtcpeer.connect("orga", url, api_key="sk_test") as other,
        ):
            scope = {"asyncio": asyncio, "np": np, "rtcpeer": rtcpeer, "session": session, "other": other, "url": url}
            exec("async def example():\n" + textwrap.indent(EXAMPLES[title], "    "), scope)
            async with asyncio.timeout(DEADLINE):
                await scope["example"]()  # type: ignore[operator]
