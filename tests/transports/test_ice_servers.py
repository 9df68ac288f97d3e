from __future__ import annotations

import errno
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.protocols.http import IceServer
from rtcpeer.transports.ice_servers import (
    IceUrl,
    ServerOutcome,
    failure,
    in_order,
    read_ice_servers,
    read_ice_url,
    refusal,
)
from rtcpeer.transports.resolving import ResolverSilent

TURN = IceUrl("turn", "relay.example", 3478, "udp", "ann", "s3cret")
TLS = IceUrl("turn", "relay.example", 5349, "tls", "ann", "s3cret")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("stun:a.example", IceUrl("stun", "a.example", 3478)),
        ("stun:[2001:db8::1]:19302", IceUrl("stun", "2001:db8::1", 19302)),
        ("turn:10.0.0.1", IceUrl("turn", "10.0.0.1", 3478)),
        ("TURN:a.example:80?transport=tcp", IceUrl("turn", "a.example", 80, "tcp")),
        ("turns:a.example", IceUrl("turn", "a.example", 5349, "tls")),
        ("turns:[::1]:443?transport=tcp", IceUrl("turn", "::1", 443, "tls")),
    ],
)
def test_a_url_of_the_rfcs_is_read(url: str, expected: IceUrl) -> None:
    assert expected == read_ice_url(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("stuns:a.example", "STUN over TLS is not supported"),
        ("stun:a.example?transport=udp", "has no ?transport="),
        ("turn:a.example?transport=sctp", "give ?transport=udp or ?transport=tcp"),
        ("turns:a.example?transport=udp", "DTLS is not supported"),
        ("turn://a.example", "write it as turn:host:port"),
        ("turn:2001:db8::1", "write it as turn:host:port"),
        ("turn:[fe80]:1", "no IPv6 address"),
        ("turn:a.example:0", "port 0"),
        ("turn:a.example:70000", "port 70000"),
        ("stun:a\x1b[2J.example", "write it as stun:host:port"),
        ("stun:\u202eelpmaxe.a", "write it as stun:host:port"),
        (f"stun:{'a' * 254}", "too long"),
        ("https://a.example", "no STUN or TURN URL"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_the_rest_goes_on(url: str, why: str) -> None:
    usable, refused = read_ice_servers([IceServer((url, "stun:good.example"))])

    assert [IceUrl("stun", "good.example", 3478)] == usable
    assert why in str(refused[0])
    assert url.partition(":")[0] in refused[0].server


@pytest.mark.parametrize(
    "url", ["turn:ann:s3cret@a.example", "turn://ann:s3cret@a.example?password=s3cret", "s3cret@a"]
)
def test_a_secret_written_into_a_url_is_shown_to_nobody(url: str) -> None:
    found = read_ice_url(url)

    assert isinstance(found, ServerOutcome)
    assert "s3cret" not in repr(found)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    found = read_ice_url(text)

    assert isinstance(found, ServerOutcome) or found == read_ice_url(str(found))


def test_relays_are_tried_over_udp_before_tcp_before_tls_and_else_in_the_lists_order() -> None:
    servers = [
        read_ice_url(url)
        for url in ("turns:a", "turn:b?transport=tcp", "stun:x", "turn:c", "turn:a?transport=tcp", "turn:a")
    ]

    ordered = in_order(server for server in servers if isinstance(server, IceUrl))

    assert ["udp c", "udp a", "tcp b", "tcp a", "tls a"] == [f"{each.transport} {each.host}" for each in ordered]


def test_a_url_that_stands_twice_is_asked_once_and_one_with_other_credentials_again() -> None:
    servers = [IceServer(("turn:a", "turn:a:3478"), "ann", "1"), IceServer(("turn:a",), "ann", "2")]

    assert ["1", "2"] == [server.credential for server in read_ice_servers(servers)[0]]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (401, "wrong username or credential"),
        (441, "wrong username or credential"),
        (403, "forbidden"),
        (442, "does not relay UDP"),
        (486, "quota"),
        (599, "out of biscuits"),
    ],
)
def test_a_refusal_names_server_reason_and_remedy_and_no_secret(code: int, why: str) -> None:
    outcome = refusal(TURN, code, "out of\x1b biscuits", 0.01, wall=2e9)

    assert "refused" == outcome.result
    assert str(outcome).startswith(f"turn:relay.example:3478?transport=udp: refused: {why}") or why in str(outcome)
    assert outcome.advice
    assert "s3cret" not in repr(outcome) + repr(TURN)
    assert "\x1b" not in str(outcome)


