"""rtcpeer on each Python that it says it works on, with the newest dependencies that it allows: no lock file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
VERSIONS = [found[1] for each in PROJECT["classifiers"] if (found := re.search(r":: Python :: (3\.\d+)$", each))]

pytestmark = pytest.mark.timeout(900)


def interpreter(version: str) -> str | None:
    """Return a Python of that version: this one, one on the path, or one of pyenv's."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = [str(each) for each in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    for candidate in [*installed, shutil.which(f"python{version}")]:
        # One of pyenv's shims is there for a version that is not.
        if candidate and run(candidate, "-c", "import ensurepip, venv").returncode == 0:
            return candidate
    return None


def run(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False, **more)


@cache
def no_index() -> bool:
    """Whether no package can be had here."""
    found = run(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "hatchling")
    return found.returncode != 0


def test_the_versions_that_are_promised_are_tested() -> None:
    assert {"3.11", "3.12", "3.13"} <= set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_dependencies_resolve_for_python(version: str, tmp_path: Path) -> None:
    if no_index():
        pytest.skip(f"Python {version}: no package index can be reached from here")

    resolved = run(
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"),
        *("--ignore-installed", "--only-binary", ":all:", "--python-version", version, "--target", str(tmp_path)),
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["pytest"],
    )

    assert 0 == resolved.returncode, resolved.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_rtcpeer_installs_and_makes_a_call_on_python(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not here: with pyenv, `pyenv install {version}`")
    if no_index():
        pytest.skip(f"Python {version}: no package index can be reached from here")
    assert 0 == run(python, "-m", "venv", str(tmp_path / "venv")).returncode
    installed = run(str(tmp_path / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--no-compile", str(ROOT))
    assert 0 == installed.returncode, installed.stderr

    called = run(str(tmp_path / "venv/bin/rtcpeer"), "demo", cwd=tmp_path)

    assert 0 == called.returncode, called.stderr
    assert (tmp_path / "rtcpeer-demo" / "audio.ogg").exists()
