"""Finished labels outside of a campaign: importing files, and passing a package through the gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from superionic.conventions import functional_in
from superionic.errors import CampaignFileError, PotentialError, StageError
from superionic.execution.codec import from_tree
from superionic.execution.task import ref_of
from superionic.labels.base import Label
from superionic.labels.frame_values import LabelKeys
from superionic.labels.gates import GateFailure, Gates, Verdict, check_labels
from superionic.labels.imports import Imported, find_files, import_labels, names_of, stated_provenance
from superionic.labels.packages import Entry, write_package
from superionic.labels.residuals import Baseline
from superionic.training.dataset import Targets

if TYPE_CHECKING:
    from superionic.campaign.flow import Flow


LEAST_SPACING, MOST_SPACING = 0.01, 10.0
"""Bounds of a spacing of k-points in 1/Å."""


@dataclass(frozen=True)
class CountedReference:
    """A reference method of a file, and how many labels are of it."""

    settings_hash: str
    n_labels: int
    code: str | None
    version: str | None
    functional: str | None


@dataclass(frozen=True)
class CheckedLabel:
    """One label of a package, and the verdict of the gates on it."""

    number: int
    formula: str
    group: str
    passed: bool
    failures: tuple[GateFailure, ...]


@dataclass(frozen=True)
class CheckReport:
    """What ``superionic labels check --json`` prints."""

    n_labels: int
    n_passed: int
    references: tuple[CountedReference, ...]
    unreadable: tuple[str, ...]
    labels: tuple[CheckedLabel, ...]


@dataclass(frozen=True)
class Checked:
    """A package that has been through the gates.

    Attributes
    ----------
    entries
        Its labels, in order.
    verdicts
        The verdict of the gates on each.
    unreadable
        Reasons why frames are not labels.
    """

    entries: tuple[Entry, ...]
    verdicts: tuple[Verdict, ...]
    unreadable: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every frame is a label that may enter a set."""
        return not self.unreadable and bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    def report(self) -> CheckReport:
        """Return what ``--json`` prints."""
        return CheckReport(
            n_labels=len(self.entries),
            n_passed=sum(verdict.passed for verdict in self.verdicts),
            references=references(self.entries),
            unreadable=self.unreadable,
            labels=tuple(
                CheckedLabel(n, entry.atoms.get_chemical_formula(), entry.group, verdict.passed, verdict.failures)
                for n, (entry, verdict) in enumerate(zip(self.entries, self.verdicts, strict=True))
            ),
        )


def import_to(
    paths: Sequence[Path],
    out: Path,
    *,
    every: int = 1,
    kpoint_spacing_per_A: float | None = None,
    stated: Mapping[str, str | None] | None = None,
    keys: LabelKeys | None = None,
    dispersion: str | Mapping[str, Any] | None = None,
) -> Imported:
    """Import finished calculations and write them as a package, unless there are none.

    Parameters
    ----------
    out
        The package to write.
    every, kpoint_spacing_per_A
        See :func:`superionic.labels.imports.import_labels`.
    stated
        ``code``, ``version``, ``functional`` and ``energy_convention`` of frames that do not say; None or empty values
        where nothing is stated.
    keys
        Where the values of extended XYZ are, see :mod:`superionic.labels.frame_values`.
    dispersion
        Term to add to the labels, see :func:`superionic.labels.corrected.with_dispersion_term`.

    Raises
    ------
    StageError
        If dispersion is to be added to labels that have it.
    CampaignFileError
        If a path does not exist, nothing of a known kind is there, or what is stated is not enough.
    """
    if kpoint_spacing_per_A is not None and not LEAST_SPACING <= kpoint_spacing_per_A <= MOST_SPACING:
        raise CampaignFileError(
            f"{kpoint_spacing_per_A:g} per Å is not a spacing of k-points.",
            where="--kpoint-spacing",
            fix=f"Give one from {LEAST_SPACING:g} to {MOST_SPACING:g}, with 2π, as VASP's KSPACING.",
        )
    for path in paths:
        try:
            there = path.exists()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CampaignFileError(f"This is no path: {reason}.", where=str(path)[:200], fix="Check it.") from error
        if not there:
            raise CampaignFileError("There is no such file or folder.", where=str(path), fix="Check the path.")
    if any(path.resolve() == out.resolve() for path in paths):
        raise CampaignFileError(
            "The package would be written over a file that is read.", where=str(out), fix="Give another one to --out."
        )
    files = find_files(paths, leave_out=out)
    if not files:
        raise CampaignFileError(
            "No finished calculations were found.",
            where=", ".join(map(str, paths)),
            fix="Name folders or files: vasprun.xml, OUTCAR, .gpw, outputs of pw.x or CP2K (.out, .log, .pwo), "
            "type.raw of a DeePMD system, or .extxyz, also packed (.gz, .bz2, .xz).",
        )
    imported = import_labels(
        files,
        names=names_of(files, paths, least=2),
        every=every,
        kpoint_spacing_per_A=kpoint_spacing_per_A,
        stated=_stated(stated or {}),
        keys=keys,
    )
    if dispersion is not None:
        imported = replace(imported, entries=tuple(_dispersed(entry, dispersion) for entry in imported.entries))
    if imported.entries:
        write_package(out, imported.entries, imported.isolated_atoms_eV)
    return imported


