"""Units, and the only place where they are converted.

Inside superionic: Å, ps (fs for time steps), eV, K, amu, e. Constants are CODATA 2022 (k_B and e are exact in
the SI since 2019), as in the current :mod:`scipy.constants`.
"""

from __future__ import annotations

from typing import Final

ELEMENTARY_CHARGE_C: Final = 1.602176634e-19
"""Elementary charge in coulomb (exact in the SI of 2019)."""

BOLTZMANN_EV_PER_K: Final = 8.617333262145179e-05
"""Boltzmann constant in eV/K (exact ratio k_B/e of the SI of 2019)."""

COULOMB_EV_A: Final = 14.399645468667815
"""Coulomb constant e²/(4πε₀) in eV·Å (CODATA 2022)."""

GPA_PER_EV_PER_A3: Final = 160.2176634
"""1 eV/Å³ in GPa (exact)."""

BAR_PER_GPA: Final = 1.0e4

AMU_A2_PER_PS2_TO_EV: Final = 1.0364269661e-4
"""1 amu Å²/ps² in eV (CODATA 2022)."""

A2_PER_PS_TO_CM2_PER_S: Final = 1.0e-4
"""1 Å²/ps = 1e-16 cm² / 1e-12 s."""


def cm2_per_s(diffusivity_A2_per_ps: float) -> float:
    """Convert a diffusivity from Å²/ps to cm²/s."""
    return diffusivity_A2_per_ps * A2_PER_PS_TO_CM2_PER_S


def gpa(stress_eV_per_A3: float) -> float:
    """Convert a stress from eV/Å³ to GPa."""
    return stress_eV_per_A3 * GPA_PER_EV_PER_A3


def ev_per_A3(pressure_GPa: float) -> float:
    """Convert a pressure from GPa to eV/Å³."""
    return pressure_GPa / GPA_PER_EV_PER_A3


def siemens_per_cm(charge_flux_e2_A2_per_ps: float, volume_A3: float, temperature_K: float) -> float:
    """Convert Σ q² D / (k_B T V), the Nernst–Einstein sum, to S/cm.

    Parameters
    ----------
    charge_flux_e2_A2_per_ps
        N q² D in e²·Å²/ps, for N ions of charge q (in e) and diffusivity D (in Å²/ps).
    volume_A3
        Volume of the cell that holds the N ions, in Å³.
    """
    # e²/(eV·Å·ps) = e/(V·Å·ps); 1 C/(V·m·s) = 1 S/m, hence e [C] · 1e10 [1/m] · 1e12 [1/s], and 1 S/m = 0.01 S/cm.
    per_volume = charge_flux_e2_A2_per_ps / (BOLTZMANN_EV_PER_K * temperature_K * volume_A3)
    return per_volume * ELEMENTARY_CHARGE_C * 1.0e22 * 1.0e-2
