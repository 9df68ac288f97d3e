"""``rtcpeer protocols``: what each protocol can do, both sides, read from the codecs themselves."""

from __future__ import annotations


def protocols() -> None:
    """Print what each protocol can do, as a table."""
    from rich.console import Console
    from rich.table import Table

    from ..protocols import PROTOCOLS
    from ..protocols.base import Side

    found = list(PROTOCOLS.values())
    table = Table("", *(protocol.profile.name for protocol in found), caption="→ we may say it   ← the far end may")
    table.add_row("transport", *("WebRTC" for _ in found))
    table.add_row("audio", *("Opus ⇄" for _ in found))
    table.add_row("video", *("VP8 →" if protocol.profile.video else "–" for protocol in found))
    table.add_row("interruption", *(protocol.profile.interrupt for protocol in found), end_section=True)
    for arrow, side in (("→", Side.CLIENT), ("←", Side.SERVER)):
        said = sorted({kind.__name__ for protocol in found for kind in protocol.speaks[side]})
        for name in said:
            spoken = [name in {kind.__name__ for kind in protocol.speaks[side]} for protocol in found]
            table.add_row(name, *(arrow if each else "–" for each in spoken), end_section=name == said[-1])
    Console().print(table)
