from __future__ import annotations

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.errors import CalculationFailed, StageError
from superionic.execution.codec import decode, encode, from_tree
from superionic.potentials.base import Prediction, load_potential
from superionic.potentials.neighbours import pairs_within
from superionic.training.committee import committee_mean, disagreement, member_split
from superionic.training.dataset import Targets
from superionic.training.distillation import (
    PackedSet,
    close_contacts,
    distorted_structures,
    evenly,
    label_structures,
    merge_sets,
    pack_labelled,
    pack_structures,
    pick_by_grade,
    rattled_and_relaxed,
)


@pytest.fixture
def salt() -> Atoms:
    return bulk("LiCl", "rocksalt", a=5.13).repeat(2)


@pytest.fixture
def teacher():
    return load_potential("pair")


def shortest(atoms: Atoms) -> float:
    return float(pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, 6.0).distances_A.min())


def test_distorted_structures_fill_the_range_of_volumes_evenly(salt):
    made = distorted_structures(salt, 20, np.random.default_rng(1), volumes=(0.9, 1.1), max_strain=0.0)
    factors = np.sort([atoms.get_volume() / salt.get_volume() for atoms in made])
    # One in each twentieth of the range.
    assert np.all(np.floor((factors - 0.9) / 0.01 + 1e-9) == np.arange(20))
    again = distorted_structures(salt, 20, np.random.default_rng(1), volumes=(0.9, 1.1), max_strain=0.0)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(made, again, strict=True))


def test_distorted_structures_are_rattled_by_the_amplitudes_in_turn(salt):
    made = distorted_structures(
        salt, 400, np.random.default_rng(2), volumes=(1.0, 1.0), max_strain=0.0, rattles_A=(0.05, 0.2)
    )
    spread = [float(np.sqrt(np.mean((atoms.positions - salt.positions) ** 2))) for atoms in made]
    assert np.mean(spread[::2]) == pytest.approx(0.05, rel=0.03)
    assert np.mean(spread[1::2]) == pytest.approx(0.2, rel=0.03)
    with pytest.raises(ValueError, match="volumes"):
        distorted_structures(salt, 1, np.random.default_rng(0), volumes=(1.1, 0.9))


def test_close_contacts_show_every_kind_of_pair_at_the_wanted_distance(salt):
    made = close_contacts(salt, 30, np.random.default_rng(3), fractions=(0.5, 0.7), rattle_A=0.0)
    assert len(made) == 30
    usual = {"Li-Li": 5.13 / np.sqrt(2), "Li-Cl": 5.13 / 2, "Cl-Cl": 5.13 / np.sqrt(2)}
    seen = set()
    for atoms in made:
        pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, 6.0)
        moved = np.flatnonzero(np.linalg.norm(atoms.positions - salt.positions, axis=1) > 1e-9)
        assert len(moved) == 2
        i, j = moved
        between = pairs.distances_A[(pairs.centre == i) & (pairs.neighbour == j)].min()
        kind = "-".join(sorted({atoms.symbols[i], atoms.symbols[j]}, key=["Li", "Cl"].index))
        kind = kind if "-" in kind else f"{kind}-{kind}"
        seen.add(kind)
        assert 0.5 <= between / usual[kind] <= 0.7
    assert seen == set(usual)


def test_kinds_of_pairs_go_on_in_turn_from_one_structure_to_the_next(salt):
    def kinds(count, before):
        made = close_contacts(salt, count, np.random.default_rng(1), rattle_A=0.0, first_kind=before)
        moved = [np.flatnonzero(np.linalg.norm(atoms.positions - salt.positions, axis=1) > 1e-9) for atoms in made]
        return ["-".join(sorted(atoms.symbols[k] for k in pair)) for atoms, pair in zip(made, moved, strict=True)]

    # Two contacts of each of three structures are all three kinds, twice; each for itself had the same two of them.
    assert [*kinds(2, 0), *kinds(2, 2), *kinds(2, 4)] == ["Li-Li", "Cl-Li", "Cl-Cl"] * 2


