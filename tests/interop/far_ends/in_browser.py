"""What the far ends in browsers share: a page on this host's loopback, and a browser that is told to open it.

The page (``page.js``) connects back over a WebSocket, gets every line of our stdin, and what it says becomes our
stdout. So a browser needs no driver: it only has to open a URL. Loopback, because a page from elsewhere may use no
microphone without https.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

HERE = Path(__file__).parent
STARTED_WITHIN = 40.0
"""Seconds; a browser on a quiet machine takes one."""
LINE = 1 << 20
"""Bytes: the longest order."""
PAGE = """<!doctype html><meta charset="utf-8"><title>Far end</title><link rel="icon" href="data:,">
<script src="measure.js"></script><script src="page.js"></script>"""

Options = dict[str, Any]
Launch = Callable[[str, Path, Options], AbstractAsyncContextManager[asyncio.subprocess.Process]]
"""Start a browser that opens a URL; the folder is its home, and empty."""


def executable(*names: str) -> str:
    """Return the first of these programs that is installed."""
    for name in names:
        if (found := shutil.which(name)) is not None:
            return found
    raise SystemExit(f"{names[0]} is not installed: apt-get install {names[0]}")


@asynccontextmanager
async def running(command: Iterable[str], **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program, with its helpers, until the block is left; what it prints goes to our stderr."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # The browser's helpers are in its group; nothing in its profile is worth a clean end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def say(line: str) -> None:
    print(line, flush=True)


class Driver:
    """Passes lines between our stdin and stdout and the page's WebSocket."""

    def __init__(self, orders: asyncio.StreamReader) -> None:
        self._orders = orders
        self.connected = asyncio.Event()
        self.finished = asyncio.Event()
        """The test is gone, or the page."""

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_get("/orders", self._talk)
        for script in (HERE / "page.js", HERE.parent / "measure.js"):
            app.router.add_get(f"/{script.name}", lambda _, script=script: web.FileResponse(script))
        return app

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        page = web.WebSocketResponse(max_msg_size=LINE)
        await page.prepare(request)
        self.connected.set()
        passing = asyncio.create_task(self._pass_orders(page))
        try:
            async for message in page:
                if message.type is WSMsgType.TEXT:
                    say(message.data)
        finally:
            passing.cancel()
            self.finished.set()
        return page

    async def _pass_orders(self, page: web.WebSocketResponse) -> None:
        try:
            while line := await self._orders.readline():
                await page.send_str(line.decode())
        finally:
            self.finished.set()


async def _run(launch: Launch, options: Options) -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    driver = Driver(orders)
    loop.add_signal_handler(signal.SIGTERM, driver.finished.set)
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="far-end-", ignore_cleanup_errors=True)))
        runner = web.AppRunner(driver.application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/#{urllib.parse.quote(json.dumps(options))}"
        browser = await stack.enter_async_context(launch(url, home, options))

        async def browser_ended() -> None:
            code = await browser.wait()
            say(json.dumps({"type": "failed", "error": f"the browser ended with {code}; stderr says why"}))
            driver.finished.set()

        async def browser_starts() -> None:
            try:
                async with asyncio.timeout(STARTED_WITHIN):
                    await driver.connected.wait()
            except TimeoutError:
                error = f"the browser did not open the page within {STARTED_WITHIN} s; stderr may say why"
                say(json.dumps({"type": "failed", "error": error}))
                driver.finished.set()

        watching = [asyncio.create_task(browser_ended()), asyncio.create_task(browser_starts())]
        await driver.finished.wait()
        for task in watching:
            task.cancel()


def run(launch: Launch) -> None:
    """Be a far end until stdin ends: the options are our first argument."""
    asyncio.run(_run(launch, json.loads(sys.argv[1])))
