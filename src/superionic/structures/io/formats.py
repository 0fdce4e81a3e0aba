"""Crystals from POSCAR, extended XYZ and pymatgen's JSON, as text; nothing in the text is run or imported."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, NoReturn

import numpy as np

from superionic.errors import StructureError
from superionic.foreign import shown
from superionic.structures.crystal.disordered import check_occupancies
from superionic.structures.crystal.symmetry import FloatArray
from superionic.structures.io.filesites import (
    FileSites,
    average_charges,
    check_count,
    check_lattice,
    check_positions,
    collect_charges,
    element_of,
    number,
)
from superionic.structures.io.frames import check_columns


def _refuse(message: str, where: str, fix: str) -> NoReturn:
    raise StructureError(message, where=where, fix=fix)


# ---- POSCAR ---------------------------------------------------------------------------------------------------------


def sites_of_poscar(text: str, where: str) -> FileSites:
    """Read a POSCAR or CONTCAR of VASP 5 and later (or 4 with the elements in its first line).

    Raises
    ------
    StructureError
        If a line is not what it should be; the error names the line.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def line(index: int, what: str) -> list[str]:
        if index >= len(lines) or not lines[index].strip():
            _refuse(f"The POSCAR ends before {what}.", f"{where}, line {index + 1}", "Complete the file.")
        return lines[index][:2000].split()

    def numbers(index: int, count: int, what: str) -> list[float]:
        words = line(index, what)
        values = [number(w) for w in words[:count]]
        if len(values) < count or not all(math.isfinite(v) for v in values):
            _refuse(f"This is not {what}: {shown(lines[index])}.", f"{where}, line {index + 1}", "Correct the line.")
        return values

    scale_words = line(1, "the scale")
    scales = numbers(1, 3 if len(scale_words) >= 3 and math.isfinite(number(scale_words[1])) else 1, "a scale")
    cell = np.array([numbers(i, 3, "a vector of the cell") for i in (2, 3, 4)])
    if len(scales) == 1 and scales[0] < 0.0:  # a negative scale is the volume
        volume = abs(float(np.linalg.det(cell)))
        scales = [(-scales[0] / volume) ** (1.0 / 3.0) if volume > 0.0 else 0.0]
    scale = np.array(scales)
    cell = cell * scale
    check_lattice(cell, f"{where}, lines 2-5")
    at = 5
    words = line(at, "the elements")
    if element_of(words[0]) is not None:
        names, at = words, at + 1
    else:
        names = lines[0].split()
    elements = [element_of(re.split(r"[_/]", n)[0], exact=True) for n in names]
    counts = [int(w) if re.fullmatch(r"[0-9]{1,6}", w) else -1 for w in line(at, "the numbers of atoms")]
    if len(counts) != len(elements) or min(counts) < 0 or None in elements:
        _refuse(
            f"The elements ({shown(' '.join(names))}) and their numbers ({shown(lines[at])}) do not fit.",
            f"{where}, line {at + 1}",
            "Give one number for each element, and the elements in the line before.",
        )
    symbols = [str(e) for e, n in zip(elements, counts, strict=True) for _ in range(min(n, 100_000))]
    check_count(len(symbols), where)
    at += 1
    mode = line(at, "Direct or Cartesian")[0][0].lower()
    if mode == "s":
        at += 1
        mode = line(at, "Direct or Cartesian")[0][0].lower()
    if mode not in "dck":
        _refuse(
            "The line says neither Direct nor Cartesian.", f"{where}, line {at + 1}", "Write Direct before positions."
        )
    x = np.array([numbers(at + 1 + i, 3, "a position") for i in range(len(symbols))], dtype=np.float64).reshape(-1, 3)
    if mode in "ck":
        x = (x * scale) @ np.linalg.inv(cell)
    check_positions(x, symbols, where)
    return FileSites(cell, x, [{s: 1.0} for s in symbols], symbols)


# ---- pymatgen's JSON ------------------------------------------------------------------------------------------------


