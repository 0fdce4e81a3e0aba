"""Outputs of VASP, pw.x, CP2K and DeePMD as these print them, with the numbers of any ASE calculator in them.

A frame is an :class:`ase.Atoms` with a calculator that has energy, forces and stress. Units and signs are those of the
codes: kbar and a pressure for VASP, Rydberg and Bohr for pw.x, Hartree, Bohr and GPa or bar for CP2K.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from .fake_vasp import vasprun_text

HARTREE, BOHR, GPA = 27.211386245988, 0.529177210903, 160.21766208
RYDBERG = HARTREE / 2


def values(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Give energy, forces and the 3×3 stress (ASE's sign) of a frame."""
    results = atoms.calc.results
    stress = results["stress"]
    return results["energy"], results["forces"], stress[np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])]


def sorted_by_kind(atoms: Atoms) -> Atoms:
    """Put the atoms in blocks of one element each, as VASP needs them, values and all."""
    return atoms[np.argsort(atoms.numbers, kind="stable")]


def blocks(atoms: Atoms) -> list[tuple[str, int]]:
    return [(kind, len(list(same))) for kind, same in itertools.groupby(atoms.get_chemical_symbols())]


def vasprun(atoms: Atoms, **changes) -> str:
    energy, forces, stress = values(atoms)
    return vasprun_text(
        atoms.get_chemical_symbols(),
        np.array(atoms.cell),
        atoms.get_scaled_positions(wrap=False),
        **{"energy": energy, "forces": forces, "stress_kB": -10 * GPA * stress, **changes},
    )


def outcar(
    frames: Sequence[Atoms],
    *,
    incar: dict[str, str] | None = None,
    repeats: bool = True,
    unconverged: Sequence[int] = (),
    fixed: Sequence[int] = (),
    dispersion_eV: float = 0.0,
    moments: Sequence[float] | None = None,
    nelm: int = 60,
) -> str:
    """Print an OUTCAR; ``unconverged`` are ionic steps that ran into NELM, ``fixed`` atoms whose forces are masked."""
    first = frames[0]
    kinds = blocks(first)
    tags = {"PREC": "Accurate", "ENCUT": "520", "EDIFF": "1e-05", "KSPACING": "0.5", **(incar or {})}
    echoed = [" INCAR:", *(f"   {name} = {value}" for name, value in tags.items())] if repeats else [" INCAR:"]
    titles = [f"PAW_PBE {kind} 06Sep2000" for kind, _ in kinds]
    head = [
        " vasp.6.3.2 27Jun22 (build Aug 01 2022 10:00:00) complex",
        "",
        *echoed,
        *[f" POTCAR:    {title}" for title in titles],
        *[f"   TITEL  = {title}" for title in titles],
        " Automatic generation of k-mesh.",
        " generate k-points for:    3    3    3",
        "  Shift w.r.t. Gamma in fractional coordinates (k-lattice)",
        "     0.000000000  0.000000000  0.000000000",
        "",
        f"   number of dos      NEDOS =    301   number of ions     NIONS =  {len(first):5d}",
        "   ions per type =            " + "".join(f"{number:4d}" for _, number in kinds),
        " Startparameter for this run:",
        "   PREC   = accura    normal or accurate (medium, high low for compatibility)",
        "   ICHARG =      2    charge: 1-file 2-atom 10-const",
        "   ISPIN  =      1    spin polarized calculation?",
        "   LASPH  =      T    aspherical Exc in radial PAW",
        "   ENCUT  =  520.0 eV  38.22 Ry    6.18 a.u.   8.96  7.75  7.09*2*pi/ulx,y,z",
        f"   NELM   =    {nelm};   NELMIN=  6; NELMDL= -5     # of ELM steps ",
        "   EDIFF  = 0.1E-04   stopping-criterion for ELM",
        "   LREAL  =      F    real-space projection",
        "   ISYM   =      0    0-nonsym 1-usesym 2-fastsym",
        "   ZVAL   = " + "".join(f"{11.0:6.2f}" for _ in kinds),
        f"   NELECT =    {11.0 * len(first):10.4f}    total number of electrons",
        "   ISMEAR =     0;   SIGMA  =   0.05  broadening in eV -4-tet -1-fermi 0-gaus",
        "   IALGO  =     38    algorithm",
        "   GGA     =    PE    GGA type",
        "   LHFCALC =     F    Hartree Fock is set to",
        "  volume of cell :",
        "      direct lattice vectors                 reciprocal lattice vectors",
        *["".join(f"{x:13.9f}" for x in [*row, 0.1, 0.0, 0.0]) for row in np.array(first.cell)],
    ]
    body: list[str] = []
    for number, atoms in enumerate(frames, 1):
        energy, forces, stress = values(atoms)
        forces = forces.copy()
        forces[list(fixed)] = 0.0
        steps = nelm if number - 1 in unconverged else 4
        changes = [0.1 * 0.3**k for k in range(steps)] if steps == nelm else [2.0, 0.1, 3e-6, 0.0]
        for k, change in enumerate(changes, 1):
            body += [
                f"--------------------------------------- Iteration {number:6d}({k:4d})  ---------------------------",
                f"  free energy    TOTEN  = {energy - dispersion_eV + change:18.8f} eV",
                "",
                f"  energy without entropy ={energy - dispersion_eV + change:18.8f}  energy(sigma->0) =     0.0",
            ]
        words = "EDIFF is reached" if steps != nelm else "EDIFF was not reached (unconverged)"
        body.append(f"------------------------ aborting loop because {words} ------------------------------")
        if moments is not None:
            body += [
                "", " magnetization (x)", "", "# of ion       s       p       d       tot",
                "------------------------------------------",
                *[f"{n:5d}        0.000   0.000  {m:7.3f} {m:7.3f}" for n, m in enumerate(moments, 1)],
                "--------------------------------------------------",
                f"tot          0.000   0.000   0.000  {sum(moments):7.3f}", "",
            ]  # fmt: skip
        k_bar = -10 * GPA * stress
        order = [k_bar[0, 0], k_bar[1, 1], k_bar[2, 2], k_bar[0, 1], k_bar[1, 2], k_bar[2, 0]]
        body += [
            "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
            "  in kB  " + "".join(f"{x:12.5f}" for x in order),
            "  external pressure =        0.00 kB  Pullay stress =        0.00 kB",
            "      direct lattice vectors                 reciprocal lattice vectors",
            *["".join(f"{x:13.9f}" for x in [*row, 0.1, 0.0, 0.0]) for row in np.array(atoms.cell)],
            "",
            " POSITION                                       TOTAL-FORCE (eV/Angst)",
            " " + "-" * 83,
            *[
                "".join(f"{x:13.5f}" for x in r) + "    " + "".join(f"{x:14.6f}" for x in f)
                for r, f in zip(atoms.positions, forces, strict=True)
            ],
            " " + "-" * 83,
            "    total drift:                                0.000000      0.000000      0.000000",
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            f"  free  energy   TOTEN  = {energy:18.8f} eV",
            "",
            f"  energy  without entropy= {energy:18.8f}  energy(sigma->0) = {energy:18.8f}",
        ]
        if dispersion_eV:
            body.insert(-4, f"  Edisp (eV):  {dispersion_eV:12.5f}")
    return "\n".join([*head, *body, " General timing and accounting informations for this job:", ""])


