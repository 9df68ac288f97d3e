"""What calls do when something breaks: rtcpeer beside stock aiortc and libwebrtc, under the same fault.

The caller is the system under test, each in a process of its own; the far end is ``rtcpeer mock``, in another. What
is measured is said in docs/reliability.md, whose table this program writes. Nothing is asserted: a benchmark informs,
tests decide. Linux; root for what breaks between two hosts, coturn for relays, Node for libwebrtc.

    python tests/bench/fault_table.py [--quick] [--only connecting,libwebrtc,…] [--docs docs]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

TESTS = Path(__file__).parents[1]
sys.path[1:1] = [str(TESTS / "interop"), str(TESTS)]  # where the real parts are started

from faults.connecting import first_sounds, first_sounds_of_libwebrtc, wrong_password  # noqa: E402
from faults.endings import killed, muted  # noqa: E402
from faults.hosts import broken_calls  # noqa: E402
from faults.report import cells, console_table, write_markdown  # noqa: E402
from faults.rows import Row  # noqa: E402

NODE_PARTS = TESTS / "interop" / "node_modules" / "@roamhq" / "wrtc"
GROUPS = ("connecting", "libwebrtc", "password", "hosts", "killed", "muted")


async def _one(row: Any) -> AsyncIterator[Row]:
    yield await row


async def measure(groups: list[str], quick: bool, node: bool, console: Console) -> tuple[list[Row], list[str]]:
    """Return the rows, and what was left out and why."""
    short, long = (2, 1) if quick else (7, 3)
    two = ("rtcpeer", "aiortc")
    repeats = dict.fromkeys((*two, "libwebrtc") if node else two, short)
    rows: list[Row] = []
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(prefix="fault-table-") as folder:
        plans = {
            "connecting": lambda: first_sounds(repeats),
            "libwebrtc": lambda: first_sounds_of_libwebrtc(repeats),
            "password": lambda: _one(wrong_password({"rtcpeer": short, "aiortc": 1})),
            "hosts": lambda: broken_calls(dict.fromkeys(two, long)),
            "killed": lambda: _one(killed(dict.fromkeys(two, long), Path(folder))),
            "muted": lambda: _one(muted(two)),
        }
        for group in groups:
            try:
                async for row in plans[group]():
                    rows.append(row)
                    console.print(f"{group}: {' | '.join(cells({'rows': [row.to_dict()]})[0])}", highlight=False)
            except pytest.skip.Exception as exc:
                left_out.append(f"Left out, {group}: {exc.msg}.")
            except Exception as exc:  # the others have been measured, and are worth a table
                left_out.append(f"Broken off, {group}: {type(exc).__name__}: {exc}")
            else:
                continue
            console.print(left_out[-1], markup=False)
    return rows, left_out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="each only once or twice")
    parser.add_argument("--only", default=",".join(GROUPS), help="of: %(default)s")
    parser.add_argument("--docs", type=Path, help="folder of the documents to write the results into")
    options = parser.parse_args()
    groups = options.only.split(",")
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    console = Console() if Console().is_terminal else Console(width=200)
    node = shutil.which("node") is not None and NODE_PARTS.exists()
    if not node:
        console.print("libwebrtc is left out: install Node and npm, then run `make interop-parts`")
    began, load = time.monotonic(), os.getloadavg()[0]
    rows, left_out = asyncio.run(measure(groups, options.quick, node, console))
    results = {
        "command": f"python {' '.join(['tests/bench/fault_table.py', *sys.argv[1:]])}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {
            "python": platform.python_version(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "load_before": round(load, 2),
            **{package: version(package) for package in ("aiortc", "aioice")},
            "@roamhq/wrtc": json.loads((NODE_PARTS / "package.json").read_text())["version"] if node else None,
        },
        "seconds": round(time.monotonic() - began),
        "left_out": left_out,
        "rows": [row.to_dict() for row in rows],
    }
    console.print(console_table(results))
    console.print(f"{results['seconds']} s; load of the machine before: {load:.2f}", highlight=False)
    if options.docs is not None:
        (options.docs / "bench").mkdir(exist_ok=True)
        text = json.dumps(results, ensure_ascii=False, indent=1) + "\n"
        (options.docs / "bench" / "reliability.json").write_text(text)
        write_markdown(results, options.docs / "reliability.md")
    if any(each.startswith("Broken off") for each in left_out):
        sys.exit(1)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
