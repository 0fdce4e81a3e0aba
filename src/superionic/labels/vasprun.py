"""Labels out of a vasprun.xml: what pymatgen reads, and all that has to be true of it before it is believed.

pymatgen reads unconverged runs with a warning and knows no question to which a file is the answer. Here a file is
refused, with the reason, if it is cut off, if the electronic minimisation of a step did not converge, if energy, forces
or stress are missing or overflowed, or if the numbers are those of a force field that VASP learnt on the fly.

Signs and units: VASP prints stress in kbar with the sign of a pressure, positive under compression; ours is ASE's, in
eV/Å³ and positive under tension. ``e_fr_energy`` is the free energy, the one whose derivatives the forces are. Forces
are taken as printed, without a further correction of the net force, which VASP itself takes off.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.labels.base import Label, LabellerIdentity
from superionic.labels.gpaw import kpoint_grid
from superionic.units import GPA_PER_EV_PER_A3

_EV_PER_A3_PER_KBAR: Final = 0.1 / GPA_PER_EV_PER_A3
_VOIGT: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_GGA_NAMES: Final[Mapping[str, str]] = {
    "PE": "PBE", "PS": "PBEsol", "CA": "LDA", "RP": "RPBE", "RE": "revPBE", "91": "PW91", "AM": "AM05",
}  # fmt: skip
_METAGGA_NAMES: Final[Mapping[str, str]] = {"SCAN": "SCAN", "R2SCAN": "r2SCAN", "RSCAN": "rSCAN"}
_OF_POTCAR: Final[Mapping[str, str]] = {"PAW_PBE": "PBE", "PAW": "LDA", "PAW_GGA": "PW91"}
_CONVERGENCE_SLACK: Final = 1.5  # VASP's criterion is on numbers with more digits than it prints


@dataclass(frozen=True)
class Run:
    """What one vasprun.xml says.

    Attributes
    ----------
    steps
        Structure and label of each ionic step, in order.
    identity
        Who made the labels.
    """

    steps: tuple[tuple[Atoms, Label], ...]
    identity: LabellerIdentity


def read_vasprun(path: Path, *, kpoint_spacing_per_A: float | None = None) -> Run:
    """Read and check a vasprun.xml, or a vasprun.xml.gz.

    Parameters
    ----------
    path
        The file.
    kpoint_spacing_per_A
        State the k-points by their largest spacing in Å⁻¹ (2π included, as KSPACING has it) instead of by the grid, so
        that cells of different shape can have one reference. A file whose grid is coarser is refused. By default the
        spacing is taken from KSPACING if the run had no KPOINTS file, else the grid itself is stated.

    Raises
    ------
    CalculationFailed
        If the file is cut off, unconverged, incomplete or no electronic-structure calculation; the reason says which.
    """
    run = _parsed(path)
    parameters, incar = dict(run.parameters), dict(run.incar)
    if incar.get("ML_LMLFF"):
        raise CalculationFailed("the energies are of a force field that VASP learnt on the fly (ML_LMLFF)")
    if not run.ionic_steps:
        raise CalculationFailed("there is no finished ionic step in the file")
    structures = [step["structure"] for step in run.ionic_steps]
    if any(structure is None for structure in structures):
        raise CalculationFailed("an ionic step has no structure: the file is cut off or of another kind of run")
    cells = [np.array(structure.lattice.matrix) for structure in structures]
    moved = max(float(np.abs(cell - cells[0]).max()) for cell in cells)
    if moved > 1.0e-6:
        # The plane waves are those of the first cell; energies and stresses of the others are of no fixed cutoff.
        raise CalculationFailed("the cell changes in the run, so its steps have no common cutoff: give single points")
    identity = _identity(run, parameters, incar, cells[0], kpoint_spacing_per_A)
    steps = []
    for number, (step, structure) in enumerate(zip(run.ionic_steps, structures, strict=True)):
        where = f" in ionic step {number + 1}" if len(structures) > 1 else ""
        atoms = Atoms(
            [str(symbol) for symbol in run.atomic_symbols],
            cell=np.array(structure.lattice.matrix),
            scaled_positions=np.array(structure.frac_coords),
            pbc=True,
        )
        steps.append((atoms, _label(step, parameters, len(atoms), identity, run, where)))
    return Run(tuple(steps), identity)


def reference_settings(
    parameters: Mapping[str, Any], incar: Mapping[str, Any], kpoints: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the settings of VASP that change numbers, in canonical form.

    Parameters
    ----------
    parameters
        All tags with the values that VASP used (the ``parameters`` of a vasprun.xml).
    incar
        Tags of the INCAR as VASP repeats them; a few are nowhere else in the file.
    kpoints
        What to say about the k-points.
    """
    settings: dict[str, Any] = {
        "ENCUT": float(parameters.get("ENMAX", parameters.get("ENCUT", 0.0))),
        "PREC": str(parameters.get("PREC", "normal")).strip().lower()[:6],  # VASP prints no more
        "EDIFF": float(parameters.get("EDIFF", 1.0e-4)),
        "ISMEAR": int(parameters.get("ISMEAR", 1)),
        "SIGMA": float(parameters.get("SIGMA", 0.2)),
        "ISPIN": int(parameters.get("ISPIN", 1)),
        "ISYM": int(parameters.get("ISYM", 2)),
        "LREAL": bool(parameters.get("LREAL", False)),
        "LASPH": bool(parameters.get("LASPH", False)),
        "ADDGRID": bool(parameters.get("ADDGRID", False)),
        "kpoints": dict(kpoints),
    }
    if settings["ISMEAR"] == -5:
        settings["SIGMA"] = 0.0  # the tetrahedron method has no width
    for tag in ("LDAU", "LHFCALC", "LUSE_VDW", "LNONCOLLINEAR", "LSORBIT"):
        if parameters.get(tag):
            settings[tag] = True
    if settings.get("LDAU"):
        settings |= {tag: _plain(incar.get(tag)) for tag in ("LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ")}
    if settings.get("LHFCALC"):
        settings |= {tag: _plain(parameters.get(tag)) for tag in ("AEXX", "HFSCREEN")}
    if incar.get("IVDW"):
        settings["IVDW"] = int(incar["IVDW"])
    return settings