def export_labels(flow: Flow, out: Path) -> tuple[Entry, ...]:
    """Write the accepted labels of a campaign as a package, with the trajectory, temperature and round of each.

    Parameters
    ----------
    flow
        A walk through the campaign's stages; all labels so far are taken.
    out
        The package to write.

    Raises
    ------
    StageError
        If nothing is labelled yet.
    """
    entries: list[Entry] = []
    value_of = flow.bench.runner.value_of
    for labelled in flow.outputs.label:
        for snapshot in labelled.snapshots:
            if snapshot.label is None:
                continue
            facts: dict[str, str | int | float] = {
                "run": snapshot.run,
                "phase": snapshot.phase,
                "composition": snapshot.formula,
                "round": snapshot.round,
            }
            if snapshot.temperature_K is not None:
                facts |= {"temperature_K": snapshot.temperature_K}
            source = {"campaign": flow.file.name, "task": ref_of(snapshot.label).task.key}
            atoms, label = value_of(snapshot.structure), value_of(snapshot.label)
            entries.append(Entry(atoms, label, snapshot.run, source, facts))
    if not entries:
        raise StageError(
            "This campaign has no labels yet.", where="label", fix="Run first: superionic run CAMPAIGN --until label"
        )
    write_package(out, entries)
    return tuple(entries)


def check_package(
    path: Path, *, baseline: str | None = None, gates: Gates | None = None, keys: LabelKeys | None = None
) -> Checked:
    """Pass a package through all gates.

    Parameters
    ----------
    path
        An extended XYZ file, or any file or folder that ``superionic labels import`` reads.
    baseline
        Name of a potential (``chgnet``, ``sevennet``, ...) whose predictions sharpen the gates; its engine must be
        installed.
    gates
        Thresholds of the gates.
    keys
        Where the values are, see :mod:`superionic.labels.frame_values`.

    Raises
    ------
    CampaignFileError
        If the file cannot be read.
    """
    files = find_files([path]) if path.exists() else []
    if not files:
        raise CampaignFileError(
            "There is no such file, or no labels in the folder.",
            where=str(path),
            fix="Name an extended XYZ file of labels, or outputs that `superionic labels import` reads.",
        )
    imported = import_labels(files, names=names_of(files, [path]), keys=keys)
    entries, unreadable = imported.entries, [refusal.reason for refusal in imported.refusals]
    structures, labels = [entry.atoms for entry in entries], [entry.label for entry in entries]
    predicted = None if baseline is None or not entries else _predictions(baseline, structures, _term_of(labels[0]))
    groups = [str(entry.facts.get("run", entry.group)) for entry in entries]
    verdicts = check_labels(structures, labels, gates, baseline=predicted, groups=groups)
    return Checked(tuple(entries), tuple(verdicts), tuple(unreadable))


def references(entries: Sequence[Entry]) -> tuple[CountedReference, ...]:
    """Count the labels of each reference (code, version, functional and settings)."""
    first: dict[str, Label] = {}
    for entry in entries:
        first.setdefault(entry.label.settings_hash, entry.label)
    numbers = Counter(entry.label.settings_hash for entry in entries)
    return tuple(
        CountedReference(
            settings_hash=key,
            n_labels=numbers[key],
            code=label.provenance.get("code"),
            version=label.provenance.get("version"),
            functional=label.provenance.get("functional"),
        )
        for key, label in first.items()
    )


def _dispersed(entry: Entry, dispersion: str | Mapping[str, Any]) -> Entry:
    from superionic.labels.corrected import with_dispersion_term

    try:
        return replace(entry, label=with_dispersion_term(entry.label, entry.atoms, dispersion))
    except (StageError, PotentialError) as error:
        where = str(entry.source.get("file", "")) or "--dispersion"
        fix = None if error.fix is None else error.fix.replace("Leave it out", "Leave out --dispersion")
        if isinstance(error, PotentialError) and functional_in(str(entry.label.provenance.get("functional"))) is None:
            fix = "Name the functional, e.g. --dispersion d3bj:PBE"
        raise type(error)(error.message, where=where, fix=fix) from error


def _stated(values: Mapping[str, str | None]) -> dict[str, Any] | None:
    code, version, functional, convention = (
        values.get(name) or "" for name in ("code", "version", "functional", "energy_convention")
    )
    if not (code or version or functional or convention):
        return None
    needed = (("code", code), ("version", version), ("functional", functional))
    missing = [name for name, value in needed if not value]
    if missing:
        raise CampaignFileError(
            f"A stated provenance needs code, version and functional; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing.",
            where="--code, --code-version, --functional",
            fix="State all three: labels of two references must never meet in one set.",
        )
    return stated_provenance(code, version, functional, convention or None)


def _term_of(label: Label) -> dict[str, Any]:
    """Return the dispersion term that was added to a label, as an option of a potential; empty where none was."""
    term = (label.provenance.get("settings") or {}).get("dispersion")
    return {"dispersion": term} if isinstance(term, Mapping) else {}


def _predictions(name: str, structures: Sequence[Atoms], options: Mapping[str, Any]) -> Baseline:
    from superionic.campaign.prepare import choose_potential
    from superionic.execution.engines import resolve_engine
    from superionic.execution.worker import call_once
    from superionic.stages.predictions import predict_task

    potential = choose_potential(name, name, None, options, where="--baseline")
    tree = call_once(
        resolve_engine(potential.engine).python, predict_task.name, potential.task_settings(), {"atoms": structures}
    )
    predicted = from_tree(tree, Targets)
    return Baseline(predicted.energies_eV, predicted.forces_eV_per_A, predicted.stresses_eV_per_A3)
