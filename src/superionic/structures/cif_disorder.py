"""Which disordered atoms of a CIF go together, by ``_atom_site_disorder_assembly`` and ``_atom_site_disorder_group``.

Atoms of one group are there at the same time, atoms of different groups of an assembly are alternatives. An enumeration
decides each site by itself, so it counts such alternatives wrongly as soon as a group is more than one site: those
files are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superionic.errors import StructureError
from superionic.structures.cif_text import shown
from superionic.structures.symmetry import FloatArray

COLUMNS = ("_atom_site_disorder_assembly", "_atom_site_disorder_group")
_NOT_GIVEN = {".", "?", "", "0"}
_SAME_A = 0.1
_FULL = 0.995


@dataclass(frozen=True, eq=False)
class DisorderedRow:
    """A row of the table of atoms as far as its disorder goes.

    Attributes
    ----------
    label
        Its label.
    assembly, group
        As the file gives them; "." where it does not.
    occupancy
        Its occupancy.
    positions
        (n, 3) its fractional coordinates in the cell.
    where
        Its place in the file.
    """

    label: str
    assembly: str
    group: str
    occupancy: float
    positions: FloatArray
    where: str


def check_disorder(rows: Sequence[DisorderedRow], cell_A: FloatArray) -> list[str]:
    """Refuse groups of several sites that are there together, or not at all.

    Species that share a position, one in each group, are what an enumeration deals with. So are groups of one site.

    Returns
    -------
    notes
        What there is to say about the groups that are there, a sentence each.

    Raises
    ------
    StructureError
        If atoms on several positions go together.
    """
    partial = [row for row in rows if row.group not in _NOT_GIVEN and row.occupancy < _FULL]
    placed = [row for row, shares in zip(partial, _sharing(partial, cell_A), strict=True) if not shares]
    groups: dict[tuple[str, str], list[DisorderedRow]] = {}
    for row in placed:
        groups.setdefault((row.assembly, row.group), []).append(row)
    for (assembly, group), members in groups.items():
        if len(members) < 2:
            continue
        of = f" of the assembly {shown(assembly)}" if assembly not in _NOT_GIVEN else ""
        labels = ", ".join(shown(m.label, 12) for m in members[:8]) + (", …" if len(members) > 8 else "")
        raise StructureError(
            f"The file says that the atoms of the disorder group {shown(group)}{of} go together ({labels}); here each "
            "site is occupied by itself, which would count and make arrangements that are none.",
            where=members[0].where,
            fix="Write one file for each alternative: the atoms of one group, with occupancy 1, and those of no group. "
            "If the sites are in truth independent, remove the columns _atom_site_disorder_assembly and "
            "_atom_site_disorder_group.",
        )
    if not groups:
        return []
    listed = ", ".join(shown(row.label, 12) for row in placed[:8]) + (", …" if len(placed) > 8 else "")
    return [f"disorder groups are not used: each of their sites is occupied by itself ({listed})"]


def _sharing(rows: Sequence[DisorderedRow], cell_A: FloatArray) -> list[bool]:
    """Tell of each row whether one of another group of the same assembly is on its position."""
    if not rows:
        return []
    positions = np.concatenate([row.positions for row in rows])
    owner = np.repeat(np.arange(len(rows)), [len(row.positions) for row in rows])
    assemblies = np.array([row.assembly for row in rows])[owner]
    groups = np.array([row.group for row in rows])[owner]
    sharing = []
    for row in rows:
        difference = positions[(assemblies == row.assembly) & (groups != row.group)] - row.positions[0]
        distances = np.linalg.norm((difference - np.round(difference)) @ cell_A, axis=1)
        sharing.append(bool(np.any(distances <= _SAME_A)))
    return sharing
