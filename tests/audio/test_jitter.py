"""What the playout makes of a network, with a decoder whose samples say where they come from."""

from __future__ import annotations

import itertools
import json
from collections import deque

import numpy as np
import pytest
from numbered_packets import FRAME, NARROW, OTHER, UNKNOWN, VOICE, Call, Numbered, packet

from rtcpeer.audio.jitter import MediaPacket, Playout


def test_before_anything_came_there_is_silence():
    call = Call().run(ticks=3)

    assert ["silence"] * 3 == call.operations
    assert 3 * FRAME == call.stats.total_samples_received
    assert 0 == call.stats.concealed_samples


def test_a_clean_stream_is_heard_whole_and_in_order():
    call = Call().stream(range(50)).run(ticks=4)

    assert list(range(50)) == call.numbers[:50]
    assert 0 == call.stats.packets_lost == call.stats.packets_discarded
    assert {"silence", "normal", "accelerate", "plc", "comfort"} >= set(call.operations)


def test_nothing_is_concealed_while_packets_come_in_time():
    call = Call().stream(range(500))

    assert 0 == call.stats.concealed_samples == call.stats.concealment_events


def test_the_first_frame_is_held_for_the_target_delay():
    call = Call().run(packet(0)).run(packet(1)).run(packet(2))

    # It came at 5 ms; 40 ms later is after the tick at 40 ms.
    assert ["silence", "silence", "normal"] == call.operations


def test_a_frame_says_how_long_it_was_held():
    call = Call()
    delays = []
    for number in range(3):
        call.playout.put(packet(number), call.now + 0.005)
        call.tick += 1
        delays.append(call.playout.get(call.now).delay)

    # Before anything is heard: the 40 ms aimed at, and the frame until the tick after that.
    assert [0.06, 0.06, pytest.approx(0.055)] == [pytest.approx(delays[0]), pytest.approx(delays[1]), delays[2]]


def test_on_a_clean_network_the_delay_comes_down_to_a_frame_or_two():
    call = Call().stream(range(500))

    assert 0.02 <= call.playout.delay < 0.042
    assert call.playout.target_delay == pytest.approx(0.02, abs=0.002)


def test_both_numbers_may_wrap():
    call = Call().stream(range(200), sequence=0xFFC0, timestamp=0xFFFF_0000)

    assert list(range(190)) == call.numbers[:190]
    assert 0 == call.stats.packets_lost == call.stats.concealed_samples == call.stats.restarts


def test_reordered_packets_are_heard_in_order():
    call = Call().stream(range(10))
    for number in (11, 10, 12, 14, 13):
        call.run(packet(number))
    call.stream(range(15, 20))

    assert sorted(call.numbers) == call.numbers
    assert {10, 11, 12, 13, 14} <= set(call.numbers)
    assert 0 == call.stats.packets_lost


def test_a_duplicate_is_counted_and_not_heard_twice():
    call = Call()
    for number in range(30):
        call.run(packet(number), packet(number), packet(max(0, number - 5)))

    assert sorted(call.numbers) == call.numbers
    assert 30 * 2 == call.stats.packets_duplicated
    assert 0 == call.stats.concealed_samples


def test_a_lost_packet_is_concealed_in_its_place():
    call = Call().stream(range(20)).run().stream(range(21, 40))

    assert [n for n in range(37) if n != 20] == call.numbers[:36]
    assert 1 == call.operations.count("plc") == call.stats.concealment_events == call.stats.packets_lost
    assert FRAME == call.stats.concealed_samples


def test_with_fec_in_the_next_packet_nothing_is_concealed():
    call = Call().stream(range(20), fec=True).run().stream(range(21, 40), fec=True)

    assert list(range(37)) == call.numbers[:37]
    assert 1 == call.operations.count("fec") == call.stats.packets_lost
    assert 0 == call.stats.concealed_samples
    assert FRAME == call.stats.fec_recovered_samples
    assert 39 == call.stats.fec_packets_received


def test_of_several_lost_packets_the_last_comes_from_fec():
    call = Call().stream(range(20), fec=True)
    for _ in range(4):
        call.run()
    call.stream(range(24, 40), fec=True)

    assert 4 == call.stats.packets_lost
    assert 23 in call.numbers or call.stats.concealed_samples == 4 * FRAME
    assert call.numbers[-1] > 34


def test_packets_are_held_one_longer_while_fec_is_of_use():
    arrivals = [(n * 0.02 + 0.030 * (n % 10 == 0), n) for n in range(500)]
    with_loss = [each for each in arrivals if each[1] != 333]

    assert listen(arrivals, 9, fec=True).target_delay == pytest.approx(0.03, abs=0.003)
    assert listen(with_loss, 9, fec=True).target_delay == pytest.approx(0.05, abs=0.003)
    assert listen(with_loss, 9, fec=False).target_delay == pytest.approx(0.03, abs=0.003)


