"""Training of the student: its gradient, its exact resumption, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from superionic.errors import CalculationFailed, CampaignFileError, PotentialError, StageError
from superionic.execution.codec import from_tree, to_tree
from superionic.models.nep import fit as nep
from superionic.models.nep.fit import NepOptions, NepState, continue_with, finish, predict, start, train_epochs
from superionic.models.nep.model import LEARNED
from superionic.models.nep.potential import NepPotential
from superionic.models.nep.state import zeros_like
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.metrics import errors

SMALL = NepOptions(
    n_radial=5, n_angular=4, basis_radial=7, basis_angular=6, l_max=3, n_neurons=12, epochs=4, warmup_steps=5
)


def labelled(count: int, seed: int = 0, *, stress: bool = True) -> LabelledSet:
    """Rattled and strained crystals, labelled by the pair potential."""
    teacher = load_potential("pair")
    rng = np.random.default_rng(seed)
    structures, made = [], []
    for _ in range(count):
        atoms = li3ycl6_cell()
        strain = np.eye(3) + 0.02 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.positions += 0.15 * rng.normal(size=atoms.positions.shape)
        structures.append(atoms)
        made.append(teacher.evaluate(atoms))
    targets = Targets(
        np.array([one.energy_eV for one in made]),
        tuple(one.forces_eV_per_A for one in made),
        np.array([one.stress_eV_per_A3 if stress else np.full(6, np.nan) for one in made]),
    )
    return LabelledSet(tuple(structures), targets, tuple(map(str, range(count))), "pair", "pair")


@pytest.mark.parametrize("stress", [True, False])
def test_the_gradient_is_that_of_the_loss(stress: bool) -> None:
    train = labelled(3, stress=stress)
    options = replace(SMALL, l_max=4, energy_weight=3.0, stress_weight=2.0)
    state = start(train, options, 1)
    parameters = state.model.kernel_arrays()
    item = nep._prepare(train, state.model)[1]
    gradient = zeros_like(state.model)
    nep._add_gradient(parameters, item, options, 1.0, gradient)

    def loss() -> float:
        return float(nep._loss(item, options, *nep._evaluated(parameters, item))[0][0])

    rng = np.random.default_rng(0)
    for name in LEARNED:
        flat, slopes = parameters[name].reshape(-1), gradient[name].reshape(-1)
        probes = {int(np.argmax(np.abs(slopes))), *map(int, rng.integers(0, len(flat), 3))}
        for k in probes:
            kept, step = flat[k], 1e-5
            flat[k] = kept + step
            above = loss()
            flat[k] = kept - step
            below = loss()
            flat[k] = kept
            expected = (above - below) / (2.0 * step)
            assert slopes[k] == pytest.approx(expected, rel=2e-5, abs=2e-6 * np.abs(slopes).max()), name


def test_a_training_is_the_same_however_it_is_cut() -> None:
    train, validation = labelled(12), labelled(4, seed=9)
    whole = train_epochs(start(train, SMALL, 5), train, validation, 4, SMALL)
    cut = start(train, SMALL, 5)
    for n in (1, 2, 3):
        cut = train_epochs(from_tree(to_tree(cut), NepState), train, validation, n, SMALL)
    assert cut.epoch == whole.epoch == 4
    assert cut.history == whole.history
    for name, array in whole.best_model.to_arrays().items():
        assert np.array_equal(cut.best_model.to_arrays()[name], array), name
    again = train_epochs(whole, train, validation, 3, SMALL)
    assert again.epoch == 4, "a finished training does nothing more"
    other = train_epochs(start(train, SMALL, 6), train, validation, 4, SMALL)
    assert not np.array_equal(other.model.w0, whole.model.w0), "members of a committee differ"


def test_it_learns_energies_forces_and_stresses() -> None:
    train, test = labelled(40), labelled(8, seed=77)
    options = replace(SMALL, epochs=80, learning_rate=4e-3)
    state = train_epochs(start(train, options, 0), train, labelled(6, seed=5), 80, options)
    weights = finish(state, train)
    found = errors(predict(weights, test.structures), test.targets)
    forces = np.concatenate(test.targets.forces_eV_per_A)
    assert found.rmse_force_meV_per_A < 0.3 * 1000.0 * np.sqrt(np.mean(forces**2))
    spread = np.std(test.targets.energies_eV / 30) * 1000.0
    assert found.rmse_energy_meV_per_atom < 0.25 * spread
    assert found.rmse_stress_GPa is not None
    assert found.rmse_stress_GPa < 0.35 * 160.2 * np.std(test.targets.stresses_eV_per_A3[:, :3])

    student = load_potential("nep", weights=weights, energy_convention="pair")
    assert isinstance(student, NepPotential)
    assert student.identity.energy_convention == "pair"
    assert max(student.extrapolation_grade(atoms).max() for atoms in train.structures) < 1.03
    hot = train.structures[0].copy()
    hot.positions += 0.5 * np.random.default_rng(1).normal(size=hot.positions.shape)
    assert student.extrapolation_grade(hot).max() > 3.0


def test_a_refit_goes_on_from_the_best_and_learns_new_data() -> None:
    train, more = labelled(16), labelled(10, seed=3)
    state = train_epochs(start(train, SMALL, 0), train, more, 4, SMALL)
    refit = continue_with(state, epochs=6, learning_rate=1e-3)
    assert refit.best_loss is None
    done = train_epochs(refit, more, train, 100)
    assert done.epoch == 10
    before, after = (errors(predict(s.best_model, more.structures), more.targets) for s in (state, done))
    assert after.rmse_force_meV_per_A < before.rmse_force_meV_per_A


def test_the_core_ends_before_the_shortest_distance_seen() -> None:
    train = labelled(10)
    model = start(train, SMALL, 0).model
    lithium, chlorine = (list(model.elements).index(symbol) for symbol in ("Li", "Cl"))
    shortest = min(
        atoms.get_all_distances(mic=True)[np.ix_(atoms.numbers == 3, atoms.numbers == 17)].min()
        for atoms in train.structures
    )
    assert model.zbl_outer_A[lithium, chlorine] == pytest.approx(0.95 * min(shortest, 2.5 / 0.95))
    assert np.array_equal(model.zbl_outer_A, model.zbl_outer_A.T)


def test_bad_data_and_options_are_refused_with_the_reason() -> None:
    train = labelled(3)
    broken = replace(
        train,
        targets=Targets(
            np.array([np.nan, 0.0, 0.0]), train.targets.forces_eV_per_A, np.array(train.targets.stresses_eV_per_A3)
        ),
    )
    state = start(train, SMALL, 0)
    with pytest.raises(CalculationFailed, match="no longer finite"):
        train_epochs(state, broken, None, 1)
    foreign = replace(
        train, structures=tuple(Atoms("Na30", positions=a.positions, cell=a.cell, pbc=True) for a in train.structures)
    )
    with pytest.raises(PotentialError, match="Na"):
        train_epochs(state, foreign, None, 1)
    with pytest.raises(StageError, match="nothing to train"):
        start(train.subset([]), SMALL, 0)
    with pytest.raises(ValueError, match="cannot change"):
        train_epochs(state, train, None, 1, replace(SMALL, epochs=9))
    with pytest.raises(CampaignFileError, match="l_max, cutoff_angular_A"):
        NepOptions(l_max=5, cutoff_angular_A=7.0)
