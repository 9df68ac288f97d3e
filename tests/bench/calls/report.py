"""The results of ``call_capacity.py`` for people: on the terminal, in a document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

GOALS = {"rtcpeer": 70, "rtcpeer economy": 130, "rtcpeer pass-through": 280}
BEGIN, END = "<!-- results: written by make bench-calls -->", "<!-- end of results -->"

COLUMNS = (
    "system",
    "calls held",
    "fails at",
    "× aiortc",
    "goal",
    "CPU a call",
    "less than aiortc",
    "RSS a call",
    "switches a frame",
    "p99 late",
    "set-up",
)


def cells(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table, the same for the terminal and the document."""
    rows = results["rows"]
    stock = next((row for row in rows if row["system"] == "aiortc"), None)

    def ratio(over: float | None, under: float | None) -> str:
        return f"{over / under:.1f}×" if over and under else "–"

    def text(value: float | None, scale: float, unit: str, digits: int) -> str:
        return "–" if value is None else f"{value * scale:.{digits}f}{unit}"

    return [
        (
            row["system"],
            str(row["holds"]),
            "not reached" if row["fails_at"] is None else str(row["fails_at"]),
            ratio(row["holds"], stock and stock["holds"]),
            f"≥ {GOALS[row['system']]}" if row["system"] in GOALS else "–",
            text(row["cpu_per_call"], 100, " %", 2),
            ratio(stock and stock["cpu_per_call"], row["cpu_per_call"]),
            text(row["rss_per_call"], 1e-6, " MB", 2),
            text(row["switches_per_frame"], 1, "", 2),
            text(row["lateness_p99"], 1000, " ms", 1),
            text(row["setup"], 1000, " ms", 0),
        )
        for row in rows
    ]


def console_table(results: dict[str, Any]) -> Table:
    table = Table(title="Calls on one core")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "system" else "right")
    for row in cells(results):
        table.add_row(*row)
    return table


def write_markdown(results: dict[str, Any], document: Path) -> None:
    """Put the table between the two marks of the document."""
    machine = results["machine"]
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|---|" + "---:|" * (len(COLUMNS) - 1),
        *("| " + " | ".join(row) + " |" for row in cells(results)),
        "",
        f"{results['date']}, {machine['processor']}, {machine['cpus']} cores, Python {machine['python']}, aiortc "
        f"{machine['aiortc']}, PyAV {machine['av']}; load of the machine before: {machine['load_before']}. "
        f"`{results['command']}`, {results['seconds']} s.",
    ]
    text = document.read_text()
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    document.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}")
