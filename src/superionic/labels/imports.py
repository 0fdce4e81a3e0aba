"""Import finished calculations as labels, in bulk: each file is checked, and refused with a reason if it fails.

- ``vasprun.xml``, also with a suffix (``vasprun.xml.relax2``): read by pymatgen, checked by
  :mod:`superionic.labels.vasprun`.
- ``*.extxyz``, ``*.xyz``: packages of superionic, exactly; other frames with a provenance stated by the user.
  Both may be compressed (``.gz``, ``.bz2``, ``.xz``).
- ``*.gpw``: in GPAW's present format, read by ASE; GPAW writes energy, forces and stress only if it converged.
- ``OUTCAR``, also with a suffix: by :mod:`superionic.labels.outcar`, unless that of its vasprun.xml was read.
- Outputs of pw.x and CP2K, whatever they are called (``*.out``, ``*.log``, ``*.pwo``; in folders only those that are
  such outputs): by :mod:`superionic.labels.espresso` and :mod:`superionic.labels.cp2k`.
- ``type.raw`` of a DeePMD system with its ``set.*``: by :mod:`superionic.labels.deepmd`, with a stated provenance.

ASE silently reads files of calculations that did not converge or did not end; so a format without a check here is not
read. Outputs of other codes come in as extended XYZ with a stated provenance.
"""

from __future__ import annotations

import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from superionic.errors import CalculationFailed
from superionic.foreign import open_regular, open_unpacked, sha256_of
from superionic.labels.base import Label, LabellerIdentity, renewed_provenance
from superionic.labels.cp2k import read_cp2k
from superionic.labels.deepmd import deepmd_frames, fingerprint
from superionic.labels.espresso import read_espresso
from superionic.labels.frame_values import IsolatedAtom, LabelKeys, element_energies, is_alone, not_taken_words
from superionic.labels.gpaw import kpoint_grid
from superionic.labels.outcar import read_outcar
from superionic.labels.packages import MOMENTS, Entry, read_package
from superionic.labels.vasprun import Run, read_vasprun

_PACKED: Final = r"(\.(?:gz|bz2|xz))?"
_VASPRUN: Final = re.compile(
    rf"(?P<before>.*)vasprun(?P<between>.*)\.xml(?P<after>(?:\.\w+)??){_PACKED}", re.IGNORECASE
)
_OUTCAR: Final = re.compile(rf"(?P<before>.*)OUTCAR(?P<after>(?:\.\w+)??){_PACKED}")
_KINDS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (_VASPRUN, "vasprun"),
    (re.compile(rf".*\.(extxyz|xyz){_PACKED}", re.IGNORECASE), "package"),
    (re.compile(r".*\.gpw"), "gpw"),
    (_OUTCAR, "outcar"),
    (re.compile(r"type\.raw"), "deepmd"),
    (re.compile(rf".*\.(out|log|pwo|output)(\.\w+)??{_PACKED}", re.IGNORECASE), "output"),
)
_FIRST: Final = 512
_HEAD: Final = 20_000
_OUTPUTS: Final = ((re.compile(rb"Program PWSCF"), "espresso"), (re.compile(rb"CP2K\||DBCSR\|"), "cp2k"))
"""Words near the beginning of outputs, whatever the file name."""
_MAGIC: Final = rb"\x1f\x8b|BZh|\xfd7zXZ"
_BEGINNINGS: Final[Mapping[str, re.Pattern[bytes]]] = {
    "vasprun": re.compile(_MAGIC + rb"|\xef\xbb\xbf|\xff\xfe|\xfe\xff|\s*<"),
    "package": re.compile(_MAGIC + rb"|\s*[0-9]+\s*$|\s*[0-9]+[ \t\r]*\n", re.MULTILINE),
    "gpw": re.compile(rb"- of Ulm"),
    "outcar": re.compile(_MAGIC + rb"|\s*vasp\."),
}

_RUNS: Final[Mapping[str, Callable[..., Run]]] = {
    "vasprun": read_vasprun,
    "outcar": read_outcar,
    "espresso": read_espresso,
    "cp2k": read_cp2k,
}
"""Readers of the output of a run."""


