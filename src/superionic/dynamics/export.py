"""Export of transport runs as input of LAMMPS and GPUMD, for machines where these programs run natively.

The protocol is that of the stage *transport*: linear heating and NVT at the first cell, NPT, average of its cell, NVT
in that cell. LAMMPS does all of it in one input. GPUMD cannot average a cell, so it gets one folder for the part up to
NPT and one for the rest; the how-to describes the step between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from superionic.dynamics.lammps.library import Frame
from superionic.errors import PotentialError
from superionic.registry import find, resolve
from superionic.units import BAR_PER_GPA


def elements_of(atoms: Atoms) -> list[str]:
    """Return symbols in order of atomic number: the types 1, 2, … of LAMMPS, unless the potential has its own order."""
    return [chemical_symbols[number] for number in np.unique(atoms.numbers)]


def lammps_data(atoms: Atoms, title: str, elements: Sequence[str]) -> str:
    """Return a LAMMPS data file (atom style atomic) in LAMMPS' own orientation, the atoms in their order.

    Parameters
    ----------
    title
        First line.
    elements
        Symbols of the types, in order: all elements of ``atoms``, and any others of the potential.
    """
    frame = Frame.of(atoms.cell.array)
    cell = frame.cell(atoms.cell.array)
    positions = frame.theirs(atoms.get_positions())
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell.tolist()
    lines = [
        f"# {title}",
        "",
        f"{len(atoms)} atoms",
        f"{len(elements)} atom types",
        f"0.0 {lx!r} xlo xhi",
        f"0.0 {ly!r} ylo yhi",
        f"0.0 {lz!r} zlo zhi",
        f"{xy!r} {xz!r} {yz!r} xy xz yz",
        "",
        "Masses",
        "",
        *(f"{kind} {float(atomic_masses[atomic_numbers[e]])!r}  # {e}" for kind, e in enumerate(elements, start=1)),
        "",
        "Atoms  # atomic",
        "",
    ]
    kinds = {element: kind for kind, element in enumerate(elements, start=1)}
    for number, (symbol, (x, y, z)) in enumerate(
        zip(atoms.get_chemical_symbols(), positions.tolist(), strict=True), start=1
    ):
        lines.append(f"{number} {kinds[symbol]} {x!r} {y!r} {z!r}")
    return "\n".join(lines) + "\n"


def lammps_potential(name: str, elements: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the lines of an input that select a potential.

    Parameters
    ----------
    elements
        Symbols of the types, in order.
    options
        Options of the potential; used for the pair potential only.

    Raises
    ------
    PotentialError
        If no pair style is known for it.
    """
    model = find(name)
    if model is not None and model.lammps is not None:
        return list(resolve(model.lammps)(elements, options))
    raise PotentialError(
        f"There is no LAMMPS pair style for the potential {name}.",
        fix="Distil a student from it (stage distil) and export the student.",
    )


