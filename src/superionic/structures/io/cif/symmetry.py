"""The symmetry of a CIF as written: its operations, or those of the space group that it names."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.crystal.symmetry import FloatArray, IntArray
from superionic.structures.io.cif.names import GROUP_NAMES, GROUP_NUMBERS, HALL_NAMES, OPERATIONS, SETTING
from superionic.structures.io.cif.text import Block, Column
from superionic.structures.io.filesites import number
from superionic.structures.io.operations import (
    MAX_OPERATIONS,
    Operation,
    check_group,
    fits_cell,
    operations_by_name,
    parse_operation,
)

_FIRST = {"P1", "1"}
_LARGEST_ROUNDING_A = 0.1


def symmetry_of(block: Block, cell: FloatArray, where: str) -> tuple[IntArray, FloatArray, list[str]]:
    """Return the operations of a data block, and remarks on them.

    Raises
    ------
    StructureError
        If the block says nothing about its symmetry, or something that cannot be understood or does not fit the cell.
    """
    column = next((block.columns[n] for n in OPERATIONS if n in block.columns and block.value(n) is not None), None)
    if column is None:
        return _by_name(block, cell, where)
    operations = _operations(column, where)
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
    notes = []
    if len(rotations) == 1 and not any(block.value(n) for n in (*HALL_NAMES, *GROUP_NAMES, *GROUP_NUMBERS)):
        notes.append("the file lists only the identity and names no space group: its atoms count as all of the cell")
    return rotations, translations, notes


def _by_name(block: Block, cell: FloatArray, where: str) -> tuple[IntArray, FloatArray, list[str]]:
    hall, name, group = block.value(*HALL_NAMES), _name(block), _number(block)
    if hall is None and name is None and group is None:
        raise StructureError(
            "The file states no usable symmetry: no operations and no space group.",
            where=where,
            fix="Add the space group, such as _space_group_name_H-M_alt 'F m -3 m', or list its operations "
            "(_space_group_symop_operation_xyz); if the file lists all atoms of the cell, "
            "_space_group_name_H-M_alt 'P 1'.",
        )
    if name is not None and name.replace(" ", "").upper() in _FIRST and group not in {None, 1}:
        raise StructureError(
            f"The file names the space group {shown(name)!r} but gives the number {group}, and lists no operations.",
            where=where,
            fix="Correct one of the two; P 1 is number 1, and then all atoms of the cell are listed.",
        )
    if _is_first(block):
        return np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)), []
    rotations, translations, remark = operations_by_name(hall, name, group, cell, where)
    return rotations, translations, [remark] if remark else []


def _operations(column: Column, where: str) -> list[Operation]:
    if len(column.values) > MAX_OPERATIONS:
        raise StructureError(
            f"The file lists {len(column.values):,} symmetry operations; at most {MAX_OPERATIONS:,} are read.",
            where=f"{where}, line {column.lines[0]}",
            fix="Give the operations of the space group.",
        )
    return [parse_operation(v, f"{where}, line {n}") for v, n in zip(column.values, column.lines, strict=True)]


def _name(block: Block) -> str | None:
    """Return the Hermann-Mauguin symbol, with the code of its setting where that is given separately."""
    name, code = block.value(*GROUP_NAMES), block.value(SETTING)
    if name is None or code is None or ":" in name:
        return name
    return f"{name}:{code}"


def _number(block: Block) -> int | None:
    value = block.value(*GROUP_NUMBERS)
    group_number = number(value) if value is not None else math.nan
    return int(group_number) if 1 <= group_number <= 230 and group_number == int(group_number) else None


def _is_first(block: Block) -> bool:
    """Return whether the group is P 1: by its Hall symbol, else its name, else its number."""
    hall, name = block.value(*HALL_NAMES), block.value(*GROUP_NAMES)
    if name is None and hall is not None:
        return hall.replace(" ", "").upper() == "P1"
    return name.replace(" ", "").upper() in _FIRST if name is not None else _number(block) == 1


def check_expanded(block: Block, cell: FloatArray, orbits: Sequence[FloatArray], where: str) -> None:
    """Check that a file that names a group, but lists the identity only, lists all atoms of the cell.

    Raises
    ------
    StructureError
        If it does not.
    """
    if _is_first(block) or not any(block.value(n) for n in (*HALL_NAMES, *GROUP_NAMES, *GROUP_NUMBERS)):
        return
    hall, name, group = block.value(*HALL_NAMES), _name(block), _number(block)
    try:
        rotations, translations, _ = operations_by_name(hall, name, group, cell, where)
    except StructureError:  # an unreadable name contradicts nothing
        return
    listed = np.concatenate(orbits)
    for rotation, translation in zip(rotations, translations, strict=True):
        # A few atoms are enough: in an asymmetric unit hardly any atom has all its images.
        difference = (listed[:50] @ rotation.T + translation)[:, None] - listed[None]
        distance = np.linalg.norm((difference - np.round(difference)) @ cell, axis=2)
        if np.any(distance.min(axis=1) > _LARGEST_ROUNDING_A):
            raise StructureError(
                f"The file names the space group {shown(name or hall or f'number {group}')!r} but lists only the "
                "identity as its operations, and its atoms are not all of the cell.",
                where=where,
                fix="List all operations of the space group, or all atoms of the cell and P1.",
            )
