"""Vibrations of mobile ions: harmonic oscillators, whose frequency and amplitude are known."""

from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.observables.vibrations import SEEN_WELL, vibrations
from superionic.units import AMU_A2_PER_PS2_TO_EV, BOLTZMANN_EV_PER_K

DT_PS = 0.01
MASS_AMU = 6.94
T_K = 600.0


def thermal(frequencies_THz, *, n_frames=4000, dt_ps=DT_PS, seed=0, temperature_K=T_K):
    """Return isotropic harmonic ions in equilibrium: each coordinate has its amplitude and phase by chance."""
    rng = np.random.default_rng(seed)
    omega = 2.0 * np.pi * np.asarray(frequencies_THz)[:, None]
    spread = np.sqrt(BOLTZMANN_EV_PER_K * temperature_K / (MASS_AMU * AMU_A2_PER_PS2_TO_EV)) / omega
    a, b = rng.normal(size=(2, len(omega), 3)) * spread
    t = np.arange(n_frames)[:, None, None] * dt_ps
    return a * np.cos(omega * t) + b * np.sin(omega * t)


def test_an_oscillator_that_begins_at_its_turning_point_has_gemdats_numbers_exactly():
    frequency, amplitude = 5.0, 0.3
    t = np.arange(4001) * DT_PS
    x = np.zeros((len(t), 2, 3))
    x[:, 0, 0] = amplitude * np.cos(2 * np.pi * frequency * t)
    x[:, 1, 2] = -amplitude * np.cos(2 * np.pi * frequency * t)
    result = vibrations(x, DT_PS)
    assert result.attempt_frequency_THz == pytest.approx(frequency, rel=1e-3)
    assert result.attempt_frequency_spread_THz == pytest.approx(0.0, abs=1e-9)
    assert result.amplitude_A == pytest.approx(2.0 * amplitude, rel=1e-2)  # from one turning point to the other
    assert result.mean_frequency_THz == pytest.approx(frequency, rel=1e-3)
    peak = result.frequencies_THz[np.argmax(result.spectrum_per_THz)]
    assert peak == pytest.approx(frequency, abs=0.1)
    width = result.frequencies_THz[1] - result.frequencies_THz[0]
    assert result.spectrum_per_THz.sum() * width == pytest.approx(1.0)
    assert result.thermal_share is None
    assert result.flags == ()


def test_the_mean_frequency_of_thermal_ions_is_that_of_their_density_of_states():
    frequencies = np.repeat([4.0, 8.0, 12.0], 60)
    result = vibrations(thermal(frequencies), DT_PS, temperature_K=T_K, masses_amu=np.full(180, MASS_AMU))
    # Each coordinate holds k_B T/2 of kinetic energy whatever its frequency, so all count alike.
    assert result.mean_frequency_THz == pytest.approx(8.0, abs=4.0 * result.mean_frequency_error_THz)
    assert result.mean_frequency_error_THz < 0.4
    shown = np.mean(np.sinc(np.array([4.0, 8.0, 12.0]) * DT_PS) ** 2)
    assert result.thermal_share == pytest.approx(shown, rel=0.12)
    assert result.flags == ()


def test_gemdats_frequency_of_thermal_ions_is_what_its_definition_gives():
    from scipy.signal import periodogram

    x = thermal(np.full(20, 6.0), n_frames=3001)
    speed = np.diff(np.linalg.norm(x - x[0], axis=2), axis=0).T
    f, power = periodogram(speed, 1.0 / DT_PS, axis=-1)
    theirs = power @ f / power.sum(axis=1)
    result = vibrations(x, DT_PS)
    assert result.attempt_frequency_THz == pytest.approx(theirs.mean(), rel=2e-3)
    assert result.attempt_frequency_spread_THz == pytest.approx(theirs.std(), rel=2e-2)


def test_frames_that_are_too_far_apart_give_no_frequency_but_words():
    result = vibrations(thermal(np.full(30, 8.0), dt_ps=0.1), 0.1, temperature_K=T_K, masses_amu=np.full(30, MASS_AMU))
    assert result.thermal_share < SEEN_WELL
    assert (result.attempt_frequency_THz, result.amplitude_A, result.mean_frequency_THz) == (None, None, None)
    assert "do not show how the ions vibrate" in result.flags[0]


def test_ions_that_are_faster_than_their_temperature_are_said():
    masses = np.full(60, MASS_AMU)
    result = vibrations(thermal(np.full(60, 6.0)), DT_PS / 2.0, temperature_K=T_K, masses_amu=masses)
    assert result.thermal_share == pytest.approx(4.0, rel=0.25)  # half the time: four times the speed²
    assert "check the temperature and the time between frames" in result.flags[0]


@pytest.mark.parametrize(
    ("shape", "words"), [((10, 2, 3), "too few"), ((100, 2), "shape"), ((100, 2, 3), "do not move")]
)
def test_what_has_no_frequency_is_refused(shape, words):
    with pytest.raises(AnalysisError, match=words):
        vibrations(np.zeros(shape), DT_PS)
