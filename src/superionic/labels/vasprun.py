"""Labels from a vasprun.xml: pymatgen reads it, and its validity is checked here.

pymatgen reads unconverged runs with a warning and does not know what was requested. Here a file is refused, with the
reason, if its charge density was not brought to self-consistency or its k-points lie on lines, or if the numbers are
those of a force field that VASP learnt on the fly. An ionic step is left out, with the reason, if its electronic
minimisation did not converge, if its energy or forces are missing or overflowed, or if the file is cut off in it; the
other steps are unaffected. A step without stress is a label without stress.

Signs and units: VASP prints stress in kbar with the sign of a pressure, positive under compression; ours is ASE's, in
eV/Å³ and positive under tension. ``e_fr_energy`` is the free energy, the one whose derivatives the forces are. Forces
are taken as printed, without a further correction of the net force, which VASP itself removes.
"""

from __future__ import annotations

import lzma
import math
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CalculationFailed
from superionic.foreign import open_unpacked
from superionic.labels.base import Label, LabellerIdentity
from superionic.labels.dispersion import (
    VASP_KERNEL_PARAMETERS,
    VASP_PARAMETERS,
    vasp_correction,
    with_vasp_dispersion,
)
from superionic.labels.gpaw import kpoint_grid
from superionic.units import GPA_PER_EV_PER_A3

_EV_PER_A3_PER_KBAR: Final = 0.1 / GPA_PER_EV_PER_A3
_VOIGT: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_GGA_NAMES: Final[Mapping[str, str]] = {
    "PE": "PBE", "PS": "PBEsol", "CA": "LDA", "RP": "RPBE", "RE": "revPBE", "91": "PW91", "AM": "AM05",
}  # fmt: skip
_METAGGA_NAMES: Final[Mapping[str, str]] = {"SCAN": "SCAN", "R2SCAN": "r2SCAN", "RSCAN": "rSCAN"}
_OF_POTCAR: Final[Mapping[str, str]] = {"PAW_PBE": "PBE", "PAW": "LDA", "PAW_GGA": "PW91"}
_OF_VASP: Final[Mapping[str, str]] = {"X": "Xe", "r": "Zr"}
"""Symbols of elements as truncated by VASP."""
_FIXED_DENSITY: Final = 10
_NO_GROUND_STATE: Final = (
    "none",
    "noth",
    "eigenval",
    "chi",
    "gw",
    "scgw",
    "qpgw",
    "evgw",
    "bse",
    "tdhf",
    "timeev",
    "acfdt",
    "rpa",
)
_IALGO_OF_NONE: Final = (-1, 2, 3, 4)
_NEUTRAL: Final = 1.0e-3  # electrons; VASP prints eight digits
_LOOSEST_EDIFF_EV_PER_ATOM: Final = 1.0e-3
_LARGEST_DISPERSION_EV_PER_ATOM: Final = 1.0
_CONVERGENCE_SLACK: Final = 1.5  # VASP applies its criterion to numbers with more digits than it prints


