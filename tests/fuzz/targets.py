"""What is fuzzed: functions of some bytes that must return, whatever the bytes are, in bounded memory.

``test_fuzz.py`` gives them Hypothesis's bytes on every run, ``guided.py`` those that reach new code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver

from rtcpeer.audio.coding import DECODERS
from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.audio.opus import OpusDecoder, packet_samples
from rtcpeer.errors import ConfigurationError, MediaError
from rtcpeer.netem import NetworkConditions
from rtcpeer.transports.aiortc_compat import AudioReceiver
from rtcpeer.transports.rtp import parse
from rtcpeer.transports.sdp import media_kinds, receiver_wishes, with_opus_parameters

FRAME = 960
TYPES = {96: "opus", 0: "pcmu", 8: "pcma"}
KNOWN = tuple(TYPES)


class Bytes:
    """Bytes taken off the front; zeros once there are none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")


def check_bounds(playout: Playout) -> None:
    assert len(playout._queue) <= 100
    assert len(playout._pcm) <= 20 * FRAME
    assert len(playout._decoders) <= len(TYPES)
    assert 0.02 <= playout.target_delay <= 0.4
    for name, value in playout.stats.to_dict().items():
        assert np.isfinite(value)
        assert value >= 0 or name == "packets_lost"


def playout(data: bytes) -> None:
    """A program for the playout: packets near to and far from what is expected, ticks, and time that passes."""
    given = Bytes(data)
    under_test = Playout({number: DECODERS[name] for number, name in TYPES.items()})
    now, sequence, timestamp, ssrc, frames = 0.0, 0, 0, 1, 0
    payload_type = KNOWN[0]
    while given:
        operation = given.number(1)
        match operation & 7:
            case 0 | 1 | 2:  # the next one
                sequence += 1
                timestamp += FRAME
            case 3:  # one nearby
                sequence += operation // 8 - 16
                timestamp += (operation // 8 - 16) * FRAME
            case 4:  # anything
                sequence, timestamp = given.number(2), given.number(4)
            case 5:  # another stream
                ssrc, payload_type = operation // 64, KNOWN[operation // 8 % len(KNOWN)]
            case 6:
                for _ in range(operation // 8 + 1):
                    assert (FRAME, 1) == under_test.get(now).samples.shape
                    frames += 1
                    now += 0.02
                continue
            case 7:
                now += (operation // 8) ** 3 / 1000
                continue
        payload = given.take(given.number(1) * (1 + 15 * (operation >> 7)))
        number = payload_type if operation & 0x70 else given.number(1) & 0x7F
        under_test.put(MediaPacket(sequence & 0xFFFF, timestamp & 0xFFFF_FFFF, number, ssrc, payload), now)
        check_bounds(under_test)
    under_test.get(now)
    assert (frames + 1) * FRAME == under_test.stats.total_samples_received


class _Transport:
    """As much of a transport as a receiver asks for when it is made."""

    state = "connected"


def datagrams(data: bytes) -> None:
    """Datagrams off the wire, each with its length before it, through the parser and the receiver to the playout."""
    under_test = Playout({number: DECODERS[name] for number, name in TYPES.items()})
    now = 0.0
    receiver: Any = RTCRtpReceiver("audio", _Transport())  # type: ignore[arg-type]
    audio = AudioReceiver(receiver, lambda packet: under_test.put(packet, now), lambda: None)
    for number, name in TYPES.items():
        rate = 48_000 if name == "opus" else 8_000
        receiver._RTCRtpReceiver__codecs[number] = RTCRtpCodecParameters(f"audio/{name}", rate, payloadType=number)
    given = Bytes(data)
    while given:
        datagram = given.take(given.number(1) * 6 % 1500)
        packet = parse(datagram)
        if packet is not None:
            assert len(packet.payload) <= len(datagram) - 12
            audio.take(packet)
        now += 0.02
        under_test.get(now)
        check_bounds(under_test)
        assert len(receiver._RTCRtpReceiver__remote_streams) <= 31


def opus(data: bytes) -> None:
    """Payloads for one decoder: decoded, recovered from, concealed."""
    given, decoder = Bytes(data), OpusDecoder()
    while given:
        operation = given.number(1)
        payload = given.take(given.number(1) * (1 + 4 * (operation >> 7)))
        steps: list[Callable[[], object]] = [partial(packet_samples, payload), partial(decoder.decode, payload)]
        if operation & 1 and decoder.has_fec(payload):
            steps.insert(1, partial(decoder.recover, payload, 120 * (1 + operation % 48)))
        if operation & 2:
            steps.append(partial(decoder.conceal, 120 * (operation % 64)))
        for step in steps:
            try:
                result = step()
            except MediaError:
                continue
            if isinstance(result, np.ndarray):
                assert (len(result), 1) == result.shape
                assert len(result) <= 48 * 120


def g711(data: bytes) -> None:
    """The same for G.711."""
    given = Bytes(data)
    decoder = DECODERS["pcma" if given.number(1) & 1 else "pcmu"]()
    while given:
        operation = given.number(1)
        payload = given.take(given.number(1) * (1 + 4 * (operation >> 7)))
        try:
            assert 6 * len(payload) == len(decoder.decode(payload))
        except MediaError:
            assert len(payload) == 0 or len(payload) > 960
        if operation & 1:
            assert 120 * operation == len(decoder.conceal(120 * operation))


def sdp(data: bytes) -> None:
    """What we read out of SDP by ourselves; aiortc's parser may refuse it afterwards."""
    text = data.decode("utf-8", "replace")
    receiver_wishes(text)
    media_kinds(text)
    with_opus_parameters(text)


def netem(data: bytes) -> None:
    """A description of a network: read, or refused with our own error."""
    try:
        conditions = NetworkConditions.parse(data.decode("utf-8", "replace"))
    except ConfigurationError:
        return
    assert conditions == NetworkConditions.parse(str(conditions))


def _packets(*payloads: bytes) -> bytes:
    """Datagrams as the target wants them."""
    header = struct.pack("!BBHLL", 0x80, 96, 1, 960, 7)
    return b"".join(
        bytes([size]) + (header + payload).ljust(size * 6, b"\0")
        for payload in payloads
        for size in (len(header + payload) // 6 + 1,)
    )


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (playout, datagrams, opus, g711, sdp, netem)
}
SEEDS: Mapping[str, tuple[bytes, ...]] = {
    "playout": (bytes([16, 3, 0xF8, 0xFF, 0xFE, 0xFE]) * 8,),
    "datagrams": (_packets(b"\xf8\xff\xfe", b"\x78" + bytes(60)),),
    "opus": (b"\x03\x03\xf8\xff\xfe\x02\x02\x78\x00",),
    "g711": (b"\x00\x01\x08" + bytes(8),),
    "sdp": (b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n",),
    "netem": (b"loss=5%,burst=3,delay=40ms,jitter=20ms,rate=64kbit,queue=5,outage=10s+2s/20s",),
}
