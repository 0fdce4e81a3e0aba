"""Which potential for what? Candidates measured on labels of a reference method, and a recommendation with its reason.

A model's rank among universal potentials says little of the crystal at hand; some twenty labels of it say much.
Energies are compared after one shift per atom for each model, since a constant is felt by no difference of energies.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from superionic.errors import CompositionError, EngineError, PotentialError, StructureError, SuperionicError
from superionic.training.dataset import Targets
from superionic.training.metrics import SOFT_BELOW, ErrorMetrics, errors

if TYPE_CHECKING:
    from ase import Atoms

    from superionic.labels.packages import Entry
    from superionic.stages.base import ChosenPotential
    from superionic.stages.predictions import TimedPredictions

FEW: Final = 10
"""Fewer labels than this decide little."""

_BIASED_GPA: Final = 0.2
_AS_GOOD: Final = 1.25
_OF_FILES: Final = "own: a file that is compared"


@dataclass(frozen=True)
class ComparedModel:
    """A candidate and its errors.

    Attributes
    ----------
    name
        As it was asked for, ``ENGINE``, ``ENGINE:MODEL`` or ``ENGINE:FILE``.
    model
        What the engine calls it.
    energy_convention
        What its energies are.
    errors
        Against the labels, after :attr:`shift_eV_per_atom` was taken off its energies.
    shift_eV_per_atom
        Mean of its energy less that of the reference.
    cpu_us_per_atom
        CPU time of an evaluation, in µs per atom.
    failures
        Why structures were left out; an evaluation that fails counts against no error.
    caution
        What there is to know of it.
    """

    name: str
    model: str
    energy_convention: str
    errors: ErrorMetrics
    shift_eV_per_atom: float
    cpu_us_per_atom: float
    failures: tuple[str, ...] = ()
    caution: str | None = None


@dataclass(frozen=True)
class Advice:
    """Which candidate to take for a purpose.

    Attributes
    ----------
    purpose
        ``ranking``, ``sampling`` or ``teacher``.
    name
        The candidate; None if none is fit.
    reason
        Why, in a sentence.
    """

    purpose: str
    name: str | None
    reason: str


@dataclass(frozen=True)
class ModelComparison:
    """Candidates measured on the same labels.

    Attributes
    ----------
    n_labels
        Labels that were compared.
    models
        The candidates, that of the smallest error of forces first.
    advice
        One for each purpose.
    left_out
        Candidates and files that were not compared, with the reason.
    """

    n_labels: int
    models: tuple[ComparedModel, ...]
    advice: tuple[Advice, ...]
    left_out: tuple[str, ...] = ()


def compare_models(
    labels: Sequence[str | Path], models: Sequence[str] | None = None, *, most: int | None = None
) -> ModelComparison:
    """Measure potentials on labels, each in its own engine, and recommend one for each purpose.

    Parameters
    ----------
    labels
        Files of labels, as ``superionic labels check`` reads them: extended XYZ, outputs of codes, folders of them.
    models
        ``ENGINE``, ``ENGINE:MODEL`` or ``ENGINE:FILE``; those that are installed and need no file if None.
    most
        Take this many labels at most, evenly spread.

    Raises
    ------
    StructureError
        If there are no labels.
    PotentialError
        If there is no such potential, or none can be compared.
    EngineError
        If an engine that was asked for is not installed.
    """
    entries, left_out = read_labels(labels)
    if most is not None and most < len(entries):
        entries = [entries[index] for index in np.linspace(0, len(entries) - 1, most).round().astype(int)]
    structures = [entry.atoms for entry in entries]
    reference = Targets.of_labels([entry.label for entry in entries])
    compared = []
    for name in models or _at_hand():
        try:
            compared.append(_measured(name, structures, reference))
        except SuperionicError as error:
            if models is not None and not isinstance(error, CompositionError):
                raise
            left_out.append(f"{name}: {error.message}")
    if not compared:
        raise PotentialError(
            "no potential can be compared" + (f": {left_out[-1]}" if left_out else ""),
            fix="install one, such as superionic engines install nequix, and name it with --model",
        )
    ranked = tuple(sorted(compared, key=lambda each: each.errors.mae_force_meV_per_A))
    return ModelComparison(len(entries), ranked, advise(ranked), tuple(left_out))


def read_labels(labels: Sequence[str | Path]) -> tuple[list[Entry], list[str]]:
    """Read labels of one reference method; return them, and the files that were left out with the reason.

    Raises
    ------
    StructureError
        If there are no labels, or those of several methods.
    """
    from superionic.labels.imports import find_files, import_labels, stated_provenance

    unstated = stated_provenance("not stated", "not stated", "not stated")
    read = import_labels(find_files([Path(path) for path in labels]), stated=unstated)
    entries = list(read.entries)
    if not entries:
        why = read.refusals[0].reason if read.refusals else "there are none in it"
        raise StructureError(f"there are no labels to compare with: {why}", where=str(labels[0]), fix="check the path")
    _demand_one_method(entries, labels)
    return entries, [f"{refusal.file}: {refusal.reason}" for refusal in read.refusals]


def _demand_one_method(entries: Sequence[Entry], files: Sequence[str | Path]) -> None:
    if len({entry.label.settings_hash for entry in entries}) > 1:
        raise StructureError(
            "the labels are of several reference methods, whose energies differ by more than a constant",
            where=", ".join(map(str, files)),
            fix="compare with the labels of one of them (superionic labels check counts them)",
        )


@dataclass(frozen=True)
class SetErrors:
    """Errors of one potential on one set of labels.

    Attributes
    ----------
    model
        As it was asked for, ``ENGINE``, ``ENGINE:MODEL`` or ``ENGINE:FILE``.
    set
        Name of the set: that of its file or folder.
    errors
        After one shift per atom, the same for all sets of a potential, was taken off its energies.
    """

    model: str
    set: str
    errors: ErrorMetrics


@dataclass(frozen=True)
class Evaluation:
    """Potentials on several sets of labels (paper B, figures 2b, c and S1 to S3).

    Attributes
    ----------
    sets
        Number of labels of each set, by its name.
    rows
        The errors, by potential and then by set.
    shifts_eV_per_atom
        Mean energy of each potential less that of the reference, over all sets.
    left_out
        Files that were not read, and structures that a potential did not evaluate, with the reason.
    """

    sets: Mapping[str, int]
    rows: tuple[SetErrors, ...]
    shifts_eV_per_atom: Mapping[str, float]
    left_out: tuple[str, ...] = ()


def evaluate_models(models: Sequence[str], sets: Sequence[str | Path]) -> Evaluation:
    """Measure potentials on several sets of labels, each potential in its own engine.

    Parameters
    ----------
    models
        ``ENGINE``, ``ENGINE:MODEL`` or ``ENGINE:FILE``.
    sets
        Files or folders of labels of one reference method, each a set of its own.

    Raises
    ------
    StructureError
        If a set has no labels, or they are of several reference methods.
    PotentialError
        If there is no such potential.
    CompositionError
        If a potential does not know an element, or evaluates nothing.
    EngineError
        If an engine is not installed.
    """
    names = [Path(path).stem for path in sets]
    names = [name if names.count(name) == 1 else str(path) for name, path in zip(names, sets, strict=True)]
    entries: list[Entry] = []
    of_set: list[str] = []
    left_out: list[str] = []
    for name, path in zip(names, sets, strict=True):
        own, refused = read_labels([path])
        entries, left_out = [*entries, *own], [*left_out, *refused]
        of_set += [name] * len(own)
    _demand_one_method(entries, sets)
    structures = [entry.atoms for entry in entries]
    reference = Targets.of_labels([entry.label for entry in entries])
    rows, shifts = [], {}
    for model in models:
        _, timed = _predicted(model, structures)
        known = reference.subset(timed.evaluated)
        shifts[model], shifted = _shifted(timed.targets, known)
        for name in names:
            members = [i for i, number in enumerate(timed.evaluated) if of_set[number] == name]
            if members:
                rows.append(SetErrors(model, name, errors(shifted.subset(members), known.subset(members))))
        left_out += [f"{model}: {reason}" for reason in timed.failures]
    return Evaluation({name: of_set.count(name) for name in names}, tuple(rows), shifts, tuple(left_out))


def advise(models: Sequence[ComparedModel]) -> tuple[Advice, ...]:
    """Recommend a candidate for each purpose, from errors and cost alone.

    A teacher labels some hundred structures, so that its cost hardly counts: the smallest error of forces. What ranks
    evaluates thousands of relaxations, and only differences of energies matter: of those nearly as good as the best,
    the fastest. What samples drives long runs whose structures are labelled again: of those that are not soft and have
    no more than twice the smallest error of forces, the fastest.
    """
    by_force = sorted(models, key=lambda each: each.errors.mae_force_meV_per_A)
    best = by_force[0]
    teacher = Advice(
        "teacher",
        best.name,
        f"the smallest error of forces, {best.errors.mae_force_meV_per_A:.0f} meV/Å{_reservation(best)}",
    )
    energies = [each for each in models if math.isfinite(each.errors.mae_energy_meV_per_atom)]
    least = min(each.errors.mae_energy_meV_per_atom for each in energies)
    good = [each for each in energies if each.errors.mae_energy_meV_per_atom <= _AS_GOOD * least]
    fastest = min(good, key=lambda each: each.cpu_us_per_atom)
    ranking = Advice(
        "ranking",
        fastest.name,
        f"{fastest.errors.mae_energy_meV_per_atom:.1f} meV/atom, where the best has {least:.1f}, "
        f"at {fastest.cpu_us_per_atom:.0f} µs per atom{_reservation(fastest)}",
    )
    limit = 2.0 * best.errors.mae_force_meV_per_A
    firm = [each for each in by_force if not _soft(each) and each.errors.mae_force_meV_per_A <= limit]
    if not firm:
        sampling = Advice("sampling", None, f"all are softer than {SOFT_BELOW:g} of the reference: fine-tune one first")
    else:
        driver = min(firm, key=lambda each: each.cpu_us_per_atom)
        sampling = Advice(
            "sampling",
            driver.name,
            f"{driver.cpu_us_per_atom:.0f} µs per atom, forces off by {driver.errors.mae_force_meV_per_A:.0f} meV/Å "
            f"(the best: {best.errors.mae_force_meV_per_A:.0f}){_reservation(driver)}",
        )
    return ranking, sampling, teacher


def _soft(model: ComparedModel) -> bool:
    slope = model.errors.force_slope
    return slope is not None and not SOFT_BELOW <= slope <= 1.0 / SOFT_BELOW


def _reservation(model: ComparedModel) -> str:
    """Say what stands against a candidate although it is the best."""
    said, slope, bias = [], model.errors.force_slope, model.errors.mean_error_stress_GPa
    if _soft(model) and slope is not None:
        said.append(f"its forces are {slope:.2f} of the reference's")
    if bias is not None and abs(bias) > _BIASED_GPA:
        said.append(f"its stress is off by {bias:+.2f} GPa, so relax and equilibrate no cells with it")
    if model.errors.n_structures < FEW:
        said.append(f"{model.errors.n_structures} labels decide little")
    return f"; but {', and '.join(said)}" if said else ""


def _measured(name: str, structures: Sequence[Atoms], reference: Targets) -> ComparedModel:
    from superionic.campaign.prepare import cautions

    chosen, timed = _predicted(name, structures)
    known = reference.subset(timed.evaluated)
    shift, shifted = _shifted(timed.targets, known)
    return ComparedModel(
        name,
        chosen.identity.model,
        chosen.identity.energy_convention,
        errors(shifted, known),
        shift,
        1.0e6 * timed.cpu_s_per_atom,
        timed.failures,
        cautions({name: chosen}).get(name),
    )


def _predicted(name: str, structures: Sequence[Atoms]) -> tuple[ChosenPotential, TimedPredictions]:
    """Evaluate structures with a potential in its engine."""
    from superionic.execution.codec import from_tree
    from superionic.execution.engines import resolve_engine
    from superionic.execution.worker import call_once
    from superionic.stages.predictions import TimedPredictions, timed_task

    chosen = _chosen(name)
    symbols = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    missing = sorted(symbols - set(chosen.identity.elements)) if chosen.identity.elements else []
    if missing:
        raise CompositionError(f"it does not know {', '.join(missing)}")
    location = resolve_engine(chosen.engine)
    tree = call_once(location.python, timed_task.name, chosen.task_settings(), {"atoms": list(structures)})
    timed = from_tree(tree, TimedPredictions)
    if not timed.evaluated:
        raise CompositionError(f"it evaluates none of the structures: {timed.failures[0]}")
    return chosen, timed


def _shifted(predicted: Targets, known: Targets) -> tuple[float, Targets]:
    """Return the mean difference of the energies per atom, and the predictions without it."""
    shift = float(np.mean((predicted.energies_eV - known.energies_eV) / known.n_atoms))
    energies = predicted.energies_eV - shift * known.n_atoms
    return shift, Targets(energies, predicted.forces_eV_per_A, predicted.stresses_eV_per_A3)


def _chosen(name: str) -> ChosenPotential:
    """Describe what ``ENGINE``, ``ENGINE:MODEL`` or ``ENGINE:FILE`` names; files need not state their energies here."""
    from superionic.campaign.prepare import choose_potential

    engine, _, rest = name.partition(":")
    if rest and Path(rest).exists():
        options = {"file": str(Path(rest).absolute())}
        try:
            return choose_potential(name, engine, None, options, where=name)
        except PotentialError as error:
            if "which energies" not in error.message:
                raise
        return choose_potential(name, engine, Path(rest).name, {**options, "energy_convention": _OF_FILES}, where=name)
    return choose_potential(name, engine, rest or None, {}, where=name)


def _at_hand() -> list[str]:
    """Name the potentials that are installed and that nobody has to bring a file for."""
    from superionic.execution.engine_specs import DATA
    from superionic.execution.engines import resolve_engine
    from superionic.potentials.base import describe_potential
    from superionic.potentials.checkpoints import NOT_STATED
    from superionic.registry import models

    names = []
    for name, model in models().items():
        is_whole = model.engine is not None and not model.needed
        if is_whole and describe_potential(name).energy_convention != NOT_STATED:
            names.append(name)
    names += [f"{data.engine}:{data.name}" for data in DATA.values()]
    there = []
    for name in names:
        with contextlib.suppress(EngineError):
            resolve_engine(name.rpartition(":")[2])
            there.append(name)
    return there
