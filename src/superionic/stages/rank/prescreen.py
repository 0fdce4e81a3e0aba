"""Pre-screen of all orderings by something cheap, and its audit by the ranking potential.

Only the lowest of each composition go on. What the others would have been is measured: some of those screened out,
drawn at random, are relaxed by the ranking potential after all. How far their energies scatter about what the
pre-screen predicts tells how many of the lowest it misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.results.identity import Material
from superionic.results.ranking import PrescreenAudit
from superionic.stages.base import Candidate, FloatArray, Workbench, grouped
from superionic.stages.rank.halving import Group
from superionic.stages.rank.relaxations import FailedCalculation, Member, Relaxations, single_points
from superionic.thermodynamics.culling import drawn, missed_by_prescreen
from superionic.thermodynamics.rank_statistics import proportion_interval

if TYPE_CHECKING:
    from superionic.settings.rank import RankSettings

# Orderings whose energies differ only by rounding keep the order of the enumeration.
_DIGITS = 6


def _of_member(member: Member) -> tuple[Material, str]:
    return member.candidate.material, member.candidate.formula


def prescreened(
    settings: RankSettings, bench: Workbench, members: Sequence[Member], failures: list[Failure]
) -> list[Member]:
    """Return the lowest of each composition by point charges or by a cheap potential, which may also relax them."""
    if settings.prescreen == "ewald":
        for member in members:
            member.prescreen_eV_per_atom = _ewald(member.candidate)
    else:
        _screen_by_potential(settings, bench, members, failures)
    judged = [(member, member.prescreen_eV_per_atom) for member in members if member.prescreen_eV_per_atom is not None]
    heights = {member.candidate.identity: round(height, _DIGITS) for member, height in judged}
    lowest: list[Member] = []
    for group in grouped((member for member, _ in judged), _of_member).values():
        lowest += sorted(group, key=lambda m: heights[m.candidate.identity])[: settings.prescreen_keep]
    return lowest


def _ewald(candidate: Candidate) -> float:
    if candidate.ewald_eV is None:
        raise StageError(
            f"{candidate.id} has no Ewald energy",
            where="rank.prescreen",
            fix="write `prescreen: none`, or name a potential",
        )
    return candidate.ewald_eV / candidate.n_atoms


def _screen_by_potential(
    settings: RankSettings, bench: Workbench, members: Sequence[Member], failures: list[Failure]
) -> None:
    """Record energies by the cheap potential; if it relaxes members, they start from the relaxed structures."""
    by = settings.prescreen
    if settings.prescreen_steps == 0:
        structures = [member.start for member in members]
        evaluations = single_points(bench, f"pre-screen by {by}", structures, bench.potentials[by])
        for member, evaluation in zip(members, evaluations, strict=True):
            energy = evaluation.value
            if isinstance(energy, FailedCalculation):
                failures.append(Failure(f"pre-screen of {member.candidate.id}", energy.failed, evaluation.key))
            else:
                member.prescreen_eV_per_atom = energy.energy_eV_per_atom
        return
    data = bench.potentials[by].data
    if data is not None and data.rigid_cell:
        settings = settings.model_copy(update={"relax_cell": False})
    cheap = Relaxations(bench, bench.potentials[by], settings, f" by {by}")
    trials = [Member(member.candidate, member.start) for member in members]
    cheap.advance(trials, settings.prescreen_steps, "pre-screen")
    for member, tried in zip(members, trials, strict=True):
        if tried.failure is not None:
            failures.append(tried.failure)
        elif tried.reached is not None:
            member.prescreen_eV_per_atom = tried.energies_eV_per_atom[-1]
            member.start = tried.reached.relaxed.atoms


def audit(
    settings: RankSettings,
    bench: Workbench,
    relaxations: Relaxations,
    groups: Sequence[Group],
    members: Sequence[Member],
) -> tuple[list[PrescreenAudit], list[Member]]:
    """Relax a random sample of what was screened out, and estimate the recall of the lowest orderings.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench, from which the seeds of random draws derive.
    relaxations
        Carries out the relaxations by the ranking potential.
    groups
        The orderings that were ranked, by crystal and composition.
    members
        All orderings that were judged by the pre-screen.

    Returns
    -------
    list of PrescreenAudit
        One for each group of which something was screened out.
    list of Member
        The members relaxed for it.
    """
    judged = [member for member in members if member.prescreen_eV_per_atom is not None]
    by_group = grouped(judged, _of_member)
    screened_out: list[tuple[Group, list[Member], list[Member]]] = []
    for group in groups:
        ranked = {member.candidate.identity for member in group.members}
        out = [m for m in by_group.get((group.material, group.formula), []) if m.candidate.identity not in ranked]
        seed = bench.seed_for("pre-screen audit", group.name)
        indices = drawn(len(out), 0.0, settings.prescreen_audit, seed) if settings.prescreen_audit else []
        if out:
            screened_out.append((group, out, [out[index] for index in indices]))
    relaxed = [member for _, _, sample in screened_out for member in sample]
    relaxations.finish(relaxed, "audit of the pre-screen")
    return [_recall(settings, bench, *one) for one in screened_out], relaxed


def _recall(
    settings: RankSettings, bench: Workbench, group: Group, out: Sequence[Member], sample: Sequence[Member]
) -> PrescreenAudit:
    ranked = sorted(group.finished, key=lambda member: member.energies_eV_per_atom[-1])
    audited = [member for member in sample if member.failure is None]
    failed = [member for member in sample if member.failure is not None]
    n_lowest = min(settings.relax_top, len(ranked))
    unknown = PrescreenAudit(
        material=group.material,
        formula=group.formula,
        kept=len(group.members),
        screened_out=len(out),
        audited=len(audited),
        entered=0,
        n_lowest=n_lowest,
        recall=None,
        recall_interval95=None,
        recall_at_least_by_audit=None,
    )
    if not audited or not ranked:
        return unknown
    # What differs by no more than duplicates do is as good as the last of the lowest.
    tolerance = 1.0e-3 * settings.duplicate_tolerance_meV_per_atom
    threshold = ranked[n_lowest - 1].energies_eV_per_atom[-1] - tolerance
    seen = {member.candidate.identity for member in sample}
    unseen = [member for member in out if member.candidate.identity not in seen]
    entered = sum(member.energies_eV_per_atom[-1] < threshold for member in audited)
    expected, low, high = missed_by_prescreen(
        _cheap(ranked),
        _relaxed(ranked),
        _cheap(audited),
        _relaxed(audited),
        _cheap(unseen),
        threshold,
        bench.seed_for("pre-screen recall", group.name),
    )
    population = len(out) - len(failed)
    most = proportion_interval(entered, len(audited), population)[1]

    def recall(missed: float) -> float:
        return max(0.0, 1.0 - missed / n_lowest)

    return PrescreenAudit(
        material=group.material,
        formula=group.formula,
        kept=len(group.members),
        screened_out=len(out),
        audited=len(audited),
        entered=entered,
        n_lowest=n_lowest,
        recall=recall(entered + expected),
        recall_interval95=(recall(entered + high), recall(entered + low)),
        recall_at_least_by_audit=recall(most),
    )


def _cheap(members: Sequence[Member]) -> FloatArray:
    return np.array([m.prescreen_eV_per_atom for m in members], dtype=np.float64)


def _relaxed(members: Sequence[Member]) -> FloatArray:
    return np.array([member.energies_eV_per_atom[-1] for member in members], dtype=np.float64)
