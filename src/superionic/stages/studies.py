"""Studies of training on one file of labels: what all share, the pre-flight and the learning curve.

The search of settings is in :mod:`superionic.stages.study_search`, the bake-off in
:mod:`superionic.stages.study_compare`. They are made of the same fits as the stage *train*
(:mod:`superionic.stages.fitting`), through the same store: a study that was stopped goes on where it was, and studies
of one file share what they have in common. Nothing here looks at the test set to choose anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from superionic.errors import StageError
from superionic.execution.task import Task
from superionic.labels.frame_values import LabelKeys
from superionic.results.learning import HeldOutErrors
from superionic.results.studies import Curve, CurveRow, LabelCheck, mean_errors
from superionic.stages.base import ChosenPotential, Workbench
from superionic.stages.fitting import Data, Dataset, Trained, Training
from superionic.stages.label_file import PARTS, Facts, LabelFile, read_task
from superionic.stages.predictions import predictions
from superionic.training.curves import PowerLaw
from superionic.training.dataset import (
    LabelledSet,
    Split,
    composition_of,
    undetermined_combinations,
    undetermined_references,
)

_SEGMENTS = 4
SplitBy = Literal["run", "ordering", "composition"]


@dataclass(frozen=True)
class SplitRule:
    """How a file of labels is divided.

    Attributes
    ----------
    split_by
        What is never parted.
    validation_fraction, test_fraction
        Shares, where nothing else says it.
    test_runs, validation_runs
        Names of runs that are held out; the rest is divided by the fractions that are still open.
    """

    split_by: SplitBy = "run"
    validation_fraction: float = 0.15
    test_fraction: float = 0.2
    test_runs: tuple[str, ...] = ()
    validation_runs: tuple[str, ...] = ()

    def group_of(self, facts: Facts) -> str:
        """Name what a structure must stay together with."""
        return {"run": facts.run, "ordering": facts.ordering, "composition": facts.composition}[self.split_by]


@dataclass(frozen=True)
class Study(Training):
    """What every study has at hand; make it with :func:`open_study`.

    Attributes
    ----------
    options
        Of the trainer.
    facts
        What the file says of each structure.
    groups
        What each structure must stay together with.
    split
        Indices of the three parts.
    seed
        Parent of all seeds.
    read
        The task that read the file.
    """

    options: Mapping[str, Any]
    facts: Sequence[Facts]
    groups: Sequence[str]
    split: Split
    seed: int
    read: Task[LabelFile]

    @property
    def kinds(self) -> dict[str, list[str | float | None]]:
        """What structures are sorted by, for errors apart."""
        return {
            "composition": [fact.composition for fact in self.facts],
            "phase": [fact.phase for fact in self.facts],
            "temperature_K": [fact.temperature_K for fact in self.facts],
        }


@dataclass(frozen=True)
class Fit:
    """One fit of a study: its tasks."""

    label: str
    dataset: Task[Dataset]
    finish: Task[Trained]
    tuned: ChosenPotential
    errors: Task[HeldOutErrors]


def open_study(
    bench: Workbench,
    file: str,
    name: str,
    potential: ChosenPotential,
    *,
    options: Mapping[str, Any] | None = None,
    rule: SplitRule | None = None,
    seed: int = 0,
    keys: LabelKeys | None = None,
) -> Study:
    """Read and divide a file of labels, and let the pretrained potential predict them.

    Parameters
    ----------
    bench
        The workbench.
    file
        The file, by its kept name (:func:`superionic.execution.kept_files.keep`).
    name
        What it is called, for messages.
    potential
        The potential to train.
    options
        Options of its trainer.
    rule
        How to divide.
    seed
        Parent of all seeds.
    keys
        Where the values are in the file; None looks as :mod:`superionic.labels.frame_values` says.
    """
    bench = bench.at("study")
    from superionic.training.base import options_of

    trainer = potential.identity.name
    chosen = options_of(trainer, {"modal": potential.options.get("modal")}, options)
    rule = SplitRule() if rule is None else rule
    read = bench.task(
        f"labels of {name}", read_task.of(file=file, name=name, keys=None if keys == LabelKeys() else keys)
    )
    content = bench.runner.one(read)
    facts = content.facts
    numbers = range(len(facts))
    data = Data([read.result.atoms[i] for i in numbers], [read.result.labels[i] for i in numbers])
    groups = [rule.group_of(fact) for fact in facts]
    divided = divide(facts, rule, seed)
    split = replace(divided, notes=(*content.notes, *divided.notes))
    baseline = predictions(bench, "predictions before training", data.atoms, potential)
    return Study(bench, potential, trainer, data, baseline, None, chosen, facts, groups, split, seed, read)


def divide(facts: Sequence[Facts], rule: SplitRule, seed: int) -> Split:
    """Divide labels into training, validation and test: as the file says, by named runs, or by shares.

    Raises
    ------
    StageError
        If a named run does not exist, or a part that is needed would be empty.
    """
    from superionic.training.split import split_in_rounds

    if any(fact.set for fact in facts):
        train, validation, test = (
            tuple(i for i, fact in enumerate(facts) if (fact.set or "train") == part) for part in PARTS
        )
        return _whole(Split(train, validation, test, leak_free=True))
    runs = [fact.run for fact in facts]
    unknown = sorted({*rule.test_runs, *rule.validation_runs} - set(runs))
    if unknown:
        raise StageError(
            f"no structure is of the run {unknown[0]!r}", fix=f"the runs are: {', '.join(sorted(set(runs))[:20])}"
        )
    test = tuple(i for i, run in enumerate(runs) if run in rule.test_runs)
    validation = tuple(i for i, run in enumerate(runs) if run in rule.validation_runs)
    rest = [i for i in range(len(facts)) if i not in {*test, *validation}]
    split = split_in_rounds(
        [rule.group_of(facts[i]) for i in rest],
        [facts[i].round for i in rest],
        validation_fraction=0.0 if validation else rule.validation_fraction,
        test_fraction=0.0 if test else rule.test_fraction,
        seed=seed,
    )
    return _whole(
        replace(
            split,
            train=tuple(rest[i] for i in split.train),
            validation=validation or tuple(rest[i] for i in split.validation),
            test=test or tuple(rest[i] for i in split.test),
        )
    )


def _whole(split: Split) -> Split:
    for part, indices in (("train", split.train), ("validation", split.validation)):
        if not indices:
            raise StageError(
                f"there is nothing in the {part} part", fix="hold fewer runs out, or give it a share of the labels"
            )
    return split


def train(
    study: Study,
    label: str,
    chosen: Sequence[int],
    options: Mapping[str, Any],
    seed: int,
    replay: LabelledSet | None = None,
) -> Fit:
    """Build the tasks of one fit on some of the training part, and of its errors."""
    split = replace(study.split, train=tuple(sorted(chosen)), notes=())
    dataset = study.divided(f"training set of {label}", split)
    segment = max(5, math.ceil(int(options["epochs"]) / _SEGMENTS))
    finish = study.fit(label, dataset, options, epochs_per_segment=segment, seed=seed, replay=replay)
    tuned = study.potential.tuned(finish.result.weights)
    after = predictions(study.bench, f"predictions after {label}", study.data.atoms, tuned)
    errors = study.errors(f"errors of {label}", after, dataset, study.kinds, ("test", "validation"))
    return Fit(label, dataset, finish, tuned, errors)


def all_options(study: Study, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete the options of a study with the trainer's defaults, some of them changed; all are judged."""
    from dataclasses import asdict

    from superionic.training.base import trainer

    options = trainer(study.trainer).TrainOptions.from_settings({**study.options, **(changes or {})})
    found: dict[str, Any] = asdict(options)
    return found


