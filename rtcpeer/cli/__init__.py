"""The command line: one file a command, collected here.

Exit codes: 0 done, 1 the call failed, 2 usage, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ..errors import ConfigurationError, RtcPeerError
from .demo import demo
from .doctor import doctor
from .join import join
from .mock import mock
from .protocols import protocols
from .proxy import proxy

app = typer.Typer(
    help="A headless voice peer for realtime AI sessions, and a mock that plays the other end for real.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables would show keys and tokens.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, join, mock, proxy, protocols, doctor):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rtcpeer {version('rtcpeer')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors of ours become one line on stderr and an exit code."""
    try:
        app()
    except RtcPeerError as exc:
        typer.echo(f"rtcpeer: {exc.phase}: {exc}", err=True)
        sys.exit(2 if isinstance(exc, ConfigurationError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
