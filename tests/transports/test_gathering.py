"""Gathering in virtual time: servers are a list of what each one does, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.transports.gathering import Gathering, IcePolicy
from rtcpeer.transports.ice_servers import IceUrl

NEVER = 1e9


@dataclass(frozen=True)
class Turn:
    """What a TURN server does, in seconds after it was asked."""

    alive: float = NEVER
    relays: float = NEVER
    fails: float = NEVER


ALIVE = Turn(alive=0.04, relays=0.08)
DEAD = Turn()
REFUSES = Turn(alive=0.02, fails=0.04)


@dataclass
class Run:
    ended: float = 0.0
    began: dict[int, float] = field(default_factory=dict)
    winner: int | None = None
    silent: list[int] = field(default_factory=list)


def gather(
    turns: list[Turn] | None = None,
    stuns: list[float] | None = None,
    *,
    policy: IcePolicy = "all",
    timeout: float = 0.3,
    limit: float = 15.0,
) -> Run:
    """Run one gathering; ``stuns`` are the seconds after which each STUN server answers."""
    relays = [IceUrl("turn", f"turn{number}", 3478) for number in range(len(turns or ()))]
    does = dict(zip(relays, turns or (), strict=True))
    plan = Gathering(relays, policy=policy, now=100.0, timeout=timeout, limit=limit)
    for number in range(len(stuns or ())):
        plan.asked(number)
    now, run = 100.0, Run()
    events: list[tuple[float, str, object]] = [(now + at, "reflexive", n) for n, at in enumerate(stuns or ())]
    for _ in range(1000):
        for relay in plan.due(now):
            run.began[relays.index(relay)] = round(now - 100, 6)
            turn = does[relay]
            events += [(now + turn.alive, "alive", relay), (now + turn.relays, "relayed", relay)]
            events.append((now + turn.fails, "failed", relay))
        if plan.done(now):
            break
        step = plan.wait(now)
        assert step > 0
        now = min([now + step, *(at for at, _, _ in events)])
        for event in sorted((each for each in events if each[0] <= now), key=lambda event: event[0]):
            events.remove(event)
            match event:
                case (at, "reflexive", int() as number):
                    plan.reflexive(number, at)
                case (_, "alive", IceUrl() as relay):
                    plan.alive(relay)
                case (_, "failed", IceUrl() as relay):
                    plan.failed(relay)
                case (_, "relayed", IceUrl() as relay) if run.winner is None:
                    plan.relayed(relay)
                    run.winner = relays.index(relay)
    else:
        pytest.fail("it never ends")
    run.ended = round(now - 100, 6)
    run.silent = [relays.index(relay) for relay, _ in plan.silent(now)]
    return run


def test_without_servers_gathering_takes_no_time() -> None:
    assert 0.0 == gather().ended


def test_it_ends_with_the_last_answer_when_all_answer() -> None:
    assert 0.08 == gather([ALIVE], [0.01, 0.02]).ended


def test_a_dead_stun_server_costs_the_timeout_and_no_more() -> None:
    assert 0.3 == gather(stuns=[NEVER]).ended
    assert 0.05 == gather(stuns=[NEVER], timeout=0.05).ended


def test_a_dead_stun_server_beside_a_good_one_costs_little_more_than_the_good_one() -> None:
    assert 0.09 == gather(stuns=[NEVER, 0.02]).ended


def test_a_relay_does_not_end_the_wait_for_a_direct_way() -> None:
    assert 0.25 == gather([ALIVE], [0.25]).ended


@pytest.mark.parametrize(("policy", "later"), [("all", 0.1), ("relay", 0.25)])
def test_a_silent_relay_gives_the_next_one_its_turn_and_is_named(policy: IcePolicy, later: float) -> None:
    run = gather([DEAD, ALIVE, ALIVE], policy=policy)

    assert {0: 0.0, 1: later} == run.began
    assert 1 == run.winner
    assert later + 0.08 == pytest.approx(run.ended)
    assert [0] == run.silent


def test_a_refusal_gives_the_next_one_its_turn_at_once() -> None:
    run = gather([REFUSES, ALIVE], policy="relay")

    assert {0: 0.0, 1: 0.04} == run.began
    assert [] == run.silent


def test_the_slow_first_one_wins_if_it_is_faster_after_all() -> None:
    run = gather([Turn(alive=0.26, relays=0.3), Turn(alive=0.2, relays=0.9)], policy="relay")

    assert 0 == run.winner
    assert 0.3 == run.ended


def test_one_that_is_alive_gets_a_second_before_the_next_is_tried() -> None:
    run = gather([Turn(alive=0.1, relays=1.2), ALIVE], policy="relay")

    assert 1.0 == run.began[1]


def test_relay_alone_ends_at_once_when_all_have_refused() -> None:
    assert 0.08 == gather([REFUSES, REFUSES], policy="relay").ended


def test_relay_alone_waits_for_a_slow_relay() -> None:
    assert 4.0 == gather([Turn(alive=1.0, relays=4.0)], policy="relay").ended


def test_relay_alone_gives_up_the_dead_and_at_its_limit_the_slow() -> None:
    assert 5.25 == gather([DEAD, DEAD], policy="relay").ended
    assert 15.0 == gather([Turn(alive=0.1)], policy="relay").ended
    assert 2.0 == gather([Turn(alive=0.1)], policy="relay", limit=2.0).ended


def test_dead_relays_cost_a_call_that_may_do_without_half_a_second() -> None:
    assert 0.5 == pytest.approx(gather([DEAD, DEAD, DEAD], [NEVER]).ended)
    assert 0.3 == gather([DEAD, DEAD, DEAD], [0.02]).ended


def test_a_relay_that_is_alive_gets_as_long_again() -> None:
    far = Turn(alive=0.2, relays=0.4)

    assert 0 == gather([far], [0.05]).winner
    assert 0.6 == gather([Turn(alive=0.2)], [0.05]).ended


def test_where_udp_is_blocked_the_relay_over_tcp_is_waited_for() -> None:
    run = gather([DEAD, Turn(alive=0.2, relays=0.8)], [NEVER])

    assert 1 == run.winner
    assert [0] == run.silent
    assert 2.0 == gather([DEAD, Turn(alive=0.2)], [NEVER]).ended


@given(
    turns=st.lists(
        st.builds(Turn, alive=st.floats(0, 6), relays=st.floats(0, 20), fails=st.floats(0, 20)), max_size=4
    ),
    stuns=st.lists(st.floats(0, 6), max_size=3),
    policy=st.sampled_from(["all", "relay"]),
    timeout=st.floats(0.01, 3),
)
def test_it_always_ends_in_time_and_keeps_the_order(
    turns: list[Turn], stuns: list[float], policy: IcePolicy, timeout: float
) -> None:
    run = gather(turns, stuns, policy=policy, timeout=timeout)

    assert run.ended <= (15.0 if policy == "relay" else max(2.0, 2 * timeout)) + 1e-6
    assert list(run.began) == sorted(run.began)
    assert all(first <= second for first, second in pairwise(run.began.values()))
