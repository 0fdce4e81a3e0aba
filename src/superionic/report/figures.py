"""All figures of the report, as plots that two libraries can draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from superionic.report import (
    figures_conductivity,
    figures_energy,
    figures_model,
    figures_transport,
)
from superionic.report.figures_density import density_plots
from superionic.report.figures_sites import migration_plots
from superionic.report.plots import Plot
from superionic.report.values import Results


def all_plots(results: Results, arrays: Mapping[str, NDArray[Any]]) -> list[Plot]:
    """Return the figures for which `results` has data, in the order of the report.

    Parameters
    ----------
    results
        The results of a campaign.
    arrays
        The grids that the density maps of the results name, by their key.
    """
    plots: list[Plot | None] = [
        figures_energy.ewald_histogram(results),
        figures_energy.ranking(results),
        figures_energy.hull(results),
        figures_energy.polymorphs(results),
        figures_model.learning_curve(results),
        figures_model.parity(results),
        figures_transport.volumes(results),
        figures_transport.displacements(results),
        figures_transport.anisotropy(results),
        figures_conductivity.arrhenius(results),
        figures_conductivity.conductivity_against_activation_energy(results),
        figures_conductivity.composition_trends(results),
    ]
    return [plot for plot in plots if plot is not None] + density_plots(results, arrays) + migration_plots(results)
