from __future__ import annotations

import asyncio
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import spectrum
from av.stream import Disposition
from numpy.typing import NDArray

from rtcpeer.audio.packets import OpusFile
from rtcpeer.audio.sources import (
    FileSource,
    QueueSource,
    SilenceSource,
    Source,
    ToneSource,
    checked_read,
    open_source,
)
from rtcpeer.errors import ConfigurationError, MediaError
from rtcpeer.formats import AudioFormat


def sine(rate: int, channels: int, seconds: float = 1.0) -> NDArray[np.int16]:
    mono = np.rint(8_000 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)).astype(np.int16)
    return np.repeat(mono[:, np.newaxis], channels, axis=1)


def decibels(pcm: NDArray[np.int16]) -> float:
    """Level of the middle half, relative to ``sine``."""
    middle = pcm[len(pcm) // 4 : 3 * len(pcm) // 4].astype(np.float64)
    return float(10 * np.log10(np.mean(middle**2) / (8_000**2 / 2)))


def write_wav(path: Path, pcm: NDArray[np.int16], rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm.astype("<i2").tobytes())
    return path


def encode(path: Path, codec: str, sample_format: str, pcm: NDArray[np.int16], rate: int = 48_000) -> Path:
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[pcm.shape[1]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = rate
        for converted in av.AudioResampler(sample_format, layout, rate).resample(frame):
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return path


def read_all(source: Source, samples: int = 960) -> NDArray[np.int16]:
    parts = []
    while (pcm := checked_read(source, samples)) is not None:
        assert len(pcm) > 0
        parts.append(pcm)
    return np.concatenate(parts)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_of_any_rate_keeps_its_level_and_length(tmp_path: Path, rate: int, channels: int) -> None:
    source = FileSource(write_wav(tmp_path / "tone.wav", sine(rate, channels), rate))

    pcm = read_all(source)

    assert abs(len(pcm) - 48_000) <= 48
    assert abs(decibels(pcm)) < 0.1
    assert source.duration == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(
    ("name", "codec", "sample_format", "channels"),
    [
        ("s.ogg", "libopus", "s16", 2),
        ("s.flac", "flac", "s32", 2),
        ("float.wav", "pcm_f32le", "flt", 2),
        ("surround.wav", "pcm_s16le", "s16", 6),
        ("eight.wav", "pcm_u8", "u8", 1),
        ("m4.mka", "aac", "fltp", 2),
    ],
)
def test_other_codecs_and_layouts_keep_their_level_too(
    tmp_path: Path, name: str, codec: str, sample_format: str, channels: int
) -> None:
    pcm = read_all(FileSource(encode(tmp_path / name, codec, sample_format, sine(48_000, channels))))

    assert abs(len(pcm) - 48_000) <= 1_100  # AAC pads its last frame
    assert abs(decibels(pcm)) < 0.1


def test_a_file_of_three_unnamed_channels_is_mixed(tmp_path: Path) -> None:
    pcm = read_all(FileSource(write_wav(tmp_path / "three.wav", sine(48_000, 3), 48_000)))

    assert len(pcm) == 48_000
    assert abs(decibels(pcm)) < 0.1


def test_full_scale_stereo_does_not_clip(tmp_path: Path) -> None:
    full = np.full((4_800, 2), 32_000, np.int16)

    pcm = read_all(FileSource(encode(tmp_path / "loud.wav", "pcm_f32le", "flt", full)))

    assert set(range(31_998, 32_003)) >= set(np.unique(pcm).tolist())


def test_a_looped_file_repeats_to_the_sample(tmp_path: Path) -> None:
    pcm = np.random.default_rng(1).integers(-20_000, 20_000, (1_000, 1), np.int16)
    source = FileSource(write_wav(tmp_path / "short.wav", pcm, 48_000), loop=True)

    heard = np.concatenate([source.read(960) for _ in range(10)])
    source.close()

    assert np.array_equal(np.resize(pcm, (9_600, 1)), heard)
    assert source.read(960) is None


_T = np.arange(96_000) / 48_000
LONG = np.rint(8_000 * np.sin(2 * np.pi * (200 * _T + 400 * _T**2))).astype(np.int16)[:, np.newaxis]
"""Two seconds of a rising tone: no place in it is like another."""


@pytest.mark.parametrize(
    ("name", "codec", "sample_format"),
    [
        ("x.wav", "pcm_s16le", "s16"),
        ("x.flac", "flac", "s16"),
        ("x.ogg", "libopus", "s16"),
        ("x.mp3", "libmp3lame", "s16p"),
        ("x.mka", "libopus", "s16"),
    ],
)
def test_a_file_begun_later_is_the_same_from_there_on(
    tmp_path: Path, name: str, codec: str, sample_format: str
) -> None:
    path = encode(tmp_path / name, codec, sample_format, LONG)
    whole = read_all(FileSource(path))
    source = FileSource(path, start=1.25)
    part = read_all(source)
    # Matroska counts milliseconds: there it is the nearest one.
    slack = 48 if name == "x.mka" else 0

    assert abs(len(whole) - 60_000 - len(part)) <= slack
    best = min(
        int(np.abs(whole[60_480 + shift : 61_000 + shift].astype(int) - part[480:1_000]).max())
        for shift in range(-slack, slack + 1)
    )
    assert best <= 2
    assert abs(int(part[0, 0])) < 100  # in mid-waveform, so brought up


@pytest.mark.parametrize(("name", "codec"), [("x.wav", "pcm_s16le"), ("x.flac", "flac"), ("x.ogg", "libopus")])
def test_a_loop_is_rewound_and_not_opened_again(
    tmp_path: Path, name: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / name, codec, "s16", LONG)
    whole = read_all(FileSource(path))
    source = FileSource(path, loop=True, start=1.0)
    monkeypatch.setattr(FileSource, "_open", None)

    heard = np.concatenate([source.read(960) for _ in range(250)])  # type: ignore[misc]

    assert np.array_equal(whole[48_480:], heard[480:48_000])
    assert np.array_equal(whole, heard[48_000:144_000])
    assert np.array_equal(whole[:96_000], heard[144_000:240_000])
    source.close()


def test_a_file_that_ends_before_its_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.wav ends before 3\.0 s"):
        FileSource(write_wav(tmp_path / "x.wav", LONG, 48_000), start=3.0)


def test_a_file_that_cannot_be_sought_in_is_read_up_to_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = np.arange(20_000, dtype=np.int16)[:, np.newaxis]
    path = write_wav(tmp_path / "x.wav", pcm, 48_000)
    monkeypatch.setattr("rtcpeer.audio.file_source._PREROLL", -0.1)  # it lands behind what was asked for

    assert np.array_equal(pcm[9_840:], read_all(FileSource(path, start=0.2))[240:])


def test_a_wav_that_never_says_how_long_it_is_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "piped.wav", sine(48_000, 1), 48_000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)

    assert len(read_all(FileSource(path))) == 48_000


def test_a_file_whose_tags_are_not_utf_8_is_read(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "tagged.wav", sine(48_000, 1), 48_000)
    info = b"INFOIART\x04\x00\x00\x00Andr\xe9"[:-1] + b"\xe9"
    path.write_bytes(path.read_bytes() + b"LIST" + len(info).to_bytes(4, "little") + info)

    assert len(read_all(FileSource(path))) == 48_000


def test_only_what_is_read_is_decoded(tmp_path: Path) -> None:
    source = FileSource(write_wav(tmp_path / "long.wav", np.zeros((48_000 * 60, 1), np.int16), 48_000))

    for _ in range(100):
        source.read(960)

    assert source._fifo.samples < 48_000


def test_missing_empty_and_odd_files_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "notes.txt").write_text("nothing to hear here\n" * 100)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1:1/a.ts\n")
    (tmp_path / "noise.mp3").write_bytes(b"ID3\x04" + bytes(200))
    write_wav(tmp_path / "header.wav", np.empty((0, 1), np.int16), 48_000)

    for name, message in {
        "nothing.wav": "cannot read .*nothing.wav: No such file",
        ".": "is a folder",
        "empty.wav": "empty.wav is empty",
        "notes.txt": "no audio in .*notes.txt",
        "list.m3u8": "list.m3u8 is not audio",
        "noise.mp3": "noise.mp3",
        "header.wav": "no audio in .*header.wav|header.wav is not audio",
    }.items():
        with pytest.raises(ConfigurationError, match=message):
            FileSource(tmp_path / name)


