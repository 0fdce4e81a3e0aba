"""Make a stand-in for a foundation model of MACE, and measure what fine-tuning with a second head and replay keeps.

No foundation checkpoint comes with superionic. The stand-in is a small MACE taught by an accurate universal potential
on the three families of paper A and the phases at the ends of their hulls (``stand_in_crystals.py``): like a foundation
model, it knows several chemistries, and none exactly. Give the steps in order, with one folder::

    python benchmarks/stand_in.py structures WORK                       # orderings, relaxed, distorted, run by NEP89
    python benchmarks/stand_in.py label WORK --teacher nequix:nequix-omat-1.nqx
    python benchmarks/stand_in.py train WORK                            # WORK/stand-in.npz, its labels, two campaigns
    superionic run WORK/naive.yaml
    superionic run WORK/multihead.yaml
    python benchmarks/stand_in.py table WORK

``label`` needs the engine of its teacher (``--teacher sevennet:7net-l3i5`` needs no file), ``train`` and ``table``
that of MACE. Given again, a step that was stopped continues where it was. The campaigns train on the GPAW labels of
trigonal Li3YCl6, a crystal that the stand-in has not seen: one all weights, the other a second head, while the first
head goes on learning the labels of the stand-in. Your own checkpoint takes its place by the line ``file:``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from superionic.execution.codec import decode, encode, from_tree
from superionic.potentials.base import Potential, load_potential
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.distillation import close_contacts, distorted_structures, label_structures
from superionic.training.metrics import ErrorMetrics, errors
from superionic.version import __version__

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "li3ycl6-ladder"
TEMPERATURES_K = (400.0, 700.0, 1000.0)
LARGEST_FORCE_EV_PER_A = 20.0
FORM = {"channels": 16, "layers": 1, "correlation": 2, "r_max_A": 5.0, "max_L": 0}
EPOCHS_PER_SEGMENT = 2
CAMPAIGN = """\
# Written by benchmarks/stand_in.py: fine-tuning on GPAW labels of Li3YCl6. Nothing is sampled that counts.
superionic: 1
name: {name}
seed: 1
mobile_ion: Li
oxidation_states: {{Li: 1, Y: 3, Cl: -1}}
crystals: [{{name: p-3m1, file: {example}/li3ycl6_p-3m1.cif}}]
references: [{{name: licl, file: {example}/licl.cif}}, {{name: ycl3, file: {example}/ycl3.cif}}]
potentials:
  mace:
    engine: mace
    file: stand-in.npz                 # or your own: mace-mp-0.npz, with its energy_convention
    energy_convention: {convention}
enumerate: {{ewald_keep: 1}}
rank: {{potential: mace, relax_top: 1, max_steps: 1}}
hull: {{formula_unit: Li3YCl6}}
select: {{count: 1}}
sample:
  potential: mace
  temperatures_K: [300]
  equilibration_ps: 0.01
  production_ps: 0.02
  save_every_fs: 10
  snapshots: 1
label: {{engine: finished, finished: {{files: [{example}/labels.extxyz]}}}}
train:
  trainer: mace
  epochs: {epochs}
  patience: null
  learning_rate: 0.01
  batch_size: 4
  validation_fraction: 0.15
  test_fraction: 0.2
  {mode}
