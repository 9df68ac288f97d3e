"""``rtcpeer demo``: the mock and a peer in one process, a real call between them, and a look at what it left."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError, RtcPeerError
from ..netem import NetworkConditions

if TYPE_CHECKING:
    from ..session import Session
    from .console import CallConsole

# The mock takes any; these are the vendors' own.
_EXAMPLES = {
    "agent_id": "9dbf0d0b-2b55-45de-8c41-7a2d9b0ce8e9",
    "computer_id": "a3bb189e-8bf9-3888-9912-ace4e6543002",
}

_LISTENED = 8.0
"""Seconds of a far end that nobody can talk to."""

_FILES = {"call.json", "events.jsonl", "stats.jsonl", "audio.ogg"}


def demo(
    protocol: Annotated[str, typer.Option(help="One of `rtcpeer protocols`.")] = "orga",
    out: Annotated[Path, typer.Option(metavar="DIR", help="The call folder; an earlier demo's is replaced.")] = Path(
        "rtcpeer-demo"
    ),
    netem: Annotated[
        str | None,
        typer.Option(metavar="CONDITIONS", help="A bad network, both ways, as loss=5%,delay=40ms"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One event a line on stdout.")] = False,
) -> None:
    """Make a real call to the mock with recorded speech, print the transcript, leave the recording."""
    from ..protocols import find_protocol
    from .console import CallConsole
    from .signals import run_until_signal

    find_protocol(protocol)
    conditions = NetworkConditions.of(netem)
    _make_room(out)
    with CallConsole(as_json=json_) as console:
        raise typer.Exit(run_until_signal(_demo(protocol, out, conditions, console)))


class DemoFailed(RtcPeerError):
    """The demo's call was not as it should be."""

    phase = "demo"


def _make_room(out: Path) -> None:
    """Remove an earlier demo's files, and nothing else."""
    if not (out / "call.json").exists():
        return
    strangers = sorted(entry.name for entry in out.iterdir() if entry.name not in _FILES)
    if strangers:
        raise ConfigurationError(f"{out} holds {strangers[0]}, which is no demo's: give another folder with --out")
    shutil.rmtree(out)


async def _demo(protocol: str, out: Path, netem: NetworkConditions, console: CallConsole) -> int:
    from signaling import MockServer
    from signaling.scenario import speech_file

    from ..commands import UpdateSession
    from ..connecting import connect
    from ..events import ErrorReported
    from ..protocols import Side, find_protocol
    from .console import summarize

    found = find_protocol(protocol)
    talks = found.has_voice(Side.CLIENT)

    questions = json.loads(speech_file("speech.json").read_text("utf-8"))
    lines = [(name, entry["text"]) for name, entry in questions.items() if entry["speaker"] == "user"]
    async with MockServer() as mock:
        console.say(f"mock: {mock.url(protocol)}  ({protocol} over real sockets, scenario “conversation”)")
        async with connect(
            protocol,
            mock.url(protocol),
            api_key=mock.api_key,
            params={name: _EXAMPLES[name] for name in found.parameters if name in _EXAMPLES},
            record=out,
            netem=netem,  # and not at the mock: each direction once
            on_session=console.watch,
        ) as session:
            if UpdateSession in found.speaks[Side.CLIENT]:
                await session.update(instructions="Be brief.")
            turns = []
            if not talks:
                await _listen(session)
                lines = []
            for name, _ in lines:
                with resources.as_file(speech_file(name)) as speech:
                    await session.play(speech)
                turns.append(await session.listen(timeout=30))
    for summary in summarize(session, len(turns)):
        console.say(summary)
    for (_, text), turn in zip(lines, turns, strict=True):
        if turn.heard != text or not turn.text or turn.turnaround is None or len(turn.audio) < 48_000:
            raise DemoFailed(f"the turn after “{text}” was not as it should be: {turn}")
    for entry in session.events.entries():
        if isinstance(entry.said, ErrorReported) and entry.said.code == "recording":
            raise DemoFailed(f"the recording is not whole: {entry.said.message}")
    _check_levels(out / "audio.ogg", console, talks=talks)
    console.say(f"recording: {out / 'audio.ogg'}  (left: you, right: the agent)")
    return 0


async def _listen(session: Session) -> None:
    heard = 0.0
    async for frame in session.audio:
        heard += len(frame.samples) / frame.format.sample_rate
        if heard >= _LISTENED:
            return


def _check_levels(recording: Path, console: CallConsole, *, talks: bool) -> None:
    """Read the recording back: both voices must be in it, or the far one alone."""
    import av
    import numpy as np

    try:
        with av.open(str(recording)) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    except (OSError, av.FFmpegError) as exc:
        raise DemoFailed(f"{recording} can't be read back: {getattr(exc, 'strerror', None) or exc}") from exc
    if not frames:
        raise DemoFailed(f"there is no sound in {recording}")
    audio = np.concatenate(frames, axis=1).astype(np.float32)
    levels = 20 * np.log10(np.sqrt((audio**2).mean(axis=1)) + 1e-9)
    seconds = audio.shape[1] / 48_000
    console.say(f"recorded: {seconds:.1f} s, you {levels[0]:.0f} dBFS, agent {levels[1]:.0f} dBFS")
    if levels[0 if talks else 1 :].min() < -50:
        raise DemoFailed(f"a voice is missing in {recording}")
