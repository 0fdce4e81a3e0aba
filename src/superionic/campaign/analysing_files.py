"""What a stand-alone analysis leaves in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from superionic.campaign.analysing import Analysis
    from superionic.dynamics.analysis import RunAnalysis

_TRACE_POINTS = 500


def write_files(analysis: Analysis, folder: Path, formats: Sequence[str] = ("png", "svg")) -> Path:
    """Write all files of an analysis and return the page."""
    from superionic import __version__
    from superionic.report.analysis_page import write_analysis

    arrays: dict[str, Any] = {}
    records, densities = [], []
    single = len({run.formula for run in analysis.runs}) == 1
    for number, (name, run) in enumerate(zip(analysis.names, analysis.runs, strict=True)):
        identity = run.formula if single else name
        records.append({**run.to_dict(), "id": identity, "run": name, "replica": 1, **_trace(run)})
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
                "isovalue_per_A3": run.density.isovalue_per_A3(),
                "run": name,
                "temperature_K": run.transport.temperature_K,
            }
        )
    fit = analysis.arrhenius
    stage = {
        "arrhenius": [] if fit is None else [{**fit, "id": records[0]["id"], "formula": records[0]["formula"]}],
        "densities": densities,
        "mobile_ion": ", ".join(analysis.runs[0].mobile),
        "pooled": dict(analysis.pooled),
        "runs": records,
        "thermal_expansion": None if analysis.expansion is None else analysis.expansion.to_dict(),
    }
    title = analysis.names[0] if len(analysis.names) == 1 else f"{analysis.runs[0].formula}: {len(analysis.names)} runs"
    results = {"campaign": title, "superionic": __version__, "stages": {"analyse": stage}}
    written = write_analysis(analysis.to_dict(), results, folder, arrays=arrays, formats=formats)
    for number, run in enumerate(analysis.runs):
        if run.density is not None:
            _write_cube(folder / f"density_{number:03d}.cube", run)
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


def _write_cube(path: Path, run: RunAnalysis) -> None:
    """Write the density (∫ = 1, in Å⁻³) with the framework as a Gaussian cube file."""
    from ase import Atoms
    from ase.io.cube import write_cube

    assert run.density is not None  # noqa: S101 - asked before
    atoms = Atoms(
        [s for s, _ in run.framework_sites],
        positions=np.array([p for _, p in run.framework_sites]).reshape(-1, 3),
        cell=run.density.cell_A,
        pbc=True,
    )
    with path.open("w", encoding="utf-8") as file:
        write_cube(file, atoms, data=run.density.probability_per_A3, comment="probability density in 1/A^3, integral 1")
