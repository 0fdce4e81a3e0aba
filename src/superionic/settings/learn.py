"""The section ``learn`` of the campaign file: how sampling, labelling and training follow one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from superionic.settings.base import (
    Count,
    CountOrZero,
    Duration,
    Fraction,
    Interval,
    Positive,
    StageSection,
    Temperature,
    Temperatures,
    at_size,
    each_once,
)
from superionic.settings.md import uneven_interval
from superionic.settings.rules import Problem, Section, rule
from superionic.settings.sample import SampleSettings
from superionic.settings.train import TrainSettings

Strategy = Literal["one-shot", "ladder", "active"]
MOST_RUNGS: Final = 100
_MEMBERS_OF_ACTIVE: Final = 3


class LadderSettings(Section):
    """The rungs of the ladder by their spacing, in the place of `sample.temperatures_K`."""

    from_K: Temperature = Field(description="Lowest temperature T0 (paper B: 200).")
    step_K: Positive = Field(description="Spacing ΔT (paper B: 200).")
    to_K: Temperature = Field(description="Highest temperature T_max, the last rung (paper B: 800).")

    @property
    def rungs(self) -> tuple[float, ...]:
        """The temperatures, T_max among them; empty where this is no ladder."""
        if self.to_K < self.from_K:
            return ()
        whole = int((self.to_K - self.from_K) / self.step_K + 1.0e-9)
        if whole >= MOST_RUNGS:
            return ()
        even = tuple(self.from_K + self.step_K * k for k in range(whole + 1))
        # The last rung is T_max itself, also where the spacing does not end there.
        return (*even[:-1], self.to_K) if abs(even[-1] - self.to_K) < 1.0e-6 else (*even, self.to_K)

    @rule
    def _rises_in_steps(self) -> Iterator[Problem]:
        if not self.rungs:
            yield Problem((), "this is no ladder", f"let it rise from T0 to T_max in at most {MOST_RUNGS} steps")


class ActiveSettings(Section):
    """The active loop: a committee runs, what it disagrees about is labelled, and it learns on."""

    temperatures_K: Temperatures | None = Field(
        default=None, description="Temperatures of the exploration; those of `sample` if left out."
    )
    max_rounds: Count = Field(
        default=5, description="Most rounds of exploring, labelling and training after the first."
    )
    max_labels: Count | None = Field(
        default=None, description="Most structures that are labelled in all; null for no such limit."
    )
    labels_per_round: Count = Field(default=30, description="Most structures that are labelled after an exploration.")
    collect_above_eV_per_A: Positive = Field(
        default=0.1,
        description="Disagreement about the force on any ion (standard deviation over the members) above which a frame "
        "is worth a label.",
    )
    stop_above_eV_per_A: Positive = Field(
        default=1.0, description="Disagreement above which a run is stopped: beyond it the forces mean nothing."
    )
    check_every_fs: Interval = Field(
        default=20.0,
        description="Interval at which all members evaluate a frame; the run itself follows the first one.",
    )
    done_share: Fraction = Field(
        default=0.02,
        description="The loop ends when at most this share of the looked-at frames is above `collect_above_eV_per_A` …",
    )
    done_ps: Duration | None = Field(
        default=None,
        description="… in at least this much exploration (all runs of a round together), none of it stopped; left out: "
        "all of the round.",
    )

    @rule
    def _frames_are_collected_before_runs_stop(self) -> Iterator[Problem]:
        collect, stop = self.collect_above_eV_per_A, self.stop_above_eV_per_A
        if collect >= stop:
            message = f"runs are stopped at {stop:g} eV/Å, before a frame above {collect:g} eV/Å can be collected"
            yield Problem(("stop_above_eV_per_A",), message, "make it several times larger")


class RungTests(Section):
    """Test sets on which the potentials of all rungs are compared; no rung is trained on them (paper B, S1 to S3).

    The labels that training holds out are one in any case.
    """

    orderings: CountOrZero = Field(
        default=0,
        description="Ranked orderings of each crystal and composition of the campaign, the lowest first, that are "
        "labelled as they were relaxed.",
    )
    temperatures_K: Temperatures | None = Field(
        default=None,
        description="Temperatures of test runs of the selected orderings (paper B: 300 to 700 in steps of 50), which "
        "go as those of `sample` do; none if left out.",
    )
    snapshots: Count = Field(default=50, description="Snapshots of each test run (paper B: 50).")
    mixtures: CountOrZero = Field(
        default=0,
        description="Compositions that are not sampled, evenly spread over those of the campaign, whose lowest "
        "orderings run as well (paper B: 3, at x = 1.5, 3 and 4.5).",
    )
    driver_K: Temperature | None = Field(
        default=None,
        description="The test runs are driven by the potential of the rung nearest to this temperature (paper B: 600); "
        "by that of the last rung if left out.",
    )


def _rising(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(sizes))


class LearnSettings(StageSection):
    """How sampling, labelling and training follow one another."""

    strategy: Strategy | None = Field(
        default=None,
        description="one-shot: all temperatures are sampled by the pretrained potential, and one training follows "
        "(paper A); ladder: each temperature is sampled by the potential trained on those below (paper B); active: a "
        "committee explores until it agrees. Left out: ladder if `sample` has several temperatures, else one-shot.",
    )
    ladder: LadderSettings | None = Field(
        default=None, description="Rungs by their spacing; without, they are `sample.temperatures_K`."
    )
    members: Annotated[int, Field(ge=1, le=10)] | None = Field(
        default=None,
        description="Potentials trained in each round, with other seeds and other splits of the labels; the first one "
        "goes on to the later stages. Left out: 3 for active, else 1.",
    )
    active: ActiveSettings = Field(default_factory=ActiveSettings, description="The active loop.")
    production_rung: Literal["last", "best"] = Field(
        default="last",
        description="Rung of a ladder whose potential goes on to the later stages: the last one, or that of the "
        "smallest errors on test sets that all rungs share (paper B goes on with 600 K of 200, 400, 600 and 800).",
    )
    tests: RungTests | None = Field(
        default=None, description="Test sets for the comparison of the rungs besides the labels that are held out."
    )
    sizes: Annotated[
        tuple[CountOrZero, ...], Field(strict=False, max_length=20), AfterValidator(each_once), AfterValidator(_rising)
    ] = Field(
        default=(),
        description="Numbers of training labels on each of which a potential is trained besides, as `train` says, to "
        "see what converges with the labels (paper A, figure 2d); 0 is the potential that sampled. Each is judged by "
        "its errors on the test sets and by the order of the lowest orderings (`rank.relax_top`), and it drives a "
        "series of runs like the first of `transport`, where that is driven by `fine-tuned`. Series in the list that "
        "name some of them, as `fine-tuned@250`, take the place of these.",
    )

    @rule
    def _ladder_is_the_one_of_sample(self, sample: SampleSettings | None) -> Iterator[Problem]:
        rungs = () if self.ladder is None else self.ladder.rungs
        if rungs and sample is not None and sample.temperatures_K != rungs:
            temperatures = ", ".join(f"{value:g}" for value in rungs)
            message = f"the ladder has the rungs {temperatures} K, but `sample.temperatures_K` has others"
            yield Problem(("ladder",), message, "give one of the two")

    @rule
    def _strategy_is_the_ladder(self) -> Iterator[Problem]:
        if self.ladder is not None and self.ladder.rungs and self.strategy in ("one-shot", "active"):
            yield Problem(("ladder",), f"the strategy is {self.strategy}", "write `strategy: ladder`")

    @rule
    def _rungs_are_compared_on_a_ladder(
        self, sample: SampleSettings | None, train: TrainSettings | None, label: Section | None
    ) -> Iterator[Problem]:
        keys = [key for key, is_set in (("production_rung", self.compares_rungs), ("tests", self.tests)) if is_set]
        if not keys or sample is None or train is None:
            return
        if learning_of(self, sample).strategy != "ladder":
            hint = "write `strategy: ladder`, or leave it out"
            yield Problem((keys[0],), "only a ladder has rungs to compare", hint)
        elif self.tests is None and train.test_fraction == 0.0:
            message = "there is nothing to compare the rungs on: no `tests`, and `train.test_fraction` is 0"
            yield Problem(("production_rung",), message, "add one of them, or write `production_rung: last`")
        if self.tests is not None and getattr(label, "engine", None) == "finished":
            message = "test sets need a method that labels them, and `label.engine` is `finished`"
            yield Problem(("tests",), message, "write `tests: null`, or name an engine for labels")

    @rule
    def _sizes_are_judged_on_labels(self, train: TrainSettings | None) -> Iterator[Problem]:
        if self.sizes and self.tests is None and train is not None and train.test_fraction == 0.0:
            message = "there are no labels to judge them on: no `tests`, and `train.test_fraction` is 0"
            yield Problem(("sizes",), message, "hold out a share of the labels")

    @rule
    def _committee_has_members(self) -> Iterator[Problem]:
        if self.strategy == "active" and self.members == 1:
            yield Problem(("members",), "a committee has at least two members", "write 3, or leave it out")

    @rule
    def _committee_is_asked_at_whole_steps(self, sample: SampleSettings | None) -> Iterator[Problem]:
        if self.strategy == "active" and sample is not None:
            yield from uneven_interval(("active", "check_every_fs"), self.active.check_every_fs, sample.timestep_fs)

    @property
    def compares_rungs(self) -> bool:
        """Whether the potentials of the rungs are compared."""
        return self.production_rung == "best" or self.tests is not None

    @property
    def sized(self) -> tuple[str, ...]:
        """Names of the potentials that are trained on some of the labels."""
        return tuple(at_size(size) for size in self.sizes)

    @property
    def n_members(self) -> int:
        """Potentials that are trained in each round."""
        return self.members or (_MEMBERS_OF_ACTIVE if self.strategy == "active" else 1)


@dataclass(frozen=True)
class Learning:
    """What a campaign does, all gaps filled.

    Attributes
    ----------
    strategy
        Of the loop.
    members
        Potentials trained in each round.
    rounds
        Temperatures in K of each round of plain sampling, with the snapshots taken of each run.
    explored_K
        Temperatures in K of the exploration by a committee; empty but for the active loop.
    active
        The ``learn.active`` section.
    """

    strategy: Strategy
    members: int
    rounds: tuple[tuple[tuple[float, int], ...], ...]
    explored_K: tuple[float, ...]
    active: ActiveSettings


def learning_of(learn: LearnSettings | None, sample: SampleSettings) -> Learning:
    """Fill the gaps of the section ``learn``.

    Parameters
    ----------
    learn
        The section; None where the campaign leaves it out.
    sample
        The settings of ``sample``.
    """
    learn = learn or LearnSettings()
    temperatures = sample.temperatures_K
    strategy: Strategy = learn.strategy or ("ladder" if len(temperatures) > 1 else "one-shot")
    runs = tuple(zip(temperatures, sample.budgets, strict=True))
    rounds = tuple((run,) for run in runs) if strategy == "ladder" else (runs,)
    explored = (learn.active.temperatures_K or temperatures) if strategy == "active" else ()
    return Learning(strategy, learn.n_members, rounds, tuple(explored), learn.active)
