"""A labeller in the role of a potential, so that what relaxes by potentials relaxes by a reference method too.

Each structure is calculated from scratch, in a folder of its own: the result depends on the structure alone, not on the
path by which it was reached. So a relaxation in parts equals one without interruption bit by bit, and the energy at its
end is that of a single point there. What it costs is the head start that the density of the step before would give.

The grid of k-points follows the cell as the spacing demands. Where a cell passes the size at which it changes, energies
have a step, of the size of their error by the k-points.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.labels.base import Label, Labeller, Progress
from superionic.labels.corrected import with_dispersion_term
from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction


class LabellerAsPotential(BasePotential):
    """Energies, forces and stresses of a labeller, with a dispersion term if one is given.

    Parameters
    ----------
    dispersion
        The term to add, as plain values of :class:`superionic.potentials.dispersion.Dispersion`.
    scratch
        Folder for files of the code.
    progress
        Called during each calculation with its fraction and a message.
    first
        A structure and its label (with dispersion) that are known, and not calculated again.

    Attributes
    ----------
    n_labels
        Number of structures calculated so far.
    last
        Label of the last structure; None before the first.
    """

    def __init__(
        self,
        labeller: Labeller,
        *,
        dispersion: Mapping[str, Any] | None = None,
        scratch: Path | None = None,
        progress: Progress | None = None,
        first: tuple[Atoms, Label] | None = None,
    ) -> None:
        identity = labeller.identity
        super().__init__(
            PotentialIdentity(
                name=identity.name,
                model=identity.functional,
                version=identity.version,
                checkpoint_sha256=identity.settings_hash,
                energy_convention=identity.energy_convention,
                level_of_theory=identity.functional,
                elements=(),
                licence="",
                engine=identity.engine,
            )
        )
        self._labeller, self._dispersion = labeller, dispersion
        self._scratch, self._progress, self._first = scratch, progress, first
        self.n_labels = 0
        self.last: Label | None = None

    def check_elements(self, atoms: Atoms) -> None:
        """Leave elements to the labeller, which raises PotentialError for one that it does not cover."""

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and, if ``stress``, the stress of ``atoms``; see :class:`BasePotential`.

        Raises
        ------
        CalculationFailed
            If the calculation does not converge, or the labeller gives no stress and one is needed.
        """
        self.last = label = self._label(atoms)
        if stress and label.stress_eV_per_A3 is None:
            raise CalculationFailed(f"{self.identity.name} gives no stress, by which the cell would relax")
        return Prediction(label.energy_eV, label.forces_eV_per_A, label.stress_eV_per_A3 if stress else None)

    def _label(self, atoms: Atoms) -> Label:
        if self._first is not None and _same(atoms, self._first[0]):
            return self._first[1]
        with tempfile.TemporaryDirectory(prefix="label-", dir=self._scratch) as folder:
            label = self._labeller.label(atoms, scratch=Path(folder), progress=self._progress)
        self.n_labels += 1
        return label if self._dispersion is None else with_dispersion_term(label, atoms, self._dispersion)


def _same(one: Atoms, other: Atoms) -> bool:
    """Whether two structures agree to the last bit."""
    return all(
        np.array_equal(a, b)
        for a, b in ((one.numbers, other.numbers), (one.positions, other.positions), (one.cell.array, other.cell.array))
    )
