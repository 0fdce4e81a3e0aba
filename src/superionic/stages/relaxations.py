"""Relaxations in batches and rungs: each rung is a task whose input is the rung before.

A batch holds several orderings, so that tasks are few, and few enough evaluations that a kill costs seconds. The
optimiser's memory goes from rung to rung through the store, so rungs together equal one long relaxation bit by bit. A
calculation that fails is a part of its batch's result; the others of the batch go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from superionic.errors import CalculationFailed
from superionic.execution.runner import Failure
from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, Workbench, potential_of

_BATCH_VERSION = 1
_RELAXED_VERSION = 1
_SINGLE_POINTS_VERSION = 1
_WARM_START_VERSION = 1

# Evaluations in one task: what a kill costs at most, in each worker (some 15 s with CHGNet and 30 atoms).
_EVALUATIONS_IN_A_TASK = 200
_LARGEST_BATCH = 50
# Steps of one part of a relaxation that goes to its end.
_PART_STEPS = 100


@dataclass
class Member:
    """One ordering on its way down.

    Attributes
    ----------
    candidate
        The ordering.
    start
        The structure that it starts from.
    deformation
        What its cell is deformed by before the start; None for nothing.
    place
        The last batch that it was in, and where; None before the first.
    energies_eV_per_atom
        Energy at the start and at the end of each rung.
    n_evaluations, n_steps, converged
        As far as it has come.
    failure
        Why it ended without a result.
    """

    candidate: Candidate
    start: Ref
    deformation: Ref | None = None
    place: tuple[Task, int] | None = None
    energies_eV_per_atom: list[float] = field(default_factory=list)
    n_evaluations: int = 0
    n_steps: int = 0
    converged: bool = False
    failure: Failure | None = None


@dataclass
class Relaxations:
    """Carries relaxations by one potential.

    Attributes
    ----------
    bench, stage
        The workbench, and the stage that the tasks belong to.
    potential
        Evaluates.
    settings
        ``fmax_eV_per_A``, ``max_steps``, ``optimizer`` and ``relax_cell``.
    tail
        Ends the labels of the tasks.
    """

    bench: Workbench
    stage: str
    potential: ChosenPotential
    settings: Mapping[str, Any]
    tail: str = ""

    def advance(self, members: Sequence[Member], steps: int, what: str) -> None:
        """Take at most that many further steps with each member that has neither converged nor failed.

        Parameters
        ----------
        members
            They are changed.
        steps
            Of the optimiser.
        what
            Name of the rung, for people; it must not come twice.
        """
        moving = [member for member in members if not member.converged and member.failure is None]
        size = min(_LARGEST_BATCH, max(1, _EVALUATIONS_IN_A_TASK // max(steps, 1)))
        # What has a start of its own kind goes together; the order is that of the members.
        kinds: dict[tuple[bool, str], list[Member]] = {}
        for member in moving:
            deformation = member.deformation.task.key if member.deformation is not None else ""
            kinds.setdefault((member.place is None, deformation), []).append(member)
        batches = [group[i : i + size] for group in kinds.values() for i in range(0, len(group), size)]
        tasks = [
            self.bench.task(
                self.stage,
                f"{what}, batch {number}{self.tail}",
                "superionic.stages.relaxations:relax_batch_task",
                _BATCH_VERSION,
                {**self._settings(), "steps": steps},
                _inputs(batch),
                potential=self.potential,
            )
            for number, batch in enumerate(batches, 1)
        ]
        for batch, task, outcome in zip(batches, tasks, self.bench.runner.gather(tasks), strict=True):
            items = [outcome.failure.reason] * len(batch) if outcome.failure is not None else outcome.value["items"]
            for position, (member, item) in enumerate(zip(batch, items, strict=True)):
                _take(member, task, position, item)

    def finish(self, members: Sequence[Member], what: str) -> None:
        """Go on until every member has converged, failed or used up its steps."""
        most, part = int(self.settings["max_steps"]), 0
        while True:
            moving = [m for m in members if not m.converged and m.failure is None and m.n_steps < most]
            if not moving:
                return
            part += 1
            # Grouped by the steps that are left to each, so that none exceeds the limit.
            by_steps: dict[int, list[Member]] = {}
            for member in moving:
                by_steps.setdefault(min(_PART_STEPS, most - member.n_steps), []).append(member)
            for steps, group in sorted(by_steps.items()):
                self.advance(group, steps, f"{what}, part {part} of {steps} steps")

    def relaxed(self, members: Sequence[Member]) -> list[tuple[Member, Task, Any]]:
        """Give each member that reached the end a task and a result of its own; failures are noted in the members."""
        there = [member for member in members if member.place is not None]
        tasks = [self._relaxed_task(member) for member in there]
        found = []
        for member, task, outcome in zip(there, tasks, self.bench.runner.gather(tasks), strict=True):
            if outcome.failure is not None:
                member.failure = outcome.failure
            else:
                found.append((member, task, outcome.value))
        return found

    def _relaxed_task(self, member: Member) -> Task:
        if member.place is None:
            raise ValueError(f"{member.candidate.id} has not begun")
        batch, position = member.place
        return self.bench.task(
            self.stage,
            f"relaxation of {member.candidate.id}{self.tail}",
            "superionic.stages.relaxations:relaxed_task",
            _RELAXED_VERSION,
            {},
            {"item": Ref(batch, ("items", position))},
        )

    def _settings(self) -> dict[str, Any]:
        return {name: self.settings[name] for name in ("fmax_eV_per_A", "optimizer", "relax_cell")}


def single_points(
    bench: Workbench, stage: str, what: str, structures: Sequence[Ref], potential: ChosenPotential
) -> list[tuple[Ref, Any]]:
    """Evaluate structures in batches.

    Returns
    -------
    list
        For each structure where its result is, and the result: ``energy_eV`` and ``n_atoms``, or ``failed``.
    """
    batches = [structures[i : i + _LARGEST_BATCH] for i in range(0, len(structures), _LARGEST_BATCH)]
    tasks = [
        bench.task(
            stage,
            f"{what}, batch {number}",
            "superionic.stages.relaxations:single_points_task",
            _SINGLE_POINTS_VERSION,
            {},
            {"atoms": list(batch)},
            potential=potential,
        )
        for number, batch in enumerate(batches, 1)
    ]
    found: list[tuple[Ref, Any]] = []
    for batch, task, outcome in zip(batches, tasks, bench.runner.gather(tasks), strict=True):
        lost = None if outcome.failure is None else {"failed": outcome.failure.reason}
        found += [(Ref(task, ("items", i)), lost or outcome.value["items"][i]) for i in range(len(batch))]
    return found


def warm_start(bench: Workbench, stage: str, label: str, scouts: Sequence[tuple[Ref, Ref]]) -> Ref:
    """Return the mean deformation from the start to the end of some relaxations, for the others to start with."""
    task = bench.task(
        stage,
        label,
        "superionic.stages.relaxations:warm_start_task",
        _WARM_START_VERSION,
        {},
        {"before": [before for before, _ in scouts], "after": [after for _, after in scouts]},
    )
    bench.runner.one(task)
    return task["deformation"]


def _inputs(batch: Sequence[Member]) -> dict[str, Ref | Sequence[Ref]]:
    if batch[0].place is not None:
        return {"before": [Ref(m.place[0], ("items", m.place[1])) for m in batch if m.place is not None]}
    inputs: dict[str, Ref | Sequence[Ref]] = {"atoms": [member.start for member in batch]}
    if batch[0].deformation is not None:
        inputs["deformation"] = batch[0].deformation
    return inputs


def _take(member: Member, task: Task, position: int, item: Any) -> None:
    reason = item if isinstance(item, str) else item.get("failed")
    member.place = (task, position)
    if reason is not None:
        member.failure = Failure(f"relaxation of {member.candidate.id}", reason, task.key)
        return
    if not member.energies_eV_per_atom:
        member.energies_eV_per_atom.append(item["start_energy_eV"] / item["n_atoms"])
    member.energies_eV_per_atom.append(item["energy_eV"] / item["n_atoms"])
    member.n_evaluations, member.n_steps = item["n_evaluations"], item["n_steps"]
    member.converged = item["converged"]


# ---- task functions -----------------------------------------------------------------------------------------------


def relax_batch_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Take some steps with each structure, from its start or from where the batch before left it."""
    from superionic.dynamics.relax import Relaxation, go_on, relax

    potential = potential_of(settings, inputs, context)
    given = inputs["before"] if "before" in inputs else inputs["atoms"]
    items = []
    for number, one in enumerate(given):

        def tell(fraction: float, message: str, number: int = number) -> None:
            context.progress((number + fraction) / len(given), f"structure {number + 1} of {len(given)}, {message}")

        try:
            if "before" in inputs:
                state = Relaxation.from_dict({**one["state"], "atoms": one["atoms"]})
                arguments = {"fmax_eV_per_A": settings["fmax_eV_per_A"], "max_steps": settings["steps"]}
                done = go_on(state, potential, **arguments, progress=tell)
            else:
                done = relax(
                    _deformed(one, inputs.get("deformation")),
                    potential,
                    fmax_eV_per_A=settings["fmax_eV_per_A"],
                    max_steps=settings["steps"],
                    cell=settings["relax_cell"],
                    optimizer=settings["optimizer"],
                    progress=tell,
                )
            items.append(_item(done))
        except CalculationFailed as failure:
            items.append({"failed": failure.reason})
    return {"items": items}


