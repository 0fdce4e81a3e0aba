"""Conductivity from diffusivity."""

from __future__ import annotations

import math

from superionic.errors import AnalysisError
from superionic.transport.estimate import Estimate
from superionic.units import siemens_per_cm


def nernst_einstein(
    diffusivity_A2_per_ps: Estimate, *, n_ions: int, charge: float, volume_A3: float, temperature_K: float
) -> Estimate:
    """Return the Nernst–Einstein conductivity N z² e² D* / (V k_B T) in S/cm (paper A eq. 4 with H = 1; paper B eq. 4).

    Parameters
    ----------
    diffusivity_A2_per_ps
        Tracer diffusivity D*.
    n_ions
        Mobile ions in the cell.
    charge
        Charge number z, from the oxidation state; for ions of several charges the root mean square of z.

    Raises
    ------
    AnalysisError
        For a number of ions, volume or temperature that is not positive, or a charge of zero.
    """
    return diffusivity_A2_per_ps.scaled(_factor(n_ions, charge, volume_A3, temperature_K))


def ionic_conductivity(
    charge_diffusivity_A2_per_ps: Estimate, *, n_ions: int, charge: float, volume_A3: float, temperature_K: float
) -> Estimate:
    """Return the ionic conductivity N z² e² D_σ / (V k_B T) in S/cm, including correlations between ions.

    Parameters are those of :func:`nernst_einstein`, with D_σ (which carries the 1/N) in place of D*.
    """
    return charge_diffusivity_A2_per_ps.scaled(_factor(n_ions, charge, volume_A3, temperature_K))


def _factor(n_ions: int, charge: float, volume_A3: float, temperature_K: float) -> float:
    for name, value in (("number of ions", n_ions), ("volume", volume_A3), ("temperature", temperature_K)):
        if not (math.isfinite(value) and value > 0):
            raise AnalysisError(f"The {name} must be positive, not {value!r}.")
    if charge == 0.0 or not math.isfinite(charge):
        raise AnalysisError(f"The charge of the mobile ion must be a number other than zero, not {charge!r}.")
    return siemens_per_cm(n_ions * charge**2, volume_A3, temperature_K)
