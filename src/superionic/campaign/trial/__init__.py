"""A trial of a crystal, before anybody writes a campaign: whether and how it conducts, and how well, to about a decade.

Both halves are campaigns like any other, small and with every choice made, in the refined cell: the first look
(:mod:`.first_look`) by one fast potential and, if ions move, the screening (:mod:`.screening`) by a student of the most
accurate potential that is installed. Where the fast potential lacks an element, the teacher does its part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from superionic.campaign.best_installed import FirstPotential, first_potential
from superionic.campaign.initialise import CrystalOptions, guess_settings, plain_name
from superionic.campaign.trial.first_look import ATOMS, FirstLook, first_look_text, judge_look, repeats
from superionic.campaign.trial.screening import Screening, judge_screening, screening_temperatures_K, screening_text
from superionic.errors import CampaignFileError, PotentialError, storage_error
from superionic.registry import find, models
from superionic.shown import Shown

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.plan import Plan
    from superionic.campaign.run import Campaign
    from superionic.campaign.trial.cost import UnitCosts
    from superionic.execution.reporting import Reporter

FIRST_LOOK: Final = "first-look.yaml"
SCREENING: Final = "screening.yaml"

FAST: Final[Mapping[str, Any]] = {"engine": "nep", "model": "nep89"}
"""NEP89: 89 elements at the speed of a student."""

_GOES_ON: Final = ("conducts", "loses its framework")
"""Verdicts of a first look after which a student of a better potential has something to add."""


@dataclass(frozen=True, eq=False, repr=False)
class TrialResult(Shown):
    """What a trial says about a crystal.

    Attributes
    ----------
    first_look
        Whether and how it conducts at high temperatures; None where the fast potential lacks an element.
    screening
        σ(T), Ea and σ(300 K); None where the trial ended before.
    ended
        Why there is no screening; empty if there is one.
    """

    first_look: FirstLook | None
    screening: Screening | None
    ended: str


@dataclass(frozen=True)
class TrialPlan:
    """What the halves of a trial would do; None for one that is left out."""

    first_look: Plan | None
    screening: Plan | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        halves = {"first_look": self.first_look, "screening": self.screening}
        return {name: None if half is None else half.to_dict() for name, half in halves.items()}


class Trial:
    """The trial of one crystal: its campaign files, its plan, and its outcome.

    Parameters
    ----------
    crystal
        CIF, POSCAR, extended XYZ or pymatgen JSON file.
    folder
        Where the campaign files and their runs go; ``try-NAME`` in the working folder if None. A file that is there is
        taken as it stands if it is the one that would be written, so that a trial that was stopped goes on.
    potential
        Entry of a campaign's ``potentials`` that takes the first look; NEP89 if None.
    teacher
        ... that labels for the student; the most accurate one that is installed if None.
    options
        What is known about the crystal.

    Raises
    ------
    SuperionicError
        If the crystal cannot be read, or no composition of whole atoms without charge is near it.
    """

    def __init__(
        self,
        crystal: str | Path,
        *,
        folder: str | Path | None = None,
        potential: Mapping[str, Any] | None = None,
        teacher: Mapping[str, Any] | None = None,
        options: CrystalOptions = CrystalOptions(),  # noqa: B008 - frozen
    ) -> None:
        path, block = Path(crystal), options.block
        self.guess = guess_settings(path, options)
        self.folder = Path(folder) if folder is not None else Path(f"try-{plain_name(path.stem).strip(chr(34))}")
        self._crystal, self._block, self._potential = path, block, potential or FAST
        best = first_potential()
        self.teacher = _entry(best) if teacher is None else teacher
        self._better_teacher = best.better if teacher is None else ""
        self.text = first_look_text(path, self.guess, self.folder, self._potential, block)

    @property
    def file(self) -> Path:
        """The campaign file of the first look."""
        return self.folder / FIRST_LOOK

    @property
    def lacking(self) -> tuple[str, ...]:
        """Elements of the crystal that the fast potential does not know."""
        from superionic.potentials.base import describe_potential

        options = dict(self._potential)
        known = describe_potential(options.pop("engine"), **options).elements
        return tuple(sorted(set(self.guess.charges) - set(known))) if known else ()

    def campaign(self) -> Campaign:
        """Write the campaign file of the first look, if it is not there, and open it.

        Raises
        ------
        CampaignFileError
            If another campaign file stands there.
        """
        return _opened(self.file, self.text)

    def screening_campaign(self, look: FirstLook | None) -> Campaign:
        """Write the campaign file of the screening that follows a first look, if it is not there, and open it.

        Raises
        ------
        CampaignFileError
            If another campaign file stands there.
        """
        return _opened(self.folder / SCREENING, self._screening_text(look, self.folder))

    def plan(self, *, quick: bool = False) -> TrialPlan:
        """Say what would be run and what it costs on this machine as it is now. Nothing is run.

        Where the fast potential runs in this Python, a few steps in the crystal are timed; else costs are those on
        record. The screening is planned as if the crystal conducted.
        """
        looks = quick or not self.lacking
        return TrialPlan(self._first_plan() if looks else None, None if quick else self._screening_plan())

    def run(self, *, quick: bool = False, reporter: Reporter | None = None, workers: int | None = None) -> TrialResult:
        """Run what is not done yet, and judge it.

        Parameters
        ----------
        quick
            Take the first look alone.
        reporter
            Hears of progress.
        workers
            Worker processes, one per core if None.

        Raises
        ------
        SuperionicError
            If an engine is missing, or a stage cannot go on. What was finished is kept.
        """
        look = None
        if not quick:
            self._demand_engines()
        if quick or not self.lacking:
            results = self.campaign().run(reporter=reporter, workers=workers, write_report=False)
            look = judge_look(results, str(self.file))
            if quick:
                return TrialResult(look, None, "only a first look was asked for")
            if look.verdict not in _GOES_ON:
                return TrialResult(look, None, f"no conductivity is screened, as the crystal {look.verdict}")
        from superionic.campaign.trial.model_error import model_error, published

        campaign = self.screening_campaign(look)
        results = campaign.run(reporter=reporter, workers=workers, write_report=False)
        if results.distil is None:
            raise ValueError("a screening has a student")
        error = model_error(results.distil.teacher.identity.model, published())
        return TrialResult(look, judge_screening(results, error, self._better_teacher, str(campaign.path)), "")

    def _first_plan(self) -> Plan:
        campaign = self.campaign()
        return self._measured(campaign.check(), campaign.file)

    def _screening_plan(self) -> Plan:
        """Plan the screening; a step of its student takes about as long as one of NEP89, which is of the same kind."""
        from superionic.campaign.plan import make_plan
        from superionic.campaign.run import Campaign

        path = self.folder / SCREENING
        campaign = Campaign.load(path) if path.exists() else Campaign(self._assumed_screening(), path)
        if path.exists():
            plan = campaign.check()
        else:
            plan = make_plan(campaign.file, campaign.crystals, {}, campaign.run_folder)
        return self._measured(plan, campaign.file) if self._potential["engine"] == "nep" else _without_report(plan)

    def _measured(self, plan: Plan, file: CampaignFile) -> Plan:
        """Put the times of steps made here and now into a plan, where they can be had."""
        from superionic.campaign.trial.cost import with_measured

        plan = _without_report(plan)
        costs = None if all(line.basis == "measured" for line in plan.lines) else self._unit_costs
        return plan if costs is None else with_measured(plan, costs, file)

    @cached_property
    def _unit_costs(self) -> UnitCosts | None:
        from superionic.campaign.trial.cost import unit_costs
        from superionic.enumeration.request import enumerate_orderings

        campaign = self.campaign()
        if self.lacking or any(kind != "current" for kind in campaign.check().engines.values()):
            return None
        drawn = enumerate_orderings(
            self._crystal,
            block=self._block,
            supercell=self.guess.supercell,
            oxidation_states=self.guess.charges,
            sample_draws=1,
        )
        return unit_costs(self._potential, drawn.atoms()[0].repeat(repeats(self.guess, ATOMS)), campaign.file)

    def _screening_text(self, look: FirstLook | None, folder: Path) -> str:
        fast = None if self.lacking else self._potential
        temperatures = screening_temperatures_K(look)
        return screening_text(self._crystal, self.guess, folder, self.teacher, fast, temperatures, self._block)

    def _assumed_screening(self) -> CampaignFile:
        """Return the campaign of the screening as if there had been no first look, without writing it."""
        from superionic.campaign.file.load import parse_campaign

        here = Path()
        return parse_campaign(self._screening_text(None, here), here / SCREENING)

    def _demand_engines(self) -> None:
        """Raise EngineError before anything is run if an engine of the screening is missing."""
        from superionic.campaign.prepare import needed_engines, require_engines
        from superionic.campaign.spaces import choose_potentials

        file = self._assumed_screening()
        require_engines(needed_engines(file, choose_potentials(file)))


def named_potential(name: str) -> Mapping[str, Any]:
    """Return the entry of a campaign's ``potentials`` for ``nep89`` or for an engine with its usual model.

    Raises
    ------
    PotentialError
        If there is no such engine.
    """
    if name == FAST["model"]:
        return FAST
    if find(name) is None:
        known = ", ".join((FAST["model"], *models()))
        raise PotentialError(
            f"There is no potential {name[:40]!r}.", where="--potential", fix=f"Choose one of {known}."
        )
    return {"engine": name}


def try_crystal(
    crystal: str | Path,
    *,
    quick: bool = False,
    folder: str | Path | None = None,
    potential: Mapping[str, Any] | None = None,
    teacher: Mapping[str, Any] | None = None,
    mobile_ion: str | None = None,
    oxidation_states: Mapping[str, float] | None = None,
    block: str | None = None,
    workers: int | None = None,
) -> TrialResult:
    """Look whether and how a crystal conducts and, unless `quick`, how well, in about ten minutes on two cores.

    Parameters are those of :class:`Trial` and :class:`superionic.campaign.initialise.CrystalOptions`; `workers` are
    processes, one per core if None.

    Examples
    --------
    >>> import superionic as si
    >>> tried = si.try_crystal("li3ycl6.cif")  # doctest: +SKIP
    >>> tried.first_look.verdict  # doctest: +SKIP
    'conducts'
    >>> tried.screening.conductivity.interval68_S_per_cm  # doctest: +SKIP
    (0.00035, 0.11)
    """
    options = CrystalOptions(mobile_ion, oxidation_states, block)
    trial = Trial(crystal, folder=folder, potential=potential, teacher=teacher, options=options)
    return trial.run(quick=quick, workers=workers)


def named_teacher(name: str | None) -> Mapping[str, Any]:
    """Return the entry of a campaign's ``potentials`` for ``ENGINE`` or ``ENGINE:MODEL``; None is the best installed.

    Raises
    ------
    PotentialError
        If there is no such engine.
    """
    return _entry(first_potential(name))


def _entry(chosen: FirstPotential) -> Mapping[str, Any]:
    return {"engine": chosen.engine} | ({} if chosen.model is None else {"model": chosen.model})


def _without_report(plan: Plan) -> Plan:
    return replace(plan, lines=tuple(line for line in plan.lines if line.stage != "report"))


def _opened(file: Path, text: str) -> Campaign:
    """Write a campaign file, if it is not there, and open it."""
    from superionic.campaign.run import Campaign

    try:
        if file.exists() and file.read_text(encoding="utf-8") != text:
            raise CampaignFileError(
                "the file is of another trial, or was changed",
                where=str(file),
                fix=f"run it as it is with `superionic run {file}`, or name another --folder",
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise storage_error(error, where=file, doing="write the campaign file of the trial") from error
    return Campaign.load(file)
