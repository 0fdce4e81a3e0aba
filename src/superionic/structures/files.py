"""Reading crystals from files and writing structures to them: the only module of this room that touches the disk."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from superionic.errors import StructureError
from superionic.structures.disordered import (
    DisorderedCrystal,
    check_cell,
    check_occupancies,
    crystal_from_sites,
)
from superionic.structures.formulas import sort_species
from superionic.structures.symmetry import FloatArray

MAX_FILE_BYTES = 20_000_000
"""Crystals are small; a larger file is something else."""

_CIF_SUFFIXES = {".cif", ".mcif"}
_JSON_SUFFIXES = {".json"}
_ASE_FORMATS = {".vasp": "vasp", ".poscar": "vasp", ".xyz": "extxyz", ".extxyz": "extxyz"}


def read_crystal(path: str | Path, *, name: str | None = None, symprec: float = 0.01) -> DisorderedCrystal:
    """Read a crystal, with its partial occupancies, and find its symmetry.

    Parameters
    ----------
    path
        A CIF, a POSCAR (``POSCAR*``, ``CONTCAR*``, ``.vasp``), an extended XYZ file with a cell (its first frame), or
        a pymatgen structure as JSON.
    name
        Name of the crystal; the file name without its suffix where not given.
    symprec
        Distance tolerance in Å for finding the symmetry.

    Raises
    ------
    StructureError
        If the file is missing, unreadable, of unknown kind, or its crystal is impossible (no atoms, no volume,
        occupancies that are not numbers in 0-1 or sum to more than 1, full sites on top of each other). The error
        names the file, the place in it, and the fix.
    """
    file = Path(path)
    _check_file(file)
    suffix = file.suffix.lower()
    crystal_name = file.stem if name is None else name
    if suffix in _CIF_SUFFIXES:
        parts = _read_cif(file)
    elif suffix in _JSON_SUFFIXES:
        parts = _read_pymatgen_json(file)
    elif suffix in _ASE_FORMATS or file.name.upper().startswith(("POSCAR", "CONTCAR")):
        parts = _read_by_ase(file, _ASE_FORMATS.get(suffix, "vasp"))
    else:
        raise StructureError(
            f"Crystals cannot be read from a file that ends in {suffix!r}.",
            where=str(file),
            fix="Give a .cif, .vasp (or POSCAR), .extxyz or pymatgen .json file.",
        )
    cell, fractional, occupancies, labels = parts
    try:
        return crystal_from_sites(crystal_name, cell, fractional, occupancies, labels=labels, symprec=symprec)
    except StructureError as error:
        detail = "" if error.where is None else error.where.removeprefix(crystal_name).lstrip(", ")
        raise StructureError(
            error.message, where=f"{file}, {detail}" if detail else str(file), fix=error.fix
        ) from error


_Parts = tuple[FloatArray, FloatArray, list[dict[str, float]], list[str]]


def _check_file(file: Path) -> None:
    if not file.exists():
        siblings = sorted(p.name for p in file.parent.glob("*.cif")) if file.parent.is_dir() else []
        hint = f"; that folder has: {', '.join(siblings[:6])}" if siblings else ""
        raise StructureError("The crystal file does not exist.", where=str(file), fix=f"Correct the path{hint}.")
    if not file.is_file():
        raise StructureError("This is not a file.", where=str(file), fix="Give the path of a crystal file.")
    size = file.stat().st_size
    if size == 0:
        raise StructureError("The file is empty.", where=str(file), fix="Give a file with a crystal in it.")
    if size > MAX_FILE_BYTES:
        raise StructureError(
            f"The file has {size / 1e6:.0f} MB; no crystal structure is that large.",
            where=str(file),
            fix="Give a file with one crystal structure.",
        )


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise StructureError(
            f"The file cannot be read: {error.strerror}.", where=str(file), fix="Check its permissions."
        ) from error


def _read_cif(file: Path) -> _Parts:
    from pymatgen.io.cif import CifFile, CifParser

    text = _text_of(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            blocks = CifFile.from_str(text).data
            block = next((b.data for b in blocks.values() if "_atom_site_label" in b.data), None)
            if block is None:
                block = next((b.data for b in blocks.values() if "_atom_site_type_symbol" in b.data), None)
    except ZeroDivisionError:  # pymatgen's answer to a loop without rows
        block = None
    except Exception as error:
        raise _unreadable(file, "CIF", error) from error
    if block is None:
        raise StructureError(
            "The CIF lists no atoms (no _atom_site loop, or an empty one).",
            where=str(file),
            fix="Give a CIF with a cell, a space group and an _atom_site loop.",
        )
    lines = text.splitlines()
    _check_cif_cell(file, block)
    _check_cif_sites(file, block, lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = CifParser.from_str(text, occupancy_tolerance=math.inf, site_tolerance=1e-3)
            structures = parser.parse_structures(primitive=False, symmetrized=False, check_occu=False)
        structure = structures[0]
    except Exception as error:
        raise _unreadable(file, "CIF", error) from error
    rank = {label: i for i, label in reversed(list(enumerate(block.get("_atom_site_label", []))))}
    parts = _from_pymatgen(structure)
    order = sorted(range(len(parts[3])), key=lambda i: (rank.get(parts[3][i], len(rank)), i))
    return parts[0], parts[1][order], [parts[2][i] for i in order], [parts[3][i] for i in order]


def _number(text: str) -> float | None:
    """Read a CIF number such as ``0.326(4)``; None for ``.`` and ``?``, not-a-number for anything else."""
    stripped = str(text).split("(", maxsplit=1)[0].strip().strip("'\"")
    if stripped in {".", "?", ""}:
        return None
    try:
        return float(stripped)
    except ValueError:
        return math.nan


def _check_cif_cell(file: Path, block: Mapping[str, Any]) -> None:
    missing = [k for k in (*_LENGTHS, *_ANGLES) if k not in block]
    if missing:
        raise StructureError(
            f"The CIF lacks {', '.join(missing)}.", where=str(file), fix="Add the lengths and angles of the cell."
        )
    lengths = [_number(block[k]) for k in _LENGTHS]
    angles = [_number(block[k]) for k in _ANGLES]
    for key, value in zip((*_LENGTHS, *_ANGLES), (*lengths, *angles), strict=True):
        if value is None or not math.isfinite(value) or value <= 0.0:
            raise StructureError(
                f"{key} is {block[key]!r}; it must be a positive number.", where=str(file), fix="Correct the cell."
            )
    from ase.geometry import cellpar_to_cell

    try:
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cell = np.asarray(cellpar_to_cell([*lengths, *angles]), dtype=np.float64)
    except (AssertionError, ValueError, ZeroDivisionError):
        cell = np.zeros((3, 3))
    check_cell(np.nan_to_num(cell), str(file))


_LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
_ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")


def _check_cif_sites(file: Path, block: Mapping[str, Any], lines: Sequence[str]) -> None:
    labels = list(block.get("_atom_site_label", block.get("_atom_site_type_symbol", [])))
    columns = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
    for column in columns:
        if column not in block:
            raise StructureError(
                f"The CIF lacks {column}.", where=str(file), fix="Give fractional coordinates of the atoms."
            )
    occupancies = list(block.get("_atom_site_occupancy", ["1"] * len(labels)))
    symbols = list(block.get("_atom_site_type_symbol", labels))
    sums: dict[tuple[float, ...], dict[str, float]] = {}
    for index, label in enumerate(labels):
        where = f"{file}{_line_of(lines, label)}, site {label}"
        _check_element(str(symbols[index]), where)
        position = [_number(block[c][index]) for c in columns]
        if any(v is None or not math.isfinite(v) for v in position):
            raise StructureError(
                "A fractional coordinate is missing or not a number.", where=where, fix="Correct the coordinate."
            )
        occupancy = _number(occupancies[index])
        if occupancy is None:
            occupancy = 1.0
        check_occupancies({label: occupancy}, where)
        # Sites written at the very same place share it; those that symmetry brings together are checked later.
        shared = sums.setdefault(tuple(round(v % 1.0, 4) for v in position if v is not None), {})
        shared[label] = shared.get(label, 0.0) + occupancy
        check_occupancies(shared, where)


def _check_element(symbol: str, where: str) -> None:
    from ase.data import atomic_numbers

    letters = re.match(r"[A-Za-z]*", symbol)
    word = letters.group() if letters else ""
    if not {word[:2].capitalize(), word[:1].upper()} & {*atomic_numbers, "D", "T"}:
        raise StructureError(
            f"{symbol!r} is not a chemical element.", where=where, fix="Correct the symbol of the element."
        )


def _line_of(lines: Sequence[str], label: str) -> str:
    """Find the line of a site by its label, for error messages."""
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if len(words) >= 4 and label in words:
            return f", line {number}"
    return ""


def _unreadable(file: Path, kind: str, error: Exception) -> StructureError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return StructureError(
        f"The {kind} cannot be read: {reason}",
        where=str(file),
        fix="Correct the file, or export the crystal anew with another program.",
    )


def _from_pymatgen(structure: Any) -> _Parts:
    occupancies: list[dict[str, float]] = []
    for site in structure:
        amounts: dict[str, float] = {}
        for element, amount in site.species.items():
            if float(amount) > 1e-6 or math.isnan(float(amount)):
                symbol = str(getattr(element, "symbol", element))
                symbol = "H" if symbol in {"D", "T"} else symbol
                amounts[symbol] = amounts.get(symbol, 0.0) + float(amount)
        occupancies.append(amounts)
    kept = [i for i, o in enumerate(occupancies) if o]
    labels = [str(structure[i].label) for i in kept]
    cell = np.array(structure.lattice.matrix, dtype=np.float64)
    fractional = np.array(structure.frac_coords, dtype=np.float64).reshape(-1, 3)[kept]
    return cell, fractional, [occupancies[i] for i in kept], labels


def _read_pymatgen_json(file: Path) -> _Parts:
    from pymatgen.core import Structure

    try:
        data = json.loads(_text_of(file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = Structure.from_dict(data)
    except Exception as error:
        raise _unreadable(file, "pymatgen JSON", error) from error
    return _from_pymatgen(structure)


def _read_by_ase(file: Path, kind: str) -> _Parts:
    import ase.io

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms: Any = ase.io.read(file, index=0, format=kind)
    except Exception as error:
        raise _unreadable(file, kind, error) from error
    cell = np.array(atoms.cell.array, dtype=np.float64)
    check_cell(cell, str(file))
    symbols = [str(s) for s in atoms.get_chemical_symbols()]
    fractional = np.array(atoms.get_scaled_positions(wrap=False), dtype=np.float64)
    return cell, fractional, [{s: 1.0} for s in symbols], symbols


def write_extxyz(path: str | Path, structures: Sequence[Any]) -> None:
    """Write structures as extended XYZ, with their ``info`` (energies, degeneracies) in the comment lines.

    Parameters
    ----------
    path
        File to be written.
    structures
        ``ase.Atoms``, one frame each.
    """
    import ase.io

    ase.io.write(Path(path), list(structures), format="extxyz")


def write_cif(path: str | Path, structure: Any, *, name: str | None = None) -> None:
    """Write a disordered crystal or ``ase.Atoms`` as a CIF in P1, every site listed, occupancies kept.

    Parameters
    ----------
    path
        File to be written.
    structure
        A :class:`~superionic.structures.disordered.DisorderedCrystal` or ``ase.Atoms``.
    name
        Name of the data block; the crystal's own name, or its formula, where not given.
    """
    rows: list[tuple[str, str, FloatArray, float]] = []
    if isinstance(structure, DisorderedCrystal):
        cell = structure.cell_A
        title = structure.name
        for index, site in enumerate(structure.sites):
            rows.extend(
                (species, f"{species}{index + 1}", np.asarray(site.fractional), site.species[species])
                for species in sort_species(site.species)
            )
    else:
        cell = np.asarray(structure.cell.array, dtype=np.float64)
        title = str(structure.get_chemical_formula())
        scaled = structure.get_scaled_positions(wrap=True)
        symbols = structure.get_chemical_symbols()
        rows.extend((str(s), f"{s}{i + 1}", x, 1.0) for i, (s, x) in enumerate(zip(symbols, scaled, strict=True)))
    from ase.geometry import cell_to_cellpar

    block = "".join(c if c.isalnum() or c in "-_." else "_" for c in (title if name is None else name))
    values = dict(zip((*_LENGTHS, *_ANGLES), cell_to_cellpar(cell), strict=True))
    lines = [
        f"data_{block}",
        "_symmetry_space_group_name_H-M 'P 1'",
        "_symmetry_Int_Tables_number 1",
        *(f"{key} {value:.10g}" for key, value in values.items()),
        "loop_",
        "_symmetry_equiv_pos_as_xyz",
        "'x, y, z'",
        "loop_",
        "_atom_site_type_symbol",
        "_atom_site_label",
        "_atom_site_fract_x",
        "_atom_site_fract_y",
        "_atom_site_fract_z",
        "_atom_site_occupancy",
        *(f"{s} {label} {x[0]:.10f} {x[1]:.10f} {x[2]:.10f} {occ:.8g}" for s, label, x, occ in rows),
    ]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
