"""Rotation of polyanions: orientation of the bonds of complex anions (PS4, SO4, BH4 …), and how long it persists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CENTRES = ("B", "C", "N", "Al", "Si", "P", "S", "Ga", "Ge", "As", "Se", "Sn", "Sb", "Te", "Cl", "Br", "I", "O")
"""Elements of the central atoms of polyanions, for :data:`LIGANDS`."""
LIGANDS = ("H", "O", "S", "Se", "F", "Cl", "Br", "I", "N", "Te")
"""Elements of the atoms around a centre."""
TURNED_DEG = 54.7
"""A bond has turned when it deviates by more than this from its initial direction: half the tetrahedral angle."""

_BOND = 1.25
_AVERAGED_FRAMES = 5
_SETTLE_PS = 0.5
_LEFT = 1.5
_LOOKS = 400
_MOST_NUMBERS = 15_000_000
_CURVE_POINTS = 120
_LIBRATION_PS = 1.0
_LEAST_FIT = 0.15
_FEWEST_LAGS = 4
_NONE_SEEN_95 = 3.0


@dataclass(frozen=True, eq=False)
class Bonds:
    """The bonds of one kind of polyanion.

    Attributes
    ----------
    name
        Centre and number of ligands, such as ``"PS4"``.
    centres, ligands
        (n_bonds,) indices of the atoms.
    shifts_A
        (n_bonds, 3) added to the ligand's unwrapped position to bring it next to its centre.
    """

    name: str
    centres: IntArray
    ligands: IntArray
    shifts_A: FloatArray


@dataclass(frozen=True, eq=False)
class Rotation:
    """Rotation of one kind of polyanion.

    Attributes
    ----------
    group, n_groups, n_bonds
        Name, such as ``"PS4"``, number of polyanions, and number of bonds.
    lags_ps, correlation, correlation_error
        (n_lags,) orientation autocorrelation C(t) = ⟨u(0)·u(t)⟩ of the unit vectors u along the bonds, over all bonds
        and time origins, and its standard error from the scatter between polyanions (0 for a single one).
    plateau
        Share of C that librations leave: the factor a of C(t) = a exp(−t/τ) after the first picosecond; None where
        there is nothing to fit.
    rotation_time_ps, interval95_ps
        τ of that fit, and its 95 % interval from the scatter between polyanions; the upper end is infinite where no
        rotation is certain. The time is None where C does not decay beyond its scatter, or none turned in the run: then
        only the lower end is meaningful.
    fraction_turned
        Share of the polyanions with a bond that at some time deviated by more than :data:`TURNED_DEG` from its initial
        direction, in two consecutive averages over 0.5 ps.
    n_broken
        Bonds that stretched to 1.5 times their initial length, and were left out.
    flags
        Sentences for the reader.
    """

    group: str
    n_groups: int
    n_bonds: int
    lags_ps: FloatArray
    correlation: FloatArray
    correlation_error: FloatArray
    plateau: float | None
    rotation_time_ps: float | None
    interval95_ps: tuple[float, float]
    fraction_turned: float
    n_broken: int
    flags: tuple[str, ...]


def find_bonds(
    symbols: Sequence[str], positions_A: NDArray[Any], cell_A: FloatArray, *, exclude: Sequence[str] = ()
) -> tuple[Bonds, ...]:
    """Find the bonds of polyanions by covalent radii (B. Cordero et al., Dalton Trans. 2832 (2008)).

    A ligand belongs to the nearest centre within 1.25 times the sum of their radii; a centre is less electronegative
    than its ligands, or these are hydrogen. Metals are not centres.

    Parameters
    ----------
    symbols
        (n_atoms,) elements.
    positions_A
        (n_frames, n_atoms, 3) unwrapped; bonds are those of the first frames, averaged.
    cell_A
        (3, 3) cell.
    exclude
        Elements that do not belong to polyanions: the mobile ions.
    """
    from ase.data import atomic_numbers, covalent_radii
    from ase.neighborlist import primitive_neighbor_list

    names = np.array(symbols)
    usable = ~np.isin(names, exclude)
    members = np.flatnonzero(usable & (np.isin(names, CENTRES) | np.isin(names, LIGANDS)))
    if not len(members) or not np.isin(names[members], LIGANDS).any():
        return ()
    first = np.asarray(positions_A[:_AVERAGED_FRAMES, members], dtype=np.float64).mean(axis=0)
    radii = np.array([covalent_radii[atomic_numbers[s]] for s in names[members]])
    reach = _BOND * 2.0 * float(radii.max())
    i, j, distance, shift = primitive_neighbor_list("ijdS", (True, True, True), np.asarray(cell_A), first, reach)
    holds = np.array([_holds(a, b) for a, b in zip(names[members[i]], names[members[j]], strict=True)], dtype=bool)
    bonded = holds & (distance < _BOND * (radii[i] + radii[j]))
    i, j, distance, shift = i[bonded], j[bonded], distance[bonded], shift[bonded]
    order = np.lexsort((i, distance, j))
    _, where = np.unique(j[order], return_index=True)
    nearest = np.sort(order[where])
    held: dict[int, list[int]] = {}
    for k in nearest.tolist():
        held.setdefault(int(i[k]), []).append(k)
    kinds: dict[str, list[int]] = {}
    for centre, bonds in held.items():
        kinds.setdefault(_name(str(names[members[centre]]), [str(names[members[j[k]]]) for k in bonds]), []).extend(
            bonds
        )
    return tuple(
        Bonds(
            name, members[i[bonds]], members[j[bonds]], np.asarray(shift[bonds] @ np.asarray(cell_A), dtype=np.float64)
        )
        for name, bonds in sorted(kinds.items())
    )


_RISING = ("Al", "Ga", "Sn", "Ge", "Si", "Sb", "As", "B", "P", "Te", "Se", "S", "C", "I", "Br", "N", "Cl", "O", "F")
"""Elements by rising electronegativity, which decides which of two atoms is the centre."""


def _holds(centre: str, ligand: str) -> bool:
    if centre not in CENTRES or ligand not in LIGANDS:
        return False
    if ligand == "H":
        return centre not in ("Cl", "Br", "I")
    return _RISING.index(centre) < _RISING.index(ligand)


def _name(centre: str, ligands: Sequence[str]) -> str:
    counts = [(element, ligands.count(element)) for element in sorted(set(ligands))]
    return centre + "".join(element + (str(n) if n > 1 else "") for element, n in counts)


def rotation(positions_A: NDArray[Any], bonds: Bonds, frame_interval_ps: float) -> Rotation:
    """Follow the orientation of the bonds of one kind of polyanion.

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3) unwrapped.
    bonds
        From :func:`find_bonds`.
    frame_interval_ps
        Time between frames.

    Raises
    ------
    AnalysisError
        If there are fewer than eight frames, no bonds, or all of them break.
    """
    n_frames = len(positions_A)
    if n_frames < 8 or not len(bonds.centres):
        raise AnalysisError("There are no bonds to follow, or fewer than eight frames.", fix="Analyse a longer run.")
    stride = max(1, math.ceil(n_frames * len(bonds.centres) * 3 / _MOST_NUMBERS))
    some = positions_A[::stride]
    vectors = np.asarray(some[:, bonds.ligands], dtype=np.float64) + bonds.shifts_A - some[:, bonds.centres]
    lengths = np.linalg.norm(vectors, axis=2)
    whole = np.asarray((lengths < _LEFT * lengths[:_AVERAGED_FRAMES].mean(axis=0)).all(axis=0))
    if not whole.any():
        raise AnalysisError(f"All bonds of {bonds.name} break: it is not a polyanion.")
    units = vectors[:, whole] / lengths[:, whole, None]
    groups, member = np.unique(bonds.centres[whole], return_inverse=True)
    interval = frame_interval_ps * stride
    lags, per_group = _correlation(units, member, len(groups))
    times = np.asarray(lags * interval, dtype=np.float64)
    fit = _Fit.of(times, per_group)
    turned = _turned(units, member, len(groups), max(1, round(_SETTLE_PS / interval)))
    if not turned.any():
        fit = fit.without_turns(len(groups) * n_frames * frame_interval_ps)
    error = per_group.std(axis=0, ddof=1) / math.sqrt(len(groups)) if len(groups) > 1 else np.zeros(len(lags))
    return Rotation(
        group=bonds.name,
        n_groups=len(groups),
        n_bonds=int(whole.sum()),
        lags_ps=times,
        correlation=per_group.mean(axis=0),
        correlation_error=np.asarray(error),
        plateau=fit.plateau,
        rotation_time_ps=fit.time_ps,
        interval95_ps=fit.interval95_ps,
        fraction_turned=float(turned.mean()),
        n_broken=int((~whole).sum()),
        flags=fit.flags,
    )


def _correlation(units: FloatArray, member: IntArray, n_groups: int) -> tuple[IntArray, FloatArray]:
    """Return lags in frames, and (n_groups, n_lags) ⟨u(0)·u(t)⟩ over bonds and origins, by FFT."""
    n_frames, n_bonds, _ = units.shape
    last = n_frames // 2
    lags = np.unique(np.concatenate([[0], np.round(np.geomspace(1, last, _CURVE_POINTS)).astype(np.int64)]))
    size = 1 << (n_frames + last).bit_length()
    counts = n_frames - np.arange(n_frames)
    sums = np.zeros((n_groups, len(lags)))
    for bond in range(n_bonds):
        transformed = np.fft.rfft(units[:, bond], n=size, axis=0)
        products = np.fft.irfft(np.sum(np.abs(transformed) ** 2, axis=1), n=size)[:n_frames] / counts
        sums[member[bond]] += products[lags]
    return lags, sums / np.bincount(member, minlength=n_groups)[:, None]


@dataclass(frozen=True)
class _Fit:
    plateau: float | None
    time_ps: float | None
    interval95_ps: tuple[float, float]
    flags: tuple[str, ...]

    @classmethod
    def of(cls, lags_ps: FloatArray, per_group: FloatArray) -> _Fit:
        """Fit C = a exp(−t/τ) to the mean over the groups; its error is by jackknife over the groups."""
        mean = per_group.mean(axis=0)
        fitted = _span(lags_ps, mean)
        if int(fitted.sum()) < _FEWEST_LAGS:
            words = "The run is too short, or the frames are too far apart, to tell how long orientations are kept."
            return cls(None, None, (0.0, math.inf), (words,))
        rate, plateau = _line(lags_ps[fitted], mean[fitted])
        n = len(per_group)
        if n < 2:
            words = "A single polyanion: its rotation time has no error of its own."
            return cls(plateau, 1.0 / rate if rate > 0.0 else None, (0.0, math.inf), (words,))
        without = (n * mean - per_group) / (n - 1.0)
        rates = np.array([_line(lags_ps[fitted], curve[fitted])[0] for curve in without])
        error = math.sqrt((n - 1.0) / n * float(np.square(rates - rates.mean()).sum()))
        from scipy.stats import t as student

        wide = float(student.ppf(0.975, n - 1)) * error
        low, high = rate - wide, rate + wide
        ends = (1.0 / high if high > 0.0 else math.inf, 1.0 / low if low > 0.0 else math.inf)
        if low <= 0.0 or rate <= 0.0:
            longer = f"it is longer than {ends[0]:.3g} ps (95 %)" if math.isfinite(ends[0]) else "none is seen"
            return cls(plateau, None, ends, (f"Orientations do not fade beyond their scatter: {longer}.",))
        return cls(plateau, 1.0 / rate, ends, ())

    def without_turns(self, observed_ps: float) -> _Fit:
        """Return a lower bound, since without a turn only librations and slow changes of the lattice reduce C.

        No turn in the total time of observation (number of polyanions times length of the run) bounds the mean time
        between turns to at least a third of it (95 %, Poisson).
        """
        low = min(observed_ps / _NONE_SEEN_95, self.interval95_ps[0] or math.inf)
        words = f"None turned in the run: orientations are kept for longer than {low:.3g} ps (95 %)."
        return _Fit(self.plateau, None, (low, math.inf), (words,))


def _span(lags_ps: FloatArray, mean: FloatArray) -> NDArray[np.bool_]:
    """Return the lags to fit: after librations while C is well above zero; also earlier ones where it decays fast."""
    small = np.flatnonzero(mean < _LEAST_FIT)
    end = int(small[0]) if len(small) else len(mean)
    index = np.arange(len(mean))
    late = (index < end) & (lags_ps >= _LIBRATION_PS)
    return late if int(late.sum()) >= _FEWEST_LAGS else (index < end) & (index > 0)


def _line(lags_ps: FloatArray, curve: FloatArray) -> tuple[float, float]:
    """Return rate and plateau of ln C = ln a − t/τ, by least squares; lags spread evenly in log t count alike."""
    usable = curve > 0.0
    if int(usable.sum()) < 2:
        return 0.0, 0.0
    slope, offset = np.polyfit(lags_ps[usable], np.log(curve[usable]), 1)
    return float(-slope), float(math.exp(offset))


def _turned(units: FloatArray, member: IntArray, n_groups: int, settle: int) -> NDArray[np.bool_]:
    """Return which groups turned at some time, (n_groups,)."""
    n_frames = len(units)
    settle = min(settle, max(1, n_frames // 4))
    looks = np.unique(np.linspace(0, n_frames - settle, min(_LOOKS, n_frames // settle)).astype(np.int64))
    averages = [units[start : start + settle].mean(axis=0) for start in looks]
    normed = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in averages]
    limit = math.cos(math.radians(TURNED_DEG))
    away = [np.einsum("ba,ba->b", normed[0], each) < limit for each in normed]
    turned = np.zeros(n_groups, dtype=bool)
    for one, two in pairwise(away):
        turned[member[one & two]] = True
    return turned
