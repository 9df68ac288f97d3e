"""The mock server: the vendors' routes, made from the protocol table, and the calls that come of them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web

from rtcpeer.auth import turn_credentials
from rtcpeer.call_folder import CallFolder
from rtcpeer.connecting import accept, accept_socket
from rtcpeer.errors import ConfigurationError, MediaError, RemoteProtocolError
from rtcpeer.events import ConversationStarted
from rtcpeer.formats import FRAME_DURATION
from rtcpeer.netem import NetworkConditions
from rtcpeer.protocols import PROTOCOLS, find_protocol
from rtcpeer.protocols.base import Profile, Side, VoiceProtocol
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
from rtcpeer.said import Said
from rtcpeer.session import Session
from rtcpeer.transports.websocket import CLOSE_DEADLINE, MESSAGE_LIMIT

from . import doors
from .agent import Agent
from .calls import Call
from .desktop import Desktop
from .faults import STRIKE_AFTER, answer_fault, find_faults, garble, http_fault, offer_fault
from .scenario import Scenario, find_scenario
from .tokens import TokenDesk

logger = logging.getLogger(__name__)

DEFAULT_KEY = "sk_test"
BODY_LIMIT = 1 << 20
"""Bytes of a request."""
RECORDS = 100
"""Calls remembered; of the oldest, those that are over go first."""
TAPES = 16
"""Calls whose last two minutes can be listened to, the newest: 7.7 MB each."""
SLOW = 600.0
"""Seconds after which even a request that is never answered is dropped."""

_METHODS = {"token": "POST", "ice": "GET", "call": "POST"}


class MockServer:
    """A server that speaks the protocols' server side for real; an async context manager.

    Args:
        scenario: A built-in's name or your own; may be changed while the mock runs, for the calls under way as well.
        api_key: The key that may ask for tokens, and for ``/mock`` when not on loopback.
        port: 0 takes a free one; ``url()`` says which.
        protocols: Names or classes.
        ice_servers: What clients are told to use. Those with TURN URLs and no credential get one made of
            ``turn_secret`` (TURN REST, coturn's ``static-auth-secret``).
        seed: Of the ids that calls get and of what ``netem`` does, so that two runs can be compared. Tokens never
            depend on it.
        netem: What happens to the mock's media packets on the way, to those it sends and those it receives, as
            ``"loss=5%,delay=40ms,jitter=20ms"``; each call has a network of its own. May be changed while the mock
            runs, for the calls under way as well.
        faults: What goes wrong; may be changed while the mock runs.
        cors_origins: Pages that may call the vendors' routes; ``None``: any on loopback, none elsewhere.
        audio_source: What the computer sounds that Orgo's clients listen to: ``pulse`` or ``pulse:SINK``, what a real
            desktop sends to its speaker; ``tone``; or a file, once, from its beginning for each call. ``None``: what
            the scenario's agent says, again and again.
        audio_batch: Frames of 20 ms in each message of it.
        record: A folder for one call folder a call; its audio has left what the mock said, right what it heard.
        max_calls: At once; one more is refused with 429.
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
        seed: int = 0,
        netem: str | NetworkConditions | None = None,
        faults: Iterable[str] = (),
        cors_origins: Sequence[str] | None = None,
        audio_source: str | None = None,
        audio_batch: int = 1,
        record: Path | None = None,
        tls: ssl.SSLContext | None = None,
        max_calls: int = 64,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.on_loopback = _is_loopback(host)
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
        if not 1 <= audio_batch <= 50:
            raise ConfigurationError(f"audio_batch is {audio_batch}: give 1 to 50 frames of 20 ms")
        self._desktop = Desktop(audio_source)
        self._audio_batch = audio_batch
        self.protocols = tuple(find_protocol(protocol) for protocol in protocols)
        self.api_key = api_key
        self.tokens = TokenDesk(api_key)
        self._host = host
        self._port = port
        self._scenario = find_scenario(scenario)
        self._faults = find_faults(faults)
        self._ice_servers = tuple(ice_servers)
        self._turn_secret = turn_secret
        self._cors_origins = frozenset(("*",) if cors_origins is None and self.on_loopback else cors_origins or ())
        self._record = _writable(record)
        self._tls = tls
        self._max_calls = max_calls
        self._clock = clock
        self._ids = random.Random(seed)
        self._netem = NetworkConditions.of(netem)
        self._networks = (f"{seed}/{number}" for number in itertools.count(1))  # the seed of each call's network
        self._calls: list[Call] = []
        self._progress: dict[str, int] = {}
        self._running: dict[Call, asyncio.Task[None]] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self._answering = 0
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    # What a user looks at, and steers with

    def url(self, protocol: str | type[VoiceProtocol] = "orga") -> str:
        """Return the base URL to give a client of that protocol.

        Raises:
            ConfigurationError: the mock does not speak it, or does not run.
        """
        if find_protocol(protocol) not in self.protocols:
            raise ConfigurationError(f"this mock does not speak {protocol}")
        if self._runner is None:
            raise ConfigurationError("the mock is not running: enter it with `async with`")
        host, port = self._runner.addresses[0][:2]
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls there were and are, oldest first; the last hundred."""
        return tuple(self._calls)

    @property
    def received(self) -> list[Said]:
        """What clients said in messages: of one call after the other, oldest first."""
        return [said for call in self._calls for said in call.received]

    @property
    def scenario(self) -> Scenario:
        return self._scenario

    @scenario.setter
    def scenario(self, scenario: str | Scenario) -> None:
        self._scenario = find_scenario(scenario)
        for call in self._running:
            call.change(self._scenario)

    @property
    def faults(self) -> frozenset[str]:
        return self._faults

    @faults.setter
    def faults(self, faults: Iterable[str]) -> None:
        self._faults = find_faults(faults)
        for call in list(self._running):
            if call.state == "open":
                self._strike(call)

    @property
    def netem(self) -> NetworkConditions:
        return self._netem

    @netem.setter
    def netem(self, netem: str | NetworkConditions | None) -> None:
        self._netem = NetworkConditions.of(netem)
        for call in self._running:
            call.impair(self._netem)

    def find_call(self, id: str) -> Call | None:
        return next((call for call in self._calls if call.id == id), None)

    # Running

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._word_errors])
        self._add_vendor_routes(app)
        doors.add_routes(app, self)
        # No access log: what is worth logging of a request is its path, and its query may hold a secret.
        # Cancelled when the client goes: a request that is never answered must not outlive the one who asked.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host or None, self._port, ssl_context=self._tls).start()
        except (OSError, OverflowError) as exc:
            await runner.cleanup()
            raise ConfigurationError(
                f"can't listen on {self._host}:{self._port}: {getattr(exc, 'strerror', None) or exc}"
            ) from exc
        self._runner = runner
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        tasks = [*self._running.values(), *self._errands]
        await asyncio.gather(*(call.hang_up() for call in self._running), return_exceptions=True)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        # A call that was being answered while we hung up on the others.
        await asyncio.gather(*(call.hang_up() for call in self._running), return_exceptions=True)
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._desktop.aclose()

    # The vendors' routes

    def _add_vendor_routes(self, app: web.Application) -> None:
        taken: dict[str, Profile] = {}
        for protocol in self.protocols:
            profile = protocol.profile
            routes = [*profile.paths.items(), *((route, path) for path, route in profile.aliases.items())]
            for route, path in routes:
                if path in taken:
                    if path in profile.shared | taken[path].shared:
                        continue
                    raise ConfigurationError(
                        f"{taken[path].name} and {profile.name} both want {path}: serve one of them"
                    )
                taken[path] = profile
                if route == "socket":
                    assert issubclass(protocol, WebSocketProtocol)
                    app.router.add_get(path, self._socket_handler(protocol), allow_head=False)
                    continue
                method = profile.session_method if route == "session" else _METHODS[route]
                app.router.add_route(method, path, self._vendor_handler(protocol, route))
                app.router.add_route("OPTIONS", path, self._preflight_handler(method))

    def _vendor_handler(self, protocol: type[VoiceProtocol], route: str) -> Callable[[web.Request], Any]:
        answer: Callable[[Any, HttpRequest], Awaitable[HttpResponse]] = {
            "token": self._answer_token,
            "ice": self._answer_ice,
            "call": self._answer_call,
            "session": self._answer_session,
        }[route]

        async def handle(request: web.Request) -> web.Response:
            asked = _asked(request, await request.read())
            try:
                response = http_fault(self._faults, route) or await answer(protocol, asked)
            except RequestRefused as refused:
                logger.info("refused: route=%s refusal=%s", route, refused.refusal.value)
                response = protocol.refusal_response(refused, route)
            return _to_aiohttp(response, self._cors_headers(request))

        return handle

    def _socket_handler(self, protocol: type[WebSocketProtocol]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not web.WebSocketResponse().can_prepare(request):
                raise web.HTTPBadRequest(text="No WebSocket upgrade")  # which must not use up a token
            asked = _asked(request)
            try:
                response = http_fault(self._faults, "call")
                if response is not None:
                    return _to_aiohttp(response, {})
                upgrade = await self._admit(protocol, asked)
            except RequestRefused as refused:
                logger.info("refused: route=socket refusal=%s", refused.refusal.value)
                closing = protocol.refusal_closing(refused)
                if closing is None:
                    return _to_aiohttp(protocol.refusal_response(refused, "socket"), {})
                socket = await self._upgrade(request)
                for message in closing.messages:
                    await socket.send_str(message)
                await socket.close(code=closing.code, message=closing.reason.encode()[:123])
                return socket
            socket = await self._upgrade(request)
            call = await self._take_call(protocol, upgrade, request, socket)
            # The handler is the socket: it stays for as long as the call does.
            await asyncio.shield(self._running[call])
            return socket

        return handle

    async def _upgrade(self, request: web.Request) -> web.WebSocketResponse:
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        socket = web.WebSocketResponse(
            timeout=CLOSE_DEADLINE,
            autoping=False,
            compress=False,
            max_msg_size=MESSAGE_LIMIT,
            protocols=[name for name in offered[:1] if name],
        )
        await socket.prepare(request)
        return socket

    async def _admit(self, protocol: type[WebSocketProtocol], request: HttpRequest) -> Upgrade:
        if self._closing.is_set() or len(self._running) + self._answering >= self._max_calls:
            raise RequestRefused(Refusal.RATE_LIMITED, "Too many calls at once")
        upgrade = protocol.parse_socket(request)
        if not protocol.profile.client_opens:
            self._check_credential(protocol, upgrade.token)
        if "calls-slow" in self._faults:
            await self._never()
        if not protocol.has_voice(Side.CLIENT):
            await self._start_computer()
        if protocol.profile.token_is_spent:
            self.tokens.spend(upgrade.token, self._clock())
        return upgrade

    async def _start_computer(self) -> None:
        """Raises RequestRefused: there is nothing to be heard."""
        if "stopped-computer" in self._faults:
            raise RequestRefused(Refusal.UNAVAILABLE, "Computer is not running")
        if "capture-failed" in self._faults:
            raise RequestRefused(Refusal.INTERNAL, "Failed to start audio capture")
        try:
            await self._desktop.start()
        except MediaError as exc:
            logger.warning("no sound for a listener: %s", exc)
            raise RequestRefused(Refusal.INTERNAL, "Failed to start audio capture") from exc

    def _check_credential(self, protocol: type[WebSocketProtocol], credential: str | None) -> None:
        """Raises RequestRefused: neither a token of ours that is alive, nor the key where it will do."""
        if protocol.profile.token_stays:
            self.tokens.check_password(credential)
        elif not (protocol.profile.key_opens and self.tokens.knows_key(credential)):
            self.tokens.check(credential, self._clock())

    async def _take_call(
        self,
        protocol: type[WebSocketProtocol],
        upgrade: Upgrade,
        request: web.Request,
        socket: web.WebSocketResponse,
    ) -> Call:
        speaker = garble(protocol, lambda: self._faults)(Side.SERVER, upgrade.params)
        assert isinstance(speaker, WebSocketProtocol)
        if not speaker.has_voice(Side.CLIENT) and speaker.audio_out is not None:
            speaker.audio_out = replace(speaker.audio_out, chunk=self._audio_batch * FRAME_DURATION)
        speaker.admit = lambda credential: self._check_credential(protocol, credential)
        transport = request.transport
        session = await accept_socket(
            speaker,
            socket,
            abort=lambda: transport.abort() if transport is not None else None,
            netem=self._netem.for_stream(),
            netem_seed=next(self._networks),
        )
        return self._start_call(session, upgrade.params)

    def _preflight_handler(self, method: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            headers = self._cors_headers(request)
            if "Access-Control-Allow-Origin" in headers:
                headers |= {
                    "Access-Control-Allow-Methods": method,
                    "Access-Control-Allow-Headers": "Authorization, Content-Type",
                    "Access-Control-Max-Age": "600",
                }
            return web.Response(status=204, headers=headers)

        return handle

    def _cors_headers(self, request: web.Request) -> dict[str, str]:
        """CORS (WHATWG Fetch, 3.3). A page sets the credential itself, in a header: "*" gives nothing away."""
        if "*" in self._cors_origins:
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
        origin = request.headers.get("Origin")
        if origin is None or origin not in self._cors_origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
        }

    async def _answer_token(self, protocol: type[RtcProtocol], request: HttpRequest) -> HttpResponse:
        asked = protocol.parse_token_request(request)
        if not self.tokens.knows_key(asked.api_key):
            raise RequestRefused(Refusal.BAD_API_KEY, "Incorrect or inactive API key provided.")
        dead = "expired-token" in self._faults
        return protocol.token_response(self.tokens.issue(self._clock(), ttl=-1.0 if dead else None))

    async def _answer_session(self, protocol: type[WebSocketProtocol], request: HttpRequest) -> HttpResponse:
        asked = protocol.parse_session_request(request)
        if not self.tokens.knows_key(asked.api_key):
            raise RequestRefused(Refusal.BAD_API_KEY, "Incorrect or inactive API key provided.")
        ttl = -1.0 if "expired-token" in self._faults else protocol.profile.token_lifetime
        token = self.tokens.issue(self._clock(), ttl=ttl)
        if protocol.profile.token_stays and "expired-token" not in self._faults:
            token = Token(self.tokens.password)
        # Where the caller reached us is where it will reach the socket.
        origin = urlsplit(request.url)
        ticket = Ticket(
            token=token.value,
            expires_at=token.expires_at,
            session_id=f"sess_{self._ids.getrandbits(64):016x}",
            issued_at=self._clock(),
        )
        url = protocol.socket_request(f"{origin.scheme}://{origin.netloc}", ticket, asked.options).url
        return protocol.session_response(replace(ticket, url=url))

    async def _answer_ice(self, protocol: type[RtcProtocol], request: HttpRequest) -> HttpResponse:
        now = self._clock()
        self.tokens.check(protocol.parse_ice_request(request), now)
        return protocol.ice_response(tuple(self._with_credential(server, now) for server in self._ice_servers))

    def _with_credential(self, server: IceServer, now: float) -> IceServer:
        turn = any(url.startswith(("turn:", "turns:")) for url in server.urls)
        if not turn or server.credential is not None or self._turn_secret is None:
            return server
        username, credential = turn_credentials(self._turn_secret, user="mock", now=now)
        return replace(server, username=username, credential=credential)

    async def _answer_call(self, protocol: type[RtcProtocol], request: HttpRequest) -> HttpResponse:
        offer = protocol.parse_offer(request)
        claim = self.tokens.spend(offer.token, self._clock())
        answered = False
        try:
            if self._closing.is_set() or len(self._running) + self._answering >= self._max_calls:
                raise RequestRefused(Refusal.RATE_LIMITED, "Too many calls at once")
            self._answering += 1
            try:
                if "calls-slow" in self._faults:
                    await self._never()
                speaker = garble(protocol, lambda: self._faults)(Side.SERVER, offer.params)
                netem = self._netem
                session, sdp = await accept(
                    speaker, offer_fault(self._faults, offer.sdp), netem=netem, netem_seed=next(self._networks)
                )
            except RemoteProtocolError as exc:
                raise RequestRefused(
                    Refusal.INVALID_FIELD, "Input should be an SDP offer", field=("body", "offer", "sdp")
                ) from exc
            finally:
                self._answering -= 1
            answered = True
        finally:
            if not answered:
                self.tokens.restore(claim)
        call = self._start_call(session, offer.params)
        if netem != self._netem:  # it was changed while we answered
            call.impair(self._netem)
        return protocol.answer_response(Answer(answer_fault(self._faults, sdp), call.id))

    def _start_call(self, session: Session, params: Mapping[str, Any]) -> Call:
        """Put an agent on a session and run it until it is over."""
        id = f"conv_{self._ids.getrandbits(64):016x}"
        named = ConversationStarted in session.protocol.speaks[Side.SERVER]
        agent = Agent(
            session,
            self._scenario,
            # Where a conversation has no name of its own, that of the session is the one to find it by.
            session_id=f"sess_{self._ids.getrandbits(64):016x}" if named else id,
            conversation_id=id,
            params=params,
            active=lambda: self._faults,
            progress=self._progress,
            # To whom nobody can talk is no agent: it is a computer's speaker.
            sound=None if session.protocol.has_voice(Side.CLIENT) else self._desktop.listen(self._scenario),
        )
        call = Call(id, session, agent, started_at=self._clock())
        self._keep_recording(call, session)
        self._remember(call)
        self._running[call] = asyncio.create_task(self._run(call), name=f"call {id}")
        logger.info("call: protocol=%s id=%s", call.protocol, id)
        return call

    async def _never(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLOW):
                await self._closing.wait()
        raise RequestRefused(Refusal.INTERNAL, "Internal server error")

    # Calls

    def _keep_recording(self, call: Call, session: Session) -> None:
        if self._record is None:
            return
        session.conversation_id = call.id
        about = {"protocol": call.protocol, "side": "server"}
        try:
            # The time as well: with the same seed, the next run has the same ids.
            name = f"{datetime.fromtimestamp(call.started_at, UTC):%Y%m%dT%H%M%SZ}-{call.id}"
            CallFolder(self._record / name, session, about, format="wav")
        except (ConfigurationError, MediaError) as exc:  # the disk: the call goes on without
            logger.warning("the call is not recorded: %s", exc)

    def _remember(self, call: Call) -> None:
        self._calls.append(call)
        if len(self._calls) > RECORDS:
            over = next(old for old in self._calls if old not in self._running)
            self._calls.remove(over)
        for name in list(self._progress)[:-RECORDS]:
            del self._progress[name]
        for old in self._calls[:-TAPES]:
            old.tape = None

    async def _run(self, call: Call) -> None:
        strikes: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()
        try:
            await call.run(lambda: strikes.append(loop.call_later(STRIKE_AFTER, self._strike, call)))
        finally:
            for strike in strikes:
                strike.cancel()
            del self._running[call]
            logger.info("call over: id=%s failure=%s", call.id, call.failure is not None)

    def _strike(self, call: Call) -> None:
        """Let the faults of the session happen to a call that is up."""
        if "vanish" in self._faults:
            self._send_off(call.vanish())
        elif "hang-up" in self._faults:
            self._send_off(call.hang_up())
        elif "close-channel" in self._faults:
            call.close_channel()
        elif "capture-failed" in self._faults:
            call.fail_sound()

    def _send_off(self, errand: Any) -> None:
        task = asyncio.get_running_loop().create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    # What no route knows

    @web.middleware
    async def _word_errors(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Give errors that no handler made the service's own shape."""
        vendor = self.protocols[0] if self.protocols else None
        try:
            response: web.StreamResponse = await handler(request)
            return response
        except web.HTTPNotFound:
            if vendor is None:
                raise
            refused = RequestRefused(Refusal.NOT_FOUND, "Not Found")
            return _to_aiohttp(vendor.refusal_response(refused, ""), {})
        except web.HTTPMethodNotAllowed as exc:
            # FastAPI's words: the vendors document none.
            return web.json_response(
                {"detail": "Method Not Allowed"}, status=405, headers={"Allow": exc.headers["Allow"]}
            )
        except web.HTTPException:
            raise
        except Exception:
            logger.exception("a request failed: method=%s path=%.200r", request.method, request.path)
            if vendor is None:
                raise
            refused = RequestRefused(Refusal.INTERNAL, "Internal server error")
            return _to_aiohttp(vendor.refusal_response(refused, ""), {})


def _asked(request: web.Request, body: bytes = b"") -> HttpRequest:
    """Return a request as a codec reads it; its URL is the one by which the caller reached us."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return HttpRequest(request.method, str(request.url), headers, body)


def _to_aiohttp(response: HttpResponse, headers: dict[str, str]) -> web.Response:
    return web.Response(status=response.status, headers={**response.headers, **headers}, body=response.body)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
