"""Where the ions are, and where they go: densities, sites, jumps, percolation, van Hove functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from superionic.report.csv_tables import Cells, CsvTable
from superionic.report.density_files import written_files
from superionic.report.runs import NamedRuns, RunName, runs_of_campaign
from superionic.report.section import Block, Paragraph, Section, shown
from superionic.report.sections.paths_figures import NamedGrid, density_plots, migration_plots, to_draw
from superionic.report.table import Table, table_of
from superionic.report.words import (
    UNKNOWN,
    interval,
    listing,
    number,
    safe_name,
    sentence,
    some,
    supercell_text,
    whole_text,
    with_error,
)
from superionic.results.campaign import Results, Statement
from superionic.transport.density.map import DensityMap
from superionic.transport.sites.migration_summary import CrystalFit, MigrationSummary
from superionic.transport.sites.percolation import AXES
from superionic.transport.sites.residence import StayDistribution

_TITLE: Final = "Where the ions are, and where they go"


def drawn_densities(
    results: Results, grids: Mapping[str, NDArray[np.floating]]
) -> Iterator[tuple[str, DensityMap, NDArray[np.floating]]]:
    """Yield file, map and grid of the densities that the report draws."""
    for name, item in to_draw(_maps(results, grids, ()), _chosen(results)):
        yield _file_of(name.label), item.density, item.grid


def _chosen(results: Results) -> list[str]:
    """Return the labels of the runs that are drawn."""
    return [] if results.analyse is None else [run.label for run in results.analyse.drawn]


def _file_of(label: str) -> str:
    """Return the path of the files of a run's density, relative to the page and without an ending."""
    return f"densities/{safe_name(label)}"


def _maps(results: Results, grids: Mapping[str, NDArray[np.floating]], files: Collection[str]) -> NamedRuns[NamedGrid]:
    densities = () if results.analyse is None else results.analyse.densities
    maps = [
        (each.run, NamedGrid(each.density, grids[each.grid], written_files(_file_of(each.run.label), files)))
        for each in densities
        if each.grid in grids
    ]
    return runs_of_campaign(results, maps)


def section(results: Results, grids: Mapping[str, NDArray[np.floating]], files: Collection[str] = ()) -> Section:
    """Describe densities and paths in the runs of a campaign.

    Parameters
    ----------
    grids
        The density grids named in the results.
    files
        Paths, relative to the page, of files beside it, those of the densities among them.
    """
    analysed = results.analyse
    if analysed is None:
        return Section("paths", _TITLE, [Paragraph("Transport was not analysed.", "missing")])
    if not analysed.densities and not analysed.migration:
        words = "Neither a density nor sites were requested (`analyse.density_grid_A`, `analyse.sites`)."
        return Section("paths", _TITLE, [Paragraph(words, "missing")])
    without = [each.run.label for each in analysed.densities if each.grid not in grids]
    migration = runs_of_campaign(results, [(each.run, each) for each in analysed.migration])
    with_sites = [(name, each.migration) for name, each in migration.items if each.migration is not None]
    return paths(
        analysed.mobile_ion,
        _maps(results, grids, files),
        NamedRuns(migration.columns, tuple(with_sites)),
        [(name, each.flags) for name, each in migration.items],
        without,
        _chosen(results),
    )


def paths(
    ion: str,
    maps: NamedRuns[NamedGrid],
    migration: NamedRuns[MigrationSummary],
    flags: Sequence[tuple[RunName, Sequence[str]]],
    without_grid: Sequence[str] = (),
    chosen: Sequence[str] = (),
) -> Section:
    """Describe densities and paths of runs of any origin.

    Parameters
    ----------
    ion
        The mobile ion.
    maps
        Density maps with their grids.
    migration
        Migration in the runs where it could be determined.
    flags
        Cautions about the sites of each run, including runs without sites.
    without_grid
        Labels of runs whose density grid is not available.
    chosen
        Labels of the runs that are drawn; if empty, the hottest of the first structures.
    """
    in_space = [name.label for name, _ in to_draw(maps, chosen)]
    blocks: list[Block] = [
        *density_plots(ion, maps, migration, chosen),
        *migration_plots(migration, chosen, in_space),
    ]
    if without_grid:
        words = f"The density grid is not available, so there is no figure of it: {listing(without_grid)}."
        blocks.append(Paragraph(words, "missing"))
    blocks += [_occupancies(migration), _jumps(migration), _concerted(migration), _percolation(migration)]
    blocks += [Paragraph(_fit_words(fit), "quiet") for fit in _fits(migration)[:1]]
    runs_by_flag: dict[str, list[str]] = {}
    for name, words_of_run in flags:
        for words in words_of_run:
            runs_by_flag.setdefault(words, []).append(name.label)
    several = len(flags) > 1
    blocks += [
        Paragraph(f"{some(runs)}: {sentence(words)}" if several else sentence(words))
        for words, runs in runs_by_flag.items()
    ]
    return Section("paths", _TITLE, shown(*blocks), _files(migration) if migration else ())


