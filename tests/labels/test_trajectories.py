from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from superionic.labels.base import Label
from superionic.labels.gates import check_labels
from superionic.labels.residuals import Baseline
from superionic.labels.trajectories import trajectories_of
from superionic.potentials.base import load_potential
from superionic.training.dataset import Targets
from superionic.training.preflight import preflight

HARTREE, BOHR = 27.211386245988, 0.529177210903
N = 16


def a_run(start_A: float = 0.0, step_A: float = 0.05) -> tuple[list[Atoms], list[Label]]:
    """A trajectory that begins at rest: from a lattice site, atoms swing further with each frame."""
    potential, rng = load_potential("pair"), np.random.default_rng(5)
    cell = 5.2 * np.eye(3)
    lattice = np.argwhere(np.ones((2, 2, 2))) / 2.0
    way = rng.normal(0.0, step_A, (8, 3))
    other = rng.normal(0.0, step_A, (8, 3))
    structures, labels = [], []
    for n in range(N):
        atoms = Atoms(numbers=[3, 17, 17, 3, 17, 3, 3, 17], scaled_positions=lattice, cell=cell, pbc=True)
        atoms.positions += (start_A + np.sin(0.45 * n)) * 3.0 * way + (1.0 - np.cos(0.3 * n)) * 2.0 * other
        found = potential.evaluate(atoms)
        structures.append(atoms)
        labels.append(
            Label(
                found.energy_eV,
                found.forces_eV_per_A,
                found.stress_eV_per_A3,
                {"settings_hash": "one"},
                {"converged": True},
            )
        )
    return structures, labels


def witness(structures: list[Atoms], labels: list[Label]) -> Any:
    return trajectories_of(
        structures, [label.energy_eV for label in labels], [label.forces_eV_per_A for label in labels], ["a"] * N
    )


def test_energy_falls_by_the_work_of_the_forces() -> None:
    structures, labels = a_run()
    (run,) = (found := witness(structures, labels)).runs
    assert run.n_steps == N - 1
    assert run.slope == pytest.approx(1.0, abs=0.03)
    assert run.sound
    assert run.slip is None
    assert found.sound == set(range(N))
    # What energies count from is nothing to it.
    shifted = [replace(label, energy_eV=label.energy_eV + 1234.5) for label in labels]
    assert witness(structures, shifted).runs[0].slope == pytest.approx(run.slope, rel=1e-6)


@pytest.mark.parametrize(
    ("energy", "force", "words"),
    [
        (1.0 / HARTREE, 1.0, "energies are in Hartree"),
        (1.0, -1.0, "the sign"),
        (1.0, BOHR / HARTREE, "forces are in Hartree/Bohr"),
        (1.0 / HARTREE, BOHR / HARTREE, "forces are per Bohr"),
        (1.0 / 8, 1.0, "energies are per atom"),
        (1.0, 1000.0, "forces are in meV/Å"),
    ],
)
def test_slips_of_a_whole_run_are_named_without_any_potential(energy: float, force: float, words: str) -> None:
    structures, labels = a_run()
    wrong = [
        replace(label, energy_eV=energy * label.energy_eV, forces_eV_per_A=force * label.forces_eV_per_A)
        for label in labels
    ]
    (run,) = witness(structures, wrong).runs
    assert not run.sound
    assert words in run.slip
    gates = [
        failure.gate for verdict in check_labels(structures, wrong, groups=["a"] * N) for failure in verdict.failures
    ]
    assert gates.count("work-of-forces") == N or gates.count("largest-force") > 0
    found = preflight(structures, wrong, None, train=range(12), test=range(12, 16), groups=["a"] * N)
    assert ("energies against forces", "error") in [(finding.name, finding.severity) for finding in found]


def test_a_frame_at_rest_in_a_sound_run_is_no_slip() -> None:
    structures, labels = a_run()
    assert np.abs(labels[0].forces_eV_per_A).max() < 1e-6  # a lattice site
    for groups in (["a"] * N, None):  # by its neighbours, or by its low energy
        assert all(verdict.passed for verdict in check_labels(structures, labels, groups=groups))


def test_neighbours_are_believed_before_a_baseline_over_two_forces_that_changed_places() -> None:
    structures, labels = a_run(start_A=0.4)
    rng = np.random.default_rng(1)
    baseline = Baseline(
        np.array([label.energy_eV for label in labels]),
        tuple(label.forces_eV_per_A + rng.normal(0.0, 0.02, (8, 3)) for label in labels),
        np.array([label.stress_eV_per_A3 for label in labels]),
    )
    # The baseline itself has two forces the wrong way round in one frame.
    odd = baseline.forces_eV_per_A[6].copy()
    odd[[1, 4]] = odd[[4, 1]]
    forces = tuple(odd if n == 6 else f for n, f in enumerate(baseline.forces_eV_per_A))
    wrong = replace(baseline, forces_eV_per_A=forces)
    alone = check_labels(structures, labels, baseline=wrong)
    assert [failure.gate for failure in alone[6].failures] == ["swapped-forces"]
    assert all(verdict.passed for verdict in check_labels(structures, labels, baseline=wrong, groups=["a"] * N))
    # And where the label has them so, its neighbours do not vouch for it.
    labels[6] = replace(labels[6], forces_eV_per_A=odd)
    assert not check_labels(structures, labels, baseline=baseline, groups=["a"] * N)[6].passed


