"""Standard output and standard error as they happen to be: not UTF-8, closed, or on a disk that is full."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import TextIO

_PLAIN = str.maketrans("→←–—“”‘’·█é", "><--\"\"''.#e") | {ord("…"): "..."}
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF}


def make_printable() -> None:
    """Have what an encoding lacks written in its signs, instead of ending the command with an error."""
    codecs.register_error("rtcpeer.plain", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="rtcpeer.plain")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def is_output_failure(error: OSError) -> bool:
    """Whether it is what a full disk or a closed pipe makes of a line that we print: it names no file."""
    return error.filename is None and error.errno in _UNWRITABLE


def complain(line: str) -> None:
    """Print a line on standard error, if that is to be had."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def let_go(stream: TextIO | None) -> None:
    """Drop what can't be written: Python would try once more at its end, and complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
