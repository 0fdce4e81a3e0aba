"""How sampling, labelling and training follow one another: paper A's one shot, paper B's ladder, an active loop.

A plain loop. What a round requests follows from the stored results of earlier rounds, so a campaign that was stopped
retraces its steps, finds them done, and continues from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from superionic.campaign.sizes import train_on_sizes
from superionic.conventions import dispersion_in
from superionic.errors import StageError
from superionic.execution.task import ref_of
from superionic.labels.corrected import dispersion_of_label
from superionic.models.nep.potential import VERSION as NEP_VERSION
from superionic.potentials.base import PotentialIdentity, with_term
from superionic.registry import find
from superionic.results.learning import (
    Exploration,
    ExplorationRound,
    LabelResult,
    LearningResult,
    Rejection,
    SampleResult,
)
from superionic.settings.learn import ActiveSettings, Learning, LearnSettings, RungTests, learning_of
from superionic.settings.sample import SampleSettings
from superionic.stages import label, rungs, sample, train, validate
from superionic.stages.base import (
    FINE_TUNED,
    Candidate,
    ChosenPotential,
    Snapshot,
    Weights,
    WithSnapshots,
    lowest_of_each,
)
from superionic.training.distillation import evenly

if TYPE_CHECKING:
    from superionic.campaign.walk import Walk
    from superionic.execution.runner import Failure
    from superionic.settings.label import LabelSettings


def learn(flow: Walk, selected: Sequence[Candidate], base: ChosenPotential) -> ChosenPotential:
    """Sample, label and train as the campaign says; return the last potential, the base where nothing is trained."""
    sampling = flow.file.sample
    if sampling is not None:
        first = flow.potential(sampling.potential or flow.file.rank.potential)
        return _Loop(flow, sampling, selected, first).run() or base
    if flow.file.label is not None:  # finished labels need no sampling
        _Loop(flow, SampleSettings(), selected, base).check_finished()
    return base


@dataclass(frozen=True)
class _Trained:
    """The training of one round, the potential that it made, and the labels so far."""

    training: train.TrainOutput
    potential: ChosenPotential
    labelled: tuple[Snapshot, ...]


@dataclass
class _Loop:
    """One walk through the rounds."""

    flow: Walk
    sampling: SampleSettings
    chosen: Sequence[Candidate]
    first: ChosenPotential
    plan: Learning = field(init=False)
    driver: ChosenPotential = field(init=False)
    labelled: tuple[Snapshot, ...] = ()
    n_asked: int = 0
    trained: train.TrainOutput | None = None
    rungs: list[_Trained] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plan = learning_of(self.flow.file.learn, self.sampling)
        self.driver = self.first

    def run(self) -> ChosenPotential | None:
        """Go through all rounds; None where the campaign trains nothing."""
        flow, active = self.flow, self.plan.strategy == "active"
        several = len(self.plan.rounds) > 1 or active
        settings = flow.file.learn
        tests = settings.tests if settings is not None else None
        for number, runs in enumerate(self.plan.rounds, 1):
            last = number == len(self.plan.rounds) and not active and tests is None
            tail = f"round {number}" if several else ""
            sampled = self._sampled(number, runs, last=last)
            self._round(number, tail, [snapshot for output in sampled for snapshot in output.snapshots], last=last)
        if active and self.trained is not None:
            self._explore()
        if self.trained is None:
            self._check()
            return None
        chosen = _Trained(self.trained, self.driver, self.labelled)
        if settings is not None and (settings.compares_rungs or settings.sizes):
            sets, failures, rejected = self._test_sets(tests)
            if settings.compares_rungs:
                chosen = self._compared(settings, sets, failures, rejected)
            if settings.sizes:
                train_on_sizes(
                    flow,
                    settings.sizes,
                    chosen.training,
                    chosen.labelled,
                    self.first,
                    chosen.potential.single,
                    sets,
                )
        flow.end("train")
        tuned, trained = chosen.potential.single, chosen.training
        if (limits := flow.file.section("validate")) is not None:
            flow.at("validate")
            checked = validate.run(limits, flow.bench, chosen.labelled, tuned.bare, trained.training, trained.dataset)
            flow.done("validate", flow.outputs.validate, checked)
        return tuned

    def check_finished(self) -> None:
        """Take finished labels, and compare a potential as it is with them."""
        self._round(1, "", [], last=True)
        self._check()

    def _check(self) -> None:
        """Compare a potential as it is with the labels, if the campaign has labels and asks for it."""
        flow = self.flow
        settings = flow.file.section("validate")
        if settings is None or not self.labelled:
            return
        flow.at("validate")
        potential = self.first if settings.potential is None else flow.potential(settings.potential)
        inside = dispersion_of_label(asdict(flow.outputs.label[-1].result.reference))
        if inside is None:
            potential = potential.bare
        checked = validate.check(settings, flow.bench, self.labelled, potential, dispersion=inside)
        flow.done("validate", flow.outputs.validate, checked)

    def _test_sets(
        self, tests: RungTests | None
    ) -> tuple[dict[str, list[Snapshot]], tuple[Failure, ...], tuple[Rejection, ...]]:
        """Return the labelled test sets that are not empty, with what failed or was rejected of them."""
        flow, last = self.flow, self.rungs[-1]
        held_out = flow.bench.runner.one(last.training.dataset).split.test
        sets = {rungs.HELD_OUT: [self.labelled[index] for index in held_out]}
        failures: tuple[Failure, ...] = ()
        rejected: tuple[Rejection, ...] = ()
        if tests is not None:
            labels, failures = self._tests(tests)
            made = self._labels(labels, "tests", len(self.plan.rounds) + 1)
            failures, rejected = (*failures, *made.result.failures), made.result.rejected
            set_of = {snapshot.id: name for name, snapshots in labels.items() for snapshot in snapshots}
            for snapshot in made.snapshots:
                sets.setdefault(set_of[snapshot.id], []).append(snapshot)
            for stage in ("sample", "label"):
                flow.end(stage)
        return {name: snapshots for name, snapshots in sets.items() if snapshots}, failures, rejected

    def _compared(
        self,
        settings: LearnSettings,
        sets: Mapping[str, Sequence[Snapshot]],
        failures: tuple[Failure, ...],
        rejected: tuple[Rejection, ...],
    ) -> _Trained:
        """Compare the potentials of all rungs on the same test sets; return the one that goes on."""
        flow, last = self.flow, self.rungs[-1]
        temperatures = [runs[-1][0] for runs in self.plan.rounds]
        compared = [rungs.Rung(0, None, self.first.bare, last.training.dataset)] + [
            rungs.Rung(number, temperature, rung.potential.single.bare, rung.training.dataset)
            for number, (temperature, rung) in enumerate(zip(temperatures, self.rungs, strict=True), 1)
        ]
        result = rungs.run(flow.bench.at("train"), compared, sets, goes_on=settings.production_rung)
        flow.outputs.rungs.append(replace(result, failures=failures, rejected=rejected))
        return self.rungs[result.goes_on - 1]

    def _tests(self, tests: RungTests) -> tuple[dict[str, list[Snapshot]], tuple[Failure, ...]]:
        """Return the structures of each test set, not labelled yet, and the test runs that failed."""
        flow = self.flow
        ranked = [candidate for candidate in flow.outputs.ranked if not candidate.is_reference]
        lowest = lowest_of_each(ranked, tests.orderings) if tests.orderings else []
        made: dict[str, list[Snapshot]] = {
            rungs.ORDERINGS: [
                Snapshot(
                    id=f"test ordering {candidate.id}",
                    structure=candidate.structure,
                    formula=candidate.formula,
                    run=f"test ordering {candidate.id}",
                    ordering=candidate.ordering,
                )
                for candidate in lowest
            ]
        }
        if tests.temperatures_K is None:
            return made, ()
        sampled = {candidate.material for candidate in self.chosen}
        formulas = {candidate.formula for candidate in self.chosen}
        others = list(dict.fromkeys(c.formula for c in ranked if c.formula not in formulas))
        between = {others[index] for index in rungs.evenly_between(len(others), tests.mixtures)}
        best = lowest_of_each(ranked, 1)
        starts = {
            rungs.END_MEMBERS: [candidate for candidate in best if candidate.material in sampled],
            rungs.MIXTURES: [candidate for candidate in best if candidate.formula in between],
        }
        temperatures = [runs[-1][0] for runs in self.plan.rounds]
        near_K = temperatures[-1] if tests.driver_K is None else tests.driver_K
        nearest = min(range(len(temperatures)), key=lambda index: abs(temperatures[index] - near_K))
        driver = self.rungs[nearest].potential.single
        failures: tuple[Failure, ...] = ()
        flow.at("sample")
        for name, candidates in starts.items():
            for temperature in tests.temperatures_K if candidates else ():
                run = sample.run(
                    self.sampling,
                    flow.bench,
                    candidates,
                    driver,
                    temperature,
                    count=tests.snapshots,
                    round_label="test",
                    number=len(self.plan.rounds) + 1,
                )
                failures += run.result.failures
                made.setdefault(name, []).extend(run.snapshots)
        return made, failures

    def _labels(self, sets: Mapping[str, Sequence[Snapshot]], tail: str, number: int) -> WithSnapshots[LabelResult]:
        """Label structures of test sets as those of the rounds are labelled."""
        flow = self.flow
        settings = flow.file.label
        assert settings is not None  # noqa: S101 - a campaign that trains has labels
        flow.at("label")
        every = [snapshot for snapshots in sets.values() for snapshot in snapshots]
        return label.run(
            settings, flow.bench, every, self._stand_in(settings), tail, self.driver.single.bare, number=number
        )

    def _stand_in(self, settings: LabelSettings) -> ChosenPotential | None:
        name = settings.engine
        return self.flow.potential(name.partition(":")[2]) if name.startswith("potential:") else None

    def _round(self, number: int, tail: str, snapshots: Sequence[Snapshot], *, last: bool) -> int:
        """Label and train on all labels so far; return the number of labels that were accepted."""
        flow, file = self.flow, self.flow.file
        if file.label is None:
            return 0
        flow.at("label")
        stand_in = self._stand_in(file.label)
        made = label.run(file.label, flow.bench, snapshots, stand_in, tail, self.driver.single.bare, number=number)
        flow.done("label", flow.outputs.label, made, last=last)
        inside = dispersion_of_label(asdict(made.result.reference))
        self.labelled = (*self.labelled, *made.snapshots)
        self.n_asked += len(snapshots)
        if file.train is None:
            return len(made.snapshots)
        if inside is not None and "dispersion" in self.first.options:
            raise StageError(
                f"The labels have dispersion ({inside}), and the potential {self.first.name} has it as a term of its "
                "own: trained on them it would have it twice.",
                where="label",
                fix=f"Leave out `potentials.{self.first.name}.dispersion`, or take labels without dispersion.",
            )
        flow.at("train")
        ranked = flow.outputs.rank[-1].candidates
        self.trained = train.run(
            file.train,
            flow.bench,
            self.labelled,
            self.first.bare,
            tail,
            ranked,
            number=number,
            members=self.plan.members,
        )
        flow.done("train", flow.outputs.train, self.trained, last=False)
        weights = self.trained.weights
        potential = trained_potential(self.first, self.trained.result.trainer, weights[0], inside)
        self.driver = replace(potential, committee=weights if len(weights) > 1 else ())
        self.rungs.append(_Trained(self.trained, self.driver, self.labelled))
        flow.outputs.trained.append(self.driver.single)
        return len(made.snapshots)

    def _sampled(
        self,
        number: int,
        runs: Sequence[tuple[float, int]],
        *,
        last: bool = False,
        explore: ActiveSettings | None = None,
    ) -> list[WithSnapshots[SampleResult]]:
        """Sample at temperatures, each with its number of snapshots of a run."""
        flow = self.flow
        flow.at("sample")
        outputs: list[WithSnapshots[SampleResult]] = []
        for position, (temperature, count) in enumerate(runs, 1):
            sampled = sample.run(
                self.sampling,
                flow.bench,
                self.chosen,
                self.driver,
                temperature,
                count=count,
                explore=explore,
                round_label="" if explore is None else f"round {number}",
                number=number,
            )
            flow.done("sample", flow.outputs.sample, sampled, last=last and position == len(runs))
            outputs.append(sampled)
        return outputs

    def _explore(self) -> None:
        """Let the committee run, label what it disagrees about, and train on, until it agrees or may not continue."""
        active, flow = self.plan.active, self.flow
        n_runs = len(self.chosen) * self.sampling.replicas * len(self.plan.explored_K)
        hot = [(temperature, max(1, active.labels_per_round // n_runs)) for temperature in self.plan.explored_K]
        rounds: list[ExplorationRound] = []
        number, ended = 2, ""
        while not ended:
            outputs = self._sampled(number, hot, explore=active)
            runs = [run for output in outputs for run in output.result.runs]
            failed = sum(len(output.result.failures) for output in outputs)
            stopped = failed + sum(run.stopped is not None for run in runs)
            outcome = judged(number, [run.explored for run in runs if run.explored is not None], stopped, active)
            snapshots = self._worth_a_label(outputs)
            if outcome.agrees:
                ended = "the committee agrees"
            elif outcome.looked_at and outcome.worst_eV_per_A == 0.0:
                ended = "the members are the same: training improved none of them, so they cannot disagree"
            elif number == active.max_rounds + 2:
                ended = "all rounds are used up"
            elif not snapshots:
                ended = "all labels are used up" if self._room() == 0 else "no frame is worth a label"
            else:
                outcome = replace(outcome, labels=self._round(number, f"round {number}", snapshots, last=False))
            rounds.append(outcome)
            number += 1
        flow.outputs.learning.append(LearningResult(ended, rounds[-1].agrees, tuple(rounds)))
        for stage in ("sample", "label"):
            flow.end(stage)

    def _room(self) -> int:
        """Return how many more labels may be requested after a round."""
        most, room = self.plan.active.max_labels, self.plan.active.labels_per_round
        return room if most is None else max(0, min(room, most - self.n_asked))

    def _worth_a_label(self, outputs: Sequence[WithSnapshots[SampleResult]]) -> list[Snapshot]:
        snapshots = [snapshot for output in outputs for snapshot in output.snapshots]
        return [snapshots[index] for index in evenly(len(snapshots), self._room())] if self._room() else []


def trained_potential(
    pretrained: ChosenPotential, trainer: str, weights: Weights, dispersion: str | None = None
) -> ChosenPotential:
    """Return the potential that a training made: the pretrained one with new weights, or one of its own.

    The trainer ``nep`` learns a small potential from the labels alone; its energies have the zero of the potential that
    sampled, to which the labels were shifted. ``dispersion`` is what the labels have of it: that is learned. A
    dispersion term of the pretrained potential stays a term.
    """
    identity = pretrained.identity
    # Tight binding has dispersion too, but is so far from the potential that its name would say nothing.
    learned = None if dispersion is None or dispersion.endswith("xTB") else dispersion
    if learned is not None and dispersion_in(identity.energy_convention) is None:
        pretrained = replace(pretrained, identity=with_term(identity, learned))
    model = find(trainer)
    if model is None or not model.from_labels:
        return pretrained.tuned(weights)
    level = "the campaign's labels"
    identity = PotentialIdentity(
        name="nep",
        model="nep, from labels",
        version=NEP_VERSION,
        checkpoint_sha256=ref_of(weights).task.key,
        energy_convention=pretrained.identity.energy_convention,
        level_of_theory=level,
        elements=pretrained.identity.elements,
        licence="that of the labels",
        fine_tuned=True,
    )
    options: dict[str, Any] = {"energy_convention": identity.energy_convention, "level_of_theory": level}
    if "dispersion" in pretrained.options:
        options |= {"energy_convention": pretrained.bare.identity.energy_convention}
        options |= {"dispersion": pretrained.options["dispersion"]}
    return ChosenPotential(FINE_TUNED, identity, options=options, weights=weights)


def judged(number: int, explored: Sequence[Exploration], n_stopped: int, active: ActiveSettings) -> ExplorationRound:
    """Return what the exploration of a round showed, and whether the committee agrees.

    Parameters
    ----------
    explored
        The committee's verdict on each run.
    n_stopped
        Runs that failed or were stopped.
    active
        The ``learn.active`` section.
    """
    looked_at, above = sum(one.looked_at for one in explored), sum(one.above for one in explored)
    length = sum(one.length_ps for one in explored)
    worst = max((one.worst_eV_per_A or 0.0 for one in explored), default=0.0)
    share = above / looked_at if looked_at else 1.0
    long_enough = active.done_ps is None or length >= active.done_ps
    return ExplorationRound(
        round=number,
        # Members that all kept the pretrained weights agree to the last digit, and that means nothing.
        agrees=bool(looked_at and worst and share <= active.done_share and n_stopped == 0 and long_enough),
        labels=0,
        length_ps=length,
        looked_at=looked_at,
        above=above,
        share_above=share,
        stopped=n_stopped,
        worst_eV_per_A=worst,
    )
