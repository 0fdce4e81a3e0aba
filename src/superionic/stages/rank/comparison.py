"""Comparison of the ranking with other potentials, each in its own engine.

The other potentials evaluate the orderings relaxed by the first one, unchanged or after further relaxation. Energies of
different potentials are compared by their order within a composition, and between compositions after a shift for each
element; they are never put on one hull.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from superionic.execution.runner import Failure
from superionic.execution.task import Context, task
from superionic.results.identity import Ordering
from superionic.results.ranking import Agreement, ComparedEnergies, ComparedVolume, Comparison, TwoRankings
from superionic.stages.base import Candidate, ChosenPotential, Workbench
from superionic.stages.rank.relaxations import FailedCalculation, Member, Relaxations, single_points

if TYPE_CHECKING:
    from superionic.settings.rank import RankSettings

KNOWN_AS = "superionic.stages.rank_compare"  # its name in keys, from before it moved here


def compare(settings: RankSettings, bench: Workbench, ranked: Sequence[Candidate], first: str) -> list[Comparison]:
    """Evaluate the ranked orderings by every potential of ``compare_with``.

    Parameters
    ----------
    settings
        The ``rank`` section.
    bench
        The workbench, with the potentials.
    ranked
        Relaxed orderings, without references.
    first
        Name of the ranking potential.
    """
    return [_compared(settings, bench, ranked, first, name) for name in settings.compare_with]


def _compared(
    settings: RankSettings, bench: Workbench, ranked: Sequence[Candidate], first: str, name: str
) -> Comparison:
    other, failures = bench.potentials[name], list[Failure]()
    volumes: list[ComparedVolume] = []
    if settings.compare_after == "relaxation":
        members = _relaxed(settings, bench, ranked, other, failures)
        energies = [(m.candidate, m.reached.relaxed.energy_eV) for m in members if m.reached is not None]
        volumes = [_volumes(bench, member) for member in members] if settings.relax_cell else []
    else:
        energies = _energies(bench, ranked, other, failures)
    rankings, key = None, None
    if energies:
        compared = bench.task(
            f"comparison of {first} and {name}",
            compare_task.of(
                count=settings.relax_top,
                orderings=[candidate.ordering for candidate, _ in energies],
                seed=bench.seed_for("comparison", name),
                compositions=[candidate.relaxation.composition for candidate, _ in energies],
                first_eV=[candidate.relaxation.energy_eV for candidate, _ in energies],
                second_eV=[energy for _, energy in energies],
            ),
        )
        rankings, key = bench.runner.one(compared), compared.key
    return Comparison(
        first=first,
        second=name,
        potential=other.identity,
        after=settings.compare_after,
        key=key,
        rankings=rankings,
        failures=tuple(failures),
        volumes=tuple(volumes),
    )


def _relaxed(
    settings: RankSettings,
    bench: Workbench,
    ranked: Sequence[Candidate],
    other: ChosenPotential,
    failures: list[Failure],
) -> list[Member]:
    """Relax further with the other potential; return what could be relaxed, and append failures."""
    members = [Member(candidate, candidate.structure) for candidate in ranked]
    Relaxations(bench, other, settings, f" by {other.name}").finish(members, "comparison")
    failures += [member.failure for member in members if member.failure is not None]
    return [member for member in members if member.failure is None and member.reached is not None]


def _volumes(bench: Workbench, member: Member) -> ComparedVolume:
    candidate, reached = member.candidate, member.reached
    if reached is None:
        raise ValueError(f"{candidate.id} is not relaxed")
    first, second = bench.runner.value_of(candidate.relaxation), bench.runner.value_of(reached).relaxed
    return ComparedVolume(
        candidate.ordering, first.formula, first.volume_A3 / first.n_atoms, second.volume_A3 / second.n_atoms
    )


def _energies(
    bench: Workbench, ranked: Sequence[Candidate], other: ChosenPotential, failures: list[Failure]
) -> list[tuple[Candidate, float]]:
    """Evaluate the structures unchanged; return energies as parts of results, and append failures."""
    structures = [candidate.structure for candidate in ranked]
    energies = []
    for candidate, evaluation in zip(
        ranked, single_points(bench, f"comparison by {other.name}", structures, other), strict=True
    ):
        if isinstance(evaluation.value, FailedCalculation):
            failures.append(Failure(f"{candidate.id} by {other.name}", evaluation.value.failed, evaluation.key))
        else:
            energies.append((candidate, evaluation.part.energy_eV))
    return energies


# ---- task function ------------------------------------------------------------------------------------------------


@task(version=3)
def compare_task(
    _context: Context,
    *,
    count: int,
    orderings: Sequence[Ordering],
    seed: int,
    compositions: Sequence[Mapping[str, int]],
    first_eV: Sequence[float],
    second_eV: Sequence[float],
) -> TwoRankings:
    """Compare the energies of the same orderings by two potentials."""
    from superionic.thermodynamics.composition import reduced_formula
    from superionic.thermodynamics.rank_statistics import correlations, element_shift, overlap_of_lowest
    from superionic.training.dataset import undetermined_references

    atoms = np.array([sum(composition.values()) for composition in compositions], dtype=float)
    first, second = np.array(first_eV) / atoms, np.array(second_eV) / atoms
    formulas = [reduced_formula(composition) for composition in compositions]
    shifts, residuals = element_shift(((second - first) * atoms).tolist(), compositions)
    # With few compositions only sums of the shifts of elements are determined.
    determined = not undetermined_references(compositions, float(np.sqrt(np.mean(residuals**2))))
    groups = []
    for formula in sorted(set(formulas)):
        members = np.flatnonzero([other == formula for other in formulas])
        a, b = first[members], second[members]
        correlation = correlations(a, b, seed)
        # At most half of the orderings count as lowest: if all did, sharing them would mean nothing.
        lowest = min(count, max(1, len(members) // 2))
        groups.append(
            Agreement(
                formula=formula,
                n=len(members),
                spearman=correlation.spearman,
                kendall=correlation.kendall,
                lowest_count=lowest,
                lowest_shared=overlap_of_lowest(a, b, lowest),
                same_lowest=int(a.argmin()) == int(b.argmin()),
                spread_meV_per_atom=(float(1000.0 * a.std()), float(1000.0 * b.std())),
                mean_difference_left_meV_per_atom=float(1000.0 * residuals[members].mean()),
            )
        )
    energies = zip(orderings, formulas, first.tolist(), second.tolist(), (1000.0 * residuals).tolist(), strict=True)
    return TwoRankings(
        energies=tuple(ComparedEnergies(*one) for one in energies),
        groups=tuple(groups),
        element_shifts_eV_per_atom=shifts if determined else None,
    )
