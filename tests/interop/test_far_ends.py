"""One call with each far end that nobody here wrote; ``make interop-full`` puts through all of the matrix."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from far_end import FAR_ENDS
from matrix import COLUMNS, Network, call, network


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[asyncio.Runner, Network]]:
    """One network for all calls, on a loop of its own: coturn takes a second to start."""
    with asyncio.Runner() as runner:
        hosts = network()
        yield runner, runner.run(hosts.__aenter__())
        runner.run(hosts.__aexit__(None, None, None))


@pytest.mark.parametrize("name", [name for name, far_end in FAR_ENDS.items() if not far_end.variant])
def test_from_behind_a_firewall_a_call_is_heard_talked_and_ended_on_both_sides(name, lab):
    runner, hosts = lab
    far_end = FAR_ENDS[name]
    if missing := far_end.missing():
        pytest.skip(missing)

    runner.run(call(hosts, far_end, COLUMNS["answers-firewalled"], ended_by="far"))
