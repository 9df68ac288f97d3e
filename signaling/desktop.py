"""What the mock's computer sounds, for those who listen to it (Orgo): a file, a tone, speech, or a real desktop.

A sound has no end: where there is nothing, it is silent. It is stereo, which a session is not: the session is given
the average, and the link asks for ``stereo`` what was read last.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from rtcpeer.audio.media_file import audio_stream, decode_audio, open_media
from rtcpeer.audio.resample import map_channels
from rtcpeer.audio.source import Source
from rtcpeer.audio.sources import FileSource, ToneSource
from rtcpeer.errors import ConfigurationError, MediaError
from rtcpeer.formats import VOICE, AudioFormat

from .scenario import Scenario, speech_file

logger = logging.getLogger(__name__)

STEREO = AudioFormat(VOICE.sample_rate, 2)
PAUSE = 1.0
"""Seconds between the things that an agent of a scenario says when nobody can answer it."""

_PREFILL = 2
"""Blocks of 20 ms that wait before captured sound begins: its clock and ours do not tick at the same moment."""
_MOST_WAITING = 10
_STOP_TIMEOUT = 2.0
_BROKE_OFF = "Audio capture failed"


class Sound(Source):
    """``(n, 2)`` at 48 kHz without an end, of which ``read`` returns the average."""

    def __init__(self) -> None:
        self._latest = np.zeros((VOICE.frame_samples, 2), np.int16)
        self._failure: str | None = None

    @abstractmethod
    def take(self, samples: int) -> NDArray[np.int16]:
        """Return up to so many samples, ``(n, 2)``."""

    def read(self, samples: int) -> NDArray[np.int16]:
        if self._failure is not None:
            raise MediaError(self._failure)
        taken = self.take(samples)
        self._latest = np.concatenate((taken, np.zeros((samples - len(taken), 2), np.int16)))
        return map_channels(self._latest, 1)

    def stereo(self) -> NDArray[np.int16]:
        """Return what was read last, both sides of it."""
        return self._latest

    def change(self, scenario: Scenario) -> None:
        """The agent is another from here on."""

    def fail(self, reason: str) -> None:
        """Let the next ``read`` raise ``MediaError``."""
        self._failure = reason


class ToneSound(Sound):
    """440 Hz, on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self._tone = ToneSource()

    def take(self, samples: int) -> NDArray[np.int16]:
        pcm = self._tone.read(samples)
        assert pcm is not None
        return map_channels(pcm, 2)


class FileSound(Sound):
    """Files, one after the other, each side as it is.

    Args:
        pause: Seconds of silence after each.
        loop: From the first again.
    """

    def __init__(self, paths: Sequence[Path], *, pause: float = 0.0, loop: bool = False) -> None:
        super().__init__()
        self._pause = pause
        self._loop = loop
        self._play(paths)

    def _play(self, paths: Sequence[Path]) -> None:
        self._blocks = self._decode(tuple(paths))
        self._rest = np.empty((0, 2), np.int16)

    def take(self, samples: int) -> NDArray[np.int16]:
        parts, have = [self._rest], len(self._rest)
        while have < samples and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            have += len(block)
        pcm = np.concatenate(parts)
        self._rest = pcm[samples:]
        return pcm[:samples]

    def _decode(self, paths: tuple[Path, ...]) -> Iterator[NDArray[np.int16]]:
        while paths:
            for path in paths:
                try:
                    yield from decode(path)
                except av.FFmpegError as exc:
                    raise MediaError(f"{path} can't be read to its end: {exc.strerror}") from exc
                yield np.zeros((round(self._pause * VOICE.sample_rate), 2), np.int16)
            if not self._loop:
                return

    def close(self) -> None:
        self._play(())


