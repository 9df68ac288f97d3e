"""``rtcpeer join``: join a session, say something, hear the answer, leave a call folder."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigurationError, ConnectionLost, MediaError, RtcPeerError
from ..events import ErrorReported
from ..reconnect import Backoff
from .network import ADVERTISE_IP, INTERFACE, UDP_PORTS

if TYPE_CHECKING:
    from ..audio.devices import Speaker
    from ..audio.sources import QueueSource, Source
    from ..connecting import Connecting
    from ..session import Session
    from .console import CallConsole

ANSWER_TIMEOUT = 30.0
"""Seconds to wait for an agent that says nothing, when there is no ``--duration``."""


def join(
    context: typer.Context,
    protocol: Annotated[str, typer.Argument(help="One of `rtcpeer protocols`.")],
    url: Annotated[str, typer.Argument(help="The service's base URL, or the full wss:// URL of its socket.")],
    api_key: Annotated[
        str | None, typer.Option(envvar="RTCPEER_API_KEY", show_default=False, help="Traded for an ephemeral token.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="RTCPEER_TOKEN", show_default=False, help="An ephemeral token.")
    ] = None,
    session_config_url: Annotated[
        str | None, typer.Option(metavar="URL", help="A backend that gives token and ICE servers (`rtcpeer proxy`).")
    ] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="The same as --param agent_id=ID.")] = None,
    computer: Annotated[str | None, typer.Option(metavar="ID", help="The same as --param computer_id=ID.")] = None,
    play: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="What to say: a file, tone, silence, mic, or - for s16le mono from stdin, at --rate. "
            "Repeat it: one after the other.",
        ),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Say the last file again and again.")] = False,
    speaker: Annotated[bool, typer.Option("--speaker", help="Let the speaker sound what is heard.")] = False,
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate of `--play -`.")] = 24_000,
    record: Annotated[Path | None, typer.Option(metavar="DIR", help="Leave the call folder here.")] = None,
    record_format: Annotated[
        Literal["ogg", "wav", "mka"], typer.Option(help="Of the recording; mka becomes .mkv when there is video.")
    ] = "ogg",
    record_received: Annotated[
        bool, typer.Option("--record-received", help="Leave received.ogg there, too: the packets as they came.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the call that the folder holds already.")
    ] = False,
    duration: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="How long to stay. Without it: until what we play is played and the next agent turn was heard.",
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A call parameter, such as voice or temperature; repeat it."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="session.update once connected; repeat it.")
    ] = None,
    no_transcribe: Annotated[bool, typer.Option("--no-transcribe", help="Ask for no transcripts of us.")] = False,
    video: Annotated[
        str | None,
        typer.Option(metavar="FILE|test|none", help="Send this as video; `none`: offer no video line at all."),
    ] = None,
    ice_policy: Annotated[Literal["all", "relay"], typer.Option(help="relay: through TURN only.")] = "all",
    gather_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long STUN servers, and TURN servers that need not be, get.")
    ] = 0.3,
    turn_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CA of your own, as PEM, for TURN over TLS.")
    ] = None,
    interface: Annotated[str | None, typer.Option(metavar="NAME|ADDRESS", help=INTERFACE)] = None,
    udp_ports: Annotated[str | None, typer.Option(metavar="A-B", help=UDP_PORTS)] = None,
    advertise_ip: Annotated[str | None, typer.Option(metavar="IP", help=ADVERTISE_IP)] = None,
    no_reconnect: Annotated[
        bool, typer.Option("--no-reconnect", help="A connection that breaks is the end of the call.")
    ] = False,
    session_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="The service ends a session then: another takes over before."),
    ] = None,
    netem: Annotated[
        str | None,
        typer.Option(metavar="CONDITIONS", help="A bad network, both ways, as loss=5%,delay=40ms"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One event a line on stdout.")] = False,
) -> None:
    """Join a session as a headless peer."""
    from ..connecting import connect
    from ..protocols import Side, find_protocol
    from ..transports.ice_options import read_port_range
    from .console import CallConsole
    from .signals import run_until_signal

    params, settings = _pairs(param, "--param"), _pairs(set_, "--set")
    params |= {name: value for name, value in (("agent_id", agent), ("computer_id", computer)) if value is not None}
    found = find_protocol(protocol)
    # Refused now, rather than in mid-call.
    if settings:
        found.update(settings)
    if play and not found.has_voice(Side.CLIENT):
        raise ConfigurationError(f"--play: {found.profile.name} has no audio from its client, one only listens")
    if overwrite and record is None:
        raise ConfigurationError("--overwrite needs a folder: give --record DIR")
    if record_received and record is None:
        raise ConfigurationError("--record-received needs a folder: give --record DIR")
    credential = _credential(context, url, token=token, api_key=api_key, session_config_url=session_config_url)
    console = CallConsole(as_json=json_)
    connecting = connect(
        protocol,
        url,
        api_key=credential.get("api_key"),
        token=credential.get("token"),
        session_config_url=credential.get("session_config_url"),
        params=params,
        transcribe=not no_transcribe,
        video=False if video == "none" else video,
        ice_policy=ice_policy,
        gather_timeout=gather_timeout,
        turn_ca=turn_ca,
        interface=interface,
        udp_ports=read_port_range(udp_ports) if udp_ports is not None else None,
        advertise_ip=advertise_ip,
        record=record,
        record_format=record_format,
        record_received=record_received,
        record_overwrite=overwrite,
        netem=netem,
        reconnect=None if no_reconnect else Backoff(),
        session_limit=session_limit,
        on_session=console.watch,
    )

    async def work() -> int:
        sources = _open_sources(play or [], loop, rate)
        with console:
            try:
                return await _join(
                    connecting, sources, settings, duration, console, _open_speaker() if speaker else None
                )
            finally:
                if record is not None and (record / "call.json").exists():
                    console.say(f"call folder: {record}")

    raise typer.Exit(run_until_signal(work()))


async def _join(
    connecting: Connecting,
    sources: list[Source],
    settings: dict[str, str],
    duration: float | None,
    console: CallConsole,
    speaker: Speaker | None,
) -> int:
    from .console import summarize

    session = await connecting
    sounding = asyncio.create_task(_sound(session, speaker)) if speaker is not None else None
    turns = 0
    try:
        turns = await _talk(session, sources, settings, duration)
    finally:
        # After a cancel too: the recording is finished and the far end told before we go.
        await session.close()
        if sounding is not None:
            await sounding  # the session's audio has ended, and it with it
        for line in summarize(session, turns):
            console.say(line)
    return 0


async def _sound(session: Session, speaker: Speaker) -> None:
    """Let the speaker sound what is heard, for as long as there is a speaker."""
    try:
        async for frame in session.audio:
            speaker.write(frame)
    except MediaError as exc:
        session.report(ErrorReported(str(exc), code="media"))
    finally:
        await speaker.aclose()


async def _talk(session: Session, sources: list[Source], settings: dict[str, str], duration: float | None) -> int:
    """Say everything, hear the answer, stay as long as asked; return the number of agent turns heard."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await session.listen()
            turns += 1

    async def say_and_hear() -> None:
        playbacks = [await session.play(source) for source in sources]
        counting = asyncio.create_task(count_turns())
        try:
            for playback in playbacks:
                await playback
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
        nonlocal turns
        await session.listen(timeout=ANSWER_TIMEOUT)
        turns += 1

    try:
        if settings:
            await session.update(**settings)
        if duration is None and not session.protocol.has_voice(session.protocol.side):
            # Nobody to answer us: stay for as long as there is something to be heard.
            async for _ in session:
                pass
        elif duration is None:
            await say_and_hear()
        else:
            for source in sources:
                await session.play(source)
            async with asyncio.timeout(duration):
                await count_turns()
    except TimeoutError as exc:
        if duration is None:
            raise NoAnswer(f"{exc}; give --duration to stay regardless") from exc
    except ConnectionLost:
        # Why it ended stands in its last event: a clean goodbye of the far end is a call that is done.
        async for _ in session:
            pass
    return turns


