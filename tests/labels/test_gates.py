from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.labels.base import Label, load_labeller
from superionic.labels.gates import Gates, check_label, check_labels, check_structure, shortest_distance
from superionic.labels.twins import first_twins
from superionic.potentials.reference import li3ycl6_cell

RNG_SEED = 5


def label_of(atoms: Atoms, energy: float = 0.0, **changes: object) -> Label:
    values: dict[str, object] = {
        "energy_eV": energy,
        "forces_eV_per_A": np.zeros((len(atoms), 3)),
        "stress_eV_per_A3": np.zeros(6),
        "provenance": {"settings_hash": "h"},
        "diagnostics": {"converged": True},
    }
    return Label(**{**values, **changes})  # type: ignore[arg-type]


def snapshots(n: int) -> list[Atoms]:
    rng = np.random.default_rng(RNG_SEED)
    cells = []
    for _ in range(n):
        atoms = li3ycl6_cell()
        atoms.positions += rng.normal(0.0, 0.05, size=(len(atoms), 3))
        cells.append(atoms)
    return cells


def test_shortest_distance_sees_images_in_skewed_cells() -> None:
    atoms = Atoms("H", positions=[[0, 0, 0]], cell=[[3.0, 0, 0], [2.9, 0.5, 0], [0, 0, 9.0]], pbc=True)
    assert shortest_distance(atoms) == pytest.approx(np.hypot(0.1, 0.5))
    pair = Atoms("H2", positions=[[0.1, 0.1, 0.1], [4.9, 4.9, 4.9]], cell=[5, 5, 5], pbc=True)
    assert shortest_distance(pair) == pytest.approx(0.2 * np.sqrt(3))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_shortest_distance_equals_a_search_over_many_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) * 3.0
    if abs(np.linalg.det(cell)) < 2.0:
        return
    positions = rng.uniform(-5, 5, size=(3, 3))
    best = np.inf
    span = range(-6, 7)
    images = np.array([(i, j, k) for i in span for j in span for k in span]) @ cell
    for i in range(3):
        for j in range(3):
            lengths = np.linalg.norm(positions[j] - positions[i] + images, axis=1)
            best = min(best, lengths[lengths > 1e-9].min())
    reach = 5 * np.abs(np.linalg.inv(cell)).sum()
    found = shortest_distance(Atoms("H3", positions=positions, cell=cell, pbc=True))
    if reach < 4:  # else the search itself may have missed the nearest image
        assert found == pytest.approx(best, rel=1e-9)
    else:
        assert found <= best + 1e-9


def test_check_structure_before_paying() -> None:
    atoms = li3ycl6_cell()
    assert check_structure(atoms).passed
    close = atoms.copy()
    close.positions[1] = close.positions[0] + [0.3, 0.0, 0.0]
    assert [f.gate for f in check_structure(close).failures] == ["shortest-distance"]
    broken = atoms.copy()
    broken.positions[0, 0] = np.nan
    assert not check_structure(broken).passed
    assert not check_structure(Atoms("H", positions=[[0, 0, 0]])).passed


def gates_of(atoms: Atoms, label: Label, **kwargs: object) -> list[str]:
    return [failure.gate for failure in check_label(atoms, label, **kwargs).failures]  # type: ignore[arg-type]


def test_each_gate_on_one_label() -> None:
    atoms = li3ycl6_cell()
    forces = np.zeros((len(atoms), 3))
    assert gates_of(atoms, label_of(atoms)) == []
    assert gates_of(atoms, label_of(atoms, float("nan"))) == ["finite"]
    assert gates_of(atoms, label_of(atoms, forces_eV_per_A=forces[:-1])) == ["complete"]
    assert gates_of(atoms, label_of(atoms, diagnostics={})) == ["converged"]
    large = forces.copy()
    large[0], large[1] = [40.0, 0, 0], [-40.0, 0, 0]
    assert gates_of(atoms, label_of(atoms, forces_eV_per_A=large)) == ["largest-force"]
    net = {"converged": True, "net_force_eV_per_A": [0.0, 0.6, 0.0]}
    assert gates_of(atoms, label_of(atoms, diagnostics=net)) == ["net-force"]
    assert gates_of(atoms, label_of(atoms, forces_eV_per_A=forces + np.array([0.1, 0, 0]))) == ["net-force"]
    assert gates_of(atoms, label_of(atoms, stress_eV_per_A3=np.full(6, 0.4))) == ["largest-stress"]
    smeared = {"converged": True, "smearing_energy_eV": -1.0}
    assert gates_of(atoms, label_of(atoms, diagnostics=smeared)) == ["smearing"]
    off = Gates(max_force_eV_per_A=None)
    assert check_label(atoms, label_of(atoms, forces_eV_per_A=large), off).passed


