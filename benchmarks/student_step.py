"""What a step of a student costs, next to calorine on the same potential and positions, in one run.

    PYTHONPATH=src python benchmarks/student_step.py --calorine PYTHON_WITH_CALORINE

The potential has the form that training gives by default, with random coefficients (``--weights`` takes trained ones).
Atoms move as they do at 600 K between collisions, 2 fs a step, with new velocities every 40 fs, so that neighbour lists
are made as often as in a run. Times are CPU times of one thread; calorine's CPUNEP is the NEP_CPU of GPUMD's authors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.data import atomic_masses
from ase.io import write

from superionic.dynamics.ensembles import build_stepper
from superionic.dynamics.evaluation import Evaluation
from superionic.dynamics.md import MDSettings, initial_state
from superionic.models.nep.model import NepModel
from superionic.models.nep.potential import NepPotential
from superionic.models.nep.state import NepOptions
from superionic.potentials.base import Prediction, load_potential
from superionic.potentials.reference import li3ycl6_cell

FloatArray = npt.NDArray[np.float64]

COPIES = {60: (1, 1, 2), 240: (2, 2, 2), 1920: (4, 4, 4)}
TEMPERATURE_K, TIMESTEP_FS, STEPS_PER_VELOCITY = 600.0, 2.0, 20

CALORINE = """
import json, sys, time
import numpy as np
from ase.io import read
from calorine.calculators import CPUNEP
atoms, frames = read(sys.argv[1]), np.load(sys.argv[2])
atoms.calc = CPUNEP(sys.argv[3])
atoms.positions = frames[0]
energy, began = atoms.get_potential_energy(), time.process_time()
for frame in frames:
    atoms.positions = frame
    atoms.get_forces()
print(json.dumps({"seconds": time.process_time() - began, "energy_eV": energy}))
"""


def random_model() -> NepModel:
    """Return a potential of the default form for Li, Y and Cl."""
    rng, form, t = np.random.default_rng(3), NepOptions(), 3
    dim = form.n_radial + form.n_angular * (form.l_max + form.four_body + form.five_body)
    return NepModel(
        numbers=[3, 17, 39],
        shape=[
            form.n_radial, form.basis_radial, form.n_angular, form.basis_angular, form.l_max,
            int(form.four_body), int(form.five_body),
        ],
        cutoffs_A=[form.cutoff_radial_A, form.cutoff_angular_A],
        c_radial=rng.normal(size=(t, t, form.n_radial, form.basis_radial)),
        c_angular=rng.normal(size=(t, t, form.n_angular, form.basis_angular)),
        w0=0.3 * rng.normal(size=(t, form.n_neurons, dim)),
        b0=rng.normal(size=(t, form.n_neurons)),
        w1=0.2 * rng.normal(size=(t, form.n_neurons)),
        bias_eV=rng.normal(size=t),
        scale=rng.uniform(0.02, 0.1, size=dim),
        zbl_inner_A=np.full((t, t), 0.9),
        zbl_outer_A=np.full((t, t), 1.8),
        active_inverse=np.zeros(0),
    )  # fmt: skip


def moving(atoms: Atoms, n_steps: int) -> Iterator[FloatArray]:
    """Yield positions step by step."""
    rng = np.random.default_rng(0)
    spread = np.sqrt(units.kB * TEMPERATURE_K / atomic_masses[atoms.numbers])[:, None]
    start = atoms.positions + 0.1 * rng.normal(size=atoms.positions.shape)
    velocities = np.zeros_like(start)
    for step in range(n_steps):
        if step % STEPS_PER_VELOCITY == 0:
            velocities = spread * rng.normal(size=start.shape)
            if step // STEPS_PER_VELOCITY % 2:  # back to where the sites are, about
                velocities = (atoms.positions - start) / (STEPS_PER_VELOCITY * TIMESTEP_FS * units.fs)
        start = start + velocities * TIMESTEP_FS * units.fs
        yield start


class Costless:
    """A potential that answers at once, for the cost of all that is beside the forces."""

    def __init__(self, n_atoms: int) -> None:
        self._answer = Prediction(0.0, np.zeros((n_atoms, 3)), np.zeros(6))

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return no forces."""
        del atoms, stress
        return self._answer


