"""Rates of jumps: residence times, networks, and kinds of jumps, with exact Poisson intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.transport.sites.positions import SiteSet

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


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
    """

    sites: SiteSet
    rows: IntArray
    counts: IntArray
    site_time_ps: FloatArray

    @property
    def rates_per_ps(self) -> FloatArray:
        """(n,) jumps per ps of an ion on the start."""
        return np.asarray(self.counts / self.site_time_ps[self.rows[:, 0]])

    @property
    def lengths_A(self) -> FloatArray:
        """(n,) lengths of the jumps."""
        x = self.sites.fractional
        vectors = (x[self.rows[:, 1]] - x[self.rows[:, 0]] + self.rows[:, 2:]) @ self.sites.cell_A
        return np.asarray(np.linalg.norm(vectors, axis=1))

    def kind_names(self, *, length_step_A: float = 0.5) -> tuple[str, ...]:
        """Return the kind of each pair, the same in both directions, by labels and length, such as "4g–4h 3.5 Å"."""
        names = []
        for row, length in zip(self.rows, self.lengths_A, strict=True):
            first, second = sorted((self.sites.labels[row[0]], self.sites.labels[row[1]]))
            names.append(f"{first}–{second} {round(length / length_step_A) * length_step_A:.1f} Å")
        return tuple(names)

    def kinds(self, *, length_step_A: float = 0.5) -> list[JumpKind]:
        """Group the pairs by labels, direction and length, the most frequent first."""
        lengths = self.lengths_A
        groups: dict[tuple[str, str, float], list[int]] = {}
        for k, row in enumerate(self.rows):
            step = round(float(lengths[k]) / length_step_A) * length_step_A
            groups.setdefault((self.sites.labels[row[0]], self.sites.labels[row[1]], step), []).append(k)
        time = {label: float(self.site_time_ps[k].sum()) for label, k in self.sites.kinds.items()}
        kinds = [
            JumpKind.of(
                start,
                end,
                float(np.average(lengths[k], weights=self.counts[k])),
                int(self.counts[k].sum()),
                time[start],
            )
            for (start, end, _), k in groups.items()
        ]
        return sorted(kinds, key=lambda kind: (-kind.count, kind.start, kind.end, kind.length_A))


@dataclass(frozen=True)
class JumpKind:
    """All jumps from one kind of site to another, of about one length.

    Attributes
    ----------
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

    @classmethod
    def of(cls, start: str, end: str, length_A: float, count: int, time_ps: float) -> JumpKind:
        """Compute the rates from a count and the time on the starting sites."""
        one, two = poisson_limits(count, 0.6827), poisson_limits(count, 0.9545)
        return cls(
            start, end, length_A, count, count / time_ps,
            (one[0] / time_ps, one[1] / time_ps), (two[0] / time_ps, two[1] / time_ps),
        )  # fmt: skip