def test_what_came_back_is_what_was_asked_for() -> None:
    atoms = li3ycl6_cell()
    wrapped = atoms.copy()
    wrapped.positions += np.asarray(atoms.cell)[0]
    assert gates_of(wrapped, label_of(atoms), asked=atoms) == []
    swapped = atoms[[1, 0, *range(2, len(atoms))]]
    assert gates_of(swapped, label_of(atoms), asked=atoms) == ["same-structure"]
    other = atoms.copy()
    other.numbers[0] = 11
    assert gates_of(other, label_of(atoms), asked=atoms) == ["same-structure"]
    strained = atoms.copy()
    strained.set_cell(np.asarray(atoms.cell) * 1.01, scale_atoms=True)
    assert gates_of(strained, label_of(atoms), asked=atoms) == ["same-structure"]


def test_one_reference_for_a_set() -> None:
    cells = snapshots(4)
    labels = [label_of(atoms) for atoms in cells]
    labels[0] = label_of(cells[0], provenance={"settings_hash": "other"})
    labels[3] = label_of(cells[3], provenance={"settings_hash": "h", "setups": {"Li": "b"}})
    labels[2] = label_of(cells[2], provenance={"settings_hash": "h", "setups": {"Li": "a"}})
    verdicts = check_labels(cells, labels)
    assert [v.passed for v in verdicts] == [False, True, True, False]
    assert "another reference" in verdicts[0].reason
    assert "setup" in verdicts[3].reason


def test_later_duplicate_goes() -> None:
    cells = snapshots(3)
    cells.append(cells[1].copy())
    verdicts = check_labels(cells, [label_of(atoms) for atoms in cells])
    assert [v.passed for v in verdicts] == [True, True, True, False]
    assert "number 1" in verdicts[3].reason


def test_energy_slips_are_caught_and_sound_labels_are_not() -> None:
    cells = snapshots(24)
    cells[5:9] = [atoms[: -10 if i % 2 else -6] for i, atoms in enumerate(cells[5:9])]  # other compositions too
    rng = np.random.default_rng(1)
    per_element = {"Li": -2.0, "Y": -9.0, "Cl": -3.0}
    energies = [
        sum(per_element[s] for s in atoms.get_chemical_symbols()) + len(atoms) * rng.normal(0.0, 0.008)
        for atoms in cells
    ]
    sound = check_labels(cells, [label_of(a, e) for a, e in zip(cells, energies, strict=True)])
    assert all(verdict.passed for verdict in sound)
    poisoned = list(energies)
    poisoned[3] *= 27.211386
    poisoned[11] += 30 * 0.15
    verdicts = check_labels(cells, [label_of(a, e) for a, e in zip(cells, poisoned, strict=True)])
    assert [i for i, v in enumerate(verdicts) if not v.passed] == [3, 11]
    assert all("standard deviations" in verdicts[i].reason for i in (3, 11))


def test_few_labels_are_not_judged_as_outliers() -> None:
    cells = snapshots(3)
    labels = [label_of(a, e) for a, e in zip(cells, (0.0, 0.0, 50.0), strict=True)]
    assert all(v.passed for v in check_labels(cells, labels))


def test_labels_of_the_stand_in_pass() -> None:
    labeller = load_labeller("potential:pair", {})
    cells = snapshots(8)
    verdicts = check_labels(cells, [labeller.label(atoms) for atoms in cells], asked=cells)
    assert [v.reason for v in verdicts] == [""] * 8
    assert verdicts[0].failures == ()


def test_twins_are_seen_whatever_their_order_and_origin() -> None:
    rng = np.random.default_rng(11)
    cell = np.diag([7.0, 7.5, 8.0]) + rng.normal(0.0, 0.2, (3, 3))
    numbers = np.array([3] * 6 + [17] * 8 + [39] * 2)
    structures = [Atoms(numbers=numbers, cell=cell, pbc=True, scaled_positions=rng.random((16, 3))) for _ in range(20)]
    for number in (3, 8):
        order, shift = rng.permutation(16), rng.random(3) @ cell
        moved = structures[number].positions + shift + rng.uniform(-3e-4, 3e-4, (16, 3))
        structures.append(Atoms(numbers=numbers[order], cell=cell, pbc=True, positions=moved[order]))
    far = structures[5].copy()
    far.positions[0] += 0.01
    mirrored = structures[5].copy()
    mirrored.positions = -mirrored.positions  # the same distances, and not the same structure
    exchanged = structures[5].copy()
    exchanged.numbers[[0, 15]] = exchanged.numbers[[15, 0]]
    structures += [far, mirrored, exchanged]
    assert first_twins(structures, 1.0e-3) == [None] * 20 + [3, 8, None, None, None]
    assert first_twins([structures[0]] * 4, 1.0e-3) == [None, 0, 0, 0]


def test_the_shortest_distance_is_that_of_all_images() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        cell = np.diag([4.0, 5.0, 6.0]) + rng.normal(0.0, 1.0, (3, 3))
        atoms = Atoms(f"Li{rng.integers(1, 7)}", cell=cell, pbc=True)
        atoms.positions = rng.random(atoms.positions.shape) @ cell
        images = np.array(list(itertools.product(range(-8, 9), repeat=3))) @ cell
        steps = atoms.positions[:, None, :] - atoms.positions[None, :, :]
        lengths = np.linalg.norm(steps[None] + images[:, None, None, :], axis=-1)
        assert shortest_distance(atoms) == pytest.approx(lengths[lengths > 1e-9].min(), abs=1e-9)
