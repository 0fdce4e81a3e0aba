"""Study of training: a bake-off of ways to train, with a forgetting test and a test of stability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.errors import CampaignFileError, StageError
from superionic.execution.task import Context, Ref, Task
from superionic.stages.predictions import predictions
from superionic.stages.studies import STAGE, Study, Trained, all_options, shown, train, training_seed

_STABILITY_VERSION = 1
_OTHERS_VERSION = 1
_FORGOTTEN_VERSION = 1
_REPLAY_VERSION = 1


def choose_methods(trainer: str, names: Sequence[str] | None = None) -> dict[str, Mapping[str, Any]]:
    """Give the ways of training of a trainer by name; all that it has if none are named.

    Raises
    ------
    CampaignFileError
        If there is no such trainer, or it has no such way.
    """
    from superionic.training.base import METHODS, trainer_names

    if trainer not in trainer_names():
        raise CampaignFileError(
            f"There is no trainer for {trainer!r}.", where="--engine", fix=f"use one of: {', '.join(trainer_names())}"
        )
    known = METHODS[trainer]
    for name in names or ():
        if name not in known:
            raise CampaignFileError(
                f"{trainer} has no way of training called {name!r}", where="--methods", fix=f"use: {', '.join(known)}"
            )
    return {name: known[name] for name in (names or known)}


def compare(
    study: Study,
    methods: Mapping[str, Mapping[str, Any]],
    *,
    others: str | None = None,
    stability: Mapping[str, Any] | None = None,
    seeds: int = 1,
) -> dict[str, Any]:
    """Train in several ways on the same labels, with the same budget, and compare what comes out.

    Parameters
    ----------
    study
        The study.
    methods
        Name to options that differ (:data:`superionic.training.base.METHODS`).
    others
        Kept name of a file with structures of other chemistries, for the forgetting test; None for the built-in set.
    stability
        ``temperature_K``, ``length_ps``, ``timestep_fs`` of a run of the first test structure; None leaves it out.
    seeds
        Trainings of each method.

    Returns
    -------
    dict
        ``rows``: one for the pretrained potential and one for each method and seed, with errors on the test set, what
        was forgotten, and how the run ended.
    """
    from superionic.training.base import NEEDS_REPLAY

    strange = study.bench.task(
        STAGE,
        "structures of other chemistries",
        "superionic.stages.study_compare:others_task",
        _OTHERS_VERSION,
        {"file": others, "elements": list(study.potential.identity.elements), "seed": study.seed},
    )
    n_others = study.bench.runner.one(strange)["n"]
    asked = [i for i in range(n_others) if i % 2 == 0]
    judged = [i for i in range(n_others) if i % 2 == 1]
    # Half of the structures are replay data and half judge, so that a multi-head training is not judged on its replay.
    at = {"replay": [Ref(strange, ("atoms", i)) for i in asked], "judge": [Ref(strange, ("atoms", i)) for i in judged]}
    before = {use: predictions(study.bench, STAGE, f"{use} before training", at[use], study.potential) for use in at}
    replay = study.bench.task(
        STAGE,
        "replay data",
        "superionic.stages.study_compare:replay_task",
        _REPLAY_VERSION,
        {},
        {"atoms": at["replay"], "targets": Ref(before["replay"])},
    )
    fits: list[tuple[str, int, Trained | None]] = [("pretrained", 0, None)]
    for name, changes in methods.items():
        more = {"replay": Ref(replay)} if name == NEEDS_REPLAY else {}
        for number in range(seeds):
            options = all_options(study, changes)
            label = f"{name}, seed {number + 1}"
            fits.append(
                (name, number, train(study, label, study.parts["train"], options, training_seed(study, number), **more))
            )
    tasks: list[Task] = []
    per_fit = []
    for name, number, fitted in fits:
        potential = study.potential if fitted is None else fitted.tuned
        label = name if fitted is None else fitted.label
        forgot = run = None
        if methods.get(name, {}).get("mode") != "scratch":  # MACE's new network knows the elements of its labels alone
            after = predictions(study.bench, STAGE, f"other chemistries after {label}", at["judge"], potential)
            forgot = study.bench.task(
                STAGE,
                f"forgotten by {label}",
                "superionic.stages.study_compare:forgotten_task",
                _FORGOTTEN_VERSION,
                {},
                {"after": Ref(after), "before": Ref(before["judge"])},
            )
        if stability is not None:
            first = (study.parts["test"] or study.parts["validation"])[0]
            run = study.bench.task(
                STAGE,
                f"stability of {label}",
                "superionic.stages.study_compare:stability_task",
                _STABILITY_VERSION,
                {**stability, "seed": study.seed},
                {"atoms": study.data.structures[first]},
                potential=potential,
            )
        per_fit.append((name, number, fitted, forgot, run))
        tasks += [task for task in (fitted.errors if fitted else None, forgot, run) if task is not None]
    outcomes = {outcome.task.key: outcome for outcome in study.bench.runner.gather(tasks)}
    rows = []
    by: dict[str, Any] = {}
    first_errors = next(outcomes[f.errors.key] for _, _, f, _, _ in per_fit if f is not None)
    for name, number, fitted, forgot, run in per_fit:
        row: dict[str, Any] = {"method": name, "seed": number}
        if fitted is None:
            row |= shown(first_errors.value["before"]) if first_errors.ok else {}
        elif (failure := outcomes[fitted.errors.key].failure) is not None:
            rows.append({**row, "failed": failure.reason})
            continue
        else:
            found = study.bench.runner.one(fitted.finish)
            row |= {"best_epoch": found["best_epoch"], "epochs": found["epochs"]}
            row |= shown(outcomes[fitted.errors.key].value["after"])
            by[fitted.label] = outcomes[fitted.errors.key].value["by"]
        if forgot is not None:
            row |= {f"forgotten_{key}": value for key, value in shown(outcomes[forgot.key].value).items()}
        if run is not None:
            outcome = outcomes[run.key]
            row |= {"stable": False, "stopped": outcome.failure.reason} if outcome.failure else dict(outcome.value)
        rows.append(row)
    return {
        "rows": rows,
        "by": by,
        "n_others": len(judged),
        "n_replay": len(asked),
        "n_test": len(study.parts["test"]),
        "options": all_options(study),
        "stability": None if stability is None else dict(stability),
        "notes": list(study.notes),
    }


# ---- task functions -----------------------------------------------------------------------------------------------


def others_task(settings: Mapping[str, Any], _inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Give structures of other chemistries that the potential covers: of a file, or the built-in set."""
    from superionic.training.forgetting import other_chemistries

    if settings["file"] is None:
        structures = other_chemistries(settings["seed"], settings["elements"])
    else:
        from ase.io import read

        structures = [atoms for atoms in read(settings["file"], index=":") if atoms.pbc.all()]
        for atoms in structures:
            atoms.calc = None
    if len(structures) < 2:
        raise StageError(
            "there are too few structures of other chemistries for a forgetting test", fix="give a file with more"
        )
    return {"atoms": structures, "n": len(structures)}


