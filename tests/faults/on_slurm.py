"""What happens on a cluster: blocks cancelled, nodes that crash or are drained, the driver killed, in any order.

Refusals of sbatch, walltimes, two clients of one folder and drivers that follow themselves are tried one by one in
``tests/slurm``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

import numpy as np
from bench import Bench, Tally, result_files, run_folder

_LONGEST_S: Final = 400.0
_QUEUE_EMPTY_WITHIN_S: Final = 20.0
_SITE: Final = """\
superionic_site: 1
preset: slurm-here
kinds:
  core: {workers_per_node: 2, max_jobs: 3}
"""


def faults_on_slurm(bench: Bench, tally: Tally) -> None:
    """Disturb campaigns on a Slurm that is made for it."""
    if not bench.long:
        tally.skipped = "the long version only"
        return
    cluster_of = _cluster_module()
    try:
        with cluster_of.slurm_here() as cluster:
            os.environ["SLURM_CONF"] = cluster.conf
            rng = np.random.default_rng(bench.seed)
            for number in range(12):
                with bench.campaign("pair", "new") as path:
                    _one_campaign(bench, tally, cluster, path, f"campaign {number + 1}", rng)
    except cluster_of.NoSlurmError as reason:
        tally.skipped = str(reason)


def _cluster_module() -> Any:
    spec = spec_from_file_location("cluster", Path(__file__).resolve().parents[1] / "slurm" / "cluster.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["cluster"] = module
    spec.loader.exec_module(module)
    return module


def _one_campaign(bench: Bench, tally: Tally, cluster: Any, path: Path, case: str, rng: np.random.Generator) -> None:
    site, log = path.with_name("site.yaml"), path.with_name("log")
    site.write_text(_SITE)

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "superionic.cli", "run", str(path), "--quiet", "--site", str(site)]
        with log.open("ab") as stream:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment)

    environment = {**bench.environment, "SLURM_CONF": cluster.conf}
    drained: set[str] = set()
    before: dict[str, int] = {}
    run = start()
    for _ in range(3):
        with suppress(subprocess.TimeoutExpired):
            run.wait(float(rng.uniform(1.0, 12.0)))
            break
        before = result_files(run_folder(path.parent))
        if rng.random() < 0.3:
            case += ", driver killed"
            run.send_signal(signal.SIGKILL)
            run.wait()
            if rng.random() < 0.5:
                cluster.becomes(lambda: not cluster.alive(), 60)
            run = start()
            tally.number += 1
        elif running := cluster.running():
            case += _disturb(cluster, running[int(rng.integers(len(running)))], drained, rng)
            tally.number += 1
    try:
        code = run.wait(_LONGEST_S)
    except subprocess.TimeoutExpired:
        tally.wrong("manual", f"{case}: it did not end")
        run.kill()
        run.wait()
        return
    finally:
        for node in drained:
            cluster.set_state(node, "resume")
    said = log.read_text(errors="replace")
    tally.wrong("wordless", f"{case}: {said[-800:]}", "Traceback" in said)
    if code != 0:
        tally.wrong("manual", f"{case}: it ended with {code}: {said[-800:]}")
        return
    ended = time.monotonic()
    while (jobs := cluster.alive()) and time.monotonic() - ended < _QUEUE_EMPTY_WITHIN_S:
        time.sleep(0.2)
    tally.wrong("left", f"{case}: in the queue: {jobs}", len(jobs))
    bench.look(tally, "pair", path, case, before)


def _disturb(cluster: Any, job: Any, drained: set[str], rng: np.random.Generator) -> str:
    """Cancel a job, or let its node crash or be drained; return what was done."""
    node = cluster.node_of(job)
    what = str(rng.choice(["cancel", "crash", "drain"]))
    if what == "cancel":
        subprocess.run(["scancel", job.id], env={**cluster.environment, "SLURM_CONF": cluster.conf}, check=False)
    elif node and what == "crash":
        cluster.call("crash", node)
        cluster.call("revive", node)
    elif node:
        cluster.set_state(node, "drain")
        drained.add(node)
    return f", {what} of job {job.id} on {node or 'no node any more'}"
