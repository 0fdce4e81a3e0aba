"""Disordered atoms of a CIF that go together, by ``_atom_site_disorder_assembly`` and ``_atom_site_disorder_group``.

Atoms of one group are present together; groups of an assembly are alternatives, of which one is present. A phosphate
in two orientations is one *unit* with two groups of four oxygen sites. Where each unit holds just one of its groups,
it is enough that sites of different groups of a unit are never both occupied: with the refined number of atoms, no unit
can then hold a group in part. So the groups become pairs of sites that exclude each other; where that does not follow
(occupancies that leave some units empty, groups that cannot be told apart), files with groups of several sites are
refused, since an enumeration that fills each site independently would make impossible arrangements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.crystal.disordered import Alternative
from superionic.structures.crystal.symmetry import FloatArray, IntArray

COLUMNS = ("_atom_site_disorder_assembly", "_atom_site_disorder_group")
_NOT_GIVEN = {".", "?", "", "0"}
_SAME_A = 0.1
_FULL = 0.995
_OCCUPANCY_ERROR = 0.02
_LONGEST_LINK_A = 5.0
_OF_A_CONTACT = 0.95
_OF_THE_NEAREST = 1.05
_OF_A_BOND = 1.25


@dataclass(frozen=True, eq=False)
class DisorderedRow:
    """The disorder of a row of the table of atoms.

    Attributes
    ----------
    assembly, group
        As the file gives them; "." where it does not.
    positions
        (n, 3) its fractional coordinates in the cell.
    """

    label: str
    element: str
    assembly: str
    group: str
    occupancy: float
    positions: FloatArray
    where: str


@dataclass(frozen=True)
class DisorderGroups:
    """The disorder groups of a file, interpreted.

    Attributes
    ----------
    alternatives
        For each row its :class:`Alternative` at each of its positions; None for a row that is in no unit.
    notes
        Remarks on them, one sentence each.
    """

    alternatives: tuple[tuple[Alternative, ...] | None, ...]
    notes: tuple[str, ...]


def disorder_groups(rows: Sequence[DisorderedRow], cell_A: FloatArray) -> DisorderGroups:
    """Find the units of the disordered atoms and the groups in each.

    Species that share a position, one in each group, are left to the enumeration.

    Raises
    ------
    StructureError
        If atoms on several positions go together and exclusions cannot enforce it.
    """
    alternatives_of: list[tuple[Alternative, ...] | None] = [None] * len(rows)
    partial = [i for i, row in enumerate(rows) if row.group not in _NOT_GIVEN and row.occupancy < _FULL]
    shares = _sharing([rows[i] for i in partial], cell_A)
    assemblies: dict[str, list[int]] = {}
    for i in (i for i, shared in zip(partial, shares, strict=True) if not shared):
        assemblies.setdefault(rows[i].assembly, []).append(i)
    used, unused = [], []
    for members in assemblies.values():
        own = [rows[i] for i in members]
        units = _alternatives(own, cell_A)
        if units is None:
            _refuse_groups_of_several(own)
            unused += own
            continue
        used += own
        for i, alternatives in zip(members, units, strict=True):
            alternatives_of[i] = alternatives
    notes = []
    if used:
        notes.append(f"of the disorder groups of a unit one is there, with all its atoms ({_listed(used)})")
    if unused:
        notes.append(f"disorder groups are not used: each of their sites is occupied by itself ({_listed(unused)})")
    return DisorderGroups(tuple(alternatives_of), tuple(notes))


def _listed(rows: Sequence[DisorderedRow]) -> str:
    return ", ".join(shown(row.label, 12) for row in rows[:8]) + (", …" if len(rows) > 8 else "")


def _refuse_groups_of_several(rows: Sequence[DisorderedRow]) -> None:
    groups: dict[str, list[DisorderedRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    for group, members in groups.items():
        if len(members) < 2:
            continue
        of = f" of the assembly {shown(members[0].assembly)}" if members[0].assembly not in _NOT_GIVEN else ""
        raise StructureError(
            f"The file says that the atoms of the disorder group {shown(group)}{of} go together ({_listed(members)}). "
            "That can be respected where each unit holds one of its groups, with occupancies that sum to 1, and the "
            "groups can be told apart; here an enumeration would make impossible arrangements.",
            where=members[0].where,
            fix="Write one file for each alternative: the atoms of one group, with occupancy 1, and those of no group. "
            "If the sites are really independent, remove the columns _atom_site_disorder_assembly and "
            "_atom_site_disorder_group.",
        )


def _sharing(rows: Sequence[DisorderedRow], cell_A: FloatArray) -> list[bool]:
    """Return for each row whether a row of another group of the same assembly shares its position."""
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


# ---- units ----------------------------------------------------------------------------------------------------------


def _alternatives(rows: Sequence[DisorderedRow], cell_A: FloatArray) -> list[tuple[Alternative, ...]] | None:
    """Return for each row of an assembly the alternative at each position; None where the units are ambiguous."""
    groups = sorted({row.group for row in rows})
    shares = [[row.occupancy for row in rows if row.group == group] for group in groups]
    if len(groups) < 2 or any(max(s) - min(s) > _OCCUPANCY_ERROR for s in shares):
        return None
    if abs(sum(float(np.mean(s)) for s in shares) - 1.0) > _OCCUPANCY_ERROR:
        return None
    positions = np.concatenate([row.positions for row in rows])
    owner = np.repeat(np.arange(len(rows)), [len(row.positions) for row in rows])
    pairs = _Pairs.within(positions, cell_A)
    group_of = np.array([groups.index(row.group) for row in rows])[owner]
    numbers = np.array([atomic_numbers[row.element] for row in rows])[owner]
    for linked in _links(pairs, group_of, numbers):
        centres = _unit_centres(positions, cell_A, pairs.select(linked), owner, len(rows))
        if centres is None:
            continue
        steps = (centres - positions) @ cell_A
        alternatives = [
            Alternative((float(x), float(y), float(z)), rows[row].assembly, rows[row].group)
            for (x, y, z), row in zip(steps, owner.tolist(), strict=True)
        ]
        return [tuple(a for a, row in zip(alternatives, owner, strict=True) if row == k) for k in range(len(rows))]
    return None


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Ordered pairs of positions: from, to, the lattice vector added to the second, and the distance in Å."""

    first: IntArray
    second: IntArray
    shifts: FloatArray
    distances_A: FloatArray

    @classmethod
    def within(cls, positions: FloatArray, cell_A: FloatArray) -> _Pairs:
        reach = np.ceil(_LONGEST_LINK_A * np.linalg.norm(np.linalg.inv(cell_A), axis=0) + 1.0).astype(int)
        images = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
        parts = []
        for i, x in enumerate(positions):
            steps = positions[:, None, :] + images[None, :, :] - x
            distances = np.linalg.norm(steps @ cell_A, axis=2)
            j, image = np.nonzero((distances <= _LONGEST_LINK_A) & (distances > 1e-6))
            parts.append((np.full(len(j), i), j, images[image].astype(float), distances[j, image]))
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def select(self, which: np.ndarray) -> _Pairs:
        return _Pairs(self.first[which], self.second[which], self.shifts[which], self.distances_A[which])


