"""Writing structures to files. A file appears whole or not at all: it is written beside its target and renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from superionic.chemistry import sort_species, species_key
from superionic.errors import StructureError, explained
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.symmetry import FloatArray
from superionic.structures.io.cif.text import ANGLES, LENGTHS
from superionic.version import __version__

_SUFFIXES = {".extxyz": "extxyz", ".xyz": "extxyz", ".cif": "cif", ".vasp": "poscar", ".poscar": "poscar"}
_ENDINGS = {"extxyz": ".extxyz", "cif": ".cif", "poscar": ".vasp"}


def write_structures(path: str | Path, structures: Sequence[Any], *, format: str | None = None) -> list[Path]:  # noqa: A002 - the word that ASE and pymatgen use
    """Write structures with their known properties: degeneracy, energy, provenance.

    Everything in the ``info`` of the structures that is a number, a text, or a list of these is written: unchanged in
    extended XYZ, as comment lines in CIFs, in the first line of POSCARs. The version of superionic is added.

    Parameters
    ----------
    path
        For extended XYZ the file that takes all structures. For CIF and POSCAR the file of the one structure; with
        several, ``NAME.cif`` stands for ``NAME_0001.cif``, ``NAME_0002.cif`` …. A folder (existing, or a path without
        suffix) takes files named ``ordering``.
    structures
        ``ase.Atoms``, periodic.
    format
        ``"extxyz"``, ``"cif"`` or ``"poscar"``; from the suffix of the path where not given.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    StructureError
        If the format is unknown, there are no structures, or a file cannot be written.
    """
    target = Path(path)
    kind = format.lower() if format is not None else _SUFFIXES.get(target.suffix.lower())
    if kind is None and target.name.upper().startswith(("POSCAR", "CONTCAR")):
        kind = "poscar"
    if kind not in _ENDINGS:
        raise StructureError(
            f"Structures cannot be written as {kind or target.suffix or 'a file without suffix'!r}.",
            where=str(target),
            fix="Name a file that ends in .extxyz, .cif or .vasp, or give the format: extxyz, cif or poscar.",
        )
    if len(structures) == 0:
        raise StructureError("There are no structures to write.", where=str(target), fix="Give one or more.")
    copies = []
    for structure in structures:
        copy = structure.copy()
        copy.info = {**_plain(structure.info), "superionic": __version__}
        copies.append(copy)
    bare = target.name.upper().startswith(("POSCAR", "CONTCAR"))
    if target.is_dir() or (not target.suffix and not bare):
        target = target / f"ordering{_ENDINGS[kind]}"
    if kind == "extxyz":
        write_extxyz(target, copies)
        return [target]
    written = []
    digits = max(4, len(str(len(copies))))
    for index, copy in enumerate(copies, start=1):
        numbered = f"{target.stem}_{index:0{digits}d}{target.suffix}" if len(copies) > 1 else target.name
        file = target.with_name(numbered)
        if kind == "cif":
            write_cif(file, copy)
        else:
            _write_text(file, _poscar(copy))
        written.append(file)
    return written


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

    buffer = StringIO()
    ase.io.write(buffer, list(structures), format="extxyz")
    _write_text(Path(path), buffer.getvalue())


def write_cif(path: str | Path, structure: Any, *, name: str | None = None) -> None:
    """Write a disordered crystal or ``ase.Atoms`` as a CIF in P1, every site listed, occupancies kept.

    Parameters
    ----------
    path
        File to be written.
    structure
        A :class:`~superionic.structures.crystal.disordered.DisorderedCrystal`, or ``ase.Atoms``, whose ``info`` becomes
        comment lines.
    name
        Name of the data block; the crystal's own name, or its formula, where not given.
    """
    rows: list[tuple[str, str, FloatArray, float]] = []
    comments: list[str] = []
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
        comments = [f"# {key}: {_text(value)}" for key, value in _plain(structure.info).items()]
        scaled = structure.get_scaled_positions(wrap=True)
        symbols = structure.get_chemical_symbols()
        rows.extend((str(s), f"{s}{i + 1}", x, 1.0) for i, (s, x) in enumerate(zip(symbols, scaled, strict=True)))
    from ase.geometry import cell_to_cellpar

    block = "".join(c if c.isalnum() or c in "-_." else "_" for c in (title if name is None else name))
    values = dict(zip((*LENGTHS, *ANGLES), cell_to_cellpar(cell), strict=True))
    lines = [
        *comments,
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
    _write_text(Path(path), "\n".join(lines) + "\n")


def _poscar(structure: Any) -> str:
    symbols = [str(s) for s in structure.get_chemical_symbols()]
    scaled = structure.get_scaled_positions(wrap=True)
    order = sorted(range(len(symbols)), key=lambda i: (species_key(symbols[i]), i))
    elements = sort_species(symbols)
    about = " ".join(f"{key}={_text(value)}" for key, value in _plain(structure.info).items())
    lines = [
        f"{structure.get_chemical_formula()} {about}".strip(),
        "1.0",
        *(" ".join(f"{v:21.16f}" for v in row) for row in np.asarray(structure.cell.array)),
        " ".join(elements),
        " ".join(str(symbols.count(e)) for e in elements),
        "Direct",
        *(" ".join(f"{v:.16f}" for v in scaled[i]) for i in order),
    ]
    return "\n".join(lines) + "\n"


def _plain(info: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the entries of ``info`` that are numbers, texts, or lists or mappings of these, as plain Python values."""
    values: dict[str, Any] = {}
    for key, value in info.items():
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        plain = str(plain) if isinstance(plain, Path) else plain
        if isinstance(plain, str | int | float | bool | list | tuple | dict):
            values[str(key)] = plain
    return values


def _text(value: Any) -> str:
    """Write a value on one line: texts as they are, the rest as JSON."""
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value, default=str)


def _write_text(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        what, fix = explained(error)
        raise StructureError(f"The file cannot be written: {what}.", where=str(path), fix=fix) from error