def doubts(results: Results) -> Iterator[Statement]:
    """Say in how many runs paths could not be determined."""
    records = results.analyse.migration if results.analyse is not None else ()
    lost = [each for each in records if each.migration is None]
    if lost:
        words = f"In {len(lost)} of {len(records)} runs the positions of the ions show no sites, so there are no paths."
        yield Statement("caution", words)


def _fits(migration: NamedRuns[MigrationSummary]) -> list[CrystalFit]:
    return [each.crystal for _, each in migration.items if each.crystal is not None]


def _fit_words(fit: CrystalFit) -> str:
    misfit = ""
    if fit.framework_misfit_A is not None:
        misfit = f", mean positions of the framework by {number(fit.framework_misfit_A, 2)} Å (rms)"
    if fit.rival_misfit_A is not None:
        misfit += f" (in the other orientation, which exchanges labels, by {number(fit.rival_misfit_A, 2)} Å)"
    return (
        f"Sites are those of {fit.name} in the supercell {supercell_text(fit.supercell)}; lengths differ from the "
        f"crystal's by up to {number(100.0 * fit.strain, 2)} %{misfit}. Labels i1, i2, … are interstitial sites: "
        "further maxima of the density."
    )


def _occupancies(migration: NamedRuns[MigrationSummary]) -> Table:
    refined = any(kind.refined_occupancy is not None for _, each in migration.items for kind in each.site_kinds)
    rows = [
        [
            name.label,
            kind.label,
            whole_text(kind.n_sites),
            number(kind.occupancy),
            *([number(kind.refined_occupancy)] if refined else []),
            number(kind.residence.mean_ps),
            interval(*kind.residence.interval68_ps),
            number(None if kind.stays is None else kind.stays.median_ps),
            UNKNOWN if kind.stays is None or kind.stays.shape95 is None else _shape(kind.stays),
        ]
        for name, each in migration.items
        for kind in each.site_kinds
    ]
    columns = [
        "Run", "Kind of site", "Sites", "Occupancy", *(["Refined occupancy"] if refined else []), "Mean stay, ps",
        "68 % interval, ps", "Median stay, ps", "Shape",
    ]  # fmt: skip
    caption = (
        "Occupancy of the sites. Shape: the exponent k of exp(−(t/τ)^k), with its 95 % interval; 1 if leaving has no "
        "memory, less if many stays are very short, as those of ions that jump back at once."
    )
    return Table(caption, columns, rows, frozenset(range(2, len(columns))))


def _shape(stays: StayDistribution) -> str:
    return number(stays.shape, 2) + ("" if stays.shape95 is None else f" ({interval(*stays.shape95)})")


def _concerted(migration: NamedRuns[MigrationSummary]) -> Table:
    rows = [
        [
            name.label,
            whole_text(each.concerted.n_jumps),
            f"{number(each.concerted.window_ps, 2)} ps, {number(each.concerted.distance_A, 2)} Å",
            with_error(100.0 * each.concerted.fraction, 100.0 * each.concerted.fraction_error),
            number(100.0 * each.concerted.by_chance),
            with_error(each.concerted.ratio, each.concerted.ratio_error),
            ", ".join(whole_text(n) for n in each.concerted.strings),
        ]
        for name, each in migration.items
        if each.concerted is not None
    ]
    columns = [
        "Run", "Jumps", "Within", "With a partner, %", "By chance, %", "Ratio", "Strings of 1, 2, 3, 4, more",
    ]  # fmt: skip
    caption = (
        "Concerted jumps: those with a partner, a jump of another ion that starts or ends nearby within a short time, "
        "and how many there would be by chance if ions jumped as often, but independently of each other."
    )
    return Table(caption, columns, rows, frozenset({1, 3, 4, 5}))


