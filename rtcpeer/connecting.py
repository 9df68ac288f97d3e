"""From nothing to a running session.

Over WebRTC: token, ICE servers, offer, answer, transport, channel. Over WebSocket: the REST step, the socket, and the
word that the far end is ready.

``connect`` is the caller's way, ``accept`` and ``accept_socket`` the ways of whoever is called (the mock).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from .auth import fetch_session_config
from .call_folder import CallFolder, RecordFormat
from .errors import ConfigurationError, IceError, OpenTimeout, RtcPeerError
from .events import ConversationStarted, ErrorReported, PhaseCompleted
from .formats import OpusSettings
from .netem import CLEAN, NetworkConditions, StreamEmulator
from .protocols import find_protocol
from .protocols.base import Side, VoiceProtocol
from .protocols.http import HttpRequest, IceServer, Offer, Ticket
from .protocols.rtc import RtcProtocol
from .protocols.websocket import WebSocketProtocol
from .reconnect import Backoff
from .reconnecting import Reconnector
from .session import Session
from .transports.http import check_http_url, environment_proxy, exchange, redact_url
from .transports.link import Link
from .transports.video import VideoSource, open_video
from .transports.webrtc import IcePolicy, RtcLink
from .transports.websocket import WebSocketLink, dial

logger = logging.getLogger(__name__)

TokenSource = str | Callable[[], Awaitable[str]]

# A server-reflexive candidate is worth a few hundred milliseconds and no more: a dead STUN server would cost 5 s.
GATHER_TIMEOUT = 0.5

_PATIENT = Backoff()


def connect(
    protocol: str | type[VoiceProtocol],
    url: str,
    *,
    api_key: str | None = None,
    token: TokenSource | None = None,
    session_config_url: str | None = None,
    params: Mapping[str, object] | None = None,
    transcribe: bool = True,
    video: str | os.PathLike[str] | VideoSource | Literal[False] | None = None,
    ice_policy: IcePolicy = "all",
    record: str | os.PathLike[str] | None = None,
    record_format: RecordFormat = "ogg",
    record_received: bool = False,
    audio: Literal["pcm", "packets"] = "pcm",
    netem: str | NetworkConditions | None = None,
    netem_seed: int | str = 0,
    opus: OpusSettings | None = None,
    http_timeout: float | None = 10.0,
    open_timeout: float | None = 30.0,
    reconnect: Backoff | None = _PATIENT,
    on_session: Callable[[Session], None] | None = None,
) -> Connecting:
    """Join a session: ``async with connect(…) as session`` or ``session = await connect(…)``.

    Args:
        protocol: A name from ``rtcpeer.PROTOCOLS``, or a codec class of your own.
        url: The service's base URL; over WebSocket it may be the full socket URL (``wss://…?token=…``) instead.
        api_key: Traded for an ephemeral token. Exactly one of ``api_key``, ``token`` and ``session_config_url``; none
            with a full socket URL that holds a token.
        token: An ephemeral token, or an async callable that makes one.
        session_config_url: A backend of yours that answers with what one session needs, such as ``rtcpeer proxy``.
        params: Call parameters of the protocol, by its names: voice, temperature, agent_id, …
        transcribe: Ask for transcripts of what we say.
        video: A file or ``"test"`` to send; ``None`` leaves the video line empty, ``False`` leaves it out.
        ice_policy: ``"relay"`` goes through TURN only.
        record: Folder to leave the call in; ``record_format`` is that of its audio file.
        record_received: Leave ``received.ogg`` there, too: the Opus packets as they came, not decoded.
        audio: ``"packets"`` decodes nothing and plays nothing out, for load and relays: no ``listen``, no
            ``session.audio``, no speech events and no mixed recording, but ``session.packets``, ``pipe`` and
            ``play_packets``; what is played with ``play`` is still encoded.
        netem: What happens to our media packets on the way, both those we send and those we receive, as
            ``"loss=5%,delay=40ms,jitter=20ms"``; which ones it hits depends on ``netem_seed`` alone.
        opus: How what we say is coded; ``session.set_opus`` changes it during the call.
        http_timeout: Seconds for each HTTP request; ``None`` waits for ever, here as elsewhere.
        open_timeout: Seconds until the session is open, all phases together.
        reconnect: When to try again after the connection broke, where the protocol can go on with a session (Soca);
            ``None``: never.
        on_session: Called with the session before anything is sent, to watch it open.

    Raises:
        ConfigurationError: something asked for cannot be done; nothing was sent.
        AuthError, SignalingError, IceError, OpenTimeout, RemoteProtocolError: that phase failed.
    """
    found = find_protocol(protocol)
    if audio not in ("pcm", "packets"):
        raise ConfigurationError(f'audio={audio!r}: give "pcm" or "packets"')
    if record_received and record is None:
        raise ConfigurationError("record_received needs a folder: give record=")
    full = issubclass(found, WebSocketProtocol) and urlsplit(url).scheme in ("ws", "wss")
    credentials = sum(each is not None for each in (api_key, token, session_config_url))
    if credentials > 1 or (credentials == 0 and not full):
        raise ConfigurationError("give exactly one of api_key, token and session_config_url")
    check_http_url("http" + url.removeprefix("ws") if full else url)
    checked = found.configure(params or {}, transcribe=transcribe)
    conditions = NetworkConditions.of(netem)
    if issubclass(found, WebSocketProtocol):
        if audio == "packets" or record_received:
            raise ConfigurationError(
                f"{found.profile.name} carries no Opus: audio is decoded, and not received as packets"
            )
        _check_for_socket(found, url, api_key, session_config_url, checked, video, ice_policy, conditions)

    async def open_session() -> Session:
        now = asyncio.get_running_loop().time()
        session = Session(found(Side.CLIENT, checked), now, decodes=audio == "pcm")
        picture = open_video(video) if video is not None and video is not False else video
        if picture:
            # The link closes it with its track; a call that fails before has none.
            session.on_close(picture.close)
        opening: _RtcOpening | _SocketOpening
        if isinstance(session.protocol, WebSocketProtocol):
            opening = _SocketOpening(session, session.protocol, url, http_timeout)
        else:
            assert isinstance(session.protocol, RtcProtocol)
            opening = _RtcOpening(session, session.protocol, url, http_timeout)
        deadline = asyncio.timeout(open_timeout)
        try:
            if record is not None:
                about: dict[str, Any] = {
                    "protocol": found.profile.name,
                    "url": redact_url(url),
                    "params": _publishable(checked),
                }
                if not conditions.clean:
                    about |= {"netem": str(conditions), "netem_seed": netem_seed}
                CallFolder(record, session, about, format=record_format, received=record_received)
            if on_session is not None:
                on_session(session)
            async with deadline:
                await opening.run(
                    api_key=api_key,
                    token=token,
                    session_config_url=session_config_url,
                    ice_policy=ice_policy,
                    gather_timeout=GATHER_TIMEOUT if ice_policy == "all" else (open_timeout or 30.0) / 2,
                    video=picture,
                    netem=conditions,
                    netem_seed=netem_seed,
                    opus=opus,
                    reconnect=reconnect,
                )
        except BaseException as exc:
            failure: BaseException = exc
            if deadline.expired() and isinstance(exc, TimeoutError) and open_timeout is not None:
                link = session.link if opening.phase == "transport" else None
                failure = _late(open_timeout, f"still in phase {opening.phase!r}", link)
            session.fail(failure)
            await session.close()
            if failure is exc:
                raise
            raise failure from exc
        return session

    return Connecting(open_session)


class Connecting:
    """A session to be: enter it with ``async with``, or await it. It is opened once."""

    def __init__(self, open_session: Callable[[], Awaitable[Session]]) -> None:
        self._open_session = open_session
        self._session: Session | None = None

    def __await__(self) -> Generator[Any, None, Session]:
        return self._open_session().__await__()

    async def __aenter__(self) -> Session:
        self._session = await self
        return self._session

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()


class _Opening:
    """A caller's way up, phase by phase."""

    def __init__(self, session: Session, url: str, http_timeout: float | None) -> None:
        self.phase = "start"
        self._session = session
        self._url = url
        self._http_timeout = http_timeout

    @asynccontextmanager
    async def _timed(self, phase: str) -> AsyncIterator[None]:
        self.phase = phase
        loop = asyncio.get_running_loop()
        began = loop.time()
        yield
        seconds = round(loop.time() - began, 4)
        self._session.phases[phase] = seconds
        self._session.report(PhaseCompleted(phase, seconds))


