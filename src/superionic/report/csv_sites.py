"""Sites, jumps, percolation and displacements of stand-alone analyses as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from superionic.report.values import Record, mapping, numbers, records, text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from superionic.transport.jumps import SiteOccupation


def csv_of_sites(found: Sequence[Record]) -> dict[str, str]:
    """Return CSV tables of what :meth:`superionic.transport.migration.Migration.to_dict` gave, by file name.

    Parameters
    ----------
    found
        Records of the runs, each with the name of its ``run``.
    """
    if not any(record.get("sites") for record in found):
        return {}
    return {name: _written(head, (row for run in found for row in rows(run))) for name, (head, rows) in _TABLES.items()}


def csv_of_jumps(runs: Iterable[tuple[str, SiteOccupation, NDArray[np.int64]]]) -> str:
    """Return every jump as a line: run, atom (its index in the file, from 0), time, sites, labels, vector.

    Parameters
    ----------
    runs
        Name, jumps, and (n_ions,) indices of the mobile ions of each run.
    """
    head = ["run", "atom", "left_ps", "arrived_ps", "from_site", "to_site", "from", "to", "x_A", "y_A", "z_A"]
    return _written(head, (row for name, found, atoms in runs for row in _jump_rows(name, found, atoms)))


def _jump_rows(name: str, found: SiteOccupation, atoms: NDArray[np.int64]) -> Iterable[list[Any]]:
    labels, dt = found.sites.labels, found.frame_interval_ps
    columns = (found.ion, found.left_frame, found.arrival_frame, found.start, found.end, found.vectors_A)
    for ion, left, arrived, start, end, vector in zip(*columns, strict=True):
        times = f"{left * dt:.10g}", f"{arrived * dt:.10g}"
        yield [name, atoms[ion], *times, start, end, labels[start], labels[end], *(f"{x:.4f}" for x in vector)]


def _sites(run: Record) -> Iterable[list[Any]]:
    for number, site in enumerate(records(run, "sites")):
        place = numbers(site, "fractional")
        yield [text(run, "run"), number, site["label"], *place, site["occupancy"], site["amplitude_A"]]


def _site_kinds(run: Record) -> Iterable[list[Any]]:
    for kind in records(run, "site_kinds"):
        held = [kind["occupancy"], kind.get("refined_occupancy")]
        stay = [kind["residence_ps"], *kind["residence_interval68_ps"]]
        yield [text(run, "run"), kind["label"], kind["n_sites"], *held, *stay]


def _jump_rates(run: Record) -> Iterable[list[Any]]:
    for kind in records(run, "jump_kinds"):
        rate = [kind["rate_per_ps"], *kind["interval68_per_ps"], *kind["interval95_per_ps"]]
        yield [text(run, "run"), kind["start"], kind["end"], kind["length_A"], kind["count"], *rate]


def _percolation_rows(run: Record) -> Iterable[list[Any]]:
    barriers = mapping(run, "percolation")
    spanned = {str(axis) for cluster in records(run, "clusters") for axis in cluster.get("axes", [])}
    for k, axis in enumerate("abc"):
        row = [barriers[key][k] if barriers else None for key in ("barriers_eV", "barrier_errors_eV", "levels_per_A3")]
        yield [text(run, "run"), axis, *row, "yes" if axis in spanned else "no"]


def _van_hove_rows(run: Record) -> Iterable[list[Any]]:
    maps = mapping(run, "van_hove")
    for name, radii, rows in (
        ("4 pi r^2 G_s (1/A)", "r_A", "self_per_A"),
        ("G_d / mean density", "distinct_r_A", "distinct_over_mean"),
    ):
        for lag, values in zip(numbers(maps, "lags_ps"), maps.get(rows, []), strict=True):
            for r, value in zip(numbers(maps, radii), values, strict=True):
                yield [text(run, "run"), name, lag, None if r is None else round(r, 6), value]


def _non_gaussian(run: Record) -> Iterable[list[Any]]:
    found = mapping(run, "non_gaussian")
    columns = [numbers(found, key) for key in ("lags_ps", "alpha2", "error")]
    for row in zip(*columns, strict=True):
        yield [text(run, "run"), *row]


def _free_energy(run: Record) -> Iterable[list[Any]]:
    for profile in records(run, "profiles"):
        columns = [numbers(profile, key) for key in ("distance_A", "free_energy_eV", "error_eV")]
        for row in zip(*columns, strict=True):
            yield [text(run, "run"), text(profile, "kind"), *row]


_RATE = ("rate_per_ps", "rate_low68_per_ps", "rate_high68_per_ps", "rate_low95_per_ps", "rate_high95_per_ps")
_STAY = ("residence_ps", "residence_low68_ps", "residence_high68_ps")
_TABLES: Final[dict[str, tuple[Sequence[str], Callable[[Record], Iterable[list[Any]]]]]] = {
    "sites.csv": (
        ("run", "site", "label", "a_fraction", "b_fraction", "c_fraction", "ions", "amplitude_A"),
        _sites,
    ),
    "site_kinds.csv": (
        ("run", "label", "n_sites", "ions_on_one", "ions_on_one_in_the_crystal", *_STAY),
        _site_kinds,
    ),
    "jump_rates.csv": (("run", "from", "to", "length_A", "count", *_RATE), _jump_rates),
    "percolation.csv": (
        ("run", "axis", "barrier_eV", "barrier_error_eV", "level_per_A3", "spanned_by_jumps"),
        _percolation_rows,
    ),
    "van_hove.csv": (("run", "function", "lag_ps", "r_A", "value"), _van_hove_rows),
    "non_gaussian.csv": (("run", "lag_ps", "alpha2", "error"), _non_gaussian),
    "free_energy.csv": (("run", "jump", "distance_A", "free_energy_eV", "error_eV"), _free_energy),
}


def _written(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow(["" if x is None else x for x in row])
    return buffer.getvalue()