@dataclass(frozen=True)
class Run:
    """The labels of one run.

    Attributes
    ----------
    steps
        Structure and label of each ionic step, in order.
    left_out
        Reasons why ionic steps gave no label.
    """

    steps: tuple[tuple[Atoms, Label], ...]
    identity: LabellerIdentity
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One block of atoms of a POSCAR: number, element, valence and title of the pseudopotential."""

    number: int
    element: str
    valence: float
    title: str


def read_vasprun(path: Path, *, kpoint_spacing_per_A: float | None = None) -> Run:
    """Read and check a vasprun.xml, or a vasprun.xml.gz.

    Parameters
    ----------
    kpoint_spacing_per_A
        State the k-points by their largest spacing in Å⁻¹ (2π included, as in KSPACING) instead of by the grid, so that
        cells of different shape can have one reference. A file whose grid is coarser is refused. By default KSPACING is
        stated if it gives the grid that was used, else the grid itself.

    Raises
    ------
    CalculationFailed
        If there is no complete, converged ionic step in the file, or it is not a self-consistent calculation of the
        energy; the reason says which.
    OSError
        If the file system does not give the file: nothing follows for the calculation.
    """
    run, cut = _parsed(path)
    parameters, incar = dict(run.parameters), dict(run.incar)
    demand_self_consistency(run, parameters, incar)
    if not run.ionic_steps:
        raise CalculationFailed(cut or "there is no finished ionic step in the file")
    structures = [step.get("structure") for step in run.ionic_steps]
    cells = [np.array(structure.lattice.matrix) for structure in structures if structure is not None]
    if not cells:
        raise CalculationFailed("no ionic step has a structure: the file is cut off or of another kind of run")
    moved = max(float(np.abs(cell - cells[0]).max()) for cell in cells)
    if moved > 1.0e-6:
        # The plane waves are those of the first cell; energies and stresses of the others have no fixed cutoff.
        raise CalculationFailed("the cell changes in the run, so its steps have no common cutoff: give single points")
    kinds = _kinds(path, len(run.atomic_symbols))
    identity = identity_of(run, parameters, incar, kinds, cells[0], kpoint_spacing_per_A)
    setups = setups_of(kinds)
    steps, left_out = [], []
    for number, (step, structure) in enumerate(zip(run.ionic_steps, structures, strict=True)):
        where = f" in ionic step {number + 1}" if len(structures) > 1 else ""
        if structure is None:
            left_out.append(f"there is no structure{where}")
            continue
        atoms = Atoms(
            [str(symbol) for symbol in run.atomic_symbols],
            cell=np.array(structure.lattice.matrix),
            scaled_positions=np.array(structure.frac_coords),
            pbc=True,
        )
        try:
            steps.append((atoms, label_of_step(step, parameters, len(atoms), identity, setups, where)))
        except CalculationFailed as failure:
            left_out.append(failure.reason)
    if cut is not None:
        left_out.append(f"{cut}, after ionic step {len(structures)}")
    if not steps:
        raise CalculationFailed("; ".join(left_out[:3]))
    without = sum(label.stress_eV_per_A3 is None for _, label in steps)
    remarks = (f"{without} of {len(steps)} labels have no stress: it is not in the file",) if without else ()
    return Run(tuple(steps), identity, tuple(left_out), remarks)


def reference_settings(
    parameters: Mapping[str, Any],
    incar: Mapping[str, Any],
    kpoints: Mapping[str, Any],
    kinds: Sequence[Kind] = (),
) -> dict[str, Any]:
    """Return the VASP settings that change numbers, in canonical form.

    Parameters
    ----------
    parameters
        All tags with the values that VASP used (the ``parameters`` of a vasprun.xml).
    incar
        Tags of the INCAR as VASP repeats them; a few are nowhere else in the file.
    kpoints
        Description of the k-points.
    kinds
        Blocks of atoms, if known: lists of the INCAR with a value for each are stated by element, and a net charge of
        the cell is stated.

    Notes
    -----
    EDIFF is not among them: it is often scaled with the cell, and within the accepted range it changes no number by
    more than an error bar.
    """
    settings: dict[str, Any] = {
        "ENCUT": float(parameters.get("ENMAX", parameters.get("ENCUT", 0.0))),
        "PREC": str(parameters.get("PREC", "normal")).strip().lower()[:6],  # VASP prints no more
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
        settings |= _hubbard(parameters, incar, kinds)
    if settings.get("LHFCALC"):
        settings |= {tag: _plain(parameters.get(tag)) for tag in ("AEXX", "HFSCREEN")}
    if correction := vasp_correction(parameters, incar):
        settings["IVDW"] = correction
        settings |= {tag: _plain(incar[tag]) for tag in VASP_PARAMETERS if tag in incar}
    if settings.get("LUSE_VDW"):
        settings |= {tag: _plain(incar[tag]) for tag in VASP_KERNEL_PARAMETERS if tag in incar}
    if kinds and "NELECT" in parameters:
        charge = sum(kind.number * kind.valence for kind in kinds) - float(parameters["NELECT"])
        if abs(charge) > _NEUTRAL:
            settings["net_charge_e"] = round(charge, 4)
    return settings


def _hubbard(parameters: Mapping[str, Any], incar: Mapping[str, Any], kinds: Sequence[Kind]) -> dict[str, Any]:
    """State U and J by element, only for those that have any; as in the INCAR if that is not possible."""
    tags = {tag: incar.get(tag, parameters.get(tag)) for tag in ("LDAUL", "LDAUU", "LDAUJ")}
    named: dict[str, Any] = {"LDAUTYPE": _plain(incar.get("LDAUTYPE", parameters.get("LDAUTYPE")))}
    lists = {tag: value if isinstance(value, (list, tuple)) else [value] for tag, value in tags.items()}
    if not kinds or any(len(values) != len(kinds) for values in lists.values() if values != [None]):
        return named | {tag: _plain(value) for tag, value in tags.items()}
    by_element: dict[str, list[list[Any]]] = {}
    for place, kind in enumerate(kinds):
        l_value, u_value, j_value = (values[place] if values != [None] else None for values in lists.values())
        if (u_value or j_value) and l_value != -1:
            own = by_element.setdefault(kind.element, [])
            own += [[_plain(l_value), float(u_value or 0.0), float(j_value or 0.0)]]
    shown = {
        element: [entry for n, entry in enumerate(own) if entry not in own[:n]] for element, own in by_element.items()
    }
    return named | {"hubbard": {element: shown[element] for element in sorted(shown)}}


def functional_name(parameters: Mapping[str, Any], incar: Mapping[str, Any], titles: tuple[str, ...]) -> str:
    """Return the name of the exchange–correlation functional of a run."""
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
    return with_vasp_dispersion(name, parameters, incar)


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


def _parsed(path: Path) -> tuple[Any, str | None]:
    """Read a file by pymatgen; return the run, and a description if the file is cut off."""
    from pymatgen.io.vasp.outputs import Vasprun

    def parse(*, strict: bool) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the causes of the warnings are checked below, and refused
            return Vasprun(
                path,
                parse_dos=False,
                parse_eigen=False,
                parse_projected_eigen=False,
                parse_potcar_file=False,
                exception_on_bad_xml=strict,
            )

    cut: str | None = None
    try:
        try:
            return parse(strict=True), None
        except SyntaxError as error:  # the parsers' errors of XML are of this kind
            cut = f"the file is cut off or not XML ({str(error).splitlines()[0]})"
        run = parse(strict=False)
        _ = run.parameters, run.incar, run.kpoints, run.atomic_symbols, run.potcar_symbols, run.vasp_version
    except FileNotFoundError as error:
        raise CalculationFailed("there is no vasprun.xml") from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the file system, not of what is in the file
            raise
        raise CalculationFailed(f"the file cannot be read: {error}") from error
    except Exception as error:  # pymatgen raises errors of any kind on a damaged file
        words = f"the file is not a complete vasprun.xml ({type(error).__name__}: {error})"
        raise CalculationFailed(cut or words) from error
    return run, cut


def _kinds(path: Path, n_atoms: int) -> tuple[Kind, ...]:
    """Read the blocks of atoms, of which pymatgen keeps only the titles."""
    with open_unpacked(path) as file:
        for _, element in ET.iterparse(file):  # noqa: S314 - pymatgen has read it, with limits, before
            if element.tag == "atominfo":
                rows = element.findall("array[@name='atomtypes']/set/rc")
                cells = [[(cell.text or "").strip() for cell in row.findall("c")] for row in rows]
                try:
                    kinds = tuple(
                        Kind(int(number), _OF_VASP.get(symbol, symbol), float(valence), title)
                        for number, symbol, _, valence, title in cells
                    )
                except ValueError as error:
                    raise CalculationFailed("the blocks of atoms (atomtypes) cannot be read") from error
                if sum(kind.number for kind in kinds) == n_atoms:
                    return kinds
    raise CalculationFailed("the file does not state the pseudopotential of each atom (atomtypes)")


def setups_of(kinds: Sequence[Kind]) -> dict[str, str]:
    """Return the title of each element's pseudopotential, or all of them if there are several."""
    titles: dict[str, list[str]] = {}
    for kind in kinds:
        own = titles.setdefault(kind.element, [])
        if kind.title not in own:
            own.append(kind.title)
    return {element: " and ".join(sorted(own)) for element, own in titles.items()}