class _RtcOpening(_Opening):
    """Over WebRTC."""

    def __init__(self, session: Session, protocol: RtcProtocol, url: str, http_timeout: float | None) -> None:
        super().__init__(session, url, http_timeout)
        self._protocol = protocol

    async def run(
        self,
        *,
        api_key: str | None,
        token: TokenSource | None,
        session_config_url: str | None,
        ice_policy: IcePolicy,
        gather_timeout: float,
        video: VideoSource | Literal[False] | None,
        netem: NetworkConditions,
        netem_seed: int | str,
        opus: OpusSettings | None,
        **only_for_sockets: object,
    ) -> None:
        session, protocol = self._session, self._protocol
        proxy = environment_proxy(self._url)
        async with aiohttp.ClientSession(proxy=proxy, cookie_jar=aiohttp.DummyCookieJar()) as http:
            bearer, servers = await self._credentials(http, api_key, token, session_config_url)
            async with self._timed("gathering"):
                session.link = RtcLink(
                    protocol,
                    session,
                    ice_servers=servers,
                    ice_policy=ice_policy,
                    gather_timeout=gather_timeout,
                    netem=netem,
                    netem_seed=netem_seed,
                    decode=session.decodes,
                    opus=opus,
                )
                for ignored in session.link.ignored_servers:
                    session.report(ErrorReported(f"ICE server ignored: {ignored}", code="ice-server"))
                sdp = await session.link.offer(video=video)
                if "\na=candidate:" not in sdp:
                    raise IceError(_no_candidates(servers, ice_policy))
            async with self._timed("signaling"):
                request = protocol.offer_request(self._url, Offer(sdp, protocol.params, bearer))
                answer = protocol.parse_answer(await exchange(http, request, timeout=self._http_timeout))
                await session.link.accept(answer.sdp)
        session.conversation_id = answer.conversation_id
        session.report(ConversationStarted(answer.conversation_id))
        async with self._timed("transport"):
            await session.link.connected()
            session.start_audio()
        async with self._timed("channel"):
            await session.link.opened()
            session.link.send_messages(protocol.opening())

    async def _credentials(
        self,
        http: aiohttp.ClientSession,
        api_key: str | None,
        token: TokenSource | None,
        session_config_url: str | None,
    ) -> tuple[str, Sequence[IceServer]]:
        protocol = self._protocol
        if session_config_url is not None:
            async with self._timed("session-config"):
                config = await fetch_session_config(http, session_config_url, timeout=self._http_timeout)
            return config.ephemeral_token, config.ice_servers
        async with self._timed("token"):
            if api_key is not None:
                options = {"email": protocol.params["email"]} if "email" in protocol.params else {}
                request = protocol.token_request(self._url, api_key, options)
                bearer = protocol.parse_token(await exchange(http, request, timeout=self._http_timeout)).value
            else:
                assert token is not None
                bearer = token if isinstance(token, str) else await token()
        async with self._timed("ice-config"):
            request = protocol.ice_request(self._url, bearer)
            servers = protocol.parse_ice(await exchange(http, request, timeout=self._http_timeout))
        return bearer, servers