validate: {{}}
distil: null
transport: null
analyse: null
"""
MODES = {
    "naive": "options: {mode: naive, dtype: float32}",
    "multihead": "replay: learned.extxyz\n  options: {mode: multihead, dtype: float32}",
}


# ---- structures -----------------------------------------------------------------------------------------------------


def make_structures(work: Path, only: str) -> None:
    """Write the structures of every crystal that has none yet, or of the crystals named."""
    from stand_in_crystals import CRYSTALS, OXIDATION_STATES

    import superionic as si

    cheap = si.load_model("nep", model="nep89")
    for number, crystal in enumerate(CRYSTALS):
        out = work / "structures" / f"{crystal.name}.extxyz"
        if out.exists() or (only and crystal.name not in only.split(",")):
            continue
        with cost(work, "structures"):
            cif = work / f"{crystal.name}.cif"
            crystal.write_cif(cif)
            choose = {"supercell": crystal.supercell, "coupling": "coupled", "oxidation_states": OXIDATION_STATES}
            lowest, drawn = (
                si.enumerate_orderings(cif, **choose, seed=1, **how).atoms()
                for how in ({"ewald_top": 2}, {"sample_draws": 1})
            )
            rng = np.random.default_rng([1, number])
            made = [
                frame
                for start, (atoms, is_unseen) in enumerate(
                    [(lowest[-1], True), (lowest[0], False)] + ([] if crystal.is_ordered else [(drawn[0], False)])
                )
                for frame in seeds(atoms, cheap, rng, f"{crystal.name} {start}", TEMPERATURES_K[start], is_unseen)
            ]
            save(out, made)
        print(f"{crystal.name}: {len(made)} structures of {len(made[0])} atoms", flush=True)


def seeds(
    atoms: Atoms, cheap: Potential, rng: np.random.Generator, name: str, temperature_K: float, is_unseen: bool
) -> list[Atoms]:
    """Relax, distort and run an ordering; return fewer structures for one that is not to be learned."""
    from superionic.dynamics.relax import relax
    from superionic.dynamics.run import run_md

    fixed = relax(atoms, cheap, cell=False, fmax_eV_per_A=0.05, max_steps=60).atoms
    free = relax(fixed, cheap, fmax_eV_per_A=0.05, max_steps=60).atoms
    distorted = distorted_structures(
        fixed, 4 if is_unseen else 10, rng, volumes=(0.92, 1.12), max_strain=0.04, rattles_A=(0.03, 0.1, 0.2, 0.3)
    )
    contacts = close_contacts(fixed, 0 if is_unseen else 1, rng, fractions=(0.75, 0.95))
    run = run_md(fixed, cheap, temperature_K=temperature_K, ps=2.0, timestep_fs=1.0, save_every=100, seed=1).segment
    last = np.linspace(len(run.positions_A) // 4, len(run.positions_A) - 1, 3 if is_unseen else 5).round().astype(int)
    frames = [Atoms(atoms.numbers, positions=run.positions_A[i], cell=run.cells_A[i], pbc=True) for i in last]
    kinds = {"relaxed": [fixed], "relaxed with its cell": [free], "distorted": distorted, "contact": contacts}
    made = []
    for kind, structures in (kinds | {f"{temperature_K:g} K": frames}).items():
        for structure in structures:
            bare = Atoms(structure.numbers, positions=structure.positions, cell=structure.cell, pbc=True)
            bare.wrap()
            bare.info = {"run": f"{name} {kind}", "part": "unseen" if is_unseen else "learned"}
            made.append(bare)
    return made


# ---- labels ---------------------------------------------------------------------------------------------------------


def label(work: Path, teacher: str, every: int) -> None:
    """Label every n-th structure of the crystals that have no labels yet."""
    engine, _, choice = teacher.partition(":")
    in_engine(engine)
    of_file = {"file": choice} if Path(choice).is_file() else {"model": choice or None}
    potential = load_potential(engine, **of_file)
    (work / "teacher.json").write_text(json.dumps(asdict(potential.identity)), encoding="utf-8")
    for source in sorted((work / "structures").glob("*.extxyz")):
        out = work / "labels" / source.name
        if out.exists():
            continue
        with cost(work, "label"):
            frames = read(source, f"::{every}")
            structures = [Atoms(f.numbers, positions=f.positions, cell=f.cell, pbc=True) for f in frames]
            made = label_structures(
                potential,
                structures,
                [json.dumps([frame.info["run"], frame.info["part"]]) for frame in frames],
                max_force_eV_per_A=LARGEST_FORCE_EV_PER_A,
            )
            save(out, list(with_labels(made.labelled)))
        print(f"{source.stem}: {len(made.labelled)} labels, {len(made.dropped)} left out", flush=True)


def with_labels(labelled: LabelledSet) -> Iterator[Atoms]:
    """Yield structures with their labels, as ASE writes them."""
    targets = labelled.targets
    for number, atoms in enumerate(labelled.structures):
        frame = atoms.copy()
        frame.info["run"], frame.info["part"] = json.loads(labelled.groups[number])
        frame.calc = SinglePointCalculator(
            frame,
            energy=float(targets.energies_eV[number]),
            forces=targets.forces_eV_per_A[number],
            stress=targets.stresses_eV_per_A3[number],
        )
        yield frame


def labelled_set(frames: Sequence[Atoms], energy_convention: str) -> LabelledSet:
    """Return frames with labels as a set."""
    targets = Targets(
        np.array([frame.get_potential_energy() for frame in frames]),
        tuple(frame.get_forces() for frame in frames),
        np.array([frame.get_stress() for frame in frames]),
    )
    groups = tuple(str(frame.info["run"]) for frame in frames)
    return LabelledSet(tuple(frames), targets, groups, "the teacher", energy_convention)


# ---- training -------------------------------------------------------------------------------------------------------


def train(work: Path, epochs: int, tuning_epochs: int) -> None:
    """Train the stand-in on what is labelled, and write it, its labels, its provenance and the campaigns."""
    without = {f.name for f in (work / "structures").glob("*")} - {f.name for f in (work / "labels").glob("*")}
    if without:
        sys.exit(f"{len(without)} crystals have no labels yet, such as {min(without)}: give the step `label` again")
    in_engine("mace")
    from superionic.models.mace import trainer as mace

    teacher = json.loads((work / "teacher.json").read_text(encoding="utf-8"))
    frames = [frame for file in sorted((work / "labels").glob("*.extxyz")) for frame in read(file, ":")]
    parts = {
        name: labelled_set([f for f in frames if f.info["part"] == name], teacher["energy_convention"])
        for name in ("learned", "unseen")
    }
    options = mace.TrainOptions(
        mode="scratch", epochs=epochs, patience=None, batch_size=8, learning_rate=0.01, loss="universal",
        energy_weight=4.0, dtype="float32", **FORM,
    )  # fmt: skip
    saved = work / "training.npz"
    if saved.exists():
        with np.load(saved) as archive:
            tree = decode(archive["text"].tobytes().decode(), archive["arrays"].tobytes())
        state = from_tree(tree, mace.TrainState, "state")
    else:
        state = mace.start(seed=1, options=options, train=parts["learned"])
    while not state.finished:
        with cost(work, "train"):
            # No set chooses the epoch: the last one is taken, so that the unseen labels stay unseen.
            state = mace.train_epochs(state, parts["learned"], None, EPOCHS_PER_SEGMENT)
            text, arrays = encode(state)
            draft = saved.with_suffix(".draft.npz")
            np.savez(draft, text=np.frombuffer(text.encode(), np.uint8), arrays=np.frombuffer(arrays, np.uint8))
            draft.replace(saved)
        print(state.epoch, f"{state.history[-1]['train']['mae_force_meV_per_A']:.1f} meV/Å", flush=True)
    digest = mace.write_file(state.best_weights, str(work / "stand-in.npz"))
    for name in parts:
        save(work / f"{name}.extxyz", [frame for frame in frames if frame.info["part"] == name])
    about = {
        "sha256": digest, "superionic": __version__, "date": f"{datetime.now().astimezone():%Y-%m-%d}",
        "teacher": {name: value for name, value in teacher.items() if name != "elements"},
        "options": asdict(options), "seed": 1, "epochs": state.epoch,
        "labels": {name: len(part) for name, part in parts.items()}, "cpu_s": spent(work),
        "crystals": {cif.stem: cif.read_text().partition("\n")[0][2:] for cif in sorted(work.glob("*.cif"))},
    }  # fmt: skip
    (work / "stand-in.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for name, text in campaigns(teacher["energy_convention"], tuning_epochs).items():
        (work / f"{name}.yaml").write_text(text, encoding="utf-8")
    print(f"{work / 'stand-in.npz'}: {(work / 'stand-in.npz').stat().st_size / 1e6:.1f} MB, SHA-256 {digest}")


def campaigns(convention: str, epochs: int) -> dict[str, str]:
    """Return the campaign files that fine-tune the stand-in, by name."""
    return {
        name: CAMPAIGN.format(name=name, example=EXAMPLE, convention=convention, epochs=epochs, mode=mode)
        for name, mode in MODES.items()
    }


# ---- the table ------------------------------------------------------------------------------------------------------


def table(work: Path) -> None:
    """Print the errors of both heads on labels that neither has learned, before and after fine-tuning."""
    import superionic as si

    convention = json.loads((work / "teacher.json").read_text(encoding="utf-8"))["energy_convention"]
    unseen = labelled_set(read(work / "unseen.extxyz", ":"), convention)
    rows: list[tuple[str, ErrorMetrics, ErrorMetrics]] = []
    seconds = spent(work)
    own = si.load_model("mace", file=work / "stand-in.npz", energy_convention=convention)
    foundation = errors(evaluated(own, unseen), unseen.targets)
    for name in MODES:
        campaign = si.Campaign.load(work / f"{name}.yaml")
        compared = campaign.run(write_report=False).validate.errors
        exported = work / f"{name}.potential"
        campaign.export_model("fine-tuned", exported)
        head = {"head": "foundation"} if name == "multihead" else {}
        after = errors(evaluated(si.load_model("mace", file=exported, **head), unseen), unseen.targets)
        seconds[name] = sum(stage.cpu_s for stage in campaign.status().stages)
        if not rows:
            rows.append(("before", compared.before, foundation))
        rows.append((name, compared.after, after))
    print(f"Errors (MAE) on {compared.n_structures} GPAW labels of unseen runs, and on {len(unseen)} unseen labels of")
    print("the teacher (for multihead by its old head), and their ratio to those before:\n")
    print("| | GPAW: meV/atom | meV/Å | | teacher: meV/atom | meV/Å | |\n|---|---|---|---|---|---|---|")
    for name, new, kept in rows:
        cells = []
        for one, before in ((new, rows[0][1]), (kept, rows[0][2])):
            cells += [f"{one.mae_energy_meV_per_atom:.1f}", f"{one.mae_force_meV_per_A:.0f}"]
            cells.append(f"× {one.mae_force_meV_per_A / before.mae_force_meV_per_A:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nCPU seconds:", ", ".join(f"{step} {value:.0f}" for step, value in seconds.items()))


def evaluated(potential: Potential, labelled: LabelledSet) -> Targets:
    """Return what a potential gives for the structures of a set."""
    given = [potential.evaluate(atoms) for atoms in labelled.structures]
    return Targets(
        np.array([one.energy_eV for one in given]),
        tuple(one.forces_eV_per_A for one in given),
        np.array([one.stress_eV_per_A3 for one in given]),
    )


# ---- what the steps share -------------------------------------------------------------------------------------------


def in_engine(name: str) -> None:
    """Go on in the Python of an engine, unless it is this one."""
    from superionic.execution.engines import resolve_engine

    location = resolve_engine(name)
    if location.kind == "current":
        return
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [str(location.python), *sys.argv]
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)


@contextmanager
def cost(work: Path, step: str) -> Iterator[None]:
    """Record the CPU time of a part of a step, once it is done."""
    began = time.process_time()
    yield
    with (work / "cpu.csv").open("a", encoding="utf-8") as file:
        file.write(f"{step},{time.process_time() - began:.2f}\n")


def spent(work: Path) -> dict[str, float]:
    """Return the CPU seconds of each step so far."""
    total: dict[str, float] = {}
    with (work / "cpu.csv").open(encoding="utf-8") as file:
        for step, seconds in csv.reader(file):
            total[step] = round(total.get(step, 0.0) + float(seconds), 2)
    return total


def save(path: Path, frames: list[Atoms]) -> None:
    """Write frames, so that the file is there whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".draft")
    write(draft, frames, format="extxyz")
    draft.replace(path)


def main() -> None:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("structures", "label", "train", "table"))
    parser.add_argument("work", type=Path, help="folder of everything that is made")
    parser.add_argument("--teacher", default="sevennet:7net-l3i5", help="ENGINE:FILE or ENGINE:MODEL")
    parser.add_argument("--only", default="", help="crystals to make structures of, divided by commas")
    parser.add_argument("--every", type=int, default=1, help="label every n-th structure of each crystal")
    parser.add_argument("--epochs", type=int, default=200, help="of the stand-in")
    parser.add_argument("--tuning-epochs", type=int, default=250, help="of the campaigns")
    options = parser.parse_args()
    work: Path = options.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    steps: dict[str, Any] = {
        "structures": lambda: make_structures(work, options.only),
        "label": lambda: label(work, options.teacher, options.every),
        "train": lambda: train(work, options.epochs, options.tuning_epochs),
        "table": lambda: table(work),
    }
    steps[options.step]()


if __name__ == "__main__":
    main()