def functional_name(parameters: Mapping[str, Any], incar: Mapping[str, Any], titles: tuple[str, ...]) -> str:
    """Name the exchange–correlation functional of a run."""
    meta = str(incar.get("METAGGA", parameters.get("METAGGA", "--"))).strip().upper()
    gga = str(parameters.get("GGA", incar.get("GGA", "--"))).strip().upper()
    if meta not in ("", "--", "NONE"):
        name = _METAGGA_NAMES.get(meta, meta)
    elif gga not in ("", "--"):
        name = _GGA_NAMES.get(gga, f"GGA {gga}")
    else:
        families = {title.split()[0] for title in titles if title.split()}
        name = _OF_POTCAR.get(families.pop(), "unknown") if len(families) == 1 else "unknown"
    if parameters.get("LHFCALC"):
        name = f"hybrid of {name}"
    if parameters.get("LDAU"):
        name += "+U"
    if parameters.get("LUSE_VDW") or incar.get("IVDW"):
        name += "+vdW"
    return name


def vasp_identity(
    version: str, functional: str, settings: Mapping[str, Any], family: str, *, name: str = "vasp"
) -> LabellerIdentity:
    """Describe labels of VASP; ``family`` is the first word of the POTCARs' titles, e.g. ``PAW_PBE``."""
    return LabellerIdentity(
        name=name,
        code="vasp",
        version=version,
        functional=functional,
        energy_convention=f"VASP {functional}, {family} potentials, without corrections",
        settings=dict(settings),
        engine="core",
        stand_in=False,
    )