def test_a_picture_has_no_audio(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "cat.png"), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        container.mux(stream.encode(None))

    with pytest.raises(ConfigurationError, match=r"no audio in .*cat\.png"):
        FileSource(tmp_path / "cat.png")


def test_a_device_is_refused_rather_than_waited_for() -> None:
    with pytest.raises(ConfigurationError, match="not a regular file"):
        FileSource("/dev/zero")


def test_a_truncated_flac_is_heard_up_to_the_cut_and_then_fails(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-8_000, 8_000, (96_000, 1), np.int16)
    path = encode(tmp_path / "cut.flac", "flac", "s16", noise)
    path.write_bytes(path.read_bytes()[:100_000])
    source = FileSource(path)

    pcm = source.read(96_000)
    with pytest.raises(MediaError, match=r"cut\.flac is damaged \d\.\d+ s in"):
        source.read(960)

    assert pcm is not None
    assert 40_000 < len(pcm) < 96_000
    assert np.array_equal(noise[: len(pcm)], pcm)
    source.close()


def mp3(path: Path, pcm: NDArray[np.int16]) -> bytes:
    return encode(path, "libmp3lame", "s16p", pcm).read_bytes()


def test_mp3_files_that_were_joined_are_played_one_after_the_other(tmp_path: Path) -> None:
    one = mp3(tmp_path / "one.mp3", sine(48_000, 1))
    assert one.startswith(b"ID3")  # which stands in mid-stream now
    (tmp_path / "three.mp3").write_bytes(3 * one)

    pcm = read_all(FileSource(tmp_path / "three.mp3"))

    assert len(read_all(FileSource(tmp_path / "one.mp3"))) * 2.9 < len(pcm)
    assert abs(decibels(pcm[-48_000:-10_000])) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_damaged_mp3_is_played_to_its_end(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(mp3(tmp_path / "whole.mp3", np.concatenate([0 * sine(48_000, 1, 2.0), sine(48_000, 1)])))
    rng = np.random.default_rng(seed)
    hole = len(data) // 4
    data[hole : hole + 2_000] = rng.bytes(2_000)
    (tmp_path / "damaged.mp3").write_bytes(data)

    pcm = read_all(FileSource(tmp_path / "damaged.mp3"))

    assert len(pcm) > 2 * 48_000
    assert abs(decibels(pcm[-40_000:-10_000])) < 0.5


def test_of_several_audio_streams_the_default_one_is_played(tmp_path: Path) -> None:
    path = tmp_path / "two.mka"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libopus", rate=48_000, layout="mono") for _ in range(2)]
        streams[0].disposition = 0
        streams[1].disposition = Disposition.default
        for stream, loudness in zip(streams, (0, 1), strict=True):
            frame = av.AudioFrame.from_ndarray(loudness * sine(48_000, 1).T, format="s16", layout="mono")
            frame.sample_rate = 48_000
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)

    assert abs(decibels(read_all(FileSource(path)))) < 0.5
    packets = OpusFile(path)
    assert max(len(packet.payload) for packet in iter(packets.read, None)) > 20  # silence is 3 bytes
    packets.close()


