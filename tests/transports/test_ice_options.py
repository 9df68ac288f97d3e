from __future__ import annotations

import socket
from contextlib import closing, suppress

import pytest

from rtcpeer.errors import ConfigurationError
from rtcpeer.transports.ice_options import IceOptions, may_reach, read_port_range
from rtcpeer.transports.ice_servers import PortsExhausted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "none"}, "ice_policy='none'"),
        ({"gather_timeout": 0.0}, "gather_timeout=0"),
        ({"gather_timeout": float("nan")}, "gather_timeout=nan"),
        ({"udp_ports": (0, 10)}, "udp_ports=0-10"),
        ({"udp_ports": (20, 10)}, "udp_ports=20-10"),
        ({"udp_ports": (1, 65536)}, "udp_ports=1-65536"),
        ({"interface": "nothing0"}, r"interface='nothing0' has no address here; there are: .*lo \(127\.0\.0\.1"),
        ({"interface": "203.0.113.77"}, "interface='203.0.113.77'"),
        ({"advertise_ip": "example.org"}, "no IP address"),
        ({"interface": "127.0.0.1", "advertise_ip": "2001:db8::1"}, r"no IPv6 address here .*\(127\.0\.0\.1\)"),
    ],
)
def test_what_cannot_be_is_refused_and_named(options: dict, message: str):
    with pytest.raises(ConfigurationError, match=message):
        IceOptions.of(**options)


def test_an_interface_is_chosen_by_name_and_by_address_loopback_too():
    assert "127.0.0.1" in IceOptions.of(interface="lo").addresses()
    assert ["127.0.0.1"] == IceOptions.of(interface="127.0.0.1").addresses()
    assert "127.0.0.1" not in IceOptions.of().addresses()


LAN = {"eth0": ["192.0.2.1", "2001:db8::1"], "lo": ["127.0.0.1", "::1"]}


@pytest.mark.parametrize(
    ("there", "host", "used"),
    [
        (LAN, "service.example", ["192.0.2.1", "2001:db8::1"]),
        (LAN, "192.0.2.1", ["192.0.2.1", "2001:db8::1"]),
        (LAN, "localhost", ["192.0.2.1", "2001:db8::1", "127.0.0.1"]),
        (LAN, "127.0.0.1", ["192.0.2.1", "2001:db8::1", "127.0.0.1"]),
        (LAN, "::1", ["192.0.2.1", "2001:db8::1", "127.0.0.1"]),
        ({"lo": ["127.0.0.1", "::1"]}, "service.example", ["127.0.0.1"]),
        ({"lo": ["::1"]}, "::1", ["::1"]),
        ({"lo": ["10.99.0.1", "127.0.0.1"]}, "service.example", ["10.99.0.1"]),
        ({}, "localhost", []),
    ],
)
def test_loopback_is_used_toward_this_machine_and_where_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, list[str]], host: str, used: list[str]
):
    monkeypatch.setattr("rtcpeer.transports.ice_options.interfaces", lambda: there)

    assert used == IceOptions.of().toward(host).addresses()


def test_what_was_chosen_is_used_toward_this_machine_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rtcpeer.transports.ice_options.interfaces", lambda: LAN)

    assert LAN["eth0"] == IceOptions.of(interface="eth0").toward("localhost").addresses()
    assert LAN["eth0"] == IceOptions.of(advertise_ip="203.0.113.5").toward("localhost").addresses()


def test_from_loopback_only_this_machine_is_asked():
    assert may_reach("127.0.0.1", "127.0.0.1")
    assert may_reach("192.0.2.1", "127.0.0.1")
    assert may_reach("192.0.2.1", "203.0.113.9")
    assert not may_reach("127.0.0.1", "203.0.113.9")


def test_an_advertised_address_stands_for_those_of_its_family():
    options = IceOptions.of(interface="127.0.0.1", advertise_ip="203.0.113.5")

    assert "203.0.113.5" == options.advertised("127.0.0.1")
    assert "2001:db8::7" == options.advertised("2001:db8::7")


def test_sockets_are_bound_within_the_range_until_it_is_exhausted():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = IceOptions.of(udp_ports=(port, port))
    first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with closing(first), closing(second):
        options.bind_udp(first, "127.0.0.1")

        assert port == first.getsockname()[1]
        with pytest.raises(PortsExhausted, match=f"every UDP port from {port} to {port} is taken on 127.0.0.1"):
            options.bind_udp(second, "127.0.0.1")


def test_every_port_of_the_range_is_found():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as free:
        free.bind(("127.0.0.1", 0))
        port = min(free.getsockname()[1], 65_000)
    options = IceOptions.of(udp_ports=(port, port + 7))
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    with suppress(PortsExhausted):  # somebody else's port may lie in it
        for each in sockets:
            options.bind_udp(each, "127.0.0.1")
    found = [each.getsockname()[1] for each in sockets if each.getsockname()[1]]
    for each in sockets:
        each.close()

    assert len(found) >= 4
    assert set(found) <= set(range(port, port + 8))


def test_a_socket_for_a_turn_server_goes_out_through_the_interface():
    options = IceOptions.of(interface="127.0.0.1")
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        options.bind_to_server(sock)
        assert "127.0.0.1" == sock.getsockname()[0]
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_STREAM)) as sock, pytest.raises(OSError, match="assign"):
        options.bind_to_server(sock)


def test_a_range_of_ports_is_read():
    assert (40_000, 40_100) == read_port_range("40000-40100")
    assert (40_000, 40_000) == read_port_range("40000")
    for wrong in ("", "-", "1-", "a-b", "1-2-3", "٣-٤"):
        with pytest.raises(ConfigurationError, match="40000-40100"):
            read_port_range(wrong)
