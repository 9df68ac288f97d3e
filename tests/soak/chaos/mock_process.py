"""A mock server in a process of its own, which can be killed, and which says what it holds.

Lines of JSON: on stdin what is asked, on stdout the answers. It ends with its stdin.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.census import Census, one_arena, who_keeps
from chaos.complaints import Complaints

from rtcpeer.transports.media_clock import media_clock
from signaling import MockServer
from signaling.switchboard import RECORDS


async def serve(port: int, record: str | None, seed: int) -> None:
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    loop = asyncio.get_running_loop()
    server = MockServer(port=port, seed=seed, record=Path(record) if record is not None else None, max_calls=99)
    async with server:
        answer({"port": int(server.url().rpartition(":")[2])})
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            match json.loads(line):
                case {"ask": "running"}:
                    answer({"running": sum(call.state != "closed" for call in server.calls)})
                case {"ask": "census"}:
                    assert len(server.calls) <= RECORDS
                    # What is remembered of calls, and their tapes, is meant to be kept, and bounded; here it would
                    # hide what is not.
                    server._switchboard._calls.clear()
                    server._switchboard._progress.clear()
                    census = Census.take()
                    clock = media_clock()
                    answer(
                        {
                            "census": census.to_dict(),
                            "complaints": complaints.take(),
                            "warnings": complaints.warnings,
                            "worst_lateness": clock.worst_lateness,
                            "frames_skipped": clock.frames_skipped,
                        }
                    )
                case {"ask": "who-keeps", "type": str(name)}:
                    answer({"lines": who_keeps(name)})
        transport.close()


def answer(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    one_arena()
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])))