# ---- the studies ----------------------------------------------------------------------------------------------------


def check(study: Study) -> LabelCheck:
    """Look the labels over: the pre-flight of the stage *train*."""
    split = study.split
    everything = train(study, "all labels", split.train, all_options(study), study.seed)
    preflight = study.checked("pre-flight", everything.dataset, study.groups, all_options(study))
    references = study.bench.runner.one(everything.dataset).element_references
    values = study.bench.runner.one(study.read)
    trained = [composition_of(values.atoms[i]) for i in split.train]
    undetermined = undetermined_references(trained, references.rms_residual_eV_per_atom)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return LabelCheck(
        n_train=len(split.train),
        n_validation=len(split.validation),
        n_test=len(split.test),
        runs={part: tuple(sorted({study.facts[i].run for i in indices})) for part, indices in parts.items()},
        element_references_eV=references.eV_per_atom,
        element_references_degenerate=bool(undetermined),
        rms_residual_eV_per_atom=references.rms_residual_eV_per_atom,
        notes=(
            *split.notes,
            *_undetermined_words(undetermined, undetermined_combinations(trained, references.rms_residual_eV_per_atom)),
        ),
        findings=study.bench.runner.one(preflight).findings,
    )


def _undetermined_words(
    deviations: Mapping[str, float], combinations: Sequence[Mapping[str, float]]
) -> tuple[str, ...]:
    if not deviations:
        return ()
    each = ", ".join(
        f"{element}" if math.isinf(deviation) else f"{element} (± {deviation:.1f} eV)"
        for element, deviation in deviations.items()
    )
    words = (
        f"energy references that the compositions of the training part do not determine: {each}. Their sum is right "
        "for such compositions alone; label others if you will leave them."
    )
    changes = [", ".join(f"{element} {by:+.3g}" for element, by in each.items()) for each in combinations[:4]]
    if changes:
        words += f" Changed together they have no effect: {'; '.join(changes)}."
    return (words,)


