"""A VASP of the tests: reads INCAR, KPOINTS, POSCAR and POTCAR, and prints a vasprun.xml of the real one's form.

Its energies are those of superionic's pair potential. ``FAKE_VASP`` in the environment makes it misbehave: ``crash``,
``killed``, ``cut`` (the file ends in the middle), ``shuffled`` (atoms in another order), ``foreign`` (another cell),
``encut`` (another cutoff), ``converges:TAG=VALUE`` (only with that tag in the INCAR, e.g. ``converges:ALGO=All``),
``pulay`` (a pressure that is too low by 0.1 kB for each eV that the cutoff lacks to 1000 eV), ``kpoints`` (energies too
low by 30 meV/atom over the number of k-points).
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

PREC = {"ACCURATE": "accura", "NORMAL": "normal"}


def vasprun_text(
    symbols: list[str],
    cell: np.ndarray,
    scaled: np.ndarray,
    *,
    energy: float,
    forces: np.ndarray,
    stress_kB: np.ndarray,
    tags: dict[str, Any] | None = None,
    titles: dict[str, str] | None = None,
    grid: tuple[int, int, int] = (2, 2, 2),
    changes: tuple[float, ...] = (-3.0, -0.1, -2e-6),
    entropy: float = -0.002,
    version: str = "6.3.2",
    steps: int = 1,
    echo: dict[str, Any] | None = None,
    points: str = "Gamma",
) -> str:
    """Print a vasprun.xml: ``changes`` are those of the energy in each electronic step after the first."""
    used = {
        "PREC": "accura", "ENMAX": 520.0, "EDIFF": 1e-5, "NELM": 60, "ISMEAR": -1, "SIGMA": 0.05, "KSPACING": 0.5,
        "KGAMMA": True, "LREAL": False, "ISPIN": 1, "LASPH": True, "LMETAGGA": False, "ADDGRID": False, "NSW": 0,
        "IBRION": -1, "ISIF": 2, "ISYM": 0, "LDAU": False, "GGA": "PE", "LHFCALC": False, "AEXX": 0.0,
        "HFSCREEN": 0.0, "LUSE_VDW": False,
        **(tags or {}),
    }  # fmt: skip
    blocks = [(kind, len(list(same))) for kind, same in itertools.groupby(symbols)]
    titles = titles or {kind: f"PAW_PBE {kind} 06Sep2000" for kind in symbols}
    lattice = _rows("basis", cell)
    crystal = f'<crystal>{lattice}<i name="volume"> {abs(np.linalg.det(cell)):.8f} </i></crystal>'
    positions = f"<structure>{crystal}{_rows('positions', scaled)}</structure>"
    energies = energy - np.concatenate([np.cumsum(changes[::-1])[::-1], [0.0]])
    electronic = "".join(f"<scstep>{_energy(e, entropy)}</scstep>" for e in energies)
    calculation = (
        f"<calculation>{electronic}{positions}{_rows('forces', forces)}{_rows('stress', stress_kB)}"
        f'{_energy(energy, entropy)}<time name="totalsc"> 1.0 1.0</time></calculation>'
    )
    atoms = "".join(
        f"<rc><c>{kind:<2}</c><c>{place:4d}</c></rc>" * number for place, (kind, number) in enumerate(blocks, 1)
    )
    types = "".join(
        f"<rc><c>{number:4d}</c><c>{k:<2}</c><c> 1.0</c><c> 1.0</c><c>  {titles[k]:<38}</c></rc>"
        for k, number in blocks
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        f'<generator><i name="program" type="string">vasp </i><i name="version" type="string">{version}  </i>'
        "</generator>\n"
        f"<incar>{''.join(_tag(name, value) for name, value in (echo or {}).items())}</incar>\n"
        f'<kpoints><generation param="{points}"><v type="int" name="divisions"> {grid[0]} {grid[1]} {grid[2]} </v>'
        '<v name="usershift"> 0.0 0.0 0.0 </v></generation>'
        '<varray name="kpointlist"><v> 0.0 0.0 0.0 </v></varray><varray name="weights"><v> 1.0 </v></varray>'
        "</kpoints>\n"
        f"<parameters>{''.join(_tag(name, value) for name, value in used.items())}</parameters>\n"
        f'<atominfo><atoms>{len(symbols):8d} </atoms><types>{len(blocks):8d} </types><array name="atoms">'
        f'<dimension dim="1">ion</dimension><field type="string">element</field><field type="int">atomtype</field>'
        f'<set>{atoms}</set></array><array name="atomtypes"><dimension dim="1">type</dimension><set>{types}</set>'
        "</array>"
        "</atominfo>\n"
        f'<structure name="initialpos">{crystal}{_rows("positions", scaled)}</structure>\n'
        f"{calculation * steps}\n"
        f'<structure name="finalpos">{crystal}{_rows("positions", scaled)}</structure>\n</modeling>\n'
    )


def _energy(energy: float, entropy: float) -> str:
    values = {"e_fr_energy": energy, "e_wo_entrp": energy - entropy, "e_0_energy": energy - 0.5 * entropy}
    return "<energy>" + "".join(f'<i name="{k}"> {v:16.8f} </i>' for k, v in values.items()) + "</energy>"


def _rows(name: str, values: np.ndarray) -> str:
    rows = "".join("<v>" + "".join(f"{x:17.8f}" for x in row) + " </v>\n" for row in np.asarray(values))
    return f'<varray name="{name}" >\n{rows}</varray>\n'


def _tag(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f'<v type="{"int" if isinstance(value[0], int) else ""}" name="{name}">{" ".join(map(str, value))}</v>'
    if isinstance(value, bool):
        return f'<i type="logical" name="{name}"> {"T" if value else "F"}  </i>'
    if isinstance(value, int):
        return f'<i type="int" name="{name}"> {value:5d}</i>'
    if isinstance(value, float):
        return f'<i name="{name}"> {value:16.8f}</i>'
    return f'<i type="string" name="{name}">{value}</i>'


def value_of(text: str) -> Any:
    """Read a value of an INCAR."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"TRUE": True, "FALSE": False, "T": True, "F": False}.get(text.strip(".").upper(), text)


