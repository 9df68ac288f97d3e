"""Video out and in: what is sent arrives as pictures, and a file that has none is refused before the call."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
import spectrum
from calling import DEADLINE, Belongings, answering, until
from numpy.typing import NDArray

import rtcpeer
from rtcpeer.call_folder import CallFolder
from rtcpeer.errors import ConfigurationError, LocalProtocolError, MediaError
from rtcpeer.transports.video import (
    FrameTimeline,
    TestPattern,
    VideoFile,
    VideoQueue,
    VideoSource,
    VideoTrack,
    open_video,
)
from signaling import MockServer

RED, BLUE = (200, 20, 20), (20, 20, 200)


pytestmark = pytest.mark.usefixtures("nothing_left")


def write_video(path: Path, colour: tuple[int, int, int], frames: int = 10) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        picture = np.full((120, 160, 3), colour, np.uint8)
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def colour(frame: av.VideoFrame) -> NDArray[np.float64]:
    return frame.to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)


async def take(frames: AsyncIterator[av.VideoFrame], count: int) -> list[av.VideoFrame]:
    async with asyncio.timeout(DEADLINE):
        return [await anext(frames) for _ in range(count)]


# In a call


async def test_test_pattern_arrives_moving_and_is_counted():
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t", video="test") as session:
        (far_end,) = far_ends
        await far_end.opened()
        frames = far_end.video
        seen = await take(frames, 4)
        await frames.aclose()
        counted = far_end.stats()["inbound_video"]["frames_received"]

        assert session.stats()["inbound_video"]["frames_received"] == 0
    sent = TestPattern().read().to_ndarray(format="rgb24").astype(float)
    first, *_, last = (frame.to_ndarray(format="rgb24").astype(float) for frame in seen)
    assert (480, 640, 3) == first.shape
    assert np.abs(first - sent).mean() < 12
    assert np.abs(last - first).max() > 60  # the white line is elsewhere
    assert counted >= 4


async def test_file_is_shown_in_its_own_colours_and_begins_anew(tmp_path: Path):
    video = write_video(tmp_path / "red.mp4", RED, frames=5)
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t", video=video):
        await far_ends[0].opened()
        frames = far_ends[0].video
        seen = await take(frames, 8)
        await frames.aclose()

    for frame in seen:
        assert colour(frame) == pytest.approx(RED, abs=25)


async def test_reader_may_leave_and_another_come_and_the_end_of_the_call_ends_it():
    async with answering() as (url, far_ends):
        async with rtcpeer.connect("orga", url, token="t", video="test"):
            await far_ends[0].opened()
            for _ in range(2):
                frames = far_ends[0].video
                await take(frames, 1)
                await frames.aclose()
            frames = far_ends[0].video
            await take(frames, 1)

        async with asyncio.timeout(DEADLINE):
            async for _ in frames:
                pass


async def test_video_nobody_looks_at_is_counted_and_not_decoded():
    async with MockServer() as mock:
        async with rtcpeer.connect("orga", mock.url(), api_key=mock.api_key, video="test"):
            await until(lambda: mock.calls and mock.calls[0].to_dict()["video_frames"] >= 2)
            threads = Belongings.now().threads

        assert not [thread for thread in threads if "decoder" in thread.name]
        assert mock.calls[0].to_dict()["video_frames"] >= 2


async def test_call_without_a_video_line_has_no_video():
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t", video=False) as session:
        await far_ends[0].opened()
        assert [] == [frame async for frame in far_ends[0].video]
        with pytest.raises(LocalProtocolError, match="no video line"):
            session.link.send_video(TestPattern())


async def test_line_that_was_empty_can_be_given_a_picture_later():
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t") as session:
        await far_ends[0].opened()
        assert session.link is not None
        session.link.send_video(TestPattern())
        frames = far_ends[0].video
        assert (640, 480) == ((await take(frames, 1))[0].width, 480)
        await frames.aclose()


@pytest.mark.parametrize("content", ["missing", "sound", "text", "folder"])
async def test_file_without_video_is_refused_before_anything_is_sent(tmp_path: Path, content: str):
    path = tmp_path / "film.mp4"
    match content:
        case "sound":
            spectrum.write_wav(path, spectrum.tone(440, 0.1))
        case "text":
            path.write_text("Once upon a time")
        case "folder":
            path.mkdir()
    async with answering() as (url, far_ends):
        with pytest.raises(ConfigurationError, match=r"film\.mp4"):
            await rtcpeer.connect("orga", url, token="t", video=path, record=tmp_path / "call")
        assert [] == far_ends
    assert not (tmp_path / "call").exists()


class Tracked(TestPattern):
    closed = False

    def close(self) -> None:
        self.closed = True


async def test_source_is_closed_with_the_call_and_with_one_that_never_was():
    async with answering() as (url, _):
        used = Tracked()
        async with rtcpeer.connect("orga", url, token="t", video=used):
            assert not used.closed
        unused = Tracked()
        with pytest.raises(rtcpeer.RtcPeerError):
            await rtcpeer.connect("orga", f"{url}/nowhere", token="t", video=unused)

    assert (True, True) == (used.closed, unused.closed)


class Broken(VideoSource):
    name = "broken"
    frame_rate = 30.0

    def read(self) -> av.VideoFrame:
        raise RuntimeError("the camera fell off")


async def test_source_that_fails_is_reported_and_the_call_goes_on():
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t", video=Broken()) as session:
        await far_ends[0].opened()
        reported = await session.wait_for(rtcpeer.ErrorReported, timeout=DEADLINE)
        assert ("media", True) == (reported.code, "the camera fell off" in reported.message)
        await asyncio.wait_for(await session.play(rtcpeer.ToneSource(duration=0.1)), DEADLINE)
        assert not session.events.closed


# Sources alone


async def test_frames_are_timed_by_the_sources_own_rate():
    track = VideoTrack(TestPattern(frame_rate=50), lambda error: None)
    times = [(await track.recv()).time for _ in range(3)]
    track.stop()

    steps = [round((now - before) * 50) for before, now in itertools.pairwise(times)]
    assert all(step >= 1 for step in steps)


def test_name_of_a_file_is_no_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http://127.0.0.1:1/film.mp4", "concat:a.mp4|b.mp4", "pipe:0"):
        with pytest.raises(ConfigurationError):
            VideoFile(name)


def test_closed_file_is_read_no_more(tmp_path: Path):
    film = VideoFile(write_video(tmp_path / "film.mp4", BLUE))
    assert colour(film.read()) == pytest.approx(BLUE, abs=25)
    film.close()
    film.close()

    with pytest.raises(rtcpeer.MediaError, match="closed"):
        film.read()


def test_file_that_cannot_be_begun_anew_has_failed(tmp_path: Path):
    class Stuck:
        def seek(self, offset: int) -> None:
            raise av.PermissionError(1, "Operation not permitted")

        def close(self) -> None: ...

    source = VideoFile(write_video(tmp_path / "film.mp4", BLUE))
    source.close()
    source._closed, source._frames, source._container = False, iter(()), Stuck()

    with pytest.raises(MediaError, match=r"film\.mp4: .*not permitted"):
        source.read()


def test_source_is_its_own_answer():
    pattern = TestPattern()
    assert pattern is open_video(pattern)
    assert isinstance(open_video("test"), TestPattern)


# Pictures as arrays


async def test_pushed_pictures_arrive_the_newest_first_and_the_others_are_counted():
    source = VideoQueue(frame_rate=20)
    async with answering() as (url, far_ends), rtcpeer.connect("orga", url, token="t", video=source):
        await far_ends[0].opened()
        frames = far_ends[0].video
        pushing = asyncio.create_task(push(source, RED))
        await until_colour(frames, RED)
        pushing.cancel()
        pushing = asyncio.create_task(push(source, BLUE))
        await until_colour(frames, BLUE)
        pushing.cancel()
        await frames.aclose()

    assert source.frames_dropped > 0


async def push(source: VideoQueue, rgb: tuple[int, int, int]) -> None:
    """Faster than it is sent."""
    while True:
        source.push(np.full((120, 160, 3), rgb, np.uint8))
        await asyncio.sleep(0.01)


async def until_colour(frames: AsyncIterator[av.VideoFrame], rgb: tuple[int, int, int]) -> None:
    async with asyncio.timeout(DEADLINE):
        async for frame in frames:
            if np.abs(colour(frame) - rgb).max() < 25:
                return


async def test_nothing_is_sent_while_nothing_is_pushed():
    source = VideoQueue(frame_rate=50)
    track = VideoTrack(source, lambda error: None)
    waiting = asyncio.create_task(track.recv())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.shield(waiting)
    source.push(np.full((4, 6, 3), RED, np.uint8))
    first = await waiting
    source.push(np.full((4, 6, 3), BLUE, np.uint8))
    second = await track.recv()
    track.stop()

    assert (6, 4) == (first.width, first.height)
    assert first.pts >= 90_000 * 0.1 - 90_000 / 50  # the pause is a pause
    assert first.pts < second.pts


def test_what_is_no_picture_is_refused_and_what_is_pushed_may_be_changed():
    source = VideoQueue()
    for wrong in (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(MediaError, match="height, width, 3"):
            source.push(wrong)
    with pytest.raises(ConfigurationError):
        VideoQueue(frame_rate=1000)
    picture = np.full((4, 4, 3), 200, np.uint8)
    source.push(picture)
    picture[:] = 0
    frame = source.read()
    assert frame is not None
    assert 200 == frame.to_ndarray(format="rgb24").mean()
    assert source.read() is None


def test_frames_are_spaced_by_their_timestamps_unless_they_are_far_off():
    line = FrameTimeline()
    start = 0xFFFF_FFFF - 3000
    placed = [
        line.place((start + n * 9000) & 0xFFFF_FFFF, 5.0 + n / 10 + late) for n, late in enumerate((0, 0.05, 0.01, 0))
    ]
    assert placed == pytest.approx([5.0, 5.1, 5.2, 5.3])
    assert line.place(77, 9.0) == 9.0  # another sender's clock
    assert line.place(77 + 9000, 9.12) == pytest.approx(9.1)
    assert line.place(77, 9.13) == pytest.approx(9.1)  # never back


# Recorded


@pytest.mark.parametrize("side", ["sent", "received"])
async def test_video_is_recorded_beside_the_voices_as_it_was_coded(side: str, tmp_path: Path):
    folder = tmp_path / "call"
    ours = {"record": folder, "record_format": "mka"} if side == "sent" else {}

    def record(sdp: str) -> str:
        if side == "received":
            CallFolder(folder, far_ends[0], {}, format="mka")
        return sdp

    async with answering(record) as (url, far_ends):  # noqa: SIM117
        async with rtcpeer.connect("orga", url, token="t", video="test", **ours) as session:
            await far_ends[0].opened()
            await session.play(rtcpeer.ToneSource(440.0))
            await until(lambda: far_ends[0].stats()["inbound_video"]["frames_received"] > 12)

    about = json.loads((folder / "call.json").read_text())["audio"]
    assert about["file"] == "audio.mkv"
    with av.open(str(folder / "audio.mkv")) as container:
        assert [(640, 480)] == [(each.width, each.height) for each in container.streams.video]
        assert [{"sent": "ours", "received": "theirs"}[side]] == [
            each.metadata["title"] for each in container.streams.video
        ]
        pictures = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(video=0)]
    assert len(pictures) > 8
    pattern = TestPattern().read().to_ndarray(format="rgb24")
    assert np.abs(pictures[-1] - pattern).mean() < 12
    with av.open(str(folder / "audio.mkv")) as container:
        voices = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert 0.05 < np.abs(voices[0 if side == "sent" else 1]).max()


async def test_without_video_matroska_stays_what_it_was(tmp_path: Path):
    async with (
        answering() as (url, far_ends),
        rtcpeer.connect("orga", url, token="t", record=tmp_path / "call", record_format="mka") as session,
    ):
        await far_ends[0].opened()
        await until(lambda: session.audio_started is not None)
    assert (tmp_path / "call" / "audio.mka").exists()
    assert not (tmp_path / "call" / "audio.mkv").exists()