class _SocketOpening(_Opening):
    """Over WebSocket."""

    def __init__(self, session: Session, protocol: WebSocketProtocol, url: str, http_timeout: float | None) -> None:
        super().__init__(session, url, http_timeout)
        self._protocol = protocol

    async def run(
        self,
        *,
        api_key: str | None,
        token: TokenSource | None,
        session_config_url: str | None,
        netem: NetworkConditions,
        netem_seed: int | str,
        reconnect: Backoff | None,
        **only_for_rtc: object,
    ) -> None:
        session, protocol = self._session, self._protocol
        ticket = await self._ticket(api_key, token, session_config_url)
        if ticket.session_id is None:
            # Where nobody else names the session, its client does.
            ticket = replace(ticket, session_id=f"sess_{time.time_ns() // 1_000_000}")
        protocol.take(ticket)
        async with self._timed("socket"):
            request = protocol.socket_request(self._url, ticket, protocol.params)
            dialled = await dial(request, type(protocol), timeout=self._http_timeout)
        session.link = link = WebSocketLink(
            protocol,
            session,
            dialled.socket,
            abort=dialled.abort,
            release=dialled.release,
            netem=netem,
            netem_seed=netem_seed,
        )

        async def redial(old: WebSocketLink) -> WebSocketLink:
            fresh = ticket if token is None or isinstance(token, str) else replace(ticket, token=await token())
            protocol = type(old.protocol)(Side.CLIENT, old.protocol.params)
            protocol.take(fresh)
            request = protocol.socket_request(self._url, fresh, protocol.params)
            dialled = await dial(request, type(protocol), timeout=self._http_timeout)
            link = WebSocketLink(
                protocol,
                session,
                dialled.socket,
                abort=dialled.abort,
                release=dialled.release,
                netem=netem,
                netem_seed=netem_seed,
                predecessor=old,
            )
            try:
                link.start()
                await link.ready()
                if link.failure is not None:  # ready, and gone again
                    raise link.failure
            except BaseException:
                await link.close()
                raise
            return link

        if reconnect is not None and protocol.profile.resumes:
            Reconnector(session, redial, reconnect, attempt_timeout=self._http_timeout)
        async with self._timed("ready"):
            link.start()
            await link.ready()
        session.start_audio()

    async def _ticket(self, api_key: str | None, token: TokenSource | None, session_config_url: str | None) -> Ticket:
        """Return what opens the socket; the one who asked with a key has it in hand for the socket as well."""
        protocol = self._protocol
        if token is not None:
            async with self._timed("session"):
                return Ticket(token if isinstance(token, str) else await token())
        if session_config_url is not None:
            request: HttpRequest | None = HttpRequest(
                protocol.profile.session_method, session_config_url, {"accept": "application/json"}
            )
        elif api_key is not None and urlsplit(self._url).scheme in ("http", "https"):
            request = protocol.session_request(self._url, api_key, protocol.params)
        else:
            request = None
        if request is None:
            return Ticket(api_key, is_key=True)
        async with (
            self._timed("session"),
            aiohttp.ClientSession(proxy=environment_proxy(request.url), cookie_jar=aiohttp.DummyCookieJar()) as http,
        ):
            ticket = protocol.parse_session(await exchange(http, request, timeout=self._http_timeout), self._url)
        if ticket.token is None and ticket.url is None:
            ticket = replace(ticket, token=api_key, is_key=True)
        return ticket


