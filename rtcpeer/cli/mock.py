"""``rtcpeer mock``: the mock server, until it is told to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from .network import ADVERTISE_IP, INTERFACE, UDP_PORTS
from .signals import run_until_signal
from .tls import server_tls

if TYPE_CHECKING:
    from signaling import MockServer


def mock(
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback an API key is a must.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    scenario: Annotated[str, typer.Option(help="What the agent does: conversation, echo or tone.")] = "conversation",
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="RTCPEER_API_KEY",
            show_default="sk_test on loopback",
            help="The key that callers must have.",
        ),
    ] = None,
    ice_server: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A STUN or TURN URL to give to callers; repeatable.")
    ] = None,
    turn_secret: Annotated[
        str | None,
        typer.Option(
            envvar="RTCPEER_TURN_SECRET",
            show_default=False,
            help="What the TURN server shares with us: its static-auth-secret. Better in the environment than here.",
        ),
    ] = None,
    interface: Annotated[str | None, typer.Option(metavar="NAME|ADDRESS", help=INTERFACE)] = None,
    udp_ports: Annotated[str | None, typer.Option(metavar="A-B", help=UDP_PORTS)] = None,
    advertise_ip: Annotated[str | None, typer.Option(metavar="IP", help=ADVERTISE_IP)] = None,
    seed: Annotated[int, typer.Option(help="Of everything random, tokens aside.")] = 0,
    netem: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITIONS",
            help="A bad network for every call, as loss=5%,delay=40ms. Over WebSocket nothing is lost.",
        ),
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Something to go wrong on purpose; repeatable.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the certificate and its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    max_calls: Annotated[
        int, typer.Option(metavar="N", min=1, max=99, help="Calls at once; one more gets 429.")
    ] = 64,
    session_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="How long a call may last: then we hang up, with a goodbye."),
    ] = None,
    rate_limit: Annotated[
        float,
        typer.Option(metavar="N", min=0, help="Requests a minute from one address, a sixth at once; 0 for no limit."),
    ] = 6000.0,
    audio_source: Annotated[
        str | None,
        typer.Option(
            metavar="pulse[:SINK]|FILE|tone",
            show_default="what the scenario's agent says",
            help="What the computer sounds that Orgo's clients listen to; pulse is a desktop's real sound.",
        ),
    ] = None,
    audio_batch: Annotated[
        int, typer.Option(metavar="FRAMES", min=1, max=50, help="Frames of 20 ms in each message of it.")
    ] = 1,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leave a call folder for each call in there.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            show_default="any on loopback, none elsewhere",
            help="Web origin whose pages may call; repeatable.",
        ),
    ] = None,
) -> None:
    """Run the other end of a voice session: real WebRTC, scripted speech, no account."""
    from signaling import MockServer
    from signaling.server import DEFAULT_KEY

    from ..protocols.http import IceServer
    from ..protocols.orga_http import ICE_SCHEMES
    from ..transports.ice_options import read_port_range

    for url in ice_server or ():
        if not url.startswith(ICE_SCHEMES):
            raise ConfigurationError(f"--ice-server {url}: give a URL like stun:host:3478 or turn:host:3478")
    server = MockServer(
        scenario=scenario,
        api_key=DEFAULT_KEY if api_key is None else api_key,
        host=host,
        port=port,
        ice_servers=[IceServer((url,)) for url in ice_server or ()],
        turn_secret=turn_secret,
        interface=interface,
        udp_ports=read_port_range(udp_ports) if udp_ports is not None else None,
        advertise_ip=advertise_ip,
        seed=seed,
        netem=netem,
        faults=fault or (),
        cors_origins=cors_origin,
        audio_source=audio_source,
        audio_batch=audio_batch,
        record=record,
        max_calls=max_calls,
        session_limit=session_limit,
        rate_limit=rate_limit or None,
        tls=server_tls(tls_cert, tls_key),
    )
    raise typer.Exit(run_until_signal(_serve(server, shows_key=server.api_key == DEFAULT_KEY)))


async def _serve(server: MockServer, *, shows_key: bool) -> int:
    """Serve until cancelled, and hang up on everybody then."""
    async with server:
        key = f", API key {server.api_key}" if shows_key else ""
        typer.echo(f"rtcpeer mock at {server.url(server.protocols[0])}{key}")
        await asyncio.Event().wait()
    return 0
