"""The other end in a box: a server that speaks every protocol for real, over loopback, scripted and seeded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .scenario import Scenario
    from .server import MockServer

__all__ = ["MockServer", "Scenario"]


def __getattr__(name: str) -> Any:
    # Lazy: the pytest plug-in of an installed rtcpeer is loaded in every test run, also of those who don't use it.
    match name:
        case "MockServer":
            from .server import MockServer

            return MockServer
        case "Scenario":
            from .scenario import Scenario

            return Scenario
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
