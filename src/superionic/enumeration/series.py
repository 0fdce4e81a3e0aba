"""Counts over all supercells up to an index, in both conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superionic.enumeration.request import MAX_INDEX, axis_of, charges_of_crystal, crystal_of, demand_within
from superionic.errors import CompositionError
from superionic.structures.crystal.axes import Axis, apply_point, grid_points
from superionic.structures.crystal.composition import MAX_DEVIATION, Coupling, IntegerComposition, integer_compositions
from superionic.structures.crystal.supercells import Supercell
from superionic.structures.orderings.counting import IndexCount, count_by_index
from superionic.version import __version__


@dataclass(frozen=True, eq=False)
class SupercellSeries:
    """Counts of all inequivalent supercells of the primitive cell, by index.

    Parameters
    ----------
    file
        Name of the crystal file.
    oxidation_states
        Charges in e, and where they come from, as plain values; empty where all compositions were counted.
    n_sites, group_order
        Sites of the primitive cell, and operations of the crystal in it.
    notes
        Remarks on the reading of the file.
    """

    file: str
    oxidation_states: Mapping[str, Any]
    n_sites: int
    group_order: int
    by_index: tuple[IndexCount, ...]
    notes: tuple[str, ...] = ()

    @property
    def losses(self) -> list[str]:
        """The species that vanish in each supercell, in sentences."""
        return list(
            dict.fromkeys(
                f"index {entry.index}: {cell.composition.loss}"
                for entry in self.by_index
                for cell in entry.supercells
                if cell.composition is not None and cell.composition.lost
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; the sums over all indices come first."""
        return {
            "superionic": __version__,
            "file": self.file,
            "notes": list(self.notes),
            "oxidation_states": dict(self.oxidation_states),
            "n_sites": self.n_sites,
            "group_order": self.group_order,
            "max_index": self.by_index[-1].index,
            "supercells": sum(e.n_supercells for e in self.by_index),
            "raw": sum(e.raw for e in self.by_index),
            "distinct": sum(e.distinct for e in self.by_index),
            "non_superperiodic": sum(e.non_superperiodic for e in self.by_index),
            "by_index": [_index_values(entry) for entry in self.by_index],
        }


def _index_values(entry: IndexCount) -> dict[str, Any]:
    return {
        "index": entry.index,
        "supercells": entry.n_supercells,
        "raw": entry.raw,
        "distinct": entry.distinct,
        "non_superperiodic": entry.non_superperiodic,
        "problem": entry.problem,
        "each": [
            {
                "supercell": [list(row) for row in cell.supercell.matrix],
                "raw": cell.raw,
                "distinct": cell.distinct,
                "non_superperiodic": cell.non_superperiodic,
                "group_order": cell.group_order,
                "formula": None if cell.composition is None else cell.composition.formula,
                "deviation": None if cell.composition is None else cell.composition.deviation,
                "lost": {} if cell.composition is None else dict(cell.composition.lost),
            }
            for cell in entry.supercells
        ],
    }


def count_supercells(
    file: str | Path,
    max_index: int,
    *,
    block: str | None = None,
    coupling: Coupling = "per-orbit",
    oxidation_states: Mapping[str, float] | None = None,
    diagonal_only: bool = False,
    any_composition: bool = False,
    exchangeable: bool = False,
    max_deviation: float | None = MAX_DEVIATION,
    axes: Sequence[str | Axis] = (),
    formula_unit: str | None = None,
) -> SupercellSeries:
    """Count the orderings of all inequivalent supercells of a crystal's primitive cell, up to an index.

    Parameters
    ----------
    max_index
        Largest number of primitive cells.
    block
        Data block of a CIF that holds several crystals; the first that lists atoms if None.
    coupling, max_deviation
        As in :func:`.integer_compositions`: each index takes its nearest neutral composition.
    oxidation_states
        Charges in e; those not given come from the file or are guessed.
    diagonal_only
        Only supercells with diagonal matrices.
    any_composition
        Count all concentrations of the species together, whatever their charge.
    exchangeable
        With `any_composition`: count orderings that differ only in the names of the species as one.
    axes, formula_unit
        A composition to be counted instead of the refined one, as in
        :func:`~superionic.enumeration.request.enumerate_orderings`, but with one value for each variable.

    Raises
    ------
    StructureError, CompositionError
        If the file cannot be read, charges cannot be determined, or the axes have more than one point.
    """
    demand_within("largest index", max_index, 1, MAX_INDEX)
    parsed = [axis_of(axis, formula_unit) for axis in axes]
    points = grid_points(parsed) if parsed else [{}]
    if len(points) > 1:
        raise CompositionError(
            f"All supercells are counted at one composition at a time, but the axes have {len(points)} points.",
            where=f"axis {parsed[0]}",
            fix=f"Give one value, such as {parsed[0]}={points[0][parsed[0].name]:g}, and count once for each.",
        )
    crystal = crystal_of(file, parsed, block=block)
    parent = crystal.primitive()
    charges: Mapping[str, Any] = {}
    compose = None
    if not any_composition:
        states = charges_of_crystal(parent, file, oxidation_states, parsed, block=block)
        exact: Mapping[str, Any] = {}
        if parsed:
            parent, exact = apply_point(parent, parsed, points[0], states.values)
        charges = {"values": dict(states.values), "source": states.source, "note": states.note}

        def compose(cell: Supercell) -> IntegerComposition:
            return integer_compositions(
                parent, cell, states.values,
                coupling=coupling, exact_totals=exact, max_deviation=max_deviation, limit=1,
            )[0]  # fmt: skip

    counts = count_by_index(parent, max_index, compose, exchangeable=exchangeable, diagonal_only=diagonal_only)
    return SupercellSeries(Path(file).name, charges, len(parent.sites), len(parent.rotations), counts, crystal.notes)
