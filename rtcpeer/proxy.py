"""The server-side half of a session as an aiohttp handler: it holds the API key, so that a browser need not.

``GET /session-config`` answers ``{"ephemeralToken", "iceServers"}``, as Orga's client SDKs ask for it. A failure is
``{"error", "reason", "retryable"}`` with a status about *this* server, because the caller sent no credential that
could be wrong:

* 503, with ``Retry-After`` if upstream gave one: upstream limits our key (429) or is down for a while (503).
* 504: upstream did not answer in time.
* 502: anything else, a refused key included, which is ``"retryable": false``: it will be refused again. Not 401,
  which would make a page ask its user to log in.
* 429, with ``Retry-After``, and 403: ``proxy_app`` only, too many requests from one address, and a page that is not
  on the list. No token is spent on either.

The reason never quotes upstream, which may quote the key. The log has the details.

For protocols over WebSocket that have a REST step it is the vendor's own route, ``POST /api/voice-token`` for
Orbitali: upstream's JSON and status are passed on as they are, but for a refused key and for what is upstream's own
failure (5xx). Those, and what is ours to fail, are as above.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from aiohttp import web

from .auth import LateAnswer, SessionConfigClient, VoiceTokenClient
from .errors import AuthError, ConfigurationError, RtcPeerError, SignalingError
from .protocols.http import HttpResponse
from .protocols.session_config import session_config_refusal, session_config_response
from .serving.listening import came_by_loopback, is_loopback
from .serving.rate_limit import Network, RateLimit, caller
from .serving.refusals import Refusals

logger = logging.getLogger(__name__)

SESSION_CONFIG_PATH = "/session-config"
RATE_LIMIT = 60.0
"""Requests a minute from one address, a sixth of them at once."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# What a browser sends as Origin (RFC 6454, 6.2): anything else on the list would silently match nothing.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s,A-Z]+")


def session_config_handler(client: SessionConfigClient) -> Handler:
    """Return a handler for ``GET``, to mount in an application of your own: its sessions, its CORS, its limits.

    The client stays yours to close. Let nobody in who may not spend your key.
    """

    async def session_config(request: web.Request) -> web.Response:
        if request.method == "HEAD":  # aiohttp routes it here with GET, and it would spend a token on nothing
            raise web.HTTPMethodNotAllowed("HEAD", ["GET"])
        try:
            return _to_aiohttp(session_config_response(await client.get_session_config()))
        except RtcPeerError as exc:
            return _to_aiohttp(_failure(exc, "session config"))

    return session_config


def voice_token_handler(client: VoiceTokenClient) -> Handler:
    """Return a handler for the protocol's method, to mount as above: it answers what upstream answers."""

    async def voice_token(request: web.Request) -> web.Response:
        try:
            response = await client.get_response()
        except RtcPeerError as exc:
            response = _failure(exc, "voice token")
        else:
            if not response.ok:
                logger.warning("voice token refused: upstream answered with status %d", response.status)
        return _to_aiohttp(response)

    return voice_token


def proxy_route(client: SessionConfigClient | VoiceTokenClient) -> tuple[str, str]:
    """Return method and path at which ``proxy_app`` serves what ``client`` gets."""
    if isinstance(client, SessionConfigClient):
        return "GET", SESSION_CONFIG_PATH
    assert client.profile.backend_path is not None
    return client.profile.session_method, client.profile.backend_path


def proxy_app(
    client: SessionConfigClient | VoiceTokenClient,
    *,
    cors_origins: Sequence[str],
    rate_limit: float | None = RATE_LIMIT,
    trusted_proxies: Sequence[Network] = (),
    public_hosts: Sequence[str] = (),
    refusals: Refusals | None = None,
) -> web.Application:
    """Return an application with the client's route for the pages of ``cors_origins``, and ``GET /healthz``.

    A caller that sends no ``Origin`` is served, unless its browser says that another site's page makes it ask (an
    image, a link). What comes by a loopback address must name a loopback host, or one of ``public_hosts`` and
    ``cors_origins``: a stranger's page can reach it by a DNS name that points there, and is then of no other site.
    ``/healthz`` does not ask upstream.

    Args:
        cors_origins: Exact origins, such as ``https://app.example.com``; ``*`` is every page there is.
        public_hosts: Names, without ports, that a reverse proxy on this machine passes on as ``Host``; ``*``: any.
        rate_limit: Requests a minute from one address, a sixth of them at once; ``None``: no limit.
        trusted_proxies: Reverse proxies in front of this, whose ``X-Forwarded-For`` says whom a request counts for.
        refusals: Where what is turned down is counted.

    Raises:
        ConfigurationError: an origin that no browser would send, or a rate of nothing.
    """
    for origin in cors_origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"{origin!r} is no origin; write scheme://host[:port] in lower case, without a path or trailing slash"
            )
    hosts = frozenset(host.lower() for host in public_hosts)
    hosts |= frozenset(urlsplit(origin).hostname or origin for origin in cors_origins)
    app = web.Application()
    method, path = proxy_route(client)
    if isinstance(client, SessionConfigClient):
        handler = session_config_handler(client)
    else:
        handler = voice_token_handler(client)
    refusals = refusals or Refusals(logger)
    limited = _limited(RateLimit(rate_limit), trusted_proxies, refusals)

    def guard(handler: Handler) -> Handler:
        return _for_origins(handler, frozenset(cors_origins), hosts, limited, refusals)

    if method == "GET":
        app.router.add_get(path, guard(handler))
    else:
        app.router.add_route(method, path, guard(handler))
    app.router.add_options(path, guard(_preflight_for(method)))
    app.router.add_get("/healthz", _healthz)
    return app