def _check_for_socket(
    protocol: type[WebSocketProtocol],
    url: str,
    api_key: str | None,
    session_config_url: str | None,
    params: Mapping[str, Any],
    video: object,
    ice_policy: IcePolicy,
    netem: NetworkConditions,
) -> None:
    """Raises ConfigurationError: what was asked for cannot be done over WebSocket, or not with this protocol."""
    name = protocol.profile.name
    if video is not None and video is not False:
        raise ConfigurationError(f"{name} carries no video")
    if ice_policy != "all":
        raise ConfigurationError(f"{name} is not WebRTC: there is no ICE, and no relay")
    full = urlsplit(url).scheme in ("ws", "wss")
    takes_key = protocol.profile.key_opens or protocol.profile.client_opens
    if api_key is not None and not takes_key and (full or "session" not in protocol.profile.paths):
        # It would stand in the socket's URL, where no key belongs.
        raise ConfigurationError(f"{name}: the API key opens no socket; give the service's base URL, or a token")
    if session_config_url is not None:
        if protocol.profile.backend_path is None:
            raise ConfigurationError(f"{name} has no session_config_url: give its api_key or a token")
        check_http_url(session_config_url)
    StreamEmulator(netem, 0)
    full = urlsplit(url).scheme in ("ws", "wss")
    if api_key is not None and full and "session" in protocol.profile.paths and not protocol.profile.key_opens:
        raise ConfigurationError(f"{name}: the API key opens no socket: give the service's base URL, or a token")
    # Made for their errors: everything is known that they need, but for a token.
    if api_key is not None and not full:
        protocol.session_request(url, api_key, params)
    if session_config_url is None:
        protocol.full_socket_url(url, Ticket(), params)


