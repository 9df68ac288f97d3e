"""Asking the far end for a sign of life on the path in use, and learning that our own network is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport

from .ice import ice_transports


def ask_for_life(pc: RTCPeerConnection) -> None:
    """Send one STUN binding request, as a consent check does (RFC 7675, 5.1), on the selected pair.

    Works around aioice asking every 5 s, and noticing after 30 s. It is sent once and nobody waits for its answer:
    the datagram that brings it is the sign of life. Whatever keeps it from being sent, it goes unanswered.
    """
    for transport in ice_transports(pc):
        connection: Any = transport._connection
        if connection.remote_password is None:
            continue
        for pair in connection._nominated.values():
            request = connection.build_request(pair, nominate=False)
            request.add_message_integrity(connection.remote_password.encode())
            pair.protocol.send_stun(request, pair.remote_addr)


def watch_send_errors(pc: RTCPeerConnection, on_error: Callable[[], None]) -> None:
    """Call ``on_error`` when the selected pair's socket refuses to send; candidates must have been gathered.

    Works around aioice writing it to its log: no route, or our address is gone (an interface went down). ICMP errors
    are not among them: Linux reports those of connected sockets alone.
    """
    for transport in ice_transports(pc):
        for protocol in transport._connection._protocols:
            protocol.error_received = _reporting(transport._connection, protocol, on_error)


def _reporting(connection: Any, protocol: Any, on_error: Callable[[], None]) -> Callable[[Exception], None]:
    log = protocol.error_received

    def error_received(exc: Exception) -> None:
        log(exc)
        if any(pair.protocol is protocol for pair in connection._nominated.values()):
            on_error()

    return error_received


def watch_life(pc: RTCPeerConnection, dtls: RTCDtlsTransport, on_life: Callable[[], None]) -> None:
    """Call ``on_life`` for what comes from the far end and is not audio; before ``receive_directly``.

    RTCP and video count when SRTP has taken them for the far end's, STUN and DTLS when they come from the selected
    pair. Who knows both ports can forge the latter, and make us believe for as long as aioice's own consent checks,
    which are signed, take to fail: half a minute.
    """
    private: Any = dtls
    private._handle_rtcp_data = _telling(private._handle_rtcp_data, on_life)
    private._handle_rtp_data = _telling(private._handle_rtp_data, on_life)
    for transport in ice_transports(pc):
        for protocol in transport._connection._protocols:
            protocol.datagram_received = _telling_of_pair(transport._connection, protocol, on_life)


def _telling(handle: Callable[..., Any], on_life: Callable[[], None]) -> Callable[..., Any]:
    async def handle_and_tell(data: bytes, *args: Any, **kwargs: Any) -> None:
        on_life()
        await handle(data, *args, **kwargs)

    return handle_and_tell


def _telling_of_pair(
    connection: Any, protocol: Any, on_life: Callable[[], None]
) -> Callable[[bytes, tuple[Any, ...]], None]:
    receive = protocol.datagram_received
    component = protocol.local_candidate.component

    def datagram_received(data: bytes, addr: tuple[Any, ...]) -> None:
        pair = connection._nominated.get(component)
        if pair is not None and pair.protocol is protocol and pair.remote_addr == (addr[0], addr[1]):
            on_life()
        receive(data, addr)

    return datagram_received
