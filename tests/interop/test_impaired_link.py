"""Chromium calls the mock over a bad network, and each side's account of it is laid beside the other's.

The two are on hosts of their own (namespaces.py), what is between them loses and delays (bridge.py). The table that
docs/audio-quality.md shows is printed with ``make interop PYTEST_ARGS='-k impaired -s'``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import spectrum
from browser import ORIGIN, Browser, chromium_on, hears
from namespaces import Host, two_hosts
from parts import AUDIBLE, DEADLINE, Mock

API_KEY = "sk_two_hosts"  # the mock's default key is for loopback
SEED = 321  # loses 5.0 % of the first 600 packets, and of the first 900
PACKETS = 600
"""12 s of what each side hears are measured."""
GET_STATS = """(async () => {
    const found = {};
    for (const entry of (await call.pc.getStats()).values()) if (entry.kind === "audio") found[entry.type] = entry;
    return found;
})()"""


@asynccontextmanager
async def mock_on(host: Host) -> AsyncIterator[Mock]:
    """``rtcpeer mock`` as a process on ``host``, looked at from here."""
    url = f"http://{host.address}:8080"
    command = (sys.executable, "-m", "rtcpeer", "mock", "--host", host.address, "--scenario", "tone")
    async with (
        host.running(*command, "--cors-origin", ORIGIN, RTCPEER_API_KEY=API_KEY),
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=host.socket),
            headers={"Authorization": f"Bearer {API_KEY}"},
            timeout=aiohttp.ClientTimeout(DEADLINE),
        ) as http,
    ):
        yield Mock(url, http)


class Account:
    """What one side says of the audio it hears, and of what the other reports to have heard of its own.

    Counters are those of W3C webrtc-stats, by their names there.
    """

    def __init__(self, inbound: Mapping[str, Any], sent: int, reported_lost: int) -> None:
        self.inbound = inbound
        self.sent = sent
        self.reported_lost = reported_lost

    @classmethod
    async def of_chromium(cls, browser: Browser) -> Account:
        stats = await browser.do(GET_STATS)
        reported = stats.get("remote-inbound-rtp", {})
        return cls(stats["inbound-rtp"], stats["outbound-rtp"]["packetsSent"], reported.get("packetsLost", 0))

    @classmethod
    async def of_rtcpeer(cls, mock: Mock, call_id: str) -> Account:
        stats = (await mock.call(call_id))["stats"]
        inbound = {camel(name): value for name, value in stats["inbound_audio"].items()}
        return cls(inbound, stats["outbound_audio"]["packets_sent"], stats["outbound_audio"]["packets_lost"])

    @property
    def lost(self) -> float:
        """Fraction of the packets, since the call began."""
        lost: int = self.inbound["packetsLost"]
        return lost / (lost + self.inbound["packetsReceived"])


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


class Listener:
    """One side of the call over the time of the measurement."""

    def __init__(self, name: str, first: Account) -> None:
        self.name = name
        self.first = self.last = first
        self.reported = 0.0
        """Fraction of what this side sent that the other one's last receiver report calls lost."""

    def note(self, account: Account) -> None:
        if account.reported_lost != self.last.reported_lost:  # a report has just come: what was sent belongs to it
            self.reported = account.reported_lost / account.sent
        self.last = account

    @property
    def packets(self) -> int:
        return self._gained("packetsReceived")

    @property
    def concealed(self) -> float:
        """Fraction of the samples played."""
        return self._gained("concealedSamples") / self._gained("totalSamplesReceived")

    @property
    def stretched(self) -> float:
        """Fraction of the samples played that were put in or taken out to change the delay."""
        stretched = self._gained("insertedSamplesForDeceleration") + self._gained("removedSamplesForAcceleration")
        return stretched / self._gained("totalSamplesReceived")

    @property
    def buffered(self) -> float:
        """Mean time in the jitter buffer, in seconds."""
        return self._gained("jitterBufferDelay") / self._gained("jitterBufferEmittedCount")

    def _gained(self, name: str) -> Any:
        return self.last.inbound[name] - self.first.inbound[name]

    def row(self, network: str) -> str:
        percent = " | ".join(
            f"{100 * value:.1f}" for value in (self.last.lost, self.reported, self.concealed, self.stretched)
        )
        jitter = self.last.inbound["jitter"]
        return f"| {network} | {self.name} | {percent} | {1000 * jitter:.0f} | {1000 * self.buffered:.0f} |"


HEAD = """
| network | who hears | lost, % | of its own, as reported, % | concealed, % | stretched, % | jitter, ms | buffer, ms |
| --- | --- | --: | --: | --: | --: | --: | --: |"""


@pytest.mark.parametrize("conditions", ["loss=5%", "loss=5%,delay=60ms,jitter=20ms"])
async def test_over_a_bad_network_rtcpeer_hears_chromium_no_worse_than_chromium_hears_it(
    conditions: str, tmp_path: Path
):
    microphone = spectrum.write_wav(tmp_path / "770.wav", spectrum.tone(770, 2.0))
    async with (
        two_hosts(conditions, SEED) as hosts,
        mock_on(hosts.near) as mock,
        chromium_on(hosts.far, tmp_path, str(microphone)) as browser,
    ):
        call_id = await browser.call(base=mock.url, apiKey=API_KEY)
        await browser.do("call.enableMic()")
        await hears(browser, 440)
        await mock.call_where(call_id, lambda record: record["audio_seconds_in"] > 1)
        theirs = Listener("Chromium", await Account.of_chromium(browser))
        ours = Listener("rtcpeer", await Account.of_rtcpeer(mock, call_id))
        spectra = []
        async with asyncio.timeout(PACKETS / 50 + DEADLINE):
            while min(theirs.packets, ours.packets) < PACKETS:
                await asyncio.sleep(0.25)
                theirs.note(await Account.of_chromium(browser))
                ours.note(await Account.of_rtcpeer(mock, call_id))
                spectra.append(await browser.do("call.spectrum([440])"))
        audio, sample_rate = await mock.received(call_id)
        lost = await hosts.lost()
        await browser.do("call.stop()")

    print(HEAD, theirs.row(conditions), ours.row(conditions), sep="\n")
    assert all(heard["dominant"] == pytest.approx(440, abs=5) for heard in spectra)
    assert all(heard["level"] > AUDIBLE for heard in spectra)
    heard = audio[-PACKETS * sample_rate // 50 :]
    assert spectrum.dominant_frequency(heard, sample_rate) == pytest.approx(770, abs=2)
    level = spectrum.tone_level(heard, sample_rate, 770)
    assert level == pytest.approx(-12, abs=1)
    assert spectrum.band_level(heard, sample_rate, 50, sample_rate / 2) - level < 0.5

    assert lost == {"near": pytest.approx(0.05, abs=0.01), "far": pytest.approx(0.05, abs=0.01)}
    assert [theirs.last.lost, ours.last.lost] == pytest.approx([lost["near"], lost["far"]], abs=0.01)
    assert [ours.reported, theirs.reported] == pytest.approx([lost["near"], lost["far"]], abs=0.015)
    # Both are played the same fates; one of them may have met a few more, as the measurements do not begin as one.
    assert ours.concealed < 1.5 * theirs.concealed + 0.01
