"""Orderings of disordered crystals, side by side with other codes: counts, listing, Ewald ranking, start-up.

Every measurement runs in a fresh process, one after the other: superionic in this Python, the peers (SHRY, bsym, icet,
dsenum, and pymatgen's EwaldSummation) in the Pythons given, of each the newest version found. Both sides start from
the same structure in memory (cell, sites, counts), search its symmetry and list all distinct orderings. Times are CPU
seconds of the process (``time.process_time``) after imports, the least of some repeats; memory is the peak resident
size of the whole process. What the codes disagree about is printed, and makes the exit status 1.

Two peers are programs: ``supercell`` (C++, https://github.com/orex/supercell) and ``enum.x`` of enumlib (Fortran,
https://github.com/msg-byu/enumlib), to be built from source. They read the same structure from files, and their times
are CPU seconds of all their threads, with the start of the program and the reading of its input.

    python benchmarks/orderings.py --data FOLDER --peers PYTHON [--peers PYTHON ...] [--limit 120]
                                   [--supercell PROGRAM] [--enumlib PROGRAM]

FOLDER holds ``known_counts.json`` and its crystals; without it the crystals of ``examples/`` are taken.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEERS = {"shry": "SHRY", "bsym": "bsym", "icet": "icet", "dsenum": "dsenum"}
PROGRAMS = ("supercell", "enumlib")
CHARGES = {"Li": 1, "Na": 1, "Y": 3, "In": 3, "Zr": 4, "Si": 4, "P": 5, "O": -2, "Cl": -1, "Br": -1, "X": 0}
MAX_LISTED = 1_000_000_000
TOP = 2000
# One stand-in element for each species of each group: peers take no vacancies, and share counts between groups else.
STAND_INS = ("He", "Ne", "Ar", "Kr", "Xe", "Rn", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk", "Cf")


@dataclass(frozen=True)
class Case:
    """A composition of a supercell; what is not known of it is None."""

    name: str
    cif: Path
    supercell: str
    coupling: str
    blocks: list[dict[str, Any]] | None = None
    raw: int | None = None
    distinct: int | None = None
    group_order: int | None = None
    peers: bool = True

    @property
    def is_listed(self) -> bool:
        """Whether it is small enough to be listed."""
        return self.distinct is None or self.distinct <= MAX_LISTED


def cases_of(data: Path | None, *, tiny: bool, large: bool) -> list[Case]:
    if data is None:
        chloride = ROOT / "examples" / "li3ycl6" / "li3ycl6_p-3m1.cif"
        bromide = ROOT / "examples" / "li3ycl6-xbrx" / "li3ybr6_c2m.cif"
        if tiny:
            return [Case("li3ycl6 1x1x1", chloride, "1x1x1", "per-orbit")]
        return [
            Case("li3ycl6 1x1x1", chloride, "1x1x1", "per-orbit"),
            Case("li3ybr6 1x1x2", bromide, "1x1x2", "per-orbit"),
            Case("li3ycl6 1x1x2", chloride, "1x1x2", "per-orbit"),
        ]
    known = json.loads((data / "known_counts.json").read_text(encoding="utf-8"))["fixed_supercell"]
    cases = []
    for name, entry in known.items():
        supercell = "x".join(re.findall(r"\d+", entry["supercell"])) or "primitive"
        coupling = "coupled" if "coupled" in name else "per-orbit"
        cases.append(
            Case(
                name, data / entry["cif"], supercell, coupling,
                entry["blocks"], entry["raw"], entry["distinct"], entry.get("group_order"),
            )
        )  # fmt: skip
    cases.sort(key=lambda case: case.raw or 0)
    if large:
        more = (
            ("lyc_orbit_113", "lyc_orbit.cif", "1x1x3", "per-orbit"),
            ("lycb_x3_coupled_111", "lycb_x3.cif", "1x1x1", "coupled"),
        )
        cases += [Case(n, data / f, s, c, peers=False) for n, f, s, c in more if (data / f).is_file()]
    return cases


# ---- the side of the parent: it stays small and starts one process after the other -----------------------------------


class Runner:
    """Starts one job at a time in a process of its own and reads its result."""

    def __init__(self, folder: Path, limit_s: float, memory_GB: float) -> None:
        self.folder, self.limit_s, self.memory_GB = folder, limit_s, memory_GB
        self._number = 0

    def run(self, python: str, what: str, **job: Any) -> dict[str, Any] | str:
        """Return what the job found, or the reason why it found nothing."""
        self._number += 1
        if sys.stderr.isatty():
            print(f"{what} {job.get('name', '')} ...", file=sys.stderr)
        result = self.folder / f"{self._number}.result.json"
        job |= {"what": what, "result": str(result), "limit_s": self.limit_s, "memory_GB": self.memory_GB}
        file = self.folder / f"{self._number}.job.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONWARNINGS="ignore")
        where = None
        if python != sys.executable:
            environment.pop("PYTHONPATH", None)
            where = self.folder  # peers may leave files where they run
        command = [python, str(Path(__file__).resolve()), "--job", str(file)]
        try:
            done = subprocess.run(
                command, env=environment, cwd=where, capture_output=True, text=True,
                errors="replace", timeout=60 + 10 * self.limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"over {60 + 10 * self.limit_s:g} s of wall time"
        if result.is_file():
            return json.loads(result.read_text(encoding="utf-8"))
        if done.returncode == -24:
            return f"over {self.limit_s:g} s"
        if any(text in done.stderr for text in ("MemoryError", "bad_alloc", "cannot be allocated")):
            return f"over {self.memory_GB:g} GB"
        if done.returncode < 0:
            return f"failed: {signal.strsignal(-done.returncode)}"
        lines = done.stderr.strip().splitlines()
        return f"failed: {lines[-1][:100] if lines else f'status {done.returncode}'}"


def newest_peers(runner: Runner, pythons: list[str]) -> dict[str, tuple[str, str]]:
    """Return for each peer the Python that has its newest version, and the version."""
    best: dict[str, tuple[str, str]] = {}
    for python in pythons:
        found = runner.run(python, "versions")
        if isinstance(found, str):
            print(f"{python}: {found}")
            continue
        for name, text in found.items():
            if name not in best or _numbers(text) > _numbers(best[name][1]):
                best[name] = (python, text)
    return best


def program_version(program: Path) -> str:
    """Return the version that stands in a program, which neither prints by itself."""
    match = re.search(rb"v(\d+\.\d+\.\d+)", program.read_bytes())
    return match[1].decode() if match else "of unknown version"


def _numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown, its columns aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{title}\n")
    for index, row in enumerate([header, *rows]):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if index == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|", flush=True)


def seconds(value: float) -> str:
    return f"{1e3 * value:.2f} ms" if value < 1.0 else f"{value:.2f} s"


def number(value: int) -> str:
    return f"{value:,}" if value < 10**12 else f"{value:.3e}"


def check_counts(case: Case, found: dict[str, Any]) -> list[str]:
    """Return in what our own numbers differ from one another and from what is known."""
    wrong = []
    for key in ("raw", "distinct", "group_order"):
        known = getattr(case, key)
        if known is not None and found[key] != known:
            wrong.append(f"{case.name}: superionic counts {key} {found[key]:,}, known {known:,}")
    if "listed" in found:
        pairs = (("listed", "distinct"), ("ranked", "distinct"), ("listed_raw", "raw"), ("ranked_raw", "raw"))
        for ours, counted in pairs:
            if found[ours] != found[counted]:
                wrong.append(f"{case.name}: superionic's {ours} is {found[ours]:,}, its {counted} {found[counted]:,}")
    return wrong


def run_ours(runner: Runner, cases: list[Case], repeats: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    results, wrong, rows = {}, [], []
    for case in cases:
        found = runner.run(
            sys.executable, "superionic", name=case.name, cif=str(case.cif.resolve()), supercell=case.supercell,
            coupling=case.coupling, blocks=case.blocks, listed=case.is_listed, peers=case.peers, repeats=repeats,
            structure=str(runner.folder / f"{len(results)}.structure.json"),
        )  # fmt: skip
        if isinstance(found, str):
            wrong.append(f"{case.name}: superionic {found}")
            continue
        results[case.name] = found
        wrong += check_counts(case, found)
        row = [case.name, str(found["sites"]), number(found["raw"]), number(found["distinct"])]
        row.append(seconds(found["count_s"]))
        if "listed" in found:
            for key in ("list_s", "rank_s"):
                row += [seconds(found[key]), f"{found['listed'] / found[key] / 1e6:.2f}"]
            rows.append([*row, f"{found['peak_MB']:.0f}", found["tie"]])
        else:
            rows.append([*row, "", "", "", "", f"{found['peak_MB']:.0f}", "counted only"])
    table(
        f"superionic: exact count, list of all distinct orderings, exact lowest {TOP} by Ewald energy; CPU time, "
        "millions of distinct orderings a second, peak memory",
        ["case", "sites", "raw", "distinct", "count", "list", "10⁶/s", f"Ewald top {TOP}", "10⁶/s", "MB", "remark"],
        rows,
    )
    return results, wrong


def run_peers(
    runner: Runner, cases: list[Case], ours: dict[str, dict[str, Any]], peers: dict[str, tuple[str, str]]
) -> list[str]:
    wrong, rows = [], []
    names = [name for name in (*PEERS, *PROGRAMS) if name in peers]
    titles = {name: PEERS.get(name, name) for name in names}
    worst: dict[str, Case] = {}
    lowest: dict[str, float] = {}
    for case in cases:
        found = ours.get(case.name)
        if not case.peers or found is None or "listed" not in found:
            continue
        row = [case.name, number(found["distinct"]), f"{seconds(found['whole_s'])} ({seconds(found['list_s'])})"]
        for name in names:
            # The time of enumlib grows with the ways to place all labels on all free sites, not with the raw number.
            if name in worst and name != "enumlib" and found["raw"] >= ours[worst[name].name]["raw"]:
                row.append(f"not tried: {worst[name].name} was over a limit")
                continue
            python = sys.executable if name in PROGRAMS else peers[name][0]
            theirs = runner.run(python, name, name=case.name, structure=found["structure"], program=peers[name][0])
            if isinstance(theirs, str):
                row.append(theirs)
                if theirs.startswith("over"):
                    worst[name] = case
                continue
            if theirs["listed"] != found["distinct"] or theirs["counted"] not in {None, found["distinct"]}:
                wrong.append(
                    f"{case.name}: {name} counts {theirs['counted']} and lists {theirs['listed']:,}, "
                    f"superionic {found['distinct']:,}"
                )
            ratio = theirs["whole_s"] / found["whole_s"]
            lowest[name] = min(ratio, lowest.get(name, ratio))
            row.append(f"{seconds(theirs['whole_s'])}, × {ratio:.3g}, {theirs['peak_MB']:.0f} MB")
        rows.append(row)
    if names and rows:
        table(
            "from a structure in memory to all distinct orderings, symmetry included: CPU time, ratio to superionic's, "
            "peak memory",
            ["case", "distinct", "superionic (list alone)", *(f"{titles[name]} {peers[name][1]}" for name in names)],
            rows,
        )
        print("\nsmallest ratios: " + ", ".join(f"{titles[n]} × {lowest[n]:.3g}" for n in names if n in lowest))
    return wrong


def run_ewald(
    runner: Runner, cases: list[Case], ours: dict[str, dict[str, Any]], peer: tuple[str, str], compared: int
) -> list[str]:
    wrong, rows = [], []
    for case in cases:
        found = ours.get(case.name)
        if not case.peers or found is None or "listed" not in found or (case.blocks and found["distinct"] < 10_000):
            continue
        theirs = runner.run(peer[0], "ewald", name=case.name, structure=found["structure"], compared=compared)
        if isinstance(theirs, str):
            rows.append([case.name, "", "", "", theirs, "", ""])
            continue
        if not theirs["largest"] <= 1e-9:
            wrong.append(f"{case.name}: Ewald energies differ by {theirs['largest']:.1e} relative")
        each = found["rank_s"] / found["distinct"]
        with_matrix = (found["rank_s"] + found["matrix_s"]) / found["distinct"]
        rows.append(
            [
                case.name,
                str(theirs["atoms"]),
                f"{found['distinct'] / found['rank_s']:,.0f}",
                seconds(found["matrix_s"]),
                f"{1.0 / theirs['each_s']:.1f}",
                f"{theirs['each_s'] / each:,.0f} ({theirs['each_s'] / with_matrix:,.0f})",
                f"{theirs['largest']:.1e} ({theirs['largest_own']:.1e})",
            ]
        )
    table(
        f"structures ranked a CPU second, against EwaldSummation of pymatgen {peer[1]} at its default accuracy (ratio "
        "with superionic's matrix included in parentheses); largest relative difference of energies at acc_factor=20 "
        "with equal constants (each with its own)",
        ["case", "atoms", "superionic /s", "matrix, once", "pymatgen /s", "ratio", "difference"],
        rows,
    )
    return wrong


def run_start(cif: Path, supercell: str, distinct: int | None, repeats: int) -> list[str]:
    """Time the command line; its first run, which may compile, is left out."""
    command = [sys.executable, "-m", "superionic.cli", "enumerate", str(cif), "--supercell", supercell]
    command += ["--ewald-top", "20", "--json"]
    walls, cpus, wrong = [], [], []
    for attempt in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if attempt:
            walls.append(wall)
            cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        values = json.loads(done.stdout) if done.returncode == 0 else {}
        if distinct is not None and values.get("distinct") != distinct:
            wrong.append(f"superionic enumerate counts {values.get('distinct')}, known {distinct}; {done.stderr[-99:]}")
    print(
        f"\nsuperionic enumerate {cif.name} --supercell {supercell} --ewald-top 20: "
        f"wall {', '.join(f'{w:.2f}' for w in walls)} s, CPU {', '.join(f'{c:.2f}' for c in cpus)} s "
        f"(its reader process included; load {os.getloadavg()[0]:.1f})"
    )
    return wrong[:1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with known_counts.json and its crystals")
    parser.add_argument("--peers", action="append", default=[], metavar="PYTHON", help="Python with peers; repeat it")
    parser.add_argument("--supercell", type=Path, metavar="PROGRAM", help="the program supercell")
    parser.add_argument("--enumlib", type=Path, metavar="PROGRAM", help="enum.x of enumlib")
    parser.add_argument("--limit", type=float, default=120.0, help="CPU seconds a peer may take on a case")
    parser.add_argument("--memory", type=float, default=8.0, help="GB of address space that a peer may take")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of our own measurements")
    parser.add_argument("--compared", type=int, default=10, help="orderings of a case that pymatgen computes")
    parser.add_argument("--only", help="regular expression that the names of the cases must match")
    parser.add_argument("--no-large", action="store_true", help="leave out the spaces that only superionic lists")
    parser.add_argument("--no-start", action="store_true", help="leave out the start of the command line")
    parser.add_argument("--tiny", action="store_true", help="one small case, one repeat, no command line")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job is not None:
        return work(json.loads(options.job.read_text(encoding="utf-8")))
    if options.tiny:
        options = argparse.Namespace(**{**vars(options), "repeats": 1, "no_start": True})

    cases = cases_of(options.data, tiny=options.tiny, large=not options.no_large)
    if options.only:
        cases = [case for case in cases if re.search(options.only, case.name)]
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(Path(folder), options.limit, options.memory)
        peers = newest_peers(runner, options.peers)
        for name, program in ((name, getattr(options, name)) for name in PROGRAMS):
            if program is not None:
                peers[name] = (str(program.resolve()), program_version(program))
        print(f"superionic {importlib.metadata.version('superionic') if _installed() else '(source)'}, ", end="")
        print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        missing = [name for name in (*PEERS, "pymatgen") if name not in peers]
        if missing:
            print(f"not measured, as no Python given by --peers has them: {', '.join(missing)}")
        missing = [name for name in PROGRAMS if name not in peers]
        if missing:
            print(f"not measured, as no program is given by {' and '.join(f'--{name}' for name in missing)}")
        ours, wrong = run_ours(runner, cases, options.repeats)
        wrong += run_peers(runner, cases, ours, peers)
        if "pymatgen" in peers:
            wrong += run_ewald(runner, cases, ours, peers["pymatgen"], options.compared)
    if not options.no_start:
        case = next((c for c in cases if c.distinct == 854), cases[0])
        wrong += run_start(case.cif, case.supercell, case.distinct, 3)
    print()
    for text in wrong:
        print(f"FAILED: {text}")
    if not wrong:
        print("all counts agree")
    return 1 if wrong else 0


def _installed() -> bool:
    return any(importlib.metadata.packages_distributions().get("superionic", []))


# ---- the side of the child: one job, in any of the Pythons -----------------------------------------------------------


def work(job: dict[str, Any]) -> int:
    jobs = {"superionic": superionic_job, "versions": versions_job, "ewald": ewald_job}
    if job["what"] in jobs:
        finish(job, jobs[job["what"]](job))
        return 0
    structure = json.loads(Path(job["structure"]).read_text(encoding="utf-8"))
    if job["what"] in PROGRAMS:
        folder = Path(job["result"]).with_suffix("")
        folder.mkdir()
        whole = {"supercell": supercell, "enumlib": enumlib}[job["what"]](structure, job["program"], folder)
    else:
        whole = {"shry": shry, "bsym": bsym, "icet": icet, "dsenum": dsenum}[job["what"]](structure)
    limit_memory(job["memory_GB"])
    spent, best, repeats = 0.0, float("inf"), 0
    while spent < 10.0:
        limit_time(job["limit_s"])
        start = cpu_s()
        counted, listed = whole()
        took = cpu_s() - start
        spent, best = spent + took, min(best, took)
        repeats += 1
        finish(job, {"counted": counted, "listed": listed, "whole_s": best, "peak_MB": max(peak_MB(), programs_MB())})
        if repeats >= 3 and spent > 0.5:
            break
    return 0


def finish(job: dict[str, Any], result: dict[str, Any]) -> None:
    """Write the result; what a later repeat does wrong does not spoil it."""
    part = Path(job["result"] + ".part")
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(job["result"])


def limit_time(limit_s: float) -> None:
    """Let the system end this process after so many more CPU seconds, inside compiled code too."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + limit_s) + 1, hard))


