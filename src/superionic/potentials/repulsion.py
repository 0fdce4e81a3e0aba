"""The repulsion of two atoms pushed together in a crystal, and holes in it.

A potential knows only the distances of its training set. Where it must extrapolate to shorter ones, its energy may turn
over, and two atoms that meet with enough energy fall into one another: the danger of potentials trained from scratch
(paper A, figures S6 and S7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.base import Potential
from superionic.potentials.neighbours import pairs_within
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

CONTACT_RANGE_A = 5.0
"""Pairs further apart than this are no neighbours that could be pushed together."""
CORE_FRACTION = 0.65
"""The core of a pair, in sums of its covalent radii: even U=O in uranyl, at 0.67, is longer."""
_WITHIN_REACH_KT = 20.0
_NOISE_EV = 0.02
"""A smaller fall of the energy, which rises by tenths of an eV from one point in the core to the next, is no hole."""


@dataclass(frozen=True)
class Hole:
    """A range of distances in the core of a pair where the energy falls inwards.

    Attributes
    ----------
    distance_A
        Distance at which it begins: the energy falls inwards from here.
    barrier_eV
        Highest energy on the way there, above that of the structure as it is: what a collision needs to fall into it.
    depth_eV
        Largest fall of the energy within the core.
    """

    distance_A: float
    barrier_eV: float
    depth_eV: float


@dataclass(frozen=True)
class RepulsionCurve:
    """Energy and force of one pair of atoms pushed together, all other atoms at rest.

    Attributes
    ----------
    pair
        Symbols of the two elements.
    distances_A
        Distances, the first as in the structure, then decreasing.
    energies_eV
        Energy of the cell above that of the structure as it is.
    forces_eV_per_A
        −dE/dr, positive where the atoms are pushed apart.
    core_A
        Distance below which any two atoms of these elements repel.
    hole
        Where the curve turns over; None if it rises throughout the core.
    ended
        Why the curve ends before the shortest distance; empty if it does not.
    """

    pair: tuple[str, str]
    distances_A: tuple[float, ...]
    energies_eV: tuple[float, ...]
    forces_eV_per_A: tuple[float, ...]
    core_A: float
    hole: Hole | None
    ended: str = ""

    @property
    def hole_words(self) -> str:
        """Pair, distance and barrier of its hole; empty without one."""
        if self.hole is None:
            return ""
        return f"{'–'.join(self.pair)} below {self.hole.distance_A:.1f} Å, behind {self.hole.barrier_eV:.2g} eV"


def repulsion_curves(
    atoms: Atoms,
    potential: Potential,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    shortest_A: float = 0.5,
    step_A: float = 0.1,
    progress: Progress | None = None,
) -> tuple[RepulsionCurve, ...]:
    """Push the nearest two atoms of each pair of elements together.

    Both move by equal amounts along the line between them, from their distance in the structure to the shortest one.

    Parameters
    ----------
    atoms
        A structure near equilibrium, periodic or not.
    potential
        The potential.
    pairs
        Symbols of the pairs of elements; by default all pairs with atoms within 5 Å of one another.
    shortest_A
        Where the curves end.
    step_A
        Distances are multiples of this, but for the first.

    Raises
    ------
    SuperionicError
        If two elements have no atoms within 5 Å of one another.
    PotentialError
        If an element is not covered.
    """
    nearest = _nearest(atoms)
    if pairs is not None:
        kinds = [_ordered(atomic_numbers[a], atomic_numbers[b]) for a, b in pairs]
        missing = [f"{a}-{b}" for (a, b), kind in zip(pairs, kinds, strict=True) if kind not in nearest]
        if missing:
            raise SuperionicError(
                f"no atoms of {missing[0]} are within {CONTACT_RANGE_A:g} Å of one another",
                fix="leave this pair out, or take a structure in which they are neighbours",
            )
        nearest = {kind: nearest[kind] for kind in kinds}
    start_eV = potential.evaluate(atoms, stress=False).energy_eV if nearest else 0.0
    curves = []
    for number, (i, j, vector_A) in enumerate(nearest.values(), 1):
        curves.append(_curve(atoms, potential, (i, j), vector_A, start_eV, shortest_A, step_A))
        if progress is not None:
            progress(number / len(nearest), f"{number} of {len(nearest)} pairs")
    return tuple(curves)


def pair_at(
    positions_A: FloatArray, pair: tuple[int, int], vector_A: FloatArray, distance_A: float
) -> tuple[FloatArray, FloatArray]:
    """Return the positions of two atoms pushed to a distance, by equal amounts along the line between them.

    Parameters
    ----------
    positions_A
        (n_atoms, 3) positions of all atoms.
    pair
        Indices of the two.
    vector_A
        (3,) from the first to the image of the second.
    distance_A
        Distance to which they are brought.
    """
    i, j = pair
    centre = 0.5 * (positions_A[i] + positions_A[i] + vector_A)
    image = positions_A[i] + vector_A - positions_A[j]
    half = 0.5 * distance_A * vector_A / _length(vector_A)
    return centre - half, centre + half - image


def holes_within_reach(curves: Iterable[RepulsionCurve], temperature_K: float) -> tuple[str, ...]:
    """Return the words for each pair whose atoms may fall into one another in a run of nanoseconds.

    Of the 10⁶ collisions that 100 pairs of ions have in a nanosecond, at an attempt frequency of 10¹³ s⁻¹, a share of
    exp(−ΔE/kT) crosses a barrier ΔE: less than one in all above 14 kT. All other atoms were at rest when the barrier
    was measured, and lower it when they give way, so the limit is 20 kT.
    """
    limit_eV = _WITHIN_REACH_KT * BOLTZMANN_EV_PER_K * temperature_K
    reached = {curve.pair: curve.hole_words for curve in curves if curve.hole and curve.hole.barrier_eV < limit_eV}
    return tuple(reached.values())


def find_hole(distances_A: Sequence[float], energies_eV: Sequence[float], core_A: float) -> Hole | None:
    """Return where the energy of a pair falls in its core instead of rising.

    Outside the core a fall means little: a pair that is pushed together may slip past other atoms, or into other sites.

    Parameters
    ----------
    distances_A
        Decreasing distances.
    energies_eV
        Energies above that of the structure as it is.
    core_A
        Upper end of the core.
    """
    energies = np.asarray(energies_eV, dtype=np.float64)
    core = np.flatnonzero(np.asarray(distances_A) < core_A)
    highest, begins, first, depth = -math.inf, core_A, None, 0.0
    for k in core.tolist():
        if energies[k] < highest - _NOISE_EV:
            first = begins if first is None else first
            depth = max(depth, highest - float(energies[k]))
        elif energies[k] > highest:
            highest, begins = float(energies[k]), float(distances_A[k])
    if first is None:
        return None
    way = np.asarray(distances_A) >= first
    return Hole(first, max(0.0, float(energies[way].max())), depth)


def _curve(
    atoms: Atoms,
    potential: Potential,
    pair: tuple[int, int],
    vector_A: FloatArray,
    start_eV: float,
    shortest_A: float,
    step_A: float,
) -> RepulsionCurve:
    i, j = pair
    distance = _length(vector_A)
    direction = vector_A / distance
    shorter = np.arange(int(np.ceil(distance / step_A)) - 1, int(np.ceil(shortest_A / step_A - 1e-9)) - 1, -1) * step_A
    distances, energies, forces, ended = [], [], [], ""
    moved = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)
    for target in (distance, *shorter.tolist()):
        moved.positions[i], moved.positions[j] = pair_at(atoms.positions, pair, vector_A, target)
        try:
            prediction = potential.evaluate(moved, stress=False)
        except CalculationFailed as failure:
            ended = f"at {target:.2f} Å {failure.reason}"
            break
        if not prediction.is_finite:
            ended = f"at {target:.2f} Å energy or forces are no longer numbers"
            break
        apart = prediction.forces_eV_per_A[j] - prediction.forces_eV_per_A[i]
        distances.append(float(target))
        energies.append(prediction.energy_eV - start_eV)
        forces.append(0.5 * float(apart @ direction))
    core = CORE_FRACTION * float(covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
    first, second = _ordered(int(atoms.numbers[i]), int(atoms.numbers[j]))
    return RepulsionCurve(
        (chemical_symbols[first], chemical_symbols[second]),
        tuple(distances),
        tuple(energies),
        tuple(forces),
        core,
        find_hole(distances, energies, core),
        ended,
    )


def _nearest(atoms: Atoms) -> dict[tuple[int, int], tuple[int, int, FloatArray]]:
    """Return the nearest two atoms of each pair of elements, and the vector between them; not an atom and its image."""
    near = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, CONTACT_RANGE_A)
    once = np.flatnonzero(near.centre < near.neighbour)
    nearest: dict[tuple[int, int], tuple[int, int, FloatArray]] = {}
    for k in once[np.argsort(near.distances_A[once], kind="stable")].tolist():
        i, j = int(near.centre[k]), int(near.neighbour[k])
        nearest.setdefault(_ordered(int(atoms.numbers[i]), int(atoms.numbers[j])), (i, j, near.vectors_A[k]))
    return dict(sorted(nearest.items()))


def _length(vector: FloatArray) -> float:
    x, y, z = vector.tolist()
    return math.sqrt(x * x + y * y + z * z)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (min(a, b), max(a, b))
