"""What is made of received audio, packet by packet and message by message."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from given import Bytes, Target, pieces

from rtcpeer.audio.coding import DECODERS
from rtcpeer.audio.dtmf import DIGITS, EventReceiver
from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.audio.mp3 import Mp3Encoder
from rtcpeer.audio.opus import OpusDecoder, packet_samples
from rtcpeer.audio.packets import StreamTimeline
from rtcpeer.audio.stream_playout import LIMIT, StreamPlayout
from rtcpeer.audio.wire import CODECS
from rtcpeer.errors import MediaError
from rtcpeer.formats import AudioFormat

FRAME = 960
TYPES = {96: "opus", 0: "pcmu", 8: "pcma"}
KNOWN = tuple(TYPES)
FORMATS = tuple(AudioFormat(rate, channels) for rate in (8_000, 22_050, 24_000, 48_000) for channels in (1, 2))


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


def wire(data: bytes) -> None:
    """Pieces of streams as messages carry them, each codec and format; an empty one ends a stream."""
    given = Bytes(data)
    audio_format = FORMATS[given.number(1) % len(FORMATS)]
    names = list(CODECS)
    name = names[given.number(1) % len(names)]
    try:
        decoder = CODECS[name][1](audio_format)
    except MediaError:
        return  # Opus has rates of its own
    while given:
        piece = given.piece()
        try:
            heard = decoder.decode(piece)
        except MediaError:
            continue
        assert np.int16 == heard.dtype
        assert (len(heard), audio_format.channels) == heard.shape
        # The lowest rates: 8 kb/s of MP3, 2.5 ms or 120 of a packet of Opus.
        assert len(heard) <= audio_format.sample_rate * (0.25 + len(piece) / 500 + len(data) / 1000)


def stream_playout(data: bytes) -> None:
    """Pieces of any length and format, ticks, interruptions."""
    given = Bytes(data)
    under_test, now = StreamPlayout(live=given.number(1) & 1 == 1), 0.0
    while given:
        operation = given.number(1)
        audio_format = FORMATS[operation >> 5]
        match operation & 7:
            case 0 | 1 | 2 | 3:
                length = given.number(2) * (1 + 20 * (operation >> 4 & 1))
                pcm = np.full((length, audio_format.channels), given.number(1) * 100, np.int16)
                under_test.put(pcm, audio_format, given.number(1), now)
            case 4 | 5:
                for _ in range(operation >> 3):
                    frame = under_test.get(now)
                    assert (FRAME, 1) == frame.samples.shape
                    assert frame.stereo is None or (FRAME, 2) == frame.stereo.shape
                    now += 0.02
            case 6:
                under_test.flush(now, before=None if operation & 8 else given.number(1), rest=operation & 16 == 16)
            case 7:
                under_test.end_turn()
                now += (operation >> 3) ** 3 / 1000
        # A message may be longer than what may wait, and is cut when it comes.
        assert under_test.waiting <= LIMIT + 0.2
        assert 0 <= under_test.played < math.inf
        for value in under_test.stats.to_dict().values():
            assert 0 <= value < math.inf


def dtmf(data: bytes) -> None:
    """Telephone events, anywhere in time."""
    given, under_test, now, timestamp = Bytes(data), EventReceiver(), 0.0, 0
    while given:
        operation = given.number(1)
        now += (operation & 7) * 0.02
        timestamp = (timestamp + (given.number(4) if operation & 8 else 160 * (operation >> 6))) & 0xFFFF_FFFF
        payload = given.take(operation >> 4 & 7)
        rate = 8_000 if operation & 128 else 48_000
        for pressed in (under_test.put(payload, timestamp, now, rate), under_test.expire(now)):
            if pressed is not None:
                assert pressed[0] in DIGITS
                assert 0 <= pressed[1] < len(data) * 0xFFFF / 8_000 + 10
    under_test.expire(now + 1)
    assert not under_test.active


def timeline(data: bytes) -> None:
    """Numbers of received packets, in leaps and bounds; what is placed is a line all the same."""
    given, under_test, now, highest, latest = Bytes(data), StreamTimeline(), 0.0, -1, 0
    count = 0
    while given:
        operation = given.number(1)
        now += (operation & 15) * 0.02
        packet = MediaPacket(given.number(2), given.number(4), 96, operation >> 6, b"x" * (operation & 3))
        sequence, timestamp = under_test.place(packet, now, event=operation & 16 == 16)
        count += 1
        assert sequence <= highest + 3000
        assert timestamp <= latest + 48_000 * 4 + round(now * 48_000)
        highest, latest = max(highest, sequence), max(latest, timestamp)
        assert under_test.packets_received == count
        assert under_test.packets_lost <= 3000 * count


def _mp3() -> bytes:
    encoder = Mp3Encoder(AudioFormat(22_050))
    sound = (3000 * np.sin(np.arange(22_050) / 10)).astype(np.int16)[:, None]
    return b"".join([encoder.encode(sound), *iter(encoder.flush, b"")])


SOUND = _mp3()

TARGETS = {
    "playout": Target(playout, (bytes([16, 3, 0xF8, 0xFF, 0xFE, 0xFE]) * 8,), examples=100),
    "opus": Target(opus, (b"\x03\x03\xf8\xff\xfe\x02\x02\x78\x00",), examples=60),
    "g711": Target(g711, (b"\x00\x01\x08" + bytes(8),), examples=60),
    "wire": Target(
        wire,
        (
            bytes([2, 1]) + pieces(SOUND[:700], SOUND[700:1500], b"", SOUND[:300]),
            bytes([4, 2]) + pieces(b"\xf8\xff\xfe", b"\x78" + bytes(60), b""),
            bytes([1, 0]) + pieces(bytes(400)),
        ),
    ),
    "stream-playout": Target(stream_playout, (bytes([0, 0x40, 200, 3, 9, 1, 0xFC, 6, 0x48, 2, 44]) * 5,)),
    "dtmf": Target(dtmf, (bytes([0x40, 1, 10, 3, 192]) * 3 + bytes([0x40, 1, 0x8A, 3, 200]) * 3,)),
    "timeline": Target(timeline, (bytes([1, 1, 0, 192, 3, 0, 0, 1, 2, 0, 128, 7, 0, 0]) * 4,)),
}
