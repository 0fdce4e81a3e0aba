"""Stage *rank*: orderings are pre-screened, halved, relaxed to the end, merged, and compared between potentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.execution.task import Ref
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench, failures_as_data
from superionic.stages.halving import Group, halve
from superionic.stages.rank_compare import compare
from superionic.stages.relaxations import Member, Relaxations, single_points

STAGE = "rank"
_MERGE_VERSION = 2
_REPEATED_VERSION = 1
# Orderings that differ by rounding only keep the order of the enumeration.
_DIGITS = 6


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    candidates: Sequence[Candidate],
    references: Sequence[Candidate],
    potential: ChosenPotential,
    *,
    round_label: str = "",
) -> StageResult:
    """Find and relax the lowest orderings of each composition, and all references.

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
        Distinguishes a second ranking, by the fine-tuned potential, of what the first has chosen: no pre-screen and no
        comparison then.

    Returns
    -------
    StageResult
        Candidates with relaxed structures and their energies; duplicates and failures left out.

    Raises
    ------
    StageError
        If nothing could be relaxed.
    """
    again, tail = bool(round_label), f" {round_label}" if round_label else ""
    if again:
        settings = {**settings, "method": "relax-all", "warm_start": 0}  # they start relaxed
    facts: dict[str, dict[str, Any]] = {candidate.id: {} for candidate in candidates}
    failures: list[Failure] = []
    repeated = {} if again else _repeated_starts(bench, candidates)
    members = [Member(candidate, candidate.structure) for candidate in candidates if candidate.id not in repeated]
    screened: dict[str, Any] = {"kept": len(members), "of": len(members), "by": settings["prescreen"]}
    if not again and settings["prescreen"] != "none":
        members = _prescreened(settings, bench, members, facts, failures)
        screened["kept"] = len(members)
    relaxations = Relaxations(bench, STAGE, potential, settings, tail)
    groups = [Group(" ".join(name).strip(), inside) for name, inside in _grouped(members).items()]
    if settings["method"] == "single-points":
        _lowest_single_points(settings, bench, groups, facts, potential, tail)
        relaxations.finish([member for group in groups for member in group.alive], "to the end")
        halved: list[dict[str, Any]] = []
    else:
        halved = halve(settings, bench, relaxations, groups)
    phases = [Member(candidate, candidate.structure) for candidate in references]
    relaxations.finish(phases, "references")
    finished = [*(member for group in groups for member in group.finished), *phases]
    ranked = [
        replace(member.candidate, structure=task["atoms"], facts=_relaxed_facts(member, task.key, value, facts))
        for member, task, value in relaxations.relaxed(finished)
    ]
    failures += [member.failure for member in (*members, *phases) if member.failure is not None]
    for member in members:
        known = facts[member.candidate.id]
        if member.energies_eV_per_atom:
            known.setdefault("single_point_eV_per_atom", member.energies_eV_per_atom[0])
            known["n_evaluations"] = member.n_evaluations
            known["reached_eV_per_atom"] = member.energies_eV_per_atom[-1]
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
    compared = []
    if settings["compare_with"] and not again:
        orderings = [candidate for candidate in ranked if not candidate.is_reference]
        compared = compare(settings, bench, STAGE, orderings, potential.name)
    summary = {
        "comparisons": compared,
        "entries": _entries(candidates, ranked, duplicate_of, repeated, facts),
        "failures": failures_as_data(failures),
        "halving": halved,
        "method": settings["method"],
        "optimizer": settings["optimizer"],
        "potential": dict(potential.identity),
        "prescreen": screened,
        "repeated_before_ranking": len(repeated),
    }
    return StageResult(summary, tuple(ranked), failures=tuple(failures))


def _grouped(members: Sequence[Member]) -> dict[tuple[str, str, str], list[Member]]:
    groups: dict[tuple[str, str, str], list[Member]] = {}
    for member in members:
        groups.setdefault(_group(member.candidate), []).append(member)
    return groups


def _group(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.crystal, candidate.composition_label, str(candidate.facts.get("formula"))


def _repeated_starts(bench: Workbench, candidates: Sequence[Candidate]) -> dict[str, str]:
    """Tell which orderings repeat an earlier one; those of one enumeration are distinct already."""
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(_group(candidate), []).append(candidate)
    mixed = {name: inside for name, inside in groups.items() if len({c.structure.task.key for c in inside}) > 1}
    tasks = [
        bench.task(
            STAGE,
            f"orderings that repeat one another among {' '.join(name).strip()}",
            "superionic.stages.duplicates:repeated_starts_task",
            _REPEATED_VERSION,
            {},
            {"atoms": [candidate.structure for candidate in inside]},
        )
        for name, inside in mixed.items()
    ]
    return {
        candidate.id: inside[original].id
        for inside, outcome in zip(mixed.values(), bench.runner.gather(tasks), strict=True)
        for candidate, original in zip(inside, outcome.value, strict=True)
        if original is not None
    }


def _prescreened(
    settings: Mapping[str, Any],
    bench: Workbench,
    members: Sequence[Member],
    facts: dict[str, dict[str, Any]],
    failures: list[Failure],
) -> list[Member]:
    """Keep the lowest of each composition by point charges or by a cheap potential; the latter may relax them."""
    by = settings["prescreen"]
    if by == "ewald":
        heights = {member.candidate.id: _ewald(member.candidate) for member in members}
    else:
        heights = _screened_by_potential(settings, bench, members, by, failures)
    for name, height in heights.items():
        facts[name]["prescreen_eV_per_atom"] = height
    kept: list[Member] = []
    for inside in _grouped([m for m in members if m.candidate.id in heights]).values():
        kept += sorted(inside, key=lambda m: round(heights[m.candidate.id], _DIGITS))[: settings["prescreen_keep"]]
    return kept


def _ewald(candidate: Candidate) -> float:
    energy = candidate.facts.get("ewald_eV")
    if energy is None:
        raise StageError(
            f"{candidate.id} has no Ewald energy",
            where="rank.prescreen",
            fix="write `prescreen: none`, or name a potential",
        )
    return float(energy) / int(candidate.facts["n_atoms"])


def _screened_by_potential(
    settings: Mapping[str, Any], bench: Workbench, members: Sequence[Member], by: str, failures: list[Failure]
) -> dict[str, float]:
    """Return energies per atom by the cheap potential; where it relaxes, the members start from what it gave."""
    heights: dict[str, float] = {}
    if settings["prescreen_steps"] == 0:
        structures = [member.start for member in members]
        found = single_points(bench, STAGE, f"pre-screen by {by}", structures, bench.potentials[by])
        for member, (place, item) in zip(members, found, strict=True):
            if "failed" in item:
                failures.append(Failure(f"pre-screen of {member.candidate.id}", item["failed"], place.task.key))
            else:
                heights[member.candidate.id] = item["energy_eV"] / item["n_atoms"]
        return heights
    cheap = Relaxations(bench, STAGE, bench.potentials[by], settings, f" by {by}")
    trials = [Member(member.candidate, member.start) for member in members]
    cheap.advance(trials, settings["prescreen_steps"], "pre-screen")
    for member, tried in zip(members, trials, strict=True):
        if tried.failure is not None:
            failures.append(tried.failure)
        elif tried.place is not None:
            heights[member.candidate.id] = tried.energies_eV_per_atom[-1]
            member.start = Ref(tried.place[0], ("items", tried.place[1], "atoms"))
    return heights


def _lowest_single_points(
    settings: Mapping[str, Any],
    bench: Workbench,
    groups: Sequence[Group],
    facts: dict[str, dict[str, Any]],
    potential: ChosenPotential,
    tail: str,
) -> None:
    """Let the orderings with the lowest single points go on, as paper B does."""
    members = [member for group in groups for member in group.members]
    found = single_points(bench, STAGE, f"single points{tail}", [member.start for member in members], potential)
    for member, (place, item) in zip(members, found, strict=True):
        if "failed" in item:
            member.failure = Failure(f"single point of {member.candidate.id}", item["failed"], place.task.key)
        else:
            facts[member.candidate.id]["single_point_eV_per_atom"] = item["energy_eV"] / item["n_atoms"]
    for group in groups:
        good = [member for member in group.members if member.failure is None]
        energy = {m.candidate.id: facts[m.candidate.id]["single_point_eV_per_atom"] for m in good}
        good.sort(key=lambda member: round(energy[member.candidate.id], _DIGITS))
        group.alive = good[: settings["relax_top"]]


def _relaxed_facts(
    member: Member, key: str, value: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    known = facts.get(member.candidate.id, {})
    return {
        **member.candidate.facts,
        "composition": value["composition"],
        "converged": value["converged"],
        "formula": value["formula"],
        "key": key,
        "largest_force_eV_per_A": value["largest_force_eV_per_A"],
        "n_atoms": value["n_atoms"],
        "n_steps": value["n_steps"],
        "relaxed_eV": value["energy_eV"],
        "relaxed_eV_per_atom": value["energy_eV"] / value["n_atoms"],
        "single_point_eV_per_atom": known.get("single_point_eV_per_atom", member.energies_eV_per_atom[0]),
        "volume_A3_per_atom": value["volume_A3"] / value["n_atoms"],
    }


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
            "superionic.stages.duplicates:merge_task",
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


def _entries(
    candidates: Sequence[Candidate],
    ranked: Sequence[Candidate],
    duplicate_of: Mapping[str, tuple[str, Candidate]],
    repeated: Mapping[str, str],
    known: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    relaxed = {candidate.id: candidate for candidate in ranked}
    relaxed.update({name: member for name, (_, member) in duplicate_of.items()})
    entries = []
    for candidate in [*candidates, *(c for c in ranked if c.is_reference)]:
        facts = relaxed[candidate.id].facts if candidate.id in relaxed else candidate.facts
        told = known.get(candidate.id, {})
        merged = duplicate_of[candidate.id][0] if candidate.id in duplicate_of else None
        entries.append(
            {
                "composition_label": candidate.composition_label,
                "converged": facts.get("converged"),
                "crystal": candidate.crystal,
                "degeneracy": facts.get("degeneracy"),
                "duplicate_of": merged or repeated.get(candidate.id),
                "ewald_eV": facts.get("ewald_eV"),
                "formula": facts.get("formula"),
                "id": candidate.id,
                "key": facts.get("key"),
                "n_atoms": facts.get("n_atoms"),
                "n_evaluations": told.get("n_evaluations"),
                "n_steps": facts.get("n_steps"),
                "prescreen_eV_per_atom": told.get("prescreen_eV_per_atom"),
                "reached_eV_per_atom": told.get("reached_eV_per_atom"),
                "relaxed_eV_per_atom": facts.get("relaxed_eV_per_atom"),
                "single_point_eV_per_atom": facts.get("single_point_eV_per_atom", told.get("single_point_eV_per_atom")),
                "volume_A3_per_atom": facts.get("volume_A3_per_atom"),
            }
        )
    return entries
