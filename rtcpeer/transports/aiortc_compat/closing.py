"""The end of a connection whose ``close()`` does not end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from aiortc import RTCPeerConnection

from .ice import ice_transports


def tear_down(pc: RTCPeerConnection) -> None:
    """Let go of sockets, tasks and timers at once, without a goodbye; after a ``close()`` that was given up.

    Works around ``RTCPeerConnection.close()`` being a row of some ten waits one behind the other: whatever holds up
    one of them, a loop that is late or a task that died, the sockets come last, and would stay open for ever.
    """
    sctp: Any = pc.sctp
    if sctp is not None:
        sctp._set_state(sctp.State.CLOSED)
    for task in _tasks(pc):
        if task is not None:
            task.cancel()
    for transport in ice_transports(pc):
        connection: Any = transport._connection
        connection._closing = True
        for protocol in connection._protocols:
            # A relay's transport gives its allocation back by itself.
            getattr(protocol.transport, "abort", protocol.transport.close)()
        connection._protocols.clear()


def _tasks(pc: RTCPeerConnection) -> Iterator[asyncio.Task[Any] | None]:
    lines: list[Any] = pc.getTransceivers()
    for line in lines:
        yield line.sender._RTCRtpSender__rtp_task
        yield line.sender._RTCRtpSender__rtcp_task
        yield line.receiver._RTCRtpReceiver__rtcp_task
        yield line.receiver.transport._task
    for transport in ice_transports(pc):
        yield transport._connection._query_consent_task
        for pair in transport._connection._check_list:
            yield pair.task
