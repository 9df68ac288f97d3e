"""Devices, with a PortAudio that is a few lines here; tests/interop/test_devices.py has the real one."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from rtcpeer.audio.devices import MicrophoneSource, Speaker
from rtcpeer.audio.outgoing import Outgoing
from rtcpeer.audio.sources import open_source
from rtcpeer.errors import ConfigurationError, MediaError


class PortAudioError(Exception):
    pass


class Stream:
    def __init__(self, library, **options):
        self.library, self.options = library, options
        self.started = self.closed = False
        library.streams.append(self)

    def start(self):
        if self.library.busy:
            raise PortAudioError("Device unavailable")
        self.started = True

    def abort(self):
        self.library.hang.wait()

    def close(self):
        self.closed = True

    def hear(self, pcm):
        """As the driver would: it reuses its memory."""
        memory = bytearray(pcm.astype(np.int16).tobytes())
        self.options["callback"](memory, len(pcm), None, None)
        memory[:] = bytes(len(memory))

    def say(self, frames):
        memory = memoryview(bytearray(b"\x55" * frames * 2 * self.options["channels"]))
        self.options["callback"](memory, frames, None, None)
        return np.frombuffer(memory, np.int16).reshape(-1, self.options["channels"])


class Library:
    """What we use of sounddevice: one device, which knows some rates and numbers of channels."""

    PortAudioError = PortAudioError

    def __init__(self, rates=(48_000,), channels=(1, 2)):
        self.rates, self.channels = rates, channels
        self.streams, self.busy = [], False
        self.hang = threading.Event()
        self.hang.set()

    def query_devices(self, device=None, kind=None):
        if device not in (None, "USB"):
            raise ValueError(f"No {kind} device matching {device!r}")
        most = max(self.channels)
        return {
            "name": "USB",
            "index": 3,
            "default_samplerate": float(self.rates[0]),
            "max_input_channels": most,
            "max_output_channels": most,
        }

    def check_input_settings(self, device=None, channels=None, dtype=None, extra_settings=None, samplerate=None):
        if samplerate not in self.rates or channels not in self.channels:
            raise PortAudioError("Invalid sample rate")

    check_output_settings = check_input_settings

    def RawInputStream(self, **options):
        return Stream(self, **options)

    RawOutputStream = RawInputStream


@pytest.fixture
def library(monkeypatch):
    library = Library()
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    return library


def block(value=1_000, samples=480, channels=1):
    return np.full((samples, channels), value, np.int16)


async def closed(source):
    source.close()
    await source.closing


async def test_what_the_microphone_hears_goes_out(library):
    mic = open_source("mic")
    for _ in range(8):
        library.streams[0].hear(block())

    assert [1_000] * 960 == mic.read(960)[:, 0].tolist()
    await closed(mic)
    assert library.streams[0].closed
    assert mic.read(960) is None


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (48_000, 2), (16_000, 2)])
async def test_a_device_that_knows_neither_48_khz_nor_mono_is_converted(library, rate, channels):
    library.rates, library.channels = (rate,), (channels,)
    mic, speaker = MicrophoneSource(), Speaker()
    heard, said = library.streams
    for _ in range(20):
        heard.hear(block(1_000, rate // 100, channels))
        speaker.write(block(1_000))
    said.say(rate // 100)

    assert 1_000 == pytest.approx(np.median(np.concatenate([mic.read(960) for _ in range(3)])), abs=3)
    pcm = said.say(rate // 50)
    assert (rate // 50, channels) == pcm.shape
    assert 1_000 == pytest.approx(np.median(pcm), abs=3)
    await closed(mic)
    await speaker.aclose()


async def test_the_speaker_is_silent_when_there_is_nothing(library):
    speaker = Speaker()

    assert not library.streams[0].say(480).any()
    await speaker.aclose()


async def test_a_microphone_that_is_unplugged_ends_its_playback_and_the_next_one_plays(library):
    outgoing = Outgoing()
    playback = outgoing.play(MicrophoneSource())
    after = outgoing.play(open_source("tone"))
    for _ in range(8):
        library.streams[0].hear(block())
    outgoing.read()
    library.streams[0].options["finished_callback"]()
    outgoing.read()

    with pytest.raises(MediaError, match="microphone 'USB' has stopped"):
        await playback
    assert outgoing.read().any()
    assert not after.done
    outgoing.close()
    await outgoing.wait_closed()
    assert library.streams[0].closed


async def test_a_device_that_just_stops_is_noticed_after_two_seconds(library):
    mic, speaker = MicrophoneSource(), Speaker()
    for stream in library.streams:
        stream.hear(block()) if stream is library.streams[0] else stream.say(480)

    for _ in range(98):
        mic.read(960)
        speaker.write(block(1, 960))
    with pytest.raises(MediaError, match="microphone 'USB' has stopped"):
        [mic.read(960) for _ in range(4)]
    with pytest.raises(MediaError, match="speaker 'USB' has stopped"):
        [speaker.write(block(1, 960)) for _ in range(4)]
    await closed(mic)
    await speaker.aclose()


async def test_a_driver_that_hangs_when_closed_holds_up_nobody(library, monkeypatch, caplog):
    monkeypatch.setattr("rtcpeer.audio.devices._CLOSE_TIMEOUT", 0.01)
    speaker = Speaker()
    library.hang.clear()
    await speaker.aclose()

    assert "does not close" in caplog.text
    library.hang.set()
    await speaker._device.close()


def test_a_device_that_is_not_there_is_named(library):
    with pytest.raises(ConfigurationError, match="no input device 'Bluetooth'"):
        MicrophoneSource("Bluetooth")


def test_a_device_that_somebody_else_uses_is_named(library):
    library.busy = True

    with pytest.raises(MediaError, match="speaker 'USB' does not start: Device unavailable"):
        Speaker()
    assert library.streams[0].closed


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'rtcpeer\[devices\]'"):
        open_source("mic")


def test_without_portaudio_it_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigurationError, match="apt-get install libportaudio2"):
        Speaker()
