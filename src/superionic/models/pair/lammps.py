"""The pair potential as LAMMPS commands."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import erfc

from superionic.models.pair.potential import PairPotential, load
from superionic.units import COULOMB_EV_A


def lammps_lines(symbols: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the lines of a LAMMPS input that select the potential with these options."""
    return list(pair_commands(load(**options), symbols))


def pair_commands(potential: PairPotential, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the commands with which LAMMPS itself evaluates the pair potential, without its self-energy.

    ``pair_style lepton`` (package LEPTON) differentiates a formula, so the potential agrees to rounding.
    ``born/coul/dsf`` has the same forces except for the shift of the repulsion (1e-7 eV/Å), but its energy lacks the
    constant of the shifted force, and so jumps as ions cross the cutoff.

    Parameters
    ----------
    symbols
        Chemical symbol of each type, in order.
    """
    p = potential.parameters
    alpha, cutoff, rho = p.damping_per_A, p.cutoff_A, p.softness_A
    coulomb = float(erfc(alpha * cutoff)) / cutoff
    coulomb_slope = -coulomb / cutoff - 2.0 * alpha / np.sqrt(np.pi) * np.exp(-((alpha * cutoff) ** 2)) / cutoff
    lines = [f"pair_style lepton {cutoff!r}"]
    for (i, first), (j, second) in itertools.combinations_with_replacement(enumerate(symbols, start=1), 2):
        contact = p.radii_A[first] + p.radii_A[second]
        qq = COULOMB_EV_A * p.charge_scale**2 * p.charges_e[first] * p.charges_e[second]
        strength = p.contact_force_ratio * rho * abs(qq) / contact**2
        end = strength * np.exp((contact - cutoff) / rho)
        slope = float(-end / rho + qq * coulomb_slope)
        constant = float(-(end + qq * coulomb) + cutoff * slope)
        formula = f"{strength!r}*exp(({contact!r}-r)/{rho!r})+({qq!r})*erfc({alpha!r}*r)/r-({slope!r})*r+({constant!r})"
        lines.append(f'pair_coeff {i} {j} "{formula}"')
    return tuple(lines)


def pair_self_energy_eV(potential: PairPotential, symbols: Sequence[str]) -> float:
    """Return the self-energy that ``pair_commands`` leaves out, for atoms of these symbols, in eV."""
    p = potential.parameters
    at_cutoff = float(erfc(p.damping_per_A * p.cutoff_A)) / p.cutoff_A
    squares = sum((p.charge_scale * p.charges_e[symbol]) ** 2 for symbol in symbols)
    return float(-COULOMB_EV_A * (0.5 * at_cutoff + p.damping_per_A / np.sqrt(np.pi)) * squares)
