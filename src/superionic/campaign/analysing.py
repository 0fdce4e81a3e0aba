"""Trajectories that a user already has: the Python twin of ``superionic analyse``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from superionic.campaign.trajectories import is_run_folder, open_run
from superionic.dynamics.analysis import Drift, Question, RunAnalysis, analyse_trajectory
from superionic.dynamics.reading import ReadingOptions, TrajectoryReader, open_trajectory
from superionic.dynamics.unwrapped import Progress, read_unwrapped
from superionic.dynamics.unwrapped_cache import key_of
from superionic.dynamics.unwrapping import SCHEMES, Scheme
from superionic.errors import AnalysisError
from superionic.execution.task import Context
from superionic.stages.analyse import arrhenius_task
from superionic.transport.estimate import pool
from superionic.transport.volumes import ThermalExpansion, thermal_expansion

if TYPE_CHECKING:
    from superionic.structures.disordered import DisorderedCrystal

_AXES = {"x": 0, "y": 1, "z": 2}
_PLANES = {"ab": (0, 1), "ac": (0, 2), "bc": (1, 2)}
_RUN_NAME = re.compile(r" [0-9.e+]+ K( replica [0-9]+)?$")
_ESTIMATES = (
    "tracer_diffusivity_cm2_per_s",
    "charge_diffusivity_cm2_per_s",
    "haven_ratio",
    "nernst_einstein_conductivity_S_per_cm",
    "ionic_conductivity_S_per_cm",
)


@dataclass(frozen=True, eq=False)
class Analysis:
    """What files say: one trajectory, replicas, or several temperatures.

    Attributes
    ----------
    names
        Of the runs.
    runs
        Their analyses, in the order of the files.
    pooled
        Estimates averaged over replicas, by name; empty unless there are several runs at one temperature.
    arrhenius
        Activation energy and conductivity at other temperatures, as the stage *analyse* gives it; None without.
    expansion
        Thermal expansion from runs at constant pressure and several temperatures; None without.
    """

    names: tuple[str, ...]
    runs: tuple[RunAnalysis, ...]
    pooled: Mapping[str, Mapping[str, Any]]
    arrhenius: Mapping[str, Any] | None
    expansion: ThermalExpansion | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: those of the one run, or of all under ``runs`` with what they say together."""
        from superionic import __version__

        runs = [{**run.to_dict(), "run": name} for name, run in zip(self.names, self.runs, strict=True)]
        head: dict[str, Any] = {"superionic": __version__}
        if len(runs) == 1:
            return head | runs[0]
        flags = list(dict.fromkeys(flag for run in self.runs for flag in run.flags))
        return head | {
            **self.pooled,
            "runs": runs,
            "flags": flags,
            "arrhenius": None if self.arrhenius is None else dict(self.arrhenius),
            "thermal_expansion": None if self.expansion is None else self.expansion.to_dict(),
        }

    def write(
        self,
        folder: str | Path,
        *,
        formats: Sequence[str] = ("png", "svg"),
        isovalue_per_A3: float | None = None,
    ) -> Path:
        """Write result.json, CSV tables, figures, densities (cube, CHGCAR) and a page; return the page.

        Parameters
        ----------
        folder
            Where to write; made if missing.
        formats
            Of the figures.
        isovalue_per_A3
            Of the surface in the figure of the density (∫P = 1); one that encloses 90 % of the ions, and is above the
            noise, if None.
        """
        from superionic.campaign.analysing_files import write_files

        return write_files(self, Path(folder), formats, isovalue_per_A3)


