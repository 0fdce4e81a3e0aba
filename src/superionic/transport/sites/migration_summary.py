"""Summary of ion migration as results: sites, kinds of jumps and their networks, without grids and single jumps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.transport.diffusion.gaussianity import NonGaussianity
from superionic.transport.diffusion.van_hove import VanHove
from superionic.transport.estimate import Estimate
from superionic.transport.sites.concerted import ConcertedJumps
from superionic.transport.sites.jump_rates import JumpKind, ResidenceTime
from superionic.transport.sites.jumps import SiteOccupation
from superionic.transport.sites.migration import Migration, PathProfile
from superionic.transport.sites.percolation import AXES, Cluster, DensityPercolation, Span
from superionic.transport.sites.residence import StayDistribution
from superionic.units import A2_PER_PS_TO_CM2_PER_S

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MOST_EDGES = 2000


@dataclass(frozen=True)
class Site:
    """One site in the cell of the run.

    Attributes
    ----------
    label
        Its kind.
    fractional
        Position in the mean cell; may lie outside it.
    occupancy
        Mean number of ions on it.
    amplitude_A
        Root mean square displacement of these ions along one axis.
    """

    label: str
    fractional: tuple[float, float, float]
    occupancy: float
    amplitude_A: float


@dataclass(frozen=True)
class SiteKind:
    """The sites of one label.

    Attributes
    ----------
    label, n_sites
        Name, such as ``"Li1 (6h)"`` or ``"i1"``, and how many sites have it.
    occupancy
        Mean number of ions on one site.
    refined_occupancy
        The same in the crystal as refined; None for interstitials and sites of the density.
    residence
        Mean residence time, assuming exponential stays.
    stays
        Distribution of the stays; None if no stay began and ended in the run.
    """

    label: str
    n_sites: int
    occupancy: float
    refined_occupancy: float | None
    residence: ResidenceTime
    stays: StayDistribution | None


@dataclass(frozen=True)
class CrystalFit:
    """Match of a crystal's sites to a run.

    Attributes
    ----------
    supercell
        Vectors of the run's cell in those of the crystal, as rows.
    strain
        Largest relative change of a length from the crystal to the run, with its sign.
    framework_misfit_A
        Root mean square distance of the framework's mean positions from their sites; None without a framework.
    rival_misfit_A
        The same for an alternative match that labels sites differently and fits about as well; None without one.
    """

    name: str
    supercell: tuple[tuple[int, ...], ...]
    strain: float
    framework_misfit_A: float | None
    rival_misfit_A: float | None


@dataclass(frozen=True, eq=False)
class MigrationSummary:
    """Ion migration in one run.

    Attributes
    ----------
    cell_A
        (3, 3) mean cell.
    sites, site_kinds
        All sites, and their kinds.
    edges
        (n, 6) jumps between pairs of sites: from, to (indices into `sites`), cell of the end relative to the start
        (three integers), and their number; at most 2000 rows.
    edge_kinds
        (n,) kind of each of these jumps: an index into `jump_kinds`.
    jump_kinds
        Jumps by labels, direction, length, plane and what they cross, the most frequent first.
    n_jumps, back_jumps
        Number of jumps, and the share that undid the previous one; None if no jump followed another.
    concerted
        Jumps with a partner nearby in time and space, compared with chance; None with too few jumps.
    between
        Share of the ions' time in which they were nearer to another site than to their own.
    clusters
        Infinite networks of all jumps together; cages are left out.
    spans_alone, spans_together
        Networks of each kind of jump, and of the kinds together by rising effective barrier.
    jump_diffusivity_cm2_per_s
        D_J, for uncorrelated jumps.
    tracer_factor
        D*/D_J, without an error, as both come from one run; None where one of them is zero or unknown, or D* is only an
        upper bound.
    percolation
        Barriers at which the density spans the crystal; None without a temperature.
    profiles
        Free energy along the paths of the most frequent kinds of jumps.
    non_gaussian, van_hove
        Non-Gaussian parameter and van Hove functions of the displacements.
    crystal
        The crystal that the sites belong to; None for sites of the density.
    flags
        Sentences for the reader.
    """

    cell_A: FloatArray
    sites: tuple[Site, ...]
    site_kinds: tuple[SiteKind, ...]
    edges: IntArray
    edge_kinds: IntArray
    jump_kinds: tuple[JumpKind, ...]
    n_jumps: int
    back_jumps: float | None
    concerted: ConcertedJumps | None
    between: float
    clusters: tuple[Cluster, ...]
    spans_alone: tuple[Span, ...]
    spans_together: tuple[Span, ...]
    jump_diffusivity_cm2_per_s: Estimate
    tracer_factor: float | None
    percolation: DensityPercolation | None
    profiles: tuple[PathProfile, ...]
    non_gaussian: NonGaussianity
    van_hove: VanHove
    crystal: CrystalFit | None
    flags: tuple[str, ...]

    @property
    def connected_axes(self) -> tuple[str, ...]:
        """Axes, of a, b, c, along which the network of jumps is infinite."""
        axes = {axis for cluster in self.clusters for axis in cluster.axes}
        return tuple(axis for axis in AXES if axis in axes)

    @classmethod
    def of(
        cls,
        migration: Migration,
        tracer_cm2_per_s: Estimate,
        *,
        crystal: CrystalFit | None = None,
        refined_occupancies: Mapping[str, float] | None = None,
        flags: Sequence[str] = (),
    ) -> MigrationSummary:
        """Summarise an analysis.

        Parameters
        ----------
        migration
            Full analysis.
        tracer_cm2_per_s
            D* of the run.
        crystal, refined_occupancies
            Crystal that the sites belong to, and its occupancy of one site of each label.
        flags
            Sentences to put before those of the analysis.
        """
        occupation, network = migration.occupation, migration.network
        jump = occupation.jump_diffusivity().scaled(A2_PER_PS_TO_CM2_PER_S)
        kinds = network.grouped()
        edge_kinds = np.zeros(len(network.rows), dtype=np.int64)
        for number, (_, members) in enumerate(kinds):
            edge_kinds[members] = number
        return cls(
            cell_A=np.asarray(occupation.sites.cell_A),
            sites=_sites(occupation),
            site_kinds=_site_kinds(occupation, refined_occupancies or {}),
            edges=np.column_stack([network.rows, network.counts])[:_MOST_EDGES],
            edge_kinds=edge_kinds[:_MOST_EDGES],
            jump_kinds=tuple(kind for kind, _ in kinds),
            n_jumps=occupation.n_jumps,
            back_jumps=occupation.back_jumps if math.isfinite(occupation.back_jumps) else None,
            concerted=migration.concerted,
            between=occupation.between,
            clusters=tuple(cluster for cluster in migration.clusters if cluster.dimension > 0),
            spans_alone=migration.alone,
            spans_together=migration.together,
            jump_diffusivity_cm2_per_s=jump,
            tracer_factor=None if tracer_cm2_per_s.is_upper_bound else _factor(tracer_cm2_per_s.value, jump.value),
            percolation=migration.percolation,
            profiles=migration.profiles,
            non_gaussian=migration.non_gaussian,
            van_hove=migration.van_hove,
            crystal=crystal,
            flags=(*flags, *migration.flags),
        )


def _sites(occupation: SiteOccupation) -> tuple[Site, ...]:
    sites = occupation.sites
    rows = zip(sites.labels, sites.fractional, occupation.occupancies, occupation.amplitudes_A, strict=True)
    return tuple(
        Site(label, (float(x[0]), float(x[1]), float(x[2])), float(held), float(amplitude))
        for label, x, held, amplitude in rows
    )


def _site_kinds(occupation: SiteOccupation, refined: Mapping[str, float]) -> tuple[SiteKind, ...]:
    residence, stays = occupation.residence_times(), occupation.stay_distributions()
    return tuple(
        SiteKind(label, n_sites, held, refined.get(label), residence[label], stays.get(label))
        for label, (n_sites, held) in occupation.kind_occupancies().items()
        if label in residence
    )


def _factor(tracer: float, jump: float) -> float | None:
    return tracer / jump if jump and math.isfinite(tracer) and math.isfinite(jump) else None