def test_no_contacts_where_no_atoms_are_near():
    far = Atoms("LiCl", [[0, 0, 0], [9, 9, 9]], cell=[20, 20, 20], pbc=True)
    assert close_contacts(far, 3, np.random.default_rng(0)) == []


def test_rattling_and_relaxing_goes_down_in_energy_and_labels_each_step(salt, teacher):
    labelled = rattled_and_relaxed(salt, teacher, np.random.default_rng(4), cycles=3, rattle_A=0.2, steps=6)
    assert len(labelled) == 18
    assert [labelled.groups.count(f"cycle {n}") for n in (1, 2, 3)] == [6, 6, 6]
    energies = labelled.targets.energies_eV.reshape(3, 6)
    assert np.all(energies[:, -1] < energies[:, 0])
    alone = teacher.evaluate(labelled.structures[7])
    assert labelled.targets.energies_eV[7] == alone.energy_eV
    assert np.array_equal(labelled.targets.forces_eV_per_A[7], alone.forces_eV_per_A)
    assert labelled.energy_convention == teacher.identity.energy_convention


class Broken:
    """Fails on the second structure, gives a number that is not finite for the third, a huge force for the fourth."""

    def __init__(self, inner):
        self.identity = inner.identity
        self.inner = inner
        self.calls = 0

    def evaluate(self, atoms, *, stress=True):
        self.calls += 1
        made = self.inner.evaluate(atoms, stress=stress)
        if self.calls == 2:
            raise CalculationFailed("no convergence")
        if self.calls == 3:
            return Prediction(np.nan, made.forces_eV_per_A, made.stress_eV_per_A3)
        if self.calls == 4:
            return Prediction(made.energy_eV, 1e3 * np.ones_like(made.forces_eV_per_A), made.stress_eV_per_A3)
        return made


def test_labels_that_cannot_be_used_are_left_out_with_their_reason(salt, teacher):
    structures = distorted_structures(salt, 5, np.random.default_rng(5))
    labels = label_structures(Broken(teacher), structures, list("abcde"), max_force_eV_per_A=50.0)
    assert labels.labelled.groups == ("a", "e")
    assert labels.dropped[:2] == ("no convergence", "a value is not finite")
    assert "above the limit of 50" in labels.dropped[2]


def test_packed_sets_come_back_exactly_also_with_cells_of_different_size(salt, teacher):
    structures = [*distorted_structures(salt, 2, np.random.default_rng(6)), bulk("LiCl", "rocksalt", a=5.2)]
    packed = pack_structures(structures, ["x", "x", "y"])
    assert packed.groups == ("x", "x", "y")
    assert len(packed) == 3
    for one, other in zip(structures, packed.structures, strict=True):
        assert np.array_equal(one.positions, other.positions)
        assert np.array_equal(one.cell.array, other.cell.array)
    labelled = label_structures(teacher, structures, packed.groups).labelled
    same = from_tree(decode(*encode(pack_labelled(labelled))), PackedSet).labelled
    assert same.settings_hash == labelled.settings_hash
    for index in range(3):
        assert np.array_equal(same.targets.forces_eV_per_A[index], labelled.targets.forces_eV_per_A[index])
    assert np.array_equal(same.targets.stresses_eV_per_A3, labelled.targets.stresses_eV_per_A3)
    empty = labelled.subset([])
    assert len(pack_labelled(empty).labelled) == 0


def test_sets_of_two_teachers_do_not_mix(salt, teacher):
    other = load_potential("pair", charge_scale=0.9)
    one = label_structures(teacher, [salt], ["a"]).labelled
    two = label_structures(other, [salt], ["b"]).labelled
    assert merge_sets([one, one.subset([]), one]).groups == ("a", "a")
    with pytest.raises(StageError, match="different teachers"):
        merge_sets([one, two])
    with pytest.raises(StageError, match="no label"):
        merge_sets([one.subset([])])


