"""Rates of jumps: residence times, networks, and kinds of jumps, with exact Poisson intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from superionic.transport.sites.positions import SiteSet
from superionic.transport.sites.sharing import Sharing, sharing_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEEPEST_IN_PLANE_DEG: Final = 30.0
"""Jumps that leave the ab plane of the cell by a larger angle go from one plane to another."""


@dataclass(frozen=True)
class ResidenceTime:
    """Mean residence time on a kind of site, for exponentially distributed stays.

    Attributes
    ----------
    mean_ps
        Total time over the number of completed stays: the maximum-likelihood mean of exponential stays of which some
        are cut off by the end of the run. Infinite without a completed stay.
    interval68_ps, interval95_ps
        Intervals from the exact Poisson limits of the number of completed stays (Garwood, Biometrika 28, 437 (1936)).
    n_ended, n_cut
        Completed stays, and those cut off.
    """

    mean_ps: float
    interval68_ps: tuple[float, float]
    interval95_ps: tuple[float, float]
    n_ended: int
    n_cut: int

    @classmethod
    def of(cls, lengths_ps: FloatArray, ended: NDArray[np.bool_]) -> ResidenceTime:
        """Estimate the mean from the lengths of stays, and whether each was completed."""
        total, n = float(np.sum(lengths_ps)), int(np.sum(ended))

        def interval(level: float) -> tuple[float, float]:
            low, high = poisson_limits(n, level)
            return (total / high, total / low if low > 0.0 else math.inf)

        mean = total / n if n else math.inf
        return cls(mean, interval(0.6827), interval(0.9545), n, len(lengths_ps) - n)


def poisson_limits(count: int, level: float) -> tuple[float, float]:
    """Return the exact central interval of the mean of a Poisson variable observed as ``count`` (Garwood 1936)."""
    from scipy.stats import chi2

    tail = 0.5 * (1.0 - level)
    low = 0.5 * float(chi2.ppf(tail, 2 * count)) if count else 0.0
    return low, 0.5 * float(chi2.isf(tail, 2 * count + 2))


@dataclass(frozen=True, eq=False)
class JumpNetwork:
    """Jumps between pairs of sites.

    Attributes
    ----------
    rows
        (n, 5) from, to, and cell of the end relative to the start.
    counts
        (n,) number of jumps.
    site_time_ps
        (n_sites,) total time of ions on each site.
    shared_anions
        (n,) anions that the polyhedra of both ends have in common; None if no anions are known.
    """

    sites: SiteSet
    rows: IntArray
    counts: IntArray
    site_time_ps: FloatArray
    shared_anions: IntArray | None = None

    @property
    def rates_per_ps(self) -> FloatArray:
        """(n,) jumps per ps of an ion on the start."""
        return np.asarray(self.counts / self.site_time_ps[self.rows[:, 0]])

    @property
    def vectors_A(self) -> FloatArray:
        """(n, 3) from the start to the end."""
        x = self.sites.fractional
        return np.asarray((x[self.rows[:, 1]] - x[self.rows[:, 0]] + self.rows[:, 2:]) @ self.sites.cell_A)

    @property
    def lengths_A(self) -> FloatArray:
        """(n,) lengths of the jumps."""
        return np.asarray(np.linalg.norm(self.vectors_A, axis=1))

    @property
    def elevations_deg(self) -> FloatArray:
        """(n,) angles between the jumps and the ab plane of the cell, from 0 to 90°."""
        normal = np.cross(self.sites.cell_A[0], self.sites.cell_A[1])
        sines = np.abs(self.vectors_A @ (normal / np.linalg.norm(normal))) / self.lengths_A
        return np.asarray(np.degrees(np.arcsin(np.minimum(sines, 1.0))))

    def kind_names(self, *, length_step_A: float = 0.5) -> tuple[str, ...]:
        """Return the kind of each pair, the same in both directions, by labels and length, such as "4g–4h 3.5 Å"."""
        names = []
        for row, length in zip(self.rows, self.lengths_A, strict=True):
            first, second = sorted((self.sites.labels[row[0]], self.sites.labels[row[1]]))
            names.append(f"{first}–{second} {round(length / length_step_A) * length_step_A:.1f} Å")
        return tuple(names)

    def kinds(self, *, length_step_A: float = 0.5) -> list[JumpKind]:
        """Return the kinds of jumps, the most frequent first; see :meth:`grouped`."""
        return [kind for kind, _ in self.grouped(length_step_A=length_step_A)]

    def grouped(self, *, length_step_A: float = 0.5) -> list[tuple[JumpKind, IntArray]]:
        """Group the pairs by labels, direction, length, plane and common anions, the most frequent kind first.

        Returns
        -------
        list of (JumpKind, IntArray)
            Each kind, and the indices of its pairs in `rows`.
        """
        lengths, elevations = self.lengths_A, self.elevations_deg
        groups: dict[tuple[str, str, float, bool, int | None], list[int]] = {}
        for k, row in enumerate(self.rows):
            step = round(float(lengths[k]) / length_step_A) * length_step_A
            steep = bool(elevations[k] > STEEPEST_IN_PLANE_DEG)
            shared = None if self.shared_anions is None else int(self.shared_anions[k])
            labels = self.sites.labels[row[0]], self.sites.labels[row[1]]
            groups.setdefault((*labels, step, steep, shared), []).append(k)
        time = {label: float(self.site_time_ps[k].sum()) for label, k in self.sites.kinds.items()}
        kinds: list[tuple[JumpKind, IntArray]] = []
        for (start, end, _, _, shared), members in groups.items():
            rows = np.array(members, dtype=np.int64)
            weights = self.counts[rows]
            length, elevation = (float(np.average(x[rows], weights=weights)) for x in (lengths, elevations))
            kinds.append((JumpKind.of(start, end, length, int(weights.sum()), time[start], elevation, shared), rows))
        return sorted(kinds, key=lambda each: (-each[0].count, each[0].start, each[0].end, each[0].length_A))


@dataclass(frozen=True)
class JumpKind:
    """All jumps from one kind of site to another, of about one length, in the ab plane or out of it.

    Attributes
    ----------
    elevation_deg
        Mean angle between the jumps and the ab plane of the run's cell.
    shared_anions
        Anions that the polyhedra of both sites have in common; None if no anions are known.
    rate_per_ps, interval68_per_ps, interval95_per_ps
        Jumps per ps of an ion on such a site, with exact Poisson intervals.
    """

    start: str
    end: str
    length_A: float
    count: int
    rate_per_ps: float
    interval68_per_ps: tuple[float, float]
    interval95_per_ps: tuple[float, float]
    elevation_deg: float
    shared_anions: int | None

    @property
    def plane(self) -> Literal["intraplane", "interplane"]:
        """Whether the jumps stay in the ab plane of the cell (within 30°) or go to another."""
        return "interplane" if self.elevation_deg > STEEPEST_IN_PLANE_DEG else "intraplane"

    @property
    def sharing(self) -> Sharing | None:
        """What the polyhedra of both sites share, and the jump crosses; None if no anions are known."""
        return None if self.shared_anions is None else sharing_of(self.shared_anions)

    @classmethod
    def of(
        cls,
        start: str,
        end: str,
        length_A: float,
        count: int,
        time_ps: float,
        elevation_deg: float,
        shared_anions: int | None,
    ) -> JumpKind:
        """Compute the rates from a count and the time on the starting sites."""
        one, two = poisson_limits(count, 0.6827), poisson_limits(count, 0.9545)
        return cls(
            start, end, length_A, count, count / time_ps,
            (one[0] / time_ps, one[1] / time_ps), (two[0] / time_ps, two[1] / time_ps), elevation_deg, shared_anions,
        )  # fmt: skip
