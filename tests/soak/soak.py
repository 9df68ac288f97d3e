"""Calls come and go, networks break, servers are killed; what is left afterwards is counted: ``make soak``.

    python tests/soak/soak.py [--minutes 5] [--seed N] [--lanes 10] [--docs docs]

Exit 0 when nothing was found, 1 otherwise. What is looked for is said in docs/soak.md. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import shutil
import sys
import tempfile
from pathlib import Path

from chaos.census import one_arena
from chaos.report import text_of, to_json, write_document
from chaos.run import Options, Soak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long, to the end of the round: %(default)g")
    parser.add_argument("--seed", type=int, help="of what happens when; without it, another one each time")
    parser.add_argument("--lanes", type=int, default=10, help="calls at once: %(default)s")
    parser.add_argument("--round", type=float, default=40.0, metavar="SECONDS", help="between two looks: %(default)g")
    parser.add_argument("--docs", type=Path, help="folder of the documents to write the figures into")
    options = parser.parse_args()
    if platform.system() != "Linux":
        sys.exit("what a process holds is read from /proc: run this on Linux")
    if options.minutes <= 0 or options.lanes < 1 or options.round < 5:
        parser.error("give minutes above 0, at least one lane, and a round of at least 5 s")
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    one_arena()
    folder = Path(tempfile.mkdtemp(prefix="rtcpeer-soak-"))
    soak = Soak(
        Options(
            seconds=options.minutes * 60,
            seed=seed,
            round_seconds=options.round,
            lanes=options.lanes,
            folder=folder,
            say=lambda line: print(line, flush=True),
        )
    )
    results = asyncio.run(soak.run())
    report = to_json(results, seed=seed, command=" ".join(["tests/soak/soak.py", *sys.argv[1:]]))
    print(text_of(report))
    for warning, count in report["warnings"].items():
        print(f"{count} × {warning}")
    if options.docs is not None:
        write_document(report, options.docs)
    if results.failures:
        sys.exit(f"{len(results.failures)} findings; seed {seed}")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