def curve(
    study: Study,
    sizes: Sequence[int] | None = None,
    *,
    seeds: int = 1,
    same: str = "steps",
    worth: float = 0.1,
    further: Sequence[int] | None = None,
    cost_per_label_h: float | None = None,
    table: Sequence[Mapping[str, Any]] = (),
) -> Curve:
    """Measure the learning curve: train on nested subsets, judge all on the same test set.

    Parameters
    ----------
    study
        The study.
    sizes
        Numbers of training structures; by default halvings of all.
    seeds
        Trainings of each size, with other subsets and other orders of the batches.
    same
        What trainings have in common: ``"steps"`` (a small set is passed over more often, so that no size is trained
        less than another) or ``"epochs"``.
    worth
        Fraction by which a doubling must lower the error to be worth it.
    further
        Numbers of further labels to plan for; by default 1, 3 and 7 times the largest size.
    cost_per_label_h
        Hours that a label costs.
    table
        Rows of a user's own by size (key ``n``): activation energy, ln σ, order on the hull, whatever was computed
        with potentials of these sizes. Their columns are fitted too.
    """
    from superionic.training.curves import budget, default_sizes, enough, fit_all, nested_subsets

    if not study.split.test:
        raise StageError("there is no test part", fix="hold some runs out, or give it a share of the labels")
    pool = study.split.train
    sizes = sorted(set(sizes or default_sizes(len(pool))))
    base = all_options(study)
    epochs, patience, batch = int(base["epochs"]), base.get("patience"), int(base["batch_size"])
    fits: list[tuple[int, int, Fit]] = []
    for number in range(seeds):
        seed = study.bench.seed_for("curve", study.seed, number)
        subsets = nested_subsets([study.facts[i].run for i in pool], sizes, seed)
        for size, subset in zip(sizes, subsets, strict=True):
            options = dict(base)
            if same == "steps":
                factor = math.ceil(len(pool) / batch) / math.ceil(size / batch)
                options |= {"epochs": round(epochs * factor)}
                if patience is not None:
                    options |= {"patience": round(int(patience) * factor)}
            label = f"{size} labels, seed {number + 1}"
            fits.append((size, number, train(study, label, [pool[i] for i in subset], options, seed)))
    outcomes = study.bench.runner.gather([fitted.errors for _, _, fitted in fits])
    rows = [CurveRow(0, None, None, 0, outcomes[0].value.before)]
    for (size, number, fitted), outcome in zip(fits, outcomes, strict=True):
        ended = study.bench.runner.one(fitted.finish)
        rows.append(CurveRow(size, number, ended.best_epoch, ended.epochs, outcome.value.after))
    laws: dict[str, PowerLaw] = {}
    if len(sizes) > 1:
        laws = fit_all([{"n": row.n, **mean_errors(row.errors)} for row in rows[1:]])
        own = fit_all([row for row in table if row.get("n")])
        laws |= {name: law for name, law in own.items() if name not in laws}
    further = [len(pool), 3 * len(pool), 7 * len(pool)] if further is None else further
    return Curve(
        rows=tuple(rows),
        own_table=tuple(table),
        laws=laws,
        enough={name: enough(law, worth) for name, law in laws.items()},
        budget={name: budget(law, further, cost_per_label_h=cost_per_label_h) for name, law in laws.items()},
        n_test=len(study.split.test),
        n_validation=len(study.split.validation),
        same=same,
        options=base,
        notes=study.split.notes,
    )


def training_seed(study: Study, number: int) -> int:
    """Give the seed of the training number ``number`` of each setting."""
    return study.bench.seed_for("training", study.seed, number)