def espresso(
    frames: Sequence[Atoms],
    *,
    unconverged: Sequence[int] = (),
    dispersion: bool = False,
    iprint: bool = False,
    done: bool = True,
    version: str = "7.2",
) -> str:
    """Print the output of pw.x, of one calculation or of a molecular dynamics."""
    first = frames[0]
    alat = float(np.linalg.norm(first.cell[0])) / BOHR
    kinds = list(dict.fromkeys(first.get_chemical_symbols()))
    lines = [
        f"     Program PWSCF v.{version} starts on 22Sep2024 at 18: 5:43 ",
        "     bravais-lattice index     =            0",
        f"     lattice parameter (alat)  =  {alat:12.4f}  a.u.",
        f"     number of atoms/cell      = {len(first):12d}",
        f"     number of atomic types    = {len(kinds):12d}",
        f"     number of electrons       = {11.0 * len(first):12.2f}",
        "     kinetic-energy cutoff     =      60.0000  Ry",
        "     charge density cutoff     =     480.0000  Ry",
        "     Exchange-correlation= PBE",
        "                           (   1   4   3   4   0   0   0)",
        *(["     DFT-D3 Dispersion Correction (no three-body terms):", ""] if dispersion else []),
        f"     celldm(1)= {alat:11.6f}  celldm(2)=   0.000000  celldm(3)=   0.000000",
        "     crystal axes: (cart. coord. in units of alat)",
        *[
            f"               a({n}) = (" + "".join(f"{x / BOHR / alat:13.9f}" for x in row) + " )  "
            for n, row in enumerate(np.array(first.cell), 1)
        ],
        *itertools.chain.from_iterable(
            [
                f"     PseudoPot. # {n} for {kind} read from file:",
                f"     ./{kind}.pbe.UPF",
                f"     MD5 check sum: {n:032x}",
                "",
            ]
            for n, kind in enumerate(kinds, 1)
        ),
        "     atomic species   valence    mass     pseudopotential",
        *[f"        {kind:<2}            11.00    63.00000     {kind:<2}( 1.00)" for kind in kinds],
        "",
        "     site n.     atom                  positions (alat units)",
        *[
            f"{n:10d}           {s:<2}  tau({n:4d}) = (" + "".join(f"{x / BOHR / alat:14.9f}" for x in r) + "  )"
            for n, (s, r) in enumerate(zip(first.get_chemical_symbols(), first.positions, strict=True), 1)
        ],
        "",
        "     number of k points=     2  Gaussian smearing, width (Ry)=  0.0100",
        "                       cart. coord. in units 2pi/alat",
        "        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   1.0000000",
        "        k(    2) = (   0.0000000   0.0000000   0.0000000), wk =   1.0000000",
        "",
    ]
    for number, atoms in enumerate(frames):
        energy, forces, stress = values(atoms)
        if number:
            lines += [
                "ATOMIC_POSITIONS (angstrom)",
                *[
                    f"{s:<3}" + "".join(f"{x:18.10f}" for x in r)
                    for s, r in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
                ],
                "",
            ]
        failed = number in unconverged
        lines += ["     Self-consistent Calculation", ""]
        for k, off in enumerate([0.3, 0.01, 0.0], 1):
            mark = "!    " if iprint or (off == 0.0 and not failed) else "     "
            lines += [
                f"     iteration #{k:3d}     ecut=    60.00 Ry     beta= 0.70",
                f"{mark}total energy              = {energy / RYDBERG + off:16.8f} Ry",
                "     estimated scf accuracy    <       0.00000038 Ry",
            ]
        rydberg = -stress * BOHR**3 / RYDBERG
        lines += [
            "     convergence NOT achieved after 100 iterations: stopping"
            if failed
            else "     convergence has been achieved in   3 iterations",
            "",
            "     Forces acting on atoms (cartesian axes, Ry/au):",
            "",
            *[
                f"     atom {n:4d} type  1   force = " + "".join(f"{x * BOHR / RYDBERG:14.8f}" for x in f)
                for n, f in enumerate(forces, 1)
            ],
            "",
            "     Total force =     0.100000     Total SCF correction =     0.000001",
            "",
            "          total   stress  (Ry/bohr**3)                   (kbar)     P=        0.00",
            *[
                "".join(f"{x:14.8f}" for x in row) + "".join(f"{10 * GPA * -x:13.2f}" for x in kbar)
                for row, kbar in zip(rydberg, stress, strict=True)
            ],
            "",
            "",
        ]
    return "\n".join([*lines, "   JOB DONE.", ""] if done else lines)


