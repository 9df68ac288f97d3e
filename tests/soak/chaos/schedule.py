"""What happens when: a round of calls and troubles, made from a seed and a number alone. Pure, no I/O, no clock.

Times are seconds since the round began, or since the call did.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from signaling.faults import FAULTS

STEADY, FAULTY, MORTAL = range(3)
"""The mocks: one whose network is bad at most, one that misbehaves, one that is killed."""

PROTOCOLS = ("orga", "orga-ws", "orgo", "orbitali", "soca")
_TALK = ("file", "tone", "queue", "iterator", "listen", "interrupt", "mix")
_HEAR = ("read", "read-16k", "stalled-reader", "stalled-events", "events", "stats", "impair")
ACTS: dict[str, tuple[str, ...]] = {
    "orga": (*_TALK, *_HEAR, "update", "dtmf", "opus", "packets", "opus-file"),
    "orga-ws": (*_TALK, *_HEAR, "update"),
    "orgo": (*_HEAR, "interrupt", "ping"),
    "orbitali": (*_TALK, *_HEAR),
    "soca": (*_TALK, *_HEAR, "end-utterance"),
}
"""What may be done in a call of that protocol."""

ENDINGS = {
    "close": 12,
    "hang-up": 3,  # the far end's
    "cancel": 3,  # the task that holds the call
    "raise": 1,  # an exception of the user's in `async with`
    "abandon": 1,  # we vanish; the mock has to notice
    "close-while-reconnecting": 2,
    "cancel-connect": 2,
    "wrong-key": 1,
}
"""How a call is to end, and how often."""

BAD_NETWORKS = (
    "loss=5%",
    "loss=20%,burst=5",
    "delay=60ms,jitter=40ms",
    "delay=40ms,jitter=20ms,reorder=10%",
    "duplicate=5%,jitter=10ms",
    "rate=64kbit",
)


@dataclass(frozen=True, slots=True)
class Act:
    at: float
    """Seconds after the call opened."""
    name: str
    network: str = ""
    """Of ``impair``."""


@dataclass(frozen=True, slots=True)
class PlannedCall:
    number: int
    at: float
    seconds: float
    """From its opening to its end, unless something else ends it."""
    protocol: str
    mock: int
    ending: str
    acts: tuple[Act, ...]
    record: str | None
    """``ogg``, ``wav``, ``mka``, or ``full``: on a disk with no room. ``None``: not recorded."""
    received: bool
    video: bool
    network: str
    piped_to: int | None = None
    """Number of the call that is to hear what this one hears, and the other way round."""
    patience: float = 0.0
    """Seconds until ``connect()`` is cancelled, if it is to be."""


@dataclass(frozen=True, slots=True)
class Trouble:
    at: float
    seconds: float
    mock: int
    kind: str
    """``fault``, ``network`` or ``kill``: no process for so long, then another one on the same port."""
    what: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    calls: tuple[PlannedCall, ...]
    troubles: tuple[Trouble, ...]


def plan_round(seed: int, number: int, *, seconds: float, lanes: int, full_disk: bool) -> Round:
    """Return what happens in a round.

    Args:
        seconds: Within which all calls begin and most of them end.
        lanes: Calls at once: each lane is one call after the other.
        full_disk: There is a disk with no room to record to.
    """
    rng = random.Random(f"{seed}/{number}")
    calls: list[PlannedCall] = []
    for lane in range(lanes):
        at = rng.uniform(0, min(2.0, seconds / 4))
        while at < seconds - min(2.0, seconds / 2):
            calls.append(_plan_call(rng, len(calls), at, seconds - at, lane))
            at += calls[-1].seconds + rng.uniform(0.0, 1.0)
    if full_disk:
        # With chance of its own: everything else is the same where there is no such disk.
        _fill_disk(random.Random(f"{seed}/{number}/disk"), calls)
    return Round(tuple(_piped(rng, calls)), _plan_troubles(rng, seed, number, seconds))


def _plan_call(rng: random.Random, number: int, at: float, left: float, lane: int) -> PlannedCall:
    # Half of the lanes are WebRTC's: it has the most that can leak.
    protocol = "orga" if lane % 2 else PROTOCOLS[1 + (lane // 2 + number) % 4]
    seconds = round(min(rng.choice((rng.uniform(2, 10), rng.uniform(10, 40))), max(left, 1.0)), 2)
    times = sorted(rng.uniform(0, seconds * 0.9) for _ in range(rng.randint(1, 2 + int(seconds / 5))))
    acts = [_plan_act(rng, rng.choice(ACTS[protocol]), when) for when in times]
    video = protocol == "orga" and rng.random() < 0.15
    return PlannedCall(
        number,
        round(at, 2),
        seconds,
        protocol,
        rng.choice((STEADY, FAULTY, MORTAL)),
        rng.choices(list(ENDINGS), list(ENDINGS.values()))[0],
        tuple(acts),
        "mka" if video else rng.choice(("ogg", "ogg", "wav", "mka", None)),
        protocol == "orga" and rng.random() < 0.4,
        video,
        rng.choice(BAD_NETWORKS) if protocol == "orga" and rng.random() < 0.3 else "",
        patience=round(10 ** rng.uniform(-3, -0.5), 4),
    )


def _plan_act(rng: random.Random, name: str, at: float) -> Act:
    network = ""
    if name == "impair":
        network = rng.choice(("", *BAD_NETWORKS, _outage(rng)))
    return Act(round(at, 2), name, network)


def _outage(rng: random.Random) -> str:
    # STUN goes with it: to the far end, the cable is out.
    return f"outage=0s+{rng.uniform(1, 12):.1f}s,stall=0s+{rng.uniform(1, 12):.1f}s,all=1"


def _fill_disk(rng: random.Random, calls: list[PlannedCall]) -> None:
    """Two of the calls, at the same time, are recorded where there is no room."""
    first = rng.randrange(len(calls))
    others = [call.number for call in calls if call.number != first]
    others.sort(key=lambda number: abs(calls[number].at - calls[first].at))
    for number in (first, *others[:1]):
        calls[number] = replace(calls[number], record="full", received=calls[number].protocol == "orga", video=False)


def _piped(rng: random.Random, calls: list[PlannedCall]) -> list[PlannedCall]:
    """Now and then two calls of WebRTC that overlap are bridged."""
    free = {call.number for call in calls if call.protocol == "orga"}
    for call in list(calls):
        partners = [
            other.number
            for other in calls
            if other.number in free and other.number != call.number and abs(other.at - call.at) < 2
        ]
        if call.number in free and partners and rng.random() < 0.3:
            partner = rng.choice(partners)
            free -= {call.number, partner}
            calls[call.number] = replace(call, piped_to=partner)
    return calls


def _plan_troubles(rng: random.Random, seed: int, number: int, seconds: float) -> tuple[Trouble, ...]:
    troubles: list[Trouble] = []
    # A deck of all the faults, shuffled anew when it is used up: each comes as often as the others.
    hands = max(1, round(seconds / 5))
    for hand in range(hands):
        cycle, index = divmod(number * hands + hand, len(FAULTS))
        deck = sorted(FAULTS)
        random.Random(f"{seed}/faults/{cycle}").shuffle(deck)
        at = hand * seconds / hands
        troubles.append(
            Trouble(round(at, 2), round(rng.uniform(0.5, 0.9) * seconds / hands, 2), FAULTY, "fault", deck[index])
        )
    at = rng.uniform(2, 6)
    while at < seconds:
        lasting = rng.uniform(2, 12)
        network = rng.choice((*BAD_NETWORKS, _outage(rng)))
        troubles.append(Trouble(round(at, 2), round(lasting, 2), STEADY, "network", network))
        at += lasting + rng.uniform(1, 6)
    troubles.append(Trouble(round(rng.uniform(0.2, 0.8) * seconds, 2), round(rng.uniform(0.2, 3), 2), MORTAL, "kill"))
    return tuple(sorted(troubles, key=lambda trouble: trouble.at))
