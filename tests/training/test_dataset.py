from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import StageError
from superionic.execution.codec import from_tree, to_tree
from superionic.labels.base import Label
from superionic.training.dataset import (
    ElementReferences,
    LabelledSet,
    composition_of,
    fit_element_references,
    split_groups,
    undetermined_combinations,
    undetermined_references,
)


def atoms_of(formula: str) -> Atoms:
    atoms = Atoms(formula, cell=[9, 9, 9], pbc=True)
    atoms.positions[:] = np.arange(3 * len(atoms)).reshape(-1, 3) * 0.37
    return atoms


def label(atoms: Atoms, energy: float, settings_hash: str = "h") -> Label:
    provenance = {"settings_hash": settings_hash, "energy_convention": "raw"}
    return Label(energy, np.full((len(atoms), 3), 0.1), np.arange(6) * 0.01, provenance)


def a_set(n: int = 6) -> LabelledSet:
    structures = [atoms_of("Li3YCl6") for _ in range(n)]
    groups = [f"run {i // 2}" for i in range(n)]
    return LabelledSet.from_labels(structures, [label(a, float(i)) for i, a in enumerate(structures)], groups)


def test_round_trip_and_subset() -> None:
    whole = a_set()
    again = from_tree(to_tree(whole), LabelledSet)
    assert again.groups == whole.groups
    assert again.settings_hash == "h"
    assert again.energy_convention == "raw"
    assert np.array_equal(again.targets.stresses_eV_per_A3, whole.targets.stresses_eV_per_A3)
    part = whole.subset([4, 1])
    assert part.targets.energies_eV.tolist() == [4.0, 1.0]
    assert part.groups == ("run 2", "run 0")


def test_labels_of_two_references_do_not_mix() -> None:
    cells = [atoms_of("LiCl"), atoms_of("LiCl")]
    with pytest.raises(StageError, match="different references"):
        LabelledSet.from_labels(cells, [label(cells[0], 0.0), label(cells[1], 0.0, "other")])
    with pytest.raises(StageError, match="nothing to train on"):
        LabelledSet.from_labels([], [])


def test_shifts_are_taken_off() -> None:
    cells = [atoms_of("LiCl")]
    made = LabelledSet.from_labels(cells, [label(cells[0], 5.0)], energy_shifts_eV=[2.0])
    assert made.targets.energies_eV.tolist() == [3.0]


def test_missing_stress_is_nan() -> None:
    cell = atoms_of("LiCl")
    bare = Label(0.0, np.zeros((2, 3)), None, {"settings_hash": "h"})
    assert np.isnan(LabelledSet.from_labels([cell], [bare]).targets.stresses_eV_per_A3).all()


def test_composition_is_in_order_of_atomic_number() -> None:
    assert list(composition_of(atoms_of("YCl3Li2")).items()) == [("Li", 2), ("Cl", 3), ("Y", 1)]


def test_references_are_found_where_compositions_span_them() -> None:
    true = {"Li": -1.7, "Cl": 0.3, "Y": 2.2}
    compositions = [{"Li": 3, "Y": 1, "Cl": 6}, {"Li": 1, "Cl": 1}, {"Y": 1, "Cl": 3}, {"Li": 6, "Y": 2, "Cl": 12}]
    differences = [sum(n * true[e] for e, n in c.items()) for c in compositions]
    fit = fit_element_references(differences, compositions)
    # LiCl, YCl3 and Li3YCl6 lie on one line: two independent compositions for three elements.
    assert fit.degenerate
    assert fit.rank == 2
    assert fit.energies_eV(compositions) == pytest.approx(differences)
    more = [*compositions, {"Y": 1, "Cl": 2}]
    fit = fit_element_references([*differences, 2.2 + 0.6], more)
    assert not fit.degenerate
    assert dict(fit.eV_per_atom) == pytest.approx(true)
    assert fit.rms_residual_eV_per_atom < 1e-12
    assert fit.shift_eV(["Li", "Cl", "Cl"]) == pytest.approx(-1.7 + 0.6)


def test_one_composition_is_degenerate_and_minimum_norm() -> None:
    fit = fit_element_references([10.0, 12.0], [{"Li": 3, "Y": 1, "Cl": 6}] * 2)
    assert fit.degenerate
    counts = np.array([3.0, 6.0, 1.0])
    assert list(fit.eV_per_atom) == ["Li", "Cl", "Y"]
    assert list(fit.eV_per_atom.values()) == pytest.approx(11.0 * counts / (counts @ counts))
    assert fit.rms_residual_eV_per_atom == pytest.approx(0.1)
    assert from_tree(to_tree(fit), ElementReferences) == fit


def test_element_outside_the_fit_is_an_error() -> None:
    fit = fit_element_references([1.0], [{"Li": 1, "Cl": 1}])
    with pytest.raises(StageError, match="Br"):
        fit.energies_eV([{"Li": 1, "Br": 1}])


def test_shifted_set_is_in_the_frame_of_the_potential() -> None:
    whole = a_set()
    fit = fit_element_references(whole.targets.energies_eV - 100.0, whole.compositions())
    assert whole.shifted(fit).targets.energies_eV.mean() == pytest.approx(100.0)


