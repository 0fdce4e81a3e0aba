from __future__ import annotations

import numpy as np
import pytest

from superionic.training.dataset import Targets
from superionic.training.metrics import errors, softness_words, stress_bias_words
from superionic.units import GPA_PER_EV_PER_A3


def targets(energies: list[float], force: float, stresses: np.ndarray) -> Targets:
    return Targets(np.array(energies), (np.full((2, 3), force), np.full((4, 3), force)), stresses)


def test_known_errors() -> None:
    reference = targets([0.0, 0.0], 0.0, np.zeros((2, 6)))
    stress = np.array([[0.01, 0, 0, 0.02, 0, 0], [np.nan] * 6])
    metrics = errors(targets([0.002, -0.012], 0.05, stress), reference)
    # 1 and -3 meV/atom; 50 meV/Å everywhere; of nine components 0.01 once and 0.02 twice.
    assert metrics.mae_energy_meV_per_atom == pytest.approx(2.0)
    assert metrics.rmse_energy_meV_per_atom == pytest.approx(np.sqrt(5.0))
    assert metrics.mean_error_energy_meV_per_atom == pytest.approx(-1.0)
    assert metrics.mae_force_meV_per_A == pytest.approx(50.0)
    assert metrics.rmse_force_meV_per_A == pytest.approx(50.0)
    assert metrics.mae_stress_GPa == pytest.approx(GPA_PER_EV_PER_A3 * 0.05 / 9)
    assert metrics.rmse_stress_GPa == pytest.approx(GPA_PER_EV_PER_A3 * np.sqrt((0.01**2 + 2 * 0.02**2) / 9))
    assert (metrics.n_structures, metrics.n_forces, metrics.n_stresses) == (2, 18, 9)


def test_without_any_stress_its_error_is_none() -> None:
    side = targets([0.0, 0.0], 0.0, np.full((2, 6), np.nan))
    assert errors(side, side).mae_stress_GPa is None


def test_different_structures_are_refused() -> None:
    side = targets([0.0, 0.0], 0.0, np.zeros((2, 6)))
    with pytest.raises(ValueError, match="same ones"):
        errors(side, side.subset([0]))
    with pytest.raises(ValueError, match="numbers of atoms"):
        errors(side, side.subset([1, 0]))


def softened(scale: float, noise: float, n: int, seed: int, bias: float = 0.0) -> tuple[Targets, Targets]:
    """Reference forces and stresses, and those of a potential that is ``scale`` times as stiff, with noise."""
    rng = np.random.default_rng(seed)
    forces = tuple(rng.normal(0.0, rng.uniform(0.3, 2.0), (20, 3)) for _ in range(n))
    stresses = rng.normal(0.0, 0.01, (n, 6))
    shift = bias / GPA_PER_EV_PER_A3 * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    soft = tuple(scale * one + rng.normal(0.0, noise, one.shape) for one in forces)
    reference = Targets(np.zeros(n), forces, stresses)
    return Targets(np.zeros(n), soft, stresses + shift + rng.normal(0.0, 1e-4, (n, 6))), reference


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.0, 1.3])
def test_the_slope_of_scaled_forces_is_the_scale_and_its_interval_holds(scale: float) -> None:
    held, seeds = 0, 60
    for seed in range(seeds):
        metrics = errors(*softened(scale, 0.3, 40, seed))
        assert metrics.force_slope == pytest.approx(scale, abs=0.04)
        low, high = metrics.force_slope_interval95 or (0.0, 0.0)
        assert high - low < 0.06
        held += low <= scale <= high
    assert held >= 0.87 * seeds  # 95 % by bootstrap over 40 structures; four standard errors are 11 %
    exact = errors(*softened(scale, 0.0, 5, 0))
    assert exact.force_slope == pytest.approx(scale, rel=1e-12)
    assert exact.force_slope_interval95 == pytest.approx((scale, scale), rel=1e-12)


def test_what_the_slope_cannot_say_is_none() -> None:
    at_rest = targets([0.0, 0.0], 0.0, np.zeros((2, 6)))
    assert errors(at_rest, at_rest).force_slope is None
    moving = targets([0.0, 0.0], 0.5, np.zeros((2, 6)))
    assert errors(moving, moving).force_slope == 1.0
    single = errors(moving.subset([0]), moving.subset([0]))
    assert (single.force_slope, single.force_slope_interval95) == (1.0, None)


@pytest.mark.parametrize(("bias", "way"), [(-0.4, "large"), (0.4, "small"), (0.05, None)])
def test_the_bias_of_stresses_is_signed_and_says_which_way_cells_err(bias: float, way: str | None) -> None:
    metrics = errors(*softened(1.0, 0.1, 30, 1, bias))
    assert metrics.mean_error_stress_GPa == pytest.approx(bias, abs=0.01)
    words = stress_bias_words(metrics)
    assert words is None if way is None else words is not None and words.endswith(f"come out too {way}")
    assert words is None or f"({10 * bias:+.2g} kbar)" in words
    assert stress_bias_words(metrics, None) is None


def test_a_soft_potential_is_called_so_and_a_stiff_one_too() -> None:
    soft, right, stiff = (errors(*softened(scale, 0.1, 30, 2)) for scale in (0.77, 0.97, 1.2))
    assert (softness_words(soft) or "").startswith("too soft: its forces are 0.77 times those of the reference (95 %")
    assert "melts too early" in (softness_words(soft) or "")
    assert softness_words(right) is None
    assert (softness_words(stiff) or "").startswith("too stiff")
    assert softness_words(soft, 0.7) is None
    assert softness_words(soft, None) is None