def beside(atoms: Atoms, settings: MDSettings, n_steps: int) -> float:
    """CPU seconds of a step without its forces."""
    state = initial_state(atoms, settings, 1)
    running = state.to_atoms()
    running.calc = Evaluation(Costless(len(atoms)), stress=settings.needs_stress)
    stepper = build_stepper(running, state, settings)
    stepper.set_temperature(TEMPERATURE_K)
    began = time.process_time()
    for _ in range(n_steps):
        stepper.step()
    return (time.process_time() - began) / n_steps


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="arrays of a trained student (.npz)")
    parser.add_argument("--atoms", type=int, nargs="*", default=[*COPIES], choices=[*COPIES])
    parser.add_argument("--steps", type=int, default=40, help="evaluations of 1920 atoms; more of smaller cells")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which the median counts")
    parser.add_argument("--calorine", metavar="PYTHON", help="a Python with calorine")
    options = parser.parse_args()
    model = NepModel.from_arrays(dict(np.load(options.weights))) if options.weights else random_model()
    student = load_potential("nep", weights=model.to_arrays())
    assert isinstance(student, NepPotential)
    print("µs/atom/step  forces with lists   beside: CSVR     MTK   NVT in all   steps a list   calorine's forces")
    for n_atoms in options.atoms:
        atoms = li3ycl6_cell().repeat(COPIES[n_atoms])
        n_steps = options.steps * min(1920 // n_atoms, 10)
        frames = np.array(list(moving(atoms, n_steps)))
        student.evaluate(atoms)
        ours: list[float] = []
        theirs: list[float] = []
        lists = 0
        for _ in range(options.rounds):
            built, began = student._list.n_built, time.process_time()
            for positions in frames:
                atoms.positions = positions
                student.evaluate(atoms, stress=False)
            ours.append(1e6 * (time.process_time() - began) / n_steps / n_atoms)
            lists = student._list.n_built - built
            if options.calorine:
                theirs.append(1e6 * in_calorine(options.calorine, student, atoms, frames) / n_steps / n_atoms)
        nvt = MDSettings(ensemble="nvt", thermostat="csvr", temperature_K=TEMPERATURE_K, timestep_fs=TIMESTEP_FS)
        npt_ = MDSettings(ensemble="npt", temperature_K=TEMPERATURE_K, timestep_fs=TIMESTEP_FS)
        csvr, mtk = (1e6 * beside(atoms, settings, 300) / n_atoms for settings in (nvt, npt_))
        cost = float(np.median(ours))
        peer = ""
        if theirs:
            ratio = float(np.median(np.array(theirs) / np.array(ours)))
            peer = f"{np.median(theirs):14.1f} ({ratio:.1f} ×)"
        print(
            f"{n_atoms:7d} atoms {cost:18.2f} {csvr:16.2f} {mtk:7.2f} {cost + csvr:12.2f} "
            f"{n_steps / max(1, lists):14.1f} {peer}",
            flush=True,
        )


def in_calorine(python: str, student: NepPotential, atoms: Atoms, frames: FloatArray) -> float:
    """CPU seconds of the same forces by calorine, after it has given the same energy."""
    with tempfile.TemporaryDirectory() as folder:
        cell, moves, model = (Path(folder) / name for name in ("cell.json", "moves.npy", "nep.txt"))
        write(cell, atoms)
        np.save(moves, frames)
        model.write_text(student.to_text())
        command = [python, "-c", CALORINE, str(cell), str(moves), str(model)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout.strip().splitlines()[-1])
    there = atoms.copy()
    there.positions = frames[0]
    difference = abs(found["energy_eV"] - student.evaluate(there).energy_eV) / len(atoms)
    if difference > 1e-8:
        sys.exit(f"calorine's energy differs by {difference:.1e} eV/atom")
    seconds: float = found["seconds"]
    return seconds


if __name__ == "__main__":
    main()