def sites_of_json(text: str, where: str) -> FileSites:
    """Read a structure that pymatgen wrote as JSON (``Structure.as_dict``), with its occupancies and charges.

    Only the lattice and the sites are read; classes named in the file are neither imported nor called.

    Raises
    ------
    StructureError
        If it is not such a structure.
    """
    data = _json(text, where)
    lattice = data.get("lattice") if isinstance(data, dict) else None
    sites = data.get("sites") if isinstance(data, dict) else None
    if not isinstance(lattice, dict) or not isinstance(sites, list):
        _refuse(
            "The JSON holds no structure of pymatgen (no lattice and sites).",
            where,
            "Write it by Structure.to(filename=...).",
        )
    cell = _array(lattice.get("matrix"), (3, 3), f"{where}, lattice")
    check_lattice(cell, f"{where}, lattice")
    check_count(len(sites), where)
    inverse = np.linalg.inv(cell)
    positions, occupancies, labels = [], [], []
    contents: list[tuple[str, float | None, float]] = []
    for index, site in enumerate(sites):
        place = f"{where}, site {index + 1}"
        if not isinstance(site, dict) or not isinstance(site.get("species"), list) or not site["species"]:
            _refuse("The site has no species.", place, "Write the file by pymatgen.")
        amounts: dict[str, float] = {}
        for kind in site["species"]:
            element, occupancy = _json_species(kind, place)
            amounts[element] = amounts.get(element, 0.0) + occupancy
            state = kind.get("oxidation_state")
            contents.append((element, float(state) if isinstance(state, int | float) else None, occupancy))
        check_occupancies(amounts, place)
        if "abc" in site:
            positions.append(_array(site["abc"], (3,), place))
        else:
            positions.append(_array(site.get("xyz"), (3,), place) @ inverse)
        occupancies.append({e: o for e, o in amounts.items() if o > 1e-6})
        label = site.get("label")
        labels.append(shown(label) if isinstance(label, str) and label.strip() else "/".join(amounts))
    x = np.array(positions, dtype=np.float64).reshape(-1, 3)
    check_positions(x, labels, where)
    filled = [i for i, o in enumerate(occupancies) if o]
    charges = collect_charges([(element, charge) for element, charge, _ in contents])
    averages = average_charges(charges, contents)
    return FileSites(cell, x[filled], [occupancies[i] for i in filled], [labels[i] for i in filled], charges, averages)


def _json(text: str, where: str) -> Any:
    def constant(name: str) -> NoReturn:
        _refuse(f"{name} is not a number.", where, "Correct the file.")

    try:
        return json.loads(text, parse_constant=constant)
    except RecursionError:
        _refuse("The JSON is nested too deeply.", where, "Give a structure that pymatgen wrote.")
    except ValueError as error:
        _refuse(f"This is not JSON: {shown(str(error), 100)}.", where, "Give a structure that pymatgen wrote.")


def _array(value: Any, shape: tuple[int, ...], where: str) -> FloatArray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if array.shape != shape or not np.all(np.isfinite(array)):
        _refuse(f"{' × '.join(map(str, shape))} finite numbers are missing here.", where, "Correct the file.")
    return array


def _json_species(kind: Any, where: str) -> tuple[str, float]:
    name = kind.get("element") if isinstance(kind, dict) else None
    element = element_of(name, exact=True) if isinstance(name, str) and len(name) <= 3 else None
    if element is None:
        _refuse(f"{shown(str(name))!r} is not a chemical element.", where, "Correct the symbol of the element.")
    occupancy = kind.get("occu")
    if isinstance(occupancy, bool) or not isinstance(occupancy, int | float):
        _refuse(f"The occupancy of {element} is not a number.", where, "Give its occupancy.")
    try:
        return element, float(occupancy)
    except OverflowError:
        return element, math.inf


# ---- extended XYZ ---------------------------------------------------------------------------------------------------


