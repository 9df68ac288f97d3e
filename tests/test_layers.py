"""Each layer imports only what stands above it in DESIGN's table; one reading of every source file holds that."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("rtcpeer", "signaling") for path in (ROOT / package).rglob("*.py"))

BOTTOM = {"said", "errors", "events", "commands", "formats", "escaping", "stats", "reconnect", "netem"}
# Prefix → rank, and the foreign packages that layer may use. The longest prefix decides.
LAYERS: dict[str, tuple[int, set[str]]] = {
    **{f"rtcpeer.{name}": (0, set[str]()) for name in BOTTOM},
    "rtcpeer.protocols": (1, set()),
    "rtcpeer.audio": (2, {"numpy", "av", "sounddevice"}),
    "rtcpeer.transports": (
        3,
        {"numpy", "av", "aiohttp", "OpenSSL", "cryptography", "aiortc", "aioice", "ifaddr", "pylibsrtp", "pyee"},
    ),
    "rtcpeer": (4, {"numpy", "av"}),
    "rtcpeer.auth": (4, {"aiohttp"}),
    "rtcpeer.doctor": (4, {"aiohttp", "numpy"}),
    "rtcpeer.opening": (4, {"aiohttp"}),
    "rtcpeer.proxy": (4, {"aiohttp"}),
    "rtcpeer.serving": (4, {"aiohttp"}),
    "signaling": (5, {"numpy", "av", "aiohttp", "jwt", "pasimple"}),
    "rtcpeer.__main__": (6, set()),
    "rtcpeer.cli": (6, {"aiohttp", "numpy", "rich", "typer", "click", "av"}),
    "rtcpeer.report": (6, set()),
    "signaling.pytest_plugin": (6, {"pytest", "pytest_asyncio"}),
    "signaling.__main__": (6, set()),
}
PURE = {"asyncio", "time", "socket", "random", "threading"}  # what ranks 0 and 1 may not use of the standard library
SEEDED = {"rtcpeer.netem"}  # random.Random(seed) has no state but its own: as pure as arithmetic


def layer(module: str) -> tuple[int, set[str]]:
    prefix = max((name for name in LAYERS if f"{module}.".startswith(f"{name}.")), key=len)
    return LAYERS[prefix]


def imports(path: Path) -> list[tuple[str, bool]]:
    """Return every module imported at run time, absolute, and whether it is imported inside a function."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    nested = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in nested) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*parts[: len(parts) - node.level]] if node.level else [])
            module = ".".join(filter(None, [base, node.module]))
            found += [(f"{module}.{alias.name}", id(node) in nested) for alias in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_imports_only_what_its_layer_may(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    rank, foreign = layer(module)
    for name, nested in imports(path):
        package = name.partition(".")[0]
        if package in ("rtcpeer", "signaling"):
            assert layer(name)[0] <= rank, f"{module} imports {name}, which stands below it"
            if module.startswith("rtcpeer") and package == "signaling":
                assert module.startswith("rtcpeer.cli"), f"{module} imports {name}: rtcpeer never imports signaling"
                assert nested, f"{module} imports {name} outside a function"
        elif package in sys.stdlib_module_names:
            pure = rank <= 1 and not (package == "random" and module in SEEDED)
            assert not pure or package not in PURE, f"{module} imports {name}: this layer is pure"
        else:
            assert package in foreign, f"{module} imports {name}"
