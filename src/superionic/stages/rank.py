"""Stage *rank*: energies of the orderings by a universal potential; the lowest are relaxed, duplicates merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.execution.task import Context, Ref
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    StageResult,
    Workbench,
    failures_as_data,
    potential_of,
)

STAGE = "rank"
_SINGLE_POINT_VERSION = 1
_RELAX_VERSION = 1
_MERGE_VERSION = 1


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    candidates: Sequence[Candidate],
    references: Sequence[Candidate],
    potential: ChosenPotential,
    *,
    round_label: str = "",
) -> StageResult:
    """Rank the orderings of each composition and relax the lowest ones, and all references.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench.
    candidates, references
        Orderings of the enumeration, and ordered end members.
    potential
        The potential that ranks.
    round_label
        Distinguishes a second ranking by the fine-tuned potential.

    Returns
    -------
    StageResult
        Candidates with relaxed structures and their energies; duplicates and failures left out.

    Raises
    ------
    StageError
        If nothing could be relaxed.
    """
    tail = f" {round_label}" if round_label else ""
    singles = [
        bench.task(
            STAGE,
            f"single point of {candidate.id}{tail}",
            "superionic.stages.rank:single_point_task",
            _SINGLE_POINT_VERSION,
            {},
            {"atoms": candidate.structure},
            potential=potential,
        )
        for candidate in candidates
    ]
    failures: list[Failure] = []
    single_energy: dict[str, float] = {}
    for candidate, outcome in zip(candidates, bench.runner.gather(singles), strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
        else:
            single_energy[candidate.id] = outcome.value["energy_eV"] / outcome.value["n_atoms"]
    chosen = [*_lowest_of_each_composition(candidates, single_energy, settings["relax_top"]), *references]
    relaxations = [
        bench.task(
            STAGE,
            f"relaxation of {candidate.id}{tail}",
            "superionic.stages.rank:relax_task",
            _RELAX_VERSION,
            {name: settings[name] for name in ("fmax_eV_per_A", "max_steps", "optimizer", "relax_cell")},
            {"atoms": candidate.structure},
            potential=potential,
        )
        for candidate in chosen
    ]
    ranked: list[Candidate] = []
    for candidate, task, outcome in zip(chosen, relaxations, bench.runner.gather(relaxations), strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            continue
        value = outcome.value
        facts = {
            **candidate.facts,
            "composition": value["composition"],
            "converged": value["converged"],
            "formula": value["formula"],
            "key": task.key,
            "largest_force_eV_per_A": value["largest_force_eV_per_A"],
            "n_atoms": value["n_atoms"],
            "n_steps": value["n_steps"],
            "relaxed_eV": value["energy_eV"],
            "relaxed_eV_per_atom": value["energy_eV"] / value["n_atoms"],
            "single_point_eV_per_atom": single_energy.get(candidate.id),
            "volume_A3_per_atom": value["volume_A3"] / value["n_atoms"],
        }
        ranked.append(replace(candidate, structure=task["atoms"], facts=facts))
    if not any(not candidate.is_reference for candidate in ranked):
        reasons = "; ".join(sorted({failure.reason for failure in failures})[:3])
        raise StageError(f"no ordering could be relaxed ({reasons})", where=STAGE)
    lost = [candidate.id for candidate in references if candidate.id not in {c.id for c in ranked}]
    if lost:
        raise StageError(
            f"the reference {lost[0]} could not be relaxed, and there is no formation energy without it",
            where=STAGE,
            fix="check its structure file, or leave it out of `references`",
        )
    ranked, duplicate_of = _without_duplicates(settings, bench, ranked, tail)
    return StageResult(_summary(potential, candidates, ranked, duplicate_of, single_energy, failures), tuple(ranked))


def _lowest_of_each_composition(
    candidates: Sequence[Candidate], energies: Mapping[str, float], count: int
) -> list[Candidate]:
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for candidate in candidates:
        if candidate.id in energies:
            groups.setdefault(_group(candidate), []).append(candidate)
    chosen: list[Candidate] = []
    for group in groups.values():
        # Rounded to 1 µeV/atom, so that orderings that only differ by rounding keep the order of the enumeration.
        chosen += sorted(group, key=lambda candidate: round(energies[candidate.id], 6))[:count]
    return chosen


def _group(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.crystal, candidate.composition_label, str(candidate.facts.get("formula"))


def _without_duplicates(
    settings: Mapping[str, Any], bench: Workbench, ranked: list[Candidate], tail: str
) -> tuple[list[Candidate], dict[str, tuple[str, Candidate]]]:
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for candidate in ranked:
        groups.setdefault(_group(candidate), []).append(candidate)
    groups = {group: sorted(members, key=_relaxed_energy) for group, members in groups.items()}
    tasks = [
        bench.task(
            STAGE,
            f"duplicates among {' '.join(group).strip()}{tail}",
            "superionic.stages.rank:merge_task",
            _MERGE_VERSION,
            {
                "energy_tolerance_eV_per_atom": settings["duplicate_tolerance_meV_per_atom"] / 1000.0,
                "volume_tolerance": settings["duplicate_volume_tolerance_percent"] / 100.0,
            },
            {"relaxed": [Ref(member.structure.task) for member in members]},
        )
        for group, members in groups.items()
        if len(members) > 1
    ]
    merged = iter(bench.runner.gather(tasks))
    kept: list[Candidate] = []
    duplicate_of: dict[str, tuple[str, Candidate]] = {}
    for members in groups.values():
        same_as = next(merged).value if len(members) > 1 else [None]
        for member, original in zip(members, same_as, strict=True):
            if original is None:
                kept.append(member)
            else:
                duplicate_of[member.id] = (members[original].id, member)
    return kept, duplicate_of


def _relaxed_energy(candidate: Candidate) -> float:
    return float(candidate.facts["relaxed_eV_per_atom"])


def _summary(
    potential: ChosenPotential,
    candidates: Sequence[Candidate],
    ranked: Sequence[Candidate],
    duplicate_of: Mapping[str, tuple[str, Candidate]],
    single_energy: Mapping[str, float],
    failures: Sequence[Failure],
) -> dict[str, Any]:
    relaxed = {candidate.id: candidate for candidate in ranked}
    relaxed.update({name: member for name, (_, member) in duplicate_of.items()})
    entries = []
    for candidate in [*candidates, *(c for c in ranked if c.is_reference)]:
        facts = relaxed[candidate.id].facts if candidate.id in relaxed else candidate.facts
        entries.append(
            {
                "composition_label": candidate.composition_label,
                "converged": facts.get("converged"),
                "crystal": candidate.crystal,
                "degeneracy": facts.get("degeneracy"),
                "duplicate_of": duplicate_of[candidate.id][0] if candidate.id in duplicate_of else None,
                "ewald_eV": facts.get("ewald_eV"),
                "formula": facts.get("formula"),
                "id": candidate.id,
                "key": facts.get("key"),
                "n_atoms": facts.get("n_atoms"),
                "n_steps": facts.get("n_steps"),
                "relaxed_eV_per_atom": facts.get("relaxed_eV_per_atom"),
                "single_point_eV_per_atom": single_energy.get(candidate.id),
                "volume_A3_per_atom": facts.get("volume_A3_per_atom"),
            }
        )
    return {"entries": entries, "failures": failures_as_data(failures), "potential": dict(potential.identity)}


# ---- task functions -----------------------------------------------------------------------------------------------


def single_point_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Evaluate one structure."""
    potential = potential_of(settings, inputs, context)
    potential.check_elements(inputs["atoms"])
    prediction = potential.evaluate(inputs["atoms"], stress=False)
    return {"energy_eV": prediction.energy_eV, "n_atoms": len(inputs["atoms"])}