def _parsed(path: Path) -> Any:
    from pymatgen.io.vasp.outputs import Vasprun

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is checked below, and refused
            return Vasprun(
                path, parse_dos=False, parse_eigen=False, parse_projected_eigen=False, parse_potcar_file=False
            )
    except FileNotFoundError as error:
        raise CalculationFailed("there is no vasprun.xml") from error
    except SyntaxError as error:  # the parsers' errors of XML are of this kind
        raise CalculationFailed(f"the file is cut off or not XML ({str(error).splitlines()[0]})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise CalculationFailed(f"the file cannot be read: {error}") from error
    except Exception as error:  # pymatgen raises what it likes over a damaged file
        raise CalculationFailed(f"the file is not a complete vasprun.xml ({type(error).__name__}: {error})") from error


def _identity(
    run: Any,
    parameters: Mapping[str, Any],
    incar: Mapping[str, Any],
    cell: npt.NDArray[np.float64],
    spacing: float | None,
) -> LabellerIdentity:
    titles = tuple(str(title) for title in run.potcar_symbols)
    families = sorted({title.split()[0] for title in titles if title.split()})
    settings = reference_settings(parameters, incar, _kpoints(run, parameters, incar, cell, spacing))
    version = str(run.vasp_version).split()[0]
    return vasp_identity(
        version, functional_name(parameters, incar, titles), settings, "/".join(families) or "unknown", name="vasp"
    )


def _kpoints(
    run: Any,
    parameters: Mapping[str, Any],
    incar: Mapping[str, Any],
    cell: npt.NDArray[np.float64],
    spacing: float | None,
) -> dict[str, Any]:
    style = getattr(run.kpoints.style, "name", str(run.kpoints.style)).lower()
    listed = getattr(run.kpoints, "kpts", None) or [()]
    grid = [int(n) for n in listed[0]] if style in ("gamma", "monkhorst", "monkhorst_pack") and len(listed) == 1 else []
    shift = [float(x) for x in getattr(run.kpoints, "kpts_shift", None) or (0.0, 0.0, 0.0)]
    centred = style == "gamma" or all(n % 2 for n in grid)
    if spacing is None and "KSPACING" in incar and "KGAMMA" in parameters:
        return {"spacing_per_A": float(incar["KSPACING"]), "gamma": bool(parameters["KGAMMA"])}
    if spacing is not None:
        if len(grid) != 3:
            raise CalculationFailed("the k-points are no regular grid, so they have no spacing")
        needed = kpoint_grid(cell, spacing)
        if any(n < wanted for n, wanted in zip(grid, needed, strict=True)):
            has, wants = ("x".join(map(str, each)) for each in (grid, needed))
            raise CalculationFailed(f"the grid of k-points, {has}, is coarser than {spacing:g} per Å, which is {wants}")
        return {"spacing_per_A": float(spacing), "gamma": bool(centred and not any(shift))}
    if len(grid) == 3:
        return {"grid": grid, "gamma": bool(centred), "shift": shift}
    return {"list": [[round(float(x), 8) for x in point] for point in run.actual_kpoints]}


def _label(
    step: Mapping[str, Any],
    parameters: Mapping[str, Any],
    n_atoms: int,
    identity: LabellerIdentity,
    run: Any,
    where: str,
) -> Label:
    electronic = step["electronic_steps"]
    _demand_convergence(electronic, parameters, where)
    missing = [name for name in ("e_fr_energy", "forces", "stress") if name not in step]
    if missing:
        raise CalculationFailed(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the file{where}"
        )
    energy = float(step["e_fr_energy"])
    forces, stress = np.array(step["forces"], dtype=np.float64), np.array(step["stress"], dtype=np.float64)
    if forces.shape != (n_atoms, 3) or stress.shape != (3, 3):
        raise CalculationFailed(f"{len(forces)} forces were printed for {n_atoms} atoms{where}")
    if not (math.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        raise CalculationFailed(f"energy, a force or a stress is not a finite number{where}")
    last = float(electronic[-1]["e_fr_energy"])
    if abs(last - energy) > 1.0e-4 * max(1, n_atoms):
        raise CalculationFailed(
            f"the energy of the ionic step, {energy:.6f} eV, is not that of its last electronic step, "
            f"{last:.6f} eV{where}"
        )
    voigt = np.array([-0.5 * (stress[i, j] + stress[j, i]) * _EV_PER_A3_PER_KBAR for i, j in _VOIGT])
    entropy = float(electronic[-1].get("e_fr_energy", energy)) - float(electronic[-1].get("e_wo_entrp", energy))
    symbols = list(dict.fromkeys(str(symbol) for symbol in run.atomic_symbols))
    titles = [str(title) for title in run.potcar_symbols]
    return Label(
        energy_eV=energy,
        forces_eV_per_A=forces,
        stress_eV_per_A3=voigt,
        provenance=identity.provenance() | {"setups": dict(zip(symbols, titles, strict=False))},
        diagnostics={"converged": True, "scf_steps": len(electronic), "smearing_energy_eV": entropy},
    )


def _demand_convergence(electronic: list[Mapping[str, Any]], parameters: Mapping[str, Any], where: str) -> None:
    """Refuse unless VASP stopped before NELM steps with a last change of the energy below EDIFF."""
    most, tolerance = int(parameters.get("NELM", 60)), float(parameters.get("EDIFF", 1.0e-4))
    if not electronic:
        raise CalculationFailed(f"there is no electronic step in the file{where}")
    if len(electronic) >= most:
        raise CalculationFailed(f"the electronic minimisation did not converge in {most} steps (NELM){where}")
    if len(electronic) > 1:
        change = abs(float(electronic[-1]["e_fr_energy"]) - float(electronic[-2]["e_fr_energy"]))
        if not change <= _CONVERGENCE_SLACK * tolerance:
            raise CalculationFailed(
                f"the electronic minimisation was stopped at a change of {change:.1e} eV "
                f"(EDIFF: {tolerance:.0e} eV){where}"
            )


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
