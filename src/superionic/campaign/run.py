"""A campaign: its file, its run folder, and what can be done with both.

Everything that the command line does is a method here::

    from superionic import Campaign

    campaign = Campaign.load("examples/li3ycl6/campaign.yaml")
    print(campaign.check())
    results = campaign.run()
    results["stages"]["analyse"]["arrhenius"]
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superionic import __version__
from superionic.campaign.load import load_campaign
from superionic.errors import CampaignFileError, StorageError
from superionic.execution.engines import resolve_engine
from superionic.execution.executors import default_slots, local_executor, run_lock
from superionic.execution.interrupts import Interrupts, remembered_interrupts
from superionic.execution.ledger import Ledger
from superionic.execution.runner import Reporter, Runner, Slots, TasksPending
from superionic.execution.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from superionic.campaign.explain import Explanation
    from superionic.campaign.flow import Flow
    from superionic.campaign.plan import Plan
    from superionic.campaign.schema import CampaignFile
    from superionic.campaign.status import Status
    from superionic.structures.disordered import DisorderedCrystal

_LEAST_FREE_BYTES = 200 * 1024 * 1024


class Campaign:
    """A validated campaign file and its run folder.

    Parameters
    ----------
    file
        The campaign file.
    path
        Where it was read from.
    run_folder
        Where results go; ``runs/NAME`` beside the campaign file if None.
    """

    def __init__(self, file: CampaignFile, path: Path, run_folder: Path | None = None) -> None:
        self.file = file
        self.path = path
        self.run_folder = run_folder if run_folder is not None else path.parent / "runs" / file.name

    @classmethod
    def load(cls, path: str | Path, *, run_folder: str | Path | None = None) -> Campaign:
        """Read and validate a campaign file.

        Raises
        ------
        CampaignFileError
            With all mistakes of the file at once.
        """
        return cls(load_campaign(path), Path(path), None if run_folder is None else Path(run_folder))

    # ---- what can be done ------------------------------------------------------------------------------------------

    def check(self) -> Plan:
        """Read the crystals, find the engines, and plan the stages: counts, estimated hours, files to be written.

        Raises
        ------
        SuperionicError
            If a crystal, composition, potential or engine will not do.
        """
        from superionic.campaign.plan import make_plan

        self._prepare()
        return make_plan(self)

    def run(
        self,
        *,
        until: str | None = None,
        reporter: Reporter | None = None,
        workers: int | None = None,
        retry_failed: bool = False,
        executor: Executor | None = None,
        write_report: bool = True,
        install_engines: bool = False,
        say: Callable[[str], None] = print,
    ) -> dict[str, Any]:
        """Do everything that is not done yet, write the report, and return the results.

        Parameters
        ----------
        until
            Last stage to run; None for all.
        reporter
            Hears of progress.
        workers
            Worker processes; the campaign's ``execution.workers``, or one per core, if None.
        retry_failed
            Forget calculations that failed, and try them again.
        executor
            Another :class:`concurrent.futures.Executor`, e.g. Parsl's, whose workers see the run folder; a local one
            if None.
        write_report
            Write the report and the machine-readable results at the end.
        install_engines
            First install what engines the campaign needs and lacks.
        say
            Hears what the installation says.

        Returns
        -------
        dict
            What ``report/results.json`` holds.

        Raises
        ------
        SuperionicError
            If something that the user can mend is wrong. What was finished is kept.
        """
        if until is not None and until not in self.file.stages:
            raise CampaignFileError(
                f"the campaign has no stage {until!r}",
                where="--until",
                fix=f"choose one of {', '.join(self.file.stages)}",
            )
        self._prepare(until=until, install=install_engines, say=say)
        store = self._open_store(need_space=True)
        slots = default_slots(workers or self.file.execution.workers, self.file.execution.threads_per_worker)
        with run_lock(self.run_folder), self._ledger() as ledger, remembered_interrupts() as interrupts:
            store.sweep()
            if retry_failed:
                self._forget_failed(store, ledger)
            number = ledger.begin_run(os.getpid(), __version__)
            try:
                with local_executor(slots) if executor is None else nullcontext(executor) as chosen:
                    flow = self._flow(
                        store,
                        ledger,
                        executor=chosen,
                        slots=slots,
                        reporter=reporter,
                        until=until,
                        interrupts=interrupts,
                    )
                    flow.walk()
                results = self._results(flow)
                if write_report:
                    self._write_report(flow, results)
            except BaseException as error:
                ledger.end_run(number, "interrupted" if isinstance(error, KeyboardInterrupt) else "error")
                raise
            ledger.end_run(number, "done")
        return results

    def status(self) -> Status:
        """Tell what is done, what a run would do and why, and what failed. Nothing is computed."""
        from superionic.campaign.status import make_status

        with self._ledger() as ledger:
            flow, pending = self._dry_walk(ledger)
            return make_status(self.file, flow, pending, ledger)

    def report(self) -> Path:
        """Write the report from what is done so far, and return its HTML file."""
        with self._ledger() as ledger:
            flow, _ = self._dry_walk(ledger)
        return self._write_report(flow, self._results(flow))

    def export(self, form: str, folder: Path) -> list[Path]:
        """Write the transport runs as input of another program; see :mod:`superionic.campaign.export`."""
        from superionic.campaign.export import export_runs

        with self._ledger() as ledger:
            flow, _ = self._dry_walk(ledger)
        return export_runs(self.file, flow, form, folder)

    def export_labels(self, out: Path) -> int:
        """Write the accepted labels as a package; see :func:`superionic.campaign.labelled_files.export_labels`."""
        from superionic.campaign.labelled_files import export_labels

        with self._ledger() as ledger:
            flow, _ = self._dry_walk(ledger)
        return len(export_labels(flow, out))

    def explain(self, what: str) -> Explanation:
        """Tell where a number comes from.

        Parameters
        ----------
        what
            The beginning of a key, or words of a label.
        """
        from superionic.campaign.explain import make_explanation

        with self._ledger() as ledger:
            return make_explanation(what, ledger, self._open_store())

    # ---- parts ------------------------------------------------------------------------------------------------------

    @cached_property
    def crystals(self) -> dict[str, DisorderedCrystal]:
        """The disordered crystals of the campaign, read from their files."""
        from superionic.structures.files import read_crystal

        crystals = {entry.name: read_crystal(entry.file, name=entry.name) for entry in self.file.crystals}
        mobile = self.file.mobile_ion
        reachable = {axis.by for axis in self.file.composition_axes}
        for entry in self.file.crystals:
            if mobile not in crystals[entry.name].species and mobile not in reachable:
                raise CampaignFileError(
                    f"the mobile ion {mobile} is not in the crystal {entry.name} "
                    f"({', '.join(crystals[entry.name].species)})",
                    where=f"{self.path}: mobile_ion",
                    fix="name an element of the crystal as `mobile_ion`",
                )
        return crystals

    @cached_property
    def references(self) -> dict[str, DisorderedCrystal]:
        """The ordered reference phases, read from their files."""
        from superionic.structures.files import read_crystal

        return {entry.name: read_crystal(entry.file, name=entry.name) for entry in self.file.references}

    @property
    def report_folder(self) -> Path:
        """Where the report is written."""
        return self.run_folder / "report"

    def _open_store(self, *, need_space: bool = False) -> Store:
        store = Store(self.run_folder / "store")
        free = shutil.disk_usage(self.run_folder).free
        if need_space and free < _LEAST_FREE_BYTES:
            raise StorageError(
                f"only {free / 1e6:.0f} MB are free; a run needs {_LEAST_FREE_BYTES / 1e6:.0f} MB at least",
                where=str(self.run_folder),
                fix="free some space, or choose another folder with --run-folder",
            )
        return store

    def _prepare(self, *, until: str | None = None, install: bool = False, say: Callable[[str], None] = print) -> None:
        """See that all engines are there, and that the checkpoints of users can be believed in them."""
        from superionic.campaign import prepare
        from superionic.campaign.spaces import choose_potentials

        potentials = choose_potentials(self.file)
        needed = prepare.needed_engines(self.file, potentials)
        if install:
            prepare.install_engines(prepare.missing_engines(needed), say)
        if until is None:  # else an engine of a later stage may well be missing
            prepare.require_engines(needed)
        if until != "enumerate":
            prepare.prove_files(potentials)

    def _ledger(self) -> Ledger:
        Store(self.run_folder / "store")  # makes the folder, or says why it cannot
        return Ledger(self.run_folder / "ledger.sqlite")

    def _dry_walk(self, ledger: Ledger) -> tuple[Flow, list[Any]]:
        flow = self._flow(self._open_store(), ledger)
        try:
            flow.walk()
        except TasksPending as pending:
            return flow, pending.tasks
        return flow, []

    def _flow(
        self,
        store: Store,
        ledger: Ledger,
        *,
        executor: Executor | None = None,
        slots: Slots | None = None,
        reporter: Reporter | None = None,
        until: str | None = None,
        interrupts: Interrupts | None = None,
    ) -> Flow:
        from superionic.campaign.flow import Flow
        from superionic.campaign.spaces import choose_potentials, read_text
        from superionic.stages.base import Workbench

        potentials = choose_potentials(self.file)
        hours = None if executor is None else self.file.execution.walltime_h  # looking at what is done takes no time
        runner = Runner(
            store,
            ledger,
            executor=executor,
            slots=slots or Slots(1),
            python_of=lambda e: resolve_engine(e).python,
            reporter=reporter,
            walltime_s=None if hours is None else hours * 3600.0,
            interrupts=interrupts,
        )
        bench = Workbench(
            runner,
            self.file.seed,
            self.file.mobile_ion,
            {element: float(charge) for element, charge in self.file.oxidation_states.items()},
            potentials,
            self._engine_identity,
        )
        texts = [
            {"name": entry.name, "file_name": Path(entry.file).name, "text": read_text(entry.file)}
            for entry in self.file.references
        ]
        return Flow(self.file, bench, self.crystals, self.references, texts, until)

    @cached_property
    def _identities(self) -> dict[str, Mapping[str, Any]]:
        return {}

    def _engine_identity(self, engine: str) -> Mapping[str, Any]:
        if engine not in self._identities:
            self._identities[engine] = resolve_engine(engine).identity
        return self._identities[engine]

    def _forget_failed(self, store: Store, ledger: Ledger) -> None:
        for record in ledger.all():
            if record.state == "failed":
                store.forget(record.key)

    def _results(self, flow: Flow) -> dict[str, Any]:
        from superionic.campaign.results import assemble

        return assemble(self.file, flow)

    def _write_report(self, flow: Flow, results: dict[str, Any]) -> Path:
        from superionic.campaign.results import report_arrays, write_structures, write_students
        from superionic.report.export import write_report

        files = write_report(results, self.report_folder, arrays=report_arrays(flow))
        write_structures(flow, self.report_folder / "structures")
        write_students(flow, self.report_folder / "student")
        return Path(files.html)

    def load_results(self) -> dict[str, Any]:
        """Read ``results.json`` of the last report.

        Raises
        ------
        StorageError
            If no report was written yet.
        """
        path = self.report_folder / "results.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise StorageError("there is no report yet", where=str(path), fix="run the campaign first") from error
        return found
