"""Relaxed cells, and cells of runs at constant pressure, compared with the refined cells of the crystals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from superionic.chemistry import parse_formula
from superionic.results.identity import Material, Ordering
from superionic.results.ranking import RankResult
from superionic.results.transport import TransportResult
from superionic.structures.crystal.refined_cell import (
    CellDifference,
    RefinedCell,
    Triple,
    compare_with_refined,
    in_setting_of,
)

_ROOM_K: Final = 300.0
_AMBIENT_GPA: Final = 0.01
_FEWEST_K: Final = 50.0
"""Smallest range of temperatures in K from which thermal expansion is estimated."""


@dataclass(frozen=True)
class CellComparison:
    """One calculated cell compared with the refined one; orderings of another composition are not compared.

    Attributes
    ----------
    formula
        Its reduced formula.
    potential
        Name, in the campaign, of the potential.
    run
        Label of the run at constant pressure; None for a relaxed cell.
    temperature_K, pressure_GPa
        Temperature and pressure of the run; None and 0 for a relaxed cell.
    difference
        Difference from the refined cell.
    relaxed_eV_per_atom
        Energy of a relaxed cell, which identifies the lowest ordering of a material; None for a run.
    thermal_percent
        Part of the volume difference that is thermal expansion from 300 K, from runs of this ordering at several
        temperatures; None if unknown.
    """

    ordering: Ordering
    formula: str
    potential: str
    run: str | None
    temperature_K: float | None
    pressure_GPa: float
    difference: CellDifference
    relaxed_eV_per_atom: float | None = None
    thermal_percent: float | None = None

    @property
    def what(self) -> str:
        """Description of the cell: relaxed or at a temperature and pressure, and by which potential."""
        if self.temperature_K is None:
            return f"relaxed by {self.potential}"
        pressure = f" and {self.pressure_GPa:g} GPa" if abs(self.pressure_GPa) > _AMBIENT_GPA else ""
        return f"at {self.temperature_K:g} K{pressure} by {self.potential}"

    @property
    def part(self) -> str:
        """Description of the contributions to the difference besides the potential; empty for a relaxed cell."""
        if self.temperature_K is None:
            return ""
        squeezed = f"; so is the pressure of {self.pressure_GPa:g} GPa" if abs(self.pressure_GPa) > _AMBIENT_GPA else ""
        if self.thermal_percent is None:
            return f"thermal expansion is part of it{squeezed}"
        by = f"{self.thermal_percent:+.1f}".replace("-", "−")
        return f"thermal expansion since 300 K is part of it ({by} % of volume, by the runs themselves){squeezed}"


def compare_cells(
    refined: Mapping[str, RefinedCell], rankings: tuple[RankResult, ...], transport: TransportResult | None
) -> tuple[CellComparison, ...]:
    """Compare all cells of a campaign with the refined ones: relaxed orderings, then runs at constant pressure.

    Parameters
    ----------
    refined
        Cells of the campaign's crystals by their names.
    rankings, transport
        Results of the stages.
    """
    relaxed = tuple(comparison for ranking in rankings for comparison in _relaxed(refined, ranking))
    return relaxed + (() if transport is None else _runs(refined, transport))


@dataclass(frozen=True)
class LatticeConstants:
    """The relaxed cell of the lowest ordering of a material, per refined cell and in its setting.

    Attributes
    ----------
    ordering, formula
        The ordering and its reduced formula.
    potential
        Name, in the campaign, of the potential that relaxed it.
    lengths_A, angles_deg, volume_A3
        a, b, c and α, β, γ, and the volume.
    volume_A3_per_atom
        The volume over the number of atoms.
    relaxed_eV_per_atom
        Its energy.
    """

    ordering: Ordering
    formula: str
    potential: str
    lengths_A: Triple
    angles_deg: Triple
    volume_A3: float
    volume_A3_per_atom: float
    relaxed_eV_per_atom: float


def lattice_constants(
    refined: Mapping[str, RefinedCell], rankings: tuple[RankResult, ...]
) -> tuple[LatticeConstants, ...]:
    """Return the cell of the lowest ordering of every material by each ranking (paper A, table S4).

    Parameters are those of :func:`compare_cells`; no composition is left out.
    """
    lowest: dict[tuple[str, Material], LatticeConstants] = {}
    for ranking in rankings:
        for entry in ranking.entries:
            identity, energy, volume = entry.identity, entry.relaxed_eV_per_atom, entry.volume_A3_per_atom
            if not isinstance(identity, Ordering) or entry.duplicate_of is not None or energy is None or volume is None:
                continue
            if entry.lengths_A is None or entry.angles_deg is None or identity.material.crystal not in refined:
                continue
            group = (ranking.potential_name, identity.material)
            if group in lowest and lowest[group].relaxed_eV_per_atom <= energy:
                continue
            cell = refined[identity.material.crystal]
            setting = in_setting_of(cell, entry.lengths_A, entry.angles_deg, identity.cell.supercell)
            lowest[group] = LatticeConstants(identity, entry.formula, ranking.potential_name, *setting, volume, energy)
    return tuple(lowest.values())


def _relaxed(refined: Mapping[str, RefinedCell], ranking: RankResult) -> Iterator[CellComparison]:
    for entry in ranking.entries:
        identity = entry.identity
        if not isinstance(identity, Ordering) or entry.lengths_A is None or entry.angles_deg is None:
            continue
        cell = refined.get(identity.material.crystal)
        if cell is not None and entry.duplicate_of is None and cell.is_of(parse_formula(entry.formula)):
            difference = compare_with_refined(cell, entry.lengths_A, entry.angles_deg, identity.cell.supercell)
            energy, name = entry.relaxed_eV_per_atom, ranking.potential_name
            yield CellComparison(identity, entry.formula, name, None, None, 0.0, difference, energy)


def _runs(refined: Mapping[str, RefinedCell], transport: TransportResult) -> tuple[CellComparison, ...]:
    compared = []
    for each in transport.runs:
        cell = refined.get(each.run.ordering.material.crystal)
        if cell is None or each.run.pressure_GPa is None or not cell.is_of(parse_formula(each.formula)):
            continue
        supercell = np.array(each.supercell) @ np.array(each.run.ordering.cell.supercell)
        compared.append(
            CellComparison(
                ordering=each.run.ordering,
                formula=each.formula,
                potential=each.run.potential,
                run=each.run.label,
                temperature_K=each.run.temperature_K,
                pressure_GPa=each.run.pressure_GPa,
                difference=compare_with_refined(cell, each.lengths_A, each.angles_deg, supercell),
            )
        )
    return tuple(_with_expansion(one, compared) for one in compared)


def _with_expansion(one: CellComparison, every: list[CellComparison]) -> CellComparison:
    """Add the thermal expansion from a line of ln V against T through runs that differ in temperature only."""
    same = [
        other
        for other in every
        if (other.ordering, other.potential, other.pressure_GPa) == (one.ordering, one.potential, one.pressure_GPa)
    ]
    points = [(other.temperature_K or 0.0, math.log(other.difference.volume_A3)) for other in same]
    temperatures = [temperature for temperature, _ in points]
    if one.temperature_K is None or max(temperatures) - min(temperatures) < _FEWEST_K:
        return one
    slope = float(np.polyfit(temperatures, [volume for _, volume in points], 1)[0])
    return replace(one, thermal_percent=100.0 * math.expm1(slope * (one.temperature_K - _ROOM_K)))
