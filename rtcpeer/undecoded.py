"""A session's audio without a codec: packets as they come, ready ones to send, pipes to other sessions, keys pressed.

Three want the one outgoing stream: what is played as PCM goes first, then ready packets, then what another session is
piped in from. A key pressed (RFC 4733) takes its time from all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from .audio.dtmf import EventSender
from .audio.packets import SILENT_PACKET, OpusPacket, PacketPlayback, Packets, PacketSource
from .audio.source import name_of
from .errors import MediaError, Unsupported
from .events import ErrorReported
from .formats import VOICE
from .said import Said
from .transports.link import Link

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger(__name__)

PacketTap = Callable[[OpusPacket, bool], None]
"""Called with a received packet, and whether it is a telephone event and no audio."""


class Undecoded:
    """One session's; the session asks ``say`` every 20 ms, before it says anything itself.

    Args:
        started: The loop's time at ``connect()``.
        report: Told of taps that failed.
    """

    def __init__(self, started: float, report: Callable[[Said], None]) -> None:
        self._report = report
        self.packets = Packets()
        self.failures: deque[MediaError] = deque(maxlen=10)
        """What went wrong in packet sources and was not reported yet; the session takes them out."""
        self.feeds = 0
        """How many pipes send through this session."""
        self._started = started
        self._link: Link | None = None
        self._taps: list[PacketTap] = []
        self._watching = False
        self._playbacks: deque[PacketPlayback] = deque()
        self._silences = 0
        self._keys: EventSender | None = None
        self._keys_done: asyncio.Future[None] | None = None
        self._key_frame = 0

    # What arrives

    def attach(self, link: Link) -> None:
        """The transport is up."""
        self._link = link
        if self._watching:
            link.watch_packets(self._on_packet)

    def watch(self) -> None:
        """Somebody wants packets. Raises Unsupported."""
        if not self._watching and self._link is not None:
            self._link.watch_packets(self._on_packet)
        self._watching = True

    def tap(self, tap: PacketTap) -> None:
        """Hand every packet to ``tap``, as it arrives: it must be quick. One that raises is called no more.

        Raises:
            Unsupported: the protocol carries no Opus.
        """
        self.watch()
        self._taps.append(tap)

    def untap(self, tap: PacketTap) -> None:
        if tap in self._taps:
            self._taps.remove(tap)

    def _on_packet(self, packet: OpusPacket, is_event: bool) -> None:
        assert packet.t is not None
        t = round(packet.t - self._started, 6)
        # Written out, because ``replace`` takes three times as long.
        packet = OpusPacket(packet.payload, packet.timestamp, packet.sequence_number, packet.marker, t)
        for tap in tuple(self._taps):
            try:
                tap(packet, is_event)
            except Exception as exc:  # somebody else's code, called by the socket: the call goes on without it
                self.untap(tap)
                name = getattr(tap, "__qualname__", tap)
                logger.exception("the tap %s failed: it is called no more", name)
                self._report(ErrorReported(f"the tap {name} failed: {type(exc).__name__}: {exc}", code="tap"))
        if not is_event:
            self.packets.put(packet)

    # What goes out

    def play(self, source: PacketSource) -> PacketPlayback:
        """Queue a source of packets. Raises MediaError: a hundred are waiting already."""
        if len(self._playbacks) >= 100:
            raise MediaError(f"{name_of(source)}: 100 sources are waiting to be sent already")
        playback = PacketPlayback(source)
        self._playbacks.append(playback)
        return playback

    @property
    def idle(self) -> bool:
        """No packets are being sent and none wait to be; a pipe does not count."""
        return not self._playbacks

    def press(self, digits: str, duration: float, gap: float) -> asyncio.Future[None]:
        """Queue keys; the result is done when the last was sent. Raises ConfigurationError, Unsupported."""
        if self._link is None or self._link.event_rate is None:
            raise Unsupported("the far end takes no telephone events (RFC 4733): play a DtmfSource instead")
        if self._keys is None:
            self._keys = EventSender(self._link.event_rate)
        self._keys.add(digits, duration, gap)
        if self._keys_done is None:
            self._keys_done = asyncio.get_running_loop().create_future()
        return self._keys_done

    def say(self, link: Link, frame: int, *, speaking: bool) -> bool:
        """Send what is due; return whether these 20 ms are taken, so that nothing else is to be said in them.

        Args:
            speaking: There is PCM to be sent.
        """
        if self._keys is not None and self._keys.active:
            event = self._keys.next()
            if event is not None:
                if event.first:
                    self._key_frame = frame
                link.send_event(event, self._key_frame)
                return True
            if self._keys_done is not None and self._keys.done:
                self._keys_done.set_result(None)
                self._keys_done = None
        if speaking:
            return False
        if self._playbacks:
            playback = self._playbacks[0]
            for packet in playback.due():
                link.send_packet(packet, playback)
            self._take_out_finished()
            return True
        return self.feeds > 0

    def skip(self) -> bool:
        """There is no connection: let 20 ms go by unsent; return whether anything was to be sent."""
        if not self._playbacks:
            return False
        self._playbacks[0].skip()
        self._take_out_finished()
        return True

    def _take_out_finished(self) -> None:
        playback = self._playbacks[0]
        if playback.done:
            self._playbacks.popleft()
            if isinstance(playback.error, MediaError):
                self.failures.append(playback.error)

    def break_off(self) -> None:
        """The connection is gone: keys that were not pressed yet are meant for nobody who comes after."""
        self._keys = None
        if self._keys_done is not None:
            self._keys_done.cancel()
            self._keys_done = None

    def say_silence(self, link: Link, frame: int) -> None:
        """Send 20 ms of silence that nobody encoded: a far end that hears nothing at all takes us for lost."""
        link.send_packet(OpusPacket(SILENT_PACKET, frame * VOICE.frame_samples, self._silences), self)
        self._silences += 1

    def close(self) -> None:
        """The session is over."""
        self.packets.end()
        self._taps.clear()
        for playback in tuple(self._playbacks):
            playback.cancel()
        self._playbacks.clear()
        self.break_off()


class Pipe:
    """What one session receives, sent on by another as it came: no codec, pauses and losses kept.

    The other session's SSRC, sequence numbers and timestamps go on without a jump; what was lost on the way here is
    missing there, too. It ends with either session.
    """

    def __init__(self, source: Session, target: Session) -> None:
        self.packets_sent = 0
        self.packets_held_back = 0
        """Not sent, because the other session was speaking itself, or had no connection."""
        self._source, self._target = source, target
        self._stopped = False
        source.undecoded.tap(self._forward)
        target.undecoded.feeds += 1
        for session in (source, target):
            session.on_close(self.stop)

    def stop(self) -> None:
        """Send on no more; twice is harmless."""
        if not self._stopped:
            self._stopped = True
            self._source.undecoded.untap(self._forward)
            self._target.undecoded.feeds -= 1
            for session in (self._source, self._target):
                session.off_close(self.stop)

    def _forward(self, packet: OpusPacket, is_event: bool) -> None:
        target = self._target
        if target.link is None:
            return
        if not target.idle or not target.connected:
            self.packets_held_back += 1
            return
        target.link.send_packet(packet, self, event=is_event)
        self.packets_sent += 1