def sites_of_extxyz(text: str, where: str) -> FileSites:
    """Read the first frame of an extended XYZ file with a cell.

    Partial occupancies are read as ASE stores those of CIFs: ``info["occupancy"]`` gives the occupancies of each kind
    of site, and the column ``spacegroup_kinds`` the kind of each atom. Charges are not oxidation states and are not
    read.

    Raises
    ------
    StructureError
        If it is not such a file.
    """
    from ase.io.extxyz import read_xyz

    first = text[:40].split("\n", 1)[0].strip()
    if not re.fullmatch(r"[0-9]{1,9}", first):
        _refuse("The first line is not the number of atoms.", f"{where}, line 1", "Give an extended XYZ file.")
    check_count(int(first), where)
    lines = text.split("\n", int(first) + 2)[: int(first) + 2]
    if len(lines) > 1 and len(lines[1]) > 200_000:
        _refuse("The comment line is absurdly long.", f"{where}, line 2", "Give an extended XYZ file.")
    try:
        check_columns(lines[1] if len(lines) > 1 else "")
        atoms: Any = next(iter(read_xyz(StringIO("\n".join(lines) + "\n"), index=0)))
        cell = np.array(atoms.cell.array, dtype=np.float64)
        symbols = [str(s) for s in atoms.get_chemical_symbols()]
        kinds = atoms.arrays.get("spacegroup_kinds")
        occupancies_of_kinds = atoms.info.get("occupancy")
        positions = np.array(atoms.get_positions(), dtype=np.float64)
    except Exception as error:  # the reader can fail in many ways
        raise StructureError(
            f"The extended XYZ cannot be read: {shown(str(error), 120) or type(error).__name__}.",
            where=where,
            fix='Give Lattice="..." and Properties=species:S:1:pos:R:3 in its second line.',
        ) from error
    if not np.any(cell):
        _refuse("The file gives no cell.", f"{where}, line 2", 'Give Lattice="..." in its second line.')
    check_lattice(cell, f"{where}, line 2")
    if "X" in symbols:
        place = f"{where}, line {symbols.index('X') + 3}"
        _refuse("This is not a chemical element.", place, "Correct the symbol of the element.")
    x = positions @ np.linalg.inv(cell)
    check_positions(x, symbols, where)
    occupancies: list[dict[str, float]] = [{s: 1.0} for s in symbols]
    if isinstance(occupancies_of_kinds, Mapping) and kinds is not None:
        occupancies = [
            _kind(occupancies_of_kinds, k, {s: 1.0}, f"{where}, line {i + 3}")
            for i, (k, s) in enumerate(_zip(kinds, symbols))
        ]
    filled = [i for i, o in enumerate(occupancies) if o]
    return FileSites(cell, x[filled], [occupancies[i] for i in filled], [symbols[i] for i in filled])


def _zip(kinds: Any, symbols: Sequence[str]) -> list[tuple[str, str]]:
    return [(str(k), s) for k, s in zip(np.asarray(kinds).reshape(-1).tolist(), symbols, strict=False)]


def _kind(
    occupancies_of_kinds: Mapping[Any, Any], kind: str, otherwise: dict[str, float], where: str
) -> dict[str, float]:
    amounts = occupancies_of_kinds.get(kind)
    if amounts is None:
        return otherwise
    if not isinstance(amounts, Mapping):
        _refuse("The occupancies are not given by element.", where, 'Write {"0": {"Na": 0.5, "K": 0.5}}.')
    checked: dict[str, float] = {}
    for name, value in amounts.items():
        element = element_of(str(name)[:3], exact=True)
        if element is None or isinstance(value, bool) or not isinstance(value, int | float):
            _refuse(
                f"{shown(str(name))!r}: {shown(str(value))!r} is not the occupancy of an element.", where, "Correct it."
            )
        checked[element] = checked.get(element, 0.0) + float(value)
    check_occupancies(checked, where)
    return {e: o for e, o in checked.items() if o > 1e-6}
