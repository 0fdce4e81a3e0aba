"""A pair potential for ionic crystals: fast, deterministic and smooth, for tests and as an explicit placeholder.

Each pair of ions i, j at distance r has

    u(r) = b_ij exp((R_i + R_j - r)/rho) + (e²/4πε₀) q_i q_j erfc(alpha r)/r,

Born–Mayer repulsion between ions of radii R (the form of Fumi and Tosi, J. Phys. Chem. Solids 25, 31 (1964), without
dispersion) and a Coulomb term damped as in the damped shifted-force method of Fennell and Gezelter, J. Chem. Phys. 124,
234104 (2006). The repulsion is such that at contact, r = R_i + R_j, its force is a fixed fraction f of the bare Coulomb
force, b_ij = f rho (e²/4πε₀) |q_i q_j|/(R_i + R_j)²: otherwise highly charged ions would collapse onto each other. Both
terms are shifted in energy and force, u(r) - u(r_c) - (r - r_c) u'(r_c), so that energy and forces go to zero
continuously at the cutoff r_c. The constant self term of the damped method is included:
-(e²/4πε₀) Σ q_i² [erfc(alpha r_c)/(2 r_c) + alpha/√π].

Radii are Shannon's effective ionic radii (Acta Cryst. A32, 751 (1976)) for the usual charge and coordination. The
defaults give the lattice constants of NaCl, LiCl, KBr, LiF, MgO and CaF2 within 7 % of experiment (tested);
``charge_scale`` scales all energies without changing static geometries. It is a model potential: its energies are good
for testing a workflow, never for a statement about a material.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.special import erfc

from superionic.errors import PotentialError
from superionic.potentials import checkpoints
from superionic.potentials.base import BasePotential, FloatArray, PotentialIdentity, Prediction
from superionic.potentials.neighbours import pairs_within
from superionic.units import COULOMB_EV_A

# Version of the formula and its defaults: a change of either is a new version, since results on record depend on it.
_VERSION = "1"

# symbol: (formal charge in e, effective ionic radius in Å)
_IONS: dict[str, tuple[float, float]] = {
    "H": (1, 0.30), "Li": (1, 0.76), "Be": (2, 0.45), "B": (3, 0.27), "C": (4, 0.16), "N": (-3, 1.46), "O": (-2, 1.40),
    "F": (-1, 1.33), "Na": (1, 1.02), "Mg": (2, 0.72), "Al": (3, 0.535), "Si": (4, 0.40), "P": (5, 0.38),
    "S": (-2, 1.84), "Cl": (-1, 1.81), "K": (1, 1.38), "Ca": (2, 1.00), "Sc": (3, 0.745), "Ti": (4, 0.605),
    "V": (5, 0.54),
    "Cr": (3, 0.615), "Mn": (2, 0.83), "Fe": (3, 0.645), "Co": (3, 0.61), "Ni": (2, 0.69), "Cu": (1, 0.77),
    "Zn": (2, 0.74), "Ga": (3, 0.62), "Ge": (4, 0.53), "As": (5, 0.46), "Se": (-2, 1.98), "Br": (-1, 1.96),
    "Rb": (1, 1.52), "Sr": (2, 1.18), "Y": (3, 0.90), "Zr": (4, 0.72), "Nb": (5, 0.64), "Mo": (6, 0.59),
    "Ag": (1, 1.15), "Cd": (2, 0.95), "In": (3, 0.80), "Sn": (4, 0.69), "Sb": (5, 0.60), "Te": (-2, 2.21),
    "I": (-1, 2.20), "Cs": (1, 1.67), "Ba": (2, 1.35), "La": (3, 1.032), "Ce": (3, 1.01), "Pr": (3, 0.99),
    "Nd": (3, 0.983), "Sm": (3, 0.958), "Eu": (3, 0.947), "Gd": (3, 0.938), "Tb": (3, 0.923), "Dy": (3, 0.912),
    "Ho": (3, 0.901), "Er": (3, 0.890), "Tm": (3, 0.880), "Yb": (3, 0.868), "Lu": (3, 0.861), "Hf": (4, 0.71),
    "Ta": (5, 0.64), "W": (6, 0.60), "Pb": (2, 1.19), "Bi": (3, 1.03),
}  # fmt: skip


@dataclass(frozen=True)
class PairParameters:
    """Parameters of the potential.

    Attributes
    ----------
    charges_e
        Charge of each element in e, before scaling.
    radii_A
        Radius of each element in Å.
    charge_scale
        Factor on all charges.
    contact_force_ratio
        f, the ratio of the repulsive to the bare Coulomb force of two ions in contact.
    softness_A
        rho, the length over which the repulsion falls by a factor of e, in Å.
    damping_per_A
        alpha of the damped Coulomb term, in 1/Å.
    cutoff_A
        r_c in Å.
    """

    charges_e: Mapping[str, float] = field(default_factory=lambda: {symbol: ion[0] for symbol, ion in _IONS.items()})
    radii_A: Mapping[str, float] = field(default_factory=lambda: {symbol: ion[1] for symbol, ion in _IONS.items()})
    charge_scale: float = 1.0
    contact_force_ratio: float = 0.18
    softness_A: float = 0.30
    damping_per_A: float = 0.2
    cutoff_A: float = 8.0

    def __post_init__(self) -> None:
        if set(self.charges_e) - set(self.radii_A):
            missing = ", ".join(sorted(set(self.charges_e) - set(self.radii_A)))
            raise PotentialError(
                f"The pair potential has a charge but no radius for {missing}.", fix="Give its radius in radii_A too."
            )
        if min(self.contact_force_ratio, self.softness_A, self.cutoff_A) <= 0 or self.damping_per_A < 0:
            raise PotentialError(
                "The pair potential needs a positive force ratio, softness and cutoff, and a damping of at least 0.",
                fix="Correct the options of the pair potential.",
            )

    @property
    def sha256(self) -> str:
        """Hash of all parameters in canonical form."""
        numbers = {
            "charges_e": {key: float(value) for key, value in self.charges_e.items()},
            "radii_A": {key: float(value) for key, value in self.radii_A.items()},
            "scalars": [
                float(value)
                for value in (
                    self.charge_scale,
                    self.contact_force_ratio,
                    self.softness_A,
                    self.damping_per_A,
                    self.cutoff_A,
                )
            ],
        }
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


class PairPotential(BasePotential):
    """The pair potential of this module."""

    def __init__(self, parameters: PairParameters | None = None) -> None:
        self.parameters = PairParameters() if parameters is None else parameters
        super().__init__(_identity(self.parameters))
        self._numbers_key: bytes = b""
        self._charges: FloatArray = np.zeros(0)
        self._radii: FloatArray = np.zeros(0)

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`.

        Raises
        ------
        PotentialError
            If an element has no charge or radius.
        """
        p = self.parameters
        charges, radii = self._ions(atoms)
        pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, p.cutoff_A)
        i, j, r = pairs.centre, pairs.neighbour, pairs.distances_A
        contact = radii[i] + radii[j]
        qq = COULOMB_EV_A * charges[i] * charges[j]

        strength = p.contact_force_ratio * p.softness_A * np.abs(qq) / contact**2
        repulsion = strength * np.exp((contact - r) / p.softness_A)
        repulsion_at_cutoff = strength * np.exp((contact - p.cutoff_A) / p.softness_A)
        coulomb, coulomb_slope = _damped_coulomb(r, p.damping_per_A)
        coulomb_at_cutoff, slope_at_cutoff = _damped_coulomb(np.array([p.cutoff_A]), p.damping_per_A)

        shift = repulsion_at_cutoff + qq * coulomb_at_cutoff[0]
        shift_slope = -repulsion_at_cutoff / p.softness_A + qq * slope_at_cutoff[0]
        energy = repulsion + qq * coulomb - shift - (r - p.cutoff_A) * shift_slope
        slope = -repulsion / p.softness_A + qq * coulomb_slope - shift_slope

        self_term = -COULOMB_EV_A * (0.5 * coulomb_at_cutoff[0] + p.damping_per_A / np.sqrt(np.pi))
        total = 0.5 * float(np.sum(energy)) + self_term * float(np.sum(charges**2))

        # dE/dr_i of a directed pair list: each end of a pair gets its own entry, hence no factor of one half.
        pull = (slope / r)[:, None] * pairs.vectors_A
        forces: FloatArray = np.stack(
            [np.bincount(i, weights=pull[:, axis], minlength=len(atoms)) for axis in range(3)], axis=1
        )
        if not stress:
            return Prediction(total, forces)
        virial = 0.5 * pull.T @ pairs.vectors_A
        virial = 0.5 * (virial + virial.T)
        voigt = np.array([virial[0, 0], virial[1, 1], virial[2, 2], virial[1, 2], virial[0, 2], virial[0, 1]])
        return Prediction(total, forces, voigt / atoms.get_volume())

    def _ions(self, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
        key = atoms.numbers.tobytes()
        if key != self._numbers_key:
            self.check_elements(atoms)
            p = self.parameters
            symbols = atoms.get_chemical_symbols()
            self._charges = p.charge_scale * np.array([p.charges_e[symbol] for symbol in symbols], dtype=np.float64)
            self._radii = np.array([p.radii_A[symbol] for symbol in symbols], dtype=np.float64)
            self._numbers_key = key
        return self._charges, self._radii


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe the pair potential with the parameters that ``options`` of :func:`load` give."""
    return load(model, **options).identity


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, npt.NDArray[np.float64]] | None = None,
    threads: int = 1,
    charges_e: Mapping[str, float] | None = None,
    radii_A: Mapping[str, float] | None = None,
    **scalars: float,
) -> PairPotential:
    """Load the pair potential.

    Parameters
    ----------
    model
        ``"born-mayer"`` or ``None``.
    weights
        Must be ``None``: it has no trained weights.
    threads
        Ignored: the potential uses one thread.
    charges_e, radii_A
        Charges (e) and radii (Å) by element; they replace the defaults of the elements named.
    scalars
        ``charge_scale``, ``contact_force_ratio``, ``softness_A``, ``damping_per_A``, ``cutoff_A``; see
        :class:`PairParameters`.

    Raises
    ------
    PotentialError
        If the model or an option is unknown, or weights are given.
    """
    del threads
    _check_model(model)
    if weights is not None:
        raise PotentialError(
            "The pair potential has no trained weights.", fix="Leave the weights out, or choose another potential."
        )
    known = {"charge_scale", "contact_force_ratio", "softness_A", "damping_per_A", "cutoff_A"}
    if set(scalars) - known:
        raise PotentialError(
            f"The pair potential has no option {', '.join(sorted(set(scalars) - known))}.",
            fix=f"Its options are: charges_e, radii_A, {', '.join(sorted(known))}.",
        )
    standard = PairParameters()
    return PairPotential(
        PairParameters(
            charges_e={**standard.charges_e, **(charges_e or {})},
            radii_A={**standard.radii_A, **(radii_A or {})},
            **scalars,
        )
    )


def _check_model(model: str | None) -> None:
    if model not in (None, "born-mayer"):
        raise PotentialError(f"The pair potential has no model {model!r}.", fix="Its only model is born-mayer.")


def _identity(parameters: PairParameters) -> PotentialIdentity:
    return PotentialIdentity(
        name="pair",
        model="born-mayer",
        version=_VERSION,
        checkpoint_sha256=parameters.sha256,
        energy_convention="pair potential",
        level_of_theory="rigid ions: Born–Mayer repulsion and damped shifted-force Coulomb (not a material's energy)",
        elements=checkpoints.by_number(parameters.charges_e),
        licence="MIT",
        engine="core",
    )


def _damped_coulomb(r: FloatArray, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Return erfc(alpha r)/r and its derivative."""
    value = erfc(alpha * r) / r
    slope = -value / r - 2.0 * alpha / np.sqrt(np.pi) * np.exp(-((alpha * r) ** 2)) / r
    return value, slope
