"""A campaign: its file, its run folder, and what can be done with both.

Everything that the command line does is a method here::

    from superionic import Campaign

    campaign = Campaign.load("examples/li3ycl6/campaign.yaml")
    print(campaign.check())
    results = campaign.run()
    for material in results.analyse.arrhenius:
        print(material.formula, material.dependence.headline)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superionic.campaign.file.load import demand_own_name, load_campaign
from superionic.errors import CampaignFileError, StageError, StorageError
from superionic.execution.energy import metered
from superionic.execution.engines import resolve_engine
from superionic.execution.executors import default_slots
from superionic.execution.interrupts import Interrupts, remembered_interrupts
from superionic.execution.ledger import LEDGER, Ledger
from superionic.execution.locks import run_lock, run_owner
from superionic.execution.reporting import Reporter
from superionic.execution.runner import Runner, Slots, TasksPending
from superionic.execution.sites.base import SiteRun, TaskPool, local_place, open_site
from superionic.execution.store import Store
from superionic.execution.worker import PROGRESS_EVERY_S
from superionic.version import __version__

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from superionic.campaign.explain import Explanation
    from superionic.campaign.export_model import ExportedModel
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.flow import Flow
    from superionic.campaign.plan import Plan
    from superionic.campaign.results import CampaignResults
    from superionic.campaign.status import Status
    from superionic.execution.sites.site_file import Site
    from superionic.execution.task import Task
    from superionic.results.cost import CampaignCost
    from superionic.structures.crystal.disordered import DisorderedCrystal

_LEAST_FREE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True)
class _Walked:
    """How far a campaign could be walked without computing anything.

    Attributes
    ----------
    pending
        The tasks that it came to and that are not done.
    trouble
        Why a run cannot go on from there, e.g. because every label failed.
    """

    flow: Flow
    pending: Sequence[Task[Any]] = ()
    trouble: StageError | None = None


class Campaign:
    """A validated campaign file and its run folder.

    Parameters
    ----------
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
            With all mistakes of the file at once; or if another campaign file of the folder has its name, and so its
            run folder.
        """
        file = load_campaign(path)
        if run_folder is None:
            demand_own_name(Path(path), file.name)
        return cls(file, Path(path), None if run_folder is None else Path(run_folder))

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
        stages_so_far = self.status().stages if (self.run_folder / "store").is_dir() else ()
        return make_plan(self.file, self.crystals, self.references, self.run_folder, stages_so_far)

    def run(
        self,
        *,
        until: str | None = None,
        reporter: Reporter | None = None,
        workers: int | None = None,
        retry_failed: bool = False,
        executor: Executor | None = None,
        site: Site | None = None,
        write_report: bool = True,
        install_engines: bool = False,
        say: Callable[[str], None] = print,
    ) -> CampaignResults:
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
        site
            A site file, by :func:`superionic.campaign.site.load_site`: where tasks run if not on this machine.
        write_report
            Write the report and the machine-readable results at the end.
        install_engines
            First install the engines that the campaign needs and lacks.
        say
            Called with each message of the installation.

        Returns
        -------
        CampaignResults
            What ``report/results.json`` holds, field by field; ``plot()`` and ``to_frame()`` give the figures and
            tables of the report.

        Raises
        ------
        SuperionicError
            If something that the user can mend is wrong. What was finished is kept.
        """
        from superionic.campaign.results import assemble

        if until is not None and until not in self.file.stages:
            raise CampaignFileError(
                f"the campaign has no stage {until!r}",
                where="--until",
                fix=f"choose one of {', '.join(self.file.stages)}",
            )
        self._prepare(until=until, install=install_engines, say=say)
        store = self._open_store()
        slots = default_slots(workers or self.file.execution.workers, self.file.execution.threads_per_worker)
        with run_lock(self.run_folder, say=say), self._ledger() as ledger, remembered_interrupts() as interrupts:
            store.sweep()
            if retry_failed:
                for key in [key for key, kind in store.results() if kind == "failure"]:
                    store.forget(key)
            # Of other machines than this one nothing is known.
            meter = metered(ledger.used_energy) if executor is None and site is None else nullcontext()
            with ledger.recorded_run(__version__):
                with meter, self._place(executor, site, slots, say) as place:
                    flow = self._flow(
                        store,
                        ledger,
                        place=place,
                        reporter=reporter,
                        until=until,
                        interrupts=interrupts,
                    )
                    flow.walk()
                store.sweep()  # scratch of workers that were killed on the way
                results = assemble(flow)
                if write_report:
                    self._write_report(flow, results, ledger)
        return results

    def status(self) -> Status:
        """Return what is done, what a run would do and why, and what failed. Nothing is computed."""
        from superionic.campaign.status import make_status

        ledger = self._ledger()
        walked = self._dry_walk(ledger)
        owner = run_owner(self.run_folder)
        return make_status(self.file, walked.flow, walked.pending, ledger, walked.trouble, owner)

    def fit_site(self, site: Site) -> tuple[Site, tuple[str, ...]]:
        """Let jobs ask for the memory that tasks here have used; see :func:`superionic.campaign.site.fit_memory`."""
        from superionic.campaign.site import fit_memory

        ledger = self._ledger()
        return fit_memory(site, self._dry_walk(ledger).flow.bench.runner.used.values(), ledger)

    def report(self, folder: Path | None = None, *, formats: Sequence[str] = ("png", "svg")) -> Path:
        """Write the report from what is done so far, and return its HTML file.

        Parameters
        ----------
        folder
            Where it goes; ``report`` in the run folder if None, and then the page of costs is written as well, into
            ``cost`` beside it.
        formats
            Formats of the figure files beside the page: "png", "svg", "pdf". The page draws its figures itself.
        """
        from superionic.campaign.results import assemble

        ledger = self._ledger()
        flow = self._dry_walk(ledger).flow
        return self._write_report(flow, assemble(flow), ledger, folder, formats)

    def serve(self, *, port: int = 0, every_s: float = 3.0, announce: Callable[[str], object] = print) -> None:
        """Show the campaign in a browser of this machine until interrupted; see :mod:`superionic.campaign.live`."""
        from superionic.campaign.live.server import serve

        serve(self, port=port, every_s=every_s, announce=announce)

    def cost(self) -> CampaignCost:
        """Tell what the campaign cost so far: by stage, by potential, by label. Nothing is computed or written."""
        from superionic.campaign.cost import make_cost

        ledger = self._ledger()
        return make_cost(self.file, self._dry_walk(ledger).flow, ledger)

    def export(self, form: str, folder: Path) -> list[Path]:
        """Write the transport runs as input of another program; see :mod:`superionic.campaign.export`."""
        from superionic.campaign.export import export_runs

        return export_runs(self.file, self._dry_walk(self._ledger()).flow, form, folder)

    def export_model(self, name: str, out: Path) -> ExportedModel:
        """Write a potential that the campaign trained into a file; see :mod:`superionic.campaign.export_model`."""
        from superionic.campaign.export_model import export_model

        return export_model(self.file, self._dry_walk(self._ledger()).flow, name, out)

    def export_labels(self, out: Path) -> int:
        """Write the accepted labels as a package; see :func:`superionic.campaign.labelled_files.export_labels`."""
        from superionic.campaign.labelled_files import export_labels

        return len(export_labels(self._dry_walk(self._ledger()).flow, out))

    def explain(self, query: str) -> Explanation:
        """Return the provenance of a number.

        Parameters
        ----------
        query
            The beginning of a key, or words of a label.
        """
        from superionic.campaign.explain import make_explanation

        return make_explanation(query, self._ledger(), self._store_to_read())

    # ---- parts ------------------------------------------------------------------------------------------------------

    @cached_property
    def crystals(self) -> dict[str, DisorderedCrystal]:
        """The disordered crystals of the campaign, read from their files."""
        from superionic.campaign.spaces import followers
        from superionic.structures.io.files import read_crystal

        filled = followers(self.file)
        crystals = {
            entry.name: read_crystal(entry.file, name=entry.name, block=entry.block, keep_empty=filled)
            for entry in self.file.crystals
        }
        crystals |= {entry.name: crystals[entry.name].primitive() for entry in self.file.crystals if entry.primitive}
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
        from superionic.structures.io.files import read_crystal

        return {
            entry.name: read_crystal(entry.file, name=entry.name, block=entry.block) for entry in self.file.references
        }

    @property
    def report_folder(self) -> Path:
        """Where the report is written."""
        return self.run_folder / "report"

    @property
    def cost_folder(self) -> Path:
        """Where the page of costs is written: apart from the report, which is the same for equal campaigns."""
        return self.run_folder / "cost"

    def _place(
        self, executor: Executor | None, site: Site | None, slots: Slots, say: Callable[[str], None]
    ) -> AbstractContextManager[TaskPool]:
        """Choose where tasks run."""
        if executor is not None:
            return nullcontext(TaskPool(executor, slots))
        if site is None:
            return local_place(slots)
        site, more_memory = self.fit_site(site)
        for sentence in more_memory:
            say(sentence)
        return open_site(SiteRun(site, self.run_folder.absolute(), slots, say))

    def _store_to_read(self) -> Store:
        return Store(self.run_folder / "store", read_only=True)

    def _open_store(self) -> Store:
        store = Store(self.run_folder / "store", durable=self.file.execution.durable)
        store.prepare()
        free = shutil.disk_usage(self.run_folder).free
        if free < _LEAST_FREE_BYTES:
            raise StorageError(
                f"only {free / 1e6:.0f} MB are free; a run needs {_LEAST_FREE_BYTES / 1e6:.0f} MB at least",
                where=str(self.run_folder),
                fix="free some space, or choose another folder with --run-folder",
            )
        return store

    def _prepare(self, *, until: str | None = None, install: bool = False, say: Callable[[str], None] = print) -> None:
        """Check that all engines are installed, and that users' checkpoints pass their proof in them."""
        from superionic.campaign import prepare
        from superionic.campaign.spaces import choose_potentials

        potentials = choose_potentials(self.file)
        needed = prepare.needed_engines(self.file, potentials)
        if install:
            prepare.install_engines(prepare.missing_engines(needed), say)
        if until is None:  # else an engine of a later stage may well be missing
            prepare.require_engines(needed)
            prepare.require_dispersion(self.file, potentials)
        if until != "enumerate":
            prepare.prove_files(potentials)

    def _ledger(self) -> Ledger:
        return Ledger(self.run_folder / LEDGER)

    def _dry_walk(self, ledger: Ledger) -> _Walked:
        """Walk as far as results are there. Nothing is computed or written."""
        flow = self._flow(self._store_to_read(), ledger)
        try:
            flow.walk()
        except TasksPending as pending:
            return _Walked(flow, pending.tasks)
        except StageError as error:
            return _Walked(flow, trouble=error)
        return _Walked(flow)

    def _flow(
        self,
        store: Store,
        ledger: Ledger,
        *,
        place: TaskPool | None = None,
        reporter: Reporter | None = None,
        until: str | None = None,
        interrupts: Interrupts | None = None,
    ) -> Flow:
        from superionic.campaign.flow import Flow
        from superionic.campaign.spaces import choose_potentials
        from superionic.stages.base import Workbench

        potentials = choose_potentials(self.file)
        hours = None if place is None else self.file.execution.walltime_h  # looking at what is done takes no time
        runner = Runner(
            store,
            ledger,
            executor=None if place is None else place.executor,
            slots=Slots(1) if place is None else place.slots,
            python_of=lambda e: resolve_engine(e).python,
            reporter=reporter,
            walltime_s=None if hours is None else hours * 3600.0,
            interrupts=interrupts,
            visibility_s=0.0 if place is None else place.visibility_s,
            progress_every_s=PROGRESS_EVERY_S if place is None else place.progress_every_s,
            task_limit_s=self.file.execution.task_limit_h * 3600.0,
        )
        bench = Workbench(
            runner,
            self.file.seed,
            self.file.mobile_ion,
            {element: float(charge) for element, charge in self.file.oxidation_states.items()},
            potentials,
            self._engine_identity,
        )
        return Flow(self.file, bench, self.crystals, self.references, until)

    @cached_property
    def _identities(self) -> dict[str, Mapping[str, Any]]:
        return {}

    def _engine_identity(self, engine: str) -> Mapping[str, Any]:
        if engine not in self._identities:
            self._identities[engine] = resolve_engine(engine).identity
        return self._identities[engine]

    def _write_report(
        self,
        flow: Flow,
        results: CampaignResults,
        ledger: Ledger,
        folder: Path | None = None,
        formats: Sequence[str] = ("png", "svg"),
    ) -> Path:
        from superionic.campaign.cost import make_cost
        from superionic.campaign.results import write_structures, write_students
        from superionic.report.cost_page import write_cost
        from superionic.report.export import write_report

        def structures_and_students(place: Path) -> None:
            write_structures(flow, place / "structures")
            write_students(flow, place / "student")

        target = folder or self.report_folder
        written = write_report(results, target, grids=results.grids, formats=formats, further=structures_and_students)
        if folder is None:
            write_cost(make_cost(self.file, flow, ledger), self.cost_folder, title=results.title)
        return written.html

    def load_results(self) -> CampaignResults:
        """Read ``results.json`` of the last report; densities, which are no part of it, are not drawn from it.

        Raises
        ------
        StorageError
            If no report was written yet, or by a superionic whose results have another layout.
        """
        from superionic.campaign.results import CampaignResults
        from superionic.results.document import read_results

        return CampaignResults.of(read_results(self.report_folder / "results.json"))
