"""The trainer of corrections: what it recovers, what it leaves alone, and how it is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from superionic.errors import CampaignFileError, StageError
from superionic.execution.codec import from_tree, to_tree
from superionic.potentials.base import load_potential
from superionic.potentials.conformance import DOUBLE, broken, conform
from superionic.potentials.pair_correction import PairCorrection
from superionic.potentials.reference import li3ycl6_cell
from superionic.training import delta
from superionic.training.conformance import same
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.metrics import errors

SOFTER = {"contact_force_ratio": 0.195, "softness_A": 0.32}


def displaced(n, seed=1):
    """Displaced and strained cells of Li9Y3Cl18."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(n):
        cell = li3ycl6_cell()
        cell.set_cell(cell.cell.array @ (np.eye(3) + rng.normal(0.0, 0.01, (3, 3))), scale_atoms=True)
        cell.positions += rng.normal(0.0, 0.1, cell.positions.shape)
        cells.append(cell)
    return cells


def values(potential, cells):
    evaluated = [potential.evaluate(cell) for cell in cells]
    return Targets(
        np.array([each.energy_eV for each in evaluated]),
        tuple(each.forces_eV_per_A for each in evaluated),
        np.array([each.stress_eV_per_A3 for each in evaluated]),
    )


def less(one, other):
    return Targets(
        one.energies_eV - other.energies_eV,
        tuple(a - b for a, b in zip(one.forces_eV_per_A, other.forces_eV_per_A, strict=True)),
        one.stresses_eV_per_A3 - other.stresses_eV_per_A3,
    )


def differences(cells, targets, groups=None):
    return LabelledSet(tuple(cells), targets, tuple(groups or map(str, range(len(cells)))), "none", "differences")


@pytest.fixture(scope="module")
def trained():
    """A correction that brings one pair potential to another, learned on eight cells."""
    cells = displaced(8)
    labels = differences(
        cells, less(values(load_potential("pair", **SOFTER), cells), values(load_potential("pair"), cells))
    )
    options = delta.TrainOptions(epochs=60)
    state = delta.start(seed=0, options=options, train=labels.subset(range(6)))
    return delta.train_epochs(state, labels.subset(range(6)), labels.subset([6, 7]), 60), labels


def test_the_difference_of_two_pair_potentials_is_recovered(trained):
    state, _ = trained
    cells = displaced(3, seed=2)
    corrected = load_potential("pair", weights=state.best_weights)
    truth = values(load_potential("pair", **SOFTER), cells)
    before, after = errors(values(load_potential("pair"), cells), truth), errors(values(corrected, cells), truth)
    assert before.mae_force_meV_per_A > 20.0
    assert after.mae_force_meV_per_A < 0.1 * before.mae_force_meV_per_A
    assert after.mae_stress_GPa < 0.05 * before.mae_stress_GPa
    assert after.mae_energy_meV_per_atom < 0.05 * before.mae_energy_meV_per_atom
    assert state.notes == ()
    assert state.best_epoch > 0


def test_what_is_in_the_space_of_the_splines_is_recovered_exactly():
    """Linear least squares with more equations than unknowns have one solution."""
    rng = np.random.default_rng(3)
    zero = PairCorrection.zero(np.array([3, 17, 39]), 4.5, 0.75)
    cells = displaced(6)
    seen = sum(np.abs(zero.rows(cell).forces_per_A).sum(axis=0) for cell in cells) > 30.0
    true = zero.with_coefficients(np.where(seen, rng.normal(0.0, 0.1, len(seen)), 0.0))
    parts = [true.evaluate(cell) for cell in cells]
    labels = differences(
        cells,
        Targets(np.array([e for e, _, _ in parts]), tuple(f for _, f, _ in parts), np.array([s for _, _, s in parts])),
    )
    options = delta.TrainOptions(epochs=400, cutoff_A=4.5, spacing_A=0.75)
    state = delta.train_epochs(delta.start(seed=0, options=options, train=labels), labels, None, 400)
    assert state.converged
    assert state.history[-1]["train"]["rmse_force_meV_per_A"] < 1e-3
    assert state.coefficients[seen] == pytest.approx(true.coefficients[seen], abs=1e-4)


def test_a_corrected_potential_keeps_the_contract_of_all_potentials(trained):
    report = conform({"potential": "pair", "options": {"weights": trained[0].best_weights}, "step_A": 1e-4})
    assert broken(report, DOUBLE) == []