def analyse(
    files: str | Path | Sequence[str | Path],
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
    skip_ps: float = 0.0,
    stride: int = 1,
    density_grid_A: float | None = None,
    sites: str | Path | DisorderedCrystal = "none",
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
) -> Analysis:
    """Analyse trajectories: diffusivities, Haven ratio, conductivities, volumes, each with its error.

    Parameters
    ----------
    files
        XDATCAR, vasprun.xml, LAMMPS dump, extxyz, ASE .traj, H5MD, XTC or DCD files, in order; or the run folder of a
        campaign. Several files are one trajectory, unless `temperatures_K` or `replicas` say otherwise.
    mobile
        Element(s) of the mobile ions; guessed if empty.
    frame_interval_fs
        Time between frames; that of the files if None.
    temperature_K
        Of the run (all files), for the conductivities.
    temperatures_K
        One for each file: each is a run of its own; files at the same temperature are replicas.
    replicas
        Each file is a run of its own at `temperature_K`.
    arrhenius
        Fit an activation energy; None: where there are two temperatures or more.
    report_temperatures_K
        Temperatures at which the fit is read off.
    charges, axes, plane, framework, drift, hop_length_A, density_grid_A
        See :class:`superionic.dynamics.analysis.Question`; `axes` as letters, such as ``"xy"``,
        `plane` as those of two cell vectors, such as ``"ac"``.
    sites
        Where ions go: ``"none"`` does not ask; ``"density"`` takes the maxima of the density for sites; a crystal, or
        its CIF, takes its sites (with its labels, such as ``"Li1 (6h)"``) and finds interstitials besides.
    skip_ps, stride
        Leave out the beginning of each run; take each so many frames.
    format, elements, units, timestep_fs, structure
        What files may not say about themselves; see :class:`superionic.dynamics.reading.ReadingOptions`.
    unwrap
        How a changing cell is dealt with; see :mod:`superionic.dynamics.unwrapping`.
    cache
        Folder that keeps unwrapped positions for the next time.
    run, part
        Of a campaign: words of the run's label (all runs if None), and ``"production"`` or ``"npt"``.
    progress
        Called with frames read and their number, where it is known.

    Returns
    -------
    Analysis

    Raises
    ------
    AnalysisError
        If files cannot be read, do not fit together, or something has to be said about them.
    """
    paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    options = ReadingOptions(tuple(elements), units, timestep_fs, None if structure is None else Path(structure))
    question = Question(
        mobile=(mobile,) if isinstance(mobile, str) else tuple(mobile),
        charges=charges,
        axes=_axes(axes),
        plane=_plane(plane),
        framework=tuple(framework),
        drift=drift,
        hop_length_A=hop_length_A,
        density_grid_A=density_grid_A,
        sites=_sites(sites),
    )
    if unwrap not in SCHEMES:
        raise AnalysisError(f"There is no way to unwrap {unwrap!r}.", fix=f"Choose one of {', '.join(SCHEMES)}.")
    groups = _groups(paths, options, format, temperature_K, temperatures_K, replicas, run, part)
    interval = None if frame_interval_fs is None else frame_interval_fs * 1.0e-3
    names, found = [], []
    for readers, group_files, temperature in groups:
        key = key_of(group_files, options, [r.format for r in readers], unwrap) if cache and group_files else ""
        trajectory = read_unwrapped(
            readers,
            frame_interval_ps=interval,
            scheme=unwrap,
            cache=Path(cache) if cache is not None and key else None,
            cache_key=key,
            progress=progress,
        )
        kept = trajectory.part(skip_ps, stride)
        found.append(analyse_trajectory(kept, replace(question, temperature_K=temperature)))
        names.append(readers[0].name + (f" and {len(readers) - 1} more" if len(readers) > 1 else ""))
    temperatures = [analysis.transport.temperature_K for analysis in found]
    several = len({t for t in temperatures if t is not None}) > 1
    wanted = several if arrhenius is None else arrhenius
    if wanted and not several:
        raise AnalysisError(
            "An Arrhenius fit needs runs at two temperatures at least.",
            fix="Give one for each file: --temperatures-K 600,800.",
        )
    return Analysis(
        names=tuple(names),
        runs=tuple(found),
        pooled=_pooled(found) if len(found) > 1 and len(set(temperatures)) == 1 else {},
        arrhenius=_arrhenius(found, names, report_temperatures_K) if wanted else None,
        expansion=_expansion(found),
    )


Group = tuple[list[TrajectoryReader], list[Path], float | None]


