"""What this machine can do: timers, CPU for so many calls, open files, and what its environment says."""

from __future__ import annotations

import asyncio
import math
import os
import resource
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.request import getproxies

from ..audio.coding import VoiceEncoder
from ..audio.jitter import MediaPacket, Playout
from ..audio.opus import OpusDecoder
from ..audio.vad import VoiceDetector
from ..formats import FRAME_DURATION
from ..transports.http import redact_url
from ..transports.media_clock import LATE, MAX_CATCH_UP, SLOT
from .finding import Finding, Status
from .voice import voice

# Timers


async def measure_timers(seconds: float = 1.0) -> list[float]:
    """Return by how much each of the media clock's 5 ms slots would have been late, in seconds."""
    loop = asyncio.get_running_loop()
    late: list[float] = []
    start = loop.time()
    for number in range(1, round(seconds / SLOT) + 1):
        deadline = start + number * SLOT
        await asyncio.sleep(deadline - loop.time())
        late.append(loop.time() - deadline)
    return late


def judge_timers(lateness: Sequence[float], resolution: float) -> Finding:
    """Say what such timers mean for a call.

    Args:
        lateness: Seconds, one a timer.
        resolution: Of the monotonic clock, in seconds.
    """
    ranked = sorted(lateness)
    p99, worst = ranked[math.ceil(0.99 * len(ranked)) - 1], ranked[-1]
    status: Status = "ok" if p99 <= LATE else "warn" if p99 <= MAX_CATCH_UP else "fail"
    return Finding(
        name="timers",
        status=status,
        detail=f"{1000 * p99:.1f} ms late at the 99th percentile, {1000 * worst:.1f} ms at worst",
        advice=""
        if status == "ok"
        else "audio will leave late: give this machine or container more CPU, or stop what else runs on it",
        figures={"p99": p99, "worst": worst, "clock_resolution": resolution},
    )


async def check_timers() -> Finding:
    return judge_timers(await measure_timers(), time.get_clock_info("monotonic").resolution)


# CPU

_TOGETHER = 16
"""Calls in the loop that is timed: one alone would have all caches for itself."""
_WHOLE_CALL = 2.0
"""What a whole call takes beside what is timed here (docs/performance.md): sockets, SRTP, RTP, the event loop."""
_FILLED = 0.7
"""How full a core is when the first packets leave late (docs/performance.md)."""


async def measure_cpu(seconds: float = 0.5) -> float:
    """Return the CPU seconds of the audio path for 20 ms of one call: coded, decoded, played out, listened to."""
    frames = voice(2.0)
    calls = [(VoiceEncoder(), Playout({96: OpusDecoder}), VoiceDetector(), VoiceDetector()) for _ in range(_TOGETHER)]
    spent, served, number = 0.0, 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until or number < 15:
        began = time.thread_time()
        now = number * FRAME_DURATION
        for place, (encoder, playout, mouth, ear) in enumerate(calls):
            frame = frames[(number + 7 * place) % len(frames)]
            mouth.feed(frame, now)
            for payload, timestamp in encoder.encode(frame, number):
                playout.put(
                    MediaPacket(
                        sequence_number=number & 0xFFFF,
                        timestamp=timestamp & 0xFFFFFFFF,
                        payload_type=96,
                        ssrc=1,
                        payload=payload,
                    ),
                    now,
                )
            ear.feed(playout.get(now).samples, now)
        number += 1
        if number > 10:  # what comes before fills caches
            spent += time.thread_time() - began
            served += len(calls)
        await asyncio.sleep(0)
    return spent / max(1, served)


def judge_cpu(per_frame: float, cores: float, calls: int) -> Finding:
    """Say how many calls that is.

    Args:
        per_frame: CPU seconds, as ``measure_cpu`` has them.
        cores: That we may use.
        calls: That are wanted at once.
    """
    share = per_frame * _WHOLE_CALL / FRAME_DURATION
    a_core = max(0, int(_FILLED / share)) if share else 0
    # A process has one core, whatever the machine has; less than one, when that is all there is.
    a_process = int(a_core * min(1.0, cores))
    all_cores = int(a_core * cores)
    advice = ""
    if calls > all_cores:
        advice = f"{calls} calls are too many for it: docs/performance.md says what costs less"
    elif calls > a_process:
        processes = math.ceil(calls / a_process)
        advice = f"{calls} calls need {processes} processes, {math.ceil(calls / processes)} in each"
    cpus = f"{cores:g} core{'' if cores == 1 else 's'}"
    return Finding(
        name="cpu",
        status="fail" if calls > all_cores else "warn" if calls > a_process else "ok",
        detail=f"about {100 * share:.1f} % of a core a call: some {a_process} calls in a process, "
        f"{all_cores} on {cpus} (an estimate)",
        advice=advice,
        figures={
            "cores": cores,
            "audio_path": per_frame,
            "core_share": share,
            "calls_a_process": a_process,
            "calls": all_cores,
            "calls_wanted": calls,
        },
    )


