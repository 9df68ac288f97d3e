"""How the ends of a measured call are steered: a JSON object a line on stdin, and answers likewise on stdout.

``{"do": "answer", "sdp": …}`` → ``{"type": "answer", "sdp": …}``, then ``connected``; ``speak`` → ``speaking`` with
``t`` in nanoseconds; ``stats`` → ``stats``; ``stop`` hangs up, writes the recording, and ends the process. ``failed``
says why an end gave up. Only ``wrtc_end.js`` knows ``offer`` and ``accept``, too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from typing import Any


def tell(kind: str, **rest: Any) -> None:
    """Write one answer."""
    sys.stdout.write(json.dumps({"type": kind, **rest}) + "\n")
    sys.stdout.flush()


async def obey(end: Any) -> None:
    """Call the method of ``end`` that each order names, until ``stop`` or the end of stdin."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # What the imports made stays: no collection is to walk it while sound is measured.
    gc.freeze()
    tell("ready")
    while line := await reader.readline():
        order = json.loads(line)
        name = order.pop("do")
        try:
            await getattr(end, name)(**order)
        except Exception as exc:
            tell("failed", error=f"{name}: {type(exc).__name__}: {exc}")
            raise
        if name == "stop":
            tell("stopped")
            return
