"""From the socket to the audio receiver in one step."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Any

from aiortc import RTCPeerConnection, clock
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcdtlstransport import State as DtlsState
from pylibsrtp import Error as SrtpError

from ..rtp import is_rtcp
from ..rtp import parse as parse_rtp
from .audio import AudioReceiver
from .ice import ice_transports
from .receivers import MOST_SOURCES
from .srtp import LONGEST_DATAGRAM, unprotector
from .steps import run_now

logger = logging.getLogger(__name__)

WAITING = 512
"""Datagrams that wait for DTLS and RTCP; whoever floods the socket before there is a connection fills no memory."""


def receive_directly(pc: RTCPeerConnection, audio: AudioReceiver) -> None:
    """Take audio from the socket to its receiver in one step; candidates must have been gathered.

    Works around aioice trying to parse every datagram as STUN and queueing it for a task of the DTLS transport: a
    wake-up a packet. And around that task dying of an empty datagram, or of one longer than libsrtp's buffer, which
    anybody may send: the call went down with it. And around its queue, its tables of sources and libsrtp's, which
    grow for as long as somebody sends.
    """
    sources: set[bytes] = set()
    _guard_rtcp(audio.transport, sources)
    for transport in ice_transports(pc):
        connection = transport._connection
        connection.data_received = _bounded(connection)
        for protocol in connection._protocols:
            protocol.datagram_received = _direct(connection, protocol, audio, sources)
            # asyncio makes room for 256 KiB before every read, which costs more than the read. What this truncates
            # is too long anyway. A TURN transport, and other loops' transports, have no such size.
            if hasattr(protocol.transport, "max_size"):
                protocol.transport.max_size = 2048


def _guard_rtcp(dtls: RTCDtlsTransport, sources: set[bytes]) -> None:
    """Note who reports, and survive a REMB message cut short: aiortc lets it out of its receive loop, which ends."""
    handle = dtls._handle_rtcp_data

    async def handle_guarded(data: bytes) -> None:
        sources.add(data[4:8])  # only now is it known to be the far end's
        try:
            await handle(data)
        except struct.error as exc:
            logger.debug("a malformed RTCP packet: %s", exc)

    dtls._handle_rtcp_data = handle_guarded  # type: ignore[method-assign]


def _bounded(connection: Any) -> Callable[[bytes, int], None]:
    receive = connection.data_received

    def data_received(data: bytes, component: int) -> None:
        if connection._queue.qsize() < WAITING:
            receive(data, component)

    return data_received


def _direct(
    connection: Any, protocol: Any, audio: AudioReceiver, sources: set[bytes]
) -> Callable[[bytes, tuple[Any, ...]], None]:
    """Args: ``sources``: the SSRCs that the far end was heard with, as they stand in a packet."""
    receive = protocol.datagram_received
    component = protocol.local_candidate.component

    session: Any = None
    unprotect: Callable[[bytes], bytes] = bytes

    def datagram_received(data: bytes, addr: tuple[Any, ...]) -> None:
        nonlocal session, unprotect
        if not data or len(data) > LONGEST_DATAGRAM:
            return
        # RFC 7983, 7: RTP and RTCP begin with 128 to 191, STUN with 0 to 3, DTLS with 20 to 63.
        if not 128 <= data[0] <= 191:
            try:
                receive(data, addr)
            except struct.error as exc:  # anybody may send it, without a password
                logger.debug("a malformed STUN attribute: %s", exc)
            return
        dtls: Any = audio.transport
        rtcp = is_rtcp(data)
        # The stream that an unknown SSRC makes in libsrtp, and in aiortc, is never removed.
        source = data[4:8] if rtcp else data[8:12]
        if source not in sources and len(sources) >= MOST_SOURCES:
            return
        if dtls._state is not DtlsState.CONNECTED:
            connection.data_received(data, component)
            return
        if dtls._rx_srtp is not session:
            session = dtls._rx_srtp
            unprotect = unprotector(session)
        try:
            if rtcp:
                run_now(dtls._handle_rtcp_data(session.unprotect_rtcp(data)))
                return
            plain = unprotect(data)
        except SrtpError:
            return
        sources.add(source)
        packet = parse_rtp(plain)
        if packet is None:
            return
        router = dtls._rtp_router
        # What the router finds for a source that it knows, at a third of the price.
        known = router.ssrc_table.get(packet.ssrc) is audio.receiver
        if known or router.route_rtp(packet) is audio.receiver:
            audio.take(packet)
            return
        if packet.payload_type not in router.payload_type_table:
            audio.on_unplayable(packet.payload_type)
            return
        try:
            run_now(dtls._handle_rtp_data(plain, arrival_time_ms=clock.current_ms()))
        except struct.error as exc:
            logger.debug("a malformed header extension: %s", exc)

    return datagram_received
