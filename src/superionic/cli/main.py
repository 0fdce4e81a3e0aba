"""The command line as a whole: its verbs, and how errors, signals and lost output end it."""

from __future__ import annotations

import errno
import functools
import gc
import importlib
import json
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from superionic.cli.screen import screens

if TYPE_CHECKING:
    from superionic.cli.screen import Screen
    from superionic.errors import SuperionicError
    from superionic.execution.interrupts import Interrupts

GC_THRESHOLDS = (100_000, 50, 100)
"""A campaign of a hundred thousand tasks is millions of objects, none of them garbage; Python would look for it, again
and again, for half of the time that ``status`` takes."""

_EXIT_FAULT = 1
_EXIT_USER_ERROR = 2
_EXIT_BY_SIGNAL = 128
_EXIT_CLOSED_PIPE = 141  # as a shell sees a program that SIGPIPE ended
# Verbs that keep their work in a run folder: called again, they resume where they stopped.
_RESUMABLE = ("run", "train")
# Verbs that show what is there until they are stopped.
_WATCHING = ("status", "serve")
# Verbs whose result is what they print; the results of the others are files, and what they print is a courtesy.
_PRINTING = (
    "analyse",
    "check",
    "compare",
    "doctor",
    "enumerate",
    "explain",
    "cost",
    "schema",
    "status",
    "engines list",
    "engines check",
    "labels check",
    "models compare",
    "store size",
    "store verify",
)


_MODULES = {
    **dict.fromkeys(("init", "check", "run", "status", "report", "serve", "cost", "explain", "schema"), "campaign"),
    "try": "trial",
    "compare": "compare",
    "export": "export",
    "enumerate": "enumerate",
    "analyse": "analyse",
    **dict.fromkeys(("submit", "cancel", "doctor"), "cluster"),
    "engines": "engines",
    "labels": "labels",
    "models": "models",
    "train": "train",
    "store": "store",
}
"""The module of this package that has each verb; its ``add_to`` adds the verb to the command line."""


@functools.cache
def build_app(verb: str | None = None) -> typer.Typer:
    """Make the command line: with all verbs, or with those beside one verb, which starts sooner."""
    app = typer.Typer(
        name="superionic",
        help=(
            "From a disordered crystal to ionic conductivity, activation energy and a stability map.\n\n"
            "Begin with [b]superionic init CRYSTAL.cif[/b], look at the plan with [b]superionic check[/b], then "
            "[b]superionic run[/b]. A run that was stopped or killed resumes where it left off when you run it again."
        ),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    for module in dict.fromkeys(_MODULES.values() if verb is None else [_MODULES[verb]]):
        importlib.import_module(f"superionic.cli.{module}").add_to(app)
    return app


def _show_version(requested: bool) -> None:
    if requested:
        from superionic import __version__

        typer.echo(f"superionic {__version__}")
        raise typer.Exit


def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version),
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")] = False,
) -> None:
    """Declare the options of all commands; ``--debug`` is read by :func:`main`."""


def _print_error(error: SuperionicError, *, as_json: bool = False) -> None:
    """Print an error for people on standard error and, if ``as_json``, as one JSON object on standard output."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(error.message))
    if error.where is not None:
        console.print(Text("where: ", style="bold") + Text(error.where))
    if error.fix is not None:
        console.print(Text("fix:   ", style="bold green") + Text(error.fix))
    if as_json and not getattr(sys.stdout, "is_used", False):
        _print_json_error(error.message, error.where, error.fix)


def _print_json_error(message: str, where: str | None, fix: str | None) -> None:
    typer.echo(json.dumps({"error": {"message": message, "where": where, "fix": fix}}))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 a bug in superionic, 2 an error that the user can correct, 128 + n ended by signal n (130 by
    Ctrl-C), 141 the reader of standard output has gone.
    """
    from superionic.execution.interrupts import remembered_interrupts

    gc.set_threshold(*GC_THRESHOLDS)
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # `--debug` may also stand at the end of the line, where people add it.
    arguments = [argument for argument in arguments if argument != "--debug"]
    with screens() as (out, _), remembered_interrupts() as interrupts:
        code = _call(arguments, interrupts, debug=debug)
        if code == _EXIT_USER_ERROR and "--json" in arguments and not out.is_used:
            # click refused the command line; every other error has printed its own object.
            _print_json_error("The command line cannot be understood.", None, "See standard error for the reason.")
        if code != 0 and interrupts.signal is not None:
            code = _report_stop(arguments, interrupts)
        out.flush()
        if out.error is not None:
            code = _report_lost_output(arguments, out, code)
    sys.exit(code)


def _call(arguments: list[str], interrupts: Interrupts, *, debug: bool) -> int:
    """Run the verb that the arguments name and return the exit code."""
    from superionic.errors import SuperionicError, storage_error

    verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        if verb == "enumerate" and "--help" not in arguments:
            from superionic.structures.io.reading import start_reader

            start_reader()  # its imports take as long as those of this process, and run beside them
        build_app(verb if verb in _MODULES else None)(args=arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return _EXIT_FAULT
    except (SuperionicError, OSError, MemoryError) as error:
        if debug:
            raise
        if isinstance(error, MemoryError):
            error = OSError(errno.ENOMEM, "out of memory")
        if isinstance(error, OSError):
            _print_error(storage_error(error, doing="continue"), as_json="--json" in arguments)
            typer.echo("(--debug shows where this happened; all finished work is kept)", err=True)
        else:
            _print_error(error, as_json="--json" in arguments)
        return _EXIT_USER_ERROR
    except Exception as error:
        if debug:
            raise
        if interrupts.signal is not None:  # a library interrupted in a callback may raise anything
            return _EXIT_FAULT
        typer.echo(f"a bug in superionic: {type(error).__name__}: {error}", err=True)
        typer.echo("run the same command with --debug and report the traceback; all finished work is kept", err=True)
        return _EXIT_FAULT
    return 0


def _report_stop(arguments: list[str], interrupts: Interrupts) -> int:
    """Report what stopped the command and how to continue, and return the exit code."""
    number = interrupts.signal
    if number is None:
        raise AssertionError("there was no signal")
    cause = "Ctrl-C" if number.name == "SIGINT" else number.name
    # Failures that this run has tried again need no third attempt.
    again = shlex.join(["superionic", *(argument for argument in arguments if argument != "--retry-failed")])
    if _names_verb(arguments, _RESUMABLE):
        typer.echo(f"stopped by {cause}; all finished work is kept; continue with: {again}", err=True)
    elif not _names_verb(arguments, _WATCHING):
        typer.echo(f"stopped by {cause}; start again with: {again}", err=True)
    return _EXIT_BY_SIGNAL + int(number)


def _report_lost_output(arguments: list[str], out: Screen, code: int) -> int:
    """Report that standard output could not be written, and return the exit code."""
    from superionic.errors import storage_error

    if out.error is None:
        raise AssertionError("nothing was lost")
    closed = out.error.errno == errno.EPIPE
    if not _names_verb(arguments, _PRINTING):
        if not closed:
            typer.echo(f"part of the output may be lost ({out.error.strerror}); the results are safe", err=True)
        return code
    if closed:
        return code or _EXIT_CLOSED_PIPE
    _print_error(storage_error(out.error, where="standard output", doing="print the result"))
    return code or _EXIT_USER_ERROR


def _names_verb(arguments: list[str], verbs: tuple[str, ...]) -> bool:
    names = [argument for argument in arguments if not argument.startswith("-")]
    return " ".join(names[:1]) in verbs or " ".join(names[:2]) in verbs
