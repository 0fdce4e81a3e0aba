"""How many poisoned labels the gates catch, and how many sound ones they turn away.

    python benchmarks/label_gates.py
    python benchmarks/label_gates.py --teacher sevennet --baseline chgnet --frames 60 --cache labels.npz --sets 20
    python benchmarks/label_gates.py --sizes 12 24 60 240 --shares 0.01 0.05 --kinds energy-x27 stress-sign

Structures are snapshots of molecular dynamics of a Li9Y3Cl18 cell at several temperatures, by the baseline; the
teacher labels them, the baseline predicts them. By default both are pair potentials with different parameters, which
takes a minute; with engines the structures and both predictions are kept in ``--cache`` and not made again. Then, for
each kind of poison, each size of set and each share of poisoned labels, many sets are drawn, poisoned and judged:

    detection     of the poisoned labels, how many were turned away
    false alarms  of the sound labels, how many were turned away with them (``none`` poisons nothing)

with the baseline's predictions, and without them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from superionic.dynamics.md import MDSettings, Segment, initial_state, run_segment
from superionic.labels.base import Label
from superionic.labels.gates import Gates, check_labels
from superionic.labels.residuals import Baseline
from superionic.potentials.base import load_potential
from superionic.potentials.reference import li3ycl6_cell
from superionic.units import GPA_PER_EV_PER_A3

QUICK = Gates(min_distance_A=None, duplicate_distance_A=None)  # the two gates that cost most and are not studied here
HARTREE, BOHR = 27.211386245988, 0.529177210903
TEMPERATURES_K = (300.0, 450.0, 650.0, 1000.0)
SOFTER = {"contact_force_ratio": 0.195, "softness_A": 0.32, "charge_scale": 0.92}
"""What sets the pair potential that is the baseline apart from the one that labels."""
EQUILIBRATION_STEPS, SAVE_EVERY, TIMESTEP_FS = 250, 15, 2.0

Poison = Callable[[Atoms, Label, np.random.Generator, float], Label]
"""Structure, sound label, random numbers, and the standard deviation of the energies (eV/atom)."""


# ---- kinds of poison -------------------------------------------------------------------------------------------------


def changed(label: Label, **values: Any) -> Label:
    """Return a label with other values."""
    return replace(label, **values)


def scaled(energy: float = 1.0, forces: float = 1.0, stress: float = 1.0) -> Poison:
    """Make a slip of units or sign."""

    def poison(_atoms: Atoms, label: Label, _rng: np.random.Generator, _sigma: float) -> Label:
        own = np.zeros(6) if label.stress_eV_per_A3 is None else label.stress_eV_per_A3
        return changed(
            label,
            energy_eV=energy * label.energy_eV,
            forces_eV_per_A=forces * label.forces_eV_per_A,
            stress_eV_per_A3=stress * own,
        )

    return poison


def two_forces_swapped(atoms: Atoms, label: Label, rng: np.random.Generator, _sigma: float) -> Label:
    """Exchange the forces of two atoms of different elements."""
    forces = np.array(label.forces_eV_per_A)
    i = int(rng.integers(len(atoms)))
    j = int(rng.choice(np.flatnonzero(atoms.numbers != atoms.numbers[i])))
    forces[[i, j]] = forces[[j, i]]
    return changed(label, forces_eV_per_A=forces)


def order_of_another_file(atoms: Atoms, label: Label, rng: np.random.Generator, _sigma: float) -> Label:
    """Give all atoms the forces of others, as a file sorted otherwise does."""
    return changed(label, forces_eV_per_A=label.forces_eV_per_A[rng.permutation(len(atoms))])


def energy_off(smallest: float, largest: float) -> Poison:
    """Shift the energy by so many standard deviations."""

    def poison(atoms: Atoms, label: Label, rng: np.random.Generator, sigma: float) -> Label:
        shift = rng.choice([-1.0, 1.0]) * rng.uniform(smallest, largest) * sigma * len(atoms)
        return changed(label, energy_eV=label.energy_eV + shift)

    return poison


KINDS: dict[str, Poison] = {
    "none": scaled(),
    "energy-x27": scaled(energy=HARTREE),
    "energy-/27": scaled(energy=1.0 / HARTREE),
    "forces-x27": scaled(forces=HARTREE),
    "forces-/27": scaled(forces=1.0 / HARTREE),
    "forces-bohr": scaled(forces=1.0 / BOHR),
    "forces-/bohr": scaled(forces=BOHR),
    "forces-atomic-units": scaled(forces=BOHR / HARTREE),
    "forces-sign": scaled(forces=-1.0),
    "all-x27": scaled(HARTREE, HARTREE, HARTREE),
    "stress-sign": scaled(stress=-1.0),
    "stress-kbar": scaled(stress=10.0),
    "stress-/kbar": scaled(stress=0.1),
    "stress-GPa-as-eV": scaled(stress=GPA_PER_EV_PER_A3),
    "two-forces-swapped": two_forces_swapped,
    "order-shuffled": order_of_another_file,
    "energy-5-to-10-sigma": energy_off(5.0, 10.0),
    "energy-10-to-50-sigma": energy_off(10.0, 50.0),
}
"""Kinds of poison. The sigma of the energies is their standard deviation in the set, in eV/atom."""


# ---- data ------------------------------------------------------------------------------------------------------------


def dynamics(settings: dict[str, Any], _inputs: Any = None, context: Any = None) -> list[Atoms]:
    """Give snapshots of molecular dynamics at one temperature."""
    potential = load_potential(settings["potential"], **settings["options"])
    md = MDSettings(
        ensemble="nvt",
        temperature_K=settings["temperature_K"],
        timestep_fs=TIMESTEP_FS,
        thermostat="csvr",
        thermostat_time_fs=50.0,
        save_every=settings["every"],
    )
    start = settings["structure"]
    strain = 1.0 + settings["strain"]
    start.set_cell(np.asarray(start.cell) * strain, scale_atoms=True)
    steps = EQUILIBRATION_STEPS + settings["frames"] * settings["every"]
    segment = run_segment(initial_state(start, md, settings["seed"]), potential, md, steps)
    frames = []
    for positions, cell in list(zip(segment.positions_A, segment.cells_A, strict=True))[-settings["frames"] :]:
        frames.append(Atoms(numbers=start.numbers, positions=positions, cell=cell, pbc=True))
    return frames


def pair_data(frames: int, seed: int) -> tuple[list[Atoms], list[Label], Baseline]:
    """Make snapshots, labels and predictions by two pair potentials."""
    structures: list[Atoms] = []
    for number, temperature in enumerate(TEMPERATURES_K):
        structures += dynamics(
            {
                "potential": "pair",
                "options": SOFTER,
                "temperature_K": temperature,
                "structure": li3ycl6_cell(),
                "strain": 0.015 * (number - 1.5),
                "frames": frames,
                "every": SAVE_EVERY,
                "seed": seed + number,
            }
        )
    return structures, *labelled(structures, predicted("pair", {}, structures), predicted("pair", SOFTER, structures))


def predicted(name: str, options: dict[str, Any], structures: list[Atoms]) -> Baseline:
    """Evaluate a potential of the core."""
    potential = load_potential(name, **options)
    found = [potential.evaluate(atoms) for atoms in structures]
    return Baseline(
        np.array([p.energy_eV for p in found]),
        tuple(np.array(p.forces_eV_per_A) for p in found),
        np.array([p.stress_eV_per_A3 for p in found]),
    )


def labelled(structures: list[Atoms], teacher: Baseline, baseline: Baseline) -> tuple[list[Label], Baseline]:
    """Make labels of the teacher's predictions, and a baseline of the other's."""
    labels = [
        Label(energy, forces, stress, {"settings_hash": "teacher"}, {"converged": True})
        for energy, forces, stress in zip(
            teacher.energies_eV, teacher.forces_eV_per_A, teacher.stresses_eV_per_A3, strict=True
        )
    ]
    if len(labels) != len(structures):
        raise ValueError("labels and structures must be equally many")
    return labels, baseline


def engine_data(
    teacher: str, baseline: str, frames: int, seed: int, cache: Path
) -> tuple[list[Atoms], list[Label], Baseline]:
    """Make snapshots by the baseline's engine, and predictions by both; kept in a file."""
    if not cache.is_file():
        _make(teacher, baseline, frames, seed, cache)
    with np.load(cache) as kept:
        values = {name: np.array(kept[name]) for name in kept.files}
    structures = [
        Atoms(numbers=values["numbers"], positions=positions, cell=cell, pbc=True)
        for positions, cell in zip(values["positions"], values["cells"], strict=True)
    ]
    sides = [
        Baseline(values[f"{side}_energies"], tuple(values[f"{side}_forces"]), values[f"{side}_stresses"])
        for side in ("teacher", "baseline")
    ]
    return structures, *labelled(structures, *sides)


