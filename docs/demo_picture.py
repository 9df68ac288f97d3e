"""Draw a call folder: what was said and heard, on one timeline. Needs matplotlib.

python docs/demo_picture.py rtcpeer-demo docs/demo.png
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import av
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"user": "#2a6f97", "assistant": "#c8553d"}


def draw(folder: Path, picture: Path) -> None:
    call = json.loads((folder / "call.json").read_text("utf-8"))
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    with av.open(str(folder / call["audio"]["file"])) as container:
        audio = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    start, rate = call["audio"]["starts_at"], call["audio"]["sample_rate"]
    step = rate // 100
    envelope = np.abs(audio[:, : audio.shape[1] // step * step]).reshape(2, -1, step).max(axis=2)
    t = start + np.arange(envelope.shape[1]) / 100

    figure, axes = plt.subplots(2, 1, sharex=True, figsize=(11, 4.2), layout="constrained")
    for axis, lane, speaker in zip(axes, envelope, ("user", "assistant"), strict=True):
        axis.fill_between(t, -lane, lane, color=COLOURS[speaker], linewidth=0)
        axis.set_ylim(-1.35, 1.0)
        axis.set_yticks([])
        axis.set_ylabel("rtcpeer (left)" if speaker == "user" else "the agent (right)")
        axis.spines[["top", "right", "left"]].set_visible(False)
        begun = [event["t"] for event in events if event["type"] == "SpeechStarted" and event["speaker"] == speaker]
        for event in events:
            if event["type"] == "TranscriptCompleted" and event["speaker"] == speaker:
                # A turn may have pauses: its text stands where it began.
                since = [end["t"] for end in events if end["type"] == "TranscriptCompleted" and end["t"] < event["t"]]
                at = min((each for each in begun if each > max(since, default=0)), default=event["t"])
                axis.text(at, -0.8, "\n".join(textwrap.wrap(f"“{event['text']}”", 46)), fontsize=8, va="top")
    for event in events:
        if event["type"] == "TurnMeasured":
            heard = min(e["t"] for e in events if e["type"] == "SpeechStarted" and e["t"] >= event["t"] - 0.1)
            axes[1].annotate(
                "",
                (heard, 0.75),
                (heard - event["turnaround"], 0.75),
                arrowprops={"arrowstyle": "<->", "color": "#444", "linewidth": 0.8},
            )
            axes[1].text(heard - event["turnaround"], 0.84, f"{event['turnaround']:.2f} s", fontsize=8, color="#444")
    axes[1].set_xlabel("seconds since connect()")
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
