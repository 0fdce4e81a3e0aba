"""Run every benchmark at a small size, one after the other, to see that each still runs and what its ratios are like.

    python benchmarks [--only REGEX] [--peers PYTHON] [--slurm-here SCRIPT] [--list]

``make benchmarks`` is the same. Exits with 1 if one fails. Sizes are such that all take some minutes, so the ratios are
rough; docs/performance.md has those of the full sizes, with their commands. ``--peers`` is a Python with the other
codes (``pip install kinisi pymatgen-analysis-diffusion gemdat SHRY bsym icet dsenum calorine`` in an environment of its
own). What is missing is listed at the end, with what would bring it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CRYSTAL = ROOT / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"
ORDERINGS = "orderings.extxyz"
LIMIT_S = 1200.0
"""What takes longer has failed."""


@dataclass(frozen=True)
class Benchmark:
    """One script with the arguments that make it small.

    Attributes
    ----------
    script
        Its name.
    arguments
        Of the command; ``{peers}``, ``{slurm}`` and ``{scratch}`` are filled in.
    engine
        Engine without which it cannot run at all.
    peers
        Modules of other codes, one of which at least it needs.
    """

    script: str
    arguments: tuple[str, ...] = ()
    engine: str | None = None
    peers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people, and for ``--only``."""
        return " ".join([self.script, *self.arguments[:1]]) if self.script == "ranking.py" else self.script


BENCHMARKS = (
    Benchmark("startup.py", ("--repeats", "3")),
    Benchmark("overhead.py", ("--tasks", "100")),
    Benchmark("reading.py", ("--atoms", "60", "--frames", "300", "--peer-frames", "10")),
    Benchmark("orderings.py", ("--tiny", "--peers", "{peers}")),
    Benchmark("ewald.py", ("--orderings", "500", "--peer", "3")),
    Benchmark("montecarlo.py", (str(CRYSTAL), "--size", "2x2x2", "--sweeps", "100", "--max-replicas", "6")),
    Benchmark("obelix.py", (str(CRYSTAL.parent),)),
    Benchmark("first_looks.py", (str(CRYSTAL.parent), "--every", "1", "--plan")),
    Benchmark("fuzz_cif.py", ("--count", "50")),
    Benchmark("ranking.py", ("optimizers", "pair", ORDERINGS, "--count", "3", "--only", "QN", "FIRE")),
    Benchmark("ranking.py", ("halving", "pair", ORDERINGS, "--count", "40", "--wanted", "3")),
    Benchmark("md_engines.py", ("--repeat", "1", "--steps", "50", "--rounds", "3")),
    Benchmark("integrators.py", ("--steps", "400", "--seeds", "1", "--cost-steps", "50")),
    Benchmark("label_gates.py", ("--frames", "8", "--sizes", "24", "--shares", "0.05", "--sets", "3")),
    Benchmark("transport.py", ("--seeds", "3", "--regime", "free, 90 hops", "--frames", "1000", "--ions", "24")),
    Benchmark("series.py", ("--seeds", "2")),
    Benchmark("pathways.py", ("--seeds", "1", "--frames", "10000", "--block", "2000")),
    Benchmark("pathways.py", ("--seeds", "0", "--frames", "0", "--scale", "4", "6", "--scale-frames", "300")),
    Benchmark(
        "pathways.py",
        ("--seeds", "0", "--frames", "0", "--peer", "{peers}", "--peer-frames", "500"),
        peers=("gemdat",),
    ),
    Benchmark(
        "transport_peers.py",
        ("--peers", "{peers}", "--seeds", "2", "--regime", "free, 90 hops"),
        peers=("kinisi", "pymatgen.analysis.diffusion", "gemdat"),
    ),
    Benchmark(
        "student.py",
        ("li3ycl6", "--small", "--epochs", "60", "--length-ps", "2", "--teacher-ps", "0.6", "--engines", "chgnet"),
        engine="chgnet",
    ),
    Benchmark("few_labels.py", ("{scratch}/few-labels", "--splits", "1", "--chgnet-epochs", "0"), engine="chgnet"),
    Benchmark("label_cost.py", ("test", "--frames", "20", "--alone-frames", "5"), engine="nequix"),
    Benchmark(
        "student_step.py",
        ("--atoms", "60", "240", "--steps", "3", "--rounds", "2", "--calorine", "{peers}"),
        peers=("calorine",),
    ),
    Benchmark("stand_in.py", ("structures", "stand-in", "--only", "licl,halide-in1-br0"), engine="nep89"),
    Benchmark("slurm.py", ("{slurm}", "--segments", "4")),
)
PARTS = ("walkers.py", "trajectory_files.py", "stand_in_crystals.py", "__main__.py")
"""Modules of this folder that are no benchmarks."""


