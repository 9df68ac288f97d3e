"""``rtcpeer proxy``: holds the API key, and hands browsers and peers what one session needs."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from .signals import run_until_signal
from .tls import server_tls

if TYPE_CHECKING:
    from ..auth import SessionConfigClient, VoiceTokenClient


def proxy(
    upstream: Annotated[str, typer.Option(metavar="URL", help="Base URL of the service: https://api.orga-ai.com")],
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
    rate_limit: Annotated[
        float,
        typer.Option(metavar="N", min=0, help="Requests a minute from one address, a sixth at once; 0 for no limit."),
    ] = 60.0,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A reverse proxy in front, whose X-Forwarded-For is believed; repeatable, 10.0.0.0/8.",
        ),
    ] = None,
    public_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A host name that a reverse proxy on this machine passes on; repeatable."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of the certificate and its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
) -> None:
    """Hold the API key: GET /session-config answers {"ephemeralToken", "iceServers"}."""
    from ..auth import SessionConfigClient, VoiceTokenClient
    from ..protocols import find_protocol
    from ..proxy import proxy_app, proxy_route
    from ..serving.listening import Limits, is_loopback, listening
    from ..serving.rate_limit import parse_networks
    from ..serving.refusals import Refusals

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
    tls = server_tls(tls_cert, tls_key)
    limits = Limits(trusted_proxies=parse_networks(trusted_proxy or []))
    refusals = Refusals(logging.getLogger("rtcpeer.proxy"))
    app = proxy_app(
        client,
        cors_origins=cors_origin or [],
        rate_limit=rate_limit or None,
        trusted_proxies=limits.trusted_proxies,
        public_hosts=public_host or [],
        refusals=refusals,
    )

    async def serve() -> int:
        """Serve until cancelled."""
        async with (
            client,
            listening(app, host, port, limits=limits, refusals=refusals, tls=tls, shutdown_timeout=5.0) as (
                _,
                free_port,
            ),
        ):
            if not cors_origin:
                typer.echo("warning: no --cors-origin: pages of other origins are refused", err=True)
            if not is_loopback(host):
                typer.echo("warning: this is not loopback: whoever reaches the port spends your key", err=True)
            address = f"[{host}]" if ":" in host else host
            scheme = "http" if tls is None else "https"
            typer.echo(f"listening on {scheme}://{address}:{free_port}{proxy_route(client)[1]}")
            await asyncio.Event().wait()
        return 0

    raise typer.Exit(run_until_signal(serve()))
