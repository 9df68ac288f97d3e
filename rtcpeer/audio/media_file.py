"""Opening a media file that a user gave, so that nothing inside it can make us open anything else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import av

logger = logging.getLogger(__name__)

_BAD_IN_A_ROW = 1000
"""Packets that cannot be decoded, one after the other, until a file is given up: of MP3, 24 s."""

# Tags may be in any encoding. PyAV 19 takes them as they come, and no longer has the option.
_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_media(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """Open a local file with FFmpeg.

    Raises:
        av.FFmpegError: it can't be opened, or FFmpeg does not know what it is.
    """
    # "file:" and the whitelist: a name or a playlist inside must not become a URL.
    container: av.container.InputContainer = av.open(
        f"file:{os.fspath(path)}", options={"protocol_whitelist": "file"}, **_TAGS
    )
    return container


def audio_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    """Return the audio that players play: the default of several; ``None`` if there is none."""
    found = container.streams.best("audio")
    assert found is None or isinstance(found, av.AudioStream)
    return found


def decode_audio(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Yield what can be decoded, as players do: a damaged packet, or a tag where two files were joined, is left out.

    Raises:
        av.FFmpegError: the file is damaged to its end, or can't be read on.
    """
    failure: av.FFmpegError | None = None
    bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as exc:
            failure = exc
            bad += 1
            if bad >= _BAD_IN_A_ROW:
                break
            continue
        if frames and failure is not None:
            logger.warning("%s is damaged; %d packets of it are left out", container.name, bad)
            failure, bad = None, 0
        yield from frames
    if failure is not None:
        raise failure
