"""Chromium calls the mock over a bad network, and each side's account of it is laid beside the other's.

The two are on hosts of their own (namespaces.py), what is between them loses and delays (bridge.py). The table that
docs/audio-quality.md shows is printed with ``make interop PYTEST_ARGS='-k impaired -s'``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import spectrum
from browser import ORIGIN, Browser, chromium_on, hears
from namespaces import Host, Hosts, two_hosts
from parts import AUDIBLE, DEADLINE, Mock, decode

from signaling.scenario import speech_file

API_KEY = "sk_two_hosts"  # the mock's default key is for loopback
SEED = 689  # loses from 4.5 to 5.5 % of the first 200 to 900 packets, wherever a report draws the line
GET_STATS = """(async () => {
    const found = {};
    for (const entry of (await call.pc.getStats()).values()) if (entry.kind === "audio") found[entry.type] = entry;
    return found;
})()"""


@asynccontextmanager
async def mock_on(host: Host, scenario: str) -> AsyncIterator[Mock]:
    """``rtcpeer mock`` as a process on ``host``, looked at from here."""
    url = f"http://{host.address}:8080"
    command = (sys.executable, "-m", "rtcpeer", "mock", "--host", host.address, "--scenario", scenario)
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

    @property
    def recovered(self) -> float:
        """Fraction of the lost packets that were decoded from the FEC in the next one, since the call began."""
        if "fecRecoveredSamples" in self.inbound:
            packets = self.inbound["fecRecoveredSamples"] / 960
        else:  # Chromium has no such counter, but discards the FEC of what was not lost
            packets = self.inbound["fecPacketsReceived"] - self.inbound["fecPacketsDiscarded"]
        return packets / self.inbound["packetsLost"]


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
        cells = [
            f"`{network}`",
            self.name,
            *(f"{100 * value:.1f}" for value in (self.last.lost, self.reported)),
            f"{100 * self.last.recovered:.0f}",
            *(f"{100 * value:.1f}" for value in (self.concealed, self.stretched)),
            *(f"{1000 * value:.0f}" for value in (self.last.inbound["jitter"], self.buffered)),
        ]
        return f"| {' | '.join(cells)} |"


HEAD = """
| network | who hears | lost, % | reported of its own, % | from FEC, % of the lost | concealed, % | stretched, % \
| jitter, ms | buffer, ms |
| --- | --- | --: | --: | --: | --: | --: | --: | --: |"""


@dataclass(frozen=True)
class TwoHostCall:
    """Chromium and the mock in a call with each other, each on a host of its own."""

    call_id: str
    browser: Browser
    mock: Mock
    hosts: Hosts

    async def listen(self, packets: int) -> tuple[Listener, Listener, list[dict[str, Any]]]:
        """Return Chromium and rtcpeer after each has received so many packets, and the spectra the page saw."""
        theirs = Listener("Chromium", await Account.of_chromium(self.browser))
        ours = Listener("rtcpeer", await Account.of_rtcpeer(self.mock, self.call_id))
        spectra = []
        async with asyncio.timeout(packets / 50 + DEADLINE):
            while min(theirs.packets, ours.packets) < packets:
                await asyncio.sleep(0.25)
                theirs.note(await Account.of_chromium(self.browser))
                ours.note(await Account.of_rtcpeer(self.mock, self.call_id))
                spectra.append(await self.browser.do("call.spectrum()"))
        return theirs, ours, spectra


@asynccontextmanager
async def two_host_call(conditions: str, scenario: str, microphone: Path) -> AsyncIterator[TwoHostCall]:
    """A call over a bad network, from when rtcpeer has heard a second of Chromium's microphone."""
    async with (
        two_hosts(conditions, SEED) as hosts,
        mock_on(hosts.near, scenario) as mock,
        chromium_on(hosts.far, microphone.parent, str(microphone)) as browser,
    ):
        call_id = await browser.call(base=mock.url, apiKey=API_KEY)
        await browser.do("call.enableMic()")
        await mock.call_where(call_id, lambda record: record["audio_seconds_in"] > 1)
        yield TwoHostCall(call_id, browser, mock, hosts)
        await browser.do("call.stop()")


NETWORKS = pytest.mark.parametrize("conditions", ["loss=5%", "loss=5%,delay=60ms,jitter=20ms"])


@NETWORKS
async def test_chromium_and_the_mock_hear_each_others_tone_whole_over_a_bad_network(conditions: str, tmp_path: Path):
    microphone = spectrum.write_wav(tmp_path / "770.wav", spectrum.tone(770, 2.0))
    async with two_host_call(conditions, "tone", microphone) as call:
        await hears(call.browser, 440)
        _, _, at_chromium = await call.listen(packets=150)
        audio, sample_rate = await call.mock.received(call.call_id)

    assert all(heard["dominant"] == pytest.approx(440, abs=5) for heard in at_chromium)
    assert all(heard["level"] > AUDIBLE for heard in at_chromium)
    at_mock = audio[-3 * sample_rate :]
    level = spectrum.tone_level(at_mock, sample_rate, 770)
    assert spectrum.dominant_frequency(at_mock, sample_rate) == pytest.approx(770, abs=2)
    assert level == pytest.approx(-12, abs=1)
    assert spectrum.band_level(at_mock, sample_rate, 50, sample_rate / 2) - level < 0.5


@NETWORKS
async def test_rtcpeer_makes_up_no_more_of_what_a_bad_network_loses_than_chromium(conditions: str, tmp_path: Path):
    # Speech, because libopus puts no FEC beside a tone.
    question = decode(speech_file("user-1.flac").read_bytes(), tmp_path)
    microphone = spectrum.write_wav(tmp_path / "question.wav", question)
    async with two_host_call(conditions, "echo", microphone) as call:
        theirs, ours, _ = await call.listen(packets=500)
        lost = await call.hosts.lost()

    print(HEAD, theirs.row(conditions), ours.row(conditions), sep="\n")
    assert lost == {"near": pytest.approx(0.05, abs=0.01), "far": pytest.approx(0.05, abs=0.01)}
    assert [theirs.last.lost, ours.last.lost] == pytest.approx([lost["near"], lost["far"]], abs=0.01)
    assert [ours.reported, theirs.reported] == pytest.approx([lost["near"], lost["far"]], abs=0.015)
    # An encoder that was told of no loss sends no FEC, and Chromium's reports come every 5 s, if they are not lost.
    assert theirs.last.recovered > 0
    assert ours.last.recovered > 0
    # The fates are the same for both, from the first packet on, which they did not send at the same time.
    assert ours.concealed < 1.5 * theirs.concealed + 0.01
