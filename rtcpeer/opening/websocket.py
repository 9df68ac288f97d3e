"""The ways up over WebSocket: the caller's, and that of whoever is called."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from ..errors import AuthError, ConfigurationError, OpenTimeout, RtcPeerError
from ..netem import CLEAN, NetworkConditions, StreamEmulator
from ..protocols.base import Side
from ..protocols.http import HttpRequest, Ticket
from ..protocols.redaction import Redaction, credentials_of
from ..protocols.websocket import WebSocketProtocol
from ..session import Session
from ..transports.dialling import dial
from ..transports.http import check_http_url, exchange, open_pool
from ..transports.link import Link
from ..transports.watchdog import WATCHFUL, Watchdog
from ..transports.websocket import WebSocketLink
from . import Caller, CallOptions, Opening, open_in_background


class SocketOpening(Opening):
    """The REST step, the socket, and the word that the far end is ready."""

    def __init__(
        self,
        session: Caller,
        protocol: WebSocketProtocol,
        options: CallOptions,
        *,
        ticket: Ticket | None = None,
        predecessor: WebSocketLink | None = None,
        refused: set[str] | None = None,
    ) -> None:
        super().__init__(session, options)
        self._protocol = protocol
        self._ticket = ticket
        self._predecessor = predecessor
        # Credentials that the far end refused, of all attempts: none is shown to it twice.
        self._refused: set[str] = set() if refused is None else refused

    @property
    def repeatable(self) -> bool:
        profile, options = self._protocol.profile, self._options
        if profile.resumes or profile.token_stays:
            return True
        named = options.api_key is not None or options.session_config_url is not None or options.token is not None
        return named and not isinstance(options.token, str)  # which opens one socket, as one in the URL does

    def again(self, caller: Caller, old: Link, attempt: int) -> SocketOpening:
        assert isinstance(old, WebSocketLink)
        options = replace(self._options, netem=old.conditions, netem_seed=f"{self._options.netem_seed}/{attempt}")
        protocol = type(self._protocol)(Side.CLIENT, self._protocol.params)
        # The session that is to be resumed has a name, and that is the ticket's.
        ticket = self._ticket if self._protocol.profile.resumes else None
        return SocketOpening(caller, protocol, options, ticket=ticket, predecessor=old, refused=self._refused)

    def worth_another(self, failure: RtcPeerError) -> bool:
        if not isinstance(failure, AuthError) or self.phase == "session":
            return super().worth_another(failure)
        # The socket was refused: a fresh token may do, where one can be had.
        options, ticket = self._options, self._ticket or Ticket()
        fresh = callable(options.token) or options.session_config_url is not None
        fresh = fresh or (options.api_key is not None and not ticket.is_key)
        known = ticket.token in self._refused
        if ticket.token is not None:
            self._refused.add(ticket.token)
        return fresh and not known

    async def run(self) -> None:
        session, token = self._session, self._options.token
        if self._ticket is None:
            ticket = await self._ask_for_ticket()
            if ticket.session_id is None:
                # Where nobody else names the session, its client does.
                ticket = replace(ticket, session_id=f"sess_{time.time_ns() // 1_000_000}")
            self._ticket = ticket
        elif token is not None and not isinstance(token, str):
            self._ticket = replace(self._ticket, token=await token())
        if self._ticket.token in self._refused:
            raise AuthError("the fresh token is the one that the far end has refused")
        async with self._timed("socket"):
            session.link = link = await self._dial(self._ticket)
        async with self._timed("ready"):
            link.start()
            await link.ready()
        session.start_audio()

    async def _dial(self, ticket: Ticket) -> WebSocketLink:
        protocol, options = self._protocol, self._options
        protocol.take(ticket)
        request = protocol.socket_request(options.url, ticket, protocol.params)
        # Some are sent in a message, and not with the request.
        sent = credentials_of(request.url, request.headers.items())
        protocol.redact = Redaction(*sent, *request.subprotocols, ticket.token, options.api_key)
        dialled = await dial(request, type(protocol), timeout=options.http_timeout)
        return WebSocketLink(
            protocol,
            self._session,
            dialled.socket,
            abort=dialled.abort,
            release=dialled.release,
            netem=options.netem,
            netem_seed=options.netem_seed,
            predecessor=self._predecessor,
            watchdog=options.watchdog,
        )

    async def _ask_for_ticket(self) -> Ticket:
        """Return what opens the socket; the one who asked with a key has it in hand for the socket as well."""
        protocol, options = self._protocol, self._options
        if options.token is not None:
            async with self._timed("session"):
                return Ticket(options.token if isinstance(options.token, str) else await options.token())
        if options.session_config_url is not None:
            request: HttpRequest | None = HttpRequest(
                protocol.profile.session_method, options.session_config_url, {"accept": "application/json"}
            )
        elif options.api_key is not None and urlsplit(options.url).scheme in ("http", "https"):
            request = protocol.session_request(options.url, options.api_key, protocol.params)
        else:
            request = None
        if request is None:
            return Ticket(options.api_key, is_key=True)
        async with (
            self._timed("session"),
            open_pool(request.url) as http,
        ):
            ticket = protocol.parse_session(await exchange(http, request, timeout=options.http_timeout), options.url)
        if ticket.token is None and ticket.url is None:
            ticket = replace(ticket, token=options.api_key, is_key=True)
        return ticket


def check_for_socket(protocol: type[WebSocketProtocol], params: Mapping[str, Any], options: CallOptions) -> None:
    """Check, before anything is sent, that a call can be what it is asked to be.

    Raises:
        ConfigurationError: not over WebSocket, or not with this protocol.
    """
    name = protocol.profile.name
    if options.ice.policy != "all":
        raise ConfigurationError(f"{name} is not WebRTC: there is no ICE, and no relay")
    if unused := options.ice.given:
        raise ConfigurationError(f"{name} is not WebRTC: there is no ICE; leave out {', '.join(unused)}")
    full = urlsplit(options.url).scheme in ("ws", "wss")
    trades_key = "session" in protocol.profile.paths
    # Without the REST step, or past it, a key opens the socket only where the protocol says so.
    opens = protocol.profile.key_opens or (protocol.profile.client_opens and not trades_key)
    if options.api_key is not None and (full or not trades_key) and not opens:
        # It would stand in the socket's URL, where no key belongs.
        raise ConfigurationError(f"{name}: the API key opens no socket; give the service's base URL, or a token")
    if options.session_config_url is not None:
        if protocol.profile.backend_path is None:
            raise ConfigurationError(f"{name} has no session_config_url: give its api_key or a token")
        check_http_url(options.session_config_url)
    StreamEmulator(options.netem, 0)
    # Made for their errors: everything is known that they need, but for a token.
    if options.api_key is not None and not full:
        protocol.session_request(options.url, options.api_key, params)
    if options.session_config_url is None:
        protocol.full_socket_url(options.url, Ticket(), params)


async def accept_socket(
    protocol: WebSocketProtocol,
    socket: web.WebSocketResponse,
    *,
    abort: Callable[[], None],
    open_timeout: float = 15.0,
    netem: NetworkConditions = CLEAN,
    netem_seed: int | str = 0,
    watchdog: Watchdog | None = WATCHFUL,
) -> Session:
    """Take an open socket; return the session, opening in the background.

    ``await session.opened()`` says whether it came to be; if it does not, the session closes itself. It is open once
    we may speak: that we are ready is for the caller of this to say, with ``SessionStarted``.

    Args:
        socket: Made with ``autoping=False`` and prepared.
        abort: Ends its connection without a word.
    """
    session = Session(protocol, asyncio.get_running_loop().time())
    link = session.link = WebSocketLink(
        protocol, session, socket, abort=abort, netem=netem, netem_seed=netem_seed, watchdog=watchdog
    )

    async def open_session() -> None:
        try:
            async with asyncio.timeout(open_timeout):
                await link.greeted()
        except TimeoutError as exc:
            raise OpenTimeout(f"not open after {open_timeout:g} s: the caller said nothing") from exc
        session.start_audio()

    link.start()
    open_in_background(session, open_session())
    return session