def cp2k(
    frames: Sequence[Atoms],
    *,
    unconverged: Sequence[int] = (),
    vdw: Sequence[str] = (),
    new: bool = True,
    method: str = "QS",
) -> str:
    """Print a log of CP2K, of one calculation or of a molecular dynamics, whose positions are in another file."""
    first = frames[0]
    kinds = list(dict.fromkeys(first.get_chemical_symbols()))
    lines = [
        " DBCSR| Multiplication driver                                               XSMM",
        f" CP2K| version string:                                          CP2K version {'2024.1' if new else '7.1'}",
        " GLOBAL| Global print level                                               MEDIUM",
        *[
            f" CELL| Vector {name} [angstrom]:" + "".join(f"{x:14.8f}" for x in row) + f"   |{name}| = {1.0:12.6f}"
            for name, row in zip("abc", np.array(first.cell), strict=True)
        ],
        " DFT| Spin restricted Kohn-Sham (RKS) calculation                            RKS",
        " DFT| Charge                                                                   0",
        " FUNCTIONAL| PBE:",
        " FUNCTIONAL| J.P.Perdew, K.Burke, M.Ernzerhof, Phys. Rev. Letter, vol. 77, n 18,",
        *[f" vdW POTENTIAL|          {line}" for line in vdw],
        " QS| Density cutoff [a.u.]:                                                200.0",
        *itertools.chain.from_iterable(
            [
                f"  {n}. Atomic kind: {kind}                                    Number of atoms:       1",
                "     Orbital Basis Set                                        DZVP-MOLOPT-SR-GTH",
                "     GTH Potential information for                                   GTH-PBE-q11",
            ]
            for n, kind in enumerate(kinds, 1)
        ),
        "",
        " MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM",
        "",
        "   Atom Kind Element         X             Y             Z       Z(eff)     Mass",
        *[
            f"{n:7d}{kinds.index(s) + 1:5d} {s:<2}{z:5d}" + "".join(f"{x:14.8f}" for x in r) + "   11.0000  63.5000"
            for n, (s, z, r) in enumerate(
                zip(first.get_chemical_symbols(), first.numbers, first.positions, strict=True), 1
            )
        ],
        "",
    ]
    for number, atoms in enumerate(frames):
        energy, forces, stress = values(atoms)
        words = (
            " *** SCF run NOT converged ***" if number in unconverged else "  *** SCF run converged in     9 steps ***"
        )
        hartree, unit = energy / HARTREE, "[hartree]" if new else "(a.u.):"
        lines += [
            " SCF WAVEFUNCTION OPTIMIZATION", "", words, "",
            f" ENERGY| Total FORCE_EVAL ( {method} ) energy {unit}        {hartree:25.15f}", "",
        ]  # fmt: skip
        atomic = forces * BOHR / HARTREE
        if new:
            lines += [
                " FORCES| Atomic forces [hartree/bohr]", " FORCES|   Atom     x        y        z        |f|",
                *[f" FORCES|{n:7d}" + "".join(f"{x:17.8E}" for x in [*f, 0.1]) for n, f in enumerate(atomic, 1)],
                " FORCES| Sum       0.00000000E+00   0.00000000E+00   0.00000000E+00   0.00000000E+00", "",
                " STRESS| Analytical stress tensor [bar]",
                " STRESS|                        x                   y                   z",
                *[
                    f" STRESS|      {name}" + "".join(f"{-x * GPA * 1.0e4:20.10E}" for x in row)
                    for name, row in zip("xyz", stress, strict=True)
                ],
                " STRESS| 1/3 Trace                                              0.0E+00", "",
            ]  # fmt: skip
        else:
            lines += [
                " ATOMIC FORCES in [a.u.]", "", " # Atom   Kind   Element          X              Y              Z",
                *[
                    f"{n:7d}{1:7d}      {s:<2}" + "".join(f"{x:15.8f}" for x in f)
                    for n, (s, f) in enumerate(zip(atoms.get_chemical_symbols(), atomic, strict=True), 1)
                ],
                " SUM OF ATOMIC FORCES           0.00000000     0.00000000     0.00000000     0.00000000", "",
                " STRESS TENSOR [GPa]", "", "            X               Y               Z",
                *[
                    f"  {name}" + "".join(f"{-x * GPA:16.8f}" for x in row)
                    for name, row in zip("XYZ", stress, strict=True)
                ],
                "",
            ]  # fmt: skip
    return "\n".join([*lines, "  **** **** ******  **  PROGRAM ENDED AT                 2024-01-15 10:30:05.000", ""])


