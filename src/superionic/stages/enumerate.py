"""Stage *enumerate*: from a disordered crystal to its symmetry-distinct orderings, lowest Ewald energy first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.errors import CompositionError, StageError, StructureError
from superionic.execution.runner import Failure
from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import Candidate, Space, StageResult, Workbench, failures_as_data
from superionic.stages.learned_orderings import learned_orderings
from superionic.stages.ordering_spaces import chosen_as_data, parent_crystal, space_of

STAGE = "enumerate"
_COMPOSE_VERSION = 2
_ENUMERATE_VERSION = 2
_REFERENCE_VERSION = 1

_REPORTED = (
    "deviation", "distinct", "distinct_allowed", "evidence", "excluded_pairs", "formula", "group_order", "histogram",
    "listed", "method", "min_distance_A", "plan", "raw", "skipped_compositions", "spacegroup", "tie",
)  # fmt: skip


def run(settings: Mapping[str, Any], bench: Workbench, spaces: Sequence[Space]) -> StageResult:
    """Enumerate all spaces.

    Parameters
    ----------
    settings
        The ``enumerate`` section.
    bench
        The workbench.
    spaces
        Crystals × compositions × supercells.

    Returns
    -------
    StageResult
        Candidates are the orderings of lowest Ewald energy of each space, or those drawn at a temperature.

    Raises
    ------
    StageError
        If no space has any ordering.
    CompositionError
        If orderings are to be drawn at a temperature, and no space has more than one.
    """
    compose = [
        bench.task(
            STAGE,
            f"compositions of {space.id}",
            "superionic.stages.enumerate:integer_compositions_task",
            _COMPOSE_VERSION,
            {
                **space.settings,
                "max_compositions": settings["max_compositions"],
                "max_deviation": settings["max_composition_deviation"],
                "max_listed": settings["max_listed"],
                "min_distance_A": settings["min_distance_A"],
            },
        )
        for space in spaces
    ]
    composed = bench.runner.gather(compose)
    numbered = [
        (
            f"{space.id} composition {index + 1}" if len(outcome.value) > 1 else space.id,
            space,
            task[index],
            _method(settings, outcome.value[index]),
        )
        for space, task, outcome in zip(spaces, compose, composed, strict=True)
        if outcome.ok
        for index in range(len(outcome.value))
    ]
    if numbered and settings["method"] == "monte-carlo" and all(method == "list" for *_, method in numbered):
        raise CompositionError(
            "no composition has freedom for Monte Carlo: each has one ordering",
            where="enumerate.method",
            fix="write `method: auto`, take a larger supercell, or a composition that mixes species on a site",
        )
    failures = [outcome.failure for outcome in composed if outcome.failure is not None]
    tasks = _ordered(settings, bench, numbered, failures)
    candidates: list[Candidate] = []
    listed: list[dict[str, Any]] = []
    outcomes = bench.runner.gather([tasks[name] for name, *_ in numbered if name in tasks])
    made = [(name, space, tasks[name]) for name, space, *_ in numbered if name in tasks]
    for (name, space, task), outcome in zip(made, outcomes, strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            continue
        result = outcome.value
        listed.append(
            {
                "composition_label": space.composition_label,
                "crystal": space.crystal,
                "degeneracies": [ordering["degeneracy"] for ordering in result["orderings"]],
                "ewald_eV": [ordering["ewald_eV"] for ordering in result["orderings"]],
                "key": task.key,
                **{name: result[name] for name in _REPORTED},
                "supercell": space.settings["supercell"],
            }
        )
        for index, ordering in enumerate(result["orderings"]):
            facts = {
                "degeneracy": ordering["degeneracy"],
                "ewald_eV": ordering["ewald_eV"],
                "formula": result["formula"],
                "n_atoms": ordering["n_atoms"],
                **({"times_drawn": ordering["times_drawn"]} if "times_drawn" in ordering else {}),
            }
            structure = Ref(task, ("orderings", index, "atoms"))
            candidates.append(Candidate(f"{name} #{index}", space.crystal, space.composition_label, structure, facts))
    if not candidates:
        reasons = "; ".join(f"{failure.label}: {failure.reason}" for failure in failures)
        raise StageError(f"there is no ordering to go on with ({reasons})", where=STAGE)
    return StageResult(
        {"spaces": listed, "failures": failures_as_data(failures)}, tuple(candidates), failures=tuple(failures)
    )


def references(bench: Workbench, inputs: Sequence[Mapping[str, str]]) -> list[Candidate]:
    """Read the ordered reference phases.

    Parameters
    ----------
    bench
        The workbench.
    inputs
        ``name``, ``file_name`` and ``text`` of each.

    Raises
    ------
    StructureError
        If one of them is disordered: a reference has one energy.
    """
    tasks = [
        bench.task(
            STAGE,
            f"reference {entry['name']}",
            "superionic.stages.enumerate:reference_task",
            _REFERENCE_VERSION,
            {"file_name": entry["file_name"], "text": entry["text"]},
        )
        for entry in inputs
    ]
    bench.runner.gather(tasks)
    return [
        Candidate(entry["name"], entry["name"], "", task["atoms"], is_reference=True)
        for entry, task in zip(inputs, tasks, strict=True)
    ]


def _ordered(
    settings: Mapping[str, Any],
    bench: Workbench,
    numbered: Sequence[tuple[str, Space, Ref, str]],
    failures: list[Failure],
) -> dict[str, Task]:
    """Return by name the task that holds the orderings of each composition; failures on the way are added."""
    potential = settings["monte_carlo"]["potential"]
    learned = [entry for entry in numbered if entry[3] == "monte-carlo" and potential is not None]
    tasks: dict[str, Task] = {}
    if learned:
        found, lost = learned_orderings(
            settings,
            bench,
            STAGE,
            [(name, space, composition) for name, space, composition, _ in learned],
            bench.potentials[potential],
        )
        tasks.update(found)
        failures += lost
    for entry in numbered:
        if entry in learned:
            continue
        name, space, composition, method = entry
        tasks[name] = bench.task(
            STAGE,
            f"orderings of {name}",
            "superionic.stages.enumerate:enumerate_task",
            _ENUMERATE_VERSION,
            {
                **space.settings,
                "ewald_keep": settings["ewald_keep"],
                "method": method,
                "min_distance_A": settings["min_distance_A"],
                **_random_settings(method, settings, bench.seed_for(STAGE, name)),
            },
            {"composition": composition},
        )
    return tasks


def _method(settings: Mapping[str, Any], composition: Mapping[str, Any]) -> str:
    """Return how a composition is gone through; a space no larger than a sample of it is listed."""
    if settings["method"] == "auto":
        return str(composition["plan"]["method"])
    known = composition["distinct_allowed"]
    small = known is not None and composition["distinct"] <= settings["sample_draws"]
    # One ordering is the same at any temperature.
    single = (composition["distinct"] if known is None else known) == 1
    if (settings["method"] == "sample" and small) or (settings["method"] == "monte-carlo" and single):
        return "list"
    return str(settings["method"])


def _random_settings(method: str, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return what only random methods depend on: a listing is the same whatever the seed."""
    if method == "list":
        return {}
    if method == "monte-carlo":
        names = ("temperature_K", "dielectric", "n_sweeps", "n_samples")
        return {"monte_carlo": {name: settings["monte_carlo"][name] for name in names}, "seed": seed}
    drawn = {name: settings[name] for name in ("sample_draws", "sample_weights")} if method == "sample" else {}
    return {**drawn, "seed": seed}


