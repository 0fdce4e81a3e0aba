"""Studies of training on one file of labels: what all share, the pre-flight and the learning curve.

The search of settings is in :mod:`superionic.stages.study_search`, the bake-off in
:mod:`superionic.stages.study_compare`. They are made of the same fits as the stage *train*
(:mod:`superionic.stages.fitting`), through the same store: a study that was stopped goes on where it was, and studies
of one file share what they have in common. Nothing here looks at the test set to choose anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from superionic.errors import StageError
from superionic.execution.task import Ref, Task
from superionic.stages.base import ChosenPotential, Workbench
from superionic.stages.fitting import (
    DATASET,
    DATASET_VERSION,
    ERRORS,
    ERRORS_VERSION,
    PREFLIGHT,
    PREFLIGHT_VERSION,
    Data,
    fit,
)
from superionic.stages.label_file import READ, READ_VERSION
from superionic.stages.predictions import predictions

STAGE = "study"
_SEGMENTS = 4
_PARTS = ("train", "validation", "test")
SHOWN = (
    "mae_energy_meV_per_atom",
    "rmse_energy_meV_per_atom",
    "mae_force_meV_per_A",
    "rmse_force_meV_per_A",
    "mae_stress_GPa",
    "rmse_stress_GPa",
)


@dataclass(frozen=True)
class SplitRule:
    """How a file of labels is divided.

    Attributes
    ----------
    split_by
        ``"run"``, ``"ordering"`` or ``"composition"``.
    validation_fraction, test_fraction
        Shares, where nothing else says it.
    test_runs, validation_runs
        Names of runs that are held out; the rest is divided by the fractions that are still open.
    """

    split_by: str = "run"
    validation_fraction: float = 0.15
    test_fraction: float = 0.2
    test_runs: tuple[str, ...] = ()
    validation_runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """What every study has at hand; make it with :func:`open_study`.

    Attributes
    ----------
    bench
        The workbench.
    potential, trainer, options
        What is trained, by whom, and its options.
    data, facts
        The labels, and what the file says of each structure.
    groups
        What each structure must stay together with.
    parts
        Indices of ``train``, ``validation`` and ``test``.
    notes
        What is to be said of the split.
    baseline
        Predictions of the pretrained potential.
    seed
        Parent of all seeds.
    """

    bench: Workbench
    potential: ChosenPotential
    trainer: str
    options: Mapping[str, Any]
    data: Data
    facts: Sequence[Mapping[str, Any]]
    groups: Sequence[str]
    parts: Mapping[str, Sequence[int]]
    notes: Sequence[str]
    baseline: Task
    seed: int
    kinds: Mapping[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """One fit of a study: its tasks."""

    label: str
    dataset: Task
    finish: Task
    tuned: ChosenPotential
    errors: Task


def open_study(
    bench: Workbench,
    file: str,
    name: str,
    potential: ChosenPotential,
    *,
    options: Mapping[str, Any] | None = None,
    rule: SplitRule | None = None,
    seed: int = 0,
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
    """
    from superionic.training.base import options_of

    trainer = str(potential.settings["name"])
    chosen = options_of(trainer, {"modal": potential.settings["options"].get("modal")}, options)
    rule = SplitRule() if rule is None else rule
    read = bench.task(STAGE, f"labels of {name}", READ, READ_VERSION, {"file": file, "name": name})
    facts = bench.runner.one(read)["facts"]
    n = len(facts)
    data = Data([Ref(read, ("atoms", i)) for i in range(n)], [Ref(read, ("labels", i)) for i in range(n)])
    parts, notes = divide(facts, rule, seed)
    baseline = predictions(bench, STAGE, "predictions before training", data.structures, potential)
    kinds = {kind: [fact[kind] for fact in facts] for kind in ("composition", "phase", "temperature_K")}
    groups = [str(fact[rule.split_by]) for fact in facts]
    return Study(bench, potential, trainer, chosen, data, facts, groups, parts, notes, baseline, seed, kinds)


