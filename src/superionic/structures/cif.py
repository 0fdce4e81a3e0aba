"""Crystals from CIFs: the cell, the operations and all sites of the cell, without running anything that a file says.

The symmetry of a CIF is applied as it is written; that of the crystal is found afterwards from the sites.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superionic.errors import StructureError
from superionic.structures.cif_text import Block, Column, parse_cif, shown
from superionic.structures.disordered import check_occupancies
from superionic.structures.filesites import (
    FileSites,
    charge_of,
    check_count,
    check_lattice,
    collect_charges,
    element_of,
    number,
)
from superionic.structures.operations import (
    MAX_OPERATIONS,
    Operation,
    check_group,
    fits_cell,
    operations_by_name,
    parse_operation,
)
from superionic.structures.symmetry import FloatArray, IntArray

LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
_COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_magn_operation_xyz",
)
_CENTRINGS = "_space_group_symop_magn_centering_xyz"
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAMES = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_ref")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_MAX_ROWS = 4000
_SAME_A = 0.01
_LARGEST_ROUNDING_A = 0.1


@dataclass(frozen=True)
class _Row:
    """One row of the table of atoms."""

    label: str
    element: str
    position: tuple[float, float, float]
    occupancy: float
    rounding: float
    where: str


def sites_of_cif(text: str, where: str) -> FileSites:
    """Read all sites of the cell from the first data block of a CIF that lists atoms.

    Species on one position (by symmetry or as written) are put on one site. Images of a site that differ by no more
    than the rounding of its coordinates are one, on the special position between them.

    Parameters
    ----------
    text
        The CIF.
    where
        Name of the file for error messages.

    Raises
    ------
    StructureError
        If the text, its cell, its symmetry or one of its atoms is not what it should be.
    """
    blocks = parse_cif(text, where)
    block = next((b for b in blocks if "_atom_site_label" in b.columns), None)
    if block is None:
        block = next((b for b in blocks if "_atom_site_type_symbol" in b.columns), None)
    if block is None or not (_labels(block)).values:
        raise StructureError(
            "The CIF lists no atoms (no _atom_site loop, or an empty one).",
            where=where,
            fix="Give a CIF with a cell, a space group and an _atom_site loop.",
        )
    cell = _cell(block, where)
    rows = _rows(block, where)
    rotations, translations = _symmetry(block, cell, where)
    orbits = [_orbit(row, rotations, translations, cell) for row in rows]
    check_count(sum(len(orbit) for orbit in orbits), where)
    if len(rotations) == 1 and (name := _group_name(block)) is not None:
        _check_expanded(block, name, cell, orbits, where)
    return _merged(cell, rows, orbits, _charges(block, rows))


# ---- the parts of a block -------------------------------------------------------------------------------------------


def _labels(block: Block) -> Column:
    return block.columns.get("_atom_site_label") or block.columns["_atom_site_type_symbol"]


def _cell(block: Block, where: str) -> FloatArray:
    missing = [k for k in (*LENGTHS, *ANGLES) if k not in block.columns]
    if missing:
        raise StructureError(
            f"The CIF lacks {', '.join(missing)}.", where=where, fix="Add the lengths and angles of the cell."
        )
    values = []
    for key in (*LENGTHS, *ANGLES):
        column = block.columns[key]
        value = number(column.values[0]) if column.values else math.nan
        if not (0.0 < value < math.inf) or (key in ANGLES and value >= 180.0 and value != 180.0):
            line = f", line {column.lines[0]}" if column.lines else ""
            raise StructureError(
                f"{key} is {shown(column.values[0] if column.values else '?')!r}; it must be a positive number.",
                where=f"{where}{line}",
                fix="Correct the cell.",
            )
        values.append(value)
    cell = _cell_vectors(values)
    check_lattice(cell, where)
    return cell


def _cell_vectors(values: Sequence[float]) -> FloatArray:
    """Return the vectors of a cell: c along z, a in the x-z plane; zeros where no three vectors have the angles."""
    a, b, c = values[:3]
    alpha, beta, gamma = (math.radians(v) for v in values[3:])
    sines = math.sin(alpha) * math.sin(beta)
    cosine = (math.cos(alpha) * math.cos(beta) - math.cos(gamma)) / sines if abs(sines) > 1e-12 else math.inf
    if not abs(cosine) <= 1.0:
        return np.zeros((3, 3))
    return np.array(
        [
            [a * math.sin(beta), 0.0, a * math.cos(beta)],
            [-b * math.sin(alpha) * cosine, b * math.sin(alpha) * math.sqrt(1.0 - cosine**2), b * math.cos(alpha)],
            [0.0, 0.0, c],
        ]
    )


def _rows(block: Block, where: str) -> list[_Row]:
    labels = _labels(block)
    columns = {}
    for name in (*_COORDINATES, "_atom_site_occupancy", "_atom_site_type_symbol", "_atom_site_calc_flag"):
        column = block.columns.get(name)
        if column is None and name in _COORDINATES:
            raise StructureError(f"The CIF lacks {name}.", where=where, fix="Give fractional coordinates of the atoms.")
        if column is not None and (column.loop != labels.loop or len(column.values) != len(labels.values)):
            raise StructureError(
                f"{name} does not stand in one table with the other columns of the atoms.",
                where=where,
                fix="Put all _atom_site columns under one loop_.",
            )
        columns[name] = [] if column is None else column.values
    if len(labels.values) > _MAX_ROWS:
        check_count(len(labels.values), where)
    symbols = columns["_atom_site_type_symbol"]
    occupancies = columns["_atom_site_occupancy"]
    # "." is the default of the dictionary, 1; so is "?" where no occupancy at all is known.
    unknown = {"?"} if any(word not in {"?", "."} for word in occupancies) else set()
    rows = []
    for index, label in enumerate(labels.values):
        if columns["_atom_site_calc_flag"] and columns["_atom_site_calc_flag"][index].lower() == "dum":
            continue
        place = f"{where}, line {labels.lines[index]}, site {shown(label)}"
        words = [columns[c][index] for c in _COORDINATES]
        x, y, z = (number(word) for word in words)
        if not all(abs(v) <= 1000.0 for v in (x, y, z)):
            raise StructureError(
                "A fractional coordinate is missing, not a number, or far outside the cell: "
                f"{', '.join(shown(w, 20) for w in words)}.",
                where=place,
                fix="Correct the coordinate; fractional ones lie near 0 to 1.",
            )
        occupancy = _occupancy(occupancies[index] if occupancies else ".", unknown, place)
        check_occupancies({shown(label): occupancy}, place)
        element = _element(symbols[index] if symbols else None, label, place)
        rows.append(_Row(shown(label), element, (x, y, z), occupancy, _rounding(words), place))
    if not rows:
        raise StructureError("The CIF lists no atoms.", where=where, fix="Give a CIF with an _atom_site loop.")
    return rows


def _occupancy(word: str, unknown: set[str], where: str) -> float:
    if word in unknown:
        raise StructureError(
            "The occupancy is unknown (?).", where=where, fix="Write the occupancy, or . if the site is full."
        )
    return 1.0 if word in {".", "?", ""} else number(word)


def _element(symbol: str | None, label: str, where: str) -> str:
    given = symbol if symbol is not None and symbol not in {"?", "."} else None
    element = element_of(label) if given is None else element_of(given, exact=True) or element_of(given)
    if element is None:
        raise StructureError(
            f"{shown(given or label)!r} is not a chemical element.",
            where=where,
            fix="Correct the symbol of the element.",
        )
    return element


def _rounding(words: Sequence[str]) -> float:
    """Return how far coordinates with that many digits may be off; those with one digit or two count as exact."""
    digits = [len(word.partition("(")[0].partition(".")[2]) for word in words]
    rounded = [d for d in digits if d >= 3]
    return 1.5 * 10.0 ** -min(rounded) if rounded else 0.0


def _charges(block: Block, rows: Sequence[_Row]) -> dict[str, tuple[float, ...]]:
    present = {row.element for row in rows}
    pairs: list[tuple[str, float | None]] = []
    symbols = block.columns.get("_atom_site_type_symbol")
    pairs.extend((element_of(s) or "", charge_of(s)) for s in (symbols.values if symbols else ()))
    types = block.columns.get("_atom_type_symbol")
    states = block.columns.get("_atom_type_oxidation_number")
    if types is not None:
        numbers = states.values if states is not None and len(states.values) == len(types.values) else None
        for index, symbol in enumerate(types.values):
            given = number(numbers[index]) if numbers is not None else math.nan
            pairs.append((element_of(symbol) or "", charge_of(symbol) if math.isnan(given) else given))
    return collect_charges([(element, charge) for element, charge in pairs if element in present])


# ---- symmetry -------------------------------------------------------------------------------------------------------


def _symmetry(block: Block, cell: FloatArray, where: str) -> tuple[IntArray, FloatArray]:
    column = next((block.columns[n] for n in _OPERATIONS if n in block.columns and block.columns[n].values), None)
    if column is None:
        name, hall = _group_name(block), block.value(*_HALL)
        if name is None and hall is None:
            return np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))
        return operations_by_name(hall, block.value(*_NAMES), _group_number(block), cell, where)
    operations = _operations(column, where)
    if _CENTRINGS in block.columns:
        centrings = _operations(block.columns[_CENTRINGS], where)
        operations = [(r, (t[0] + c[0], t[1] + c[1], t[2] + c[2])) for r, t in operations for _, c in centrings]
    rotations = np.array([r for r, _ in operations], dtype=np.int64)
    translations = np.array([t for _, t in operations], dtype=np.float64)
    place = f"{where}, line {column.lines[0]}"
    rotations, translations = check_group(rotations, translations, place)
    if not fits_cell(rotations, cell):
        raise StructureError(
            "The symmetry operations do not fit the lengths and angles of the cell.",
            where=place,
            fix="Correct the cell, or the operations.",
        )
    return rotations, translations


def _operations(column: Column, where: str) -> list[Operation]:
    if len(column.values) > MAX_OPERATIONS:
        raise StructureError(
            f"The file lists {len(column.values):,} symmetry operations; at most {MAX_OPERATIONS:,} are read.",
            where=f"{where}, line {column.lines[0]}",
            fix="Give the operations of the space group.",
        )
    return [parse_operation(v, f"{where}, line {n}") for v, n in zip(column.values, column.lines, strict=True)]


def _group_name(block: Block) -> str | None:
    """Return the name of the space group, or its number, unless that is P1 or not given."""
    name, value = block.value(*_NAMES), block.value(*_NUMBERS)
    if name is not None:
        return None if name.replace(" ", "").upper() in {"P1", "1"} else name
    return None if value is None or number(value) == 1 else value


def _group_number(block: Block) -> int | None:
    value = block.value(*_NUMBERS)
    given = number(value) if value is not None else math.nan
    return int(given) if 1 <= given <= 230 else None


def _check_expanded(block: Block, name: str, cell: FloatArray, orbits: Sequence[FloatArray], where: str) -> None:
    """Check that a file that names a group, but lists the identity only, lists all atoms of the cell."""
    try:
        rotations, translations = operations_by_name(
            block.value(*_HALL), block.value(*_NAMES), _group_number(block), cell, where
        )
    except StructureError:  # a name that says nothing contradicts nothing
        return
    listed = np.concatenate(orbits)
    for rotation, translation in zip(rotations, translations, strict=True):
        # Some atoms are enough: in an asymmetric unit hardly any has all its images.
        difference = (listed[:50] @ rotation.T + translation)[:, None] - listed[None]
        distance = np.linalg.norm((difference - np.round(difference)) @ cell, axis=2)
        if np.any(distance.min(axis=1) > _LARGEST_ROUNDING_A):
            raise StructureError(
                f"The file names the space group {shown(name)!r} but lists only the identity as its operations, "
                "and its atoms are not all of the cell.",
                where=where,
                fix="List all operations of the space group, or all atoms of the cell and P1.",
            )


def _orbit(row: _Row, rotations: IntArray, translations: FloatArray, cell: FloatArray) -> FloatArray:
    """Return (n, 3) all different positions of a row, in the order of the operations."""
    x = np.array(row.position)
    if len(rotations) == 1:
        return _wrapped(x + translations)
    tolerance = max(_SAME_A, min(_LARGEST_ROUNDING_A, row.rounding * float(np.linalg.norm(cell, axis=1).max())))
    images = rotations @ x + translations
    shift = np.round(images - x)
    near = np.linalg.norm((images - x - shift) @ cell, axis=1) <= tolerance
    # The operations that keep x within the rounding are its site symmetry: their mean is exactly special.
    special = np.mean((images - shift)[near], axis=0)
    images = _wrapped(rotations @ special + translations)
    keys = np.floor(np.mod(images + 1.234567e-6, 1.0) * 1e5).astype(np.int64)
    _, first = np.unique(keys @ np.array([10**10, 10**5, 1]), return_index=True)
    if len(first) * int(near.sum()) == len(rotations):
        return images[np.sort(first)]
    kept: list[int] = []  # the tolerance cut through the site symmetry: compare one by one
    images = _wrapped(rotations @ x + translations)
    for index, image in enumerate(images):
        difference = images[kept] - image
        distance = np.linalg.norm((difference - np.round(difference)) @ cell, axis=1)
        if not np.any(distance <= tolerance):
            kept.append(index)
    return images[kept]


def _wrapped(x: FloatArray) -> FloatArray:
    wrapped: FloatArray = x - np.floor(x + 1e-10)
    return wrapped


def _merged(
    cell: FloatArray, rows: Sequence[_Row], orbits: Sequence[FloatArray], charges: dict[str, tuple[float, ...]]
) -> FileSites:
    """Put rows that share a position onto one site, which takes the label of the last of them."""
    positions: list[FloatArray] = []
    amounts: list[dict[str, float]] = []
    labels: list[str] = []
    placed = np.zeros((0, 3))
    owner = np.zeros(0, dtype=np.int64)
    for row, orbit in zip(rows, orbits, strict=True):
        if row.occupancy <= 1e-6:
            continue
        tolerance = max(_SAME_A, min(_LARGEST_ROUNDING_A, row.rounding * float(np.linalg.norm(cell, axis=1).max())))
        difference = placed - orbit[0]
        distance = np.linalg.norm((difference - np.round(difference)) @ cell, axis=1)
        hit = int(np.argmin(distance)) if len(distance) else -1
        if hit >= 0 and distance[hit] <= tolerance and len(positions[owner[hit]]) == len(orbit):
            index = int(owner[hit])
            amounts[index][row.element] = amounts[index].get(row.element, 0.0) + row.occupancy
            labels[index] = row.label
            check_occupancies(amounts[index], row.where)
            continue
        owner = np.concatenate([owner, np.full(len(orbit), len(positions), dtype=np.int64)])
        placed = np.concatenate([placed, orbit])
        positions.append(orbit)
        amounts.append({row.element: row.occupancy})
        labels.append(row.label)
    empty = [
        (row.label, row.element, orbit)
        for row, orbit in zip(rows, orbits, strict=True)
        if row.occupancy <= 1e-6 and not _is_taken(orbit[0], placed, cell)
    ]
    rank = {row.label: i for i, row in reversed(list(enumerate(rows)))}
    order = sorted(range(len(positions)), key=lambda i: (rank[labels[i]], i))
    return FileSites(
        cell_A=cell,
        fractional=np.concatenate([positions[i] for i in order]) if order else np.zeros((0, 3)),
        occupancies=[dict(amounts[i]) for i in order for _ in positions[i]],
        labels=[labels[i] for i in order for _ in positions[i]],
        charges=charges,
        empty=empty,
    )


def _is_taken(position: FloatArray, placed: FloatArray, cell: FloatArray) -> bool:
    difference = placed - position
    return bool(np.any(np.linalg.norm((difference - np.round(difference)) @ cell, axis=1) <= _LARGEST_ROUNDING_A))
