"""From displacements to diffusivity, conductivity and activation energy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superionic.transport.analysis import TransportAnalysis, analyse_displacements
    from superionic.transport.arrhenius import ArrheniusFit, arrhenius_fit, arrhenius_fit_estimates
    from superionic.transport.conductivity_of_temperature import (
        RunTransport,
        TemperatureDependence,
        temperature_dependence,
    )
    from superionic.transport.density import Density, probability_density
    from superionic.transport.diffusivity import ChargeDiffusivity, TracerDiffusivity
    from superionic.transport.direction_lines import DirectionLines, direction_lines
    from superionic.transport.estimate import Estimate
    from superionic.transport.jumps import SiteTracker, follow_sites
    from superionic.transport.migration import Migration, analyse_migration
    from superionic.transport.msd import MeanSquaredDisplacement, mean_squared_displacement
    from superionic.transport.observables import Observables, observe
    from superionic.transport.posterior import TransportSamples, posterior_samples
    from superionic.transport.sites import SiteSet
    from superionic.transport.tensor import TensorEstimate
    from superionic.transport.vogel import VogelFit, vogel_fit

_HOMES = {
    "ArrheniusFit": "arrhenius",
    "ChargeDiffusivity": "diffusivity",
    "Density": "density",
    "DirectionLines": "direction_lines",
    "Estimate": "estimate",
    "MeanSquaredDisplacement": "msd",
    "Migration": "migration",
    "Observables": "observables",
    "RunTransport": "conductivity_of_temperature",
    "SiteSet": "sites",
    "SiteTracker": "jumps",
    "TemperatureDependence": "conductivity_of_temperature",
    "TensorEstimate": "tensor",
    "TracerDiffusivity": "diffusivity",
    "TransportAnalysis": "analysis",
    "TransportSamples": "posterior",
    "VogelFit": "vogel",
    "analyse_displacements": "analysis",
    "analyse_migration": "migration",
    "arrhenius_fit": "arrhenius",
    "arrhenius_fit_estimates": "arrhenius",
    "direction_lines": "direction_lines",
    "follow_sites": "jumps",
    "mean_squared_displacement": "msd",
    "observe": "observables",
    "posterior_samples": "posterior",
    "probability_density": "density",
    "temperature_dependence": "conductivity_of_temperature",
    "vogel_fit": "vogel",
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
    "posterior_samples",
    "probability_density",
    "temperature_dependence",
    "vogel_fit",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"superionic.transport.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'superionic.transport' has no attribute {name!r}")