def divide(
    facts: Sequence[Mapping[str, Any]], rule: SplitRule, seed: int
) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Divide labels into training, validation and test: as the file says, by named runs, or by shares.

    Raises
    ------
    StageError
        If a named run does not exist, or a part that is needed would be empty.
    """
    from superionic.training.split import split_in_rounds

    if any(fact["set"] for fact in facts):
        told = {part: tuple(i for i, fact in enumerate(facts) if (fact["set"] or "train") == part) for part in _PARTS}
        return _whole(told), ()
    runs = [fact["run"] for fact in facts]
    unknown = sorted({*rule.test_runs, *rule.validation_runs} - set(runs))
    if unknown:
        raise StageError(
            f"no structure is of the run {unknown[0]!r}", fix=f"the runs are: {', '.join(sorted(set(runs))[:20])}"
        )
    given = {
        "test": tuple(i for i, run in enumerate(runs) if run in rule.test_runs),
        "validation": tuple(i for i, run in enumerate(runs) if run in rule.validation_runs),
    }
    rest = [i for i in range(len(facts)) if i not in {*given["test"], *given["validation"]}]
    split = split_in_rounds(
        [str(facts[i][rule.split_by]) for i in rest],
        [facts[i]["round"] for i in rest],
        validation_fraction=0.0 if given["validation"] else rule.validation_fraction,
        test_fraction=0.0 if given["test"] else rule.test_fraction,
        seed=seed,
    )
    parts = {
        "train": tuple(rest[i] for i in split.train),
        "validation": given["validation"] or tuple(rest[i] for i in split.validation),
        "test": given["test"] or tuple(rest[i] for i in split.test),
    }
    return _whole(parts), split.notes


def _whole(parts: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    for part in ("train", "validation"):
        if not parts[part]:
            raise StageError(
                f"there is nothing in the {part} part", fix="hold fewer runs out, or give it a share of the labels"
            )
    return parts


def train(
    study: Study, label: str, chosen: Sequence[int], options: Mapping[str, Any], seed: int, **more: Any
) -> Trained:
    """Build the tasks of one fit on some of the training part, and of its errors."""
    parts = {**{part: list(study.parts[part]) for part in _PARTS}, "train": sorted(chosen)}
    dataset = study.bench.task(
        STAGE,
        f"training set of {label}",
        DATASET,
        DATASET_VERSION,
        {"parts": parts},
        {**study.data.inputs(), "baseline": study.baseline["energies_eV"]},
    )
    finish = fit(
        study.bench,
        STAGE,
        label,
        study.data,
        dataset,
        study.potential,
        trainer=study.trainer,
        options=options,
        epochs_per_segment=max(5, math.ceil(int(options["epochs"]) / _SEGMENTS)),
        seed=seed,
        **more,
    )
    tuned = study.potential.tuned(finish["weights"])
    after = predictions(study.bench, STAGE, f"predictions after {label}", study.data.structures, tuned)
    errors = study.bench.task(
        STAGE,
        f"errors of {label}",
        ERRORS,
        ERRORS_VERSION,
        {"kinds": dict(study.kinds), "sets": ["test", "validation"]},
        {**study.data.inputs(), "after": Ref(after), "baseline": Ref(study.baseline), "dataset": Ref(dataset)},
    )
    return Trained(label, dataset, finish, tuned, errors)


def all_options(study: Study, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete the options of a study with the trainer's defaults, some of them changed; all are judged."""
    from dataclasses import asdict

    from superionic.training.base import trainer

    options = trainer(study.trainer).TrainOptions.from_settings({**study.options, **(changes or {})})
    found: dict[str, Any] = asdict(options)
    return found


# ---- the studies ----------------------------------------------------------------------------------------------------


