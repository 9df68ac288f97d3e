"""The mock server: what it is made of, and what a user steers it with."""

from __future__ import annotations

import contextlib
import logging
import math
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from rtcpeer.auth import turn_credentials
from rtcpeer.errors import ConfigurationError
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols import PROTOCOLS, find_protocol
from rtcpeer.protocols.base import VoiceProtocol
from rtcpeer.protocols.http import IceServer
from rtcpeer.said import Said
from rtcpeer.serving.listening import BODY_LIMIT, Limits, is_loopback, listening
from rtcpeer.serving.rate_limit import RateLimit
from rtcpeer.serving.refusals import Refusals
from rtcpeer.transports.ice_options import IceOptions

from . import doors
from .calls import Call
from .desktop import Desktop
from .places import Places
from .reception import Reception
from .routes import VendorRoutes
from .scenario import Scenario
from .switchboard import RECORDS, Switchboard
from .tokens import TokenDesk

logger = logging.getLogger(__name__)

DEFAULT_KEY = "sk_test"
RATE_LIMIT = 6000.0
"""Requests a minute from one address: of a call's three, more than a machine can answer calls."""


class MockServer:
    """A server that speaks the protocols' server side for real; an async context manager.

    Args:
        scenario: A built-in's name or your own; may be changed while the mock runs, for the calls under way as well.
        api_key: The key that may ask for tokens, and for ``/mock`` when not on loopback.
        port: 0 takes a free one; ``url()`` says which.
        protocols: Names or classes.
        ice_servers: What clients are told to use. Those with TURN URLs and no credential get one made of
            ``turn_secret`` (TURN REST, coturn's ``static-auth-secret``).
        interface: The network interface, or the local address, to send and receive media through; ``None``: all.
        udp_ports: The first and the last UDP port to take; a call more than there are ports is refused with 429.
        advertise_ip: The address to offer instead of our own: of the host around a container, or of a 1:1 NAT.
        seed: Of the ids that calls get and of what ``netem`` does, so that two runs can be compared. Tokens never
            depend on it.
        netem: What happens to the mock's media packets on the way, to those it sends and those it receives, as
            ``"loss=5%,delay=40ms,jitter=20ms"``; each call has a network of its own. May be changed while the mock
            runs, for the calls under way as well.
        faults: What goes wrong; may be changed while the mock runs.
        cors_origins: Pages that may call the vendors' routes, WebSockets too; ``None``: any on loopback, none
            elsewhere.
        audio_source: What the computer sounds that Orgo's clients listen to: ``pulse`` or ``pulse:SINK``, what a real
            desktop sends to its speaker; ``tone``; or a file, once, from its beginning for each call. ``None``: what
            the scenario's agent says, again and again.
        audio_batch: Frames of 20 ms in each message of it.
        record: A folder for one call folder a call; its audio has left what the mock said, right what it heard.
        session_limit: Seconds that a call may last; then the mock hangs up, with a goodbye. ``None``: as long as it
            likes.
        max_calls: At once; one more is refused with 429. Beyond loopback a quarter of them, from one address, may be
            calls that are not up yet.
        open_timeout: Seconds that a call has to come up, once it was answered; then its place is free again.
        rate_limit: Requests a minute from one address on the vendors' routes, a sixth of them at once; one more is
            refused with 429. ``None``: no limit.
        max_connections: At once; one more is refused with 503. Beyond loopback a tenth of them from one address.
        clock: Unix time in seconds, for tokens.

    Raises:
        ConfigurationError: an unknown name, a folder that can't be written, or a way to be used by strangers: the
            default key beyond loopback. On entering: an address that can't be listened on.
    """

    def __init__(
        self,
        *,
        scenario: str | Scenario = "conversation",
        api_key: str = DEFAULT_KEY,
        host: str = "127.0.0.1",
        port: int = 0,
        protocols: Sequence[str | type[VoiceProtocol]] = tuple(PROTOCOLS),
        ice_servers: Sequence[IceServer] = (),
        turn_secret: str | None = None,
        interface: str | None = None,
        udp_ports: tuple[int, int] | None = None,
        advertise_ip: str | None = None,
        seed: int = 0,
        netem: str | NetworkConditions | None = None,
        faults: Iterable[str] = (),
        cors_origins: Sequence[str] | None = None,
        audio_source: str | None = None,
        audio_batch: int = 1,
        record: Path | None = None,
        tls: ssl.SSLContext | None = None,
        max_calls: int = 64,
        session_limit: float | None = None,
        open_timeout: float = 10.0,
        rate_limit: float | None = RATE_LIMIT,
        max_connections: int = 1000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.on_loopback = is_loopback(host)
        if not self.on_loopback and api_key == DEFAULT_KEY:
            raise ConfigurationError(
                f"listening on {host or 'every address'} with the default key would let anybody in: give an API key"
            )
        if not api_key.strip():
            raise ConfigurationError("the API key is empty: give one, or leave it out")
        if turn_secret is not None:
            turn_credentials(turn_secret, now=0.0)  # refuses an empty one
        if not 0 < max_calls < RECORDS:
            raise ConfigurationError(f"max_calls is {max_calls}: give 1 to {RECORDS - 1}")
        if session_limit is not None and not 0 < session_limit < math.inf:
            raise ConfigurationError(f"session_limit is {session_limit}: give some seconds, or None")
        if not 0 < open_timeout <= 600:
            raise ConfigurationError(f"open_timeout is {open_timeout:g} s: give more than none, and 600 s at most")
        if not 1 <= audio_batch <= 50:
            raise ConfigurationError(f"audio_batch is {audio_batch}: give 1 to 50 frames of 20 ms")
        self.protocols = tuple(find_protocol(protocol) for protocol in protocols)
        self.api_key = api_key
        self.tokens = TokenDesk(api_key)
        self.limits = Limits(
            connections=max_connections,
            # Everybody on this machine has one address.
            connections_each=None if self.on_loopback else max(1, max_connections // 10),
        )
        self.refusals = Refusals(logger)
        self._host = host
        self._port = port
        self._tls = tls
        self._desktop = Desktop(audio_source)
        self._switchboard = Switchboard(
            Places(max_calls, None if self.on_loopback else max(1, max_calls // 4)),
            self._desktop,
            scenario=scenario,
            faults=faults,
            netem=netem,
            seed=seed,
            record=_writable(record),
            session_limit=session_limit,
            clock=clock,
        )
        reception = Reception(
            self._switchboard,
            self.tokens,
            self._desktop,
            ice_servers=ice_servers,
            turn_secret=turn_secret,
            ice=IceOptions.of(interface=interface, udp_ports=udp_ports, advertise_ip=advertise_ip),
            open_timeout=open_timeout,
            audio_batch=audio_batch,
            clock=clock,
        )
        self._routes = VendorRoutes(
            self.protocols,
            reception,
            self._switchboard,
            rate_limit=RateLimit(rate_limit),
            limits=self.limits,
            refusals=self.refusals,
            cors_origins=frozenset(("*",) if cors_origins is None and self.on_loopback else cors_origins or ()),
        )
        self._address: tuple[str, int] | None = None
        self._listening = contextlib.AsyncExitStack()

    # What a user looks at, and steers with

    def url(self, protocol: str | type[VoiceProtocol] = "orga") -> str:
        """Return the base URL to give a client of that protocol.

        Raises:
            ConfigurationError: the mock does not speak it, or does not run.
        """
        if find_protocol(protocol) not in self.protocols:
            raise ConfigurationError(f"this mock does not speak {protocol}")
        if self._address is None:
            raise ConfigurationError("the mock is not running: enter it with `async with`")
        host, port = self._address
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls there were and are, oldest first; the last hundred."""
        return self._switchboard.calls

    @property
    def received(self) -> list[Said]:
        """What clients said in messages: of one call after the other, oldest first."""
        return [said for call in self.calls for said in call.received]

    @property
    def refused(self) -> dict[str, int]:
        """How often what was turned down: a limit by its name, or a ``Refusal`` of the protocol's."""
        return self.refusals.to_dict()

    @property
    def scenario(self) -> Scenario:
        return self._switchboard.scenario

    @scenario.setter
    def scenario(self, scenario: str | Scenario) -> None:
        self._switchboard.scenario = scenario

    @property
    def faults(self) -> frozenset[str]:
        return self._switchboard.faults

    @faults.setter
    def faults(self, faults: Iterable[str]) -> None:
        self._switchboard.faults = faults

    @property
    def netem(self) -> NetworkConditions:
        return self._switchboard.netem

    @netem.setter
    def netem(self, netem: str | NetworkConditions | None) -> None:
        self._switchboard.netem = netem

    def find_call(self, id: str) -> Call | None:
        return next((call for call in self.calls if call.id == id), None)

    # Running

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._routes.word_errors])
        self._routes.add_to(app)
        doors.add_routes(app, self)
        self._address = await self._listening.enter_async_context(
            listening(
                app,
                self._host,
                self._port,
                limits=self.limits,
                refusals=self.refusals,
                tls=self._tls,
                # A request that is never answered must not outlive the one who asked.
                handler_cancellation=True,
            )
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._switchboard.closing.set()
        await self._switchboard.hang_up()
        self._address = None
        await self._listening.aclose()
        await self._switchboard.hang_up()  # a call that was being answered while we hung up on the others
        await self._desktop.aclose()


def _writable(folder: Path | None) -> Path | None:
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".rtcpeer"
        probe.touch()
        probe.unlink()
    except OSError as exc:
        raise ConfigurationError(f"can't record to {folder}: {exc.strerror}") from exc
    return folder
