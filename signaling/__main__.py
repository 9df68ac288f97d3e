"""``python -m signaling`` is ``rtcpeer mock``."""

from __future__ import annotations

import sys


def _main() -> None:
    from rtcpeer.cli import main

    sys.argv[1:1] = ["mock"]
    main()


if __name__ == "__main__":
    _main()