def test_tags_in_another_encoding_do_not_keep_a_file_from_being_played(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "latin.wav", sine(48_000, 1), 48_000)
    title = b"INFO" + b"INAM" + (6).to_bytes(4, "little") + b"caf\xe9\xff\0"
    riff = path.read_bytes() + b"LIST" + len(title).to_bytes(4, "little") + title
    path.write_bytes(riff[:4] + (len(riff) - 8).to_bytes(4, "little") + riff[8:])

    assert 48_000 == len(read_all(FileSource(path)))


@pytest.mark.parametrize("frequency", [440.0, 997.3])
def test_a_tone_is_continuous_and_has_its_level(frequency: float) -> None:
    pcm = read_all(ToneSource(frequency, level_dbfs=-12, duration=1.0), samples=441).astype(np.float64)

    spectrum = np.abs(np.fft.rfft(pcm[:, 0] * np.hanning(48_000)))
    assert abs(int(np.argmax(spectrum)) - frequency) <= 0.5
    assert 20 * np.log10(np.sqrt(2 * np.mean(pcm**2)) / 32_767) == pytest.approx(-12, abs=0.01)
    assert np.max(np.abs(np.diff(pcm[:, 0]))) <= 32_767 * 10 ** (-12 / 20) * 2 * np.pi * frequency / 48_000 + 1


