"""Finished labels outside of a campaign: importing files, and passing a package through the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superionic.errors import CalculationFailed, CampaignFileError, StageError
from superionic.execution.task import Task
from superionic.labels.base import Label
from superionic.labels.gates import Gates, Verdict, check_labels
from superionic.labels.imports import Imported, find_files, import_labels, stated_provenance
from superionic.labels.packages import Entry, read_package, write_package
from superionic.labels.residuals import Baseline

if TYPE_CHECKING:
    from superionic.campaign.flow import Flow


@dataclass(frozen=True)
class Checked:
    """A package that has been through the gates.

    Attributes
    ----------
    entries
        Its labels, in order.
    verdicts
        What the gates say of each.
    unreadable
        Reasons of frames that are no labels.
    """

    entries: tuple[Entry, ...]
    verdicts: tuple[Verdict, ...]
    unreadable: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every frame is a label that may enter a set."""
        return not self.unreadable and bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, for ``--json``."""
        return {
            "n_labels": len(self.entries),
            "n_passed": sum(verdict.passed for verdict in self.verdicts),
            "references": references(self.entries),
            "unreadable": list(self.unreadable),
            "labels": [
                {"number": n, "formula": entry.atoms.get_chemical_formula(), "group": entry.group, **verdict.to_dict()}
                for n, (entry, verdict) in enumerate(zip(self.entries, self.verdicts, strict=True))
            ],
        }


def import_to(
    paths: Sequence[Path],
    out: Path,
    *,
    every: int = 1,
    kpoint_spacing_per_A: float | None = None,
    stated: Mapping[str, str | None] | None = None,
) -> Imported:
    """Import finished calculations and write them as a package, unless there are none.

    Parameters
    ----------
    paths
        Files and folders.
    out
        The package to write.
    every, kpoint_spacing_per_A
        See :func:`superionic.labels.imports.import_labels`.
    stated
        ``code``, ``version``, ``functional`` and ``energy_convention`` of frames that do not say; None or empty values
        where nothing is stated.

    Raises
    ------
    CampaignFileError
        If a path does not exist, nothing of a known kind is there, or what is stated is not enough.
    """
    for path in paths:
        if not path.exists():
            raise CampaignFileError("There is no such file or folder.", where=str(path), fix="Check the path.")
    files = find_files(paths)
    if not files:
        raise CampaignFileError(
            "No finished calculations were found.",
            where=", ".join(map(str, paths)),
            fix="Name folders or files: vasprun.xml, vasprun.xml.gz, .gpw or .extxyz.",
        )
    found = import_labels(files, every=every, kpoint_spacing_per_A=kpoint_spacing_per_A, stated=_stated(stated or {}))
    if found.entries:
        write_package(out, found.entries)
    return found


def export_labels(flow: Flow, out: Path) -> tuple[Entry, ...]:
    """Write the accepted labels of a campaign as a package, with the trajectory, temperature and round of each.

    Parameters
    ----------
    flow
        A walk through the campaign's stages; what is labelled so far is taken.
    out
        The package to write.

    Raises
    ------
    StageError
        If nothing is labelled yet.
    """
    from superionic.execution.task import select

    store = flow.bench.runner.store
    entries: list[Entry] = []
    for number, made in enumerate(flow.results.get("label", []), 1):
        for snapshot in made.candidates:
            facts = snapshot.facts
            atoms = select(store.load(snapshot.structure.task.key), snapshot.structure.path)
            task = facts["label"]
            key = task.key if isinstance(task, Task) else task.task.key
            label = Label.from_dict(store.load(key) if isinstance(task, Task) else select(store.load(key), task.path))
            known: dict[str, str | int | float] = {
                "run": str(facts["run"]),
                "phase": snapshot.crystal,
                "composition": str(facts["formula"]),
                "round": int(facts.get("round", number)),
                **({"temperature_K": float(facts["temperature_K"])} if "temperature_K" in facts else {}),
            }
            entries.append(Entry(atoms, label, str(facts["run"]), {"campaign": flow.file.name, "task": key}, known))
    if not entries:
        raise StageError(
            "This campaign has no labels yet.", where="label", fix="Run first: superionic run CAMPAIGN --until label"
        )
    write_package(out, entries)
    return tuple(entries)


def check_package(path: Path, *, baseline: str | None = None, gates: Gates | None = None) -> Checked:
    """Pass a package through all gates.

    Parameters
    ----------
    path
        An extended XYZ file.
    baseline
        Name of a potential (``chgnet``, ``sevennet``, ...) whose predictions make the gates sharp; its engine has to
        be installed.
    gates
        Where the gates stand.

    Raises
    ------
    CampaignFileError
        If the file cannot be read.
    """
    if not path.is_file():
        raise CampaignFileError("There is no such file.", where=str(path), fix="Name an extended XYZ file of labels.")
    entries: list[Entry] = []
    unreadable: list[str] = []
    try:
        for entry in read_package(path):
            if isinstance(entry, CalculationFailed):
                unreadable.append(entry.reason)
            else:
                entries.append(entry)
    except CalculationFailed as failure:
        unreadable.append(failure.reason)
    structures, labels = [entry.atoms for entry in entries], [entry.label for entry in entries]
    predicted = None if baseline is None or not entries else _predictions(baseline, structures)
    return Checked(
        tuple(entries), tuple(check_labels(structures, labels, gates, baseline=predicted)), tuple(unreadable)
    )


def references(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Count the labels of each reference (code, version, functional and settings)."""
    counts: dict[str, int] = {}
    first: dict[str, Label] = {}
    for entry in entries:
        key = entry.label.settings_hash
        counts[key] = counts.get(key, 0) + 1
        first.setdefault(key, entry.label)
    return [
        {
            "settings_hash": key,
            "n_labels": count,
            **{name: first[key].provenance.get(name) for name in ("code", "version", "functional")},
        }
        for key, count in counts.items()
    ]


def _stated(values: Mapping[str, str | None]) -> dict[str, Any] | None:
    given = {name: value for name, value in values.items() if value}
    if not given:
        return None
    missing = [name for name in ("code", "version", "functional") if name not in given]
    if missing:
        raise CampaignFileError(
            f"A stated provenance needs code, version and functional; {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing.",
            where="--code, --code-version, --functional",
            fix="State all three: labels of two references must never meet in one set.",
        )
    return stated_provenance(given["code"], given["version"], given["functional"], given.get("energy_convention"))


def _predictions(name: str, structures: Sequence[Any]) -> Baseline:
    from superionic.execution.engines import resolve_engine
    from superionic.execution.worker import call_once
    from superionic.potentials.base import describe_potential

    identity = describe_potential(name)
    settings = {"potential": {"name": name, "model": identity.model, "options": {}}}
    found = call_once(
        resolve_engine(identity.engine).python,
        "superionic.stages.predictions:predict_task",
        settings,
        {"atoms": list(structures)},
    )
    return Baseline.from_dict(found)
