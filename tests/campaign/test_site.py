from __future__ import annotations

import os
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from superionic import Campaign
from superionic.campaign.doctor import examine
from superionic.campaign.site import PRESETS, parse_site
from superionic.errors import CampaignFileError, EngineError
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.runner import Slots
from superionic.execution.sites import slurm
from superionic.execution.sites.base import SiteRun, kind_of, open_site
from superionic.execution.sites.job_script import block_script, driver_script
from superionic.execution.sites.node import JobTimeUp, execute_many, execute_on_node, local_python
from superionic.execution.sites.packing import pack_engine
from superionic.execution.store import Store
from superionic.execution.worker import all_workers_ended, execute, request_for

HEAD = "superionic_site: 1\n"
LOCAL = HEAD + "scheduler: local\npool: {pool}\nkinds: {{core: {{workers_per_node: 2}}}}\npoll_s: 1\n"


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_is_a_whole_site(preset):
    site = parse_site(HEAD + f"preset: {preset}\n", "site.yaml")
    assert site.preset == preset
    assert site.workers >= 1


def test_keys_of_the_file_win_over_its_preset_one_by_one():
    site = parse_site(HEAD + "preset: slurm-gpu\nkinds: {potential: {max_jobs: 7}}\n", "site.yaml")
    name, block = site.block("potential")
    assert (name, block.max_jobs, block.gpus_per_node) == ("potential", 7, 4)
    only_core = parse_site(HEAD + "kinds: {core: {}}\n", "site.yaml")
    assert only_core.block("dft") == ("core", only_core.kinds.core)


def test_all_mistakes_of_a_site_file_are_told_at_once():
    text = HEAD + "schedular: slurm\nkinds:\n  core: {workers_per_node: 0, walltime_h: 2h}\n  gpu: {}\n"
    with pytest.raises(CampaignFileError) as caught:
        parse_site(text, "site.yaml")
    message = caught.value.message
    assert "The site file has 4 mistakes" in message
    assert "did you mean 'scheduler'?" in message
    assert "site.yaml:4:28  kinds.core.workers_per_node: must be at least 1" in message
    assert "leave out 'h'" in message
    assert "the keys here are: core, potential, dft" in message
    assert "slurm.md" in caught.value.fix


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: slurm-cpus\n", "did you mean 'slurm-cpu'?"),
        ("kinds: {core: {gpus_per_node: 2, workers_per_node: 4}}\n", "cannot each have one of"),
        ("kinds: {core: {longest_task_h: 2, walltime_h: 2}}\n", "no task could ever start"),
        ('queue: {partition: "a b"}\nkinds: {core: {}}\n', "one word"),
        ('queue: {setup: ["a\\nb"]}\nkinds: {core: {}}\n', "one line"),
        ("", "kinds"),
    ],
)
def test_a_site_that_could_not_work_is_refused(text, words):
    with pytest.raises(CampaignFileError, match=words.replace("?", r"\?")):
        parse_site(HEAD + text, "site.yaml")


def test_the_script_of_a_job_asks_for_what_the_site_says(tmp_path):
    text = HEAD + (
        "queue: {account: chem, setup: [module load a], sbatch: [--exclusive]}\n"
        "kinds:\n  core: {}\n"
        "  potential: {partition: gpu, workers_per_node: 2, cores_per_worker: 4, gpus_per_node: 2, walltime_h: 1.5,\n"
        "    memory_per_worker_GB: 8, setup: [module load cuda]}\n"
        "  dft: {cores_per_worker: 16, mpi_launch: srun -n 16}\n"
    )
    site = parse_site(text, "site.yaml")
    script = block_script(site, site.block("potential")[1], name="n", log=tmp_path / "log", command="work")
    asked = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]
    for option in (
        "--account=chem",
        "--partition=gpu",
        "--exclusive",
        "--time=90",
        "--cpus-per-task=8",
        "--mem=16384M",
    ):
        assert option in asked
    assert "--gres=gpu:2" in asked
    assert script.index("module load a") < script.index("module load cuda") < script.index("\nwork\n")
    dft = block_script(site, site.block("dft")[1], name="n", log=tmp_path / "log", command="work")
    assert "#SBATCH --ntasks-per-node=16" in dft
    assert "SUPERIONIC_VASP='srun -n 16 '" in dft
    driver = driver_script(
        site, name="d", script=tmp_path / "d.sh", log=tmp_path / "log", command=["superionic", "run"]
    )
    assert "--dependency=" in driver


