"""Video beside the recorded audio: VP8 frames as they were, where they were."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rtcpeer.audio.recorder import Recorder, vp8_size
from rtcpeer.errors import ConfigurationError

RATE = 48_000


def vp8_frames(count: int, width: int = 160, height: int = 120) -> list[bytes]:
    codec = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.time_base = Fraction(1, 10)
    codec.options = {"deadline": "realtime", "lag-in-frames": "0"}
    frames = []
    for number in range(count):
        picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), 5 * number % 256, np.uint8), format="rgb24")
        picture.pts = number
        frames += [bytes(packet) for packet in codec.encode(picture.reformat(format="yuv420p"))]
    return frames


def record(path: Path, seconds: float, frames: list[tuple[str, float, bytes]], tracks=("ours", "theirs")) -> Recorder:
    recorder = Recorder(path, video=tracks)
    click = np.zeros((RATE // 50, 1), np.int16)
    click[0] = 32_000
    waiting = list(frames)
    for number in range(round(seconds * 50)):
        recorder.write(number * 960, click if number % 50 == 25 else None, np.zeros((960, 1), np.int16))
        while waiting and waiting[0][1] <= number / 50:
            recorder.write_video(*waiting.pop(0))
    recorder.close()
    assert recorder.error is None
    return recorder


def test_the_size_is_read_from_key_frames_alone():
    first, second, *_ = vp8_frames(3, 176, 144)

    assert vp8_size(first) == (176, 144)
    assert vp8_size(second) is None
    assert vp8_size(b"") is None
    assert vp8_size(bytes(10)) is None


def test_frames_lie_untouched_where_they_were_beside_both_voices(tmp_path: Path):
    ours, theirs = vp8_frames(10), vp8_frames(5, 320, 240)
    put = [("ours", 0.1 + n / 10, frame) for n, frame in enumerate(ours)]
    put += [("theirs", 0.5 + n / 5, frame) for n, frame in enumerate(theirs)]

    record(tmp_path / "audio.mkv", 2.0, sorted(put, key=lambda each: each[1]))

    with av.open(str(tmp_path / "audio.mkv")) as container:
        assert [(160, 120), (320, 240)] == [(each.width, each.height) for each in container.streams.video]
        assert ["ours", "theirs"] == [each.metadata.get("title") for each in container.streams.video]
        assert 2 == container.streams.audio[0].channels
        assert container.duration == pytest.approx(2_000_000, abs=1000)
        packets = [packet for packet in container.demux() if packet.size]
    for index, name, frames, start, step in ((1, "ours", ours, 0.1, 0.1), (2, "theirs", theirs, 0.5, 0.2)):
        found = [packet for packet in packets if packet.stream_index == index]
        assert frames == [bytes(packet) for packet in found], name
        times = [float(packet.pts * packet.time_base) for packet in found]
        assert times == pytest.approx([start + n * step for n in range(len(frames))], abs=0.011)
    with av.open(str(tmp_path / "audio.mkv")) as container:
        pcm = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    left = np.abs(pcm[0])
    assert 0.5 * RATE == pytest.approx(int(left[:RATE].argmax()), abs=RATE // 500)
    with av.open(str(tmp_path / "audio.mkv")) as container:
        pictures = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(container.streams.video[0])]
    assert pictures == sorted(pictures)
    assert 10 == len(pictures)


def test_video_that_comes_late_or_never_does_not_hold_up_the_audio(tmp_path: Path):
    frames = vp8_frames(3, 320, 240)
    put = [("theirs", 2.5 + n / 10, frame) for n, frame in enumerate(frames)]

    record(tmp_path / "audio.mkv", 4.0, put)

    with av.open(str(tmp_path / "audio.mkv")) as container:
        audio = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert 4.0 == pytest.approx(audio.shape[1] / RATE, abs=0.03)
    with av.open(str(tmp_path / "audio.mkv")) as container:
        shown = list(container.decode(container.streams.video[1]))
    assert [(320, 240)] * 3 == [(frame.width, frame.height) for frame in shown]


def test_what_comes_before_a_key_frame_is_left_out(tmp_path: Path):
    frames = vp8_frames(4)
    put = [("ours", 0.1, frames[2]), ("ours", 0.2, frames[0]), ("ours", 0.3, frames[1])]

    record(tmp_path / "audio.mkv", 1.0, put, tracks=("ours",))

    with av.open(str(tmp_path / "audio.mkv")) as container:
        assert frames[:2] == [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_more_than_a_slow_disk_has_room_for_is_dropped_up_to_a_key_frame(tmp_path: Path):
    recorder = Recorder(tmp_path / "audio.mkv", video=("ours",))
    first, later = vp8_frames(2)
    recorder._frame_limit = 3
    with _Held(recorder):
        for frame in (first, later, later, later, later):
            recorder.write_video("ours", 0.0, frame)
        recorder._frame_limit = 100
        for frame in (later, first, later):
            recorder.write_video("ours", 0.0, frame)
        queued = list(recorder._frames)
    recorder.close()

    assert [first, later, later, first, later] == [frame for _, _, frame in queued]
    assert 3 == recorder.video_frames_dropped


def test_only_matroska_with_tracks_holds_video(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="ends in"):
        Recorder(tmp_path / "audio.mkv")


class _Held:
    """The recorder's thread takes nothing meanwhile."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        self._drain = self._recorder._drain
        self._recorder._drain = lambda *, last: None  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self._recorder._drain = self._drain  # type: ignore[method-assign]


@pytest.mark.parametrize("seconds_of_video", [0.0, 1.0, 6.0])
def test_what_was_recorded_so_far_can_be_read_while_a_track_is_silent(tmp_path: Path, seconds_of_video: float):
    frames = vp8_frames(round(seconds_of_video * 10))
    recorder = Recorder(tmp_path / "audio.mkv", video=("ours", "theirs"))
    for number in range(300):
        if number % 5 == 0 and number // 5 < len(frames):
            recorder.write_video("ours", number / 50, frames[number // 5])
        recorder.write(number * 960, np.full((960, 1), 1000, np.int16), None)
        if number % 25 == 24:
            while recorder.samples_written < (number + 1) * 960:  # as in a call, where the thread keeps up
                time.sleep(0.005)
    (tmp_path / "killed.mkv").write_bytes((tmp_path / "audio.mkv").read_bytes())
    recorder.close()

    with av.open(str(tmp_path / "killed.mkv")) as container:
        audio = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert audio.shape[1] / RATE > 5.0
