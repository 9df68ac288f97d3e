"""Credentials of a session: API key → ephemeral token → ICE servers, and TURN REST credentials.

The key belongs on a server. There, ``SessionConfigClient`` trades it for what a browser or a peer may hold;
``fetch_session_config`` is the other end of that, and never sees a key.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from .errors import AuthError, ConfigurationError, RemoteProtocolError, RtcPeerError, SignalingError
from .protocols import find_protocol
from .protocols.base import VoiceProtocol
from .protocols.http import HttpRequest, HttpResponse, is_token, retry_after
from .protocols.rtc import RtcProtocol
from .protocols.session_config import SessionConfig, parse_session_config, session_config_request
from .protocols.strict_json import load_json
from .protocols.websocket import WebSocketProtocol
from .transports.http import check_http_url, exchange, open_pool, redact_url

__all__ = [
    "SessionConfig",
    "SessionConfigClient",
    "VoiceTokenClient",
    "fetch_session_config",
    "turn_credentials",
]


class LateAnswer(SignalingError):
    """The service did not answer in time."""


class _Client:
    """What asks a service with an API key: the key, the URL, and one pool of connections."""

    def __init__(self, url: str, api_key: str, timeout: float | None) -> None:
        self._url = check_http_url(url)
        if urlsplit(url).query or urlsplit(url).fragment:
            raise ConfigurationError(f"give the service's base URL, {redact_url(url)}, without ? and #")
        self._api_key = api_key.strip()  # a key out of a file brings its line break
        if not self._api_key:
            raise ConfigurationError("the API key is empty; is RTCPEER_API_KEY set?")
        if not is_token(self._api_key):
            raise ConfigurationError("the API key holds spaces or other characters that no key has; is it whole?")
        self._timeout = timeout
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the next request would open new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def _ask(self, request: HttpRequest) -> HttpResponse:
        """Raises LateAnswer, and what ``exchange`` raises."""
        try:
            # Not exchange's own deadline: whoever stands in between, as the proxy does, must tell late from gone.
            async with asyncio.timeout(self._timeout):
                return await exchange(self._pool(), request, timeout=None)
        except TimeoutError:
            assert self._timeout is not None
            place = redact_url(request.url)
        raise LateAnswer(f"{place} did not answer within {self._timeout:g} s; is it busy, or a firewall in between?")

    def _pool(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = open_pool(self._url)
        return self._http


class SessionConfigClient(_Client):
    """Trades an API key for what one session needs; for backends, never for the machine of a user.

    Use it as an async context manager, or ``close()`` it. It holds one pool of connections, opened by the first
    request, and any number of requests may be under way at once.

    Args:
        url: The service's base URL.
        email: Sent along for Orga accounts that keep users apart by address.
        timeout: Seconds for each of the two requests; ``None``: no limit.

    Raises:
        ConfigurationError: an unknown protocol, or a URL, key or e-mail address that can't be right.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        protocol: str | type[VoiceProtocol] = "orga",
        email: str | None = None,
        timeout: float | None = 10.0,
    ) -> None:
        super().__init__(url, api_key, timeout)
        found = find_protocol(protocol)
        if not issubclass(found, RtcProtocol):
            raise ConfigurationError(f"{found.profile.name} has no session config: it is not WebRTC")
        self._protocol = found
        self._options: dict[str, str] = {}
        if email is not None:
            self._options["email"] = self._protocol.configure({"email": email})["email"]

    def __repr__(self) -> str:
        return f"SessionConfigClient({redact_url(self._url)!r}, protocol={self._protocol.profile.name!r})"

    async def get_session_config(self) -> SessionConfig:
        """Return a fresh token and the ICE servers to go with it.

        Raises:
            AuthError: the service refused the key.
            SignalingError: the service answered with an error, or not at all.
            RemoteProtocolError: the service answered with something malformed.
        """
        try:
            request = self._protocol.token_request(self._url, self._api_key, self._options)
            token = self._protocol.parse_token(await self._ask(request))
            request = self._protocol.ice_request(self._url, token.value)
            servers = self._protocol.parse_ice(await self._ask(request))
        except RtcPeerError as exc:
            # Services are known to quote the key they refuse, and codecs quote the service.
            exc.args = tuple(str(said).replace(self._api_key, "[API key]") for said in exc.args)
            raise
        return SessionConfig(token.value, servers, token.expires_at)


