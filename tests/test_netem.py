"""The network emulator: its figures over a hundred thousand packets, its texts, and what it promises."""

from __future__ import annotations

from itertools import groupby, pairwise
from math import sqrt
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.errors import ConfigurationError
from rtcpeer.netem import IN_FLIGHT_LIMIT, IP_UDP_BYTES, Emulator, NetworkConditions, Window

PTIME = 0.02
MANY = 100_000


def run(text: str, packets: int = MANY, *, seed: int = 1, size: int = 100, ptime: float = PTIME) -> list[list[float]]:
    """Send packets as a voice call does; return the delays of the copies of each."""
    emulator = Emulator(NetworkConditions.parse(text), seed)
    return [[at - n * ptime for at in emulator.send(size, n * ptime)] for n in range(packets)]


def loss(delays: list[list[float]]) -> float:
    return sum(not each for each in delays) / len(delays)


def runs_of_losses(delays: list[list[float]]) -> list[int]:
    return [sum(1 for _ in group) for lost, group in groupby(delays, lambda each: not each) if lost]


# Figures


def test_a_clean_network_delivers_everything_at_once():
    assert [[0.0]] * 1000 == run("", 1000)


@pytest.mark.parametrize("percent", [1, 5, 20])
def test_random_loss_is_what_was_asked_for_and_independent(percent):
    delays = run(f"loss={percent}%")

    share = percent / 100
    assert loss(delays) == pytest.approx(share, abs=4 * sqrt(share * (1 - share) / MANY))
    assert fmean(runs_of_losses(delays)) == pytest.approx(1 / (1 - percent / 100), rel=0.02)


@pytest.mark.parametrize(("percent", "burst"), [(1, 3), (5, 3), (10, 1), (20, 8), (60, 4)])
def test_bursts_keep_the_loss_and_have_the_mean_length(percent, burst):
    delays = run(f"loss={percent}%,burst={burst}")

    # At 1 % in bursts of 3 there are only 330 of them, and a burst's length varies by as much as it is long.
    bursts = MANY * percent / 100 / burst
    assert loss(delays) == pytest.approx(percent / 100, rel=4 * sqrt(2 / bursts))
    assert fmean(runs_of_losses(delays)) == pytest.approx(burst, rel=4 / sqrt(bursts))


def test_everything_and_nothing_can_be_lost():
    assert [] == [each for each in run("loss=100%", 1000) if each]
    assert [] == [each for each in run("loss=0%", 1000) if not each]


def test_jitter_is_even_around_the_delay():
    delays = [each for (each,) in run("delay=40ms,jitter=20ms")]

    assert 0.020 <= min(delays) < 0.0201
    assert 0.0599 < max(delays) <= 0.060
    assert fmean(delays) == pytest.approx(0.040, abs=0.0002)
    assert sum(each < 0.030 for each in delays) / MANY == pytest.approx(0.25, abs=0.01)


def test_jitter_beyond_the_delay_never_arrives_before_it_was_sent():
    delays = [each for (each,) in run("delay=5ms,jitter=20ms", 10_000)]

    assert min(delays) == pytest.approx(0.0, abs=1e-9)
    assert max(delays) <= 0.0251


def test_jitter_reorders_unless_told_to_keep_the_order():
    def overtakings(text: str) -> int:
        arrivals = [n * PTIME + each for n, (each,) in enumerate(run(text, 10_000))]
        return sum(b < a for a, b in pairwise(arrivals))

    # |difference of two even jitters of ±20 ms| over 20 ms, the right way round: 1/8 of the pairs.
    assert overtakings("delay=30ms,jitter=20ms") == pytest.approx(10_000 / 8, rel=0.1)
    assert overtakings("delay=30ms,jitter=20ms,ordered=1") == 0


def test_reordered_packets_skip_the_delay():
    delays = [each for (each,) in run("delay=50ms,reorder=2%")]

    assert {0, 50} == {round(1000 * each, 6) for each in delays}
    assert sum(each < 0.001 for each in delays) / MANY == pytest.approx(0.02, rel=0.1)


def test_duplicates_come_as_often_as_asked_each_with_its_own_jitter():
    delays = run("duplicate=3%,delay=30ms,jitter=10ms")
    twice = [each for each in delays if len(each) == 2]

    assert len(twice) / MANY == pytest.approx(0.03, rel=0.05)
    assert all(first < second for first, second in twice)


