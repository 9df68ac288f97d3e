"""The results of ``fault_table.py`` for people: on the terminal, in a document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

BEGIN, END = "<!-- results: written by make bench-reliability -->", "<!-- end of results -->"
_OVER = ("ConnectionLost", "Closed", "connectionState closed", "connectionState failed", "the track ended")
"""What tells a user that nothing more will come."""

COLUMNS = (
    "fault injected",
    "seconds of what",
    "goal",
    "rtcpeer",
    "what its user sees",
    "stock aiortc",
    "what its user sees",
    "libwebrtc",
)


def cells(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table, the same for the terminal and the document."""
    found = []
    for row in results["rows"]:
        systems, goal = row["systems"], row["goal"]
        ours, stock = systems.get("rtcpeer"), systems.get("aiortc")
        missed = goal is not None and ours is not None and (ours["seconds"] is None or ours["seconds"] > goal)
        found.append(
            (
                row["fault"],
                row["measured"],
                "–" if goal is None else f"≤ {goal:g}",
                _seconds(ours) + (", goal missed" if missed else ""),
                _sees(ours),
                _seconds(stock),
                _sees(stock),
                _seconds(systems.get("libwebrtc")),
            )
        )
    return found


def _seconds(cell: dict[str, Any] | None) -> str:
    """Return the median, and from the least to the most."""
    if cell is None or not cell["runs"]:
        return "–"
    if cell["seconds"] is None:
        over = sum(any(name.startswith(_OVER) for name in each["told"]) for each in cell["outcomes"])
        return "never: it is over" if 2 * over > cell["runs"] else f"> {cell['bound']:g}"
    least, most = _number(cell["least"]), "∞" if cell["most"] is None else _number(cell["most"])
    return _number(cell["seconds"]) + (f" ({least}–{most})" if least != most else "")


def _number(seconds: float) -> str:
    return f"{seconds:.2f}" if abs(seconds) < 10 else f"{seconds:.1f}"


def _sees(cell: dict[str, Any] | None) -> str:
    return "–" if cell is None else cell["sees"] or "nothing"


def console_table(results: dict[str, Any]) -> Table:
    table = Table(title="Fault injected, what the user sees, seconds")
    for name in COLUMNS:
        table.add_column(name)
    for row in cells(results):
        table.add_row(*row)
    return table


def write_markdown(results: dict[str, Any], document: Path) -> None:
    """Put the table between the two marks of the document."""
    machine = results["machine"]
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|---|---|---:|---:|---|---:|---|---:|",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells(results)),
        "",
        *results["left_out"],
        f"{results['date']}, {machine['processor']}, {machine['cpus']} cores, Python {machine['python']}, aiortc "
        f"{machine['aiortc']}, @roamhq/wrtc {machine['@roamhq/wrtc']}; load of the machine before: "
        f"{machine['load_before']}. `{results['command']}`, {results['seconds']} s.",
    ]
    text = document.read_text()
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    document.write_text(f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{tail}")
