"""Pair distributions: exact counts of perfect lattices, the ideal gas, and ASE's own function."""

from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.observables.pair_distribution import pair_distributions

A0 = 5.64


def rock_salt(repeat=1):
    """Return fractional positions, cell and elements of NaCl."""
    from ase.build import bulk

    atoms = bulk("NaCl", "rocksalt", a=A0, cubic=True) * (repeat, repeat, repeat)
    return atoms.positions, np.asarray(atoms.cell), atoms.get_chemical_symbols()


def by_pair(result):
    return {(each.centre, each.neighbour, each.site): each for each in result}


@pytest.mark.parametrize("repeat", [1, 2])  # a cell that is smaller than the range has the same neighbours
def test_a_perfect_lattice_has_its_shells_exactly(repeat):
    places, cell, symbols = rock_salt(repeat)
    result = by_pair(pair_distributions(np.array([places] * 3), cell, symbols))
    unlike, like = result["Na", "Cl", None], result["Na", "Na", None]
    assert (unlike.coordination_number, like.coordination_number) == (6.0, 12.0)
    assert unlike.first_peak_A == pytest.approx(A0 / 2.0, abs=0.05)
    assert like.first_peak_A == pytest.approx(A0 / np.sqrt(2.0), abs=0.05)
    assert unlike.coordination_error == 0.0
    r = unlike.r_A
    # Shells of NaCl: 6 at a/2, 8 at a√3/2, 24 at a√5/2 for the other element; 12, 6, 24 for the same.
    assert [unlike.coordination[np.searchsorted(r, at)] for at in (3.0, 5.1, 6.5)] == [6, 14, 38]
    assert [like.coordination[np.searchsorted(r, at)] for at in (4.2, 5.8, 7.2)] == [12, 18, 42]


def test_a_rotated_and_skewed_cell_has_the_same_pairs():
    places, cell, symbols = rock_salt(2)
    skew = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]])  # another basis of the same lattice
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    one = by_pair(pair_distributions(places[None] + 0.01, cell, symbols))
    two = by_pair(pair_distributions((places + 77.0)[None] @ turn, skew @ cell @ turn, symbols))
    for pair, each in one.items():
        assert two[pair].coordination == pytest.approx(each.coordination, abs=1e-9)
        assert two[pair].coordination_number == each.coordination_number


@pytest.mark.parametrize("edge", [17.0, 60.0])
def test_in_a_large_cell_it_is_what_all_pairs_give(edge):
    rng = np.random.default_rng(7)
    cell = edge * np.array([[1.0, 0.0, 0.0], [-0.3, 1.1, 0.0], [0.2, 0.1, 1.0]])
    places = rng.uniform(-1.0, 2.0, (2, 150, 3)) @ cell  # not wrapped
    [result] = pair_distributions(places, cell, ["Li"] * 150, r_max_A=7.5, bin_A=0.25)
    counts = np.zeros(30)
    for frame in places:
        apart = (frame[:, None] - frame[None]) @ np.linalg.inv(cell)
        distances = np.linalg.norm((apart - np.rint(apart)) @ cell, axis=-1)
        np.fill_diagonal(distances, np.inf)
        counts += np.histogram(distances, np.arange(31) * 0.25)[0]
    np.testing.assert_allclose(np.diff(result.coordination, prepend=0.0) * 300.0, counts, atol=1e-9)


def test_it_is_what_ase_counts():
    from ase import Atoms
    from ase.geometry.rdf import get_rdf

    rng = np.random.default_rng(1)
    cell = np.array([[14.0, 0.0, 0.0], [2.0, 15.0, 0.0], [1.0, -2.0, 16.0]])
    places = rng.random((90, 3)) @ cell
    symbols = ["Li"] * 30 + ["Cl"] * 60
    atoms = Atoms(symbols, positions=places, cell=cell, pbc=True)
    result = by_pair(pair_distributions(places[None], cell, symbols, r_max_A=6.0, bin_A=0.1))
    for pair in (("Li", "Cl"), ("Li", "Li"), ("Cl", "Cl")):
        theirs, r = get_rdf(atoms, 6.0, 60, elements=[{"Li": 3, "Cl": 17}[e] for e in pair])
        assert result[(*pair, None)].r_A == pytest.approx(r)
        assert result[(*pair, None)].g == pytest.approx(theirs, abs=1e-9)


def test_an_ideal_gas_has_one_everywhere_and_no_shell():
    rng = np.random.default_rng(2)
    cell = np.eye(3) * 12.0
    places = rng.random((100, 100, 3)) * 12.0
    [result] = pair_distributions(places, cell, ["Li"] * 100, r_max_A=5.0, bin_A=0.25)
    far = result.r_A > 1.0
    assert result.g[far] == pytest.approx(0.99, abs=0.03)  # an atom is no neighbour of itself: (N − 1)/N
    expected = 99.0 * 4.0 / 3.0 * np.pi * 5.0**3 / 12.0**3
    assert result.coordination[-1] == pytest.approx(expected, rel=0.01)


def test_sites_have_a_function_of_their_own():
    places, cell, symbols = rock_salt(2)
    extra = np.concatenate([places, [[A0 / 4.0] * 3]])  # an interstitial among four Na and four Cl
    names = [*symbols, "Na"]
    on = np.where(np.array(names) == "Na", 0, -1)
    on[-1] = 1
    labels = ("octahedral", "tetrahedral"), np.array([on] * 2)
    result = by_pair(pair_distributions(np.array([extra] * 2), cell, names, centres=["Na"], labels=labels))
    assert result["Na", "Cl", "octahedral"].coordination_number == 6.0
    tetrahedral = result["Na", "Cl", "tetrahedral"]
    assert tetrahedral.coordination_number == 4.0
    assert tetrahedral.first_peak_A == pytest.approx(A0 * np.sqrt(3.0) / 4.0, abs=0.05)
    assert tetrahedral.n_centres == 1.0
    assert ("Cl", "Na", None) not in result


def test_a_changing_cell_scales_its_pairs():
    places, cell, symbols = rock_salt(2)
    cells = np.array([cell * scale for scale in (0.99, 1.01)])
    # Positions are in the frame of the mean cell.
    result = by_pair(pair_distributions(np.array([places] * 2), cells, symbols, bin_A=0.02))
    unlike = result["Na", "Cl", None]
    held = unlike.r_A[(unlike.g > 0.0) & (unlike.r_A < 4.0)]
    assert held == pytest.approx(np.array([0.99, 1.01]) * A0 / 2.0, abs=0.02)


def test_what_does_not_fit_is_refused():
    with pytest.raises(AnalysisError, match="do not fit together"):
        pair_distributions(np.zeros((2, 3, 3)), np.eye(3), ["Li"] * 4)
    with pytest.raises(AnalysisError, match="narrower"):
        pair_distributions(np.zeros((2, 1, 3)), np.eye(3), ["Li"], bin_A=9.0)