class NoAnswer(RtcPeerError):
    """The agent never answered."""

    phase = "conversation"


def _open_sources(specs: list[str], loop: bool, rate: int) -> list[Source]:
    from ..audio.sources import QueueSource, open_source
    from ..formats import AudioFormat

    sources: list[Source] = []
    for number, spec in enumerate(specs, 1):
        if spec == "-":
            if sys.stdin is None:
                raise ConfigurationError("--play -: standard input is closed")
            queue = QueueSource(AudioFormat(rate, 1), name="stdin")
            _pump_stdin(queue)
            sources.append(queue)
        else:
            last = number == len(specs) and spec not in ("tone", "silence", "mic")
            sources.append(open_source(spec, loop=loop and last))
    return sources


def _open_speaker() -> Speaker:
    from ..audio.devices import Speaker

    return Speaker()


def _pump_stdin(queue: QueueSource) -> None:
    """Feed stdin to the queue from a thread: a pipe, a file and a terminal alike block when they have nothing."""
    loop = asyncio.get_running_loop()

    def pump() -> None:
        try:
            while data := os.read(sys.stdin.fileno(), 4096):
                asyncio.run_coroutine_threadsafe(queue.write(data), loop).result()
            loop.call_soon_threadsafe(queue.end)
        except (RuntimeError, RtcPeerError, asyncio.CancelledError):
            return  # the call is over

    # A daemon: nothing can wake a thread that waits for a keyboard.
    threading.Thread(target=pump, name="stdin", daemon=True).start()


def _credential(context: typer.Context, url: str, **given: str | None) -> dict[str, str]:
    """Return the one credential to use: what was typed goes before the environment, a token before a key.

    A full socket URL may hold one of its own: then the environment's is none of its business.
    """
    found = {name: value for name, value in given.items() if value is not None}
    typed = {
        name: value
        for name, value in found.items()
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
    if len(typed) > 1:
        raise ConfigurationError("give only one of --api-key, --token and --session-config-url")
    if url.startswith(("ws://", "wss://")) and ("token=" in url or not found):
        return typed
    if not found:
        raise ConfigurationError(
            "no credential: give --api-key (or RTCPEER_API_KEY), --token (or RTCPEER_TOKEN) or --session-config-url"
        )
    return dict(list((typed or found).items())[:1])


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for each in given or []:
        key, separator, value = each.partition("=")
        if not separator or not key:
            raise ConfigurationError(f"{option} {each!r}: write it as key=value")
        pairs[key] = value
    return pairs