def lammps_input(
    settings: Mapping[str, Any],
    lengths: Mapping[str, float],
    temperature_K: float,
    seed: int,
    data_file: str,
    potential: Sequence[str],
) -> str:
    """Return the input of one run.

    Parameters
    ----------
    settings
        The ``transport`` section.
    lengths
        ``nvt_equilibration_ps`` and ``production_ps`` at this temperature.
    seed
        Seed of the velocities and of a stochastic thermostat, above zero.
    data_file
        Name of the data file.
    potential
        Lines of :func:`lammps_potential`.
    """
    step = float(settings["timestep_fs"])

    def steps(length_ps: float) -> int:
        return round(length_ps * 1000.0 / step)

    every = max(1, round(settings["save_every_fs"] / step))
    heating, waiting, npt_steps = (steps(settings[key]) for key in ("heating_ps", "nvt_before_npt_ps", "npt_ps"))
    target = f"{temperature_K!r}"
    start = settings["heating_from_K"] if heating else temperature_K
    lines = [
        f"# {temperature_K:g} K, written by superionic; the protocol of its stage transport",
        "units metal",
        "atom_style atomic",
        "boundary p p p",
        "box tilt large",
        f"read_data {data_file}",
        *potential,
        "neighbor 1.0 bin",
        "neigh_modify every 1 delay 0 check yes",
        f"timestep {step * 1e-3!r}",
        f"velocity all create {start!r} {seed} mom yes rot no dist gaussian",
        "velocity all zero linear",
        "thermo 1000",
        "thermo_style custom step temp pe etotal press vol lx ly lz xy xz yz",
    ]

    def nvt(first: str, last: str, number: int) -> list[str]:
        tau = f"{settings['thermostat_time_fs'] * 1e-3!r}"
        return {
            "nose-hoover-chain": [f"fix md all nvt temp {first} {last} {tau} tchain 3"],
            "csvr": ["fix md all nve", f"fix bath all temp/csvr {first} {last} {tau} {seed + number}"],
            # "zero no" and a fix that removes the drift: "zero yes" is too hot where masses differ.
            "langevin": [
                "fix md all nve",
                f"fix bath all langevin {first} {last} {tau} {seed + number}",
                "fix still all momentum 1 linear 1 1 1",
            ],
            "berendsen": ["fix md all nve", f"fix bath all temp/berendsen {first} {last} {tau}"],
        }[settings["thermostat"]]

    unfix = {"csvr": ["unfix bath"], "langevin": ["unfix bath", "unfix still"], "berendsen": ["unfix bath"]}
    unfix_all = ["unfix md", *unfix.get(settings["thermostat"], [])]
    if heating:
        lines += ["", "# heating", *nvt(f"{start!r}", target, 1), f"run {heating}", *unfix_all]
    if waiting:
        lines += ["", "# NVT before NPT", *nvt(target, target, 2), f"run {waiting}", *unfix_all]
    if npt_steps:
        lines += _npt(settings, target, npt_steps)
    lines += ["", "# NVT in the average cell", *nvt(target, target, 3)]
    if lengths["nvt_equilibration_ps"]:
        lines.append(f"run {steps(lengths['nvt_equilibration_ps'])}")
    lines += [
        "reset_timestep 0",
        f"dump frames all custom {every} frames.lammpstrj id type xu yu zu",
        "dump_modify frames sort id format float %.8f",
        "restart 1000000 restart.1 restart.2",
        f"run {steps(lengths['production_ps'])}",
        "write_data end.data",
    ]
    return "\n".join(lines) + "\n"


