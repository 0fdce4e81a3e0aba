"""Integrators of superionic, of ASE and of LAMMPS on one crystal: what they conserve, what they sample, what they cost.

    python benchmarks/integrators.py [--repeat 1] [--steps 4000] [--seeds 2] [--cost-steps 300]

Rock-salt NaCl with the pair potential at 300 K (NPT: 1 GPa, thermostat 50 fs, barostat 200 fs, steps of 2 fs), from
the same states. The first fifth of each run is left out. Columns: slope and spread of the conserved quantity (meV an
atom and ps, meV an atom; ASE states none for Langevin and Berendsen, and none with CSVR but what it has put in); mean
and variance of 2K in units of the canonical ones, g kT and 2 g (kT)² with g = 3n - 3, with the error of the mean; mean
and variance of the volume; and CPU microseconds a step beside the potential, for 240 free particles (LAMMPS: with all
that a segment records). ASE counts 3n degrees of freedom, and nine of a cell that cannot turn.

The rows of LAMMPS need the engine lammps and run in its environment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.build import bulk
from md_engines import Free, ase_integrator, ours, plain, start

from superionic.dynamics.conformance import ENSEMBLES
from superionic.dynamics.ensembles import integrator_of
from superionic.dynamics.integrators import State
from superionic.dynamics.md import Limits, MDSettings, initial_state, run_segment
from superionic.errors import EngineError
from superionic.potentials.base import load_potential
from superionic.units import BOLTZMANN_EV_PER_K

_MD = {
    "temperature_K": 300.0,
    "pressure_GPa": 1.0,
    "timestep_fs": 2.0,
    "thermostat_time_fs": 50.0,
    "barostat_time_fs": 200.0,
    "save_every": 2,
}


def settings_of(name: str, engine: str = "ase") -> MDSettings:
    """Give the settings of a row."""
    return MDSettings(**{**_MD, **ENSEMBLES[name], "engine": engine})


def crystal(repeat: int):
    """Give rock salt."""
    return bulk("NaCl", "rocksalt", a=5.5, cubic=True).repeat(repeat)


def by_superionic(name: str, args: argparse.Namespace, seed: int, engine: str = "ase") -> dict[str, Any]:
    """Run with superionic, by its own integrators or LAMMPS."""
    settings = settings_of(name, engine)
    state = initial_state(crystal(args.repeat), settings, seed)
    potential = load_potential("pair", cutoff_A=5.0)
    segment = run_segment(state, potential, settings, args.steps, limits=Limits(conserved_eV_per_atom=None))
    return {
        "kinetic": segment.kinetic_energies_eV.tolist(),
        "volume": np.abs(np.linalg.det(segment.cells_A)).tolist(),
        "conserved": None if segment.conserved_eV is None else segment.conserved_eV.tolist(),
    }


def by_ase(name: str, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run with ASE's own integrator, as a script would set it up."""
    settings = settings_of(name)
    atoms = initial_state(crystal(args.repeat), settings, seed).to_atoms()
    atoms.calc = load_potential("pair", cutoff_A=5.0).calculator(stress=settings.needs_stress)
    integrator = ase_integrator(name, atoms, settings)
    kinetic, volume, conserved = [], [], []
    for step in range(args.steps + 1):
        if step % settings.save_every == 0:
            kinetic.append(float(atoms.get_kinetic_energy()))
            volume.append(float(atoms.get_volume()))
            if hasattr(integrator, "get_conserved_energy"):
                conserved.append(float(integrator.get_conserved_energy()))
            elif name in ("nve", "csvr"):
                put_in = integrator.transferred_energy if name == "csvr" else 0.0
                conserved.append(float(atoms.get_total_energy()) - put_in)
        integrator.step()
    return {"kinetic": kinetic, "volume": volume, "conserved": conserved or None}


