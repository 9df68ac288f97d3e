"""What is sent in the audio benchmarks, and what becomes of each packet: the same bytes and the same fates for all.

The sender is rtcpeer's encoder (Opus, mono, 40 kb/s, in-band FEC: the defaults). The loss it expects follows receiver
reports once a second, as ``RtcLink.adapt`` has it; but the reports are reckoned from the fates that the packets are
to meet, so that every receiver gets the same packets, whatever it reports itself and when.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtcpeer.audio.opus import OpusEncoder
from rtcpeer.formats import OpusSettings
from rtcpeer.netem import Emulator, NetworkConditions

from .speech import FRAME, RATE

Fates = list[list[float]]
"""For each packet in the order of sending, how many seconds later its copies arrive; empty: it is lost."""

FRAME_SECONDS = FRAME / RATE
DEFAULT = OpusSettings()
_PACKET_BYTES = 120  # sizes matter to a network with a limited rate only
_REPORT_EVERY = 50  # packets


def packet_fates(conditions: NetworkConditions, seed: int, packets: int) -> Fates:
    """Draw what the network does to so many packets, 20 ms apart."""
    emulator = Emulator(conditions, seed)
    fates = []
    for number in range(packets):
        now = number * FRAME_SECONDS
        fates.append([arrival - now for arrival in emulator.send(_PACKET_BYTES, now)])
    return fates


def encode(pcm: NDArray[np.int16], fates: Fates) -> list[bytes]:
    """Encode ``(samples, 1)``, one payload a frame, by what receiver reports say of the packets before."""
    encoder = OpusEncoder(RATE, bitrate=DEFAULT.bitrate, application=DEFAULT.application)
    payloads = []
    loss = 0.0
    highest = received = expected_before = received_before = 0
    for number in range(len(pcm) // FRAME):
        if number and number % _REPORT_EVERY == 0:
            # RFC 3550, A.3: loss is known once something later has come.
            expected, came = highest - expected_before, received - received_before
            expected_before, received_before = highest, received
            fraction = int(256 * max(0, expected - came) / expected) / 256 if expected > 0 else 0.0
            loss = max(fraction, 0.8 * loss)
            encoder.packet_loss = min(30, round(100 * loss))
        payloads.append(encoder.encode(pcm[number * FRAME : (number + 1) * FRAME]))
        if fates[number]:
            highest = number + 1
            received += 1
    return payloads
