"""Stage *rank*: pre-screen orderings, halve and relax them, merge duplicates, and compare potentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from superionic.errors import StageError
from superionic.execution.runner import Failure, Outcome
from superionic.execution.task import ref_of
from superionic.results.identity import Material, Ordering, ReferencePhase
from superionic.results.ranking import HalvingReport, Prescreen, PrescreenAudit, RankedOrdering, RankResult
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    RelaxedOrdering,
    WithCandidates,
    Workbench,
    grouped,
    nothing_left,
)
from superionic.stages.rank.comparison import compare
from superionic.stages.rank.duplicates import merge_task, repeated_starts_task
from superionic.stages.rank.halving import Group, group_name, halve
from superionic.stages.rank.prescreen import audit, prescreened
from superionic.stages.rank.relaxations import FailedCalculation, Member, Relaxations, single_points
from superionic.structures.crystal.refined_cell import parameters

if TYPE_CHECKING:
    from superionic.settings.rank import RankSettings

# Orderings whose energies differ only by rounding keep the order of the enumeration.
_DIGITS = 6

_Identity = Ordering | ReferencePhase
_Key = tuple[Material, str]


@dataclass(frozen=True)
class _Ranked:
    """A candidate that is relaxed to the end."""

    candidate: Candidate
    key: str
    relaxed: RelaxedOrdering


def run(
    settings: RankSettings,
    bench: Workbench,
    candidates: Sequence[Candidate],
    references: Sequence[Candidate],
    potential: ChosenPotential,
    *,
    round_label: str = "",
) -> WithCandidates[RankResult]:
    """Find and relax the lowest orderings of each composition, and all references.

    Parameters
    ----------
    settings
        The ``rank`` section.
    candidates, references
        Orderings of the enumeration, and ordered end members.
    potential
        The ranking potential.
    round_label
        Distinguishes a further ranking of orderings of the first, by the fine-tuned potential, which has no comparison
        and no audit; of orderings that are relaxed already it has no pre-screen.

    Returns
    -------
    WithCandidates
        Candidates with relaxed structures and their energies, without duplicates and failures.

    Raises
    ------
    StageError
        If nothing could be relaxed.
    """
    bench = bench.at("rank")
    again, tail = bool(round_label), f" {round_label}" if round_label else ""
    failures: list[Failure] = []
    are_relaxed = any(candidate.relaxed is not None for candidate in candidates)
    repeated = {} if are_relaxed else _repeated_starts(bench, candidates)
    member_of = {c.identity: Member(c, c.structure) for c in candidates if c.identity not in repeated}
    members = list(member_of.values())
    if not are_relaxed and settings.prescreen != "none":
        members = prescreened(settings, bench, members, failures)
    relaxations = Relaxations(bench, potential, settings, tail)
    groups = [Group(material, formula, group) for (material, formula), group in grouped(members, _of_member).items()]
    halving: list[HalvingReport] = []
    if settings.method == "single-points":
        _lowest_single_points(settings, bench, groups, potential, tail)
        relaxations.finish([member for group in groups for member in group.alive], "to the end")
    else:
        halving = halve(settings, bench, relaxations, groups)
    audits, of_audit = list[PrescreenAudit](), list[Member]()
    if not again and settings.prescreen != "none":
        audits, of_audit = audit(settings, bench, relaxations, groups, list(member_of.values()))
    prescreen = Prescreen(by=settings.prescreen, kept=len(members), of=len(member_of), audits=tuple(audits))
    phases = [Member(candidate, candidate.structure) for candidate in references]
    relaxations.finish(phases, "references")
    # What the audit relaxed is as good as the others, and may be lower.
    audited = [member for member in of_audit if member.failure is None]
    finished = [*(member for group in groups for member in group.finished), *audited, *phases]
    ranked = [_ranked(*one) for one in relaxations.relaxed(finished)]
    failures += [m.failure for m in (*members, *phases, *of_audit) if m.failure is not None]
    _demand(ranked, references, failures)
    distinct, duplicate_of = _without_duplicates(settings, bench, ranked, tail)
    comparisons = []
    if settings.compare_with and not again:
        orderings = [candidate for candidate in distinct if not candidate.is_reference]
        comparisons = compare(settings, bench, orderings, potential.name)
    member_of |= {member.candidate.identity: member for member in phases}
    ranked_of = {one.candidate.identity: one for one in ranked}
    result = RankResult(
        potential_name=potential.name,
        potential=potential.identity,
        method=settings.method,
        optimizer=settings.optimizer,
        prescreen=prescreen,
        repeated_before_ranking=len(repeated),
        entries=tuple(
            _entry(c, member_of.get(c.identity), ranked_of.get(c.identity), (duplicate_of | repeated).get(c.identity))
            for c in (*candidates, *references)
        ),
        halving=tuple(halving),
        comparisons=tuple(comparisons),
        failures=tuple(failures),
    )
    return WithCandidates(result, tuple(distinct))


def relax_draws(
    settings: RankSettings, bench: Workbench, candidates: Sequence[Candidate], potential: ChosenPotential
) -> tuple[list[Candidate], list[Failure]]:
    """Relax orderings of large cells as the ranking relaxes those of small ones, every one to the end, but by FIRE.

    Quasi-Newton methods solve for all coordinates at once in each step, which takes minutes for 2,560 atoms.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench, at the stage that runs them.

    Returns
    -------
    candidates, failures
        Those that were relaxed, with their energies, and the failures. Equal ones are not merged.
    """
    by_fire = settings.model_copy(update={"optimizer": "FIRE"})
    relaxations = Relaxations(bench, potential, by_fire, " in large cells")
    members = [Member(candidate, candidate.structure) for candidate in candidates]
    relaxations.finish(members, "draws")
    relaxed = [_ranked(*one).candidate for one in relaxations.relaxed(members)]
    return relaxed, [member.failure for member in members if member.failure is not None]


def _demand(ranked: Sequence[_Ranked], references: Sequence[Candidate], failures: Sequence[Failure]) -> None:
    """Raise an error if no ordering, or not every reference, could be relaxed."""
    if all(one.candidate.is_reference for one in ranked):
        raise nothing_left("no ordering could be relaxed", failures, where="rank")
    relaxed = {one.candidate.identity for one in ranked}
    missing = next((candidate for candidate in references if candidate.identity not in relaxed), None)
    if missing is not None:
        raise StageError(
            f"the reference {missing.id} could not be relaxed, and there is no formation energy without it",
            where="rank",
            fix="check its structure file, or leave it out of `references`",
        )


def _of_member(member: Member) -> _Key:
    return _group(member.candidate)


def _group(candidate: Candidate) -> _Key:
    return candidate.material, candidate.formula


def _repeated_starts(bench: Workbench, candidates: Sequence[Candidate]) -> dict[_Identity, Ordering]:
    """Return the orderings that repeat an earlier one, with that one; those of one enumeration are distinct."""
    groups = grouped(candidates, _group)
    mixed = {
        name: members for name, members in groups.items() if len({ref_of(c.structure).task.key for c in members}) > 1
    }
    tasks = [
        bench.task(
            f"orderings that repeat one another among {group_name(*group)}",
            repeated_starts_task.of(atoms=[candidate.structure for candidate in members]),
        )
        for group, members in mixed.items()
    ]
    return {
        candidate.identity: members[original].ordering
        for members, outcome in zip(mixed.values(), bench.runner.gather(tasks), strict=True)
        for candidate, original in zip(members, outcome.value, strict=True)
        if original is not None
    }


def _lowest_single_points(
    settings: RankSettings, bench: Workbench, groups: Sequence[Group], potential: ChosenPotential, tail: str
) -> None:
    """Retain the orderings with the lowest single-point energies, as in paper A."""
    members = [member for group in groups for member in group.members]
    structures = [member.start for member in members]
    heights: dict[_Identity, float] = {}
    for member, evaluation in zip(
        members, single_points(bench, f"single points{tail}", structures, potential), strict=True
    ):
        energy = evaluation.value
        if isinstance(energy, FailedCalculation):
            member.failure = Failure(f"single point of {member.candidate.id}", energy.failed, evaluation.key)
        else:
            member.single_point_eV_per_atom = heights[member.candidate.identity] = energy.energy_eV_per_atom
    for group in groups:
        good = [member for member in group.members if member.failure is None]
        good.sort(key=lambda member: round(heights[member.candidate.identity], _DIGITS))
        group.alive = good[: settings.relax_top]


def _ranked(member: Member, relaxation: Outcome[RelaxedOrdering]) -> _Ranked:
    relaxed, part = relaxation.value, relaxation.task.result
    candidate = replace(
        member.candidate,
        structure=part.atoms,
        formula=relaxed.formula,
        n_atoms=relaxed.n_atoms,
        relaxed=part,
        relaxed_eV_per_atom=relaxed.energy_eV / relaxed.n_atoms,
    )
    return _Ranked(candidate, relaxation.task.key, relaxed)


def _without_duplicates(
    settings: RankSettings, bench: Workbench, ranked: Sequence[_Ranked], tail: str
) -> tuple[list[Candidate], dict[_Identity, Ordering]]:
    by_energy = {
        group: [one.candidate for one in sorted(members, key=lambda one: one.relaxed.energy_eV / one.relaxed.n_atoms)]
        for group, members in grouped(ranked, lambda one: _group(one.candidate)).items()
    }
    tasks = [
        bench.task(
            f"duplicates among {group_name(*group)}{tail}",
            merge_task.of(
                relaxed=[candidate.relaxation for candidate in members],
                energy_tolerance_eV_per_atom=settings.duplicate_tolerance_meV_per_atom / 1000.0,
                volume_tolerance=settings.duplicate_volume_tolerance_percent / 100.0,
            ),
        )
        for group, members in by_energy.items()
        if len(members) > 1
    ]
    merged = iter(bench.runner.gather(tasks))
    distinct: list[Candidate] = []
    duplicate_of: dict[_Identity, Ordering] = {}
    for members in by_energy.values():
        same_as = next(merged).value if len(members) > 1 else (None,)
        for candidate, original in zip(members, same_as, strict=True):
            if original is None:
                distinct.append(candidate)
            else:
                duplicate_of[candidate.identity] = members[original].ordering
    return distinct, duplicate_of


def _entry(
    candidate: Candidate, member: Member | None, ranked: _Ranked | None, duplicate_of: Ordering | None
) -> RankedOrdering:
    """Return the entry of an ordering; one that repeats another before the ranking was never a member."""
    start = member.single_point_eV_per_atom if member is not None else None
    energies = member.energies_eV_per_atom if member is not None else []
    relaxed = ranked.relaxed if ranked is not None else None
    lengths, angles = (None, None) if relaxed is None else parameters(relaxed.atoms.cell.array)
    return RankedOrdering(
        identity=candidate.identity,
        key=ranked.key if ranked is not None else None,
        formula=relaxed.formula if relaxed is not None else candidate.formula,
        n_atoms=relaxed.n_atoms if relaxed is not None else candidate.n_atoms,
        degeneracy=candidate.degeneracy,
        ewald_eV=candidate.ewald_eV,
        prescreen_eV_per_atom=member.prescreen_eV_per_atom if member is not None else None,
        single_point_eV_per_atom=energies[0] if start is None and energies else start,
        reached_eV_per_atom=energies[-1] if energies else None,
        relaxed_eV_per_atom=relaxed.energy_eV / relaxed.n_atoms if relaxed is not None else None,
        volume_A3_per_atom=relaxed.volume_A3 / relaxed.n_atoms if relaxed is not None else None,
        lengths_A=lengths,
        angles_deg=angles,
        largest_force_eV_per_A=relaxed.largest_force_eV_per_A if relaxed is not None else None,
        n_evaluations=member.n_evaluations if member is not None and energies else None,
        n_steps=relaxed.n_steps if relaxed is not None else None,
        converged=relaxed.converged if relaxed is not None else None,
        duplicate_of=duplicate_of,
    )
