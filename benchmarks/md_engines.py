"""What a step of molecular dynamics costs beside the potential: ours, plain ASE, and ours on LAMMPS.

    python benchmarks/md_engines.py [--repeat 2] [--steps 500] [--rounds 5]

The potential costs nothing (free particles), so the time is that of everything else. "Ours" has all monitors, a frame
each 10 steps and everything that a segment records; "plain ASE" is the same integrator of ASE with the calculator that
a potential gives, and records nothing. CPU time of one thread, median of the rounds. The column of LAMMPS needs the
engine lammps and runs in its environment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import ase
import numpy as np
from ase import units
from ase.md import nose_hoover_chain as nhc

from superionic.dynamics.conformance import ENSEMBLES
from superionic.dynamics.md import Limits, MDSettings, initial_state, run_segment
from superionic.errors import EngineError
from superionic.potentials.base import BasePotential, Prediction, describe_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.units import ev_per_A3

_WIDE = Limits(temperature_factor=1e9, volume_change=1e9)


class Free(BasePotential):
    """No forces at all, at hardly any cost."""

    def __init__(self) -> None:
        super().__init__(describe_potential("pair"))

    def evaluate(self, atoms, *, stress=True):
        """Give zeros."""
        return Prediction(0.0, np.zeros((len(atoms), 3)), np.zeros(6) if stress else None)


def start(name: str, repeat: int, engine: str):
    """Give settings and state; free particles at 1 K stay apart."""
    settings = MDSettings(temperature_K=1.0, engine=engine, **ENSEMBLES[name])
    atoms = li3ycl6_cell().repeat(repeat)
    if engine == "lammps" and name in ("npt axes", "npt berendsen"):
        atoms.set_cell(np.diag(np.linalg.norm(atoms.cell.array, axis=1)), scale_atoms=True)  # LAMMPS wants right angles
    return settings, initial_state(atoms, settings, seed=1)


def ours(name: str, repeat: int, steps: int, engine: str) -> float:
    """CPU milliseconds a step."""
    settings, state = start(name, repeat, engine)
    run_segment(state, Free(), settings, 2, limits=_WIDE)
    began = time.process_time()
    run_segment(state, Free(), settings, steps, limits=_WIDE)
    return (time.process_time() - began) / steps * 1e3


def ase_integrator(name: str, atoms, settings: MDSettings):
    """Give ASE's own integrator of an ensemble, on ``atoms``, with the parameters of the settings."""
    from ase.md.bussi import Bussi
    from ase.md.langevin import Langevin
    from ase.md.nptberendsen import NPTBerendsen
    from ase.md.nvtberendsen import NVTBerendsen
    from ase.md.verlet import VelocityVerlet

    dt, warm = settings.timestep_fs * units.fs, {"temperature_K": settings.temperature_K}
    tau, piston = settings.thermostat_time_fs * units.fs, settings.barostat_time_fs * units.fs
    pressure, rng = ev_per_A3(settings.pressure_GPa), np.random.default_rng(0)
    mtk = {**warm, "pressure_au": pressure, "tdamp": tau, "pdamp": piston}
    soft = settings.compressibility_per_GPa / ev_per_A3(1.0)
    return {
        "nve": lambda: VelocityVerlet(atoms, dt),
        "nose-hoover-chain": lambda: nhc.NoseHooverChainNVT(atoms, dt, **warm, tdamp=tau),
        "csvr": lambda: Bussi(atoms, dt, **warm, taut=tau, rng=rng),
        "langevin": lambda: Langevin(atoms, dt, **warm, friction=1 / tau, rng=rng, fixcm=False),
        "berendsen": lambda: NVTBerendsen(atoms, dt, **warm, taut=tau),
        "npt isotropic": lambda: nhc.IsotropicMTKNPT(atoms, dt, **mtk),
        "npt axes": lambda: nhc.MaskedMTKNPT(atoms, dt, **mtk, mask=np.array([True, True, True])),
        "npt anisotropic": lambda: nhc.MTKNPT(atoms, dt, **mtk),
        "npt berendsen": lambda: NPTBerendsen(
            atoms, dt, **warm, pressure_au=pressure, taut=tau, taup=piston, compressibility_au=soft
        ),
    }[name]()


def plain(name: str, repeat: int, steps: int) -> float:
    """CPU milliseconds a step of ASE alone."""
    settings, state = start(name, repeat, "ase")
    atoms = state.to_atoms()
    atoms.calc = Free().calculator(stress=settings.needs_stress)
    integrator = ase_integrator(name, atoms, settings)
    began = time.process_time()
    for _ in range(steps):
        integrator.step()
    return (time.process_time() - began) / steps * 1e3


def measured(measure, rounds: int) -> float:
    """Median of the rounds."""
    return statistics.median(measure() for _ in range(rounds))


def lammps_column(args: argparse.Namespace) -> dict[str, float]:
    """Run this script in LAMMPS' environment."""
    from pathlib import Path

    from superionic.execution.engines import resolve_engine
    from superionic.execution.home import worker_environment

    try:
        python = resolve_engine("lammps").python
    except EngineError as error:
        print(f"no column of LAMMPS: {error.message}", file=sys.stderr)
        return {}
    environment = worker_environment() | {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    options = [f"--repeat={args.repeat}", f"--steps={args.steps}", f"--rounds={args.rounds}", "--lammps-only"]
    done = subprocess.run(
        [python, __file__, *options], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    column: dict[str, float] = json.loads(done.stdout)
    return column


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=2, help="repetition of the 30-atom cell along each axis")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lammps-only", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.lammps_only:
        names = {n: measured(lambda n=n: ours(n, args.repeat, args.steps, "lammps"), args.rounds) for n in ENSEMBLES}
        print(json.dumps(names))
        return
    lammps = lammps_column(args)
    print(
        f"{30 * args.repeat**3} atoms, {args.steps} steps, median of {args.rounds}; CPU ms a step; "
        f"ASE {ase.__version__}"
    )
    print("| ensemble | ours | plain ASE | plain / ours | ours on LAMMPS |")
    print("|---|---:|---:|---:|---:|")
    for name in ENSEMBLES:
        here = measured(lambda n=name: ours(n, args.repeat, args.steps, "ase"), args.rounds)
        there = measured(lambda n=name: plain(n, args.repeat, args.steps), args.rounds)
        other = f"{lammps[name]:.2f}" if name in lammps else "–"
        print(f"| {name} | {here:.2f} | {there:.2f} | {there / here:.1f} | {other} |")


if __name__ == "__main__":
    main()
