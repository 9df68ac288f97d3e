"""Fixtures for tests of voice applications: ``voice_server``, a mock that runs, and ``voice_call``, a call to it.

Real SDP, RTP and DataChannel on loopback, seeded. The server has a thread and an event loop of its own, so that it
serves synchronous and asynchronous tests alike, whatever plug-in runs the latter. Loaded in every test run of who has
rtcpeer installed: nothing heavy is imported before a fixture is asked for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from rtcpeer.netem import NetworkConditions
    from rtcpeer.protocols import VoiceProtocol
    from rtcpeer.said import Said
    from rtcpeer.session import Session

    from .scenario import Scenario
    from .server import MockServer

T = TypeVar("T")

_CALL = pytest.StashKey["tuple[Session, Path]"]()
"""Of a test's item: the call that it had, and where that was recorded."""
_TIMEOUT = 30.0
"""Seconds for anything asked of the server's thread."""


class VoiceServer:
    """A running ``MockServer``, to be used from any thread."""

    api_key = "sk_test"

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="voice_server", daemon=True)
        self._server: MockServer

    def start(self) -> None:
        from .server import MockServer

        self._thread.start()
        self._server = MockServer(api_key=self.api_key)
        asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self._loop).result(_TIMEOUT)

    def stop(self) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_TIMEOUT)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_TIMEOUT)
            if not self._loop.is_running():
                self._loop.close()

    async def _stop(self) -> None:
        await self._server.__aexit__(None, None, None)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()

    def url(self, protocol: str | type[VoiceProtocol] = "orga") -> str:
        """Return the base URL for a client of that protocol."""
        return self._ask(lambda: self._server.url(protocol))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls there were and are, oldest first, as ``GET /mock/calls`` has them."""
        return self._ask(lambda: [call.to_dict() for call in self._server.calls])

    @property
    def received(self) -> list[Said]:
        """What clients said in messages: of one call after the other, oldest first."""
        return self._ask(lambda: self._server.received)

    @property
    def scenario(self) -> Scenario:
        """What the agent does; may be set while a call runs, by name or to a ``Scenario``."""
        return self._ask(lambda: self._server.scenario)

    @scenario.setter
    def scenario(self, scenario: str | Scenario) -> None:
        self._ask(lambda: setattr(self._server, "scenario", scenario))

    @property
    def faults(self) -> frozenset[str]:
        """What goes wrong; may be set while a call runs: ``signaling.faults.FAULTS`` has the names."""
        return self._ask(lambda: self._server.faults)

    @faults.setter
    def faults(self, faults: Iterable[str]) -> None:
        names = [faults] if isinstance(faults, str) else list(faults)
        self._ask(lambda: setattr(self._server, "faults", names))

    @property
    def netem(self) -> NetworkConditions:
        """What happens to the mock's media packets; may be set while a call runs, as ``"loss=5%,delay=40ms"``."""
        return self._ask(lambda: self._server.netem)

    @netem.setter
    def netem(self, netem: str | NetworkConditions | None) -> None:
        self._ask(lambda: setattr(self._server, "netem", netem))

    def _ask(self, question: Callable[[], T]) -> T:
        """Run it on the server's own thread, where its state lives, and return what came out."""

        async def ask() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(_TIMEOUT)


@pytest.fixture
def voice_server() -> Iterator[VoiceServer]:
    """A mock that runs: ``.url(protocol)``, ``.scenario``, ``.faults``, ``.netem``, ``.received``, ``.calls``."""
    server = VoiceServer()
    server.start()
    yield server
    server.stop()


async def _voice_call(
    voice_server: VoiceServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Session]:
    """A session connected to ``voice_server``; the API key is ``sk_test``. A failure's report has its recording."""
    import rtcpeer

    folder = tmp_path_factory.mktemp("voice_call") / "call"
    async with rtcpeer.connect("orga", voice_server.url(), api_key=voice_server.api_key, record=folder) as session:
        request.node.stash[_CALL] = (session, folder)
        yield session


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what was said in the call of a test that failed, and where its recording lies."""
    report = yield
    if report.failed and (found := item.stash.get(_CALL, None)) is not None:
        report.sections.append(("voice call", _story(*found)))
    return report


def _story(session: Session, folder: Path) -> str:
    from rtcpeer.events import Closed, ErrorReported, TranscriptCompleted

    lines = []
    for entry in session.events.entries():
        match entry.said:
            case TranscriptCompleted(speaker=speaker, text=text):
                lines.append(f"{entry.t:8.2f}  {'you  ' if speaker == 'user' else 'agent'}  {text}")
            case ErrorReported(message=message):
                lines.append(f"{entry.t:8.2f}  note: {message}")
            case Closed(reason=reason, detail=detail):
                lines.append(f"{entry.t:8.2f}  closed ({reason}) {detail}")
    return "\n".join([*(lines or ["nothing was said"]), f"call folder: {folder}"])


def _no_voice_call() -> None:
    """A session connected to ``voice_server``; needs pytest-asyncio."""
    pytest.fail("the fixture voice_call needs pytest-asyncio: pip install 'rtcpeer[pytest]'", pytrace=False)


voice_call: Any
try:
    import pytest_asyncio
except ImportError:
    voice_call = pytest.fixture(name="voice_call")(_no_voice_call)
else:
    voice_call = pytest_asyncio.fixture(name="voice_call")(_voice_call)