def demand_self_consistency(run: Any, parameters: Mapping[str, Any], incar: Mapping[str, Any]) -> None:
    """Refuse runs whose energies and forces are not those of a ground state of their structures."""
    if incar.get("ML_LMLFF"):
        raise CalculationFailed("the energies are of a force field that VASP learnt on the fly (ML_LMLFF)")
    charge = int(incar.get("ICHARG", parameters.get("ICHARG", 0)) or 0)
    if charge >= _FIXED_DENSITY:
        raise CalculationFailed(
            f"the charge density was kept fixed (ICHARG = {charge}): energy and forces are not self-consistent"
        )
    algorithm = str(incar.get("ALGO", parameters.get("ALGO", ""))).strip().lower()
    if algorithm.startswith(_NO_GROUND_STATE) or int(incar.get("IALGO", 0) or 0) in _IALGO_OF_NONE:
        raise CalculationFailed(f"no ground state was computed (ALGO = {algorithm or incar.get('IALGO')})")
    if parameters.get("LCHIMAG", incar.get("LCHIMAG")):
        raise CalculationFailed(
            "the run computes chemical shifts (LCHIMAG), whose steps are not structures with forces"
        )
    if getattr(run.kpoints.style, "name", "") == "Line_mode":
        raise CalculationFailed(
            "the k-points lie on lines, as for a band structure, so energy and forces do not belong to a grid"
        )


