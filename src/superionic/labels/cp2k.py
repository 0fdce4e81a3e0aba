"""Labels from the output of CP2K (Quickstep), each step checked before it is accepted.

The log has energies, forces and stress of each step, and the coordinates of the first. Those of the steps of molecular
dynamics or an optimisation are in ``PROJECT-pos-1.xyz`` next to it, whose frames carry their energies, so a frame
belongs to a step if both have the same energy. CP2K prints stress with the sign of a pressure; the energy is the one
whose derivatives the forces are.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from superionic.errors import CalculationFailed
from superionic.foreign import open_unpacked
from superionic.labels.base import FloatArray, Label, LabellerIdentity
from superionic.labels.gpaw import kpoint_grid
from superionic.labels.vasprun import Run
from superionic.structures.io.frames import texts_of
from superionic.units import GPA_PER_EV_PER_A3

_HARTREE_EV: Final = 27.211386245988
_BOHR_A: Final = 0.529177210903
_LONGEST_LINE: Final = 100_000
_FORCE_UNITS: Final[Mapping[str, float]] = {
    "a.u.": _HARTREE_EV / _BOHR_A,
    "hartree/bohr": _HARTREE_EV / _BOHR_A,
    "ev/angstrom": 1.0,
    "ev*angstrom^-1": 1.0,
    "hartree*bohr^-1": _HARTREE_EV / _BOHR_A,
}
_ENERGY_UNITS: Final[Mapping[str, float]] = {"a.u.": _HARTREE_EV, "hartree": _HARTREE_EV, "ev": 1.0}
_STRESS_UNITS: Final[Mapping[str, float]] = {
    "gpa": 1.0 / GPA_PER_EV_PER_A3,
    "bar": 1.0e-4 / GPA_PER_EV_PER_A3,
    "kbar": 0.1 / GPA_PER_EV_PER_A3,
    "mpa": 1.0e-3 / GPA_PER_EV_PER_A3,
    "pa": 1.0e-9 / GPA_PER_EV_PER_A3,
    "atm": 1.01325e-4 / GPA_PER_EV_PER_A3,
}
_LENGTH_UNITS: Final[Mapping[str, float]] = {"angstrom": 1.0, "bohr": _BOHR_A}
_FUNCTIONALS: Final[Mapping[frozenset[str], str]] = {
    frozenset({"PBE"}): "PBE",
    frozenset({"PADE"}): "LDA",
    frozenset({"BECKE88", "LYP"}): "BLYP",
    frozenset({"MGGA_X_SCAN", "MGGA_C_SCAN"}): "SCAN",
    frozenset({"MGGA_X_R2SCAN", "MGGA_C_R2SCAN"}): "r2SCAN",
    frozenset({"GGA_X_PBE", "GGA_C_PBE"}): "PBE",
    frozenset({"GGA_X_PBE_SOL", "GGA_C_PBE_SOL"}): "PBEsol",
}
_ENERGY: Final = re.compile(
    r"ENERGY\| Total FORCE_EVAL \( (\w+) \) energy\s*[\[(]([^\])]*)[\])]:?\s+(-?[\d.]+(?:E[+-]?\d+)?)\s*$"
)
_HEADS: Final = {
    "version": re.compile(r"CP2K\| version string:\s+CP2K version\s+(.+?)\s*$"),
    "cutoff_Ry": re.compile(r"QS\| Density cutoff \[a\.u\.\]:\s+(\S+)"),
    "relative_cutoff_Ry": re.compile(r"QS\| Relative density cutoff \[a\.u\.\]:\s+(\S+)"),
    "method": re.compile(r"QS\| Method:\s+(\S+)"),
    "net_charge_e": re.compile(r"DFT\| Charge\s+(-?\d+)"),
    "multiplicity": re.compile(r"DFT\| Multiplicity\s+(\d+)"),
    "spin": re.compile(r"DFT\| .*calculation\s+(UKS|RKS|ROKS)"),
    "hybrid_fraction": re.compile(r"HFX_INFO\| FRACTION:\s+(\S+)"),
    "kpoint_grid": re.compile(r"BRILLOUIN\| K-[Pp]oint grid\s+(\d+\s+\d+\s+\d+)"),
    "smearing": re.compile(r"Smear method:?\s+(\S+)"),
    "electronic_temperature": re.compile(r"Electronic temperature\s+(\[\S+\]:?\s+\S+)"),
}
_SAME_HARTREE: Final = 2.0e-8
_ROW: Final = re.compile(r"\s*\d+\s+\d+\s+([A-Z][a-z]?)\s+\d+\s+(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)\s")


@dataclass
class _Step:
    """One evaluation of the energy."""

    converged: bool | None = None
    failed: bool = False
    energy_eV: float | None = None
    printed: float = 0.0
    method: str = ""
    forces: list[list[float]] = field(default_factory=list)
    forces_whole: bool = False
    stress: list[list[float]] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    n_scf: int = 0


@dataclass
class _Log:
    """The contents of a log."""

    words: dict[str, str] = field(default_factory=dict)
    functional: list[str] = field(default_factory=list)
    vdw: list[str] = field(default_factory=list)
    kinds: dict[str, list[str]] = field(default_factory=dict)
    symbols: list[str] = field(default_factory=list)
    first: list[list[float]] = field(default_factory=list)
    cell: dict[str, list[float]] = field(default_factory=dict)
    cell_digits: int = 9
    hubbard: list[str] = field(default_factory=list)
    not_periodic: bool = False
    steps: list[_Step] = field(default_factory=list)


def read_cp2k(path: Path, *, kpoint_spacing_per_A: float | None = None) -> Run:
    """Read and check a CP2K log, also a compressed one, with the positions of its steps next to it.

    Parameters
    ----------
    kpoint_spacing_per_A
        See :func:`superionic.labels.vasprun.read_vasprun`.

    Raises
    ------
    CalculationFailed
        If there is no complete, converged step in the file; the reason says why.
    """
    try:
        log = _read(_lines(path))
    except (OSError, EOFError) as error:
        raise CalculationFailed(f"the file cannot be read: {error}") from error
    except (ValueError, IndexError) as error:
        raise CalculationFailed(
            f"the file is cut off or not a log of CP2K ({type(error).__name__}: {error})"
        ) from error
    if not log.steps or "version" not in log.words:
        raise CalculationFailed("there is no self-consistent calculation of CP2K in the file")
    if not log.symbols:
        raise CalculationFailed("the file has no coordinates: PRINT_LEVEL MEDIUM prints them")
    if log.not_periodic:
        raise CalculationFailed("the cell is not periodic in three directions")
    if sorted(log.cell) != ["a", "b", "c"]:
        raise CalculationFailed("the file does not state the cell")
    cell = np.array([log.cell[name] for name in "abc"])
    identity, setups = _identity(log, cell, kpoint_spacing_per_A)
    _positions_beside(path, log)
    left_out: list[str] = []
    steps: list[tuple[Atoms, Label]] = []
    for number, step in enumerate(log.steps, 1):
        where = f" in step {number}" if len(log.steps) > 1 else ""
        fault = _fault(step, len(log.symbols))
        if fault is not None:
            left_out.append(f"{fault}{where}")
            continue
        stress = None
        if len(step.stress) == 3:
            tensor = -np.array(step.stress)  # CP2K's is a pressure
            stress = 0.5 * (tensor + tensor.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms = Atoms(log.symbols, positions=np.array(step.positions), cell=cell, pbc=True)
        steps.append(
            (
                atoms,
                Label(
                    step.energy_eV or 0.0,
                    np.array(step.forces),
                    stress,
                    identity.provenance() | {"setups": dict(setups)},
                    {"converged": True, "scf_steps": step.n_scf},
                ),
            )
        )
    if not steps:
        raise CalculationFailed("; ".join(left_out[:3]))
    remarks = []
    if log.cell_digits <= 3:
        remarks.append("the cell is printed with three decimals only, as CP2K before version 8 does")
    without = sum(label.stress_eV_per_A3 is None for _, label in steps)
    if without:
        remarks.append(f"{without} of {len(steps)} labels have no stress: it is not in the file")
    return Run(tuple(steps), identity, tuple(left_out), tuple(remarks))


def _fault(step: _Step, n_atoms: int) -> str | None:
    """Return why a step gives no label, or None if it gives one."""
    if step.method not in ("", "QS"):
        return f"the energy is of the method {step.method}, not of density-functional theory (QS)"
    if step.failed or not step.converged:
        return "the electronic minimisation did not converge"
    if step.energy_eV is None:
        return "the file is cut off before the energy"
    if not step.forces_whole or len(step.forces) != n_atoms:
        return f"{len(step.forces)} complete forces are in the file for {n_atoms} atoms (PRINT / FORCES prints them)"
    if not step.positions:
        return "its positions are not in the log, and there is no PROJECT-pos-1.xyz next to it"
    return None


def _lines(path: Path) -> Iterator[str]:
    with open_unpacked(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="replace")
        while line := text.readline(_LONGEST_LINE):
            if not line.endswith("\n"):
                return  # the last line of a file that was cut off
            yield line.rstrip("\n")


def _read(lines: Iterator[str]) -> _Log:
    log, kind = _Log(), ""
    for line in lines:
        if "PROGRAM STARTED AT" in line and "version" in log.words:
            raise CalculationFailed("the file holds several runs of CP2K: give each separately")
        if "SCF WAVEFUNCTION OPTIMIZATION" in line:
            log.steps.append(_Step())
            continue
        if log.steps:
            _read_step(log.steps[-1], line, lines)
        if line.startswith(" CELL| Vector "):
            _read_cell(log, line)
        elif "ATOMIC COORDINATES IN" in line.upper() and not log.symbols:
            _read_coordinates(log, line, lines)
        elif not log.steps or line.startswith((" FUNCTIONAL|", " vdW POTENTIAL|")):
            kind = _read_head(log, line, kind)
    return log


def _read_head(log: _Log, line: str, kind: str) -> str:
    for name, pattern in _HEADS.items():
        match = pattern.search(line)
        if match is not None:
            log.words.setdefault(name, " ".join(match[1].split()))
    if line.startswith(" FUNCTIONAL|"):
        log.functional.append(" ".join(line.split()[1:]))
    elif line.startswith(" vdW POTENTIAL|"):
        log.vdw.append(" ".join(line.split()[2:]))
    elif "DFT+U|" in line or "U(eff)" in line or "DFT+U correction" in line:
        log.hubbard.append(" ".join([kind, *line.split()]))
    elif "Periodicity" in line and "POISSON" not in line and not line.rstrip().endswith("XYZ"):
        log.not_periodic = True
    match = re.search(r"Atomic kind:\s+(\S+)", line)
    if match is not None:
        kind = match[1]
    match = re.search(r"(?:Orbital Basis Set|Potential information for)\s+(\S+)", line)
    if match is not None and kind:
        log.kinds.setdefault(kind, []).append(match[1])
    return kind


def _read_step(step: _Step, line: str, lines: Iterator[str]) -> None:
    """Read one line of a step."""
    match = re.search(r"SCF run (converged|NOT converged)(?: in\s+(\d+) steps)?", line)
    if match is not None:
        step.converged = match[1] == "converged"
        step.n_scf += int(match[2] or 0)
    elif re.search(r"outer SCF loop FAILED to converge", line):
        step.failed = True
    elif re.search(r"outer SCF loop converged", line):
        step.converged, step.failed = True, False
    elif line.lstrip().startswith("ENERGY| Total FORCE_EVAL"):
        match = _ENERGY.search(line)
        if match is None or match[2].strip().lower() not in _ENERGY_UNITS:
            raise ValueError(f"an energy is not understood: {line.strip()[:80]}")
        step.method, step.printed = match[1], float(match[3])
        step.energy_eV = step.printed * _ENERGY_UNITS[match[2].strip().lower()]
    elif "ATOMIC FORCES in [" in line or "FORCES| Atomic forces [" in line:
        _read_forces(step, line, lines)
    elif re.match(r"\s*(STRESS TENSOR|STRESS\| Analytical stress tensor) \[", line):
        _read_stress(step, line, lines)


def _unit(line: str, units: Mapping[str, float]) -> float:
    match = re.search(r"\[([^\]]+)\]", line)
    name = "" if match is None else match[1].strip().lower()
    if name not in units:
        raise ValueError(f"a unit is not known: {line.strip()[:80]}")
    return units[name]


def _read_forces(step: _Step, line: str, lines: Iterator[str]) -> None:
    factor = _unit(line, _FORCE_UNITS)
    rows: list[list[float]] = []
    for row in lines:
        words = row.split()
        if words[:1] == ["FORCES|"]:
            words = words[1:]
            if words and words[0].isdigit() and len(words) >= 4:
                rows.append([factor * float(word) for word in words[1:4]])
            elif words[:1] and words[0].lower() == "sum":
                break
        elif words and words[0].isdigit() and len(words) >= 6:
            rows.append([factor * float(word) for word in words[3:6]])
        elif rows and words[:1] != ["#"]:
            break
    else:
        return  # the file ends in them
    step.forces, step.forces_whole = rows, True


def _read_stress(step: _Step, line: str, lines: Iterator[str]) -> None:
    factor = _unit(line, _STRESS_UNITS)
    rows: list[list[float]] = []
    for row in lines:
        words = [word for word in row.split() if word != "STRESS|"]
        if len(words) == 4 and words[0].lower() == "xyz"[len(rows)]:
            rows.append([factor * float(word) for word in words[1:]])
        elif rows:
            return
        if len(rows) == 3:
            step.stress = rows
            return


def _read_cell(log: _Log, line: str) -> None:
    match = re.match(r"\s*CELL\| Vector ([abc]) \[(\w+)\]:?\s+(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)", line)
    if match is None:
        return
    vector = [float(match[n]) * _LENGTH_UNITS[match[2].lower()] for n in (3, 4, 5)]
    if log.steps and match[1] in log.cell and not np.allclose(vector, log.cell[match[1]], atol=1.0e-6):
        raise CalculationFailed("the cell changes in the run, so its steps have no common cutoff: give single points")
    log.cell[match[1]] = vector
    log.cell_digits = len(match[3].partition(".")[2])


def _read_coordinates(log: _Log, line: str, lines: Iterator[str]) -> None:
    factor = next((value for name, value in _LENGTH_UNITS.items() if name in line.lower()), None)
    if factor is None:
        raise ValueError("the unit of the coordinates is unknown")
    for row in lines:
        match = _ROW.match(row + " ")
        if match is not None:
            if match[1] not in atomic_numbers:
                raise ValueError(f"{match[1]} is not an element")
            log.symbols.append(match[1])
            log.first.append([factor * float(match[n]) for n in (2, 3, 4)])
        elif log.symbols:
            return


def _positions_beside(path: Path, log: _Log) -> None:
    """Assign each step its positions: the first has them in the log, the others in the file of positions next to it."""
    log.steps[0].positions = log.first
    if len(log.steps) == 1:
        return
    beside = sorted(path.parent.glob("*-pos-1.xyz"))
    if len(beside) != 1:
        return
    frames: list[tuple[float, list[list[float]]]] = []
    try:
        for text in texts_of(beside[0]):
            head, comment, *rows = text.splitlines()
            match = re.search(r"\bE\s*=\s*(-?[\d.]+)", comment)
            words = [row.split() for row in rows[: int(head)]]
            # Labels of kinds (Fe1) give way to the elements of the log; the order of the atoms is that of the log.
            if match is not None and len(words) == len(log.symbols):
                frames.append((float(match[1]), [[float(x) for x in row[1:4]] for row in words]))
    except (OSError, ValueError):
        pass  # after a frame that is cut off nothing is read, and its steps are left out with their reason
    place = 0
    for number, step in enumerate(log.steps):
        near = [n for n in range(place, len(frames)) if abs(frames[n][0] - step.printed) < _SAME_HARTREE]
        if near and step.energy_eV is not None and (number or not log.first):
            step.positions, place = frames[near[0]][1], near[0] + 1


def _identity(log: _Log, cell: FloatArray, spacing: float | None) -> tuple[LabellerIdentity, dict[str, str]]:
    names = frozenset(line.rstrip(":").removeprefix("XC_") for line in log.functional if re.fullmatch(r"\w+:", line))
    if not names:
        raise CalculationFailed("the file does not state its functional (FUNCTIONAL|): PRINT_LEVEL MEDIUM prints it")
    functional = _FUNCTIONALS.get(names, "+".join(sorted(names)))
    described = " ".join(log.functional)
    for word in ("PBEsol", "revPBE", "RPBE"):
        if functional == "PBE" and word.lower() in described.lower():
            functional = word
    if "hybrid_fraction" in log.words:
        functional = f"hybrid of {functional}"
    if log.hubbard:
        functional += "+U"
    functional += _dispersion(log.vdw)
    grid = [int(word) for word in log.words.get("kpoint_grid", "1 1 1").split()]
    kpoints: dict[str, Any] = {"grid": grid}
    if spacing is not None:
        needed = kpoint_grid(cell, spacing)
        if any(n < least for n, least in zip(grid, needed, strict=True)):
            present, required = ("x".join(map(str, each)) for each in (grid, needed))
            raise CalculationFailed(
                f"the grid of k-points, {present}, is coarser than {spacing:g} per Å, which needs {required}"
            )
        kpoints = {"spacing_per_A": float(spacing), "gamma": all(n % 2 for n in grid)}
    settings: dict[str, Any] = {
        name: value for name, value in log.words.items() if name not in ("version", "kpoint_grid", "net_charge_e")
    }
    settings |= {"kpoints": kpoints, "functional_sha256": _digest(log.functional)}
    if log.hubbard:
        settings["hubbard_sha256"] = _digest(log.hubbard)
    if log.vdw:
        settings["vdw_sha256"] = _digest(log.vdw)
    if int(log.words.get("net_charge_e", "0")):
        settings["net_charge_e"] = int(log.words["net_charge_e"])
    setups: dict[str, str] = {}
    for kind, words in log.kinds.items():
        element = re.match(r"[A-Z][a-z]?", kind)
        if element is not None:
            setups[element[0]] = " ".join(dict.fromkeys(words))
    identity = LabellerIdentity(
        name="cp2k",
        code="cp2k",
        version=log.words["version"],
        functional=functional,
        energy_convention=f"CP2K {functional}, GTH potentials and bases of the file, without corrections",
        settings=settings,
    )
    return identity, setups


def _dispersion(lines: Sequence[str]) -> str:
    """Return the name of the van der Waals correction that a log describes; empty if there is none."""
    text = " ".join(lines)
    if not text:
        return ""
    if "DFT-D4" in text:
        return "-D4"
    if "DFT-D3" in text:
        return "-D3(0)" if "Zero Damping" in text else "-D3(BJ)" if "BJ Damping" in text else "-D3"
    if "DFT-D2" in text:
        return "-D2"
    return "+rVV10" if "rVV10" in text else "+vdW"


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
