"""Where the ions of a run go, as results: sites, kinds of jumps, what they connect, without grids and single jumps."""

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
        Place in the mean cell; may lie outside it.
    occupancy
        Mean number of ions on it.
    amplitude_A
        Root mean square displacement of these along one axis.
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
        Mean number of ions on one.
    refined_occupancy
        The same in the crystal as refined; None for interstitials and sites of the density.
    residence
        How long ions stay on average, as an exponential law.
    stays
        How long they stay, as it is; None where no stay was seen from its beginning to its end.
    """

    label: str
    n_sites: int
    occupancy: float
    refined_occupancy: float | None
    residence: ResidenceTime
    stays: StayDistribution | None


@dataclass(frozen=True)
class CrystalFit:
    """How the sites of a crystal were laid under a run.

    Attributes
    ----------
    name
        Of the crystal.
    supercell
        Vectors of the run's cell in those of the crystal, as rows.
    strain
        Largest relative change of a length from the crystal to the run, with its sign.
    framework_misfit_A
        Root mean square distance of the framework's mean places from their sites; None without a framework.
    rival_misfit_A
        The same of another way to lay the crystal that gives sites other labels and fits about as well; None without.
    """

    name: str
    supercell: tuple[tuple[int, ...], ...]
    strain: float
    framework_misfit_A: float | None
    rival_misfit_A: float | None


@dataclass(frozen=True, eq=False)
class MigrationSummary:
    """Where the ions of one run go.

    Attributes
    ----------
    cell_A
        (3, 3) mean cell.
    sites, site_kinds
        All sites, and their kinds.
    edges
        (n, 6) jumps seen between pairs of sites: from, to (places in `sites`), cell of the end seen from the start
        (three integers), and how many; 2000 at most.
    jump_kinds
        Jumps by labels, direction and length, the most frequent first.
    n_jumps, back_jumps
        All jumps, and the share that undid the one before; None where none followed another.
    concerted
        Jumps with a partner nearby in time and space, against what chance gives; None where there are few.
    between
        Share of the ions' time in which they were nearer to another site than to their own.
    clusters
        What all jumps together connect without end: cages are left out.
    spans_alone, spans_together
        What each kind of jumps connects, and the kinds together by rising effective barrier.
    jump_diffusivity_cm2_per_s
        D_J, as if each jump forgot the one before.
    tracer_factor
        D*/D_J, without an error of its own, as both come from one run; None where one of them is zero or unknown, or D*
        is only bounded.
    percolation
        At which barrier the density spans the crystal; None without a temperature.
    profiles
        Free energy along the paths of the most frequent kinds of jumps.
    non_gaussian, van_hove
        Of the displacements.
    crystal
        The crystal whose sites these are; None for sites of the density.
    flags
        Sentences for the reader.
    """

    cell_A: FloatArray
    sites: tuple[Site, ...]
    site_kinds: tuple[SiteKind, ...]
    edges: IntArray
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
        """Those of a, b, c along which the jumps seen go on without end."""
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
        """Sum up what was analysed.

        Parameters
        ----------
        migration
            Everything.
        tracer_cm2_per_s
            D* of the run.
        crystal, refined_occupancies
            Which crystal the sites are of, and the ions on one site of each label there.
        flags
            Sentences to set before those of the analysis.
        """
        occupation, network = migration.occupation, migration.network
        jump = occupation.jump_diffusivity().scaled(A2_PER_PS_TO_CM2_PER_S)
        return cls(
            cell_A=np.asarray(occupation.sites.cell_A),
            sites=_sites(occupation),
            site_kinds=_site_kinds(occupation, refined_occupancies or {}),
            edges=np.column_stack([network.rows, network.counts])[:_MOST_EDGES],
            jump_kinds=tuple(network.kinds()),
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
