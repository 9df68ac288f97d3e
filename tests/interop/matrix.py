"""Calls with far ends that nobody here wrote, through a network that lets through what a NAT would.

    near 10.82.1.2 ── 10.82.1.1 router (coturn) 10.82.2.1 ── 10.82.2.2 far

Near is ours, far is theirs; each is a network namespace. A call of a cell of the matrix: sound both ways, told by its
spectrum, a message both ways, and an end that the other side is told of.

    python tests/interop/matrix.py [--only werift,janus] [--columns …] [--docs docs] [--sdp FOLDER]

writes the table of docs/interop.md; ends with 1 if a call did not do what it should. Linux, and root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

if __name__ == "__main__":
    TESTS = Path(__file__).resolve().parents[1]
    sys.path[1:1] = [str(TESTS)]  # what the tests share

import pytest
from far_end import FAR_ENDS, READY_WITHIN, ROUTER, FarEnd, Role, Talker, Trouble
from namespaces import Host, ip
from nat_lab import cable
from parts import HERE
from test_doctor_nat import namespace, run

Side = Literal["near", "far"]
CREDENTIALS = {"username": "ann", "credential": "s3cret"}
OURS, THEIRS = 440.0, 660.0
"""Hz: how the two sound."""


@dataclass(frozen=True)
class Column:
    """A way to be called, or to call."""

    title: str
    role: Role
    """The far end's."""
    firewalled: bool = False
    """Our host drops what it did not ask for."""
    relay: bool = False
    candidates: bool = True

    @property
    def plain(self) -> bool:
        """Nothing is in the way, and nothing left out."""
        return self.candidates and not (self.firewalled or self.relay)


COLUMNS: Mapping[str, Column] = {
    "answers": Column("answers", "answer"),
    "answers-firewalled": Column("answers, firewalled", "answer", firewalled=True),
    "answers-relay": Column("answers, relay only", "answer", relay=True),
    "calls": Column("calls", "offer"),
    "calls-firewalled": Column("calls, firewalled", "offer", firewalled=True),
    "calls-hidden": Column("calls, no candidates", "offer", candidates=False),
}


