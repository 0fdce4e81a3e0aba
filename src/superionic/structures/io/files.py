"""Reading crystal files from the disk; :mod:`.writing` writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePath

from superionic.errors import StructureError, explained
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.io.filesites import FileOxidationStates
from superionic.structures.io.reading import read_in_child
from superionic.structures.io.writing import write_cif, write_extxyz, write_structures

__all__ = [
    "MAX_FILE_BYTES",
    "parse_crystal",
    "read_crystal",
    "read_oxidation_states",
    "write_cif",
    "write_extxyz",
    "write_structures",
]

MAX_FILE_BYTES = 20_000_000
"""Crystals are small; a larger file is something else."""

_SUFFIXES = {
    ".cif": "cif", ".mcif": "cif", ".json": "json", ".vasp": "poscar", ".poscar": "poscar", ".xyz": "extxyz",
    ".extxyz": "extxyz",
}  # fmt: skip


def kind_of_file(path: PurePath) -> str:
    """Return the format of a crystal file by its name: ``cif``, ``json``, ``poscar`` or ``extxyz``.

    Raises
    ------
    StructureError
        If the name belongs to none of them.
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None and path.name.upper().startswith(("POSCAR", "CONTCAR")):
        kind = "poscar"
    if kind is None:
        raise StructureError(
            f"Crystals cannot be read from a file that ends in {path.suffix!r}.",
            where=str(path),
            fix="Give a .cif, .vasp (or POSCAR), .extxyz or pymatgen .json file.",
        )
    return kind


def read_crystal(
    path: str | Path,
    *,
    name: str | None = None,
    block: str | None = None,
    symprec: float = 0.01,
    keep_empty: Sequence[str] = (),
    time_limit_s: float = 30.0,
    memory_limit_MB: int = 2048,
) -> DisorderedCrystal:
    """Read a crystal, with its partial occupancies, and find its symmetry; in a process of its own, with limits.

    Use it for files that come from anywhere. The occupancies are kept as they are. A site whose occupancy is ``.`` (or
    ``?`` for all sites) is full. Choices made where the file leaves something open, and contents that are not read,
    are listed in the ``notes`` of the crystal.

    Parameters
    ----------
    path
        A CIF, a POSCAR (``POSCAR*``, ``CONTCAR*``, ``.vasp``), an extended
        XYZ file with a cell (its first frame), or a pymatgen structure as JSON.
    name
        Name of the crystal; the file name without its suffix where not given.
    block
        Name of the data block of a CIF, without ``data_``; the first that lists atoms where not given.
    symprec
        Distance tolerance in Å for finding the symmetry.
    keep_empty
        Elements whose sites are kept where the file lists them with occupancy 0, so that they can be filled.
    time_limit_s, memory_limit_MB
        Limits on the time and the memory for reading the file.

    Raises
    ------
    StructureError
        If the file is missing, unreadable, of unknown kind, beyond the limits, or its crystal is impossible (no atoms,
        no volume, occupancies that are not numbers in 0-1 or sum to more than 1, full sites on top of each other,
        symmetry that is missing or not a group, symbols that are not elements, a modulated structure). The error names
        the file, the line or site, and the fix.
    """
    file, kind, text = _checked(path)
    result = read_in_child(
        {
            "what": "crystal",
            "text": text,
            "kind": kind,
            "where": str(file),
            "block": block,
            "name": file.stem if name is None else name,
            "symprec": _symprec(symprec),
            "keep_empty": list(keep_empty),
        },
        time_limit_s=time_limit_s,
        memory_limit_MB=memory_limit_MB,
    )
    try:
        return DisorderedCrystal.from_dict(result)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StructureError(
            "The file crashed the parser (it returned nonsense).",
            where=str(file),
            fix="Correct the file, or export the crystal again with another program.",
        ) from error


def parse_crystal(
    path: str | Path,
    *,
    name: str | None = None,
    block: str | None = None,
    symprec: float = 0.01,
    keep_empty: Sequence[str] = (),
) -> DisorderedCrystal:
    """Read a crystal as :func:`read_crystal` does, but in this process and without limits.

    For files that :func:`read_crystal` has checked before, such as the inputs of tasks.

    Raises
    ------
    StructureError
        As :func:`read_crystal`.
    """
    from superionic.structures.io.parsing import crystal_of_text

    file, kind, text = _checked(path)
    title = file.stem if name is None else name
    return crystal_of_text(
        text, kind, str(file), name=title, symprec=_symprec(symprec), block=block, keep_empty=keep_empty
    )


def read_oxidation_states(
    path: str | Path, *, block: str | None = None, time_limit_s: float = 30.0, memory_limit_MB: int = 2048
) -> FileOxidationStates:
    """Read the oxidation states that a crystal file gives, or why there are none; see :func:`read_crystal`."""
    file, kind, text = _checked(path)
    result = read_in_child(
        {"what": "oxidation states", "text": text, "kind": kind, "where": str(file), "block": block},
        time_limit_s=time_limit_s,
        memory_limit_MB=memory_limit_MB,
    )
    states, reason = result.get("states"), result.get("reason")
    if states is not None:
        states = {str(element): float(charge) for element, charge in dict(states).items()}
    several = {str(e): tuple(float(q) for q in charges) for e, charges in dict(result.get("several") or {}).items()}
    return FileOxidationStates(states, None if reason is None else str(reason), several)


def _symprec(value: float) -> float:
    if not 0.0 < value < math.inf:
        raise StructureError(f"symprec is {value}.", fix="Give a distance in Å, such as 0.01.")
    return float(value)


def _checked(path: str | Path) -> tuple[Path, str, str]:
    """Return the path, format and text of a file; raise if it cannot be a crystal file."""
    file = Path(path)
    try:
        exists, is_file = file.exists(), file.is_file()
    except (OSError, ValueError) as error:  # a null byte or a loop in the path
        raise StructureError(
            f"This is not the path of a file: {error}.", where=repr(str(file))[:200], fix="Correct the path."
        ) from error
    if not exists:
        siblings = sorted(p.name for p in file.parent.glob("*.cif")) if file.parent.is_dir() else []
        hint = f"; that folder has: {', '.join(siblings[:6])}" if siblings else ""
        raise StructureError("The crystal file does not exist.", where=str(file), fix=f"Correct the path{hint}.")
    if not is_file:
        raise StructureError("This is not a file.", where=str(file), fix="Give the path of a crystal file.")
    kind = kind_of_file(file)
    try:
        size = file.stat().st_size
        data = file.read_bytes() if 0 < size <= MAX_FILE_BYTES else b""
    except OSError as error:
        what, fix = explained(error)
        raise StructureError(f"The file cannot be read: {what}.", where=str(file), fix=fix) from error
    if size == 0:
        raise StructureError("The file is empty.", where=str(file), fix="Give a file with a crystal in it.")
    if size > MAX_FILE_BYTES:
        raise StructureError(
            f"The file has {size / 1e6:.0f} MB; no crystal structure is that large.",
            where=str(file),
            fix="Give a file with one crystal structure.",
        )
    return file, kind, data.decode("utf-8", errors="replace")
