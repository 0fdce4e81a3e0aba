"""Finished calculations as labels, in bulk: each file is believed for a reason, or refused with one.

- ``vasprun.xml``, ``vasprun.xml.gz``: read by pymatgen, judged by :mod:`superionic.labels.vasprun`.
- ``*.extxyz``, ``*.xyz``: packages of superionic, exactly; frames of others with a provenance that their owner states.
- ``*.gpw``: of GPAW's present format, read by ASE; GPAW leaves no energy, forces and stress unless it converged.

ASE reads files of calculations that did not converge or did not end without a word; so a format for which there is no
check here is not read. Outputs of other codes come in as extended XYZ with a stated provenance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from superionic.errors import CalculationFailed
from superionic.foreign import open_regular, sha256_of
from superionic.labels.base import Label, LabellerIdentity
from superionic.labels.gpaw import kpoint_grid
from superionic.labels.packages import Entry, read_package
from superionic.labels.vasprun import read_vasprun

_VASPRUN: Final = re.compile(r".*vasprun.*\.xml(\.gz)?$", re.IGNORECASE)
_KINDS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (_VASPRUN, "vasprun"),
    (re.compile(r".*\.(extxyz|xyz)$"), "package"),
    (re.compile(r".*\.gpw$"), "gpw"),
)
_FIRST: Final = 512
_BEGINNINGS: Final[Mapping[str, re.Pattern[bytes]]] = {
    "vasprun": re.compile(rb"\x1f\x8b|\xef\xbb\xbf|\xff\xfe|\xfe\xff|\s*<"),
    "package": re.compile(rb"\s*[0-9]+\s*$|\s*[0-9]+[ \t\r]*\n", re.MULTILINE),
    "gpw": re.compile(rb"- of Ulm"),
}
_KNOWN_BUT_NOT_READ: Final[Mapping[str, str]] = {
    "OUTCAR": "give the vasprun.xml of the run: an OUTCAR does not say its settings in full",
    "OUTCAR.gz": "give the vasprun.xml of the run: an OUTCAR does not say its settings in full",
}


@dataclass(frozen=True)
class Refusal:
    """A file, or a part of one, that gave no label, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """What an import found: labels in the order of the files, and what was refused."""

    entries: tuple[Entry, ...]
    refusals: tuple[Refusal, ...]