def identity_of(
    run: Any,
    parameters: Mapping[str, Any],
    incar: Mapping[str, Any],
    kinds: Sequence[Kind],
    cell: npt.NDArray[np.float64],
    spacing: float | None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> LabellerIdentity:
    """Return the identity of the labeller of a run; ``more`` are settings in addition to the usual ones."""
    titles = tuple(kind.title for kind in kinds)
    families = sorted({title.split()[0] for title in titles if title.split()})
    settings = reference_settings(parameters, incar, _kpoints(run, parameters, incar, cell, spacing), kinds) | dict(
        more
    )
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
    kspacing = float(incar["KSPACING"]) if "KSPACING" in incar and "KGAMMA" in parameters else 0.0
    # A KPOINTS file overrides KSPACING, which the INCAR repeats all the same: the grid used decides.
    if spacing is None and tuple(grid) in _grids_of_spacing(cell, kspacing, str(run.vasp_version)) and not any(shift):
        return {"spacing_per_A": kspacing, "gamma": bool(parameters["KGAMMA"])}
    if spacing is not None:
        if len(grid) != 3:
            raise CalculationFailed("the k-points are not a regular grid, so they have no spacing")
        needed = kpoint_grid(cell, spacing)
        if any(n < least for n, least in zip(grid, needed, strict=True)):
            present, required = ("x".join(map(str, each)) for each in (grid, needed))
            raise CalculationFailed(
                f"the grid of k-points, {present}, is coarser than {spacing:g} per Å, which needs {required}"
            )
        return {"spacing_per_A": float(spacing), "gamma": bool(centred and not any(shift))}
    if len(grid) == 3:
        return {"grid": grid, "gamma": bool(centred), "shift": shift}
    return {"list": [[round(float(x), 8) for x in point] for point in run.actual_kpoints]}


def _grids_of_spacing(cell: npt.NDArray[np.float64], spacing: float, version: str) -> tuple[tuple[int, ...], ...]:
    """Return the grids that VASP may generate from KSPACING: it rounds up; versions before 6 may have rounded."""
    if not spacing > 0.0:
        return ()
    grids: tuple[tuple[int, ...], ...] = (kpoint_grid(cell, spacing),)
    if version.strip()[:1] in "345":
        lengths = 2.0 * math.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
        grids += (tuple(max(1, int(length / spacing + 0.5)) for length in lengths),)
    return grids


def label_of_step(
    step: Mapping[str, Any],
    parameters: Mapping[str, Any],
    n_atoms: int,
    identity: LabellerIdentity,
    setups: Mapping[str, str],
    where: str,
) -> Label:
    """Check an ionic step, in the form of a vasprun.xml, and return its label."""
    electronic = step["electronic_steps"]
    _demand_convergence(electronic, parameters, n_atoms, where)
    missing = [name for name in ("e_fr_energy", "forces") if name not in step]
    if missing:
        raise CalculationFailed(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in the file{where}"
        )
    energy = float(step["e_fr_energy"])
    forces = np.array(step["forces"], dtype=np.float64)
    stress = np.array(step["stress"], dtype=np.float64) if "stress" in step else None
    if forces.shape != (n_atoms, 3) or (stress is not None and stress.shape != (3, 3)):
        raise CalculationFailed(f"{len(forces)} forces were printed for {n_atoms} atoms{where}")
    finite = math.isfinite(energy) and np.isfinite(forces).all()
    if not finite or (stress is not None and not np.isfinite(stress).all()):
        raise CalculationFailed(f"energy, a force or a stress is not a finite number{where}")
    last = float(electronic[-1]["e_fr_energy"])
    # A dispersion correction is added to the energy after the electronic steps.
    allowed = _LARGEST_DISPERSION_EV_PER_ATOM if "IVDW" in identity.settings else 1.0e-4
    if abs(last - energy) > allowed * max(1, n_atoms):
        raise CalculationFailed(
            f"the energy of the ionic step, {energy:.6f} eV, is not that of its last electronic step, "
            f"{last:.6f} eV{where}"
        )
    voigt = None
    if stress is not None:
        voigt = np.array([-0.5 * (stress[i, j] + stress[j, i]) * _EV_PER_A3_PER_KBAR for i, j in _VOIGT])
    entropy = last - float(electronic[-1].get("e_wo_entrp", last))
    moments = {"magnetic_moments_muB": list(step["magmoms"])} if "magmoms" in step else {}
    return Label(
        energy_eV=energy,
        forces_eV_per_A=forces,
        stress_eV_per_A3=voigt,
        provenance=identity.provenance() | {"setups": dict(setups)},
        diagnostics={"converged": True, "scf_steps": len(electronic), "smearing_energy_eV": entropy, **moments},
    )


def _demand_convergence(
    electronic: list[Mapping[str, Any]], parameters: Mapping[str, Any], n_atoms: int, where: str
) -> None:
    """Refuse unless VASP stopped before NELM steps with a last energy change below EDIFF, and EDIFF is small."""
    most, tolerance = int(parameters.get("NELM", 60)), float(parameters.get("EDIFF", 1.0e-4))
    if tolerance > _LOOSEST_EDIFF_EV_PER_ATOM * n_atoms:
        raise CalculationFailed(f"EDIFF, {tolerance:.0e} eV for {n_atoms} atoms, is too loose for a label{where}")
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
