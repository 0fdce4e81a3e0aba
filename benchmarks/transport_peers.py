"""Diffusivities by superionic and by other codes from the same trajectories of known diffusivity, in one run.

    python benchmarks/transport_peers.py --peers PYTHON --seeds 40
    python benchmarks/transport_peers.py --peers PYTHON --speed 40000

PYTHON is an interpreter that has the peers: `pip install kinisi pymatgen-analysis-diffusion gemdat` in an environment
of their own. Each peer is used as its documentation shows. kinisi asks its user where the diffusive regime begins; two
answers that a user might give are tried. GEMDAT gives no error. `--speed` measures one long trajectory of 240 atoms:
mean squared displacement, D*, D_σ and Haven ratio.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from walkers import hopping_walkers

from superionic.transport.analysis import analyse_displacements
from transport import REGIMES

TRIED = (
    "free, 700 hops",
    "free, 90 hops",
    "50 % frozen, 700 hops",
    "caged 1/ps, 700 hops",
    "exclusion, 10 hops an ion",
)
EDGE_A = 24.0
A2_PER_PS = 1.0e4  # cm²/s over Å²/ps, inverse

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
name, file, dt_ps, edge = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
loaded = np.load(file)
rows, version = [], ""


def framework(n):
    return np.broadcast_to(np.arange(8)[:, None] * edge / 8.0 + 0.3, (8, 3)) + np.zeros((n, 8, 3))


for key in loaded.files:
    path = loaded[key]
    n, ions, _ = path.shape
    whole = np.concatenate([path, framework(n)], axis=1)
    symbols = ["Li"] * ions + ["Cl"] * 8
    start = time.process_time()
    error, haven = None, None
    if name == "pymatgen":
        import pymatgen.analysis.diffusion.analyzer as module
        from importlib.metadata import version as of
        from pymatgen.core import Lattice, Structure
        version = of("pymatgen-analysis-diffusion")
        structure = Structure(Lattice.cubic(edge), symbols, whole[0], coords_are_cartesian=True)
        steps = (whole[1:] - whole[0]).transpose(1, 0, 2)
        found = module.DiffusionAnalyzer(structure, steps, "Li", 600, dt_ps * 1000.0, 1, smoothed="max")
        value, error = found.diffusivity * 1e4, found.diffusivity_std_dev * 1e4
        haven = float(found.haven_ratio)
    elif name.startswith("kinisi"):
        import kinisi, scipp as sc
        from importlib.metadata import version as of
        from ase import Atoms
        from kinisi.analyze import DiffusionAnalyzer
        version = of("kinisi")
        frames = [Atoms(symbols, positions=p % edge, cell=[edge] * 3, pbc=True) for p in whole]
        last = (n - 1) * dt_ps
        steps = np.unique(np.linspace(1, n // 2, 100).astype(int)) * dt_ps
        intervals = sc.array(dims=["time interval"], values=steps, unit="ps")
        found = DiffusionAnalyzer.from_ase(frames, "Li", sc.scalar(dt_ps, unit="ps"),
            sc.scalar(1, unit="dimensionless"), dt=intervals, progress=False)
        found.diffusion(sc.scalar(float(name.split()[1]), unit="ps"), progress=False)
        samples = sc.to_unit(found.D, "angstrom**2/ps").values
        value, error = float(np.mean(samples)), float(np.std(samples))
    else:
        import gemdat
        from pymatgen.core import Lattice, Species
        version = gemdat.__version__
        trajectory = gemdat.Trajectory(species=[Species(s) for s in symbols], coords=(whole / edge) % 1.0,
            lattice=np.eye(3) * edge, time_step=dt_ps * 1e-12, metadata={"temperature": 600})
        metrics = trajectory.filter("Li").metrics()
        value = float(metrics.tracer_diffusivity(dimensions=3)) * 1e8
        haven = float(metrics.haven_ratio(dimensions=3))
    rows.append({"value": value, "error": error, "haven": haven, "cpu_s": time.process_time() - start})
# Not ru_maxrss: a child inherits that of its parent.
status = open("/proc/self/status").read() if sys.platform == "linux" else "VmHWM: nan kB"
memory = float(status.split("VmHWM:")[1].split()[0]) / 1024.0
print(json.dumps({"version": version, "rows": rows, "memory_MB": memory}))
"""

PEERS = ("pymatgen", "kinisi 1", "kinisi 10", "gemdat")


