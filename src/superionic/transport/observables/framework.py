"""Whether the framework stays on its sites: one definition for running and for completed simulations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MELTING_SHARE = 0.25
"""Share of framework ions simultaneously off their sites above which the framework melts, or diffuses as a whole."""
SITE_FRACTION = 0.5
"""An ion has left its site when it is further off than this fraction of the distance to the next of its kind."""
LONGEST_REACH_A = 2.0
SHORTEST_REACH_A = 1.0
"""Bounds of that distance: metals far from the next of their kind can also leave their sites, and ions as close to each
other as H in NH4 do not leave theirs by vibrating."""
BOND_A = 3.0
"""Ions farther apart than this are not bound."""
STRETCH = 1.25
"""An ion whose bond stretches by more than this factor is no longer bound."""

_WINDOWS = 16
_FEWEST_WINDOWS = 4
_WINDOW_PS = 1.0
_INSTANTS = 10
_DEVIATIONS = 4.5
_MOST_NOISE = 1.5


@dataclass(frozen=True, eq=False)
class OffSites:
    """Framework ions that are off their sites; shapes (n,) or (n_times, n).

    Attributes
    ----------
    left
        Further off than reach, and no longer bound to an ion on its site.
    turned
        Further off than reach, but bound to the same ion as before, which is on its site: ligands of a polyanion that
        turned.
    """

    left: NDArray[np.bool_]
    turned: NDArray[np.bool_]


class Framework:
    """Sites of the framework, and which ions are off them.

    An ion is off its site when it is further away than half the distance to the nearest site of its own kind, within
    bounds of 1 and 2 Å, after removal of the common drift (the median displacement, which a few hopping ions do not
    affect). Vibrations do not reach that far: Lindemann's criterion places melting at a root mean square of about 0.1
    of that distance (F. A. Lindemann, Phys. Z. 11, 609 (1910)). Where a polyanion turns, its outer ions exchange
    positions about a fixed centre: each is bound to one ion, the next is at least a quarter further away, and the bond
    persists.

    Parameters
    ----------
    sites_A
        (n, 3), unwrapped.
    cell_A
        (3, 3), periodic.
    kinds
        (n,) atomic numbers, or any other numbers that distinguish kinds; None where kinds are unknown, and reach is
        then the longest for all ions.
    instants_A
        (n_instants, n, 3) positions over which distances between neighbours are averaged, where sites are mean
        positions: ligands of a fast-rotating polyanion have their mean position near its centre.
    longest_reach_A
        Upper bound of reach.
    """

    def __init__(
        self,
        sites_A: FloatArray,
        cell_A: FloatArray,
        kinds: NDArray[np.generic] | None = None,
        *,
        instants_A: FloatArray | None = None,
        longest_reach_A: float = LONGEST_REACH_A,
    ) -> None:
        from ase.neighborlist import primitive_neighbor_list

        sites, cell = np.asarray(sites_A, dtype=np.float64), np.asarray(cell_A, dtype=np.float64)
        instants = sites[None] if instants_A is None else instants_A
        self._fractional: FloatArray = sites @ np.linalg.inv(cell)
        n = len(sites)
        widest = max(BOND_A, longest_reach_A / SITE_FRACTION)
        i, j, shift = primitive_neighbor_list("ijS", (True, True, True), cell, sites, widest)
        distance = np.zeros(len(i))
        for instant in instants:
            distance += np.linalg.norm(instant[j] + shift @ cell - instant[i], axis=1)
        distance /= len(instants)
        self._reach_A: FloatArray = np.full(n, longest_reach_A)
        alike = np.zeros(len(i), dtype=bool) if kinds is None else kinds[i] == kinds[j]
        np.minimum.at(self._reach_A, i[alike], SITE_FRACTION * distance[alike])
        np.clip(self._reach_A, min(SHORTEST_REACH_A, longest_reach_A), longest_reach_A, out=self._reach_A)
        others = np.flatnonzero(~alike & (i != j))
        others = others[np.lexsort((distance[others], i[others]))]
        bound, first, count = np.unique(i[others], return_index=True, return_counts=True)
        nearest = others[first]
        next_A = np.where(count > 1, distance[others[np.minimum(first + 1, len(others) - 1)]], np.inf)
        terminal = (distance[nearest] < BOND_A) & (next_A > STRETCH * distance[nearest])
        self._bound, nearest = bound[terminal], nearest[terminal]
        self._centre, self._shift, self._bond_A = j[nearest], shift[nearest], distance[nearest]

    def off_sites(self, positions_A: FloatArray, cell_A: FloatArray, noise_A: FloatArray | float = 0.0) -> OffSites:
        """Return which ions are off their sites.

        Parameters
        ----------
        positions_A
            (n, 3), unwrapped.
        cell_A
            (3, 3), which may have changed.
        noise_A
            (n,) apparent displacement from vibrations that remain in mean positions; it lengthens reach by at most a
            half, since nothing vibrates further.
        """
        positions = np.asarray(positions_A, dtype=np.float64)
        moved = positions - self._fractional @ cell_A
        moved -= np.median(moved, axis=0)
        off = np.einsum("ia,ia->i", moved, moved) > np.clip(noise_A, self._reach_A, _MOST_NOISE * self._reach_A) ** 2
        bond = positions[self._centre] + self._shift @ cell_A - positions[self._bound]
        still_bound = ~off[self._centre] & (np.einsum("ia,ia->i", bond, bond) < (STRETCH * self._bond_A) ** 2)
        turned = np.zeros(len(off), dtype=bool)
        turned[self._bound[still_bound]] = True
        return OffSites(off & ~turned, off & turned)


@dataclass(frozen=True)
class FrameworkMotion:
    """Motion of the framework in a run.

    Attributes
    ----------
    n_ions
        Ions of the framework.
    n_left
        Ions that left their sites at some time.
    n_turned
        Ions that exchanged positions about an ion to which they stayed bound.
    most_at_once
        Largest share of ions off their sites at one time.
    melts_from_ps
        Time at which that share first reached that of a melt; None for a framework that stays.
    """

    n_ions: int
    n_left: int
    n_turned: int
    most_at_once: float
    melts_from_ps: float | None

    @property
    def share_left(self) -> float:
        """Share of the ions that left their sites at some time."""
        return self.n_left / self.n_ions

    @property
    def melts(self) -> bool:
        """Whether the framework melts, or diffuses as a whole."""
        return self.melts_from_ps is not None

    def flags(self) -> tuple[str, ...]:
        """Return sentences for the reader."""
        flags = []
        if self.melts_from_ps is not None:
            flags.append(
                f"The framework moves: {self.n_left} of {self.n_ions} of its ions left their sites, and from "
                f"{self.melts_from_ps:.3g} ps on a quarter or more of them were off at once. It is melting, or "
                "diffuses as a whole, and D is then not that of the crystal."
            )
        elif self.n_left > 0:
            flags.append(
                f"Ions of the framework hop: {self.n_left} of {self.n_ions} left their sites, at most "
                f"{100.0 * self.most_at_once:.1f} % at once. The others stayed; see in a longer run whether they "
                "become more."
            )
        if self.n_turned > 0:
            flags.append(
                f"Polyanions turn: {self.n_turned} of {self.n_ions} framework ions changed places about an ion that "
                "they stayed bound to."
            )
        return tuple(flags)


def framework_motion(
    positions_A: FloatArray,
    cell_A: FloatArray,
    framework: NDArray[np.bool_],
    frame_interval_ps: float,
    kinds: NDArray[np.generic] | None = None,
) -> FrameworkMotion:
    """Analyse the motion of the framework in a run.

    Positions are averaged over windows of a sixteenth of the run, or 1 ps in a shorter one, but no more than a quarter
    of the run. This averages vibrations out, makes false positives as likely in a long run as in a short one, and
    ignores shorter excursions. The first window defines the sites. Vibrations that remain in the means are estimated
    from differences between successive windows, in which diffusing ions move little: an ion must be off by more than
    4.5 standard deviations of them, or by 1.5 times its reach.

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3), unwrapped.
    cell_A
        (3, 3) cell, the mean one where it changes.
    framework
        (n_atoms,) mask of the framework.
    frame_interval_ps
        Time between frames.
    kinds
        (n_atoms,) atomic numbers, or masses.
    """
    ions = np.flatnonzero(framework)
    n_frames = len(positions_A)
    shortest = min(_WINDOW_PS, n_frames * frame_interval_ps / _FEWEST_WINDOWS)
    length = max(1, round(max(shortest, n_frames * frame_interval_ps / _WINDOWS) / frame_interval_ps))
    starts = np.arange(0, max(1, n_frames - length + 1), length)
    means = np.array(
        [np.take(positions_A[s : s + length], ions, axis=1).mean(axis=0, dtype=np.float64) for s in starts]
    )
    moved = means - means[0]
    moved -= np.median(moved, axis=1, keepdims=True)
    if float(np.max(np.einsum("wia,wia->wi", moved, moved))) <= SHORTEST_REACH_A**2:  # none can be off, as in most runs
        return FrameworkMotion(len(ions), 0, 0, 0.0, None)
    instants = np.take(positions_A[:length][:: max(1, length // _INSTANTS)], ions, axis=1)
    sites = Framework(means[0], cell_A, None if kinds is None else kinds[ions], instants_A=instants)
    noise = _noise_A(means, None if kinds is None else kinds[ions])
    each = [sites.off_sites(place, cell_A, noise) for place in means]
    left = np.array([one.left for one in each])
    turned = np.array([one.turned for one in each])
    shares = left.mean(axis=1)
    melted = np.flatnonzero(shares >= MELTING_SHARE)
    return FrameworkMotion(
        n_ions=len(ions),
        n_left=int(np.count_nonzero(left.any(axis=0))),
        n_turned=int(np.count_nonzero(turned.any(axis=0) & ~left.any(axis=0))),
        most_at_once=float(shares.max()),
        melts_from_ps=float(starts[melted[0]] * frame_interval_ps) if len(melted) else None,
    )


def _noise_A(means_A: FloatArray, kinds: NDArray[np.generic] | None) -> FloatArray:
    """Return the differences (n,) of two means (n_windows, n, 3) that vibrations explain, equal for ions of a kind.

    The median over ions ignores the few that hop, and differences of successive windows ignore slow diffusion.
    """
    n = means_A.shape[1]
    if len(means_A) < 2:
        return np.zeros(n)
    variance = np.mean(np.diff(means_A, axis=0) ** 2, axis=(0, 2))  # of the difference of two means, for each axis
    noise = np.empty(n)
    groups = np.zeros(n, dtype=int) if kinds is None else np.unique(kinds, return_inverse=True)[1]
    for group in range(int(groups.max()) + 1):
        alike = groups == group
        noise[alike] = _DEVIATIONS * np.sqrt(np.median(variance[alike]))
    return noise
