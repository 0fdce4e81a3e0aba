"""Trajectories that a user already has: the Python twin of ``superionic analyse``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from superionic.campaign.trajectories import is_run_folder, open_run
from superionic.errors import AnalysisError
from superionic.report.notebook import Drawn
from superionic.results.analysis import Analysis, PooledTransport, SeriesOfRuns
from superionic.results.identity import Material, Run
from superionic.trajectories.analysis import AnalysedTrajectory, AnalysisOptions, Drift, RunAnalysis, analyse_trajectory
from superionic.trajectories.reading import (
    ReadingOptions,
    ReadWarning,
    TrajectoryReader,
    open_trajectory,
    without_effect,
)
from superionic.trajectories.unwrapping.cache import key_of
from superionic.trajectories.unwrapping.paths import SCHEMES, Scheme
from superionic.trajectories.unwrapping.trajectory import Progress, read_unwrapped
from superionic.transport.conductivity.bounded import respect_bounds
from superionic.transport.conductivity.of_temperature import RunTransport, temperature_dependence
from superionic.transport.estimate import Estimate, pool, ratio_estimate
from superionic.transport.observables.together import OBSERVABLES
from superionic.transport.observables.volumes import ThermalExpansion, thermal_expansion
from superionic.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from superionic.report.csv_tables import CsvTable
    from superionic.report.section import Section
    from superionic.structures.crystal.disordered import DisorderedCrystal

_SAME_TEMPERATURE_K = 0.5
_AXES = {"x": 0, "y": 1, "z": 2}
_PLANES = {"ab": (0, 1), "ac": (0, 2), "bc": (1, 2)}


@dataclass(frozen=True, eq=False, repr=False)
class TrajectoryAnalysis(Drawn, Analysis):
    """The results of an analysis, with the trajectories behind them.

    Attributes
    ----------
    trajectories
        Positions, density grids and single jumps behind the results, in the same order; not part of them.
    """

    trajectories: tuple[AnalysedTrajectory, ...] = field(init=False, default=())

    def write(self, folder: str | Path, *, formats: Sequence[str] = ("png", "svg"), samples: int = 0) -> Path:
        """Write result.json, CSV tables, figures, densities (cube, CHGCAR) and a page; return the page.

        Parameters
        ----------
        folder
            Where to write; created if missing.
        samples
            Number of draws of the results (D*, D_σ, Ea, ln D₀, σ) to write to ``samples.csv`` and ``samples.npz``; see
            :meth:`superionic.results.analysis.Analysis.samples`.
        """
        from superionic.report.analysis_page import write_analysis

        drawn = self.samples(samples) if samples else ()
        return write_analysis(
            self, Path(folder), grids=self._grids(), jumps=self._jumps(), samples=drawn, formats=formats
        ).html

    def _grids(self) -> dict[str, NDArray[np.float64]]:
        from superionic.report.analysis_page import grid_name

        return {
            grid_name(index): each.density.probability_per_A3
            for index, each in enumerate(self.trajectories)
            if each.density is not None
        }

    def _jumps(self) -> CsvTable | None:
        from superionic.report.analysis_page import jumps_csv

        jumped = []
        for each in self.trajectories:
            if each.migration is not None:
                mobile = np.flatnonzero(np.isin(each.trajectory.symbols, each.result.mobile))
                jumped.append((each.result.name, each.migration.occupation, mobile))
        return jumps_csv(jumped) if jumped else None

    def _sections(self) -> tuple[Section, ...]:
        from superionic.report.analysis_page import analysis_sections

        return analysis_sections(self, self._grids(), jumps=self._jumps())


def analyse(
    files: str | Path | TrajectoryReader | Sequence[str | Path | TrajectoryReader],
    *,
    mobile: str | Sequence[str] = (),
    frame_interval_fs: float | None = None,
    temperature_K: float | None = None,
    temperatures_K: Sequence[float] | None = None,
    replicas: bool = False,
    arrhenius: bool | None = None,
    report_temperatures_K: Sequence[float] = (300.0,),
    charges: Mapping[str, float] | None = None,
    axes: str = "xyz",
    plane: str | None = None,
    framework: Sequence[str] = (),
    drift: Drift | None = None,
    hop_length_A: float = 3.0,
    window_ps: tuple[float, float] | None = None,
    skip_ps: float = 0.0,
    stride: int = 1,
    density_grid_A: float | None = None,
    isovalue_per_A3: float | None = None,
    sites: str | Path | DisorderedCrystal = "none",
    observables: str | Sequence[str] = (),
    format: str | None = None,  # noqa: A002 - as in ASE
    elements: Sequence[str] = (),
    units: str | None = None,
    timestep_fs: float | None = None,
    structure: str | Path | None = None,
    unwrap: Scheme = "mean-cell",
    cache: str | Path | None = None,
    run: str | None = None,
    part: str = "production",
    progress: Progress | None = None,
) -> TrajectoryAnalysis:
    """Analyse trajectories: diffusivities, Haven ratio, conductivities, volumes, each with its error.

    Parameters
    ----------
    files
        XDATCAR, vasprun.xml, LAMMPS dump, extxyz, ASE .traj, H5MD, XTC or DCD files, in order; or the run folder of a
        campaign; or what :func:`superionic.run_md` returned. Several are one trajectory, unless `temperatures_K` or
        `replicas` say otherwise.
    mobile
        Element(s) of the mobile ions; guessed if empty.
    frame_interval_fs
        Time between frames; that of the files if None.
    temperature_K
        Temperature of the run (of all files), for the conductivities; if None, that stated in the files.
    temperatures_K
        One for each file: each is a run of its own; files at the same temperature are replicas.
    replicas
        Each file is a run of its own at `temperature_K`.
    arrhenius
        Fit an activation energy; None: where there are two temperatures or more.
    report_temperatures_K
        Temperatures at which the fit is read off; the first is the headline's.
    charges, axes, plane, framework, drift, hop_length_A, window_ps, density_grid_A, isovalue_per_A3
        See :class:`superionic.trajectories.analysis.AnalysisOptions`; `axes` as letters, such as ``"xy"``,
        `plane` as those of two cell vectors, such as ``"ac"``.
    sites
        Where ions go: ``"none"`` does not ask; ``"density"`` takes the maxima of the density for sites; a crystal, or
        its CIF, takes its sites (with its labels, such as ``"Li1 (6h)"``) and finds interstitials besides.
    observables
        What else to look at: some of ``"vibrations"`` (attempt frequency and amplitude of the mobile ions),
        ``"rotation"`` (of polyanions) and ``"pairs"`` (g(r) by element and site), or ``"all"``.
    skip_ps, stride
        Leave out the beginning of each run; take each so many frames.
    format, elements, units, timestep_fs, structure
        What files may not say about themselves; see :class:`superionic.trajectories.reading.ReadingOptions`.
    unwrap
        How a changing cell is dealt with; see :mod:`superionic.trajectories.unwrapping.paths`.
    cache
        Folder that keeps unwrapped positions for the next time.
    run, part
        Of a campaign: words of the run's label (all runs if None), and ``"production"`` or ``"npt"``.
    progress
        Called with frames read and their number, where it is known.

    Returns
    -------
    TrajectoryAnalysis
        The results, and the trajectories behind them.

    Raises
    ------
    AnalysisError
        If files cannot be read, do not fit together, or something must be stated about them; if a number is out of
        bounds.
    """
    _demand_numbers(
        frame_interval_fs=(frame_interval_fs, 1e-6, 1e9),
        temperature_K=(temperature_K, 1.0, 10_000.0),
        temperatures_K=(temperatures_K, 1.0, 10_000.0),
        report_temperatures_K=(report_temperatures_K, 1.0, 10_000.0),
        hop_length_A=(hop_length_A, 0.1, 100.0),
        skip_ps=(skip_ps, 0.0, 1e12),
        stride=(stride, 1, 10**9),
        timestep_fs=(timestep_fs, 1e-6, 1e6),
        density_grid_A=(density_grid_A, 0.01, 10.0),
        isovalue_per_A3=(isovalue_per_A3, 1e-15, 1e6),
    )
    items = files if isinstance(files, Sequence) and not isinstance(files, str) else [files]
    sources = [Path(each) if isinstance(each, str | Path) else each for each in items]
    reading = ReadingOptions(tuple(elements), units, timestep_fs, None if structure is None else Path(structure))
    options = AnalysisOptions(
        mobile=(mobile,) if isinstance(mobile, str) else tuple(mobile),
        charges=charges,
        axes=_axes(axes),
        plane=_plane(plane),
        framework=tuple(framework),
        drift=drift,
        hop_length_A=hop_length_A,
        window_ps=window_ps,
        density_grid_A=density_grid_A,
        isovalue_per_A3=isovalue_per_A3,
        sites=_sites(sites),
        observables=_observables(observables),
    )
    if unwrap not in SCHEMES:
        raise AnalysisError(f"{unwrap!r} is not a method of unwrapping.", fix=f"Choose one of {', '.join(SCHEMES)}.")
    groups = _groups(sources, reading, format, temperature_K, temperatures_K, replicas, run, part)
    interval = None if frame_interval_fs is None else frame_interval_fs * 1.0e-3
    analysed = []
    for group in groups:
        readers = group.readers
        temperature, remark, doubt = _temperature(group)
        key = key_of(group.files, reading, [r.format for r in readers], unwrap) if cache and group.files else ""
        trajectory = read_unwrapped(
            readers,
            frame_interval_ps=interval,
            scheme=unwrap,
            cache=Path(cache) if cache is not None and key else None,
            cache_key=key,
            progress=progress,
        )
        trimmed = trajectory.part(skip_ps, stride)
        remarks = [remark, *([without_effect(readers[0], reading)] if group.files else [])]
        more = tuple(ReadWarning(None, None, each, 0, readers[0].name) for each in remarks if each)
        trimmed = replace(
            trimmed, notices=(*trimmed.notices, *more), flags=(*trimmed.flags, *([doubt] if doubt else []))
        )
        name = readers[0].name + (f" and {len(readers) - 1} more" if len(readers) > 1 else "")
        pressure = None if group.run is None else group.run.pressure_GPa
        run_options = replace(options, temperature_K=temperature, pressure_GPa=pressure)
        analysed.append(analyse_trajectory(trimmed, run_options, name=name))
    runs = tuple(each.result for each in analysed)
    identities = tuple(group.run for group in groups if group.run is not None)
    temperatures = {run.transport.temperature_K for run in runs}
    several = len(temperatures - {None}) > 1
    if arrhenius and not several:
        raise AnalysisError(
            "An Arrhenius fit needs runs at two temperatures at least.",
            fix="Give one for each file: --temperatures-K 600,800.",
        )
    fitted = several if arrhenius is None else arrhenius
    one_material = len({_subject(run) for run in identities}) <= 1
    analysis = TrajectoryAnalysis(
        superionic=__version__,
        runs=runs,
        identities=identities,
        pooled=_pooled(runs) if len(runs) > 1 and len(temperatures) == 1 and one_material else None,
        arrhenius=tuple(_series(runs, identities, report_temperatures_K)) if fitted else (),
        expansion=_expansion(runs) if one_material else None,
    )
    # Not part of the results, and so none of the arguments that make them.
    object.__setattr__(analysis, "trajectories", tuple(analysed))
    return analysis


@dataclass(frozen=True)
class _Group:
    """One run: its readers, its files if it has any, its temperature, and its identity in a campaign."""

    readers: Sequence[TrajectoryReader]
    files: Sequence[Path]
    temperature_K: float | None
    run: Run | None = None


def _groups(
    sources: Sequence[Path | TrajectoryReader],
    options: ReadingOptions,
    form: str | None,
    temperature_K: float | None,
    temperatures_K: Sequence[float] | None,
    replicas: bool,
    run: str | None,
    part: str,
) -> list[_Group]:
    if not sources:
        raise AnalysisError("No file is given.", fix="Name a trajectory.")
    paths = [each for each in sources if isinstance(each, Path)]
    if any(is_run_folder(path) for path in paths):
        if len(paths) < len(sources):
            raise AnalysisError("The run folder of a campaign is not a trajectory.", fix="Analyse it by itself.")
        opened = [each for path in paths for each in open_run(path, run, part)]
        return [_Group([each.reader], [], temperature_K or each.run.temperature_K, each.run) for each in opened]
    readers = [
        open_trajectory(each, format=form, options=options) if isinstance(each, Path) else each for each in sources
    ]
    if temperatures_K is not None:
        if len(temperatures_K) != len(readers):
            raise AnalysisError(
                f"{len(readers)} files do not go with {len(temperatures_K)} temperatures.",
                fix="Give one temperature for each file, in order: --temperatures-K 600,700,800.",
            )
        groups: list[tuple[list[TrajectoryReader], float | None]]
        groups = [([reader], temperature) for reader, temperature in zip(readers, temperatures_K, strict=True)]
    else:
        groups = [([reader], temperature_K) for reader in readers] if replicas else [(readers, temperature_K)]
    # Files are named for the cache alone; what was never a file is not kept there.
    named = paths if len(paths) == len(sources) else []
    return [
        _Group(group, named if len(groups) == 1 else named[index : index + 1], temperature)
        for index, (group, temperature) in enumerate(groups)
    ]


def _temperature(group: _Group) -> tuple[float | None, str, str]:
    """Return the temperature of a run (as the user states it, or else the files), a remark and a caution.

    Raises
    ------
    AnalysisError
        If files that are taken as one run were held at different temperatures, and none is given.
    """
    stated_K = [reader.temperature_K for reader in group.readers if reader.temperature_K is not None]
    low, high = min(stated_K, default=0.0), max(stated_K, default=0.0)
    stated = f"{low:g}" + (f" to {high:g}" if high > low else "")
    if group.temperature_K is not None:
        if stated_K and max(abs(low - group.temperature_K), abs(high - group.temperature_K)) > _SAME_TEMPERATURE_K:
            says = f"{group.readers[0].name}, or what lies beside it, says {stated} K"
            remark = f"{says}; {group.temperature_K:g} K, as stated, was used."
            return group.temperature_K, "", remark
        return group.temperature_K, "", ""
    if not stated_K:
        return None, "", ""
    if high - low > _SAME_TEMPERATURE_K:
        several = ",".join(f"{each:g}" for each in stated_K)
        raise AnalysisError(
            f"The files were held at {stated} K: they are not one run.",
            where=group.readers[0].name,
            fix=f"Analyse each as a run of its own, --temperatures-K {several}, or give one --temperature-K.",
        )
    return low, f"the temperature is that of the file, or of what lies beside it: {stated} K", ""


def _axes(text: str) -> tuple[int, ...]:
    letters = text.replace(",", "").lower()
    if not letters or any(letter not in _AXES for letter in letters) or len(set(letters)) != len(letters):
        raise AnalysisError(f"{text[:40]!r} are no axes.", fix="Write xyz, xy, z and so on.")
    return tuple(_AXES[letter] for letter in letters)


def _observables(requested: str | Sequence[str]) -> tuple[str, ...]:
    names = requested.replace(",", " ").split() if isinstance(requested, str) else list(requested)
    if names in (["all"], ["none"]):
        return OBSERVABLES if names == ["all"] else ()
    unknown = [each for each in names if each not in OBSERVABLES]
    if unknown:
        raise AnalysisError(
            f"There is no observable {unknown[0][:40]!r}.",
            where="--observables",
            fix=f"Choose among {', '.join(OBSERVABLES)}, or all, or none.",
        )
    return tuple(dict.fromkeys(names))


def _plane(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if text.lower() not in _PLANES:
        raise AnalysisError(f"{text[:40]!r} is no plane of the cell.", fix="Write ab, ac or bc.")
    return _PLANES[text.lower()]


def _sites(source: str | Path | DisorderedCrystal) -> Literal["none", "density"] | DisorderedCrystal:
    if not isinstance(source, str | Path):
        return source
    if source in ("none", "density"):
        return source  # type: ignore[return-value]
    from superionic.structures.io.files import read_crystal

    if not Path(source).exists():
        raise AnalysisError(
            f"There is no file {str(source)!r} to take sites from.",
            where="--sites",
            fix="Choose density, none, or the CIF of the crystal.",
        )
    return read_crystal(source)


def _pooled(runs: Sequence[RunAnalysis]) -> PooledTransport:
    """Average replicas, weighted by ions × time (not by their errors, which are low where the value is).

    A replica that did not level off bounds the average from above only. The Haven ratio is that of the averages: a mean
    of ratios is dominated by the run whose D_σ happens to be low.
    """
    weights = [run.transport.n_ions * run.transport.duration_ps for run in runs]

    def average(estimates: Sequence[Estimate]) -> Estimate:
        return respect_bounds(pool(estimates, weights), estimates, weights)

    def where_known(estimates: Sequence[Estimate | None]) -> Estimate | None:
        available = [estimate for estimate in estimates if estimate is not None]
        return average(available) if len(available) == len(runs) else None

    analyses = [run.transport for run in runs]
    return PooledTransport(
        tracer_diffusivity_cm2_per_s=average([each.tracer_diffusivity_cm2_per_s for each in analyses]),
        charge_diffusivity_cm2_per_s=average([each.charge_diffusivity_cm2_per_s for each in analyses]),
        haven_ratio=ratio_estimate(
            average([each.tracer.beyond_hops_A2_per_ps for each in analyses]),
            average([each.charge.beyond_hops_A2_per_ps for each in analyses]),
        ),
        nernst_einstein_conductivity_S_per_cm=where_known([e.nernst_einstein_conductivity_S_per_cm for e in analyses]),
        ionic_conductivity_S_per_cm=where_known([each.ionic_conductivity_S_per_cm for each in analyses]),
    )


def _subject(run: Run) -> tuple[Material, str]:
    """Return what the runs of one σ(T) have in common: material and series."""
    return run.ordering.material, run.series


def _series(
    runs: Sequence[RunAnalysis], identities: Sequence[Run], report_temperatures_K: Sequence[float]
) -> Iterator[SeriesOfRuns]:
    """Yield σ(T) of each material and series of runs; files are taken to be of one structure."""
    if any(run.transport.nernst_einstein_conductivity_S_per_cm is None for run in runs):
        raise AnalysisError(
            "An Arrhenius fit of conductivities needs the charges of the mobile ions.", fix="Give them: --charges Li=1."
        )
    groups: dict[tuple[Material | None, str], list[tuple[RunAnalysis, str]]]
    groups = {} if identities else {(None, ""): [(run, "") for run in runs]}
    for run, identity in zip(runs, identities, strict=False):
        groups.setdefault(_subject(identity), []).append((run, identity.ordering.id))
    for (material, series), members in groups.items():
        dependence = temperature_dependence(
            [RunTransport.of(run.transport, ordering=ordering) for run, ordering in members],
            form="lnSigmaT",
            report_temperatures_K=report_temperatures_K,
        )
        yield SeriesOfRuns(material, members[0][0].formula, dependence, series)


def _expansion(runs: Sequence[RunAnalysis]) -> ThermalExpansion | None:
    points = [
        (run.transport.temperature_K, run.mean_cell.volume_A3)
        for run in runs
        if run.mean_cell is not None and run.transport.temperature_K is not None
    ]
    if len({t for t, _ in points}) < 2 or any(v.error <= 0.0 for _, v in points):
        return None
    return thermal_expansion([t for t, _ in points], [v.value for _, v in points], [v.error for _, v in points])


def _demand_numbers(**bounded: tuple[float | Sequence[float] | None, float, float]) -> None:
    """Check that each number, or each of several, lies between its lower and its upper bound."""
    for name, (values, least, most) in bounded.items():
        for value in values if isinstance(values, Sequence) else [] if values is None else [values]:
            if not least <= value <= most:
                raise AnalysisError(
                    f"{name} is {value if abs(value) < 10**15 else 'far too large'}; it lies between {least:g} and "
                    f"{most:g}.",
                    fix="Check the unit, which stands in the name.",
                )
