"""The one room that knows aiortc's private parts.

Every touch says what it works around. Private names change between minor versions, so the ones used here are
checked at import: an aiortc that moved them fails loudly at start-up, not silently in a call.
"""

from __future__ import annotations

from . import names
from .asking import ask_binding, explained, try_allocation
from .audio import AudioReceiver, AudioSender
from .channel import BoundedStream, ReassemblyBounds, guard_channel, watch_closing
from .checks import check_quickly
from .closing import close_in_one_task, say_goodbye, survive_the_end_of_the_loop, tear_down
from .connecting import watch_connecting
from .consent import ask_for_life, watch_life, watch_send_errors
from .direct import receive_directly
from .dtls import compare_fingerprints, dtls_facts, take_any_certificate, why_dtls_failed
from .gathering import gather_with
from .ice import (
    add_named_candidate,
    candidate_types,
    intercept_datagrams,
    mute,
    pairs_left_out,
    path_alive,
    selected_pair,
)
from .relay_loop import relay_round_trip
from .reports import AudioReports
from .video import VideoReceiver, idle_until_track, watch_video_sender

names.check()

__all__ = [
    "AudioReceiver",
    "AudioReports",
    "AudioSender",
    "BoundedStream",
    "ReassemblyBounds",
    "VideoReceiver",
    "add_named_candidate",
    "ask_binding",
    "ask_for_life",
    "candidate_types",
    "check_quickly",
    "close_in_one_task",
    "compare_fingerprints",
    "dtls_facts",
    "explained",
    "gather_with",
    "guard_channel",
    "idle_until_track",
    "intercept_datagrams",
    "mute",
    "pairs_left_out",
    "path_alive",
    "receive_directly",
    "relay_round_trip",
    "say_goodbye",
    "selected_pair",
    "survive_the_end_of_the_loop",
    "take_any_certificate",
    "tear_down",
    "try_allocation",
    "watch_closing",
    "watch_connecting",
    "watch_life",
    "watch_send_errors",
    "watch_video_sender",
    "why_dtls_failed",
]
