"""Density, sites and jumps: how many true jumps are found, how fast, and next to GEMDAT on the same trajectory.

    PYTHONPATH=src python benchmarks/pathways.py --frames 400000
    PYTHONPATH=src python benchmarks/pathways.py --peer PYTHON_WITH_GEMDAT --peer-frames 4000
    PYTHONPATH=src python benchmarks/pathways.py --seeds 0 --frames 0 --scale 4 8 --scale-frames 1500

The trajectory is made of walkers on the sites of a simple cubic lattice (3 Å apart) with vibrations and hops of finite
length, whose every jump is known. The peer runs in an interpreter of its own, on the same file, in the same session.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

SITE_DISTANCE_A = 3.0
EDGE = 4
N_MOBILE, N_ATOMS = 36, 240
STEPS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from gemdat import Trajectory
from gemdat.transitions import Transitions
from pymatgen.core import Lattice, Species, Structure
import gemdat
path, edge, cell, dt = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
positions = np.load(path)
start = time.process_time()
trajectory = Trajectory(species=[Species("Li", 1)] * positions.shape[1], coords=(positions / cell) % 1.0,
    lattice=np.eye(3) * cell, time_step=dt * 1e-12, metadata={"temperature": 600}, coords_are_displacement=False)
volume = trajectory.to_volume(resolution=0.25)
seconds = {"density": time.process_time() - start}
grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) / edge
sites = Structure(Lattice.cubic(cell), ["Li"] * len(grid), grid, labels=["x"] * len(grid))
found = {}
for name, options in (("radius 1.5 A", {"site_radius": 1.5}),
                      ("radius 1.5 A, inner 0.4", {"site_radius": 1.5, "site_inner_fraction": 0.4})):
    start = time.process_time()
    jumps = trajectory.transitions_between_sites(sites, "Li", **options).jumps()
    seconds["sites and jumps, " + name] = time.process_time() - start
    found[name] = int(jumps.n_jumps)
start = time.process_time()
peaks = volume.to_structure(specie="Li")
seconds["sites from the density"] = time.process_time() - start
print(json.dumps({"version": gemdat.__version__, "seconds": seconds, "jumps": found, "sites": len(peaks),
    "counts": int(volume.data.sum())}))
"""


def walkers(*, n_ions, n_frames, dt, hops_per_ion_ps, vibration_A, seed, rest_ps=0.1, hop_ps=0.2, start=None):
    """Make unwrapped positions (frames, ions, 3) in float32 and the list of true jumps (ion, time, step)."""
    rng = np.random.default_rng(seed)
    keep = np.exp(-dt / 0.1)
    path = np.empty((n_frames, n_ions, 3), dtype=np.float32)
    times = np.arange(n_frames) * dt
    places = np.array(list(itertools.product(range(EDGE), repeat=3)))
    where = places[rng.permutation(len(places))[:n_ions]] if start is None else start
    truth = []
    for ion in range(n_ions):
        noise = rng.normal(0, vibration_A * np.sqrt(1 - keep**2), (n_frames, 3))
        noise[0] = rng.normal(0, vibration_A, 3)
        track = lfilter([1.0], [1.0, -keep], noise, axis=0) + SITE_DISTANCE_A * where[ion]
        now = rng.exponential(1 / hops_per_ion_ps)
        while now + hop_ps + rest_ps < times[-1]:
            step = STEPS[rng.integers(6)]
            first, last = np.searchsorted(times, [now, now + hop_ps])
            track[first:last] += ((times[first:last] - now) / hop_ps)[:, None] * step * SITE_DISTANCE_A
            track[last:] += step * SITE_DISTANCE_A
            truth.append((ion, now + hop_ps / 2, *step))
            now += hop_ps + rest_ps + rng.exponential(1 / hops_per_ion_ps)
        path[:, ion] = track
    return path, truth


def lattice_sites(edge=EDGE):
    from superionic.transport.sites.positions import SiteSet

    grid = np.array(list(itertools.product(range(edge), repeat=3))) / edge
    return SiteSet(grid, ("x",) * len(grid), SITE_DISTANCE_A * edge * np.eye(3))


def compared(found, truth, within_ps=0.6):
    times, vectors = found.left_frame * found.frame_interval_ps, np.rint(found.vectors_A / SITE_DISTANCE_A)
    by_ion = {ion: np.flatnonzero(found.ion == ion) for ion in range(found.n_ions)}
    free, hits = np.ones(found.n_jumps, dtype=bool), 0
    for ion, moment, *step in truth:
        rows = by_ion[ion]
        same = rows[free[rows] & (np.abs(times[rows] - moment) < within_ps) & (vectors[rows] == step).all(axis=1)]
        if len(same):
            free[same[0]] = False
            hits += 1
    return hits / len(truth), free.sum() / len(truth)