def read_poscar(lines: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read symbols, cell and scaled positions."""
    cell = float(lines[1]) * np.array([[float(x) for x in line.split()] for line in lines[2:5]])
    counts = [int(n) for n in lines[6].split()]
    symbols = [s for s, n in zip(lines[5].split(), counts, strict=True) for _ in range(n)]
    scaled = np.array([[float(x) for x in line.split()[:3]] for line in lines[8 : 8 + len(symbols)]])
    assert lines[7].lower().startswith("direct")
    return symbols, cell, scaled


def main() -> None:
    """Be VASP in the folder of the inputs."""
    mode = os.environ.get("FAKE_VASP", "")
    if mode == "crash":
        print("internal error in subroutine IBZKPT")
        raise SystemExit(1)
    if mode == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
    from ase import Atoms

    from superionic.potentials.base import load_potential
    from superionic.units import GPA_PER_EV_PER_A3

    echo = {}
    for line in Path("INCAR").read_text().splitlines():
        name, _, text = line.partition("=")
        if name.strip():
            echo[name.strip()] = value_of(text.strip())
    symbols, cell, scaled = read_poscar(Path("POSCAR").read_text().splitlines())
    grid = tuple(int(n) for n in Path("KPOINTS").read_text().splitlines()[3].split())
    titles = [line.strip() for line in Path("POTCAR").read_text().splitlines() if line.strip().startswith("PAW")]
    atoms = Atoms(symbols, cell=cell, scaled_positions=scaled, pbc=True)
    found = load_potential("pair").evaluate(atoms)
    voigt = np.asarray(found.stress_eV_per_A3) * GPA_PER_EV_PER_A3 * 10.0
    stress = -np.array([[voigt[0], voigt[5], voigt[4]], [voigt[5], voigt[1], voigt[3]], [voigt[4], voigt[3], voigt[2]]])
    forces = np.asarray(found.forces_eV_per_A)
    tags = {name: value for name, value in echo.items() if name not in ("METAGGA", "PREC", "ENCUT")}
    tags["PREC"], tags["ENMAX"] = PREC[str(echo["PREC"]).upper()], float(echo["ENCUT"])
    if "METAGGA" in echo:
        tags |= {"GGA": "--", "LMETAGGA": True}
    tags = {name: float(value) if name in ("EDIFF", "SIGMA") else value for name, value in tags.items()}
    changes: tuple[float, ...] = (-3.0, -0.1, -0.3 * float(echo["EDIFF"]))
    if mode.startswith("converges:"):
        name, _, text = mode.removeprefix("converges:").partition("=")
        if str(echo.get(name)) != str(value_of(text)):
            changes = (0.1,) * (int(echo["NELM"]) - 1)
    if mode == "shuffled":
        symbols, scaled, forces = symbols[::-1], scaled[::-1], forces[::-1]
    if mode == "foreign":
        cell = cell * 1.01
    if mode == "pulay":
        stress = stress - 0.1 * (1000.0 - float(echo["ENCUT"])) * np.eye(3)
    if mode == "encut":
        tags["ENMAX"] = 400.0
    energy = found.energy_eV - (0.03 * len(symbols) / np.prod(grid) if mode == "kpoints" else 0.0)
    text = vasprun_text(
        symbols, cell, scaled, energy=energy, forces=forces, stress_kB=stress, tags=tags, echo=echo, grid=grid,
        titles=dict(zip(dict.fromkeys(symbols), titles, strict=True)), changes=changes,
    )  # fmt: skip
    Path("vasprun.xml").write_text(text[: len(text) // 2] if mode == "cut" else text)
    Path("WAVECAR").write_text("orbitals")


if __name__ == "__main__":
    main()
