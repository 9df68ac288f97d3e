"""What events and commands have in common: a name and fields that can be written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that happened (``Event``) or is asked for (``Command``)."""

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"type": name, …fields}`` of JSON types, as in ``events.jsonl``."""
        return {"type": type(self).__name__} | {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return [_plain(item) for item in value]
    return value
