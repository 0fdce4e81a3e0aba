"""The contents of a campaign's report: its sections, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from superionic.report.section import Section
from superionic.report.sections import (
    cells,
    comparison,
    composition,
    conductivity,
    diffusion,
    draws,
    failures,
    further,
    local_order,
    methods,
    model,
    observables,
    orderings,
    paths,
    provenance,
    ranking,
    series,
    simulations,
    sizes,
    stability,
    student,
    summary,
    teachers,
    volumes,
    workflow,
)
from superionic.results.campaign import Results


def report_sections(
    results: Results, grids: Mapping[str, NDArray[np.floating]], files: Sequence[str]
) -> tuple[Section, ...]:
    """Return all sections of a campaign's report, starting with the summary.

    Parameters
    ----------
    grids
        The density grids named in the results, (n1, n2, n3) in 1/Å³, by name.
    files
        Paths, relative to the page, of further files beside tables and figures.
    """
    sections = (
        summary.section(results),
        workflow.section(results),
        orderings.section(results),
        ranking.section(results),
        local_order.section(results),
        stability.section(results),
        composition.section(results),
        model.section(results),
        student.section(results),
        simulations.section(results),
        volumes.section(results),
        cells.section(results),
        diffusion.section(results),
        conductivity.section(results),
        series.section(results),
        sizes.section(results),
        teachers.section(results),
        draws.section(results),
        paths.section(results, grids, files),
        observables.section(results),
        *further.sections(results),
        comparison.section(results),
        failures.section(results),
        provenance.section(results, files),
        methods.section(results),
    )
    # Subjects that a campaign cannot have, such as trends with one composition, are left out.
    return tuple(section for section in sections if section.blocks)
