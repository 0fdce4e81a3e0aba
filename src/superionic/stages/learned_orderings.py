"""Monte Carlo of orderings by a potential, in rounds of tasks.

A round is: the potential's energies of some orderings, each a task in its engine's environment; then a task of the core
that judges the surrogate of the round before by them, fits the next one, runs Monte Carlo on it, and proposes the next
orderings. What a round proposes depends on the one before, so that each is gathered in turn; each task has a key, and a
run that was stopped goes on where it was. When to end is decided here, not in the tasks: a lower tolerance or more
rounds keep what was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from superionic.execution.runner import Failure, Outcome
from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import ChosenPotential, Space, Workbench, potential_of
from superionic.stages.ordering_spaces import chosen_as_data, space_of

if TYPE_CHECKING:
    from superionic.enumeration.learning import KnownEnergies, Proposal
    from superionic.structures.space import OrderingSpace

_START_VERSION = 1
_EVALUATE_VERSION = 1
_PROPOSE_VERSION = 1
_DRAW_VERSION = 1

_FMAX_EV_PER_A = 0.05
_LEFT_ITS_SITE_A = 1.0

_OF_LEARNING = ("temperature_K", "n_sweeps", "pair_cutoff_A", "triplet_cutoff_A")


@dataclass
class _Job:
    """One composition on its way through the rounds."""

    name: str
    settings: Mapping[str, Any]
    composition: Ref
    ahead: Task
    proposals: list[Task] = field(default_factory=list)
    evaluated: list[list[int]] = field(default_factory=list)
    evaluations: list[Task] = field(default_factory=list)
    failed: int = 0


def learned_orderings(
    settings: Mapping[str, Any],
    bench: Workbench,
    stage: str,
    spaces: Sequence[tuple[str, Space, Ref]],
    potential: ChosenPotential,
) -> tuple[dict[str, Task], list[Failure]]:
    """Learn the energies of a potential where Monte Carlo goes, for each composition.

    Parameters
    ----------
    settings
        The ``enumerate`` section.
    bench, stage
        The workbench, and the stage that this is a part of.
    spaces
        Name, space and composition of each.
    potential
        Whose energies order the ions.

    Returns
    -------
    tasks
        By name the task whose result holds the orderings; compositions without enough energies are missing.
    failures
        Evaluations that failed, and compositions that were given up.
    """
    from superionic.enumeration.learning import FEWEST_ENERGIES

    chosen = settings["monte_carlo"]
    jobs = []
    for name, space, composition in spaces:
        given = {**space.settings, "min_distance_A": settings["min_distance_A"]}
        first = bench.task(
            stage,
            f"first orderings of {name}",
            "superionic.stages.learned_orderings:start_task",
            _START_VERSION,
            {
                **given,
                **{key: chosen[key] for key in ("temperature_K", "dielectric", "n_sweeps", "initial")},
                "seed": bench.seed_for(stage, name, "start"),
            },
            {"composition": composition},
        )
        jobs.append(_Job(name, {**given, **{key: chosen[key] for key in _OF_LEARNING}}, composition, first))
    ended: list[tuple[_Job, Task]] = []
    failures: list[Failure] = []
    for number in range(chosen["max_rounds"] + 1):
        if not jobs:
            break
        going: list[tuple[_Job, Outcome]] = []
        for job, outcome in zip(jobs, bench.runner.gather([job.ahead for job in jobs]), strict=True):
            if outcome.failure is not None:
                failures.append(outcome.failure)
            elif _is_right(outcome.value, chosen["tolerance_meV_per_atom"]):
                met = outcome.value["error_on_met_meV_per_atom"]
                ended.append((job, _draw(job, bench, stage, potential, chosen, met)))
            else:
                going.append((job, outcome))
        failures += _evaluate(chosen["relax_steps"], bench, stage, going, potential, number)
        jobs = []
        for job, _ in going:
            if len(job.evaluations) < FEWEST_ENERGIES:
                reason = f"{len(job.evaluations)} energies are too few for a surrogate, {job.failed} failed"
                failures.append(Failure(f"Monte Carlo of {job.name}", reason, job.ahead.key))
            elif number == chosen["max_rounds"]:
                ended.append((job, _draw(job, bench, stage, potential, chosen, None)))
            else:
                job.ahead = _propose(job, bench, stage, chosen["batch"], number + 1)
                jobs.append(job)
    return {job.name: task for job, task in ended}, failures


def _is_right(proposal: Mapping[str, Any], tolerance: float) -> bool:
    """Tell whether learning can end: the fit was right about the last orderings, or there are no new ones."""
    error = proposal["facts"].get("error_on_fresh_meV_per_atom")
    return not proposal["atoms"] or (error is not None and error < tolerance)


def _evaluate(
    relax_steps: int,
    bench: Workbench,
    stage: str,
    going: Sequence[tuple[_Job, Outcome]],
    potential: ChosenPotential,
    number: int,
) -> list[Failure]:
    """Ask the potential for the energies that the jobs want, all together; returns what failed."""
    asked = [(job, index) for job, outcome in going for index in range(len(outcome.value["atoms"]))]
    tasks = [
        bench.task(
            stage,
            f"energy of {job.name} round {number} #{index}",
            "superionic.stages.learned_orderings:evaluate_task",
            _EVALUATE_VERSION,
            {"relax_steps": relax_steps},
            {"atoms": Ref(job.ahead, ("atoms", index))},
            potential=potential,
        )
        for job, index in asked
    ]
    for job, _ in going:
        job.proposals.append(job.ahead)
        job.evaluated.append([])
    failures = []
    for (job, index), task, outcome in zip(asked, tasks, bench.runner.gather(tasks), strict=True):
        if outcome.failure is not None:
            job.failed += 1
            failures.append(outcome.failure)
        else:
            job.evaluated[-1].append(index)
            job.evaluations.append(task)
    return failures


def _known(job: _Job) -> tuple[dict[str, Any], dict[str, Ref | Sequence[Ref]]]:
    """Return settings and inputs by which tasks know all energies so far."""
    settings = {**job.settings, "evaluated": [list(indices) for indices in job.evaluated]}
    inputs: dict[str, Ref | Sequence[Ref]] = {
        "composition": job.composition,
        "decorations": [task["decorations"] for task in job.proposals],
        "energies_eV": [task["energy_eV"] for task in job.evaluations],
        "expected_eV": job.proposals[-1]["expected_eV"],
    }
    return settings, inputs


def _propose(job: _Job, bench: Workbench, stage: str, batch: int, number: int) -> Task:
    settings, inputs = _known(job)
    return bench.task(
        stage,
        f"proposals for {job.name} round {number}",
        "superionic.stages.learned_orderings:propose_task",
        _PROPOSE_VERSION,
        {**settings, "batch": batch, "seed": bench.seed_for(stage, job.name, "round", number)},
        inputs,
    )


def _draw(
    job: _Job,
    bench: Workbench,
    stage: str,
    potential: ChosenPotential,
    chosen: Mapping[str, Any],
    error_on_met: float | None,
) -> Task:
    settings, inputs = _known(job)
    return bench.task(
        stage,
        f"orderings of {job.name}",
        "superionic.stages.learned_orderings:draw_task",
        _DRAW_VERSION,
        {
            **settings,
            "error_on_met_meV_per_atom": error_on_met,
            "failed": job.failed,
            "n_samples": chosen["n_samples"],
            "potential_name": potential.name,
            "seed": bench.seed_for(stage, job.name, "draw"),
            "tolerance_meV_per_atom": chosen["tolerance_meV_per_atom"],
        },
        {
            **inputs,
            "displacements_A": [task["largest_displacement_A"] for task in job.evaluations],
            "facts": [task["facts"] for task in job.proposals[1:]],
        },
    )


# ---- task functions -----------------------------------------------------------------------------------------------


def start_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Choose the orderings whose energies are asked for first."""
    import numpy as np

    from superionic.enumeration.learning import Proposal, first_decorations

    _, space = space_of(settings, inputs["composition"], context)
    context.progress(0.1, "Monte Carlo on point charges")
    chosen = first_decorations(
        space,
        settings["oxidation_states"],
        settings["initial"],
        **{key: settings[key] for key in ("temperature_K", "dielectric", "n_sweeps", "seed")},
    )
    return _wanted(space, Proposal({}, chosen, np.zeros(0), None))


