"""How sampling, labelling and training follow one another: paper A's one shot, paper B's ladder, an active loop.

A plain loop. What each round asks for follows from the stored results of those before, so a campaign that was stopped
takes the same way again and finds it done up to where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from superionic.settings.learn import Learning, learning_of
from superionic.execution.task import Ref, Task
from superionic.stages import fitting, label, sample, train, validate
from superionic.stages.base import FINE_TUNED, Candidate, ChosenPotential, StageResult, Workbench
from superionic.training.base import FROM_LABELS
from superionic.training.distillation import evenly

if TYPE_CHECKING:
    from superionic.campaign.flow import Flow


def learn(flow: Flow, chosen: Sequence[Candidate], base: ChosenPotential) -> ChosenPotential:
    """Sample, label and train as the campaign says; return the last potential, the base where nothing is trained."""
    sampling = flow.file.sample
    if sampling is None:
        return base
    first = flow.potential(sampling.potential or flow.file.rank.potential)
    return _Loop(flow, chosen, first).run() or base


@dataclass
class _Loop:
    """One walk through the rounds."""

    flow: Flow
    chosen: Sequence[Candidate]
    first: ChosenPotential
    plan: Learning = field(init=False)
    driver: ChosenPotential = field(init=False)
    labelled: tuple[Candidate, ...] = ()
    n_asked: int = 0
    trained: StageResult | None = None

    def __post_init__(self) -> None:
        file = self.flow.file
        self.plan = learning_of(file.learn, file.stage_settings("sample"))
        self.driver = self.first

    def run(self) -> ChosenPotential | None:
        """Go through all rounds; None where the campaign trains nothing."""
        file, active = self.flow.file, self.plan.strategy == "active"
        several = len(self.plan.rounds) > 1 or active
        for number, runs in enumerate(self.plan.rounds, 1):
            last = number == len(self.plan.rounds) and not active
            tail = f"round {number}" if several else ""
            self._round(number, tail, self._sampled(number, runs, last=last), last=last)
        if active and self.trained is not None:
            self._explore()
        if self.trained is None:
            return None
        if file.section("validate") is not None:
            self.flow.at("validate")
            tuned = replace(self.driver, committee=())
            tasks = self.trained.tasks
            checked = validate.run(
                file.stage_settings("validate"),
                self.flow.bench,
                self.labelled,
                tuned,
                tasks["baseline"],
                tasks["dataset"],
            )
            self.flow.done("validate", checked)
        return replace(self.driver, committee=())

    def _round(self, number: int, tail: str, snapshots: Sequence[Candidate], *, last: bool) -> int:
        """Label and train on all labels so far; return the number of labels that were accepted."""
        file, flow = self.flow.file, self.flow
        if file.label is None:
            return 0
        flow.at("label")
        name = file.label.engine
        stand_in = flow.potential(name.partition(":")[2]) if name.startswith("potential:") else None
        sampler = replace(self.driver, committee=())
        made = label.run(
            file.stage_settings("label"), flow.bench, snapshots, stand_in, tail, baseline_potential=sampler
        )
        flow.done("label", made, last=last)
        self.labelled = (*self.labelled, *made.candidates)
        self.n_asked += len(snapshots)
        if file.train is None:
            return len(made.candidates)
        flow.at("train")
        settings = file.stage_settings("train")
        ranked = flow.results["rank"][-1].candidates
        self.trained = train.run(settings, flow.bench, self.labelled, self.first, tail, ranked)
        members = _members(settings, flow.bench, self.labelled, self.first, self.trained, self.plan.members, tail)
        flow.done("train", _with_members(self.trained, flow.bench, members, number), last=last)
        weights = [self.trained.tasks["weights"]["weights"], *(task["weights"] for task in members)]
        trained = trained_potential(self.first, str(self.trained.summary["trainer"]), weights[0])
        self.driver = replace(trained, committee=tuple(weights) if len(weights) > 1 else ())
        return len(made.candidates)

    def _sampled(self, number: int, runs: Sequence[tuple[float, int]], *, last: bool) -> tuple[Candidate, ...]:
        settings = self.flow.file.stage_settings("sample")
        self.flow.at("sample")
        found: list[Candidate] = []
        for position, (temperature, count) in enumerate(runs, 1):
            result = sample.run(settings, self.flow.bench, self.chosen, self.driver, temperature, count=count)
            self.flow.done("sample", result, last=last and position == len(runs))
            found += _of_round(result.candidates, number)
        return tuple(found)

    def _explore(self) -> None:
        """Let the committee run, label what it disagrees about, and train on, until it agrees or may not go on."""
        active = self.plan.active
        told: list[dict[str, Any]] = []
        for number in range(2, active["max_rounds"] + 3):
            results = self._exploration(number)
            entry = _judged(results, active)
            told.append({"labels": 0, "round": number, **entry})
            if entry["agrees"]:
                ended = "the committee agrees"
                break
            if entry["looked_at"] and entry["worst_eV_per_A"] == 0.0:
                ended = "the members are the same: training improved none of them, so they cannot disagree"
                break
            if number == active["max_rounds"] + 2:
                ended = "all rounds are used up"
                break
            snapshots = self._worth_a_label(results, number)
            if not snapshots:
                nothing = self._room() == 0
                ended = "all labels are used up" if nothing else "no frame is worth a label"
                break
            told[-1]["labels"] = self._round(number, f"round {number}", snapshots, last=False)
        else:  # not reached: the last turn breaks
            ended = ""
        summary = {"ended": ended, "agrees": bool(told and told[-1]["agrees"]), "rounds": told}
        self.flow.done("sample", StageResult({"learning": summary}), last=True)
        for stage in ("label", "train"):
            self.flow.done(stage, StageResult({}), last=True)

    def _exploration(self, number: int) -> list[StageResult]:
        settings, active = self.flow.file.stage_settings("sample"), self.plan.active
        self.flow.at("sample")
        n_runs = len(self.chosen) * settings["replicas"] * len(self.plan.explored_K)
        share = max(1, active["labels_per_round"] // n_runs)
        results = []
        for temperature in self.plan.explored_K:
            result = sample.run(
                settings,
                self.flow.bench,
                self.chosen,
                self.driver,
                temperature,
                count=share,
                explore=active,
                round_label=f"round {number}",
            )
            self.flow.done("sample", result, last=False)
            results.append(result)
        return results

    def _room(self) -> int:
        """How many more labels may be asked for after a round."""
        most = self.plan.active["max_labels"]
        room = int(self.plan.active["labels_per_round"])
        return room if most is None else max(0, min(room, most - self.n_asked))

    def _worth_a_label(self, results: Sequence[StageResult], number: int) -> list[Candidate]:
        found = [snapshot for result in results for snapshot in _of_round(result.candidates, number)]
        return [found[index] for index in evenly(len(found), self._room())] if self._room() else []


def trained_potential(pretrained: ChosenPotential, trainer: str, weights: Ref) -> ChosenPotential:
    """Return the potential that a training made: the pretrained one with new weights, or one of its own.

    The trainer ``nep`` learns a small potential from the labels alone; its energies have the zero of the potential that
    sampled, to which the labels were shifted.
    """
    if trainer != FROM_LABELS:
        return pretrained.tuned(weights)
    convention = pretrained.identity.energy_convention
    level = "the campaign's labels"
    identity = replace(
        pretrained.identity,
        checkpoint_sha256=weights.task.key,
        engine="core",
        level_of_theory=level,
        licence="that of the labels",
        model="nep, from labels",
        name="nep",
        version="1",
    )
    options = {"energy_convention": convention, "level_of_theory": level}
    return ChosenPotential(FINE_TUNED, "core", {"name": "nep", "model": None, "options": options}, identity, weights)


def _of_round(snapshots: Sequence[Candidate], number: int) -> list[Candidate]:
    return [replace(snapshot, facts={**snapshot.facts, "round": number}) for snapshot in snapshots]


def _judged(results: Sequence[StageResult], active: Mapping[str, Any]) -> dict[str, Any]:
    """Tell what an exploration showed, and whether the committee agrees."""
    runs = [run for result in results for run in result.summary["runs"]]
    failed = sum(len(result.failures) for result in results)
    looked_at = sum(run["explored"]["looked_at"] for run in runs)
    above = sum(run["explored"]["above"] for run in runs)
    length = sum(run["explored"]["length_ps"] for run in runs)
    worst = max((run["explored"]["worst_eV_per_A"] or 0.0 for run in runs), default=0.0)
    stopped = failed + sum(run["stopped"] is not None for run in runs)
    share = above / looked_at if looked_at else 1.0
    long_enough = active["done_ps"] is None or length >= active["done_ps"]
    return {
        "above": above,
        # Members that all kept the pretrained weights agree to the last digit, and that means nothing.
        "agrees": bool(looked_at and worst and share <= active["done_share"] and stopped == 0 and long_enough),
        "length_ps": length,
        "looked_at": looked_at,
        "share_above": share,
        "stopped": stopped,
        "worst_eV_per_A": worst,
    }


def _members(
    settings: Mapping[str, Any],
    bench: Workbench,
    labelled: Sequence[Candidate],
    pretrained: ChosenPotential,
    first: StageResult,
    count: int,
    tail: str,
) -> list[Task]:
    """Train the further members of a committee, all at once: other seeds, other splits, the same test set.

    Each leaves out runs of its own for its validation, so that the members disagree where the labels do not decide;
    what the first one is tested on none of them sees.
    """
    if count < 2:
        return []
    from superionic.training.committee import member_split

    data = fitting.Data([s.structure for s in labelled], [Ref(s.facts["label"]) for s in labelled])
    groups = [train.group_of(snapshot, settings["split_by"]) for snapshot in labelled]
    test = [int(index) for index in bench.runner.one(first.tasks["dataset"])["test"]]
    rest = [index for index in range(len(labelled)) if index not in set(test)]
    trainer, options = train.options_for(settings, pretrained)
    finished = []
    for member in range(2, count + 1):
        word = f"member {member} {tail}".strip()
        split = member_split(
            [groups[index] for index in rest],
            settings["validation_fraction"],
            bench.seed_for("train", "split of a member", member),
        )
        parts = {
            "test": test,
            "train": [rest[index] for index in split.train],
            "validation": [rest[index] for index in split.validation],
        }
        dataset = bench.task(
            train.STAGE,
            f"training set of {word}",
            fitting.DATASET,
            fitting.DATASET_VERSION,
            {"parts": parts},
            {**data.inputs(), **train.frame(first.tasks)},
        )
        finished.append(
            fitting.fit(
                bench,
                train.STAGE,
                f"training of {word}",
                data,
                dataset,
                pretrained,
                trainer=trainer,
                options=options,
                epochs_per_segment=settings["epochs_per_segment"],
                seed=bench.seed_for("train", "training of a member", member, tail),
                replay=train.replay_of(first.tasks),
            )
        )
    for outcome in bench.runner.gather(finished):
        if outcome.failure is not None:
            bench.runner.one(outcome.task)  # raises what went wrong
    return finished


def _with_members(result: StageResult, bench: Workbench, members: Sequence[Task], number: int) -> StageResult:
    """Add what the further members of a committee reached to the summary of the first."""
    if not members:
        return result
    told = [
        {"best_epoch": bench.runner.one(task)["best_epoch"], "key": task.key, "member": position, "round": number}
        for position, task in enumerate(members, 2)
    ]
    return replace(result, summary={**result.summary, "members": told})
