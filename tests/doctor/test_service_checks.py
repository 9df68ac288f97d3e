"""What the doctor finds of services that answer, refuse, dawdle, lie about the time, or are not there."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from certificates import Authority

from rtcpeer.doctor.finding import Finding
from rtcpeer.doctor.service import Service, judge_clock
from rtcpeer.doctor.way import judge_certificate
from rtcpeer.protocols import find_protocol
from signaling import MockServer

KEY = "sk_s3cr3t-of-the-caller"


@asynccontextmanager
async def serving(handler=None, *, headers=None, status=404, body="", tls=None) -> AsyncIterator[str]:
    """A server with one answer for everything."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, text=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler or answer)
    server = TestServer(app)
    await server.start_server(ssl=tls)
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await server.close()


async def examine(url: str, *, api_key=None, token=None, protocol="orga", timeout=5.0, **options):
    """Return the service, and its findings by name."""
    service = Service(url, find_protocol(protocol), api_key=api_key, token=token, timeout=timeout, **options)
    return service, {finding.name: finding for finding in await service.examine()}


def states(findings: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status for name, finding in findings.items()}


async def test_a_service_that_works_is_ok_from_its_name_to_its_ice_servers():
    from rtcpeer.protocols.http import IceServer

    async with MockServer(api_key=KEY, ice_servers=[IceServer(("stun:a.example", "turn:a.example"))]) as mock:
        service, found = await examine(mock.url("orga"), api_key=KEY)

    assert set(states(found).values()) == {"ok"}
    assert list(found) == ["dns", "tcp", "http", "clock", "token", "ice-config"]
    assert service.ice_servers == (IceServer(("stun:a.example", "turn:a.example")),)
    assert found["ice-config"].figures["turn"] == 1
    assert found["http"].figures["status"] == 404
    assert found["http"].figures["round_trip"] > 0


async def test_a_key_that_is_refused_fails_and_is_told_nowhere():
    async with MockServer(api_key="sk_another") as mock:
        _, found = await examine(mock.url("orga"), api_key=KEY)

    assert found["token"].status == "fail"
    assert "401" in found["token"].detail
    assert "whole key" in found["token"].advice
    assert found["ice-config"].status == "skipped"
    assert KEY not in repr(found)


async def test_a_service_that_quotes_the_key_does_not_bring_it_into_a_finding():
    async with serving(status=401, body=f'{{"error": {{"message": "bad key <{KEY}>"}}}}') as url:
        _, found = await examine(url, api_key=KEY)

    assert "bad key" in found["token"].detail
    assert KEY not in repr(found)


async def test_a_token_that_is_refused_fails_at_the_ice_servers():
    async with MockServer(api_key=KEY) as mock:
        _, found = await examine(mock.url("orga"), token="nonsense")

    assert (found["token"].status, found["ice-config"].status) == ("skipped", "fail")
    assert "fresh token" in found["ice-config"].advice


async def test_without_a_credential_the_rest_is_checked():
    async with MockServer(api_key=KEY) as mock:
        _, found = await examine(mock.url("orga"))

    assert states(found)["http"] == "ok"
    assert (states(found)["token"], states(found)["ice-config"]) == ("skipped", "skipped")
    assert "--api-key" in found["token"].detail


async def test_a_websocket_protocol_has_no_token_to_check():
    async with MockServer(api_key=KEY) as mock:
        _, found = await examine(mock.url("orga"), protocol="orbitali")

    assert list(found) == ["dns", "tcp", "http", "clock"]


async def test_a_dead_port_fails_once_and_the_rest_is_not_tried():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    _, found = await examine(f"http://127.0.0.1:{port}")

    assert (found["dns"].status, found["tcp"].status) == ("ok", "fail")
    assert "is the server running" in found["tcp"].advice
    assert {each.detail for each in list(found.values())[2:]} == {"not tried: tcp failed"}


async def test_an_unknown_name_is_told_by_name():
    _, found = await examine("http://no-such-host.invalid")

    assert found["dns"].status == "fail"
    assert "no-such-host.invalid" in found["dns"].detail


async def test_a_server_that_takes_the_connection_and_says_nothing_fails_in_time():
    taken: list[asyncio.StreamWriter] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        _, found = await examine(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.1)
        for writer in taken:
            writer.close()

    assert found["http"].status == "fail"
    assert "did not answer within 0.1 s" in found["http"].detail


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "ok"), (-30, "warn"), (30, "warn"), (-3600, "fail"), (3600, "fail")]
)
async def test_a_clock_that_is_not_ours_is_told_by_how_much(seconds, status):
    async with serving(headers={"Date": formatdate(time.time() + seconds, usegmt=True)}) as url:
        _, found = await examine(url)

    assert found["clock"].status == status
    assert found["clock"].figures["ahead"] == pytest.approx(-seconds, abs=2)


