from __future__ import annotations

import numpy as np
import pytest

from superionic.training.dataset import Targets
from superionic.training.metrics import errors
from superionic.units import GPA_PER_EV_PER_A3


def targets(energies: list[float], force: float, stresses: np.ndarray) -> Targets:
    return Targets(np.array(energies), (np.full((2, 3), force), np.full((4, 3), force)), stresses)


def test_known_errors() -> None:
    reference = targets([0.0, 0.0], 0.0, np.zeros((2, 6)))
    stress = np.array([[0.01, 0, 0, 0.02, 0, 0], [np.nan] * 6])
    found = errors(targets([0.002, -0.012], 0.05, stress), reference)
    # 1 and -3 meV/atom; 50 meV/Å everywhere; of nine components 0.01 once and 0.02 twice.
    assert found.mae_energy_meV_per_atom == pytest.approx(2.0)
    assert found.rmse_energy_meV_per_atom == pytest.approx(np.sqrt(5.0))
    assert found.mean_error_energy_meV_per_atom == pytest.approx(-1.0)
    assert found.mae_force_meV_per_A == pytest.approx(50.0)
    assert found.rmse_force_meV_per_A == pytest.approx(50.0)
    assert found.mae_stress_GPa == pytest.approx(GPA_PER_EV_PER_A3 * 0.05 / 9)
    assert found.rmse_stress_GPa == pytest.approx(GPA_PER_EV_PER_A3 * np.sqrt((0.01**2 + 2 * 0.02**2) / 9))
    assert (found.n_structures, found.n_forces, found.n_stresses) == (2, 18, 9)


def test_without_any_stress_its_error_is_none() -> None:
    side = targets([0.0, 0.0], 0.0, np.full((2, 6), np.nan))
    assert errors(side, side).mae_stress_GPa is None


def test_different_structures_are_refused() -> None:
    side = targets([0.0, 0.0], 0.0, np.zeros((2, 6)))
    with pytest.raises(ValueError, match="same ones"):
        errors(side, side.subset([0]))
    with pytest.raises(ValueError, match="numbers of atoms"):
        errors(side, side.subset([1, 0]))