async def accept(
    protocol: VoiceProtocol,
    offer_sdp: str,
    *,
    ice_servers: Sequence[IceServer] = (),
    ice_policy: IcePolicy = "all",
    open_timeout: float = 15.0,
    netem: NetworkConditions = CLEAN,
    netem_seed: int | str = 0,
    audio: Literal["pcm", "packets"] = "pcm",
    opus: OpusSettings | None = None,
) -> tuple[Session, str]:
    """Answer an offer; return the session, opening in the background, and the SDP answer.

    ``await session.opened()`` says whether it came to be; if it does not, the session closes itself.

    Raises:
        RemoteProtocolError: it is no offer we can take.
    """
    session = Session(protocol, asyncio.get_running_loop().time(), decodes=audio == "pcm")
    link = session.link = RtcLink(
        protocol,
        session,
        ice_servers=ice_servers,
        ice_policy=ice_policy,
        gather_timeout=GATHER_TIMEOUT,
        netem=netem,
        netem_seed=netem_seed,
        decode=session.decodes,
        opus=opus,
    )
    try:
        answer = await link.answer(offer_sdp)
    except BaseException as exc:
        session.fail(exc)
        await session.close()
        raise

    async def open_session() -> None:
        try:
            async with asyncio.timeout(open_timeout):
                await link.connected()
                session.start_audio()
                await link.opened()
                link.send_messages(protocol.opening())
        except TimeoutError as exc:
            failure = _late(open_timeout, "the caller opened no data channel", link)
            session.fail(failure)
            raise failure from exc
        except RtcPeerError as exc:
            session.fail(exc)
            raise

    _open_in_background(session, open_session())
    return session, answer


async def accept_socket(
    protocol: WebSocketProtocol,
    socket: web.WebSocketResponse,
    *,
    abort: Callable[[], None],
    open_timeout: float = 15.0,
    netem: NetworkConditions = CLEAN,
    netem_seed: int | str = 0,
) -> Session:
    """Take an open socket; return the session, opening in the background.

    ``await session.opened()`` says whether it came to be; if it does not, the session closes itself. It is open once
    we may speak: that we are ready is for the caller of this to say, with ``SessionStarted``.

    Args:
        socket: Made with ``autoping=False`` and prepared.
        abort: Ends its connection without a word.
    """
    session = Session(protocol, asyncio.get_running_loop().time())
    link = session.link = WebSocketLink(protocol, session, socket, abort=abort, netem=netem, netem_seed=netem_seed)

    async def open_session() -> None:
        try:
            async with asyncio.timeout(open_timeout):
                await link.greeted()
        except TimeoutError as exc:
            failure = _late(open_timeout, "the caller said nothing", None)
            session.fail(failure)
            raise failure from exc
        except RtcPeerError as exc:
            session.fail(exc)
            raise
        session.start_audio()

    link.start()
    _open_in_background(session, open_session())
    return session


def _open_in_background(session: Session, opening: Coroutine[Any, Any, None]) -> None:
    session.opening = asyncio.create_task(opening, name="rtcpeer opening")
    # The session reports the failure as its last event; a caller that never asks must not warn at exit.
    session.opening.add_done_callback(lambda task: task.cancelled() or task.exception())
    session.on_close(session.opening.cancel)


def _late(seconds: float, detail: str, connecting: Link | None) -> RtcPeerError:
    """Say what it means not to be open after so many seconds; ``connecting`` is the link, once it tries to."""
    if connecting is not None and connecting.stats()["candidate_pair"] is None:
        # aioice itself takes a minute to give up.
        return IceError(f"no network path to the far end: no candidate pair answered within {seconds:g} s")
    return OpenTimeout(f"not open after {seconds:g} s: {detail}")


def _publishable(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what may be a secret: the headers for an MCP server are credentials more often than not."""
    shown = dict(params)
    if isinstance(server := shown.get("mcp_server"), Mapping):
        shown["mcp_server"] = {name: value for name, value in server.items() if name != "headers"}
    return shown


def _no_candidates(servers: Sequence[IceServer], policy: IcePolicy) -> str:
    if policy == "all":
        return "no ICE candidates: this machine has no usable network address"
    relays = [url for server in servers for url in server.urls if url.startswith("turn")]
    if not relays:
        return "ICE policy is relay, but the service named no TURN server"
    return f"no relay candidate: {relays[0]} did not answer or refused its credentials"
