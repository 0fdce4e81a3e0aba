"""From displacements to diffusivity, conductivity and activation energy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superionic.transport.analysis import TransportAnalysis, analyse_displacements
    from superionic.transport.conductivity.arrhenius import ArrheniusFit, arrhenius_fit, arrhenius_fit_estimates
    from superionic.transport.conductivity.direction_lines import DirectionLines, direction_lines
    from superionic.transport.conductivity.of_temperature import (
        RunTransport,
        TemperatureDependence,
        temperature_dependence,
    )
    from superionic.transport.conductivity.planes import PlaneLine, plane_lines
    from superionic.transport.conductivity.posterior import TransportSamples, posterior_samples
    from superionic.transport.conductivity.vogel import VogelFit, vogel_fit
    from superionic.transport.density.grid import Density, probability_density
    from superionic.transport.diffusion.diffusivity import ChargeDiffusivity, TracerDiffusivity
    from superionic.transport.diffusion.msd import MeanSquaredDisplacement, mean_squared_displacement
    from superionic.transport.diffusion.tensor import TensorEstimate
    from superionic.transport.estimate import Estimate
    from superionic.transport.observables.together import Observables, observe
    from superionic.transport.sites.jumps import SiteTracker, follow_sites
    from superionic.transport.sites.migration import Migration, analyse_migration
    from superionic.transport.sites.positions import SiteSet

_HOMES = {
    "ArrheniusFit": "conductivity.arrhenius",
    "ChargeDiffusivity": "diffusion.diffusivity",
    "Density": "density.grid",
    "DirectionLines": "conductivity.direction_lines",
    "Estimate": "estimate",
    "MeanSquaredDisplacement": "diffusion.msd",
    "Migration": "sites.migration",
    "Observables": "observables.together",
    "PlaneLine": "conductivity.planes",
    "RunTransport": "conductivity.of_temperature",
    "SiteSet": "sites.positions",
    "SiteTracker": "sites.jumps",
    "TemperatureDependence": "conductivity.of_temperature",
    "TensorEstimate": "diffusion.tensor",
    "TracerDiffusivity": "diffusion.diffusivity",
    "TransportAnalysis": "analysis",
    "TransportSamples": "conductivity.posterior",
    "VogelFit": "conductivity.vogel",
    "analyse_displacements": "analysis",
    "analyse_migration": "sites.migration",
    "arrhenius_fit": "conductivity.arrhenius",
    "arrhenius_fit_estimates": "conductivity.arrhenius",
    "direction_lines": "conductivity.direction_lines",
    "follow_sites": "sites.jumps",
    "mean_squared_displacement": "diffusion.msd",
    "observe": "observables.together",
    "plane_lines": "conductivity.planes",
    "posterior_samples": "conductivity.posterior",
    "probability_density": "density.grid",
    "temperature_dependence": "conductivity.of_temperature",
    "vogel_fit": "conductivity.vogel",
}

__all__ = [
    "ArrheniusFit",
    "ChargeDiffusivity",
    "Density",
    "DirectionLines",
    "Estimate",
    "MeanSquaredDisplacement",
    "Migration",
    "Observables",
    "PlaneLine",
    "RunTransport",
    "SiteSet",
    "SiteTracker",
    "TemperatureDependence",
    "TensorEstimate",
    "TracerDiffusivity",
    "TransportAnalysis",
    "TransportSamples",
    "VogelFit",
    "analyse_displacements",
    "analyse_migration",
    "arrhenius_fit",
    "arrhenius_fit_estimates",
    "direction_lines",
    "follow_sites",
    "mean_squared_displacement",
    "observe",
    "plane_lines",
    "posterior_samples",
    "probability_density",
    "temperature_dependence",
    "vogel_fit",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"superionic.transport.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'superionic.transport' has no attribute {name!r}")
