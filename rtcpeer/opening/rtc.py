"""The ways up over WebRTC: the caller's, and that of whoever is called."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import urlsplit

import aiohttp

from ..auth import fetch_session_config
from ..errors import AuthError, IceError, OpenTimeout, RtcPeerError
from ..events import ConversationStarted
from ..formats import OpusSettings
from ..netem import CLEAN, NetworkConditions
from ..protocols.base import Side, VoiceProtocol
from ..protocols.http import IceServer, Offer
from ..protocols.redaction import Redaction
from ..protocols.rtc import RtcProtocol
from ..session import Session
from ..transports.http import exchange, open_pool
from ..transports.ice_options import IceOptions
from ..transports.link import Link
from ..transports.watchdog import WATCHFUL, Watchdog
from ..transports.webrtc import RtcLink
from . import Caller, CallOptions, Opening, open_in_background
from .shortage import Lag, shortage


class RtcOpening(Opening):
    """Token, ICE servers, offer, answer, transport, channel."""

    def __init__(self, session: Caller, protocol: RtcProtocol, options: CallOptions) -> None:
        super().__init__(session, options)
        self._protocol = protocol

    @property
    def repeatable(self) -> bool:
        return not isinstance(self._options.token, str)  # which opens one call

    def again(self, caller: Caller, old: Link, attempt: int) -> RtcOpening:
        protocol = type(self._protocol)(Side.CLIENT, self._protocol.params)
        options = replace(
            self._options,
            # What there is to be seen goes on with the new link once it has taken over.
            video=False if self._options.video is False else None,
            netem=old.conditions,
            netem_seed=f"{self._options.netem_seed}/{attempt}",
        )
        return RtcOpening(caller, protocol, options)

    def worth_another(self, failure: RtcPeerError) -> bool:
        # Where the key was good a moment ago, a token that is refused is one that another will do for.
        refused = isinstance(failure, AuthError) and self.phase not in ("token", "session-config")
        return refused or super().worth_another(failure)

    async def run(self) -> None:
        session, protocol, options = self._session, self._protocol, self._options
        async with open_pool(options.url) as http:
            asking = asyncio.create_task(self._credentials(http))
            try:
                await asyncio.sleep(0)  # while the service is being asked, the keys are made
                link = session.link = self._make_link()
                bearer, servers = await asking
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            protocol.redact = Redaction(bearer, options.api_key)
            async with self._timed("gathering"):
                link.use_ice_servers(servers)
                sdp = await link.offer(video=options.video)
            async with self._timed("signaling"):
                request = protocol.offer_request(options.url, Offer(sdp, protocol.params, bearer))
                answer = protocol.parse_answer(await exchange(http, request, timeout=options.http_timeout))
                await link.accept(answer.sdp)
        session.conversation_id = answer.conversation_id
        session.report(ConversationStarted(answer.conversation_id))
        async with self._timed("transport"):
            await connected(link, options.ice_timeout)
            session.start_audio()
        async with self._timed("channel"):
            await link.opened()
            link.send_messages(protocol.opening())

    def late(self, seconds: float) -> RtcPeerError:
        link = self._session.link
        return (
            no_path(link, seconds)
            if self.phase == "transport" and isinstance(link, RtcLink)
            else super().late(seconds)
        )

    def _make_link(self) -> RtcLink:
        session, options = self._session, self._options
        return RtcLink(
            self._protocol,
            session,
            ice=options.ice.toward(urlsplit(options.url).hostname or ""),
            netem=options.netem,
            netem_seed=options.netem_seed,
            decode=session.decodes,
            opus=options.opus,
            watchdog=options.watchdog,
        )

    async def _credentials(self, http: aiohttp.ClientSession) -> tuple[str, Sequence[IceServer]]:
        protocol, options = self._protocol, self._options
        if options.session_config_url is not None:
            async with self._timed("session-config"):
                config = await fetch_session_config(http, options.session_config_url, timeout=options.http_timeout)
            return config.ephemeral_token, config.ice_servers
        async with self._timed("token"):
            if options.api_key is not None:
                about = {"email": protocol.params["email"]} if "email" in protocol.params else {}
                request = protocol.token_request(options.url, options.api_key, about)
                bearer = protocol.parse_token(await exchange(http, request, timeout=options.http_timeout)).value
            else:
                assert options.token is not None
                bearer = options.token if isinstance(options.token, str) else await options.token()
        async with self._timed("ice-config"):
            request = protocol.ice_request(options.url, bearer)
            servers = protocol.parse_ice(await exchange(http, request, timeout=options.http_timeout))
        return bearer, servers


async def accept(
    protocol: VoiceProtocol,
    offer_sdp: str,
    *,
    ice_servers: Sequence[IceServer] = (),
    ice: IceOptions | None = None,
    open_timeout: float = 10.0,
    netem: NetworkConditions = CLEAN,
    netem_seed: int | str = 0,
    audio: Literal["pcm", "packets"] = "pcm",
    opus: OpusSettings | None = None,
    watchdog: Watchdog | None = WATCHFUL,
) -> tuple[Session, str]:
    """Answer an offer; return the session, opening in the background, and the SDP answer.

    ``await session.opened()`` says whether it came to be; if it does not, the session closes itself.

    Args:
        open_timeout: Seconds for a path to be found, and as many again for the channel.

    Raises:
        RemoteProtocolError: it is no offer we can take.
        IceError: we have no address to be reached at.
    """
    session = Session(protocol, asyncio.get_running_loop().time(), decodes=audio == "pcm")
    link = session.link = RtcLink(
        protocol,
        session,
        ice=ice,
        netem=netem,
        netem_seed=netem_seed,
        decode=session.decodes,
        opus=opus,
        watchdog=watchdog,
    )
    link.use_ice_servers(ice_servers)
    try:
        answer = await link.answer(offer_sdp)
    except BaseException as exc:
        failure = shortage(exc) or exc
        session.fail(failure)
        await session.close()
        if failure is exc:
            raise
        raise failure from exc

    async def open_session() -> None:
        with Lag() as lag:
            try:
                await come_up()
            except RtcPeerError as exc:
                if (failure := lag.explained(exc)) is exc:
                    raise
                raise failure from exc

    async def come_up() -> None:
        await connected(link, open_timeout)
        session.start_audio()
        try:
            async with asyncio.timeout(open_timeout):
                await link.opened()
        except TimeoutError as exc:
            raise OpenTimeout(f"the caller opened no data channel within {open_timeout:g} s") from exc
        link.send_messages(protocol.opening())

    open_in_background(session, open_session())
    return session, answer


async def connected(link: RtcLink, seconds: float | None) -> None:
    """Wait for ICE and DTLS; aioice itself would take a minute to give up.

    Raises:
        IceError: there is no path, or none was found in time.
    """
    try:
        async with asyncio.timeout(seconds):
            await link.connected()
    except TimeoutError as exc:
        assert seconds is not None
        raise no_path(link, seconds) from exc


def no_path(link: RtcLink, seconds: float) -> IceError:
    """Say how far a link has come that is not up after so many seconds."""
    if link.stats()["candidate_pair"] is None:
        return IceError(
            f"no network path to the far end: no candidate pair answered within {seconds:g} s ({link.tried()})"
        )
    return IceError(f"there is a path to the far end, but DTLS did not come up within {seconds:g} s")
