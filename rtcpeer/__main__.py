"""``python -m rtcpeer``."""

from .cli import main

main()
