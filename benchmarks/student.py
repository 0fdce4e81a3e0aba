"""The student against its teacher: errors, a nanosecond of dynamics, diffusivity, and the cost of a step.

    python benchmarks/student.py li3ycl6 --folder student-li3ycl6
    python benchmarks/student.py li-in-y-br-cl --folder student-five --length-ps 1000
    python benchmarks/student.py li3ycl6 --folder student-700K --temperature-K 700 --explore 2 --teacher-ps 50

Teacher is the pretrained CHGNet 0.3.0 (its engine must be installed; SevenNet's too for its column of the table).
Everything done is kept in the folder and not done again: a killed run goes on. The parts, in order: data by the
teacher (molecular dynamics at several temperatures and volumes, strained and rattled structures), training on one
core, rounds of exploration (the student runs 150 K hotter in 60 atoms, the teacher labels what it met outside of
its data, the student learns anew), errors on a trajectory of the teacher that it never saw, NVT of the student in
240 atoms, diffusivities of both in the same cell at equal length, microseconds per atom and step side by side.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from superionic.dynamics.md import Limits, MDSettings, MDState, initial_state, run_segment
from superionic.errors import CalculationFailed
from superionic.potentials.base import Potential, load_potential
from superionic.potentials.reference import li3ycl6_cell

SYSTEMS = ("li3ycl6", "li-in-y-br-cl")
# Indium among the three metals and bromine among the eighteen anions of each composition of the data.
GRID = (
    (0, 0), (1, 0), (2, 0), (3, 0), (0, 6), (1, 6), (2, 9), (3, 6), (0, 12), (1, 12), (2, 15), (3, 18), (0, 18),
    (3, 12), (1, 9),
)  # fmt: skip
HELD_OUT = (1, 9)
HOTTER_K, EXPLORE_PS = 150.0, 30.0
TIMESTEP_FS = 2.0
EVERY = 10


def crystal(system: str, composition: tuple[int, int], rng: np.random.Generator) -> Atoms:
    """Give the 30-atom cell of a composition, anions and metals at random places, its volume scaled by ion size."""
    atoms = li3ycl6_cell()
    if system == "li-in-y-br-cl":
        indium, bromine = composition
        symbols = np.array(atoms.get_chemical_symbols(), dtype=object)
        metals, anions = np.flatnonzero(symbols == "Y"), np.flatnonzero(symbols == "Cl")
        symbols[rng.choice(metals, indium, replace=False)] = "In"
        symbols[rng.choice(anions, bromine, replace=False)] = "Br"
        atoms.set_chemical_symbols(list(symbols))
        scale = (1.0 + 0.25 * bromine / 18 - 0.06 * indium / 3) ** (1 / 3)
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
    return atoms


def expanded(system: str, composition: tuple[int, int], rng: np.random.Generator) -> Atoms:
    """Give the cell of a composition with three per cent more volume, as it has at high temperature."""
    atoms = crystal(system, composition, rng)
    atoms.set_cell(atoms.cell.array * 1.03 ** (1 / 3), scale_atoms=True)
    return atoms


# ---- by the teacher, in its own environment -----------------------------------------------------------------------


def labelled(teacher: Potential, atoms: Atoms, group: str, step: int) -> Atoms:
    """Give a copy with the teacher's energy, forces and stress."""
    found = teacher.evaluate(atoms)
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    bare.calc = SinglePointCalculator(
        bare,
        energy=found.energy_eV,
        forces=np.array(found.forces_eV_per_A),
        stress=np.array(found.stress_eV_per_A3),
    )
    bare.info.update(group=group, step=step)
    return bare


def teacher_run(
    teacher: Potential, atoms: Atoms, temperature_K: float, n_steps: int, seed: int, group: str, file: Path
) -> None:
    """Run NVT and append the labelled frames; steps before the 20th are left out."""
    settings = MDSettings(
        ensemble="nvt", thermostat="csvr", temperature_K=temperature_K, timestep_fs=TIMESTEP_FS, save_every=EVERY
    )
    state, done = initial_state(atoms, settings, seed), 0
    while done < n_steps:
        n = min(500, n_steps - done)
        try:
            segment = run_segment(state, teacher, settings, n)
        except CalculationFailed as failure:
            print(f"{group}: the teacher's run ended early: {failure.reason}", flush=True)
            return
        state, done, frames = segment.state, done + n, []
        for k, positions in enumerate(segment.positions_A):
            if segment.steps[k] >= 20:
                frame = atoms.copy()
                frame.positions = positions
                frames.append(labelled(teacher, frame, group, int(segment.steps[k])))
        write(file, frames, append=True)
        print(f"{group}: {done} of {n_steps} steps", flush=True)


