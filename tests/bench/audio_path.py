"""What 20 ms of audio cost on this machine: this library's audio path beside stock aiortc's, in one run.

Both do the same recorded speech, a second at a time, by turns, so that a busy machine disturbs both alike; the
medians are shown. The two are compared as they are used: aiortc codes stereo at 96 kb/s, we code mono at 32 kb/s with
in-band FEC. Sockets, SRTP and the event loop are left out. Nothing is asserted: a benchmark informs, tests decide.

    python tests/bench/audio_path.py [rounds]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from fractions import Fraction
from statistics import median

import av
import numpy as np
from aiortc.codecs.opus import OpusDecoder as StockDecoder
from aiortc.codecs.opus import OpusEncoder as StockEncoder
from aiortc.jitterbuffer import JitterBuffer as StockJitterBuffer
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket, compute_audio_level_dbov
from numpy.typing import NDArray

from rtcpeer.audio.jitter import MediaPacket, Playout
from rtcpeer.audio.level import level_of
from rtcpeer.audio.opus import OpusDecoder, OpusEncoder
from rtcpeer.audio.sources import FileSource
from signaling.scenario import speech_file

FRAME = 960  # samples: 20 ms at 48 kHz
SECOND = 50  # frames


def speech() -> list[NDArray[np.int16]]:
    """Return a second of recorded speech as 50 frames of ``(960, 1)``."""
    source = FileSource(str(speech_file("user-2.flac")))
    try:
        frames = [source.read(FRAME) for _ in range(2 * SECOND)][SECOND:]
    finally:
        source.close()
    return [frame for frame in frames if frame is not None]


def stock_frame(pcm: NDArray[np.int16], pts: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, pts, Fraction(1, 48_000)
    return frame


class Send:
    """A frame of PCM → a payload, and its level for the RTP header extension (RFC 6464)."""

    def __init__(self, frames: list[NDArray[np.int16]]) -> None:
        self.frames = frames
        self.stock_encoder, self.encoder, self.pts = StockEncoder(), OpusEncoder(bitrate=32_000), 0

    def stock(self) -> list[bytes]:
        payloads = []
        for pcm in self.frames:
            frame = stock_frame(pcm, self.pts)
            self.pts += FRAME
            compute_audio_level_dbov(frame)
            payloads += self.stock_encoder.encode(frame)[0]
        return payloads

    def ours(self) -> list[bytes]:
        payloads = []
        for pcm in self.frames:
            _ = level_of(pcm).below_full_scale
            payloads.append(self.encoder.encode(pcm))
        return payloads


class Decode:
    """A payload → PCM at the rate that was asked for."""

    def __init__(self, payloads: list[bytes], sample_rate: int) -> None:
        self.payloads = payloads
        self.stock_decoder, self.decoder = StockDecoder(), OpusDecoder(sample_rate)
        self.resampler = av.AudioResampler(format="s16", layout="mono", rate=sample_rate)
        self.timestamp = 0

    def stock(self) -> None:
        for payload in self.payloads:
            for frame in self.stock_decoder.decode(JitterFrame(data=payload, timestamp=self.timestamp)):
                for resampled in self.resampler.resample(frame):
                    resampled.to_ndarray()
            self.timestamp += FRAME

    def ours(self) -> None:
        for payload in self.payloads:
            self.decoder.decode(payload)


class Receive:
    """A packet → the jitter buffer → a frame of PCM at 48 kHz mono, no packet lost."""

    PAYLOAD_TYPE = 96

    def __init__(self, payloads: list[bytes]) -> None:
        self.payloads = payloads
        self.stock_buffer, self.stock_decoder = StockJitterBuffer(capacity=16, prefetch=4), StockDecoder()
        self.resampler = av.AudioResampler(format="s16", layout="mono", rate=48_000)
        self.stock_number = 0
        self.playout = Playout({self.PAYLOAD_TYPE: OpusDecoder})
        self.number = 0

    def stock(self) -> None:
        for payload in self.payloads:
            packet = RtpPacket(
                payload_type=self.PAYLOAD_TYPE,
                sequence_number=self.stock_number & 0xFFFF,
                timestamp=self.stock_number * FRAME,
            )
            packet._data = payload  # what the receiver puts there, after depayloading
            self.stock_number += 1
            _, found = self.stock_buffer.add(packet)
            if found is not None:
                for frame in self.stock_decoder.decode(found):
                    for resampled in self.resampler.resample(frame):
                        resampled.to_ndarray()

    def ours(self) -> None:
        for payload in self.payloads:
            now = self.number * 0.02
            self.playout.put(
                MediaPacket(
                    sequence_number=self.number & 0xFFFF,
                    timestamp=self.number * FRAME & 0xFFFFFFFF,
                    payload_type=self.PAYLOAD_TYPE,
                    ssrc=1,
                    payload=payload,
                ),
                now,
            )
            self.playout.get(now)
            self.number += 1


def microseconds(work: Callable[[], object]) -> float:
    """Return µs of CPU time a frame, for one second of audio."""
    begin = time.thread_time()
    work()
    return (time.thread_time() - begin) * 1e6 / SECOND


def compare(title: str, stock: Callable[[], object], ours: Callable[[], object], rounds: int) -> None:
    stock(), ours()  # the first frames fill buffers
    pairs = [(microseconds(stock), microseconds(ours)) for _ in range(rounds)]
    stock_us, ours_us = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
    ratio = median(pair[0] / pair[1] for pair in pairs)
    print(f"{title:<38}{stock_us:>10.1f}{ours_us:>10.1f}{ratio:>9.2f}×")


def main(rounds: int) -> None:
    frames = speech()
    send = Send(frames)
    send.ours()  # a warm encoder's payloads
    payloads = send.ours()
    print(f"{'µs of CPU a 20 ms frame':<38}{'aiortc':>10}{'rtcpeer':>10}{'ratio':>10}")
    compare("send: audio level, Opus encode", send.stock, send.ours, rounds)
    for sample_rate in (48_000, 24_000, 16_000):
        decode = Decode(payloads, sample_rate)
        compare(f"decode to {sample_rate // 1000} kHz mono", decode.stock, decode.ours, rounds)
    receive = Receive(payloads)
    compare("receive: jitter buffer, decode, 48 kHz", receive.stock, receive.ours, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
