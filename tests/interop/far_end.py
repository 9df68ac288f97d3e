"""The far ends that nobody here wrote: which there are, what each needs, and a program that speaks lines of JSON.

``far_ends/README.md`` says what those lines are. A new far end is a program there and an entry in ``FAR_ENDS``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from namespaces import Host
from parts import AUDIBLE, HERE

Role = Literal["answer", "offer"]
PROGRAMS = HERE / "far_ends"
READY_WITHIN = 45.0
"""Seconds until a far end takes orders; a browser takes a few on a busy machine."""
WITHIN = 15.0
"""Seconds for whatever else is waited for. It takes well under three on a quiet machine."""
LINE = 1 << 20
"""Bytes: the longest line that is read."""


class Trouble(AssertionError):
    """A call did not do what it should: one sentence, and what both sides said last."""

    def __init__(self, sentence: str, *said: str) -> None:
        super().__init__("\n".join((sentence, *said)))
        self.sentence = sentence


@dataclass(frozen=True)
class Npm:
    """A package in ``node_modules``."""

    package: str

    def missing(self) -> str | None:
        """Say how to get it, if it is not there."""
        if shutil.which("node") is None:
            return "Node is not installed: apt-get install nodejs npm"
        if not (HERE / "node_modules" / self.package).is_dir():
            return f"npm {self.package} is not installed: make interop-parts, or cd tests/interop && npm ci"
        return None

    def version(self) -> str:
        text = (HERE / "node_modules" / self.package / "package.json").read_text()
        return str(json.loads(text)["version"])


@dataclass(frozen=True)
class Installed:
    """Something of the system: ``command`` succeeds where it is installed, and prints its version."""

    command: tuple[str, ...]
    packages: str
    """What ``apt-get install`` is to be given."""

    def missing(self) -> str | None:
        """Say how to get it, if it is not there."""
        if _output(self.command) is None:
            return f"{self.packages.split()[0]} is not installed: apt-get install {self.packages}"
        return None

    def version(self) -> str:
        found = re.search(r"\d+(\.\d+)+", _output(self.command) or "")
        return found[0] if found else "unknown"


@cache
def _output(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout + done.stderr).decode(errors="replace")


@dataclass(frozen=True)
class FarEnd:
    """An implementation of WebRTC, and the program that makes a far end of it."""

    name: str
    command: tuple[str, ...]
    """Run in ``far_ends/``; its options are added as one argument."""
    parts: Sequence[Npm | Installed]
    """What it needs. The version of the first is the far end's."""
    options: Mapping[str, Any] = field(default_factory=dict)
    roles: Sequence[Role] = ("answer", "offer")
    variant: bool = False
    """Another way to use one that is listed already: the whole matrix has it alone."""
    echoes: bool = False
    """It plays back what it hears, rather than a tone, and measures nothing."""
    note: str = ""
    """What the table says of it."""

    def missing(self) -> str | None:
        """Say how to get what it needs, if that is not there."""
        return next((said for part in self.parts if (said := part.missing()) is not None), None)

    def version(self) -> str:
        return self.parts[0].version()


ROUTER = "10.82.1.1"
"""Between us and the far end, in ``matrix.py``: a STUN and TURN server."""

_NODE = "node"
_OPUS = Npm("opusscript")
_RTP = "Takes and gives RTP packets: Opus is coded by libopus (npm opusscript)"
_DATACHANNEL = f"npm node-datachannel, and its version. {_RTP}"
_SILENT = f"{_RTP}. Closes its channel first: its `close()` says nothing"
_HERE = {"ice_servers": [{"urls": f"stun:{ROUTER}:3478"}]}
"""Without a server of our own it asks a public one, and waits five seconds for its name."""

_CHROMIUM, _FIREFOX = (sys.executable, "chromium.py"), (sys.executable, "firefox.py")
_HAS_CHROMIUM = Installed(("chromium", "--version"), "chromium")
_HAS_FIREFOX = Installed(("firefox-esr", "--version"), "firefox-esr")
# From a page that may not use the microphone come names that the far end's own network alone can look up.
_MDNS = {"obfuscate": True, **_HERE}
_PULSEAUDIO = Installed(("pulseaudio", "--version"), "pulseaudio")
_MICROPHONE = "The page may use the microphone"
_NO_MICROPHONE = "The page may not use the microphone: names of mDNS for its host's addresses, and a STUN server"

_SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's bindings are for Debian's Python."""
_GSTREAMER = Installed(
    (
        _SYSTEM_PYTHON,
        "-c",
        "import gi; gi.require_version('GstWebRTC', '1.0'); from gi.repository import Gst, GstWebRTC;"
        "Gst.init(None); assert Gst.ElementFactory.find('nicesrc'); print(Gst.version_string())",
    ),
    "gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-bad gstreamer1.0-plugins-good gstreamer1.0-nice python3-gi",
)

_JANUS = (sys.executable, "janus.py")
_HAS_JANUS = Installed(("sh", "-c", "command -v janus && { janus --version || true; }"), "janus")
_VIDEOCALL = (
    "Plugin videocall: a stock aiortc behind it sounds and listens. It leaves opening a channel to its clients, "
    "and so can call nobody who waits for one"
)

FAR_ENDS: Mapping[str, FarEnd] = {
    far_end.name: far_end
    for far_end in (
        FarEnd("libwebrtc", (_NODE, "wrtc.js"), [Npm("@roamhq/wrtc")], note="npm @roamhq/wrtc, and its version"),
        FarEnd("werift", (_NODE, "werift.js"), [Npm("werift"), _OPUS], _HERE, note=_SILENT),
        FarEnd("libdatachannel", (_NODE, "node_datachannel.js"), [Npm("node-datachannel"), _OPUS], note=_DATACHANNEL),
        FarEnd("chromium", _CHROMIUM, [_HAS_CHROMIUM], {"obfuscate": False}, note=_MICROPHONE),
        FarEnd("chromium-mdns", _CHROMIUM, [_HAS_CHROMIUM], _MDNS, variant=True, note=_NO_MICROPHONE),
        FarEnd("firefox", _FIREFOX, [_HAS_FIREFOX, _PULSEAUDIO], {"obfuscate": False}, note=_MICROPHONE),
        FarEnd("firefox-mdns", _FIREFOX, [_HAS_FIREFOX, _PULSEAUDIO], _MDNS, variant=True, note=_NO_MICROPHONE),
        FarEnd(
            "gstreamer",
            (_SYSTEM_PYTHON, "gstreamer.py"),
            [_GSTREAMER],
            note="webrtcbin; its certificate is RSA. Of a call's end it notices RTCP's BYE alone",
        ),
        FarEnd("janus", _JANUS, [_HAS_JANUS], roles=("answer",), note=_VIDEOCALL),
        FarEnd("janus-lite", _JANUS, [_HAS_JANUS], {"ice_lite": True}, roles=("answer",), note="The same, ICE-lite"),
    )
}


class Talker:
    """A program that speaks lines of JSON on stdout, and obeys those on its stdin. A task reads all that it says."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.said: list[dict[str, Any]] = []
        self._process = process
        self._more = asyncio.Condition()
        self._ended = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def running(
        cls, name: str, host: Host, command: Sequence[str | Path], options: Mapping[str, Any], **environment: str
    ) -> AsyncIterator[Talker]:
        """Run a program on ``host`` until the block is left; ``options`` are its last argument, as JSON."""
        process = await asyncio.create_subprocess_exec(
            *host.command(*command, json.dumps(options)),
            cwd=PROGRAMS,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE,
        )
        talker = cls(name, process)
        try:
            yield talker
        finally:
            await talker._end()

    async def obey(self, do: str, **order: Any) -> None:
        """Give an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
        with suppress(ConnectionError):  # it is over; whoever waits for what it says is told so
            await self._process.stdin.drain()

    async def wait_for(
        self,
        kind: str,
        where: Callable[[dict[str, Any]], bool] = lambda said: True,
        *,
        what: str = "",
        within: float = WITHIN,
    ) -> dict[str, Any]:
        """Return the first line of that type for which ``where`` is true.

        Args:
            what: What it is that does not come, if it does not: "did not …".

        Raises:
            Trouble: it did not come, the program failed or ended.
        """
        checked = 0
        try:
            async with asyncio.timeout(within), self._more:
                while True:
                    for said in self.said[checked:]:
                        if said["type"] == kind and where(said):
                            return said
                    checked = len(self.said)
                    self._check(kind)
                    await self._more.wait()
        except TimeoutError:
            raise Trouble(f"{self.name} {what or f'did not say {kind!r}'} in {within:g} s") from None

    def _check(self, kind: str) -> None:
        for said in self.said:
            if said["type"] == "failed":
                raise Trouble(f"{self.name}: {said['error']}")
        if self._ended:
            raise Trouble(f"{self.name} ended before it said {kind!r}")

    async def hears(self, frequency: float) -> dict[str, Any]:
        """Wait until it hears that tone, and nothing else worth mentioning."""

        def clean(heard: dict[str, Any]) -> bool:
            alone = heard["clean"] if "clean" in heard else abs(heard["rms"] - heard["level"]) < 1
            return abs(heard["frequency"] - frequency) <= 5 and heard["level"] > AUDIBLE and alone

        return await self.wait_for("heard", clean, what=f"did not hear {frequency:g} Hz, and that alone,")

    def last_words(self) -> str:
        """What it said last, for people; SDP is cut off."""
        heard = [said for said in self.said if said["type"] == "heard"][-1:]
        counted = [said for said in self.said if said["type"] not in ("noise", "heard")][-8:] + heard
        return "\n".join(f"  {self.name}: {json.dumps(said, ensure_ascii=False)[:300]}" for said in counted)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            try:
                said = json.loads(line)
            except ValueError:
                said = {"type": "noise", "text": line.decode(errors="replace").rstrip()}
            async with self._more:
                self.said.append(said)
                self._more.notify_all()
        async with self._more:
            self._ended = True
            self._more.notify_all()

    async def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
