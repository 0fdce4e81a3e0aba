"""The section ``learn`` of the campaign file: how sampling, labelling and training follow one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from superionic.settings.base import (
    Count,
    Duration,
    Fraction,
    Interval,
    Positive,
    Problem,
    Section,
    StageSection,
    Temperature,
    Temperatures,
    plain_number,
)
from superionic.settings.sample import SampleSettings

Strategy = Literal["one-shot", "ladder", "active"]
MOST_RUNGS: Final = 100
_MEMBERS_OF_ACTIVE: Final = 3


class LadderSettings(Section):
    """The rungs of the ladder by their spacing, in the place of `sample.temperatures_K`."""

    from_K: Temperature = Field(description="Lowest temperature T0 (paper B: 200).")
    step_K: Positive = Field(description="Spacing ΔT (paper B: 200).")
    to_K: Temperature = Field(description="Highest temperature T_max, the last rung (paper B: 800).")


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
        default=20.0, description="Interval at which all members are asked; the others follow the first one's run."
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
    budgets = sample.snapshots
    each = [budgets] * len(temperatures) if isinstance(budgets, int) else budgets
    runs = tuple(zip(temperatures, each, strict=True))
    rounds = tuple((run,) for run in runs) if strategy == "ladder" else (runs,)
    members = learn.members or (_MEMBERS_OF_ACTIVE if strategy == "active" else 1)
    explored = (learn.active.temperatures_K or temperatures) if strategy == "active" else ()
    return Learning(strategy, members, rounds, tuple(explored), learn.active)


def rungs(ladder: Any) -> list[float] | None:
    """Return the temperatures of a ladder, T_max among them; None where it is no sound ladder."""
    if not isinstance(ladder, Mapping):
        return None
    low, step, high = (plain_number(ladder.get(name)) for name in ("from_K", "step_K", "to_K"))
    if low is None or step is None or high is None or not (0 < low <= high and step > 0):
        return None
    whole = int((high - low) / step + 1.0e-9)
    if whole >= MOST_RUNGS:
        return None
    found = [low + step * k for k in range(whole + 1)]
    # The last rung is T_max itself, also where the spacing does not end there.
    return [*found[:-1], high] if abs(found[-1] - high) < 1.0e-6 else [*found, high]


def learn_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find the mistakes of ``learn``, and of ``sample`` together with it."""
    learn = raw.get("learn")
    sample = raw.get("sample")
    sample = sample if isinstance(sample, Mapping) else {}
    learn = learn if isinstance(learn, Mapping) else {}
    yield from _ladder_problems(learn, sample)
    yield from _budget_problems(sample)
    yield from _method_problems(learn, sample)
    active = learn.get("active")
    if isinstance(active, Mapping):
        collect, stop = (
            plain_number(active.get(name, default))
            for name, default in (("collect_above_eV_per_A", 0.1), ("stop_above_eV_per_A", 1.0))
        )
        if collect is not None and stop is not None and collect >= stop:
            message = f"runs are stopped at {stop:g} eV/Å, before a frame above {collect:g} eV/Å can be collected"
            yield Problem(("learn", "active", "stop_above_eV_per_A"), message, "make it several times larger")
    if learn.get("strategy") == "active":
        if learn.get("members") == 1:
            yield Problem(("learn", "members"), "a committee has at least two members", "write 3, or leave it out")
        step = plain_number(sample.get("timestep_fs", 1.0))
        check = plain_number(_mapping(active).get("check_every_fs", 20.0))
        if step and check and (check / step < 0.5 or abs(check / step - round(check / step)) > 1e-6 * check / step):
            message = f"{check:g} fs is not a whole number of time steps of {step:g} fs"
            yield Problem(("learn", "active", "check_every_fs"), message)


def _ladder_problems(learn: Mapping[str, Any], sample: Mapping[str, Any]) -> Iterator[Problem]:
    ladder = learn.get("ladder")
    if not isinstance(ladder, Mapping):
        return
    found = rungs(ladder)
    if found is None:
        values = [plain_number(ladder.get(name)) for name in ("from_K", "step_K", "to_K")]
        if None not in values:
            hint = f"let it rise from T0 to T_max in at most {MOST_RUNGS} steps"
            yield Problem(("learn", "ladder"), "this is no ladder", hint)
        return
    own = sample.get("temperatures_K")
    if isinstance(own, (list, tuple)) and [plain_number(value) for value in own] != found:
        told = ", ".join(f"{value:g}" for value in found)
        message = f"the ladder has the rungs {told} K, but `sample.temperatures_K` has others"
        yield Problem(("learn", "ladder"), message, "give one of the two")
    if learn.get("strategy") in ("one-shot", "active"):
        yield Problem(("learn", "ladder"), f"the strategy is {learn['strategy']}", "write `strategy: ladder`")


def _budget_problems(sample: Mapping[str, Any]) -> Iterator[Problem]:
    budgets, temperatures = sample.get("snapshots"), sample.get("temperatures_K", (800.0,))
    if not isinstance(budgets, (list, tuple)) or not isinstance(temperatures, (list, tuple)):
        return
    if len(budgets) != len(temperatures):
        message = f"there are {len(budgets)} budgets for {len(temperatures)} temperatures"
        yield Problem(("sample", "snapshots"), message, "give one for each, or one number for all")


def _method_problems(learn: Mapping[str, Any], sample: Mapping[str, Any]) -> Iterator[Problem]:
    method, mixture = sample.get("snapshot_method"), sample.get("snapshot_mixture")
    mixture = mixture if isinstance(mixture, Mapping) else {}
    if method == "mixture" and not mixture:
        hint = "e.g. {descriptors: 0.5, random: 0.5}"
        yield Problem(("sample", "snapshot_mixture"), "a mixture needs shares", hint)
    if mixture and method != "mixture":
        yield Problem(("sample", "snapshot_mixture"), "shares are given, but no mixture", "`snapshot_method: mixture`")
    asks = method == "committee" or (method == "mixture" and "committee" in mixture)
    members = learn.get("members")
    several = learn.get("strategy") == "active" or (isinstance(members, int) and members > 1)
    if asks and not several:
        message = "committee disagreement needs a committee"
        yield Problem(("sample", "snapshot_method"), message, "add `learn: {members: 3}`")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
