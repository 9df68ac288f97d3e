"""Coverage-guided fuzzing with Atheris, which is libFuzzer for Python: ``make fuzz``, or by hand

    python tests/fuzz/guided.py TARGET [SECONDS] [CORPUS]

An input that fails is written to ``crash-…`` in the current folder; given as CORPUS it is run again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["rtcpeer", "aiortc.rtp", "aiortc.rtcsctptransport", "aiortc.rtcrtpsender", "aioice.stun"]
):
    from targets import TARGETS


def main(name: str, seconds: str = "60", corpus: str | None = None) -> None:
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, "words")
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in sorted(target.words)), "ascii")
        seeds = Path(corpus or Path(folder, "seeds"))
        if corpus is None:
            seeds.mkdir()
            for number, seed in enumerate(target.seeds):
                (seeds / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-max_len=4000", "-rss_limit_mb=1024", "-timeout=10"]
        # libFuzzer runs a file once, and begins with what is in a folder.
        options = ["-verbosity=0", "-print_final_stats=1", *limits]
        if target.words:
            options.append(f"-dict={words}")
        atheris.Setup([sys.argv[0], str(seeds), *options], target.run)
        atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4 or sys.argv[1] not in TARGETS:
        sys.exit(f"{__doc__}\n\nTARGET: {', '.join(TARGETS)}")
    main(*sys.argv[1:])
