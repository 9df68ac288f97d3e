"""A host whose address changes in mid-call, as a laptop's does that moves from one network to another."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from namespaces import Process, ip, two_hosts

API_KEY = "sk_two_hosts"  # the mock's default key is for loopback


async def happened(peer: Process, kind: str) -> dict[str, Any]:
    """Return the next event of that kind, as ``--json`` prints it."""
    while True:
        event: dict[str, Any] = json.loads(await peer.line())
        if event["type"] == "Closed" or event["type"] == kind:
            assert kind == event["type"], event
            return event


@pytest.mark.timeout(90)
async def test_a_call_goes_on_from_another_address() -> None:
    command = (sys.executable, "-m", "rtcpeer")
    async with two_hosts("", seed=1) as hosts:
        near, far = hosts.near, hosts.far
        serving = (*command, "mock", "--host", far.address, "--scenario", "tone")
        joining = (*command, "join", "orga", f"http://{far.address}:8080", "--json", "--duration", "60")
        async with (
            far.running(*serving, RTCPEER_API_KEY=API_KEY),
            near.running(*joining, RTCPEER_API_KEY=API_KEY) as peer,
        ):
            await happened(peer, "SpeechStarted")
            await asyncio.sleep(1.0)  # what is said before is not in what follows
            device = ("-n", near.namespace, "address")
            # In this order: with the first address of a subnet, Linux takes the others away.
            await ip(*device, "delete", f"{near.address}/24", "dev", "eth0")
            await ip(*device, "add", "10.77.0.3/24", "dev", "eth0")
            degraded = await happened(peer, "Degraded")
            tried = await happened(peer, "Reconnecting")
            back = await happened(peer, "Reconnected")
            heard = await happened(peer, "SpeechStarted")

        # Asked at once, rather than after three seconds of silence: the socket said that it cannot send.
        assert 5.8 == pytest.approx(tried["t"] - degraded["t"] + 1.0, abs=0.5)
        assert not back["state_restored"]
        assert "assistant" == heard["speaker"]
