"""What a call's media did, counted: the names of W3C webrtc-stats in snake_case.

A name that the specification does not have says "ours". Durations are seconds, samples are per channel, counters only
ever grow. Source: https://www.w3.org/TR/webrtc-stats/
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar


@dataclass(slots=True)
class InboundAudioStats:
    """One received audio stream: ``RTCInboundRtpStreamStats``."""

    packets_received: int = 0
    """Duplicates and discarded ones too, as RFC 3550 counts."""
    packets_lost: int = 0
    """Expected less received (RFC 3550, A.3); negative when there were duplicates."""
    packets_discarded: int = 0
    """Came too late, or were pushed out of a full buffer."""
    packets_duplicated: int = 0
    """Ours: the same sequence number again."""
    packets_unplayable: int = 0
    """Ours: a payload type that was not negotiated."""
    packets_malformed: int = 0
    """Ours: the decoder refused the payload; their time was concealed."""
    bytes_received: int = 0
    """Payload only."""
    jitter: float = 0.0
    """Interarrival jitter (RFC 3550, 6.4.1)."""
    fec_packets_received: int = 0
    """Packets that carried in-band FEC for the one before."""
    fec_recovered_samples: int = 0
    """Ours: lost samples that were decoded from the next packet. They are not concealed ones."""

    jitter_buffer_delay: float = 0.0
    """Sum over the emitted samples of the time since their packet came: divide by ``jitter_buffer_emitted_count``."""
    jitter_buffer_target_delay: float = 0.0
    """Sum over the emitted samples of the delay the buffer aimed at: divide as above."""
    jitter_buffer_emitted_count: int = 0
    """Samples that came out of packets."""

    total_samples_received: int = 0
    """Samples played out, concealed and silent ones included."""
    concealed_samples: int = 0
    """Samples made up here because theirs were missing. A pause that the sender announced (DTX) is not missing."""
    silent_concealed_samples: int = 0
    """Those of them that had already faded to comfort noise or silence."""
    concealment_events: int = 0
    inserted_samples_for_deceleration: int = 0
    removed_samples_for_acceleration: int = 0
    discarded_samples: int = 0
    """Ours: came and were dropped unheard, because too much waited."""
    interrupted_samples: int = 0
    """Ours: came and were dropped unheard, because their turn was cut off."""
    restarts: int = 0
    """Ours: the stream began anew: another SSRC, or sequence numbers or timestamps that jumped."""

    audio_level: float = 0.0
    """RMS of the last frame; 1.0 is 0 dBov."""
    total_audio_energy: float = 0.0
    """Sum of level² × duration."""
    total_samples_duration: float = 0.0

    def since(self, before: InboundAudioStats) -> InboundAudioStats:
        """Return the figures of both, one stream after the other: counters add up, the rest is the later one's."""
        return _added(self, before, ("jitter", "audio_level"))

    def to_dict(self) -> dict[str, Any]:
        """Return ``{name: value}`` of JSON types."""
        return asdict(self)


@dataclass(slots=True)
class OutboundAudioStats:
    """One sent audio stream: ``RTCOutboundRtpStreamStats``, with what the far end reports of it."""

    packets_sent: int = 0
    bytes_sent: int = 0
    """Payload only."""
    target_bitrate: float = 0.0
    """Bits a second the encoder is set to."""
    packets_lost: int = 0
    """Remote-inbound: what the last receiver report says, since the start."""
    fraction_lost: float | None = None
    """Remote-inbound: 0 to 1, in the interval of the last receiver report; ``None`` until there was one."""
    jitter: float = 0.0
    """Remote-inbound."""
    round_trip_time: float | None = None
    """Remote-inbound; ``None`` until a receiver report told."""

    def since(self, before: OutboundAudioStats) -> OutboundAudioStats:
        """Return the figures of both, one stream after the other: counters add up, the rest is the later one's."""
        return _added(self, before, ("target_bitrate", "fraction_lost", "jitter", "round_trip_time"))

    def to_dict(self) -> dict[str, Any]:
        """Return ``{name: value}`` of JSON types."""
        return asdict(self)


S = TypeVar("S", InboundAudioStats, OutboundAudioStats)


def _added(now: S, before: S, gauges: tuple[str, ...]) -> S:
    counters = (each.name for each in fields(now) if each.name not in gauges)
    return replace(now, **{name: getattr(before, name) + getattr(now, name) for name in counters})