class VoiceTokenClient(_Client):
    """Does the REST step of a protocol over WebSocket for a web page; for backends, never for the machine of a user.

    Use it as an async context manager, or ``close()`` it.

    Args:
        url: The service's base URL.
        params: What stands in the request's path, such as ``{"agent_id": "…"}``.
        timeout: Seconds for the request; ``None``: no limit.

    Raises:
        ConfigurationError: a protocol that has no such step, or a URL, key or parameter that can't be right.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        protocol: str | type[VoiceProtocol] = "orbitali",
        params: Mapping[str, object],
        timeout: float | None = 10.0,
    ) -> None:
        super().__init__(url, api_key, timeout)
        found = find_protocol(protocol)
        if not issubclass(found, WebSocketProtocol) or found.profile.backend_path is None:
            raise ConfigurationError(f"{found.profile.name} has no step that a backend does for a web page")
        self.profile = found.profile
        request = found.session_request(self._url, self._api_key, found.configure(params))
        assert request is not None
        self._request = request

    def __repr__(self) -> str:
        return f"VoiceTokenClient({redact_url(self._url)!r}, protocol={self.profile.name!r})"

    async def get_response(self) -> HttpResponse:
        """Return the service's own answer, JSON and status, a page's mistakes (4xx) included; the key is taken out.

        Raises:
            AuthError: the service refused the key (401, 403), which is none of the page's business.
            SignalingError: no answer in time, or at all, or one that says the service is broken.
            RemoteProtocolError: the answer is no JSON.
        """
        response = await self._ask(self._request)
        place = redact_url(self._request.url)
        if response.status in (401, 403):
            raise AuthError(f"{place} answered {response.status}: is the API key right?")
        if response.status >= 500:
            raise SignalingError(
                f"{place} answered {response.status}", status=response.status, retry_after=retry_after(response)
            )
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        if "retry-after" in response.headers:
            headers["retry-after"] = response.headers["retry-after"]
        # Services are known to quote the key they refuse.
        body = response.body.replace(self._api_key.encode(), b"[API key]")
        try:
            load_json(body)
        except (ValueError, RecursionError):
            raise RemoteProtocolError(f"{place} answered with no JSON") from None
        return HttpResponse(response.status, headers, body)


async def fetch_session_config(
    http: aiohttp.ClientSession, url: str, *, timeout: float | None = 10.0
) -> SessionConfig:
    """Ask a backend of the user's own, such as ``rtcpeer proxy``, for a token and ICE servers.

    Args:
        timeout: Seconds for the whole request; ``None``: no limit.

    Raises:
        SignalingError: the backend answered with an error, with nonsense, or not at all.
        ConfigurationError: the URL can't be right.
    """
    return parse_session_config(await exchange(http, session_config_request(check_http_url(url)), timeout=timeout))


def turn_credentials(secret: str, *, user: str = "", now: float, ttl: float = 86400.0) -> tuple[str, str]:
    """Return ``(username, credential)`` for a TURN server that shares ``secret``.

    The scheme of draft-uberti-behave-turn-rest-00, coturn's ``static-auth-secret``: the user name is the Unix time
    until which allocations may begin, and ``user`` if there is one; the credential is its HMAC-SHA1.

    Args:
        now: Unix time in seconds.
        ttl: Seconds.

    Raises:
        ConfigurationError: the secret is empty.
    """
    if not secret:
        raise ConfigurationError("the TURN secret is empty; give the server's static-auth-secret")
    expiry = str(int(now + ttl))
    username = f"{expiry}:{user}" if user else expiry
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()
