"""Successive halving: all orderings take a few steps, the lowest go on, the last are relaxed to the end.

Four kinds of orderings keep it honest. *Scouts*, the first of each group, are relaxed to the end before all others,
which then start from the scouts' mean deformation of the cell. *Pilots*, drawn at random, are relaxed to the end as
well; how differently they fall from a rung to their ends is the noise within which nothing is culled, and their mean
cost is what relaxing all would have cost. *Survivors* came through all rungs. *Audited* orderings are drawn at random
among the culled and relaxed after all: if one belongs among the lowest, culling was too sharp, and it is made wider,
once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from superionic.execution.task import Ref
from superionic.stages.base import Workbench
from superionic.stages.relaxations import Member, Relaxations, warm_start
from superionic.thermodynamics.culling import cut, drawn, expected_missed, noise_eV_per_atom
from superionic.thermodynamics.rank_statistics import proportion_interval

# How much wider culling becomes where the audit failed.
_MORE = 2.0
# Groups of no more orderings than the wanted, the scouts and this many audits are relaxed as a whole.
_ALL_IF_FEWER = 4


@dataclass(eq=False)
class Group:
    """Orderings of one crystal and composition, which compete with one another.

    Attributes
    ----------
    name
        For people, unique.
    members
        In the order of the pre-screen.
    """

    name: str
    members: list[Member]
    scouts: list[Member] = field(default_factory=list)
    pilots: list[Member] = field(default_factory=list)
    alive: list[Member] = field(default_factory=list)
    culled: dict[str, tuple[int, float]] = field(default_factory=dict)
    margins_eV_per_atom: list[float] = field(default_factory=list)
    audits: list[dict[str, int]] = field(default_factory=list)
    audited: list[Member] = field(default_factory=list)
    widened: bool = False

    @property
    def running(self) -> list[Member]:
        """Members that are neither scouts nor given up nor failed."""
        return [member for member in self.alive if member.failure is None]

    @property
    def finished(self) -> list[Member]:
        """Members that are relaxed to the end."""
        chosen = {id(m) for m in (*self.scouts, *self.pilots, *self.alive, *self.audited)}
        return [m for m in self.members if id(m) in chosen and m.failure is None]


def halve(
    settings: Mapping[str, Any], bench: Workbench, relaxations: Relaxations, groups: Sequence[Group]
) -> list[dict[str, Any]]:
    """Relax all of each group, or, with the method halving, the lowest with as few evaluations as the noise allows.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench; seeds of the draws come from it.
    relaxations
        Carries the relaxations.
    groups
        They are changed: members come as far as they should, and ``finished`` says which are relaxed.

    Returns
    -------
    list of dict
        For each group what was spent, what was culled, and what the audit says.
    """
    halving, wanted = settings["halving"], int(settings["relax_top"])
    # Scouts, pilots and audit cost more than they save where there are few orderings.
    few = wanted + settings["warm_start"] + _ALL_IF_FEWER * halving["audit_at_least"]
    large = [g for g in groups if settings["method"] == "halving" and len(g.members) > few]
    small = [group for group in groups if group not in large]
    _warm_start(settings, bench, relaxations, [g for g in groups if len(g.members) > 2 * settings["warm_start"]])
    for group in groups:
        group.alive = group.members[len(group.scouts) :]
    if large:
        lengths = _rungs(halving)
        _first_rung(halving, bench, relaxations, large, lengths)
        for rung, steps in enumerate(lengths):
            if rung > 0:
                relaxations.advance(_all(large, "alive"), steps, f"rung {rung + 1}")
            for group in large:
                _cull(group, rung, wanted, halving["keep_fraction"])
    relaxations.finish([*_all(small, "alive"), *_all(large, "alive")], "to the end")
    for attempt in (1, 2):
        _audit(halving, bench, relaxations, large, attempt, wanted)
        failed = [group for group in large if group.audits and group.audits[-1]["entered"] and not group.widened]
        if attempt == 2 or not failed:
            break
        for group in failed:
            _widen(group, halving["keep_fraction"], wanted)
        relaxations.finish(_all(failed, "alive"), "to the end, widened")
    return [_told(group, bench, wanted) for group in groups]


def _all(groups: Sequence[Group], what: str) -> list[Member]:
    return [member for group in groups for member in getattr(group, what)]


def _rungs(halving: Mapping[str, Any]) -> list[int]:
    """Return the steps of each rung."""
    return [max(1, round(halving["first_steps"] * halving["growth"] ** rung)) for rung in range(halving["max_rungs"])]


def _warm_start(
    settings: Mapping[str, Any], bench: Workbench, relaxations: Relaxations, groups: Sequence[Group]
) -> None:
    if settings["warm_start"] == 0 or not settings["relax_cell"]:
        return
    for group in groups:
        group.scouts = group.members[: settings["warm_start"]]
    relaxations.finish(_all(groups, "scouts"), "scouts")
    for group in groups:
        good = [m for m in group.scouts if m.failure is None and m.place is not None]
        if not good:
            continue
        pairs = [(m.start, Ref(m.place[0], ("items", m.place[1], "atoms"))) for m in good if m.place is not None]
        deformation = warm_start(bench, relaxations.stage, f"warm start of {group.name}{relaxations.tail}", pairs)
        for member in group.members[len(group.scouts) :]:
            member.deformation = deformation


def _first_rung(
    halving: Mapping[str, Any], bench: Workbench, relaxations: Relaxations, groups: Sequence[Group], lengths: list[int]
) -> None:
    """Let all take the first rung, and the pilots all rungs and the rest of the way."""
    relaxations.advance(_all(groups, "alive"), lengths[0], "rung 1")
    for group in groups:
        seed = bench.seed_for(relaxations.stage, "pilots", group.name)
        chosen = drawn(len(group.running), halving["audit_fraction"], halving["audit_at_least"], seed)
        group.pilots = [group.running[i] for i in chosen]
        taken = {id(member) for member in group.pilots}
        group.alive = [member for member in group.alive if id(member) not in taken]
    for rung, steps in enumerate(lengths[1:], 2):
        relaxations.advance(_all(groups, "pilots"), steps, f"rung {rung} of the pilots")
    relaxations.finish(_all(groups, "pilots"), "pilots to the end")


def _falls(group: Group) -> np.ndarray:
    """How far each pilot fell from each rung to its end, shape (pilots, rungs), in eV/atom."""
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
    """Falls from one rung; zero where all pilots had converged before it."""
    return np.asarray(falls[:, rung]) if rung < falls.shape[1] else np.zeros(len(falls))


def _all_falls(group: Group, last_rung: int) -> list[np.ndarray]:
    """Falls from each rung of all that were drawn at random: of the pilots, and of the audited from where they were."""
    pilots = _falls(group)
    found = []
    for rung in range(last_rung + 1):
        audited = [m for m in group.audited if group.culled.get(m.candidate.id, (-1, 0.0))[0] >= rung]
        later = [m.energies_eV_per_atom[rung + 1] - m.energies_eV_per_atom[-1] for m in audited]
        found.append(np.concatenate([_fall_from(pilots, rung), np.array(later)]))
    return found


def _cull(group: Group, rung: int, wanted: int, keep_fraction: float) -> None:
    running = group.running
    if not running:
        return
    falls = _fall_from(_falls(group), rung)
    margin = noise_eV_per_atom(falls)
    typical = float(np.median(falls)) if len(falls) else 0.0
    # What is relaxed already competes at the height from which a typical ordering would have come down to it.
    relaxed = [m.energies_eV_per_atom[-1] + typical for m in (*group.scouts, *group.pilots) if m.failure is None]
    here = [m.energies_eV_per_atom[min(rung + 1, len(m.energies_eV_per_atom) - 1)] for m in running]
    found = cut(np.array([*relaxed, *here]), wanted, keep_fraction, margin)
    group.margins_eV_per_atom.append(margin)
    kept = []
    for member, keep, gap in zip(
        running, found.kept[len(relaxed) :], found.gaps_eV_per_atom[len(relaxed) :], strict=True
    ):
        if keep or member.converged:
            kept.append(member)
        else:
            group.culled[member.candidate.id] = (rung, float(gap))
    group.alive = kept


def _last_wanted(group: Group, wanted: int) -> float:
    """Relaxed energy of the last of the wanted orderings, without what only the audit found."""
    audited = {id(member) for member in group.audited}
    energies = sorted(m.energies_eV_per_atom[-1] for m in group.finished if id(m) not in audited)
    return energies[min(wanted, len(energies)) - 1] if energies else np.inf


def _audit(
    halving: Mapping[str, Any],
    bench: Workbench,
    relaxations: Relaxations,
    groups: Sequence[Group],
    attempt: int,
    wanted: int,
) -> None:
    """Relax some of the culled after all, drawn at random."""
    drawn_now: dict[str, list[Member]] = {}
    for group in groups:
        if attempt == 2 and not group.widened:
            continue
        before = {id(member) for member in group.audited}
        culled = [m for m in group.members if m.candidate.id in group.culled and id(m) not in before]
        seed = bench.seed_for(relaxations.stage, "audit", group.name, attempt)
        chosen = drawn(len(culled), halving["audit_fraction"], halving["audit_at_least"], seed)
        drawn_now[group.name] = [culled[i] for i in chosen]
    label = "audit" if attempt == 1 else "audit after widening"
    relaxations.finish([member for members in drawn_now.values() for member in members], label)
    for group in groups:
        if group.name not in drawn_now:
            continue
        found = [member for member in drawn_now[group.name] if member.failure is None]
        last = _last_wanted(group, wanted)
        population = sum(1 for m in group.members if m.candidate.id in group.culled and m not in group.audited)
        entered = [m.candidate.id for m in found if m.energies_eV_per_atom[-1] < last]
        group.audited += found
        group.audits.append({"audited": len(found), "culled": population, "entered": len(entered)})


def _widen(group: Group, keep_fraction: float, wanted: int) -> None:
    """Take back what was culled as closely as an audited one that belongs among the lowest, and twice as many."""
    last = _last_wanted(group, wanted)
    wrong = [m.candidate.id for m in group.audited if m.energies_eV_per_atom[-1] < last]
    margin = max(group.culled[name][1] for name in wrong)
    by_id = {member.candidate.id: member for member in group.members}
    audited = {member.candidate.id for member in group.audited}
    closest = sorted(group.culled, key=lambda name: (group.culled[name][1], name))
    more = int(np.ceil((_MORE - 1.0) * keep_fraction * len(closest)))
    for place, name in enumerate(closest):
        if name not in audited and (place < more or group.culled[name][1] <= margin):
            group.alive.append(by_id[name])
            del group.culled[name]
    group.widened = True


def _told(group: Group, bench: Workbench, wanted: int) -> dict[str, Any]:
    spent = sum(member.n_evaluations for member in group.members)
    pilots = [member.n_evaluations for member in group.pilots if member.failure is None]
    told: dict[str, Any] = {
        "audits": group.audits,
        "culled": len(group.culled),
        "evaluations": spent,
        "group": group.name,
        "margins_meV_per_atom": [1000.0 * margin for margin in group.margins_eV_per_atom if np.isfinite(margin)],
        "orderings": len(group.members),
        "pilots": len(pilots),
        "relaxed": len(group.finished),
        "widened": group.widened,
        "wanted": min(wanted, len(group.members)),
    }
    if not group.culled:
        return {**told, "evaluations_if_all": float(spent), "recall": 1.0, "recall_interval95": [1.0, 1.0]}
    last = _last_wanted(group, wanted)
    audited = {member.candidate.id for member in group.audited}
    unseen = [m for m in group.members if m.candidate.id in group.culled and m.candidate.id not in audited]
    rungs = [group.culled[m.candidate.id][0] for m in unseen]
    heights = np.array([m.energies_eV_per_atom[-1] - last for m in unseen])
    seed = bench.seed_for("rank", "recall", group.name)
    expected, low, high = expected_missed(heights, _all_falls(group, max(rungs, default=0)), rungs, seed)
    audit = group.audits[-1] if group.audits else {"audited": 0, "culled": len(unseen), "entered": 0}
    most = proportion_interval(audit["entered"], audit["audited"], audit["culled"])[1]

    def recall(missed: float) -> float:
        return max(0.0, 1.0 - missed / wanted)

    return {
        **told,
        "evaluations_if_all": float(np.mean(pilots)) * len(group.members) if pilots else None,
        "recall": recall(expected),
        "recall_interval95": [recall(high), recall(low)],
        # What the audit itself found is not missed any more.
        "recall_at_least_by_audit": recall(most - audit["entered"]),
    }
