"""The verbs of ``superionic labels``: import finished reference calculations, and test labels by the gates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from superionic.cli.options import (
    CampaignArgument,
    JsonOption,
    LabelKeyOptions,
    RunFolderOption,
    grouped,
    open_campaign,
    parse_dispersion,
)

if TYPE_CHECKING:
    from superionic.campaign.labelled_files import Checked, CountedReference
    from superionic.labels.imports import Imported

labels_app = typer.Typer(
    help="Labels: energies, forces and stresses of a reference method. Import finished calculations; check a set.",
    no_args_is_help=True,
)
_EXIT_FOUND_FAULTS = 1
_MOST_LINES = 40

OutOption = Annotated[Path, typer.Option("--out", "-o", help="Package to write (extended XYZ).")]


@dataclass(frozen=True)
class StatedReference:
    """The method behind the frames of a file that does not name it."""

    heading: ClassVar[str] = "Reference method, where a file does not name it"

    code: Annotated[
        str | None,
        typer.Option(help="Code that calculated the frames; by naming it you also vouch for their convergence."),
    ] = None
    code_version: Annotated[str | None, typer.Option(help="Its version.")] = None
    functional: Annotated[str | None, typer.Option(help="Its functional, e.g. PBE.")] = None
    energy_convention: Annotated[str | None, typer.Option(help="Zero of its energies.")] = None


@labels_app.command("import")
@grouped
def import_command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Files, or folders to search: vasprun.xml, OUTCAR, .gpw, outputs of pw.x and CP2K, DeePMD systems "
            "(type.raw), .extxyz; compressed files too."
        ),
    ],
    stated: StatedReference,
    label_keys: LabelKeyOptions,
    out: OutOption = Path("labels.extxyz"),
    every: Annotated[int, typer.Option(min=1, help="Use every Nth ionic step of a run.")] = 1,
    kpoint_spacing: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Record k-points by their spacing in 1/Å (with 2π, as VASP's KSPACING), so that cells of many shapes "
            "can share a set; coarser grids are refused.",
            show_default="the grid of each calculation",
        ),
    ] = None,
    dispersion: Annotated[
        str | None,
        typer.Option(
            help="Add dispersion to labels that lack it: d3bj, for the functional of the labels, or for a named one, "
            "as in d3bj:PBE."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read finished calculations, refuse those that are unconverged, truncated or foreign, and write one package.

    Exit code 0 if every file gave labels, 1 if some were refused (each with its reason), 2 if none could be read.
    """
    from superionic.campaign.labelled_files import import_to

    imported = import_to(
        paths,
        out,
        every=every,
        kpoint_spacing_per_A=kpoint_spacing,
        stated={
            "code": stated.code,
            "version": stated.code_version,
            "functional": stated.functional,
            "energy_convention": stated.energy_convention,
        },
        keys=label_keys.keys(),
        dispersion=None if dispersion is None else parse_dispersion(dispersion),
    )
    if as_json:
        typer.echo(json.dumps(_import_json(imported, out), indent=1))
    else:
        _show_import(imported, out)
    if not imported.entries:
        raise typer.Exit(2)
    if imported.refusals:
        raise typer.Exit(_EXIT_FOUND_FAULTS)