def _jumps(migration: NamedRuns[MigrationSummary]) -> Table:
    return table_of(
        "Jumps between sites. In or out of the ab plane of the run's cell (intraplane within 30° of it), and what the "
        "anion polyhedra of both sites share.",
        [(name, kind) for name, each in migration.items for kind in each.jump_kinds],
        [
            ("Run", lambda row: row[0].label),
            ("Jump", lambda row: f"{row[1].start} → {row[1].end}"),
            ("Length, Å", lambda row: number(row[1].length_A)),
            ("Plane", lambda row: row[1].plane),
            ("Shared", lambda row: row[1].sharing or UNKNOWN),
            ("Number", lambda row: whole_text(row[1].count)),
            ("Rate of an ion there, ps⁻¹", lambda row: number(row[1].rate_per_ps)),
            ("68 % interval, ps⁻¹", lambda row: interval(*row[1].interval68_per_ps)),
        ],
        numeric=(2, 5, 6, 7),
    )


def _percolation(migration: NamedRuns[MigrationSummary]) -> Table:
    rows = [
        [
            name.label,
            *map(_barrier, each.percolation.barriers_eV, each.percolation.barrier_errors_eV),
            ", ".join(each.connected_axes) or "none",
            number(each.back_jumps, 2),
            number(each.tracer_factor, 2),
        ]
        for name, each in migration.items
        if each.percolation is not None
    ]
    columns = [
        "Run", "Barrier along a, eV", "along b, eV", "along c, eV", "Jumps connect", "Back jumps, share", "D*/D_J",
    ]  # fmt: skip
    caption = (
        "Percolation: the barrier, measured from the density maximum, at which the density connects the crystal along "
        "each axis."
    )
    return Table(caption, columns, rows, frozenset({1, 2, 3, 5, 6}))


def _barrier(barrier_eV: float, error_eV: float) -> str:
    if not np.isfinite(barrier_eV):
        return "not spanned"
    return number(barrier_eV) + (f" ± {number(error_eV, 1)}" if np.isfinite(error_eV) else "")


def _files(migration: NamedRuns[MigrationSummary]) -> list[CsvTable]:
    def table(name: str, columns: Sequence[str], rows_of: Iterable[Iterable[Cells]]) -> CsvTable:
        rows = [(*run.cells, *row) for (run, _), rows in zip(migration.items, rows_of, strict=True) for row in rows]
        return CsvTable(name, (*migration.columns, *columns), tuple(rows))

    runs = [each for _, each in migration.items]
    stay = ("residence_ps", "residence_low68_ps", "residence_high68_ps", "stays_ended", "stays_cut")
    shape = ("median_stay_ps", "median_low95_ps", "median_high95_ps", "shape", "shape_low95", "shape_high95")
    rate = ("rate_per_ps", *(f"rate_{end}_per_ps" for end in ("low68", "high68", "low95", "high95")))
    return [
        table(
            "sites.csv",
            ("site", "label", "a_fraction", "b_fraction", "c_fraction", "ions", "amplitude_A"),
            map(_site_rows, runs),
        ),
        table(
            "site_kinds.csv",
            ("label", "n_sites", "ions_on_one", "ions_on_one_in_the_crystal", *stay, *shape),
            map(_site_kind_rows, runs),
        ),
        table(
            "jump_rates.csv",
            ("from", "to", "length_A", "elevation_deg", "plane", "shared_anions", "shared", "count", *rate),
            map(_jump_rows, runs),
        ),
        table("residence.csv", ("label", "time_ps", "share_staying", "low95", "high95"), map(_stay_rows, runs)),
        table(
            "concerted.csv",
            (
                "window_ps",
                "distance_A",
                "jumps",
                "fraction",
                "fraction_error",
                "by_chance",
                "by_chance_error",
                "ratio",
                "ratio_error",
                *(f"strings_of_{n}" for n in ("1", "2", "3", "4", "5_or_more")),
            ),
            map(_concerted_rows, runs),
        ),
        table(
            "percolation.csv",
            ("axis", "barrier_eV", "barrier_error_eV", "level_per_A3", "spanned_by_jumps"),
            map(_percolation_rows, runs),
        ),
        table("van_hove.csv", ("function", "lag_ps", "r_A", "value"), map(_van_hove_rows, runs)),
        table("non_gaussian.csv", ("lag_ps", "alpha2", "error"), map(_non_gaussian_rows, runs)),
        table("free_energy.csv", ("jump", "distance_A", "free_energy_eV", "error_eV"), map(_free_energy_rows, runs)),
    ]