def _deformed(atoms: Any, deformation: Any) -> Any:
    if deformation is None:
        return atoms
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return moved


def _item(done: Any) -> dict[str, Any]:
    import numpy as np

    from superionic.thermodynamics.composition import reduced_formula

    symbols = done.atoms.get_chemical_symbols()
    composition = {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
    state = {name: value for name, value in done.to_dict().items() if name != "atoms"}
    return {
        "atoms": done.atoms,
        "composition": composition,
        "converged": done.converged,
        "energy_eV": done.energy_eV,
        "formula": reduced_formula(composition),
        "largest_force_eV_per_A": float(np.abs(done.forces_eV_per_A).max()),
        "n_atoms": len(symbols),
        "n_evaluations": done.n_evaluations,
        "n_steps": done.n_steps,
        "start_energy_eV": done.start_energy_eV,
        # What has converged needs its memory no more.
        "state": None if done.converged else state,
        "volume_A3": float(done.atoms.get_volume()),
    }


def relaxed_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Give one structure of a batch a result of its own."""
    item: dict[str, Any] = inputs["item"]
    if "failed" in item:
        raise CalculationFailed(item["failed"], {})
    return {name: value for name, value in item.items() if name != "state"}


def single_points_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Evaluate structures."""
    potential = potential_of(settings, inputs, context)
    items: list[dict[str, Any]] = []
    for number, atoms in enumerate(inputs["atoms"]):
        potential.check_elements(atoms)
        try:
            energy = potential.calculator(stress=False).get_potential_energy(atoms)  # refuses what is not finite
            items.append({"energy_eV": float(energy), "n_atoms": len(atoms)})
        except CalculationFailed as failure:
            items.append({"failed": failure.reason})
        context.progress((number + 1) / len(inputs["atoms"]), f"structure {number + 1} of {len(inputs['atoms'])}")
    return {"items": items}


def warm_start_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Average the logarithms of the stretches, which leaves out rotations; shape (3, 3), rows of a cell times it."""
    import numpy as np
    from scipy.linalg import polar

    logarithms = []
    for before, after in zip(inputs["before"], inputs["after"], strict=True):
        stretch = polar(np.linalg.solve(before.cell.array, after.cell.array), side="left")[1]
        values, vectors = np.linalg.eigh(0.5 * (stretch + stretch.T))
        logarithms.append(vectors @ np.diag(np.log(values)) @ vectors.T)
    mean = np.mean(logarithms, axis=0)
    values, vectors = np.linalg.eigh(0.5 * (mean + mean.T))
    return {"deformation": vectors @ np.diag(np.exp(values)) @ vectors.T}
