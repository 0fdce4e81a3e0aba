"""Analytic truths of hulls and of the Boltzmann selection, and the hull of a known system against pymatgen."""

from __future__ import annotations

import warnings
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chi2

from superionic.thermodynamics import Entry, boltzmann_selection, convex_hull
from superionic.units import BOLTZMANN_EV_PER_K


def cell(name, amounts, members, energy):
    counts = {}
    for n, member in zip(amounts, members, strict=True):
        for element, count in member.items():
            counts[element] = counts.get(element, 0) + n * count
    return Entry(name, {element: count for element, count in counts.items() if count}, energy, "PBE")


def test_regular_solution_above_its_miscibility_gap():
    # Mixing energy W x(1 - x) per formula unit with W > 0: the hull is the tie line, E_hull the mixing energy itself.
    members = [{"Li": 3, "Y": 1, "Cl": 6}, {"Li": 3, "Y": 1, "Br": 6}]
    strength, size = 0.4, 12
    entries = [
        cell(f"{n}", (size - n, n), members, size * (strength * (n / size) * (1 - n / size) - 40.0 + 6.0 * n / size))
        for n in range(size + 1)
    ]
    hull = convex_hull(entries, members)
    x = np.arange(size + 1) / size
    np.testing.assert_allclose(hull.energies_above_hull_eV_per_formula_unit, strength * x * (1 - x), atol=1e-12)
    assert hull.stable.tolist() == [True] + [False] * (size - 1) + [True]