def columns(name: str, runs: list[dict[str, Any]], n_atoms: int) -> list[str]:
    """Give the cells of a row out of its runs."""
    settings, dof = settings_of(name), 3 * n_atoms - 3
    kT = BOLTZMANN_EV_PER_K * settings.temperature_K
    skip = len(runs[0]["kinetic"]) // 5
    interval_ps = settings.frame_interval_ps
    slope = spread = "–"
    if runs[0]["conserved"] is not None:
        lines = [np.array(run["conserved"][skip:]) * 1e3 / n_atoms for run in runs]
        times = np.arange(len(lines[0])) * interval_ps
        slope = f"{np.mean([np.polyfit(times, line, 1)[0] for line in lines]):+.3f}"
        spread = f"{np.mean([line.std() for line in lines]):.3f}"
    kinetic = np.array([run["kinetic"][skip:] for run in runs]) * 2.0 / (dof * kT)
    blocks = np.concatenate([[block.mean() for block in np.array_split(run, 10)] for run in kinetic])
    error = blocks.std(ddof=1) / np.sqrt(len(blocks))
    heat = f"{kinetic.mean():.4f} ± {error:.4f} | {kinetic.var() * dof / 2.0:.2f}"
    volume = np.array([run["volume"][skip:] for run in runs])
    size = f"{volume.mean():.2f} | {volume.var():.2f}" if settings.ensemble == "npt" else "– | –"
    return [slope, spread, heat, size]


def cost_of_ours(name: str, steps: int) -> float:
    """CPU microseconds of a step of one of our integrators alone, 240 free particles."""
    settings, state = start(name, 2, "ase")
    integrator = integrator_of(settings, state.masses_amu)
    prediction = Free().evaluate(state.to_atoms())
    now = integrator.begin(State(state.positions_A, state.momenta, state.cell_A, 0, np.random.PCG64(0).state))
    began = time.process_time()
    for _ in range(steps):
        now = integrator.step(now, lambda *_: prediction, 1.0)
    return (time.process_time() - began) / steps * 1e6


def cheapest(measure: Callable[[], float]) -> float:
    """Median of three."""
    return statistics.median(measure() for _ in range(3))


def rows_of_lammps(args: argparse.Namespace) -> dict[str, Any]:
    """Run this script in LAMMPS' environment."""
    from superionic.execution.engines import resolve_engine, worker_environment

    try:
        python = resolve_engine("lammps").python
    except EngineError as error:
        print(f"no rows of LAMMPS: {error.message}", file=sys.stderr)
        return {}
    environment = worker_environment() | {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    options = [
        f"--{name.replace('_', '-')}={getattr(args, name)}" for name in ("repeat", "steps", "seeds", "cost_steps")
    ]
    done = subprocess.run(
        [python, __file__, *options, "--lammps-only"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    rows: dict[str, Any] = json.loads(done.stdout)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=1, help="repetition of the 8-atom cell along each axis")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cost-steps", type=int, default=300)
    parser.add_argument("--lammps-only", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    n_atoms, seeds = 8 * args.repeat**3, range(args.seeds)
    if args.lammps_only:
        rows = {
            name: {
                "runs": [by_superionic(name, args, seed, "lammps") for seed in seeds],
                "cost_us": cheapest(lambda name=name: 1e3 * ours(name, 2, args.cost_steps, "lammps")),
            }
            for name in ENSEMBLES
        }
        print(json.dumps(rows))
        return
    lammps = rows_of_lammps(args)
    print(
        f"NaCl, {n_atoms} ions, {args.steps} steps of {_MD['timestep_fs']} fs, {args.seeds} runs; ASE {ase.__version__}"
    )
    print()
    print("| ensemble | integrator | drift | spread | 2K / g kT | var | V, Å³ | var V, Å⁶ | µs a step |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in ENSEMBLES:
        rows = {
            "superionic": (
                [by_superionic(name, args, seed) for seed in seeds],
                cheapest(lambda name=name: cost_of_ours(name, args.cost_steps)),
            ),
            "ASE": (
                [by_ase(name, args, seed) for seed in seeds],
                cheapest(lambda name=name: 1e3 * plain(name, 2, args.cost_steps)),
            ),
        }
        if name in lammps:
            rows["LAMMPS"] = lammps[name]["runs"], lammps[name]["cost_us"]
        for who, (runs, cost) in rows.items():
            cells = " | ".join(columns(name, runs, n_atoms))
            print(f"| {name} | {who} | {cells} | {cost:.0f} |", flush=True)


if __name__ == "__main__":
    main()
