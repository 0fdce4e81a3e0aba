"""What all stages share: the workbench, and the orderings and snapshots that they pass to one another.

A stage's ``run`` only connects tasks: it builds them from settings and parts of other results, has them carried out,
and returns its result, as the report and ``results.json`` show it, with the input of the next stages. All computing
happens in task functions, which run in worker processes, some of them in an engine's environment where only numpy,
scipy and ASE are guaranteed. So modules of this package import nothing else at the top.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.chemistry import normal_formula
from superionic.conventions import without_dispersion
from superionic.errors import StageError
from superionic.execution.codec import canonical_json
from superionic.execution.runner import Failure, Outcome, Runner
from superionic.execution.task import Call, Context, Task, ref_of
from superionic.potentials.base import PotentialIdentity
from superionic.registry import models
from superionic.results.identity import Material, Ordering, ReferencePhase, Run
from superionic.transport.observables.volumes import MeanCell, VolumeTrace

if TYPE_CHECKING:
    from superionic.dynamics.relax import Relaxation
    from superionic.engine_spec import DataSpec
    from superionic.labels.base import Label
    from superionic.potentials.base import Potential
    from superionic.results.campaign import Results
    from superionic.structures.crystal.disordered import DisorderedCrystal
    from superionic.training.on_policy import OwnFrames
    from superionic.training.parity import Verdict

R = TypeVar("R")
T = TypeVar("T")
K = TypeVar("K")

FINE_TUNED = "fine-tuned"
FINISHED = "finished"

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Weights = Mapping[str, Any]
"""Weights of a potential, by their names in its engine."""


@dataclass(frozen=True)
class ChosenPotential:
    """A potential, as an argument of tasks.

    Attributes
    ----------
    identity
        Its identity from :func:`superionic.potentials.base.describe_potential`. Inside a worker only its name in the
        registry is known, and a checksum that distinguishes it from others.
    model
        Published model of that potential; None for the default.
    options
        Options for loading it.
    weights
        Fine-tuned weights, or None for the published ones.
    committee
        Weights of all members of a committee, the first of which drives the dynamics; empty for a single potential.
        The extrapolation grade of a committee is its disagreement.
    """

    name: str
    identity: PotentialIdentity
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    committee: tuple[Weights, ...] = ()

    def tuned(self, weights: Weights) -> ChosenPotential:
        """Return this potential with fine-tuned weights."""
        return replace(self, name=FINE_TUNED, weights=weights, identity=replace(self.identity, fine_tuned=True))

    @property
    def data(self) -> DataSpec | None:
        """The published data file that holds the potential, recognised by its checksum; None if there is none."""
        known = models()[self.identity.name].data
        return next((data for data in known if data.sha256 == self.identity.checkpoint_sha256), None)

    @property
    def bare(self) -> ChosenPotential:
        """The potential without the dispersion term that was added to it: what is trained."""
        if "dispersion" not in self.options:
            return self
        own = {name: value for name, value in self.options.items() if name != "dispersion"}
        identity = replace(
            self.identity,
            energy_convention=without_dispersion(self.identity.energy_convention),
            level_of_theory=without_dispersion(self.identity.level_of_theory),
        )
        return replace(self, options=own, identity=identity)

    @property
    def single(self) -> ChosenPotential:
        """The potential without its committee, since evaluating all members is expensive."""
        return replace(self, committee=())

    @property
    def engine(self) -> str:
        """Environment in which it is evaluated."""
        return self.identity.engine

    def task_settings(self) -> dict[str, Any]:
        """Return its part of the key of a task that evaluates it."""
        potential: dict[str, Any] = {"name": self.identity.name, "model": self.model, "options": dict(self.options)}
        if self.weights is not None:
            potential["weights"] = ref_of(self.weights).task.key
        if self.committee:
            potential["committee"] = [ref_of(weights).task.key for weights in self.committee]
        return {"potential": potential}

    def task_inputs(self) -> dict[str, Any]:
        """Return its weights, as parts of the results of their trainings."""
        inputs: dict[str, Any] = {} if self.weights is None else {"weights": self.weights}
        return inputs | ({"committee": list(self.committee)} if self.committee else {})

    @classmethod
    def from_task(cls, settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> ChosenPotential | None:
        """Rebuild it inside a worker, with its weights; None for a task without a potential."""
        if settings.get("potential") is None:
            return None
        potential = settings["potential"]
        name, model, options = potential["name"], potential["model"], potential["options"]
        checksum = hashlib.sha256(canonical_json(potential).encode()).hexdigest()
        identity = PotentialIdentity(name, str(model), "", checksum, "", "", (), "")
        return cls(name, identity, model, options, inputs.get("weights"), tuple(inputs.get("committee", ())))


@dataclass(frozen=True)
class Workbench:
    """The resources of a stage.

    Attributes
    ----------
    runner
        Carries out tasks.
    seed
        The campaign's seed, from which every random choice derives its own.
    mobile_ion
        Symbol of the mobile ion.
    oxidation_states
        Charge of each element, in e.
    potentials
        The campaign's potentials by name.
    engine_identity
        Returns the versions of an engine on which results depend, for task keys.
    stage
        Name of the stage, which enters the keys of its tasks and its seeds.
    note
        What the labels of tasks say at their end, in brackets; enters neither keys nor seeds.
    """

    runner: Runner
    seed: int
    mobile_ion: str
    oxidation_states: Mapping[str, float]
    potentials: Mapping[str, ChosenPotential]
    engine_identity: Callable[[str], Mapping[str, Any]]
    stage: str = ""
    note: str = ""

    def at(self, stage: str) -> Workbench:
        """Return the workbench of a stage."""
        return replace(self, stage=stage)

    def noted(self, note: str) -> Workbench:
        """Return the workbench of a part of the campaign that repeats another part, named in the labels of tasks."""
        return replace(self, note=note)

    def task(self, label: str, call: Call[R], *, engine: str | None = None) -> Task[R]:
        """Build a task; one that evaluates a potential runs in that engine's environment unless another is named."""
        settings, inputs = call.settings_and_inputs()
        if engine is None:
            evaluated = [value.engine for value in call.arguments.values() if isinstance(value, ChosenPotential)]
            engine = evaluated[0] if evaluated else "core"
        function = call.function
        return Task(
            self.stage,
            f"{label} ({self.note})" if self.note else label,
            function.name,
            function.version,
            settings,
            inputs,
            engine,
            {} if engine == "core" else self.engine_identity(engine),
            returns=function.hints["return"],
            moved_to=None if function.address == function.name else function.address,
        )

    def seed_for(self, *words: str | float) -> int:
        """Return the seed of one random choice of the stage, identified by words and independent of all others."""
        return derive_seed(self.seed, self.stage, *words)