def relax_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Relax one structure."""
    import numpy as np

    from superionic.dynamics.relax import relax

    potential = potential_of(settings, inputs, context)
    potential.check_elements(inputs["atoms"])
    done = relax(
        inputs["atoms"],
        potential,
        fmax_eV_per_A=settings["fmax_eV_per_A"],
        max_steps=settings["max_steps"],
        cell=settings["relax_cell"],
        optimizer=settings["optimizer"],
        progress=context.progress,
    )
    symbols = done.atoms.get_chemical_symbols()
    composition = {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
    return {
        "atoms": done.atoms,
        "composition": composition,
        "converged": done.converged,
        "energy_eV": done.energy_eV,
        "formula": _formula(composition),
        "largest_force_eV_per_A": float(np.abs(done.forces_eV_per_A).max()),
        "n_atoms": len(symbols),
        "n_steps": done.n_steps,
        "volume_A3": float(done.atoms.get_volume()),
    }


def _formula(composition: Mapping[str, int]) -> str:
    from superionic.thermodynamics.composition import reduced_formula

    return reduced_formula(composition)


def merge_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> list[int | None]:
    """Tell for each relaxed structure, lowest energy first, which earlier one it repeats (None: no one).

    Two structures are the same if energy and volume agree within the tolerances and pymatgen's matcher maps one onto
    the other.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.ase import AseAtomsAdaptor

    matcher = StructureMatcher(primitive_cell=False, attempt_supercell=False)
    relaxed = inputs["relaxed"]
    structures = [AseAtomsAdaptor.get_structure(_bare(entry["atoms"])) for entry in relaxed]
    same_as: list[int | None] = []
    for i, entry in enumerate(relaxed):
        found = None
        for j in range(i):
            other = relaxed[j]
            energy_gap = abs(entry["energy_eV"] / entry["n_atoms"] - other["energy_eV"] / other["n_atoms"])
            volume_gap = abs(entry["volume_A3"] / entry["n_atoms"] / (other["volume_A3"] / other["n_atoms"]) - 1.0)
            if (
                same_as[j] is None
                and energy_gap <= settings["energy_tolerance_eV_per_atom"]
                and volume_gap <= settings["volume_tolerance"]
                and matcher.fit(structures[i], structures[j])
            ):
                found = j
                break
        same_as.append(found)
    return same_as


def _bare(atoms: Any) -> Any:
    from ase import Atoms

    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
