"""The verbs for clusters, ``submit``, ``cancel`` and ``doctor``, and what ``check --site`` adds."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from superionic.cli.options import (
    CampaignArgument,
    JsonOption,
    RetryFailedOption,
    RunFolderOption,
    SiteOption,
    UntilOption,
    open_campaign,
    read_site,
)

if TYPE_CHECKING:
    from superionic.campaign.plan import Plan
    from superionic.execution.sites.site_file import Site

_EXIT_USER_ERROR = 2
_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[bold red]fail[/]"}


def submit_command(
    campaign: CampaignArgument,
    site: Annotated[Path, typer.Option("--site", help="Site file (YAML) of the cluster.")],
    run_folder: RunFolderOption = None,
    until: UntilOption = None,
    retry_failed: RetryFailedOption = False,
    test: Annotated[bool, typer.Option("--test", help="Print the job script and submit nothing.")] = False,
) -> None:
    """Submit the run itself as a small Slurm job, which resubmits itself until the campaign is done.

    No login node need stay up. Watch it from anywhere with `superionic status`, end it with `superionic cancel`.
    """
    from superionic.execution.sites import slurm
    from superionic.execution.sites.job_script import driver_script

    opened, cluster = open_campaign(campaign, run_folder), read_site(site)
    if cluster is None:
        raise AssertionError("the option is required")
    folder = opened.run_folder.absolute() / "site"
    script, name = folder / "driver.sh", slurm.name_of(opened.run_folder, "driver")
    command = [sys.executable, "-m", "superionic.cli", "run", str(opened.path.absolute()), "--site"]
    command += [str(site.absolute()), "--run-folder", str(opened.run_folder.absolute()), "--quiet"]
    command += ["--until", until] if until is not None else []
    text = driver_script(cluster, name=name, script=script, log=folder / "driver.log", command=command)
    if test:
        typer.echo(text, nl=False)
        return
    _demand_slurm()
    if alive := [job.id for job in slurm.alive(name)]:
        from superionic.errors import StorageError

        raise StorageError(
            f"this campaign already has a driver: job {', '.join(alive)}",
            where=str(opened.run_folder),
            fix=f"watch it with: superionic status {shlex.quote(str(campaign))}; end it with: superionic cancel",
        )
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text(text, encoding="utf-8")
    try:
        # Later jobs of the chain continue from what is there; failures are tried again only once.
        job = slurm.sbatch(script, [str(cluster.driver.followers), *(["--retry-failed"] if retry_failed else [])])
    except slurm.SbatchRefused as refused:
        raise slurm.refusal(str(refused)) from None
    typer.echo(f"job {job} runs the campaign; its log is {folder / 'driver.log'}")
    typer.echo(f"watch it with: superionic status {shlex.quote(str(campaign))}")


def cancel_command(campaign: CampaignArgument, run_folder: RunFolderOption = None) -> None:
    """Cancel the Slurm jobs of a campaign: drivers, their successors, and jobs that run tasks.

    All finished work is kept; `superionic submit` or `superionic run` continues from it.
    """
    from superionic.execution.sites import slurm

    opened = open_campaign(campaign, run_folder)
    _demand_slurm()
    # Drivers first, so that none submits further jobs meanwhile; then the jobs they submitted.
    cancelled = [*slurm.cancel_all(slurm.name_of(opened.run_folder, "driver"))]
    cancelled += slurm.cancel_all(slurm.name_of(opened.run_folder))
    names = list(dict.fromkeys(f"{job.id} ({job.name.rpartition('.')[2]})" for job in cancelled))
    typer.echo(f"cancelled {len(names)} jobs: {', '.join(names)}" if names else "this campaign has no jobs")


def doctor_command(
    site: SiteOption = None,
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Run a test task through each kind of job.")] = True,
    wait_s: Annotated[
        float, typer.Option("--wait", help="Longest time in s that a probe may wait in the queue.")
    ] = 600.0,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Folder for runs; its disk is tested.", show_default="here")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Test what a campaign needs: Python, engines, disk, locks, GPU, scheduler, and one task in a job of each kind."""
    from superionic.campaign.doctor import examine

    findings = examine(read_site(site), folder or Path.cwd(), probe_wait_s=wait_s if probe else None)
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=1))
    else:
        table = Table("", "check", "result", "fix")
        for finding in findings:
            table.add_row(_MARKS[finding.state], escape(finding.what), escape(finding.seen), escape(finding.fix))
        Console().print(table)
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(_EXIT_USER_ERROR)


def show_site(site: Site, more_memory: Sequence[str], plan: Plan) -> None:
    """Print the jobs of a site, and an estimate of how long the rest of a campaign takes on them."""
    from superionic.execution.sites.site_file import KINDS

    shape = "nodes × workers × cores"
    table = Table("jobs of", shape, "memory", "GPUs", "walltime", "at once", "partition", "left")
    kinds_of_block: dict[str, list[str]] = {}
    for kind in KINDS:
        kinds_of_block.setdefault(site.block(kind)[0], []).append(kind)
    hours = node_hours = 0.0
    for name, kinds in kinds_of_block.items():
        block = getattr(site.kinds, name)
        lines = [line for line in plan.lines if line.kind in kinds]
        left = sum(max(0.0, line.cpu_hours - line.spent_cpu_hours) for line in lines)
        hours += sum(line.wall_hours(block.workers) for line in lines)  # stages follow one another
        node_hours += left / block.workers_per_node
        table.add_row(
            ", ".join(kinds),
            f"{block.nodes} × {block.workers_per_node} × {block.cores_per_worker}",
            "default" if block.memory_per_worker_GB is None else f"{block.memory_per_worker_GB:g} GB",
            str(block.gpus_per_node),
            f"{block.walltime_h:g} h",
            str(block.max_jobs),
            escape(site.queue_of(block).partition or "default"),
            f"{left:.2g} h",
        )
    console = Console()
    console.print(table)
    for sentence in more_memory:
        console.print(escape(sentence))
    console.print(
        f"on this site: at least {hours:.2g} h with all jobs running, about {node_hours:.2g} node-hours, if a "
        "worker there is as fast as one here"
    )


def _demand_slurm() -> None:
    from superionic.errors import EngineError
    from superionic.execution.sites import slurm

    if not slurm.is_there():
        raise EngineError(
            "the commands of Slurm were not found on this machine",
            where="sbatch",
            fix="run this on a login node of the cluster",
        )


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module to the command line."""
    app.command("submit")(submit_command)
    app.command("cancel")(cancel_command)
    app.command("doctor")(doctor_command)