@dataclass(frozen=True)
class Candidate:
    """One ordering (or one ordered reference phase) on its way through the stages.

    Attributes
    ----------
    structure
        Its atoms, relaxed after the ranking: a part of a task's result.
    formula
        Reduced formula; empty for a reference that has not been relaxed.
    n_atoms
        Number of atoms in the cell; 0 for a reference that has not been relaxed.
    degeneracy, ewald_eV
        Number of equivalent decorations of the supercell, and point-charge energy of the cell; None for references.
    times_drawn
        Number of times that Monte Carlo or sampling drew it; None if nothing was drawn.
    relaxed
        The relaxation that gave the structure: a part of a task's result. None before the ranking.
    relaxed_eV_per_atom
        Relaxed energy; None before the ranking.
    e_above_hull_eV_per_atom
        Energy above the hull; None before the hull, and in campaigns without one.
    """

    identity: Ordering | ReferencePhase
    structure: Atoms
    formula: str = ""
    n_atoms: int = 0
    degeneracy: int | None = None
    ewald_eV: float | None = None
    times_drawn: int | None = None
    relaxed: RelaxedOrdering | None = None
    relaxed_eV_per_atom: float | None = None
    e_above_hull_eV_per_atom: float | None = None

    @property
    def id(self) -> str:
        """Name, unique within the campaign."""
        return self.identity.id

    @property
    def ordering(self) -> Ordering:
        """The ordering.

        Raises
        ------
        TypeError
            If it is a reference phase.
        """
        if not isinstance(self.identity, Ordering):
            raise TypeError(f"{self.id} is a reference phase, not an ordering")
        return self.identity

    @property
    def relaxation(self) -> RelaxedOrdering:
        """The relaxation that gave its structure.

        Raises
        ------
        TypeError
            Before the ranking.
        """
        if self.relaxed is None:
            raise TypeError(f"{self.id} is not relaxed")
        return self.relaxed

    @property
    def material(self) -> Material:
        """Crystal and composition; a reference phase is a material of its own."""
        return self.identity.material

    @property
    def is_reference(self) -> bool:
        """Whether it is an end member rather than an ordering of a crystal under study."""
        return isinstance(self.identity, ReferencePhase)


