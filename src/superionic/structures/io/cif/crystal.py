"""Crystals from CIFs: the cell, the operations and all sites of the cell, without executing anything in the file.

The symmetry of a CIF is applied as written; that of the crystal is found afterwards from the sites.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.crystal.disordered import Alternative, check_occupancies
from superionic.structures.crystal.symmetry import FloatArray, IntArray
from superionic.structures.io.cif.disorder import COLUMNS as DISORDER
from superionic.structures.io.cif.disorder import DisorderedRow, disorder_groups
from superionic.structures.io.cif.names import COORDINATES, check_kind, check_names
from superionic.structures.io.cif.symmetry import check_expanded, symmetry_of
from superionic.structures.io.cif.text import ANGLES, LENGTHS, Block, Column, parse_cif
from superionic.structures.io.filesites import (
    FileSites,
    average_charges,
    check_count,
    check_lattice,
    collect_charges,
    number,
)
from superionic.structures.io.symbols import (
    Occupant,
    SumFormula,
    Witnesses,
    compare_with_formula,
    element_of_label,
    occupants_of_symbol,
    parse_sum_formula,
    writes_capitals,
)

_FORMULA = "_chemical_formula_sum"
_UNITS = "_cell_formula_units_z"
_MAX_ROWS = 4000
_SAME_A = 0.01
_LARGEST_ROUNDING_A = 0.1
_SHARES = 0.01
_NOTHING = 1e-6
_NAMES_OF_ATOMS = ("_atom_site_label", "_atom_site_type_symbol")
_ATTACHED = "_atom_site_attached_hydrogens"


@dataclass(frozen=True)
class _Row:
    """One element of a row of the table of atoms."""

    label: str
    symbol: str | None
    element: str
    charge_e: float | None
    position: tuple[float, float, float]
    occupancy: float
    rounding: float
    where: str
    disorder: tuple[str, str]


def sites_of_cif(text: str, where: str, block: str | None = None) -> FileSites:
    """Read all sites of the cell from a data block of a CIF: the named one, or the first that lists atoms.

    Species on one position (by symmetry or as written) are put on one site. Images of a site that differ by no more
    than the rounding of its coordinates are one, on the special position between them.

    Parameters
    ----------
    text
        The CIF.
    where
        Name of the file for error messages.
    block
        Name of the data block, without ``data_``.

    Raises
    ------
    StructureError
        If the text, its cell, its symmetry or one of its atoms is not what it should be.
    """
    data, notes = _block(parse_cif(text, where), block, where)
    check_kind(data, where)
    notes += check_names(data, where)
    cell = _cell(data, where)
    formula = _formula(data, notes)
    rows = _rows(data, None if formula is None else frozenset(formula.amounts), where)
    rotations, translations, remarks = symmetry_of(data, cell, where)
    notes += remarks
    orbits = [_orbit(row, rotations, translations, cell) for row in rows]
    check_count(sum(len(orbit) for orbit in orbits), where)
    if len(rotations) == 1:
        check_expanded(data, cell, orbits, where)
    contents = [
        (row.element, row.charge_e, row.occupancy * len(orbit)) for row, orbit in zip(rows, orbits, strict=True)
    ]
    disordered = [
        DisorderedRow(row.label, row.element, *row.disorder, row.occupancy, orbit, row.where)
        for row, orbit in zip(rows, orbits, strict=True)
    ]
    groups = disorder_groups(disordered, cell)
    notes += groups.notes
    notes += _remarks(data, rows, contents, formula, where)
    charges = _charges(data, rows)
    return _merged(cell, rows, orbits, groups.alternatives, charges, average_charges(charges, contents), notes)


# ---- the parts of a block -------------------------------------------------------------------------------------------


def _block(blocks: Sequence[Block], name: str | None, where: str) -> tuple[Block, list[str]]:
    """Return the named block, or the first that lists atoms, with a remark on the others."""
    listing = [b for b in blocks if any(k in b.columns and b.columns[k].values for k in _NAMES_OF_ATOMS)]
    listed = ", ".join(shown(b.name) or "(no name)" for b in listing[:8])
    if name is not None:
        named = [b for b in listing if b.name.lower() == name.removeprefix("data_").lower()]
        if len(named) != 1:
            problem = (
                f"has no data block {shown(name)!r} that lists atoms" if not named else "has two blocks of that name"
            )
            fix = f"Choose one of: {listed}." if listed and not named else "Give each data block a name of its own."
            raise StructureError(
                f"The CIF {problem}.", where=where, fix=fix if listing else "Give a CIF with an _atom_site loop."
            )
        return named[0], []
    if not listing:
        raise StructureError(
            "The CIF lists no atoms (no _atom_site loop, or an empty one).",
            where=where,
            fix="Give a CIF with a cell, a space group and an _atom_site loop.",
        )
    if len(listing) == 1:
        return listing[0], []
    return listing[0], [
        (
            f"the file has {len(listing)} data blocks with atoms ({listed}); the first was read; another is chosen by "
            "its name: --block NAME, block= in Python, `block:` of a crystal in a campaign"
        )
    ]


def _formula(block: Block, notes: list[str]) -> SumFormula | None:
    text = block.value(_FORMULA)
    formula = None if text is None else parse_sum_formula(text)
    if text is not None and formula is None:
        notes.append(f"the sum formula {shown(text)!r} cannot be read, so the atoms were not checked against it")
    return formula


def _labels(block: Block) -> Column:
    columns = [block.columns[k] for k in _NAMES_OF_ATOMS if k in block.columns]
    return next(c for c in columns if c.values)


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


def _rows(block: Block, named: frozenset[str] | None, where: str) -> list[_Row]:
    labels = _labels(block)
    columns = {}
    for name in (*COORDINATES, "_atom_site_occupancy", "_atom_site_type_symbol", "_atom_site_calc_flag", *DISORDER):
        column = block.columns.get(name)
        if column is None and name in COORDINATES:
            raise StructureError(f"The CIF lacks {name}.", where=where, fix="Give fractional coordinates of the atoms.")
        if column is not None and (column.loop != labels.loop or len(column.values) != len(labels.values)):
            raise StructureError(
                f"{name} is not in the same table as the other columns of the atoms.",
                where=where,
                fix="Put all _atom_site columns under one loop_.",
            )
        columns[name] = [] if column is None else column.values
    if len(labels.values) > _MAX_ROWS:
        check_count(len(labels.values), where)
    symbols = columns["_atom_site_type_symbol"]
    types = _type_charges(block)
    witnesses = Witnesses(named, writes_capitals([*symbols, *([] if symbols else labels.values)]))
    occupancies = columns["_atom_site_occupancy"]
    # "." means the default of the CIF dictionary, 1; so does "?" where no occupancy at all is known.
    unknown = {"?"} if any(word not in {"?", "."} for word in occupancies) else set()
    rows = []
    for index, label in enumerate(labels.values):
        if columns["_atom_site_calc_flag"] and columns["_atom_site_calc_flag"][index].lower() == "dum":
            continue
        place = f"{where}, line {labels.lines[index]}, site {shown(label)}"
        words = [columns[c][index] for c in COORDINATES]
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
        assembly, group = (columns[c][index].strip() if columns[c] else "." for c in DISORDER)
        symbol = symbols[index].strip() if symbols and symbols[index].strip() not in {"?", "."} else None
        if symbol is None:
            occupants: tuple[Occupant, ...] = (Occupant(element_of_label(label, witnesses, place)),)
        else:
            occupants = occupants_of_symbol(symbol, witnesses, place)
            if len(occupants) == 1 and (typed := types.get(symbol, ("", None))[1]) is not None:
                occupants = (Occupant(occupants[0].element, typed, occupants[0].amount),)
        for occupant, amount in zip(occupants, _amounts(occupants, occupancy, place), strict=True):
            rows.append(
                _Row(
                    shown(label), symbol, occupant.element, occupant.charge_e,
                    (x, y, z), amount, _rounding(words), place, (assembly, group),
                )
            )  # fmt: skip
    if not rows:
        raise StructureError("The CIF lists no atoms.", where=where, fix="Give a CIF with an _atom_site loop.")
    return rows


def _occupancy(word: str, unknown: set[str], where: str) -> float:
    if word in unknown:
        raise StructureError(
            "The occupancy is unknown (?).", where=where, fix="Write the occupancy, or . if the site is full."
        )
    return 1.0 if word in {".", "?", ""} else number(word)


def _amounts(occupants: Sequence[Occupant], occupancy: float, where: str) -> list[float]:
    """Return the occupancy of each element of a row; those of a symbol with amounts are shares, or occupancies."""
    amounts = [o.amount for o in occupants if o.amount is not None]
    if not amounts:
        return [occupancy]
    total = sum(amounts)
    if abs(total - 1.0) <= _SHARES:
        return [amount * occupancy for amount in amounts]
    if abs(occupancy - 1.0) <= _SHARES or abs(total - occupancy) <= _SHARES:
        return amounts
    raise StructureError(
        f"The amounts in the symbol sum to {total:.4g} and the occupancy is {occupancy:.4g}: it is not clear how much "
        "of each element there is.",
        where=where,
        fix="Write one row for each element, at the same position, with its own occupancy.",
    )


def _rounding(words: Sequence[str]) -> float:
    """Return the rounding error of coordinates with that many digits; those with one or two digits count as exact."""
    digits = [len(word.partition("(")[0].partition(".")[2]) for word in words]
    rounded = [d for d in digits if d >= 3]
    return 1.5 * 10.0 ** -min(rounded) if rounded else 0.0


def _charges(block: Block, rows: Sequence[_Row]) -> dict[str, tuple[float, ...]]:
    """Collect the charges of symbols and of the table of atom types, for elements that the crystal holds."""
    silent = {row.element for row in rows if row.charge_e is None}
    pairs = [(row.element, row.charge_e) for row in rows]
    pairs += [(element, charge) for element, charge in _type_charges(block).values() if element in silent]
    return collect_charges(pairs)


def _type_charges(block: Block) -> dict[str, tuple[str, float | None]]:
    """Return element and charge of each symbol of the table of atom types that can be read."""
    types, states = block.columns.get("_atom_type_symbol"), block.columns.get("_atom_type_oxidation_number")
    if types is None:
        return {}
    numbers = states.values if states is not None and len(states.values) == len(types.values) else None
    charges: dict[str, tuple[str, float | None]] = {}
    for index, symbol in enumerate(types.values):
        try:
            occupants = occupants_of_symbol(symbol, Witnesses(capitals=True), "")
        except StructureError:  # a type that no atom need be of
            continue
        charge = number(numbers[index]) if numbers is not None else math.nan
        if len(occupants) == 1:
            charges[symbol] = (occupants[0].element, occupants[0].charge_e if math.isnan(charge) else charge)
    return charges


def _remarks(
    block: Block,
    rows: Sequence[_Row],
    contents: Sequence[tuple[str, float | None, float]],
    formula: SumFormula | None,
    where: str,
) -> list[str]:
    """Remark on disagreements with the file and on readings that a user should know about."""
    notes = []
    heavy = sorted({str(row.symbol or row.label) for row in rows if re.match(r"D(?![a-z])", row.symbol or row.label)})
    if heavy:
        notes.append(f"deuterium counts as hydrogen ({', '.join(heavy[:6])})")
    attached = block.columns.get(_ATTACHED)
    if attached is not None and any(number(v) > 0 for v in attached.values):
        notes.append("the file says that hydrogen is attached to atoms without listing it; it is not in the crystal")
    none = [row.label for row in rows if row.occupancy <= _NOTHING]
    if none:
        more = f" and {len(none) - 8} more" if len(none) > 8 else ""
        notes.append(
            f"listed with occupancy 0: {', '.join(none[:8])}{more}; nothing is there unless a composition axis fills it"
        )
    if formula is None:
        return notes
    amounts: dict[str, float] = {}
    for element, _, amount in contents:
        amounts[element] = amounts.get(element, 0.0) + amount
    units = block.value(_UNITS)
    formula_units = number(units) if units is not None else math.nan
    missing, remark = compare_with_formula(formula, amounts, formula_units if 0.0 < formula_units < math.inf else None)
    if missing:
        raise StructureError(
            f"The sum formula of the file is {shown(formula.text)}, but no site holds {', '.join(missing)}.",
            where=where,
            fix=f"Add the sites of {', '.join(missing)}; if the crystal has none, correct _chemical_formula_sum, or "
            "remove it.",
        )
    return [*notes, remark] if remark else notes


# ---- the sites of the cell ------------------------------------------------------------------------------------------


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
    distinct: list[int] = []  # the tolerance splits the site symmetry: compare one by one
    images = _wrapped(rotations @ x + translations)
    for index, image in enumerate(images):
        difference = images[distinct] - image
        distance = np.linalg.norm((difference - np.round(difference)) @ cell, axis=1)
        if not np.any(distance <= tolerance):
            distinct.append(index)
    return images[distinct]


def _wrapped(x: FloatArray) -> FloatArray:
    wrapped: FloatArray = x - np.floor(x + 1e-10)
    return wrapped


def _merged(
    cell: FloatArray,
    rows: Sequence[_Row],
    orbits: Sequence[FloatArray],
    alternatives: Sequence[tuple[Alternative, ...] | None],
    charges: dict[str, tuple[float, ...]],
    averages: dict[str, float],
    notes: Sequence[str],
) -> FileSites:
    """Put rows that share a position onto one site, which takes the label of the last of them."""
    positions: list[FloatArray] = []
    amounts: list[dict[str, float]] = []
    labels: list[str] = []
    groups: list[Sequence[Alternative | None]] = []
    placed = np.zeros((0, 3))
    owner = np.zeros(0, dtype=np.int64)
    for row, orbit, alternative in zip(rows, orbits, alternatives, strict=True):
        if row.occupancy <= _NOTHING:
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
        groups.append([None] * len(orbit) if alternative is None else alternative)
    empty = [
        (row.label, row.element, orbit)
        for row, orbit in zip(rows, orbits, strict=True)
        if row.occupancy <= _NOTHING and not _is_taken(orbit[0], placed, cell)
    ]
    rank = {row.label: i for i, row in reversed(list(enumerate(rows)))}
    order = sorted(range(len(positions)), key=lambda i: (rank[labels[i]], i))
    return FileSites(
        cell_A=cell,
        fractional=np.concatenate([positions[i] for i in order]) if order else np.zeros((0, 3)),
        occupancies=[dict(amounts[i]) for i in order for _ in positions[i]],
        labels=[labels[i] for i in order for _ in positions[i]],
        charges=charges,
        averages=averages,
        notes=tuple(notes),
        empty=empty,
        alternatives=[a for i in order for a in groups[i]] if any(a for group in groups for a in group) else [],
    )


def _is_taken(position: FloatArray, placed: FloatArray, cell: FloatArray) -> bool:
    difference = placed - position
    return bool(np.any(np.linalg.norm((difference - np.round(difference)) @ cell, axis=1) <= _LARGEST_ROUNDING_A))