def _site_rows(run: MigrationSummary) -> Iterator[Cells]:
    for index, site in enumerate(run.sites):
        yield (index, site.label, *site.fractional, site.occupancy, site.amplitude_A)


def _site_kind_rows(run: MigrationSummary) -> Iterator[Cells]:
    for kind in run.site_kinds:
        stay = kind.residence
        stays = (stay.mean_ps, *stay.interval68_ps, stay.n_ended, stay.n_cut)
        shape: Cells = (None,) * 6
        if kind.stays is not None:
            ends = (None, None) if kind.stays.shape95 is None else kind.stays.shape95
            shape = (kind.stays.median_ps, *kind.stays.median95_ps, kind.stays.shape, *ends)
        yield (kind.label, kind.n_sites, kind.occupancy, kind.refined_occupancy, *stays, *shape)


def _stay_rows(run: MigrationSummary) -> Iterator[Cells]:
    for kind in run.site_kinds:
        if (stays := kind.stays) is not None:
            for row in zip(stays.times_ps, stays.survival, stays.low95, stays.high95, strict=True):
                yield (kind.label, *(float(value) for value in row))


def _concerted_rows(run: MigrationSummary) -> Iterator[Cells]:
    if (jumps := run.concerted) is not None:
        yield (
            jumps.window_ps, jumps.distance_A, jumps.n_jumps, jumps.fraction, jumps.fraction_error, jumps.by_chance,
            jumps.by_chance_error, jumps.ratio, jumps.ratio_error, *jumps.strings,
        )  # fmt: skip


def _jump_rows(run: MigrationSummary) -> Iterator[Cells]:
    for kind in run.jump_kinds:
        ends = (*kind.interval68_per_ps, *kind.interval95_per_ps)
        way = (kind.length_A, kind.elevation_deg, kind.plane, kind.shared_anions, kind.sharing)
        yield (kind.start, kind.end, *way, kind.count, kind.rate_per_ps, *ends)


def _percolation_rows(run: MigrationSummary) -> Iterator[Cells]:
    percolation = run.percolation
    for index, axis in enumerate(AXES):
        barrier: Cells = (None, None, None)
        if percolation is not None:
            barrier = (
                percolation.barriers_eV[index],
                percolation.barrier_errors_eV[index],
                percolation.levels_per_A3[index],
            )
        yield (axis, *barrier, axis in run.connected_axes)


def _van_hove_rows(run: MigrationSummary) -> Iterator[Cells]:
    maps = run.van_hove
    for name, radii, rows in (
        ("4 pi r^2 G_s (1/A)", maps.r_A, maps.radial_self_per_A),
        ("G_d / mean density", maps.distinct_r_A, maps.distinct_over_mean),
    ):
        for lag, values in zip(maps.lags_ps, rows, strict=True):
            for r, value in zip(radii, values, strict=True):
                yield (name, float(lag), round(float(r), 6), float(value))


def _non_gaussian_rows(run: MigrationSummary) -> Iterator[Cells]:
    curve = run.non_gaussian
    for lag, alpha2, error in zip(curve.lags_ps, curve.alpha2, curve.error, strict=True):
        yield (float(lag), float(alpha2), float(error))


def _free_energy_rows(run: MigrationSummary) -> Iterator[Cells]:
    for path in run.profiles:
        profile = path.profile
        for row in zip(profile.distance_A, profile.free_energy_eV, profile.error_eV, strict=True):
            yield (path.kind, *(float(value) for value in row))
