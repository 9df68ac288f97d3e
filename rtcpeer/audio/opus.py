"""Opus by libopus itself: PyAV's decoder can neither conceal a lost packet nor use in-band FEC.

The library is the copy inside PyAV's wheel, else the system's. Encoder and decoder belong to one stream each and are
not safe to share between threads. Reference: RFC 6716 and opus-codec.org/docs/opus_api-1.5.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import weakref
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError

_SAMPLE_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
# RFC 6716, 3.2.5: no packet lasts longer than 120 ms, nor holds more than 48 frames.
_MAX_FRAMES = 48
# RFC 6716, 3.4: one frame is at most 1275 bytes, and we encode one a packet.
_MAX_PAYLOAD = 1275

# RFC 7587, 4.1: whatever the sample rate.
_CLOCK_RATE = 48_000

_OK = 0
_APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
_SET_BITRATE = 4002
_SET_MAX_BANDWIDTH = 4004
_SET_COMPLEXITY = 4010
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS_PERC = 4014
_SET_DTX = 4016
_RESET_STATE = 4028
# RFC 6716, 2: sample rate → OPUS_BANDWIDTH_NARROWBAND, …
_BANDWIDTHS = {8_000: 1101, 12_000: 1102, 16_000: 1103, 24_000: 1104, 48_000: 1105}


def _candidates() -> Iterator[str]:
    spec = importlib.util.find_spec("av")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        # Where auditwheel and delvewheel put it, and delocate.
        for folder in (package.parent / "av.libs", package / ".dylibs"):
            yield from (str(path) for path in sorted(folder.glob("libopus[-.]*")))
    system = ctypes.util.find_library("opus")
    if system is not None:
        yield system


@cache
def _libopus() -> ctypes.CDLL:
    tried = []
    for candidate in _candidates():
        try:
            library = ctypes.CDLL(candidate)
            _declare(library)
        except (OSError, AttributeError) as exc:
            tried.append(f"{candidate}: {exc}")
        else:
            return library
    raise MediaError(
        "libopus was not found; it comes with PyAV's wheel (pip install --force-reinstall av), or from the system "
        "(Debian: apt-get install libopus0, macOS: brew install opus)" + "".join(f"; tried {each}" for each in tried)
    )


def _declare(library: ctypes.CDLL) -> None:
    state, pcm, integer = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int
    integer_out = ctypes.POINTER(ctypes.c_int)
    for name, restype, argtypes in (
        ("opus_strerror", ctypes.c_char_p, [integer]),
        ("opus_get_version_string", ctypes.c_char_p, []),
        ("opus_encoder_create", state, [ctypes.c_int32, integer, integer, integer_out]),
        ("opus_encoder_destroy", None, [state]),
        ("opus_encode", ctypes.c_int32, [state, pcm, integer, ctypes.c_void_p, ctypes.c_int32]),
        # Variadic: ctypes passes what comes after the declared arguments by the variadic convention.
        ("opus_encoder_ctl", integer, [state, integer]),
        ("opus_decoder_create", state, [ctypes.c_int32, integer, integer_out]),
        ("opus_decoder_destroy", None, [state]),
        ("opus_decode", integer, [state, ctypes.c_char_p, ctypes.c_int32, pcm, integer, integer]),
        ("opus_decoder_ctl", integer, [state, integer]),
        ("opus_packet_get_nb_samples", integer, [ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32]),
        (
            "opus_packet_parse",
            integer,
            [ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p],
        ),
    ):
        function = getattr(library, name)
        function.restype = restype
        function.argtypes = argtypes


def library() -> tuple[str, str]:
    """Return which libopus is used: its file, and what it calls itself. Raises MediaError: there is none."""
    found = _libopus()
    return found._name, found.opus_get_version_string().decode(errors="replace")


def _check(result: int, doing: str) -> int:
    if result < 0:
        raise MediaError(f"libopus could not {doing}: {_libopus().opus_strerror(result).decode()}")
    return result


def _check_format(sample_rate: int, channels: int) -> None:
    if sample_rate not in _SAMPLE_RATES:
        raise MediaError(f"Opus has no sample rate of {sample_rate} Hz: give one of {_SAMPLE_RATES}")
    if channels not in (1, 2):
        raise MediaError(f"Opus has 1 or 2 channels, not {channels}")


def packet_samples(payload: bytes, sample_rate: int = 48_000) -> int:
    """Return how many samples per channel a packet lasts, without decoding it.

    Raises:
        MediaError: it is no Opus packet.
    """
    return _check(_libopus().opus_packet_get_nb_samples(payload, len(payload), sample_rate), "read a packet's length")


def has_fec(payload: bytes) -> bool:
    """Tell whether a packet carries the one before it again, in-band (LBRR: RFC 6716, 4.2.4)."""
    # TOC, RFC 6716 3.1: configurations from 16 on are CELT only, which has no LBRR.
    if len(payload) < 2 or payload[0] >= 0x80:
        return False
    toc = payload[0]
    if toc & 3 in (0, 1):
        start = 1  # one frame, or two of one size: the first begins right behind the TOC
    else:
        sizes = (ctypes.c_int16 * _MAX_FRAMES)()
        offset = ctypes.c_int()
        count = _libopus().opus_packet_parse(
            payload, len(payload), None, None, ctypes.byref(sizes), ctypes.byref(offset)
        )
        if count <= 0 or sizes[0] == 0:
            return False
        start = offset.value
    # The first byte of the SILK layer: for each channel a voice-activity bit a 20 ms block, then the LBRR bit.
    # SILK frames last 10, 20, 40 or 60 ms (configurations 0 to 11), hybrid ones 10 or 20.
    configuration = toc >> 3
    blocks = (1, 1, 2, 3)[configuration & 3] if configuration < 12 else 1
    head = payload[start]
    stereo = toc & 4
    return bool(head >> (7 - blocks) & 1 or (stereo and head >> (6 - 2 * blocks) & 1))


class OpusEncoder:
    """One outgoing stream, made for voice: hybrid SILK and CELT at the default bitrate.

    Settings may be changed between any two packets. In-band FEC costs bits only while ``packet_loss`` is above 0: set
    it from the receiver reports, since what it guards against costs a clean call quality. ``playback_rate`` is what
    the far end plays at, in Hz: nothing finer is encoded (RFC 7587, 6.1).

    Raises:
        MediaError: a setting out of range, or no libopus.
    """

    clock_rate = _CLOCK_RATE

    def __init__(
        self,
        sample_rate: int = 48_000,
        *,
        channels: int = 1,
        bitrate: int = 32_000,
        complexity: int = 9,
        fec: bool = True,
        packet_loss: int = 0,
        dtx: bool = False,
        playback_rate: int = 48_000,
        application: Literal["voip", "audio", "lowdelay"] = "voip",
    ) -> None:
        _check_format(sample_rate, channels)
        self.sample_rate = sample_rate
        self.channels = channels
        self.application = application
        """As in ``OpusSettings``; libopus does not change it while it encodes."""
        self._library = library = _libopus()
        error = ctypes.c_int(_OK)
        self._state = library.opus_encoder_create(
            sample_rate, channels, _APPLICATIONS[application], ctypes.byref(error)
        )
        _check(error.value, "make an encoder")
        weakref.finalize(self, library.opus_encoder_destroy, self._state)
        # Frame lengths of RFC 6716, 2.1.4, from 2.5 to 60 ms.
        self._frame_lengths = frozenset(sample_rate * n // 400 for n in (1, 2, 4, 8, 16, 24))
        # libopus wants contiguous samples: copied here, their address is taken once instead of at every frame.
        self._pcm = np.empty((max(self._frame_lengths), channels), np.int16)
        self._pcm_address = self._pcm.ctypes.data
        self._payload = ctypes.create_string_buffer(_MAX_PAYLOAD)
        self._payload_address = ctypes.addressof(self._payload)
        self._view = memoryview(self._payload)
        self.bitrate = bitrate
        self.complexity = complexity
        self.fec = fec
        self.packet_loss = packet_loss
        self.dtx = dtx
        bandwidth = next((code for rate, code in _BANDWIDTHS.items() if rate >= playback_rate), _BANDWIDTHS[48_000])
        result = library.opus_encoder_ctl(self._state, _SET_MAX_BANDWIDTH, ctypes.c_int32(bandwidth))
        _check(result, f"encode for playback at {playback_rate} Hz")

    def encode(self, pcm: NDArray[np.int16]) -> bytes:
        """Encode one frame of 2.5, 5, 10, 20, 40 or 60 ms: ``(samples, channels)``.

        With ``dtx``, a payload of at most 2 bytes need not be sent: the far end makes comfort noise until the next.

        Raises:
            MediaError: a frame of another length or number of channels.
        """
        samples = len(pcm)
        if samples not in self._frame_lengths or pcm.shape != (samples, self.channels):
            raise MediaError(
                f"no Opus frame has the shape {pcm.shape} at {self.sample_rate} Hz and {self.channels} channel(s): "
                f"give ({self.sample_rate // 50}, {self.channels}), which is 20 ms"
            )
        self._pcm[:samples] = pcm
        size = self._library.opus_encode(self._state, self._pcm_address, samples, self._payload_address, _MAX_PAYLOAD)
        return self._view[: _check(size, "encode a frame")].tobytes()

    @property
    def bitrate(self) -> int:
        """Bits a second, on average, from 6000 to 510 000."""
        return self._bitrate

    @bitrate.setter
    def bitrate(self, value: int) -> None:
        self._set(_SET_BITRATE, "bitrate", value, range(6_000, 510_001))
        self._bitrate = value

    @property
    def complexity(self) -> int:
        """From 0, the cheapest, to 10."""
        return self._complexity

    @complexity.setter
    def complexity(self, value: int) -> None:
        self._set(_SET_COMPLEXITY, "complexity", value, range(11))
        self._complexity = value

    @property
    def fec(self) -> bool:
        """Whether a packet may carry the one before it again."""
        return self._fec

    @fec.setter
    def fec(self, value: bool) -> None:
        self._set(_SET_INBAND_FEC, "fec", int(value), range(2))
        self._fec = value

    @property
    def packet_loss(self) -> int:
        """The loss to expect, in percent."""
        return self._packet_loss

    @packet_loss.setter
    def packet_loss(self, value: int) -> None:
        self._set(_SET_PACKET_LOSS_PERC, "packet_loss", value, range(101))
        self._packet_loss = value

    @property
    def dtx(self) -> bool:
        """Whether silence is described once, then left out."""
        return self._dtx

    @dtx.setter
    def dtx(self, value: bool) -> None:
        self._set(_SET_DTX, "dtx", int(value), range(2))
        self._dtx = value

    def _set(self, request: int, name: str, value: int, allowed: range) -> None:
        if value not in allowed:
            raise MediaError(f"{name}={value} is not from {allowed.start} to {allowed.stop - 1}")
        result = self._library.opus_encoder_ctl(self._state, request, ctypes.c_int32(value))
        _check(result, f"set {name} to {value}")


class OpusDecoder:
    """One incoming stream, decoded to any of Opus's own rates; what the sender's channels are does not matter.

    Raises:
        MediaError: a rate or number of channels that Opus does not have, or no libopus.
    """

    clock_rate = _CLOCK_RATE

    def __init__(self, sample_rate: int = 48_000, *, channels: int = 1) -> None:
        _check_format(sample_rate, channels)
        self.sample_rate = sample_rate
        self.channels = channels
        self._library = library = _libopus()
        error = ctypes.c_int(_OK)
        self._state = library.opus_decoder_create(sample_rate, channels, ctypes.byref(error))
        _check(error.value, "make a decoder")
        weakref.finalize(self, library.opus_decoder_destroy, self._state)
        self._step = sample_rate // 400
        self._pcm = np.empty((self._step * _MAX_FRAMES, channels), np.int16)
        self._pcm_address = self._pcm.ctypes.data

    def decode(self, payload: bytes) -> NDArray[np.int16]:
        """Decode one packet of up to 120 ms: ``(samples, channels)``, the caller's to keep.

        Raises:
            MediaError: the payload is empty or no Opus packet.
        """
        if not payload:  # libopus would take it for a lost packet
            raise MediaError("an empty payload is no Opus packet")
        return self._run(payload, len(payload), len(self._pcm), 0, "decode a packet")

    def has_fec(self, payload: bytes) -> bool:
        """Tell whether ``recover`` has something to decode in this payload."""
        return has_fec(payload)

    def recover(self, next_payload: bytes, samples: int) -> NDArray[np.int16]:
        """Decode the lost ``samples`` before ``next_payload`` from the FEC in it; conceal what it does not cover.

        ``next_payload`` itself is to be decoded afterwards.

        Raises:
            MediaError: ``samples`` is not a multiple of 2.5 ms up to 120 ms, or the payload is no Opus packet.
        """
        if not next_payload:
            raise MediaError("an empty payload is no Opus packet")
        self._check_lost(samples)
        return self._run(next_payload, len(next_payload), samples, 1, "recover a packet")

    def conceal(self, samples: int) -> NDArray[np.int16]:
        """Continue the sound by ``samples`` that never came; going on, it fades.

        Raises:
            MediaError: ``samples`` is not a multiple of 2.5 ms up to 120 ms.
        """
        self._check_lost(samples)
        return self._run(None, 0, samples, 0, "conceal a packet")

    def reset(self) -> None:
        """Forget the stream, as if just made."""
        _check(self._library.opus_decoder_ctl(self._state, _RESET_STATE), "reset a decoder")

    def _check_lost(self, samples: int) -> None:
        if not 0 < samples <= len(self._pcm) or samples % self._step:
            raise MediaError(f"{samples} samples at {self.sample_rate} Hz are not a multiple of 2.5 ms up to 120 ms")

    def _run(self, payload: bytes | None, size: int, samples: int, fec: int, doing: str) -> NDArray[np.int16]:
        result = self._library.opus_decode(self._state, payload, size, self._pcm_address, samples, fec)
        return self._pcm[: _check(result, doing)].copy()
