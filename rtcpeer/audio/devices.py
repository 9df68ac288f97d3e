"""Microphone and speaker, through PortAudio: the extra ``rtcpeer[devices]``.

PortAudio calls us from a thread of its own, which only copies; the event loop never waits for a device. Its clock is
not ours: ``DriftBuffer`` stands in between. There is no echo cancellation: use headphones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, MediaError
from ..formats import VOICE, AudioFormat
from .drift import DriftBuffer
from .pcm import Pcm, PcmInput
from .resample import Resampler
from .source import Fifo, Source

logger = logging.getLogger(__name__)

_GONE_AFTER = 2.0
"""Seconds of our audio in which a device gave or took nothing: it is gone, whatever its driver says."""
_CLOSE_TIMEOUT = 2.0


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as exc:
        raise ConfigurationError("microphone and speaker need an extra: pip install 'rtcpeer[devices]'") from exc
    except OSError as exc:
        # It is pure Python, and finds no library to call.
        raise ConfigurationError("PortAudio is not installed: apt-get install libportaudio2") from exc
    return sounddevice


def default_devices() -> tuple[str | None, str | None]:
    """Return the names of the default microphone and speaker; ``None``: there is none. Opens neither.

    Raises:
        ConfigurationError: no PortAudio, or not the extra ``rtcpeer[devices]``.
    """
    library = _sounddevice()

    def name(kind: str) -> str | None:
        try:
            return str(library.query_devices(None, kind)["name"])
        except (library.PortAudioError, ValueError):
            return None

    return name("input"), name("output")


class _Device:
    """One open stream of a device, and whether it still runs."""

    def __init__(self, kind: str, device: str | int | None, callback: Callable[..., None]) -> None:
        library = _sounddevice()
        self._calls = self._seen = 0
        self._idle = 0.0
        self._finished = False
        self._closed: asyncio.Future[None] | None = None

        def counted(*args: Any) -> None:
            self._calls += 1
            callback(*args)

        try:
            found = library.query_devices(device, kind)
            self.name = f"{'microphone' if kind == 'input' else 'speaker'} {found['name']!r}"
            self.format = self._format(library, found, kind)
            stream = library.RawInputStream if kind == "input" else library.RawOutputStream
            self._stream = stream(
                samplerate=self.format.sample_rate,
                channels=self.format.channels,
                dtype="int16",
                device=found["index"],
                latency="low",
                callback=counted,
                finished_callback=self._finish,
            )
        except (library.PortAudioError, ValueError) as exc:
            raise ConfigurationError(f"no {kind} device {'' if device is None else repr(device)} ({exc})") from exc

    def start(self) -> None:
        library = _sounddevice()
        try:
            self._stream.start()
        except library.PortAudioError as exc:
            self._stream.close()
            raise MediaError(f"{self.name} does not start: {exc}") from exc

    @staticmethod
    def _format(library: Any, found: Any, kind: str) -> AudioFormat:
        """Ours, if the device has it; the nearest that it has, otherwise."""
        check = library.check_input_settings if kind == "input" else library.check_output_settings
        most = min(2, found[f"max_{kind}_channels"])
        for candidate in (VOICE, AudioFormat(VOICE.sample_rate, most)):
            try:
                check(found["index"], candidate.channels, "int16", None, candidate.sample_rate)
            except library.PortAudioError:
                continue
            return candidate
        return AudioFormat(int(found["default_samplerate"]), most)

    def _finish(self) -> None:
        self._finished = True

    def check(self, seconds: float) -> None:
        """Notice that it is gone.

        Args:
            seconds: Of audio that we moved since the last check.

        Raises:
            MediaError: it has stopped.
        """
        if self._calls != self._seen:
            self._seen = self._calls
            self._idle = 0.0
        self._idle += seconds
        if self._finished or self._idle > _GONE_AFTER:
            raise MediaError(f"{self.name} has stopped: was it unplugged, or its sound server ended?")

    def close(self) -> asyncio.Future[None]:
        """Begin to close, on a thread: a driver that hangs holds up nobody but whoever waits for the result."""
        if self._closed is None:
            loop = asyncio.get_running_loop()
            closed = self._closed = loop.create_future()

            def resolve() -> None:
                if not closed.done():  # whoever waited may have been cancelled
                    closed.set_result(None)

            def work() -> None:
                try:
                    self._stream.abort()
                    self._stream.close()
                except Exception as exc:
                    # Of a device that is gone: no bug of ours, and nothing to be done.
                    logger.debug("closing %s: %s", self.name, exc)
                with contextlib.suppress(RuntimeError):  # the loop did not wait
                    loop.call_soon_threadsafe(resolve)

            threading.Thread(target=work, name=f"closing {self.name}", daemon=True).start()
        return self._closed


class MicrophoneSource(Source):
    """What a microphone hears, from now on; 60 ms behind it, plus what its driver takes.

    It opens the device, which may take half a second: ``await session.play("mic")`` does that beside the event loop.

    Args:
        device: A part of its name, or its number, as ``python -m sounddevice`` lists them; ``None``: the default.

    Raises:
        ConfigurationError: no such device, no PortAudio, or not the extra ``rtcpeer[devices]``.
        MediaError: it does not start. That it stops is a ``MediaError`` from ``read``.
    """

    def __init__(self, device: str | int | None = None) -> None:
        self._buffer = DriftBuffer()
        self._device = _Device("input", device, self._callback)
        self._resampler = Resampler(self._device.format, VOICE)
        self._device.start()

    @property
    def name(self) -> str:
        return self._device.name

    def read(self, samples: int) -> NDArray[np.int16] | None:
        if self.closing is not None:
            return None
        self._device.check(samples / VOICE.sample_rate)
        return self._buffer.take(samples)

    def close(self) -> None:
        self.closing = self._device.close()

    def _callback(self, indata: Any, frames: int, time: Any, status: Any) -> None:
        pcm = np.frombuffer(indata, np.int16).reshape(-1, self._device.format.channels)
        self._buffer.put(self._resampler.feed(pcm.copy()))


class Speaker:
    """Lets a device sound, 60 ms behind what is written, plus what its driver takes.

    ``async for frame in session.audio: speaker.write(frame)``

    Args, and what is raised: as ``MicrophoneSource``.
    """

    def __init__(self, device: str | int | None = None) -> None:
        self._buffer = DriftBuffer()
        self._ready = Fifo()
        self._device = _Device("output", device, self._callback)
        self._input = PcmInput(VOICE, self._device.name)
        self._resampler = Resampler(VOICE, self._device.format)
        self._device.start()

    @property
    def name(self) -> str:
        """What error messages call it."""
        return self._device.name

    def write(self, pcm: Pcm) -> None:
        """Queue a frame, an array or bytes: mono, 48 kHz. Never waits; over half a second, the oldest is dropped.

        Raises:
            MediaError: the device has stopped, or it is not that format.
        """
        array = self._input.feed(pcm)
        self._device.check(len(array) / VOICE.sample_rate)
        self._buffer.put(array)

    async def aclose(self) -> None:
        """Stop at once and give the device back; two seconds at most."""
        _, late = await asyncio.wait([self._device.close()], timeout=_CLOSE_TIMEOUT)
        if late:
            logger.warning("%s does not close", self.name)

    def _callback(self, outdata: Any, frames: int, time: Any, status: Any) -> None:
        while self._ready.samples < frames and len(pcm := self._buffer.take(VOICE.frame_samples)):
            self._ready.put(self._resampler.feed(pcm))
        data = self._ready.take(frames).tobytes()
        outdata[:] = data + bytes(len(outdata) - len(data))
