"""What a protocol over WebSocket adds: a REST step, if it has one, and the socket; both sides, as values.

The defaults are those of the simplest protocol: no REST step, ``Authorization: Bearer`` or ``?token=`` on the socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ..errors import (
    AuthError,
    ConfigurationError,
    ConnectionLost,
    LocalProtocolError,
    RemoteProtocolError,
    RtcPeerError,
)
from ..events import ErrorReported
from .base import VoiceProtocol
from .http import (
    HttpRequest,
    HttpResponse,
    Refusal,
    RequestRefused,
    SocketClosing,
    SocketRequest,
    Ticket,
    TokenRequest,
    Upgrade,
    authorization,
    credential_error,
    fill_path,
    for_display,
    json_response,
    match_path,
    refusal_error,
    service_url,
    socket_url,
)
from .options import needs_parameter

GOODBYES = frozenset({1000, 1001, 1005})
"""Close codes of a session that simply ended: done, going away, none given (RFC 6455, 7.4.1)."""

_CLOSE_CODES: Mapping[int, type[RtcPeerError]] = {
    1002: LocalProtocolError,
    1003: LocalProtocolError,
    1007: LocalProtocolError,
    1008: AuthError,
    1009: LocalProtocolError,
    1010: LocalProtocolError,
}

_STATUS = {
    Refusal.BAD_API_KEY: 401,
    Refusal.NO_CREDENTIAL: 401,
    Refusal.BAD_TOKEN: 401,
    Refusal.EXPIRED_TOKEN: 401,
    Refusal.SPENT_TOKEN: 401,
    Refusal.USER_NOT_FOUND: 404,
    Refusal.NOT_FOUND: 404,
    Refusal.UNAVAILABLE: 409,
    Refusal.MISSING_FIELD: 422,
    Refusal.INVALID_FIELD: 422,
    Refusal.RATE_LIMITED: 429,
}


class WebSocketProtocol(VoiceProtocol):
    """A protocol whose messages carry the audio as well."""

    ticket = Ticket()
    """What opened this socket, on the client's side."""
    session_id: str = ""
    """What both sides call the session, where they call it anything; it stays when the socket is replaced."""
    admit: Callable[[str | None], None] | None = None
    """On the server's side, for protocols whose first message holds the credential: raises RequestRefused. ``None``:
    whoever is there was admitted."""

    def take(self, ticket: Ticket) -> None:
        """Use what the REST step said, on the client's side."""
        self.ticket = ticket
        if self.audio_in is not None and ticket.audio_in is not None:
            self.audio_in = replace(self.audio_in, format=ticket.audio_in)
        if self.audio_out is not None and ticket.audio_out is not None:
            self.audio_out = replace(self.audio_out, format=ticket.audio_out)

    # The REST step. Client: session_request, parse_session. Server: parse_session_request, session_response.

    @classmethod
    def session_request(cls, base_url: str, api_key: str, params: Mapping[str, Any]) -> HttpRequest | None:
        """Ask for a ticket; ``None``: this protocol has no such step, the key itself opens the socket.

        Raises:
            ConfigurationError: a parameter is missing, or the URL or the key can't be right.
        """
        if "session" not in cls.profile.paths:
            return None
        url = service_url(base_url, cls.path("session", params))
        headers = {"accept": "application/json", **authorization(api_key, "API key")}
        return HttpRequest(cls.profile.session_method, url, headers)

    @classmethod
    def parse_session(cls, response: HttpResponse, base_url: str) -> Ticket:
        """Read the ticket.

        Args:
            base_url: Of the service that was asked, or that the user named: a socket elsewhere is not trusted.

        Raises:
            AuthError, SignalingError, RemoteProtocolError: as ``json_answer``, or it names a socket elsewhere.
        """
        raise NotImplementedError

    @classmethod
    def parse_session_request(cls, request: HttpRequest) -> TokenRequest:
        """Read the key; the options are what stands in the path. Raises RequestRefused."""
        return TokenRequest(request.bearer, cls.path_values("session", request.url))

    @classmethod
    def session_response(cls, ticket: Ticket) -> HttpResponse:
        """Answer with a ticket, whose ``url`` and ``expires_at`` are set."""
        raise NotImplementedError

    # The socket. Client: socket_request. Server: parse_socket.

    @classmethod
    def socket_request(cls, url: str, ticket: Ticket, params: Mapping[str, Any]) -> SocketRequest:
        """Ask for the socket.

        Args:
            url: The service's base URL, or the full socket URL; ``ticket.url`` goes before both.

        Raises:
            ConfigurationError: a parameter is missing, or the URL or the token can't be right.
        """
        return SocketRequest(cls.full_socket_url(url, ticket, params), authorization(ticket.token, "token"))

    @classmethod
    def parse_socket(cls, request: HttpRequest) -> Upgrade:
        """Read the token and the call's parameters. Raises RequestRefused."""
        query = dict(parse_qsl(urlsplit(request.url).query))
        token = query.pop("token", None)
        given = {name: value for name, value in query.items() if name in cls.parameters}
        try:
            params = cls.configure(given | cls.path_values("socket", request.url))
        except ConfigurationError as exc:
            raise RequestRefused(Refusal.INVALID_FIELD, str(exc)) from exc
        return Upgrade(request.bearer or token, params)

    # Refusals

    @classmethod
    def refusal_response(cls, refused: RequestRefused, route: str) -> HttpResponse:
        headers = {"retry-after": "1"} if refused.refusal is Refusal.RATE_LIMITED else None
        return json_response(_STATUS.get(refused.refusal, 500), {"error": str(refused)}, headers)

    @classmethod
    def refusal_closing(cls, refused: RequestRefused) -> SocketClosing | None:
        """How the socket is closed for it, once it was taken; ``None``: it is refused before, with a response.

        What is refused later, by ``decode``, is closed with 1008 then (RFC 6455, 7.4.1: policy violation).
        """
        return None

    @classmethod
    def socket_refused(cls, response: HttpResponse) -> RtcPeerError:
        """Make the error of an HTTP answer in the socket's place."""
        return refusal_error(response, "socket", credential="API key" if cls.profile.key_opens else "token")

    def words_error(self, said: ErrorReported) -> RtcPeerError | None:
        """Say what the server's ``error`` before it was ready means; ``None``: a close code has to tell.

        The default knows words that refuse a credential.
        """
        credential = "password" if self.profile.token_stays else "token"
        if self.ticket.is_key and self.ticket.token is not None:
            credential = "API key"
        return credential_error(said.message, credential)

    @classmethod
    def closing_error(cls, code: int | None, reason: str) -> RtcPeerError | None:
        """Say what a close code means: ``None`` is a goodbye. Without a code the socket died."""
        if code in GOODBYES:
            return None
        if code is None or code == 1006:
            return ConnectionLost("the far end is gone without a goodbye")
        kind = cls.profile.close_codes.get(code) or _CLOSE_CODES.get(code, ConnectionLost)
        said = for_display(reason)
        return kind(f"the far end closed the socket with code {code}" + (f": {said}" if said else ""))

    # Parts

    @classmethod
    def path_values(cls, route: str, url: str) -> dict[str, str]:
        """Return what stands in the path of a request to one of our routes."""
        templates = [cls.profile.paths[route]]
        templates += [path for path, name in cls.profile.aliases.items() if name == route]
        return next((found for path in templates if (found := match_path(path, url)) is not None), {})

    @classmethod
    def full_socket_url(cls, url: str, ticket: Ticket, params: Mapping[str, Any]) -> str:
        """Return the URL of the socket: the ticket's, a full one as given, or the one below the base URL."""
        if ticket.url is not None:
            return ticket.url
        if urlsplit(url).scheme in ("ws", "wss"):
            return url
        return socket_url(url, cls.path("socket", params))

    @classmethod
    def path(cls, route: str, params: Mapping[str, Any]) -> str:
        """Return the path of a route. Raises ConfigurationError: a parameter that stands in it is missing."""
        try:
            return fill_path(cls.profile.paths[route], params)
        except KeyError as exc:
            raise ConfigurationError(needs_parameter(cls.profile.name, exc.args[0])) from None


