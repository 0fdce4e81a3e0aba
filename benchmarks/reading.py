"""Reading trajectories: µs a frame and memory beside ASE and pymatgen, on the same files, in one run.

    python benchmarks/reading.py --atoms 240 --frames 4000 --peer-frames 100

Files are written in the forms of VASP, LAMMPS and ASE, read by each program (CPU time, best of three for superionic),
and the positions compared. Peers are given the first frames of the same file only, since they need minutes
otherwise. Memory is that of a process of its own that does nothing but read.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import trajectory_files

from superionic.trajectories.reading import ReadingOptions, open_trajectory

OPTIONS = ReadingOptions(elements=("Li", "Y", "Cl"), units="metal", timestep_fs=2.0)
_MEMORY = """
import sys
from superionic.trajectories.reading import ReadingOptions, open_trajectory

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024

options = ReadingOptions(elements=("Li", "Y", "Cl"), units="metal", timestep_fs=2.0)
blocks = open_trajectory(sys.argv[1], options=options).blocks()
next(blocks)
before = peak()
n = sum(len(block) for block in blocks)
print(before, peak())
"""


def ours(path: Path) -> tuple[np.ndarray, float]:
    """Fractional positions, and CPU seconds for each frame."""
    reader = open_trajectory(path, options=OPTIONS)
    best = np.inf
    for _ in range(3):
        began = time.process_time()
        blocks = list(reader.blocks())
        best = min(best, time.process_time() - began)
    found = np.concatenate([block.fractional for block in blocks])
    return found, best / len(found)


def by_ase(path: Path, kind: str) -> tuple[np.ndarray, float]:
    from ase.io import read

    form = {"xdatcar": "vasp-xdatcar", "lammps_dump": "lammps-dump-text", "extxyz": "extxyz"}[kind]
    more = {"specorder": ["Li", "Y", "Cl"]} if kind == "lammps_dump" else {}
    began = time.process_time()
    frames = read(path, index=":", format=form, **more)
    spent = time.process_time() - began
    places = [(f.positions - f.get_celldisp().T) @ np.linalg.inv(f.cell.array) for f in frames]
    return np.array(places), spent / len(frames)


def by_pymatgen(path: Path, kind: str) -> tuple[np.ndarray, float]:
    began = time.process_time()
    if kind == "xdatcar":
        from pymatgen.io.vasp.outputs import Xdatcar

        structures = Xdatcar(path).structures
        spent = time.process_time() - began
        return np.array([s.frac_coords for s in structures]), spent / len(structures)
    from pymatgen.io.lammps.outputs import parse_lammps_dumps

    dumps = list(parse_lammps_dumps(str(path)))
    spent = time.process_time() - began
    places = []
    for dump in dumps:
        rows = dump.data.sort_values("id")[["x", "y", "z"]].to_numpy()
        lattice = dump.box.to_lattice().matrix
        places.append((rows - np.array(dump.box.bounds)[:, 0]) @ np.linalg.inv(lattice))
    return np.array(places), spent / len(dumps)


def head(path: Path, kind: str, n: int, n_atoms: int) -> Path:
    """Write the first frames of a file as a file, for programs that always read all of it."""
    per_frame, first = {"xdatcar": (n_atoms + 1, 7), "lammps_dump": (n_atoms + 9, 0), "extxyz": (n_atoms + 2, 0)}[kind]
    short = path.with_name(path.name + ".short")
    with path.open() as source, short.open("w") as target:
        for number, line in enumerate(source):
            if number >= first + n * per_frame:
                break
            target.write(line)
    return short


def compared(found: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference, up to whole cells."""
    change = found[: len(theirs)] - theirs
    return float(np.abs(change - np.round(change)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--atoms", type=int, default=240)
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--peer-frames", type=int, default=100)
    arguments = parser.parse_args()
    n_atoms, n_frames = arguments.atoms, arguments.frames
    peer = min(arguments.peer_frames, n_frames)
    symbols = ("Li",) * (n_atoms * 3 // 10) + ("Y",) * (n_atoms // 10)
    symbols += ("Cl",) * (n_atoms - len(symbols))
    cell = np.diag([16.0, 15.0, 17.0])
    import ase
    import pymatgen.core

    versions = f"ASE {ase.__version__}, pymatgen {pymatgen.core.__version__}"
    print(f"{n_atoms} atoms, {n_frames} frames; {versions}; CPU µs a frame")
    columns = [
        "file",
        "MB",
        "superionic",
        "ASE",
        "pymatgen",
        "largest difference",
        "peak MB after the first, last block",
    ]
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fractional = trajectory_files.walk(n_frames, n_atoms)
        for kind in ("xdatcar", "lammps_dump", "extxyz"):
            path = getattr(trajectory_files, kind)(Path(folder) / kind.upper(), fractional, cell, symbols)
            found, own = ours(path)
            short = head(path, kind, peer, n_atoms)
            theirs, ase_time = by_ase(short, kind)
            worst = compared(found, theirs)
            words = "–"
            if kind != "extxyz":
                theirs, pymatgen_time = by_pymatgen(short, kind)
                worst = max(worst, compared(found, theirs))
                words = f"{1e6 * pymatgen_time:,.0f} ({pymatgen_time / own:.0f} ×)"
            memory = subprocess.run(
                [sys.executable, "-c", _MEMORY, str(path)], capture_output=True, text=True, check=True
            ).stdout.split()
            print(
                f"| {kind} | {path.stat().st_size / 1e6:.0f} | {1e6 * own:.0f} | {1e6 * ase_time:,.0f} "
                f"({ase_time / own:.0f} ×) | {words} | {worst:.1e} | {float(memory[0]):.0f} → {float(memory[1]):.0f} |",
                flush=True,
            )
            path.unlink()


if __name__ == "__main__":
    main()
