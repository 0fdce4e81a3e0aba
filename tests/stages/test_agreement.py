"""How two potentials order the same structures, against orders written by hand."""

from __future__ import annotations

import pytest

from superionic.results.identity import Material, OrderedCell, Ordering, ReferencePhase
from superionic.stages.agreement import order_change_task


def change(identities, first_meV, second_meV):
    first, second = ([1e-3 * value for value in values] for values in (first_meV, second_meV))
    return order_change_task(None, identities=identities, first_eV_per_atom=first, second_eV_per_atom=second, seed=0)


def orderings(crystal, count):
    return [Ordering(OrderedCell(Material(crystal)), number) for number in range(count)]


def test_changes_of_order_are_those_counted_by_hand():
    identities = [*orderings("a", 3), *orderings("b", 2), *orderings("c", 1), ReferencePhase("LiCl")]
    # The lowest ordering of a is another one, that of b is the same, and c has no other.
    result = change(identities, [0, 1, 5, 2, 8, 3, 0], [2, 0, 9, 2, 7, 3, 0])
    assert (result.n, result.n_compared, result.n_same_lowest) == (7, 2, 1)
    assert result.mean_change_meV_per_atom == pytest.approx((2 + 1 + 4 + 0 + 1 + 0 + 0) / 7)
    assert result.largest_change_meV_per_atom == pytest.approx(4.0)


def test_the_correlation_is_spearmans():
    ranked = change(orderings("a", 4), [0, 1, 2, 3], [0, 5, 6, 40])
    assert ranked.spearman.value == pytest.approx(1.0)  # the order alone counts
    swapped = change(orderings("a", 4), [0, 1, 2, 3], [1, 0, 2, 3])
    assert swapped.spearman.value == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 Σd²/n(n² - 1)
    assert change(orderings("a", 2), [0, 1], [0, 1]).spearman.value is None  # two always agree or disagree
    empty = change([], [], [])
    assert (empty.n, empty.mean_change_meV_per_atom) == (0, None)
