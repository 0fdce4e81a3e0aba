"""Studies of training on one file of labels: what all of them share, the pre-flight check and the learning curve.

The search of settings is in :mod:`superionic.stages.study_search`, the comparison of methods in
:mod:`superionic.stages.study_compare`. They consist of the same fits as the stage *train*
(:mod:`superionic.stages.fitting`), through the same store: a study that was stopped resumes where it left off, and
studies of one file share common results. The test set is never used to choose anything.
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
        What the split never divides.
    validation_fraction, test_fraction
        Shares of labels, if neither the file nor named runs determine the parts.
    test_runs, validation_runs
        Names of runs to hold out; the rest is divided by the remaining fractions.
    """

    split_by: SplitBy = "run"
    validation_fraction: float = 0.15
    test_fraction: float = 0.2
    test_runs: tuple[str, ...] = ()
    validation_runs: tuple[str, ...] = ()

    def group_of(self, facts: Facts) -> str:
        """Return the name of the group that a structure must not be separated from."""
        return {"run": facts.run, "ordering": facts.ordering, "composition": facts.composition}[self.split_by]


@dataclass(frozen=True)
class Study(Training):
    """The basis of every study; create it with :func:`open_study`.

    Attributes
    ----------
    options
        Options of the trainer.
    facts
        Statements of the file about each structure.
    groups
        Group of each structure, which the split never divides.
    split
        Indices of the three parts.
    seed
        Parent of all seeds.
    """

    options: Mapping[str, Any]
    facts: Sequence[Facts]
    groups: Sequence[str]
    split: Split
    seed: int
    read: Task[LabelFile]

    @property
    def kinds(self) -> dict[str, list[str | float | None]]:
        """Composition, phase and temperature of each structure, by which errors are also listed."""
        return {
            "composition": [fact.composition for fact in self.facts],
            "phase": [fact.phase for fact in self.facts],
            "temperature_K": [fact.temperature_K for fact in self.facts],
        }


@dataclass(frozen=True)
class Fit:
    """The tasks of one fit of a study."""

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
    trainer: str | None = None,
    options: Mapping[str, Any] | None = None,
    rule: SplitRule | None = None,
    seed: int = 0,
    keys: LabelKeys | None = None,
) -> Study:
    """Read and divide a file of labels, and let the pretrained potential predict them.

    Parameters
    ----------
    file
        Name of the stored file (:func:`superionic.execution.kept_files.keep`).
    name
        Name of the file in messages.
    potential
        The potential to train.
    trainer
        Name of the trainer; that of the potential's engine by default.
    options
        Options of the trainer.
    rule
        How to divide.
    seed
        Parent of all seeds.
    keys
        Keys of the values in the file; by default those that :mod:`superionic.labels.frame_values` recognises.
    """
    bench = bench.at("study")
    from superionic.training.base import options_of

    trainer = potential.identity.name if trainer is None else trainer
    complete = options_of(trainer, {"modal": potential.options.get("modal")}, options)
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
    return Study(bench, potential, trainer, data, baseline, None, complete, facts, groups, split, seed, read)


def divide(facts: Sequence[Facts], rule: SplitRule, seed: int) -> Split:
    """Divide labels into training, validation and test set: as stated in the file, by named runs, or by shares.

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
        return _demand_parts(Split(train, validation, test, leak_free=True))
    runs = [fact.run for fact in facts]
    unknown = sorted({*rule.test_runs, *rule.validation_runs} - set(runs))
    if unknown:
        raise StageError(
            f"no structure is from a run {unknown[0]!r}", fix=f"the runs are: {', '.join(sorted(set(runs))[:20])}"
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
    return _demand_parts(
        replace(
            split,
            train=tuple(rest[i] for i in split.train),
            validation=validation or tuple(rest[i] for i in split.validation),
            test=test or tuple(rest[i] for i in split.test),
        )
    )


def _demand_parts(split: Split) -> Split:
    for part, indices in (("train", split.train), ("validation", split.validation)):
        if not indices:
            raise StageError(f"the {part} set is empty", fix="hold out fewer runs, or give it a share of the labels")
    return split


def train(
    study: Study,
    label: str,
    indices: Sequence[int],
    options: Mapping[str, Any],
    seed: int,
    replay: LabelledSet | None = None,
) -> Fit:
    """Build the tasks of one fit, on a selection of the training set, and of its errors."""
    split = replace(study.split, train=tuple(sorted(indices)), notes=())
    dataset = study.divided(f"training set of {label}", split)
    segment = max(5, math.ceil(int(options["epochs"]) / _SEGMENTS))
    finish = study.fit(label, dataset, options, epochs_per_segment=segment, seed=seed, replay=replay)
    tuned = study.potential.tuned(finish.result.weights)
    after = predictions(study.bench, f"predictions after {label}", study.data.atoms, tuned)
    errors = study.errors(f"errors of {label}", after, dataset, study.kinds, ("test", "validation"))
    return Fit(label, dataset, finish, tuned, errors)


def all_options(study: Study, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the options of a study, with changes, completed by the trainer's defaults; all are validated."""
    from dataclasses import asdict

    from superionic.training.base import trainer

    options = trainer(study.trainer).TrainOptions.from_settings({**study.options, **(changes or {})})
    values: dict[str, Any] = asdict(options)
    return values


# ---- the studies ----------------------------------------------------------------------------------------------------


def check(study: Study) -> LabelCheck:
    """Check the labels, as the pre-flight check of the stage *train* does."""
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
        f"energy references that the compositions of the training set do not determine: {each}. Their sum is right "
        "for such compositions only; label others if you will use the potential for them."
    )
    changes = [", ".join(f"{element} {by:+.3g}" for element, by in each.items()) for each in combinations[:4]]
    if changes:
        words += f" Combined changes without effect: {'; '.join(changes)}."
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
    """Measure the learning curve: train on nested subsets, and evaluate all on the same test set.

    Parameters
    ----------
    sizes
        Numbers of training structures; by default successive halvings of all.
    seeds
        Number of trainings of each size, with different subsets and orders of the batches.
    same
        Common budget of all trainings: ``"steps"`` (small sets get more epochs, so that no size is trained less than
        another) or ``"epochs"``.
    worth
        Fraction by which doubling the labels must lower the error to be worthwhile.
    further
        Numbers of further labels to plan for; by default 1, 3 and 7 times the largest size.
    cost_per_label_h
        Cost of a label in hours.
    table
        The user's own rows by size (key ``n``): errors of activation energy, ln σ, order on the hull or anything else
        computed with potentials of these sizes. Their columns are fitted too.
    """
    from superionic.training.curves import budget, default_sizes, enough, fit_all, nested_subsets

    if not study.split.test:
        raise StageError("there is no test set", fix="hold out some runs, or give it a share of the labels")
    pool = study.split.train
    sizes = sorted(set(sizes or default_sizes(len(pool))))
    base = all_options(study)
    epochs, patience, batch = int(base["epochs"]), base.get("patience"), int(base.get("batch_size", len(pool)))
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
    rows = [CurveRow(0, None, None, 0, outcomes[0].value.pretrained)]
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
    """Return the seed of the training with this number, for every setting."""
    return study.bench.seed_for("training", study.seed, number)
