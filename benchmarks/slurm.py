"""A campaign on a Slurm of three nodes while a job is cancelled, a node crashes and the driver is killed.

Run with ``python benchmarks/slurm.py SLURM_HERE [--segments 100] [--potential chgnet]``, where ``SLURM_HERE`` is a
script that starts and stops a Slurm on this machine (``start``, ``stop``, ``crash NODE``, ``revive NODE``, with its
folder in the variable of the same name). The same campaign runs on this machine without disturbance. Exits with 1 if a
byte of the report differs, if a finished task was done twice, or if anything is left running.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.sites import slurm

ROOT = Path(__file__).resolve().parents[1]
CAMPAIGN = """\
superionic: 1
name: disturbed
seed: 7
mobile_ion: Li
oxidation_states: {Li: 1, Y: 3, Cl: -1}
crystals: [{name: P-3m1, file: li3ycl6_p-3m1.cif}]
references: [{name: LiCl, file: licl.cif}, {name: YCl3, file: ycl3.cif}]
potentials: {pair: {engine: pair}OTHER}
enumerate: {ewald_keep: 4}
rank: {potential: pair, relax_top: 2, fmax_eV_per_A: 0.3, max_steps: 40, method: single-pointsCOMPARE}
select: {count: 1}
transport:
  potential: pair
  supercell: 1x1x1
  temperatures_K: [600, 700, 800, 900, 1000]
  timestep_fs: 2
  heating_ps: 0.02
  nvt_before_npt_ps: 0
  npt_ps: 0.02
  production_ps: PRODUCTION
  segment_ps: 0.02
analyse: {density_grid_A: 1.0}
"""
SITE = """\
superionic_site: 1
preset: slurm-here
kinds:
  core: {workers_per_node: 2, max_jobs: 3}
  potential: {workers_per_node: 1, max_jobs: 1}
"""


def write(folder: Path, segments: int, potential: str | None) -> Path:
    folder.mkdir()
    for name in ("li3ycl6_p-3m1.cif", "licl.cif", "ycl3.cif"):
        shutil.copy(ROOT / "examples" / "li3ycl6" / name, folder / name)
    text = CAMPAIGN.replace("PRODUCTION", f"{0.02 * segments:.2f}")
    text = text.replace("OTHER", f", {potential}: {{engine: {potential}}}" if potential else "")
    text = text.replace("COMPARE", f", compare_with: [{potential}]" if potential else "")
    (folder / "campaign.yaml").write_text(text)
    (folder / "site.yaml").write_text(SITE)
    return folder


def products(folder: Path) -> dict[str, bytes]:
    report = folder / "runs" / "disturbed" / "report"
    return {str(path.relative_to(report)): path.read_bytes() for path in sorted(report.rglob("*")) if path.is_file()}


def run(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "superionic.cli", "run", str(folder / "campaign.yaml"), "--quiet", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def n_done(folder: Path) -> int:
    return len(list((folder / "runs" / "disturbed" / "store" / "objects").glob("*/*.zip")))


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> float:
    began = time.monotonic()
    while not condition():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"the run ended too early, with exit code {process.returncode}")
        time.sleep(0.2)
    return time.monotonic() - began


def alive() -> list[slurm.Job]:
    return [job for job in (slurm.jobs() or {}).values() if not job.ended]


def running(part: str) -> list[slurm.Job]:
    return [job for job in alive() if job.state == "RUNNING" and job.name.endswith(part)]


def node_of(job: slurm.Job) -> str:
    command = ["squeue", "--noheader", "--format=%N", "--jobs", job.id]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def left_behind(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command:
                found.append(entry.name)
    return found


def disturbed(folder: Path, script: Path, environment: Mapping[str, str], total: int) -> dict[str, float]:
    """Run to the end, with a disturbance at each quarter; return what took how long, in s."""
    site = ("--site", str(folder / "site.yaml"))
    process = run(folder, *site)
    wait_for(lambda: n_done(folder) >= total // 4 and running(".core"), process)
    subprocess.run(["scancel", running(".core")[0].id], check=True)
    wait_for(lambda: n_done(folder) >= total // 2 and running(".core"), process)
    node = node_of(running(".core")[-1])
    for what in ("crash", "revive"):
        subprocess.run([str(script), what, node], env=environment, check=True, stdout=subprocess.DEVNULL)
    wait_for(lambda: n_done(folder) >= 3 * total // 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    wait_for(lambda: not left_behind(folder))
    gone_s = time.monotonic() - began
    # Slurm lists the job of the crashed node as running, without a process, until it looks for it.
    wait_for(lambda: not alive())
    empty_s = time.monotonic() - began
    if run(folder, *site).wait() != 0:
        raise SystemExit("the last run failed")
    return {"after the driver's death, no process left": gone_s, "and the queue empty": empty_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script", type=Path, metavar="SLURM_HERE")
    parser.add_argument("--segments", type=int, default=100, help="of each of five runs")
    parser.add_argument("--potential", help="an engine that evaluates the ranked orderings too, e.g. chgnet")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="superionic-slurm-") as made:
        here, there = (write(Path(made, n), arguments.segments, arguments.potential) for n in ("here", "there"))
        began = time.monotonic()
        if run(here).wait() != 0:
            raise SystemExit("the undisturbed run failed")
        local_s = time.monotonic() - began
        total = n_done(here)
        print(f"on this machine: {total} tasks in {local_s:.0f} s", flush=True)
        folder = Path(tempfile.gettempdir(), f"slurm-{os.getpid()}")
        environment = {**os.environ, "SLURM_HERE": str(folder), "SLURM_HERE_NODES": "3", "SLURM_HERE_CPUS": "4"}
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        subprocess.run([str(arguments.script), "start"], env=environment, check=True)
        try:
            began = time.monotonic()
            times = disturbed(there, arguments.script, environment, total)
            slurm_s = time.monotonic() - began
            wait_for(lambda: not alive())
            left = left_behind(there)
        finally:
            subprocess.run([str(arguments.script), "stop"], env=environment, check=False)
            Path(f"{folder}.lock").unlink(missing_ok=True)
        with Ledger(there / "runs" / "disturbed" / LEDGER) as ledger:
            completions = ledger.completions()
        one, other = products(here), products(there)
        different = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
        lines = (there / "runs" / "disturbed" / LEDGER).read_text().splitlines()
        events = Counter(line.partition('"event": "')[2].partition('"')[0] for line in lines)
    twice = [key for key, count in completions.items() if count > 1]
    print(f"on three nodes, a job cancelled, a node crashed, the driver killed: {slurm_s:.0f} s")
    for what, seconds in times.items():
        print(f"{what}: {seconds:.1f} s")
    print(f"tasks begun {events['started']}, ended {events['done']}, lost and done again {events['error']}")
    print(f"files compared: {len(one)}; different: {len(different)} {different[:5]}")
    print(f"tasks done more than once: {len(twice)}; processes left: {len(left)}")
    if different or twice or left:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
