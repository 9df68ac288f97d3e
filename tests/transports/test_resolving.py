"""Names are looked up on threads of their own, each with a deadline, and nobody waits for one that is silent."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from rtcpeer.errors import SignalingError
from rtcpeer.protocols.http import HttpRequest, SocketRequest
from rtcpeer.protocols.orgo import Orgo
from rtcpeer.transports import resolving
from rtcpeer.transports.dialling import dial
from rtcpeer.transports.http import exchange, open_pool
from rtcpeer.transports.ice_probe import ask_stun, try_turn
from rtcpeer.transports.ice_servers import IceUrl

UDP = socket.SOCK_DGRAM


class Dns:
    """The system's resolver, with names of ours; ``silent.…`` is not answered until ``answer`` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = threading.Event()
        self.known: dict[str, list[str]] = {"here.test": ["192.0.2.1", "2001:db8::1"]}

    def getaddrinfo(self, host: str, port: int, family: int = 0, type: int = 0, *rest: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("silent"):
            self.answer.wait(60)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (socket.AF_INET6, type, 0, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, type, 0, "", (address, port))
            for address in self.known[host]
        ]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dns]:
    found = Dns()
    monkeypatch.setattr(resolving, "_lookups", resolving._Lookups())
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    yield found
    found.answer.set()


async def test_a_name_has_the_addresses_that_the_system_knows(dns: Dns) -> None:
    found = await resolving.addresses("here.test", 3478, UDP)

    assert [(socket.AF_INET, ("192.0.2.1", 3478)), (socket.AF_INET6, ("2001:db8::1", 3478, 0, 0))] == found


async def test_an_address_is_not_looked_up(dns: Dns) -> None:
    assert [(socket.AF_INET, ("192.0.2.7", 1))] == await resolving.addresses("192.0.2.7", 1, UDP)
    assert [(socket.AF_INET6, ("2001:db8::7", 1, 0, 0))] == await resolving.addresses("2001:db8::7", 1, UDP)
    assert [] == dns.asked


async def test_an_unknown_name_is_an_error_of_the_resolver(dns: Dns) -> None:
    with pytest.raises(socket.gaierror):
        await resolving.addresses("nowhere.test", 1, UDP)


@pytest.mark.parametrize("name", ["a" * 64, "a\0b", "a..b", "\ud800"])
async def test_what_can_be_no_name_is_an_error_of_the_resolver(name: str) -> None:
    with pytest.raises(socket.gaierror):
        await resolving.addresses(name, 1, UDP)


async def test_a_silent_name_ends_at_its_deadline_and_holds_up_no_other(
    dns: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "MOST_THREADS", 2)
    silent = [asyncio.create_task(resolving.addresses("silent.test", 1, UDP, timeout=60)) for _ in range(20)]
    await asyncio.sleep(0)

    assert await resolving.addresses("here.test", 1, UDP)
    with pytest.raises(resolving.ResolverSilent, match=r"within 0\.01 s"):
        await resolving.addresses("silent.test", 1, UDP, timeout=0.01)
    assert ["silent.test", "here.test"] == dns.asked  # twenty-one who ask one question are one look-up
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)


async def test_the_default_executor_has_no_part_in_it(dns: Dns) -> None:
    loop = asyncio.get_running_loop()

    async def refused(*_: Any) -> None:
        raise AssertionError("the executor that writes recordings was asked")

    loop.run_in_executor = refused  # type: ignore[assignment,method-assign]
    assert await resolving.addresses("here.test", 1, UDP)


async def test_threads_and_those_who_wait_for_one_are_bounded(dns: Dns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "MOST_THREADS", 2)
    monkeypatch.setattr(resolving, "MOST_WAITING", 3)
    names = [f"silent{n}.test" for n in range(5)]
    asking = [asyncio.create_task(resolving.addresses(name, 1, UDP, timeout=60)) for name in names]
    await asyncio.sleep(0)

    with pytest.raises(socket.gaierror, match="too many names"):
        await resolving.addresses("here.test", 1, UDP)
    asking[-1].cancel()  # its place is free again
    with suppress(asyncio.CancelledError):
        await asking.pop()
    late = asyncio.create_task(resolving.addresses("here.test", 1, UDP, timeout=60))
    await asyncio.sleep(0)
    dns.answer.set()

    assert await late
    assert all(isinstance(each, socket.gaierror) for each in await asyncio.gather(*asking, return_exceptions=True))
    assert {*names[:4], "here.test"} == set(dns.asked)


async def test_of_a_name_with_hundreds_of_addresses_a_few_of_each_family_are_used(dns: Dns) -> None:
    dns.known["many.test"] = [
        *(f"192.0.2.{n}" for n in range(1, 200)),
        "192.0.2.1",
        *(f"2001:db8::{n:x}" for n in range(200)),
    ]

    found = await resolving.addresses("many.test", 1, UDP)

    assert [f"192.0.2.{n}" for n in range(1, 5)] == [at[0] for family, at in found if family == socket.AF_INET]
    assert 4 == sum(family == socket.AF_INET6 for family, _ in found)


def test_a_loop_and_a_process_end_while_a_name_is_silent() -> None:
    program = """
import asyncio, socket, threading
from rtcpeer.errors import SignalingError
from rtcpeer.protocols.http import HttpRequest, SocketRequest
from rtcpeer.protocols.orgo import Orgo
from rtcpeer.transports import resolving
from rtcpeer.transports.dialling import dial
from rtcpeer.transports.http import exchange, open_pool
from rtcpeer.transports.ice_probe import ask_stun, try_turn
from rtcpeer.transports.ice_servers import IceUrl
socket.getaddrinfo = lambda *a, **k: threading.Event().wait()
async def main():
    try:
        await resolving.addresses("silent.test", 1, socket.SOCK_STREAM, timeout=0.01)
    except resolving.ResolverSilent:
        print("silent")
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)

    assert ("silent\n", "") == (ended.stdout, ended.stderr)


async def ask_http() -> None:
    async with open_pool("http://silent.test/") as http:
        await exchange(http, HttpRequest("GET", "http://silent.test/"), timeout=0.01)


async def dial_socket() -> None:
    await dial(SocketRequest("ws://silent.test/"), Orgo, timeout=0.01)


async def ask_stun_server() -> None:
    raise TimeoutError(await ask_stun(IceUrl("stun", "silent.test", 3478), timeout=0.01))


async def ask_turn_server() -> None:
    raise TimeoutError(await try_turn(IceUrl("turn", "silent.test", 3478, "tcp"), timeout=0.01))


@pytest.mark.parametrize("asking", [ask_http, dial_socket, ask_stun_server, ask_turn_server])
async def test_whoever_asks_a_silent_name_is_back_at_the_deadline_and_takes_no_thread_of_a_recording(
    asking: Callable[[], Awaitable[None]], dns: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises((SignalingError, TimeoutError), match=r"answer"):
        await asking()

    assert ["silent.test"] == dns.asked
    assert asyncio.get_running_loop()._default_executor is None  # type: ignore[attr-defined]


async def test_a_resolver_that_gives_no_answer_is_not_called_a_name_without_an_address(
    dns: Dns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "TIMEOUT", 0.01)
    async with open_pool("http://silent.test/") as http:
        with pytest.raises(SignalingError, match=r"name resolution gave no answer for http://silent\.test"):
            await exchange(http, HttpRequest("GET", "http://silent.test/"))