@pytest.mark.parametrize(("count", "number"), [(10, 3), (7, 7), (3, 9), (100, 1), (1, 1)])
def test_frames_are_taken_evenly_with_the_last_one(count, number):
    indices = evenly(count, number)
    assert len(indices) == min(count, number)
    assert indices[-1] == count - 1
    assert len(set(np.diff(indices))) <= 2
    assert sorted(set(indices)) == indices


def test_collected_frames_are_the_most_extrapolating_of_each_part_of_time():
    grades = [2.1, 5.0, 2.2, 2.3, 2.4, 9.0]
    assert pick_by_grade(grades, 2) == [1, 5]
    assert pick_by_grade(grades, 9) == list(range(6))
    assert pick_by_grade([], 3) == []


# ---- the committee ------------------------------------------------------------------------------------------------


def committee(n_members: int, sigma: float, n_structures: int = 200, n_atoms: int = 4) -> list[Targets]:
    rng = np.random.default_rng(7)
    return [
        Targets(
            n_atoms * sigma * rng.standard_normal(n_structures),
            tuple(sigma * rng.standard_normal((n_atoms, 3)) for _ in range(n_structures)),
            sigma * rng.standard_normal((n_structures, 6)),
        )
        for _ in range(n_members)
    ]


def test_disagreement_is_the_standard_deviation_that_went_in():
    spread = disagreement(committee(6, 0.05)).summary()
    assert spread.energy_meV_per_atom == pytest.approx(50.0, rel=0.05)
    assert spread.force_meV_per_A == pytest.approx(50.0, rel=0.03)
    assert spread.stress_GPa == pytest.approx(0.05 * 160.2, rel=0.05)
    assert spread.largest_force_meV_per_A > spread.force_meV_per_A


def test_members_that_agree_have_no_spread_and_their_mean_is_what_they_say():
    one = committee(1, 0.1)[0]
    assert disagreement([one, one]).summary().force_meV_per_A == 0.0
    mean = committee_mean([one, one])
    assert np.array_equal(mean.energies_eV, one.energies_eV)
    with pytest.raises(ValueError, match="two members"):
        disagreement([one])
    with pytest.raises(ValueError, match="same structures"):
        disagreement([one, one.subset([0])])


def test_members_leave_out_other_groups_and_never_cut_one():
    groups = [f"run {k // 5}" for k in range(100)]
    splits = [member_split(groups, 0.1, seed) for seed in range(4)]
    hidden = {split.validation for split in splits}
    assert len(hidden) > 1
    for split in splits:
        assert {groups[i] for i in split.train}.isdisjoint(groups[i] for i in split.validation)
        assert len(split.train) + len(split.validation) == 100
        assert split.leak_free


def test_the_python_of_the_guide_runs(root, tmp_path, monkeypatch, capsys):
    page = (root / "docs" / "how-to" / "distil.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    # The same, but quicker: a small student.
    small = "nep.NepOptions(epochs=2, n_radial=4, n_angular=3, l_max=2, n_neurons=8, cutoff_angular_A=4.0)"
    assert "nep.NepOptions(epochs=20)" in block
    block = block.replace("nep.NepOptions(epochs=20)", small).replace("validation, 20)", "validation, 2)")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "guide", "exec"), {})
    assert (tmp_path / "nep.txt").read_text().startswith("nep4")
    assert "force_meV_per_A" in capsys.readouterr().out


def test_groups_that_are_only_for_training_are_never_left_out():
    groups = [f"run part {k // 4}" for k in range(40)] + [f"contact {k}" for k in range(60)]
    contacts = {group for group in groups if group.startswith("contact")}
    for seed in range(5):
        split = member_split(groups, 0.1, seed, only_training=contacts)
        assert split.validation
        assert all(groups[index] not in contacts for index in split.validation)
        assert sorted([*split.train, *split.validation]) == list(range(100))
