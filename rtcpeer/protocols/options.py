"""What a user gives a protocol, checked before anything is sent.

A check takes the name, for its error, and the value; strings, as a command line has them, are converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ConfigurationError
from .text import LONGEST_ID

Check = Callable[[str, object], object]


def bad(name: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {value!r}: give {allowed}")


def checked_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise bad(name, value, "a text")
    return value


def checked_name(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > LONGEST_ID:
        raise bad(name, value, f"a name of {LONGEST_ID} characters at most")
    return value


def checked_id(name: str, value: object) -> str:
    """An id that becomes one part of a path: what could lead elsewhere is refused (RFC 3986, 3.3)."""
    if not isinstance(value, str) or not value.isascii() or not value.replace("-", "").replace("_", "").isalnum():
        raise bad(name, value, "an id of letters, digits, - and _")
    if len(value) > LONGEST_ID:
        raise bad(name, value[:20] + "…", f"an id of {LONGEST_ID} characters at most")
    return value


def checked_flag(name: str, value: object) -> bool:
    match value.lower() if isinstance(value, str) else value:
        case True | "true" | "yes" | "on" | "1":
            return True
        case False | "false" | "no" | "off" | "0":
            return False
    raise bad(name, value, "true or false")


def one_of(*allowed: object) -> Check:
    """Return a check for one of these values; a text that reads like one of them is that one."""

    def check(name: str, value: object) -> object:
        for each in allowed:
            if not isinstance(value, bool) and (value == each or value == str(each)):
                return each
        raise bad(name, value, ", ".join(str(each) for each in allowed[:-1]) + f" or {allowed[-1]}")

    return check


def listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(str(name) for name in names))


def check_options(protocol: str, options: Mapping[str, object], known: Mapping[str, Check]) -> dict[str, Any]:
    """Check ``options``; ``None`` stands for not given.

    Raises:
        ConfigurationError: an unknown name, the message lists the known ones; or what a check raises.
    """
    if unknown := set(options) - set(known):
        has = f"it has {listed(known)}" if known else "it has none"
        raise ConfigurationError(f"{protocol} has no parameter {listed(unknown)}; {has}")
    return {name: known[name](name, value) for name, value in options.items() if value is not None}


def needs_parameter(protocol: str, name: str) -> str:
    """Say that a call parameter is missing, and how to give it: in Python and on the command line."""
    option = {"agent_id": "--agent ID", "computer_id": "--computer ID"}.get(name, f"--param {name}=…")
    return f'{protocol} needs the parameter {name}: give params={{"{name}": "…"}}, or {option}'
