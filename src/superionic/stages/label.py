"""Stage *label*: reference energies, forces and stresses of the snapshots, and the gates that they must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from superionic.errors import StageError
from superionic.execution.task import Context, Ref
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench, failures_as_data

STAGE = "label"
_LABEL_VERSION = 1
_GATE_VERSION = 1
_WALLTIME_S = 6 * 3600.0


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    snapshots: Sequence[Candidate],
    stand_in: ChosenPotential | None,
    round_label: str,
) -> StageResult:
    """Label snapshots and pass the labels through the gates.

    Parameters
    ----------
    settings
        The ``label`` section.
    bench
        The workbench.
    snapshots
        Structures to label.
    stand_in
        The potential that stands in for a reference method, or None for GPAW.
    round_label
        The round of sampling that the snapshots come from.

    Returns
    -------
    StageResult
        Candidates are the snapshots whose label was accepted; their facts hold the label's task.

    Raises
    ------
    StageError
        If no label was accepted.
    """
    labeller = "gpaw" if stand_in is None else f"potential:{stand_in.settings['name']}"
    tasks = [
        bench.task(
            STAGE,
            f"label of {snapshot.id}",
            "superionic.stages.label:label_task",
            _LABEL_VERSION,
            {"labeller": labeller, "labeller_settings": labeller_settings(settings, stand_in)},
            {"atoms": snapshot.structure},
            engine="gpaw" if stand_in is None else stand_in.engine,
            walltime_s=_WALLTIME_S,
        )
        for snapshot in snapshots
    ]
    outcomes = bench.runner.gather(tasks)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    made = [(s, task) for s, task, outcome in zip(snapshots, tasks, outcomes, strict=True) if outcome.ok]
    if not made:
        raise _nothing_left(failures[0].reason if failures else "there were no snapshots")
    gates = bench.task(
        STAGE,
        f"gates {round_label}".strip(),
        "superionic.stages.label:gates_task",
        _GATE_VERSION,
        {"gates": settings["gates"], "names": [snapshot.id for snapshot, _ in made]},
        {"atoms": [snapshot.structure for snapshot, _ in made], "labels": [Ref(task) for _, task in made]},
    )
    verdicts = bench.runner.one(gates)["reasons"]
    accepted = tuple(
        replace(snapshot, facts={**snapshot.facts, "label": task})
        for (snapshot, task), reasons in zip(made, verdicts, strict=True)
        if not reasons
    )
    rejected = [
        {"label": snapshot.id, "reason": "; ".join(reasons), "key": task.key}
        for (snapshot, task), reasons in zip(made, verdicts, strict=True)
        if reasons
    ]
    if not accepted:
        raise _nothing_left(rejected[0]["reason"])
    labeller_facts = bench.runner.gather([made[0][1]])[0].value["provenance"]
    summary = {
        "labeller": labeller_facts,
        "n_accepted": len(accepted),
        "n_requested": len(snapshots),
        "rejected": [*failures_as_data(failures), *rejected],
    }
    return StageResult(summary, accepted, failures=tuple(failures))


def labeller_settings(settings: Mapping[str, Any], stand_in: ChosenPotential | None) -> dict[str, Any]:
    """Return the settings of the labeller out of the ``label`` section."""
    if stand_in is not None:
        return {"model": stand_in.settings["model"], "options": dict(stand_in.settings["options"])}
    return {name: value for name, value in settings.items() if name not in ("engine", "gates")}


def _nothing_left(reason: str) -> StageError:
    return StageError(
        f"no label can be used ({reason})",
        where=STAGE,
        fix="see `superionic status`; loosen the gates or change the label settings",
    )


# ---- task functions -----------------------------------------------------------------------------------------------


def label_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Label one structure."""
    from superionic.execution.codec import canonical_json
    from superionic.labels.base import load_labeller

    token = "labeller:" + canonical_json(settings)
    if token not in context.cache:
        context.cache[token] = load_labeller(settings["labeller"], settings["labeller_settings"])
    label = context.cache[token].label(inputs["atoms"], scratch=context.scratch, progress=context.progress)
    found: dict[str, Any] = label.to_dict()
    return found


def gates_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Judge labels together; each gets the list of reasons against it (empty: accepted)."""
    from superionic.labels.base import Label
    from superionic.labels.gates import Gates, judge

    labels = [Label.from_dict(label) for label in inputs["labels"]]
    return {"reasons": judge(inputs["atoms"], labels, Gates(**settings["gates"]))}