def _make(teacher: str, baseline: str, frames: int, seed: int, cache: Path) -> None:
    from superionic.execution.codec import from_tree, to_tree
    from superionic.execution.engines import resolve_engine
    from superionic.execution.worker import call_once
    from superionic.stages.chains import first_segment_task
    from superionic.stages.predictions import predict_task
    from superionic.training.dataset import Targets

    def by(name: str, function: str, settings: dict[str, Any], inputs: dict[str, Any]) -> Any:
        settings = {"potential": {"name": name, "model": None, "options": {}}, **settings}
        return call_once(resolve_engine(name).python, function, settings, inputs)

    structures: list[Atoms] = []
    for number, temperature in enumerate(TEMPERATURES_K):
        start = li3ycl6_cell()
        start.set_cell(np.asarray(start.cell) * (1.0 + 0.015 * (number - 1.5)), scale_atoms=True)
        md = MDSettings(
            temperature,
            timestep_fs=TIMESTEP_FS,
            thermostat="csvr",
            thermostat_time_fs=50.0,
            save_every=SAVE_EVERY,
        )
        settings = {
            "md": to_tree(md),
            "seed": seed + number,
            "n_steps": EQUILIBRATION_STEPS + frames * SAVE_EVERY,
            "limits": None,
            "supercell": np.eye(3, dtype=int).tolist(),
        }
        run = from_tree(by(baseline, first_segment_task.name, settings, {"structure": start}), Segment)
        for positions, cell in list(zip(run.positions_A, run.cells_A, strict=True))[-frames:]:
            structures.append(Atoms(numbers=run.state.numbers, positions=positions, cell=cell, pbc=True))
        print(f"{temperature:g} K: {len(structures)} structures", flush=True)
    arrays: dict[str, Any] = {
        "numbers": structures[0].numbers,
        "positions": np.array([atoms.positions for atoms in structures]),
        "cells": np.array([np.asarray(atoms.cell) for atoms in structures]),
    }
    for side, name in (("teacher", teacher), ("baseline", baseline)):
        found = from_tree(by(name, predict_task.name, {}, {"atoms": structures}), Targets)
        arrays[f"{side}_energies"] = found.energies_eV
        arrays[f"{side}_forces"] = np.array(found.forces_eV_per_A)
        arrays[f"{side}_stresses"] = found.stresses_eV_per_A3
    np.savez_compressed(cache, **arrays)