def test_a_packet_that_comes_late_is_played_late_when_nothing_else_was_there():
    call = Call().stream(range(50)).run(ticks=3).run(*(packet(n) for n in range(50, 54))).stream(range(54, 70))

    assert {50, 51, 52, 53} <= set(call.numbers)
    assert 0 == call.stats.packets_discarded


def test_a_packet_that_comes_after_its_concealment_is_dropped_and_counted():
    call = Call().stream(range(20)).run().stream(range(21, 30)).run(packet(30), packet(20)).stream(range(31, 40))

    assert 20 not in call.numbers
    assert 1 == call.stats.packets_discarded
    assert 0 == call.stats.packets_lost


@pytest.mark.parametrize("samples", [120, 240, 480, 1920, 2880, 5760])
def test_packets_of_any_length_are_heard_whole(samples):
    call = Call()
    number = 0
    for tick in range(200):
        arriving = []
        while number * samples <= tick * FRAME:
            arriving.append(packet(number, samples=samples))
            number += 1
        call.run(*arriving)

    assert 0 == call.stats.concealed_samples == call.stats.packets_discarded
    assert number * samples - call.stats.jitter_buffer_emitted_count < 10_000


def test_a_pause_that_the_sender_announced_is_no_loss():
    call = Call().stream(range(20)).run(packet(20, payload=b"x")).run(ticks=18)
    call.run(MediaPacket(1021, 50_000 + 39 * FRAME, VOICE, 7, b"39,960"))
    for number in range(40, 60):
        call.run(MediaPacket(1022 + number - 40, 50_000 + number * FRAME, VOICE, 7, f"{number},960".encode()))

    assert [*range(20), *range(39, 56)] == call.numbers[:37]
    assert 0 == call.stats.concealed_samples == call.stats.packets_lost
    assert call.operations.count("comfort") > 10


def test_a_sender_that_falls_silent_in_mid_word_is_concealed_then_imitated_then_left():
    call = Call().stream(range(20)).run(ticks=200)

    order = [operation for operation, _ in itertools.groupby(call.operations[4:])]
    assert ["normal", "plc", "comfort", "silence"] == order
    assert 1 == call.stats.concealment_events
    assert call.stats.silent_concealed_samples < call.stats.concealed_samples


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("seconds", [0.3, 1, 2, 5])
def test_after_an_outage_the_delay_is_back_within_five_seconds(seconds, buffered):
    call = Call().stream(range(200))
    before = call.playout.delay
    ticks = round(seconds * 50)
    call.run(ticks=ticks)
    if buffered:  # what was stuck in the network comes all at once
        call.run(*(packet(200 + n) for n in range(ticks)))
    call.stream(range(200 + ticks + buffered, 200 + ticks + 250))

    assert call.playout.delay < before + 0.025
    assert call.operations[-50:] == ["normal"] * 50


def test_another_ssrc_begins_anew_and_its_predecessors_stragglers_are_dropped():
    call = Call().stream(range(20))
    call.run(packet(0, ssrc=8, sequence=7, timestamp=9), packet(20), packet(21))
    call.stream(range(1, 20), ssrc=8, sequence=7, timestamp=9)

    assert list(range(18)) == call.numbers[-18:]
    assert 1 == call.stats.restarts
    assert 0 == call.stats.packets_lost


@pytest.mark.parametrize("jump", [-(2**31) + 1, -960 * 50, -961, 960 * 500, 2**31 - 1])
def test_timestamps_that_jump_begin_anew_without_a_gap(jump):
    call = Call().stream(range(50))
    call.stream(range(50, 80), timestamp=(50_000 + jump) % 2**32)

    assert list(range(50, 77)) == [n for n in call.numbers if n >= 50][:27]
    assert 1 == call.stats.restarts
    assert 0 == call.stats.packets_lost
    assert call.operations.count("silence") <= 6


@pytest.mark.parametrize("error", [-100, -1, 1, 100])
def test_a_timestamp_that_is_off_by_a_little_costs_nothing(error):
    call = Call().stream(range(50)).stream(range(50, 80), timestamp=50_000 + error)

    assert list(range(76)) == call.numbers[:76]
    assert 0 == call.stats.concealed_samples == call.stats.packets_discarded == call.stats.restarts


def test_sequence_numbers_that_jump_begin_anew_once_two_agree():
    call = Call().stream(range(50)).stream(range(50, 80), sequence=30_000)

    assert call.numbers[-1] >= 77
    assert 1 == call.stats.restarts
    assert {51, 52, 53} <= set(call.numbers)


def test_one_stray_packet_does_not_end_a_stream():
    call = Call().stream(range(50)).run(packet(50), packet(0, sequence=40_000)).stream(range(51, 80))

    assert list(range(76)) == call.numbers[:76]
    assert 0 == call.stats.restarts
    assert 1 == call.stats.packets_discarded