def find_files(paths: Iterable[Path]) -> list[Path]:
    """List the files that can be read: those named, and all of known kinds below the folders named, in order of name.

    A file that is named is listed whatever it is called, so that it is refused with a reason and not overlooked.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file())
            found += [each for each in inside if _kind(each) is not None or each.name in _KNOWN_BUT_NOT_READ]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def import_labels(
    files: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    every: int = 1,
    kpoint_spacing_per_A: float | None = None,
    stated: Mapping[str, Any] | None = None,
) -> Imported:
    """Read finished calculations.

    Parameters
    ----------
    files
        Files, see :func:`find_files`.
    names
        What to call each file on record; by default its name in its folder.
    every
        Take each so many-th ionic step of a run of several (its steps are one group and correlated).
    kpoint_spacing_per_A
        See :func:`superionic.labels.vasprun.read_vasprun`.
    stated
        Provenance for frames of extended XYZ that have none, see :func:`stated_provenance`.
    """
    entries: list[Entry] = []
    refusals: list[Refusal] = []
    for position, file in enumerate(files):
        name = f"{file.parent.name}/{file.name}" if names is None else names[position]
        try:
            _demand_beginning(file)
            source = {"file": name, "sha256": sha256_of(file)}
            found = _read(file, every, kpoint_spacing_per_A, stated)
        except CalculationFailed as failure:
            refusals.append(Refusal(name, failure.reason))
            continue
        except OSError as error:
            refusals.append(Refusal(name, f"the file cannot be read: {error.strerror or error}"))
            continue
        for entry in found:
            if isinstance(entry, CalculationFailed):
                refusals.append(Refusal(name, entry.reason))
            elif entry.source:
                entries.append(entry)  # a package keeps where its labels came from
            else:
                group = entry.group if entry.group not in ("", file.name) else name
                entries.append(Entry(entry.atoms, entry.label, group, source))
    return Imported(tuple(entries), tuple(refusals))


def stated_provenance(code: str, version: str, functional: str, energy_convention: str | None = None) -> dict[str, Any]:
    """Make the provenance of labels whose files say nothing, out of what their owner states."""
    identity = LabellerIdentity(
        name="stated",
        code=code,
        version=version,
        functional=functional,
        energy_convention=energy_convention or f"{code} {functional}, as stated by the user",
        settings={"stated": True},
    )
    return identity.provenance()


def _kind(file: Path) -> str | None:
    return next((kind for pattern, kind in _KINDS if pattern.match(file.name)), None)


def _demand_beginning(file: Path) -> None:
    """Look at the first bytes, before time is spent on the whole of a file that is something else."""
    with open_regular(file) as opened:
        first = opened.read(_FIRST)
    wanted = _BEGINNINGS.get(_kind(file) or "")
    if wanted is not None and not wanted.match(first):
        what = {"package": "extended XYZ", "gpw": ".gpw"}.get(str(_kind(file)), "vasprun.xml")
        raise CalculationFailed(f"the file does not begin as a {what} file does" if first else "the file is empty")


def _read(
    file: Path, every: int, spacing: float | None, stated: Mapping[str, Any] | None
) -> list[Entry | CalculationFailed]:
    kind = _kind(file)
    if kind == "vasprun":
        run = read_vasprun(file, kpoint_spacing_per_A=spacing)
        return [Entry(atoms, label, "") for atoms, label in run.steps[::every]]
    if kind == "package":
        return list(read_package(file, stated))
    if kind == "gpw":
        return [_gpw(file, spacing)]
    raise CalculationFailed(
        _KNOWN_BUT_NOT_READ.get(
            file.name,
            "files of this name are not read; give vasprun.xml(.gz), .gpw, or .extxyz with a stated provenance",
        )
    )


def _gpw(file: Path, spacing: float | None) -> Entry:
    from ase.io.gpw import read_gpw
    from ase.io.ulm import InvalidULMFileError
    from ase.io.ulm import open as open_ulm

    try:
        with open_ulm(file) as reader:
            parameters = _jsonable(reader.parameters.asdict())
            version = str(reader.gpaw_version)
        atoms = read_gpw(file)
    except InvalidULMFileError as error:
        raise CalculationFailed("the file is no .gpw file, or of a GPAW older than this format") from error
    except Exception as error:  # a binary file of any content
        raise CalculationFailed(f"the file cannot be read ({type(error).__name__}: {error})") from error
    results = dict(atoms.calc.results)
    missing = [name for name in ("free_energy", "forces", "stress") if results.get(name) is None]
    if missing:
        raise CalculationFailed(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the file")
    functional = {
        "MGGA_X_SCAN+MGGA_C_SCAN": "SCAN",
        "MGGA_X_R2SCAN+MGGA_C_R2SCAN": "r2SCAN",
    }.get(name := str(parameters.get("xc", {}).get("name", "LDA")), name)
    how = {key: value for key, value in parameters.items() if key not in ("txt", "parallel", "maxiter", "xc")}
    if spacing is not None:
        how["kpts"] = _checked_spacing(how.get("kpts", {}), np.asarray(atoms.cell), spacing)
    identity = LabellerIdentity(
        name="gpaw",
        code="gpaw",
        version=version,
        functional=functional,
        energy_convention=f"GPAW {functional}, PAW setups of the file's GPAW, without corrections",
        settings=how,
        engine="gpaw",
    )
    forces = np.asarray(results["forces"], dtype=np.float64)
    net = forces.sum(axis=0)
    label = Label(
        float(results["free_energy"]),
        forces - net / len(forces),
        np.asarray(results["stress"], dtype=np.float64),
        identity.provenance(),
        {
            "converged": True,  # GPAW raises, and leaves no results, unless it is
            "net_force_eV_per_A": [float(value) for value in net],
            "smearing_energy_eV": 2.0 * (float(results["free_energy"]) - float(results["energy"])),
        },
    )
    atoms.calc = None
    return Entry(atoms, label, "")


def _checked_spacing(kpts: Any, cell: Any, spacing: float) -> dict[str, Any]:
    size = kpts.get("size") if isinstance(kpts, dict) else None
    if size is None:
        raise CalculationFailed("the k-points are no regular grid, so they have no spacing")
    needed = kpoint_grid(cell, spacing)
    if any(n < wanted for n, wanted in zip(size, needed, strict=True)):
        has, wants = ("x".join(map(str, each)) for each in (size, needed))
        raise CalculationFailed(f"the grid of k-points, {has}, is coarser than {spacing:g} per Å, which is {wants}")
    return {"spacing_per_A": float(spacing), "gamma": bool(kpts.get("gamma", False))}


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