# ---- the study -------------------------------------------------------------------------------------------------------


def study(
    data: tuple[list[Atoms], list[Label], Baseline],
    kind: str,
    *,
    size: int,
    share: float,
    sets: int,
    seed: int,
    with_baseline: bool = True,
    gates: Gates = QUICK,
) -> tuple[int, int, int, int]:
    """Draw sets, poison and judge them.

    Returns
    -------
    tuple of int
        Poisoned labels, how many of them were turned away, sound labels, how many of them were turned away.
    """
    structures, labels, baseline = data
    rng = np.random.default_rng([seed, size, *kind.encode()])
    n_poisoned = caught = n_sound = alarms = 0
    for _ in range(sets):
        drawn = rng.choice(len(structures), min(size, len(structures)), replace=False)
        poisoned = set() if kind == "none" else set(rng.choice(drawn, max(1, round(share * len(drawn))), replace=False))
        energies = np.array([labels[i].energy_eV / len(structures[i]) for i in drawn])
        sigma = float(energies.std())
        given = [KINDS[kind](structures[i], labels[i], rng, sigma) if i in poisoned else labels[i] for i in drawn]
        part = Baseline(
            baseline.energies_eV[drawn],
            tuple(baseline.forces_eV_per_A[i] for i in drawn),
            baseline.stresses_eV_per_A3[drawn],
        )
        verdicts = check_labels([structures[i] for i in drawn], given, gates, baseline=part if with_baseline else None)
        for i, verdict in zip(drawn, verdicts, strict=True):
            if i in poisoned:
                n_poisoned += 1
                caught += not verdict.passed
            else:
                n_sound += 1
                alarms += not verdict.passed
    return n_poisoned, caught, n_sound, alarms