class AgentSound(FileSound):
    """What the agent of a scenario says, again and again; a tone, where that is the scenario."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__((), pause=PAUSE, loop=True)
        self.change(scenario)

    def change(self, scenario: Scenario) -> None:
        self._tone = ToneSound() if scenario.kind == "tone" else None
        said = [scenario.greeting, *(turn.answer for turn in scenario.turns)]
        self._play([speech_file(line.say) for line in said if line is not None])

    def take(self, samples: int) -> NDArray[np.int16]:
        return super().take(samples) if self._tone is None else self._tone.take(samples)


class CapturedSound(Sound):
    """What a capture hears, from now on, 40 ms behind it."""

    def __init__(self, capture: PulseCapture) -> None:
        super().__init__()
        self._capture = capture
        # The newest is worth more than the oldest: of 200 ms, 40 are kept.
        self._waiting: deque[NDArray[np.int16]] = deque()
        self._filling = True
        self.blocks_dropped = 0

    def put(self, pcm: NDArray[np.int16]) -> None:
        """Add one block of 20 ms."""
        self._waiting.append(pcm)
        if len(self._waiting) > _MOST_WAITING:
            while len(self._waiting) > _PREFILL:
                self._waiting.popleft()
                self.blocks_dropped += 1

    def take(self, samples: int) -> NDArray[np.int16]:
        # Once dry, it waits for the prefill again: one gap rather than many.
        self._filling = len(self._waiting) < (_PREFILL if self._filling else 1)
        return np.empty((0, 2), np.int16) if self._filling else self._waiting.popleft()[:samples]

    def close(self) -> None:
        self._capture.leave(self)


class PulseCapture:
    """What PulseAudio, or PipeWire in its place, sends to a speaker: its monitor, 20 ms at a time.

    It is open while somebody listens. A thread waits for the sound; the event loop never does.

    Args:
        name: Of a sink; ``None``: the default one.

    Raises:
        ConfigurationError: the extra ``rtcpeer[pulse]`` or libpulse is missing.
    """

    def __init__(self, name: str | None) -> None:
        self._library = _pasimple()
        self._device = "@DEFAULT_MONITOR@" if name is None else f"{name.removesuffix('.monitor')}.monitor"
        self._listeners: set[CapturedSound] = set()
        self._opening = asyncio.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    async def start(self) -> None:
        """Open the monitor, unless it is.

        Raises:
            MediaError: there is none of that name, or no sound server.
        """
        async with self._opening:
            if self._thread is not None:
                return
            try:
                stream = await asyncio.to_thread(self._open)
            except self._library.PaSimpleError as exc:
                raise MediaError(f"PulseAudio gives no sound of {self._device}: {exc}") from exc
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._pump,
                args=(stream, self._stop, asyncio.get_running_loop()),
                name="pulse capture",
                # A server that hangs keeps the thread inside the library, where nothing can wake it.
                daemon=True,
            )
            self._thread.start()

    def listen(self) -> CapturedSound:
        """Return what is heard from now on; close it when done."""
        sound = CapturedSound(self)
        self._listeners.add(sound)
        if self._thread is None:
            sound.fail(_BROKE_OFF)
        return sound

    def leave(self, sound: CapturedSound) -> None:
        self._listeners.discard(sound)
        if not self._listeners:
            sound.closing = asyncio.ensure_future(self.aclose())

    async def aclose(self) -> None:
        """Stop it; two seconds at most."""
        self._stop.set()
        leaving = self._thread
        self._thread = None
        if leaving is not None:
            await asyncio.to_thread(_join, leaving)

    def _open(self) -> Any:
        library = self._library
        return library.PaSimple(
            library.PA_STREAM_RECORD,
            library.PA_SAMPLE_S16LE,
            STEREO.channels,
            STEREO.sample_rate,
            app_name="rtcpeer mock",
            device_name=self._device,
            fragsize=STEREO.frame_bytes,  # without it, two seconds come at once
        )

    def _pump(self, stream: Any, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not stop.is_set():
                pcm = np.frombuffer(stream.read(STEREO.frame_bytes), "<i2").astype(np.int16).reshape(-1, 2)
                loop.call_soon_threadsafe(self._deliver, stop, pcm)
        except self._library.PaSimpleError as exc:
            logger.warning("the capture of %s ended: %s", self._device, exc)
            if not stop.is_set():
                loop.call_soon_threadsafe(self._fail, stop)
        except RuntimeError:
            logger.debug("the loop has ended before the capture")
        finally:
            stream.close()

    def _deliver(self, stop: threading.Event, pcm: NDArray[np.int16]) -> None:
        if stop is self._stop:
            for sound in self._listeners:
                sound.put(pcm)

    def _fail(self, stop: threading.Event) -> None:
        if stop is self._stop:
            self._thread = None
            for sound in self._listeners:
                sound.fail(_BROKE_OFF)


class Desktop:
    """The computer: makes what one listener hears. Files and tones begin anew for each.

    Args:
        source: ``pulse`` or ``pulse:SINK``, ``tone``, or a file, once; ``None``: what the scenario's agent says.

    Raises:
        ConfigurationError: a file that can't be played, or PulseAudio without what it takes.
    """

    def __init__(self, source: str | None = None) -> None:
        self._file: Path | None = None
        self._capture: PulseCapture | None = None
        self._tone = source == "tone"
        kind, colon, name = (source or "").partition(":")
        if kind == "pulse":
            if colon and not name:
                raise ConfigurationError("the audio source pulse: names no sink: give pulse:NAME, or pulse")
            self._capture = PulseCapture(name or None)
        elif source is not None and not self._tone:
            self._file = Path(source)
            FileSource(self._file).close()  # for its errors

    async def start(self) -> None:
        """Be ready for a listener. Raises MediaError: there is no sound to be had."""
        if self._capture is not None:
            await self._capture.start()

    def listen(self, scenario: Scenario) -> Sound:
        """Return what one listener hears; close it when done."""
        if self._capture is not None:
            return self._capture.listen()
        if self._file is not None:
            return FileSound([self._file])
        return ToneSound() if self._tone else AgentSound(scenario)

    async def aclose(self) -> None:
        if self._capture is not None:
            await self._capture.aclose()


def decode(path: Path) -> Iterator[NDArray[np.int16]]:
    """Yield a file's audio as ``(n, 2)`` at 48 kHz; a mono file is the same on both sides, and as loud as it is."""
    with open_media(path) as container:
        stream = audio_stream(container)
        assert stream is not None  # it is ours, or a FileSource has opened it
        channels = 1 if stream.codec_context.channels == 1 else 2
        resampler = av.AudioResampler("s16", "mono" if channels == 1 else "stereo", VOICE.sample_rate)
        for frame in chain(decode_audio(container, stream), (None,)):
            for made in resampler.resample(frame):
                yield map_channels(made.to_ndarray().astype(np.int16, copy=False).reshape(-1, channels), 2)


def _pasimple() -> Any:
    try:
        import pasimple
        import pasimple.pa_simple
    except ImportError as exc:
        raise ConfigurationError("capturing a desktop's sound needs an extra: pip install 'rtcpeer[pulse]'") from exc
    try:
        pasimple.pa_simple.get_libpulse_simple()
    except pasimple.PaSimpleError as exc:
        raise ConfigurationError("libpulse is not installed: apt-get install libpulse0") from exc
    return pasimple


def _join(thread: threading.Thread) -> None:
    thread.join(_STOP_TIMEOUT)
    if thread.is_alive():
        logger.warning("PulseAudio holds on to the capture's thread")
