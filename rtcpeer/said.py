"""What events and commands have in common: a name and fields that can be written down."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
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
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    return value
