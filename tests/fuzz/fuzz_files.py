"""Files that a user hands us: damaged ones are refused or end early, and say so."""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from given import Target

from rtcpeer.audio.file_source import FileSource
from rtcpeer.audio.packets import OpusFile
from rtcpeer.errors import ConfigurationError, MediaError
from rtcpeer.transports.video import VideoFile

LONGEST = 500
"""Blocks that are read: what is damaged may be longer than what is whole."""


def read(open_source: Callable[[Path], Any], take: Callable[[Any], Any], data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        try:
            source = open_source(path)
        except ConfigurationError as exc:
            assert str(path) in str(exc) or path.name in str(exc)
            return
        try:
            for _ in range(LONGEST):
                if take(source) is None:
                    break
        except MediaError as exc:
            assert path.name in str(exc)
        finally:
            source.close()


def _block(source: FileSource) -> Any:
    pcm = source.read(960)
    assert pcm is None or (len(pcm), 1) == pcm.shape
    assert pcm is None or len(pcm) <= 960
    return pcm


def _packet(source: OpusFile) -> Any:
    packet = source.read()
    assert packet is None or packet.payload
    return packet


def _sound(container: str, codec: str, rate: int = 48_000) -> bytes:
    written = io.BytesIO()
    with av.open(written, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="mono")
        pcm = (3000 * np.sin(np.arange(rate // 10) / 10)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format.name, "mono", rate, stream.codec_context.frame_size or None)
        for each in itertools.chain(resampler.resample(frame), resampler.resample(None)):
            output.mux(stream.encode(each))
        output.mux(stream.encode(None))
    return written.getvalue()


def _picture() -> bytes:
    written = io.BytesIO()
    with av.open(written, "w", format="webm") as output:
        stream: Any = output.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            output.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 80, np.uint8), "rgb24"))
            )
        output.mux(stream.encode(None))
    return written.getvalue()


SOUNDS = (
    _sound("wav", "pcm_s16le", 8_000),
    _sound("flac", "flac"),
    _sound("mp3", "libmp3lame", 22_050),
    _sound("ogg", "libopus"),
)
TARGETS = {
    "audio-file": Target(partial(read, FileSource, _block), SOUNDS, examples=20),
    "audio-file-loop": Target(partial(read, partial(FileSource, loop=True, start=0.05), _block), SOUNDS, examples=20),
    "opus-file": Target(
        partial(read, OpusFile, _packet), (_sound("ogg", "libopus"), _sound("matroska", "libopus")), examples=20
    ),
    "video-file": Target(partial(read, VideoFile, VideoFile.read), (_picture(),), examples=10),
}