@dataclass(frozen=True)
class WithCandidates(Generic[R]):
    """The output of a stage that passes on orderings: its result, and the orderings for the next stages."""

    result: R
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class RelaxedOrdering:
    """A structure relaxed by a potential, or by a reference method.

    Attributes
    ----------
    atoms
        The relaxed structure.
    composition
        Number of atoms of each element in the cell.
    formula
        Reduced formula.
    energy_eV, start_energy_eV
        Energy of the cell at the end and at the start.
    largest_force_eV_per_A
        Largest remaining force component.
    n_evaluations, n_steps, converged
        Cost and convergence of the relaxation.
    """

    atoms: Atoms
    composition: Mapping[str, int]
    converged: bool
    energy_eV: float
    formula: str
    largest_force_eV_per_A: float
    n_atoms: int
    n_evaluations: int
    n_steps: int
    start_energy_eV: float
    volume_A3: float

    @classmethod
    def of(cls, relaxation: Relaxation) -> RelaxedOrdering:
        """Describe the structure that a relaxation has reached."""
        from superionic.thermodynamics.composition import reduced_formula

        symbols = relaxation.atoms.get_chemical_symbols()
        composition = {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
        return cls(
            atoms=relaxation.atoms,
            composition=composition,
            converged=relaxation.converged,
            energy_eV=relaxation.energy_eV,
            formula=reduced_formula(composition),
            largest_force_eV_per_A=float(np.abs(relaxation.forces_eV_per_A).max()),
            n_atoms=len(symbols),
            n_evaluations=relaxation.n_evaluations,
            n_steps=relaxation.n_steps,
            start_energy_eV=relaxation.start_energy_eV,
            volume_A3=float(relaxation.atoms.get_volume()),
        )


@dataclass(frozen=True)
class CrystalText:
    """A crystal of the campaign, in a form that tasks can read.

    Attributes
    ----------
    name
        Name in the campaign file.
    file_name, text
        Name of its file, whose ending gives the format, and the file's content.
    occupancies
        Occupancies by sublattice set by the campaign; empty if those of the file apply.
    """

    name: str
    file_name: str
    text: str
    occupancies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def read_parent(
    file_name: str, text: str, context: Context, occupancies: Mapping[str, Mapping[str, float]] = MappingProxyType({})
) -> DisorderedCrystal:
    """Read a crystal of the campaign inside a task; its file was validated when the campaign was loaded."""
    from superionic.structures.io.files import parse_crystal

    path = context.scratch / file_name
    path.write_text(text, encoding="utf-8")
    crystal = parse_crystal(path)
    if set(occupancies) <= {sublattice.name for sublattice in crystal.sublattices}:
        return crystal
    # Sites listed as empty are kept if the composition of a grid point fills them.
    return parse_crystal(path, keep_empty=sorted({species for own in occupancies.values() for species in own}))


@dataclass(frozen=True)
class Snapshot:
    """One structure to be labelled and trained on.

    Attributes
    ----------
    id
        Name, unique within the campaign.
    structure
        Its atoms: a part of a task's result.
    formula
        Reduced formula of its ordering; for a finished label, formula of the cell.
    run
        Its trajectory, or the group of a finished label, whose snapshots are never divided between training and test.
    ordering
        Its ordering; None for a finished label.
    temperature_K
        Temperature of the run; None for a finished label.
    round
        Round of learning, from 1, in which it was sampled.
    label
        Its label: a part of a task's result; None before it is labelled.
    """

    id: str
    structure: Atoms
    formula: str
    run: str
    ordering: Ordering | None = None
    temperature_K: float | None = None
    round: int = 1
    label: Label | None = None

    @property
    def phase(self) -> str:
        """Name of its crystal; ``"finished"`` for a finished label."""
        return FINISHED if self.ordering is None else self.ordering.material.crystal


@dataclass(frozen=True)
class WithSnapshots(Generic[R]):
    """The output of a stage that passes on snapshots: its result, and the snapshots for the next stages."""

    result: R
    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True)
class Trajectory:
    """A transport run without its positions, which stay in the results of its segments.

    Attributes
    ----------
    cell_A, numbers
        Cell of the production part, shape (3, 3), and atomic numbers.
    flags
        Cautions in sentences, in the order of the segments.
    length_ps, mean_temperature_K, n_atoms, n_mobile, volume_A3_per_atom
        Properties of the production part.
    npt, mean_cell, npt_drift
        Properties of the NPT part; see :class:`superionic.results.transport.SimulatedRun`.
    worst_extrapolation
        Highest extrapolation grade of the student that drove the run; None for other potentials.
    """

    cell_A: FloatArray
    numbers: IntArray
    flags: tuple[str, ...]
    length_ps: float
    mean_temperature_K: float
    n_atoms: int
    n_mobile: int
    npt: VolumeTrace
    mean_cell: MeanCell | None
    npt_drift: float | None
    volume_A3_per_atom: float
    worst_extrapolation: float | None


