"""Stage *enumerate*: from a disordered crystal to its symmetry-distinct orderings, lowest Ewald energy first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from superionic.errors import StageError, StructureError
from superionic.execution.task import Context, Ref
from superionic.stages.base import Candidate, Space, StageResult, Workbench, failures_as_data

if TYPE_CHECKING:
    from superionic.structures.disordered import DisorderedCrystal

STAGE = "enumerate"
_COMPOSE_VERSION = 1
_ENUMERATE_VERSION = 1
_REFERENCE_VERSION = 1


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
        Candidates are the orderings of lowest Ewald energy of each space.

    Raises
    ------
    StageError
        If no space has any ordering.
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
            outcome.value[index]["distinct"] > settings["max_orderings"],
        )
        for space, task, outcome in zip(spaces, compose, composed, strict=True)
        if outcome.ok
        for index in range(len(outcome.value))
    ]
    tasks = [
        bench.task(
            STAGE,
            f"orderings of {name}",
            "superionic.stages.enumerate:enumerate_task",
            _ENUMERATE_VERSION,
            {
                **space.settings,
                "ewald_keep": settings["ewald_keep"],
                # A listing is the same whatever the seed and the limit; only a sample depends on them.
                "sample": {"number": settings["max_orderings"], "seed": bench.seed_for(STAGE, name)} if many else None,
            },
            {"composition": composition},
        )
        for name, space, composition, many in numbered
    ]
    candidates: list[Candidate] = []
    listed: list[dict[str, Any]] = []
    failures = [outcome.failure for outcome in composed if outcome.failure is not None]
    for (name, space, _, _), task, outcome in zip(numbered, tasks, bench.runner.gather(tasks), strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            continue
        result = outcome.value
        listed.append(
            {
                "composition_label": space.composition_label,
                "crystal": space.crystal,
                "degeneracies": [int(g) for g in result["all_degeneracies"]],
                "deviation": result["deviation"],
                "distinct": result["distinct"],
                "ewald_eV": [float(e) for e in result["all_ewald_eV"]],
                "formula": result["formula"],
                "group_order": result["group_order"],
                "key": task.key,
                "listed": len(result["all_ewald_eV"]),
                "method": result["method"],
                "raw": result["raw"],
                "spacegroup": result["spacegroup"],
                "supercell": space.settings["supercell"],
            }
        )
        for index, ordering in enumerate(result["orderings"]):
            facts = {
                "degeneracy": ordering["degeneracy"],
                "ewald_eV": ordering["ewald_eV"],
                "formula": result["formula"],
                "n_atoms": ordering["n_atoms"],
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


# ---- task functions -----------------------------------------------------------------------------------------------


def integer_compositions_task(
    settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context
) -> list[dict[str, Any]]:
    """Return the integer, charge-neutral compositions of a supercell that are nearest to the refinement, counted."""
    from superionic.structures.composition import integer_compositions
    from superionic.structures.counting import count_orderings
    from superionic.structures.supercells import supercell_sites

    crystal = _parent(settings, context)
    found = integer_compositions(
        crystal,
        settings["supercell"],
        settings["oxidation_states"],
        coupling=settings["coupling"],
        overrides=settings["occupancies"] or None,
        exact_species=settings["exact_species"],
        max_deviation=1.0 if settings["max_deviation"] is None else settings["max_deviation"],
        limit=settings["max_compositions"],
    )
    sites = supercell_sites(crystal, settings["supercell"])
    counts = [count_orderings(sites, composition) for composition in found]
    return [
        {**composition.to_dict(), "distinct": count.distinct, "group_order": count.group_order, "raw": count.raw}
        for composition, count in zip(found, counts, strict=True)
    ]


def enumerate_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """List the orderings of one composition, or sample them, and order them by Ewald energy."""
    import numpy as np

    from superionic.structures.composition import IntegerComposition
    from superionic.structures.electrostatics import ewald_matrix, lowest, table_energies
    from superionic.structures.orderings import list_ordering_table, sample_ordering_table, to_atoms
    from superionic.structures.supercells import supercell_sites

    crystal = _parent(settings, context)
    sites = supercell_sites(crystal, settings["supercell"])
    composition = IntegerComposition.from_dict(inputs["composition"])
    sample = settings["sample"]
    if sample is None:
        table = list_ordering_table(sites, composition, limit=inputs["composition"]["distinct"])
    else:
        table = sample_ordering_table(sites, composition, sample["number"], np.random.default_rng(sample["seed"]))
    context.progress(0.6, "Ewald energies")
    energies = table_energies(ewald_matrix(sites.cell_A, sites.fractional), table, settings["oxidation_states"])
    order = lowest(energies, len(energies))
    keep = order[: settings["ewald_keep"]]
    return {
        "all_degeneracies": np.asarray(table.degeneracies)[order],
        "all_ewald_eV": energies[order],
        "deviation": composition.deviation,
        "distinct": inputs["composition"]["distinct"],
        "formula": composition.formula,
        "group_order": inputs["composition"]["group_order"],
        "method": "list" if sample is None else "sample",
        "orderings": [
            {
                "atoms": (atoms := to_atoms(sites, table[int(i)])),
                "degeneracy": int(table.degeneracies[i]),
                "ewald_eV": float(energies[i]),
                "n_atoms": len(atoms),
            }
            for i in keep
        ],
        "raw": inputs["composition"]["raw"],
        "spacegroup": crystal.spacegroup_symbol,
    }


def reference_task(settings: Mapping[str, Any], _inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Read an ordered phase."""
    from ase import Atoms

    crystal = _parent({**settings, "substitutions": {}}, context)
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


def _parent(settings: Mapping[str, Any], context: Context) -> DisorderedCrystal:
    from superionic.structures.composition import substitute
    from superionic.structures.files import read_crystal

    path = context.scratch / settings["file_name"]
    path.write_text(settings["text"], encoding="utf-8")
    crystal = read_crystal(path)
    return substitute(crystal, settings["substitutions"]) if settings["substitutions"] else crystal
