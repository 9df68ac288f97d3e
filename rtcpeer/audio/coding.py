"""The codecs that a call can hear and speak over RTP, by their encoding names in lower case (RFC 4855)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..formats import VOICE, OpusSettings
from .g711 import G711Decoder, G711Encoder
from .jitter import Decoder
from .opus import OpusDecoder, OpusEncoder

DECODERS: Mapping[str, Callable[[], Decoder]] = {
    "opus": OpusDecoder,
    "pcmu": partial(G711Decoder, "mu"),
    "pcma": partial(G711Decoder, "A"),
}
"""What we offer and accept, the best first."""

# Ours are as long as a tick; shorter ones only for who takes no more at a time. All are lengths of Opus frames.
_PACKET_TIMES = (0.02, 0.01, 0.005, 0.0025)


@dataclass(frozen=True, slots=True)
class ReceiverWishes:
    """What the far end wants to receive; the defaults are what it means when it says nothing (RFC 7587, 6.1)."""

    fec: bool = False
    """It makes use of Opus's in-band FEC."""
    dtx: bool = False
    """It would rather get nothing than silence."""
    bitrate: int | None = None
    """Bits a second, on average, at most."""
    playback_rate: int = VOICE.sample_rate
    """Hz: what it plays at; finer detail is lost on it."""
    packet_time: float | None = None
    """Seconds that a packet may last at most."""


class VoiceEncoder:
    """What we say, 20 ms at a time, as the payloads of RTP packets.

    Packets last 20 ms, whatever ``ptime`` is preferred: longer ones would wait for the next tick, shorter ones cost
    more headers than voice. Only a ``maxptime`` below is obeyed. Opus is mono, whoever wants stereo.

    Args:
        codec: One of ``DECODERS``.
        settings: Of Opus, within the far end's wishes; G.711 has nothing to set.
    """

    def __init__(
        self,
        codec: str = "opus",
        wishes: ReceiverWishes | None = None,
        settings: OpusSettings | None = None,
    ) -> None:
        self._wishes = wishes = wishes or ReceiverWishes()
        self.codec = codec
        self._opus: OpusEncoder | None = None
        self._encoder: OpusEncoder | G711Encoder
        if codec == "opus":
            self._encoder = self._opus = self._make_opus(settings or OpusSettings())
        else:
            self._encoder = G711Encoder("mu" if codec == "pcmu" else "A")
        longest = wishes.packet_time or _PACKET_TIMES[0]
        fitting = next((each for each in _PACKET_TIMES if each <= longest), _PACKET_TIMES[-1])
        self._samples = round(fitting * VOICE.sample_rate)
        self._factor = VOICE.sample_rate // self.clock_rate
        self._loss = 0.0
        self._silent = False

    def _make_opus(self, settings: OpusSettings) -> OpusEncoder:
        wishes = self._wishes
        return OpusEncoder(
            VOICE.sample_rate,
            bitrate=min(settings.bitrate, wishes.bitrate or settings.bitrate),
            complexity=settings.complexity,
            fec=settings.fec and wishes.fec,
            packet_loss=self._opus.packet_loss if self._opus is not None else 0,
            dtx=settings.dtx or wishes.dtx,
            playback_rate=wishes.playback_rate,
            application=settings.application,
        )

    def use(self, settings: OpusSettings) -> None:
        """Code Opus like this from the next packet on, within the far end's wishes."""
        if self._opus is None:
            return
        if settings.application != self._opus.application:
            # libopus does not change it while it codes.
            self._encoder = self._opus = self._make_opus(settings)
            return
        wishes = self._wishes
        self._opus.bitrate = min(settings.bitrate, wishes.bitrate or settings.bitrate)
        self._opus.complexity = settings.complexity
        self._opus.fec = settings.fec and wishes.fec
        self._opus.dtx = settings.dtx or wishes.dtx

    @property
    def clock_rate(self) -> int:
        """Ticks of the RTP timestamp a second."""
        return self._encoder.clock_rate

    @property
    def bitrate(self) -> int:
        """Bits of payload a second that are aimed at."""
        return self._opus.bitrate if self._opus is not None else 8 * self.clock_rate

    def encode(self, pcm: NDArray[np.int16], frame: int) -> Iterator[tuple[bytes, int]]:
        """Yield the packets of one frame, ``(960, 1)`` at 48 kHz: payload, and timestamp in ticks since frame 0.

        With DTX there may be none: the first packet of a pause announces it, the others say nothing new.
        """
        for at in range(0, len(pcm), self._samples):
            payload = self._encoder.encode(pcm[at : at + self._samples])
            was_silent = self._silent
            self._silent = self._opus is not None and self._opus.dtx and len(payload) <= 2
            if not (self._silent and was_silent):
                yield payload, (frame * VOICE.frame_samples + at) // self._factor

    def adapt(self, fraction_lost: float) -> None:
        """Follow what the far end's last report says of our packets, 0 to 1; to be called once a second."""
        if self._opus is not None:
            # A fixed expected loss costs a clean call 0.7 PESQ, none at all costs a lossy one its FEC.
            # Rise at once, fall slowly: the next burst is likelier than not.
            self._loss = max(fraction_lost, 0.8 * self._loss)
            self._opus.packet_loss = min(30, round(100 * self._loss))
