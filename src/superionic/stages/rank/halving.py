"""Successive halving: all orderings take a few steps, the lowest take more, and the last are relaxed to the end.

Orderings with special roles make it reliable. *Scouts*, the first of each group, are relaxed to the end before all
others, which then start with the scouts' mean deformation of the cell. *Pilots*, drawn at random, are relaxed to the
end as well: the scatter of their energy drops from a rung to the end is the noise within which nothing is culled, and
their mean cost gives the cost of relaxing all orderings. *Survivors* pass all rungs. *Audited* orderings are drawn at
random from the culled ones and relaxed after all: if one belongs among the lowest, culling was too strict, and its
margin is widened once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from superionic.results.identity import Material, Ordering, ReferencePhase
from superionic.results.ranking import Audit, HalvingReport
from superionic.stages.base import Workbench
from superionic.stages.rank.relaxations import Member, Relaxations, warm_start
from superionic.thermodynamics.culling import cut, drawn, expected_missed, noise_eV_per_atom
from superionic.thermodynamics.rank_statistics import proportion_interval

if TYPE_CHECKING:
    from superionic.settings.rank import HalvingSettings, RankSettings

# Factor by which culling is widened after a failed audit.
_MORE = 2.0
# Groups with no more orderings than those requested, the scouts and this many audits are relaxed completely.
_ALL_IF_FEWER = 4


@dataclass(eq=False)
class Group:
    """Orderings of one crystal and composition, which compete with one another.

    Attributes
    ----------
    members
        All orderings, in the order of the pre-screen.
    scouts, pilots, alive, audited
        Members with these roles; see the module. Those alive are neither scouts nor pilots nor culled.
    culled
        For each culled ordering its rung, and its energy above the last of the requested lowest ones, in eV/atom.
    margins_eV_per_atom
        Noise within which nothing was culled, for each rung.
    audits, widened
        Results of the audits, and whether the margin was widened.
    """

    material: Material
    formula: str
    members: list[Member]
    scouts: list[Member] = field(default_factory=list)
    pilots: list[Member] = field(default_factory=list)
    alive: list[Member] = field(default_factory=list)
    culled: dict[Ordering | ReferencePhase, tuple[int, float]] = field(default_factory=dict)
    margins_eV_per_atom: list[float] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    audited: list[Member] = field(default_factory=list)
    widened: bool = False

    @property
    def name(self) -> str:
        """Unique display name, from which the seeds of random draws derive."""
        return group_name(self.material, self.formula)

    @property
    def running(self) -> list[Member]:
        """Members alive that have not failed."""
        return [member for member in self.alive if member.failure is None]

    @property
    def finished(self) -> list[Member]:
        """Members that are relaxed to the end."""
        completed = {id(m) for m in (*self.scouts, *self.pilots, *self.alive, *self.audited)}
        return [m for m in self.members if id(m) in completed and m.failure is None]


def group_name(material: Material, formula: str) -> str:
    """Return the name of the orderings of one crystal and composition."""
    return " ".join((material.crystal, material.composition_label, formula)).strip()


def halve(
    settings: RankSettings, bench: Workbench, relaxations: Relaxations, groups: Sequence[Group]
) -> list[HalvingReport]:
    """Relax each group: completely, or with the method halving its lowest, with as few evaluations as noise allows.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench, from which the seeds of random draws derive.
    relaxations
        Carries out the relaxations.
    groups
        The groups, which are modified: afterwards ``finished`` lists their relaxed members.

    Returns
    -------
    list of HalvingReport
        Cost, culling and audit of each group.
    """
    halving, n_lowest = settings.halving, settings.relax_top
    # With few orderings, scouts, pilots and audit cost more than they save.
    few = n_lowest + settings.warm_start + _ALL_IF_FEWER * halving.audit_at_least
    large = [g for g in groups if settings.method == "halving" and len(g.members) > few]
    small = [group for group in groups if group not in large]
    _warm_start(settings, bench, relaxations, [g for g in groups if len(g.members) > 2 * settings.warm_start])
    for group in groups:
        group.alive = group.members[len(group.scouts) :]
    if large:
        lengths = _rungs(halving)
        _first_rung(halving, bench, relaxations, large, lengths)
        for rung, steps in enumerate(lengths):
            if rung > 0:
                relaxations.advance(_alive(large), steps, f"rung {rung + 1}")
            for group in large:
                _cull(group, rung, n_lowest, halving.keep_fraction)
    relaxations.finish([*_alive(small), *_alive(large)], "to the end")
    for attempt in (1, 2):
        _audit(halving, bench, relaxations, large, attempt, n_lowest)
        failed = [group for group in large if group.audits and group.audits[-1].entered and not group.widened]
        if attempt == 2 or not failed:
            break
        for group in failed:
            _widen(group, halving.keep_fraction, n_lowest)
        relaxations.finish(_alive(failed), "to the end, widened")
    return [_report(group, bench, n_lowest) for group in groups]


def _alive(groups: Sequence[Group]) -> list[Member]:
    return [member for group in groups for member in group.alive]


def _rungs(halving: HalvingSettings) -> list[int]:
    """Return the number of steps of each rung."""
    return [max(1, round(halving.first_steps * halving.growth**rung)) for rung in range(halving.max_rungs)]


def _warm_start(settings: RankSettings, bench: Workbench, relaxations: Relaxations, groups: Sequence[Group]) -> None:
    if settings.warm_start == 0 or not settings.relax_cell:
        return
    for group in groups:
        group.scouts = group.members[: settings.warm_start]
    relaxations.finish([member for group in groups for member in group.scouts], "scouts")
    for group in groups:
        pairs = [
            (m.start, m.reached.relaxed.atoms) for m in group.scouts if m.failure is None and m.reached is not None
        ]
        if not pairs:
            continue
        deformation = warm_start(bench, f"warm start of {group.name}{relaxations.tail}", pairs)
        for member in group.members[len(group.scouts) :]:
            member.deformation = deformation


def _first_rung(
    halving: HalvingSettings, bench: Workbench, relaxations: Relaxations, groups: Sequence[Group], lengths: list[int]
) -> None:
    """Advance all members by the first rung, and pilots through all rungs to the end."""
    relaxations.advance(_alive(groups), lengths[0], "rung 1")
    for group in groups:
        seed = bench.seed_for("pilots", group.name)
        indices = drawn(len(group.running), halving.audit_fraction, halving.audit_at_least, seed)
        group.pilots = [group.running[i] for i in indices]
        pilot_ids = {id(member) for member in group.pilots}
        group.alive = [member for member in group.alive if id(member) not in pilot_ids]
    pilots = [member for group in groups for member in group.pilots]
    for rung, steps in enumerate(lengths[1:], 2):
        relaxations.advance(pilots, steps, f"rung {rung} of the pilots")
    relaxations.finish(pilots, "pilots to the end")


def _falls(group: Group) -> np.ndarray:
    """Return the energy drop of each pilot from each rung to the end, shape (pilots, rungs), in eV/atom."""
    pilots = [member for member in group.pilots if member.failure is None]
    longest = max((len(member.energies_eV_per_atom) for member in pilots), default=0)
    rows = [
        [m.energies_eV_per_atom[min(r, len(m.energies_eV_per_atom) - 1)] for r in range(1, longest)] for m in pilots
    ]
    if not rows:
        return np.zeros((0, 1))
    ends = np.array([member.energies_eV_per_atom[-1] for member in pilots])
    return np.asarray(np.array(rows) - ends[:, None], dtype=np.float64)


def _fall_from(falls: np.ndarray, rung: int) -> np.ndarray:
    """Return the energy drops from one rung; zero if all pilots had converged before it."""
    return np.asarray(falls[:, rung]) if rung < falls.shape[1] else np.zeros(len(falls))


def _all_falls(group: Group, last_rung: int) -> list[np.ndarray]:
    """Return the energy drops from each rung for all random draws: the pilots, and the audited from their rung on."""
    pilots = _falls(group)
    falls = []
    for rung in range(last_rung + 1):
        audited = [m for m in group.audited if group.culled.get(m.candidate.identity, (-1, 0.0))[0] >= rung]
        later = [m.energies_eV_per_atom[rung + 1] - m.energies_eV_per_atom[-1] for m in audited]
        falls.append(np.concatenate([_fall_from(pilots, rung), np.array(later)]))
    return falls


def _cull(group: Group, rung: int, n_lowest: int, keep_fraction: float) -> None:
    running = group.running
    if not running:
        return
    falls = _fall_from(_falls(group), rung)
    margin = noise_eV_per_atom(falls)
    typical = float(np.median(falls)) if len(falls) else 0.0
    # Relaxed members compete with the energy that a typical ordering would have had at this rung.
    relaxed = [m.energies_eV_per_atom[-1] + typical for m in (*group.scouts, *group.pilots) if m.failure is None]
    current = [m.energies_eV_per_atom[min(rung + 1, len(m.energies_eV_per_atom) - 1)] for m in running]
    culling = cut(np.array([*relaxed, *current]), n_lowest, keep_fraction, margin)
    group.margins_eV_per_atom.append(margin)
    survivors = []
    for member, keep, gap in zip(
        running, culling.kept[len(relaxed) :], culling.gaps_eV_per_atom[len(relaxed) :], strict=True
    ):
        if keep or member.converged:
            survivors.append(member)
        else:
            group.culled[member.candidate.identity] = (rung, float(gap))
    group.alive = survivors


def _threshold_eV_per_atom(group: Group, n_lowest: int) -> float:
    """Return the relaxed energy of the last of the ``n_lowest`` orderings, without those relaxed in the audit."""
    audited = {id(member) for member in group.audited}
    energies = sorted(m.energies_eV_per_atom[-1] for m in group.finished if id(m) not in audited)
    return energies[min(n_lowest, len(energies)) - 1] if energies else np.inf


def _audit(
    halving: HalvingSettings,
    bench: Workbench,
    relaxations: Relaxations,
    groups: Sequence[Group],
    attempt: int,
    n_lowest: int,
) -> None:
    """Relax a random sample of the culled orderings after all."""
    drawn_now: dict[str, list[Member]] = {}
    for group in groups:
        if attempt == 2 and not group.widened:
            continue
        before = {id(member) for member in group.audited}
        culled = [m for m in group.members if m.candidate.identity in group.culled and id(m) not in before]
        seed = bench.seed_for("audit", group.name, attempt)
        indices = drawn(len(culled), halving.audit_fraction, halving.audit_at_least, seed)
        drawn_now[group.name] = [culled[i] for i in indices]
    label = "audit" if attempt == 1 else "audit after widening"
    relaxations.finish([member for members in drawn_now.values() for member in members], label)
    for group in groups:
        if group.name not in drawn_now:
            continue
        relaxed = [member for member in drawn_now[group.name] if member.failure is None]
        threshold = _threshold_eV_per_atom(group, n_lowest)
        population = sum(1 for m in group.members if m.candidate.identity in group.culled and m not in group.audited)
        entered = [m for m in relaxed if m.energies_eV_per_atom[-1] < threshold]
        group.audited += relaxed
        group.audits.append(Audit(audited=len(relaxed), culled=population, entered=len(entered)))


def _widen(group: Group, keep_fraction: float, n_lowest: int) -> None:
    """Reinstate orderings culled by small gaps: up to the gap of audited ones among the lowest, and a fixed share."""
    threshold = _threshold_eV_per_atom(group, n_lowest)
    missed = [m.candidate.identity for m in group.audited if m.energies_eV_per_atom[-1] < threshold]
    margin = max(group.culled[identity][1] for identity in missed)
    members = {member.candidate.identity: member for member in group.members}
    audited = {member.candidate.identity for member in group.audited}
    closest = sorted(group.culled, key=lambda identity: (group.culled[identity][1], identity.id))
    more = int(np.ceil((_MORE - 1.0) * keep_fraction * len(closest)))
    for position, identity in enumerate(closest):
        if identity not in audited and (position < more or group.culled[identity][1] <= margin):
            group.alive.append(members[identity])
            del group.culled[identity]
    group.widened = True


def _report(group: Group, bench: Workbench, n_lowest: int) -> HalvingReport:
    spent = sum(member.n_evaluations for member in group.members)
    pilots = [member.n_evaluations for member in group.pilots if member.failure is None]
    report = HalvingReport(
        material=group.material,
        formula=group.formula,
        orderings=len(group.members),
        pilots=len(pilots),
        relaxed=len(group.finished),
        culled=len(group.culled),
        wanted=min(n_lowest, len(group.members)),
        evaluations=spent,
        evaluations_if_all=float(spent),
        margins_meV_per_atom=tuple(1000.0 * margin for margin in group.margins_eV_per_atom if np.isfinite(margin)),
        audits=tuple(group.audits),
        widened=group.widened,
        recall=1.0,
        recall_interval95=(1.0, 1.0),
        recall_at_least_by_audit=None,
    )
    if not group.culled:
        return report
    threshold = _threshold_eV_per_atom(group, n_lowest)
    audited = {member.candidate.identity for member in group.audited}
    culled = [member for member in group.members if member.candidate.identity in group.culled]
    unseen = [member for member in culled if member.candidate.identity not in audited]
    rungs = [group.culled[member.candidate.identity][0] for member in unseen]
    heights = np.array([m.energies_eV_per_atom[-1] - threshold for m in unseen])
    seed = bench.seed_for("recall", group.name)
    expected, low, high = expected_missed(heights, _all_falls(group, max(rungs, default=0)), rungs, seed)
    audit = group.audits[-1] if group.audits else Audit(audited=0, culled=len(unseen), entered=0)
    most = proportion_interval(audit.entered, audit.audited, audit.culled)[1]

    def recall(missed: float) -> float:
        return max(0.0, 1.0 - missed / n_lowest)

    return replace(
        report,
        evaluations_if_all=float(np.mean(pilots)) * len(group.members) if pilots else None,
        recall=recall(expected),
        recall_interval95=(recall(high), recall(low)),
        # Orderings relaxed in the audit itself are no longer missed.
        recall_at_least_by_audit=recall(most - audit.entered),
    )
