"""What a link is: it moves one codec's messages and one call's audio over one transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from aiortc import MediaStreamTrack
from numpy.typing import NDArray

from ..audio.dtmf import EventPacket
from ..audio.jitter import PlayoutFrame
from ..audio.level import Level
from ..audio.packets import OpusPacket
from ..errors import MediaError, RtcPeerError, Unsupported
from ..formats import OpusSettings
from ..netem import NetworkConditions
from ..protocols.base import Message, VoiceProtocol
from ..said import Said

NO_STATS: dict[str, Any] = {
    "inbound_audio": {},
    "outbound_audio": {},
    "inbound_video": {"frames_received": 0},
    "candidate_pair": None,
    "negotiated": None,
    "netem": None,
}
"""The figures of a call that has no link yet; a link gives the same names."""


PacketWatcher = Callable[[OpusPacket, bool], None]
"""Called with a received packet, ``t`` being the loop's time, and whether it is a telephone event (RFC 4733)."""


VideoDirection = Literal["ours", "theirs"]
VideoWatcher = Callable[[VideoDirection, bytes, int], None]
"""Called with a whole VP8 frame and its RTP timestamp, which counts at 90 kHz."""


class LinkListener(Protocol):
    """What a link reports, from the event loop, synchronously; a session is one."""

    def on_said(self, said: Said) -> None: ...
    def report(self, said: Said) -> None: ...
    def on_refused(self, reason: str) -> None: ...
    def on_media_error(self, error: MediaError) -> None: ...
    def on_ended(self, reason: Literal["remote", "lost"], detail: str) -> None: ...


class Reports:
    """Passes on what one link reports, until it is retired: a link that was replaced has nothing more to say."""

    def __init__(self, listener: LinkListener) -> None:
        self._listener: LinkListener | None = listener

    def retire(self) -> None:
        self._listener = None

    def on_said(self, said: Said) -> None:
        if self._listener is not None:
            self._listener.on_said(said)

    def report(self, said: Said) -> None:
        if self._listener is not None:
            self._listener.report(said)

    def on_refused(self, reason: str) -> None:
        if self._listener is not None:
            self._listener.on_refused(reason)

    def on_media_error(self, error: MediaError) -> None:
        if self._listener is not None:
            self._listener.on_media_error(error)

    def on_ended(self, reason: Literal["remote", "lost"], detail: str) -> None:
        if self._listener is not None:
            self._listener.on_ended(reason, detail)


