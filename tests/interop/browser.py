"""Debian's Chromium with a page that is a client of Orga, driven by Playwright."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from far_ends.chromium import FLAGS, GRANTED, NAMES
from parts import AUDIBLE, DEADLINE, HERE

if TYPE_CHECKING:
    from namespaces import Host
    from playwright.async_api import Page

ORIGIN = "http://localhost:8000"


class Browser:
    """A page that is a client of Orga, served from an origin of its own."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin

    async def call(self, **options: Any) -> str:
        """Call, wait for the channel, and return the conversation's id."""
        await self.page.goto(f"{self.origin}/orga_page.html")
        call_id: str = await self.page.evaluate(
            """async (options) => {
                window.call = new orga.OrgaCall(options);
                const id = await call.start();
                await call.opened;
                return id;
            }""",
            options,
        )
        return call_id

    async def do(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def wait_for(self, condition: str, tell: str = "call.events") -> Any:
        """Return the first truthy value of a JavaScript expression."""
        try:
            found = await self.page.wait_for_function(condition, timeout=DEADLINE * 1000)
        except Exception as exc:
            if type(exc).__name__ != "TimeoutError":
                raise
            pytest.fail(f"not within {DEADLINE} s: {condition}; {tell} is {json.dumps(await self.do(tell))[:2000]}")
        return await found.json_value()

    async def event(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.wait_for(f"call.events.find((event) => event.type === {kind!r})")
        return found


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on loopback; its origin."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _executable() -> str:
    for name in NAMES:
        if (executable := shutil.which(name)) is not None:
            return executable
    pytest.skip("Chromium is not installed: apt-get install chromium")


@asynccontextmanager
async def _launched(executable: str | Path, origin: str, profile: Path, microphone: str) -> AsyncIterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.async_api", reason="Playwright is not installed: make interop-parts, or pip install playwright"
    )
    async with playwright.async_playwright() as driver:
        context = await driver.chromium.launch_persistent_context(
            profile,
            executable_path=executable,
            headless=False,  # Playwright's own headless is another browser
            args=[*FLAGS, GRANTED, f"--use-file-for-fake-audio-capture={microphone}"],
            timeout=DEADLINE * 1000,
        )
        try:
            page = await context.new_page()
            page.set_default_timeout(DEADLINE * 1000)
            broken: list[str] = []
            page.on("pageerror", lambda error: broken.append(str(error)))
            yield Browser(page, origin)
            assert not broken
        finally:
            await context.close()


@asynccontextmanager
async def chromium(profile: Path, microphone: str) -> AsyncIterator[Browser]:
    """A browser whose microphone plays a WAV file, over and over unless its name ends in ``%noloop``."""
    executable = _executable()
    pages = web.Application()
    pages.router.add_static("/", HERE)
    async with served(pages) as origin, _launched(executable, origin, profile, microphone) as browser:
        yield browser


@asynccontextmanager
async def chromium_on(host: Host, folder: Path, microphone: str) -> AsyncIterator[Browser]:
    """The same on a host of its own, which serves the pages too: only localhost and https may use the microphone.

    ``folder`` is for the browser's files. The origin is ``ORIGIN``, since nothing else listens there.
    """
    script = folder / "chromium"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(host.command(_executable()))} "$@"\n')
    script.chmod(0o755)
    serve = host.running(sys.executable, "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", HERE)
    async with serve, _launched(script, ORIGIN, folder / "profile", microphone) as browser:
        yield browser


async def hears(browser: Browser, frequency: float) -> dict[str, Any]:
    """Wait until the page hears a tone, and return what it hears."""
    found: dict[str, Any] = await browser.wait_for(
        f"""(() => {{
            const heard = call.spectrum([{frequency}, 770]);
            return heard && Math.abs(heard.dominant - {frequency}) < 3 && heard.level > {AUDIBLE} && heard;
        }})()""",
        tell="call.spectrum([440, 770])",
    )
    return found
