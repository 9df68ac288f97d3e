"""The capacity benchmark's instruments show what was put into them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from calls.load import is_media, lateness
from calls.process import Usage
from calls.ramp import Step, next_step
from calls.report import BEGIN, END, write_markdown

FRAME = 960


def stream(frames: int, late: dict[int, float] | None = None, start: int = 5_000) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals in nanoseconds, and timestamps, of packets 20 ms apart; ``late`` in seconds, by number."""
    arrivals = [10**9 + round((n * 0.02 + (late or {}).get(n, 0.0)) * 1e9) for n in range(frames)]
    return np.array(arrivals), np.array([(start + n * FRAME) % (1 << 32) for n in range(frames)])


def test_who_keeps_the_schedule_is_not_late_across_the_wrap_of_the_timestamp():
    arrivals, timestamps = stream(100, start=(1 << 32) - 10 * FRAME)

    assert [0.0] * 100 == pytest.approx(lateness(arrivals, timestamps, 2.0), abs=1e-6)


def test_a_late_packet_is_late_by_what_it_missed_the_schedule_by():
    arrivals, timestamps = stream(100, {40: 0.015, 41: 0.003})

    assert pytest.approx([0.015, 0.003, 0.0], abs=1e-6) == lateness(arrivals, timestamps, 2.0)[40:43]


def test_packets_that_never_came_are_infinitely_late():
    arrivals, timestamps = stream(100)
    gap = np.r_[0:30, 35:100]

    assert 5 == np.isinf(lateness(arrivals[gap], timestamps[gap], 2.0)).sum()
    # One that stops in the middle, and one that never begins.
    assert 45 == np.isinf(lateness(arrivals[:50], timestamps[:50], 2.0)).sum()
    assert np.isinf(lateness(arrivals[:0], timestamps[:0], 2.0)).all()


def test_rtp_is_told_from_what_shares_its_port():
    assert is_media(bytes([0x80, 111, *range(10)]))
    assert is_media(bytes([0x90, 0x80 | 111, *range(10)]))
    for other in (200, 201, 203):  # RTCP
        assert not is_media(bytes([0x80, other, *range(10)]))
    assert not is_media(bytes([0x00, 0x01, *range(18)]))  # STUN
    assert not is_media(bytes([22, *range(20)]))  # DTLS


def test_the_ramp_is_steep_until_the_core_fills_up():
    def step(calls: int, cpu: float) -> Step:
        return Step(calls, 0.0, 0.0, 0.0, 1.0, cpu, 0.0, 0.0, 0, 0.0, 0.0)

    assert [10, 70, 95] == [
        next_step(step(5, 0.1), 1.06),
        next_step(step(40, 0.4), 1.06),
        next_step(step(90, 0.9), 1.06),
    ]
    assert next_step(step(2, 1.0), 1.06) > 2


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="reads /proc")
def test_usage_of_a_process_grows_with_what_it_does():
    before = Usage.of(os.getpid())
    ballast = np.ones(20_000_000)
    while (after := Usage.of(os.getpid())).cpu < before.cpu + 0.03:
        ballast += 1

    assert after.rss > before.rss + 100_000_000
    assert after.switches >= before.switches


def test_the_table_replaces_the_one_before(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text(f"head\n{BEGIN}\nold\n{END}\ntail\n")
    row = {
        "system": "aiortc",
        "holds": 35,
        "fails_at": None,
        **dict.fromkeys(("rss_per_call", "switches_per_frame", "lateness_p99", "setup")),
        "cpu_per_call": 0.025,
    }
    machine = {"processor": "x", "cpus": 2, "python": "3", "aiortc": "1", "av": "1", "load_before": 0}
    write_markdown({"rows": [row], "machine": machine, "date": "d", "command": "c", "seconds": 1}, document)

    text = document.read_text()
    assert text.startswith("head\n")
    assert text.endswith("tail\n")
    assert "old" not in text
    assert "| aiortc | 35 | not reached | 1.0× | – | 2.50 % | 1.0× | – |" in text
