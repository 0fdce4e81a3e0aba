"""Error of the model itself: what σ(T) and Ea by students of several teachers differ by.

The teachers are taken for a sample of the potentials that one could have trusted as well. The values stated are those
of the first, and the scatter of all of them is the only measure of how far the first may be off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy

from superionic.errors import AnalysisError
from superionic.transport.estimate import LEVEL_68
from superionic.units import BOLTZMANN_EV_PER_K

_ANGLES: Final = 400


@dataclass(frozen=True)
class LinePart:
    """A line of ln(σT), in S·K/cm: one of those whose weighted sum is σT."""

    weight: float
    ln_prefactor: float
    Ea_eV: float


@dataclass(frozen=True)
class TeacherLine:
    """σ(T) by the students of one teacher.

    Attributes
    ----------
    teacher
        Name of the teacher in the campaign.
    Ea_eV, Ea_error_eV
        Activation energy of the requested line, with its own error (statistics, orderings, transfer).
    parts
        Lines whose sum σ is read off: one, or one for each direction where these differ in activation energy.
    """

    teacher: str
    Ea_eV: float
    Ea_error_eV: float | None
    parts: tuple[LinePart, ...]

    def ln_sigma(self, temperature_K: float) -> float:
        """Return ln σ, with σ in S/cm, at a temperature."""
        inverse = 1.0 / (BOLTZMANN_EV_PER_K * temperature_K)
        terms = [math.log(part.weight) + part.ln_prefactor - part.Ea_eV * inverse for part in self.parts]
        return float(scipy.special.logsumexp(terms)) - math.log(temperature_K)


@dataclass(frozen=True)
class ModelForm:
    """σ(T) by students of several teachers, the first of which gives the values that are stated.

    Attributes
    ----------
    teachers
        The lines, two at least.
    """

    teachers: tuple[TeacherLine, ...]

    @property
    def Ea_scatter_eV(self) -> float:
        """Sample standard deviation of the activation energies."""
        return _scatter([each.Ea_eV for each in self.teachers])

    def ln_sigma_scatter(self, temperature_K: float) -> float:
        """Return the sample standard deviation of ln σ at a temperature."""
        return _scatter([each.ln_sigma(temperature_K) for each in self.teachers])

    def Ea_error_eV(self, level: float = LEVEL_68) -> float:
        """Return the half-width that the scatter alone gives the interval of Ea of a probability."""
        return width_factor(len(self.teachers), level) * self.Ea_scatter_eV

    def log_error(self, temperature_K: float, level: float = LEVEL_68) -> float:
        """Return the half-width that the scatter alone gives the interval of ln σ of a probability."""
        return width_factor(len(self.teachers), level) * self.ln_sigma_scatter(temperature_K)


@lru_cache(maxsize=64)
def width_factor(n_teachers: int, level: float) -> float:
    """Return the half-width of an interval about the first of n equal measurements, in units of their scatter.

    Where all x_i are normal about the truth with one unknown variance, ``x_1 ± factor · S`` holds the truth with the
    probability ``level``, whatever the variance is. S is the sample standard deviation of all, x_1 included. The truth
    differs from x_1 by the error of the mean, which over S is Student's t with n − 1 degrees of freedom over √n, and by
    the residual of x_1, which over S is (n − 1)/√n times one component of a random unit vector in n − 1 dimensions. The
    two are independent.

    Parameters
    ----------
    n_teachers
        Number of measurements, two at least.
    level
        Probability of the interval.

    Returns
    -------
    float
        1.56, 1.23 and 1.16 for two, three and four at 68.27 %; 9.0, 2.81 and 2.18 at 95 %.

    Raises
    ------
    AnalysisError
        For fewer than two measurements: they have no scatter.
    """
    n = n_teachers
    if n < 2:
        raise AnalysisError("One teacher has no scatter.", fix="Compare the students of two teachers at least.")
    angles = (np.arange(_ANGLES) + 0.5) * math.pi / _ANGLES
    component, weights = (np.ones(1), np.ones(1)) if n == 2 else (np.cos(angles), np.sin(angles) ** (n - 3))
    residual, weights = (n - 1) / math.sqrt(n) * component, weights / weights.sum()

    def excess(factor: float) -> float:
        ends = [scipy.special.stdtr(n - 1, math.sqrt(n) * (sign * factor - residual)) for sign in (1.0, -1.0)]
        return float(weights @ (ends[0] - ends[1])) - level

    return float(scipy.optimize.brentq(excess, 0.0, 1.0e6, xtol=1e-10))


def remainder(whole: float, other: float) -> float:
    """Return what an error adds, in quadrature, to another one to make the whole; 0 where that is no smaller."""
    return math.sqrt(max(whole**2 - other**2, 0.0))


def reaching(value: float, interval: tuple[float, float], log_width: float) -> tuple[float, float]:
    """Extend an interval of a positive number to no less than a half-width of its logarithm; an open end stays open."""
    if value <= 0.0:
        return interval
    factor = math.exp(min(log_width, 600.0))
    return min(interval[0], value / factor), max(interval[1], value * factor)


def _scatter(values: list[float]) -> float:
    return float(np.std(values, ddof=1))