def test_jobs_ask_for_the_memory_that_tasks_were_measured_to_use(finished_folder):
    campaign = Campaign.load(finished_folder / "campaign.yaml")
    with Ledger(campaign.run_folder / LEDGER) as ledger:
        largest_GB = max(record.peak_MB or 0.0 for record in ledger.all()) / 1024.0
    assert largest_GB > 0.05
    site, words = campaign.fit_site(parse_site(HEAD + "kinds: {core: {memory_per_worker_GB: 0.01}}\n", "site.yaml"))
    asked_GB = site.kinds.core.memory_per_worker_GB
    assert asked_GB is not None
    assert 1.25 * largest_GB <= asked_GB <= 1.25 * largest_GB + 0.5
    assert len(words) == 1
    assert f"{asked_GB:g} GB of memory a worker instead of 0.01 GB" in words[0]
    for enough in ("{memory_per_worker_GB: 64}", "{}"):
        text = HEAD + f"kinds: {{core: {enough}}}\n"
        assert campaign.fit_site(parse_site(text, "site.yaml")) == (parse_site(text, "site.yaml"), ())


def test_the_kind_of_a_task_is_read_from_its_description():
    assert kind_of({"descriptor": {"engine": {"name": "core"}}}) == "core"
    assert kind_of({"descriptor": {"engine": {"name": "chgnet"}}}) == "potential"
    assert kind_of({"descriptor": {"engine": {"name": "gpaw"}}}) == "dft"
    assert kind_of({"descriptor": {"engine": {"name": "core"}, "settings": {"labeller": "vasp"}}}) == "dft"


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("Batch job submission failed: Invalid account or account/partition combination specified", "account"),
        ("invalid partition specified: x", "sinfo"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "walltime_h"),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", "max_jobs"),
        ("something else", "doctor"),
    ],
)
def test_a_refusal_names_what_mends_it(words, fix):
    error = slurm.refusal(words)
    assert words in error.message
    assert fix in error.fix


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["parsl", "processes"])
def test_engines_behind_the_seam_give_the_same_result(pool, finished_folder, small_campaign):
    if pool == "parsl":
        pytest.importorskip("parsl")
    campaign = Campaign.load(small_campaign())
    site = parse_site(LOCAL.format(pool=pool), "site.yaml")
    results = campaign.run(until="hull", site=site, write_report=False)
    assert results.hull == Campaign.load(finished_folder / "campaign.yaml").load_results().hull


