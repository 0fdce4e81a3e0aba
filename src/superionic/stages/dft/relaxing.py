"""What the stage *dft* does: single points and relaxations by a reference method, and what their energies say.

A relaxation is a chain of segments, each a task whose input is the one before: the structure that it reached and the
state of the optimizer. So a killed run goes on from the last segment that was stored, and the chain equals one
relaxation bit by bit. All structures take a segment side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase import Atoms

from superionic.dynamics.relax import Relaxation
from superionic.dynamics.relax.optimizers import Optimizer
from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.execution.task import ArgumentGroup, Context, Task, ref_of, task
from superionic.labels.base import Label, Reference
from superionic.stages.agreement import compare_task
from superionic.stages.base import (
    Candidate,
    Earlier,
    Estimate,
    RelaxedOrdering,
    Workbench,
    failures_of,
    lowest_of_each,
    nothing_left,
)
from superionic.stages.dft.result import (
    ByReference,
    CalculatedCell,
    DftResult,
    KindOfEnergy,
    PolymorphGap,
    ReferenceEnergies,
    RelaxedByReference,
)
from superionic.stages.labelling import (
    ChosenLabeller,
    dispersion_task,
    load_labeller,
    seconds_of_label,
)
from superionic.stages.phase_diagram import hull_task
from superionic.structures.crystal.refined_cell import parameters

if TYPE_CHECKING:
    from superionic.results.stability import PhaseDiagram
    from superionic.stages.dft.settings import DftSettings

_HOUR_S: Final = 3600.0
# Calculations of a relaxation that starts where a potential ended.
_QUASI_NEWTON_STEPS: Final = 30
_STEPS: Final = 80


@dataclass(frozen=True)
class Minimisation(ArgumentGroup):
    """How a segment relaxes.

    Attributes
    ----------
    optimizer, fmax_eV_per_A, relax_cell
        As in the ``dft`` section.
    steps
        Steps after which the segment ends.
    """

    optimizer: Optimizer
    fmax_eV_per_A: float
    relax_cell: bool
    steps: int


@dataclass(frozen=True)
class RelaxationSegment:
    """A relaxation after one segment.

    Attributes
    ----------
    relaxed
        The structure reached so far.
    state
        State from which it continues; None once it has converged.
    reference
        The method of its last calculation.
    """

    relaxed: RelaxedOrdering
    state: Relaxation | None
    reference: Reference


@dataclass
class _Evaluated:
    """One structure on its way.

    Attributes
    ----------
    point
        Its single point: a part of a task's result.
    methods
        The methods of its calculations, by the hash of their settings; one, if all is well.
    segment
        Last segment of its relaxation so far.
    n_steps, goes_on
        Steps so far, and whether further ones follow.
    relaxed
        Task with the structure at the end of its relaxation; None before, and for one that failed.
    """

    candidate: Candidate
    point: Label
    methods: dict[str, Reference] = field(default_factory=dict)
    segment: Task[RelaxationSegment] | None = None
    n_steps: int = 0
    goes_on: bool = True
    relaxed: Task[RelaxedOrdering] | None = None

    def uses(self, method: Reference) -> None:
        """Note the method of a calculation."""
        self.methods[method.settings_hash] = method


def run(settings: DftSettings, bench: Workbench, earlier: Earlier) -> DftResult:
    """Calculate single points of the lowest orderings, relax those asked for, and compare both with the potential.

    Raises
    ------
    StageError
        If no single point succeeds, or results are by more than one method.
    """
    name = settings.stand_in
    method = ChosenLabeller.of(settings, None if name is None else bench.potentials[name])
    phases = [candidate for candidate in earlier.candidates if candidate.is_reference]
    lowest = lowest_of_each(earlier.candidates, max(settings.relax, settings.single_points))
    evaluated, failures = _single_points(bench, method, [*lowest, *phases])
    relaxing = {each.id for each in (*lowest_of_each(earlier.candidates, settings.relax), *phases)}
    relaxed = [each for each in evaluated if settings.relax and each.candidate.id in relaxing]
    failures = (*failures, *_relax(settings, bench, method, relaxed))
    reference = _one_method(evaluated)
    energies = [
        _energies(bench, reference, earlier, "single points", [(each, each.point.energy_eV) for each in evaluated])
    ]
    ended = [(each, each.relaxed.result.energy_eV) for each in relaxed if each.relaxed is not None]
    if any(not each.candidate.is_reference for each, _ in ended):
        energies.append(_energies(bench, reference, earlier, "relaxed structures", ended))
    return DftResult(
        stage=bench.stage,
        failures=failures,
        reference=reference,
        stand_in=name,
        potential=earlier.results.rank[-1].potential_name,
        structures=tuple(_described(bench, earlier, each) for each in evaluated),
        energies=tuple(energies),
    )


def plan(settings: DftSettings, n_relaxed: Sequence[int], n_atoms: float) -> Estimate:
    """Estimate the work from about how many steps a relaxation takes that starts where a potential ended."""
    relaxed = sum(min(settings.relax, each) for each in n_relaxed)
    points = sum(min(max(settings.relax, settings.single_points), each) for each in n_relaxed)
    steps = min(settings.max_steps, _QUASI_NEWTON_STEPS if settings.optimizer == "QN" else _STEPS)
    work = f"{points} single points and {relaxed} relaxations by {settings.engine}"
    if settings.engine == "vasp":
        work += ", whose cost is not estimated"
    calculations = points + relaxed * steps
    return Estimate(
        work,
        points + relaxed * -(-steps // settings.segment_steps),
        calculations * seconds_of_label(settings, n_atoms),
        0.05 * calculations,
    )


def _single_points(
    bench: Workbench, method: ChosenLabeller, candidates: Sequence[Candidate]
) -> tuple[list[_Evaluated], tuple[Failure, ...]]:
    """Calculate the energies of structures as the potential left them; return those that succeed, and failures."""
    labels = [method.label(bench, f"single point of {each.id}", each.structure) for each in candidates]
    if method.dispersion is not None:
        labels = [
            bench.task(
                f"dispersion of {each.id}",
                dispersion_task.of(label=label.result, atoms=each.structure, dispersion=method.dispersion),
            )
            for each, label in zip(candidates, labels, strict=True)
        ]
    outcomes = bench.runner.gather(labels)
    failures = failures_of(outcomes)
    evaluated = []
    for each, outcome in zip(candidates, outcomes, strict=True):
        if outcome.ok:
            evaluated.append(_Evaluated(each, outcome.task.result))
            evaluated[-1].uses(Reference.of(outcome.value))
    if all(each.candidate.is_reference for each in evaluated):
        fix = "change the settings of the method, or leave the stage out"
        raise nothing_left("the single point of every ordering failed", failures, where=bench.stage, fix=fix)
    return evaluated, failures


def _relax(
    settings: DftSettings, bench: Workbench, method: ChosenLabeller, structures: Sequence[_Evaluated]
) -> tuple[Failure, ...]:
    """Relax structures, a segment of each at a time, until each has converged, failed or used up its steps."""
    failures: list[Failure] = []
    number = 0
    while moving := [each for each in structures if each.goes_on]:
        number += 1
        # All have taken the same number of steps.
        steps = min(settings.segment_steps, settings.max_steps - moving[0].n_steps)
        segments = [_segment(settings, bench, method, each, number, steps) for each in moving]
        for each, outcome in zip(moving, bench.runner.gather(segments), strict=True):
            each.segment = outcome.task
            if outcome.failure is not None:
                failures.append(outcome.failure)
                each.goes_on = False
                continue
            each.uses(outcome.value.reference)
            each.n_steps += steps
            each.goes_on = not outcome.value.relaxed.converged and each.n_steps < settings.max_steps
            if not each.goes_on:
                call = relaxed_structure_task.of(segment=outcome.task.result)
                each.relaxed = bench.task(f"relaxed structure of {each.candidate.id}", call)
    bench.runner.gather([each.relaxed for each in structures if each.relaxed is not None])
    return tuple(failures)


def _segment(
    settings: DftSettings, bench: Workbench, method: ChosenLabeller, each: _Evaluated, number: int, steps: int
) -> Task[RelaxationSegment]:
    """Build the task of the next segment, from the single point or from the segment before."""
    before = None if each.segment is None else each.segment.result
    call = relax_segment_task.of(
        labeller=method.name,
        labeller_settings=method.settings,
        dispersion=method.dispersion,
        how=Minimisation(settings.optimizer, settings.fmax_eV_per_A, settings.relax_cell, steps),
        atoms=each.candidate.structure if before is None else None,
        label=each.point if before is None else None,
        before=before,
    )
    segment = bench.task(f"relaxation of {each.candidate.id}, segment {number}", call, engine=method.engine)
    return replace(segment, walltime_s=settings.segment_limit_h * _HOUR_S)


def _one_method(evaluated: Sequence[_Evaluated]) -> Reference:
    """Return the method of all calculations.

    Raises
    ------
    StageError
        If there are several: a program of another version ran, say.
    """
    first, *others = {key: method for each in evaluated for key, method in each.methods.items()}.values()
    if others:
        named = " and ".join(f"{one.code} {one.version} with {one.functional}" for one in (first, others[0]))
        raise StageError(
            f"the calculations are by two methods ({named}), whose energies make no hull together",
            where="dft",
            fix="state the version that runs, as `dft.vasp.version`, and run again",
        )
    return first


def _energies(
    bench: Workbench,
    reference: Reference,
    earlier: Earlier,
    of: KindOfEnergy,
    energies: Sequence[tuple[_Evaluated, float]],
) -> ReferenceEnergies:
    """Place energies by the reference method (parts of results) on a hull, and compare their order."""
    hull = earlier.results.hull[-1]
    candidates = [each.candidate for each, _ in energies]
    formulas = {candidate.formula for candidate in candidates}
    missing = tuple(member for member in hull.end_members if member not in formulas)
    placed = None
    if not missing:
        placed = bench.task(
            f"hull of {of}",
            hull_task.of(
                end_members=list(hull.end_members),
                energy_convention=reference.energy_convention,
                formula_unit=hull.formula_unit,
                replacements=[pair for axis in earlier.results.axes for pair in axis.replacements],
                mobile_ion=bench.mobile_ion,
                identities=[candidate.identity for candidate in candidates],
                compositions=[candidate.relaxation.composition for candidate in candidates],
                energies_eV=[energy for _, energy in energies],
            ),
        )
    orderings = [(each.candidate, energy) for each, energy in energies if not each.candidate.is_reference]
    compared = bench.task(
        f"order of {of}",
        compare_task.of(
            count=len(orderings),
            orderings=[candidate.ordering for candidate, _ in orderings],
            seed=bench.seed_for("order", of),
            compositions=[candidate.relaxation.composition for candidate, _ in orderings],
            first_eV=[candidate.relaxation.energy_eV for candidate, _ in orderings],
            second_eV=[energy for _, energy in orderings],
        ),
    )
    diagram = None if placed is None else bench.runner.one(placed)
    return ReferenceEnergies(
        of=of,
        diagram_key=None if placed is None else placed.key,
        diagram=diagram,
        missing=missing,
        gaps=() if diagram is None else _gaps(diagram, candidates),
        ranking_key=compared.key,
        ranking=bench.runner.one(compared),
    )


def _gaps(diagram: PhaseDiagram, candidates: Sequence[Candidate]) -> tuple[PolymorphGap, ...]:
    """Return the energy of each crystal over that of the last one, at each composition that both have."""
    *others, last = dict.fromkeys(each.material.crystal for each in candidates if not each.is_reference)
    n_atoms = {each.id: each.n_atoms for each in candidates}
    units = {entry.identity.id: entry.formula_units for entry in diagram.entries}
    by_potential: dict[tuple[str, str], float] = {}
    for each in candidates:
        place, energy = (each.formula, each.material.crystal), each.relaxed_eV_per_atom
        if energy is not None:
            by_potential[place] = min(energy, by_potential.get(place, energy))
    gaps = []
    for item in diagram.polymorphs:
        lowest = {each.crystal: each for each in item.energies}
        for crystal in others:
            if crystal not in lowest or last not in lowest:
                continue
            gap, named = lowest[crystal].energy_eV_per_atom - lowest[last].energy_eV_per_atom, lowest[last].identity.id
            gaps.append(
                PolymorphGap(
                    formula=item.formula,
                    point=item.point,
                    crystal=crystal,
                    other=last,
                    eV_per_atom=gap,
                    eV_per_formula_unit=gap * n_atoms[named] / units[named],
                    potential_eV_per_atom=by_potential[item.formula, crystal] - by_potential[item.formula, last],
                )
            )
    return tuple(gaps)


def _described(bench: Workbench, earlier: Earlier, each: _Evaluated) -> ByReference:
    candidate = each.candidate
    entry = next(one for one in earlier.results.hull[-1].entries if one.identity == candidate.identity)
    ended = bench.runner.value_of(candidate.relaxation)
    relaxed = None if each.relaxed is None else bench.runner.one(each.relaxed)
    return ByReference(
        identity=candidate.identity,
        formula=candidate.formula,
        n_atoms=ended.n_atoms,
        potential_eV_per_atom=ended.energy_eV / ended.n_atoms,
        potential_cell=_cell(ended.atoms),
        potential_formation_eV_per_atom=entry.formation_energy_eV_per_atom,
        potential_above_hull_eV_per_atom=entry.e_above_hull_eV_per_atom,
        single_point_key=ref_of(each.point).task.key,
        single_point_eV_per_atom=bench.runner.value_of(each.point).energy_eV / ended.n_atoms,
        relaxed=None
        if relaxed is None or each.relaxed is None
        else RelaxedByReference(
            key=each.relaxed.key,
            energy_eV_per_atom=relaxed.energy_eV / relaxed.n_atoms,
            cell=_cell(relaxed.atoms),
            largest_force_eV_per_A=relaxed.largest_force_eV_per_A,
            n_steps=relaxed.n_steps,
            n_evaluations=relaxed.n_evaluations,
            converged=relaxed.converged,
        ),
    )


def _cell(atoms: Atoms) -> CalculatedCell:
    lengths, angles = parameters(np.asarray(atoms.cell.array))
    return CalculatedCell(lengths, angles, float(atoms.get_volume()) / len(atoms))


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=1)
def relax_segment_task(
    context: Context,
    *,
    labeller: str,
    labeller_settings: Mapping[str, Any],
    how: Minimisation,
    dispersion: Mapping[str, Any] | None = None,
    atoms: Atoms | None = None,
    label: Label | None = None,
    before: RelaxationSegment | None = None,
) -> RelaxationSegment:
    """Take some steps with a structure: the first from its single point, or further ones after a segment."""
    from superionic.dynamics.relax import go_on, relax
    from superionic.labels.as_potential import LabellerAsPotential

    def progress(fraction: float, message: str) -> None:
        step = method.n_labels + 1
        context.progress(min(1.0, (method.n_labels + fraction) / how.steps), f"calculation {step}, {message}")

    method = LabellerAsPotential(
        load_labeller(labeller, labeller_settings, context),
        dispersion=dispersion,
        scratch=context.scratch,
        progress=progress,
        first=None if atoms is None or label is None else (atoms, label),
    )
    if before is not None and before.state is not None:
        done = go_on(before.state, method, fmax_eV_per_A=how.fmax_eV_per_A, max_steps=how.steps)
    elif atoms is not None:
        done = relax(
            atoms,
            method,
            fmax_eV_per_A=how.fmax_eV_per_A,
            max_steps=how.steps,
            cell=how.relax_cell,
            optimizer=how.optimizer,
        )
    else:
        raise ValueError("a relaxation that has converged cannot continue")
    if method.last is None:
        raise ValueError("a segment without a calculation")
    return RelaxationSegment(RelaxedOrdering.of(done), None if done.converged else done, Reference.of(method.last))


@task(version=1)
def relaxed_structure_task(_context: Context, *, segment: RelaxationSegment) -> RelaxedOrdering:
    """Return the end of a relaxation as a result of its own."""
    return segment.relaxed
