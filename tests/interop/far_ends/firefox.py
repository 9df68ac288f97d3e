"""Firefox ESR as a far end; ``page.js`` says what it understands beyond README.md.

Without a sound card its AudioContext never starts, so it gets a PulseAudio of its own that plays into nothing. What
that would play is its microphone: Firefox does not count its own fake one as capturing, and goes on hiding addresses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from in_browser import Options, executable, run, running

PREFERENCES: dict[str, bool | int | str] = {
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "network.proxy.type": 0,
    # It is to ask nobody for anything, and to open our page alone.
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-manager.url": "",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}


@asynccontextmanager
async def launch(url: str, home: Path, _: Options) -> AsyncIterator[asyncio.subprocess.Process]:
    profile = home / "profile"
    profile.mkdir()
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items())
    (profile / "user.js").write_text("".join(lines))
    async with silent_sound(home) as server:
        firefox = [executable("firefox-esr", "firefox"), "--headless", "--no-remote", "--profile", str(profile), url]
        async with running(firefox, HOME=str(home), TMPDIR=str(home), PULSE_SERVER=server) as browser:
            yield browser


@asynccontextmanager
async def silent_sound(home: Path) -> AsyncIterator[str]:
    """Run a sound server whose one speaker is nothing; its address."""
    socket = home / "pulse"
    folders = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH"), str(home))
    server = (
        *(executable("pulseaudio"), "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
        *("-L", "module-null-sink rate=48000 channels=2"),
        *("-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1"),
    )
    async with running(server, **folders) as process:
        async with asyncio.timeout(10):
            while not socket.exists():
                if process.returncode is not None:
                    raise SystemExit(f"pulseaudio ended with {process.returncode}")
                await asyncio.sleep(0.02)
        yield f"unix:{socket}"


if __name__ == "__main__":
    run(launch)
