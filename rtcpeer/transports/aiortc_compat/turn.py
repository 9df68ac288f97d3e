"""aioice's STUN and TURN clients, asked so that they answer: what failed is raised, and at once.

aioice's own gathering drops the reason, waits a minute for a port that is closed, and can neither bind to an address
nor trust a CA of the user's own.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from aioice import stun, turn

from .. import resolving
from ..ice_servers import IceUrl

RELEASE_TIMEOUT = 0.5
"""Seconds to wait for a TURN server to confirm that an allocation is gone; it would expire by itself."""
FIRST_RETRY = 0.1
"""Seconds until a request is repeated; it doubles each time. aioice's 0.5 s would be later than gathering's end."""

LEAST_LIFETIME = 60.0
"""Seconds that an allocation is taken to live at least: a server that says less is not asked again and again."""

Address = tuple[str, int]
Bind = Callable[[socket.socket], None]
"""Bind a socket to a local address and port. May raise OSError."""

_T = TypeVar("_T")
_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.DatagramProtocol)


def bind_to(local: str, port: int = 0) -> Bind:
    """Bind to a local address; empty: any. One of another family than the socket's can't be assigned to it."""

    def bind(sock: socket.socket) -> None:
        if local and (":" in local) != (sock.family == socket.AF_INET6):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        if local or port:
            sock.bind((local, port))

    return bind


class Refused(Exception):
    """A server answered with an error."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class _Alive:
    """What aioice's TURN protocols lack: signs of life, errors of the socket, and an end that does not hang."""

    transport: Any
    transactions: dict[bytes, Any]
    integrity_key: bytes | None

    def __init__(self, *args: Any, on_alive: Callable[[], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self.broken: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._on_alive = on_alive

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._on_alive()
        try:
            super().datagram_received(data, addr)  # type: ignore[misc]
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            # aioice's parser raises what the bytes happen to break.
            self._break(exc)

    def error_received(self, exc: Exception) -> None:
        self._break(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._break(exc or ConnectionResetError())
        super().connection_lost(exc)  # type: ignore[misc]

    async def delete(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT):
                await super().delete()  # type: ignore[misc]
        except TimeoutError:
            pass  # it closed the socket
        except (ConnectionError, stun.TransactionError):
            self.transport.close()

    async def request_with_retry(self, request: stun.Message) -> tuple[stun.Message, Any]:
        response, address = await super().request_with_retry(request)  # type: ignore[misc]
        if "LIFETIME" in response.attributes:
            # aioice refreshes at five sixths of it: with 0, thousands of times a second.
            response.attributes["LIFETIME"] = max(LEAST_LIFETIME, response.attributes["LIFETIME"])
        return response, address

    async def open_channel(self, addr: Address) -> None:
        """Bind a channel, and with it install a permission, before there is anything to send.

        aioice's ``send_data`` does it with the first datagram, which waits, and drops what comes before.
        """
        client: Any = self
        if addr in client.peer_to_channel or addr in client.peer_connect_waiters:
            return
        channel = client.peer_to_failed_channel.pop(addr, None)
        if channel is None:
            if client.channel_number > turn.CHANNEL_NUMBER_MAX:
                return
            channel = client.channel_number
            client.channel_number += 1
        client.peer_connect_waiters[addr] = []
        try:
            await client.channel_bind(channel, addr)
        except BaseException:
            client.peer_to_failed_channel[addr] = channel
            for waiter in client.peer_connect_waiters.pop(addr):
                if not waiter.done():
                    waiter.set_exception(ConnectionError("no channel"))
            raise
        client.channel_refresh_at[channel] = time.time() + client.channel_refresh_time
        client.channel_to_peer[channel] = addr
        client.peer_to_channel[addr] = channel
        for waiter in client.peer_connect_waiters.pop(addr):
            if not waiter.done():
                waiter.set_result(None)

    def settled(self) -> None:
        """The allocation is there: nobody waits for signs of life any more."""
        self._on_alive = lambda: None

    def abandon(self) -> None:
        """Give up the allocation that may be under way, without waiting."""
        if (task := getattr(self, "refresh_task", None)) is not None:
            task.cancel()
        if self.integrity_key is not None and not self.transport.is_closing():
            # The server has, or is about to have, an allocation for us: datagrams mostly arrive in order.
            request = stun.Message(stun.Method.REFRESH, stun.Class.REQUEST, attributes={"LIFETIME": 0})
            self._TurnClientMixin__add_authentication(request)  # type: ignore[attr-defined]
            self._send(bytes(request))  # type: ignore[attr-defined]
        self.transport.close()

    def _break(self, exc: Exception) -> None:
        if not self.broken.done():
            self.broken.set_result(exc)


class _Udp(_Alive, turn.TurnClientUdpProtocol):  # type: ignore[misc]
    pass


class _Tcp(_Alive, turn.TurnClientTcpProtocol):  # type: ignore[misc]
    pass


async def reflexive_address(
    protocol: Any, server: Address, *, retries: int = 3, first_retry: float = FIRST_RETRY
) -> Address:
    """Ask a STUN server for the address that ``protocol``'s socket has there.

    Args:
        protocol: aioice's ``StunProtocol``, or anything with its ``send_stun`` and ``transactions``.
        retries: How often to ask again.

    Raises:
        TimeoutError, Refused, ValueError: no answer, an error, or an answer without an address.
    """
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    transaction: Any = stun.Transaction(request, server, protocol, retransmissions=retries)
    transaction._Transaction__timeout_delay = first_retry
    protocol.transactions[request.transaction_id] = transaction
    try:
        response, _ = await transaction.run()
    except stun.TransactionError as exc:
        raise plain(exc) from None
    finally:
        del protocol.transactions[request.transaction_id]
    return _address(response)


@dataclass(frozen=True, slots=True)
class Relay(Generic[_ProtocolT]):
    """An allocation: aioice's transport and TURN client, and the protocol that gets what is relayed to us."""

    transport: Any
    client: Any
    protocol: _ProtocolT

    @property
    def address(self) -> Address:
        found: Address = self.transport.get_extra_info("sockname")
        return found

    def abandon(self) -> None:
        """Give it back, without waiting."""
        self.client.abandon()


async def allocate(
    server: IceUrl,
    make: Callable[[], _ProtocolT],
    *,
    bind: Bind,
    tls: ssl.SSLContext | None = None,
    on_alive: Callable[[], None] = lambda: None,
) -> Relay[_ProtocolT]:
    """Get an allocation from a TURN server, for the protocol that ``make`` makes.

    Cancelled or failed, it leaves nothing behind, here or there.

    Args:
        bind: Binds our socket; an OSError of it passes the address by.
        tls: What certificates to trust, for TURN over TLS.
        on_alive: Called at every sign that there is a server: TCP connected, an answer of any kind.

    Raises:
        Refused, OSError (``socket.gaierror``, ``ssl.SSLError``, …), TimeoutError, ValueError
    """
    inner = await _connect(server, bind, tls, on_alive)
    outer = turn.TurnTransport(inner)
    protocol = make()
    try:
        await unless(inner.broken, outer._connect(protocol))
    except stun.TransactionError as exc:
        inner.abandon()
        raise plain(exc) from None
    except BaseException:
        inner.abandon()
        raise
    inner.settled()
    return Relay(outer, inner, protocol)


async def unless(broken: asyncio.Future[Exception], asking: Coroutine[Any, Any, _T]) -> _T:
    """Wait for an answer, unless the socket breaks first."""
    task = asyncio.ensure_future(asking)
    both: list[asyncio.Future[Any]] = [task, broken]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise broken.result()
        return await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _connect(server: IceUrl, bind: Bind, tls: ssl.SSLContext | None, on_alive: Callable[[], None]) -> Any:
    loop = asyncio.get_running_loop()
    udp = server.transport == "udp"
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    options: dict[str, Any] = {
        "username": server.username,
        "password": server.credential,
        "lifetime": turn.DEFAULT_ALLOCATION_LIFETIME,
        "channel_refresh_time": turn.DEFAULT_CHANNEL_REFRESH_TIME,
        "on_alive": on_alive,
    }
    if server.transport == "tls" and tls is None:
        tls = await asyncio.to_thread(ssl.create_default_context)  # it reads every CA there is
    why: OSError = OSError()
    for family, address in await resolving.addresses(server.host, server.port, kind):
        sock = socket.socket(family, kind)
        try:
            sock.setblocking(False)
            bind(sock)
            await loop.sock_connect(sock, address)
            if udp:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, turn.UDP_SOCKET_BUFFER_SIZE)
                _, protocol = await loop.create_datagram_endpoint(partial(_Udp, address[:2], **options), sock=sock)
                return protocol
            on_alive()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            context = tls if server.transport == "tls" else None
            _, stream = await loop.create_connection(
                partial(_Tcp, address[:2], **options),
                sock=sock,
                ssl=context,
                server_hostname=server.host if context is not None else None,
            )
            return stream
        except ssl.SSLError:
            sock.close()
            raise  # there is a server: another of its addresses will have the same certificate
        except OSError as exc:
            sock.close()
            why = exc
        except BaseException:
            sock.close()
            raise
    raise why


def plain(exc: stun.TransactionError) -> Exception:
    if exc.response is None:
        return TimeoutError()
    found = exc.response.attributes.get("ERROR-CODE")
    return Refused(*found) if found else ValueError("an error without a code")


def _address(response: stun.Message) -> Address:
    found = response.attributes.get("XOR-MAPPED-ADDRESS") or response.attributes.get("MAPPED-ADDRESS")
    if found is None:
        raise ValueError("a Binding response without an address")
    return found[0], found[1]