@given(
    st.lists(st.integers(0, 7), min_size=3, max_size=40),
    st.sampled_from([0.0, 0.1, 0.2, 0.3]),
    st.sampled_from([0.0, 0.1, 0.2, 0.3]),
    st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_split_uses_each_index_once_and_never_leaks(runs: list[int], validation: float, test: float, seed: int) -> None:
    groups = [f"run {run}" for run in runs]
    split = split_groups(groups, validation_fraction=validation, test_fraction=test, seed=seed)
    parts = [split.train, split.validation, split.test]
    assert sorted(i for part in parts for i in part) == list(range(len(groups)))
    assert split.train
    assert bool(split.validation) == (validation > 0)
    assert bool(split.test) == (test > 0)
    if split.leak_free:
        names = [{groups[i] for i in part} for part in parts]
        assert sum(len(part) for part in names) == len(set(groups))
        assert not split.notes
    else:
        assert len(set(groups)) < 3
        assert "cut in time" in split.notes[0]
    assert split == split_groups(groups, validation_fraction=validation, test_fraction=test, seed=seed)


def test_split_gives_each_part_its_share() -> None:
    groups = [f"run {i // 5}" for i in range(100)]
    split = split_groups(groups, validation_fraction=0.2, test_fraction=0.2, seed=1)
    assert (len(split.train), len(split.validation), len(split.test)) == (60, 20, 20)


def test_too_few_for_a_split() -> None:
    whole = a_set(2)
    with pytest.raises(StageError, match="2 label"):
        split_groups(whole.groups, validation_fraction=0.1, test_fraction=0.1, seed=0)
    with pytest.raises(StageError, match="leakage"):
        split_groups(["a"] * 9, validation_fraction=0.1, test_fraction=0.1, seed=0, within_groups=False)
    with pytest.raises(ValueError, match="training"):
        split_groups(["a"] * 9, validation_fraction=0.5, test_fraction=0.5, seed=0)


def test_references_of_compositions_that_barely_differ_are_not_determined() -> None:
    rng = np.random.default_rng(2)
    truth = {"Li": -1.9, "P": -5.4, "S": -4.1}
    near = [{"Li": 24, "P": 8, "S": 32 + k % 2} for k in range(30)] + [{"Li": 25, "P": 8, "S": 32}] * 5
    far = [{"Li": 24, "P": 8, "S": 32}, {"Li": 2, "S": 1}, {"P": 2, "S": 5}, {"Li": 3, "P": 1}] * 8

    def fit(compositions: list[dict[str, int]]) -> tuple[float, dict[str, float]]:
        sums = np.array([sum(n * truth[element] for element, n in counts.items()) for counts in compositions])
        noise = rng.normal(0.0, 0.015, len(sums)) * [sum(counts.values()) for counts in compositions]
        fitted = fit_element_references(sums + noise, compositions)
        return fitted.eV_per_atom["P"] - truth["P"], undetermined_references(
            compositions, fitted.rms_residual_eV_per_atom
        )

    assert fit(far)[1] == {}
    plain = []
    for _ in range(200):
        _, stated = fit(near)
        fractions = np.array([[c["Li"], c["P"], c["S"]] for c in near]) / np.array([[sum(c.values())] for c in near])
        sums = fractions @ np.array(list(truth.values())) + rng.normal(0.0, 0.015, len(near))
        plain.append(np.linalg.lstsq(fractions, sums, rcond=None)[0][1] - truth["P"])
    assert set(stated) == {"Li", "P", "S"}
    # What is stated is how far the shift of a plain fit scatters.
    assert stated["P"] == pytest.approx(np.std(plain), rel=0.4)
    assert stated["P"] > 0.5
    one = undetermined_references([{"Li": 3, "Cl": 3}] * 9, 0.01)
    assert one == {"Li": np.inf, "Cl": np.inf}


def test_what_compositions_hardly_vary_is_not_fitted_to_noise() -> None:
    rng = np.random.default_rng(4)
    truth = {"Li": -1.9, "P": -5.4, "S": -4.1}
    near = [{"Li": 240, "P": 80, "S": 320 + k % 2} for k in range(6)]
    sums = np.array([sum(n * truth[element] for element, n in counts.items()) for counts in near])
    sizes, largest = np.array([sum(counts.values()) for counts in near]), 0.0
    for _ in range(50):
        fit = fit_element_references(sums + sizes * rng.normal(0.0, 0.02, len(near)), near)
        assert fit.degenerate
        largest = max(largest, *map(abs, fit.eV_per_atom.values()))
        # For these compositions the sums are right all the same.
        assert np.abs((fit.energies_eV(near) - sums) / sizes).max() < 0.04
    assert largest < 4.5  # that of sulfur, of the shifts of least norm


def test_combinations_that_are_open_are_said() -> None:
    assert undetermined_combinations([{"Li": 1, "Cl": 1}] * 3, 0.01) == ({"Li": 1.0, "Cl": -1.0},)
    halides = [{"Li": 3, "Y": 1, "Cl": 6}, {"Li": 3, "Y": 1, "Br": 6}, {"Li": 3, "Y": 1, "Cl": 3, "Br": 3}]
    combinations = undetermined_combinations(halides * 4, 0.01)
    # Four elements, and two compositions that are independent: two combinations change no energy of them.
    assert len(combinations) == 2
    for each in combinations:
        for counts in halides:
            assert sum(counts.get(element, 0) * by for element, by in each.items()) == pytest.approx(0.0, abs=0.02)
    assert undetermined_combinations([{"Li": 1}, {"Cl": 1}, {"Li": 1, "Cl": 3}], 0.01) == ()
