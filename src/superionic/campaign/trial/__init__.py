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

from superionic.campaign.best_installed import first_potential, named_entry
from superionic.campaign.file.load import parse_campaign
from superionic.campaign.initialise import CrystalOptions, guess_settings, plain_name
from superionic.campaign.run import Campaign
from superionic.campaign.trial.first_look import (
    ATOMS,
    FirstLook,
    first_look_text,
    judge_look,
    potential_name,
    repeats,
)
from superionic.campaign.trial.screening import Screening, judge_screening, screening_temperatures_K, screening_text
from superionic.enumeration.counted import DEFAULT_MIN_DISTANCE_A
from superionic.errors import CampaignFileError, EngineError, PotentialError, StageError, storage_error
from superionic.shown import Shown
from superionic.structures.crystal.composition import MAX_DEVIATION

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.campaign.plan import Plan
    from superionic.campaign.results import CampaignResults
    from superionic.campaign.trial.cost import UnitCosts
    from superionic.execution.reporting import Reporter

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
    """What the halves of a trial would do; None for one that is left out.

    Attributes
    ----------
    first_look, screening
        The halves.
    cautions
        What was assumed about the crystal.
    """

    first_look: Plan | None
    screening: Plan | None
    cautions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for ``--json``."""
        halves = {"first_look": self.first_look, "screening": self.screening}
        plans = {name: None if half is None else half.to_dict() for name, half in halves.items()}
        return {**plans, "cautions": list(self.cautions)}


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
        What takes the first look: a name such as ``sevennet:7net-0``, or an entry of a campaign's ``potentials``; NEP89
        if None.
    teacher
        ... what labels for the student; the most accurate one that is installed if None.
    options
        What is known about the crystal.

    Raises
    ------
    SuperionicError
        If the crystal cannot be read, no composition of whole atoms without charge is near it, or there is no such
        potential.
    """

    def __init__(
        self,
        crystal: str | Path,
        *,
        folder: str | Path | None = None,
        potential: Mapping[str, Any] | str | None = None,
        teacher: Mapping[str, Any] | str | None = None,
        options: CrystalOptions = CrystalOptions(),  # noqa: B008 - frozen
    ) -> None:
        self._crystal = Path(crystal)
        self.guess = guess_settings(self._crystal, options)
        self.folder = (
            Path(folder) if folder is not None else Path(f"try-{plain_name(self._crystal.stem).strip(chr(34))}")
        )
        self._potential = FAST if potential is None else _entry(potential, "--potential")
        best = first_potential()
        self.teacher = best.entry if teacher is None else _entry(teacher, "--teacher")
        self._better_teacher = best.better if teacher is None else ""

    @property
    def file(self) -> Path:
        """The campaign file of the first look."""
        return self.folder / f"first-look-{_stem(self._potential)}.yaml"

    @property
    def screening_file(self) -> Path:
        """The campaign file of the screening, one for each teacher."""
        return self.folder / f"screening-{_stem(self.teacher)}.yaml"

    @property
    def text(self) -> str:
        """What stands in the campaign file of the first look."""
        return self._look_text(self.folder)

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
        return _opened(self.screening_file, self._screening_text(look, self.folder))

    def plan(self, *, quick: bool = False) -> TrialPlan:
        """Say what would be run and what it costs on this machine as it is now. Nothing is run or written.

        Where the fast potential runs in this Python, a few steps in the crystal are timed; else costs are those on
        record. The screening is planned as if the crystal conducted.

        Raises
        ------
        PotentialError
            If only a first look is asked for, and its potential lacks an element.
        """
        looks = self._looks(quick=quick)
        return TrialPlan(
            self._first_plan() if looks else None, None if quick else self._screening_plan(), self.guess.cautions
        )

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
        PotentialError
            If only a first look is asked for, and its potential lacks an element.
        EngineError
            If an engine of the first look is missing, or of the screening where there is no first look.
        """
        look = self.take_look(quick=quick, reporter=reporter, workers=workers)
        if quick:
            return TrialResult(look, None, "only a first look was asked for")
        return self.screen(look, reporter=reporter, workers=workers)

    def take_look(
        self, *, quick: bool = False, reporter: Reporter | None = None, workers: int | None = None
    ) -> FirstLook | None:
        """Run the first look; None where the fast potential lacks an element. Parameters are those of :meth:`run`.

        Raises
        ------
        PotentialError
            If nothing else is asked for, and the potential lacks an element.
        EngineError
            If an engine of the first look is missing.
        """
        if not self._looks(quick=quick):
            return None
        outcome: CampaignResults | StageError
        try:
            outcome = self.campaign().run(reporter=reporter, workers=workers, write_report=False)
        except StageError as error:
            outcome = error
        return judge_look(outcome, self.guess, self._potential, str(self.file))

    def screen(
        self, look: FirstLook | None, *, reporter: Reporter | None = None, workers: int | None = None
    ) -> TrialResult:
        """Run the screening that follows a first look, if it has something to add.

        Where it cannot be run or comes to nothing, the result says why, and holds the first look.

        Raises
        ------
        EngineError
            If an engine is missing, and there was no first look.
        """
        from superionic.campaign.trial.model_error import model_error, published

        if look is not None and look.verdict not in _GOES_ON:
            return TrialResult(look, None, f"no conductivity is screened: {look.words}")
        try:
            campaign = self.screening_campaign(look)
            results = campaign.run(reporter=reporter, workers=workers, write_report=False)
        except (EngineError, StageError) as error:
            if look is None and isinstance(error, EngineError):
                raise
            fix = "" if error.fix is None else f" ({error.fix})"
            return TrialResult(look, None, f"the screening came to no result: {error.message}{fix}")
        if results.distil is None:
            raise ValueError("a screening has a student")
        error_of_model = model_error(results.distil.teacher.identity.model, published())
        seen = judge_screening(results, self.guess, error_of_model, self._better_teacher, str(campaign.path))
        return TrialResult(look, seen, "")

    def _looks(self, *, quick: bool) -> bool:
        """Return whether there is a first look."""
        if self.lacking and quick:
            raise PotentialError(
                f"{_stem(self._potential)} does not know {', '.join(self.lacking)}, so it can take no first look.",
                where=str(self._crystal),
                fix="leave out --quick: the teacher then does its part; or name another --potential",
            )
        return not self.lacking

    def _first_plan(self) -> Plan:
        return self._measured(self._assumed_look.check(), self._assumed_look.file)

    def _screening_plan(self) -> Plan:
        """Plan the screening; a step of its student takes about as long as one of NEP89, which is of the same kind."""
        path = self.screening_file
        campaign = Campaign.load(path) if path.exists() else _assumed(path, self._screening_text(None, Path()))
        plan = campaign.check()
        return self._measured(plan, campaign.file) if self._potential["engine"] == "nep" else _without_trifles(plan)

    def _measured(self, plan: Plan, file: CampaignFile) -> Plan:
        """Put the times of steps made here and now into a plan, where they can be had."""
        from superionic.campaign.trial.cost import with_measured

        plan = _without_trifles(plan)
        costs = None if all(line.basis == "measured" for line in plan.lines) else self._unit_costs
        return plan if costs is None else with_measured(plan, costs, file)

    @cached_property
    def _assumed_look(self) -> Campaign:
        """The campaign of the first look, whose file need not be there."""
        if self.file.exists():
            return self.campaign()
        return _assumed(self.file, self._look_text(Path()))

    @cached_property
    def _unit_costs(self) -> UnitCosts | None:
        from superionic.campaign.trial.cost import unit_costs
        from superionic.enumeration.request import enumerate_orderings

        campaign = self._assumed_look
        if self.lacking or any(kind != "current" for kind in campaign.check().engines.values()):
            return None
        options = self.guess.options
        drawn = enumerate_orderings(
            self._crystal,
            block=options.block,
            supercell=self.guess.supercell,
            oxidation_states=self.guess.charges,
            max_deviation=options.max_deviation,
            min_distance_A=options.min_distance_A,
            sample_draws=1,
        )
        return unit_costs(self._potential, drawn.atoms()[0].repeat(repeats(self.guess, ATOMS)), campaign.file)

    def _look_text(self, folder: Path) -> str:
        return first_look_text(self._crystal, self.guess, folder, self._potential)

    def _screening_text(self, look: FirstLook | None, folder: Path) -> str:
        fast = None if self.lacking else self._potential
        return screening_text(self._crystal, self.guess, folder, self.teacher, fast, screening_temperatures_K(look))


def try_crystal(
    crystal: str | Path,
    *,
    quick: bool = False,
    folder: str | Path | None = None,
    potential: Mapping[str, Any] | str | None = None,
    teacher: Mapping[str, Any] | str | None = None,
    mobile_ion: str | None = None,
    oxidation_states: Mapping[str, float] | None = None,
    block: str | None = None,
    supercell: str | None = None,
    max_deviation: float = MAX_DEVIATION,
    min_distance_A: float = DEFAULT_MIN_DISTANCE_A,
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
    options = CrystalOptions(mobile_ion, oxidation_states, block, supercell, max_deviation, min_distance_A)
    trial = Trial(crystal, folder=folder, potential=potential, teacher=teacher, options=options)
    return trial.run(quick=quick, workers=workers)


def _entry(potential: Mapping[str, Any] | str, where: str) -> Mapping[str, Any]:
    return named_entry(potential, where=where) if isinstance(potential, str) else potential


def _stem(entry: Mapping[str, Any]) -> str:
    return potential_name(entry).strip('"')


def _without_trifles(plan: Plan) -> Plan:
    """Leave out what a trial does not write, and the hull of its one composition."""
    return replace(plan, lines=tuple(line for line in plan.lines if line.stage not in {"hull", "report"}))


def _assumed(file: Path, text: str) -> Campaign:
    """Return a campaign without writing its file; paths in its text are relative to the working folder."""
    return Campaign(parse_campaign(text, Path(file.name)), file)


def _opened(file: Path, text: str) -> Campaign:
    """Write a campaign file, if it is not there, and open it."""
    try:
        if file.exists() and file.read_text(encoding="utf-8") != text:
            raise CampaignFileError(
                "the file is of a trial with other options, or was changed",
                where=str(file),
                fix=f"run it as it is with `superionic run {file}`, or name another --folder for these options",
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise storage_error(error, where=file, doing="write the campaign file of the trial") from error
    return Campaign.load(file)
