"""What a session remembers while it has no connection: numbers in, numbers out."""

from __future__ import annotations

from rtcpeer.commands import Ping, UpdateSession
from rtcpeer.gaps import Gaps
from rtcpeer.stats import InboundAudioStats, OutboundAudioStats


def test_gaps_add_up_and_the_one_that_goes_on_counts() -> None:
    gaps = Gaps()
    gaps.begin(10.0)
    gaps.end(12.5)
    gaps.begin(20.0)
    assert gaps.open
    assert {"count": 1, "gaps": 3.5, "audio_not_sent": 0.0} == gaps.to_dict(21.0)
    gaps.close(22.0)
    assert not gaps.open
    # A session that is over, or never had a gap: time adds nothing.
    assert 4.5 == gaps.to_dict(100.0)["gaps"]
    gaps.close(200.0)
    assert {"count": 1, "gaps": 4.5, "audio_not_sent": 0.0} == gaps.to_dict(300.0)


def test_a_connection_that_took_over_in_time_is_counted_without_a_gap() -> None:
    gaps = Gaps()
    gaps.end(5.0)
    assert {"count": 1, "gaps": 0.0, "audio_not_sent": 0.0} == gaps.to_dict(6.0)


def test_of_many_settings_the_latest_of_each_is_kept_and_nothing_else() -> None:
    gaps = Gaps()
    gaps.remember(Ping())
    assert gaps.settings is None
    gaps.remember(UpdateSession(voice="Ana", temperature=0.2))
    gaps.remember(UpdateSession(instructions="", temperature=0.0))
    # Empty and zero are settings, too.
    assert UpdateSession(voice="Ana", temperature=0.0, instructions="") == gaps.settings


def test_counters_of_two_streams_add_up_and_what_is_of_the_moment_is_the_later_ones() -> None:
    before = InboundAudioStats(packets_received=10, packets_lost=-1, jitter=0.5, total_samples_duration=1.5)
    now = InboundAudioStats(packets_received=3, packets_lost=2, jitter=0.1, total_samples_duration=0.5)
    assert InboundAudioStats(
        packets_received=13, packets_lost=1, jitter=0.1, total_samples_duration=2.0
    ) == now.since(before)

    sent = OutboundAudioStats(packets_sent=10, bytes_sent=100, round_trip_time=0.2, fraction_lost=0.5)
    fresh = OutboundAudioStats(packets_sent=1, bytes_sent=5, target_bitrate=24_000.0)
    assert OutboundAudioStats(packets_sent=11, bytes_sent=105, target_bitrate=24_000.0) == fresh.since(sent)
    assert 10 == sent.packets_sent  # nobody's figures were changed
