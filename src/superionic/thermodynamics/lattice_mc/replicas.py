"""Replicas of a decoration at a ladder of temperatures: their state, and the sweeps that advance it.

A move swaps two unlike species of one block, so that the composition stays. Pairs are picked symmetrically and moves
that violate an exclusion are rejected; with the Metropolis rule this gives detailed balance over all allowed
decorations.
Replicas at neighbouring temperatures exchange (Hukushima & Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from superionic.errors import AnalysisError
from superionic.thermodynamics.lattice_mc.lattice import (
    CodeArray,
    FloatArray,
    IntArray,
    LatticeEnergy,
    SwapSpace,
    empty_tables,
)
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.thermodynamics.lattice_mc.kernels import Harvest, Moves, Progress, Replicas

_DRAWS = 1 << 15
"""Approximate number of random numbers drawn at a time."""

REFRESH_SWEEPS = 500
"""Energies and potentials are recomputed after this many sweeps, against the drift of rounding."""


@dataclass(frozen=True, eq=False)
class MonteCarloState:
    """The complete state of a run, from which to continue it. Segments give the same run as one piece, bit for bit.

    Arrays are those of the replicas (order, rank, codes, potential, replica_energies), of the exchanges (at, direction,
    trips, accepted, exchange_tried, exchange_accepted), and the series by temperature: ``energies_eV`` (n_sweeps,
    n_temperatures), ``snapshots`` (n_snapshots, n_temperatures, n_free) after every ``record_every`` sweeps.
    """

    temperatures_K: FloatArray
    sweep: int
    record_every: int
    n_failed: int
    order: IntArray
    rank: IntArray
    codes: CodeArray
    potential: FloatArray
    replica_energies: FloatArray
    at: IntArray
    direction: IntArray
    trips: IntArray
    accepted: IntArray
    exchange_tried: IntArray
    exchange_accepted: IntArray
    energies_eV: FloatArray
    snapshots: CodeArray
    generators: tuple[Mapping[str, Any], Mapping[str, Any]]


def begin(
    space: SwapSpace,
    energy: LatticeEnergy,
    temperatures: FloatArray,
    starts: CodeArray,
    seed: np.random.SeedSequence,
    record_every: int,
) -> MonteCarloState:
    """Return the state before the first sweep; `starts` is (n_T, n_free)."""
    n_t, n = starts.shape
    layouts = [space.layout(row) for row in starts]
    uniform, exponential = (np.random.PCG64(s).state for s in seed.spawn(2))
    zeros = np.zeros(n_t, dtype=np.int64)
    # Without tables the energies are computed now; with them the first sweep sums them.
    energies = np.zeros(n_t) if energy.tables() is not None else energy.energies(starts)
    if not np.all(np.isfinite(energies)):
        raise AnalysisError(
            "The energy of the starting decoration could not be calculated.", fix="Start from another decoration."
        )
    return MonteCarloState(
        temperatures_K=np.array(temperatures, dtype=np.float64),
        sweep=0,
        record_every=record_every,
        n_failed=0,
        order=np.array([o for o, _ in layouts]),
        rank=np.array([r for _, r in layouts]),
        codes=np.array(starts, dtype=np.uint8),
        potential=np.zeros((n_t, n)),
        replica_energies=energies,
        at=np.arange(n_t),
        direction=zeros,
        trips=zeros,
        accepted=zeros,
        exchange_tried=zeros[1:],
        exchange_accepted=zeros[1:],
        energies_eV=np.zeros((0, n_t)),
        snapshots=np.zeros((0, n_t, n), dtype=np.uint8),
        generators=(dict(uniform), dict(exponential)),
    )


def advance(
    space: SwapSpace, energy: LatticeEnergy, state: MonteCarloState, n_sweeps: int, harvest: Harvest | None = None
) -> MonteCarloState:
    """Run sweeps from a state, which is not changed."""
    from superionic.thermodynamics.lattice_mc import kernels

    tables, moves = energy.tables(), space.moves()
    copies = {f.name: np.array(getattr(state, f.name)) for f in fields(state) if f.name not in _NOT_COPIED}
    replicas = kernels.Replicas(
        copies["order"], copies["rank"], copies["codes"], copies["potential"], copies["replica_energies"]
    )
    progress = kernels.Progress(
        *(copies[k] for k in ("at", "direction", "trips", "accepted", "exchange_tried", "exchange_accepted"))
    )
    uniform, exponential = (np.random.Generator(np.random.PCG64(0)) for _ in range(2))
    uniform.bit_generator.state, exponential.bit_generator.state = (dict(g) for g in state.generators)
    betas = 1.0 / (BOLTZMANN_EV_PER_K * state.temperatures_K)
    n_t, attempts = len(betas), replicas.order.shape[1]
    step = max(1, _DRAWS // (4 * n_t * attempts))
    series, snapshots, failed = [state.energies_eV], [state.snapshots], state.n_failed
    sweep, end = state.sweep, state.sweep + n_sweeps
    while sweep < end:
        block = min(step, end - sweep, REFRESH_SWEEPS - sweep % REFRESH_SWEEPS)
        picks = uniform.random((block, n_t, attempts, 3))
        hurdles = exponential.standard_exponential((block, n_t * attempts + n_t))
        energies = np.empty((block, n_t))
        n_records = (sweep + block) // state.record_every - sweep // state.record_every
        records = np.empty((n_records, n_t, space.n_free), dtype=np.uint8)
        if tables is None:
            failed += _run_called(
                energy, moves, replicas, progress, betas, picks, hurdles, sweep, state.record_every, energies, records
            )
        else:
            if sweep % REFRESH_SWEEPS == 0:
                for r in range(n_t):
                    replicas.energies[r] = kernels.refresh(tables, replicas.codes[r], replicas.potential[r])
            kernels.run_sweeps(
                tables,
                moves,
                replicas,
                progress,
                no_harvest(n_t) if harvest is None else harvest,
                betas,
                picks,
                hurdles,
                sweep,
                state.record_every,
                energies,
                records,
            )
        series.append(energies)
        snapshots.append(records)
        sweep += block
    return replace(
        state,
        sweep=sweep,
        n_failed=failed,
        order=replicas.order,
        rank=replicas.rank,
        codes=replicas.codes,
        potential=replicas.potential,
        replica_energies=replicas.energies,
        **progress._asdict(),
        energies_eV=np.concatenate(series),
        snapshots=np.concatenate(snapshots),
        generators=(dict(uniform.bit_generator.state), dict(exponential.bit_generator.state)),
    )


_NOT_COPIED = ("sweep", "record_every", "n_failed", "generators", "energies_eV", "snapshots", "temperatures_K")


def _run_called(
    energy: LatticeEnergy,
    moves: Moves,
    replicas: Replicas,
    progress: Progress,
    betas: FloatArray,
    picks: FloatArray,
    hurdles: FloatArray,
    first_sweep: int,
    record_every: int,
    energies: FloatArray,
    snapshots: CodeArray,
) -> int:
    """Run the same moves with an energy function, called once per attempt of all replicas; return the failures."""
    from superionic.thermodynamics.lattice_mc import kernels

    tables = empty_tables()
    n_sweeps, n_t, n_attempts = picks.shape[:3]
    failed, written = 0, 0
    for s in range(n_sweeps):
        for a in range(n_attempts):
            tried: list[tuple[int, int, int, int]] = []
            candidates: list[CodeArray] = []
            for k in range(n_t):
                r = int(progress.at[k])
                i, j = kernels.propose(*moves[:4], replicas.order[r], replicas.codes[r], *picks[s, k, a])
                if i >= 0 and kernels.keeps_exclusions(
                    moves.vacancy, moves.excluded_start, moves.excluded, replicas.codes[r], i, j
                ):
                    codes = replicas.codes[r].copy()
                    codes[i], codes[j] = codes[j], codes[i]
                    tried.append((k, r, i, j))
                    candidates.append(codes)
            if not tried:
                continue
            for (k, r, i, j), new in zip(tried, energy.energies(np.array(candidates)), strict=True):
                failed += int(np.isnan(new))
                # A failed calculation is NaN and never below the hurdle: the move is rejected.
                if betas[k] * (new - replicas.energies[r]) < hurdles[s, k * n_attempts + a]:
                    kernels.swap(
                        tables.charges,
                        tables.matrix,
                        replicas.order[r],
                        replicas.rank[r],
                        replicas.codes[r],
                        replicas.potential[r],
                        i,
                        j,
                    )
                    replicas.energies[r] = new
                    progress.accepted[k] += 1
        kernels.exchange(replicas.energies, progress, betas, hurdles[s, n_t * n_attempts :], first_sweep + s)
        energies[s] = replicas.energies[progress.at]
        if (first_sweep + s + 1) % record_every == 0:
            snapshots[written] = replicas.codes[progress.at]
            written += 1
    return failed


def no_harvest(n_replicas: int) -> Harvest:
    """Return a harvest that collects nothing."""
    from superionic.thermodynamics.lattice_mc.kernels import Harvest

    none = np.zeros(0, dtype=np.int64)
    flat = np.zeros((0, 0), dtype=np.int64)
    hashes = np.zeros(n_replicas, dtype=np.int64)
    return Harvest(flat, hashes, none, flat.astype(np.uint8), np.zeros(0), none, none, np.zeros(0))
