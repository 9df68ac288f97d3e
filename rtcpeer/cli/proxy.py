"""``rtcpeer proxy``: holds the API key, and hands browsers and peers what one session needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from .signals import run_until_signal

if TYPE_CHECKING:
    from ..auth import SessionConfigClient, VoiceTokenClient


def proxy(
    upstream: Annotated[
        str, typer.Option(metavar="URL", help="Base URL of the service, such as https://api.orga-ai.com.")
    ],
    api_key: Annotated[
        str, typer.Option(envvar="RTCPEER_API_KEY", show_default=False, help="Better in the environment than here.")
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8081,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A web page's origin that may ask; repeat it, or * for any page."),
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="Sent upstream, for Orga accounts that keep users apart by address.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="orga, or orbitali: its own route, POST /api/voice-token.")] = "orga",
    agent: Annotated[str | None, typer.Option(metavar="ID", help="The agent (orbitali).")] = None,
) -> None:
    """Hold the API key: GET /session-config answers {"ephemeralToken", "iceServers"}."""
    from ..auth import SessionConfigClient, VoiceTokenClient
    from ..protocols import find_protocol

    client: SessionConfigClient | VoiceTokenClient
    if find_protocol(protocol).profile.transport == "rtc":
        if agent is not None:
            raise ConfigurationError(f"{protocol} has no --agent")
        client = SessionConfigClient(upstream, api_key, protocol=protocol, email=email)
    else:
        if email is not None:
            raise ConfigurationError(f"{protocol} has no --email")
        params = {} if agent is None else {"agent_id": agent}
        client = VoiceTokenClient(upstream, api_key, protocol=protocol, params=params)
    raise typer.Exit(run_until_signal(_serve(client, host, port, cors_origin or [])))


async def _serve(
    client: SessionConfigClient | VoiceTokenClient, host: str, port: int, cors_origins: Sequence[str]
) -> int:
    """Serve until cancelled."""
    from aiohttp import web

    from ..proxy import proxy_app, proxy_route

    async with client:
        # No access log: strangers put tokens into query strings.
        runner = web.AppRunner(proxy_app(client, cors_origins=cors_origins), access_log=None, shutdown_timeout=5.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as exc:
                # asyncio's text repeats the address; the resolver's numbers are negative, and its texts short.
                why = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
                raise ConfigurationError(
                    f"can't listen on {host}:{port}: {why}; choose another with --host and --port"
                ) from exc
            if not cors_origins:
                typer.echo("warning: no --cors-origin: pages of other origins are refused", err=True)
            address = f"[{host}]" if ":" in host else host
            typer.echo(f"listening on http://{address}:{runner.addresses[0][1]}{proxy_route(client)[1]}")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
    return 0