def test_rate_spaces_packets_by_their_time_on_the_line():
    emulator = Emulator(NetworkConditions.parse("rate=64kbit"), 0)

    arrivals = [at for _ in range(10) for at in emulator.send(160 - IP_UDP_BYTES, 5.0)]

    assert [pytest.approx(5.0 + 0.02 * (n + 1)) for n in range(10)] == arrivals


def test_a_line_that_rests_is_ready_again():
    emulator = Emulator(NetworkConditions.parse("rate=64kbit"), 0)
    emulator.send(160 - IP_UDP_BYTES, 0.0)

    assert [pytest.approx(9.02)] == emulator.send(160 - IP_UDP_BYTES, 9.0)


def test_a_full_queue_drops_what_comes_last():
    emulator = Emulator(NetworkConditions.parse("rate=64kbit,queue=3"), 0)

    came = [len(emulator.send(132, 0.0)) for _ in range(5)]
    later = len(emulator.send(132, 0.02))

    assert [1, 1, 1, 0, 0] == came
    assert later == 1
    assert emulator.stats.packets_dropped == 2


def test_more_than_a_line_carries_is_dropped_and_what_comes_is_the_rate():
    delays = run("rate=32kbit,queue=10", 10_000, size=132)  # 64 kbit/s offered

    assert loss(delays) == pytest.approx(0.5, abs=0.01)
    assert max(each for (each,) in filter(None, delays)) <= 10 * 0.04 + 1e-9


def test_an_outage_loses_what_is_sent_in_it_and_a_stall_holds_it():
    out = run("outage=1s+500ms", 100)
    held = run("stall=1s+500ms,delay=10ms", 100)

    assert list(range(50, 75)) == [n for n, each in enumerate(out) if not each]
    waits = [round(each, 9) for (each,) in held]
    assert [0.01] * 50 == waits[:50]
    assert [pytest.approx(0.51 - n * PTIME) for n in range(25)] == waits[50:75]
    assert [0.01] * 25 == waits[75:]


def test_windows_count_from_the_first_packet_and_come_again():
    emulator = Emulator(NetworkConditions.parse("outage=1s+100ms/1s"), 0)
    start = 12_345.0

    lost = [n for n in range(300) if not emulator.send(100, start + n * 0.01)]

    assert [*range(100, 110), *range(200, 210)] == lost


def test_no_more_is_on_its_way_than_the_limit():
    emulator = Emulator(NetworkConditions.parse("delay=10s"), 0)

    sent = [len(emulator.send(100, 0.0)) for _ in range(IN_FLIGHT_LIMIT + 5)]

    assert sum(sent) == IN_FLIGHT_LIMIT
    assert emulator.stats.packets_dropped == 5
    assert [30.0] == emulator.send(100, 20.0)


# Seeds

EVERYTHING = "loss=5%,burst=2,delay=40ms,jitter=30ms,reorder=1%,duplicate=2%,rate=64kbit,queue=20,outage=3s+1s"


def test_the_same_seed_gives_the_same_network_and_another_another():
    assert run(EVERYTHING, 2000, seed=7) == run(EVERYTHING, 2000, seed=7)
    assert run(EVERYTHING, 2000, seed=7) != run(EVERYTHING, 2000, seed=8)


def test_which_packets_are_lost_does_not_depend_on_the_jitter():
    def lost(text: str) -> list[bool]:
        return [not each for each in run(text, 5000)]

    assert lost("loss=10%") == lost("loss=10%,delay=50ms,jitter=40ms,duplicate=5%,reorder=3%")


def test_counters_add_up():
    emulator = Emulator(NetworkConditions.parse(EVERYTHING), 3)
    came = sum(len(emulator.send(100, n * PTIME)) for n in range(5000))
    stats = emulator.stats

    assert stats.packets_sent == 5000
    assert min(stats.packets_lost, stats.packets_duplicated, stats.packets_reordered) > 0
    assert came == 5000 - stats.packets_lost - stats.packets_dropped + stats.packets_duplicated


def test_conditions_change_under_way():
    emulator = Emulator(NetworkConditions.parse("outage=0s+10s"), 0)
    before = emulator.send(100, 0.0)
    emulator.conditions = NetworkConditions.parse("delay=20ms,outage=1s+1s")

    assert [] == before
    assert [[1.02], [1.52], []] == [emulator.send(100, now) for now in (1.0, 1.5, 2.5)]


# Texts

fractions = st.floats(0, 1)
moments = st.floats(0, 60)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    duration = draw(st.floats(0, 60, exclude_min=True))
    every = draw(st.none() | st.floats(duration, 1e6, exclude_min=True))
    return Window(draw(st.floats(0, 1e6)), duration, every)