# ---- task functions -----------------------------------------------------------------------------------------------


def integer_compositions_task(
    settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context
) -> list[dict[str, Any]]:
    """Return the integer, charge-neutral compositions of a supercell that are nearest to the refinement, counted."""
    from superionic.enumeration.counted import counted_spaces

    found = counted_spaces(
        parent_crystal(settings, context),
        settings["supercell"],
        settings["oxidation_states"],
        coupling=settings["coupling"],
        overrides=settings["occupancies"] or None,
        exact_species=settings["exact_species"],
        max_deviation=settings["max_deviation"],
        min_distance_A=settings["min_distance_A"],
        number=settings["max_compositions"],
        max_listed=settings["max_listed"],
    )
    return [
        {
            **counted.composition.to_dict(),
            "distinct": counted.count.distinct,
            "distinct_allowed": counted.distinct,
            "excluded_pairs": len(counted.space.exclusions),
            "group_order": counted.count.group_order,
            "min_distance_A": settings["min_distance_A"],
            "plan": {"method": counted.plan.method, "reason": counted.plan.reason},
            "raw": counted.count.raw,
            "skipped_compositions": counted.skipped,
        }
        for counted in found
    ]


def enumerate_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Choose orderings of one composition: the lowest in Ewald energy of all, of those searched, or of a sample.

    Or those drawn at a temperature: these go on as they were drawn, the lowest and the others.
    """
    from superionic.enumeration.chosen import list_lowest, sample, search

    facts = inputs["composition"]
    charges = settings["oxidation_states"]
    crystal, space = space_of(settings, facts, context)
    if settings["method"] == "monte-carlo":
        from superionic.enumeration.monte_carlo import monte_carlo

        context.progress(0.1, "Monte Carlo on point charges")
        own = settings["monte_carlo"]
        chosen = monte_carlo(
            space,
            charges,
            own["n_samples"],
            temperature_K=own["temperature_K"],
            dielectric=own["dielectric"],
            n_sweeps=own["n_sweeps"],
            seed=settings["seed"],
        )
        return chosen_as_data(crystal, space, facts, chosen, None)
    keep = settings["ewald_keep"]
    if settings["method"] == "list":
        total = max(1, facts["distinct_allowed"] or facts["distinct"])
        chosen = list_lowest(
            space, charges, keep, progress=lambda met: context.progress(met / total, f"{met:,} orderings")
        )
    elif settings["method"] == "search":
        context.progress(0.1, "replica exchange")
        chosen = search(space, charges, keep, seed=settings["seed"])
    else:
        context.progress(0.1, "sampling")
        chosen = sample(
            space,
            charges,
            settings["sample_draws"],
            seed=settings["seed"],
            thermal=settings["sample_weights"] == "degeneracy",
        )
    return chosen_as_data(crystal, space, facts, chosen, keep)


def reference_task(settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Read an ordered phase."""
    from ase import Atoms

    crystal = parent_crystal({**settings, "substitutions": {}}, context)
    if not crystal.is_ordered:
        raise StructureError(
            "a reference must be ordered: it stands for one energy",
            where=settings["file_name"],
            fix="give a structure without partial occupancies",
        )
    atoms = Atoms(
        symbols=[next(iter(site.species)) for site in crystal.sites],
        scaled_positions=crystal.fractional,
        cell=crystal.cell_A,
        pbc=True,
    )
    return {"atoms": atoms}