def test_ordering_solution_is_all_stable():
    # With W < 0 the energy is strictly convex: every composition is on the hull.
    members = [{"Li": 3, "P": 1, "S": 4}, {"Li": 4, "Ge": 1, "O": 4}]  # 8 and 9 atoms: per atom is no straight line
    size = 8
    entries = [
        cell(f"{n}", (size - n, n), members, size * (-0.3 * (n / size) * (1 - n / size) - 30.0 - 20.0 * n / size))
        for n in range(size + 1)
    ]
    hull = convex_hull(entries, members)
    assert hull.stable.all()
    middle = hull.formation_energies_eV_per_formula_unit[size // 2]
    assert middle == pytest.approx(-0.075, abs=1e-12)
    assert hull.formation_energies_eV_per_atom[size // 2] == pytest.approx(-0.075 / 8.5, abs=1e-12)


def pymatgen_energies_above_hull(entries, end_members):
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        computed = [PDEntry(Composition(entry.composition), entry.energy_eV) for entry in entries]
        # Elements far above every compound never take part in a decomposition along the pseudo-system.
        elements = sorted({element for entry in entries for element in entry.composition})
        diagram = PhaseDiagram(computed + [PDEntry(Composition({element: 1}), 100.0) for element in elements])
        return np.array([diagram.get_e_above_hull(entry) for entry in computed])


@pytest.mark.parametrize(
    "members",
    [
        [{"Li": 3, "Y": 1, "Cl": 6}, {"Li": 3, "Y": 1, "Br": 6}],
        [{"Li": 3, "P": 1, "S": 4}, {"Li": 4, "Ge": 1, "O": 4}],
        [{"Li": 3, "In": 1, "Cl": 6}, {"Li": 3, "In": 1, "Br": 6}, {"Li": 3, "Y": 1, "Br": 6}],
    ],
    ids=["pseudo-binary", "unequal-size", "pseudo-ternary"],
)
def test_hull_equals_pymatgen(members):
    pytest.importorskip("pymatgen")
    rng = np.random.default_rng(20250905)
    entries = [cell(f"end{j}", np.eye(len(members), dtype=int)[j], members, -40.0 - j) for j in range(len(members))]
    for i in range(40):
        amounts = rng.integers(0, 5, size=len(members))
        if amounts.sum() == 0:
            continue
        # end members and an attraction between them, with scatter: many stable compositions, many that are not
        share = amounts / amounts.sum()
        energy = amounts @ (-40.0 - np.arange(len(members))) - amounts.sum() * (1.0 - share @ share)
        scatter = amounts.sum() * abs(rng.normal(0.0, 0.1)) if np.count_nonzero(amounts) > 1 else 0.0
        entries.append(cell(f"e{i}", [int(n) for n in amounts], members, float(energy + scatter)))
    ours = convex_hull(entries, members)
    theirs = pymatgen_energies_above_hull(entries, members)
    np.testing.assert_allclose(ours.energies_above_hull_eV_per_atom, theirs, atol=1e-9)
    assert 3 < ours.stable.sum() < len(entries)
    # a mixture of its decomposition products has the composition and energy that the hull says
    for i, decomposition in enumerate(ours.decompositions):
        assert sum(decomposition.fractions) == pytest.approx(1.0, abs=1e-12)
        parts = [ours.names.index(name) for name in decomposition.names]
        mixture = np.array(decomposition.fractions) @ ours.coordinates[parts]
        np.testing.assert_allclose(mixture, ours.coordinates[i], atol=1e-12)


def test_pseudo_binary_hull_equals_pymatgen_compound_phase_diagram():
    pytest.importorskip("pymatgen")
    from pymatgen.analysis.phase_diagram import CompoundPhaseDiagram, PDEntry
    from pymatgen.core import Composition

    rng = np.random.default_rng(8)
    members = [{"Li": 3, "Y": 1, "Cl": 6}, {"Li": 3, "Y": 1, "Br": 6}]
    entries = [
        cell(f"{n}", (6 - n, n), members, -240.0 + 6 * n + (6 * rng.normal(0.0, 0.1) if 0 < n < 6 else 0.0))
        for n in range(7)
    ]
    ours = convex_hull(entries, members)
    computed = [PDEntry(Composition(entry.composition), entry.energy_eV, name=entry.name) for entry in entries]
    diagram = CompoundPhaseDiagram(computed, [Composition(member) for member in members])
    theirs = {entry.name for entry in diagram.stable_entries}
    assert theirs == {name for name, stable in zip(ours.names, ours.stable, strict=True) if stable}


# -- Boltzmann selection -------------------------------------------------------------------------------------------


def boltzmann_weights(energies, temperature):
    weights = np.exp(-(np.asarray(energies) - np.min(energies)) / (BOLTZMANN_EV_PER_K * temperature))
    return weights / weights.sum()


def p_value(observed, expected):
    return float(chi2.sf(np.sum((observed - expected) ** 2 / expected), len(observed) - 1))


@pytest.mark.parametrize("temperature", [300.0, 800.0])
def test_single_draw_follows_boltzmann(temperature):
    # Index 0 is the ground state of the composition and always kept; the one other place is drawn among 1 … 5.
    energies = np.array([-0.5, 0.0, 0.02, 0.05, 0.09, 0.12])
    draws, rng = 6_000, np.random.default_rng(42)
    counts = np.zeros(6)
    for _ in range(draws):
        counts[boltzmann_selection(energies, [0] * 6, n=2, rng=rng, temperature_K=temperature)] += 1
    assert counts[0] == draws
    expected = draws * boltzmann_weights(energies[1:], temperature)
    assert p_value(counts[1:], expected) > 0.001


def test_draws_without_replacement_follow_successive_boltzmann_sampling():
    # Exact probability of each pair out of four: p_a p_b/(1 - p_a) + p_b p_a/(1 - p_b), successive sampling.
    energies = np.array([0.0, 0.03, 0.07, 0.15])
    p = boltzmann_weights(energies, 800.0)
    exact: dict[frozenset[int], float] = {}
    for a, b in permutations(range(4), 2):
        exact[frozenset((a, b))] = exact.get(frozenset((a, b)), 0.0) + p[a] * p[b] / (1 - p[a])
    assert sum(exact.values()) == pytest.approx(1.0)
    draws, rng = 6_000, np.random.default_rng(43)
    counts = dict.fromkeys(exact, 0)
    for _ in range(draws):
        chosen = boltzmann_selection([-9.0, *energies], [0] * 5, n=3, rng=rng, temperature_K=800.0)
        counts[frozenset(int(i) - 1 for i in chosen if i > 0)] += 1
    observed = np.array([counts[pair] for pair in exact])
    assert p_value(observed, draws * np.array(list(exact.values()))) > 0.001