def describe(data: tuple[list[Atoms], list[Label], Baseline]) -> str:
    """Say how well the baseline knows the teacher."""
    structures, labels, baseline = data
    n = np.array([len(atoms) for atoms in structures])
    energy = (np.array([label.energy_eV for label in labels]) - baseline.energies_eV) / n
    forces = np.concatenate([label.forces_eV_per_A.ravel() for label in labels])
    other = np.concatenate([f.ravel() for f in baseline.forces_eV_per_A])
    stress = np.array([label.stress_eV_per_A3 for label in labels]) * GPA_PER_EV_PER_A3
    stress0 = baseline.stresses_eV_per_A3 * GPA_PER_EV_PER_A3
    return (
        f"{len(structures)} structures; the baseline's errors (rms): energy {1000 * energy.std():.1f} meV/atom "
        f"about its mean (spread of the labels "
        f"{1000 * (np.array([x.energy_eV for x in labels]) / n).std():.1f}), forces "
        f"{1000 * np.sqrt(np.mean((forces - other) ** 2)):.0f} of {1000 * forces.std():.0f} meV/Å, stress "
        f"{(stress - stress0).std():.2f} of {stress.std():.2f} GPa"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="pair", help="potential that labels: pair, chgnet, sevennet")
    parser.add_argument("--baseline", default="pair", help="potential that samples and predicts")
    parser.add_argument("--frames", type=int, default=60, help="snapshots at each of four temperatures")
    parser.add_argument("--cache", type=Path, default=Path("label_gates.npz"), help="file of the engines' results")
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 60, 240])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.05])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--sets", type=int, default=20, help="sets drawn for each line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-blind", action="store_true", help="leave out the judging without a baseline")
    options = parser.parse_args()
    if options.teacher == options.baseline == "pair":
        data = pair_data(options.frames, options.seed)
    else:
        data = engine_data(options.teacher, options.baseline, options.frames, options.seed, options.cache)
    print(describe(data))
    views = [True] if options.no_blind else [True, False]
    print(
        f"{'poison':<24}{'size':>5}{'share':>7}"
        + "".join(f"{'  detected':>11}{'false alarms':>14}" + (" " if view else " (no baseline)") for view in views)
    )
    totals = {view: np.zeros(4, dtype=int) for view in views}
    for kind in options.kinds:
        for size in options.sizes:
            for share in options.shares if kind != "none" else options.shares[:1]:
                cells = []
                for view in views:
                    counts = study(
                        data, kind, size=size, share=share, sets=options.sets, seed=options.seed, with_baseline=view
                    )
                    totals[view] += np.array(counts)
                    cells.append(_rates(counts))
                print(f"{kind:<24}{size:>5}{share:>7.2f}" + " ".join(cells), flush=True)
    for view, counts in totals.items():
        print(f"in all, {'with' if view else 'without'} a baseline:" + _rates(tuple(counts)))


def _rates(counts: tuple[int, ...]) -> str:
    poisoned, caught, sound, alarms = counts
    found = f"{100 * caught / poisoned:9.1f} %" if poisoned else "         –  "
    return f"{found}{100 * alarms / max(sound, 1):12.2f} %"


if __name__ == "__main__":
    main()
