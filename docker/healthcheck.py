"""HEALTHCHECK of the image: exit 0 when the mock that runs in it answers ``/healthz``.

A container that runs another command (``join``, ``proxy``, …) has no such door: it lives as long as its process, and
is healthy for that time. What runs is read from process 1, which is rtcpeer or the init that docker put before it.
"""

from __future__ import annotations

import http.client
import itertools
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path


def option(argv: Sequence[str], name: str, default: str) -> str:
    """Return the last value given to ``--name``, in either spelling."""
    value = default
    for index, word in enumerate(argv):
        if word.startswith(f"{name}="):
            value = word.partition("=")[2]
        elif word == name and index + 1 < len(argv):
            value = argv[index + 1]
    return value


def runs_mock(argv: Sequence[str]) -> bool:
    """Is this ``rtcpeer mock …``: the word after the program, whatever stands before it?"""
    return any(Path(program).name == "rtcpeer" and command == "mock" for program, command in itertools.pairwise(argv))


def is_healthy(argv: Sequence[str], timeout: float = 4.0) -> bool:
    """Ask the mock that was started with ``argv``; whatever is no mock is healthy."""
    if not runs_mock(argv):
        return True
    host = option(argv, "--host", "127.0.0.1")
    # A wildcard is an address to listen on, not one to call.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = int(option(argv, "--port", "8080"))
    connection: http.client.HTTPConnection
    if option(argv, "--tls-cert", ""):
        # The certificate names the host that callers use, not this one; and it is our own process that we ask.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    process_1 = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    sys.exit(not is_healthy(process_1))
