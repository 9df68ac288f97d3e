"""``rtcpeer protocols``: what each protocol can do, both sides, read from the codecs themselves."""

from __future__ import annotations


def protocols() -> None:
    """Print what each protocol can do, as a table."""
    from rich.console import Console
    from rich.table import Table

    from ..commands import Command
    from ..events import Event
    from ..protocols import PROTOCOLS
    from ..protocols.base import Side

    table = Table("protocol", "transport", "we ask", "it says", "audio", "video", "interruption", title="Protocols")
    for name, protocol in PROTOCOLS.items():
        profile = protocol.profile
        asked = sorted(kind.__name__ for kind in protocol.speaks[Side.CLIENT] if issubclass(kind, Command))
        told = sorted(kind.__name__ for kind in protocol.speaks[Side.SERVER] if issubclass(kind, Event))
        transport = {"rtc": "WebRTC"}[profile.transport]
        table.add_row(
            name,
            f"{transport}, channel\n{profile.channel}",
            "\n".join(asked),
            "\n".join(told),
            "Opus",
            "VP8" if profile.video else "–",
            profile.interrupt,
        )
    Console().print(table)
