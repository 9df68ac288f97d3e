"""What a process holds, taken when nothing should be held: memory, tasks, threads, descriptors, objects of ours."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Self

from rtcpeer.transports.media_clock import media_clock

OURS = ("rtcpeer.", "signaling.", "aiortc.", "aioice.")
"""Modules whose objects are counted by type."""
TRANSIENT = (
    "rtcpeer.session.Session",
    "rtcpeer.transports.webrtc.RtcLink",
    "rtcpeer.transports.websocket.WebSocketLink",
    "rtcpeer.call_folder.CallFolder",
    "rtcpeer.audio.jitter.Playout",
    "aiortc.rtcpeerconnection.RTCPeerConnection",
    "aioice.ice.Connection",
)
"""Of these there is none when there is no call, whatever there was at the beginning."""


@dataclass(frozen=True, slots=True)
class Census:
    rss: int
    """Bytes that are resident and nobody's but ours: pages of files that are mapped come with the code that runs."""
    malloced: int
    """Bytes that are handed out by malloc: what C libraries hold, without the holes between. 0: no glibc."""
    blocks: int
    """Blocks that Python's own allocator has handed out: Python objects, without the holes between."""
    tasks: dict[str, int]
    """By what they run; the one that asks is left out."""
    threads: dict[str, int]
    """By name; those of the loop's own executor and of asyncio's child watcher are left out."""
    descriptors: dict[str, int]
    """Open files by kind."""
    objects: dict[str, int]
    """Of our own types, by type."""
    clocked: int
    """Sessions the media clock serves."""

    @classmethod
    def take(cls) -> Self:
        for _ in range(3):  # what a finalizer lets go of is found by the next one
            gc.collect()
        _trim()
        return cls(
            _resident(),
            _malloced(),
            sys.getallocatedblocks(),
            dict(Counter(_task_name(task) for task in asyncio.all_tasks() - {asyncio.current_task()})),
            dict(Counter(_general(thread.name) for thread in threading.enumerate() if _counts(thread))),
            dict(Counter(_descriptors())),
            dict(Counter(name for each in gc.get_objects() if (name := _type_name(each)).startswith(OURS))),
            sum(len(slot) for slot in media_clock()._slots),
        )

    @classmethod
    def of(cls, found: dict[str, Any]) -> Self:
        return cls(**{field.name: found[field.name] for field in fields(cls)})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def held_since(self, base: Census) -> list[str]:
        """Say what is here and was not at ``base``; memory is another matter: see ``slope``."""
        found: list[str] = []
        for what in ("tasks", "threads", "descriptors", "objects"):
            ours: dict[str, int] = getattr(self, what)
            theirs: dict[str, int] = getattr(base, what)
            for name, count in sorted(ours.items()):
                expected = 0 if name in TRANSIENT else theirs.get(name, 0)
                if count > expected:
                    found.append(f"{what}: {name}: {count}, were {expected}")
        if self.clocked:
            found.append(f"media clock: {self.clocked} sessions are served still")
        return found


def who_keeps(type_name: str, depth: int = 6) -> list[str]:
    """Say, for the first object of a type, who refers to it, and who to that."""
    chain: list[Any] = [each for each in gc.get_objects() if _type_name(each) == type_name][:1]
    lines: list[str] = []
    seen: set[int] = {id(chain)}
    while chain and len(lines) < depth:
        found = chain.pop()
        seen.add(id(found))
        lines.append(f"{'  ' * len(lines)}{_type_name(found)} {_shown(found)}")
        referrers = [
            each
            for each in gc.get_referrers(found)
            if id(each) not in seen and not isinstance(each, FrameType | ModuleType)
        ]
        seen.add(id(referrers))
        chain = referrers[:1]
    return lines


def _shown(found: Any) -> str:
    if isinstance(found, dict):
        return f"with the keys {', '.join(str(key)[:30] for key in list(found)[:8])}"
    if isinstance(found, list | tuple | set | frozenset):
        return f"of {len(found)}"
    return repr(found)[:150]


def _type_name(found: Any) -> str:
    kind = type(found)
    return f"{kind.__module__}.{kind.__qualname__}"


def _counts(thread: threading.Thread) -> bool:
    return not thread.name.startswith(("asyncio_", "asyncio-waitpid", "waitpid-"))


def _task_name(task: asyncio.Task[Any]) -> str:
    coro: Any = task.get_coro()
    frame = getattr(coro, "cr_frame", None)
    where = f" at line {frame.f_lineno}" if frame is not None else ""
    return f"{getattr(coro, '__qualname__', coro)}{where}"


def _general(name: str) -> str:
    """Thread-17 and Thread-18 are of one kind."""
    return name.rstrip("0123456789").rstrip("-") if name.startswith("Thread-") else name


def _descriptors() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:  # the folder's own
            continue
        found.append(target.partition(":")[0] if ":" in target else target)
    return [name for name in found if not name.startswith("/proc/")]


_MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905


class _MallInfo2(ctypes.Structure):
    # mallinfo(3), glibc 2.33
    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO2)


def one_arena() -> None:
    """Have malloc keep one heap for all threads, before there are any; the holes in eight would hide what grows."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-8, 1)  # M_ARENA_MAX, mallopt(3)


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def _malloced() -> int:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return 0
    libc.mallinfo2.restype = _MallInfo2
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def _trim() -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
