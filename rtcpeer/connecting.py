"""``connect``: from a URL and a credential to a running session.

How that goes over each transport is in ``opening``, and so are ``accept`` and ``accept_socket``, the ways of whoever
is called (the mock).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

from .call_folder import CallFolder, RecordFormat, check_recording
from .errors import ConfigurationError, RtcPeerError, check_timeout
from .formats import OpusSettings
from .netem import NetworkConditions
from .opening import CallOptions, Opening, TokenSource
from .opening.rtc import RtcOpening, accept
from .opening.shortage import Lag, shortage
from .opening.websocket import SocketOpening, accept_socket, check_for_socket
from .protocols import find_protocol
from .protocols.base import Side, VoiceProtocol
from .protocols.rtc import RtcProtocol
from .protocols.websocket import WebSocketProtocol
from .reconnect import Backoff
from .reconnecting import Reconnector, check_session_limit
from .session import Session
from .transports.gathering import GATHER_TIMEOUT, IcePolicy
from .transports.http import check_http_url, redact_url
from .transports.ice_options import IceOptions
from .transports.video import VideoSource, open_video
from .transports.watchdog import WATCHFUL, Watchdog

__all__ = ["Connecting", "accept", "accept_socket", "connect"]

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
    gather_timeout: float = GATHER_TIMEOUT,
    turn_ca: str | os.PathLike[str] | None = None,
    interface: str | None = None,
    udp_ports: tuple[int, int] | None = None,
    advertise_ip: str | None = None,
    record: str | os.PathLike[str] | None = None,
    record_format: RecordFormat = "ogg",
    record_received: bool = False,
    record_overwrite: bool = False,
    audio: Literal["pcm", "packets"] = "pcm",
    netem: str | NetworkConditions | None = None,
    netem_seed: int | str = 0,
    opus: OpusSettings | None = None,
    ice_timeout: float | None = 10.0,
    http_timeout: float | None = 10.0,
    open_timeout: float | None = 30.0,
    watchdog: Watchdog | None = WATCHFUL,
    reconnect: Backoff | None = _PATIENT,
    session_limit: float | None = None,
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
        gather_timeout: Seconds to wait for STUN servers, and for TURN servers where a call may do without.
        turn_ca: File with the certificate of a CA of your own, trusted beside the system's for TURN over TLS.
        interface: The network interface, or the local address, to use alone.
        udp_ports: The first and the last local UDP port to use.
        advertise_ip: The address to offer instead of our own, where something in between translates the one into the
            other, port by port: a container's host, a cloud's 1:1 NAT.
        record: Folder to leave the call in; ``record_format`` is that of its audio file.
        record_overwrite: Replace the call that the folder holds, if it does; without this, such a folder is refused.
        record_received: Leave ``received.ogg`` there, too: the Opus packets as they came, not decoded.
        audio: ``"packets"`` decodes nothing and plays nothing out, for load and relays: no ``listen``, no
            ``session.audio``, no speech events and no mixed recording, but ``session.packets``, ``pipe`` and
            ``play_packets``; what is played with ``play`` is still encoded.
        netem: What happens to our media packets on the way, both those we send and those we receive, as
            ``"loss=5%,delay=40ms,jitter=20ms"``; which ones it hits depends on ``netem_seed`` alone.
        opus: How what we say is coded; ``session.set_opus`` changes it during the call.
        ice_timeout: Seconds to find a path to the far end and secure it (ICE and DTLS).
        http_timeout: Seconds for each HTTP request; ``None`` waits for ever, here as elsewhere.
        open_timeout: Seconds until the session is open, all phases together.
        watchdog: How long the far end may be silent before it is asked whether it is there, and before it is lost;
            ``None`` leaves it to the transport, which takes half a minute.
        reconnect: When to try again after the connection broke; ``None``: never, and never with a ``token`` that is a
            plain string and opens one call. docs/reconnecting.md says what goes on and what is lost.
        session_limit: Seconds after which the service is known to end a session: another connection takes over
            before. None of the protocols says that it has one.
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
    if record is not None:
        check_recording(record, record_format, overwrite=record_overwrite)
    for name, limit in (("ice", ice_timeout), ("http", http_timeout), ("open", open_timeout)):
        check_timeout(f"{name}_timeout", limit)
    if session_limit is not None:
        check_session_limit(session_limit)
        spent = isinstance(token, str) and not (found.profile.token_stays or found.profile.resumes)
        if reconnect is None or spent:
            raise ConfigurationError("session_limit needs reconnect, and a credential that opens more than one call")
    full = issubclass(found, WebSocketProtocol) and urlsplit(url).scheme in ("ws", "wss")
    credentials = sum(each is not None for each in (api_key, token, session_config_url))
    if credentials > 1 or (credentials == 0 and not full):
        raise ConfigurationError("give exactly one of api_key, token and session_config_url")
    check_http_url("http" + url.removeprefix("ws") if full else url)
    checked = found.configure(params or {}, transcribe=transcribe)
    conditions = NetworkConditions.of(netem)
    ice = IceOptions.of(
        policy=ice_policy,
        gather_timeout=gather_timeout,
        # Half of all the time there is: over TLS a relay takes several round trips.
        relay_limit=(open_timeout or 30.0) / 2,
        interface=interface,
        udp_ports=udp_ports,
        advertise_ip=advertise_ip,
        turn_ca=turn_ca,
    )

    def options(picture: VideoSource | Literal[False] | None) -> CallOptions:
        return CallOptions(
            url=url,
            api_key=api_key,
            token=token,
            session_config_url=session_config_url,
            video=picture,
            ice=ice,
            ice_timeout=ice_timeout,
            netem=conditions,
            netem_seed=netem_seed,
            opus=opus,
            http_timeout=http_timeout,
            open_timeout=open_timeout,
            watchdog=watchdog,
            reconnect=reconnect,
        )

    if issubclass(found, WebSocketProtocol):
        if audio == "packets" or record_received:
            raise ConfigurationError(
                f"{found.profile.name} carries no Opus: audio is decoded, and not received as packets"
            )
        if video is not None and video is not False:
            raise ConfigurationError(f"{found.profile.name} carries no video")
        check_for_socket(found, checked, options(False))

    async def open_session() -> Session:
        now = asyncio.get_running_loop().time()
        session = Session(found(Side.CLIENT, checked), now, decodes=audio == "pcm")
        picture = open_video(video) if video is not None and video is not False else video
        if picture:
            # The link closes it with its track; a call that fails before has none.
            session.on_close(picture.close)
        opening: Opening
        if isinstance(session.protocol, WebSocketProtocol):
            opening = SocketOpening(session, session.protocol, options(picture))
        else:
            assert isinstance(session.protocol, RtcProtocol)
            opening = RtcOpening(session, session.protocol, options(picture))
        reconnector = None
        if reconnect is not None and opening.repeatable:
            reconnector = Reconnector(
                session, opening, reconnect, attempt_timeout=open_timeout, session_limit=session_limit
            )
        deadline = asyncio.timeout(open_timeout)
        lag = Lag()
        try:
            if record is not None:
                about: dict[str, Any] = {
                    "protocol": found.profile.name,
                    "url": redact_url(url),
                    "params": _publishable(checked),
                }
                if not conditions.clean:
                    about |= {"netem": str(conditions), "netem_seed": netem_seed}
                CallFolder(
                    record, session, about, format=record_format, received=record_received, overwrite=record_overwrite
                )
            if on_session is not None:
                on_session(session)
            with lag:
                async with deadline:
                    await opening.run()
            if reconnector is not None:
                reconnector.opened()
        except BaseException as exc:
            failure: BaseException = exc
            if deadline.expired() and isinstance(exc, TimeoutError) and open_timeout is not None:
                failure = opening.late(open_timeout)
            if short := shortage(failure):
                failure = short
            elif isinstance(failure, RtcPeerError):
                failure = lag.explained(failure)
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


def _publishable(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what may be a secret: the headers for an MCP server are credentials more often than not."""
    shown = dict(params)
    if isinstance(server := shown.get("mcp_server"), Mapping):
        shown["mcp_server"] = {name: value for name, value in server.items() if name != "headers"}
    return shown
