"""Which potential for what? Candidates measured on labels of a reference method, and a recommendation with its reason.

A model's rank among universal potentials says little of the crystal at hand; some twenty labels of it say much.
Energies are compared after a shift of each element for each model: zeros of energy and corrections by element, such as
the Materials Project's of anions, are no error of a model.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from superionic.conventions import dispersion_in, same_dispersion
from superionic.errors import CompositionError, EngineError, PotentialError, StructureError, SuperionicError
from superionic.training.dataset import Targets, composition_of, fit_element_references
from superionic.training.metrics import SOFT_BELOW, ErrorMetrics, errors

if TYPE_CHECKING:
    from ase import Atoms

    from superionic.labels.packages import Entry
    from superionic.potentials.base import PotentialIdentity
    from superionic.stages.base import ChosenPotential
    from superionic.stages.predictions import TimedPredictions

FEW: Final = 10
"""Fewer labels than this decide little."""

_BIASED_GPA: Final = 0.2
_AS_GOOD: Final = 1.25
_TERM: Final = "D3(BJ)"


@dataclass(frozen=True)
class ComparedModel:
    """A candidate and its errors.

    Attributes
    ----------
    name
        As requested, ``ENGINE``, ``ENGINE:MODEL`` or ``ENGINE:FILE``.
    model
        What the engine calls it.
    energy_convention
        What its energies are.
    errors
        Against the labels, after the shifts of the elements that explain most of the difference in energy.
    shift_eV_per_atom
        Mean of its energy less that of the reference, before these.
    cpu_us_per_atom
        CPU time of an evaluation, in µs per atom.
    failures
        Why structures were left out; an evaluation that fails counts against no error.
    caution
        What users should know about it.
    rigid_cell
        Whether it is unfit for pressure and cells, so that it may neither teach nor relax cells.
    """

    name: str
    model: str
    energy_convention: str
    errors: ErrorMetrics
    shift_eV_per_atom: float
    cpu_us_per_atom: float
    failures: tuple[str, ...] = ()
    caution: str | None = None
    rigid_cell: bool = False


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
    notes
        What was done about dispersion that a candidate has and the labels do not, or the other way round.
    """

    n_labels: int
    models: tuple[ComparedModel, ...]
    advice: tuple[Advice, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def compare_models(
    labels: Sequence[str | Path], models: Sequence[str] | None = None, *, most: int | None = None
) -> ModelComparison:
    """Measure potentials against labels, each in its own engine, and recommend one for each purpose.

    Parameters
    ----------
    labels
        Files of labels, as ``superionic labels check`` reads them: extended XYZ, outputs of codes, folders of them.
    models
        ``ENGINE`` (its most accurate model), ``ENGINE:MODEL`` or ``ENGINE:FILE``; by default, those that are installed
        and need no file.
    most
        Compare with at most this many labels, spread evenly.

    Raises
    ------
    StructureError
        If there are no labels.
    PotentialError
        If there is no such potential, or none can be compared.
    EngineError
        If a requested engine is not installed.
    """
    entries, left_out = read_labels(labels)
    if most is not None and most < len(entries):
        entries = [entries[index] for index in np.linspace(0, len(entries) - 1, most).round().astype(int)]
    reference = _Reference(entries)
    compared = []
    for name in models or _at_hand():
        try:
            compared.append(_measured(name, reference))
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
    return ModelComparison(len(entries), ranked, advise(ranked), tuple(left_out), tuple(reference.notes))


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
        After a shift of each element, the same for all sets of a potential, was taken off its energies.
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
    notes
        What was done about dispersion that a potential has and the labels do not, or the other way round.
    """

    sets: Mapping[str, int]
    rows: tuple[SetErrors, ...]
    shifts_eV_per_atom: Mapping[str, float]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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
    reference = _Reference(entries)
    rows, shifts = [], {}
    for model in models:
        chosen, timed = _predicted(model, reference.structures)
        known = reference.for_potential(model, chosen.identity).subset(timed.evaluated)
        shifts[model], shifted = _shifted(timed.targets, known, reference.of(timed.evaluated))
        for name in names:
            members = [i for i, number in enumerate(timed.evaluated) if of_set[number] == name]
            if members:
                rows.append(SetErrors(model, name, errors(shifted.subset(members), known.subset(members))))
        left_out += [f"{model}: {reason}" for reason in timed.failures]
    sizes = {name: of_set.count(name) for name in names}
    return Evaluation(sizes, tuple(rows), shifts, tuple(left_out), tuple(reference.notes))


def advise(models: Sequence[ComparedModel]) -> tuple[Advice, ...]:
    """Recommend a candidate for each purpose, from errors and cost alone.

    A teacher labels some hundred structures, so its cost hardly counts: the candidate with the smallest force error.
    Ranking takes thousands of relaxations, and only energy differences matter: the fastest of those nearly as accurate
    as the best. Sampling drives long runs whose structures are labelled again: the fastest of those that are not soft
    and have at most twice the smallest force error. What is unfit for cells may sample at constant volume alone.
    """

    def advice(purpose: str, model: ComparedModel, reason: str) -> Advice:
        return Advice(purpose, model.name, reason + _reservation(model))

    def cost(model: ComparedModel) -> float:
        return model.cpu_us_per_atom

    fit = [model for model in models if not model.rigid_cell]
    if not fit:
        unfit = "what was compared is unfit for pressure and cells"
        return tuple(Advice(purpose, None, unfit) for purpose in ("ranking", "sampling", "teacher"))
    forces = {model.name: model.errors.mae_force_meV_per_A for model in models}
    energies = {model.name: model.errors.mae_energy_meV_per_atom for model in fit}
    best, least = min(fit, key=lambda model: forces[model.name]), min(filter(math.isfinite, energies.values()))
    teacher = advice("teacher", best, f"the smallest error of forces, {forces[best.name]:.0f} meV/Å")
    fast = min((model for model in fit if energies[model.name] <= _AS_GOOD * least), key=cost)
    of_energies = f"{energies[fast.name]:.1f} meV/atom, where the best has {least:.1f}, at {cost(fast):.0f} µs per atom"
    ranking = advice("ranking", fast, of_energies)
    firm = [model for model in models if not _soft(model) and forces[model.name] <= 2.0 * forces[best.name]]
    if not firm:
        softer = f"all are softer than {SOFT_BELOW:g} of the reference: fine-tune one first"
        return ranking, Advice("sampling", None, softer), teacher
    driver = min(firm, key=cost)
    of_forces = f"forces off by {forces[driver.name]:.0f} meV/Å (the best: {forces[best.name]:.0f})"
    return ranking, advice("sampling", driver, f"{cost(driver):.0f} µs per atom, {of_forces}"), teacher


def _soft(model: ComparedModel) -> bool:
    slope = model.errors.force_slope
    return slope is not None and not SOFT_BELOW <= slope <= 1.0 / SOFT_BELOW


def _reservation(model: ComparedModel) -> str:
    """Return what speaks against a candidate although it is the best."""
    doubts, slope, bias = [], model.errors.force_slope, model.errors.mean_error_stress_GPa
    if model.rigid_cell:
        doubts.append("it is unfit for pressure, so keep cells as they are")
    if _soft(model) and slope is not None:
        doubts.append(f"its forces are {slope:.2f} of the reference's")
    if bias is not None and abs(bias) > _BIASED_GPA:
        doubts.append(f"its stress is off by {bias:+.2f} GPa, so relax and equilibrate no cells with it")
    if model.errors.n_structures < FEW:
        doubts.append(f"{model.errors.n_structures} labels decide little")
    return f"; but {', and '.join(doubts)}" if doubts else ""


class _Reference:
    """Labels as the potentials are compared with: with dispersion for those that have it as a term.

    Attributes
    ----------
    structures
        The labelled structures.
    notes
        What was done about dispersion, in sentences.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        from superionic.labels.corrected import dispersion_of_label

        self.structures = [entry.atoms for entry in entries]
        self.notes: list[str] = []
        self._labels = [entry.label for entry in entries]
        self._inside = dispersion_of_label(self._labels[0].provenance)
        self._plain = Targets.of_labels(self._labels)

    def of(self, numbers: Sequence[int]) -> list[Atoms]:
        """Return some of the structures."""
        return [self.structures[number] for number in numbers]

    def for_potential(self, name: str, identity: PotentialIdentity) -> Targets:
        """Return the labels, with D3(BJ) added where the potential has it and they have no dispersion.

        Raises
        ------
        PotentialError
            If neither the labels nor the potential name a functional that D3(BJ) has parameters for.
        """
        from superionic.labels.corrected import with_dispersion_term
        from superionic.potentials.dispersion import Dispersion

        own = dispersion_in(identity.energy_convention)
        if same_dispersion(own, self._inside):
            return self._plain
        if self._inside is None and same_dispersion(own, _TERM):
            # Its name says the functional of its parameters where that is not the one of the energies below it.
            functional = str(self._labels[0].provenance.get("functional", ""))
            term = Dispersion.of("d3bj", own or "", functional, identity.energy_convention)
            corrected = map(with_dispersion_term, self._labels, self.structures, itertools.repeat(term))
            self.notes.append(f"{name} has {own}, the labels have no dispersion: {own} was added to them for it")
            return Targets.of_labels(list(corrected))
        has, have = own or "no dispersion", self._inside or "none"
        self.notes.append(f"{name} has {has}, the labels have {have}: the errors contain the difference")
        return self._plain


def _measured(name: str, reference: _Reference) -> ComparedModel:
    from superionic.campaign.prepare import cautions

    chosen, timed = _predicted(name, reference.structures)
    known = reference.for_potential(name, chosen.identity).subset(timed.evaluated)
    shift, shifted = _shifted(timed.targets, known, reference.of(timed.evaluated))
    return ComparedModel(
        name,
        chosen.identity.model,
        chosen.identity.energy_convention,
        errors(shifted, known),
        shift,
        1.0e6 * timed.cpu_s_per_atom,
        timed.failures,
        cautions({name: chosen}).get(name),
        chosen.data is not None and chosen.data.rigid_cell,
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


def _shifted(predicted: Targets, known: Targets, structures: Sequence[Atoms]) -> tuple[float, Targets]:
    """Return the mean difference of the energies per atom, and the predictions without the elements' part of it."""
    difference = predicted.energies_eV - known.energies_eV
    compositions = [composition_of(atoms) for atoms in structures]
    of_elements = fit_element_references(difference, compositions).energies_eV(compositions)
    shifted = Targets(predicted.energies_eV - of_elements, predicted.forces_eV_per_A, predicted.stresses_eV_per_A3)
    return float(np.mean(difference / known.n_atoms)), shifted


def _chosen(name: str) -> ChosenPotential:
    """Describe the potential that a name on the command line stands for."""
    from superionic.campaign.best_installed import named_entry
    from superionic.campaign.prepare import choose_potential

    entry = named_entry(name, where=name)
    return choose_potential(name, entry.pop("engine"), entry.pop("model", None), entry, where=name)


def _at_hand() -> list[str]:
    """Return the names of the installed potentials that need no file: of a family, all models of measured error."""
    from superionic.execution.engine_specs import DATA
    from superionic.execution.engines import resolve_engine
    from superionic.potentials.base import describe_potential
    from superionic.potentials.checkpoints import NOT_STATED
    from superionic.registry import models

    by_engine = [(data.name, f"{data.engine}:{data.name}") for data in DATA.values()]
    for name, family in models().items():
        if family.engine is None or family.needed:
            continue
        if family.measured:
            by_engine += [(family.engine.name, f"{name}:{one.model}") for one in family.measured]
        elif describe_potential(name).energy_convention != NOT_STATED:
            by_engine.append((family.engine.name, name))
    there = []
    for engine, name in by_engine:
        with contextlib.suppress(EngineError):
            resolve_engine(engine)
            there.append(name)
    return there