def teacher_data(system: str, part: str, file: Path, length_ps: float, *, small: bool) -> None:
    """Make one file of labelled structures: ``train``, a trajectory at a temperature, or those of a file to label."""
    teacher = load_potential("chgnet")
    rng = np.random.default_rng(7)
    draft = file.with_suffix(".draft.extxyz")
    draft.unlink(missing_ok=True)
    if part.endswith(".extxyz"):
        write(draft, [labelled(teacher, met, str(met.info["group"]), 0) for met in read(part, ":")])
        draft.replace(file)
        return
    if part != "train":
        n_steps = round(length_ps * 1000.0 / TIMESTEP_FS)
        teacher_run(teacher, expanded(system, HELD_OUT, rng), float(part), n_steps, 1, f"held-{part}", draft)
        draft.replace(file)
        return
    one = system == "li3ycl6"
    plan = [(T, v) for v in (1.0, 1.06, 0.95, 1.12) for T in (400, 800, 1200)]
    if not one:
        plan = [(900, 1.03), (1200, 1.08), (500, 0.98)]
    n_steps, n_rattled, number = (500, 120, 0) if one else (240, 15, 0)
    if small:
        plan, n_steps, n_rattled = plan[1:4], 60, 8
    for composition in GRID[:1] if one else GRID:
        for temperature, volume in plan:
            number += 1
            atoms = crystal(system, composition, rng)
            atoms.set_cell(atoms.cell.array * volume ** (1 / 3), scale_atoms=True)
            group = f"{composition}-{temperature}-{volume}"
            teacher_run(teacher, atoms, temperature, n_steps, 100 + number, group, draft)
        start, frames = crystal(system, composition, rng), []
        for k in range(n_rattled):
            atoms = start.copy()
            strain = rng.uniform(-0.05, 0.05, (3, 3))
            deformation = (np.eye(3) + 0.5 * (strain + strain.T)) * rng.uniform(0.94, 1.1) ** (1 / 3)
            atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            atoms.positions += rng.normal(0.0, rng.choice([0.05, 0.12, 0.2, 0.3]), atoms.positions.shape)
            made = labelled(teacher, atoms, f"{composition}-rattle-{k}", 0)
            if np.abs(made.get_forces()).max() < 30.0:
                frames.append(made)
        write(draft, frames, append=True)
    draft.replace(file)


# ---- by the student, here -----------------------------------------------------------------------------------------


def load_set(files: list[Path]) -> Any:
    """Read labelled structures as the trainer wants them."""
    from superionic.training.dataset import LabelledSet, Targets

    frames = [atoms for file in files for atoms in read(file, ":")]
    targets = Targets(
        np.array([atoms.get_potential_energy() for atoms in frames]),
        tuple(atoms.get_forces() for atoms in frames),
        np.array([atoms.get_stress() for atoms in frames]),
    )
    groups = tuple(str(atoms.info["group"]) for atoms in frames)
    return LabelledSet(tuple(frames), targets, groups, "chgnet", "MP2020-corrected PBE(+U)")


def train_student(folder: Path, epochs: int, met: int, weights_file: Path) -> dict[str, Any]:
    """Train on one core, with what so many rounds met; every seventh group is kept to choose the best epoch by."""
    from superionic.models.nep.fit import NepOptions, finish, start, train_epochs

    data = load_set([folder / "teacher-train.extxyz", *(folder / f"met-{n}.extxyz" for n in range(1, met + 1))])
    kept = set(sorted(set(data.groups))[::7])
    train = data.subset([i for i, group in enumerate(data.groups) if group not in kept])
    validation = data.subset([i for i, group in enumerate(data.groups) if group in kept])
    options = NepOptions(epochs=epochs)
    began, cpu = time.monotonic(), time.process_time()
    state = start(train, options, 0)
    while state.epoch < options.epochs:
        state = train_epochs(state, train, validation, 10)
        errors = state.history[-1].validation
        print(f"epoch {state.epoch}: {1000.0 * errors.rmse_force_eV_per_A:.1f} meV/Å on the kept groups", flush=True)
    weights = finish(state, train)
    cost = {
        "n_structures": len(data),
        "epochs": options.epochs,
        "cpu_minutes": (time.process_time() - cpu) / 60.0,
        "wall_minutes": (time.monotonic() - began) / 60.0,
    }
    np.savez(folder / "draft.npz", **weights)
    (folder / "draft.npz").replace(weights_file)
    return cost


