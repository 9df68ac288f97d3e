"""How many voice calls one core holds: rtcpeer in three modes, stock aiortc and libwebrtc, one after the other.

Each is a process of its own, pinned to one core; the load generator is pinned to another, sends packets encoded
beforehand and takes the kernel's word for when a packet came. How to read the results is said in docs/performance.md,
whose table this program writes. Nothing is asserted: a benchmark informs, tests decide. Linux, two cores.

    python tests/bench/call_capacity.py [--quick] [--systems aiortc,rtcpeer] [--docs docs]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from calls.ramp import FULL, PUNCTUAL, QUICK, SYSTEMS, climb
from calls.report import console_table, write_markdown
from rich.console import Console

NODE_PARTS = Path(__file__).parents[1] / "interop" / "node_modules" / "@roamhq" / "wrtc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="coarse steps: two minutes")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="of: %(default)s")
    parser.add_argument("--docs", type=Path, help="folder of the documents to write the results into")
    options = parser.parse_args()
    names = options.systems.split(",")
    if unknown := set(names) - set(SYSTEMS):
        parser.error(f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(SYSTEMS)}")
    console = Console() if Console().is_terminal else Console(width=150)
    if "libwebrtc" in names and (shutil.which("node") is None or not NODE_PARTS.exists()):
        console.print("libwebrtc is left out: install Node and npm, then run `make interop-parts`")
        names.remove("libwebrtc")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the system under test, one for the load generator")

    began, load = time.monotonic(), os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    spawn = multiprocessing.get_context("spawn")
    for name in names:
        console.print(f"{name} …", highlight=False)
        # A generator of its own for each: what one leaves behind is not the next one's burden.
        with ProcessPoolExecutor(1, spawn) as pool:
            rows.append(pool.submit(climb, name, QUICK if options.quick else FULL, cores[-1], cores[0]).result())
        row = rows[-1]
        console.print(f"  holds {row['holds']}, fails at {row['fails_at']}", highlight=False)
        if row["failure"] is not None:
            console.print(f"  {row['failure']}", markup=False)

    results = {
        "command": f"python {' '.join(['tests/bench/call_capacity.py', *sys.argv[1:]])}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            "python": platform.python_version(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "load_before": round(load, 2),
            **{package: version(package) for package in ("aiortc", "av", "numpy")},
        },
        "punctual": PUNCTUAL,
        "seconds": round(time.monotonic() - began),
        "rows": rows,
    }
    console.print(console_table(results))
    console.print(f"{results['seconds']} s; load of the machine before: {load:.2f}", highlight=False)
    if options.docs is not None:
        (options.docs / "bench").mkdir(exist_ok=True)
        (options.docs / "bench" / "calls.json").write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n")
        write_markdown(results, options.docs / "performance.md")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
