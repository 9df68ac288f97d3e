"""``rtcpeer protocols``: what each protocol can do, both sides, read from the codecs themselves."""

from __future__ import annotations

from itertools import chain


def protocols() -> None:
    """Print what each protocol can do, as a table."""
    from rich.console import Console
    from rich.table import Column, Table

    from ..protocols import PROTOCOLS
    from ..protocols.base import AudioChunk, Side, VoiceProtocol, WireAudio

    def audio(protocol: type[VoiceProtocol], side: Side) -> str:
        if protocol.profile.transport == "rtc":
            return "Opus"
        wire = protocol.audio_in if side is Side.CLIENT else protocol.audio_out
        return "–" if AudioChunk not in protocol.speaks[side] or wire is None else shape(wire)

    def shape(wire: WireAudio) -> str:
        codec = "PCM" if wire.codec == "pcm16" else wire.codec.upper()
        return f"{codec} {wire.format.sample_rate / 1000:g} kHz"

    found = list(PROTOCOLS.values())
    transports = {"rtc": "WebRTC", "ws": "WebSocket"}
    sections = [
        [
            ["transport", *(transports[each.profile.transport] for each in found)],
            ["audio →", *(audio(protocol, Side.CLIENT) for protocol in found)],
            ["audio ←", *(audio(protocol, Side.SERVER) for protocol in found)],
            ["video", *("VP8 →" if protocol.profile.video else "–" for protocol in found)],
            ["interruption", *(each.profile.interrupt.replace("-", " ") for each in found)],
        ]
    ]
    for arrow, side in (("→", Side.CLIENT), ("←", Side.SERVER)):
        speaks = [{kind.__name__ for kind in protocol.speaks[side]} - {"AudioChunk"} for protocol in found]
        said = sorted(set().union(*speaks))
        sections.append([[name, *(arrow if name in each else "–" for each in speaks)] for name in said])
    head = ["", *(each.profile.name for each in found)]
    # A protocol that has no room beside the others goes into another table: a word that is cut can't be read.
    widths = [max(map(len, column)) for column in zip(head, *chain(*sections), strict=True)]
    console = Console()
    for columns in _tables(widths, console.width):
        table = Table(*(Column(head[column], no_wrap=True) for column in (0, *columns)))
        for section in sections:
            for number, row in enumerate(section, 1):
                table.add_row(*(row[column] for column in (0, *columns)), end_section=number == len(section))
        console.print(table)
    console.print("→ we may say it   ← the far end may")


def _tables(widths: list[int], room: int) -> list[list[int]]:
    """Return which columns stand in which table; the first stands in each. A column has 3 beside its text."""
    tables: list[list[int]] = []
    taken = room
    for column, width in enumerate(widths[1:], 1):
        taken += width + 3
        if taken > room:
            tables.append([])
            taken = 1 + widths[0] + 3 + width + 3
        tables[-1].append(column)
    return tables