class Link(ABC):
    """An open way to the far end, as a session uses it. Opening it is each transport's own business."""

    protocol: VoiceProtocol
    reports: Reports
    failure: RtcPeerError | None = None
    """What ended the connection, unless it was a goodbye; the class says whether trying again may help."""

    heir: Link | None = None
    """Another that is being brought up to take its place: it is on the same emulated network."""

    @property
    @abstractmethod
    def was_ready(self) -> bool:
        """It came to be, whatever became of it."""

    @property
    @abstractmethod
    def conditions(self) -> NetworkConditions:
        """What is done to its traffic (``impair``)."""

    def succeed(self, old: Link) -> None:
        """Go on where ``old`` broke off, with its settings and its counters; this one is open."""
        if self.conditions != old.conditions:
            self.impair(old.conditions)

    def retire(self) -> None:
        """Another took its place: from now on nobody is told what happens to this one. It is still to be closed."""
        self.reports.retire()
        self.heir = None

    @property
    def sends_silence(self) -> bool:
        """Whether frames in which nothing is being played are to be sent, too."""
        return True

    def send(self, said: Said) -> None:
        """Say it in the protocol's words.

        Raises:
            Unsupported, LocalProtocolError: the protocol has no such message for this side.
            ConnectionLost: the far end cannot be told, or does not listen.
        """
        self.send_messages(self.protocol.send(said))

    @abstractmethod
    def send_messages(self, messages: Sequence[Message]) -> None:
        """Send messages as they are. Raises as ``send``."""

    @abstractmethod
    def send_audio(self, pcm: NDArray[np.int16], frame: int, *, voiced: bool, level: Level | None = None) -> None:
        """Send one 20 ms frame, ``(960, 1)`` at 48 kHz; nothing happens before the transport is up.

        Args:
            frame: Number of the frame on this call's clock.
            level: Its level, where somebody knows it already.
        """

    def finish_audio(self) -> None:  # noqa: B027 — most transports hold nothing back
        """What was sent is all there is for now: send what is held back of it."""

    @abstractmethod
    def hear(self, now: float) -> PlayoutFrame:
        """Return the 20 ms to be heard now: exactly one frame a tick, always."""

    def cut_off(self) -> bool:
        """Drop what waits to be heard, and what comes, until ``go_on`` or until it is another turn's by its number.

        ``False``: this transport holds next to nothing; what it plays out is not to be handed on.
        """
        return False

    @property
    def cut(self) -> bool:
        """What comes is being dropped, see ``cut_off``."""
        return False

    def cut_sounded(self) -> bool:
        """Return whether anything audible was dropped since this was asked last."""
        return False

    def go_on(self) -> None:  # noqa: B027 — see ``cut_off``
        """What comes now is another turn's: let it be heard."""

    @property
    def waiting(self) -> float:
        """Seconds of the far end's turn that came ahead of their time and wait to be heard."""
        return 0.0

    def note_interrupted(self, samples: int) -> None:  # noqa: B027 — not every link counts
        """Count samples that came out of ``hear`` and were not handed on, because their turn was cut off."""

    @property
    def played(self) -> float | None:
        """Seconds of the far end's turn that were really handed on; ``None``: this transport knows no turns."""
        return None

    def end_turn(self) -> None:  # noqa: B027 — see ``played``
        """The far end's turn is over: what comes now is another's."""

    def send_packet(self, packet: OpusPacket, origin: object, *, event: bool = False) -> None:
        """Send a ready packet now; nothing happens before the transport is up.

        Args:
            origin: Who counts its numbers: where another takes over, the stream goes on without a jump.
            event: It is a telephone event (RFC 4733), left out where the far end knows none.

        Raises:
            Unsupported: this transport does not carry Opus.
        """
        raise Unsupported(f"{self.protocol.profile.name} does not carry Opus packets as RTP")

    def check_audio(self) -> None:  # noqa: B027 — most transports carry audio both ways, or the protocol says so
        """Raises Unsupported: the far end of this call takes no audio."""

    def check_packets(self) -> None:
        """Raises Unsupported: this call does not carry Opus."""
        raise Unsupported(f"{self.protocol.profile.name} does not carry Opus packets as RTP")

    def watch_packets(self, watcher: PacketWatcher) -> None:
        """Hand every audio packet that arrives to ``watcher``, undecoded. Raises Unsupported."""
        raise Unsupported(f"{self.protocol.profile.name} does not carry Opus packets as RTP")

    @property
    def event_rate(self) -> int | None:
        """Ticks a second in which telephone events (RFC 4733) are timed; ``None``: the far end takes none."""
        return None

    def send_event(self, packet: EventPacket, frame: int) -> None:
        """Send one packet of a telephone event that began at ``frame``, in place of its audio. Raises Unsupported."""
        raise Unsupported(f"{self.protocol.profile.name} does not carry telephone events")

    def set_opus(self, settings: OpusSettings) -> None:
        """Code what is sent like this, from the next frame on.

        Raises:
            Unsupported: this transport does not carry Opus.
        """
        raise Unsupported(f"{self.protocol.profile.name} sends no Opus")

    def adapt(self) -> None:  # noqa: B027 — most transports have nothing to adapt
        """Follow what the far end reports of the network; called once a second."""

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Return at least what ``NO_STATS`` names, JSON types only."""

    def receive_video(self) -> MediaStreamTrack | None:
        """Start decoding what comes as video; ``None``: there is none."""
        return None

    def watch_video(self, watcher: VideoWatcher) -> tuple[VideoDirection, ...]:
        """Hand every VP8 frame that is sent or received to ``watcher``; return which of the two there can be."""
        return ()

    @abstractmethod
    def impair(self, conditions: NetworkConditions) -> None:
        """Do this to our traffic from now on, to what we send and what we receive."""

    def close_channel(self) -> None:  # noqa: B027 — most transports have one channel for all
        """Close the way for messages alone."""

    @abstractmethod
    async def close(self) -> None:
        """Say goodbye and release everything."""

    @abstractmethod
    async def abandon(self) -> None:
        """Vanish without a goodbye, as a killed process does."""
