from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.errors import ConfigurationError
from rtcpeer.serving.rate_limit import RateLimit, caller, parse_networks


def test_a_sixth_of_a_minutes_requests_may_come_at_once_and_then_one_at_a_time():
    limit = RateLimit(60)

    assert [0.0] * 10 + [1.0] == [limit.take("a", 100.0) for _ in range(11)]
    assert limit.take("a", 100.5) == 0.5
    assert [0.0, 1.0] == [limit.take("a", 101.0) for _ in range(2)]


def test_addresses_do_not_share_a_limit():
    limit = RateLimit(6)

    assert [0.0, 10.0, 0.0] == [limit.take(address, 0.0) for address in ("a", "a", "b")]


def test_no_limit_remembers_nobody():
    limit = RateLimit(None)

    assert {0.0} == {limit.take(str(n), 0.0) for n in range(1000)}
    assert len(limit) == 0


def test_a_flood_of_addresses_is_forgotten_the_longest_silent_first():
    limit = RateLimit(6, addresses=3)
    for address in ("a", "b", "c"):
        limit.take(address, 0.0)
    assert limit.take("a", 0.0) > 0  # heard of last: "b" is the next to go
    limit.take("d", 0.0)

    assert len(limit) == 3
    assert limit.take("a", 0.0) > 0
    assert limit.take("b", 0.0) == 0.0


@given(st.lists(st.floats(0, 30), max_size=200), st.floats(0.5, 600))
def test_who_comes_when_told_is_served_and_nobody_gets_more_than_the_rate(gaps, per_minute):
    limit, now = RateLimit(per_minute), 0.0
    for served, gap in enumerate(gaps, 1):
        now += gap
        wait = limit.take("a", now)
        if wait:
            now += wait
            assert limit.take("a", now) == 0.0
        assert served <= max(1.0, per_minute / 6) + now * per_minute / 60 + 1e-6


@pytest.mark.parametrize("per_minute", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(per_minute):
    with pytest.raises(ConfigurationError, match="rate limit"):
        RateLimit(per_minute)


@pytest.mark.parametrize(
    ("peer", "forwarded", "who"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
        (None, None, ""),
        # A stranger may write what it likes there.
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ],
)
def test_a_request_counts_for_the_nearest_address_that_is_not_our_own_proxy(peer, forwarded, who):
    assert who == caller(peer, forwarded, parse_networks(["10.0.0.0/8"]))


def test_what_is_no_network_is_refused():
    with pytest.raises(ConfigurationError, match=r"'example\.org' is no address"):
        parse_networks(["10.0.0.1", "example.org"])
