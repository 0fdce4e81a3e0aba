"""Labels from the output of pw.x of Quantum ESPRESSO: ASE reads it, and its validity is checked here.

ASE reads outputs in any state, and of several total energies the first, which belongs to an earlier iteration if iprint
is small. Here a step counts if pw.x reports convergence and gives forces on all atoms; its energy is the last one
before that report, and the end of a truncated file is rejected.
``!    total energy`` is the free energy, the one that the forces derive from.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.foreign import open_unpacked
from superionic.labels.base import Label, LabellerIdentity
from superionic.labels.gpaw import kpoint_grid
from superionic.labels.vasprun import Run

_MOST_BYTES: Final = 200_000_000
_RYDBERG_EV: Final = 13.605693122994
_START: Final = "Program PWSCF"
_POSITIONS: Final = "ATOMIC_POSITIONS"
_TOTAL: Final = "!    total energy"
_NAMES: Final = {
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "SLA PW PSX PSC": "PBEsol",
    "SLA PZ NOGX NOGC": "LDA",
}
_DISPERSION: Final = (
    (r"DFT-D3 Dispersion", "D3"),
    (r"Grimme-D2|^\s+DFT-D2|^\s+Dispersion Correction\s+=", "D2"),
    (r"XDM", "XDM"),
    (r"MBD", "MBD"),
    (r"Tkatchenko|TS-vdW", "TS"),
)
_VALENCE: Final = re.compile(r"^\s+([A-Z][a-z]?)\S*\s+(\d+\.\d+)\s+\d+\.\d+\s+[A-Z]\S*\s*\(\s*1\.00\)", re.MULTILINE)
_NEUTRAL: Final = 0.0051  # pw.x prints two digits


def read_espresso(path: Path, *, kpoint_spacing_per_A: float | None = None) -> Run:
    """Read and check an output of pw.x, also a compressed one.

    Parameters
    ----------
    kpoint_spacing_per_A
        See :func:`superionic.labels.vasprun.read_vasprun`.

    Raises
    ------
    CalculationFailed
        If there is no complete, converged step in the file; the reason says why.
    """
    lines = _lines(path)
    starts = [n for n, line in enumerate(lines) if _START in line or _POSITIONS in line]
    if not starts or _START not in lines[starts[0]]:
        raise CalculationFailed("the file is not an output of pw.x")
    if sum(_START in lines[n] for n in starts) > 1:
        raise CalculationFailed("the file holds several runs of pw.x: give each separately")
    parts = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    done = any("JOB DONE" in line for line in parts[-1])
    left_out: list[str] = []
    judged: list[str | None] = []  # why a part gives no label; None if it gives one
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        judged.append("the file is cut off" if last and not done else _fault(part))
    with_scf = [n for n, part in enumerate(parts) if any("iteration #" in line for line in part)]
    several = len(with_scf) > 1
    left_out += [f"{judged[n]}{f' in step {n + 1}' if several else ''}" for n in with_scf if judged[n] is not None]
    accepted = [n for n in with_scf if judged[n] is None]
    if not accepted:
        raise CalculationFailed("; ".join(left_out[:3]) or "there is no self-consistent calculation in the file")
    images = _images("".join(lines[: starts[-1]] if judged[-1] is not None and len(parts) > 1 else lines))
    cells = [np.array(images[n].cell) for n in accepted]
    if any(float(np.abs(cell - np.array(images[0].cell)).max()) > 1.0e-6 for cell in cells):
        raise CalculationFailed("the cell changes in the run, so its steps have no common cutoff: give single points")
    identity, setups = _identity(parts[0], images[0], kpoint_spacing_per_A, [line for part in parts for line in part])
    steps = []
    for n in accepted:
        results, energy = images[n].calc.results, _energy(parts[n])
        atoms = Atoms(numbers=images[n].numbers, positions=images[n].positions, cell=cells[0], pbc=True)
        forces, stress = np.array(results["forces"]), results.get("stress")
        if energy is None or forces.shape != (len(atoms), 3):
            left_out.append(f"{len(forces)} forces were printed for {len(atoms)} atoms in step {n + 1}")
            continue
        diagnostics: dict[str, Any] = {
            "converged": True,
            "scf_steps": sum("iteration #" in line for line in parts[n]),
            "smearing_energy_eV": _RYDBERG_EV * (_number(parts[n], r"smearing contrib\. \(-TS\)\s+=\s+(\S+)") or 0.0),
        }
        moments = results.get("magmoms")
        if moments is not None and len(moments) == len(atoms):
            diagnostics["magnetic_moments_muB"] = [float(value) for value in moments]
        steps.append(
            (
                atoms,
                Label(
                    energy,
                    forces,
                    None if stress is None else np.array(stress),
                    identity.provenance() | {"setups": dict(setups)},
                    diagnostics,
                ),
            )
        )
    if not steps:
        raise CalculationFailed("; ".join(left_out[:3]))
    without = sum(label.stress_eV_per_A3 is None for _, label in steps)
    remarks = (f"{without} of {len(steps)} labels have no stress: it is not in the file",) if without else ()
    return Run(tuple(steps), identity, tuple(left_out), remarks)


def _lines(path: Path) -> list[str]:
    try:
        with open_unpacked(path) as file:
            data: bytes = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise CalculationFailed(f"the file cannot be read: {error}") from error
    if len(data) > _MOST_BYTES:
        raise CalculationFailed("the file has more than 200 MB: give runs of fewer steps")
    return data.decode("utf-8", errors="replace").splitlines(keepends=True)


def _fault(part: Sequence[str]) -> str | None:
    """Return why a part gives no label, or None if it gives one."""
    text = "".join(part)
    if "convergence NOT achieved" in text or "convergence has been achieved" not in text:
        return "the electronic minimisation did not converge"
    if "EXX" in text:
        return "the outer loops of a hybrid functional are not supported"
    if _energy(part) is None:
        return "there is no total energy"
    if "Forces acting on atoms" not in text:
        return "there are no forces (tprnfor = .true. prints them)"
    return None


def _energy(part: Sequence[str]) -> float | None:
    """Return the last total energy before convergence, in eV."""
    energy_Ry = None
    for line in part:
        if _TOTAL in line:
            energy_Ry = float(line.partition("=")[2].split()[0])
        elif "convergence has been achieved" in line:
            break
    return None if energy_Ry is None else energy_Ry * _RYDBERG_EV


def _images(text: str) -> list[Atoms]:
    from ase.io.espresso import read_espresso_out

    try:
        return list(read_espresso_out(io.StringIO(text), index=slice(None), results_required=False))
    except Exception as error:  # ASE raises errors of every kind on a damaged file
        raise CalculationFailed(f"the file is damaged ({type(error).__name__}: {error})") from error


def _number(lines: Sequence[str], pattern: str) -> float | None:
    for line in lines:
        match = re.search(pattern, line)
        if match is not None:
            return float(match[1])
    return None


def _identity(
    head: Sequence[str], atoms: Atoms, spacing: float | None, lines: Sequence[str]
) -> tuple[LabellerIdentity, dict[str, str]]:
    text = "".join(head)
    version = re.search(r"Program PWSCF v\.?\s*(\S+)", text)
    named = re.findall(r"Exchange-correlation\s*=\s*(.*?)\s*(?:\(|$)", text, re.MULTILINE)
    cutoff, density = (_number(head, rf"{word} cutoff\s+=\s+(\S+)") for word in ("kinetic-energy", "charge density"))
    if version is None or not named or cutoff is None:
        raise CalculationFailed("the file does not state version, functional and cutoff of pw.x")
    functional = _NAMES.get(" ".join(named[-1].replace("+", " ").split()).upper(), named[-1].strip())
    hubbard = _block(head, r"LDA\+U|DFT\+U|DFT\+Hubbard|Hubbard projectors")
    if hubbard:
        functional += "+U"
    everything = "".join(lines)
    correction = next((name for pattern, name in _DISPERSION if re.search(pattern, everything, re.MULTILINE)), None)
    if correction is not None:
        functional += f"-{correction}"
    settings: dict[str, Any] = {
        "ecutwfc_Ry": cutoff,
        "ecutrho_Ry": density,
        "kpoints": _kpoints(head, atoms, spacing),
        "smearing": _smearing(head),
        "spin": "Starting magnetic structure" in text or "Noncollinear calculation" in text,
    }
    if hubbard:
        settings["hubbard"] = hubbard
    if correction is not None:
        settings["dispersion"] = [correction, *_block(head, r"Dispersion Correction|Dispersion \(")]
    valence = {name: float(value) for name, value in _VALENCE.findall(text)}
    electrons = _number(head, r"number of electrons\s+=\s+(\S+)")
    if electrons is not None and set(atoms.get_chemical_symbols()) <= set(valence):
        charge = sum(valence[symbol] for symbol in atoms.get_chemical_symbols()) - electrons
        if abs(charge) > _NEUTRAL:
            settings["net_charge_e"] = round(charge, 2)
    setups = {}
    for n, line in enumerate(head):
        match = re.search(r"PseudoPot\. #\s*\d+ for\s+([A-Z][a-z]?)\S*\s+read from file", line)
        if match is not None and n + 2 < len(head):
            checksum = re.search(r"MD5 check sum:\s*(\w+)", head[n + 2])
            name = PurePosixPath(head[n + 1].strip()).name
            setups[match[1]] = f"{name} {checksum[1]}" if checksum else name
    identity = LabellerIdentity(
        name="espresso",
        code="quantum-espresso",
        version=version[1],
        functional=functional,
        energy_convention=f"Quantum ESPRESSO {functional}, pseudopotentials of the file, without corrections",
        settings=settings,
    )
    return identity, setups


def _block(lines: Sequence[str], pattern: str) -> list[str]:
    """Return the lines from one that matches to the next empty one."""
    block: list[str] = []
    for line in lines:
        words = " ".join(line.split())
        if block and not words:
            break
        if block or re.search(pattern, line):
            block.append(words)
    return block


def _smearing(head: Sequence[str]) -> str:
    for line in head:
        match = re.search(r"number of k points=\s*\d+\s*(.*)$", line.rstrip())
        if match is not None:
            return " ".join(match[1].split()) or "none"
    return "none"


def _kpoints(head: Sequence[str], atoms: Atoms, spacing: float | None) -> dict[str, Any]:
    """Deduce the grid of the printed points; pw.x prints the symmetry-inequivalent ones."""
    number = _number(head, r"number of k points=\s*(\d+)")
    alat = _number(head, r"lattice parameter \(alat\)\s+=\s+(\S+)")
    rows = re.findall(r"k\(\s*\d+\) = \(\s*(\S+)\s+(\S+)\s+(\S+)\s*\), wk", "".join(head))
    grid: list[int] = []
    shift: list[float] = []
    if number is not None and alat is not None and len(rows) >= int(number):
        points = np.array(rows[: int(number)], dtype=np.float64) / (alat * 0.529177210903)
        fractions = points @ np.array(atoms.cell).T
        for column in fractions.T:
            gap, first = _gap(column)
            grid.append(round(1.0 / gap))
            shift.append(first)
    if spacing is None:
        return {"grid": grid, "shift": shift} if grid else {"number": number}
    if not grid:
        raise CalculationFailed("the k-points are not printed (verbosity = 'high' does), so they have no spacing")
    needed = kpoint_grid(np.array(atoms.cell), spacing)
    if any(n < least for n, least in zip(grid, needed, strict=True)):
        present, required = ("x".join(map(str, each)) for each in (grid, needed))
        raise CalculationFailed(
            f"the grid of k-points, {present}, is coarser than {spacing:g} per Å, which needs {required}"
        )
    return {"spacing_per_A": float(spacing), "gamma": not any(shift)}


def _gap(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the step of a grid along one direction, and its offset; a point and its opposite count as one."""
    both = np.sort(np.concatenate([values, -values]) % 1.0)
    steps = np.diff(np.append(both, both[0] + 1.0))
    clear = steps[steps > 1.0e-3]
    first = float(min(both[0], 1.0 - both[-1]))
    return float(clear.min(initial=1.0)), 0.0 if first < 1.0e-3 else round(first, 4)
