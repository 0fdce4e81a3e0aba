"""Measure what labels by Nequix cost: many frames together, one by one, and by Nequix's own calculator.

Frames are those of the GPAW labels of Li3YCl6 (30 atoms), and rattled copies of them. Any Python that has superionic
starts the one of the engine::

    python benchmarks/label_cost.py nequix-omat-1.nqx --frames 100 --peer-frames 20

Times are CPU seconds on one thread, those of compiling apart. All are measured in one run, and what the ways give is
compared. ``test`` instead of a file is a small network, which shows that the benchmark runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from superionic.potentials.base import Prediction, load_potential

LABELS = Path(__file__).resolve().parents[1] / "examples" / "li3ycl6-ladder" / "labels.extxyz"
_RATTLE_A = 0.05


def frames_of(count: int) -> list[Atoms]:
    """Take the frames of the labels, and rattled copies until there are enough."""
    labelled = read(LABELS, ":")
    rng = np.random.default_rng(0)
    frames = []
    for number in range(count):
        source = labelled[number % len(labelled)]
        moves = _RATTLE_A * rng.standard_normal((len(source), 3)) if number >= len(labelled) else 0.0
        frames.append(Atoms(numbers=source.numbers, positions=source.positions + moves, cell=source.cell, pbc=True))
    return frames


def timed(run: Callable[[], list[Prediction]]) -> tuple[list[Prediction], float, float]:
    """Run twice: what is given, CPU seconds of the second time, and how many more the first took."""
    began = time.process_time()
    run()
    first_s = time.process_time() - began
    began = time.process_time()
    made = run()
    second_s = time.process_time() - began
    return made, second_s, first_s - second_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", help="nequix-omat-1.nqx or nequix-mp-1.nqx; or test")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--alone-frames", type=int, default=20)
    parser.add_argument("--peer-frames", type=int, default=20)
    arguments = parser.parse_args()
    if importlib.util.find_spec("nequix") is None:
        from superionic.execution.engines import resolve_engine

        source = Path(__file__).resolve().parents[1] / "src"
        environment = {**os.environ, "PYTHONPATH": str(source)}
        command = [str(resolve_engine("nequix").python), __file__, *sys.argv[1:]]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    is_test = arguments.file == "test"
    frames = frames_of(arguments.frames)
    began = time.process_time()
    potential = load_potential("nequix", model="test" if is_test else None, file=None if is_test else arguments.file)
    print(f"loaded in {time.process_time() - began:.1f} CPU s; {len(frames)} frames of {len(frames[0])} atoms")

    many, each_s, compiling_s = timed(lambda: potential.evaluate_many(frames))
    each_s /= len(frames)
    print("| way | CPU ms per frame | compiling, CPU s | 1,000 frames, CPU s |\n|---|---|---|---|")
    print(f"| together | {1e3 * each_s:.0f} | {compiling_s:.0f} | {compiling_s + 1e3 * each_s:.0f} |", flush=True)
    some = frames[: arguments.alone_frames]
    alone, alone_s, compiling_s = timed(lambda: [potential.evaluate(atoms) for atoms in some])
    alone_s /= len(some)
    print(f"| one by one | {1e3 * alone_s:.0f} | {compiling_s:.0f} | {compiling_s + 1e3 * alone_s:.0f} |", flush=True)
    if is_test:
        return
    from nequix.calculator import NequixCalculator

    calculator = NequixCalculator(model_path=arguments.file, use_kernel=False)
    peers = frames[: arguments.peer_frames]

    def theirs() -> list[Prediction]:
        made = []
        for atoms in peers:
            copy = atoms.copy()
            copy.calc = calculator
            made.append(Prediction(copy.get_potential_energy(), copy.get_forces(), copy.get_stress()))
        return made

    given, peer_s, compiling_s = timed(theirs)
    peer_s /= len(peers)
    print(f"| NequixCalculator | {1e3 * peer_s:.0f} | {compiling_s:.0f} | {compiling_s + 1e3 * peer_s:.0f} |")
    print(f"together against NequixCalculator {version('nequix')}: {peer_s / each_s:.2f} times as fast")
    for name, others in (("one by one", alone), ("NequixCalculator", given)):
        pairs = list(zip(many, others, strict=False))
        force = max(float(np.abs(a.forces_eV_per_A - b.forces_eV_per_A).max()) for a, b in pairs)
        energy = max(abs(a.energy_eV - b.energy_eV) / len(a.forces_eV_per_A) for a, b in pairs)
        print(f"together and {name} differ by {force:.1e} eV/Å and {energy:.1e} eV/atom at most")


if __name__ == "__main__":
    main()
