"""What a process costs, as Linux counts it: from outside, so that it is the same for every system."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all threads, since the process started."""

    cpu: float
    """Seconds, in user space and in the kernel."""
    switches: int
    """Context switches, voluntary and not."""
    waited: float
    """Seconds in which they could have run and the core was somebody else's."""
    rss: int
    """Bytes that are resident now."""

    @classmethod
    def of(cls, pid: int) -> Usage:
        folder = Path("/proc", str(pid))
        # proc(5): the name may hold blanks; utime and stime are the 12th and 13th field behind it.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        switches, waited = 0, 0
        for task in (folder / "task").iterdir():
            for line in (task / "status").read_text().splitlines():
                if "ctxt_switches" in line:
                    switches += int(line.split()[1])
            waited += int((task / "schedstat").read_text().split()[1])  # nanoseconds
        resident = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return cls((int(fields[11]) + int(fields[12])) / _TICK, switches, waited / 1e9, resident)