def _links(pairs: _Pairs, group_of: IntArray, numbers: IntArray) -> Iterator[np.ndarray]:
    """Yield the pairs that may make one unit, by several rules, the strictest first.

    Atoms of one group are present together, so their smallest distance is a possible contact. Atoms of two groups
    that are nearer than that are alternatives, so they belong to one unit. Where that leaves a unit in pieces (a
    slightly shifted molecule, whose atoms are near their own alternatives only), bonds within a group join them. Where
    it links everything (units of one atom per group, whose smallest distance is that between two units), the mutually
    nearest atoms make a unit.
    """
    across = group_of[pairs.first] != group_of[pairs.second]
    radii = covalent_radii[numbers]
    bonds = ~across & (pairs.distances_A < _OF_A_BOND * (radii[pairs.first] + radii[pairs.second]))
    kinds = numbers[pairs.first] * (int(numbers.max()) + 1) + numbers[pairs.second]
    contact = np.full(int(kinds.max()) + 1 if len(kinds) else 1, np.inf)
    np.minimum.at(contact, kinds[~across], pairs.distances_A[~across])
    # A pair of elements that occurs in no group gives no information.
    contact[np.isinf(contact)] = 0.0
    close = across & (pairs.distances_A < _OF_A_CONTACT * contact[kinds])
    yield close
    yield close | bonds
    nearest = np.full(len(group_of), np.inf)
    np.minimum.at(nearest, pairs.first[across], pairs.distances_A[across])
    closest = across & (pairs.distances_A <= _OF_THE_NEAREST * nearest[pairs.first])
    yield closest | bonds
    yield closest


def _unit_centres(
    positions: FloatArray, cell_A: FloatArray, links: _Pairs, owner: IntArray, n_rows: int
) -> FloatArray | None:
    """Return (n, 3) the centre of the unit of each position; None unless all units hold the same atoms of every row."""
    neighbours: dict[int, list[tuple[int, FloatArray]]] = {}
    for i, j, shift in zip(links.first.tolist(), links.second.tolist(), links.shifts, strict=True):
        neighbours.setdefault(i, []).append((j, shift))
        neighbours.setdefault(j, []).append((i, -shift))
    unit = np.full(len(positions), -1)
    shifts = np.zeros_like(positions)
    centres = np.zeros_like(positions)
    contents = set()
    for start in range(len(positions)):
        if unit[start] >= 0:
            continue
        unit[start], waiting, members = start, [start], [start]
        while waiting:
            i = waiting.pop()
            for j, shift in neighbours.get(i, ()):
                at = shifts[i] + shift
                if unit[j] < 0:
                    unit[j], shifts[j] = start, at
                    waiting.append(j)
                    members.append(j)
                elif np.abs(shifts[j] - at).max() > 0.5:
                    return None  # the links run on from cell to cell
        contents.add(tuple(np.bincount(owner[members], minlength=n_rows).tolist()))
        centres[members] = np.mean(positions[members] + shifts[members], axis=0) - shifts[members]
    if len(contents) != 1 or min(next(iter(contents))) == 0:
        return None
    return centres