def test_a_rest_credential_past_its_time_is_called_expired() -> None:
    expired = IceUrl("turn", "a", 3478, "udp", "1700000000:mock", "c")

    assert "expired 60 s ago" in str(refusal(expired, 401, "", 0.01, wall=1_700_000_060))
    assert "wrong username" in str(refusal(expired, 401, "", 0.01, wall=1_699_999_999))


def test_a_server_that_wants_a_credential_where_there_is_none_is_not_called_a_wrong_password() -> None:
    assert "wants a username and a credential" in str(refusal(IceUrl("turn", "a", 3478), 401, "", 0.01, wall=2e9))


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("some words of OpenSSL")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("exc", "result", "why"),
    [
        (TimeoutError(), "silent", "no answer in 0.3 s"),
        (ResolverSilent(), "unreachable", "name resolution gave no answer for relay.example in 0.3 s"),
        (socket.gaierror(-2, "Name or service not known"), "unreachable", "the name relay.example has no address"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "unreachable", "connection refused"),
        (ConnectionResetError(), "unreachable", "broke the connection"),
        (OSError(errno.ENETUNREACH, "unreachable"), "unreachable", "Network is unreachable"),
        (ssl.SSLError(), "unreachable", "TLS failed"),
        (certificate_error(10), "unreachable", "certificate expired"),
        (certificate_error(62), "unreachable", "certificate for another host than relay.example"),
        (certificate_error(19), "unreachable", "certificate not trusted; if it is signed by a CA of your own"),
        (ValueError("s3cret"), "unreachable", "its answer makes no sense"),
    ],
)
def test_a_failure_says_what_happened_and_what_to_do(exc: Exception, result: str, why: str) -> None:
    outcome = failure(TLS, exc, 0.3)

    assert result == outcome.result
    assert why in str(outcome)
    assert str(outcome).startswith("turns:relay.example:5349?transport=tcp: ")
    assert outcome.advice
    assert "s3cret" not in repr(outcome)


def test_of_a_list_of_thousands_a_handful_is_used_and_the_rest_is_counted_in_one_line() -> None:
    servers = [IceServer((f"stun:s{n}.example", f"turn:t{n}.example", f"stuns:u{n}.example")) for n in range(5000)]

    usable, refused = read_ice_servers([*servers, IceServer(())])

    assert [f"stun:s{n}.example:3478" for n in range(8)] == [str(each) for each in usable if each.kind == "stun"]
    assert [f"t{n}.example" for n in range(8)] == [each.host for each in usable if each.kind == "turn"]
    assert 9 == len(refused)
    assert str(refused[-1]).startswith(f"{3 * 5000 + 1 - 3 * 8} more ICE servers: passed over: at most 8 STUN")


def test_relays_behind_many_stun_urls_are_used() -> None:
    usable, _ = read_ice_servers(
        [IceServer(tuple(f"stun:s{n}" for n in range(100))), IceServer(("turn:t",), "a", "b")]
    )

    assert ["t"] == [each.host for each in usable if each.kind == "turn"]


def test_an_entry_without_urls_is_told_by_its_place_in_the_list() -> None:
    usable, refused = read_ice_servers([IceServer(("stun:a",)), IceServer(()), IceServer(("stun:b",))])

    assert ["a", "b"] == [each.host for each in usable]
    assert ["ICE server 2: it has no URL that can be read; see what the service sends"] == [
        str(each) for each in refused
    ]