def replay_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Put structures and the pretrained potential's values for them together, as replay data."""
    return {"atoms": [atoms.copy() for atoms in inputs["atoms"]], "targets": dict(inputs["targets"])}


def forgotten_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Compare predictions on other chemistries after training with those before."""
    from superionic.training.dataset import Targets
    from superionic.training.metrics import errors

    return errors(Targets.from_dict(inputs["after"]), Targets.from_dict(inputs["before"])).to_dict()


def stability_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Run hot, and say whether it held for the stated time."""
    import numpy as np

    from superionic.dynamics.md import Limits, MDSettings, initial_state, run_segment
    from superionic.errors import CalculationFailed
    from superionic.stages.base import potential_of

    potential = potential_of(settings, inputs, context)
    md = MDSettings(
        temperature_K=float(settings["temperature_K"]),
        thermostat="csvr",
        timestep_fs=float(settings["timestep_fs"]),
        save_every=20,
    )
    n_steps = max(1, round(1000.0 * float(settings["length_ps"]) / md.timestep_fs))
    state, done, temperatures, stopped = initial_state(inputs["atoms"], md, settings["seed"] % 2**32), 0, [], None
    while done < n_steps and stopped is None:
        n = min(250, n_steps - done)
        try:
            segment = run_segment(state, potential, md, n, limits=Limits())
        except CalculationFailed as failure:
            stopped = failure.reason
            break
        state, done = segment.state, done + n
        temperatures += [float(t) for t in segment.temperatures_K]
        stopped = segment.stopped
        context.progress(done / n_steps, f"{done} of {n_steps} steps")
    return {
        "stable": stopped is None,
        "stable_ps": done * md.timestep_fs * 1.0e-3,
        "stopped": stopped or "",
        "mean_temperature_K": float(np.mean(temperatures)) if temperatures else float("nan"),
    }