async def test_an_answer_from_a_cache_is_dated_by_its_age():
    headers = {"Date": formatdate(time.time() - 1000, usegmt=True), "Age": "1000"}
    async with serving(headers=headers) as url:
        _, found = await examine(url)

    assert found["clock"].status == "ok"


@pytest.mark.parametrize("date", ["nonsense", "Mon, 99 Foo 2024 00:00:00 GMT", ""])
async def test_a_date_that_is_none_is_no_failure(date):
    async with serving(headers={"Date": date}) as url:
        _, found = await examine(url)

    assert found["clock"].status == "skipped"


async def test_a_token_that_our_clock_calls_expired_is_a_warning_about_the_clocks():
    async with MockServer(api_key=KEY) as mock:
        _, found = await examine(mock.url("orga"), api_key=KEY, wall=lambda: time.time() + 86400)

    assert found["token"].status == "warn"
    assert "NTP" in found["token"].advice
    assert found["ice-config"].status == "ok"


async def test_a_slow_server_is_a_warning_and_not_asked_again_and_again():
    asked = 0

    async def dawdle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.6)
        return web.Response()

    async with serving(dawdle) as url:
        _, found = await examine(url, timeout=1.0)

    assert (found["http"].status, asked) == ("warn", 1)
    assert found["http"].figures["round_trip"] >= 0.6


async def test_trouble_of_the_server_is_a_warning():
    async with serving(status=503) as url:
        _, found = await examine(url)

    assert found["http"].status == "warn"


async def test_through_a_proxy_only_what_the_proxy_lets_see_is_checked(monkeypatch):
    async with MockServer(api_key=KEY) as mock:
        # aiohttp's own server takes the absolute URL that a proxy is asked for.
        monkeypatch.setenv("http_proxy", mock.url("orga"))
        monkeypatch.setenv("no_proxy", "")
        _, found = await examine("http://service.invalid", api_key=KEY)

    assert next(iter(found)) == "http"
    assert found["token"].status == "ok"


# TLS


@pytest.fixture
def authority(tmp_path, monkeypatch) -> Authority:
    """A CA that everything here trusts."""
    made = Authority.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(made.file))
    return made


@pytest.mark.parametrize(("days", "status"), [(60, "ok"), (3, "warn")])
async def test_a_certificate_is_told_in_days(authority, days, status):
    async with serving(tls=authority.server(days)) as url:
        _, found = await examine(url)

    assert found["tls"].status == status
    assert found["tls"].figures["days"] == pytest.approx(days, abs=0.1)
    assert found["http"].status == "ok"


async def test_a_certificate_that_has_ended_fails_and_nothing_more_is_tried(authority):
    async with serving(tls=authority.server(-1)) as url:
        _, found = await examine(url, api_key=KEY)

    assert found["tls"].status == "fail"
    assert "expired" in found["tls"].detail
    assert "renew" in found["tls"].advice
    assert found["token"].status == "skipped"


async def test_a_certificate_for_another_host_says_so(authority):
    async with serving(tls=authority.server(60, "192.0.2.1")) as url:
        _, found = await examine(url)

    assert found["tls"].status == "fail"
    assert "name that is in the certificate" in found["tls"].advice


async def test_a_certificate_of_an_unknown_ca_tells_how_to_name_one(authority, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    async with serving(tls=authority.server(60)) as url:
        _, found = await examine(url)

    assert found["tls"].status == "fail"
    assert "SSL_CERT_FILE" in found["tls"].advice


async def test_https_to_a_plain_port_says_so():
    async with serving() as url:
        _, found = await examine(url.replace("http:", "https:"))

    assert found["tls"].status == "fail"
    assert "plain http" in found["tls"].advice


# Judgements


@pytest.mark.parametrize(
    ("skew", "status"), [(0.4, "ok"), (-4.9, "ok"), (5.1, "warn"), (60.1, "fail"), (-61, "fail")]
)
def test_a_skew_is_judged_by_its_size(skew, status):
    assert judge_clock(skew, "x").status == status


def test_a_skew_has_a_direction():
    assert "90 s behind ours" in judge_clock(90, "x").detail
    assert "90 s ahead of ours" in judge_clock(-90, "x").detail


def test_a_certificate_is_a_warning_from_two_weeks_before_its_end():
    day = 86400.0

    assert judge_certificate(15 * day, 0, "TLSv1.3", 0.1, "x").status == "ok"
    assert judge_certificate(13 * day, 0, "TLSv1.3", 0.1, "x").status == "warn"
