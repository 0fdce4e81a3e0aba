"""σ(T) of a material with its names, be it of a campaign or of files that a user has."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.references.values import PublishedValue
from superionic.report.csv_tables import CsvCell
from superionic.transport.conductivity_of_temperature import TemperatureDependence


@dataclass(frozen=True)
class NamedDependence:
    """σ(T) with its names.

    Attributes
    ----------
    name
        For figures and tables.
    cells
        Its identity in files.
    dependence
        Line, values, budget, doubts.
    published
        Published conductivities and activation energies of the material.
    """

    name: str
    cells: tuple[CsvCell, ...]
    dependence: TemperatureDependence
    published: tuple[PublishedValue, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """Doubts and flags, each once: a flag that a doubt repeats says nothing more."""
        doubts = [doubt.words for doubt in self.dependence.doubts]
        return doubts + [flag for flag in self.dependence.flags if not any(flag in words for words in doubts)]
