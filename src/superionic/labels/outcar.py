"""Labels from an OUTCAR, by the rules of :mod:`superionic.labels.vasprun`.

Libraries that read an OUTCAR check NELM at most, and none checks the settings; so it is read here. An ionic step
counts if VASP itself reports that EDIFF was reached, before NELM, and if it is complete: forces, stress and the energy
after them. The settings are those that the OUTCAR prints, and the INCAR that VASP 6 repeats in it. If it repeats none
(VASP 5), some settings are not in the file; then the reference says so and is a separate one, and a run whose
functional or van der Waals correction is unknown is refused.

Positions have five decimals in an OUTCAR, and forces six: the vasprun.xml of the run is the better file, and is used if
both exist.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.foreign import open_unpacked
from superionic.labels.base import Label
from superionic.labels.vasprun import Kind, Run, demand_self_consistency, identity_of, label_of_step, setups_of

_LONGEST_LINE: Final = 100_000
_PAIR: Final = re.compile(r"\b([A-Z][A-Z0-9_]*)\s*=\s*([^\s;]+)")
_INCAR: Final = re.compile(r"^\s{2,}([A-Z][A-Z0-9_]*)\s*=\s*(.*?)\s*$")
_ITERATION: Final = re.compile(r"-+ Iteration\s+(\d+)\(\s*(\d+)\)")
_LISTS: Final = ("ZVAL", "LDAUL", "LDAUU", "LDAUJ")
_OF_ML: Final = ("free  energy ML TOTEN", "ML_LMLFF")
_VDW: Final = re.compile(r"Edisp|w/o vdW|IVDW|LUSE_VDW|vdW|Grimme|Tkatchenko")
_KB_ORDER: Final = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))


@dataclass
class _Step:
    """The part of an ionic step read so far."""

    number: int
    energies: list[float] = field(default_factory=list)
    reached: bool = False
    cell: list[list[float]] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    forces: list[list[float]] = field(default_factory=list)
    stress_kB: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    energy: float | None = None
    without_entropy: float | None = None


@dataclass
class _Head:
    """The part of the file before the first electronic step."""

    version: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    incar: dict[str, Any] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    lists: dict[str, list[float]] = field(default_factory=dict)
    grid: list[int] = field(default_factory=list)
    shift: list[float] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    lines: bool = False
    cell: list[list[float]] = field(default_factory=list)
    repeated: bool = False
    vdw: bool = False


def read_outcar(path: Path, *, kpoint_spacing_per_A: float | None = None) -> Run:
    """Read and check an OUTCAR, also a compressed one.

    Parameters
    ----------
    kpoint_spacing_per_A
        See :func:`superionic.labels.vasprun.read_vasprun`.

    Raises
    ------
    CalculationFailed
        If there is no complete, converged ionic step in the file, its settings are unknown, or it is not a
        self-consistent calculation of the energy; the reason says which.
    """
    try:
        head, steps, ended = _read(_lines(path))
    except (OSError, EOFError) as error:
        raise CalculationFailed(f"the file cannot be read: {error}") from error
    except (ValueError, IndexError) as error:
        raise CalculationFailed(f"the file is cut off or not an OUTCAR ({type(error).__name__}: {error})") from error
    kinds = _kinds(head)
    n_atoms = sum(kind.number for kind in kinds)
    parameters = _parameters(head)
    run = SimpleNamespace(
        kpoints=_kpoints(head), vasp_version=head.version, actual_kpoints=[point[:3] for point in head.points]
    )
    demand_self_consistency(run, parameters, head.incar)
    _demand_known(head, parameters)
    whole = [step for step in steps if step.energy is not None]
    if not whole:
        raise CalculationFailed("there is no finished ionic step in the file")
    cells = [np.array(step.cell or head.cell) for step in whole]
    if any(cell.shape != (3, 3) or float(np.abs(cell - cells[0]).max()) > 1.0e-6 for cell in cells):
        # The plane waves are those of the first cell; energies and stresses of the others have no fixed cutoff.
        raise CalculationFailed("the cell changes in the run, so its steps have no common cutoff: give single points")
    more = {} if head.repeated else {"settings_of": "an OUTCAR that does not repeat its INCAR"}
    identity = identity_of(run, parameters, head.incar, kinds, cells[0], kpoint_spacing_per_A, more)
    if not any(len(step.positions) == n_atoms for step in whole):  # whatever number of atoms the header states
        raise CalculationFailed(f"{len(whole[0].positions)} forces were printed for {n_atoms} atoms")
    symbols = [kind.element for kind in kinds for _ in range(kind.number)]
    labelled: list[tuple[Atoms, Label]] = []
    left_out: list[str] = []
    for step in steps:
        where = f" in ionic step {step.number}" if len(steps) > 1 else ""
        fault = _fault(step, n_atoms)
        if fault is not None:
            left_out.append(f"{fault}{where}")
            continue
        atoms = Atoms(symbols, cell=cells[0], positions=np.array(step.positions), pbc=True)
        try:
            label = label_of_step(_as_vasprun(step), parameters, n_atoms, identity, setups_of(kinds), where)
            labelled.append((atoms, label))
        except CalculationFailed as failure:
            left_out.append(failure.reason)
    if not ended and steps[-1].energy is not None:
        left_out.append(f"the file is cut off after ionic step {steps[-1].number}")
    if not labelled:
        raise CalculationFailed("; ".join(left_out[:3]))
    remarks = [] if head.repeated else ["it does not repeat its INCAR, so its labels form a separate reference"]
    without = sum(label.stress_eV_per_A3 is None for _, label in labelled)
    if without:
        remarks.append(f"{without} of {len(labelled)} labels have no stress: it is not in the file")
    return Run(tuple(labelled), identity, tuple(left_out), tuple(remarks))


def _fault(step: _Step, n_atoms: int) -> str | None:
    """Return why a step gives no label, or None if it passes so far."""
    if step.energy is None:
        return "the file is cut off"
    if not step.reached:
        return f"the electronic minimisation did not converge: EDIFF was not reached in {len(step.energies)} steps"
    if len(step.positions) != n_atoms:
        return f"{len(step.positions)} forces were printed for {n_atoms} atoms"
    return None


def _lines(path: Path) -> Iterator[str]:
    with open_unpacked(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="replace")
        while line := text.readline(_LONGEST_LINE):
            yield (
                line.rstrip("\n") if line.endswith("\n") else line + "\0"
            )  # a last line without a line break is cut off


def _numbers(line: str, count: int) -> list[float]:
    # Columns of a Fortran format may touch if a number has a sign.
    words = re.sub(r"(?<=\d)-", " -", line).split()
    return [float(word) for word in words[:count]] if len(words) >= count else [float(word) for word in [*words, "?"]]


def _read(lines: Iterator[str]) -> tuple[_Head, list[_Step], bool]:
    head, ended = _Head(), False
    steps: list[_Step] = []
    in_incar = False
    for line in lines:
        if not head.version:
            if not line.lstrip().startswith("vasp."):
                raise ValueError("it does not begin with the version of VASP")
            head.version = line.strip().removeprefix("vasp.").split()[0]
        if any(word in line for word in _OF_ML) and "ML_LMLFF" not in line:
            raise CalculationFailed("the energies are of a force field that VASP learnt on the fly (ML_LMLFF)")
        if _VDW.search(line):
            head.vdw = True
        match = _ITERATION.search(line)
        if match is not None:
            if not steps or int(match[1]) != steps[-1].number:
                steps.append(_Step(int(match[1])))
            continue
        if not steps:
            in_incar = _read_head(head, line, lines, in_incar=in_incar)
        else:
            ended = ended or "General timing and accounting" in line
            _read_step(steps[-1], line, lines, sum(head.counts))
    return head, steps, ended


def _read_head(head: _Head, line: str, lines: Iterator[str], *, in_incar: bool) -> bool:
    """Read one line of the header; return whether the repeated INCAR continues."""
    if line.strip() == "INCAR:":
        return True
    if in_incar:
        match = _INCAR.match(line)
        if match is not None:
            head.repeated = True
            head.incar.setdefault(match[1], _value(match[2]))
            return True
        if not line.startswith(" POTCAR"):
            return False
    if not _read_lattice(head, line, lines):
        _read_tags(head, line)
    return False


def _read_lattice(head: _Head, line: str, lines: Iterator[str]) -> bool:
    """Read a line of pseudopotentials, k-points or vectors; return whether it is one."""
    if line.startswith(" POTCAR:"):
        head.named.append(" ".join(line.removeprefix(" POTCAR:").split()))
    elif "TITEL" in line and "=" in line:
        head.titles.append(" ".join(line.partition("=")[2].split()))
    elif "ions per type" in line:
        head.counts = [int(word) for word in line.partition("=")[2].split()]
    elif "generate k-points for:" in line:
        head.grid = [int(word) for word in line.partition(":")[2].split()[:3]]
    elif "Shift w.r.t. Gamma" in line:
        head.shift = _numbers(next(lines, ""), 3)
    elif "interpolating k-points between" in line:
        head.lines = True
    elif "direct lattice vectors" in line:
        head.cell = [_numbers(next(lines, ""), 3) for _ in range(3)]
    elif "k-points in reciprocal lattice and weights" in line:
        head.points = []
        while len(words := next(lines, "").split()) == 4:
            head.points.append([float(word) for word in words])
    else:
        return False
    return True


def _read_tags(head: _Head, line: str) -> None:
    for name, value in _PAIR.findall(line):
        if name in _LISTS:
            numbers = line.rpartition("=")[2].split()
            if all(re.fullmatch(r"-?[\d.]+", each) for each in numbers):  # a long list goes over several lines
                head.lists.setdefault(name, []).extend(float(each) for each in numbers)
        else:
            head.parameters.setdefault(name, _value(value))
    if "LDA+U is selected" in line:
        head.parameters["LDAU"] = True


def _read_step(step: _Step, line: str, lines: Iterator[str], n_atoms: int) -> None:
    """Read one line of an ionic step."""
    if "free energy    TOTEN" in line:
        step.energies.append(_energy(line))
    elif "aborting loop" in line:
        step.reached = "EDIFF is reached" in line
    elif line.lstrip().startswith("in kB"):
        step.stress_kB = _numbers(line.partition("kB")[2], 6)
    elif "direct lattice vectors" in line:
        step.cell = [_numbers(next(lines, ""), 3) for _ in range(3)]
    elif "TOTAL-FORCE (eV/Angst)" in line:
        next(lines, "")
        rows = []
        for _ in range(n_atoms):
            words = next(lines, "").split()
            if len(words) < 6 or set(words[0]) <= {"-"}:
                return
            rows.append([float(word) for word in words[:6]])
        if next(lines, "").strip().startswith("---"):
            step.positions, step.forces = [row[:3] for row in rows], [row[3:] for row in rows]
    elif line.strip() == "magnetization (x)":
        step.moments = _moments(lines, n_atoms)
    elif "free  energy   TOTEN" in line:
        step.energy = _energy(line)
    elif "energy  without entropy=" in line and step.energy is not None:
        words = line.partition("entropy=")[2].split()
        step.without_entropy = float(words[0]) if words else None


def _moments(lines: Iterator[str], n_atoms: int) -> list[float]:
    """Read the table of magnetic moments: one line per atom, whose last number is the sum."""
    rows: list[float] = []
    for line in lines:
        words = line.split()
        if words and words[0].isdigit() and len(words) > 2:
            rows.append(float(words[-1]))
        elif rows or len(rows) == n_atoms:
            break
    return rows if len(rows) == n_atoms else []


def _energy(line: str) -> float:
    words = line.partition("=")[2].split()
    if len(words) < 2 or words[1].rstrip("\0") != "eV":
        raise ValueError("an energy is cut off")
    return float(words[0])


def _value(text: str) -> Any:
    words = text.partition("#")[0].partition("!")[0].split()
    parsed = [_word(word) for word in words]
    return parsed[0] if len(parsed) == 1 else parsed or ""


def _word(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    truth = {"T": True, "F": False, "TRUE": True, "FALSE": False}
    return truth.get(word.strip(".").upper(), word)


def _kinds(head: _Head) -> tuple[Kind, ...]:
    # Every POTCAR is named twice by its first line, and once by its TITEL.
    titles = head.titles or head.named[: len(head.named) // 2]
    valences = head.lists.get("ZVAL", [])
    if not head.counts or len(titles) < len(head.counts):
        raise CalculationFailed("the file does not state the pseudopotential of each atom (TITEL, ions per type)")
    if not len(titles) == len(head.counts) == len(valences or head.counts):
        raise CalculationFailed(
            f"there are {len(titles)} pseudopotentials and {len(valences)} valences for {len(head.counts)} kinds of "
            "atoms: give the vasprun.xml"
        )
    elements = [title.split()[1].partition("_")[0] if len(title.split()) > 1 else "" for title in titles]
    if not all(re.fullmatch(r"[A-Z][a-z]?", element) for element in elements):
        raise CalculationFailed(f"no element can be read from the titles of the pseudopotentials: {', '.join(titles)}")
    return tuple(
        Kind(number, element, valence, title)
        for number, element, valence, title in zip(
            head.counts, elements, valences or [0.0] * len(titles), titles, strict=True
        )
    )


def _parameters(head: _Head) -> dict[str, Any]:
    """Return the tags as in a vasprun.xml: those that the OUTCAR prints, and some that only the INCAR has."""
    tags = dict(head.parameters)
    for tag in ("ADDGRID", "LHFCALC", "LUSE_VDW", "HFSCREEN", "AEXX", "LREAL", "KGAMMA", "LASPH"):
        if tag in head.incar and tag not in tags:
            tags[tag] = head.incar[tag]
    if "KSPACING" in head.incar:
        tags.setdefault("KGAMMA", True)
    for tag in ("LDAUL", "LDAUU", "LDAUJ"):
        if tag in head.lists:
            tags[tag] = [int(value) if tag == "LDAUL" else value for value in head.lists[tag]]
    if not head.lists.get("ZVAL"):
        tags.pop("NELECT", None)
    # VASP 5 prints METAGGA = F or T; the name is in the INCAR.
    tags["METAGGA"] = str(head.incar.get("METAGGA", "--"))
    return tags


def _demand_known(head: _Head, parameters: Mapping[str, Any]) -> None:
    meta = head.parameters.get("LMETAGGA", head.parameters.get("METAGGA"))
    unsaid = meta not in (None, False, "--", "NONE", "F") and "METAGGA" not in head.incar
    if unsaid:
        raise CalculationFailed("the OUTCAR does not state which meta-GGA was used: give the vasprun.xml of the run")
    if head.vdw and not head.repeated:
        raise CalculationFailed(
            "the OUTCAR does not state which van der Waals correction was used: give the vasprun.xml of the run"
        )
    if "NELM" not in parameters or "EDIFF" not in parameters or "ENCUT" not in parameters:
        raise CalculationFailed("NELM, EDIFF or ENCUT is not in the file: it is cut off or not an OUTCAR")


def _kpoints(head: _Head) -> SimpleNamespace:
    if head.lines:
        return SimpleNamespace(style=SimpleNamespace(name="Line_mode"), kpts=[], kpts_shift=None)
    if len(head.grid) != 3:
        return SimpleNamespace(style=SimpleNamespace(name="Reciprocal"), kpts=[], kpts_shift=None)
    shift = [value % 1.0 for value in head.shift or [0.0, 0.0, 0.0]]
    offset = [0.0 if number % 2 else 0.5 for number in head.grid]
    if any(shift) and np.allclose(shift, offset):
        return SimpleNamespace(style=SimpleNamespace(name="Monkhorst"), kpts=[head.grid], kpts_shift=None)
    return SimpleNamespace(style=SimpleNamespace(name="Gamma"), kpts=[head.grid], kpts_shift=shift)


def _as_vasprun(step: _Step) -> dict[str, Any]:
    """Return a step in the form of a vasprun.xml."""
    electronic: list[dict[str, float]] = [{"e_fr_energy": energy} for energy in step.energies]
    if electronic and step.without_entropy is not None and step.energy is not None:
        electronic[-1]["e_wo_entrp"] = electronic[-1]["e_fr_energy"] + step.without_entropy - step.energy
    values: dict[str, Any] = {"e_fr_energy": step.energy, "forces": step.forces, "electronic_steps": electronic}
    if step.stress_kB:
        stress = np.zeros((3, 3))
        for (i, j), value in zip(_KB_ORDER, step.stress_kB, strict=True):
            stress[i, j] = stress[j, i] = value
        values["stress"] = stress
    if step.moments:
        values["magmoms"] = step.moments
    return values