def check(study: Study) -> dict[str, Any]:
    """Look the labels over: the pre-flight of the stage *train*."""
    everything = train(study, "all labels", study.parts["train"], all_options(study), study.seed)
    task = study.bench.task(
        STAGE,
        "pre-flight",
        PREFLIGHT,
        PREFLIGHT_VERSION,
        {
            "elements": list(study.potential.identity.elements),
            "groups": list(study.groups),
            "options": all_options(study),
        },
        {**study.data.inputs(), "baseline": Ref(study.baseline), "dataset": Ref(everything.dataset)},
    )
    dataset, checked = (outcome.value for outcome in study.bench.runner.gather([everything.dataset, task]))
    return {
        **{f"n_{part}": len(study.parts[part]) for part in _PARTS},
        "runs": {part: sorted({study.facts[i]["run"] for i in study.parts[part]}) for part in _PARTS},
        "element_references_eV": dataset["element_references_eV"],
        "element_references_degenerate": dataset["degenerate"],
        "rms_residual_eV_per_atom": dataset["rms_residual_eV_per_atom"],
        "notes": list(study.notes),
        "findings": checked["findings"],
    }


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
) -> dict[str, Any]:
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

    Returns
    -------
    dict
        ``rows`` (one for each training, and ``n = 0``: the pretrained potential), ``laws``, ``enough``, ``budget``.
    """
    from superionic.training.curves import budget, default_sizes, enough, fit_all, nested_subsets

    _needs_test(study)
    pool = list(study.parts["train"])
    sizes = sorted(set(sizes or default_sizes(len(pool))))
    base = all_options(study)
    fits = []
    for number in range(seeds):
        seed = study.bench.seed_for(STAGE, "curve", study.seed, number)
        subsets = nested_subsets([study.facts[i]["run"] for i in pool], sizes, seed)
        for size, subset in zip(sizes, subsets, strict=True):
            options = dict(base)
            if same == "steps":
                batches = math.ceil(size / int(base["batch_size"]))
                factor = math.ceil(len(pool) / int(base["batch_size"])) / batches
                options["epochs"] = round(int(base["epochs"]) * factor)
                if base.get("patience") is not None:
                    options["patience"] = round(int(base["patience"]) * factor)
            label = f"{size} labels, seed {number + 1}"
            fits.append((size, number, train(study, label, [pool[i] for i in subset], options, seed)))
    rows: list[dict[str, Any]] = []
    outcomes = study.bench.runner.gather([fitted.errors for _, _, fitted in fits])
    for (size, number, fitted), outcome in zip(fits, outcomes, strict=True):
        found = study.bench.runner.one(fitted.finish)
        if not rows:
            rows.append({"n": 0, "seed": None, "best_epoch": None, "epochs": 0, **shown(outcome.value["before"])})
        told = {"best_epoch": found["best_epoch"], "epochs": found["epochs"]}
        rows.append({"n": size, "seed": number, **told, **shown(outcome.value["after"])})
    measured = [{"n": row["n"], **shown(row)} for row in rows[1:]]
    laws = {}
    if len(sizes) > 1:
        laws = fit_all(measured)
        own = [row for row in table if row.get("n")]
        laws |= {name: law for name, law in fit_all(own).items() if name not in laws}
    further = [len(pool), 3 * len(pool), 7 * len(pool)] if further is None else list(further)
    return {
        "rows": rows,
        "own_table": [dict(row) for row in table],
        "laws": {name: law.to_dict() for name, law in laws.items()},
        "enough": {name: enough(law, worth).to_dict() for name, law in laws.items()},
        "budget": {name: budget(law, further, cost_per_label_h=cost_per_label_h) for name, law in laws.items()},
        "n_test": len(study.parts["test"]),
        "n_validation": len(study.parts["validation"]),
        "same": same,
        "options": base,
        "notes": list(study.notes),
    }


def with_options(study: Study, options: Mapping[str, Any]) -> Study:
    """Give the same study with other options of the trainer."""
    return replace(study, options={**study.options, **options})


def _needs_test(study: Study) -> None:
    if not study.parts["test"]:
        raise StageError("there is no test part", fix="hold some runs out, or give it a share of the labels")


def shown(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Take the errors that tables show."""
    return {name: metrics.get(name) for name in SHOWN}


def training_seed(study: Study, number: int) -> int:
    """Give the seed of the training number ``number`` of each setting."""
    return study.bench.seed_for(STAGE, "training", study.seed, number)