def main() -> int:
    """Run them and say what became of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="REGEX", help="only those whose names match")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="a Python with other codes")
    parser.add_argument("--slurm-here", metavar="SCRIPT", help="starts and stops a Slurm here; see slurm.py")
    parser.add_argument("--list", action="store_true", help="print the commands and run nothing")
    options = parser.parse_args()
    filled = {"{peers}": options.peers, "{slurm}": options.slurm_here or "{slurm}"}
    outcomes: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory(prefix="superionic-benchmarks-") as scratch:
        for benchmark in BENCHMARKS:
            if not re.search(options.only, benchmark.name):
                continue
            arguments = [filled.get(argument, argument) for argument in benchmark.arguments]
            print(f"\n== {' '.join(['benchmarks/' + benchmark.script, *arguments])}", flush=True)
            if options.list:
                continue
            lacking = what_is_lacking(benchmark, options.peers, options.slurm_here)
            began = time.monotonic()
            outcome = lacking or run(benchmark.script, arguments, Path(scratch))
            print(outcome, flush=True)
            outcomes.append((benchmark.name, time.monotonic() - began, outcome))
    print()
    for name, seconds, outcome in outcomes:
        print(f"{name:<22}{seconds:8.1f} s  {outcome}")
    return int(any(outcome.startswith("FAILED") for _, _, outcome in outcomes))


def what_is_lacking(benchmark: Benchmark, peers: str, slurm_here: str | None) -> str:
    """Say why a benchmark cannot run here, and what would let it; empty if it can."""
    if benchmark.engine is not None and not has_engine(benchmark.engine):
        return f"left out: the engine {benchmark.engine} is missing (superionic engines install {benchmark.engine})"
    if "{slurm}" in benchmark.arguments and slurm_here is None:
        return "left out: no Slurm (--slurm-here SCRIPT; `make slurm` tests on one of its own)"
    if benchmark.peers and not any(has_module(peers, module) for module in benchmark.peers):
        return f"left out: {peers} has none of {', '.join(benchmark.peers)} (--peers PYTHON)"
    return ""


def has_engine(name: str) -> bool:
    """Say whether an engine is installed."""
    from superionic.errors import EngineError
    from superionic.execution.engines import resolve_engine

    try:
        resolve_engine(name)
    except EngineError:
        return False
    return True


def has_module(python: str, module: str) -> bool:
    """Say whether a Python has a module."""
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    return done.returncode == 0


def run(script: str, arguments: list[str], scratch: Path) -> str:
    """Run one benchmark in a folder for what it leaves; return ``ok`` or how it failed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    if ORDERINGS in arguments and not (scratch / ORDERINGS).exists():
        command = [
            "-m",
            "superionic.cli",
            "enumerate",
            str(CRYSTAL),
            "--sample",
            "12",
            "--seed",
            "1",
            "--out",
            ORDERINGS,
        ]
        made = subprocess.run(
            [sys.executable, *command], cwd=scratch, env=environment, stdout=subprocess.DEVNULL, check=False
        )
        if made.returncode != 0:
            return "FAILED: its orderings could not be made"
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    try:
        code = subprocess.run(command, cwd=scratch, env=environment, check=False, timeout=LIMIT_S).returncode
    except subprocess.TimeoutExpired:
        return f"FAILED: not done after {LIMIT_S:.0f} s"
    return "ok" if code == 0 else f"FAILED: exit status {code}"


if __name__ == "__main__":
    sys.exit(main())