def _limited(
    limit: RateLimit, trusted_proxies: Sequence[Network], refusals: Refusals
) -> Callable[[web.Request], HttpResponse | None]:
    """Return what counts a request, and answers one that is one too many."""

    def refuse(request: web.Request) -> HttpResponse | None:
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
        address = caller(request.remote, forwarded, trusted_proxies)
        wait = limit.take(address, asyncio.get_running_loop().time())
        if not wait:
            return None
        refusals.count("rate-limit")
        return session_config_refusal(429, "too many requests from this address", wait, retryable=True)

    return refuse


def _for_origins(
    handler: Handler,
    origins: frozenset[str],
    hosts: frozenset[str],
    limited: Callable[[web.Request], HttpResponse | None],
    refusals: Refusals,
) -> Handler:
    """Add CORS (WHATWG Fetch, 3.3) for ``origins``; refuse others before anything is spent."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        allowed = origin is None or "*" in origins or origin in origins
        response: web.StreamResponse
        if refused := limited(request):
            response = _to_aiohttp(refused)
        elif not allowed:
            refusals.count("origin")
            logger.debug("origin not on the list: %.200r", origin)
            response = _to_aiohttp(session_config_refusal(403, "this origin is not allowed"))
        elif not _is_named_right(request, hosts):
            refusals.count("host")
            logger.debug("host not on the list: %.200r", request.url.host)
            response = _to_aiohttp(session_config_refusal(403, "this host name is not allowed; see --public-host"))
        elif origin is None and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            # A page of another site that means to read the answer asks with CORS, and so with an Origin.
            refusals.count("cross-site")
            response = _to_aiohttp(session_config_refusal(403, "ask with fetch(), from an origin that is allowed"))
        else:
            response = await handler(request)
        if "*" in origins:
            response.headers["Access-Control-Allow-Origin"] = "*"
        else:
            response.headers["Vary"] = "Origin"
            if origin is not None and allowed:
                response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        return response

    return guarded


def _is_named_right(request: web.Request, hosts: frozenset[str]) -> bool:
    host = (request.url.host or "").lower()
    return "*" in hosts or host in hosts or is_loopback(host) or not came_by_loopback(request)


def _preflight_for(method: str) -> Handler:
    async def preflight(request: web.Request) -> web.Response:
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": method,
                # The SDKs send none; wrappers around fetch() like to add these two.
                "Access-Control-Allow-Headers": "Authorization, Content-Type",
                "Access-Control-Max-Age": "600",
            },
        )

    return preflight


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _failure(exc: RtcPeerError, what: str) -> HttpResponse:
    if isinstance(exc, AuthError):
        logger.error("%s failed, and will until this server gets a key that the service takes: %s", what, exc)
        return session_config_refusal(502, "the service refused this server's API key")
    logger.warning("%s failed: %s: %s", what, type(exc).__name__, exc)
    match exc:
        case LateAnswer():
            return session_config_refusal(504, "the service did not answer in time", retryable=True)
        case SignalingError(status=429 | 503 as status):
            reason = f"the service answered with status {status}"
            return session_config_refusal(503, reason, exc.retry_after, retryable=True)
        case SignalingError(status=None):
            return session_config_refusal(502, "the service does not answer", retryable=exc.retryable)
        case SignalingError(status=int(status)) if status >= 300:
            return session_config_refusal(502, f"the service answered with status {status}", retryable=exc.retryable)
        case ConfigurationError():
            return session_config_refusal(500, "this server is not configured well")
    return session_config_refusal(502, "the service gave an answer that makes no sense")


def _to_aiohttp(response: HttpResponse) -> web.Response:
    return web.Response(status=response.status, headers=response.headers, body=response.body)
