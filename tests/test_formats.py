"""The shape of audio."""

from __future__ import annotations

import pytest

from rtcpeer.errors import ConfigurationError
from rtcpeer.formats import FRAME_DURATION, VOICE, AudioFormat, OpusSettings


@pytest.mark.parametrize(
    ("sample_rate", "channels", "samples", "size"),
    [(8_000, 1, 160, 320), (22_050, 1, 441, 882), (44_100, 2, 882, 3528), (48_000, 1, 960, 1920)],
)
def test_a_frame_is_20_ms_of_whole_samples(sample_rate: int, channels: int, samples: int, size: int) -> None:
    audio = AudioFormat(sample_rate, channels)
    assert (samples, size) == (audio.frame_samples, audio.frame_bytes)
    assert audio.frame_samples / sample_rate == FRAME_DURATION


@pytest.mark.parametrize("sample_rate", [0, -48_000, 7_999, 11_025, 44_101, 200_000])
def test_a_rate_that_does_not_divide_into_frames_is_refused(sample_rate: int) -> None:
    with pytest.raises(ConfigurationError, match=str(sample_rate)):
        AudioFormat(sample_rate)


@pytest.mark.parametrize("channels", [0, 3])
def test_neither_mono_nor_stereo_is_refused(channels: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{channels} channels"):
        AudioFormat(48_000, channels)


def test_a_voice_call_works_in_opus_own_clock() -> None:
    assert AudioFormat(48_000, 1) == VOICE


@pytest.mark.parametrize(
    "given",
    [{"bitrate": 5_999}, {"bitrate": 510_001}, {"complexity": -1}, {"complexity": 11}, {"application": "celt"}],
)
def test_opus_settings_out_of_range_are_refused_by_name(given: dict[str, int]) -> None:
    (name,) = given
    with pytest.raises(ConfigurationError, match=f"opus {name}="):
        OpusSettings(**given)
