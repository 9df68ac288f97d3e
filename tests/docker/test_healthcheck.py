from __future__ import annotations

import runpy
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

is_healthy = runpy.run_path(str(Path(__file__).parents[2] / "docker" / "healthcheck.py"))["is_healthy"]


class Door(BaseHTTPRequestHandler):
    """Answers /healthz as the mock does, and nothing else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        return server.server_port


@pytest.mark.parametrize("spelling", ["--port {}", "--port={}"])
@pytest.mark.parametrize("host", ["", "--host 127.0.0.1 ", "--host=0.0.0.0 "])
def test_a_mock_that_answers_is_healthy(port: int, spelling: str, host: str) -> None:
    assert is_healthy(f"/opt/rtcpeer/bin/python /opt/rtcpeer/bin/rtcpeer mock {host}{spelling.format(port)}".split())


def test_an_init_process_before_the_mock_is_seen_through(closed_port: int) -> None:
    assert not is_healthy(f"/sbin/docker-init -- rtcpeer mock --port {closed_port}".split())


def test_a_mock_that_is_gone_is_unhealthy(closed_port: int) -> None:
    assert not is_healthy(["python", "rtcpeer", "mock", "--port", str(closed_port)])


@pytest.mark.parametrize("argv", ["rtcpeer join orga http://mock:8080", "rtcpeer join x y --play mock", "sh", ""])
def test_a_container_without_a_mock_is_healthy(argv: str) -> None:
    assert is_healthy(argv.split())
