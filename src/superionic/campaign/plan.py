"""What a campaign will do, before it does it: stages, counts, estimated hours, files.

For stages that have begun, the cost so far is known and the remainder is estimated from the tasks that are done. Other
costs were measured on one core of a small server with one thread (see ``docs/performance.md``); they distinguish
minutes from days, no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from superionic.errors import CompositionError
from superionic.execution.codec import to_tree
from superionic.execution.engines import CORE, resolve_engine
from superionic.execution.sites.base import kind_of_task
from superionic.potentials.dispersion import EVALUATION_S_PER_ATOM as DISPERSION_S_PER_ATOM
from superionic.references import normal_formula
from superionic.registry import DELTA, VOLUME_OF_COSTS_A3, models
from superionic.report.words import listing
from superionic.results.identity import Material, OrderedCell
from superionic.settings.base import STUDENT, at_size
from superionic.settings.distil import resolved
from superionic.settings.inputs import chosen_dispersion
from superionic.settings.learn import Learning, learning_of
from superionic.settings.sample import SampleSettings
from superionic.settings.stages import STAGES, Stage
from superionic.stages.labelling import seconds_of_label

if TYPE_CHECKING:
    from pathlib import Path

    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.status import StageStatus
    from superionic.execution.sites.site_file import Kind
    from superionic.results.orderings import LeftOutCell
    from superionic.settings.distil import ResolvedDistil
    from superionic.settings.draws import DrawSettings
    from superionic.settings.enumerate import EnumerateSettings
    from superionic.settings.transport import TransportSettings
    from superionic.stages.base import Estimate
    from superionic.stages.enumerate.spaces import Space
    from superionic.structures.crystal.disordered import DisorderedCrystal

# CPU seconds per epoch and labelled atom.
_TRAINING_S_PER_ATOM = 0.012
_STUDENT_TRAINING_S_PER_ATOM = 0.00005
_CORRECTION_S_PER_ATOM = 0.001  # all epochs together
_MORE_KPOINTS = 3.0  # cost of a label with more k-points, over that of one
_RELAXATION_STEPS = 120
_QUASI_NEWTON_STEPS = 40
_LISTED_PER_S = 1e7
_LISTING_S, _SEARCH_S, _DRAW_S = 2.0, 30.0, 1e-3
# Replica exchange of orderings: attempted swaps a second, temperatures, and what a run costs besides.
_SWAPS_PER_S, _REPLICAS, _MONTE_CARLO_S = 3e6, 10, 5.0
_BYTES_PER_ATOM_AND_FRAME = 24


@dataclass(frozen=True)
class PlanLine:
    """What one stage will do.

    Attributes
    ----------
    stage, work
        The stage, and its work in words.
    tasks
        Approximate number of calculations.
    cpu_hours
        CPU time of the whole stage.
    megabytes
        Estimated size of its files.
    spent_cpu_hours
        What of it was spent already.
    basis
        What ``cpu_hours`` rests on: ``measured`` on tasks of this campaign, ``estimated``, or both.
    kind
        Jobs of a site in which most of its tasks run.
    chain_share
        Share of ``cpu_hours`` in the longest chain of tasks in which each waits for the one before, such as the
        segments of a run or the epochs of a training: workers beyond its inverse do not shorten it.
    """

    stage: str
    work: str
    tasks: int
    cpu_hours: float
    megabytes: float
    spent_cpu_hours: float = 0.0
    basis: str = "estimated"
    kind: Kind = "core"
    chain_share: float = 0.0

    def wall_hours(self, workers: int) -> float:
        """Estimate the time to wait for the rest of the stage, as if it were made of chains like its longest."""
        left = max(0.0, self.cpu_hours - self.spent_cpu_hours)
        if self.chain_share <= 0.0:
            return left / workers
        chains = math.floor(1.0 / self.chain_share + 1e-6)
        return left * max(1.0 / workers, math.ceil(chains / workers) * self.chain_share)


@dataclass(frozen=True)
class PlannedSpace:
    """How many orderings one material has in one supercell.

    Attributes
    ----------
    cell
        Crystal, composition and supercell.
    formula
        Reduced formula of the nearest integer composition.
    deviation
        Root-mean-square difference in occupancy from the refinement.
    method
        How they will be enumerated.
    n_atoms
        Atoms of the cell.
    volume_A3
        Volume of the cell, as refined.
    totals
        Atoms of each element.
    raw, distinct, distinct_allowed
        All decorations, those distinct by symmetry, and those of these that keep like ions apart (None: not counted).
    lost
        Species of the refinement of which nothing is left, with the atoms that the refinement has of them.
    cautions
        Cautions about the composition, in sentences.
    """

    cell: OrderedCell
    formula: str
    deviation: float
    method: str
    n_atoms: int
    volume_A3: float
    totals: Mapping[str, int]
    raw: int
    distinct: int
    distinct_allowed: int | None
    lost: Mapping[str, float] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The plan of a campaign.

    Attributes
    ----------
    lines
        One per stage.
    spaces
        What will be enumerated: crystal, composition, formula, atoms, raw and distinct orderings.
    engines
        Engines that are needed, and where each was found.
    workers
        Tasks at once.
    run_folder
        Where files will be written.
    notes
        Remarks on the reading of crystals and references, by their names.
    cautions
        What users should know about potentials before using them, by their names in the campaign.
    """

    lines: tuple[PlanLine, ...]
    spaces: tuple[PlannedSpace, ...]
    engines: Mapping[str, str]
    workers: int
    run_folder: str
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cautions: Mapping[str, str] = field(default_factory=dict)

    @property
    def cpu_hours(self) -> float:
        """CPU time of all stages."""
        return sum(line.cpu_hours for line in self.lines)

    @property
    def spent_cpu_hours(self) -> float:
        """What of it was spent already."""
        return sum(line.spent_cpu_hours for line in self.lines)

    @property
    def wall_hours(self) -> float:
        """Estimated time to wait for the rest, stage by stage."""
        return sum(line.wall_hours(self.workers) for line in self.lines)

    @property
    def chained(self) -> tuple[str, ...]:
        """Stages with a chain of tasks so long that more workers would not shorten them."""
        left = [line for line in self.lines if line.cpu_hours > line.spent_cpu_hours]
        return tuple(line.stage for line in left if line.chain_share * self.workers > 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        tree: dict[str, Any] = to_tree(self)
        stages = tree.pop("lines")
        totals = {"cpu_hours": self.cpu_hours, "spent_cpu_hours": self.spent_cpu_hours, "wall_hours": self.wall_hours}
        return tree | totals | {"stages": stages}

    def __str__(self) -> str:
        rows = [f"{line.stage:<10} {line.work}: about {line.cpu_hours:.2f} CPU hours" for line in self.lines]
        return "\n".join([*rows, f"in all about {self.cpu_hours:.2f} CPU hours on {self.workers} workers"])


def make_plan(
    file: CampaignFile,
    crystals: Mapping[str, DisorderedCrystal],
    references: Mapping[str, DisorderedCrystal],
    run_folder: Path,
    begun: Sequence[StageStatus] = (),
) -> Plan:
    """Count the orderings of the crystals, estimate every stage, and find the engines.

    Parameters and errors are those of :func:`estimate_plan`.

    Raises
    ------
    EngineError
        If an engine is not installed.
    """
    from superionic.campaign.prepare import needed_engines
    from superionic.campaign.spaces import choose_potentials

    engines = {name: resolve_engine(name).kind for name in needed_engines(file, choose_potentials(file))}
    return replace(estimate_plan(file, crystals, references, run_folder, begun), engines=engines)


def estimate_plan(
    file: CampaignFile,
    crystals: Mapping[str, DisorderedCrystal],
    references: Mapping[str, DisorderedCrystal],
    run_folder: Path,
    begun: Sequence[StageStatus] = (),
    *,
    spaces: Sequence[PlannedSpace] | None = None,
) -> Plan:
    """Make a plan without looking for engines, which need not be installed.

    Parameters
    ----------
    crystals, references
        The crystals and references of the file, read.
    run_folder
        Where files will be written.
    begun
        How far each stage is; empty before the first run.
    spaces
        The orderings of the crystals where they are counted already, by the plan of a file with the same crystals and
        settings of their composition; counted if None.

    Returns
    -------
    Plan
        With no entry in ``engines``.

    Raises
    ------
    SuperionicError
        If a crystal, composition or potential will not do.
    """
    from superionic.campaign.prepare import cautions
    from superionic.campaign.spaces import choose_potentials, fitting_spaces
    from superionic.execution.executors import default_slots

    potentials = choose_potentials(file)
    for crystal in references.values():
        if not crystal.is_ordered:
            raise CompositionError(f"the reference {crystal.name} is disordered", fix="give an ordered structure")
    left_out: Sequence[LeftOutCell] = ()
    if spaces is None:
        built, left_out = fitting_spaces(file, crystals)
        spaces = [count_space(file.enumerate, crystals[space.material.crystal], space) for space in built]
    _demand_compositions(file, spaces)
    cost = _Costs(file, [len(crystal.sites) for crystal in references.values()], spaces)
    engine = next((chosen.engine for chosen in potentials.values() if chosen.engine != CORE), CORE)
    done = {stage.stage: stage for stage in begun}
    lines = []
    for stage in STAGES:
        line = cost.of(stage) if stage.name in file.stages else None
        if line is not None:
            method = file.reference_methods.get(stage.name)
            labeller = {} if method is None else {"labeller": method.engine}
            kind = kind_of_task(engine if stage.evaluates else CORE, labeller)
            lines.append(_measured(file, replace(line, kind=kind), done.get(stage.name)))
    slots = default_slots(file.execution.workers, file.execution.threads_per_worker)
    said = cautions(potentials)
    notes = {name: crystal.notes for name, crystal in {**references, **crystals}.items() if crystal.notes}
    for one in left_out:
        name = one.cell.material.crystal
        notes[name] = (*notes.get(name, ()), f"{one.cell.id} is left out: {one.reason}")
    return Plan(tuple(lines), tuple(spaces), {}, slots.workers, str(run_folder), notes, said)


def _demand_compositions(file: CampaignFile, spaces: Sequence[PlannedSpace]) -> None:
    """Refuse compositions that a stage names and the campaign does not have, before anything is computed."""
    sections = [
        ("select", file.select),
        ("distil", file.distil),
        *(("transport", series) for series in file.transport_series),
    ]
    draws = [("transport.draws", series.draws) for series in file.transport_series]
    formulas = {normal_formula(space.formula): space.formula for space in spaces}
    drawn = [("analyse.densities", None if file.analyse is None else file.analyse.densities)]
    for key, section in (*sections, *draws, *drawn):
        for formula in () if section is None else section.compositions:
            if normal_formula(formula) not in formulas:
                raise CompositionError(
                    f"the campaign has no composition {formula}",
                    where=f"{key}.compositions",
                    fix=f"name some of {', '.join(dict.fromkeys(formulas.values()))}",
                )


def _measured(file: CampaignFile, line: PlanLine, stage: StageStatus | None) -> PlanLine:
    """Replace the estimate for a stage by what was measured, as far as it goes."""
    if stage is None or stage.done == 0:
        return line
    if stage.tasks_per_h is None:  # done, but the history of it is lost
        return replace(line, spent_cpu_hours=line.cpu_hours if stage.state == "done" else 0.0)
    spent = stage.cpu_s / 3600.0
    if stage.state == "done":
        return replace(line, cpu_hours=spent, spent_cpu_hours=spent, basis="measured")
    if stage.cpu_left_s is None:
        return replace(line, cpu_hours=max(line.cpu_hours, spent), spent_cpu_hours=spent)
    total_h = spent + stage.cpu_left_s / 3600.0
    if line.stage in ("transport", "analyse") or (line.stage in ("sample", "label") and _has_one_round(file)):
        return replace(line, cpu_hours=total_h, spent_cpu_hours=spent, basis="measured")
    # Further rounds may follow, whose tasks are not known yet.
    return replace(line, cpu_hours=max(line.cpu_hours, total_h), spent_cpu_hours=spent, basis="measured and estimated")


def _has_one_round(file: CampaignFile) -> bool:
    learning = learning_of(file.learn, file.sample or SampleSettings())
    return learning.strategy == "one-shot"


def count_space(settings: EnumerateSettings, crystal: DisorderedCrystal, space: Space) -> PlannedSpace:
    """Count the orderings of one space, exactly."""
    counted = space.settings.counted(
        crystal,
        max_deviation=settings.max_composition_deviation,
        min_distance_A=settings.min_distance_A,
        max_listed=settings.max_listed,
    )[0]
    composition, count = counted.composition, counted.count
    return PlannedSpace(
        cell=space.cell,
        formula=composition.formula,
        deviation=composition.deviation,
        method=counted.plan.method if settings.method == "auto" else settings.method,
        n_atoms=sum(composition.totals.values()),
        volume_A3=abs(float(np.linalg.det(crystal.cell_A) * np.linalg.det(np.array(space.settings.supercell)))),
        totals=dict(composition.totals),
        raw=count.raw,
        distinct=count.distinct,
        distinct_allowed=counted.distinct,
        lost=composition.lost,
        cautions=(composition.loss,) if composition.lost else (),
    )


def _share(chain: float, whole: float) -> float:
    """Return the share of a whole in its longest chain."""
    return min(1.0, chain / whole) if whole > 0.0 else 0.0


def _chain_of(lines: Sequence[PlanLine]) -> float:
    """Return the share of the chains of lines that follow one another in all of them."""
    return _share(sum(line.chain_share * line.cpu_hours for line in lines), sum(line.cpu_hours for line in lines))


class _Costs:
    def __init__(self, file: CampaignFile, references: Sequence[int], spaces: Sequence[PlannedSpace]) -> None:
        self._file = file
        self._spaces = spaces
        ordering = self._file.enumerate
        most = ordering.monte_carlo.n_samples if ordering.method == "monte-carlo" else ordering.ewald_keep
        self._kept: list[int] = []
        room: dict[Material, int] = {}
        for space in spaces:  # the supercells of a material share the number that goes on
            left = room.get(space.cell.material, most)
            self._kept.append(min(space.distinct, left))
            room[space.cell.material] = left - self._kept[-1]
        self._atoms = float(np.mean([s.n_atoms for s in spaces]))
        # What an atom costs grows with the number of its neighbours.
        self._crowding = float(np.mean([VOLUME_OF_COSTS_A3 * s.n_atoms / s.volume_A3 for s in spaces]))
        self._references = references
        self._groups = len({s.cell.material for s in spaces})

    def of(self, stage: Stage) -> PlanLine | None:
        if not stage.is_one_folder:
            line: PlanLine | None = getattr(self, stage.name)()
            return line
        relaxed = tuple(self._relaxed_each().values())
        estimate: Estimate = stage.part("", "plan")(self._file.section(stage.name), relaxed, self._atoms)
        return PlanLine(stage.name, estimate.work, estimate.tasks, estimate.cpu_s / 3600, estimate.megabytes)

    def _per_step(self, name: str | None, atoms: float) -> float:
        entry = self._file.potentials[name] if name else next(iter(self._file.potentials.values()))
        term = chosen_dispersion(entry.dispersion)
        dispersion = 0.0 if term is None else DISPERSION_S_PER_ATOM * (term["cutoff_A"] / 32.0) ** 3
        return (models()[entry.engine].evaluation_of(entry.model) * self._crowding + dispersion) * atoms

    def _per_step_of_student(self, atoms: float) -> float:
        return models()["nep"].evaluation_s_per_atom * self._crowding * atoms

    def enumerate(self) -> PlanLine:
        settings = self._file.enumerate
        if settings.method == "monte-carlo":
            return self._monte_carlo()
        listed = [s.distinct for s in self._spaces if s.method == "list"]
        seconds = sum(_LISTING_S + n / _LISTED_PER_S for n in listed)
        seconds += (len(self._spaces) - len(listed)) * (
            _SEARCH_S if settings.method in {"auto", "search"} else settings.sample_draws * _DRAW_S
        )
        work = f"{len(self._spaces)} composition{'s' * (len(self._spaces) > 1)}"
        if listed:
            work += f", {sum(listed):,} orderings listed"
        n_retained = sum(self._kept)
        return PlanLine("enumerate", work, 2 * len(self._spaces), seconds / 3600, n_retained * 2e-3)

    def _monte_carlo(self) -> PlanLine:
        settings, spaces = self._file.enumerate.monte_carlo, len(self._spaces)
        sites = sum(s.n_atoms for s in self._spaces)
        run = spaces * _MONTE_CARLO_S + sites * settings.n_sweeps * _REPLICAS / _SWAPS_PER_S
        draws = f"{settings.n_samples} draws of each at {settings.temperature_K:g} K"
        work = f"{spaces} composition{'s' * (spaces > 1)}, {draws}"
        n_retained = sum(self._kept)
        if settings.potential is None:
            return PlanLine("enumerate", work, 2 * spaces, run / 3600, n_retained * 2e-3)
        # All rounds: fewer where the fit converges earlier, or the space has fewer orderings.
        most = settings.initial + settings.max_rounds * settings.batch
        n_energies = sum(min(s.distinct, most) for s in self._spaces)
        energy = (settings.relax_steps + 1) * self._per_step(settings.potential, self._atoms)
        seconds = (settings.max_rounds + 2) * run + n_energies * energy
        work += f", up to {n_energies} energies by {settings.potential} in up to {settings.max_rounds} rounds"
        tasks = n_energies + (settings.max_rounds + 3) * spaces
        return PlanLine("enumerate", work, tasks, seconds / 3600, (n_energies + n_retained) * 5e-3)

    def rank(self) -> PlanLine:
        settings, steps = self._file.rank, _RELAXATION_STEPS
        if settings.optimizer == "QN":
            steps = _QUASI_NEWTON_STEPS
        per_step = self._per_step(settings.potential, self._atoms)
        seconds, screened = 0.0, self._kept
        if settings.prescreen != "none":
            screened = [min(kept, settings.prescreen_keep) for kept in self._kept]
        if settings.prescreen not in ("none", "ewald"):
            cheap = self._per_step(settings.prescreen, self._atoms)
            seconds += sum(self._kept) * (1 + settings.prescreen_steps) * cheap
        relaxed = sum(self._relaxed_each().values())
        audited = sum(
            min(all_ - kept, settings.prescreen_audit) for all_, kept in zip(self._kept, screened, strict=True)
        )
        seconds += audited * steps * per_step
        if settings.method == "single-points":
            seconds += (sum(screened) + relaxed * steps) * per_step
            work = f"{sum(screened)} single points, {relaxed + len(self._references)} relaxations"
        else:
            # The worst case of halving: where the noise is large, nothing is culled.
            seconds += sum(screened) * steps * per_step
            work = f"{sum(screened) + len(self._references)} relaxations"
            if settings.method == "halving":
                work = f"{sum(screened)} orderings, at least {relaxed} of them relaxed to the end"
        if audited:
            work += f", {audited} more to test the pre-screen by {settings.prescreen}"
        seconds += sum(steps * self._per_step(settings.potential, n) for n in self._references)
        for name in settings.compare_with:
            further = 1 if settings.compare_after == "same structures" else steps
            seconds += relaxed * further * self._per_step(name, self._atoms)
            work += f", compared with {name}"
        again = 0
        lowest = sum(min(count, settings.relax_top) for count in self._relaxed_each().values())
        if self._file.hull is not None and self._file.hull.repeat_with_fine_tuned:
            compared = sum(screened) if settings.method == "single-points" else relaxed
            again = compared + lowest
            seconds += (compared + lowest * steps) * per_step
            work += f"; by the fine-tuned potential {compared} single points and {lowest} relaxations"
        if sizes := self._sizes()[0]:
            again += (len(sizes) + 1) * lowest
            seconds += (len(sizes) + 1) * lowest * steps * per_step
            work += f", the lowest {lowest} again by potentials of {len(sizes) + 1} numbers of labels"
        tasks = sum(screened) + relaxed + audited + len(self._references) + again
        chain = _share(steps * per_step, seconds)
        return PlanLine("rank", work, tasks, seconds / 3600, 0.06 * sum(screened), chain_share=chain)

    def hull(self) -> PlanLine | None:
        return PlanLine("hull", "formation energies and the convex hull", 1, 0.0, 0.1)

    def select(self) -> PlanLine | None:
        return PlanLine("select", f"up to {self._selected()} orderings", 1, 0.0, 0.1)

    def _of(self, formulas: Sequence[str]) -> list[PlannedSpace]:
        """Return the spaces that have one of the compositions, or all where none is named."""
        requested = {normal_formula(formula) for formula in formulas}
        return [space for space in self._spaces if not requested or normal_formula(space.formula) in requested]

    def _materials_of(self, formulas: Sequence[str]) -> set[Material]:
        return {space.cell.material for space in self._of(formulas)}

    def _selected(self) -> int:
        """Return how many orderings `select` takes at most, of the compositions that it names."""
        settings, relaxed = self._file.select, self._relaxed_each()
        if settings is None:
            return sum(relaxed.values())
        among = self._materials_of(settings.compositions)
        return min(max(settings.count, len(among)), sum(relaxed[material] for material in among))

    def _runs(self) -> int:
        sample = self._file.sample
        if sample is None:
            return 0
        return int(self._selected() * sample.replicas * len(sample.temperatures_K))

    def _labels(self) -> int:
        if self._file.sample is None:
            return 0
        plan = self._learning()
        each = self._runs() // len(self._file.sample.temperatures_K)
        planned = each * sum(count for runs in plan.rounds for _, count in runs)
        if plan.strategy != "active":
            return planned
        most = planned + plan.active.max_rounds * plan.active.labels_per_round
        limit = plan.active.max_labels
        return int(most if limit is None else max(planned, min(most, limit)))

    def _tests(self) -> tuple[int, int]:
        """Return the number of test runs of a ladder, and of the labels of its test sets."""
        from superionic.stages.rungs import evenly_between

        sample, learn = self._file.sample, self._file.learn
        tests = learn.tests if learn is not None else None
        if sample is None or tests is None:
            return 0, 0
        relaxed, formulas = self._relaxed_each(), {s.cell.material: normal_formula(s.formula) for s in self._spaces}
        requested = {normal_formula(formula) for formula in self._file.select.compositions} if self._file.select else ()
        sampled = {formula for formula in formulas.values() if not requested or formula in requested}
        others = list(dict.fromkeys(formula for formula in formulas.values() if formula not in sampled))
        mixed = {others[index] for index in evenly_between(len(others), tests.mixtures)}
        starts = sum(formula in sampled | mixed for formula in formulas.values())
        runs = starts * sample.replicas * len(tests.temperatures_K or ())
        return runs, runs * tests.snapshots + sum(min(count, tests.orderings) for count in relaxed.values())

    def _learning(self) -> Learning:
        return learning_of(self._file.learn, self._file.sample or SampleSettings())

    def _trainings(self) -> int:
        plan = self._learning()
        return len(plan.rounds) + (int(plan.active.max_rounds) if plan.strategy == "active" else 0)

    def sample(self) -> PlanLine | None:
        settings = self._file.sample
        if settings is None:
            return None
        atoms = self._atoms * abs(round(float(np.linalg.det(np.array(settings.supercell)))))
        length = settings.heating_ps + settings.nvt_before_npt_ps + settings.npt_ps
        length += settings.equilibration_ps + settings.production_ps
        runs, work = self._runs(), f"{self._runs()} runs of {length:g} ps"
        plan = self._learning()
        if plan.strategy == "active":
            each = runs // len(settings.temperatures_K) * len(plan.explored_K)
            runs += each * (plan.active.max_rounds + 1)
            work += f", up to {plan.active.max_rounds + 1} explorations of {each} runs"
        if tests := self._tests()[0]:
            runs, work = runs + tests, f"{work}, and {tests} test runs"
        seconds = runs * length * 1000 / settings.timestep_fs * self._per_step(settings.potential, atoms)
        frames = runs * length * 1000 / settings.save_every_fs
        megabytes = frames * atoms * _BYTES_PER_ATOM_AND_FRAME / 1e6
        # The temperatures of a ladder follow one another, each by the potential that the one before taught.
        chain = _share(len(plan.rounds), runs)
        return PlanLine("sample", work, runs, seconds / 3600, megabytes, chain_share=chain)

    def label(self) -> PlanLine | None:
        settings = self._file.label
        if settings is None:
            return None
        count, tests = self._labels() + self._tests()[1], self._tests()[1]
        seconds = count * seconds_of_label(settings, self._atoms)
        work = f"{count} labels by {settings.engine} ({settings.functional}, {settings.ecut_eV:g} eV)"
        if (ecut_eV := settings.higher_ecut_eV) is not None:
            seconds += seconds_of_label(settings.model_copy(update={"ecut_eV": ecut_eV}), self._atoms)
            work += f", one at {ecut_eV:g} eV to check the cutoff"
        if settings.checks_kpoints:
            crystals = len({space.cell.material.crystal for space in self._spaces})
            seconds += crystals * _MORE_KPOINTS * seconds_of_label(settings, self._atoms)
            work += f", {crystals} with more k-points to check these"
        if settings.engine == "vasp":
            work += ", whose cost is not estimated"
        elif settings.is_finished:
            work = "finished labels"
        elif settings.engine == "tblite":
            work = f"{count} labels by tblite ({settings.tblite.method})"
        elif settings.engine != "gpaw":
            work = f"{count} labels by {settings.engine}, a stand-in for DFT"
        if settings.dispersion is not None:
            seconds += count * self._atoms * DISPERSION_S_PER_ATOM
            work += ", with dispersion added"
        if tests:
            work += f", {tests} of them for test sets"
        chain = _share(1, count)
        return PlanLine("label", work, count, seconds / 3600, 0.05 * count, chain_share=chain)

    def train(self) -> PlanLine | None:
        settings = self._file.train
        if settings is None:
            return None
        trainings, members = self._trainings(), self._learning().members
        # Each training is on all labels so far, so the sets grow evenly up to the last one.
        whole = members * (trainings + 1) / 2.0
        at_once = settings.trainer == DELTA
        each_s = _CORRECTION_S_PER_ATOM if at_once else settings.epochs * _TRAINING_S_PER_ATOM
        seconds = whole * self._labels() * self._atoms * each_s
        segments = members * trainings * (1 if at_once else -(-settings.epochs // settings.epochs_per_segment))
        several = f", {trainings} trainings" if trainings > 1 else ""
        committee = f" of {members} potentials each" if members > 1 else ""
        sizes, too_many = self._sizes()
        seconds += settings.epochs * sum(sizes) * self._atoms * _TRAINING_S_PER_ATOM
        segments += sum(size > 0 for size in sizes) * -(-settings.epochs // settings.epochs_per_segment)
        apart = f"; others on {listing([str(size) for size in sizes if size])} of them" if any(sizes) else ""
        if too_many:
            most = f"the training set will have about {self._training_labels()} labels"
            apart += f"; none on {listing([str(size) for size in too_many])}: {most}"
        return PlanLine(
            "train",
            f"up to {settings.epochs} epochs on {self._labels()} labels{several}{committee}{apart}",
            segments,
            seconds / 3600,
            8.0 * segments,
            chain_share=_share(1, members * (1 + sum(size > 0 for size in sizes))),
        )

    def _training_labels(self) -> int:
        """Return about how many labels the last training set has."""
        train = self._file.train
        held_out = 0.0 if train is None else train.validation_fraction + train.test_fraction
        return round(self._labels() * (1.0 - held_out))

    def _sizes(self) -> tuple[list[int], list[int]]:
        """Return the numbers of labels of `learn.sizes` that will be there, and those that are too large."""
        sizes = self._file.learn.sizes if self._file.learn is not None else ()
        most = self._training_labels()
        return [size for size in sizes if size < most], [size for size in sizes if size >= most]

    def validate(self) -> PlanLine | None:
        settings, file = self._file.validate_, self._file
        potential = None if settings is None else settings.potential
        seconds = self._labels() * self._per_step(potential or file.rank.potential, self._atoms)
        if file.train is None:
            return PlanLine("validate", "errors on the labels", 2, seconds / 3600, 1.0)
        return PlanLine("validate", "errors before and after, on unseen runs", 2, seconds / 3600, 1.0)

    def volumes(self) -> PlanLine | None:
        settings = self._file.volumes
        if settings is None:
            return None
        atoms = self._atoms * abs(round(float(np.linalg.det(np.array(settings.supercell)))))
        lowest = self._groups * settings.per_composition
        runs = lowest * len(settings.temperatures_K) * settings.replicas
        length = runs * (settings.heating_ps + settings.nvt_before_npt_ps + settings.npt_ps)
        step = self._per_step_of(settings.potential, atoms)
        seconds = length * 1000 / settings.timestep_fs * step + lowest * _RELAXATION_STEPS * step
        frames = length * 1000 / settings.save_every_fs
        work = f"{runs} runs at constant pressure, {length:g} ps in all, {atoms:g} atoms; {lowest} relaxed cells"
        tasks, megabytes = runs + lowest, frames * atoms * _BYTES_PER_ATOM_AND_FRAME / 1e6
        done = {(settings.potential, settings.pressure_GPa)}
        for series in self._file.transport_series if settings.each_series else ():
            if series.npt_ps > 0 and (series.potential, series.pressure_GPa) not in done:
                done.add((series.potential, series.pressure_GPa))
                own = self._per_step_of(series.potential, atoms)
                seconds += length * 1000 / settings.timestep_fs * own + lowest * _RELAXATION_STEPS * own
        if len(done) > 1:
            work += f", by {len(done)} pairs of potential and pressure"
        chain = _share(1, runs * len(done))
        return PlanLine("volumes", work, tasks * len(done), seconds / 3600, megabytes * len(done), chain_share=chain)

    def _per_step_of(self, driver: str | None, atoms: float) -> float:
        """Return the seconds of a step of a stage that the campaign's own potential, or student, may drive."""
        if driver == STUDENT:
            return self._per_step_of_student(atoms)
        return self._per_step(driver if driver in self._file.potentials else self._file.rank.potential, atoms)

    def transport(self) -> PlanLine | None:
        too_many = [at_size(size) for size in self._sizes()[1]]
        lines = [self._series(each) for each in self._file.transport_series if each.potential not in too_many]
        if not lines:
            return None
        return replace(
            lines[0],
            work="; ".join(line.work for line in lines),
            tasks=sum(line.tasks for line in lines),
            cpu_hours=sum(line.cpu_hours for line in lines),
            megabytes=sum(line.megabytes for line in lines),
            chain_share=_chain_of(lines),
        )

    def _series(self, settings: TransportSettings) -> PlanLine:
        """Estimate one series of runs."""
        from superionic.stages.transport import lengths_at

        chosen = self._of(settings.compositions)
        times = abs(round(float(np.linalg.det(np.array(settings.supercell)))))
        atoms = float(np.mean([space.n_atoms for space in chosen])) * times
        orderings = len({space.cell.material for space in chosen}) * settings.per_composition
        runs = orderings * len(settings.temperatures_K) * settings.replicas
        before = settings.heating_ps + settings.nvt_before_npt_ps + settings.npt_ps
        lengths = [lengths_at(settings, temperature) for temperature in settings.temperatures_K]
        each = [before + of_run.nvt_equilibration_ps + of_run.production_ps for of_run in lengths]
        length = sum(each) * runs / len(each)
        is_first = settings is self._file.transport
        teachers = self._teachers() if settings.potential == STUDENT and is_first else [None]
        asked = self._asked(settings, runs, atoms, teachers)
        runs, length = runs * len(teachers), length * len(teachers)
        of_ps = 1000 / settings.timestep_fs * self._per_step_of(settings.potential, atoms)
        seconds = length * of_ps + asked
        chain = _share(max(each) * len(teachers) * of_ps, seconds)
        frames = length * 1000 / settings.save_every_fs
        name = "" if settings.name is None else f"{settings.name}: "
        work = f"{name}{runs} runs, {length:g} ps in all, {atoms:g} atoms"
        if len(teachers) > 1:
            work += f", by the students of {len(teachers)} teachers"
        megabytes = frames * atoms * _BYTES_PER_ATOM_AND_FRAME / 1e6
        line = PlanLine("transport", work, runs, seconds / 3600, megabytes, chain_share=chain)
        return line if settings.draws is None else self._with_draws(line, settings, settings.draws, each)

    def _with_draws(
        self, line: PlanLine, settings: TransportSettings, draws: DrawSettings, lengths_ps: Sequence[float]
    ) -> PlanLine:
        """Add orderings drawn in large cells: energies in small ones, Monte Carlo, relaxations and runs.

        Parameters
        ----------
        lengths_ps
            Length of a run at each temperature.
        """
        each_ps = sum(lengths_ps) * settings.replicas
        chosen = self._of(draws.compositions or settings.compositions)
        times = abs(round(float(np.linalg.det(np.array(draws.supercell)))))
        smallest = {s.cell.material: s for s in reversed(chosen)}
        atoms = [
            s.n_atoms * times / abs(round(float(np.linalg.det(np.array(s.cell.supercell))))) for s in smallest.values()
        ]
        most = draws.initial + draws.max_rounds * draws.batch
        n_energies = sum(min(s.distinct, most) for s in chosen if s.distinct > 1)
        runs = len(atoms) * draws.n_samples * len(settings.temperatures_K) * settings.replicas
        energy = (draws.relax_steps + 1) * self._per_step(draws.potential or self._file.rank.potential, self._atoms)
        seconds = n_energies * energy + sum(atoms) * draws.n_sweeps * _REPLICAS / _SWAPS_PER_S
        step = sum(self._per_step_of(settings.potential, n) for n in atoms) * draws.n_samples
        seconds += (each_ps * 1000 / settings.timestep_fs + _RELAXATION_STEPS) * step
        first = self._teachers()[:1]
        seconds += sum(self._asked(settings, runs / len(atoms), n, first) for n in atoms)
        # They follow the runs of the lowest orderings: relaxed first, then run.
        steps = max(lengths_ps) * 1000 / settings.timestep_fs + _RELAXATION_STEPS
        chain = line.chain_share * line.cpu_hours + steps * self._per_step_of(settings.potential, max(atoms)) / 3600
        cpu_hours = line.cpu_hours + seconds / 3600
        frames = each_ps * 1000 / settings.save_every_fs * draws.n_samples * sum(atoms)
        sizes = " and ".join(dict.fromkeys(f"{n:,.0f}" for n in atoms))
        work = f"; {draws.n_samples} draws of each of {len(atoms)} at {draws.temperature_K:g} K: up to {n_energies} "
        work += f"energies, {runs} runs, {draws.n_samples * len(atoms) * each_ps:g} ps in all, {sizes} atoms"
        return replace(
            line,
            work=line.work + work,
            tasks=line.tasks + runs + n_energies,
            cpu_hours=cpu_hours,
            chain_share=_share(chain, cpu_hours),
            megabytes=line.megabytes + frames * _BYTES_PER_ATOM_AND_FRAME / 1e6,
        )

    def _asked(self, settings: TransportSettings, runs: float, atoms: float, teachers: Sequence[str | None]) -> float:
        """Estimate the seconds in which each teacher labels frames of runs by its students."""
        if self._file.distil is None or settings.potential != STUDENT:
            return 0.0
        frames = runs * self._file.distil.production_frames
        return frames * sum(self._per_step(self._name_of_teacher(name), atoms) for name in teachers)

    def _name_of_teacher(self, name: str | None) -> str | None:
        return name if name in self._file.potentials else self._file.rank.potential

    def _teachers(self) -> Sequence[str | None]:
        return [None] if self._file.distil is None else self._file.distil.all_teachers

    def distil(self) -> PlanLine | None:
        if self._file.distil is None:
            return None
        settings = resolved(self._file.distil, self._file.student_transport)
        of_each = self._on_policy if settings.method == "on-policy" else self._teacher_runs
        lines = [of_each(settings, teacher) for teacher in settings.all_teachers]
        first = lines[0]
        several = "" if len(lines) == 1 else f", each for {len(lines)} teachers: {', '.join(settings.teachers or ())}"
        return replace(
            first,
            work=first.work + several,
            tasks=sum(line.tasks for line in lines),
            cpu_hours=sum(line.cpu_hours for line in lines),
            megabytes=sum(line.megabytes for line in lines),
            chain_share=_chain_of(lines),
        )

    def _teacher_runs(self, settings: ResolvedDistil, teacher_name: str | None) -> PlanLine:
        """Estimate students from runs of one teacher."""
        data, loop = settings.data, settings.explore
        atoms = self._atoms * abs(round(float(np.linalg.det(np.array(settings.supercell)))))
        temperatures = len(settings.temperatures_K)
        lowest = sum(min(count, data.orderings) for count in self._relaxed_each().values())
        starts = min(len(self._materials_of(settings.compositions)), data.md_orderings)
        steps_per_ps = 1000.0 / settings.timestep_fs
        length = starts * temperatures * (settings.npt_ps + settings.equilibration_ps + settings.production_ps)
        unseen = (starts + 1) // 2 * (settings.equilibration_ps + settings.held_out_ps)
        still = data.distorted + data.contacts + data.relax_cycles * data.relax_steps
        room = data.max_structures - loop.rounds * loop.labels_per_round
        first = min(room, starts * temperatures * data.snapshots + lowest * still)
        most = min(data.max_structures, first + loop.rounds * loop.labels_per_round)
        name = self._name_of_teacher(teacher_name)
        teacher = ((length + unseen) * steps_per_ps + most) * self._per_step(name, atoms)
        epochs = settings.epochs + loop.rounds * settings.refit_epochs
        learning = settings.students * epochs * most * atoms * _STUDENT_TRAINING_S_PER_ATOM
        hot = starts * (loop.rounds + 1) * loop.length_ps
        own = settings.students * (hot + length) * steps_per_ps * self._per_step_of_student(atoms)
        work = (
            f"{length + unseen:g} ps of the teacher, up to {most} labels, {settings.students} students, "
            f"up to {loop.rounds} rounds"
        )
        segments = settings.students * -(-epochs // settings.epochs_per_segment)
        tasks = starts * temperatures * 4 + most // 20 + segments
        # One run of the teacher, the epochs of one student, and its runs.
        one_run = (settings.npt_ps + settings.equilibration_ps + settings.production_ps) * steps_per_ps
        chain_s = one_run * self._per_step(name, atoms) + (learning + own / max(1, starts)) / settings.students
        seconds = teacher + learning + own
        megabytes = 0.01 * most + segments
        return PlanLine("distil", work, tasks, seconds / 3600, megabytes, chain_share=_share(chain_s, seconds))

    def _on_policy(self, settings: ResolvedDistil, teacher_name: str | None) -> PlanLine:
        """Estimate students from labels alone: what the teacher labels, how the students run, how they learn."""
        own, students, nep = settings.on_policy, settings.students, self._per_step_of_student(1.0)
        atoms = self._atoms * abs(round(float(np.linalg.det(np.array(settings.supercell)))))
        gate_atoms = self._atoms * abs(round(float(np.linalg.det(np.array(own.gate_supercell)))))
        steps_per_ps = 1000.0 / settings.timestep_fs
        name = self._name_of_teacher(teacher_name)
        cheap = own.seed_potential if own.seed_potential in self._file.potentials else name
        learned, relaxed = self._materials_of(settings.compositions), self._relaxed_each()
        orderings = min(sum(relaxed[material] for material in learned), max(own.orderings, len(learned)))
        gated = min(len(learned), own.gate_orderings)
        per_round, gate = own.labels_of_round(students, gated), own.labels_of_gate(students, gated)
        labels = own.seed_labels + own.rounds * per_round
        seeds = orderings * own.relax_steps + own.seed_runs * own.seed_ps * steps_per_ps
        teacher = labels * self._per_step(name, atoms) + gate * self._per_step(name, gate_atoms)
        teacher += seeds * self._per_step(cheap, atoms)
        if own.compare_runs:
            starts = min(len(learned), settings.data.md_orderings) * len(settings.temperatures_K)
            length = starts * (settings.npt_ps + settings.equilibration_ps + settings.production_ps)
            teacher += length * steps_per_ps * self._per_step(name, atoms)
        lengths = [own.run_ps[min(number, len(own.run_ps) - 1)] for number in range(own.rounds)]
        hot = students * own.runs * sum(lengths) * atoms
        gate_length = 2 * gated * students * (own.gate_npt_ps + own.gate_ps)
        running = (hot + gate_length * gate_atoms) * steps_per_ps * nep
        seen = [own.seed_labels + number * per_round for number in range(own.rounds)]
        passes = settings.epochs * seen[0] + settings.refit_epochs * sum(seen[1:]) + own.final_epochs * labels
        learning = students * passes * atoms * _STUDENT_TRAINING_S_PER_ATOM
        compared = ", runs of the teacher for comparison" if own.compare_runs else ""
        work = (
            f"up to {labels + gate} labels by the teacher, {students} student{'s' * (students > 1)}, {own.rounds} "
            f"rounds of {students * own.runs} runs{compared}"
        )
        if own.repairs:
            work += "; repairs, should runs for the gate go wrong, not counted"
        epochs = settings.epochs + (own.rounds - 1) * settings.refit_epochs + own.final_epochs
        segments = students * -(-epochs // settings.epochs_per_segment)
        runs = students * own.runs * sum(-(-length // settings.segment_ps) for length in lengths)
        tasks = int(2 * orderings + labels // 20 + 2 * students * own.rounds * own.runs + runs + segments)
        frames = (hot / atoms * 1000.0 / settings.save_every_fs) * atoms * _BYTES_PER_ATOM_AND_FRAME / 1e6
        # The epochs of one student, one of its runs of each round, and one of the gate.
        longest = (sum(lengths) * atoms + (own.gate_npt_ps + own.gate_ps) * gate_atoms) * steps_per_ps * nep
        seconds = teacher + running + learning
        chain = _share(learning / students + longest, seconds)
        return PlanLine("distil", work, tasks, seconds / 3600, 0.01 * labels + segments + frames, chain_share=chain)

    def _relaxed_each(self) -> dict[Material, int]:
        """Count the relaxed orderings of each crystal and composition."""
        rank, counts = self._file.rank, dict.fromkeys((space.cell.material for space in self._spaces), 0)
        for space, kept in zip(self._spaces, self._kept, strict=True):
            counts[space.cell.material] += kept
        screened = rank.prescreen_keep if rank.prescreen != "none" else None
        most = [limit for limit in (screened, rank.relax_top if rank.method != "relax-all" else None) if limit]
        return {material: min([kept, *most]) for material, kept in counts.items()}

    def analyse(self) -> PlanLine | None:
        return PlanLine("analyse", "diffusivity, conductivity, activation energy, density", 3, 0.005, 2.0)

    def report(self) -> PlanLine | None:
        return PlanLine("report", "HTML, JSON, CSV, figures, structures", 0, 0.005, 10.0)
