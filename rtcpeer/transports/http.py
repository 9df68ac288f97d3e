"""Moves an ``HttpRequest`` to an ``HttpResponse`` with aiohttp; what to ask and what to make of it is the codec's.

Nothing that leaves here names a query, a header or a body: aiohttp's own errors carry the URL with its ``?token=``
and sometimes the request's headers, so they are explained anew and chained as a cause that holds no text of theirs.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from ..errors import ConfigurationError, SignalingError
from ..protocols.http import HttpRequest, HttpResponse
from ..protocols.redaction import credentials_of, redact
from .resolving import Resolver

MAX_BODY = 1 << 20
"""Bytes, decompressed; a longer answer is refused without reading on."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def redact_url(url: str) -> str:
    """Return ``url`` without user, password, query and fragment: what a log or an error may hold."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{host}{port}{parts.path}" if host else "(not a URL)"


def check_http_url(url: str) -> str:
    """Return ``url`` if a request can be made of it.

    Raises:
        ConfigurationError: no http or https URL, no host, a bad port, or a user name in it.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # urlsplit looks at the port only when asked
    except ValueError:
        raise ConfigurationError("that URL can't be read; write it as https://host:port/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in url):
        shown = redact_url(url) if parts.netloc else repr(url[:80])
        raise ConfigurationError(f"{shown} is no http URL; write it as https://host:port/path")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"leave user and password out of the URL: {redact_url(url)}")
    return url


