from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcpeer.transports.sdp_sections import CHARACTERS, LINES
from rtcpeer.transports.sdp_sections import MEDIA as MEDIA_LINES
from signaling.offers import check_offer
from signaling.places import LimitReached, Place, Places


def kind(places: Places, address: str) -> str | None:
    """Take a place; return what stood against it."""
    try:
        places.take(address)
    except LimitReached as reached:
        return reached.kind
    return None


def test_one_call_more_than_there_are_places_is_refused_until_somebody_leaves():
    places = Places(2, None)
    first, _ = places.take("a"), places.take("b")

    assert kind(places, "c") == "calls"
    first.leave()
    assert kind(places, "c") is None


def test_one_address_may_not_fill_the_places_with_calls_that_are_not_up():
    places = Places(4, 2)
    first = places.take("a")
    places.take("a")

    assert [kind(places, "a"), kind(places, "b")] == ["half-open-calls", None]
    first.opened()
    assert kind(places, "a") is None
    assert kind(places, "c") == "calls"


@given(st.lists(st.tuples(st.sampled_from(["take", "opened", "leave"]), st.integers(0, 5)), max_size=60))
def test_whatever_happens_in_whatever_order_nothing_is_counted_that_is_not_there(steps):
    places, held, half_open = Places(5, 3), [], set[Place]()
    for step, number in steps:
        if step == "take":
            try:
                held.append(places.take(f"address {number % 2}"))
                half_open.add(held[-1])
            except LimitReached:
                pass
        elif held:
            place = held[number % len(held)]
            half_open.discard(place)
            if step == "opened":
                place.opened()
            else:
                place.leave()
                place.leave()
                held.remove(place)

        assert (len(held), len(half_open)) == (places.taken, places.half_open.total())
        assert all(0 < number <= 3 for number in places.half_open.values())


MEDIA = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
CANDIDATE = "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n"


@pytest.mark.parametrize(
    ("sdp", "what"),
    [
        ("v=0\r\n" + "a=x\r\n" * LINES, "lines"),
        ("v=0\r\na=" + "x" * 5000, "a line of more than"),
        ("v=0\r\n" + ("a=" + "x" * 1000 + "\r\n") * 64, f"{CHARACTERS} characters"),
        ("v=0\r\n" + MEDIA * (MEDIA_LINES + 1), "media lines"),
    ],
)
def test_an_offer_that_asks_for_more_than_a_call_needs_is_refused(sdp, what):
    with pytest.raises(LimitReached, match=what) as caught:
        check_offer(sdp)

    assert caught.value.kind == "offer"


def test_an_offer_of_a_browser_with_many_networks_is_not():
    check_offer("v=0\r\n" + MEDIA + CANDIDATE * 30 + "a=rtpmap:111 opus/48000/2\r\n" * 300 + DATA + CANDIDATE * 30)