def limit_memory(memory_GB: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_GB * 2**30), hard))


def peak_MB() -> float:
    """Peak resident size of this process in 10⁶ bytes (ru_maxrss would include the parent's at the fork)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8")) if status.is_file() else None
    kilobytes = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 / 1e6


def cpu_s() -> float:
    """CPU seconds of this process and of the programs that it has run."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + used.ru_utime + used.ru_stime


def programs_MB() -> float:
    """Largest resident size of the programs that this process has run, in 10⁶ bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def least(action: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the least CPU time of an action, and what it returned last; short ones are repeated more often."""
    times: list[float] = []
    value = None
    while not times or (len(times) < repeats and sum(times) < 15.0) or (repeats > 1 and sum(times) < 0.3):
        start = time.process_time()
        value = action()
        times.append(time.process_time() - start)
    return min(times), value


def versions_job(_: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name in (*PEERS, "pymatgen"):
        try:
            found[name] = importlib.metadata.version(PEERS.get(name, name))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def superionic_job(job: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from superionic.structures.crystal.composition import integer_compositions
    from superionic.structures.crystal.disordered import crystal_from_sites
    from superionic.structures.crystal.supercells import supercell_sites
    from superionic.structures.io.files import parse_crystal
    from superionic.structures.orderings.counting import count_orderings
    from superionic.structures.orderings.electrostatics import supercell_ewald_matrix
    from superionic.structures.orderings.listing import Walker
    from superionic.structures.orderings.ranking import lowest_orderings
    from superionic.structures.orderings.space import ordering_space

    crystal = parse_crystal(job["cif"])
    cell = job["supercell"]
    if cell == "primitive":
        crystal, cell = crystal.primitive(), "1x1x1"
    sites = supercell_sites(crystal, cell)
    found = integer_compositions(crystal, cell, CHARGES, coupling=job["coupling"])
    composition = next((c for c in found if job["blocks"] is None or _blocks(c) == _known(job["blocks"])), None)
    if composition is None:
        raise SystemExit(f"{job['name']}: none of the {len(found)} nearest compositions is that of the file")
    space = ordering_space(sites, composition)
    count_s, count = least(lambda: count_orderings(sites, composition), job["repeats"])
    result: dict[str, Any] = {
        "sites": sites.n_sites,
        "raw": count.raw,
        "distinct": count.distinct,
        "group_order": count.group_order,
        "count_s": count_s,
    }
    if not job["listed"]:
        return result | {"peak_MB": peak_MB()}

    def listing(listed: Any) -> tuple[int, int]:
        walker, raw = Walker(listed), 0
        while not walker.finished:
            raw += int(walker.degeneracies[: walker.advance()].sum())
        return walker.leaves, raw

    def whole() -> tuple[int, int]:
        fractional, species = crystal.fractional, [s.species for s in crystal.sites]
        names = [crystal.sublattices[s.orbit].name for s in crystal.sites]
        again = crystal_from_sites("again", crystal.cell_A, fractional, species, names=names)
        return listing(ordering_space(supercell_sites(again, cell), composition))

    Walker(space, capacity=2).advance()  # compiles, or loads what was compiled
    matrix_s, matrix = least(lambda: supercell_ewald_matrix(sites), job["repeats"])
    list_s, (leaves, raw) = least(lambda: listing(space), job["repeats"])
    rank_s, ranked = least(lambda: lowest_orderings(space, matrix, CHARGES, TOP), job["repeats"])
    result |= {"list_s": list_s, "matrix_s": matrix_s, "rank_s": rank_s, "peak_MB": peak_MB()}
    result |= {"listed": leaves, "listed_raw": raw, "ranked": ranked.distinct, "ranked_raw": ranked.raw}
    if job["peers"]:
        result["whole_s"], whole_counts = least(whole, job["repeats"])
        if whole_counts != (leaves, raw):
            raise SystemExit(f"{job['name']}: built anew it has {whole_counts} orderings, not {(leaves, raw)}")
    tie = ranked.tie
    result["tie"] = "" if tie is None else f"{tie.taken:,} of a tie of {tie.members:,}"
    symbols, codes = space.symbols, space.site_codes(ranked.decorations)
    parent = crystal.primitive()
    apart = (parent.fractional @ parent.cell_A @ np.linalg.inv(sites.cell_A))[:, None] - sites.fractional
    nearest = np.linalg.norm((apart - np.round(apart)) @ sites.cell_A, axis=-1).argmin(axis=1)
    content = {
        "parent": {"cell": parent.cell_A.tolist(), "fractional": parent.fractional.tolist(), "sites": nearest.tolist()},
        "cell": sites.cell_A.tolist(),
        "fractional": sites.fractional.tolist(),
        "groups": [
            {"sites": [int(i) for i in group], "counts": dict(counts)}
            for group, counts in zip(composition.groups, composition.counts, strict=True)
        ],
        "orderings": [[symbols[c] for c in row] for row in codes[:: max(1, len(codes) // 100)]],
        "energies": ranked.energies_eV[:: max(1, len(codes) // 100)].tolist(),
    }
    Path(job["structure"]).write_text(json.dumps(content), encoding="utf-8")
    return result | {"structure": job["structure"]}


def _blocks(composition: Any) -> list[tuple[int, list[tuple[str, int]]]]:
    pairs = zip(composition.groups, composition.counts, strict=True)
    return sorted((len(group), sorted(counts.items())) for group, counts in pairs if len(counts) > 1)


def _known(blocks: list[dict[str, Any]]) -> list[tuple[int, list[tuple[str, int]]]]:
    return sorted((block["n"], sorted(block["comp"].items())) for block in blocks)


def stand_ins(structure: dict[str, Any]) -> list[dict[str, str]]:
    """Return for each group of sites the element that stands for each of its species, all different."""
    left = iter(STAND_INS)
    return [{species: next(left) for species in group["counts"]} for group in structure["groups"]]


def site_elements(structure: dict[str, Any], elements: list[dict[str, str]]) -> list[str]:
    """Return an element for each site that is the same within a group."""
    names = [""] * len(structure["fractional"])
    for group, element in zip(structure["groups"], elements, strict=True):
        for site in group["sites"]:
            names[site] = next(iter(element.values()))
    return names


Whole = Callable[[], tuple[int | None, int]]
"""Returns the number that the peer counts, if it can count without listing, and the number that it lists."""


def shry(structure: dict[str, Any]) -> Whole:
    from pymatgen.core import Lattice, Structure
    from shry import const, core

    const.DISABLE_PROGRESSBAR = True
    species: list[Any] = [None] * len(structure["fractional"])
    labels: list[Any] = [None] * len(species)
    for index, (group, element) in enumerate(zip(structure["groups"], stand_ins(structure), strict=True)):
        for site in group["sites"]:
            species[site] = {element[s]: n / len(group["sites"]) for s, n in group["counts"].items()}
            labels[site] = (f"group{index:02d}",)
    parent = Structure(
        Lattice(structure["cell"]), species, structure["fractional"], site_properties={"_atom_site_label": labels}
    )

    def whole() -> tuple[int | None, int]:
        substitutor = core.Substitutor(parent)
        return int(substitutor.count()), sum(1 for _ in substitutor.make_patterns())

    return whole


def bsym(structure: dict[str, Any]) -> Whole:
    from bsym.interface.pymatgen import unique_structure_substitutions
    from pymatgen.core import Lattice, Structure

    elements = stand_ins(structure)
    parent = Structure(Lattice(structure["cell"]), site_elements(structure, elements), structure["fractional"])

    def whole() -> tuple[int | None, int]:
        found = [parent]
        for group, element in zip(structure["groups"], elements, strict=True):
            if len(element) > 1:
                counts = {element[s]: n for s, n in group["counts"].items()}
                found = [
                    new for old in found for new in unique_structure_substitutions(old, next(iter(counts)), counts)
                ]
        return None, len(found)

    return whole


def icet(structure: dict[str, Any]) -> Whole:
    from ase import Atoms
    from icet.tools import enumerate_structures

    elements = stand_ins(structure)
    n = len(structure["fractional"])
    allowed: list[Any] = [None] * n
    concentrations = {}
    for group, element in zip(structure["groups"], elements, strict=True):
        for site in group["sites"]:
            allowed[site] = list(element.values())
        if len(element) > 1:
            concentrations |= {element[s]: ((c - 0.01) / n, (c + 0.01) / n) for s, c in group["counts"].items()}
    names = site_elements(structure, elements)
    parent = Atoms(names, cell=structure["cell"], scaled_positions=structure["fractional"], pbc=True)

    def whole() -> tuple[int | None, int]:
        found = enumerate_structures(
            parent, [1], allowed, concentration_restrictions=concentrations, niggli_reduce=False, symprec=1e-3
        )
        return None, sum(1 for _ in found)

    return whole


def dsenum(structure: dict[str, Any]) -> Whole:
    import numpy as np
    from dsenum import ZddStructureEnumerator
    from dsenum.permutation_group import DerivativeStructurePermutation
    from dsenum.utils import get_symmetry_operations
    from pymatgen.core import Lattice, Structure

    elements = stand_ins(structure)
    names = site_elements(structure, elements)
    lattice, fractional = Lattice(structure["cell"]), np.array(structure["fractional"])
    parent = Structure(lattice, names, fractional)
    free: list[int] = []
    colours: list[str] = []
    counts: list[int] = []
    allowed: list[list[int]] = []
    for group, element in zip(structure["groups"], elements, strict=True):
        if len(element) > 1:
            own = list(range(len(colours), len(colours) + len(element)))
            colours += element.values()
            counts += group["counts"].values()
            free += group["sites"]
            allowed += [own] * len(group["sites"])
    base = Structure(lattice, [names[i] for i in free], fractional[free])

    def whole() -> tuple[int | None, int]:
        # Its diagrams grow with sites times colours: it is given the free sites only, with the symmetry of all sites.
        operations = get_symmetry_operations(parent)
        enumerator = ZddStructureEnumerator(
            base, 1, len(colours), mapping_color_species=colours, composition_constraints=counts,
            base_site_constraints=allowed, remove_superperiodic=False, remove_incomplete=False, verbose=False,
        )  # fmt: skip
        enumerator.rotations, enumerator.translations = operations
        cell = enumerator.list_reduced_HNF[0]
        permutation = DerivativeStructurePermutation(cell, base.frac_coords, *operations)
        # The labelings alone, without a structure for each, which costs it far more.
        return None, len(enumerator._generate_coloring_with_hnf(cell, permutation, None, None))

    return whole


def run_program(command: list[str], folder: Path, pattern: str) -> int:
    """Run a program in a folder and return the number that it prints in a line of this pattern."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode < 0:  # a limit ended it: end likewise
        os.kill(os.getpid(), -done.returncode)
    match = re.search(pattern, done.stdout, flags=re.MULTILINE)
    if match is None:
        raise SystemExit(f"status {done.returncode}: {done.stdout.strip()[-90:]}")
    return int(match[1])


def supercell(structure: dict[str, Any], program: str, folder: Path) -> Whole:
    a, b, c = structure["cell"]
    lengths = [math.hypot(*vector) for vector in (a, b, c)]
    cosines = [_dot(p, q) / math.hypot(*p) / math.hypot(*q) for p, q in ((b, c), (c, a), (a, b))]
    lines = ["data_case", "_space_group_name_H-M_alt 'P 1'"]
    lines += [f"_cell_length_{name} {length:.9f}" for name, length in zip("abc", lengths, strict=True)]
    for name, cosine in zip(("alpha", "beta", "gamma"), cosines, strict=True):
        lines.append(f"_cell_angle_{name} {math.degrees(math.acos(cosine)):.9f}")
    lines.append("loop_")
    lines += [f"_atom_site_{name}" for name in ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")]
    for index, group in enumerate(structure["groups"]):
        for site in group["sites"]:
            x, y, z = structure["fractional"][site]
            for species, count in group["counts"].items():
                if species != "X":
                    share = count / len(group["sites"])
                    lines.append(f"{species}{index} {species} {x:.9f} {y:.9f} {z:.9f} {share:.9f}")
    (folder / "case.cif").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # A dry run merges all equivalent orderings and writes none.
    command = [program, "--input=case.cif", "--dry-run", "--merge-symmetric", "--charge-balance=no", "--tolerance=0.1"]
    return lambda: (None, run_program(command, folder, r"^Combinations after merge: (\d+)"))


def enumlib(structure: dict[str, Any], program: str, folder: Path) -> Whole:
    # Its parent lattice must be primitive. In a fixed cell, here the supercell, it keeps superperiodic orderings.
    parent, n = structure["parent"], len(structure["fractional"])
    labels: dict[int, str] = {}
    counts: list[int] = []
    # It takes the restrictions of its first sites for those of the free ones, which must come first therefore.
    for group in sorted(structure["groups"], key=lambda group: len(group["counts"]) == 1):
        own = range(len(counts), len(counts) + len(group["counts"]))
        labels |= dict.fromkeys(group["sites"], "/".join(map(str, own)))
        counts += group["counts"].values()
    colours = sum(len(group["counts"]) for group in structure["groups"] if len(group["counts"]) > 1)
    points = []
    for site, x in zip(parent["sites"], parent["fractional"], strict=True):
        points.append((labels[site], _row(_dot(x, column) for column in zip(*parent["cell"], strict=True))))
    points.sort(key=lambda point: int(point[0].split("/")[0]))
    lines = ["case", "bulk", *map(_row, parent["cell"]), str(colours), str(len(points))]
    lines += [f"{position} {label}" for label, position in points]
    lines += [f"{n // len(points)} {n // len(points)}", "0.001", "full", *(f"{count} {count} {n}" for count in counts)]
    (folder / "struct_enum.in").write_text("\n".join(lines) + "\n", encoding="utf-8")
    cells = ["<str>", *map(_row, structure["cell"])]
    (folder / "fixed_cells.in").write_text("\n".join(cells) + "\n", encoding="utf-8")
    # The last column of its table is the number of all orderings.
    return lambda: (None, run_program([program], folder, rf"^ *{n // len(points)} .* (\d+)$"))


def _dot(a: Iterable[float], b: Iterable[float]) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True))


def _row(numbers: Iterable[float]) -> str:
    return " ".join(f"{number:.9f}" for number in numbers)


def ewald_job(job: dict[str, Any]) -> dict[str, Any]:
    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core import Lattice, Structure

    structure = json.loads(Path(job["structure"]).read_text(encoding="utf-8"))
    own = 14.399645468667815  # superionic.units.COULOMB_EV_A, which this Python may lack
    times, largest, largest_own, atoms = [], 0.0, 0.0, 0
    step = max(1, len(structure["energies"]) // job["compared"])
    for species, ours in list(zip(structure["orderings"], structure["energies"], strict=True))[::step]:
        kept = [i for i, s in enumerate(species) if s != "X"]
        built = Structure(
            Lattice(structure["cell"]), [species[i] for i in kept], [structure["fractional"][i] for i in kept]
        )
        built.add_oxidation_state_by_element({s: q for s, q in CHARGES.items() if s in {species[i] for i in kept}})
        start = time.process_time()
        _ = EwaldSummation(built).total_energy
        times.append(time.process_time() - start)
        energy = EwaldSummation(built, acc_factor=20).total_energy
        largest_own = max(largest_own, abs(energy / ours - 1.0))
        largest = max(largest, abs(energy / ours * own / EwaldSummation.CONV_FACT - 1.0))
        atoms = len(built)
    return {"each_s": min(times), "largest": largest, "largest_own": largest_own, "atoms": atoms}


if __name__ == "__main__":
    sys.exit(main())
