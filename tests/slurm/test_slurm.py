"""Campaigns on a real Slurm, and what may happen to them there."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.campaign.doctor import examine
from superionic.campaign.site import load_site, parse_site
from superionic.errors import EngineError
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.runner import Runner, Slots
from superionic.execution.sites import slurm
from superionic.execution.sites.base import SiteRun, open_site
from superionic.execution.store import Store
from superionic.execution.task import Task

from .conftest import SITE, products, results

HEAD = "superionic_site: 1\npreset: slurm-here\n"

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    # Clusters are slow to notice: all of these take ten minutes together.
    pytest.mark.skipif("SUPERIONIC_TEST_SLURM" not in os.environ, reason="run by `make slurm`"),
]


def n_done(folder: Path) -> int:
    """Results that the store has."""
    return len(list((folder / "runs" / "small" / "store" / "objects").glob("*/*.zip")))


@contextmanager
def on_site(text: str, folder: Path) -> Iterator[Runner]:
    """A runner whose tasks go to a site."""
    store = Store(folder / "store", durable=False)
    store.prepare()
    run = SiteRun(parse_site(text, "site.yaml"), folder, Slots(1), lambda _line: None)
    with Ledger(folder / LEDGER) as ledger, open_site(run) as place:
        yield Runner(
            store, ledger, executor=place.executor, slots=place.slots, python_of=lambda _engine: Path(sys.executable)
        )


def probe(name: str, number: int, *, engine: str = "core", **settings: float) -> Task:
    """A task that exercises a worker and nothing else."""
    settings = {**settings, "number": number}
    return Task("test", f"task {number}", f"superionic.execution.probes:{name}", 1, settings, engine=engine)


def workers_of(folder: Path) -> list[int]:
    """Processes that have the run folder in their command line."""
    mark = str(folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_a_campaign_on_slurm_gives_the_bytes_of_one_on_this_machine(cluster, campaign, local_products, start):
    run = start("run", campaign / "campaign.yaml", "--site", campaign / "site.yaml", "--quiet")
    assert run.wait(timeout=300) == 0
    assert products(campaign) == local_products
    cluster.becomes(lambda: not cluster.alive(), 15)
    assert Campaign.load(campaign / "campaign.yaml").status().is_done
    with Ledger(campaign / "runs" / "small" / LEDGER) as ledger:
        assert set(ledger.completions().values()) == {1}


def test_cancelled_jobs_and_crashed_nodes_are_made_good(cluster, campaign, local_products, start):
    run = start("run", campaign / "campaign.yaml", "--site", campaign / "site.yaml", "--quiet")
    cluster.becomes(lambda: n_done(campaign) >= 5, 120)
    working = cluster.running()
    subprocess.run(["scancel", working[0].id], check=True)
    before = n_done(campaign)
    cluster.becomes(lambda: n_done(campaign) > before or run.poll() is not None, 120)
    if len(working) > 1:
        node = cluster.node_of(working[-1])
        cluster.call("crash", node)
        cluster.call("revive", node)
    assert run.wait(timeout=300) == 0
    assert products(campaign) == local_products
    cluster.becomes(lambda: not cluster.alive(), 60)


def test_a_node_that_is_drained_gets_no_more_and_the_others_go_on(cluster, campaign, local_products, start):
    run = start("run", campaign / "campaign.yaml", "--site", campaign / "site.yaml", "--quiet")
    cluster.becomes(cluster.running, 60)
    drained = cluster.node_of(cluster.running()[0])
    cluster.set_state(drained, "drain")
    try:
        for job in cluster.running():
            if cluster.node_of(job) == drained:
                subprocess.run(["scancel", job.id], check=True)
        assert run.wait(timeout=300) == 0
        assert products(campaign) == local_products
        cluster.becomes(lambda: not cluster.alive(), 15)
    finally:
        cluster.set_state(drained, "resume")


def test_a_killed_driver_leaves_nothing_and_the_next_run_goes_on(cluster, campaign, local_products, start):
    run = start("run", campaign / "campaign.yaml", "--site", campaign / "site.yaml", "--quiet")
    cluster.becomes(lambda: n_done(campaign) >= 5, 120)
    run.send_signal(signal.SIGKILL)
    run.wait()
    cluster.becomes(lambda: not cluster.alive(), 30)
    cluster.becomes(lambda: not workers_of(campaign), 10)
    with Ledger(campaign / "runs" / "small" / LEDGER) as ledger:
        done = ledger.completions()
    assert start("run", campaign / "campaign.yaml", "--site", campaign / "site.yaml", "--quiet").wait(timeout=300) == 0
    assert products(campaign) == local_products
    with Ledger(campaign / "runs" / "small" / LEDGER) as ledger:
        assert all(ledger.completions()[key] == 1 for key in done)


def test_a_driver_that_is_asked_to_end_takes_its_jobs_with_it(cluster, campaign, start):
    run = start("run", campaign / "campaign.yaml", "--site", campaign / "site.yaml", "--quiet")
    cluster.becomes(lambda: n_done(campaign) >= 5, 120)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=60) == 128 + signal.SIGTERM
    cluster.becomes(lambda: not cluster.alive(), 15)
    cluster.becomes(lambda: not workers_of(campaign), 10)


def test_jobs_that_reach_their_walltime_lose_no_task(cluster, tmp_path):
    text = HEAD + "kinds: {core: {workers_per_node: 2, max_jobs: 2, walltime_h: 0.0167, longest_task_h: 0.005}}\n"
    tasks = [probe("wait", number, seconds=5.0) for number in range(60)]
    with on_site(text, tmp_path) as runner:
        assert all(outcome.ok for outcome in runner.gather(tasks))
        jobs = slurm.jobs(slurm.name_of(tmp_path))
    with Ledger(tmp_path / LEDGER) as ledger:
        assert [record.state for record in ledger.all()] == ["done"] * len(tasks)
    assert jobs is not None
    assert len(jobs) > 2  # the first two ended before all was done
    assert {job.state for job in jobs.values() if job.ended} == {"COMPLETED"}


def test_each_worker_has_a_gpu_of_its_own(cluster, tmp_path):
    text = HEAD + "kinds: {core: {}, potential: {workers_per_node: 2, gpus_per_node: 2}}\n"
    with on_site(text, tmp_path) as runner:
        # Two tasks of a potential, at the same time.
        tasks = [probe("look_around", number, engine="chgnet", seconds=5.0) for number in range(2)]
        values = [outcome.value for outcome in runner.gather(tasks)]
        (core,) = (outcome.value for outcome in runner.gather([probe("look_around", 2, seconds=0.0)]))
    assert sorted(value["gpu"] for value in values) == ["0", "1"]
    assert core["gpu"] == ""
    assert all("/superionic-" in value["scratch"] for value in values)
    assert not Path(values[0]["scratch"]).exists()


def test_refused_jobs_end_the_run_in_the_words_of_sbatch(cluster, campaign):
    (campaign / "site.yaml").write_text(SITE + "queue: {partition: nowhere}\nrefusals: 2\n")
    began = time.monotonic()
    with pytest.raises(EngineError, match="invalid partition") as caught:
        Campaign.load(campaign / "campaign.yaml").run(site=load_site(campaign / "site.yaml"), say=lambda _line: None)
    assert time.monotonic() - began < 30
    assert "sinfo" in caught.value.fix


def test_jobs_that_end_before_a_worker_reports_end_the_run(cluster, campaign):
    (campaign / "site.yaml").write_text(SITE + "queue: {setup: [echo the module is missing, exit 1]}\nrefusals: 2\n")
    with pytest.raises(EngineError, match="the module is missing"):
        Campaign.load(campaign / "campaign.yaml").run(site=load_site(campaign / "site.yaml"), say=lambda _line: None)
    cluster.becomes(lambda: not cluster.alive(), 15)


def test_a_submitted_driver_follows_itself_and_ends_its_follower(cluster, campaign, local_products, start):
    submit = ("submit", campaign / "campaign.yaml", "--site", campaign / "site.yaml")
    assert start(*submit).wait(timeout=60) == 0
    assert start(*submit).wait(timeout=60) == 2  # one driver at a time
    name = slurm.name_of(campaign / "runs" / "small", "driver")
    cluster.becomes(lambda: len(cluster.alive(name)) == 2, 60)
    cluster.becomes(lambda: n_done(campaign) >= 5, 120)
    # The node of the first driver crashes; the job that waits for its end goes on.
    first = next(job for job in cluster.alive(name) if job.state == "RUNNING")
    node = cluster.node_of(first)
    cluster.call("crash", node)
    cluster.call("revive", node)
    cluster.becomes(lambda: not cluster.alive(), 400)
    assert products(campaign) == local_products


def test_cancel_ends_driver_follower_and_jobs(cluster, campaign, start):
    assert start("submit", campaign / "campaign.yaml", "--site", campaign / "site.yaml").wait(timeout=60) == 0
    cluster.becomes(lambda: n_done(campaign) >= 5, 120)
    assert start("cancel", campaign / "campaign.yaml").wait(timeout=60) == 0
    cluster.becomes(lambda: not cluster.alive(), 20)
    cluster.becomes(lambda: not workers_of(campaign), 10)


def test_results_that_the_driver_sees_late_are_waited_for(cluster, campaign, local_folder):
    if os.getuid() != 0 or not all(shutil.which(program) for program in ("bindfs", "unshare")):
        pytest.skip("two clients of one folder need bindfs and unshare")
    # The driver looks through a mount of its own, which keeps for three seconds what it saw, as NFS does.
    options = ",".join(f"{what}_timeout=3" for what in ("negative", "entry", "attr"))
    words = [sys.executable, "-m", "superionic.cli", "run", "campaign.yaml", "--site", "site.yaml", "--until", "hull"]
    script = (
        f"mount --make-rprivate / && bindfs -o {options} {campaign} {campaign} && cd {campaign} && "
        f"{shlex.join([*words, '--quiet'])}; code=$?; cd /; umount {campaign}; exit $code"
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], timeout=300, check=False, capture_output=True)
    if b"fuse" in done.stderr and done.returncode != 0:
        pytest.skip("FUSE cannot be used here")
    assert done.returncode == 0, done.stderr.decode()
    seen, expected = results(campaign), results(local_folder)
    assert len(seen) > 5
    assert {name: expected[name] for name in seen} == seen


def test_the_doctor_runs_a_task_in_a_job(cluster, campaign):
    findings = examine(load_site(campaign / "site.yaml"), campaign, probe_wait_s=120.0)
    seen = {finding.what: finding for finding in findings}
    assert seen["Slurm"].state == "ok"
    assert seen["a task in a job of `core`"].state == "ok"
    assert "ran on n" in seen["a task in a job of `core`"].seen
    assert {finding.state for finding in findings} <= {"ok", "warn"}
    cluster.becomes(lambda: not cluster.alive(), 15)
