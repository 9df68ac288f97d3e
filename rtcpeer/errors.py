"""Everything rtcpeer raises on purpose, one class a phase of a call.

* RtcPeerError
    * ConfigurationError      what the user asked for cannot be done: fix the call
    * AuthError               the key or the token was refused
        * TokenExpired
    * SignalingError          the server answered a request with an error, or not at all
    * IceError                no network path to the far end
    * OpenTimeout             connected, but the session did not become ready in time; a TimeoutError, too
    * WaitTimeout             listen() or wait_for() waited in vain; a TimeoutError, too
    * ConnectionLost          an established session broke
    * ProtocolError
        * LocalProtocolError      this side may not say that
        * RemoteProtocolError     the other side said something malformed
    * Unsupported             the protocol has no such command
    * MediaError              a source, a sink or a codec failed

``retryable`` says whether the same call may succeed later, unchanged. No message holds a secret.
"""

from __future__ import annotations

import math
from typing import ClassVar

from .escaping import escaped


class RtcPeerError(Exception):
    """Base class; ``except RtcPeerError`` catches everything we raise on purpose."""

    phase: ClassVar[str] = "call"
    retryable: bool = False

    def __init__(self, *args: object) -> None:
        # A stranger's words in it must not steer the terminal that it is printed on.
        super().__init__(*(escaped(each) if isinstance(each, str) else each for each in args))


class ConfigurationError(RtcPeerError, ValueError):
    """What was asked for cannot be done; the message says which input and what to do."""

    phase = "configuration"


class AuthError(RtcPeerError):
    """The server refused our key or token."""

    phase = "authentication"


class TokenExpired(AuthError):
    """The token was good once; a fresh one may do."""

    retryable = True


class SignalingError(RtcPeerError):
    """A signaling request failed: the server answered with an error, with nonsense, or not at all.

    ``status`` is the HTTP status, or ``None`` when no response came.
    """

    phase = "signaling"

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        """Seconds the server asked us to wait (RFC 9110, 10.2.3), if it did."""
        self.retryable = status is None or status >= 500 or status in (408, 425, 429)


class IceError(RtcPeerError):
    """No candidate pair works, or the DTLS handshake over it failed."""

    phase = "ice"
    retryable = True


class OpenTimeout(RtcPeerError, TimeoutError):
    """The path is there, but the session did not become ready in time."""

    phase = "open"
    retryable = True


class WaitTimeout(RtcPeerError, TimeoutError):
    """What was waited for did not come in the time given; the session goes on."""

    phase = "session"
    retryable = True


class ConnectionLost(RtcPeerError):
    """An established session broke without a goodbye."""

    phase = "session"
    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = self.args[0]


class ProtocolError(RtcPeerError):
    """A message that the protocol does not allow."""

    phase = "protocol"


class LocalProtocolError(ProtocolError):
    """This side may not say that."""


class RemoteProtocolError(ProtocolError):
    """The other side said something malformed."""


class Unsupported(RtcPeerError):
    """The protocol has no such command."""

    phase = "protocol"


class MediaError(RtcPeerError):
    """A source, a sink or a codec failed; the message names it."""

    phase = "media"


def check_timeout(name: str, seconds: float | None) -> None:
    """Refuse a limit that is not a number: everything compared with it is false, and it would never expire.

    Raises:
        ConfigurationError: ``seconds`` is NaN.
    """
    if seconds is not None and math.isnan(seconds):
        raise ConfigurationError(f"{name} is {seconds}: give seconds, or None for no limit")
