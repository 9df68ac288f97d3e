"""What is installed: versions, libopus and what it can do, sound devices."""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ..audio import devices, opus
from ..errors import ConfigurationError
from ..formats import VOICE
from .checks import in_thread
from .finding import Finding, Status
from .voice import voice

_PACKAGES = ("rtcpeer", "aiortc", "aioice", "av", "aiohttp", "numpy")


async def check_versions() -> Finding:
    """Which versions there are, and whether aiortc is one whose private parts we know."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    figures = {**found, "system": platform.system(), "machine": platform.machine()}
    try:
        importlib.import_module("rtcpeer.transports.webrtc")
    except ImportError as exc:
        return Finding(
            name="versions",
            status="fail",
            detail=str(exc),
            advice="pip install --upgrade --force-reinstall rtcpeer",
            figures=figures,
        )
    detail = ", ".join(f"{'Python' if name == 'python' else name} {each}" for name, each in found.items())
    return Finding(name="versions", status="ok", detail=detail, figures=figures)


async def check_libopus() -> Finding:
    """Which libopus is used, and whether it really conceals, recovers and pauses."""
    file, name = opus.library()
    features = {"fec": _has_fec(), "plc": _has_plc(), "dtx": _has_dtx()}
    missing = [each.upper() for each, works in features.items() if not works]
    words = {"fec": "repairs losses (FEC)", "plc": "hides them (PLC)", "dtx": "pauses in silence (DTX)"}
    does = ", ".join(words[each] for each, works in features.items() if works)
    return Finding(
        name="libopus",
        status="warn" if missing else "ok",
        detail=f"{name}, {Path(file).name}: {does or 'no feature works'}",
        advice=f"lost packets will be heard, {', '.join(missing)} missing: pip install --force-reinstall av"
        if missing
        else "",
        figures={"file": file, "version": name, **features},
    )


def _has_fec() -> bool:
    encoder = opus.OpusEncoder(bitrate=32_000, complexity=5, fec=True, packet_loss=20)
    return any(opus.has_fec(encoder.encode(frame)) for frame in voice(0.6))


def _has_plc() -> bool:
    encoder, decoder = opus.OpusEncoder(complexity=5), opus.OpusDecoder()
    for frame in voice(0.2):
        decoder.decode(encoder.encode(frame))
    return bool(np.abs(decoder.conceal(VOICE.frame_samples)).max() > 0)


def _has_dtx() -> bool:
    encoder = opus.OpusEncoder(complexity=5, dtx=True)
    silence = np.zeros((VOICE.frame_samples, 1), np.int16)
    return any(len(encoder.encode(silence)) <= 2 for _ in range(50))


async def check_devices() -> Finding:
    """Whether ``--play mic``, ``--speaker`` and ``--audio-source pulse`` would have something to open."""
    figures: dict[str, str | bool | None] = {
        "microphone": None,
        "speaker": None,
        "pulseaudio": await in_thread(_pulse_answers),
    }
    try:
        figures["microphone"], figures["speaker"] = await in_thread(devices.default_devices)
    except ConfigurationError as exc:
        detail = str(exc)
    else:
        detail = ", ".join(
            f"{kind} {figures[kind]!r}" if figures[kind] else f"no {kind}" for kind in ("microphone", "speaker")
        )
    pulse = "PulseAudio answers" if figures["pulseaudio"] else "no PulseAudio"
    status: Status = "ok" if figures["microphone"] and figures["speaker"] else "skipped"
    return Finding(name="devices", status=status, detail=f"{detail}; {pulse}", figures=figures)


def _pulse_answers() -> bool:
    """Whether somebody listens where libpulse would knock (its default-server rules, without TCP)."""
    named = os.environ.get("PULSE_SERVER", "").removeprefix("unix:")
    runtime = os.environ.get("PULSE_RUNTIME_PATH") or os.path.join(  # noqa: PTH118 - a string is what is wanted
        os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"), "pulse"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(0.5)
        try:
            knock.connect(named if named.startswith("/") else f"{runtime}/native")
        except (OSError, ValueError):
            return False
    return True