def load_student(weights_file: Path) -> Any:
    """Load a trained student."""
    return load_potential("nep", weights=dict(np.load(weights_file)))


def explore(folder: Path, system: str, temperature_K: float, number: int, weights_file: Path) -> dict[str, Any]:
    """Run the student hot; keep for the teacher what is outside of its data, to the first structure far outside."""
    student = load_student(weights_file)
    settings = MDSettings(
        ensemble="nvt",
        thermostat="csvr",
        temperature_K=temperature_K + HOTTER_K,
        timestep_fs=TIMESTEP_FS,
        save_every=50,
    )
    limits = Limits(extrapolation_every=10, collect_extrapolation=1.5, max_extrapolation=10.0, max_collected=20)
    rng, met, reached = np.random.default_rng(900 + number), [], []
    compositions = [HELD_OUT] * 3 if system == "li3ycl6" else [HELD_OUT, *(GRID[i] for i in rng.choice(13, 5, False))]
    for run, composition in enumerate(compositions):
        atoms = expanded(system, composition, rng).repeat((1, 1, 2))
        state, group, failed = initial_state(atoms, settings, 1000 * number + run), f"met-{number}-{run}", False
        while state.step < round(EXPLORE_PS * 1000.0 / TIMESTEP_FS) and not failed:
            try:
                segment = run_segment(state, student, settings, 2500, limits=limits)
            except CalculationFailed:
                break
            for positions in segment.collected_positions_A:
                frame = atoms.copy()
                frame.positions = positions
                frame.wrap()
                frame.info["group"] = group
                met.append(frame)
            state, failed = segment.state, bool(segment.stopped)
        reached.append(state.step * TIMESTEP_FS / 1000.0)
    if met:
        write(folder / f"met-{number}.bare.extxyz", met)
        in_engine(
            "chgnet", "data", system, str(folder / f"met-{number}.bare.extxyz"), str(folder / f"met-{number}.extxyz")
        )
    return {"n_met": len(met), "reached_ps": reached}


def learned(
    folder: Path, system: str, temperature_K: float, n_rounds: int, epochs: int
) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """Train, explore, train anew; return the last weights, what their training cost, and what each round met."""
    weights, rounds = folder / "student.npz", []
    training = kept(folder / "training.json", lambda: train_student(folder, epochs, 0, weights))
    for number in range(1, n_rounds + 1):
        file, before = folder / f"explore-{number}.json", weights
        rounds.append(kept(file, lambda n=number, w=before: explore(folder, system, temperature_K, n, w)))
        if rounds[-1]["n_met"] == 0:
            break
        weights = folder / f"student-{number}.npz"
        file = folder / f"training-{number}.json"
        training = kept(file, lambda n=number, w=weights: train_student(folder, epochs, n, w))
    return weights, training, rounds


