"""``python -m rtcpeer``, and the command ``rtcpeer``."""

from __future__ import annotations

import contextlib
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line. Raises SystemExit."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Before the imports, which take longest: until a call can end cleanly, Ctrl-C just ends us.
        signal.signal(signal.SIGINT, _stop)
    from .cli import main

    main()


def _stop(signum: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError, AttributeError):  # standard error may be closed
        sys.stderr.write("rtcpeer: interrupted\n")
    sys.exit(130)


if __name__ == "__main__":
    main()
