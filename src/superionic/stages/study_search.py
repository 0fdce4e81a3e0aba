"""Study of training: a search of settings by the validation loss.

Paper B searched batch size, number of epochs, initial learning rate and number of frozen layers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from superionic.errors import CampaignFileError, StageError
from superionic.results.studies import Search, SearchRow
from superionic.stages.fitting import Trained
from superionic.stages.studies import Study, all_options, train, training_seed


def search(
    study: Study, choices: Mapping[str, Sequence[Any]], *, grid: bool = False, seeds: int = 1, rounds: int = 1
) -> Search:
    """Search for the settings of lowest validation loss; the best are evaluated once on the test set.

    Paper B optimised batch size, epochs, learning rate and frozen layers in this way.

    Parameters
    ----------
    choices
        Values of each option.
    grid
        Try all combinations; otherwise vary one option after the other, with the others at their best so far.
    seeds
        Number of trainings of each setting, which are compared by their mean validation loss.
    rounds
        Number of passes through all options, without ``grid``.
    """
    fixed = {"energy_weight", "force_weight", "stress_weight", "huber_delta", "loss"} & set(choices)
    if fixed:
        raise CampaignFileError(
            f"{', '.join(sorted(fixed))} cannot be searched by the validation loss, which depends on them",
            fix="compare such settings by their errors: superionic train compare",
        )
    rows: dict[str, SearchRow] = {}
    best: Mapping[str, Any] = {}
    passes: list[list[dict[str, Any]]] = []
    if grid:
        names = list(choices)
        combinations = [
            dict(zip(names, values, strict=True)) for values in itertools.product(*(choices[name] for name in names))
        ]
        passes = [combinations]
    else:
        passes = [[{name: value} for value in choices[name]] for _ in range(rounds) for name in choices]
    for settings in passes:
        tried = [{**best, **change} for change in settings]
        tried = [change for change in [dict(best), *tried] if _text(change, study) not in rows]
        unique = {_text(change, study): change for change in tried}
        rows |= _validation_losses(study, unique, seeds)
        best = min(rows.values(), key=lambda row: (row.validation_loss, row.number)).changes
    fitted = train(study, "best settings, seed 1", study.split.train, all_options(study, best), training_seed(study, 0))
    errors = study.bench.runner.one(fitted.errors)
    return Search(
        rows=tuple(sorted(rows.values(), key=lambda row: row.validation_loss)),
        best=all_options(study, best),
        set=errors.set,
        before=errors.pretrained,
        after=errors.after,
        by=errors.by,
        choices={name: tuple(values) for name, values in choices.items()},
        notes=study.split.notes,
    )


def _text(changes: Mapping[str, Any], study: Study) -> str:
    options = all_options(study, changes)
    return ", ".join(f"{name} {options[name]}" for name in sorted(options))


def _validation_losses(study: Study, settings: Mapping[str, Mapping[str, Any]], seeds: int) -> dict[str, SearchRow]:
    fits = {
        text: [
            train(
                study,
                f"{_words(changes)}, seed {number + 1}",
                study.split.train,
                all_options(study, changes),
                training_seed(study, number),
            )
            for number in range(seeds)
        ]
        for text, changes in settings.items()
    }
    outcomes = iter(study.bench.runner.gather([fitted.finish for group in fits.values() for fitted in group]))
    rows = {}
    for number, (text, group) in enumerate(fits.items()):
        ended = [next(outcomes) for _ in group]
        losses = [_loss(outcome.value) if outcome.ok else math.inf for outcome in ended]
        mean = sum(losses) / len(losses)
        rows[text] = SearchRow(
            changes=settings[text],
            number=number,
            validation_loss=mean,
            spread=max(losses) - min(losses) if math.isfinite(mean) else 0.0,
            best_epoch=tuple(outcome.value.best_epoch if outcome.ok else None for outcome in ended),
            failed=tuple(outcome.failure.reason for outcome in ended if outcome.failure is not None),
        )
    return rows


def _loss(ended: Trained) -> float:
    """Return the validation loss by which settings are compared.

    Raises
    ------
    StageError
        If the trainer does not record it.
    """
    if ended.best_loss is None:
        raise StageError(
            "this trainer does not report its validation loss",
            fix="compare settings by their errors: superionic train compare",
        )
    return ended.best_loss


def _words(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in changes.items()) or "settings as given"