def test_another_package_provides_an_engine(tmp_path, monkeypatch, finished_folder, small_campaign):
    (tmp_path / "toy-1.0.dist-info").mkdir()
    (tmp_path / "toy-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (tmp_path / "toy-1.0.dist-info" / "entry_points.txt").write_text("[superionic.sites]\ntoy = toy_site:open_toy\n")
    (tmp_path / "toy_site.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from contextlib import contextmanager\n"
        "from superionic.execution.sites.base import TaskPool\n"
        "@contextmanager\n"
        "def open_toy(run):\n"
        "    run.say(f'toy in {run.run_folder.name}')\n"
        "    with ThreadPoolExecutor(1) as executor:\n"
        "        yield TaskPool(executor, run.slots)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    said: list[str] = []
    campaign = Campaign.load(small_campaign())
    site = parse_site(LOCAL.format(pool="toy"), "site.yaml")
    results = campaign.run(until="enumerate", site=site, write_report=False, say=said.append)
    assert results.enumerate == Campaign.load(finished_folder / "campaign.yaml").load_results().enumerate
    assert said == ["toy in small"]
    with pytest.raises(EngineError, match="no pool called 'tay'") as caught:
        campaign.run(site=parse_site(LOCAL.format(pool="tay"), "site.yaml"), say=said.append)
    assert "toy" in caught.value.fix


def test_an_engine_is_unpacked_once_on_the_nodes_own_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERIONIC_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "engines" / "toy"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "engine.json").write_text("{}")
    archive = pack_engine(folder / "bin" / "python")
    assert archive is not None
    assert archive == pack_engine(folder / "bin" / "python")
    python = local_python(folder / "bin" / "python", archive, tmp_path / "scratch")
    assert tmp_path / "scratch" in python.parents
    assert python.resolve() == Path(sys.executable).resolve()
    assert local_python(folder / "bin" / "python", archive, tmp_path / "scratch") == python
    assert pack_engine(Path(sys.executable)) is None
    # Where it cannot be unpacked, the shared one does.
    archive.write_bytes(b"no archive")
    assert local_python(folder / "bin" / "python", archive, tmp_path / "other") == folder / "bin" / "python"


def test_a_worker_sees_the_gpu_of_its_rank(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERIONIC_GPUS", "3,5")
    monkeypatch.setenv("PARSL_WORKER_RANK", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setenv("SUPERIONIC_JOB_ENDS", "0")
    with pytest.raises(Exception, match="time limit of this job is reached"):
        execute_on_node({})
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


def wait_request(folder, name, seconds) -> dict:
    return request_for(
        store=folder / "store",
        key=name * 64,
        descriptor={"engine": {"name": "core"}},
        function="superionic.execution.probes:wait",
        settings={"seconds": seconds},
        inputs={},
        python=Path(sys.executable),
        threads=1,
        walltime_s=600.0,
    )


def test_a_task_that_outlives_its_job_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERIONIC_JOB_ENDS", str(time.time() + 21.0))
    monkeypatch.setenv("SUPERIONIC_SCRATCH", str(tmp_path / "own"))
    try:
        with pytest.raises(JobTimeUp, match="of this task"):
            execute_on_node(wait_request(tmp_path, "a", 60.0))
        monkeypatch.setenv("SUPERIONIC_JOB_ENDS", str(time.time() + 600.0))
        assert execute_on_node(wait_request(tmp_path, "b", 0.0))["state"] == "done"
    finally:
        with all_workers_ended():
            pass


def test_a_long_task_keeps_those_of_its_message_waiting_for_a_short_time_only(tmp_path):
    try:
        replies = execute_many([wait_request(tmp_path, name, 0.3) for name in "abc"], 0.1)
    finally:
        with all_workers_ended():
            pass
    assert [reply and reply["state"] for reply in replies] == ["done", None, None]


@pytest.mark.slow
def test_tasks_outlive_the_process_that_hands_them_out(tmp_path):
    pytest.importorskip("parsl")
    from superionic.execution.sites.parsl_engine import ParslExecutor

    site = parse_site(LOCAL.format(pool="parsl"), "site.yaml")
    Store(tmp_path / "store").prepare()
    with open_site(SiteRun(site, tmp_path, Slots(1), lambda _line: None)) as place:
        assert isinstance(place.executor, ParslExecutor)
        assert place.executor.submit(execute, wait_request(tmp_path, "a", 0.0)).result(timeout=120)["state"] == "done"
        lost = place.executor.submit(execute, wait_request(tmp_path, "b", 600.0))
        place.executor._pools["core"]._htex.interchange_proc.kill()
        with pytest.raises(BrokenExecutor):
            lost.result(timeout=60)
        assert place.executor.submit(execute, wait_request(tmp_path, "c", 0.0)).result(timeout=120)["state"] == "done"
    with pytest.raises(RuntimeError, match="shut down"):
        place.executor.submit(execute, wait_request(tmp_path, "d", 0.0))


def test_the_doctor_examines_this_machine(tmp_path):
    findings = examine(None, tmp_path, probe_wait_s=None)
    seen = {finding.what: finding for finding in findings}
    assert seen["Python"].state == "ok"
    assert "ms each" in seen["writing a result to the disk"].seen
    assert all(finding.fix for finding in findings if finding.state != "ok")
    assert list(tmp_path.iterdir()) == []