def environment_proxy(url: str) -> str | None:
    """Return the proxy that ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` give ``url``, or ``None``.

    Not aiohttp's ``trust_env``: that reads ``~/.netrc`` as well, where an entry for
    the host breaks every request with a bearer token.

    Raises:
        ConfigurationError: the variable names a proxy of another kind than http or https.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or not parts.hostname or proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise ConfigurationError(f"{parts.scheme.upper()}_PROXY: only http and https proxies work")
    return proxy


def open_pool(url: str, *, trust: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """Make a pool of connections that reaches ``url``: through the environment's proxy, without cookies or deadlines.

    Args:
        trust: What certificates to trust; ``None``: those of the system, or of ``SSL_CERT_FILE``.

    Raises:
        ConfigurationError: as ``environment_proxy``.
    """
    proxy = environment_proxy(url)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Resolver(), ssl=trust or True),
        proxy=proxy,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
    )


async def exchange(
    http: aiohttp.ClientSession, request: HttpRequest, *, timeout: float | None = 10.0
) -> HttpResponse:
    """Send ``request`` and return the whole answer, whatever its status; repeated header fields are joined by commas.

    Redirects are followed for a GET without credentials; any other is an error that names the new place.

    Args:
        timeout: Seconds for everything from the name lookup to the last byte; ``None``: no limit.

    Raises:
        SignalingError: no answer in time or at all, a redirect, or a body over ``MAX_BODY``.
        ConfigurationError: the URL or a header can't be sent.
    """
    place = redact_url(request.url)
    secrets = credentials_of(request.url, request.headers.items())
    if any(c in value for value in request.headers.values() for c in "\r\n\0"):
        # aiohttp would say "potential header injection"; a key read from a file with its last line break is likelier.
        raise ConfigurationError(f"{place}: a request header holds a line break; is the key or token whole?")
    follow = request.method == "GET" and "authorization" not in request.headers
    try:
        async with (
            asyncio.timeout(timeout),
            http.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body or None,
                allow_redirects=follow,
                max_redirects=5,
                # Ours is the only deadline: aiohttp rounds its own up to whole seconds above five.
                timeout=aiohttp.ClientTimeout(),
            ) as response,
        ):
            if response.status in _REDIRECTS:
                target = redact(redact_url(urljoin(request.url, response.headers.get("location", ""))), secrets)
                raise SignalingError(f"{place} redirects to {target}: use that URL", status=response.status)
            body = await _body(response, place)
            if not response.ok:
                # Errors repeat what it says. Latin-1 brings every other byte through unchanged.
                body = redact(body.decode("latin-1"), secrets).encode("latin-1")
            return HttpResponse(response.status, _headers(response), body)
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        failure, cause = explain(exc, request.url, timeout), redacted(exc)
    # Outside the handler: __context__ would keep aiohttp's error, and with it the URL and the headers.
    raise failure from cause


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        # RFC 9110, 5.3: fields of one name are one comma-separated list.
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


async def _body(response: aiohttp.ClientResponse, place: str) -> bytes:
    found = bytearray()
    too_long = (response.content_length or 0) > MAX_BODY
    if not too_long:
        async for chunk in response.content.iter_any():
            found += chunk
            if too_long := len(found) > MAX_BODY:
                break
    if too_long:
        response.close()  # the rest must not be read to keep the connection
        raise SignalingError(
            f"{place} answered with more than {MAX_BODY >> 20} MiB; is the URL right?", status=response.status
        )
    return bytes(found)


def explain(exc: Exception, url: str, timeout: float | None) -> SignalingError | ConfigurationError:
    """Say what broke, where, and what to do about it."""
    place = redact_url(url)
    origin = place.removesuffix(urlsplit(place).path)
    match exc:
        case TimeoutError():
            limit = "in time" if timeout is None else f"within {timeout:g} s"
            return SignalingError(f"{place} did not answer {limit}; is the server busy, or a firewall in between?")
        case aiohttp.ClientConnectorCertificateError():
            why = getattr(exc.certificate_error, "verify_message", "") or "the certificate is not accepted"
            return _final(f"TLS with {origin} failed: {why}; SSL_CERT_FILE can name a CA of your own")
        case aiohttp.ClientSSLError():
            return _final(f"TLS with {origin} failed; does that port speak https, or plain http?")
        case aiohttp.ClientConnectorDNSError() if exc.os_error.errno == socket.EAI_AGAIN:
            return SignalingError(f"name resolution gave no answer for {origin}; see /etc/resolv.conf")
        case aiohttp.ClientConnectorDNSError():
            return SignalingError(f"the name in {origin} has no address; is it spelled right?")
        case aiohttp.ClientProxyConnectionError():
            return SignalingError(f"the proxy at {exc.host}:{exc.port} does not answer; see HTTPS_PROXY")
        case aiohttp.ClientHttpProxyError():
            return SignalingError(f"the proxy refused to reach {origin}, with status {exc.status}; see HTTPS_PROXY")
        case aiohttp.ClientConnectorError() if exc.errno == errno.ECONNREFUSED:
            return SignalingError(f"nothing answers at {origin}: is the server running?")
        case aiohttp.TooManyRedirects():
            return _final(f"{place} redirects without end")
        case aiohttp.RedirectClientError():
            return _final(f"{place} redirects to what is no http URL")
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return ConfigurationError(f"{place} is no http URL; write it as https://host:port/path")
        case aiohttp.ClientConnectorError() if exc.errno == errno.EMFILE:
            return SignalingError(f"can't reach {origin}: this process may open no more files; see ulimit -n")
        case aiohttp.ClientConnectorError():
            return SignalingError(f"can't reach {origin}: {os.strerror(exc.errno or errno.EIO)}")
        case aiohttp.ClientResponseError():
            return _final(f"{origin} does not speak HTTP; is the port right?")
        case aiohttp.ClientError() | OSError():
            return SignalingError(f"{origin} broke the connection before its answer was complete")
    # What is left is aiohttp refusing two credentials for one request.
    return ConfigurationError(f"{place}: does the URL, or ~/.netrc with trust_env, bring a password of its own?")


def _final(message: str) -> SignalingError:
    """Make the error of a request that will fail the next time too."""
    failure = SignalingError(message)
    failure.retryable = False
    return failure


def redacted(exc: Exception) -> Exception:
    """Keep of an error what can't hold a secret: its type, and the system's error number."""
    name = type(exc).__name__
    if isinstance(exc, OSError) and exc.errno is not None and exc.errno > 0:
        return OSError(exc.errno, f"{name}: {os.strerror(exc.errno)}")
    return ConnectionError(name)