def test_silence_lasts_as_long_as_it_was_told() -> None:
    pcm = read_all(SilenceSource(0.03))

    assert pcm.shape == (1_440, 1)
    assert not np.any(pcm)


async def test_what_is_written_to_a_queue_is_read_in_order_and_to_its_end() -> None:
    source = QueueSource(AudioFormat(24_000))
    written = sine(24_000, 1, 0.5)
    data = written.astype("<i2").tobytes()
    for start in range(0, len(data), 999):  # odd: samples are cut in half
        await source.write(data[start : start + 999])
    source.end()

    pcm = read_all(source)

    assert len(pcm) == 24_000
    assert abs(decibels(pcm)) < 0.1


async def test_a_queue_with_nothing_in_it_is_not_at_its_end() -> None:
    source = QueueSource()

    assert checked_read(source, 960).shape == (0, 1)  # type: ignore[union-attr]
    source.end()
    assert checked_read(source, 960) is None


async def test_a_writer_waits_while_the_queue_is_full() -> None:
    source = QueueSource(max_seconds=0.2)
    writing = asyncio.create_task(source.write(sine(48_000, 1)))
    heard = 0
    most = 0
    while not writing.done():
        await asyncio.sleep(0)
        most = max(most, source._fifo.samples)
        heard += len(source.read(960))
    source.end()

    assert heard + len(read_all(source)) == 48_000
    assert most <= 0.3 * 48_000


async def test_a_writer_is_told_when_the_playback_was_cancelled() -> None:
    source = QueueSource(max_seconds=0.1, name="stdin")
    writing = asyncio.create_task(source.write(sine(48_000, 1)))
    await asyncio.sleep(0)
    source.close()

    with pytest.raises(MediaError, match="stdin has ended"):
        await writing
    assert source.read(960) is None


async def test_a_queue_refuses_arrays_of_another_shape() -> None:
    for wrong in (np.zeros((10, 2), np.int16), np.zeros((1, 10), np.int16), np.zeros((10, 1), np.int32)):
        with pytest.raises(MediaError, match=r"stream: .* was written"):
            await QueueSource().write(wrong)  # type: ignore[arg-type]


async def test_a_queue_keeps_nothing_of_the_callers() -> None:
    source = QueueSource()
    pcm = np.full((960, 1), 7, np.int16)
    await source.write(pcm)
    pcm[:] = 0

    assert np.all(source.read(960) == 7)


class Odd(Source):
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def read(self, samples: int) -> NDArray[np.int16] | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    "answer",
    [
        np.zeros(960, np.int16),
        np.zeros((960, 2), np.int16),
        np.zeros((961, 1), np.int16),
        np.zeros((960, 1), np.float32),
        b"\0\0",
        ZeroDivisionError("no"),
    ],
)
def test_a_source_that_misbehaves_is_named(answer: object) -> None:
    with pytest.raises(MediaError, match=r"^Odd: "):
        checked_read(Odd(answer), 960)


def test_words_and_paths_become_sources(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "tone", sine(48_000, 1), 48_000)
    own = SilenceSource(1)

    assert isinstance(open_source("tone"), ToneSource)
    assert isinstance(open_source("silence"), SilenceSource)
    assert isinstance(open_source(path), FileSource)
    assert isinstance(open_source(str(path), loop=True), FileSource)
    assert open_source(own) is own
    with pytest.raises(ConfigurationError, match="only files, bytes and arrays can be looped"):
        open_source(own, loop=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ToneSource(0),
        lambda: ToneSource(24_000),
        lambda: ToneSource(level_dbfs=1),
        lambda: ToneSource(duration=-1),
        lambda: SilenceSource(float("nan")),
        lambda: QueueSource(max_seconds=0),
    ],
)
def test_impossible_numbers_are_refused(make: object) -> None:
    with pytest.raises(ConfigurationError):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("rate", [1, 709_304_128])
def test_file_that_claims_a_rate_that_nothing_has_is_refused_at_once(rate: int, tmp_path: Path):
    path = spectrum.write_wav(tmp_path / "file.wav", spectrum.tone(440.0, 0.1))
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)

    with pytest.raises(
        ConfigurationError, match=rf"file\.wav is not audio that can be read \(a sample rate of {rate} Hz"
    ):
        FileSource(path)