@labels_app.command("check")
@grouped
def check_command(
    file: Annotated[
        Path, typer.Argument(help="Package of labels (extended XYZ), or anything that `labels import` reads.")
    ],
    label_keys: LabelKeyOptions,
    baseline: Annotated[
        str | None,
        typer.Option(help="Potential whose predictions sharpen the gates, e.g. chgnet; its engine must be installed."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pass a set of labels through all gates and say why each failing label fails. Nothing is changed.

    Exit code 0 if all labels pass, 1 if not. Without --baseline, wrong units or signs of forces and stress are detected
    only if they make a large difference.
    """
    from superionic.campaign.labelled_files import check_package
    from superionic.execution.codec import to_tree

    checked = check_package(file, baseline=baseline, keys=label_keys.keys())
    if as_json:
        typer.echo(json.dumps(to_tree(checked.report()), indent=1))
    else:
        _show_check(checked, file)
    if not checked.passed:
        raise typer.Exit(_EXIT_FOUND_FAULTS)


@labels_app.command("export")
def export_command(
    campaign: CampaignArgument,
    out: OutOption = Path("labels.extxyz"),
    run_folder: RunFolderOption = None,
) -> None:
    """Write the accepted labels of a campaign as a package: structures, labels, provenance, trajectory, round."""
    number = open_campaign(campaign, run_folder).export_labels(out)
    typer.echo(f"{number} labels in {out}")
    _say_next(out)


def _say_next(out: Path) -> None:
    from superionic.campaign.best_installed import first_potential

    typer.echo(f"next: superionic labels check {out} --baseline {first_potential().name}")


def _import_json(imported: Imported, out: Path) -> dict[str, Any]:
    from superionic.campaign.labelled_files import references
    from superionic.execution.codec import to_tree

    return {
        "out": str(out) if imported.entries else None,
        "n_labels": len(imported.entries),
        "references": to_tree(references(imported.entries)),
        "isolated_atoms_eV": dict(imported.isolated_atoms_eV),
        "refused": to_tree(imported.refusals),
        "remarks": to_tree(imported.remarks),
    }


def _show_import(imported: Imported, out: Path) -> None:
    from superionic.campaign.labelled_files import references

    if imported.entries:
        typer.echo(f"{len(imported.entries)} label{'s' * (len(imported.entries) > 1)} in {out}")
    _show_references(references(imported.entries))
    if imported.isolated_atoms_eV:
        each = ", ".join(f"{symbol} {energy:.6g} eV" for symbol, energy in imported.isolated_atoms_eV.items())
        typer.echo(
            f"  reference energies of elements (E0), from isolated atoms: {each}; stored at the end of the package"
        )
    if imported.refusals:
        typer.echo(f"{len(imported.refusals)} refused:")
        for refusal in imported.refusals[:_MOST_LINES]:
            typer.echo(f"  {refusal.file}: {refusal.reason}")
        _and_more(len(imported.refusals))
    for remark in imported.remarks[:_MOST_LINES]:
        typer.echo(f"caution: {remark.file}: {remark.words}")
    _and_more(len(imported.remarks))
    if imported.entries:
        _say_next(out)


def _show_check(checked: Checked, file: Path) -> None:
    from superionic.campaign.labelled_files import references

    passed = sum(verdict.passed for verdict in checked.verdicts)
    typer.echo(f"{file}: {passed} of {len(checked.verdicts)} labels pass")
    _show_references(references(checked.entries))
    failed = [(n, verdict) for n, verdict in enumerate(checked.verdicts) if not verdict.passed]
    for number, verdict in failed[:_MOST_LINES]:
        entry = checked.entries[number]
        typer.echo(f"  {number:>5}  {entry.atoms.get_chemical_formula():<16} {verdict.reason}")
    _and_more(len(failed))
    for reason in checked.unreadable[:_MOST_LINES]:
        typer.echo(f"  {reason}")
    _and_more(len(checked.unreadable))


def _show_references(counted: tuple[CountedReference, ...]) -> None:
    for reference in counted:
        typer.echo(
            f"  {reference.n_labels:>5} by {reference.code} {reference.version}, {reference.functional} "
            f"(settings {reference.settings_hash[:12]})"
        )
    if len(counted) > 1:
        typer.echo(f"  {len(counted)} reference methods in one file: a labelled set may hold only one")


def _and_more(number: int) -> None:
    if number > _MOST_LINES:
        typer.echo(f"  ... and {number - _MOST_LINES} more (--json lists all)")


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.add_typer(labels_app, name="labels")
