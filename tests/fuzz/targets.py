"""What is fuzzed: functions of some bytes that must return, whatever the bytes are, in bounded memory.

``test_fuzz.py`` gives them Hypothesis's bytes on every run, ``guided.py`` those that reach new code. A protocol is
there as soon as it is in the table of protocols.

    python tests/fuzz/targets.py        # their names
"""

from __future__ import annotations

import fuzz_audio
import fuzz_files
import fuzz_protocols
import fuzz_transports
from given import Target

TARGETS: dict[str, Target] = {
    **fuzz_audio.TARGETS,
    **fuzz_transports.TARGETS,
    **fuzz_protocols.TARGETS,
    **fuzz_files.TARGETS,
}

if __name__ == "__main__":
    print(*TARGETS, sep="\n")