@dataclass(frozen=True)
class Refusal:
    """A file, or a part of one, that gave no label, and the reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Remark:
    """A remark on a file that gave labels."""

    file: str
    words: str


@dataclass(frozen=True)
class Imported:
    """The result of an import: labels in the order of the files, refusals, and remarks."""

    entries: tuple[Entry, ...]
    refusals: tuple[Refusal, ...]
    remarks: tuple[Remark, ...] = ()
    isolated_atoms_eV: Mapping[str, float] = field(default_factory=dict)
    """Energies of isolated atoms, which are the references of their elements (E0) and no labels."""


def find_files(paths: Iterable[Path], *, leave_out: Path | None = None) -> list[Path]:
    """List the files to read: those named, and all of known kinds below the folders named, in order of name.

    A file named explicitly is listed whatever its name, so that it is refused with a reason and not overlooked.

    Parameters
    ----------
    leave_out
        A file to skip in folders: the one that is about to be written.
    """
    files: list[Path] = []
    own = None if leave_out is None else leave_out.resolve()
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file() and _is_read(each))
            files += [each for each in inside if own is None or each.resolve() != own]
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def names_of(files: Sequence[Path], folders: Sequence[Path] = (), *, least: int = 1) -> list[str]:
    """Name files uniquely by the ends of their paths.

    Parameters
    ----------
    folders
        Folders given by the user: a file is named at least by its path from there.
    least
        Smallest number of parts of each name.

    Returns
    -------
    list of str
        The shortest ends that distinguish all files.
    """
    paths = [file.absolute().parts[1:] for file in files]
    roots = [folder.absolute().parts[1:] for folder in folders if folder.is_dir()]
    lengths = []
    for parts in paths:
        below = [len(parts) - len(root) for root in roots if parts[: len(root)] == root]
        lengths.append(min(len(parts), max([least, *below])))
    while True:
        names = ["/".join(parts[-length:]) for parts, length in zip(paths, lengths, strict=True)]
        often = Counter(names)
        longer = [
            length + (often[name] > 1 and length < len(parts))
            for name, parts, length in zip(names, paths, lengths, strict=True)
        ]
        if longer == lengths:
            return names
        lengths = longer


def import_labels(
    files: Sequence[Path],
    *,
    names: Sequence[str] | None = None,
    every: int = 1,
    kpoint_spacing_per_A: float | None = None,
    stated: Mapping[str, Any] | None = None,
    keys: LabelKeys | None = None,
) -> Imported:
    """Read finished calculations. A file that cannot be read is skipped and reported.

    Parameters
    ----------
    files
        Files, see :func:`find_files`.
    names
        Names of the files on record; by default each file's name in its folder.
    every
        Take every so many-th ionic step of a run (its steps form one group and are correlated).
    kpoint_spacing_per_A
        See :func:`superionic.labels.vasprun.read_vasprun`.
    stated
        Provenance for frames of extended XYZ that have none, see :func:`stated_provenance`.
    keys
        Keys of the values in extended XYZ, see :func:`superionic.labels.packages.read_package`.
    """
    called = names_of(files, least=2) if names is None else names
    entries: list[tuple[Entry, bool]] = []  # with a flag: whether it came from a package
    refusals: list[Refusal] = []
    remarks: list[Remark] = []
    alone: list[tuple[str, float]] = []
    read: dict[str, str] = {}  # names of calculations that gave labels, by checksum
    # An OUTCAR comes after the vasprun.xml of its run, to which it adds nothing.
    order = sorted(zip(files, called, strict=True), key=lambda each: _kind(each[0]) == "outcar")
    for file, name in order:
        if _kind(file) == "outcar" and _run_of(Path(name)) in {_run_of(Path(each)) for each in read.values()}:
            continue
        try:
            _demand_beginning(file)
            source = {"file": name, "sha256": fingerprint(file.parent) if _kind(file) == "deepmd" else sha256_of(file)}
            content = _read(file, every, kpoint_spacing_per_A, stated, keys)
        except IsolatedAtom as atom:
            content = _Content(isolated=[atom])
        except CalculationFailed as failure:
            refusals.append(Refusal(name, failure.reason))
            continue
        except OSError as error:
            refusals.append(Refusal(name, f"the file cannot be read: {error.strerror or error}"))
            continue
        except (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            # The libraries' readers raise errors of any kind on unexpected files; go on with the others.
            words = f"the file is not as its kind requires ({type(error).__name__}: {error})"
            refusals.append(Refusal(name, words))
            continue
        not_taken: set[str] = set()
        for entry in content.entries:
            not_taken.update(entry.not_taken)
            if entry.source:
                entries.append((entry, True))  # a package records where its labels came from
            else:
                group = entry.group if entry.group not in ("", file.name) else name
                entries.append((replace(entry, group=group, source=source), False))
        alone += [(each.symbol, each.energy_eV) for each in content.isolated if each.energy_eV is not None]
        remarks += [Remark(name, each.reason) for each in content.isolated if each.energy_eV is not None]
        refusals += [Refusal(name, each.reason) for each in content.isolated if each.energy_eV is None]
        refusals += [Refusal(name, reason) for reason in content.left_out]
        remarks += [Remark(name, words) for words in content.remarks]
        if not_taken:
            remarks.append(Remark(name, not_taken_words(not_taken)))
        if _kind(file) != "package" and content.entries:
            read[source["sha256"]] = name
    own = tuple(entry for entry, packed in entries if not (packed and entry.source.get("sha256") in read))
    if len(own) < len(entries):
        words = f"{len(entries) - len(own)} labels are left out: the files that they came from are read directly"
        remarks.append(Remark("packages", words))
    energies, disagreement = element_energies(alone)
    remarks += [] if disagreement is None else [Remark("isolated atoms", disagreement)]
    return Imported(own, tuple(refusals), tuple(remarks), energies)


def _run_of(file: Path) -> tuple[str, str, str] | None:
    """Identify the run of a vasprun.xml or OUTCAR: its folder, and the text around the name."""
    match = _VASPRUN.fullmatch(file.name) or _OUTCAR.fullmatch(file.name)
    if match is None:
        return None
    return file.parent.as_posix(), match["before"], match.groupdict().get("between") or match["after"] or ""


def stated_provenance(code: str, version: str, functional: str, energy_convention: str | None = None) -> dict[str, Any]:
    """Build the provenance of labels whose files state none from what the user states."""
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
    return next((kind for pattern, kind in _KINDS if pattern.fullmatch(file.name)), None)


def is_run(file: Path) -> bool:
    """Return whether a file is the output of a run, or a system of its own kind, rather than a package of frames."""
    kind = _kind(file)
    return kind is not None and kind != "package"


def _is_read(file: Path) -> bool:
    """Return whether a file in a folder is to be read; logs of other programs are not."""
    kind = _kind(file)
    if file.name.endswith("-pos-1.xyz"):  # positions of CP2K belong to the log next to them
        return not any(_kind(each) == "output" and _output(each) == "cp2k" for each in file.parent.iterdir())
    return kind is not None and (kind != "output" or _output(file) is not None)


def _output(file: Path) -> str | None:
    """Return the code that wrote an output, or None."""
    try:
        with open_unpacked(file) as opened:
            head = opened.read(_HEAD)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return None
    return next((code for pattern, code in _OUTPUTS if pattern.search(head)), None)


def _demand_beginning(file: Path) -> None:
    """Check the first bytes, before time is spent on a file of another kind."""
    with open_regular(file) as opened:
        first = opened.read(_FIRST)
    expected = _BEGINNINGS.get(_kind(file) or "")
    if expected is not None and not expected.match(first):
        what = {"package": "extended XYZ", "gpw": ".gpw", "outcar": "OUTCAR"}.get(str(_kind(file)), "vasprun.xml")
        article = "an" if what in ("extended XYZ", "OUTCAR") else "a"
        words = f"the file does not begin as {article} {what} file does"
        raise CalculationFailed(words if first else "the file is empty")


@dataclass(frozen=True)
class _Content:
    """The contents of one file: labels, reasons of rejected parts, and remarks."""

    entries: Sequence[Entry] = ()
    left_out: Sequence[str] = ()
    remarks: Sequence[str] = ()
    isolated: Sequence[IsolatedAtom] = ()


def _read(
    file: Path, every: int, spacing: float | None, stated: Mapping[str, Any] | None, keys: LabelKeys | None
) -> _Content:
    kind = _kind(file)
    code = _output(file) if kind in ("output", None) else None
    reader = _RUNS.get(code or kind or "")
    if reader is not None:
        run = reader(file, kpoint_spacing_per_A=spacing)
        atoms, label = run.steps[-1]
        if len(atoms) == 1 and is_alone(atoms):
            raise IsolatedAtom(str(atoms.symbols[0]), None, label.energy_eV)
        if kind == "vasprun" and run.identity.settings.get("ISPIN") == 2:
            run = _with_moments(file, run)
        steps = [Entry(atoms, label, "") for atoms, label in run.steps[::every]]
        return _Content(steps, run.left_out, run.remarks)
    if kind == "package":
        read = list(read_package(file, stated, keys))
        return _Content(
            [each for each in read if isinstance(each, Entry)],
            [
                each.reason
                for each in read
                if isinstance(each, CalculationFailed) and not isinstance(each, IsolatedAtom)
            ],
            isolated=[each for each in read if isinstance(each, IsolatedAtom)],
        )
    if kind == "gpw":
        return _Content([_gpw(file, spacing)])
    if kind == "deepmd":
        return _deepmd(file.parent, every, stated)
    raise CalculationFailed(
        "files of this name are not read; give vasprun.xml, OUTCAR, .gpw, an output of pw.x or CP2K, the type.raw of a "
        "DeePMD system, or .extxyz with a stated provenance"
    )


def _with_moments(file: Path, run: Run) -> Run:
    """Add the magnetic moments, which a vasprun.xml lacks, from the OUTCAR of the same run next to it."""
    beside = [each for each in file.parent.glob("*OUTCAR*") if _run_of(each) == _run_of(file)]
    try:
        other = read_outcar(beside[0]).steps if len(beside) == 1 else ()
    except (CalculationFailed, OSError):
        other = ()
    of_energy = {round(label.energy_eV, 6): label.diagnostics.get(MOMENTS) for _, label in other}
    steps = []
    for atoms, label in run.steps:
        moments = of_energy.get(round(label.energy_eV, 6))
        if moments is not None and len(moments) == len(atoms):
            steps.append((atoms, replace(label, diagnostics={**label.diagnostics, MOMENTS: moments})))
        else:
            steps.append((atoms, label))
    return replace(run, steps=tuple(steps))


def _deepmd(folder: Path, every: int, stated: Mapping[str, Any] | None) -> _Content:
    if stated is None:
        raise CalculationFailed(
            "a DeePMD system does not state its method: give code, version, functional and energy convention (--code, "
            "--code-version, --functional)"
        )
    entries: list[Entry] = []
    left_out: list[str] = []
    isolated: list[IsolatedAtom] = []
    for frame in deepmd_frames(folder):
        if isinstance(frame, CalculationFailed):
            left_out.append(frame.reason)
            continue
        if len(frame.atoms) == 1 and is_alone(frame.atoms):
            isolated.append(IsolatedAtom(str(frame.atoms.symbols[0]), None, frame.energy_eV))
            continue
        diagnostics: dict[str, Any] = {"converged": True, "stated": True}
        if frame.moments_muB is not None:
            diagnostics[MOMENTS] = frame.moments_muB.tolist()
        label = Label(
            frame.energy_eV, frame.forces_eV_per_A, frame.stress_eV_per_A3, renewed_provenance(stated), diagnostics
        )
        entries.append(Entry(frame.atoms, label, ""))
    if not entries and not isolated:
        raise CalculationFailed("; ".join(left_out[:3]) or "there are no frames in the sets")
    without = sum(entry.label.stress_eV_per_A3 is None for entry in entries)
    remarks = (f"{without} of {len(entries)} labels have no stress: there is no virial.npy",) if without else ()
    return _Content(entries[::every], left_out, remarks, isolated)


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
        raise CalculationFailed(
            "the file is not a .gpw file, or it was written by a GPAW older than this format"
        ) from error
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
        raise CalculationFailed("the k-points are not a regular grid, so they have no spacing")
    needed = kpoint_grid(cell, spacing)
    if any(n < least for n, least in zip(size, needed, strict=True)):
        present, required = ("x".join(map(str, each)) for each in (size, needed))
        raise CalculationFailed(
            f"the grid of k-points, {present}, is coarser than {spacing:g} per Å, which needs {required}"
        )
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