@dataclass
class Network:
    near: Host
    far: Host

    async def firewall(self, up: bool) -> None:
        """Let our host drop all UDP that does not answer what it sent."""
        rules = ["flush ruleset"]
        if up:
            rules += [
                "add table inet f",
                "add chain inet f i { type filter hook input priority 0; }",
                "add rule inet f i iifname eth0 meta l4proto udp ct state new drop",
            ]
        await run(self.near, "nft", "; ".join(rules))


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """Two hosts, and a router between them with coturn on it; skips where a part is missing."""
    for program, package in (("nft", "nftables"), ("turnserver", "coturn")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {package}")
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(namespace(name)) for name in ("ours", "router", "theirs")]
        for host in hosts:
            stack.push_async_callback(_end_all, host)
        near, router, far = hosts
        await cable(near, "eth0", "10.82.1.2", router, "near", ROUTER)
        await cable(far, "eth0", "10.82.2.2", router, "far", "10.82.2.1")
        for host, gateway in ((near, ROUTER), (far, "10.82.2.1")):
            await ip("-n", host.namespace, "route", "add", "default", "via", gateway)
        # An address that can't be routed makes coturn drop the allocation.
        await ip("-n", router.namespace, "route", "add", "blackhole", "default")
        await run(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        options = (f"--listening-ip={ROUTER}", f"--relay-ip={ROUTER}", "--user=ann:s3cret", "--lt-cred-mech")
        more = ("--realm=test.local", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--pidfile=/dev/null")
        await stack.enter_async_context(router.running("turnserver", "-n", *options, *more))
        yield Network(near, far)


async def _end_all(host: Host) -> None:
    """End what is left on a host: a browser has processes of its own."""
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "pids", host.namespace, stdout=asyncio.subprocess.PIPE
    )
    pids, _ = await process.communicate()
    for pid in pids.split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


async def call(
    network: Network,
    far_end: FarEnd,
    column: Column,
    *,
    ended_by: Side,
    written: Callable[[str, str], object] = lambda kind, sdp: None,
) -> None:
    """Put one call through, from the first word to the last.

    Args:
        written: Given what the far end describes itself with: ``offer`` or ``answer``, and the SDP.

    Raises:
        Trouble: which of it did not work.
    """
    await network.firewall(column.firewalled)
    servers = [{"urls": [f"turn:{ROUTER}:3478?transport=udp"], **CREDENTIALS}] if column.relay else []
    ours: dict[str, Any] = {"as": "peer" if column.role == "answer" else "mock", "ice_servers": servers}
    if column.relay:
        ours["connect"] = {"ice_policy": "relay"}
    theirs = {"role": column.role, "tone": THEIRS, "candidates": column.candidates, "ice_servers": []}
    program, path = (sys.executable, HERE / "near_end.py"), os.pathsep.join(sys.path)
    async with (
        Talker.running(far_end.name, network.far, far_end.command, {**theirs, **far_end.options}) as far,
        Talker.running(f"our {ours['as']}", network.near, program, ours, PYTHONPATH=path) as near,
    ):
        try:
            await far.wait_for("ready", within=READY_WITHIN)
            await _describe(near, far, column.role, written)
            await near.wait_for("open", what="was not connected")
            await far.wait_for("open", what="had no data channel")
            await _talk(near, far, far_end, column.role)
            await _end(near, far, ended_by)
        except Trouble as trouble:
            raise Trouble(trouble.sentence, near.last_words(), far.last_words()) from None


async def _describe(near: Talker, far: Talker, role: Role, written: Callable[[str, str], object]) -> None:
    """Carry offer and answer from one to the other."""
    if role == "answer":
        await far.obey("answer", sdp=(await near.wait_for("offer"))["sdp"])
        answer = (await far.wait_for("answer"))["sdp"]
        written("answer", answer)
        await near.obey("answer", sdp=answer)
    else:
        await near.wait_for("ready")
        await far.obey("offer")
        offer = (await far.wait_for("offer"))["sdp"]
        written("offer", offer)
        await near.obey("offer", sdp=offer)
        await far.obey("accept", sdp=(await near.wait_for("answer"))["sdp"])


async def _talk(near: Talker, far: Talker, far_end: FarEnd, role: Role) -> None:
    await near.hears(OURS if far_end.echoes else THEIRS)
    if not far_end.echoes:
        await far.hears(OURS)
    if role == "answer":
        await near.obey("send", text="from near to far")
        await far.wait_for("message", lambda said: "near to far" in said["text"], what="was not sent our message")
    else:  # what the mock says of itself, it says to each that calls
        await far.wait_for("message", lambda said: "session.created" in said["text"], what="was not greeted")
    await far.obey("send", text='{"type": "note", "text": "from far to near"}')
    await near.wait_for("message", lambda said: "from far to near" in said["text"], what="was not sent their message")


async def _end(near: Talker, far: Talker, ended_by: Side) -> None:
    if ended_by == "near":
        await near.obey("close")
        await far.wait_for("closed", what="did not notice that we ended the call")
    else:
        await far.obey("close")
        closed = await near.wait_for("closed", what="did not notice that the far end ended the call")
        if closed["reason"] != "remote":
            raise Trouble(f"{near.name} took the far end's goodbye for {closed['reason']!r}: {closed['detail']}")


@dataclass
class Row:
    """What came of the calls with one far end."""

    far_end: FarEnd
    missing: str | None = None
    version: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    """By the column's name: ``ok``, or what did not work."""


async def cell(network: Network, far_end: FarEnd, column: Column, folder: Path | None) -> str:
    """Put two calls through, one ended by each side: ``ok``, or the first thing that did not work."""

    def save(kind: str, sdp: str) -> None:
        if folder is not None and column.plain:
            (folder / f"{far_end.name}-{far_end.version()}-{kind}.sdp").write_bytes(sdp.encode())

    try:
        for ended_by in ("near", "far"):
            await call(network, far_end, column, ended_by=ended_by, written=save)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return trouble.sentence
    return "ok"


async def measure(far_ends: Sequence[FarEnd], columns: Mapping[str, Column], folder: Path | None) -> list[Row]:
    rows = []
    async with network() as hosts:
        for far_end in far_ends:
            rows.append(row := Row(far_end, far_end.missing()))
            if row.missing is not None:
                print(f"{far_end.name}: left out: {row.missing}")
                continue
            row.version = far_end.version()
            for name, column in columns.items():
                if column.role in far_end.roles:
                    row.cells[name] = await cell(hosts, far_end, column, folder)
                    print(f"{far_end.name} {column.title}: {row.cells[name]}", flush=True)
    return rows


def table(rows: Sequence[Row], columns: Mapping[str, Column]) -> str:
    """Return what came of it as Markdown: the calls, what of them did not work, and the far ends."""
    lines = [
        f"| far end | {' | '.join(column.title for column in columns.values())} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    failed = []
    for row in rows:
        found = [row.cells.get(name, "–") for name in columns]
        lines.append(f"| {row.far_end.name} | {' | '.join(_short(each) for each in found)} |")
        failed += [
            f"- {row.far_end.name} {column.title}: {escape(each)}"
            for column, each in zip(columns.values(), found, strict=True)
            if _short(each) != each
        ]
    lines += ["", *failed, ""] if failed else [""]
    lines += ["| far end | version | |", "|---|---|---|"]
    for row in rows:
        note = row.far_end.note if row.missing is None else f"not run: {row.missing}"
        lines.append(f"| {row.far_end.name} | {row.version or '–'} | {note} |")
    return "\n".join(lines)


def _short(found: str) -> str:
    return found if found in ("ok", "–") else "**fails**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(FAR_ENDS), help="far ends, of: %(default)s")
    parser.add_argument("--columns", default=",".join(COLUMNS), help="of: %(default)s")
    parser.add_argument("--docs", type=Path, help="folder of the documents to write the table into")
    parser.add_argument("--sdp", type=Path, help="folder for the offers and answers that the far ends write")
    options = parser.parse_args()
    try:
        far_ends = [FAR_ENDS[name] for name in options.only.split(",")]
        columns = {name: COLUMNS[name] for name in options.columns.split(",")}
    except KeyError as exc:
        parser.error(f"there is no {exc}")
    if options.docs is not None and (len(far_ends), len(columns)) != (len(FAR_ENDS), len(COLUMNS)):
        parser.error("--docs writes the whole table: leave out --only and --columns")
    try:
        rows = asyncio.run(measure(far_ends, columns, options.sdp))
    except pytest.skip.Exception as exc:
        parser.exit(1, f"{exc}\n")
    print(table(rows, columns))
    if options.docs is not None:
        write_docs(options.docs / "interop.md", table(rows, columns))
    if any(found != "ok" for row in rows for found in row.cells.values()):
        sys.exit(1)


def write_docs(path: Path, text: str) -> None:
    """Put the table between the two marks of the document; what stands around it is written by hand."""
    before, begin, rest = path.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of the table -->\n")
    assert begin, f"{path} has no place for the table"
    assert end, f"{path} has no place for the table"
    path.write_text(f"{before}{begin}{text}\n{end}{after}")


if __name__ == "__main__":
    main()
