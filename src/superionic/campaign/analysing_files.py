"""What a stand-alone analysis leaves in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from superionic.campaign.analysing import TrajectoryAnalysis


def write_files(analysis: TrajectoryAnalysis, folder: Path, formats: Sequence[str] = ("png", "svg")) -> Path:
    """Write all files of an analysis and return the page."""
    from superionic.report.analysis_page import grid_name, jumps_csv, write_analysis

    grids = {
        grid_name(index): each.density.probability_per_A3
        for index, each in enumerate(analysis.trajectories)
        if each.density is not None
    }
    jumped = [
        (
            each.result.name,
            each.migration.occupation,
            np.flatnonzero(np.isin(each.trajectory.symbols, each.result.mobile)),
        )
        for each in analysis.trajectories
        if each.migration is not None
    ]
    jumps = jumps_csv(jumped) if jumped else None
    return write_analysis(analysis, folder, grids=grids, jumps=jumps, formats=formats).html
