"""``rtcpeer proxy``: holds the API key, and hands browsers and peers what one session needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Annotated

import typer

from ..errors import ConfigurationError
from .signals import run_until_signal


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
        str | None, typer.Option(help="Sent upstream, for accounts that keep users apart by address.")
    ] = None,
) -> None:
    """Hold the API key: GET /session-config answers {"ephemeralToken", "iceServers"}."""
    raise typer.Exit(run_until_signal(_serve(upstream, api_key, host, port, cors_origin or [], email)))


async def _serve(
    upstream: str, api_key: str, host: str, port: int, cors_origins: Sequence[str], email: str | None
) -> int:
    """Serve until cancelled."""
    from aiohttp import web

    from ..auth import SessionConfigClient
    from ..proxy import SESSION_CONFIG_PATH, proxy_app

    async with SessionConfigClient(upstream, api_key, email=email) as client:
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
            typer.echo(f"listening on http://{address}:{runner.addresses[0][1]}{SESSION_CONFIG_PATH}")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
    return 0
