"""Checks of the contract of :mod:`superionic.training.base`, run in a trainer's environment and judged by the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from superionic.training.base import Trainer, trainer
from superionic.training.dataset import LabelledSet, Targets


def resume_exactly(
    settings: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, context: Any = None
) -> dict[str, Any]:
    """Train in one run and in segments, on labels that are the model's own values with weaker forces (a task).

    Parameters
    ----------
    settings
        ``trainer`` (its name; chgnet by default), ``model`` and ``file`` to start from, ``options``; ``shift_eV``:
        energy added to the label per atom, which the reference fit must recover.

    Returns
    -------
    dict
        Whether the final states of the two runs are ``identical``; ``history``; ``best_epoch``; ``frozen``: names of
        parameters that did not change; ``eV_per_atom`` of the reference fit; ``predicted_change``: largest change of a
        predicted force in eV/Å between initial and best weights; ``another_seed``: whether another seed leads to other
        weights; ``mutated``: whether training modified the state it started from; ``loaded_force_eV_per_A``: largest
        difference between the potential, loaded with the best weights, and the trainer's own prediction; ``exported``:
        whether a file with these weights gives the same energies and forces bit for bit; and ``options_refused``:
        whether unknown options are refused, and options that differ from the state's.
    """
    del inputs, context
    trainer_module = trainer(settings.get("trainer", "chgnet"))
    model, file = settings.get("model"), settings.get("file")
    options = trainer_module.TrainOptions.from_settings(settings["options"])
    labelled = small_set(trainer_module, float(settings.get("shift_eV", 0.0)), model, file)
    train, validation = labelled.subset([0, 1, 2]), labelled.subset([3])

    def begin(seed: int) -> Any:
        return trainer_module.start(model, file=file, seed=seed, options=options, train=train)

    start = begin(3)
    before_training = deepcopy(start)
    whole = trainer_module.train_epochs(start, train, validation, options.epochs)
    parts = first = trainer_module.train_epochs(begin(3), train, validation, 1)
    while not parts.finished:
        parts = trainer_module.train_epochs(parts, train, validation, 1)
    other = trainer_module.train_epochs(begin(4), train, validation, 1)
    before = trainer_module.predict(labelled.structures, model=model, file=file, weights=start.best_weights)
    after = trainer_module.predict(labelled.structures, model=model, file=file, weights=whole.best_weights)
    changes = [np.abs(a - b).max() for a, b in zip(after.forces_eV_per_A, before.forces_eV_per_A, strict=True)]
    return {
        "identical": same(whole, parts),
        "another_seed": not same(dict(other.weights), dict(first.weights)),
        "mutated": not same(start, before_training),
        "history": [dict(entry) for entry in whole.history],
        "best_epoch": whole.best_epoch,
        "epoch": whole.epoch,
        "frozen": [key for key in whole.weights if np.array_equal(whole.weights[key], start.weights[key])],
        "eV_per_atom": {} if start.references is None else dict(start.references.eV_per_atom),
        "predicted_change": float(max(changes)),
        **_loaded(settings, whole.best_weights, labelled, after),
        "options_refused": _refuses(trainer_module, whole, train),
    }


def small_set(
    trainer_module: Trainer, shift_eV: float, model: str | None = None, file: str | None = None
) -> LabelledSet:
    """Return four LiCl cells of two atoms with the model's own values: energies shifted, forces and stresses × 0.8."""
    half = 5.13 / 2.0
    cell = np.array([[0.0, half, half], [half, 0.0, half], [half, half, 0.0]])
    moves = np.random.default_rng(11).uniform(-0.2, 0.2, size=(4, 3))
    structures = [
        Atoms("LiCl", positions=[[0.0, 0.0, 0.0], np.full(3, half) + move], cell=cell, pbc=True) for move in moves
    ]
    own = trainer_module.predict(structures, model=model, file=file)
    targets = Targets(
        own.energies_eV + 2.0 * shift_eV,
        tuple(0.8 * forces for forces in own.forces_eV_per_A),
        0.8 * own.stresses_eV_per_A3,
    )
    return LabelledSet(tuple(structures), targets, ("a", "a", "a", "b"), "none", "the model's own, shifted")


def same(one: Any, other: Any) -> bool:
    """Return whether two states, of plain values, arrays and structures, are equal bit for bit."""
    if is_dataclass(one):
        return type(one) is type(other) and same(vars(one), vars(other))
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and one.dtype == other.dtype
            and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        )
    if isinstance(one, Atoms):
        return isinstance(other, Atoms) and one == other
    if isinstance(one, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other or (one != one and other != other))  # noqa: PLR0124 - NaN equals NaN here


def _loaded(
    settings: Mapping[str, Any], weights: Mapping[str, Any], labelled: LabelledSet, predicted: Targets
) -> dict[str, Any]:
    """Load the potential with the weights, as a campaign does after training, and from a file of its own."""
    from superionic.potentials.base import load_potential, weights_sha256
    from superionic.potentials.exported import Exported, write_exported

    more = dict(settings.get("potential_options", {}))
    if settings.get("file") is not None:
        more["file"] = settings["file"]
    name, model = settings.get("trainer", "chgnet"), settings.get("model")
    potential = load_potential(name, model=model, weights=weights, **more)
    evaluated = [potential.evaluate(atoms) for atoms in labelled.structures]
    base = more.pop("file", None)
    identity = {**asdict(potential.identity), "checkpoint_sha256": weights_sha256(weights)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trained.potential"
        write_exported(file, Exported(identity, model, more, {}), weights, None if base is None else Path(base))
        again = load_potential(name, file=str(file))
    predictions = zip(evaluated, map(again.evaluate, labelled.structures), strict=True)
    pairs = zip(evaluated, predicted.forces_eV_per_A, strict=True)
    return {
        "loaded_force_eV_per_A": float(max(np.abs(own.forces_eV_per_A - forces).max() for own, forces in pairs)),
        "exported": all(same(vars(own), vars(other)) for own, other in predictions)
        and again.identity.energy_convention == potential.identity.energy_convention,
    }


def _refuses(trainer_module: Trainer, state: Any, train: LabelledSet) -> bool:
    from superionic.errors import CampaignFileError

    changed = replace(state.options, batch_size=state.options.batch_size + 1)
    try:
        trainer_module.train_epochs(state, train, None, 1, changed)
    except ValueError:
        pass
    else:
        return False
    try:
        trainer_module.TrainOptions.from_settings({"no_such_option": 1})
    except CampaignFileError:
        return True
    return False