async def check_cpu(calls: int) -> Finding:
    return judge_cpu(await measure_cpu(), usable_cores(), calls)


def usable_cores(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float:
    """Return how many cores this process may use: those it may run on, or less where its container has a quota."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        # cgroup v2, which is one line: `0::/path` (cgroups(7)).
        lines = [line for line in membership.read_text("ascii").splitlines() if line.startswith("0::/")]
        folder = root / lines[0].removeprefix("0::/")
        while True:
            if (limit := folder / "cpu.max").exists():
                quota, period = limit.read_text("ascii").split()
                if quota != "max":
                    cores = min(cores, int(quota) / int(period))
            if folder == root:
                break
            folder = folder.parent
    except (OSError, ValueError, IndexError, ZeroDivisionError):
        pass  # no Linux, or no cgroup v2: nothing is known of a quota
    return cores


# Limits

_FILES_A_CALL = 6
"""Beside a socket for each local address: the recording, its events and statistics, and the HTTP connection."""
_FILES_OF_OURS = 40


def judge_limits(open_files: int | None, receive_buffer: int, *, calls: int, addresses: int) -> Finding:
    """Say whether so many calls find room.

    Args:
        open_files: How many this process may have; ``None``: any number.
        receive_buffer: Bytes of a UDP socket's.
        addresses: Of this machine: each call has a socket on every one.
    """
    needed = calls * (addresses + _FILES_A_CALL) + _FILES_OF_OURS
    small = receive_buffer < 65536
    advice = ""
    if open_files is not None and open_files < needed:
        advice = f"{calls} calls open about {needed} files and sockets: ulimit -n {2 ** math.ceil(math.log2(needed))}"
    elif small:
        advice = "packets are lost when this process pauses: sysctl net.core.rmem_default=212992"
    files = "any number of" if open_files is None else f"{open_files}"
    return Finding(
        name="limits",
        status="fail" if "ulimit" in advice else "warn" if advice else "ok",
        detail=f"{files} open files, about {needed} needed for {calls} call{'' if calls == 1 else 's'}; "
        f"{receive_buffer // 1024} KiB for what a UDP socket receives",
        advice=advice,
        figures={"open_files": open_files, "open_files_needed": needed, "udp_receive_buffer": receive_buffer},
    )


async def check_limits(calls: int, addresses: int) -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        buffer = udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    limit = None if soft == resource.RLIM_INFINITY else soft
    return judge_limits(limit, buffer, calls=calls, addresses=addresses)


# Environment


async def check_environment() -> Finding:
    return judge_environment(os.environ, getproxies())


def judge_environment(environ: Mapping[str, str], proxies: Mapping[str, str]) -> Finding:
    """Say what of the environment changes how calls are made.

    Args:
        proxies: By scheme, as ``urllib`` finds them.
    """
    proxies = {scheme: redact_url(url) for scheme, url in proxies.items() if scheme in ("http", "https")}
    authorities = {name: value for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if (value := environ.get(name))}
    credentials = [name for name in ("RTCPEER_API_KEY", "RTCPEER_TOKEN") if environ.get(name)]
    said = [f"{scheme} through {proxy}" for scheme, proxy in proxies.items()]
    said += [f"{name}={value}" for name, value in authorities.items()]
    said += [f"{name} is set" for name in credentials]
    missing = [name for name, value in authorities.items() if not Path(value).exists()]
    status: Status = "ok"
    advice = ""
    if missing:
        status = "fail"
        advice = f"{missing[0]} names what is not there: unset it, or every https and TURN/TLS server is refused"
    elif proxies:
        status = "warn"
        advice = "a proxy carries signaling, not media: if UDP is closed here, calls need TURN over TCP or TLS"
    return Finding(
        name="environment",
        status=status,
        detail="; ".join(said) or "no proxy, no CA of your own",
        advice=advice,
        figures={"proxies": proxies, "authorities": authorities, "credentials": credentials},
    )