def _npt(settings: Mapping[str, Any], target: str, n_steps: int) -> list[str]:
    tau, pressure = f"{settings['thermostat_time_fs'] * 1e-3!r}", f"{settings['pressure_GPa'] * BAR_PER_GPA!r}"
    coupling = {"isotropic": "iso", "axes": "aniso", "anisotropic": "tri"}[settings["cell_motion"]]
    taup = f"{settings['barostat_time_fs'] * 1e-3!r}"
    ten = 10
    discarded = round(settings["npt_discard_fraction"] * n_steps / ten) * ten
    samples = max(1, (n_steps - discarded) // ten)
    names = ("lx", "ly", "lz", "xy", "xz", "yz")
    lines = ["", "# NPT, and the average of its cell"]
    if settings["barostat"] == "berendsen":
        # LAMMPS has Berendsen's barostat for rectangular cells only.
        lines.append(
            "# the campaign asks for Berendsen's barostat; this is the Nosé-Hoover one, which has the same mean"
        )
    lines.append(
        f"fix md all npt temp {target} {target} {tau} {coupling} {pressure} {pressure} {taup} tchain 3 pchain 3"
        + (" flip no" if coupling == "tri" else "")
    )
    if discarded:
        lines.append(f"run {discarded}")
    sides = " ".join(f"{axis} final 0.0 ${{l{axis}}}" for axis in "xyz")
    tilts = " ".join(f"{name} final ${{{name}}}" for name in ("xy", "xz", "yz"))
    lines += [
        "reset_timestep 0",
        *(f"variable now_{name} equal {name}" for name in names),
        f"fix cell all ave/time {ten} {samples} {ten * samples} {' '.join(f'v_now_{name}' for name in names)}",
        f"run {ten * samples}",
        *(f"variable {name} equal $(f_cell[{index}]:%.15g)" for index, name in enumerate(names, start=1)),
        "unfix cell",
        "unfix md",
        f"change_box all {sides} {tilts} remap units box",
    ]
    return lines


def gpumd_model(atoms: Atoms) -> str:
    """Return GPUMD's ``model.xyz``."""
    lattice = " ".join(f"{value!r}" for value in np.asarray(atoms.cell.array).ravel().tolist())
    head = f'pbc="T T T" Lattice="{lattice}" Properties=species:S:1:pos:R:3'
    rows = [
        f"{symbol} {x!r} {y!r} {z!r}"
        for symbol, (x, y, z) in zip(atoms.get_chemical_symbols(), atoms.get_positions(wrap=True).tolist(), strict=True)
    ]
    return "\n".join([str(len(atoms)), head, *rows]) + "\n"


def gpumd_inputs(
    settings: Mapping[str, Any], lengths: Mapping[str, float], temperature_K: float, seed: int
) -> dict[str, str]:
    """Return GPUMD's ``run.in`` by folder: ``1-npt`` (heating, NVT, NPT) and ``2-production``.

    The first is left out where the campaign has no NPT. The lines are those of GPUMD 3.9.5 to 4, whose ``dump_xyz``
    takes grouping method (-1: all atoms), group, interval and file.
    """
    step = settings["timestep_fs"]
    tau = max(1, round(settings["thermostat_time_fs"] / step))
    taup = max(200, round(settings["barostat_time_fs"] / step))
    every = max(1, round(settings["save_every_fs"] / step))
    ensembles = {"nose-hoover-chain": "nvt_nhc", "csvr": "nvt_bdp", "langevin": "nvt_lan", "berendsen": "nvt_ber"}
    nvt = ensembles[settings["thermostat"]]
    target = f"{temperature_K:g}"

    def phase(ensemble: str, length_ps: float, *dumps: str) -> list[str]:
        n_steps = round(length_ps * 1000.0 / step)
        return [f"ensemble {ensemble}", *dumps, f"run {n_steps}", ""] if n_steps else []

    def head(start_K: float) -> list[str]:
        return ["potential nep.txt", f"velocity {start_K:g} seed {seed}", f"time_step {step:g}", ""]

    heating = settings["heating_ps"] > 0
    start = settings["heating_from_K"] if heating else temperature_K
    before = [
        *phase(f"{nvt} {start:g} {target} {tau}", settings["heating_ps"]),
        *phase(f"{nvt} {target} {target} {tau}", settings["nvt_before_npt_ps"]),
    ]
    direction = {"isotropic": "iso", "axes": "aniso", "anisotropic": "tri"}[settings["cell_motion"]]
    pressure = f"{settings['pressure_GPa']:g}"
    barostat = f"npt_mttk temp {target} {target} {direction} {pressure} {pressure} tperiod {tau} pperiod {taup}"
    equilibration = phase(f"{nvt} {target} {target} {tau}", lengths["nvt_equilibration_ps"])
    production = phase(
        f"{nvt} {target} {target} {tau}",
        lengths["production_ps"],
        "dump_thermo 100",
        f"dump_xyz -1 0 {every} frames.xyz unwrapped_position",
    )
    files = {}
    if settings["npt_ps"] > 0:
        npt = phase(barostat, settings["npt_ps"], "dump_thermo 10", f"dump_xyz -1 0 {every} cells.xyz")
        files["1-npt"] = "\n".join([*head(start), *before, *npt])
        before = []
        start = temperature_K
    files["2-production"] = "\n".join([*head(start), *before, *equilibration, *production])
    return files
