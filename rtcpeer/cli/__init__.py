"""The command line: one file a command, collected here.

Exit codes: 0 done, 1 the call failed, 2 usage, 129 hung up, 130 interrupted, 143 terminated.
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
from .output import complain, is_output_failure, let_go, make_printable
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
    make_printable()
    try:
        app()
    except RtcPeerError as exc:
        complain(f"rtcpeer: {exc.phase}: {exc}")
        sys.exit(2 if isinstance(exc, ConfigurationError) else 1)
    except OSError as exc:
        if not is_output_failure(exc):
            raise
        complain(f"rtcpeer: output: can't write what there is to say: {exc.strerror}")
        sys.exit(1)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except OSError:
                let_go(stream)