def evaluate_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the energy of one ordering, relaxed at fixed cell by no more than some steps."""
    import numpy as np

    from superionic.dynamics.relax import relax

    potential = potential_of(settings, inputs, context)
    atoms = inputs["atoms"]
    potential.check_elements(atoms)
    if settings["relax_steps"] == 0:
        energy = potential.evaluate(atoms, stress=False).energy_eV
        return {"energy_eV": float(energy), "largest_displacement_A": 0.0, "n_steps": 0}
    found = relax(
        atoms,
        potential,
        fmax_eV_per_A=_FMAX_EV_PER_A,
        max_steps=settings["relax_steps"],
        cell=False,
        progress=context.progress,
    )
    moved = np.linalg.norm(found.atoms.positions - atoms.positions, axis=1)  # not wrapped: the way each ion went
    return {
        "energy_eV": float(found.energy_eV),
        "largest_displacement_A": float(moved.max()),
        "n_steps": found.n_steps,
    }


def propose_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Judge the last surrogate, fit the next, and choose the orderings whose energies are asked for next."""
    from superionic.enumeration.learning import LearningSettings, propose

    _, space = space_of(settings, inputs["composition"], context)
    context.progress(0.1, "Monte Carlo on the surrogate")
    learning = LearningSettings(**{name: settings[name] for name in _OF_LEARNING})
    known = _energies(space, settings, inputs)
    return _wanted(
        space, propose(space, settings["oxidation_states"], known, settings["batch"], learning, settings["seed"])
    )


