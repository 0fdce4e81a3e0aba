"""The trainer that learns a small potential from labels alone."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from superionic.errors import CampaignFileError, StageError
from superionic.execution.codec import from_tree, to_tree
from superionic.models.nep import trainer as nep_labels
from superionic.potentials.base import load_potential
from superionic.training.base import options_of, trainer
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.metrics import errors

SMALL = {"n_radial": 4, "n_angular": 3, "l_max": 2, "n_neurons": 10, "cutoff_radial_A": 5.0, "cutoff_angular_A": 4.0}
OPTIONS = nep_labels.TrainOptions(epochs=20, batch_size=2, learning_rate=8.0e-3, **SMALL)


@pytest.fixture(scope="module")
def labelled():
    potential = load_potential("pair")
    structures = []
    for seed in range(14):
        atoms = bulk("LiCl", "rocksalt", a=5.3 + 0.02 * (seed % 3), cubic=True)
        atoms.rattle(0.12, seed=seed)
        structures.append(atoms)
    said = [potential.evaluate(atoms) for atoms in structures]
    targets = Targets(
        np.array([one.energy_eV for one in said]),
        tuple(one.forces_eV_per_A for one in said),
        np.array([one.stress_eV_per_A3 for one in said]),
    )
    return LabelledSet(tuple(structures), targets, tuple(f"run {i // 2}" for i in range(14)), "x", "pair")


def trained(labelled, options=OPTIONS, seed=1, parts=(20,)):
    state = nep_labels.start(seed=seed, options=options)
    train, validation = labelled.subset(range(10)), labelled.subset(range(10, 14))
    for n in parts:
        state = from_tree(to_tree(state), nep_labels.TrainState)
        state = nep_labels.train_epochs(state, train, validation, n, options)
    return state


def test_segments_equal_one_run_bit_for_bit(labelled):
    whole, cut = trained(labelled), trained(labelled, parts=(3, 10, 7))
    assert whole.history == cut.history
    assert (whole.epoch, whole.best_epoch, whole.finished) == (cut.epoch, cut.best_epoch, True)
    assert whole.best_weights is not None
    assert cut.best_weights is not None
    for name, value in whole.best_weights.items():
        assert np.array_equal(value, cut.best_weights[name]), name


def test_it_learns_and_its_weights_load_as_a_potential(labelled):
    state = trained(labelled)
    after = nep_labels.predict(labelled.structures, weights=state.best_weights)
    loaded = load_potential("nep", weights=state.best_weights)
    here = loaded.evaluate(labelled.structures[12])
    np.testing.assert_allclose(here.forces_eV_per_A, after.forces_eV_per_A[12], atol=1e-12)
    test = range(10, 14)
    flat = Targets(labelled.targets.energies_eV, tuple(np.zeros((8, 3)) for _ in range(14)), np.zeros((14, 6)))
    learned = errors(after.subset(test), labelled.targets.subset(test)).rmse_force_meV_per_A
    nothing = errors(flat.subset(test), labelled.targets.subset(test)).rmse_force_meV_per_A
    assert learned < 0.8 * nothing
    assert set(state.history[-1]["validation"]) >= {"loss", "rmse_force_meV_per_A", "rmse_energy_meV_per_atom"}
    assert np.max(loaded.extrapolation_grade(labelled.structures[0])) < 1.1


def test_patience_ends_a_training_at_the_same_epoch_however_it_is_cut(labelled):
    # A rate that falls to nothing at once stalls: no epoch is better by then.
    options = nep_labels.TrainOptions(epochs=20, learning_rate=0.08, patience=2, **SMALL)
    whole = trained(labelled, options)
    cut = trained(labelled, options, parts=(1, 4, 2, 13))
    assert whole.finished
    assert whole.epoch == cut.epoch
    assert whole.history == cut.history
    if whole.epoch < 20:
        assert whole.epoch - whole.best_epoch == 2


def test_other_seeds_make_other_potentials(labelled):
    one, other = trained(labelled, parts=(2,)), trained(labelled, seed=2, parts=(2,))
    assert not np.array_equal(one.best_weights["w0"], other.best_weights["w0"])


def test_the_shared_settings_of_a_campaign_reach_it():
    assert trainer("nep") is nep_labels
    found = options_of("nep", {"epochs": 7, "energy_weight": 2.0, "freeze": "none", "learning_rate": None}, SMALL)
    options = nep_labels.TrainOptions.from_settings(found)
    assert options.of_nep.epochs == 7
    assert options.of_nep.energy_weight == 40.0  # twice a NEP's own
    assert options.of_nep.stress_weight == 1.0
    with pytest.raises(CampaignFileError, match="n_neuron of the training"):
        options_of("nep", {}, {"n_neuron": 3})
    with pytest.raises(CampaignFileError):
        options_of("nep", {"epochs": -1})
    with pytest.raises(CampaignFileError):
        nep_labels.TrainOptions(patience=0)


def test_what_it_cannot_do_is_refused(labelled):
    with pytest.raises(CampaignFileError, match="replay"):
        nep_labels.start(seed=1, replay=labelled)
    with pytest.raises(StageError):
        nep_labels.train_epochs(nep_labels.start(seed=1), labelled.subset([]), None, 1)
    with pytest.raises(CampaignFileError):
        nep_labels.predict(labelled.structures)
    with pytest.raises(ValueError, match="cannot change"):
        nep_labels.train_epochs(nep_labels.start(seed=1), labelled, None, 1, OPTIONS)
