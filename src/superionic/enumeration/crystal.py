"""A crystal read from a file, and its orderings, for use in notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from superionic.enumeration.counted import DEFAULT_MIN_DISTANCE_A, MAX_LISTED
from superionic.enumeration.request import Orderings, SpaceOptions, count_spaces
from superionic.shown import Shown
from superionic.structures.crystal.axes import Axis
from superionic.structures.crystal.composition import MAX_DEVIATION, Coupling
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.refined_cell import parameters
from superionic.structures.io import files


@dataclass(frozen=True, eq=False, repr=False)
class Crystal(Shown, DisorderedCrystal):
    """A crystal with partial occupancies and the file that it was read from.

    Parameters
    ----------
    file
        The file; charges are read from it when orderings are counted.
    block
        Data block of a CIF that holds several crystals.
    """

    file: Path = Path()
    block: str | None = None

    def orderings(
        self,
        supercell: Any = "1x1x1",
        *,
        axes: Sequence[str | Axis] = (),
        formula_unit: str | None = None,
        oxidation_states: Mapping[str, float] | None = None,
        occupancies: Mapping[str, Mapping[str, float]] | None = None,
        coupling: Coupling = "per-orbit",
        max_deviation: float | None = MAX_DEVIATION,
        min_distance_A: float | None = DEFAULT_MIN_DISTANCE_A,
        max_listed: int = MAX_LISTED,
        seed: int = 0,
    ) -> Orderings:
        """Count the orderings in a supercell, ready to be listed, searched or sampled.

        Parameters
        ----------
        supercell
            ``"1x1x2"``, three integers, a 3 × 3 integer matrix, ``"primitive"``, or ``"auto"``.
        axes, formula_unit, oxidation_states, occupancies, coupling, max_deviation, min_distance_A, max_listed, seed
            See :func:`superionic.enumerate_orderings`.

        Raises
        ------
        CompositionError
            If charges cannot be determined, or no neutral composition fits the supercell.
        """
        options = SpaceOptions(
            supercell=supercell, axes=tuple(axes), formula_unit=formula_unit, oxidation_states=oxidation_states,
            occupancies=occupancies, coupling=coupling, max_deviation=max_deviation, min_distance_A=min_distance_A,
            max_listed=max_listed, seed=seed,
        )  # fmt: skip
        return count_spaces(self.file, options, block=self.block, crystal=self)

    def _facts(self) -> Iterator[tuple[str, str]]:
        lengths, angles = parameters(self.cell_A)
        yield self.cell_formula, f"{self.spacegroup_symbol} ({self.spacegroup_number}), {self.file.name}"
        yield "a, b, c", ", ".join(f"{length:.4f}" for length in lengths) + " Å"
        yield "α, β, γ", ", ".join(f"{angle:.2f}" for angle in angles) + "°"
        for row in self._records():
            if row["vacancy"] > 0.0 or "," in row["occupancies"]:
                yield f"{row['sublattice']} ({row['multiplicity']}{row['wyckoff']})", row["occupancies"]

    def _records(self) -> Iterator[dict[str, Any]]:
        for each in self.sublattices:
            yield {
                "sublattice": each.name,
                "multiplicity": each.multiplicity,
                "wyckoff": each.wyckoff,
                "occupancies": ", ".join(f"{species} {amount:.4g}" for species, amount in each.species.items()),
                "vacancy": each.vacancy,
            }


def read_crystal(
    path: str | Path, *, name: str | None = None, block: str | None = None, symprec: float = 0.01
) -> Crystal:
    """Read a crystal with its partial occupancies: a CIF, POSCAR, extended XYZ or pymatgen JSON file.

    Parameters
    ----------
    path, name, block, symprec
        See :func:`superionic.structures.io.files.read_crystal`.

    Raises
    ------
    StructureError
        If the file cannot be read as a crystal; the message names the line or site, and the fix.
    """
    read = files.read_crystal(path, name=name, block=block, symprec=symprec)
    values = {field.name: getattr(read, field.name) for field in fields(read)}
    return Crystal(**values, file=Path(path).absolute(), block=block)