def draw_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Draw orderings by the last surrogate."""
    from superionic.enumeration.learning import LearningSettings, learned_draws

    crystal, space = space_of(settings, inputs["composition"], context)
    context.progress(0.1, "Monte Carlo on the surrogate")
    chosen = learned_draws(
        space,
        settings["oxidation_states"],
        _energies(space, settings, inputs),
        settings["n_samples"],
        LearningSettings(**{name: settings[name] for name in _OF_LEARNING}),
        tolerance_meV_per_atom=settings["tolerance_meV_per_atom"],
        rounds=inputs["facts"],
        seed=settings["seed"],
        about={
            "energy": f"potential {settings['potential_name']}",
            "evaluations": len(inputs["energies_eV"]) + settings["failed"],
            "evaluations_failed": settings["failed"],
            "evaluations_in_which_an_ion_left_its_site": int(
                sum(d > _LEFT_ITS_SITE_A for d in inputs["displacements_A"])
            ),
        },
        error_on_met_meV_per_atom=settings["error_on_met_meV_per_atom"],
    )
    return chosen_as_data(crystal, space, inputs["composition"], chosen, None)


def _energies(space: OrderingSpace, settings: Mapping[str, Any], inputs: Mapping[str, Any]) -> KnownEnergies:
    import numpy as np

    from superionic.enumeration.learning import KnownEnergies

    asked = [np.asarray(part, dtype=np.uint8).reshape(-1, space.n_free) for part in inputs["decorations"]]
    energies = np.array(inputs["energies_eV"], dtype=np.float64)
    expected = np.asarray(inputs["expected_eV"], dtype=np.float64)
    last = settings["evaluated"][-1] if len(asked) > 1 else []
    return KnownEnergies(
        decorations=np.concatenate([part[i] for part, i in zip(asked, settings["evaluated"], strict=True)]),
        energies_eV=energies,
        tried=np.concatenate(asked),
        fresh=energies[len(energies) - len(last) :],
        expected_eV=expected[last],
    )


def _wanted(space: OrderingSpace, proposal: Proposal) -> dict[str, Any]:
    import numpy as np

    from superionic.structures.orderings import OrderingTable, to_atoms

    decorations = proposal.decorations
    table = OrderingTable.of(space, decorations, np.ones(len(decorations), dtype=np.int64))
    return {
        "atoms": [to_atoms(space.sites, ordering) for ordering in table],
        "decorations": decorations,
        "error_on_met_meV_per_atom": proposal.error_on_met_meV_per_atom,
        "expected_eV": proposal.expected_eV,
        "facts": dict(proposal.facts),
    }
