"""aiortc's send chain without a task."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any


def run_now(step: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never really waits, without a task.

    aiortc's send chain is declared async, but ends in ``DatagramTransport.sendto``, which is not. Driving it here
    saves a task and a wake-up fifty times a second and call.
    """
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise RuntimeError("aiortc's send path waited")