def ours(paths, dt_ps):
    """Analyse; two rows for each trajectory: ours, and the fit of the literature."""
    rows, literature = [], []
    for path in paths:
        began = time.process_time()
        found = analyse_displacements(
            path, np.eye(3) * EDGE_A, np.ones(path.shape[1], dtype=bool), dt_ps, temperature_K=600.0, charges=1.0
        )
        spent = time.process_time() - began
        tracer = found.tracer.A2_per_ps
        rows.append(
            {
                "value": tracer.value,
                "error": tracer.error,
                "intervals": (tracer.interval68, tracer.interval95),
                "haven": found.haven_ratio.value,
                "cpu_s": spent,
            }
        )
        he = found.tracer.he2018
        if he is not None:
            literature.append({"value": he.value_A2_per_ps, "error": he.error_A2_per_ps, "haven": None, "cpu_s": spent})
    return rows, literature


def peer(python, name, paths, dt_ps):
    """Let a peer analyse the same trajectories in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "paths.npz"
        np.savez(file, **{f"{i:05d}": path for i, path in enumerate(paths)})
        script = Path(folder) / "peer.py"
        script.write_text(PEER)
        done = subprocess.run(
            [python, str(script), name, str(file), str(dt_ps), str(EDGE_A)], capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        return None, done.stderr.strip().splitlines()[-1:]
    return json.loads(done.stdout.strip().splitlines()[-1]), None


def line(regime, name, rows, truth, memory):
    """One row of the table: bias, scatter, stated error, coverage, Haven ratio, CPU, memory."""
    values = np.array([row["value"] for row in rows]) / truth
    text = f"| {regime} | {name} | {values.mean() - 1:+.3f} | {values.std(ddof=1):.3f} | "
    if rows[0]["error"] is None:
        text += "– | – | – | "
    else:
        errors = np.array([row["error"] for row in rows]) / truth
        if "intervals" in rows[0]:
            inside = [[low <= truth <= high for low, high in row["intervals"]] for row in rows]
            first, second = np.mean(inside, axis=0)
        else:
            first, second = (np.mean(np.abs(values - 1.0) <= width * errors) for width in (1.0, 1.96))
        text += f"{np.median(errors):.3f} | {first:.2f} | {second:.2f} | "
    havens = [row["haven"] for row in rows if row["haven"] is not None]
    text += (f"{np.median(havens):.3g}" if havens else "–") + " | "
    text += f"{1000.0 * np.mean([row['cpu_s'] for row in rows]):.0f} | {memory:.0f} |"
    print(text, flush=True)


def table(options):
    """Print the table over regimes and codes."""
    print("| trajectories | code | bias | scatter | stated | in 68 % | in 95 % | Haven | CPU ms | MB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for regime in options.regime or TRIED:
        make, dt_ps = REGIMES[regime]
        made = [make(seed) for seed in range(options.first_seed, options.first_seed + options.seeds)]
        paths, truth = [path for path, _ in made], made[0][1]
        truth = truth[0] if isinstance(truth, tuple) else truth
        rows, literature = ours(paths, dt_ps)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
        line(regime, "**superionic**", rows, truth, memory)
        if len(literature) > 1:
            line(regime, f"He 2018 ({len(literature)} of {len(rows)})", literature, truth, memory)
        for name in PEERS:
            found, problem = peer(options.peers, name, paths, dt_ps)
            if found is None:
                print(f"| {regime} | {name} | failed: {problem} |")
                continue
            words = f"{name.split()[0]} {found['version']}" + (f", from {name.split()[1]} ps" if " " in name else "")
            line(regime, words, found["rows"], truth, found["memory_MB"])


def speed(options):
    """Print CPU time and memory for one long trajectory."""
    path, _ = hopping_walkers(
        n_ions=72, duration_ps=(options.speed - 1) * 0.01, frame_interval_ps=0.01, hops_per_ion=20, seed=1
    )
    ours([path[:12000]], 0.01)  # compiles
    rows, _ = ours([path], 0.01)
    own = rows[0]["cpu_s"]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(f"{len(path)} frames x 72 ions: superionic {own:.2f} CPU s, {memory:.0f} MB")
    for name in ("pymatgen", "gemdat"):
        found, problem = peer(options.peers, name, [path], 0.01)
        if found is None:
            print(f"{name}: failed: {problem}")
            continue
        spent = found["rows"][0]["cpu_s"]
        print(f"{name} {found['version']}: {spent:.2f} CPU s ({spent / own:.1f} x), {found['memory_MB']:.0f} MB")


def main():
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, metavar="PYTHON")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=30_000)
    parser.add_argument("--regime", action="append", choices=sorted(REGIMES))
    parser.add_argument("--speed", type=int, metavar="FRAMES")
    options = parser.parse_args()
    if options.speed:
        speed(options)
    else:
        table(options)


if __name__ == "__main__":
    main()
