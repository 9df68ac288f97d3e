"""``rtcpeer protocols``: what each protocol can do, both sides, read from the codecs themselves."""

from __future__ import annotations


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
    # What a row is must be readable in 80 columns; what stands in the cells may wrap.
    first = Column("", no_wrap=True)
    table = Table(first, *(each.profile.name for each in found), caption="→ we may say it   ← the far end may")
    table.add_row("transport", *({"rtc": "WebRTC", "ws": "WebSocket"}[each.profile.transport] for each in found))
    table.add_row("audio →", *(audio(protocol, Side.CLIENT) for protocol in found))
    table.add_row("audio ←", *(audio(protocol, Side.SERVER) for protocol in found))
    table.add_row("video", *("VP8 →" if protocol.profile.video else "–" for protocol in found))
    table.add_row("interruption", *(each.profile.interrupt.replace("-", " ") for each in found), end_section=True)
    for arrow, side in (("→", Side.CLIENT), ("←", Side.SERVER)):
        said = sorted({kind.__name__ for protocol in found for kind in protocol.speaks[side]} - {"AudioChunk"})
        for name in said:
            spoken = [name in {kind.__name__ for kind in protocol.speaks[side]} for protocol in found]
            table.add_row(name, *(arrow if each else "–" for each in spoken), end_section=name == said[-1])
    Console().print(table)