def with_query(url: str, **values: object) -> str:
    """Return the URL with these in its query; what is there under the same name is replaced, ``None`` is left out."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in values]
    query += [(name, str(value)) for name, value in values.items() if value is not None]
    return urlunsplit(parts._replace(query=urlencode(query)))


def check_socket_url(url: str, base_url: str, *, domain: str | None = None) -> str:
    """Return a socket URL that a service gave, if it stays with the service.

    The host must be the service's own, and TLS is not given up.

    Args:
        domain: The vendor's, whose hosts may send to one another. Of any other nobody here knows whose it is: to a
            stranger's a.github.io every b.github.io would be a sibling.

    Raises:
        RemoteProtocolError: it leads elsewhere.
    """
    base = urlsplit(base_url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise RemoteProtocolError("the server gave a socket URL that can't be read") from None
    allowed = ("wss",) if base.scheme in ("https", "wss") else ("ws", "wss")
    if parts.scheme not in allowed or not host or parts.username is not None or not url.isprintable():
        raise RemoteProtocolError(f"the server gave a socket URL that is no {' or '.join(allowed)} URL")
    ours = base.hostname or ""
    sibling = domain is not None and ours.endswith(f".{domain}") and host.endswith(f".{domain}")
    if host != ours and not sibling:
        raise RemoteProtocolError(f"the server at {ours} gave a socket URL at {for_display(host)}: not its own")
    return url
