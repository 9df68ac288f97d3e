"""The plug-in as a user's own test suite has it: a pytest of its own, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    installed = {entry.name for entry in importlib.metadata.entry_points(group="pytest11")}
    pytester.makeini(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
        + ("" if "rtcpeer" in installed else "addopts = -p signaling.pytest_plugin\n")
    )
    return pytester


def test_server_serves_a_synchronous_test(suite: pytest.Pytester):
    suite.makepyfile(
        """
        import json
        import urllib.request

        def test_it(voice_server):
            with urllib.request.urlopen(voice_server.url("orga") + "/healthz") as response:
                assert json.load(response) == {"status": "ok"}
            assert voice_server.calls == []
            assert voice_server.received == []
            assert voice_server.scenario.name == "conversation"
            voice_server.scenario = "echo"
            assert voice_server.scenario.name == "echo"
            voice_server.faults = "calls-500"
            assert voice_server.faults == {"calls-500"}
            voice_server.faults = []
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)


def test_call_is_connected_and_the_server_saw_it(suite: pytest.Pytester):
    suite.makepyfile(
        """
        import pytest
        import rtcpeer

        @pytest.mark.asyncio
        async def test_it(voice_server, voice_call):
            await voice_call.wait_for(rtcpeer.SessionStarted, timeout=120)
            assert [call["protocol"] for call in voice_server.calls] == ["orga"]
            assert isinstance(voice_server.received[0], rtcpeer.UpdateSession)
            voice_server.faults = ["hang-up"]
            closed = await voice_call.wait_for(rtcpeer.Closed, timeout=120)
            assert closed.reason == "remote"
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)


def test_tests_leave_no_thread_behind(suite: pytest.Pytester):
    suite.makepyfile(
        """
        import threading

        def test_first(voice_server):
            assert "voice_server" in {thread.name for thread in threading.enumerate()}

        def test_second():
            assert threading.enumerate() == [threading.main_thread()]
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=2)


def test_unknown_scenario_fails_the_test_with_the_names_there_are(suite: pytest.Pytester):
    suite.makepyfile(
        """
        def test_it(voice_server):
            voice_server.scenario = "ecco"
        """
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ConfigurationError*there is conversation, echo, tone*"])


def test_call_without_pytest_asyncio_says_what_to_install(suite: pytest.Pytester):
    suite.makepyfile(pytest_asyncio="raise ImportError('not here')")
    suite.makeini("[pytest]\naddopts = -p no:asyncio -p no:rtcpeer -p signaling.pytest_plugin\npythonpath = .\n")
    suite.makepyfile(
        test_it="""
        def test_it(voice_call):
            pass
        """
    )
    result = suite.run(sys.executable, "-c", "import sys, pytest; sys.path.insert(0, '.'); sys.exit(pytest.main())")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*voice_call needs pytest-asyncio: pip install*"])


def test_loading_the_plugin_imports_nothing_heavy():
    import subprocess

    code = (
        "import signaling.pytest_plugin, sys; "
        "print([name for name in ('aiohttp', 'aiortc', 'av', 'numpy', 'jwt', 'rtcpeer') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_the_first_example_of_the_readme_works_as_pasted(suite: pytest.Pytester):
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    example = readme.split("## In your tests", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    suite.makepyfile(example)

    suite.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_report_of_a_test_that_fails_has_its_transcript_and_its_recording(suite: pytest.Pytester):
    suite.makepyfile(
        """
        import pytest
        import rtcpeer

        @pytest.mark.asyncio
        async def test_it(voice_call):
            await voice_call.play(rtcpeer.ToneSource(duration=0.5))
            assert "" == (await voice_call.listen(timeout=120)).text
        """
    )
    result = suite.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines_random([r".* voice call .*", r" *\d+\.\d\d  agent  \w.*", r"call folder: /.*"])
    (line,) = [line for line in result.outlines if line.startswith("call folder: ")]
    assert (Path(line.removeprefix("call folder: ")) / "audio.ogg").stat().st_size > 0
