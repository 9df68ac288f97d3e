"""The end of a connection whose ``close()`` does not end, or comes when the event loop itself is ending."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from aiortc import RTCPeerConnection
from OpenSSL import SSL

from .ice import ice_transports, path_alive


def close_in_one_task(pc: RTCPeerConnection) -> Callable[[], None]:
    """Have everybody who calls ``pc.close()`` wait for one task; return what cancels that.

    Works around aiortc closing by itself, in a task that nobody holds, when DTLS has ended: who closes meanwhile
    waits for a future of it, and cancels that when he gives up, and the task stays.
    """
    private: Any = pc
    close = private.close
    closing: asyncio.Task[None] | None = None

    async def close_once() -> None:
        nonlocal closing
        if closing is None:
            closing = asyncio.create_task(close(), name="rtcpeer closing")
        await asyncio.shield(closing)

    def give_up() -> None:
        if closing is not None:
            closing.cancel()

    private.close = close_once
    return give_up


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
        yield transport._RTCIceTransport__monitor_task
        yield transport._connection._query_consent_task
        for pair in transport._connection._check_list:
            yield pair.task


def survive_the_end_of_the_loop(pc: RTCPeerConnection) -> None:
    """Let a connection be closed whose tasks were cancelled; candidates need not have been gathered.

    Works around ``RTCIceTransport.stop`` awaiting a task that ``asyncio.run`` has cancelled already: its
    CancelledError ends ``RTCPeerConnection.close`` half-way, and whoever calls that again waits for ever.
    """
    for transport in ice_transports(pc):
        transport._monitor = _uncancelled(transport._monitor)


def _uncancelled(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await work()

    return run


async def say_goodbye(pc: RTCPeerConnection) -> None:
    """Tell the far end that the connection is over, if DTLS's task cannot any more.

    Works around ``RTCDtlsTransport``, which says close_notify only while its task runs: ``asyncio.run`` cancels every
    task before anything can be closed, and the far end would wait for us.
    """
    transports: set[Any] = {line.receiver.transport for line in pc.getTransceivers()}
    for dtls in transports:
        task = dtls._task
        if dtls._ssl is None or task is None or not (task.done() or task.cancelling()) or not path_alive(pc):
            continue
        with contextlib.suppress(SSL.Error, ConnectionError):
            dtls._ssl.shutdown()
            await dtls._write_ssl()
