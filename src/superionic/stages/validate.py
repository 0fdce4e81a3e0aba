"""Stage *validate*: errors of a potential on labels not used in training: of the trained one, or of one as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from superionic.conventions import dispersion_in, same_dispersion
from superionic.execution.task import Task
from superionic.results.learning import ValidateResult
from superionic.stages.base import ChosenPotential, Snapshot, Workbench
from superionic.stages.fitting import Data, Dataset, Training, check_task
from superionic.stages.label_file import SetName
from superionic.stages.predictions import predictions
from superionic.training.metrics import ErrorMetrics, softness_words, stress_bias_words

if TYPE_CHECKING:
    from superionic.settings.train import ValidateSettings


def run(
    settings: ValidateSettings,
    bench: Workbench,
    labelled: Sequence[Snapshot],
    tuned: ChosenPotential,
    training: Training,
    dataset: Task[Dataset],
) -> ValidateResult:
    """Compare predictions before and after training with the labels.

    Parameters
    ----------
    settings
        The ``validate`` section: limits above which the report warns.
    labelled
        Snapshots with accepted labels, in the order of the data set.
    tuned
        The fine-tuned potential.
    training
        The training data.
    dataset
        The split into sets, and the energy shifts.
    """
    bench = bench.at("validate")
    after = predictions(bench, "predictions after training", training.data.atoms, tuned)
    sets: tuple[SetName, ...] = ("test", "validation", "train")
    compared = replace(training, bench=bench).errors(
        "errors before and after", after, dataset, kinds_of(labelled), sets
    )
    errors = bench.runner.one(compared)
    return ValidateResult(tuned.name, errors, tuple(_cautions(settings, errors.after)), compared.key)


def check(
    settings: ValidateSettings,
    bench: Workbench,
    labelled: Sequence[Snapshot],
    potential: ChosenPotential,
    *,
    dispersion: str | None,
) -> ValidateResult:
    """Compare predictions of a potential as it is with all labels, where the campaign trains nothing.

    Parameters
    ----------
    settings
        The ``validate`` section: limits above which the report warns.
    labelled
        Snapshots with accepted labels.
    potential
        The potential, without a dispersion term that the labels do not have.
    dispersion
        What the labels have of dispersion.
    """
    bench = bench.at("validate")
    data = Data.of(labelled)
    predicted = predictions(bench, f"predictions of {potential.name}", data.atoms, potential)
    call = check_task.of(data=data, predicted=predicted.result, kinds=kinds_of(labelled))
    compared = bench.task(f"errors of {potential.name}", call)
    errors = bench.runner.one(compared)
    cautions = tuple(_cautions(settings, errors.after))
    own = dispersion_in(potential.identity.energy_convention)
    if not same_dispersion(own, dispersion):
        has, have = own or "no dispersion", dispersion or "none"
        cautions = (f"it has {has}, the labels have {have}, and the errors contain the difference", *cautions)
    return ValidateResult(potential.name, errors, cautions, compared.key)


def _cautions(settings: ValidateSettings, errors: ErrorMetrics) -> Iterator[str]:
    for name, value, unit, limit in (
        ("energy", errors.mae_energy_meV_per_atom, "meV/atom", settings.max_energy_mae_meV_per_atom),
        ("force", errors.mae_force_meV_per_A, "meV/Å", settings.max_force_mae_meV_per_A),
        ("stress", errors.mae_stress_GPa, "GPa", settings.max_stress_mae_GPa),
    ):
        if limit is not None and value is not None and value > limit:
            yield f"{name} error {value:.3g} {unit} is above the limit of {limit:g} {unit}"
    shape = softness_words(errors, settings.min_force_slope), stress_bias_words(errors, settings.max_stress_bias_GPa)
    yield from (words for words in shape if words is not None)


def kinds_of(labelled: Sequence[Snapshot]) -> dict[str, list[str | float | None]]:
    """Return composition, phase and temperature of snapshots, by which errors are also listed."""
    return {
        "composition": [snapshot.formula for snapshot in labelled],
        "phase": [snapshot.phase for snapshot in labelled],
        "temperature_K": [snapshot.temperature_K for snapshot in labelled],
    }
