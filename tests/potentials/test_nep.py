"""The neuroevolution potential: right by another code, by finite differences, and whatever its history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from superionic.errors import CalculationFailed, PotentialError
from superionic.models.nep.model import NepModel
from superionic.models.nep.neighbours import NeighbourList
from superionic.models.nep.potential import NepPotential
from superionic.potentials.base import load_potential
from superionic.potentials.conformance import conform
from superionic.potentials.neighbours import pairs_within
from superionic.potentials.reference import li3ycl6_cell
from superionic.training.active_set import active_inverse


def model(seed: int = 3, *, l_max: int = 4, four: int = 1, five: int = 1) -> NepModel:
    """A potential of random parameters in the form that training gives."""
    rng = np.random.default_rng(seed)
    t, n_radial, k_radial, n_angular, k_angular, neurons = 3, 4, 5, 3, 6, 7
    dim = n_radial + n_angular * (l_max + four + five)
    return NepModel(
        numbers=[3, 17, 39],
        shape=[n_radial, k_radial, n_angular, k_angular, l_max, four, five],
        cutoffs_A=[6.0, 4.5],
        c_radial=rng.normal(size=(t, t, n_radial, k_radial)),
        c_angular=rng.normal(size=(t, t, n_angular, k_angular)),
        w0=0.3 * rng.normal(size=(t, neurons, dim)),
        b0=rng.normal(size=(t, neurons)),
        w1=0.2 * rng.normal(size=(t, neurons)),
        bias_eV=rng.normal(size=t),
        scale=rng.uniform(0.02, 0.1, size=dim),
        zbl_inner_A=np.full((t, t), 1.2),
        zbl_outer_A=np.full((t, t), 2.4),
        active_inverse=np.zeros(0),
    )


def potential(of: NepModel | None = None) -> NepPotential:
    result = load_potential("nep", weights=(of or model()).to_arrays())
    assert isinstance(result, NepPotential)
    return result


def crystal(seed: int = 1, amplitude_A: float = 0.2) -> Atoms:
    atoms = li3ycl6_cell()
    atoms.positions += amplitude_A * np.random.default_rng(seed).normal(size=atoms.positions.shape)
    return atoms


# What calorine 4.1 (CPUNEP, the code of the NEP authors) gives for `model(3).to_text()` on `crystal()`.
CALORINE_ENERGY_EV = -21.12755804
CALORINE_FORCES_EV_PER_A = np.array(
    [
        [-0.0267956, -0.05681539, -0.03295342],
        [-0.91804965, 0.45388688, -1.09629109],
        [0.18717963, -0.39772225, 0.43424642],
    ]
)  # of the first, eleventh and last atom
CALORINE_STRESS_EV_PER_A3 = np.array(
    [-0.0040967452, -0.0135298425, -0.0117688125, 0.0063511125, -0.0030814868, 0.0013169747]
)


def test_energy_forces_and_stress_are_those_of_another_code() -> None:
    result = potential().evaluate(crystal())
    assert result.stress_eV_per_A3 is not None
    assert result.energy_eV == pytest.approx(CALORINE_ENERGY_EV, abs=1e-6)
    # The other code's constants are rounded to 15 digits of the coefficients, not of the products.
    assert np.abs(result.forces_eV_per_A[[0, 10, 29]] - CALORINE_FORCES_EV_PER_A).max() < 1e-6
    assert np.abs(result.stress_eV_per_A3 - CALORINE_STRESS_EV_PER_A3).max() < 1e-8


def among_others(narrow: NepModel, n_types: int, rows: list[int]) -> NepModel:
    """The potential as some types of a larger one, whose others have random parameters."""
    rng, arrays = np.random.default_rng(7), narrow.to_arrays()
    for name in ("numbers", "bias_eV", "w0", "b0", "w1", "active_inverse"):
        wide = rng.normal(size=(n_types, *arrays[name].shape[1:]))
        wide[rows] = arrays[name]
        arrays[name] = wide
    for name in ("c_radial", "c_angular", "zbl_inner_A", "zbl_outer_A"):
        wide = rng.normal(size=(n_types, n_types, *arrays[name].shape[2:]))
        wide[np.ix_(rows, rows)] = arrays[name]
        arrays[name] = wide
    others = [row for row in range(n_types) if row not in rows]
    arrays["numbers"][others] = np.arange(60, 60 + len(others))
    return NepModel.from_arrays(arrays)


def test_elements_that_are_not_there_change_and_cost_nothing() -> None:
    narrow, atoms = model(), crystal()
    inverse = np.random.default_rng(2).normal(size=(3, narrow.dim + 1, narrow.dim + 1))
    narrow = NepModel.from_arrays(narrow.to_arrays() | {"active_inverse": inverse})
    few, many = potential(narrow), potential(among_others(narrow, 60, [50, 4, 22]))
    result = many.evaluate(atoms)
    assert result.energy_eV == pytest.approx(CALORINE_ENERGY_EV, abs=1e-6)
    assert np.abs(result.forces_eV_per_A[[0, 10, 29]] - CALORINE_FORCES_EV_PER_A).max() < 1e-6
    # Without Y and then with it: the tables follow the structure.
    for some in (atoms[atoms.numbers != 39], atoms):
        ours, theirs = many.evaluate(some), few.evaluate(some)
        assert ours.energy_eV == pytest.approx(theirs.energy_eV, rel=1e-13)
        assert np.abs(ours.forces_eV_per_A - theirs.forces_eV_per_A).max() < 1e-12
        assert np.allclose(many.extrapolation_grade(some), few.extrapolation_grade(some), rtol=1e-10)
    assert {array.shape[0] for name, array in many._arrays.items() if name.startswith(("c_", "w0"))} == {3}


@pytest.mark.parametrize(("l_max", "four", "five"), [(1, 0, 1), (2, 1, 0), (3, 0, 0), (4, 1, 1)])
def test_every_shape_passes_the_contract(tmp_path: Path, l_max: int, four: int, five: int) -> None:
    file = tmp_path / "nep.txt"
    file.write_text(model(l_max=l_max, four=four, five=five).to_text())
    report = conform({"potential": "nep", "options": {"file": str(file)}, "step_A": 1e-3})
    for promise in ("repeatable", "refuses_unknown_element", "no_stress_unless_asked"):
        assert report[promise], promise
    assert not report["mutated"]
    numbers = {name: value for name, value in report.items() if name.endswith(("_A", "_A3", "_atom"))}
    assert len(numbers) >= 14
    assert all(
        value < (2e-4 if name in ("force_eV_per_A", "stress_eV_per_A3") else 1e-10) for name, value in numbers.items()
    ), numbers


def test_the_core_repels_at_any_distance_and_its_force_is_its_slope() -> None:
    student = potential()
    energies = []
    for distance in (0.4, 0.8, 1.2, 1.6):
        pair = Atoms("LiCl", [[0, 0, 0], [0, 0, distance]], cell=[20, 20, 20], pbc=True)
        result = student.evaluate(pair, stress=False)
        moved = pair.copy()
        moved.positions[1, 2] += 1e-5
        slope = (student.evaluate(moved, stress=False).energy_eV - result.energy_eV) / 1e-5
        assert -result.forces_eV_per_A[1, 2] == pytest.approx(slope, rel=1e-3)
        energies.append(result.energy_eV)
    assert energies == sorted(energies, reverse=True)
    assert energies[0] > 200.0


def test_a_kept_list_changes_no_bit() -> None:
    student = potential()
    atoms = crystal() * (2, 1, 1)
    rng = np.random.default_rng(5)
    for _ in range(60):
        atoms.positions += 0.06 * rng.normal(size=atoms.positions.shape)
        atoms.set_cell(atoms.cell.array * (1.0 + 1e-4 * rng.normal()), scale_atoms=True)
        remaining, fresh = student.evaluate(atoms), potential().evaluate(atoms)
        assert remaining.energy_eV == fresh.energy_eV
        assert np.array_equal(remaining.forces_eV_per_A, fresh.forces_eV_per_A)
        assert np.array_equal(np.asarray(remaining.stress_eV_per_A3), np.asarray(fresh.stress_eV_per_A3))
    assert 1 < student._list.n_built < 40


@pytest.mark.parametrize("cutoff_A", [2.5, 6.0, 11.0])
def test_the_list_has_the_pairs_of_the_plain_search(cutoff_A: float) -> None:
    atoms = crystal(amplitude_A=0.4)
    atoms.set_cell(atoms.cell.array @ [[1, 0.2, 0], [0, 1, 0.4], [0.1, 0, 1]], scale_atoms=True)
    atoms.positions += [30.0, -17.0, 4.0]  # far outside the cell, as in a long run
    for pbc in ([True] * 3, [True, False, True], [False] * 3):
        result = NeighbourList(cutoff_A, 0.0)
        result.update(atoms.positions, atoms.cell.array, np.array(pbc))
        centre = np.repeat(np.arange(len(atoms)), np.diff(result.first))
        vectors = atoms.positions[result.neighbours] + result.shifts_A[result.shift] - atoms.positions[centre]
        plain = pairs_within(atoms.positions, atoms.cell.array, pbc, cutoff_A)
        assert len(result.neighbours) == len(plain.centre)
        got = np.column_stack([centre, result.neighbours, vectors])
        requested = np.column_stack([plain.centre, plain.neighbour, plain.vectors_A])
        order = [np.lexsort(np.round(pairs, 6).T[::-1]) for pairs in (got, requested)]
        assert np.abs(got[order[0]] - requested[order[1]]).max() < 1e-9


def test_the_file_carries_the_potential() -> None:
    first = model()
    again = NepModel.from_text(first.to_text())
    assert np.abs(again.zbl_outer_A - first.zbl_outer_A).max() == 0.0
    atoms = crystal()
    one, two = potential(first).evaluate(atoms), potential(again).evaluate(atoms)
    assert two.energy_eV == pytest.approx(one.energy_eV, abs=1e-11)
    assert np.abs(two.forces_eV_per_A - one.forces_eV_per_A).max() < 1e-11


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("nep4_zbl", "nep4_charge1", 1), "nep4_charge1"),
        (lambda text: "\n".join(text.splitlines()[:-3]), "too few"),
        (lambda text: text + "1.0\n", "more numbers"),
        (lambda text: "", "not a readable"),
        (lambda text: text.replace("Li", "Xx", 1), "elements"),
    ],
)
def test_a_broken_file_is_refused_with_its_reason(tmp_path, change, told) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "nep.txt"
    file.write_text(change(model().to_text()))
    with pytest.raises(PotentialError, match=told) as caught:
        load_potential("nep", file=str(file))
    assert str(file) in str(caught.value.where)


def test_wrong_calls_name_their_fix() -> None:
    with pytest.raises(PotentialError, match="exactly one"):
        load_potential("nep")
    with pytest.raises(PotentialError, match="missing"):
        load_potential("nep", weights={"w0": np.zeros(3)})
    with pytest.raises(PotentialError, match="does not cover"):
        potential().evaluate(Atoms("Na", cell=[9, 9, 9], pbc=True))
    with pytest.raises(PotentialError, match="active set"):
        potential().extrapolation_grade(crystal())


def test_the_grade_is_one_inside_and_more_outside() -> None:
    student = potential()
    seen = [crystal(seed, 0.1) for seed in range(30)]
    features = [np.column_stack([student.descriptors(atoms), np.ones(30)]) for atoms in seen]
    numbers = seen[0].numbers
    inverse = np.array([active_inverse(np.concatenate(features)[np.tile(numbers == z, 30)]) for z in (3, 17, 39)])
    arrays = student.model.to_arrays() | {"active_inverse": inverse}
    graded = load_potential("nep", weights=arrays)
    assert isinstance(graded, NepPotential)
    assert max(graded.extrapolation_grade(atoms).max() for atoms in seen) < 1.03
    assert graded.extrapolation_grade(crystal(99, 0.1)).max() < 5.0
    far = graded.extrapolation_grade(crystal(99, 0.6))
    assert far.max() > 5.0
    assert far.shape == (30,)


def of_many(n_elements: int, outer_A: np.ndarray) -> NepModel:
    rng = np.random.default_rng(4)
    t, dim = n_elements, 2 + 1 * 2
    return NepModel(
        numbers=[3, 11, 12, 13, 14, 15, 16, 17, 32, 39, 40][:t],
        shape=[2, 3, 1, 2, 2, 0, 0],
        cutoffs_A=[5.0, 4.0],
        c_radial=rng.normal(size=(t, t, 2, 3)),
        c_angular=rng.normal(size=(t, t, 1, 2)),
        w0=rng.normal(size=(t, 2, dim)),
        b0=rng.normal(size=(t, 2)),
        w1=rng.normal(size=(t, 2)),
        bias_eV=rng.normal(size=t),
        scale=np.full(dim, 0.1),
        zbl_inner_A=0.5 * outer_A,
        zbl_outer_A=outer_A,
        active_inverse=np.zeros(0),
    )


def test_above_ten_elements_zbl_is_written_once_or_not_at_all() -> None:
    """Other codes have room for the cutoffs of 55 pairs."""
    same = of_many(11, np.full((11, 11), 1.5))
    lines = same.to_text().splitlines()
    assert lines[1] == "zbl 0.75 1.5"
    # Neurons (one more for the bias), the common bias, coefficients, scale: and no ten numbers for each of 66 pairs.
    assert len(lines) - 7 == 11 * 3 * (4 + 2) + 1 + 11 * 11 * (2 * 3 + 1 * 2) + 4
    again = NepModel.from_text(same.to_text())
    assert np.array_equal(again.zbl_outer_A, same.zbl_outer_A)
    outer = np.full((11, 11), 1.5)
    outer[0, 1] = outer[1, 0] = 1.7
    with pytest.raises(PotentialError, match="11 elements") as caught:
        of_many(11, outer).to_text()
    assert "longest_zbl_A: 0" in str(caught.value.fix)
    assert of_many(11, np.zeros((11, 11))).to_text().startswith("nep4 11 ")  # that fix
    assert of_many(10, outer[:10, :10]).to_text().splitlines()[1] == "zbl 0 0"


def test_atoms_that_have_wandered_through_many_cells_have_the_same_neighbours() -> None:
    atoms = crystal(amplitude_A=0.4)
    at_home = NeighbourList(6.0, 0.0)
    at_home.update(atoms.positions, atoms.cell.array, np.ones(3, dtype=bool))
    rng = np.random.default_rng(2)
    for farthest in (2, 40):  # with a table of all translations, and of those that occur
        away = NeighbourList(6.0, 0.0)
        positions = atoms.positions + rng.integers(-farthest, farthest + 1, (len(atoms), 3)) @ atoms.cell.array
        away.update(positions, atoms.cell.array, np.ones(3, dtype=bool))
        assert np.array_equal(away.first, at_home.first)
        found = []
        for each, places in ((at_home, atoms.positions), (away, positions)):
            centre = np.repeat(np.arange(len(atoms)), np.diff(each.first))
            vectors = places[each.neighbours] + each.shifts_A[each.shift] - places[centre]
            found.append((np.column_stack([centre, each.neighbours]), vectors))
        assert np.array_equal(found[0][0], found[1][0])
        assert np.abs(found[0][1] - found[1][1]).max() < 1e-9


def test_atoms_beyond_counting_apart_and_too_many_functions_are_refused() -> None:
    far = np.array([[0.0, 0.0, 0.0], [5.0e8, -5.0e8, 5.0e8]])
    with pytest.raises(CalculationFailed, match="so far apart"):
        NeighbourList(6.0).update(far, 5.0 * np.eye(3), np.ones(3, dtype=bool))
    with pytest.raises(CalculationFailed, match="not finite"):
        NeighbourList(6.0).update(far, np.nan * np.eye(3), np.ones(3, dtype=bool))
    arrays = model().to_arrays()
    arrays["shape"][2] = 17
    dim = 4 + 17 * 6
    arrays |= {"c_angular": np.zeros((3, 3, 17, 6)), "w0": np.zeros((3, 7, dim)), "scale": np.ones(dim)}
    with pytest.raises(PotentialError, match="17 angular functions"):
        NepModel.from_arrays(arrays)
