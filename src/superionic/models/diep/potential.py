"""DIEP 2.0 (direct integration of the external potential; Tawfik et al., Digital Discovery 2024): adapter.

The one model, ``"diep_fold1"``, comes with its wheel. Its energies are r2SCAN as in MatPES, total energies of atoms
included, in single precision. Its cutoffs are 5 Å for pairs and 4 Å for triplets, in three layers.

Option of :func:`load`: ``device`` ("cpu", "cuda").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes

from superionic.conventions import MATPES_R2SCAN
from superionic.errors import EngineError, PotentialError
from superionic.potentials import checkpoints
from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction
from superionic.potentials.elements import mptrj_elements

PINNED_VERSION: Final = "2.0.0"
_MODEL: Final = "diep_fold1"
_RECORD: Final = PotentialIdentity(
    name="diep",
    model=_MODEL,
    version=PINNED_VERSION,
    checkpoint_sha256="3be1df5dbe3d15e1d35a2ca1d3c50a6b212ea2d248c89e02d84fa780eb609576",
    energy_convention=MATPES_R2SCAN,
    level_of_theory="r2SCAN of MatPES",
    elements=mptrj_elements(),
    licence="BSD-3-Clause",
    engine="diep",
)


class DiepPotential(BasePotential):
    """DIEP; make it with :func:`load`."""

    def __init__(self, identity: PotentialIdentity, calculator: Any) -> None:
        super().__init__(identity)
        self._calculator = calculator

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`."""
        self.check_elements(atoms)
        cell = atoms.cell.array
        positions = checkpoints.wrapped_fractions(atoms, "DIEP") @ cell
        wrapped = Atoms(numbers=atoms.numbers, positions=positions, cell=cell, pbc=atoms.pbc)
        self._calculator.potential.calc_stresses = self._calculator.compute_stress = stress
        self._calculator.calculate(wrapped, ["energy", "forces"], all_changes)
        results = self._calculator.results
        voigt = checkpoints.voigt(np.array(results["stress"], dtype=np.float64)) if stress else None
        return Prediction(float(results["energy"]), np.array(results["forces"], dtype=np.float64), voigt)


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe the model without importing diep.

    Raises
    ------
    PotentialError
        If another model is named.
    """
    del options
    if model not in (None, _MODEL):
        raise PotentialError(f"DIEP has no model {model!r} here.", fix=f"Leave it out, or write {_MODEL}.")
    return _RECORD


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> DiepPotential:
    """Load DIEP.

    Parameters
    ----------
    model
        ``"diep_fold1"`` or None.
    weights
        Must be None: nothing trains it here.
    threads
        Threads of PyTorch, a setting of the whole process.
    device
        ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    EngineError
        If diep cannot be imported, or its checkpoint is not the one on record.
    PotentialError
        If the model is unknown, or weights are given.
    """
    record = describe(model)
    if weights is not None:
        raise PotentialError("DIEP takes no weights here.", fix="Leave them out.")
    import torch
    from diep.pretrained import DEFAULT_MODEL_DIR, make_calculator

    torch.set_num_threads(threads)
    state = DEFAULT_MODEL_DIR / "state.pt"
    if checkpoints.checksum(state) != record.checkpoint_sha256:
        raise EngineError(
            "The checkpoint of DIEP in this environment is not the one on record.",
            where=str(state),
            fix="Install the engine again: superionic engines install diep",
        )
    calculator = make_calculator(device=device)
    for parameter in calculator.potential.parameters():
        parameter.requires_grad_(False)
    return DiepPotential(replace(record, version=checkpoints.installed_version("diep")), calculator)
