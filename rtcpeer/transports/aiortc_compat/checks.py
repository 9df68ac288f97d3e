"""Connectivity checks that a lost packet, or a relay without a permission yet, does not hold up for half a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from aioice import stun
from aioice.ice import ICE_COMPLETED, CandidatePair, StunProtocol
from aiortc import RTCPeerConnection

from .ice import ice_transports
from .turn import FIRST_RETRY

logger = logging.getLogger(__name__)

AGAIN = 3
"""How often a check under way is repeated because the other side's check has come."""
DIRECT_HEAD_START = 0.15
"""Seconds that a pair with a relay in it waits where there are others: for their first check, and its repetition."""
PAIRS = 100
"""Pairs that are checked at most (RFC 8445, 6.1.2.5), those that a far end's own checks make included."""
CHANNELS = 16
"""So many addresses of the far end are bound to channels ahead of the checks."""


class CheckingProtocol(StunProtocol):
    """aioice's socket, whose checks are repeated sooner.

    RFC 8445, 14.3, has half a second at least; libwebrtc repeats after 50 ms. A consent check, which is not repeated,
    keeps its half second: that is how long it waits for the answer.
    """

    def __init__(self, receiver: Any) -> None:
        super().__init__(receiver)
        self.client: Any = None
        """The TURN client, if this is a relay."""
        self._checks: dict[tuple[str, int], tuple[stun.Message, int]] = {}

    async def request(
        self,
        request: stun.Message,
        addr: tuple[str, int],
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[stun.Message, tuple[str, int]]:
        if retransmissions is not None or integrity_key is None:
            return await super().request(request, addr, integrity_key, retransmissions)
        request.add_message_integrity(integrity_key)
        transaction: Any = stun.Transaction(request, addr, self, integrity_key=integrity_key)
        transaction._Transaction__timeout_delay = FIRST_RETRY
        self.transactions[request.transaction_id] = transaction
        self._checks[addr] = (request, AGAIN)
        try:
            found: tuple[stun.Message, tuple[str, int]] = await transaction.run()
            return found
        finally:
            del self.transactions[request.transaction_id]
            self._checks.pop(addr, None)

    def check_again(self, addr: tuple[str, int]) -> None:
        """Send the check that is under way once more, a few times at most."""
        if (found := self._checks.get(addr)) is not None and found[1] > 0:
            request, left = found
            self._checks[addr] = (request, left - 1)
            self.send_stun(request, addr)


def check_quickly(pc: RTCPeerConnection) -> None:
    """Have this side's checks go out as soon as they can arrive; candidates need not have been gathered.

    Works around four things in aioice: a check that comes while ours is under way does not make us check again
    (RFC 8445, 7.3.1.4), so that a first check which a NAT or a relay dropped costs half a second; a relay's channels
    are bound one by one, when it is the turn of each; the end of checking is noticed up to 20 ms late; and the
    controlling side takes the first pair that answers, and keeps it, which between two NATs is the relayed one though
    a direct way opens a moment later.
    """
    for transport in ice_transports(pc):
        _Checks(transport._connection)


class _Checks:
    """The checks of one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._on_check = connection.check_incoming
        connection.check_incoming = self._check_incoming
        self._start = connection.check_start_task
        connection.check_start_task = self._check_start_task
        self._relays_from = 0.0
        self.left_out = 0
        """Pairs that were not checked, because there were too many."""
        connection.checks = self
        connection.connect = self._connect

    def _check_incoming(self, message: stun.Message, addr: tuple[str, int], protocol: CheckingProtocol) -> None:
        if "PRIORITY" not in message.attributes:
            return  # RFC 8445, 7.1.1, has it in every check; aioice reads it unasked
        pairs = self._connection._check_list
        known = any(pair.protocol is protocol and pair.remote_addr == addr for pair in pairs)
        if not known and len(pairs) >= PAIRS:
            self._leave_out(1)
            return
        self._on_check(message, addr, protocol)
        for pair in pairs:
            if (
                pair.protocol is protocol
                and pair.remote_addr == addr
                and pair.state == CandidatePair.State.IN_PROGRESS
            ):
                protocol.check_again(addr)

    def _leave_out(self, count: int) -> None:
        if count > 0:
            if not self.left_out:
                logger.info("more than %d pairs of addresses: the rest is not checked", PAIRS)
            self.left_out += count

    def _check_start_task(self, pair: CandidatePair) -> None:
        if not self._is_held(pair):
            self._start(pair)

    def _is_held(self, pair: CandidatePair) -> bool:
        """Whether a pair has to wait for better ones; aioice offers it again every 20 ms."""
        if not self._connection.ice_controlling or not _is_relayed(pair):
            return False
        if asyncio.get_running_loop().time() >= self._relays_from:
            return False
        return any(
            not _is_relayed(other) and other.state != CandidatePair.State.FAILED
            for other in self._connection._check_list
        )

    async def _connect(self) -> None:
        """``Connection.connect``, but for the channels and for being woken when it is done."""
        connection = self._connection
        if not connection._local_candidates_end:
            raise ConnectionError("candidates were not gathered")
        if connection.remote_username is None or connection.remote_password is None:
            raise ConnectionError("the far end's user name or password is missing")
        for candidate in connection._remote_candidates:
            connection._pair_remote_candidate(candidate)
        connection.sort_check_list()
        self._leave_out(len(connection._check_list) - PAIRS)
        del connection._check_list[PAIRS:]  # those of the lowest priority
        connection._unfreeze_initial()
        self._relays_from = asyncio.get_running_loop().time() + DIRECT_HEAD_START
        channels = [asyncio.create_task(bind) for bind in self._channels()]
        try:
            completed = await self._check()
        finally:
            for task in channels:
                task.cancel()
            await asyncio.gather(*channels, return_exceptions=True)
            for pair in connection._check_list:
                if pair.task is not None:
                    pair.task.cancel()
        if not completed:
            raise ConnectionError("ICE negotiation failed")
        connection._query_consent_task = asyncio.create_task(connection.query_consent())

    async def _check(self) -> bool:
        connection = self._connection
        for early in connection._early_checks:
            connection.check_incoming(*early)
        connection._early_checks.clear()
        connection._early_checks_done = True
        while connection._check_periodic():
            try:
                async with asyncio.timeout(0.02):  # RFC 8445, 6.1.4.2: Ta
                    return bool(await connection._check_list_state.get() == ICE_COMPLETED)
            except TimeoutError:
                continue
        return bool(connection._check_list) and await connection._check_list_state.get() == ICE_COMPLETED

    def _channels(self) -> list[Coroutine[Any, Any, None]]:
        pairs = [pair for pair in self._connection._check_list if pair.protocol.client is not None]
        return [pair.protocol.client.open_channel(pair.remote_addr) for pair in pairs[:CHANNELS]]


def _is_relayed(pair: CandidatePair) -> bool:
    return "relay" in (pair.local_candidate.type, pair.remote_candidate.type)