def held_out_errors(folder: Path, temperature_K: float, weights_file: Path) -> dict[str, float]:
    """Errors on the teacher's own trajectory, a frame each 0.1 ps, less the first picosecond (half of a short one)."""
    from superionic.models.nep.fit import predict
    from superionic.training.metrics import errors

    test = load_set([folder / f"teacher-{temperature_K:g}.extxyz"])
    test = test.subset(list(range(min(50, len(test) // 2), len(test), 5)))
    found = errors(predict(dict(np.load(weights_file)), test.structures), test.targets)
    forces = np.concatenate(test.targets.forces_eV_per_A)
    rms = 1000.0 * float(np.sqrt(np.mean(forces**2)))
    return {
        "n_structures": found.n_structures,
        "rmse_energy_meV_per_atom": found.rmse_energy_meV_per_atom,
        "rmse_force_meV_per_A": found.rmse_force_meV_per_A,
        "rms_force_meV_per_A": rms,
        "force_ratio": found.rmse_force_meV_per_A / rms,
        "rmse_stress_GPa": float(found.rmse_stress_GPa or 0.0),
    }


def long_run(
    parts: Path,
    student: Any,
    system: str,
    temperature_K: float,
    length_ps: float,
    copies: tuple[int, int, int],
    seed: int,
) -> dict[str, Any]:
    """Run NVT of the student in segments of 10 ps; go on where an earlier call was cut."""
    atoms, name = expanded(system, HELD_OUT, np.random.default_rng(7)).repeat(copies), parts.name
    settings = MDSettings(
        ensemble="nvt", thermostat="csvr", temperature_K=temperature_K, timestep_fs=TIMESTEP_FS, save_every=50
    )
    parts.mkdir(exist_ok=True)
    state, n_steps = initial_state(atoms, settings, seed), round(length_ps * 1000.0 / TIMESTEP_FS / 50) * 50
    per_segment, number, cpu, failure, worst = 5000, 0, 0.0, None, 0.0
    positions, temperatures = [], []
    while state.step < n_steps:
        file = parts / f"{number:05d}.npz"
        if not file.exists():
            began = time.process_time()
            try:
                segment = run_segment(
                    state,
                    student,
                    settings,
                    min(per_segment, n_steps - state.step),
                    limits=Limits(extrapolation_every=50, collect_extrapolation=1e9, max_extrapolation=1e9),
                )
            except CalculationFailed as broken:
                failure = broken.reason
                break
            made = {"cpu_s": time.process_time() - began, "positions": segment.positions_A.astype(np.float32)}
            made |= {"temperatures": segment.temperatures_K, "grade": np.max(segment.extrapolation)}
            made |= {"stopped": segment.stopped or ""}
            plain = dict(vars(segment.state))
            inner = plain.pop("internals")
            with (parts / "draft.npz").open("wb") as draft:
                np.savez(
                    draft,
                    **made,
                    **{f"state_{k}": v for k, v in plain.items()},
                    **{f"inner_{k}": v for k, v in inner.items()},
                )
            (parts / "draft.npz").replace(file)
            print(f"{name}: {segment.state.step * TIMESTEP_FS / 1000.0:g} of {length_ps:g} ps", flush=True)
        kept = np.load(file)
        plain = {k[6:]: kept[k] for k in kept.files if k.startswith("state_")}
        plain["step"], plain["reference_volume_A3"] = int(plain["step"]), float(plain["reference_volume_A3"])
        plain["internals"] = {k[6:]: kept[k] for k in kept.files if k.startswith("inner_")}
        state = MDState(**plain)
        cpu += float(kept["cpu_s"])
        worst = max(worst, float(kept["grade"]))
        positions.append(kept["positions"])
        temperatures.append(kept["temperatures"])
        number += 1
        if stopped := str(kept["stopped"]):
            failure = stopped
            break
    frames = np.concatenate(positions).astype(np.float64)
    return {
        "n_atoms": len(atoms),
        "length_ps": state.step * TIMESTEP_FS / 1000.0,
        "failure": failure,
        "mean_temperature_K": float(np.mean(np.concatenate(temperatures))),
        "us_per_atom_step": 1e6 * cpu / max(1, state.step) / len(atoms),
        "largest_grade": worst,
        **diffusivity(frames, atoms, settings.frame_interval_ps),
    }


def diffusivity(positions: Any, atoms: Atoms, interval_ps: float, discard_ps: float = 2.0) -> dict[str, Any]:
    """Tracer diffusivity of lithium with its 68 % interval, and the lithium ions' hops; the beginning is left out."""
    from superionic.transport.analysis import analyse_displacements

    frames = positions[min(round(discard_ps / interval_ps), len(positions) // 4) :]
    found = analyse_displacements(frames, atoms.cell.array, atoms.numbers == 3, interval_ps)
    tracer = found.tracer_diffusivity_cm2_per_s
    return {
        "D_cm2_per_s": tracer.value,
        "D_low_cm2_per_s": tracer.interval68[0],
        "D_high_cm2_per_s": tracer.interval68[1],
        "n_hops": found.n_hops,
        "framework_moved": found.framework_moved,
        "flags": list(found.flags),
    }


def teacher_diffusivity(file: Path) -> dict[str, Any]:
    """Diffusivity in the teacher's trajectory."""
    frames = read(file, ":")
    positions = np.array([atoms.positions for atoms in frames])
    interval = EVERY * TIMESTEP_FS / 1000.0
    found = diffusivity(positions, frames[0], interval)
    return {"length_ps": len(frames) * interval, **found}


def seconds_per_step(name: str, copies: tuple[int, int, int], weights: str | None = None) -> dict[str, float]:
    """Time force evaluations of moving atoms on one core, in this Python."""
    options = {} if weights is None else {"weights": dict(np.load(weights))}
    potential = load_potential(name, **options)
    atoms = li3ycl6_cell().repeat(copies)
    rng = np.random.default_rng(0)
    potential.evaluate(atoms, stress=False)
    n, cpu = 0, time.process_time()
    while n < 3 or time.process_time() - cpu < 5.0:
        atoms.positions += 0.01 * rng.normal(size=atoms.positions.shape)
        potential.evaluate(atoms, stress=False)
        n += 1
    return {"n_atoms": len(atoms), "us_per_atom_step": 1e6 * (time.process_time() - cpu) / n / len(atoms)}


CALORINE = """
import json, sys, time
import numpy as np
from ase.io import read
from calorine.calculators import CPUNEP
atoms = read(sys.argv[1])
atoms.calc = CPUNEP(sys.argv[2])
rng = np.random.default_rng(0)
energy, n, cpu = atoms.get_potential_energy(), 0, time.process_time()
while n < 3 or time.process_time() - cpu < 5.0:
    atoms.positions += 0.01 * rng.normal(size=atoms.positions.shape)
    atoms.get_forces()
    n += 1
cost = 1e6 * (time.process_time() - cpu) / n / len(atoms)
print(json.dumps({"n_atoms": len(atoms), "us_per_atom_step": cost, "energy_eV": energy}))
"""


def in_calorine(python: str, folder: Path, student: Any, copies: tuple[int, int, int]) -> dict[str, float]:
    """Time the same student in calorine, in a Python that has it, and see that it gives the same energy."""
    atoms = li3ycl6_cell().repeat(copies)
    (folder / "nep.txt").write_text(student.to_text())
    write(folder / "cell.json", atoms)
    arguments = [python, "-c", CALORINE, str(folder / "cell.json"), str(folder / "nep.txt")]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout.strip().splitlines()[-1])
    difference = abs(found["energy_eV"] - student.evaluate(atoms).energy_eV) / len(atoms)
    if difference > 1e-9:
        sys.exit(f"calorine's energy differs by {difference:.1e} eV/atom")
    return found


def in_engine(engine: str, *arguments: str) -> str:
    """Call this script in an engine's environment and return what it prints last."""
    from superionic.execution.engines import resolve_engine
    from superionic.execution.home import worker_environment

    source = str(Path(__file__).resolve().parents[1] / "src")
    process = subprocess.Popen(
        [str(resolve_engine(engine).python), __file__, *arguments],
        env=worker_environment() | {"PYTHONPATH": source},
        stdout=subprocess.PIPE,
        text=True,
    )
    line = ""
    for line in process.stdout or ():
        print(line, end="", flush=True)
    if process.wait() != 0:
        sys.exit(f"the part {' '.join(arguments)} in the environment of {engine} failed")
    return line


def kept(file: Path, make: Any) -> Any:
    """Return what a JSON file holds; make it first if it is not there."""
    if not file.exists():
        file.write_text(json.dumps(make(), indent=2) + "\n")
    return json.loads(file.read_text())


def main() -> None:
    """Do what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system", choices=[*SYSTEMS, "data", "cost"])
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=Path("student-benchmark"))
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--length-ps", type=float, default=1000.0, help="length of the run in 240 atoms")
    parser.add_argument("--temperature-K", type=float, default=800.0, help="of the trajectories that are compared")
    parser.add_argument("--teacher-ps", type=float, default=20.0, help="length of the teacher's trajectory")
    parser.add_argument("--explore", type=int, default=0, metavar="ROUNDS", help="hot runs with return to the teacher")
    parser.add_argument(
        "--small", action="store_true", help="a handful of structures by the teacher: only to see it run"
    )
    parser.add_argument("--engines", nargs="*", default=["chgnet", "sevennet"], help="whose steps are timed beside")
    parser.add_argument("--calorine", metavar="PYTHON", help="a Python with calorine, to time the same potential in")
    options = parser.parse_args()
    if options.system == "data":
        teacher_data(options.rest[0], options.rest[1], Path(options.rest[2]), options.teacher_ps, small=options.small)
        return
    if options.system == "cost":
        print(json.dumps(seconds_per_step(options.rest[0], tuple(map(int, options.rest[1:4])))))  # type: ignore[arg-type]
        return
    folder, system, temperature = options.folder.resolve(), options.system, options.temperature_K
    folder.mkdir(parents=True, exist_ok=True)
    trajectory = folder / f"teacher-{temperature:g}.extxyz"
    for part, file in (("train", folder / "teacher-train.extxyz"), (f"{temperature:g}", trajectory)):
        if not file.exists():
            size = ["--teacher-ps", str(options.teacher_ps), *(["--small"] if options.small else [])]
            in_engine("chgnet", "data", system, part, str(file), *size)
    weights, training, rounds = learned(folder, system, temperature, options.explore, options.epochs)
    student, end = load_student(weights), f"-{weights.stem}-{temperature:g}K"
    errors = kept(folder / f"errors{end}.json", lambda: held_out_errors(folder, temperature, weights))
    teacher = kept(folder / f"teacher-{temperature:g}K.json", lambda: teacher_diffusivity(trajectory))
    same = [
        kept(
            folder / f"same-{seed}{end}.json",
            lambda seed=seed: long_run(
                folder / f"same-{seed}{end}", student, system, temperature, teacher["length_ps"], (1, 1, 1), seed
            ),
        )
        for seed in range(1, 5)
    ]
    length = options.length_ps
    long = kept(
        folder / f"run-{length:g}ps{end}.json",
        lambda: long_run(folder / f"run-{length:g}ps{end}", student, system, temperature, length, (2, 2, 2), 11),
    )
    cost = {}
    names = ["student", *(["calorine"] if options.calorine else []), *options.engines]
    for name in names:
        for copies in ((1, 1, 1), (2, 2, 2)):
            if name == "student":
                found = seconds_per_step("nep", copies, str(weights))
            elif name == "calorine":
                found = in_calorine(options.calorine, folder, student, copies)
            else:
                found = json.loads(in_engine(name, "cost", name, *map(str, copies)))
            cost[name, found["n_atoms"]] = found["us_per_atom_step"]

    rows = [
        ("training, one core", f"{training['cpu_minutes']:.1f} min of CPU, {training['epochs']} epochs"),
        *(
            (
                f"round {n}: hot runs reached",
                f"{told_times(found['reached_ps'])} ps; {found['n_met']} structures labelled",
            )
            for n, found in enumerate(rounds, 1)
        ),
        ("held-out trajectory", f"{errors['n_structures']} frames of the teacher at {temperature:g} K"),
        ("  energy RMSE", f"{errors['rmse_energy_meV_per_atom']:.2f} meV/atom"),
        (
            "  force RMSE",
            f"{errors['rmse_force_meV_per_A']:.1f} meV/Å of {errors['rms_force_meV_per_A']:.0f} (RMS force)",
        ),
        ("  force RMSE / RMS force", f"{100.0 * errors['force_ratio']:.1f} %"),
        ("  stress RMSE", f"{errors['rmse_stress_GPa']:.3f} GPa"),
        (
            f"NVT at {temperature:g} K, {long['n_atoms']} atoms",
            f"{long['length_ps']:g} ps, {long['failure'] or 'no failure'}",
        ),
        ("  mean temperature", f"{long['mean_temperature_K']:.1f} K; largest grade {long['largest_grade']:.1f}"),
        ("  framework atoms off their sites", f"{100.0 * (long['framework_moved'] or 0.0):.0f} %"),
        ("  D*", told(long)),
        ("  cost of the run", f"{long['us_per_atom_step']:.1f} µs/atom/step, all included"),
        ("D* of the teacher, 30 atoms", told(teacher)),
        *(("D* of the student, same cell", told(run)) for run in same),
        ("µs/atom/step on one core", "30 atoms, 240 atoms (ratio to the student)"),
    ]
    for name in names:
        each = [f"{cost[name, n]:.1f} ({cost[name, n] / cost['student', n]:.0f} ×)" for n in (30, 240)]
        rows.append((f"  {name}", ", ".join(each)))
    print(f"\n{system}: student of CHGNet 0.3.0 from {training['n_structures']} structures")
    for name, value in rows:
        print(f"{name:<32} {value}")


def told_times(times: list[float]) -> str:
    """Return lengths of runs as text."""
    return ", ".join(f"{time:g}" for time in times)


def told(run: dict[str, Any]) -> str:
    """Return a diffusivity as text."""
    interval = f"68 %: {run['D_low_cm2_per_s']:.2e} to {run['D_high_cm2_per_s']:.2e}"
    return f"{run['D_cm2_per_s']:.2e} cm²/s ({interval}), {run['n_hops']} hops, {run['length_ps']:g} ps"


if __name__ == "__main__":
    main()