def cp2k_positions(frames: Sequence[Atoms]) -> str:
    """Print PROJECT-pos-1.xyz of a molecular dynamics of CP2K."""
    text = ""
    for number, atoms in enumerate(frames):
        energy = atoms.get_potential_energy() / HARTREE
        text += f"{len(atoms):8d}\n i = {number:8d}, time = {number:12.3f}, E = {energy:20.10f}\n"
        for symbol, position in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True):
            text += f" {symbol:>3}" + "".join(f"{x:20.10f}" for x in position) + "\n"
    return text


def deepmd(folder: Path, frames: Sequence[Atoms], *, energy=1.0, force=1.0, virial=1.0, mixed: bool = False) -> Path:
    """Write a DeePMD system; the factors make slips of units."""
    kinds = list(dict.fromkeys(frames[0].get_chemical_symbols()))
    place = folder / "set.000"
    place.mkdir(parents=True)
    types = [kinds.index(symbol) for symbol in frames[0].get_chemical_symbols()]
    (folder / "type.raw").write_text("\n".join("0" if mixed else str(kind) for kind in types) + "\n")
    (folder / "type_map.raw").write_text("\n".join(kinds) + "\n")
    n = len(frames)
    made = [values(atoms) for atoms in frames]
    volumes = np.array([atoms.get_volume() for atoms in frames])
    np.save(place / "coord.npy", np.array([atoms.positions for atoms in frames]).reshape(n, -1))
    np.save(place / "box.npy", np.array([np.array(atoms.cell) for atoms in frames]).reshape(n, 9))
    np.save(place / "energy.npy", energy * np.array([each[0] for each in made]))
    np.save(place / "force.npy", force * np.array([each[1] for each in made]).reshape(n, -1))
    stress = np.array([each[2] for each in made]).reshape(n, 9)
    np.save(place / "virial.npy", -virial * stress * volumes[:, None])
    if mixed:
        np.save(place / "real_atom_types.npy", np.array([types] * n))
    return folder / "type.raw"
