"""Chromium as a far end; ``page.js`` says what it understands beyond README.md.

Its flags are those of every Chromium in these tests.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from in_browser import Options

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it does not start as root otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
GRANTED = "--use-fake-ui-for-media-stream"
"""Every page may use the microphone without asking, and so knows the addresses of its host."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


def launch(url: str, home: Path, options: Options) -> AbstractAsyncContextManager[Process]:
    granted = () if options.get("obfuscate", True) else (GRANTED,)
    flags = (*FLAGS, *granted, "--no-proxy-server", f"--user-data-dir={home / 'profile'}")
    return running([executable(*NAMES), *flags, url], HOME=str(home), TMPDIR=str(home))


if __name__ == "__main__":
    from in_browser import executable, run, running

    run(launch)
