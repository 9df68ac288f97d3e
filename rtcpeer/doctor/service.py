"""What of a service works from here, one step after the other: name, TCP, TLS, HTTP, clocks, credential, ICE servers.

A step that fails makes the next ones ``skipped``: they would only say the same again.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ..errors import AuthError, SignalingError
from ..protocols.base import VoiceProtocol
from ..protocols.http import IceServer
from ..protocols.redaction import redact
from ..protocols.rtc import RtcProtocol
from ..transports.http import environment_proxy, exchange, explain, open_pool, redact_url
from .checks import Check, run_check
from .finding import Finding, Status
from .way import Way

_ROUND_TRIPS = 5
_SKEW = 5.0
"""Seconds. Less does no harm: tokens live for minutes, and a Date counts whole seconds."""
_BAD_SKEW = 60.0
"""Seconds: tokens that live that long are there."""


class Service:
    """One service, and what has been learnt of it so far.

    Args:
        url: Its base, http or https.
        timeout: Seconds for each answer.
        wall: Our clock, in Unix seconds.
    """

    def __init__(
        self,
        url: str,
        protocol: type[VoiceProtocol],
        *,
        api_key: str | None,
        token: str | None,
        timeout: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.ice_servers: tuple[IceServer, ...] = ()
        """What the service named."""
        self._url = url
        self._protocol = protocol
        self._api_key = api_key
        self._token = token
        self._timeout = timeout
        self._wall = wall
        parts = urlsplit(url)
        self._trust = ssl.create_default_context() if parts.scheme == "https" else None
        self._way = Way(
            parts.hostname or "",
            parts.port or (443 if self._trust else 80),
            self._trust,
            redact_url(url),
            timeout,
            wall,
        )
        self._dates: list[tuple[float, float]] = []  # the server's time, and ours in the middle of the request

    async def examine(self) -> list[Finding]:
        """Take the steps, as far as they go."""
        place = redact_url(self._url)
        proxy = environment_proxy(self._url)
        steps: list[tuple[str, Callable[[], Awaitable[Finding]]]] = []
        if proxy is None:
            steps += [("dns", self._way.dns), ("tcp", self._way.tcp)]
            steps += [("tls", self._way.tls)] if self._trust else []
        async with open_pool(self._url, trust=self._trust) as http:
            steps += [("http", lambda: self._http(http)), ("clock", self._clock)]
            if issubclass(self._protocol, RtcProtocol):
                rtc = self._protocol
                steps += [
                    ("token", lambda: self._get_token(http, rtc)),
                    ("ice-config", lambda: self._get_ice(http, rtc)),
                ]
            findings: list[Finding] = []
            broken = ""
            for name, step in steps:
                if broken:
                    findings.append(
                        Finding(name=name, target=place, status="skipped", detail=f"not tried: {broken} failed")
                    )
                    continue
                check = Check(name, step, place, 2 * self._timeout)
                findings += [self._without_credentials(each) for each in await run_check(check)]
                if findings[-1].status == "fail" and name != "clock":
                    broken = name
        return findings

    def _found(
        self, name: str, status: Status, detail: str, advice: str = "", figures: Mapping[str, Any] | None = None
    ) -> Finding:
        place = redact_url(self._url)
        return Finding(name=name, target=place, status=status, detail=detail, advice=advice, figures=figures or {})

    def _without_credentials(self, finding: Finding) -> Finding:
        """Services are known to quote the key they refuse."""
        secrets = (self._api_key, self._token)
        return replace(finding, detail=redact(finding.detail, secrets), advice=redact(finding.advice, secrets))

    # What it says

    async def _http(self, http: aiohttp.ClientSession) -> Finding:
        times: list[float] = []
        status = 0
        for _ in range(_ROUND_TRIPS):
            began, clock = time.monotonic(), self._wall()
            try:
                async with (
                    asyncio.timeout(self._timeout),
                    # Any answer will do: few services have something at their base.
                    http.head(self._url, allow_redirects=False, timeout=aiohttp.ClientTimeout()) as response,
                ):
                    seconds = time.monotonic() - began
                    status = response.status
            except (aiohttp.ClientError, OSError, ValueError) as exc:
                return self._found("http", "fail", *_split(str(explain(exc, self._url, self._timeout))))
            times.append(seconds)
            self._note_date(response, clock + seconds / 2)
            if sum(times) > self._timeout / 2:
                break  # so slow that one knows enough
        trip = median(times[1:] or times)  # the first one connected as well
        detail = f"answers ({status}) in {1000 * trip:.1f} ms; {1000 * times[0]:.1f} ms with connecting"
        figures: dict[str, Any] = {"status": status, "round_trip": round(trip, 5), "first": round(times[0], 5)}
        if status >= 500:
            return self._found(
                "http", "warn", detail, "the server has trouble of its own: ask whoever runs it", figures
            )
        if trip > 0.5:
            return self._found(
                "http", "warn", detail, "far away or busy: a call takes several of these to begin", figures
            )
        return self._found("http", "ok", detail, figures=figures)

    def _note_date(self, response: aiohttp.ClientResponse, ours: float) -> None:
        # RFC 9110, 6.6.1; a cache that answers says since when it has it (RFC 9111, 5.1).
        with suppress(KeyError, ValueError, OverflowError):
            theirs = parsedate_to_datetime(response.headers["date"])
            age = int(response.headers.get("age", "0"))
            theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
            self._dates.append((theirs.timestamp() + age, ours))

    async def _clock(self) -> Finding:
        if not self._dates:
            return self._found("clock", "skipped", "the service does not say what time it is")
        # A Date counts whole seconds, cut off: half of one is what is missing on average.
        skew = median(ours - (theirs + 0.5) for theirs, ours in self._dates)
        return judge_clock(skew, redact_url(self._url))

    # What it lets us do

    async def _get_token(self, http: aiohttp.ClientSession, protocol: type[RtcProtocol]) -> Finding:
        if self._token is not None:
            return self._found("token", "skipped", "one was given: whether it opens a call shows only in a call")
        if self._api_key is None:
            return self._found("token", "skipped", "no credential given: --api-key or RTCPEER_API_KEY has it checked")
        began = time.monotonic()
        try:
            request = protocol.token_request(self._url, self._api_key, {})
            answer = protocol.parse_token(await exchange(http, request, timeout=self._timeout))
        except AuthError as exc:
            detail, _ = _split(str(exc))
            return self._found(
                "token", "fail", detail.rstrip("."), "give the whole key of an account of this service"
            )
        except SignalingError as exc:
            return self._found("token", "fail", *_split(str(exc)))
        self._token = answer.value
        took = time.monotonic() - began
        lives = None if answer.expires_at is None else answer.expires_at - self._wall()
        detail = f"the API key got a token in {1000 * took:.0f} ms"
        figures: dict[str, Any] = {"seconds": round(took, 4), "lifetime": None if lives is None else round(lives, 1)}
        if lives is not None and lives <= 0:
            advice = "one of the two clocks is wrong: set this one by NTP"
            return self._found("token", "warn", f"{detail}, by our clock already expired", advice, figures)
        if lives is not None:
            detail += f", good for {lives:.0f} s"
        return self._found("token", "ok", detail, figures=figures)

    async def _get_ice(self, http: aiohttp.ClientSession, protocol: type[RtcProtocol]) -> Finding:
        if self._token is None:
            return self._found("ice-config", "skipped", "it takes a token: --api-key or --token has it checked")
        began = time.monotonic()
        try:
            request = protocol.ice_request(self._url, self._token)
            self.ice_servers = protocol.parse_ice(await exchange(http, request, timeout=self._timeout))
        except AuthError as exc:
            detail, _ = _split(str(exc))
            return self._found("ice-config", "fail", detail, "get a fresh token: it is wrong, spent or expired")
        except SignalingError as exc:
            return self._found("ice-config", "fail", *_split(str(exc)))
        took = time.monotonic() - began
        urls = [url for server in self.ice_servers for url in server.urls]
        relays = sum(url.startswith("turn") for url in urls)
        detail = f"{len(urls) - relays} STUN and {relays} TURN URLs" if urls else "none named: direct paths alone"
        return self._found(
            "ice-config",
            "ok",
            f"{detail}, in {1000 * took:.0f} ms",
            figures={"seconds": round(took, 4), "stun": len(urls) - relays, "turn": relays},
        )


def judge_clock(skew: float, place: str) -> Finding:
    """Say what it means that our clock is so many seconds ahead of theirs."""
    away = abs(skew)
    detail = "the same as here" if away < 1 else f"{away:.0f} s {'behind' if skew > 0 else 'ahead of'} ours"
    status: Status = "ok" if away <= _SKEW else "warn" if away <= _BAD_SKEW else "fail"
    return Finding(
        name="clock",
        target=place,
        status=status,
        detail=f"the service's is {detail}",
        advice=""
        if status == "ok"
        else "tokens seem expired, or not valid yet: set this clock by NTP (timedatectl set-ntp true)",
        figures={"ahead": round(skew, 1)},
    )


def _split(said: str) -> tuple[str, str]:
    """Split an error of ours into what happened and what to do: behind a semicolon, or the question in brackets."""
    happened, mark, todo = said.partition("; ")
    if mark:
        return happened, todo
    if said.endswith("?)"):
        happened, _, todo = said[:-1].rpartition(" (")
        return happened, todo
    happened, mark, todo = said.rpartition(": ")
    if mark and todo.endswith("?"):
        return happened, todo
    return said, "see the message"