def test_a_potential_that_is_soft_does_not_make_a_sound_run_wrong() -> None:
    structures, labels = a_run()
    soft = Targets(
        np.array([label.energy_eV for label in labels]) / 2.2,
        tuple(label.forces_eV_per_A / 2.2 for label in labels),
        np.array([label.stress_eV_per_A3 for label in labels]),
    )
    zero = np.mean([label.energy_eV for label in labels])
    for shift in (0.0, zero):  # also where energies count from their mean
        shifted = [replace(label, energy_eV=label.energy_eV - shift) for label in labels]
        found = preflight(structures, shifted, soft, train=range(12), test=range(12, 16), groups=["a"] * N)
        assert [finding.name for finding in found if finding.severity == "error"] == []
    assert ("energies out of range", "caution") in [(finding.name, finding.severity) for finding in found]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("turn", "error"), [(0.3, 0.002), (1.5, 0.04)])
def test_frames_far_apart_have_a_slope_off_1_and_say_by_how_much(turn: float, error: float, seed: int) -> None:
    """Anharmonic ions that turn by 0.3 rad or a quarter of a period from frame to frame; ΔE and forces are exact."""
    rng = np.random.default_rng(seed)
    sites = 4.0 * np.argwhere(np.ones((3, 3, 3))).astype(float)
    phases, frequencies = rng.uniform(0, 2 * np.pi, sites.shape), rng.uniform(0.8, 1.2, sites.shape)
    structures, energies, forces = [], [], []
    for n in range(30):
        away = 0.15 * np.sin(turn * frequencies * n + phases)
        energies.append(float(np.sum(2.5 * away**2 + 2.0 * away**3)))
        forces.append(-5.0 * away - 6.0 * away**2)
        structures.append(Atoms("Cl27", positions=sites + away, cell=12.0 * np.eye(3), pbc=True))
    (run,) = trajectories_of(structures, energies, forces, ["a"] * 30).runs
    assert run.sound
    assert abs(run.slope - 1.0) < 3.0 * run.slope_error
    assert run.slope_error < error


def a_breathing_run() -> tuple[list[Atoms], list[Label]]:
    """A trajectory whose cell changes from frame to frame."""
    structures, labels = a_run(start_A=0.3)
    potential, shear = load_potential("pair"), np.array([[0.01, 0.004, 0.0], [0.0, -0.006, 0.003], [0.002, 0.0, 0.008]])
    for n, atoms in enumerate(structures):
        atoms.set_cell(np.array(atoms.cell) @ (np.eye(3) + np.sin(0.7 * n) * shear), scale_atoms=True)
        found = potential.evaluate(atoms)
        labels[n] = replace(
            labels[n],
            energy_eV=found.energy_eV,
            forces_eV_per_A=found.forces_eV_per_A,
            stress_eV_per_A3=found.stress_eV_per_A3,
        )
    return structures, labels


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1.0, "sign of the stress is wrong"),
        (160.21766208, "stress is in GPa"),
        (-1602.1766208, "stress is in kbar, and its sign is wrong"),
        (BOHR**3 / HARTREE, "stress is in Hartree/Bohr³"),
        (-140.0, "stress is a virial, which must be divided by the volume"),
    ],
)
def test_the_stress_does_work_where_the_cell_changes(factor: float, words: str) -> None:
    structures, labels = a_breathing_run()
    assert all(verdict.passed for verdict in check_labels(structures, labels, groups=["a"] * N))
    wrong = [replace(label, stress_eV_per_A3=factor * label.stress_eV_per_A3) for label in labels]
    (run,) = trajectories_of(
        structures,
        [label.energy_eV for label in wrong],
        [label.forces_eV_per_A for label in wrong],
        ["a"] * N,
        [label.stress_eV_per_A3 for label in wrong],
    ).runs
    assert run.stress_slope == pytest.approx(1.0 / factor, rel=0.05)
    assert words in run.stress_slip
    verdicts = check_labels(structures, wrong, groups=["a"] * N)
    assert not any(verdict.passed for verdict in verdicts)  # the larger ones are too large as well


def test_one_energy_off_its_neighbours_is_named() -> None:
    for structures, labels in (a_run(start_A=0.3), a_breathing_run()):
        for index in (3, 9):
            wrong = list(labels)
            wrong[index] = replace(labels[index], energy_eV=labels[index].energy_eV + 8 * 0.3)
            verdicts = check_labels(structures, wrong, groups=["a"] * N)
            accused = [n for n, verdict in enumerate(verdicts) if not verdict.passed]
            assert accused == [index]
            off = re.search(r"energy is ([+\d.]+) meV/atom from the value that both", verdicts[index].reason)
            assert off is not None
            assert float(off[1]) == pytest.approx(300.0, rel=0.03)