def test_an_unknown_payload_type_is_counted_and_is_no_hole():
    call = Call()
    for number in range(40):
        if number % 5 == 4:
            # RFC 4733: events take sequence numbers of the stream, but none of its time.
            call.run(MediaPacket(1000 + number, 50_000 + number * FRAME, UNKNOWN, 7, b"event"))
        else:
            call.run(packet(number))

    assert 8 == call.stats.packets_unplayable
    assert 0 == call.stats.packets_lost


def test_a_packet_overtaken_by_an_event_is_heard():
    call = Call().stream(range(20))
    event = MediaPacket(1021, 50_000 + 20 * FRAME, UNKNOWN, 7, b"event")
    call.run(event).run(packet(20))
    for number in range(21, 40):
        call.run(packet(number, sequence=1001))

    assert list(range(37)) == call.numbers[:37]
    assert 0 == call.stats.packets_discarded == call.stats.packets_lost


def narrow(number: int, ticks: int) -> MediaPacket:
    """20 ms with an RTP clock of 8 kHz."""
    return MediaPacket((1000 + number) & 0xFFFF, ticks % 2**32, NARROW, 7, f"{number},960".encode())


@pytest.mark.parametrize("start", [0, 2**32 - 160 * 20])
def test_an_rtp_clock_of_8_khz_is_as_good(start):
    call = Call()
    for number in range(200):
        if number % 50 != 30:
            call.run(narrow(number, start + 160 * number))
        else:
            call.run()

    assert [n for n in range(190) if n % 50 != 30] == call.numbers[:186]
    assert 4 * FRAME == call.stats.concealed_samples
    assert 0 == call.stats.restarts == call.stats.packets_discarded
    assert call.playout.delay < 0.05


def test_the_rtp_clock_may_change_with_the_payload_type():
    # RFC 7160, 4.1: each timestamp goes on from the one before, in the clock of its own codec.
    call, ticks = Call(), 50_000
    for number in range(90):
        wide = not 30 <= number < 60
        ticks += 960 if wide else 160
        call.run(packet(number, timestamp=ticks - number * FRAME) if wide else narrow(number, ticks))

    assert list(range(86)) == call.numbers[:86]
    assert 0 == call.stats.restarts == call.stats.packets_discarded == call.stats.packets_lost


def test_the_payload_type_may_change_in_mid_stream():
    call = Call().stream(range(20)).stream(range(20, 40), payload_type=OTHER).stream(range(40, 60))

    assert list(range(57)) == call.numbers[:57]
    assert 0 == call.stats.concealed_samples


def test_a_payload_that_the_decoder_refuses_is_concealed_and_counted():
    call = Call().stream(range(20)).run(packet(20, payload=b"not audio")).stream(range(21, 40))

    assert [n for n in range(37) if n != 20] == call.numbers[:36]
    assert 1 == call.stats.packets_malformed
    assert FRAME == call.stats.concealed_samples


def test_a_sender_at_twice_real_time_is_bounded():
    call = Call()
    for number in range(0, 1000, 2):
        call.run(packet(number), packet(number + 1))

    assert call.playout.delay < 1.1
    assert call.stats.packets_discarded > 100
    assert call.stats.removed_samples_for_acceleration > 0


def listen(arrivals: list[tuple[float, int]], seconds: float, *, fec: bool = False) -> Playout:
    """Play packets that arrive at times of their own, ``(time, number)``."""
    playout = Playout({VOICE: Numbered})
    waiting = deque(sorted(arrivals))
    for tick in range(round(seconds * 50)):
        while waiting and waiting[0][0] <= tick * 0.02:
            at, number = waiting.popleft()
            playout.put(packet(number, fec=fec), at)
        playout.get(tick * 0.02)
    return playout


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_senders_clock_that_is_off_does_not_add_up(ppm):
    # 120 ms in ten minutes: six packets too many or too few.
    seconds = 600
    playout = listen([(n * 0.02 * (1 + ppm * 1e-6) + 0.007, n) for n in range(50 * seconds + 10)], seconds)

    assert 0.012 < playout.delay < 0.045
    assert 0 == playout.stats.concealed_samples == playout.stats.packets_discarded


@pytest.mark.parametrize("sigma", [0.005, 0.02])
def test_under_jitter_nearly_everything_is_heard(sigma):
    rng = np.random.default_rng(3)
    stats = listen([(n * 0.02 + 0.03 + max(-0.03, rng.normal(0, sigma)), n) for n in range(3000)], 60).stats

    assert stats.concealed_samples < 0.015 * stats.total_samples_received
    assert stats.jitter_buffer_delay / stats.jitter_buffer_emitted_count < 5 * sigma + 0.03


def test_the_counters_are_plain_json():
    call = Call().stream(range(20)).run(ticks=10)
    told = json.loads(json.dumps(call.stats.to_dict()))

    assert told["packets_received"] == 20
    assert told["total_samples_duration"] == pytest.approx(0.6)
