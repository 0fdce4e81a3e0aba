"""Poisoned sets must be named for what they are, and sound ones left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from superionic.labels.base import Label
from superionic.training.dataset import Targets
from superionic.training.preflight import preflight, slope

N = 24
CELL = np.diag([6.0, 6.2, 12.1])


def a_set(seed: int = 0, n: int = N) -> tuple[list[Atoms], list[Label], Targets]:
    """Labels, and a soft potential with noise, another zero and another pressure that predicts them."""
    rng = np.random.default_rng(seed)
    sites = rng.uniform(0.0, 1.0, (10, 3))
    structures, labels, energies, forces, stresses = [], [], [], [], []
    for _ in range(n):
        moves = rng.normal(0.0, 0.15, (10, 3))
        strain = rng.uniform(-0.02, 0.02, 3)
        atoms = Atoms("Li3YCl6", cell=CELL * (1.0 + strain), pbc=True, scaled_positions=sites)
        atoms.positions += moves
        force = -5.0 * moves + rng.normal(0.0, 0.05, (10, 3))
        energy = -40.0 + 2.5 * float((moves**2).sum()) + rng.normal(0.0, 0.02)
        stress = np.concatenate([0.3 * strain, rng.normal(0.0, 0.003, 3)]) + rng.normal(0.0, 5e-4, 6)
        structures.append(atoms)
        labels.append(Label(energy, force, stress, {"settings_hash": "one"}))
        energies.append(-44.0 + 0.85 * (energy + 40.0))
        forces.append(0.8 * force + rng.normal(0.0, 0.1, force.shape))
        stresses.append(0.85 * stress + np.array([0.004] * 3 + [0.0] * 3) + rng.normal(0.0, 5e-4, 6))
    return structures, labels, Targets(np.array(energies), tuple(forces), np.array(stresses))


PARTS = {"train": range(16), "validation": range(16, 20), "test": range(20, 24)}


def names(findings, severity=None):
    return [finding.name for finding in findings if severity in (None, finding.severity)]


@pytest.mark.parametrize("seed", range(10))
def test_a_sound_set_passes(seed):
    structures, labels, baseline = a_set(seed)
    findings = preflight(
        structures, labels, baseline, **PARTS, options={"stress_weight": 0.1}, elements=["Li", "Y", "Cl"]
    )
    assert names(findings, "error") == []


@pytest.mark.parametrize(
    ("key", "factor", "name", "word"),
    [
        ("forces_eV_per_A", 1 / 51.422, "unit of forces", "Hartree/Bohr"),
        ("forces_eV_per_A", 51.422, "unit of forces", "once too often"),
        ("forces_eV_per_A", -1.0, "sign of forces", "gradients"),
        ("forces_eV_per_A", 0.5292, "unit of forces", "eV/Bohr"),
        ("forces_eV_per_A", 1000.0, "unit of forces", "meV"),
        ("stress_eV_per_A3", -1.0, "sign of stresses", "compression"),
        ("stress_eV_per_A3", 160.22, "unit of stresses", "GPa"),
        ("stress_eV_per_A3", -1602.2, "sign of stresses", "kbar"),
        ("stress_eV_per_A3", 0.1, "unit of stresses", "divided by 10"),
        ("energy_eV", 1 / 27.2114, "unit of energies", "Hartree"),
        ("energy_eV", 23.06, "unit of energies", "kcal/mol"),
        ("energy_eV", -1.0, "sign of energies", "turned"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_slip_is_named(key, factor, name, word, seed):
    structures, labels, baseline = a_set(seed)
    labels = [replace(label, **{key: factor * getattr(label, key)}) for label in labels]
    findings = [finding for finding in preflight(structures, labels, baseline, **PARTS) if finding.severity == "error"]
    assert name in names(findings), findings
    assert word in next(finding.evidence for finding in findings if finding.name == name)
    assert all(finding.fix for finding in findings)


def test_energies_per_atom_do_not_pass():
    structures, labels, baseline = a_set()
    labels = [replace(label, energy_eV=label.energy_eV / 10.0) for label in labels]
    assert "unit of energies" in names(preflight(structures, labels, baseline, **PARTS), "error")


def test_few_labels_are_no_ground_to_stop():
    for seed in range(20):
        structures, labels, baseline = a_set(seed, 4)
        rng = np.random.default_rng(seed)
        labels = [  # energies and stresses that are noise
            replace(label, energy_eV=-40.0 + rng.normal(0.0, 0.1), stress_eV_per_A3=rng.normal(0.0, 0.01, 6))
            for label in labels
        ]
        findings = preflight(structures, labels, baseline, train=range(2), validation=[2], test=[3])
        assert names(findings, "error") == []


def test_relaxed_structures_say_nothing_about_the_unit_of_forces():
    structures, labels, baseline = a_set()
    rng = np.random.default_rng(0)
    labels = [replace(label, forces_eV_per_A=rng.normal(0.0, 0.005, (10, 3))) for label in labels]
    still = Targets(
        baseline.energies_eV,
        tuple(rng.normal(0.0, 0.05, (10, 3)) for _ in labels),
        baseline.stresses_eV_per_A3,
    )
    assert names(preflight(structures, labels, still, **PARTS), "error") == []


def test_shuffled_forces_are_seen():
    structures, labels, baseline = a_set()
    rng = np.random.default_rng(1)
    labels = [replace(label, forces_eV_per_A=label.forces_eV_per_A[rng.permutation(10)]) for label in labels]
    assert "forces unlike the potential's" in names(preflight(structures, labels, baseline, **PARTS), "error")


def test_leakage_and_duplicates():
    structures, labels, baseline = a_set()
    structures[21] = structures[3].copy()
    structures[22] = structures[4].copy()
    structures[22].positions += np.random.default_rng(0).normal(0.0, 0.01, structures[22].positions.shape)
    structures[7] = structures[6].copy()
    findings = preflight(structures, labels, baseline, **PARTS)
    assert "the same structure in two parts" in names(findings, "error")
    assert "nearly the same structure in two parts" in names(findings, "caution")
    assert "duplicates" in names(findings, "caution")
    overlapping = preflight(structures, labels, None, train=range(16), test=range(15, 24))
    assert "a structure in two parts" in names(overlapping, "error")


def test_a_run_on_both_sides_is_told():
    structures, labels, baseline = a_set()
    groups = [f"run {i // 8}" for i in range(N)]
    assert "runs in training and validation" not in names(
        preflight(structures, labels, baseline, **PARTS, groups=groups)
    )
    groups = [f"run {i % 3}" for i in range(N)]
    named = names(preflight(structures, labels, baseline, **PARTS, groups=groups))
    assert {"runs in training and validation", "runs in training and test"} <= set(named)


def test_elements():
    structures, labels, _ = a_set()
    structures[22].numbers[0] = 35
    named = names(preflight(structures, labels, None, **PARTS, elements=["Li", "Y", "Cl"]), "error")
    assert named == ["elements not covered", "elements only held out"]


def test_mixed_references_and_broken_numbers():
    structures, labels, baseline = a_set()
    labels[3] = replace(labels[3], provenance={"settings_hash": "another"})
    labels[5] = replace(labels[5], energy_eV=float("nan"))
    named = names(preflight(structures, labels, baseline, **PARTS), "error")
    assert named == ["mixed references", "broken numbers"]


def test_a_test_beyond_the_range_is_told():
    structures, labels, baseline = a_set()
    structures[21].set_cell(structures[21].cell.array * 1.1, scale_atoms=True)
    labels[22] = replace(labels[22], forces_eV_per_A=3.0 * labels[22].forces_eV_per_A)
    findings = preflight(structures, labels, baseline, **PARTS)
    departure = next(finding for finding in findings if finding.name == "test outside the range of training")
    assert "volume" in departure.evidence
    assert "force" in departure.evidence


def test_stress_and_replay():
    structures, labels, _ = a_set()
    named = names(preflight(structures, labels, None, **PARTS, options={"stress_weight": 0.0, "mode": "multihead"}))
    assert named == ["multi-head without replay", "stress is not trained"]
    labels[0] = replace(labels[0], stress_eV_per_A3=None)
    replayed = preflight(structures, labels, None, **PARTS, options={"stress_weight": 0.1}, with_replay=True)
    assert names(replayed) == ["labels without stress"]


def test_slope_is_the_same_both_ways():
    rng = np.random.default_rng(0)
    a = rng.normal(size=1000)
    b = 3.0 * a + rng.normal(size=1000)
    assert slope(a, b)[0] * slope(b, a)[0] == pytest.approx(1.0)
    assert slope(a, -a) == (-1.0, pytest.approx(-1.0))
    assert slope(a, 0.0 * a) == (0.0, 0.0)