def truth_table(seeds):
    from superionic.transport.sites.jumps import follow_sites

    print("true jumps found and false ones, sites 3 Å apart, hops of 0.2 ps, rest of at least 0.1 ps")
    print(
        f"{'hops/ps':>8s} {'frames (ps)':>12s} {'vibration (Å per axis)':>23s} {'true':>7s} {'found':>8s} {'false':>8s}"
    )
    for rate, dt, vibration in itertools.product((0.05, 0.005), (0.1, 0.02), (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6)):
        rows, total = [], 0
        for seed in range(seeds):
            n_frames = round(200 / dt) + 1
            path, truth = walkers(
                n_ions=36, n_frames=n_frames, dt=dt, hops_per_ion_ps=rate, vibration_A=vibration, seed=seed
            )
            rows.append(compared(follow_sites(path, lattice_sites(), dt), truth))
            total += len(truth)
        found, false = np.mean(rows, axis=0)
        print(f"{rate:8.3f} {dt:12.2f} {vibration:23.2f} {total:7d} {100 * found:7.2f}% {100 * false:7.2f}%")


def speed(n_frames, block):
    """Time density, sites and jumps of 72 mobile ions among 240 atoms, in float32 blocks, drift removed."""
    from superionic.transport.density.grid import DensityCounter, FrameworkCentre, probability_density
    from superionic.transport.sites.jumps import SiteTracker, follow_sites
    from superionic.transport.sites.positions import density_basins

    n_ions, cell = 72, SITE_DISTANCE_A * EDGE * np.eye(3)
    mobile = np.arange(n_ions)
    rng = np.random.default_rng(0)
    places = np.array(list(itertools.product(range(EDGE), repeat=3)))
    start = places[rng.integers(len(places), size=n_ions)]
    part, _ = walkers(
        n_ions=n_ions, n_frames=block, dt=0.01, hops_per_ion_ps=0.05, vibration_A=0.3, seed=0, start=start
    )
    whole = rng.normal(0, 0.2, (block, N_ATOMS, 3)).astype(np.float32)
    whole[:, mobile] = part
    follow_sites(whole[:10], lattice_sites(), 0.01, columns=mobile)  # compile
    probability_density(whole[:10], cell, columns=mobile)
    density_basins(probability_density(whole[:200], cell, columns=mobile))
    FrameworkCentre(np.arange(n_ions, N_ATOMS)).add(whole[:10])
    counter, tracker = DensityCounter(cell, mobile), SiteTracker(lattice_sites(), mobile)
    centre = FrameworkCentre(np.arange(n_ions, N_ATOMS))
    spent = dict.fromkeys(("drift of the framework", "density", "sites and jumps", "sites from the density"), 0.0)
    for _ in range(n_frames // block):
        begin = time.process_time()
        drift = centre.add(whole)
        middle = time.process_time()
        counter.add(whole, cell, drift)
        late = time.process_time()
        tracker.add(whole, origins_A=drift)
        end = time.process_time()
        spent["drift of the framework"] += middle - begin
        spent["density"] += late - middle
        spent["sites and jumps"] += end - late
    begin = time.process_time()
    found, density = tracker.result(0.01), counter.result()
    basins = density_basins(density)
    spent["sites from the density"] = time.process_time() - begin
    print(f"\n{n_frames} frames × {N_ATOMS} atoms, {n_ions} mobile, in blocks of {block} (float32):")
    for name, seconds in spent.items():
        print(f"  {name:24s} {seconds:7.2f} CPU s")
    print(
        f"  {'together':24s} {sum(spent.values()):7.2f} CPU s, peak {_peak_GB():.2f} GB (one block held: "
        f"{whole.nbytes / 1e9:.2f} GB); {found.n_jumps} jumps, {len(basins.sites)} sites, "
        f"Σ occupancies {found.occupancies.sum():.6f}, "
        f"∫P {density.probability_per_A3.sum() * density.voxel_volume_A3:.12f}"
    )


def scaling(edges, n_frames):
    """Time all that is said about where ions go, and the pair distributions, in cells of so many sites along each edge.

    Three of four atoms are framework, three of ten sites are taken, as in Li3YCl6.
    """
    from superionic.transport.observables.pair_distribution import pair_distributions
    from superionic.transport.sites.migration import analyse_migration

    print(f"\nanalysis with sites, {n_frames} frames, all of migration (CPU s), and pair distributions in 200 frames:")
    rows = []
    for number, edge in enumerate([edges[0], *edges]):  # the first one compiles
        cell, sites = SITE_DISTANCE_A * edge * np.eye(3), lattice_sites(edge)
        rng = np.random.default_rng(3)
        n_ions = max(2, round(0.3 * len(sites)))
        n_atoms = 4 * n_ions
        start = np.rint(sites.fractional * edge).astype(int)[rng.permutation(len(sites))[:n_ions]]
        part, _ = walkers(
            n_ions=n_ions, n_frames=n_frames, dt=0.05, hops_per_ion_ps=0.05, vibration_A=0.3, seed=3, start=start
        )
        whole = np.empty((n_frames, n_atoms, 3), dtype=np.float32)
        whole[:] = rng.uniform(0.0, cell[0, 0], (n_atoms, 3))
        whole[:, :n_ions] = part
        drift = np.zeros((n_frames, 3))
        begin = time.process_time()
        analyse_migration(
            lambda w=whole, c=cell, d=drift: iter([(w, c, d)]), np.arange(n_ions), n_frames, 0.05, 600.0, sites=sites
        )
        middle = time.process_time()
        pair_distributions(whole, cell, ["Li"] * n_ions + ["Cl"] * (n_atoms - n_ions))
        if number:
            rows.append((n_atoms, middle - begin, time.process_time() - middle))
    for n_atoms, migration, pairs in rows:
        times = f"{n_atoms / rows[0][0]:6.1f} × the atoms"
        ratios = f"{migration / rows[0][1]:6.1f} × and {pairs / rows[0][2]:6.1f} × the time"
        print(f"  {n_atoms:6d} atoms {migration:8.2f} {pairs:8.2f}   {times}, {ratios}")


def _peak_GB():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _output(command):
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The peer failed:\n{done.stderr[-2000:]}")
    return done.stdout


def against_gemdat(python, n_frames):
    """Run both on one trajectory, one after the other."""
    from superionic.transport.density.grid import probability_density
    from superionic.transport.sites.jumps import follow_sites
    from superionic.transport.sites.positions import density_basins

    dt, edge_A = 0.05, SITE_DISTANCE_A * EDGE
    path, truth = walkers(n_ions=N_MOBILE, n_frames=n_frames, dt=dt, hops_per_ion_ps=0.05, vibration_A=0.3, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "positions.npy"
        np.save(file, path)
        command = [python, "-c", PEER, str(file), str(EDGE), str(edge_A), str(dt)]
        peer = json.loads(_output(command).splitlines()[-1])
    # the first call of each kernel reads or makes its machine code, which is no part of the analysis
    follow_sites(path[:100], lattice_sites(), dt)
    density_basins(probability_density(path[:500], edge_A * np.eye(3)))
    begin = time.process_time()
    density = probability_density(path, edge_A * np.eye(3))
    middle = time.process_time()
    found = follow_sites(path, lattice_sites(), dt)
    late = time.process_time()
    basins = density_basins(density)
    end = time.process_time()
    ours = {"density": middle - begin, "sites and jumps": late - middle, "sites from the density": end - late}
    shares = compared(found, truth)
    print(f"\n{n_frames} frames × {N_MOBILE} ions, GEMDAT {peer['version']} and superionic on the same positions:")
    print(f"  {'':52s} {'GEMDAT':>10s} {'ours':>8s} {'ratio':>7s}   (CPU s)")
    for name, seconds in peer["seconds"].items():
        own = ours[name.split(",")[0]]
        print(f"  {name:52s} {seconds:10.2f} {own:8.3f} {seconds / own:7.0f}")
    print(
        f"  true jumps {len(truth)}; ours {found.n_jumps} "
        f"(found {100 * shares[0]:.2f} %, false {100 * shares[1]:.2f} %); "
        + "; ".join(f"GEMDAT with {name}: {count}" for name, count in peer["jumps"].items())
    )
    print(
        f"  sites in the density: ours {len(basins.sites)}, GEMDAT {peer['sites']}, true {EDGE**3}; "
        f"visits counted: ours {density.counts.sum()}, GEMDAT {peer['counts']}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, default=2, help="seeds of each row of the table of true jumps; 0: no table"
    )
    parser.add_argument("--frames", type=int, default=400_000, help="frames of the timing; 0: no timing")
    parser.add_argument("--block", type=int, default=10_000, help="frames in a block")
    parser.add_argument(
        "--scale", type=int, nargs="*", default=[], metavar="SITES", help="cells of so many sites a side"
    )
    parser.add_argument("--scale-frames", type=int, default=1500)
    parser.add_argument("--peer", help="Python interpreter with GEMDAT")
    parser.add_argument("--peer-frames", type=int, default=4000)
    arguments = parser.parse_args()
    if arguments.seeds:
        truth_table(arguments.seeds)
    if arguments.frames:
        speed(arguments.frames, min(arguments.block, arguments.frames))
    if arguments.scale:
        scaling(arguments.scale, arguments.scale_frames)
    if arguments.peer:
        against_gemdat(arguments.peer, arguments.peer_frames)
    else:
        print("\nnot measured: GEMDAT (--peer PYTHON)")


if __name__ == "__main__":
    main()
