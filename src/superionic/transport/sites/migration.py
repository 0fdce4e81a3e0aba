"""Analyse ion migration in one call: density, sites, jumps, percolation, profiles and non-Gaussianity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.density.grid import Density, DensityCounter
from superionic.transport.diffusion.gaussianity import NonGaussianCounter, NonGaussianity, log_lags
from superionic.transport.diffusion.van_hove import VanHove, VanHoveCounter
from superionic.transport.sites.concerted import ConcertedJumps, concerted_jumps
from superionic.transport.sites.jump_rates import JumpNetwork
from superionic.transport.sites.jumps import COMMIT, SiteOccupation, SiteTracker
from superionic.transport.sites.pathways import FreeEnergyProfile, free_energy_profile
from superionic.transport.sites.percolation import (
    Cluster,
    DensityPercolation,
    Span,
    density_percolation,
    network_clusters,
    network_spans,
)
from superionic.transport.sites.positions import SiteSet, density_basins, merge_by_symmetry
from superionic.transport.sites.sharing import shared_anions
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Block = tuple[NDArray[Any], FloatArray, FloatArray | None]
"""Positions (n_frames, n_atoms, 3), cells (3, 3) or (n_frames, 3, 3), and drift (n_frames, 3) or None."""

ATTEMPTS_PER_PS = 10.0
"""Attempt frequency that turns rates into effective barriers (10¹³ s⁻¹, as is usual for ions in solids)."""

_MOST_PROFILES = 4
_LONGEST_PATH = 1.6
_ORIGINS = 1000
_PAIR_ORIGINS = 200
_FEWEST_PAIR_ORIGINS = 40
_PAIR_CENTRES = 20_000
"""Ions times origins whose neighbours are counted at a lag; more ions need fewer origins for the same scatter."""
_VAN_HOVE_LAGS = 20
_MOST_SITES_PER_ION = 30.0


@dataclass(frozen=True)
class PathProfile:
    """Free energy along the path of one kind of jump, between its most frequent pair of sites."""

    kind: str
    profile: FreeEnergyProfile


@dataclass(frozen=True, eq=False)
class Migration:
    """Ion migration in one run.

    Attributes
    ----------
    density, percolation
        Density of the ions, and the barriers at which it spans the crystal; the latter None without a temperature.
    concerted
        Jumps with a partner nearby in time and space; None with too few jumps.
    clusters, alone, together
        Networks of all jumps, of each kind alone, and of the kinds together by rising effective barrier,
        k_B T ln(10 ps⁻¹/rate). The latter two are empty without a temperature.
    profiles
        Free-energy profiles of the most frequent kinds of jumps; empty without a temperature.
    non_gaussian, van_hove
        Non-Gaussian parameter and van Hove functions of the displacements.
    flags
        Sentences for the reader.
    """

    density: Density
    percolation: DensityPercolation | None
    occupation: SiteOccupation
    network: JumpNetwork
    concerted: ConcertedJumps | None
    clusters: tuple[Cluster, ...]
    alone: tuple[Span, ...]
    together: tuple[Span, ...]
    profiles: tuple[PathProfile, ...]
    non_gaussian: NonGaussianity
    van_hove: VanHove
    flags: tuple[str, ...]


def analyse_migration(
    blocks: Callable[[], Iterable[Block]],
    columns: NDArray[np.int64],
    n_frames: int,
    frame_interval_ps: float,
    temperature_K: float | None,
    *,
    sites: SiteSet | None = None,
    operations: tuple[IntArray, FloatArray] | None = None,
    anions_A: FloatArray | None = None,
    grid_spacing_A: float = 0.25,
    commit: float = COMMIT,
) -> Migration:
    """Analyse ion migration in one run, in two passes over its blocks and constant memory.

    Parameters
    ----------
    blocks
        Function that returns the blocks of the run from the start, at each call.
    columns
        Indices of the mobile ions.
    n_frames
        Number of frames in all blocks, which sets the lags.
    temperature_K
        Temperature of the run; None leaves out barriers and profiles.
    sites
        Known sites, to which further maxima of the density are added as interstitials; if omitted, all are from the
        density.
    operations
        Rotations and translations of the average crystal in this cell, by which equivalent sites share a label.
    anions_A
        (m, 3) mean positions of the anions, whose polyhedra around the sites tell what a jump crosses.
    commit
        Fraction of the way to the next site that completes a jump
        (:class:`~superionic.transport.sites.jumps.SiteTracker`).

    Raises
    ------
    AnalysisError
        For fewer than eight frames, wrong shapes, or a density without sites: too few visits, or ions spread evenly.
    """
    if n_frames < 8:
        raise AnalysisError(f"{n_frames} frames are too few to see where ions go.", fix="Analyse a longer run.")
    density = _density(blocks, columns, grid_spacing_A)
    all_sites = _all_sites(density, sites, operations)
    lags = log_lags(max(1, n_frames // 4))
    van_hove_lags = lags[:: max(1, len(lags) // _VAN_HOVE_LAGS)]
    cell = np.asarray(density.cell_A)
    tracker = SiteTracker(all_sites, columns, commit=commit)
    gaussian = NonGaussianCounter(lags, stride=max(1, n_frames // _ORIGINS), columns=columns)
    origins = min(_PAIR_ORIGINS, max(_FEWEST_PAIR_ORIGINS, _PAIR_CENTRES // len(columns)))
    pairs = VanHoveCounter(cell, van_hove_lags, stride=max(1, n_frames // origins), columns=columns)
    for positions, cells, drift in blocks():
        tracker.add(positions, cells, drift)
        gaussian.add(positions, drift)
        pairs.add(positions, drift)
    occupation = tracker.result(frame_interval_ps)
    network = occupation.edges()
    if anions_A is not None and len(anions_A):
        network = replace(network, shared_anions=shared_anions(all_sites, network.rows, anions_A))
    alone, together = ((), ()) if temperature_K is None else _spans(network, temperature_K)
    profiles = () if temperature_K is None else tuple(_profiles(network, density, temperature_K))
    concerted = concerted_jumps(occupation)
    flags = occupation.flags() + ([] if concerted is None else list(concerted.flags))
    if temperature_K is None:
        flags.append("No temperature is known, so there are no barriers and no free energies.")
    return Migration(
        density=density,
        percolation=None if temperature_K is None else density_percolation(density, temperature_K),
        occupation=occupation,
        network=network,
        concerted=concerted,
        clusters=tuple(network_clusters(len(all_sites), network.rows)),
        alone=alone,
        together=together,
        profiles=profiles,
        non_gaussian=gaussian.result(frame_interval_ps),
        van_hove=pairs.result(frame_interval_ps),
        flags=tuple(flags),
    )


def _density(blocks: Callable[[], Iterable[Block]], columns: NDArray[np.int64], grid_spacing_A: float) -> Density:
    counter: DensityCounter | None = None
    for positions, cells, drift in blocks():
        if counter is None:
            first = np.asarray(cells, dtype=np.float64).reshape(-1, 3, 3).mean(axis=0)
            counter = DensityCounter(first, columns, grid_spacing_A=grid_spacing_A)
        counter.add(positions, cells, drift)
    if counter is None:
        raise AnalysisError("There are no frames to count.")
    return counter.result()


def _all_sites(density: Density, known: SiteSet | None, operations: tuple[IntArray, FloatArray] | None) -> SiteSet:
    """Return the known sites with further maxima of the density, or all maxima without known sites."""
    basins = density_basins(density)
    maxima, occupancies = basins.sites, basins.occupancies
    if known is not None:
        interstitial = known.apart(maxima)
        if len(interstitial) == 0:
            return known
        # renumbered: the first interstitial is i1, however many maxima lie on known sites
        labels = tuple(f"i{k + 1}" for k in range(len(interstitial)))
        maxima, occupancies = SiteSet(maxima.fractional[interstitial], labels, maxima.cell_A), occupancies[interstitial]
    if len(maxima) > _MOST_SITES_PER_ION * density.n_ions:
        raise AnalysisError(
            f"The density has {len(maxima)} maxima for {density.n_ions} ions: they do not stay on sites, or the run is "
            "too short to tell.",
            fix="Analyse a longer run, or a solid.",
        )
    if operations is not None:
        maxima, _ = merge_by_symmetry(maxima, occupancies, *operations)
    return maxima if known is None else known.joined(maxima)


def _spans(network: JumpNetwork, temperature_K: float) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Find the networks of each kind of jump, with the effective barrier of its rate."""
    if len(network.rows) == 0:
        return (), ()
    barriers = BOLTZMANN_EV_PER_K * temperature_K * np.log(ATTEMPTS_PER_PS / network.rates_per_ps)
    alone, together = network_spans(
        len(network.sites), network.rows, network.kind_names(), [float(x) for x in barriers]
    )
    return tuple(alone), tuple(together)


def _profiles(network: JumpNetwork, density: Density, temperature_K: float) -> Iterable[PathProfile]:
    """Yield the profile of the most frequent pair of each of the most frequent kinds."""
    names, x = network.kind_names(), network.sites.fractional
    order = np.argsort(-network.counts, kind="stable")
    total: dict[str, int] = {}
    for name, count in zip(names, network.counts, strict=True):
        total[name] = total.get(name, 0) + int(count)
    for kind in sorted(total, key=lambda name: (-total[name], name))[:_MOST_PROFILES]:
        row = network.rows[next(int(k) for k in order if names[k] == kind)]
        try:
            start, end = x[row[0]], x[row[1]] + row[2:]
            yield PathProfile(kind, free_energy_profile(density, start, end, temperature_K, longest=_LONGEST_PATH))
        except AnalysisError:
            continue  # jumps so rare that the path has empty voxels
