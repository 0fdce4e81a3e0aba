"""What a stand-alone analysis leaves in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superionic.errors import StorageError
from superionic.transport.density_text import chgcar_text, cube_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from superionic.campaign.analysing import Analysis
    from superionic.dynamics.analysis import RunAnalysis
    from superionic.transport.density import Density

_TRACE_POINTS = 500
_SMOOTHING_A = 0.3
"""Of the density in the figure: single voxels hold too few visits for a surface."""


def write_files(
    analysis: Analysis, folder: Path, formats: Sequence[str] = ("png", "svg"), isovalue_per_A3: float | None = None
) -> Path:
    """Write all files of an analysis and return the page."""
    from superionic import __version__
    from superionic.report.analysis_page import write_analysis
    from superionic.report.csv_sites import csv_of_jumps, csv_of_sites

    arrays: dict[str, Any] = {}
    records, densities, migration = [], [], []
    single = len({run.formula for run in analysis.runs}) == 1
    for number, (name, run) in enumerate(zip(analysis.names, analysis.runs, strict=True)):
        identity = run.formula if single else name
        values = run.to_dict()
        moved = values.pop("migration")
        records.append({**values, "id": identity, "run": name, "replica": 1, **_trace(run)})
        temperature = run.transport.temperature_K
        if moved is not None:
            migration.append({**moved, "id": identity, "run": name, "temperature_K": temperature})
        if run.density is None:
            continue
        key = f"density_{number:03d}"
        arrays[key] = run.density.probability_per_A3
        densities.append(
            {
                "array": key,
                "cell_A": run.density.cell_A.tolist(),
                "framework": [{"symbol": s, "position_A": list(p)} for s, p in run.framework_sites],
                "id": identity,
                "isovalue_per_A3": isovalue_per_A3 or run.density.isovalue_per_A3(smoothing_A=_SMOOTHING_A),
                "run": name,
                "smoothing_A": _SMOOTHING_A,
                "temperature_K": temperature,
            }
        )
    fit = analysis.arrhenius
    stage = {
        "arrhenius": [] if fit is None else [{**fit, "id": records[0]["id"], "formula": records[0]["formula"]}],
        "densities": densities,
        "migration": migration,
        "mobile_ion": ", ".join(analysis.runs[0].mobile),
        "pooled": dict(analysis.pooled),
        "runs": records,
        "thermal_expansion": None if analysis.expansion is None else analysis.expansion.to_dict(),
    }
    title = analysis.names[0] if len(analysis.names) == 1 else f"{analysis.runs[0].formula}: {len(analysis.names)} runs"
    results = {"campaign": title, "superionic": __version__, "stages": {"analyse": stage}}
    tables = csv_of_sites(migration)
    jumped = [
        (name, run.migration.occupation, np.flatnonzero(np.isin(run.trajectory.symbols, run.mobile)))
        for name, run in zip(analysis.names, analysis.runs, strict=True)
        if run.migration is not None
    ]
    if jumped:
        tables["jumps.csv"] = csv_of_jumps(jumped)
    maps = [
        (f"density_{number:03d}", run.density, run.framework_sites)
        for number, run in enumerate(analysis.runs)
        if run.density is not None
    ]
    files = [name for key, _, _ in maps for name in (f"{key}.cube", f"CHGCAR_{key}.vasp")]
    written = write_analysis(
        analysis.to_dict(), results, folder, arrays=arrays, formats=formats, tables=tables, files=files
    )
    for key, density, atoms in maps:
        _write_maps(folder, key, density, atoms)
    return written.html


def _trace(run: RunAnalysis) -> dict[str, Any]:
    """Thin the volumes of a run at constant pressure for a figure."""
    trajectory = run.trajectory
    if not trajectory.cell_varies:
        return {}
    stride = max(1, len(trajectory.cells_A) // _TRACE_POINTS)
    volumes = np.abs(np.linalg.det(trajectory.cells_A[::stride])) / len(trajectory.symbols)
    times = np.arange(len(volumes)) * stride * trajectory.frame_interval_ps
    return {"volume_trace": {"time_ps": times.tolist(), "volume_A3_per_atom": volumes.tolist()}}


def _write_maps(
    folder: Path, key: str, density: Density, atoms: Sequence[tuple[str, tuple[float, float, float]]]
) -> None:
    """Write a density (∫P = 1) with the mean framework, as cube and as CHGCAR."""
    symbols = [symbol for symbol, _ in atoms]
    places = np.array([place for _, place in atoms], dtype=np.float64).reshape(-1, 3)
    what = (density.probability_per_A3, density.cell_A, symbols, places)
    title = "probability density of the mobile ions, integral 1"
    try:
        (folder / f"{key}.cube").write_text(cube_text(*what, title=title), encoding="utf-8")
        (folder / f"CHGCAR_{key}.vasp").write_text(chgcar_text(*what, title=title), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The density cannot be written: {error.strerror or error}",
            where=str(error.filename or folder),
            fix="Choose another folder with --out.",
        ) from error