@dataclass(frozen=True)
class TransportRun:
    """A transport run to be analysed.

    Attributes
    ----------
    run
        Identity of the run.
    formula
        Reduced formula of its ordering.
    trajectory
        Its properties: a part of a task's result.
    positions_A
        Unwrapped positions of each segment, shape (n_frames, n_atoms, 3): parts of tasks' results.
    frame_interval_ps
        Time between frames.
    """

    run: Run
    formula: str
    trajectory: Trajectory
    positions_A: tuple[FloatArray, ...]
    frame_interval_ps: float


@dataclass(frozen=True)
class OfTeacher:
    """What the teacher says of production runs by its students.

    Attributes
    ----------
    frames
        Student against teacher on frames of each run, by the run's label.
    verdict
        Judgement by the limits of the gate; None without frames.
    failures
        Runs whose frames could not be compared.
    """

    frames: Mapping[str, OwnFrames] = field(default_factory=dict)
    verdict: Verdict | None = None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Earlier:
    """What the stages before a stage of one folder gave.

    Attributes
    ----------
    results
        Their results, as ``results.json`` has them; those of later stages are empty.
    candidates
        Orderings and reference phases as the last ranking, or the hull after it, left them; empty before.
    snapshots
        Structures of all rounds: those with an accepted label or, before any is labelled, all that were sampled.
    runs
        The transport runs with their positions; empty before.
    """

    results: Results
    candidates: tuple[Candidate, ...]
    snapshots: tuple[Snapshot, ...]
    runs: tuple[TransportRun, ...]


@dataclass(frozen=True)
class Estimate:
    """What a stage of one folder will do, for the plan of a campaign.

    Attributes
    ----------
    work
        Its work in words.
    tasks
        About how many calculations.
    cpu_s
        CPU time of all of them.
    megabytes
        Size of its files.
    """

    work: str
    tasks: int
    cpu_s: float
    megabytes: float = 0.1


def failures_of(outcomes: Sequence[Outcome[Any]]) -> tuple[Failure, ...]:
    """Return the failures among outcomes."""
    return tuple(outcome.failure for outcome in outcomes if outcome.failure is not None)


def nothing_left(what: str, failures: Sequence[Failure], *, where: str, fix: str | None = None) -> StageError:
    """Return the error of a stage that has nothing left to work with, with the reasons for its failures."""
    reasons = "; ".join(sorted({failure.reason for failure in failures})[:3])
    return StageError(f"{what} ({reasons})", where=where, fix=fix)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Group items by a key, in the order of first appearance."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def lowest_of_each(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return the ``count`` orderings of lowest energy of each crystal and composition, without references."""
    groups = grouped((candidate for candidate in candidates if not candidate.is_reference), lambda c: c.material)
    return [candidate for group in groups.values() for candidate in sorted(group, key=_energy)[:count]]


def of_compositions(candidates: Sequence[Candidate], formulas: Sequence[str], *, where: str) -> list[Candidate]:
    """Return the orderings that have one of the compositions, or all where none is named; without references.

    Raises
    ------
    StageError
        If no ordering has one of them; ``where`` is the key that names them.
    """
    requested = {normal_formula(formula) for formula in formulas}
    orderings = [each for each in candidates if not each.is_reference]
    chosen = [each for each in orderings if not requested or normal_formula(each.formula) in requested]
    if orderings and not chosen:
        raise StageError(
            f"no ordering has one of the compositions {', '.join(formulas)}",
            where=where,
            fix=f"name some of: {', '.join(sorted({each.formula for each in orderings}))}",
        )
    return chosen


def spread(count: int, most: int) -> list[int]:
    """Return indices of ``range(count)``, evenly spread with both ends; all if there are no more than most."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [0]
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)})


def _energy(candidate: Candidate) -> float:
    if candidate.relaxed_eV_per_atom is None:
        raise TypeError(f"{candidate.id} is not relaxed")
    return candidate.relaxed_eV_per_atom


def derive_seed(seed: int, *words: str | float) -> int:
    """Return a seed between 0 and 2^63 that depends on a parent seed and on words for its purpose."""
    text = canonical_json([seed, *words])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def load(potential: ChosenPotential, context: Context) -> Potential:
    """Return the potential of a task, loaded once per worker process and cached."""
    from superionic.potentials.base import load_potential

    name, checksum = potential.identity.name, potential.identity.checkpoint_sha256
    token = "potential:" + canonical_json([name, checksum, potential.model, dict(potential.options)])
    if token not in context.cache:
        for old in [name for name in context.cache if name.startswith("potential:")]:
            del context.cache[old]  # one at a time: two universal potentials may not fit into a small machine
        members = [
            load_potential(name, model=potential.model, weights=weights, **potential.options)
            for weights in potential.committee or [potential.weights]
        ]
        if len(members) > 1:
            from superionic.potentials.committee import Committee

            context.cache[token] = Committee(members)
        else:
            context.cache[token] = members[0]
    loaded: Potential = context.cache[token]
    return loaded