def _groups(
    paths: Sequence[Path],
    options: ReadingOptions,
    form: str | None,
    temperature_K: float | None,
    temperatures_K: Sequence[float] | None,
    replicas: bool,
    run: str | None,
    part: str,
) -> list[Group]:
    """Return the readers of each run, with their files and temperatures."""
    if not paths:
        raise AnalysisError("No file is given.", fix="Name a trajectory.")
    if any(is_run_folder(path) for path in paths):
        opened = [pair for path in paths for pair in open_run(path, run, part)]
        return [([reader], [], temperature_K or temperature) for reader, temperature in opened]
    readers = [open_trajectory(path, format=form, options=options) for path in paths]
    if temperatures_K is not None:
        if len(temperatures_K) != len(paths):
            raise AnalysisError(
                f"{len(paths)} files do not go with {len(temperatures_K)} temperatures.",
                fix="Give one temperature for each file, in order: --temperatures-K 600,700,800.",
            )
        return [([r], [p], t) for r, p, t in zip(readers, paths, temperatures_K, strict=True)]
    if replicas:
        return [([r], [p], temperature_K) for r, p in zip(readers, paths, strict=True)]
    return [(readers, list(paths), temperature_K)]


def _axes(text: str) -> tuple[int, ...]:
    letters = text.replace(",", "").lower()
    if not letters or any(letter not in _AXES for letter in letters) or len(set(letters)) != len(letters):
        raise AnalysisError(f"{text!r} are no axes.", fix="Write xyz, xy, z and so on.")
    return tuple(_AXES[letter] for letter in letters)


def _plane(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if text.lower() not in _PLANES:
        raise AnalysisError(f"{text!r} is no plane of the cell.", fix="Write ab, ac or bc.")
    return _PLANES[text.lower()]


def _sites(chosen: str | Path | DisorderedCrystal) -> Literal["none", "density"] | DisorderedCrystal:
    if not isinstance(chosen, str | Path):
        return chosen
    if chosen in ("none", "density"):
        return chosen  # type: ignore[return-value]
    from superionic.structures.files import read_crystal

    if not Path(chosen).exists():
        raise AnalysisError(
            f"There is no file {str(chosen)!r} to take sites from.",
            where="--sites",
            fix="Choose density, none, or the CIF of the crystal.",
        )
    return read_crystal(chosen)


def _pooled(runs: Sequence[RunAnalysis]) -> dict[str, Mapping[str, Any]]:
    """Average replicas, weighted by ions × time (not by their errors, which are low where the value is)."""
    weights = [run.transport.n_ions * run.transport.duration_ps for run in runs]
    found: dict[str, Mapping[str, Any]] = {}
    for name in _ESTIMATES:
        estimates = [getattr(run.transport, name) for run in runs]
        if all(estimate is not None for estimate in estimates):
            found[name] = pool(estimates, weights).to_dict()
    return found


def _arrhenius(runs: Sequence[RunAnalysis], names: Sequence[str], wanted_K: Sequence[float]) -> dict[str, Any]:
    temperatures = [run.transport.temperature_K for run in runs]
    conductivities = [run.transport.nernst_einstein_conductivity_S_per_cm for run in runs]
    if any(c is None for c in conductivities):
        raise AnalysisError(
            "An Arrhenius fit of conductivities needs the charges of the mobile ions.",
            fix="Give them: --charges Li=1.",
        )
    settings = {
        "form": "lnSigmaT",
        # Runs of a campaign are named by ordering, temperature and replica; files are taken to be of one structure.
        "orderings": [_RUN_NAME.sub("", name) if _RUN_NAME.search(name) else "" for name in names],
        "report_temperatures_K": sorted({300.0, *wanted_K}),
        "temperatures_K": temperatures,
    }
    inputs = {
        "conductivities": [c.to_dict() for c in conductivities if c is not None],
        "diffusivities": [run.transport.tracer_diffusivity_cm2_per_s.to_dict() for run in runs],
    }
    return arrhenius_task(settings, inputs, _context())


def _context() -> Context:
    from tempfile import gettempdir

    return Context(scratch=Path(gettempdir()), progress=lambda _share, _words: None, cache={})


def _expansion(runs: Sequence[RunAnalysis]) -> ThermalExpansion | None:
    points = [
        (run.transport.temperature_K, run.mean_cell.volume_A3)
        for run in runs
        if run.mean_cell is not None and run.transport.temperature_K is not None
    ]
    if len({t for t, _ in points}) < 2 or any(v.error <= 0.0 for _, v in points):
        return None
    return thermal_expansion([t for t, _ in points], [v.value for _, v in points], [v.error for _, v in points])
