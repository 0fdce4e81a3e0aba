"""The agreement of two methods on the order of the same orderings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from superionic.execution.task import Context, task
from superionic.results.identity import Ordering, ReferencePhase
from superionic.results.ranking import Agreement, ComparedEnergies, TwoRankings
from superionic.results.sizes import OrderChange

KNOWN_AS = "superionic.stages.rank_compare"  # its name in keys, from before it moved here


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


@task(version=1)
def order_change_task(
    _context: Context,
    *,
    identities: Sequence[Ordering | ReferencePhase],
    first_eV_per_atom: Sequence[float],
    second_eV_per_atom: Sequence[float],
    seed: int,
) -> OrderChange:
    """Compare the energies above the hull of the same structures by two potentials."""
    from superionic.thermodynamics.rank_statistics import correlations

    first, second = np.array(first_eV_per_atom, dtype=float), np.array(second_eV_per_atom, dtype=float)
    change = 1000.0 * np.abs(second - first)
    groups: dict[object, list[int]] = {}
    for index, identity in enumerate(identities):
        if isinstance(identity, Ordering):
            groups.setdefault(identity.material, []).append(index)
    several = [members for members in groups.values() if len(members) > 1]
    return OrderChange(
        n=len(first),
        spearman=correlations(first, second, seed).spearman,
        mean_change_meV_per_atom=float(change.mean()) if len(first) else None,
        largest_change_meV_per_atom=float(change.max()) if len(first) else None,
        n_compared=len(several),
        n_same_lowest=sum(int(first[members].argmin()) == int(second[members].argmin()) for members in several),
    )