@st.composite
def conditions(draw: st.DrawFn) -> NetworkConditions:
    loss = draw(fractions)
    least = max(1.0, loss / (1 - loss) * 1.001) if 0 < loss < 0.999 else None
    delay, jitter = draw(moments), draw(moments)
    rate = draw(st.none() | st.integers(1, 10**12 - 1))
    return NetworkConditions(
        loss=loss,
        burst=draw(st.none() | st.floats(least, 1e9)) if least else None,
        delay=delay,
        jitter=jitter,
        ordered=draw(st.booleans()) if jitter else False,
        reorder=draw(fractions) if delay else 0.0,
        duplicate=draw(fractions),
        rate=rate,
        queue=draw(st.none() | st.integers(1, 10_000)) if rate else None,
        outage=draw(st.none() | windows()),
        stall=draw(st.none() | windows()),
        all=draw(st.booleans()),
    )


@given(conditions())
def test_what_is_printed_is_read_back_the_same(network):
    assert network == NetworkConditions.parse(str(network))


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(EVERYTHING.replace(",", "=").split("=")), max_size=6).map("=".join)
)
def test_any_text_is_conditions_or_a_configuration_error(text):
    try:
        network = NetworkConditions.parse(text)
    except ConfigurationError:
        return
    assert network == NetworkConditions.parse(str(network))


@given(conditions(), st.integers(0, 100))
def test_packets_never_arrive_before_they_were_sent(network, seed):
    emulator = Emulator(network, seed)
    for n in range(100):
        assert all(at >= n * PTIME for at in emulator.send(100, n * PTIME))


def test_text_of_a_network_is_the_one_that_people_write():
    text = "loss=5%,burst=3,delay=40ms,jitter=20ms,reorder=1%,duplicate=1%,rate=64kbit,queue=50,outage=10s+2s"

    assert text == str(NetworkConditions.parse(text))
    assert "delay=1.5s,stall=2s+300ms/5s,all=1" == str(
        NetworkConditions.parse(" delay = 1500 ms , stall=2s+300ms/5s, all=1")
    )
    assert "" == str(NetworkConditions.parse("  "))
    assert NetworkConditions.parse("loss=0%,rate=1.5Mbit") == NetworkConditions(rate=1_500_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("los=5%", "'los=5%': no such part; did you mean loss? There is loss=5%, burst=3"),
        ("packets=5", "'packets=5': no such part. There is"),
        ("loss=5", "'loss=5': write it as loss=5%"),
        ("delay=40", "'delay=40': write it as delay=40ms"),
        ("loss=5%,", "'': no such part"),
        ("loss", "'loss': write it as loss=5%"),
        ("loss=1%,loss=2%", "'loss=2%': loss is given twice"),
        ("loss=150%", "loss is 1.5: give 0 to 1"),
        ("loss=-5%", "'loss=-5%': write it as loss=5%"),
        ("burst=3", "burst needs a loss"),
        ("loss=5%,burst=0.5", "burst is 0.5: give the mean number lost in a row"),
        ("loss=90%,burst=3", "loss is 0.9: bursts of 3 can lose 0.75 at most"),
        ("delay=61s", "delay is 61 s: give 0 s to 60 s"),
        ("reorder=1%", "reorder needs a delay"),
        ("ordered=1", "ordered needs a jitter"),
        ("queue=5", "queue needs a rate"),
        ("rate=0bit", "rate is 0 bit/s"),
        ("rate=64k", "'rate=64k': write it as rate=64kbit"),
        ("rate=1kbit,queue=0", "queue is 0: give 1 to 10000 packets"),
        ("outage=10s", "'outage=10s': write it as outage=10s+2s"),
        ("outage=1s+0s", "give when it begins and how long it lasts"),
        ("outage=1s+3s/2s", "it comes again before it is over"),
        ("stall=1s+61s", "it may last 60 s at most"),
        ("all=yes", "'all=yes': write it as all=1"),
    ],
)
def test_a_bad_text_is_told_what_is_wrong_and_what_is_allowed(text, message):
    with pytest.raises(ConfigurationError) as caught:
        NetworkConditions.parse(text)

    assert message in str(caught.value)


def test_a_time_of_many_digits_is_written_so_that_it_can_be_read():
    conditions = NetworkConditions.parse(f"outage={'7' * 37}s+1s")
    assert conditions == NetworkConditions.parse(str(conditions))
