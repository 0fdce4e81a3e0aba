"""The command line: parse, call, print, nothing else."""

from __future__ import annotations

import errno
import gc
import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superionic.cli_analyse import analyse_command
from superionic.cli_cluster import SiteOption, cancel_command, doctor_command, read_site, show_site, submit_command
from superionic.cli_enumerate import enumerate_command
from superionic.cli_export import export_command
from superionic.cli_labels import labels_app
from superionic.cli_output import screens
from superionic.cli_store import store_app
from superionic.cli_train import train_app

if TYPE_CHECKING:
    from superionic.campaign.run import Campaign
    from superionic.cli_output import Screen
    from superionic.errors import SuperionicError
    from superionic.execution.interrupts import Interrupts

app = typer.Typer(
    name="superionic",
    help=(
        "From a disordered crystal to ionic conductivity, activation energy and a stability map.\n\n"
        "Begin with [b]superionic init CRYSTAL.cif[/b], look at the plan with [b]superionic check[/b], then "
        "[b]superionic run[/b]. A run that was stopped or killed goes on where it was when you run it again."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
engines_app = typer.Typer(
    help="Engines: potentials and DFT codes, each in an environment of its own.", no_args_is_help=True
)
app.add_typer(engines_app, name="engines")
app.add_typer(labels_app, name="labels")
app.add_typer(train_app, name="train")
app.add_typer(store_app, name="store")

GC_THRESHOLDS = (100_000, 50, 100)
"""A campaign of a hundred thousand tasks is millions of objects, none of them garbage; Python would look for it, again
and again, for half of the time that ``status`` takes."""

_EXIT_FAULT = 1
_EXIT_USER_ERROR = 2
_EXIT_BY_SIGNAL = 128
_EXIT_CLOSED_PIPE = 141  # as a shell sees a program that SIGPIPE ended
# Verbs that keep what they do in a run folder: called again, they go on where they were.
_GO_ON = ("run", "train")
# Verbs whose result is what they print; what the others print is a courtesy, and their result is in files.
_PRINT = (
    "analyse",
    "check",
    "doctor",
    "enumerate",
    "explain",
    "schema",
    "status",
    "engines list",
    "engines check",
    "labels check",
    "store size",
    "store verify",
)

app.command("enumerate")(enumerate_command)
app.command("analyse")(analyse_command)
app.command("export")(export_command)
app.command("submit")(submit_command)
app.command("cancel")(cancel_command)
app.command("doctor")(doctor_command)

CampaignArgument = Annotated[Path, typer.Argument(help="Campaign file (YAML), or the folder that holds campaign.yaml.")]
RunFolderOption = Annotated[
    Path | None,
    typer.Option("--run-folder", help="Where results go.  [default: runs/NAME beside the campaign file]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from superionic import __version__

        typer.echo(f"superionic {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_show_version),
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Take the options of all commands; ``--debug`` is looked up by :func:`main`."""


@app.command()
def init(
    crystal: Annotated[
        Path, typer.Argument(help="Crystal with partial occupancies: CIF, POSCAR, extxyz, pymatgen JSON.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Campaign file to write.")] = Path("campaign.yaml"),
    block: Annotated[
        str | None,
        typer.Option(help="Data block of a CIF that holds several crystals.  [default: the first with atoms]"),
    ] = None,
    mobile_ion: Annotated[str | None, typer.Option(help="Mobile ion, e.g. Li.  [default: guessed]")] = None,
    charges: Annotated[
        str | None,
        typer.Option(help="Oxidation states, e.g. 'Li=1,Y=3,Cl=-1'.  [default: from the file, or guessed; shown]"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the campaign.  [default: from the file name]")] = None,
    max_deviation: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Largest difference of an occupancy from the refined one.")
    ] = 0.1,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing campaign file.")] = False,
) -> None:
    """Write a commented campaign file for a crystal, every setting at its published default."""
    from superionic.campaign.initialise import draft_campaign
    from superionic.errors import CampaignFileError

    if output.exists() and not force:
        raise CampaignFileError(
            "the file exists already", where=str(output), fix="choose another --output, or add --force"
        )
    text = draft_campaign(
        crystal,
        mobile_ion=mobile_ion,
        oxidation_states=parse_charges(charges),
        name=name,
        folder=output.resolve().parent,
        block=block,
        max_deviation=max_deviation,
    )
    _write(output, text)
    typer.echo(f"wrote {output}; read it, then: superionic check {output}")


@app.command()
def check(
    campaign: CampaignArgument, run_folder: RunFolderOption = None, site: SiteOption = None, as_json: JsonOption = False
) -> None:
    """Validate a campaign and print its plan: stages, counts, estimated hours, files. Nothing is computed."""
    opened, place = _open(campaign, run_folder), read_site(site)
    plan = opened.check()
    if as_json:
        typer.echo(json.dumps(plan.to_dict(), indent=1))
        return
    from superionic import cli_screen

    cli_screen.show_plan(opened, plan)
    if place is not None:
        show_site(*opened.fit_site(place), plan)


@app.command()
def run(
    campaign: CampaignArgument,
    until: Annotated[str | None, typer.Option(help="Last stage to run, e.g. hull.  [default: all]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.  [default: one per core]")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed calculations again.")] = False,
    run_folder: RunFolderOption = None,
    site: SiteOption = None,
    install_engines: Annotated[
        bool, typer.Option("--install-engines", help="First install the engines that the campaign needs and lacks.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Do everything that is not done yet, then write the report.

    Finished work is never done twice, whatever stopped the run; after a change of settings only what depends on the
    change is done again.
    """
    from superionic import cli_screen
    from superionic.execution.interrupts import deafness

    opened, place = _open(campaign, run_folder), read_site(site)
    if (warning := deafness()) is not None:
        typer.echo(warning, err=True)
    with cli_screen.progress(quiet=quiet) as reporter:
        results = opened.run(
            until=until,
            reporter=reporter,
            workers=workers,
            site=place,
            retry_failed=retry_failed,
            install_engines=install_engines,
            say=lambda line: typer.echo(line, err=True),
        )
    cli_screen.show_results(opened, results)


@app.command()
def status(
    campaign: CampaignArgument,
    run_folder: RunFolderOption = None,
    all_tasks: Annotated[bool, typer.Option("--all", help="List every pending task.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until all is done.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks of --watch.")] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """Show what is done, what a run would do and why, what failed; how fast it goes, what it cost, how much is left."""
    from superionic import cli_screen

    opened = _open(campaign, run_folder)
    while True:
        found = opened.status()
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=None if watch else 1))
        else:
            cli_screen.show_status(opened, found, all_tasks=all_tasks, clear=watch)
        if not watch or found.is_done or found.trouble is not None or getattr(sys.stdout, "error", None) is not None:
            return
        time.sleep(every_s)


@app.command()
def report(
    campaign: CampaignArgument,
    run_folder: RunFolderOption = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where it goes.  [default: report in the run folder]")
    ] = None,
) -> None:
    """Write the report (HTML, JSON, CSV, figures, structures) from what is done so far."""
    typer.echo(str(_open(campaign, run_folder).report(folder)))


@app.command()
def explain(
    campaign: CampaignArgument,
    what: Annotated[str, typer.Argument(help="A key (its beginning is enough) or words of a task's label.")],
    run_folder: RunFolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell where a number comes from: settings, inputs, versions, cost and files of a task."""
    from superionic import cli_screen

    found = _open(campaign, run_folder).explain(what)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        cli_screen.show_explanation(found)


@app.command()
def schema(
    results: Annotated[bool, typer.Option("--results", help="The schema of results.json instead.")] = False,
) -> None:
    """Print the JSON schema of the campaign file, for editors, or that of results.json."""
    from superionic.campaign import schema as campaign_file
    from superionic.results import document

    typer.echo(json.dumps(document.json_schema() if results else campaign_file.json_schema(), indent=1))


@engines_app.command("list")
def engines_list(as_json: JsonOption = False) -> None:
    """List the engines: version, licence, and whether each is installed."""
    from superionic import cli_screen
    from superionic.execution.engines import list_engines

    found = list_engines()
    if as_json:
        typer.echo(json.dumps([{**vars(s), "python": s.python and str(s.python)} for s in found], indent=1))
    else:
        cli_screen.show_engines(found)


@engines_app.command("install")
def engines_install(
    names: Annotated[list[str], typer.Argument(help="Engines, e.g. chgnet gpaw.")],
    allow_cuda: Annotated[
        bool, typer.Option("--allow-cuda", help="Take a CUDA build of PyTorch without a GPU.")
    ] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the environment anew.")] = False,
    where_possible: Annotated[
        bool, typer.Option("--where-possible", help="Leave out those that this Python is too new for.")
    ] = False,
) -> None:
    """Make the environment of each engine from exact versions, and let it prove itself; two at a time."""
    from superionic.campaign.prepare import install_engines
    from superionic.execution.engine_specs import engine_spec

    chosen = list(dict.fromkeys(names))
    if where_possible:
        chosen = [name for name in chosen if engine_spec(name).fits_python(sys.version_info[:2])]
    install_engines(chosen, typer.echo, allow_cuda=allow_cuda, rebuild=rebuild)


@engines_app.command("check")
def engines_check(
    names: Annotated[list[str], typer.Argument(help="Engines, e.g. chgnet gpaw.")],
    file: Annotated[
        Path | None, typer.Option(help="Check this checkpoint (or folder) in the one engine named.")
    ] = None,
    energy_convention: Annotated[
        str | None, typer.Option(help="What its energies are, e.g. 'MP raw PBE(+U)'; see the how-to on potentials.")
    ] = None,
    modal: Annotated[str | None, typer.Option(help="Level of theory, or head, of a file that has several.")] = None,
    trust_sha256: Annotated[
        str | None, typer.Option("--trust", help="SHA-256 of a file to load although that runs code in it.")
    ] = None,
) -> None:
    """Let engines reproduce values on record; an engine, or a file in it, that is silently wrong is refused."""
    from superionic.execution.engines import check_engine

    if file is not None:
        _check_file(names, file, energy_convention=energy_convention, modal=modal, trust_sha256=trust_sha256)
        return
    reports = [check_engine(name) for name in names]
    for found in reports:
        typer.echo(f"{found.name}: {'right' if found.passed else 'WRONG'}: {found.message}")
    if not all(found.passed for found in reports):
        raise typer.Exit(_EXIT_USER_ERROR)


@engines_app.command("convert")
def engines_convert(
    engine: Annotated[str, typer.Argument(help="mace")],
    file: Annotated[Path, typer.Argument(help="A .model of MACE. Loading it runs the code that is stored in it.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="[default: beside it, with .npz]")] = None,
    trust_sha256: Annotated[
        str | None, typer.Option("--trust", help="SHA-256 of the file: a word that you know where it is from.")
    ] = None,
) -> None:
    """Make a safe file (settings and arrays) of a checkpoint that is a pickle."""
    from superionic.errors import EngineError
    from superionic.execution.engines import resolve_engine
    from superionic.execution.worker import call_once

    if engine != "mace":
        raise EngineError(f"Files of {engine} need no conversion.", fix="Name mace, whose .model files are pickles.")
    target = output or file.with_suffix(".npz")
    made = call_once(
        resolve_engine(engine).python,
        "superionic.models.mace.bridge:convert",
        {"file": str(file.absolute()), "output": str(target.absolute()), "trust_sha256": trust_sha256},
    )
    typer.echo(f"wrote {target} (SHA-256 {made['sha256']})")


# ---- helpers --------------------------------------------------------------------------------------------------------


def _open(path: Path, run_folder: Path | None) -> Campaign:
    from superionic.campaign.run import Campaign

    if path.is_dir() and (path / "campaign.yaml").is_file():
        path /= "campaign.yaml"
    return Campaign.load(path, run_folder=run_folder)


def parse_charges(text: str | None) -> dict[str, float] | None:
    """Read oxidation states such as ``Li=1,Y=3,Cl=-1``."""
    from superionic.errors import CampaignFileError

    if text is None:
        return None
    charges: dict[str, float] = {}
    for part in text.replace(";", ",").split(","):
        element, _, charge = part.partition("=")
        try:
            charges[element.strip()] = float(charge)
        except ValueError:
            raise CampaignFileError(
                f"{part.strip()!r} is not an element with its charge",
                where="--charges",
                fix="write e.g. 'Li=1,Y=3,Cl=-1'",
            ) from None
    return charges


def _check_file(names: list[str], file: Path, **options: str | None) -> None:
    """Prove a user's checkpoint and say on what ground."""
    from superionic.campaign.prepare import check_file
    from superionic.errors import EngineError

    if len(names) != 1:
        raise EngineError("A file is checked in one engine.", fix="Name one engine.")
    given = {name: value for name, value in options.items() if value is not None}
    found = check_file(names[0], None, {"file": str(file.absolute()), **given})
    identity = found["identity"]
    ground = "it reproduces the values on record" if found["basis"] == "values on record" else "it is plausible"
    typer.echo(
        f"{names[0]}: {ground}: {identity['model']}, {found['energy_eV_per_atom']:.4f} eV/atom for the stored cell, "
        f"{identity['energy_convention']}, {len(identity['elements'])} elements, "
        f"SHA-256 {identity['checkpoint_sha256']}"
    )


def _write(path: Path, text: str) -> None:
    from superionic.errors import storage_error

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise storage_error(error, where=path, doing="write the file") from error


def _print_error(error: SuperionicError, *, as_json: bool = False) -> None:
    """Print an error for people on standard error, and as one JSON object on standard output where that was asked."""
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
    """Run the command line and end the process.

    Exit codes: 0 done, 1 a fault of superionic, 2 something that the user can mend, 128 + n ended by signal n (130 by
    Ctrl-C), 141 nobody reads what is printed any more.
    """
    from superionic.execution.interrupts import remembered_interrupts

    gc.set_threshold(*GC_THRESHOLDS)
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # `--debug` is welcome at the end of the line too, where people add it.
    arguments = [argument for argument in arguments if argument != "--debug"]
    with screens() as (out, _), remembered_interrupts() as interrupts:
        code = _call(arguments, debug=debug)
        if code == _EXIT_USER_ERROR and "--json" in arguments and not out.is_used:
            # A command line that click refuses; all other refusals have printed their object.
            _print_json_error("The command line cannot be understood.", None, "standard error says why")
        if code != 0 and interrupts.signal is not None:
            code = _say_stopped(arguments, interrupts)
        out.flush()
        if out.error is not None:
            code = _say_lost(arguments, out, code)
    sys.exit(code)


def _call(arguments: list[str], *, debug: bool) -> int:
    """Do what the arguments say and return the exit code."""
    from superionic.errors import SuperionicError, storage_error

    try:
        app(args=arguments)
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
            _print_error(storage_error(error, doing="go on"), as_json="--json" in arguments)
            typer.echo("(--debug shows where this happened; all finished work is kept)", err=True)
        else:
            _print_error(error, as_json="--json" in arguments)
        return _EXIT_USER_ERROR
    except Exception as error:
        if debug:
            raise
        typer.echo(f"a fault of superionic: {type(error).__name__}: {error}", err=True)
        typer.echo("run the same command with --debug and report the traceback; all finished work is kept", err=True)
        return _EXIT_FAULT
    return 0


def _say_stopped(arguments: list[str], interrupts: Interrupts) -> int:
    """Say what ended the command and how to go on, and return the exit code."""
    number = interrupts.signal
    if number is None:
        raise AssertionError("there was no signal")
    who = "Ctrl-C" if number.name == "SIGINT" else number.name
    # Failures that were tried again before the stop need no third time.
    again = shlex.join(["superionic", *(argument for argument in arguments if argument != "--retry-failed")])
    if _verb(arguments, _GO_ON):
        typer.echo(f"stopped by {who}; all finished work is kept; go on with: {again}", err=True)
    elif not _verb(arguments, ("status",)):
        typer.echo(f"stopped by {who}; begin again with: {again}", err=True)
    return _EXIT_BY_SIGNAL + int(number)


def _say_lost(arguments: list[str], out: Screen, code: int) -> int:
    """Say that standard output could not be written, and return the exit code."""
    from superionic.errors import storage_error

    if out.error is None:
        raise AssertionError("nothing was lost")
    closed = out.error.errno == errno.EPIPE
    if not _verb(arguments, _PRINT):
        if not closed:
            typer.echo(f"some of what was printed may be lost ({out.error.strerror}); the work is not", err=True)
        return code
    if closed:
        return code or _EXIT_CLOSED_PIPE
    _print_error(storage_error(out.error, where="standard output", doing="print the result"))
    return code or _EXIT_USER_ERROR


def _verb(arguments: list[str], verbs: tuple[str, ...]) -> bool:
    words = [argument for argument in arguments if not argument.startswith("-")]
    return " ".join(words[:1]) in verbs or " ".join(words[:2]) in verbs


if __name__ == "__main__":
    main()
