"""``rtcpeer doctor``: what works from here, as a table with advice, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError, MediaError
from ..escaping import escaped
from .output import let_go
from .signals import run_until_signal

if TYPE_CHECKING:
    from rich.console import Console

    from ..doctor import Diagnosis, Finding, Plan
    from ..protocols.http import IceServer

_MARKS = {"ok": ("ok", "green"), "warn": ("WARN", "yellow"), "fail": ("FAIL", "bold red"), "skipped": ("-", "dim")}


def doctor(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="A service's base URL; without one, this machine alone.")] = None,
    protocol: Annotated[str, typer.Option(help="What the service speaks; one of `rtcpeer protocols`.")] = "orga",
    api_key: Annotated[
        str | None,
        typer.Option(envvar="RTCPEER_API_KEY", show_default=False, help="To have it, and the ICE servers, checked."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="RTCPEER_TOKEN", show_default=False, help="An ephemeral token, instead.")
    ] = None,
    ice_server: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A STUN or TURN server to check; repeat it.")
    ] = None,
    username: Annotated[str | None, typer.Option(help="For every TURN server of --ice-server.")] = None,
    credential: Annotated[
        str | None, typer.Option(envvar="RTCPEER_TURN_CREDENTIAL", show_default=False, help="Its password.")
    ] = None,
    turn_secret: Annotated[
        str | None,
        typer.Option(
            envvar="RTCPEER_TURN_SECRET",
            show_default=False,
            help="Instead of both: the server's static-auth-secret, to make them of.",
        ),
    ] = None,
    turn_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of a CA that TURN over TLS is to trust.")
    ] = None,
    interface: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network interface, or local address, to use alone.")
    ] = None,
    udp_ports: Annotated[str | None, typer.Option(metavar="A-B", help="The UDP ports that calls may use.")] = None,
    calls: Annotated[int, typer.Option(min=1, metavar="N", help="So many at once are planned on this machine.")] = 1,
    call: Annotated[
        bool,
        typer.Option("--call", help="Make a short call as well, and say what it negotiates. The service counts it."),
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="For any one answer.")] = 5.0,
    json_: Annotated[bool, typer.Option("--json", help="The findings as JSON on stdout.")] = False,
) -> None:
    """Check what works from here: this machine, its network, a service, STUN and TURN servers.

    Exit code 0: everything that was checked works; 1: something that a call needs does not.
    """
    from ..doctor import Plan
    from ..protocols import find_protocol
    from ..protocols.rtc import RtcProtocol
    from ..transports.ice_options import read_port_range

    if url is None or not issubclass(find_protocol(protocol), RtcProtocol):
        # What stands in the environment is for whatever is called next.
        api_key, token = _typed(context, "api_key", api_key), _typed(context, "token", token)
    elif token is not None and api_key is not None:
        # As `join` has it: what was typed goes before the environment, then a token before a key.
        if _typed(context, "token", token) is None and _typed(context, "api_key", api_key) is not None:
            token = None
        elif _typed(context, "api_key", api_key) is None:
            api_key = None
    plan = Plan(
        url=url,
        protocol=protocol,
        api_key=api_key,
        token=token,
        ice_servers=_servers(context, ice_server or [], username, credential, turn_secret),
        turn_ca=turn_ca,
        interface=interface,
        udp_ports=None if udp_ports is None else read_port_range(udp_ports),
        call=call,
        calls=calls,
        timeout=timeout,
    )
    raise typer.Exit(run_until_signal(_doctor(plan, as_json=json_)))


async def _doctor(plan: Plan, *, as_json: bool) -> int:
    from rich.console import Console

    from ..doctor import diagnose

    if sys.stdout is None:
        raise ConfigurationError("standard output is closed: there is nowhere to write the findings to")
    with Console(stderr=True).status("checking; this takes some seconds"):
        diagnosis = await diagnose(plan)
    try:
        if as_json:
            sys.stdout.write(json.dumps(diagnosis.to_dict(), indent=2) + "\n")
        else:
            _print(diagnosis, Console(highlight=False))
        sys.stdout.flush()
    except BrokenPipeError:
        let_go(sys.stdout)  # as after `| head`: who reads has seen enough
    except OSError as exc:
        let_go(sys.stdout)
        raise MediaError(f"can't write the findings to standard output: {exc.strerror}") from exc
    return 0 if diagnosis.ok else 1


def _print(diagnosis: Diagnosis, console: Console) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        Column("check", no_wrap=True),
        Column("", no_wrap=True),
        Column("what was found", overflow="fold"),
        box=None,
        pad_edge=False,
    )
    for finding in diagnosis:
        word, style = _MARKS[finding.status]
        shown = (
            f"{finding.target}: {finding.detail}"
            if finding.name in ("stun", "turn") and finding.target
            else finding.detail
        )
        table.add_row(finding.name, Text(word, style), Text(escaped(shown)))
    console.print(table)
    problems = [finding for finding in diagnosis if finding.status in ("fail", "warn")]
    if problems:
        console.print()
    for finding in sorted(problems, key=lambda each: each.status == "warn"):
        console.print(Text.assemble(*_advice(finding)), soft_wrap=True)
    console.print()
    console.print(_verdict(problems))


def _advice(finding: Finding) -> list[tuple[str, str]]:
    word, style = _MARKS[finding.status]
    name = finding.target if _is_server(finding) else finding.name
    # Of this machine the table says enough; of what is far away, or broken, one wants all in one line.
    known = finding.status == "warn" and not finding.target
    said = finding.advice if known else f"{finding.detail}; {finding.advice}"
    return [(word, style), (escaped(f" {name}: {said}"), "")]


def _is_server(finding: Finding) -> bool:
    return finding.name in ("stun", "turn") and finding.target != ""


def _verdict(problems: Sequence[Finding]) -> str:
    failed = sum(finding.status == "fail" for finding in problems)
    warned = len(problems) - failed
    if not problems:
        return "All that was checked works."
    words = [f"{count} {word}" for count, word in ((failed, "failed"), (warned, "to look at")) if count]
    return f"{', '.join(words)}."


def _typed(context: typer.Context, name: str, value: str | None) -> str | None:
    source = context.get_parameter_source(name)
    return value if source is not None and source.name == "COMMANDLINE" else None


def _servers(
    context: typer.Context, urls: list[str], username: str | None, credential: str | None, secret: str | None
) -> tuple[IceServer, ...]:
    import time

    from ..auth import turn_credentials
    from ..protocols.http import IceServer
    from ..transports.ice_servers import ServerOutcome, read_ice_url

    if not urls:
        for name, value in (("username", username), ("credential", credential), ("turn_secret", secret)):
            if _typed(context, name, value) is not None:
                raise ConfigurationError(f"--{name.replace('_', '-')} is for --ice-server: give one")
        return ()
    for url in urls:
        read = read_ice_url(url)
        if isinstance(read, ServerOutcome):
            raise ConfigurationError(f"--ice-server {read}")
    if _typed(context, "turn_secret", secret) is not None and username is not None:
        raise ConfigurationError("--turn-secret makes --username and --credential: give it or those")
    if username is None and secret is not None:
        username, credential = turn_credentials(secret, user="rtcpeer-doctor", now=time.time(), ttl=600)
    elif (username is None) != (credential is None):
        raise ConfigurationError("--username and --credential go together: give both")
    return tuple(
        IceServer((url,), username, credential) if url.startswith("turn") else IceServer((url,)) for url in urls
    )