def test_it_is_the_potential_itself_where_the_labels_say_nothing(trained):
    weights = trained[0].best_weights
    sodium = bulk("NaBr", "rocksalt", a=6.0)
    sodium.rattle(0.1, seed=1)
    plain, corrected = (load_potential("pair", weights=w).evaluate(sodium) for w in (None, weights))
    np.testing.assert_array_equal(corrected.forces_eV_per_A, plain.forces_eV_per_A)
    # At distances shorter than any of the labels it fades out, and the repulsion is that of the potential.
    for distance_A in (1.0, 1.5):
        close = Atoms("LiCl", positions=[[0, 0, 0], [distance_A, 0, 0]], cell=[20, 20, 20], pbc=True)
        plain, corrected = (load_potential("pair", weights=w).evaluate(close) for w in (None, weights))
        np.testing.assert_allclose(corrected.forces_eV_per_A, plain.forces_eV_per_A, rtol=0.05)


def test_k_segments_equal_one_and_states_can_be_stored(trained):
    whole, labels = trained
    train, validation = labels.subset(range(6)), labels.subset([6, 7])
    state = delta.start(seed=0, options=whole.options, train=train)
    while not state.finished:
        state = from_tree(to_tree(delta.train_epochs(state, train, validation, 7)), delta.TrainState, "state")
    assert same(replace(state, gain=None), replace(whole, gain=None))
    assert [entry["epoch"] for entry in whole.history] == list(range(whole.epoch + 1))
    losses = [entry["validation"]["loss"] for entry in whole.history]
    assert whole.best_epoch == losses.index(min(losses))
    training = [entry["train"]["loss"] for entry in whole.history]
    assert training == sorted(training, reverse=True)
    predicted = delta.predict(labels.structures[6:], weights=whole.best_weights)
    rmse = 1e3 * np.sqrt(
        np.mean((np.concatenate(predicted.forces_eV_per_A) - np.concatenate(validation.targets.forces_eV_per_A)) ** 2)
    )
    assert whole.history[whole.best_epoch]["validation"]["rmse_force_meV_per_A"] == pytest.approx(rmse, rel=1e-6)


def test_noise_is_not_taken_for_knowledge():
    rng = np.random.default_rng(5)
    cells = displaced(12)
    noise = Targets(
        rng.normal(0.0, 0.05, 12), tuple(rng.normal(0.0, 0.02, (30, 3)) for _ in cells), rng.normal(0.0, 1e-4, (12, 6))
    )
    labels = differences(cells, noise)
    train, validation = labels.subset(range(6)), labels.subset(range(6, 12))
    state = delta.start(seed=0, options=delta.TrainOptions(epochs=40, patience=10), train=train)
    state = delta.train_epochs(state, train, validation, 40)
    assert state.finished
    assert state.epoch <= state.best_epoch + 10
    assert "keep that potential" in state.notes[0]


def test_one_label_cannot_tell_whether_a_correction_is_better(trained):
    _, labels = trained
    state = delta.start(seed=0, options=delta.TrainOptions(epochs=20), train=labels.subset(range(6)))
    state = delta.train_epochs(state, labels.subset(range(6)), labels.subset([6]), 20)
    assert state.gain > 0.0
    assert state.gain_error is None
    assert "cannot tell" in state.notes[0]


def test_a_correction_is_continued_or_refused(trained):
    state, labels = trained
    again = delta.start(weights=state.best_weights, seed=0, options=state.options, train=labels)
    assert same(again.best_weights, state.best_weights)
    with pytest.raises(CampaignFileError, match="another form"):
        delta.start(weights=state.best_weights, seed=0, options=delta.TrainOptions(cutoff_A=5.0), train=labels)
    with pytest.raises(CampaignFileError, match="cannot forget"):
        delta.start(seed=0, train=labels, replay=labels)
    with pytest.raises(StageError):
        delta.start(seed=0)
    with pytest.raises(ValueError, match="cannot change"):
        delta.train_epochs(state, labels, None, 1, delta.TrainOptions(epochs=3))
    with pytest.raises(CampaignFileError, match="spacing_A"):
        delta.TrainOptions(spacing_A=0.0)


def test_the_term_of_dispersion_stays_a_term(trained):
    pytest.importorskip("dftd3")
    weights, cell = trained[0].best_weights, displaced(1, seed=9)[0]
    dispersion = {"method": "d3bj", "functional": "PBE"}
    plain, corrected = (load_potential("pair", weights=w).evaluate(cell) for w in (None, weights))
    dispersed, both = (load_potential("pair", weights=w, dispersion=dispersion).evaluate(cell) for w in (None, weights))
    assert both.energy_eV - corrected.energy_eV == pytest.approx(dispersed.energy_eV - plain.energy_eV, abs=1e-9)
    identity = load_potential("pair", weights=weights, dispersion=dispersion).identity
    assert identity.fine_tuned
    assert identity.energy_convention.startswith("pair potential + D3(BJ")
