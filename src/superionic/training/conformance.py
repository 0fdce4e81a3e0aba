"""Checks of a trainer that run where the trainer runs; the tests judge the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from superionic.training import chgnet
from superionic.training.dataset import LabelledSet, Targets


def resume_exactly(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Train in one run and in segments, on labels that are CHGNet's own with weaker forces (a task).

    Parameters
    ----------
    settings
        ``options`` of :class:`superionic.training.chgnet.TrainOptions`; ``shift_eV``: what is added to the label of
        each atom, to be found again by the reference fit.
    inputs, context
        Not needed.

    Returns
    -------
    dict
        Whether the two runs are ``identical`` in weights, moments and history; ``history``; ``best_epoch``;
        ``frozen``: names of parameters that did not change; ``eV_per_atom`` of the reference fit; ``predicted_change``:
        largest change of a predicted force in eV/Å between first and best weights; and ``another_seed``: whether
        another seed leads to other weights.
    """
    del inputs, context
    options = chgnet.TrainOptions.from_settings(settings["options"])
    labelled = small_set(float(settings.get("shift_eV", 0.0)))
    train, validation = labelled.subset([0, 1, 2]), labelled.subset([3])
    start = chgnet.start(seed=3, options=options, train=train)
    whole = chgnet.train_epochs(start, train, validation, options.epochs)
    parts = start
    while not parts.finished:
        parts = chgnet.TrainState.from_dict(chgnet.train_epochs(parts, train, validation, 1).to_dict())
    other = chgnet.train_epochs(chgnet.start(seed=4, options=options, train=train), train, validation, options.epochs)
    before = chgnet.predict(labelled.structures, weights=start.weights)
    after = chgnet.predict(labelled.structures, weights=whole.best_weights)
    changes = [np.abs(a - b).max() for a, b in zip(after.forces_eV_per_A, before.forces_eV_per_A, strict=True)]
    return {
        "identical": _identical(whole, parts),
        "another_seed": any(not np.array_equal(other.weights[key], whole.weights[key]) for key in whole.weights),
        "history": [dict(entry) for entry in whole.history],
        "best_epoch": whole.best_epoch,
        "epoch": whole.epoch,
        "frozen": [key for key in whole.weights if np.array_equal(whole.weights[key], start.weights[key])],
        "eV_per_atom": {} if start.references is None else dict(start.references.eV_per_atom),
        "predicted_change": float(max(changes)),
    }


def small_set(shift_eV: float) -> LabelledSet:
    """Give four LiCl cells of two atoms with CHGNet's own values: energies shifted, forces and stresses 0.8 of them."""
    half = 5.13 / 2.0
    cell = np.array([[0.0, half, half], [half, 0.0, half], [half, half, 0.0]])
    moves = np.random.default_rng(11).uniform(-0.2, 0.2, size=(4, 3))
    structures = [
        Atoms("LiCl", positions=[[0.0, 0.0, 0.0], np.full(3, half) + move], cell=cell, pbc=True) for move in moves
    ]
    own = chgnet.predict(structures)
    targets = Targets(
        own.energies_eV + 2.0 * shift_eV,
        tuple(0.8 * forces for forces in own.forces_eV_per_A),
        0.8 * own.stresses_eV_per_A3,
    )
    return LabelledSet(tuple(structures), targets, ("a", "a", "a", "b"), "none", "CHGNet, shifted")


def _identical(one: chgnet.TrainState, other: chgnet.TrainState) -> bool:
    arrays = ("weights", "first_moments", "second_moments", "best_weights")
    return one.history == other.history and all(
        getattr(one, name).keys() == getattr(other, name).keys()
        and all(np.array_equal(value, getattr(other, name)[key]) for key, value in getattr(one, name).items())
        for name in arrays
    )
