"""What the vendors' requests are answered with: tokens, ICE servers, tickets, and calls that are taken.

Nothing is known here of aiohttp's requests but the socket of a call: what was asked is an ``HttpRequest``, what comes
out an ``HttpResponse`` or ``RequestRefused``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from aiohttp import web

from rtcpeer.auth import turn_credentials
from rtcpeer.connecting import accept, accept_socket
from rtcpeer.errors import IceError, MediaError, RemoteProtocolError
from rtcpeer.formats import FRAME_DURATION
from rtcpeer.protocols.base import Side
from rtcpeer.protocols.http import (
    Answer,
    HttpRequest,
    HttpResponse,
    IceServer,
    Refusal,
    RequestRefused,
    Ticket,
    Token,
    Upgrade,
)
from rtcpeer.protocols.rtc import RtcProtocol
from rtcpeer.protocols.websocket import WebSocketProtocol
from rtcpeer.transports.ice_options import IceOptions
from rtcpeer.transports.ice_servers import PortsExhausted

from .calls import Call
from .desktop import Desktop
from .faults import answer_fault, credential_fault, garble, offer_fault
from .offers import check_offer
from .places import LimitReached, Place
from .switchboard import Switchboard
from .tokens import TokenDesk

logger = logging.getLogger(__name__)

SLOW = 600.0
"""Seconds after which even a request that is never answered is dropped."""


class Reception:
    """Who comes in, and with what.

    Args:
        ice_servers: What clients are told to use. Those with TURN URLs and no credential get one made of
            ``turn_secret``.
        ice: Through which addresses and ports calls are answered.
        open_timeout: Seconds that a call has to come up, once it was answered.
        audio_batch: Frames of 20 ms in each message of a computer's sound.
        clock: Unix time in seconds, for tokens.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        tokens: TokenDesk,
        desktop: Desktop,
        *,
        ice_servers: Sequence[IceServer],
        turn_secret: str | None,
        ice: IceOptions,
        open_timeout: float,
        audio_batch: int,
        clock: Callable[[], float],
    ) -> None:
        self._switchboard = switchboard
        self._tokens = tokens
        self._desktop = desktop
        self._ice_servers = tuple(ice_servers)
        self._turn_secret = turn_secret
        self._ice = ice
        self.open_timeout = open_timeout
        """Seconds that a call has to come up."""
        self._audio_batch = audio_batch
        self._clock = clock

    # Credentials

    async def give_token(self, protocol: type[RtcProtocol], request: HttpRequest, address: str) -> HttpResponse:
        asked = protocol.parse_token_request(request)
        if not self._tokens.knows_key(asked.api_key):
            raise RequestRefused(Refusal.BAD_API_KEY, "Incorrect or inactive API key provided.")
        dead = "expired-token" in self._switchboard.faults
        return protocol.token_response(self._tokens.issue(self._clock(), ttl=-1.0 if dead else None))

    async def give_ticket(
        self, protocol: type[WebSocketProtocol], request: HttpRequest, address: str
    ) -> HttpResponse:
        asked = protocol.parse_session_request(request)
        if not self._tokens.knows_key(asked.api_key):
            raise RequestRefused(Refusal.BAD_API_KEY, "Incorrect or inactive API key provided.")
        dead = "expired-token" in self._switchboard.faults
        token = self._tokens.issue(self._clock(), ttl=-1.0 if dead else protocol.profile.token_lifetime)
        if protocol.profile.token_stays and not dead:
            token = Token(self._tokens.password)
        # Where the caller reached us is where it will reach the socket.
        origin = urlsplit(request.url)
        ticket = Ticket(
            token=token.value,
            expires_at=token.expires_at,
            session_id=self._switchboard.new_id("sess"),
            issued_at=self._clock(),
        )
        url = protocol.socket_request(f"{origin.scheme}://{origin.netloc}", ticket, asked.options).url
        return protocol.session_response(replace(ticket, url=url))

    async def give_ice(self, protocol: type[RtcProtocol], request: HttpRequest, address: str) -> HttpResponse:
        now = self._clock()
        self._tokens.check(protocol.parse_ice_request(request), now)
        return protocol.ice_response(tuple(self._with_credential(server, now) for server in self._ice_servers))

    def _with_credential(self, server: IceServer, now: float) -> IceServer:
        turn = any(url.startswith(("turn:", "turns:")) for url in server.urls)
        if not turn or server.credential is not None or self._turn_secret is None:
            return server
        username, credential = turn_credentials(self._turn_secret, user="mock", now=now)
        return replace(server, username=username, credential=credential)

    def _check_credential(self, protocol: type[WebSocketProtocol], credential: str | None) -> None:
        """Raises RequestRefused: neither a token of ours that is alive, nor the key where it will do."""
        credential_fault(self._switchboard.faults)
        if protocol.profile.token_stays:
            self._tokens.check_password(credential)
        elif not (protocol.profile.key_opens and self._tokens.knows_key(credential)):
            self._tokens.check(credential, self._clock())

    # Calls over WebRTC

    async def take_offer(self, protocol: type[RtcProtocol], request: HttpRequest, address: str) -> HttpResponse:
        credential_fault(self._switchboard.faults)
        # Reading an offer is worth the while of those alone who may call.
        self._tokens.check(request.bearer, self._clock())
        offer = protocol.parse_offer(request)
        claim = self._tokens.spend(offer.token, self._clock())
        switchboard = self._switchboard
        with contextlib.ExitStack() as undone:
            undone.callback(self._tokens.restore, claim)
            place = self._take_place(address)
            undone.callback(place.leave)
            check_offer(offer.sdp)
            if "calls-slow" in switchboard.faults:
                await self._never()
            speaker = garble(protocol, lambda: switchboard.faults)(Side.SERVER, offer.params)
            netem = switchboard.netem
            try:
                session, sdp = await accept(
                    speaker,
                    offer_fault(switchboard.faults, offer.sdp),
                    ice=self._ice.toward(address),
                    open_timeout=self.open_timeout,
                    netem=netem,
                    netem_seed=next(switchboard.networks),
                )
            except RemoteProtocolError as exc:
                why = f"Input should be an SDP offer that can be answered: {exc}"
                raise RequestRefused(Refusal.INVALID_FIELD, why, field=("body", "offer", "sdp")) from exc
            except IceError as exc:
                if isinstance(exc.__cause__, PortsExhausted):
                    raise RequestRefused(Refusal.RATE_LIMITED, "Too many calls at once: no port is free") from exc
                if isinstance(exc.__cause__, OSError):
                    raise RequestRefused(Refusal.RATE_LIMITED, "Too many calls at once: no socket is left") from exc
                raise
            undone.pop_all()
        call = switchboard.put_through(session, offer.params, place)
        if netem != switchboard.netem:  # it was changed while we answered
            call.impair(switchboard.netem)
        return protocol.answer_response(Answer(answer_fault(switchboard.faults, sdp), call.id))

    def _take_place(self, address: str) -> Place:
        if self._switchboard.closing.is_set():
            raise LimitReached("closing", "Too many calls at once")
        return self._switchboard.places.take(address)

    async def _never(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOW):
                await self._switchboard.closing.wait()
        raise RequestRefused(Refusal.INTERNAL, "Internal server error")

    # Calls over WebSocket

    async def admit(
        self, protocol: type[WebSocketProtocol], request: HttpRequest, address: str
    ) -> tuple[Upgrade, Place]:
        """Let somebody open a socket; who gets a place leaves it, or takes a call with it."""
        with contextlib.ExitStack() as undone:
            place = self._take_place(address)
            undone.callback(place.leave)
            upgrade = protocol.parse_socket(request)
            if not protocol.profile.client_opens:
                self._check_credential(protocol, upgrade.token)
            if "calls-slow" in self._switchboard.faults:
                await self._never()
            if not protocol.has_voice(Side.CLIENT):
                await self._start_computer()
            if protocol.profile.token_is_spent:
                self._tokens.spend(upgrade.token, self._clock())
            undone.pop_all()
        return upgrade, place

    async def take_socket(
        self,
        protocol: type[WebSocketProtocol],
        upgrade: Upgrade,
        place: Place,
        socket: web.WebSocketResponse,
        abort: Callable[[], None],
    ) -> Call:
        """Make a call of an open socket.

        Args:
            abort: Ends its connection without a word.
        """
        switchboard = self._switchboard
        speaker = garble(protocol, lambda: switchboard.faults)(Side.SERVER, upgrade.params)
        assert isinstance(speaker, WebSocketProtocol)
        if not speaker.has_voice(Side.CLIENT) and speaker.audio_out is not None:
            speaker.audio_out = replace(speaker.audio_out, chunk=self._audio_batch * FRAME_DURATION)
        speaker.admit = lambda credential: self._check_credential(protocol, credential)
        session = await accept_socket(
            speaker,
            socket,
            abort=abort,
            open_timeout=self.open_timeout,
            netem=switchboard.netem.for_stream(),
            netem_seed=next(switchboard.networks),
        )
        return switchboard.put_through(session, upgrade.params, place)

    async def _start_computer(self) -> None:
        """Raises RequestRefused: there is nothing to be heard."""
        if "stopped-computer" in self._switchboard.faults:
            raise RequestRefused(Refusal.UNAVAILABLE, "Computer is not running")
        if "capture-failed" in self._switchboard.faults:
            raise RequestRefused(Refusal.INTERNAL, "Failed to start audio capture")
        try:
            await self._desktop.start()
        except MediaError as exc:
            logger.warning("no sound for a listener: %s", exc)
            raise RequestRefused(Refusal.INTERNAL, "Failed to start audio capture") from exc
