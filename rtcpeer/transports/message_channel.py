"""One codec's messages over a WebRTC DataChannel, within bounds.

Handlers are synchronous: aiortc runs asynchronous ones as tasks of their own, which reorders messages and loses the
first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiortc import RTCDataChannel, RTCPeerConnection

from ..errors import ConnectionLost, LocalProtocolError, RemoteProtocolError
from ..protocols.base import Message, VoiceProtocol
from . import aiortc_compat
from .link import LinkListener

MESSAGE_LIMIT = 1024 * 1024
"""Bytes. A longer DataChannel message is refused without being kept."""
OVERSIZE_LIMIT = 16
"""So many messages over the limit, and the far end is hung up on; malformed ones are refused for ever."""
BUFFERED_LIMIT = 4 * 1024 * 1024
"""Bytes waiting to be sent on the channel before we call the far end stuck."""


class MessageChannel:
    """The channel that the protocol names, ours or the far end's.

    Args:
        on_open: Called when messages can go.
        on_close: Called when the far end has closed it.
        on_abuse: Called with the reason when the far end is to be hung up on.
    """

    def __init__(
        self,
        protocol: VoiceProtocol,
        listener: LinkListener,
        *,
        on_open: Callable[[], None],
        on_close: Callable[[], None],
        on_abuse: Callable[[str], None],
    ) -> None:
        self.channel: RTCDataChannel | None = None
        self._protocol = protocol
        self._listener = listener
        self._on_open = on_open
        self._on_close = on_close
        self._on_abuse = on_abuse
        self._oversize = 0
        self._closing = False  # by us

    def create(self, pc: RTCPeerConnection) -> None:
        """Make it; before the offer, or the offer has no line for it."""
        self._use(pc.createDataChannel(self._protocol.profile.channel))

    def expect(self, pc: RTCPeerConnection) -> None:
        """Take the far end's when it comes; any other is refused."""
        pc.on("datachannel", self._take)

    def guard(self, pc: RTCPeerConnection) -> None:
        """Keep what is received within bounds; once the offer or answer is being made."""
        aiortc_compat.guard_channel(pc, MESSAGE_LIMIT, self._on_oversize, self._listener.on_refused)

    def send(self, messages: Sequence[Message]) -> None:
        """Send them in order.

        Raises:
            ConnectionLost: it is not open, or the far end takes nothing.
            LocalProtocolError: a message is longer than the far end takes.
        """
        for message in messages:
            if self.channel is None or self.channel.readyState != "open":
                raise ConnectionLost("the data channel is not open")
            if self.channel.bufferedAmount > BUFFERED_LIMIT:
                raise ConnectionLost(f"the far end takes no messages: {self.channel.bufferedAmount} bytes wait")
            try:
                self.channel.send(message)
            except ValueError as exc:
                raise LocalProtocolError(str(exc)) from exc

    def close(self) -> None:
        self._closing = True
        if self.channel is not None:
            self.channel.close()

    def _take(self, channel: RTCDataChannel) -> None:
        if channel.label == self._protocol.profile.channel and self.channel is None:
            self._use(channel)
        else:
            self._listener.on_refused(f"a data channel named {channel.label[:80]!r}: not this protocol's")

    def _use(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        channel.on("message", self._on_message)
        channel.on("open", self._on_open)
        channel.on("close", self._on_close)
        aiortc_compat.watch_closing(channel, self._on_closing)
        if channel.readyState == "open":
            self._on_open()

    def _on_closing(self) -> None:
        if not self._closing:
            self._on_close()

    def _on_message(self, message: Message) -> None:
        try:
            said = self._protocol.receive(message)
        except RemoteProtocolError as exc:
            self._listener.on_refused(str(exc))
            return
        for each in said:
            self._listener.on_said(each)

    def _on_oversize(self, reason: str) -> None:
        self._listener.on_refused(reason)
        self._oversize += 1
        if self._oversize == OVERSIZE_LIMIT:
            self._on_abuse(f"hung up: the far end sent {OVERSIZE_LIMIT} messages over {MESSAGE_LIMIT} bytes")
